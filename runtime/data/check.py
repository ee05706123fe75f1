"""Data against the fields a graph takes: each thing that can be wrong has its own error, before the first step."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..failures import Error
from ..guard import Guard
from ..nearest import did_you_mean
from ..support import Support
from .fields import Field, kind_of
from .ragged import filled

PART = 1 << 22  # elements that are looked at at once


@dataclass(frozen=True)
class Columns:
    """Checked data in the graph's dtypes: every array of `fields` by name, `rows` of them. Where several dimensions
    count rows, `rows` are those of the longest."""

    fields: tuple[Field, ...]
    arrays: Mapping[str, np.ndarray]
    rows: int
    where: str

    @cached_property
    def counts(self) -> dict[str, int]:
        """The rows of each dimension that counts them, by its name (`Field.along`)."""
        rowed = sorted((f for f in self.fields if f.rows is not None), key=lambda f: f.place)
        return {f.along: self.arrays[f.name].shape[f.rows] for f in rowed if f.rows is not None}

    @cached_property
    def places(self) -> dict[str, int]:
        """The place of each such dimension among those of the file."""
        return {f.along: f.place for f in self.fields if f.rows is not None}


class Lines(str):
    """The path of a CSV file; it knows the line of each row and the columns that make each field."""

    lines: Sequence[int]
    names: Mapping[str, list[str]]

    def __new__(cls, path: str, lines: Sequence[int], names: Mapping[str, list[str]]) -> Lines:
        made = super().__new__(cls, path)
        made.lines, made.names = lines, names
        return made

    def at(self, row: int) -> str:
        """Where a row stands."""
        return f"{self}:{self.lines[row]}"


def check(data: Mapping[str, object], fields: tuple[Field, ...], where: str) -> Columns:
    """Data as the graph takes it; arrays that no field asks for are left out.

    A lossless conversion is silent (uint8 to float, int32 to int64); float64 becomes the precision of the
    file, which was chosen when it was compiled. Raises `Error` E0609 to E0626.
    """
    arrays: dict[str, np.ndarray] = {}
    for field in fields:
        if field.name not in data:
            raise _missing(field, data, where)
        arrays[field.name] = _array(field, given(field, data, where), where)
    sizes: dict[str, tuple[int, str]] = {}
    for field in fields:
        check_shape(field, arrays[field.name], sizes, where)
    rows = _rows(fields, arrays, where)
    return Columns(fields, {f.name: _convert(f, arrays[f.name], where) for f in fields}, rows, where)


_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


class BatchCheck:
    """`check` for batch after batch: one like the last that passed costs a microsecond for each array, and what
    NumPy needs to look at its numbers. `guarded`: the step does that, as `guard` says."""

    def __init__(self, fields: tuple[Field, ...], guarded: bool = False) -> None:
        self.fields, self._guarded = fields, guarded
        self._like: list[_Like] = []

    def __call__(self, batch: Mapping[str, object]) -> Columns:
        """The closer look."""
        if not isinstance(batch, Mapping):
            raise Error(
                "E0603",
                f"a batch is a mapping of names to arrays, not `{type(batch).__name__}`",
                notes=["expected " + ", ".join(f"`{field.name}: {field}`" for field in self.fields)],
                help="step({" + ", ".join(f'"{field.name}": {field.name}' for field in self.fields) + "})",
            )
        columns = check(batch, self.fields, "the batch")
        self._like = [_like(f, columns.arrays[f.name].shape, self._guarded) for f in self.fields]
        return columns

    def alike(self, batch: Mapping[str, Any]) -> Mapping[str, np.ndarray] | None:
        """The arrays, where they are what the last batch was and their values are good, as far as the step does not
        look at these; None says to look closer."""
        if type(batch) is not dict and not isinstance(batch, Mapping):
            return None
        for name, dtype, shape, finite, limits, supports in self._like:
            array = batch.get(name)
            if type(array) is not np.ndarray or array.shape != shape or array.dtype != dtype:
                return None
            # Squares of finite numbers may overflow; then the closer look decides.
            if finite and not math.isfinite(np.vdot(array, array)):
                return None
            if limits is not None and array.size and not _within(array, *limits):
                return None
            for support in supports:
                if not support.good(array):
                    return None
        return batch if self._like else None


_Like = tuple[
    str, np.dtype[np.generic], tuple[int, ...], bool, tuple[int, int] | None, tuple[Support, ...]
]  # of a field: what its arrays are, and what is asked of their numbers


def _like(field: Field, shape: tuple[int, ...], guarded: bool) -> _Like:
    limits, supports = _limits(field)
    finite = kind_of(field.dtype) == "f" and not guarded
    return field.name, field.dtype, shape, finite, None if guarded else limits, supports


def guard(fields: Iterable[Field], figure: str) -> Guard:
    """What a step can check itself: that floats are finite, and integers between two."""
    limits = {f.name: _limits(f)[0] for f in fields}
    data = {f.name: limits[f.name] for f in fields if kind_of(f.dtype) == "f" or limits[f.name] is not None}
    return Guard(figure, data)


def _within(array: np.ndarray, low: int, high: int) -> bool:
    """Whether all labels are within. From 0 on one pass says it: read without their sign, negative ones are large."""
    if low == 0 and array.dtype.kind == "i":
        return bool(array.view(_UNSIGNED[array.dtype.itemsize]).max() <= high)
    return bool(array.min() >= low and array.max() <= high)


def _limits(field: Field) -> tuple[tuple[int, int] | None, tuple[Support, ...]]:
    """The least and the greatest label, where one support says no more than that, and the other supports."""
    for i, s in enumerate(field.supports):
        ends = isinstance(s.low, int) and isinstance(s.high, int) and not (s.low_open or s.high_open)
        if ends and field.dtype.kind in "iu" and s.part is None and s.values is None:
            return (int(s.low or 0), int(s.high or 0)), field.supports[:i] + field.supports[i + 1 :]
    return None, field.supports


def _missing(field: Field, data: Mapping[str, object], where: str) -> Error:
    names = sorted(str(name) for name in data)
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    help = did_you_mean(field.name, names)
    if help is None and isinstance(where, Lines):
        help = f"the setting `columns: {{ {field.name}: [...] }}` says which columns they are"
        if names and all(name.replace(".", "").isdigit() for name in names):
            help = f"the first line names the columns, as `{field.name}0,{field.name}1`; or {help}"
    elif help is None:
        help = f"call it `{field.name}` in the data, or the input of the spec as the data do"
    return Error(
        "E0609",
        f"the data have no `{field.name}`",
        where=where,
        notes=[f"expected `{field.name}: {field}`", f"found {shown or 'nothing'}"],
        help=help,
    )


def refuse_masked(name: str, value: object, where: str | None) -> None:
    """E0644 for an array of `numpy.ma` that leaves elements out: as a plain array it would have them again."""
    parts = value if isinstance(value, list | tuple) else [value]
    count = sum(np.count_nonzero(np.ma.getmaskarray(part)) for part in parts if isinstance(part, np.ma.MaskedArray))
    if count:
        raise Error(
            "E0644",
            f"`{name}` has masked elements",
            where=where,
            notes=[f"found {count} of them"],
            help="fill them, `array.filled(0)`, and give the model what is there as an array of its own, for "
            "`weighted` or `where`; or leave these rows out",
        )


def given(field: Field, data: Mapping[str, object], where: str) -> object:
    """What a mapping has for a field: that of `numpy.load` reads its file only now."""
    try:
        return data[field.name]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as problem:
        if "allow_pickle" in str(problem):
            raise Error(
                "E0605",
                f"`{field.name}` holds Python objects, which are never unpickled",
                where=where,
                help='save an array of numbers: `numpy.asarray(values, dtype="float32")`',
            ) from None
        raise Error(
            "E0604",
            f"`{field.name}` cannot be read from the mapping given",
            where=where,
            notes=[str(problem)],
            help="save it again with `numpy.savez(path, x=x, y=y)`",
        ) from None


def _array(field: Field, value: object, where: str) -> np.ndarray:
    refuse_masked(field.name, value, where)
    try:
        array = np.asarray(value)
    except (ValueError, TypeError):
        filled_up = filled(field, value, where)
        if filled_up is not None:
            return filled_up
        raise Error(
            "E0626",
            f"`{field.name}` is not a rectangular array",
            where=where,
            notes=[f"expected `{field}`", "its rows differ in length"],
            help="pad the rows to one length, or leave the dimension free in the spec: `[batch, time]`",
        ) from None
    except RuntimeError as problem:  # of an array of another library
        raise Error(
            "E0614",
            f"`{field.name}` cannot be read as an array",
            where=where,
            notes=[str(problem), f"expected `{field}`"],
            help="pass a NumPy array",
        ) from None
    if array.dtype.kind == "O" and array.ndim == 1 and (made := filled(field, value, where)) is not None:
        return made
    if kind_of(array.dtype) not in "biuf":
        raise Error(
            "E0614",
            f"`{field.name}` does not hold numbers",
            where=where,
            notes=[f"found dtype {array.dtype}", f"expected `{field}`"],
            help=NUMBERS.get(array.dtype.kind, "give an array of numbers").replace("x", field.name),
        )
    return array


# How an array of each kind that holds no numbers becomes one that does, called x.
NUMBERS = {
    "U": "give words and categories as integers, one for each; numbers in quotes as `x.astype(float)`",
    "S": "give words and categories as integers, one for each; numbers in quotes as `x.astype(float)`",
    "T": "give words and categories as integers, one for each; numbers in quotes as `x.astype(float)`",
    "O": "numbers as `x.astype(float)`; words and categories as integers, one for each",
    "c": "give the parts as two inputs: `x.real` and `x.imag`",
    "M": 'give how long after a day it is: `(x - x.min()) / numpy.timedelta64(1, "D")`',
    "m": 'give how many of a unit it is: `x / numpy.timedelta64(1, "D")`',
    "V": "give each of its parts as an array",
}


def check_shape(field: Field, array: np.ndarray, sizes: dict[str, tuple[int, str]], where: str) -> None:
    found = list(array.shape)
    if array.ndim != len(field.shape):
        raise Error(
            "E0610",
            f"`{field.name}` has {array.ndim} dimensions where {len(field.shape)} are expected",
            where=where,
            notes=[f"found shape {found}", f"expected `{field}`"],
            help="reshape it, for example with `array.reshape(rows, -1)` or `array.squeeze()`",
        )
    for axis, (size, wanted) in enumerate(zip(array.shape, field.shape, strict=True)):
        if axis == field.rows:
            continue
        if isinstance(wanted, int) and size != wanted:
            raise Error(
                "E0611",
                f"dimension {axis} of `{field.name}` is {size} where {wanted} is expected",
                where=where,
                notes=[f"found shape {found}", f"expected `{field}`"],
                help="change the size in the spec, or leave out of the data what it does not take",
            )
        if isinstance(wanted, str) and wanted.isidentifier():
            known, by = sizes.setdefault(wanted, (size, field.name))
            if known != size:
                raise Error(
                    "E0612",
                    f"the dimension `{wanted}` has two sizes",
                    where=where,
                    notes=[f"`{by}` says {known}", f"`{field.name}`, of shape {found}, says {size}"],
                    help="cut or pad one of them, or give the dimensions two names in the spec",
                )


def _rows(fields: tuple[Field, ...], arrays: Mapping[str, np.ndarray], where: str) -> int:
    most = 1
    for along in dict.fromkeys(f.along for f in fields if f.rows is not None):
        counts = {f.name: arrays[f.name].shape[f.rows] for f in fields if f.rows is not None and f.along == along}
        same_rows(counts, where)
        rows = next(iter(counts.values()))
        if rows == 0:
            of = f" of `{along}`" if along else ""
            raise no_rows(where, of)
        most = max(most, rows)
    return most


def same_rows(counts: Mapping[str, int], where: str) -> None:
    """E0617."""
    if len(set(counts.values())) > 1:
        raise Error(
            "E0617",
            "the arrays differ in their number of rows",
            where=where,
            notes=[f"`{name}` has {count}" for name, count in counts.items()],
            help="each row of one array goes with that of every other: leave out the rows that lack something",
        )


def no_rows(where: str, of: str = "") -> Error:
    """E0618."""
    help = "check what was left out of them; a generator can be read once"
    return Error("E0618", f"the data have no rows{of}", where=where, notes=["found 0 rows"], help=help)


def _convert(field: Field, array: np.ndarray, where: str) -> np.ndarray:
    """The array in the graph's dtype, contiguous, its values checked."""
    kind, wanted = kind_of(array.dtype), kind_of(field.dtype)
    if kind == "f" and not all(np.isfinite(part).all() for part in _parts(array)):
        raise Error(
            "E0616",
            f"`{field.name}` holds NaN or infinity",
            **_first(field, array, ~np.isfinite(array), where),
            help="leave these rows out, or fill the gaps",
        )
    if kind == "f" and wanted in "iub":
        raise _fractions(field, array, where)
    if kind in "iu" and wanted == "b" and not np.isin(array, (0, 1)).all():
        raise Error(
            "E0615",
            f"`{field.name}` holds numbers other than 0 and 1 where bool is expected",
            **_first(field, array, ~np.isin(array, (0, 1)), where),
            help="compare them, as in `x > 0`, or declare integers",
        )
    if array.dtype == field.dtype:
        made = array if array.flags.c_contiguous else np.ascontiguousarray(array).reshape(array.shape)
    else:
        made = _cast(field, array, where)
    for support in field.supports:
        if not support.good(made):
            raise _outside(field, support, array, made, where)
    return made


