"""What a file says of the members of an ensemble, and a checkpoint of folds and members that have ended."""

from __future__ import annotations

from dataclasses import dataclass

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
