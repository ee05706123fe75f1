"""The train blocks of a file, which run one after another: which is meant, and where one begins."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from .failures import Error
from .file import Part, Stage
from .nearest import did_you_mean
from .state import State

if TYPE_CHECKING:
    from .checkpoint import Plan
    from .train import Trainer


def place(stages: Sequence[Stage], only: str | int) -> int:
    """The place, from 0, of a train block that is meant by its title or its place, from 1. Raises `Error` E0638."""
    titles = [stage.title for stage in stages]
    if only in titles:
        return titles.index(str(only))
    number = int(only) if isinstance(only, int) or re.fullmatch("[0-9]{1,9}", only) else 0
    if not 1 <= number <= len(stages):
        known = [title for title in titles if title is not None]
        shown = [f"{k}{f' ({title})' if title else ''}" for k, title in enumerate(titles, 1)]
        raise Error(
            "E0638",
            f"there is no train block `{only}`",
            notes=["blocks are " + ", ".join(shown)],
            help=did_you_mean(str(only), known) or "give its title, or its place in the spec, from 1",
        )
    return number - 1


def there(stages: Sequence[Stage], block: int, where: str) -> None:
    """Raises `Error` E0742 for a checkpoint in a train block that a file does not have."""
    if block >= len(stages):
        raise Error(
            "E0742",
            "the checkpoint belongs to another model",
            where=where,
            notes=[f"it is in train block {block + 1}, the model has {len(stages)}"],
            help="resume with the file that it was made with",
        )


def begin(values: State, before: Stage, stage: Stage, starts: Callable[[Part], Mapping[str, np.ndarray]]) -> None:
    """The state of its own that a block begins with: start values (those of a part by output, `starts`), but for what
    begins as a parameter is now and what it keeps of the block before."""
    for part in stage.parts:
        own = {tensor: values.name(part.index, tensor) for tensor in part.updates}
        counter = next((name for tensor, name in own.items() if tensor in ("step", "turn/step")), None)
        if counter is None or not values.read(counter).any():
            continue  # it has not run yet
        values.write(counter, np.zeros((), values.slots[counter].dtype))
        made = starts(part)
        for tensor, name in own.items():
            if name is not None and "/" in tensor and tensor in part.initials:
                values.write(name, made[part.initials[tensor]])
    for state, parameter in stage.starts.items():
        for part in stage.parts:
            name, source = values.name(part.index, state), values.name(part.index, parameter)
            if name is not None and source is not None:
                values.write(name, values.read(source))
    if stage.settings.get("keep") == "optimizer":
        for old, new in zip(before.parts, stage.parts, strict=False):
            _kept(values, old, new)


def _kept(values: State, old: Part, new: Part) -> None:
    """Optimizer state of one pass goes on in another, with the number of its updates."""
    held = {_bare(tensor): values.name(old.index, tensor) for tensor in old.updates}
    for tensor in new.updates:
        name, source = values.name(new.index, tensor), held.get(_bare(tensor))
        if name is None or source is None or values.slots[name].part != new.index:
            continue  # a parameter or a state of a layer is what it is
        if values.slots[name].shape == values.slots[source].shape:
            values.write(name, values.read(source))


def _bare(tensor: str) -> str:
    """The name of optimizer state without the number of its pass: `adam[1]/m/W` is `adam/m/W`."""
    return re.sub(r"^([^/\[]+)\[[0-9]+\]/", r"\1/", tensor)


def title(trainer: Trainer, together: bool = False) -> str:
    """What is trained, in words: which fold, member and block of several; `together`: all members at once."""
    count, called = len(trainer.file.stages), trainer.stage.title
    leg = trainer.legs.title(trainer.progress.leg, together)
    if count == 1:
        return trainer.file.title + leg
    return f"{trainer.file.title}{leg}, {f'{called}, ' if called else ''}block {trainer.progress.block + 1} of {count}"


def gone_on(plan: Plan, before: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a train block that begins: what it has of the one before is as that was asked to do it."""
    given = asdict(plan)
    same = (name for name in ("data", "validate", "batch") if settings.get(name) == before.get(name))
    return {**settings, **{name: given[name] for name in same}, "test": given["test"]}
