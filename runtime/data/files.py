"""Tables out of several files: the rows of one behind those of another."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np

from ..failures import Error
from ..memory import free, refuse_huge
from . import packed
from .check import Lines, check_shape, no_rows
from .fields import Field
from .header import plain
from .ragged import joined
from .raw import Raw

Found = tuple[dict[str, object], Lines]  # columns by their names and those of fields; where the rows are from


class Files(Lines):
    """Where rows are from that several files have."""

    files: Sequence[Lines]
    ends: Sequence[int]

    def at(self, row: int) -> str:
        file = bisect_right(self.ends, row)
        return self.files[file].at(row - (self.ends[file - 1] if file else 0))


def each(path: Path, ending: str, read: Callable[[Path], Found], fields: tuple[Field, ...]) -> Found:
    """The table of a file, or of those in a folder that end so, packed or not. Raises `Error` as `read` and `behind`
    do, and E0603."""
    if not path.is_dir():
        return read(path)
    return behind((read(file) for file in packed.files(path, ending) if not packed.blank(file)), fields, str(path))


def behind(found: Iterable[Found], fields: tuple[Field, ...], where: str) -> Found:
    """The rows of several files as one table. A file without rows adds none. Of files that do not have the same fields
    that is the one which lacks some: the check then refuses it by its name. Raises `Error` E0609 to E0611 for a file
    that does not fit to the others, E0618, E0624."""
    tables: list[Found] = []
    parts: list[dict[str, np.ndarray]] = []  # the arrays of each
    size, most = 0, free()
    empty: Found | None = None
    for table in found:
        if not table[1].lines:
            empty = empty or table
            continue
        tables.append(table)
        parts.append({f.name: array for f in fields if isinstance(array := table[0].get(f.name), np.ndarray)})
        if parts[-1].keys() != parts[0].keys():
            return table if parts[0].keys() - parts[-1].keys() else tables[0]
        same_columns(fields, tables[0][1], table[1])
        size += sum(array.nbytes for array in parts[-1].values())
        if size > most // 2:  # all is held once more when it is put together
            help = "`stream: 65_536` in the train block reads them part by part"
            refuse_huge(2 * size, where, "the files in this folder do not", "so far", help)
    if len(tables) < 2:
        only = tables[0] if tables else empty
        if only is None:
            raise no_rows(where)
        return only
    whole = dict(tables[0][0])
    for field in fields:
        if field.name not in parts[0]:
            continue
        if not isinstance(field, Raw):
            for (_, lines), part in zip(tables, parts, strict=True):
                check_shape(field, part[field.name], {}, lines)
        whole[field.name] = joined([part[field.name] for part in parts], 0, field, where)
    files = [lines for _, lines in tables]
    made = Files(where, range(sum(len(one.lines) for one in files)), files[0].names)
    made.files, made.ends = files, list(accumulate(len(one.lines) for one in files))
    return whole, made


def same_columns(fields: tuple[Field, ...], first: str, other: str) -> None:
    """E0609 where a field of a free width is made of other columns in one part of a table than in another: what one
    lacks is no end of its rows, as it is of lists, which are filled up."""
    if not isinstance(first, Lines) or not isinstance(other, Lines):
        return
    for field in fields:
        if isinstance(field, Raw) or all(isinstance(size, int) for size in field.shape[1:]):
            continue
        for less, more in ((other, first), (first, other)):
            names = more.names.get(field.name, [])
            there = {plain(name) for name in less.names.get(field.name, [])}
            lacking = next((name for name in names if plain(name) not in there), None)
            if lacking is not None:
                raise Error(
                    "E0609",
                    f"the data have no `{lacking}`",
                    where=str(less),
                    notes=[
                        f"`{field.name}: {field}` is in {', '.join(names[:12])}{', ...' * (len(names) > 12)}"
                        + (f" of {more}" if more != less else " of the rows before")
                    ],
                    help="give all files the same columns, or the spec the width that it takes; lists may differ in "
                    "length, in JSON Lines and Parquet",
                )
