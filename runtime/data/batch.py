"""What a step is given: arrays that lie ready, or rows of arrays, which are gathered where they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

Feeds = Sequence[tuple[str, "tuple[int, ...] | None", "np.ndarray | None"]]  # names, shapes, where a host has them


class Batch(Protocol):
    """Arrays by name, and how many rows they hold."""

    @property
    def arrays(self) -> Mapping[str, np.ndarray]: ...

    @property
    def rows(self) -> int: ...


class Ready(NamedTuple):
    """A batch whose arrays lie ready."""

    arrays: Mapping[str, np.ndarray]
    rows: int


class Picker:
    """Arrays whose first dimension counts rows, for batches of `rows` of them, and where a step wants these."""

    def __init__(self, arrays: Mapping[str, np.ndarray], rows: int) -> None:
        self.arrays, self.rows = arrays, rows
        self.feeds: Feeds | None = None
        self.pairs: list[tuple[np.ndarray, np.ndarray]] = []

    def meets(self, feeds: Feeds) -> bool:
        """Whether what a step wants has the shapes of a batch."""
        if any(shape != (self.rows, *self.arrays[name].shape[1:]) for name, shape, _ in feeds):
            return False
        self.feeds, self.pairs = feeds, [(self.arrays[name], to) for name, _, to in feeds if to is not None]
        return True


class Picked(Mapping[str, np.ndarray]):
    """Rows of arrays by name. A step gathers them straight into the memory that it reads, in one copy; whoever else
    reads one is given an array of his own. The batch is its own mapping, since to make a second object for each takes
    half a microsecond of a step."""

    __slots__ = ("_picker", "_places", "rows")

    def __init__(self, picker: Picker, places: np.ndarray) -> None:
        """`places`: shape [rows] int64, all of them places of rows."""
        self._picker, self._places, self.rows = picker, places, picker.rows

    @property
    def arrays(self) -> Picked:
        return self

    def into(self, feeds: Feeds) -> bool:
        """Gathers them into arrays of the same types, by name; False where those have other shapes."""
        picker, places = self._picker, self._places
        if picker.feeds is not feeds and not picker.meets(feeds):
            return False
        for array, to in picker.pairs:
            array.take(places, 0, to, "clip")  # in order to raise instead, NumPy would gather them elsewhere first
        return True

    def __getitem__(self, name: str) -> np.ndarray:
        return self._picker.arrays[name].take(self._places, 0)

    def __iter__(self) -> Iterator[str]:
        return iter(self._picker.arrays)

    def __len__(self) -> int:
        return len(self._picker.arrays)
