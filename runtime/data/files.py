"""Tables out of several files: the rows of one behind those of another."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from .check import Lines
from .fields import Field
from .ragged import joined

Found = tuple[dict[str, object], Lines]  # columns by their names and those of fields; where the rows are from


class Files(Lines):
    """Where rows are from that several files have."""

    files: Sequence[Lines]
    ends: Sequence[int]

    def at(self, row: int) -> str:
        file = bisect_right(self.ends, row)
        return self.files[file].at(row - (self.ends[file - 1] if file else 0))


def behind(tables: Sequence[Found], fields: tuple[Field, ...], where: str) -> Found:
    """The rows of several files as one table. Of files that do not have the same fields that is the one which lacks
    some: the check then refuses it by its name."""
    of = [{field.name for field in fields if isinstance(found.get(field.name), np.ndarray)} for found, _ in tables]
    fewest = min(range(len(tables)), key=lambda k: len(of[k]))
    if len(tables) == 1 or any(names != of[fewest] for names in of):
        return tables[fewest]
    whole = dict(tables[0][0])
    for field in fields:
        if field.name in of[0]:
            arrays = [np.asarray(found[field.name]) for found, _ in tables]
            whole[field.name] = joined(arrays, 0, field)
    files = [lines for _, lines in tables]
    made = Files(where, range(sum(len(one.lines) for one in files)), files[0].names)
    made.files, made.ends = files, list(accumulate(len(one.lines) for one in files))
    return whole, made
