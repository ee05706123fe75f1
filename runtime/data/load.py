"""Data from where the user keeps them: arrays by name, tables, files, folders of files."""

from __future__ import annotations

import math
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np

from .. import memory
from ..failures import Error
from . import arrow, folders, packed, table
from .fields import Field
from .iterated import assembled, gathered, iterated, pieces
from .part import Part

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
PART = 1 << 24  # bytes of arrays on a disk that a stream reads together
Columns = Mapping[str, Sequence[str]]  # what the setting `columns` says
Loaded = tuple[Mapping[str, object], str]  # arrays by name, and where they are from


def load(data: object, fields: tuple[Field, ...], columns: Mapping[str, Sequence[str]] | None = None) -> Loaded:
    """The arrays that `fields` ask for, not yet checked.

    `data` is a mapping, a table of columns (anything with the Arrow C stream: pandas, Polars, pyarrow), an iterable of
    batches, rows or tables, which is read once, or the path of a file or a folder; `columns` names the columns of a
    field where they are not `x`, or `x0`, `x1`, ... Raises `Error` E0602 to E0608, E0623, E0624, E0626, E0627, E0639,
    E0645 to E0648.
    """
    if isinstance(data, Mapping):
        return assembled(data, fields, columns or {}), "the data given"
    if isinstance(data, Part):
        return data.read(fields, columns or {})
    if arrow.exports(data):
        return arrow.given(data, fields, columns or {})
    if iterated(data) and not isinstance(data, os.PathLike):
        found = pieces(data, "nothing was trained on the pieces before it")
        first = list(islice(found, 1))
        if first and arrow.exports(first[0]):
            return arrow.joined(chain(first, found), fields, columns or {})
        return assembled(gathered(chain(first, found), fields, columns or {}), fields, columns or {}), "the data given"
    if not isinstance(data, str | os.PathLike):
        raise Error(
            "E0603",
            f"data cannot be read from {_article(type(data).__name__)}",
            notes=[
                "expected a mapping of names to arrays, a table, an iterable of batches, or the path of a file",
                KNOWN,
            ],
            help='give `{"x": x, "y": y}`',
        )
    path = Path(data)
    try:
        if "\0" in str(path):
            raise OSError(0, "no file can have this name")
        kind = kind_of(path)
        if kind is None:
            raise Error(
                "E0603",
                f"the folder `{path.name}` holds no data"
                if path.is_dir()
                else f"`{path.name}` has a format that cannot be read",
                where=str(path),
                notes=[KNOWN],
                help="save arrays with `numpy.savez(path, x=x, y=y)`",
            )
        memory.refuse_endless(path)
        return READERS[kind](path, fields, columns or {})
    except OSError as problem:
        raise Error(
            "E0602",
            f"cannot read `{path}`",
            notes=[problem.strerror or str(problem)],
            help="a relative path in a spec counts from the spec; --data from the working directory",
        ) from None


def kind_of(path: Path) -> str | None:
    """The ending by which a path is read, `/` and that of the files in a folder; None for what is no data."""
    if path.is_dir():
        known = next((f"/{ending}" for ending in (".npy", ".parquet") if any(path.glob(f"*{ending}"))), None)
        known = known or folders.kind(path)
        if known not in (None, f"/{folders.TEXT}"):
            return known
        tables = {f"/{ending}": files for ending in (".csv", ".jsonl") if (files := packed.files(path, ending))}
        if len(tables) > 1:
            raise packed.two(path, *(files[0] for files in tables.values()))
        return next(iter(tables), known)  # texts beside tables say what these are
    name = path.name.lower()
    return next((ending for ending in READERS if name.endswith(ending)), None)


def _article(noun: str) -> str:
    return f"an {noun}" if noun[:1].lower() in "aeiou" else f"a {noun}"


# --- npz


def _npz(path: Path, fields: tuple[Field, ...], columns: Columns) -> Loaded:
    broken = (  # an OSError too: of places that are none
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        SyntaxError,
        TypeError,
        KeyError,
        ValueError,
        OSError,
        RuntimeError,
        OverflowError,
        struct.error,
    )
    wanted = {field.name: field for field in fields}
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            members: dict[str, zipfile.ZipInfo] = {}
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name in members:
                    raise Error(
                        "E0646",
                        f"two arrays in this .npz file are called `{name}`",
                        where=str(path),
                        help="keep one of them: `numpy.savez(path, x=x, y=y)`",
                    )
                members[name] = info
            asked = {name: info for name, info in members.items() if name in wanted}
            size = sum(info.file_size + _converted(archive, info, wanted[name], path) for name, info in asked.items())
            memory.refuse_huge(size, str(path), "the arrays in this .npz file do not", "unpacked")
            found: dict[str, object] = dict.fromkeys(members)
            found.update({name: _npy(archive, info, name, path) for name, info in asked.items()})
            return found, str(path)
    except broken as problem:
        raise Error(
            "E0604",
            "this .npz file is damaged",
            where=str(path),
            notes=[str(problem) or type(problem).__name__],
            help="save it again with `numpy.savez(path, x=x, y=y)`",
        ) from None


