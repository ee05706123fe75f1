"""`dlc.columns`: how inputs and targets are made of columns of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .metadata import Count, Finite, Whole


@dataclass(frozen=True)
class Column:
    """How an input or target is made of columns of a table. `missing`: what an empty cell counts as, a word as a list
    of one. `output`: the output that comes out as the column is."""

    names: tuple[str, ...]
    missing: Literal["median", "mean", "indicator"] | Finite | tuple[str] | None = None
    encode: tuple[
        Literal["date", "log1p", "standardised", "bins", "vocabulary", "one_hot", "words", "characters", "image"], ...
    ] = ()
    bins: Count | None = None
    parts: tuple[Literal["year", "month", "day", "weekday", "yearday", "days"], ...] = ()  # of a date
    most: Count | None = None  # words or characters of texts that are kept
    target: bool = False
    output: str | None = None

    @property
    def words(self) -> bool:
        """Whether it becomes places of words."""
        return self.tokens or bool({"vocabulary", "one_hot"} & set(self.encode))

    @property
    def tokens(self) -> bool:
        """Whether its cells are texts that become places of their words, or of their characters."""
        return bool({"words", "characters"} & set(self.encode))

    @property
    def text(self) -> bool:
        """Whether its cells are text, not numbers."""
        return self.words or "date" in self.encode

    @property
    def image(self) -> bool:
        """Whether its cells are images."""
        return "image" in self.encode

    @property
    def index(self) -> bool:
        """Whether it becomes integers."""
        return self.tokens or bool({"vocabulary", "bins"} & set(self.encode))

    @property
    def plain(self) -> bool:
        """Whether it is taken as it stands."""
        return not self.encode and self.missing is None


@dataclass(frozen=True)
class Columns:
    """`dlc.columns`: how inputs and targets are made of columns; `fitted`: the training rows in which what that needs
    to know (means, words) was found, 0 before."""

    of: dict[str, Column]
    fitted: Whole = 0
