"""What a path of the command line is, and where a command needs something else: what does that which was meant."""

from __future__ import annotations

from pathlib import Path

from dlc.runtime.failures import Error
from dlc.runtime.nearest import nearest

SPEC, COMPILED, RUN, CHECKPOINT = "a spec", "a compiled file", "a run folder", "a checkpoint"
DATA, FOLDER, OTHER = "data", "a folder", "a file of another kind"
ENDINGS = {".dl": SPEC, ".onnx": COMPILED, ".npz": DATA, ".csv": DATA, ".safetensors": CHECKPOINT}
ENDINGS |= dict.fromkeys((".jsonl", ".parquet", ".gz", ".zst"), DATA)
ENDINGS |= dict.fromkeys((".json", ".py", ".ipynb", ".svg", ".html", ".dot", ".png", ".zip"), OTHER)
ENDINGS |= dict.fromkeys((".npy", ".pt", ".pth", ".h5", ".pkl", ".tflite", ".ort"), OTHER)
FORMS = {SPEC: "FILE.dl", COMPILED: "FILE.onnx", RUN: "RUN", CHECKPOINT: "RUN/checkpoints/last.safetensors"}


def kind_of(path: Path) -> str | None:
    """What a path is, by its ending or what the folder holds; None where it does not say."""
    if path.is_dir():
        return RUN if (path / "checkpoints").is_dir() and any(path.glob("*.onnx")) else FOLDER
    return ENDINGS.get(path.suffix.lower())


def expect(path: Path, command: str, *wanted: str) -> None:
    """Raises E0790 where a path is of another kind than a command takes; E0701, E0710, E0740 where nothing is there."""
    found = kind_of(path)
    if found is not None and found not in wanted:
        raise Error(
            "E0790",
            f"`{path}` is {found}: `dlc {command}` takes {_either(wanted)}",
            help=_meant(path, found, command, wanted),
        )
    if not path.exists():
        code = "E0710" if found == COMPILED or SPEC not in wanted else "E0701"
        code = "E0740" if CHECKPOINT in wanted else code
        raise Error(code, f"there is no file `{path}`", help=_near(path, wanted))


def _meant(path: Path, found: str, command: str, wanted: tuple[str, ...]) -> str:
    """The command that does what was meant with what was found."""
    if found == RUN and command == "train":
        return f"to go on with it: dlc train --resume {path}"
    if found == RUN and COMPILED in wanted:
        return f"dlc {command} {next(iter(sorted(path.glob('*.onnx'))))}"
    if found == RUN:
        return f"its spec is in {path / 'spec'}: dlc {command} {path / 'spec' / 'FILE.dl'}"
    if found == COMPILED and CHECKPOINT in wanted:
        return f"dlc train {path} --data FILE, or --resume the folder of a run"
    if found == COMPILED:
        return f"`dlc decompile {path}` recovers the spec"
    if found == SPEC and CHECKPOINT in wanted:
        return f"dlc train {path}"
    if found == SPEC and command == "decompile":
        return f"it is what decompile writes; to compile it: dlc compile {path}"
    if found == SPEC:
        return f"dlc train {path}, or dlc compile {path}"
    if found == CHECKPOINT:
        return f"dlc train --resume {path}; its run folder holds the .onnx file"
    if found == DATA:
        takes = command in ("train", "evaluate", "predict") and CHECKPOINT not in wanted
        return f"dlc {command} {FORMS[wanted[0]]} --data {path}" if takes else f"dlc train FILE.dl --data {path}"
    if found == FOLDER:
        inside = sorted(entry for entry in path.iterdir() if kind_of(entry) in wanted)[:3]
        return "in it: " + ", ".join(map(str, inside)) if inside else f"give {_either(wanted)}"
    return f"give {_either(wanted)}"


def _near(path: Path, wanted: tuple[str, ...]) -> str:
    """What is there that fits, nearest by name; else where paths count from."""
    try:
        there = sorted(entry.name for entry in path.parent.iterdir() if kind_of(entry) in wanted)
    except OSError:
        return f"there is no folder `{path.parent}` that can be read"
    hits = nearest(path.name, there, 1)
    if hits:
        return f"did you mean `{path.parent / hits[0]}`?"
    return f"give {_either(wanted)}; a relative path counts from the working directory"


def _either(wanted: tuple[str, ...]) -> str:
    *first, last = wanted
    return f"{', '.join(first)} or {last}" if first else last
