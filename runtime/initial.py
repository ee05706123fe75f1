"""What state begins with: start values, which each part's own initialization computes from the seed of a trainer, and
the counts that a file leaves to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import numpy_helper

from . import graphs, session
from .file import Part

if TYPE_CHECKING:
    from .train import Trainer


def initialize(trainer: Trainer) -> None:
    """Runs each part's initialization from the seed (a foreign one may have no `seed`). What was assigned stays."""
    trainer._waiting = False
    file, values = trainer.file, trainer._values
    seed = np.array(trainer.own_seed % (1 << 64), np.uint64)
    kept = set(trainer._assigned)
    if trainer.progress.leg and file.ensemble is not None:
        kept.update(file.ensemble.state)  # of the members that are trained
    for part in file.parts:
        if part.initialization is None or not part.initials:
            continue
        if (
            not trainer.progress.leg
            and file.ours
            and any(
                held.name == "seed" and numpy_helper.to_array(held) == seed for held in part.initialization.initializer
            )
        ):
            continue  # the file holds the start values of this very seed
        made = starts(trainer, part)
        for tensor, output in part.initials.items():
            name = values.name(part.index, tensor)
            if name is not None and name not in kept:
                values.write(name, made[output])


def starts(trainer: Trainer, part: Part) -> dict[str, np.ndarray]:
    """What the initialization of a part gives for the seed, by output."""
    assert part.initialization is not None
    model = graphs.standalone(trainer.file.model, part.initialization)
    for held in model.graph.initializer:
        if held.name == "seed" and trainer.file.ours:
            held.CopyFrom(graphs.tensor("seed", np.array(trainer.own_seed % (1 << 64), np.uint64)))
    run = session.Session(model, session.Options("cpu", session.cores(), trainer._how.fused))
    return dict(zip(run.outputs, run.run(run.outputs, {}), strict=True))


def steps_done(trainer: Trainer) -> int:
    """The updates behind the values that a file holds."""
    if "step" in trainer._values.slots and trainer.file.ours and len(trainer.file.parts) == 1:
        return int(trainer._values.read("step"))
    return trainer.file.updates


def reserve(trainer: Trainer, tensor: str, value: int | np.ndarray) -> None:
    """Sets `steps`, `observations` or rows by class, which the file leaves to us, in every part that has it."""
    file, values = trainer.file, trainer._values
    if file.ours:
        for slot in values.slots.values():
            if slot.tensor == tensor and slot.part is not None and slot.name not in trainer._assigned:
                turn = file.turns[slot.part]
                own = turn.count(int(value) - trainer.progress.begun) if tensor == "steps" else value
                values.write(slot.name, np.array(own, slot.dtype))