def _parts(array: np.ndarray) -> Iterator[np.ndarray]:
    """An array in parts: what is computed of one takes little memory, also where the array lies on a disk."""
    if not array.ndim or array.size <= PART:
        yield array
        return
    rows = max(1, PART * len(array) // array.size)
    for first in range(0, len(array), rows):
        yield array[first : first + rows]


def _fractions(field: Field, array: np.ndarray, where: str) -> Error:
    notes, help = [f"expected `{field}`"], f'if none has a fraction, convert them: `{field.name}.astype("int64")`'
    wrong = array != np.floor(array)
    if isinstance(where, Lines):
        help = "integers are written without a point"
        if wrong.any():
            found = _first(field, array, wrong, where)
            notes.append(f"{found['notes'][0]}, at {found['where']}")
    return Error(
        "E0613",
        f"`{field.name}` holds {array.dtype} where {field.kind} is expected",
        where=where,
        notes=notes,
        help=help,
    )


def _outside(field: Field, support: Support, array: np.ndarray, made: np.ndarray, where: str) -> Error:
    if support.whole and support.low == 0 and (support.high is not None or not support.of):
        what = "labels out of range"
        help = "labels count from 0, up to the size that they index; what pads a row needs a label of its own"
    elif support.of:
        what = f"values that `{support.of}` does not take"
        help = (
            "leave these rows out, or write what they mean in the numbers that it takes, rows of weight 0 too; "
            "what the spec computes, as `where(known, y, 0)`, is not checked"
        )
    else:
        what, help = "values outside the range that the spec gives it", "leave these rows out, or scale them"
    found = _first(field, array, support.wrong(made), where)
    found["notes"].append(f"expected {support}")
    return Error("E0620", f"`{field.name}` holds {what}", **found, help=help)


def _cast(field: Field, array: np.ndarray, where: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        made = np.ascontiguousarray(array, field.dtype).reshape(array.shape)
    if kind_of(field.dtype) == "f" and not np.isfinite(made).all():
        raise Error(
            "E0621",
            f"`{field.name}` holds numbers beyond the range of {field.dtype}",
            **_first(field, array, ~np.isfinite(made), where),
            help="scale them, or compile with --precision float64",
        )
    if array.dtype.kind in "iu" and kind_of(field.dtype) in "fiu":
        _check_exact(field, array, made, where)
    return made


def _check_exact(field: Field, array: np.ndarray, made: np.ndarray, where: str) -> None:
    """Integers that the graph's dtype does not hold exactly (2**24 + 1 as float32, 2**63 as int64)."""
    if kind_of(made.dtype) == "f":
        limit = 2 ** (8 if made.dtype.name == "bfloat16" else np.finfo(made.dtype).nmant + 1)
        # Larger numbers may still be exact (powers of two), so those alone are compared, as Python's integers.
        large = (array > limit) | (array < -limit if array.dtype.kind == "i" else False)
        lost = np.zeros(array.shape, bool)
        lost[large] = [int(a) != int(b) for a, b in zip(array[large], made[large], strict=True)]
    else:
        info = np.iinfo(made.dtype)
        lost = (array > info.max) | (array < info.min)
    if lost.any():
        raise Error(
            "E0622",
            f"`{field.name}` holds integers that {field.dtype} cannot hold exactly",
            **_first(field, array, lost, where),
            help="scale or shift them, or compile with --precision float64",
        )


def _first(field: Field, array: np.ndarray, wrong: np.ndarray, where: str) -> dict[str, Any]:
    """`where` and `notes` of an error: the first element that is wrong and how many there are. In a CSV file its
    line and column."""
    at = tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), array.shape)) if array.ndim else ()
    place = f"at [{', '.join(map(str, at))}]"
    if isinstance(where, Lines) and at:
        names = where.names[field.name]
        column = int(np.ravel_multi_index(at[1:], array.shape[1:])) if len(at) > 1 else 0
        where, place = where.at(at[0]), f"in `{names[min(column, len(names) - 1)]}`"
    more = int(np.count_nonzero(wrong)) - 1
    return {"where": where, "notes": [f"found {array[at]} {place}" + (f", and {more} more" if more else "")]}
