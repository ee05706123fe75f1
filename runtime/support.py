"""What numbers a value may be: those of a list, or those between two ends, whole or not.

The language states it (`y in 0..2`), the signature of a compiled file holds it for its inputs and targets, and data are
held against it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from .metadata import Possible


@dataclass(frozen=True)
class Support(Possible):
    """What an entry of the signature says, and whether arrays are so."""

    def __str__(self) -> str:
        if self.values is not None:
            return _either([_text(value) for value in self.values])
        if self.whole and self.low is not None and self.high is not None and 0 <= self.high - self.low < 2:
            return _either([_text(self.low + i) for i in range(int(self.high - self.low) + 1)])
        low = "" if self.low is None else f"{'above' if self.low_open else 'from'} {_text(self.low)}"
        end = "" if self.high is None else _text(self.high)
        if end:
            end = f"below {end}" if self.high_open else f"to {end}" if low.startswith("from") else f"up to {end}"
            end = f", {end}" if low and not end.startswith("to") else f" {end}" if low else end
        return f"{'integers' if self.whole else 'numbers'} {low}{end}".rstrip()

    def __contains__(self, number: object) -> bool:
        return self.good(np.asarray(number))

    def good(self, array: np.ndarray) -> bool:
        """Whether every element that this is about is one of the numbers. As fast as NumPy has it."""
        array = self.chosen(array)
        if not array.size:
            return True
        if self.values is not None:
            return not self._outside(array).any()
        low, high, low_open, high_open = self._bounds(array)
        least, most = array.min(), array.max()
        if (low is not None and not (least > low if low_open else least >= low)) or (
            high is not None and not (most < high if high_open else most <= high)
        ):
            return False
        return not self.whole or array.dtype.kind in "iub" or bool((array == np.floor(array)).all())

    def wrong(self, array: np.ndarray) -> np.ndarray:
        """Which elements of an array are none of the numbers."""
        found = np.zeros(array.shape, bool)
        self.chosen(found)[...] = self._outside(self.chosen(array))
        return found

    def chosen(self, array: np.ndarray) -> np.ndarray:
        """The elements that this is about, as a view; all where its part is of another rank."""
        if self.part is None or len(self.part) != array.ndim:
            return array
        return array[tuple(slice(None) if place is None else slice(*place) for place in self.part)]

    def _outside(self, array: np.ndarray) -> np.ndarray:
        if self.values is not None:
            found = np.ones(array.shape, bool)
            for value in self.values:
                found &= array != value
            return found
        low, high, low_open, high_open = self._bounds(array)
        found = np.zeros(array.shape, bool)
        if low is not None:
            found |= array <= low if low_open else array < low
        if high is not None:
            found |= array >= high if high_open else array > high
        if self.whole and array.dtype.kind not in "iub":
            found |= array != np.floor(array)
        return found

    def _bounds(self, array: np.ndarray) -> tuple[int | float | None, int | float | None, bool, bool]:
        """The ends, and which are open: for integers the last that are in, as beyond 2^53 a float is no bound."""
        low, high = self.low, self.high
        if array.dtype.kind not in "iub":  # bfloat16 is of a kind of its own
            return low, high, self.low_open, self.high_open
        first = None if low is None else math.floor(low) + 1 if self.low_open else math.ceil(low)
        last = None if high is None else math.ceil(high) - 1 if self.high_open else math.floor(high)
        return first, last, False, False

    def entry(self) -> dict[str, Any]:
        """It as JSON of the signature has it: what is as always is left out."""
        return {one.name: value for one in fields(self) if (value := getattr(self, one.name)) != one.default}


def index(size: int | None) -> Support:
    """The places in a dimension of a size, None where it is not known."""
    return Support(0, None if size is None else size - 1, whole=True)


def _either(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}" if words else "no number"


def _text(value: int | float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"
