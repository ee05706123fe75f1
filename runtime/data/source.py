"""The one batch source: `batches(epoch, cursor)` gives the rest of an epoch from row `cursor` on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from .. import random
from ..memory import refuse_huge
from .ahead import Waits, ahead
from .batch import Batch, Picked, Picker, Ready
from .check import Columns

BLOCK = 1 << 18  # bytes gathered at once: the second-level cache holds them, and what a step reads, until it takes them
READ = 1 << 24  # the same from a disk
MANY = 1 << 24  # rows whose order takes more memory than one need not ask for
ORDERED = 24  # bytes that a row takes while rows are put in order; 8 of them stay

Order = Callable[
    [int, np.ndarray], np.ndarray
]  # epoch, its rows as they were shuffled -> those that it takes, in order
Block = tuple[int, int, list[tuple[str, int, np.ndarray]]]  # from which row to which, and arrays with their axes
Sizes = int | Mapping[str, "int | Literal['all']"]  # rows of a batch, or those of each dimension that counts rows


class Source(Protocol):
    """What training reads. `length` is that of an epoch in rows; `batches` must give the same again for the same
    (epoch, cursor), so that a resumed run is the unbroken one."""

    def length(self, epoch: int) -> int: ...

    def batches(self, epoch: int, cursor: int = 0) -> Iterator[Batch]: ...


@dataclass(frozen=True)
class Rows:
    """A dimension that counts rows: how many there are, how many a batch takes, in an order from `seed` (None: as they
    stand), less those that `choose` leaves out. `place`: among those of the file."""

    name: str
    count: int
    batch: int
    seed: int | None
    place: int
    choose: Order | None

    def order(self, epoch: int, turn: int = 0) -> np.ndarray | None:
        """Of an epoch; None for all as they stand. Shorter dimensions take several turns in it, each in another."""
        order = None
        if self.seed is not None:
            own = (self.place, turn) if self.place or turn else ()
            order = random.permutation(self.count, seed=self.seed, purpose=random.ORDER, turn=epoch, own=own)
        if self.choose is not None:
            order = self.choose(epoch, np.arange(self.count) if order is None else order)
        return order


def dimensions(columns: Columns, batch: Sizes, seed: int | None, choose: Mapping[str, Order]) -> list[Rows]:
    """The dimensions of data that count rows, that of the most batches first: an epoch takes each of its rows once."""
    found = []
    for name, count in (columns.counts or {"": columns.rows}).items():
        size = batch if isinstance(batch, int) else batch.get(name, "all")
        taken, own = (count, None) if size == "all" else (min(size, count), seed)
        if own is not None and count > MANY:
            help = "`stream: 65_536` in the train block puts so many rows at a time in a new order"
            what = "the numbers of the rows, in a new order, do not"
            refuse_huge(ORDERED * count, columns.where, what, f"for {count:,} rows", help)
        found.append(Rows(name, count, taken, own, columns.places.get(name, 0), choose.get(name)))
    longest = max(found, key=lambda rows: -(-rows.count // rows.batch))
    return [longest, *(rows for rows in found if rows is not longest)]


@dataclass(frozen=True)
class Cut:
    """What batches are cut to along a dimension: the longest of their rows. `lengths`: those of all rows in an epoch;
    `axes`: those that are the dimension in each array, as two of a mask that says which place attends to which."""

    lengths: Callable[[int], np.ndarray | None]
    axes: Mapping[str, tuple[int, ...]]

    def __call__(self, batch: Batch, lengths: np.ndarray) -> Batch:
        """A batch, of rows of these lengths. What it keeps is at least one place, and no more than there are."""
        most = max(1, int(np.ceil(lengths.max())))
        arrays = dict(batch.arrays)
        for name, axes in self.axes.items():
            for axis in axes:
                arrays[name] = take(arrays[name], axis, slice(0, most))
            if axes:
                arrays[name] = np.ascontiguousarray(arrays[name])
        return Ready(arrays, batch.rows)


class ArraySource:
    """Checked arrays, in an order of their own each epoch (`seed` None: as they stand). `choose`: which rows of a
    dimension an epoch takes, and in which order.

    `drop`: a last batch that is short is left out, unless it is the only one. `cut`: to what each batch is cut.

    Of several dimensions that count rows an epoch goes through the longest once, counted in batches; each other gives
    every batch as many rows as it is to have, and begins again, in another order, when it is at its end.
    """

    def __init__(
        self,
        columns: Columns,
        batch: Sizes,
        seed: int | None = None,
        choose: Mapping[str, Order] | None = None,
        *,
        drop: bool = False,
        cut: Cut | None = None,
    ) -> None:
        self.columns, self._cut = columns, cut
        self._lead, *self._others = dimensions(columns, batch, seed, choose or {})
        self.rows, self.batch = self._lead.count, self._lead.batch
        self._drop = drop and self.batch < self.rows
        self._whole = {f.name: columns.arrays[f.name] for f in columns.fields if f.rows is None}
        self._rowed = self._along(self._lead)
        size = max(1, sum(array.nbytes for _, _, array in self._rowed) // self.rows)
        # Random places of a disk take time, so a thread reads the next block while steps take this one.
        self._mapped = any(_on_disk(array) for _, _, array in self._rowed)
        self._block = max(1, (READ if self._mapped else BLOCK) // (size * self.batch)) * self.batch
        self.waits = Waits()
        self._known: tuple[int, np.ndarray | None] | None = None
        self._beside = [(rows, self._along(rows)) for rows in self._others]
        self._alone = not self._whole and not self._beside and all(axis == 0 for _, axis, _ in self._rowed)
        self._turns: dict[tuple[str, int, int], np.ndarray | None] = {}

    def _along(self, rows: Rows) -> list[tuple[str, int, np.ndarray]]:
        """The arrays of a dimension, each with the axis that is it."""
        fields = self.columns.fields
        return [
            (f.name, f.rows, self.columns.arrays[f.name]) for f in fields if f.rows is not None and f.along == rows.name
        ]

    def length(self, epoch: int) -> int:
        order = None if self._lead.choose is None else self._order(epoch)  # else all rows, in whichever order
        rows = self.rows if order is None else len(order)
        return max(rows - rows % self.batch, min(rows, self.batch)) if self._drop else rows

    def _order(self, epoch: int) -> np.ndarray | None:
        """The rows of an epoch; None for all as they stand. The last one is kept."""
        if self._known is None or self._known[0] != epoch:
            self._known = epoch, self._lead.order(epoch)
        return self._known[1]

    def batches(self, epoch: int, cursor: int = 0) -> Generator[Batch, None, None]:
        order = self._order(epoch)
        if self._cut is not None:
            return self._shorter(self._cut, epoch, cursor)
        if order is not None and self._alone and not self._mapped:
            return self._picked(order[: self.length(epoch)], cursor)
        return self._batches(epoch, cursor)

    def _shorter(self, cut: Cut, epoch: int, cursor: int) -> Generator[Batch, None, None]:
        order, lengths = self._order(epoch), cut.lengths(epoch)
        assert order is not None and lengths is not None  # the chooser of the lengths is that of the order
        for batch in self._batches(epoch, cursor):
            yield cut(batch, lengths[order[cursor : cursor + batch.rows]])
            cursor += batch.rows

    def _batches(self, epoch: int, cursor: int) -> Generator[Batch, None, None]:
        blocks = self._blocks(epoch, cursor)
        if not self._mapped:
            yield from self._parted(blocks, epoch)
            return
        with closing(ahead(blocks, self.waits)) as read:
            yield from self._parted(read, epoch)

    def _picked(self, order: np.ndarray, cursor: int) -> Generator[Batch, None, None]:
        arrays, size = {name: array for name, _, array in self._rowed}, self.batch
        picker, left = Picker(arrays, size), max(0, len(order) - cursor) % size  # a cursor may lie past the end
        for first in range(cursor, len(order) - left, size):
            yield Picked(picker, order[first : first + size])
        if left:
            yield Picked(Picker(arrays, left), order[len(order) - left :])

    def _parted(self, blocks: Iterator[Block], epoch: int) -> Iterator[Batch]:
        for start, stop, block in blocks:
            for first in range(0, stop - start, self.batch):
                last = min(first + self.batch, stop - start)
                if self._alone:
                    yield Ready({name: array[first:last] for name, _, array in block}, last - first)
                    continue
                part = slice(first, last)
                arrays = {name: take(array, axis, part) for name, axis, array in block}
                arrays.update(self._whole)
                for others, held in self._beside:
                    chosen = self._cycled(others, epoch, (start + first) // self.batch)
                    arrays.update((name, take(array, axis, chosen)) for name, axis, array in held)
                yield Ready(arrays, last - first)

    def _blocks(self, epoch: int, cursor: int) -> Iterator[Block]:
        """The rows of an epoch from one on, many at once: from which to which, and the arrays with their axes."""
        order, end = self._order(epoch), self.length(epoch)
        for start in range(cursor, end, self._block):
            stop = min(start + self._block, end)
            rows = slice(start, stop) if order is None else order[start:stop]
            block = [(name, axis, take(array, axis, rows)) for name, axis, array in self._rowed]
            if self._mapped and order is None:
                block = [(name, axis, array.copy()) for name, axis, array in block]
            yield start, stop, block

    @property
    def plain(self) -> bool:
        """Whether its arrays have one dimension that counts rows, the first, all of which every epoch takes."""
        return (
            not self._drop
            and not self._beside
            and self._lead.choose is None
            and all(axis == 0 for _, axis, _ in self._rowed)
        )

    @property
    def whole(self) -> list[str]:
        """The arrays that every batch has all of."""
        return list(self._whole)

    def _cycled(self, rows: Rows, epoch: int, number: int) -> slice | np.ndarray:
        """The rows of a dimension that has fewer batches than the epoch, in batch `number` of it, from 0."""
        first = self._turn(rows, epoch, 0)
        if first is None:
            return slice(0, rows.count)
        count = len(first)
        size = min(rows.batch, count)
        places = np.arange(number * size, (number + 1) * size)
        found = []
        for turn in range(int(places[0]) // count, int(places[-1]) // count + 1):
            order = self._turn(rows, epoch, turn)
            assert order is not None  # as that of the first turn
            found.append(order[places[places // count == turn] % count])
        return np.concatenate(found)

    def _turn(self, rows: Rows, epoch: int, turn: int) -> np.ndarray | None:
        key = rows.name, epoch, turn
        if key not in self._turns:
            if len(self._turns) > 3 * len(self._others):
                self._turns.clear()
            self._turns[key] = rows.order(epoch, turn)
        return self._turns[key]


def sweep(columns: Columns, batch: int) -> Iterator[Batch]:
    """All rows once, in the order of the data: of several dimensions that count rows each batch has its share."""
    counts = columns.counts
    if len(counts) < 2:
        yield from ArraySource(columns, batch).batches(0)
        return
    number = min(-(-max(counts.values()) // batch), *counts.values())
    for k in range(number):
        arrays = dict(columns.arrays)
        for f in columns.fields:
            if f.rows is not None:
                n = counts[f.along]
                arrays[f.name] = take(arrays[f.name], f.rows, slice(n * k // number, n * (k + 1) // number))
        longest = columns.rows
        yield Ready(arrays, longest * (k + 1) // number - longest * k // number)


def _on_disk(array: np.ndarray) -> bool:
    """Whether the numbers of an array lie in a file."""
    base: object = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            return True
        base = base.base
    return False


def take(array: np.ndarray, axis: int, rows: slice | np.ndarray) -> np.ndarray:
    if isinstance(rows, np.ndarray):
        return np.take(np.asarray(array), rows, axis)  # rows copied whole: several times as fast as by an index
    return np.asarray(array[(slice(None),) * axis + (rows,)])


def side_by_side(sources: Sequence[ArraySource], epoch: int, cursor: int = 0) -> Iterator[Batch]:
    """The batches of several plain sources of the same data at once: each array [sources, rows, ...], the rows of each
    in the order of its own."""
    first, orders = sources[0], [source._order(epoch) for source in sources]
    size = max(1, first._block // len(sources) // first.batch) * first.batch
    for start in range(cursor, first.rows, size):
        stop = min(start + size, first.rows)
        rows = [slice(start, stop) if order is None else order[start:stop] for order in orders]
        block = [(name, np.stack([array[own] for own in rows])) for name, _, array in first._rowed]
        for begin in range(0, stop - start, first.batch):
            end = min(begin + first.batch, stop - start)
            arrays = {name: array[:, begin:end] for name, array in block}
            yield Ready({**arrays, **first._whole}, end - begin)
