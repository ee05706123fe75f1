"""Data from where the user keeps them: a mapping of arrays, an `.npz` file, a CSV file with a header."""
from __future__ import annotations

import csv
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..failures import Error
from ..nearest import did_you_mean
from .fields import Field

Loaded = tuple[Mapping[str, object], str]  # arrays by name, and where they are from


def load(data: object, fields: tuple[Field, ...], columns: Mapping[str, Sequence[str]] | None = None) -> Loaded:
    """The arrays that `fields` ask for, not yet checked.

    `data` is a mapping or the path of a file; `columns` names the CSV columns of a field where they are not
    `x`, or `x0`, `x1`, ... Raises `Error` E0602 to E0608, E0623, E0624, E0627.
    """
    if isinstance(data, Mapping):
        return data, "the data given"
    if not isinstance(data, str | os.PathLike):
        raise Error(
            "E0603", f"data cannot be read from {_article(type(data).__name__)}",
            notes=["expected a mapping of names to arrays, or the path of an .npz or .csv file"],
        )
    path = Path(data)
    kind = path.suffix.lower()
    if kind not in (".npz", ".csv"):
        raise Error(
            "E0603", f"`{path.name}` is of a kind that cannot be read", where=str(path),
            notes=["expected an .npz or a .csv file"],
            help="save arrays with `numpy.savez(path, x=x, y=y)`",
        )
    try:
        with path.open("rb"):
            pass
        return (_npz(path, fields) if kind == ".npz" else _csv(path, fields, columns or {})), str(path)
    except OSError as problem:
        raise Error(
            "E0602", f"cannot read `{path}`", notes=[problem.strerror or str(problem)],
            help="a relative path in a spec counts from the spec; --data from the working directory",
        ) from None


def _article(noun: str) -> str:
    return f"an {noun}" if noun[:1].lower() in "aeiou" else f"a {noun}"


# --- npz


def _npz(path: Path, fields: tuple[Field, ...]) -> dict[str, object]:
    broken = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, SyntaxError, TypeError, KeyError)
    wanted = {field.name for field in fields}
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename.removesuffix(".npy"): info.file_size for info in archive.infolist()}
            _refuse_huge(path, sum(size for name, size in sizes.items() if name in wanted))
            found: dict[str, object] = dict.fromkeys(sizes)
            for name in sizes:
                if name in wanted:
                    found[name] = _npy(archive, name, path)
            return found
    except broken as problem:
        raise Error(
            "E0604", "this .npz file is damaged", where=str(path), notes=[str(problem) or type(problem).__name__],
            help="save it again with `numpy.savez(path, x=x, y=y)`",
        ) from None


def _npy(archive: zipfile.ZipFile, name: str, path: Path) -> np.ndarray:
    member = name if name in archive.namelist() else name + ".npy"
    try:
        with archive.open(member) as data:
            return np.asarray(np.lib.format.read_array(data, allow_pickle=False))
    except (ValueError, MemoryError) as problem:
        if "allow_pickle" in str(problem):
            raise Error(
                "E0605", f"`{name}` holds Python objects, which are never unpickled", where=str(path),
                help="save an array of numbers: `numpy.asarray(values, dtype=\"float32\")`",
            ) from None
        raise Error("E0604", f"`{name}` in this .npz file is damaged", where=str(path), notes=[str(problem)]) from None


