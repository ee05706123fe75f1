"""What a run trains one after another from the same beginning: the folds of a cross-validation, and in each the members
of an ensemble. A leg runs all train blocks; the last fold leaves no row out, and its state is what the run ends with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .data import Columns, Fold
from .failures import Error
from .file import CompiledFile
from .initial import initialize

if TYPE_CHECKING:
    from .callbacks import Record
    from .train import Trainer


@dataclass(frozen=True)
class Legs:
    """How many there are: `folds` that validate (0: none do), then one that trains on all rows, each of `members`."""

    folds: int = 0
    by: str | None = None
    members: int = 1

    @classmethod
    def of(cls, file: CompiledFile) -> Legs:
        folds = file.settings.get("folds")
        count, by = (folds["count"], folds["by"]) if isinstance(folds, Mapping) else (folds or 0, None)
        return cls(count, by, file.ensemble.members if file.ensemble else 1)

    @property
    def count(self) -> int:
        return (self.folds + 1 if self.folds else 1) * self.members

    def fold(self, leg: int) -> Fold | None:
        """Which rows a leg holds out; its index is that of no fold where it holds out none."""
        return Fold(self.folds, leg // self.members, self.by) if self.folds else None

    def last(self, leg: int) -> bool:
        """Whether a leg trains on all rows, after the folds of a cross-validation."""
        return bool(self.folds) and leg // self.members == self.folds

    def member(self, leg: int) -> int:
        return leg % self.members

    def mark(self, leg: int) -> dict[str, int]:
        """What its records say of a leg: the fold and the member, from 1; nothing of a run that has no others."""
        found = {"fold": leg // self.members + 1} if self.folds and not self.last(leg) else {}
        return {**found, "member": self.member(leg) + 1} if self.members > 1 else found

    def title(self, leg: int, together: bool = False) -> str:
        """A leg in words, to follow on others; "" where there is one."""
        words = [f"fold {leg // self.members + 1} of {self.folds}"] if self.folds and not self.last(leg) else []
        words += ["all rows"] if self.last(leg) else []
        if self.members > 1:
            at_once = f"{self.members} members at once"
            words.append(at_once if together else f"member {self.member(leg) + 1} of {self.members}")
        return "".join(f", {word}" for word in words)

    def epochs(self, results: Sequence[Mapping[str, Any]], block: int) -> int:
        """How long a train block runs on all rows, where no rows say when to stop: the mean of what the folds kept."""
        kept = [result["epochs"][block] for result in results if "fold" in result and block < len(result["epochs"])]
        return max(1, round(sum(kept) / len(kept))) if kept else 1


def result(trainer: Trainer, record: Record | None) -> dict[str, Any]:
    """What a leg came to, from the record of the state in which it ended."""
    record = record or {"epoch": trainer.progress.epoch, "train": {}, "validation": None}
    said = {name: record[name] for name in ("epoch", "train", "validation")}
    return {**trainer.legs.mark(trainer.progress.leg), **said, "epochs": list(trainer.progress.kept)}


def store(trainer: Trainer) -> None:
    """Puts the state of the member that ended among those of all members, which predict."""
    file, values = trainer.file, trainer._values
    if file.ensemble is None:
        return
    member = trainer.legs.member(trainer.progress.leg)
    for name, of in file.ensemble.state.items():
        every = values.read(name)
        every[member] = values.read(of)
        values.write(name, every)


def enter(trainer: Trainer, block: int) -> None:
    """Turns to the next leg: from the state in which the first began, but for what members have each by themselves."""
    progress, file = trainer.progress, trainer.file
    progress.leg += 1
    progress.past, progress.history = [*progress.past, *progress.history], []
    progress.epoch, progress.kept = 0, []
    trainer._turn_to(block)
    assert trainer._begin is not None
    ours = file.ensemble.state if file.ensemble else {}
    trainer._values.restore({name: array for name, array in trainer._begin.items() if name not in ours})
    if trainer.legs.member(progress.leg):
        initialize(trainer)


def score(trainer: Trainer, columns: Columns, batch: int) -> dict[str, Any]:
    """The figures and tables of the state that the file predicts with: of an ensemble the means over its members, and
    as `ensemble.NAME` those of what it predicts, where they are made of that."""
    ensemble, values = trainer.file.ensemble, trainer._values
    if ensemble is None:
        return shown(trainer.evaluator.values(columns, batch))
    now = {of: values.read(of) for of in ensemble.state.values()}
    every = {of: values.read(name) for name, of in ensemble.state.items()}
    found = []
    try:
        for member in range(ensemble.members):
            values.restore({of: array[member] for of, array in every.items()})
            found.append(trainer.evaluator.values(columns, batch))
    finally:
        values.restore(now)
    means = {name: np.mean([one[name] for one in found], axis=0, dtype=np.float64) for name in found[0]}
    if trainer.together_evaluator is not None:
        whole = trainer.together_evaluator.values(columns, batch)
        means |= {f"ensemble.{name}": value for name, value in whole.items()}
    return shown({name: np.asarray(mean) for name, mean in means.items()})


def shown(values: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Numbers as such, tables as arrays."""
    return {name: value if value.ndim else float(value) + 0.0 for name, value in values.items()}


