"""Data that are read anew in each epoch, piece by piece, and are never in memory all at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from .. import checksum, random
from ..failures import Error
from . import arrow
from .ahead import Waits, ahead
from .batch import Batch, Ready
from .check import Columns, no_rows
from .fields import Field
from .files import same_columns
from .iterated import named, pieces as pieces_of
from .part import Part
from .piecewise import kind, parts
from .ragged import joined
from .source import take

SHUFFLED = 1 << 16  # rows that are put in a new order together, unless it is said
TOGETHER = 256  # pieces of one row that are checked together
Read = Callable[[object], Columns]  # a piece, checked


class Stream:
    """Rows that each epoch reads piece by piece, for `trainer.fit` in place of data in memory.

    `pieces`: a function of the epoch (from 0) that gives an iterable of pieces, the same ones when it is asked for an
    epoch again; an iterable that can be read again (a DataLoader, a list of files' contents); or the path of a Parquet
    file, whose pieces are its row groups, of a CSV or JSON Lines file, or of a folder of these or of `.npy`.
    A piece is a mapping of names to arrays, a table, or the arrays in the order of the inputs and targets, of several
    rows or of one. `rows`: how many an epoch takes; where it is not given all pieces are read once before the first
    step, which counts and checks them. `shuffle`: how many rows are in memory, and put in a new order together; 0 for
    the order in which they come. Raises `Error` E0654.

        >>> import numpy as np
        >>> from dlc.runtime import Stream
        >>> def pieces(epoch):
        ...     rng = np.random.default_rng(epoch)
        ...     for _ in range(10):
        ...         x = rng.integers(0, 2, (64, 2))
        ...         yield {"x": x, "y": x[:, 0] ^ x[:, 1]}
        >>> trainer = dlc.fit("specs/xor.dl", Stream(pieces, rows=640), epochs=2, batch=64)
        >>> trainer.history.steps
        20
    """

    def __init__(
        self,
        pieces: Callable[[int], Iterable[object]] | Iterable[object] | str | os.PathLike[str],
        *,
        rows: int | None = None,
        shuffle: int = SHUFFLED,
    ) -> None:
        self.pieces, self.rows, self.shuffle = pieces, rows, shuffle
        self.name = str(pieces) if isinstance(pieces, str | os.PathLike) else "the stream"
        self._groups: Sequence[arrow.Group] | None = None
        if isinstance(pieces, Iterator):
            raise Error(
                "E0654",
                "this iterator can be read only once, and each epoch reads the data anew",
                where=self.name,
                notes=[f"found {type(pieces).__name__}"],
                help="give the function that makes it: Stream(lambda epoch: batches()); or fit(list(batches))",
            )

    def groups(self) -> Sequence[arrow.Group] | None:
        """The row groups of Parquet files; None of other pieces, which have no places."""
        if not isinstance(self.pieces, str | os.PathLike):
            return None
        if not kind(Path(self.pieces)).endswith(".parquet"):
            return None
        if self._groups is None:
            self._groups = arrow.groups(Path(self.pieces))
        return self._groups

    def each(self, epoch: int, fields: tuple[Field, ...]) -> Iterator[object]:
        """The pieces of an epoch."""
        if isinstance(self.pieces, str | os.PathLike):
            return parts(Path(self.pieces), fields)
        made = self.pieces
        return pieces_of(_called(made, epoch) if callable(made) else made)


def _called(made: Callable[[int], Iterable[object]], epoch: int) -> Iterator[object]:
    """What the function raises is then raised where its first piece is read."""
    yield from made(epoch)


@dataclass(frozen=True)
class Streamed(Columns):
    """Data of a stream in place of those in memory: how many rows an epoch has, and how a piece is read. `digest` is a
    checksum of all of it, "" where it was not read before."""

    stream: Stream
    read: Read
    digest: str

    @cached_property
    def counts(self) -> dict[str, int]:
        """The rows of its one dimension that counts them."""
        return {"": self.rows}


def streamed(stream: Stream, fields: tuple[Field, ...], read: Read) -> Streamed:
    """A stream whose rows are counted, and checked where that takes reading them. Raises `Error` E06xx for what is
    wrong in a piece, E0618, E0653."""
    for field in fields:
        if field.rows is None or field.along:
            raise cannot(stream.name, f"`{field.name}: {field}` is not of rows of one kind")
    groups, rows, digest = stream.groups(), stream.rows, ""
    if groups is not None:
        rows = sum(group.rows for group in groups)
        digest = checksum.arrays({}, {str(k): f"{one.file.name} {one.rows}" for k, one in enumerate(groups)})
    elif rows is None:
        rows, total = 0, checksum.Sum()
        for columns in _checked(stream.each(0, fields), fields, read):
            rows += columns.rows
            total.add(checksum.arrays(columns.arrays).encode())
        digest = total.text()
    if not rows:
        raise no_rows(stream.name)
    return Streamed(fields, {}, rows, stream.name, stream, read, digest)


def cannot(where: str, why: str, instead: str | None = None) -> Error:
    """E0653. `instead`: what to do, where that is more than to take data in memory."""
    return Error(
        "E0653",
        "these data are read piece by piece, and cannot be used so",
        where=where,
        notes=[why],
        help=instead
        or "give them as arrays, as a table or as a file that fits into memory; validation data can be others",
    )


def _checked(pieces: Iterator[object], fields: tuple[Field, ...], read: Read) -> Iterator[Columns]:
    """Pieces as the graph takes them; those of one row many at a time. Those of tables have the same columns."""
    waiting: list[dict[str, np.ndarray]] = []
    first: Columns | None = None
    for piece in pieces:
        if arrow.exports(piece) or isinstance(piece, Part):
            columns = read(piece)
            first = first or columns
            same_columns(fields, first.where, columns.where)
            yield columns
            continue
        arrays = named(piece, fields, len(waiting))
        single = [f for f in fields if f.name in arrays and arrays[f.name].ndim == len(f.shape) - 1]
        single = single or [f for f in fields[:1] if all(array.ndim == 0 for array in arrays.values())]
        if not single:
            yield read(arrays)
            continue
        waiting.append(arrays)
        if len(waiting) == TOGETHER:
            yield read(_stacked(waiting))
            waiting = []
    if waiting:
        yield read(_stacked(waiting))


def _stacked(rows: list[dict[str, np.ndarray]]) -> dict[str, object]:
    """Rows as arrays by name; as lists where they have not one shape, which the check then refuses."""
    found: dict[str, object] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        cells = [row[name] for row in rows if name in row]
        found[name] = np.stack(cells) if len({cell.shape for cell in cells}) == 1 else cells
    return found


class StreamSource:
    """The batches of a stream: blocks of so many rows are read, put in an order of their own and parted into batches,
    while a thread reads the next one. An epoch is the same again from any row on."""

    def __init__(self, columns: Streamed, batch: int, seed: int | None = None, *, drop: bool = False) -> None:
        self.columns, self.seed, self.rows = columns, seed, columns.rows
        self.batch = min(batch, columns.rows)
        self.shuffles = columns.stream.shuffle > 0
        self.block = max(1, (columns.stream.shuffle or SHUFFLED) // self.batch) * self.batch
        self.waits = Waits()
        self._left_out = self.rows % self.batch if drop else 0
        self.plain, self.whole = False, list[str]()  # as those of `ArraySource`

    def length(self, epoch: int) -> int:
        return self.rows - self._left_out

    def batches(self, epoch: int, cursor: int = 0) -> Generator[Batch, None, None]:
        first = cursor // self.block
        start = cursor - first * self.block
        with closing(ahead(self._blocks(epoch, first), self.waits)) as blocks:
            for block in blocks:
                arrays = [(field.name, field.rows or 0, block.arrays[field.name]) for field in block.fields]
                for at in range(start, block.rows, self.batch):
                    end = min(at + self.batch, block.rows)
                    part = {name: a[at:end] if axis == 0 else take(a, axis, slice(at, end)) for name, axis, a in arrays}
                    if end - at == self.batch or not self._left_out:
                        yield Ready(part, end - at)
                start = 0

    def _blocks(self, epoch: int, number: int) -> Iterator[Columns]:
        """The blocks of an epoch, from one on, each in the order in which it is taken."""
        parts, held = self._from(epoch, number * self.block), list[Columns]()
        for first in range(number * self.block, self.rows, self.block):
            wanted, count = min(self.block, self.rows - first), sum(part.rows for part in held)
            while count < wanted:
                part = next(parts, None)
                if part is None:
                    raise Error(
                        "E0654",
                        f"an epoch of this stream has {first + count:,} rows where {self.rows:,} are expected",
                        where=self.columns.where,
                        notes=[f"found in epoch {epoch + 1}"],
                        help="each epoch has as many rows as the first, or as `rows` says: Stream(pieces, rows=...)",
                    )
                held.append(part)
                count += part.rows
            last = held.pop()
            keep = last.rows - (count - wanted)
            whole = _joined([*held, _part(last, 0, keep)])
            held = [_part(last, keep, last.rows)] if keep < last.rows else []
            if self.seed is not None and self.shuffles:
                own = (first // self.block,) if first else ()
                order = random.permutation(wanted, seed=self.seed, purpose=random.ORDER, turn=epoch, own=own)
                whole = _part(whole, 0, wanted, order)
            yield whole

    def _from(self, epoch: int, row: int) -> Iterator[Columns]:
        """Checked pieces of an epoch from a row on. Row groups are in an order of their own, unless a block holds all;
        those before the row are not read."""
        groups = self.columns.stream.groups()
        if groups is None:
            pieces = self.columns.stream.each(epoch, self.columns.fields)
        else:
            places = np.arange(len(groups))
            if self.seed is not None and self.shuffles and self.rows > self.block:
                places = random.permutation(len(groups), seed=self.seed, purpose=random.ORDER, turn=epoch, own=(0,))
            ends = np.cumsum([groups[int(place)].rows for place in places])
            begin = int(np.searchsorted(ends, row, side="right"))
            row -= int(ends[begin - 1]) if begin else 0
            pieces = iter([groups[place] for place in places[begin:].tolist()])
        for columns in _checked(pieces, self.columns.fields, self.columns.read):
            if row < columns.rows:
                yield _part(columns, row, columns.rows)
            row = max(0, row - columns.rows)


def _part(columns: Columns, start: int, stop: int, order: np.ndarray | None = None) -> Columns:
    """Some rows, in their order or in another."""
    rows = slice(start, stop) if order is None else order
    arrays = {field.name: take(columns.arrays[field.name], field.rows or 0, rows) for field in columns.fields}
    return Columns(columns.fields, arrays, stop - start, columns.where)


def _joined(parts: Sequence[Columns]) -> Columns:
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    arrays = {
        f.name: joined([part.arrays[f.name] for part in parts], f.rows or 0, f, first.where) for f in first.fields
    }
    return Columns(first.fields, arrays, sum(part.rows for part in parts), first.where)