def _refuse_huge(path: Path, size: int) -> None:
    """A small archive can claim more than any machine holds: its own list of sizes is asked first."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 1 << 40
    if size > memory:
        raise Error(
            "E0624", "the arrays in this .npz file do not fit into memory", where=str(path),
            notes=[f"{size} bytes unpacked, {memory} bytes of memory"],
        )


# --- CSV


def _csv(path: Path, fields: tuple[Field, ...], columns: Mapping[str, Sequence[str]]) -> dict[str, object]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as text:
            reader = csv.reader(text, skipinitialspace=True)
            header = [name.strip() for name in next(_rows(reader), [])]
            _check_header(header, path)
            places = {field.name: _places(field, header, columns, path) for field in fields}
            used = sorted({at for found in places.values() for at in found or ()})
            cells, lines = _cells(reader, header, used, path)
    except (UnicodeDecodeError, csv.Error) as problem:
        raise Error(
            "E0606", "this is not a CSV file with a header", where=str(path), notes=[str(problem)],
            help="save it as UTF-8 text, the names of the columns in the first line",
        ) from None
    # A name that no field asks for is kept, so that a missing one can be answered with the nearest.
    found: dict[str, object] = dict.fromkeys(header)
    for field in fields:
        at = places[field.name]
        found.pop(field.name, None)
        if at is not None:
            found[field.name] = _column(field, [cells[i] for i in at], [header[i] for i in at], lines, path)
    return found


def _rows(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    """Rows that are not blank."""
    return (row for row in reader if row and any(cell.strip() for cell in row))


def _check_header(header: list[str], path: Path) -> None:
    if not header:
        raise Error(
            "E0606", "this CSV file is empty", where=str(path), help="the first line names the columns: x0,x1,y"
        )
    twice = next((name for i, name in enumerate(header) if name and name in header[:i]), None)
    if twice is not None:
        raise Error("E0623", f"two columns are called `{twice}`", where=f"{path}:1", help="rename or drop one")


def _places(
    field: Field, header: list[str], columns: Mapping[str, Sequence[str]], path: Path
) -> list[int] | None:
    """Which columns make a field, or None where the file has none of it."""
    if field.rows != 0:
        return None
    index = {name: i for i, name in enumerate(header)}
    width = 1
    for size in field.shape[1:]:
        width = width * size if isinstance(size, int) else 0
    if field.name in columns:
        names = list(columns[field.name])
        for name in names:
            if name not in index:
                raise Error(
                    "E0627", f"the file has no column `{name}`, which `columns` gives for `{field.name}`",
                    where=f"{path}:1", help=did_you_mean(name, header),
                )
        if width and len(names) != width:
            raise Error(
                "E0611", f"`columns` gives {len(names)} of the columns that make `{field.name}`, where {width} are "
                "expected", where=f"{path}:1", notes=["they are " + ", ".join(names), f"expected `{field}`"],
            )
        return [index[name] for name in names]
    if field.name in index and width == 1:
        return [index[field.name]]
    names = [f"{field.name}{i}" for i in range(width or len(header))]
    present = [index[name] for name in names if name in index]
    if width and present and len(present) < width:
        missing = next(name for name in names if name not in index)
        raise Error(
            "E0609", f"the data have no `{missing}`", where=f"{path}:1",
            notes=[f"`{field.name}: {field}` is in the columns {names[0]} to {names[-1]}"],
            help=did_you_mean(missing, header),
        )
    return present or None


def _cells(
    reader: Any, header: list[str], used: list[int], path: Path
) -> tuple[dict[int, list[str]], list[int]]:
    """The cells of the columns that are used, by column, and the line of each row."""
    cells: dict[int, list[str]] = {i: [] for i in used}
    lists = [(i, cells[i]) for i in used]
    lines = []
    for row in _rows(reader):
        if len(row) != len(header):
            raise Error(
                "E0607", f"this line has {len(row)} cells where the header has {len(header)}",
                where=f"{path}:{reader.line_num}",
            )
        lines.append(reader.line_num)
        for i, cell in lists:
            cell.append(row[i])
    return cells, lines


def _column(
    field: Field, texts: list[list[str]], names: list[str], lines: list[int], path: Path
) -> np.ndarray:
    """Cells as numbers in the field's shape: whole numbers where the field wants them and all are."""
    arrays = []
    for name, cells in zip(names, texts, strict=True):
        arrays.append(_numbers(field, name, cells, lines, path))
    if len(field.shape) == 1 and len(arrays) == 1:
        return arrays[0]
    table = np.stack(arrays, axis=1)
    inner = [size if isinstance(size, int) else -1 for size in field.shape[1:]]
    if len(inner) > 1 and inner.count(-1) == 0 and int(np.prod(inner)) == table.shape[1]:
        return table.reshape(len(table), *inner)
    return table


def _numbers(field: Field, name: str, cells: list[str], lines: list[int], path: Path) -> np.ndarray:
    if field.kind == "bool":
        words = {"true": "1", "false": "0"}
        cells = [words.get(cell.strip().lower(), cell) for cell in cells]
    if field.kind != "float":
        try:
            return np.array([int(cell) for cell in cells], np.int64)
        except (ValueError, OverflowError):
            pass  # fractions among them: read as what they are, which the check then refuses
    try:
        return np.array([float(cell) for cell in cells], np.float64)
    except ValueError:
        bad = next(i for i, cell in enumerate(cells) if not _is_number(cell))
    shown = cells[bad].strip()
    raise Error(
        "E0608", f"the cell of `{name}` is empty" if not shown else f"`{shown[:40]}` in `{name}` is no number",
        where=f"{path}:{lines[bad]}", notes=[f"expected `{field.name}: {field}`"],
        help="give words and categories as whole numbers; leave incomplete rows out",
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
