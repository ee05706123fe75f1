"""What a file says of the members of an ensemble, and a checkpoint of folds and members."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated

from . import metadata
from .callbacks import Record
from .metadata import Count, Evaluation, Total, Whole


@dataclass(frozen=True)
class Result:
    """What a fold, or a member of an ensemble, came to: the record of the state in which it ended."""

    epoch: Whole
    train: dict[str, float]
    validation: dict[str, float] | None
    epochs: tuple[Total, ...]  # behind the state in which each train block ended
    fold: Count | None = None
    member: Count | None = None


@dataclass(frozen=True)
class Ensemble:
    """`dlc.ensemble`: state of the main graph, [members, ...], and of what state each member's is the end. `figures`
    are those of what the ensemble predicts, made of other `parts` than those of a member."""

    members: Count
    state: dict[str, str]
    parts: dict[str, str] = field(default_factory=dict)
    figures: tuple[str, ...] = ()

    def evaluation(self, plan: Evaluation) -> Evaluation:
        """How to evaluate what the ensemble predicts."""
        parts = tuple(replace(one, part=self.parts[one.part]) for one in plan.parts if one.part in self.parts)
        values, tables = (
            {name: value for name, value in named.items() if name in self.figures}
            for named in (plan.values, plan.tables)
        )
        return Evaluation(parts, values, tables=tables)


@dataclass
class Lane:
    """Where one of several members stands that train at once (together.py): as in `Progress`. `noted`: the state that
    it ends with is kept already; `short`: the record of an epoch that `steps` cut short."""

    sums: list[float] = field(default_factory=list)
    history: list[Annotated[Record, metadata.Kept(metadata.Record)]] = field(default_factory=list)
    best: metadata.Count | None = None
    score: metadata.Finite | None = None
    stopped: bool = False
    steps: metadata.Total = 0
    noted: bool = False
    short: Annotated[Record, metadata.Kept(metadata.Record)] | None = None
