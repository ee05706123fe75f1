"""What state begins with: start values, which each part's own initialization computes from the seed of a trainer, and
the counts that a file leaves to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import helper, numpy_helper

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
    run = trainer._starters.get(part.index) or _starter(trainer, part)
    if trainer.legs.count > 1:
        trainer._starters[part.index] = run
    seed = np.array(trainer.own_seed % (1 << 64), np.uint64)
    return dict(zip(run.outputs, run.run(run.outputs, {"seed": seed}), strict=True))


def _starter(trainer: Trainer, part: Part) -> session.Session:
    """The initialization of a part; of a file of ours with the seed as an input."""
    assert part.initialization is not None
    model = graphs.standalone(trainer.file.frame, part.initialization)
    held = [one for one in model.graph.initializer if one.name == "seed"]
    if held and trainer.file.ours:
        model.graph.initializer.remove(held[0])
        model.graph.input.append(helper.make_tensor_value_info("seed", held[0].data_type, []))
    return session.Session(model, session.Options("cpu", session.cores(), trainer._how.fused))


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
