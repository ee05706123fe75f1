"""A trainer as it stood when its checkpoint was written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .checkpoint import Checkpoint, find
from .failures import Error
from .file import CompiledFile
from .stages import there

if TYPE_CHECKING:
    from .train import Trainer


def resumed(
    cls: type[Trainer], path: Path, program: object, device: str, threads: int | None, native: bool | None
) -> Trainer:
    """As `Trainer.resume` says. Raises `Error` E0740 to E0745."""
    place, run = find(path)
    found = Checkpoint.load(place)
    if program is None and run is None:
        raise Error(
            "E0744",
            "a checkpoint alone does not say which model it belongs to",
            where=str(place),
            help="give the run folder, or the .onnx file too: Trainer.resume(path, program)",
        )
    file = CompiledFile.of(program) if program is not None else CompiledFile.load(run.model, state=False)  # type: ignore[union-attr]
    if program is None and run is not None:
        run.refuse_another(file, found)
    threads = found.plan.threads if threads is None else threads
    if native is None and not found.plan.native:  # older runs had none
        native = False
    trainer = cls(file, device, found.plan.seed, threads=threads, native=native, start="file")
    found.check(trainer.slots, file.signature.rows, place)
    there(file.stages, max(found.progress.block, found.plan.block), str(place))
    trainer._values.restore(found.state)
    trainer.progress, trainer.plan, trainer.run = found.progress, found.plan, run
    trainer.folder, trainer.resumed = getattr(program, "folder", None), True
    trainer._best, trainer._begin = found.best, found.begin
    trainer._lanes, trainer._ends = found.each, found.kept
    trainer.together = found.plan.together
    trainer._assigned.update(found.plan.assigned)
    return trainer
