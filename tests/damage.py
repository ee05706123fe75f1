"""Flips single bits of files and reads them: every flip must be refused, or change nothing that is computed with.

python tests/damage.py [flips of each kind of file]
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from dlc.runtime import CompiledFile, Error, Trainer
from dlc.runtime.checkpoint import Checkpoint
from hand_built import blobs, compiled

KINDS = {
    "checkpoint": "a checkpoint, last.safetensors",
    "onnx": "a compiled file, NAME.onnx",
    "external": "a compiled file whose tensors lie beside it",
    "data": "the file beside it, NAME.onnx.data",
    "table": "a file that has seen a table, with its words",
}
USED = [
    "dlc.format",
    "dlc.language",
    "dlc.model",
    "dlc.precision",
    "dlc.settings",
    "dlc.sources",
    "dlc.signature",
    "dlc.evaluate",
    "dlc.columns",
    "dlc.trained",
]


def content(path: Path) -> object:
    """Everything that a file is used for, to be compared."""
    if path.suffix == ".safetensors":
        found = Checkpoint.load(path)
        return (
            {name: (a.dtype, a.shape, a.tobytes()) for name, a in found.state.items()},
            {name: a.tobytes() for name, a in (found.best or {}).items()},
            found.progress,
            found.plan,
            found.model,
            found.settings,
        )
    file = CompiledFile.load(path)
    model = file.model
    del model.metadata_props[:], model.graph.value_info[:]
    for info in model.training_info:
        del info.algorithm.value_info[:], info.initialization.value_info[:]
        info.algorithm.ClearField("doc_string")
        info.initialization.ClearField("doc_string")
        info.DiscardUnknownFields()
    # What tools write as their own, the version of the format among it: nothing is computed with it.
    for field in ("ir_version", "producer_name", "producer_version", "doc_string", "domain", "model_version"):
        model.ClearField(field)
    model.graph.ClearField("doc_string")
    model.DiscardUnknownFields()
    used = {key: file.metadata.get(key) for key in USED}
    return model.SerializeToString(deterministic=True), used


def prepare(folder: Path, kind: str) -> tuple[Path, Path]:
    """A file of a kind: what is read, and what is damaged."""
    if kind == "checkpoint":
        trainer = Trainer(
            CompiledFile(
                compiled(validate=0.2, epochs=3, stop={"patience": 6, "on": "validation.loss", "mode": "min"})
            ),
            "cpu",
        )
        run = trainer.fit(blobs(90), run=folder / "runs").run
        assert run is not None
        return run / "checkpoints" / "last.safetensors", run / "checkpoints" / "last.safetensors"
    if kind == "onnx":
        trainer = Trainer(CompiledFile(compiled()), "cpu", steps=9, observations=20)
        trainer.step(blobs(20))
        trainer.save(folder / "m.onnx")
        return folder / "m.onnx", folder / "m.onnx"
    if kind == "table":
        import dlc

        specs = Path(__file__).parents[1] / "specs" / "tables"
        learner = Trainer(dlc.compile(specs / "titanic.dl"), "cpu")
        learner.fit(epochs=1)
        learner.save(folder / "m.onnx")
        return folder / "m.onnx", folder / "m.onnx"
    values = {"W": np.random.default_rng(0).normal(size=(4, 400)).astype(np.float32)}
    CompiledFile(compiled(classes=400)).save(folder / "m.onnx", values, threshold=1000)
    return folder / "m.onnx", folder / ("m.onnx.data" if kind == "data" else "m.onnx")


def flipped(folder: Path, kind: str, flips: int, seed: int = 0) -> Counter[str]:
    """How so many flips of single bits end: "refused" (with a code), "the same" (values), "other values" and "other
    failures" (neither must be)."""
    read, damaged = prepare(folder, kind)
    whole, wanted = damaged.read_bytes(), content(read)
    seen: Counter[str] = Counter()
    choose = random.Random(seed)
    for _ in range(flips):
        at = choose.randrange(8 * len(whole))
        data = bytearray(whole)
        data[at // 8] ^= 1 << at % 8
        damaged.write_bytes(data)
        try:
            seen["the same" if content(read) == wanted else "other values"] += 1
        except Error as problem:
            seen["refused"] += 1
            seen[problem.code] += 1
        except Exception as problem:
            seen["other failures"] += 1
            print(f"{kind}, bit {at}: {type(problem).__name__}: {problem}", file=sys.stderr)
    damaged.write_bytes(whole)
    assert content(read) == wanted
    return seen


def campaign(flips: int) -> int:
    bad = 0
    for kind, words in KINDS.items():
        folder = Path(tempfile.mkdtemp())
        try:
            seen = flipped(folder, kind, flips)
        finally:
            shutil.rmtree(folder)
        bad += seen["other values"] + seen["other failures"]
        codes = ", ".join(f"{code} {count}" for code, count in sorted(seen.items()) if code.startswith("E"))
        print(
            f"{words}: {flips} flips, {seen['refused']} refused ({codes}), {seen['the same']} change nothing, "
            f"{seen['other values']} other values, {seen['other failures']} other failures",
            flush=True,
        )
    return bad


if __name__ == "__main__":
    sys.exit(1 if campaign(int(sys.argv[1]) if len(sys.argv) > 1 else 1000) else 0)
