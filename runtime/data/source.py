"""The one batch source: `batches(epoch, cursor)` gives the rest of an epoch from row `cursor` on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

import numpy as np

from .. import random
from ..failures import Error
from .check import Columns

BLOCK = 1 << 24  # bytes gathered at once: one pass over memory, then batches are views


class Batch(NamedTuple):
    """Arrays by name, and how many rows they hold."""

    arrays: Mapping[str, np.ndarray]
    rows: int


class Source(Protocol):
    """What training reads. `rows` is the length of an epoch; `batches` must give the same again for the same
    (epoch, cursor), so that a resumed run is the unbroken one."""

    rows: int

    def batches(self, epoch: int, cursor: int = 0) -> Iterator[Batch]: ...


class ArraySource:
    """Checked arrays, in an order of their own each epoch (`seed` None: as they stand)."""

    def __init__(self, columns: Columns, batch: int, seed: int | None = None) -> None:
        self.rows, self.batch, self.seed = columns.rows, min(batch, columns.rows), seed
        self.columns = columns
        self._whole = {f.name: columns.arrays[f.name] for f in columns.fields if f.rows is None}
        self._rowed = [(f.name, f.rows, columns.arrays[f.name]) for f in columns.fields if f.rows is not None]
        size = max(1, sum(array.nbytes for _, _, array in self._rowed) // columns.rows)
        self._block = max(1, BLOCK // (size * self.batch)) * self.batch

    def batches(self, epoch: int, cursor: int = 0) -> Iterator[Batch]:
        order = None
        if self.seed is not None:
            order = random.permutation(self.rows, seed=self.seed, purpose=random.ORDER, turn=epoch)
        for start in range(cursor, self.rows, self._block):
            stop = min(start + self._block, self.rows)
            rows = slice(start, stop) if order is None else order[start:stop]
            block = [(name, axis, _take(array, axis, rows)) for name, axis, array in self._rowed]
            for first in range(0, stop - start, self.batch):
                last = min(first + self.batch, stop - start)
                part = slice(first, last)
                arrays = {name: array[part] if axis == 0 else _take(array, axis, part) for name, axis, array in block}
                arrays.update(self._whole)
                yield Batch(arrays, last - first)


def _take(array: np.ndarray, axis: int, rows: slice | np.ndarray) -> np.ndarray:
    return np.asarray(array[(slice(None),) * axis + (rows,)])


def split(columns: Columns, share: float, seed: int) -> tuple[Columns, Columns]:
    """A seeded random share of the rows for validation: (training, validation), each in the order of the data.

    Raises `Error` E0619 where one of the two would be empty.
    """
    train, held = sides(columns.rows, share, seed, columns.where)
    return _rows(columns, train), _rows(columns, held)


def sides(rows: int, share: float, seed: int, where: str) -> tuple[np.ndarray, np.ndarray]:
    """The rows for training and those for validation, each in order. Raises `Error` E0619."""
    held = round(rows * share)
    if not 0 < held < rows:
        raise Error(
            "E0619",
            f"a validation share of {share} of {rows} rows leaves one side empty",
            where=where,
            notes=[f"{held} rows for validation, {rows - held} for training"],
            help="give more data, another share, or none",
        )
    order = random.permutation(rows, seed=seed, purpose=random.SPLIT)
    return np.sort(order[held:]), np.sort(order[:held])


def _rows(columns: Columns, rows: np.ndarray) -> Columns:
    arrays = {
        f.name: columns.arrays[f.name] if f.rows is None else _take(columns.arrays[f.name], f.rows, rows)
        for f in columns.fields
    }
    return Columns(columns.fields, arrays, len(rows), columns.where)
