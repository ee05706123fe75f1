"""What a file says of the members of an ensemble, and a checkpoint of folds and members."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from . import metadata
from .callbacks import Record
from .metadata import Count, Total, Whole


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
    """`dlc.ensemble`: state of the main graph, [members, ...], and of what state each member's is the end."""

    members: Count
    state: dict[str, str]


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
