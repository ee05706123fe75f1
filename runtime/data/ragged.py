"""Rows of different lengths along a dimension that the spec leaves free: they are filled up with 0 behind their ends,
to the longest. What counts of a row the spec says, by its lengths or by what is not 0."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..memory import refuse_huge
from .fields import Field


def loose(field: Field) -> list[int]:
    """The axes of one row along which rows may differ in length; none where rows are not counted first."""
    return [axis - 1 for axis, size in enumerate(field.shape) if axis and not isinstance(size, int) and field.rows == 0]


def filled(field: Field, value: object, where: str) -> np.ndarray | None:
    """Rows of different lengths (a list of arrays or of lists, an array of them) as one array; None where they are not
    that: they differ in more, or hold no numbers. Raises `Error` E0624."""
    axes = loose(field)
    if not axes or not isinstance(value, list | tuple | np.ndarray):
        return None
    rows = []
    for item in value:
        try:
            rows.append(np.asarray(item))
        except (ValueError, TypeError):
            return None
    return together(rows, axes, len(field.shape) - 1, field, where)


def together(rows: Sequence[np.ndarray], axes: Sequence[int], rank: int, field: Field, where: str) -> np.ndarray | None:
    """Arrays one below the other, each filled up along these axes."""
    if not rows or any(row.ndim != rank or row.dtype.kind not in "biuf" for row in rows):
        return None
    shapes = np.array([row.shape for row in rows])
    most = shapes.max(axis=0)
    if any((shapes[:, axis] != most[axis]).any() for axis in range(rank) if axis not in axes):
        return None
    kind = np.result_type(*({row.dtype for row in rows if row.size} or {field.dtype}))
    refuse_huge(
        len(rows) * int(np.prod(most)) * kind.itemsize, where, f"the rows of `{field.name}` do not", "filled up"
    )
    made = np.zeros((len(rows), *most), kind)
    for at, row in enumerate(rows):
        made[at][tuple(slice(0, size) for size in row.shape)] = row
    return made


def listed(lengths: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Lists of numbers that stand one behind the other, filled up to the longest: [lists, longest]."""
    there = np.arange(int(lengths.max(initial=0))) < lengths[:, None]
    made = np.zeros(there.shape, values.dtype)
    made[there] = values
    return made


def joined(arrays: Sequence[np.ndarray], axis: int, field: Field, where: str) -> np.ndarray:
    """Pieces one behind the other along `axis`, filled up where they differ along a dimension that is free. Raises
    `Error` E0624."""
    free = [along for along, size in enumerate(field.shape) if along != axis and not isinstance(size, int)]
    if all(array.shape[along] == arrays[0].shape[along] for array in arrays for along in free):
        return np.concatenate(arrays, axis=axis)
    shape = list(arrays[0].shape)
    for along in free:
        shape[along] = max(array.shape[along] for array in arrays)
    shape[axis] = sum(array.shape[axis] for array in arrays)
    kind = np.result_type(*arrays)
    size = math.prod(shape) * kind.itemsize
    help = "cut the longest rows: all are filled up to their length"
    refuse_huge(size, where, f"the rows of `{field.name}` do not", "filled up", help)
    made, start = np.zeros(shape, kind), 0
    for array in arrays:
        place = [slice(0, size) for size in array.shape]
        place[axis] = slice(start, start := start + array.shape[axis])
        made[tuple(place)] = array
    return made