def _converted(archive: zipfile.ZipFile, info: zipfile.ZipInfo, field: Field, path: Path) -> int:
    """Bytes that the array takes once more, converted to the field's dtype. Only its header is read. E0648."""
    with archive.open(info) as data:
        version = np.lib.format.read_magic(data)
        if version not in HEADERS:
            return 0
        shape, _, dtype = HEADERS[version](data)
    count = math.prod(shape)
    if not all(isinstance(size, int) and size >= 0 for size in shape) or count * max(dtype.itemsize, 1) >= 2**63:
        raise Error(
            "E0648",
            f"`{field.name}` claims a shape that no array has",
            where=str(path),
            notes=[f"found {_shown(shape)} of {dtype}, in {info.file_size} bytes", f"expected `{field}`"],
            help="the file is damaged or hostile: save it again with `numpy.savez(path, x=x, y=y)`",
        )
    return 0 if dtype == field.dtype else min(count, info.file_size) * field.dtype.itemsize


def _shown(shape: tuple[int, ...]) -> str:
    return "[" + ", ".join(str(size) if abs(size) < 10**12 else f"2^{math.log2(abs(size)):.4g}" for size in shape) + "]"


def _npy(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, path: Path) -> np.ndarray:
    try:
        with archive.open(info) as data:
            array = np.asarray(np.lib.format.read_array(data, allow_pickle=False))
            if data.read(1):
                raise _damaged(name, path, "it holds more than its header says")
            return array
    except (ValueError, MemoryError) as problem:
        if "allow_pickle" in str(problem):
            raise _pickled(name, path) from None
        raise _damaged(name, path, str(problem)) from None


def _pickled(name: str, path: Path) -> Error:
    return Error(
        "E0605",
        f"`{name}` holds Python objects, which are never unpickled",
        where=str(path),
        help='save an array of numbers: `numpy.asarray(values, dtype="float32")`',
    )


def _damaged(name: str, path: Path, why: str) -> Error:
    return Error(
        "E0604",
        f"`{name}` in this {path.suffix} file is damaged",
        where=str(path),
        notes=[why],
        help=f"save it again with `numpy.save{'z' * (path.suffix == '.npz')}(path, ...)`",
    )


# --- folders


def _npys(path: Path, fields: tuple[Field, ...], columns: Columns, whole: bool = True) -> Loaded:
    """The `.npy` files of a folder, by their names. They stay on the disk, and may be larger than memory where they
    hold the numbers that the model takes."""
    found: dict[str, object] = {}
    wanted = {field.name: field for field in fields}
    for file in sorted(path.glob("*.npy")):
        found[file.stem] = None
        if file.stem not in wanted:
            continue
        memory.refuse_endless(file)
        try:
            array = np.load(file, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as problem:
            pickled = "allow_pickle" in str(problem) or "Python objects" in str(problem)
            raise _pickled(file.stem, file) if pickled else _damaged(file.stem, file, str(problem)) from None
        if array.offset + array.nbytes != file.stat().st_size:
            raise _damaged(file.stem, file, "it holds more than its header says")
        if whole and array.dtype != wanted[file.stem].dtype:
            size = array.size * wanted[file.stem].dtype.itemsize
            memory.refuse_huge(size, str(file), "the numbers in this file do not", f"as {wanted[file.stem].dtype}")
        found[file.stem] = array
    return found, str(path)


@dataclass(frozen=True)
class Slice(Part):
    """Neighbouring rows of the `.npy` files of a folder."""

    path: Path
    rows: slice

    def read(self, fields: tuple[Field, ...], columns: Columns) -> Loaded:
        given, where = _npys(self.path, fields, columns, whole=False)
        found = dict(given)
        for field in fields:
            if field.rows is not None and field.name in found:
                found[field.name] = np.asarray(found[field.name])[(slice(None),) * field.rows + (self.rows,)]
        return found, where


def slices(path: Path, fields: tuple[Field, ...]) -> Iterator[Slice]:
    """The rows of a folder of `.npy` files, some at a time."""
    found, _ = _npys(path, fields, {}, whole=False)
    arrays = [(np.asarray(found[f.name]), f.rows) for f in fields if f.rows is not None and f.name in found]
    rows = max((array.shape[axis] for array, axis in arrays if array.ndim > axis), default=1)
    size = max(1, PART // max(1, sum(array.nbytes for array, _ in arrays) // max(1, rows)))
    for start in range(0, rows, size):
        yield Slice(path, slice(start, start + size))


READERS: dict[str, Callable[[Path, tuple[Field, ...], Columns], Loaded]] = {
    ".npz": _npz,
    ".csv": table.read,
    ".csv.gz": table.read,
    ".csv.zst": table.read,
    ".parquet": arrow.parquet,
    ".jsonl": arrow.json_lines,
    ".jsonl.gz": arrow.json_lines,
    ".jsonl.zst": arrow.json_lines,
    ".txt": folders.lines,
    ".txt.gz": folders.lines,
    ".txt.zst": folders.lines,
    "/.npy": _npys,
    "/.parquet": arrow.parquet,
    "/.csv": table.read,
    "/.jsonl": arrow.json_lines,
    "/.txt": folders.lines,
    "//.txt": folders.texts,
    "/image": folders.images,
    "//image": folders.images,
}
KNOWN = (
    f"files end in {', '.join(ending for ending in READERS if ending[0] != '/')}; a folder holds .npy, .parquet, "
    ".csv or .jsonl files, texts or images, or folders of texts or images that are called as their classes"
)