def spread(figures: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """`mean` and `std` (of all, divided by their number) of figures by name."""
    names = [name for name in (figures[0] if figures else {}) if all(name in one for one in figures)]
    columns = {name: np.array([one[name] for one in figures], np.float64) for name in names}
    return {
        "mean": {name: float(column.mean()) for name, column in columns.items()},
        "std": {name: float(column.std()) for name, column in columns.items()},
    }


def mean(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Records of one epoch of several members as one, with the means of their figures."""
    sides = {
        side: spread([one[side] for one in records])["mean"] if all(one[side] for one in records) else None
        for side in ("train", "validation")
    }
    return {**{name: records[-1][name] for name in ("epoch", "step", "seconds")}, **sides}


def report(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a cross-validation, or an ensemble, came to: each fold or member, with mean and spread of their figures. Of
    an ensemble in folds a fold has the means of its members."""
    folds = [one for one in results if "fold" in one]
    each = folds or list(results)
    if folds and "member" in folds[0]:
        each = [_together(number, folds) for number in dict.fromkeys(one["fold"] for one in folds)]
    sides = [side for side in ("train", "validation") if all(one[side] for one in each)]
    found = {side: spread([one[side] for one in each]) for side in sides}
    return {
        "folds" if folds else "members": each,
        "mean": {side: values["mean"] for side, values in found.items()},
        "std": {side: values["std"] for side, values in found.items()},
    }


def _together(number: int, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    mine = [one for one in results if one["fold"] == number]
    sides = ("train", "validation")
    means = {side: spread([one[side] for one in mine])["mean"] if mine[0][side] else None for side in sides}
    return {"fold": number, "epoch": max(one["epoch"] for one in mine), **means}


def refuse_again(trainer: Trainer, more: bool) -> None:
    """Raises `Error` E0687 for an ensemble that is trained: nothing keeps the optimizer state of each member. `more`:
    more is asked for than what is left of a run."""
    done = trainer.progress.finished and trainer.progress.step and (more or trainer.run is None)
    if trainer.file.ensemble is not None and (done or (trainer.file.trained and trainer.run is None)):
        raise _once(trainer)


def refuse_steps(trainer: Trainer) -> None:
    """Raises `Error` E0687 for a loop of `step` over an ensemble."""
    if trainer.file.ensemble is not None:
        raise _once(trainer)


def _once(trainer: Trainer) -> Error:
    return Error(
        "E0687",
        "an ensemble is trained by one fit",
        where=trainer.file.name,
        notes=["each of its members leaves its parameters, not its optimizer's state"],
        help="train the spec anew: `dlc train SPEC`, or `dlc.Trainer(program).fit(data)`, with more `epochs` for more",
    )
