"""Finding the compiled file that a command line means: a .onnx file, or the one in a run folder."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dlc.runtime.failures import Error

if TYPE_CHECKING:
    from dlc.runtime.file import CompiledFile


def model_of(path: Path) -> Path:
    """A file as it is; the trained .onnx file of a run folder. E0710 where there is none."""
    if not path.is_dir():
        return path
    found = sorted(path.glob("*.onnx"))
    if len(found) != 1:
        raise Error(
            "E0710", f"the folder holds {len(found) or 'no'} .onnx files: it is no run folder", where=str(path),
            help="give a .onnx file, or the folder that `dlc train` said it wrote",
        )
    return found[0]


def compiled_file(path: Path) -> CompiledFile:
    from dlc.runtime.file import CompiledFile

    target = model_of(path)
    if target.suffix.lower() == ".dl":
        raise Error("E0790", f"`{target}` is a spec: this command takes a compiled file",
                    help=f"dlc train {target}, or dlc compile {target}")
    return CompiledFile.load(target)
