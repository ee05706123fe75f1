"""Data that come piece by piece: any iterable of batches or rows, a generator, a DataLoader or data set of torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .. import memory
from ..failures import Error
from .fields import Field


def iterated(data: object) -> bool:
    """Whether data are an iterable of pieces, or like a list of them (a data set of torch)."""
    listed = hasattr(type(data), "__getitem__") and hasattr(type(data), "__len__")
    return (isinstance(data, Iterable) or listed) and not isinstance(data, Mapping | str | bytes | np.ndarray)


def gathered(data: Any, fields: tuple[Field, ...]) -> dict[str, object]:
    """The pieces read once, as arrays by name: a piece is a mapping, or the arrays of the fields in their order
    (inputs, then targets), of a batch or of a row. Raises `Error` E0603, E0624, E0626."""
    parts: dict[str, list[np.ndarray]] = {}
    size, most = 0, memory.free()
    pieces = data if isinstance(data, Iterable) else (data[k] for k in range(len(data)))
    for number, piece in enumerate(pieces):
        for name, array in _named(piece, fields, number).items():
            field = next((one for one in fields if one.name == name), None)
            if field is not None and field.rows is not None and array.ndim == len(field.shape) - 1:
                array = np.expand_dims(array, field.rows)  # one row
            parts.setdefault(name, []).append(array)
            size += array.nbytes
            if size > most // 2:
                memory.refuse_huge(2 * size, "the data given", "the pieces of these data do not", "so far")
    axes = {field.name: field.rows for field in fields}
    made: dict[str, object] = {}
    for name, arrays in parts.items():
        axis = axes.get(name, 0)
        try:
            made[name] = arrays[0] if axis is None else np.concatenate(arrays, axis=axis)
        except ValueError as problem:
            raise Error(
                "E0626", f"the pieces of `{name}` do not fit together", where="the data given", notes=[str(problem)]
            ) from None
    return made


def _named(piece: Any, fields: tuple[Field, ...], number: int) -> dict[str, np.ndarray]:
    """A piece as arrays by name."""
    if isinstance(piece, Mapping):
        return {str(name): np.asarray(value) for name, value in piece.items()}
    values = list(piece) if isinstance(piece, tuple | list) else [piece]
    if len(values) != len(fields):
        raise Error(
            "E0603",
            f"piece {number} of the data has {len(values)} arrays where {len(fields)} are expected",
            where="the data given",
            notes=["expected " + ", ".join(f"`{field.name}: {field}`" for field in fields)],
            help="give a mapping of names to arrays, or the arrays in this order",
        )
    return {field.name: np.asarray(value) for field, value in zip(fields, values, strict=True)}
