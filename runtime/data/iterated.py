"""Data that come piece by piece: any iterable of batches or rows, a generator, a DataLoader or data set of torch."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from .. import memory
from ..failures import Error
from . import images
from .check import no_rows, same_rows
from .fields import Field
from .ragged import joined
from .raw import Raw
from .table import places, refuse_more, shaped


def iterated(data: object) -> bool:
    """Whether data are an iterable of pieces, or like a list of them (a data set of torch)."""
    listed = hasattr(type(data), "__getitem__") and hasattr(type(data), "__len__")
    return (isinstance(data, Iterable) or listed) and not isinstance(data, Mapping | str | bytes | np.ndarray)


def gathered(data: Iterator[Any], fields: tuple[Field, ...], columns: Mapping[str, Sequence[str]]) -> dict[str, object]:
    """The pieces read once, as arrays by name: a piece is a mapping, or the arrays of the fields in their order
    (inputs, then targets), of a batch or of a row. A field that no piece has by its name is in its columns, which stay
    apart (`assembled`). What no field asks for is left out. Raises `Error` E0603, E0609, E0617, E0618, E0624, E0626,
    E0652."""
    parts: dict[str, list[np.ndarray]] = {}
    others: dict[str, object] = {}  # a name that no field asks for is kept, as that of a column is
    size, most, number = 0, memory.free(), -1
    for number, piece in enumerate(data):
        if number == 0 and isinstance(piece, Mapping):
            fields = tuple(_of_columns(piece, fields, columns))
        one = named(piece, fields, number)
        others.update(dict.fromkeys(one))
        found = {}
        for field in fields:
            if field.name not in one:
                continue
            array = one[field.name]
            if field.rows is not None and array.ndim == len(field.shape) - 1:
                array = np.expand_dims(array, field.rows)  # one row
            found[field.name] = array
            parts.setdefault(field.name, []).append(array)
            size += array.nbytes
            if size > most // 2:
                memory.refuse_huge(2 * size, "the data given", "the pieces of these data do not", "so far")
        _fits(fields, found, parts, number)
    if number < 0:
        raise no_rows("the data given")
    known = {field.name: field for field in fields}
    made = others
    for name, arrays in parts.items():
        axis = known[name].rows
        made[name] = arrays[0] if axis is None else joined(arrays, axis, known[name], "the data given")
    return made


def _of_columns(
    piece: Mapping[Any, Any], fields: tuple[Field, ...], columns: Mapping[str, Sequence[str]]
) -> Iterator[Field]:
    """The fields, those that a piece has as columns as a field for each of these."""
    header = [str(name) for name in piece]
    for field in fields:
        at = None if field.name in header else places(field, header, columns, "the data given")
        for place in at or ():
            yield replace(field, name=header[place], shape=field.shape[:1])
        if at is None:
            yield field


def assembled(
    data: Mapping[str, Any], fields: tuple[Field, ...], columns: Mapping[str, Sequence[str]]
) -> Mapping[str, Any]:
    """A mapping in which fields that are there as columns (`x0`, `x1`, or those that `columns` names) are under their
    own names too. Raises `Error` E0609, E0611, E0617, E0627."""
    if all(field.name in data for field in fields):
        return data
    made: dict[str, Any] = {}
    header, where = [name for name in data if isinstance(name, str)], "the data given"
    refuse_more(fields, header, columns, where)
    for field in fields:
        at = None if field.name in data else places(field, header, columns, where)
        if not at:
            continue
        parts = {header[place]: data[header[place]] for place in at}
        if len(field.shape) == 1 and len(parts) == 1:
            made[field.name] = next(iter(parts.values()))
            continue
        arrays = {name: np.atleast_1d(np.asarray(part)) for name, part in parts.items()}
        same_rows({name: len(array) for name, array in arrays.items()}, where)
        made[field.name] = shaped(field, list(arrays.values()))
    return over(made, data)


def over(own: dict[str, Any], others: Mapping[str, Any]) -> Mapping[str, Any]:
    """A mapping with some of its values replaced; the others are read when they are asked for."""
    return ChainMap(own, cast("MutableMapping[str, Any]", others))


def pieces(data: Any, *notes: str) -> Iterator[Any]:
    """The pieces, and E0652 with what is raised while one is made, by a generator or a loader."""
    found = iter(data if isinstance(data, Iterable) else (data[k] for k in range(len(data))))
    number = 0
    while True:
        try:
            piece = next(found)
        except StopIteration:
            return
        except Error:
            raise
        except Exception as problem:
            raise Error(
                "E0652",
                f"piece {number} of the data cannot be read",
                where="the data given",
                notes=[f"{type(problem).__name__}: {problem}", *notes],
                help="what gives the pieces raised this, above: mend it there, or leave the piece out",
            ) from problem
        yield piece
        number += 1


def _fits(
    fields: tuple[Field, ...], found: Mapping[str, np.ndarray], parts: Mapping[str, list[np.ndarray]], number: int
) -> None:
    """Whether the arrays of a piece go with each other and with those before. Raises `Error` E0609, E0617, E0626."""
    where = f"the data given, piece {number}"
    for name in {**parts, **found}:
        if name not in found or len(parts[name]) != number + 1:
            raise Error(
                "E0609",
                f"`{name}` is in some pieces of the data and not in others",
                where=where,
                notes=[f"this piece has {', '.join(found) or 'nothing'}"],
                help="give every piece the same arrays",
            )
    for name, array in found.items():
        field = next(one for one in fields if one.name == name)
        first = parts[name][0]
        fixed = [axis for axis, size in enumerate(field.shape) if axis != field.rows and isinstance(size, int)]
        shapes = [[one.shape[axis] for axis in fixed if axis < one.ndim] for one in (first, array)]
        if first.ndim != array.ndim or (field.rows is not None and shapes[0] != shapes[1]):
            raise Error(
                "E0626",
                f"the pieces of `{name}` do not fit together",
                where=where,
                notes=[f"found shape {list(array.shape)}, and {list(first.shape)} in piece 0", f"expected `{field}`"],
                help="give all pieces one shape, but for the number of rows: pad what is shorter",
            )
    for along in dict.fromkeys(field.along for field in fields if field.rows is not None):
        rowed = [one for one in fields if one.along == along and one.rows is not None and one.name in found]
        same_rows({one.name: found[one.name].shape[one.rows] for one in rowed if one.rows is not None}, where)


def named(piece: Any, fields: tuple[Field, ...], number: int) -> dict[str, np.ndarray]:
    """A piece as arrays by name."""
    if isinstance(piece, Mapping):
        pictures = {field.name: field for field in fields if isinstance(field, Raw) and field.image}
        return {
            str(name): _pictures(pictures[name], value) if name in pictures else np.asarray(value)
            for name, value in piece.items()
        }
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


def _pictures(field: Raw, value: Any) -> np.ndarray:
    """A cell of images, or several, as a column of them."""
    several = isinstance(value, list | tuple) or (
        isinstance(value, np.ndarray) and (value.ndim > 3 or value.dtype == object)
    )
    return images.cells(field, value if several else [value], "the data given")
