"""Data from where the user keeps them: a mapping of arrays, an `.npz` file, a CSV file with a header."""

from __future__ import annotations

import math
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from .. import memory
from ..failures import Error
from . import table
from .fields import Field

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
Loaded = tuple[Mapping[str, object], str]  # arrays by name, and where they are from


def load(data: object, fields: tuple[Field, ...], columns: Mapping[str, Sequence[str]] | None = None) -> Loaded:
    """The arrays that `fields` ask for, not yet checked.

    `data` is a mapping or the path of a file; `columns` names the CSV columns of a field where they are not
    `x`, or `x0`, `x1`, ... Raises `Error` E0602 to E0608, E0623, E0624, E0627, E0645 to E0648.
    """
    if isinstance(data, Mapping):
        return data, "the data given"
    if not isinstance(data, str | os.PathLike):
        raise Error(
            "E0603",
            f"data cannot be read from {_article(type(data).__name__)}",
            notes=["expected a mapping of names to arrays, or the path of an .npz or .csv file"],
        )
    path = Path(data)
    kind = path.suffix.lower()
    if kind not in (".npz", ".csv"):
        raise Error(
            "E0603",
            f"`{path.name}` has a format that cannot be read",
            where=str(path),
            notes=["expected an .npz or a .csv file"],
            help="save arrays with `numpy.savez(path, x=x, y=y)`",
        )
    try:
        if "\0" in str(path):
            raise OSError(0, "no file can have this name")
        memory.refuse_endless(path)
        if kind == ".npz":
            with path.open("rb") as file:
                return _npz(file, path, fields), str(path)
        refuse_huge(path.stat().st_size, str(path), "this CSV file does not")
        return table.read(path, fields, columns or {})
    except OSError as problem:
        raise Error(
            "E0602",
            f"cannot read `{path}`",
            notes=[problem.strerror or str(problem)],
            help="a relative path in a spec counts from the spec; --data from the working directory",
        ) from None


def _article(noun: str) -> str:
    return f"an {noun}" if noun[:1].lower() in "aeiou" else f"a {noun}"


# --- npz


def _npz(file: IO[bytes], path: Path, fields: tuple[Field, ...]) -> dict[str, object]:
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
        with zipfile.ZipFile(file) as archive:
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
            refuse_huge(size, str(path), "the arrays in this .npz file do not", "unpacked")
            found: dict[str, object] = dict.fromkeys(members)
            found.update({name: _npy(archive, info, name, path) for name, info in asked.items()})
            return found
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
            return np.asarray(np.lib.format.read_array(data, allow_pickle=False))
    except (ValueError, MemoryError) as problem:
        if "allow_pickle" in str(problem):
            raise Error(
                "E0605",
                f"`{name}` holds Python objects, which are never unpickled",
                where=str(path),
                help='save an array of numbers: `numpy.asarray(values, dtype="float32")`',
            ) from None
        raise Error("E0604", f"`{name}` in this .npz file is damaged", where=str(path), notes=[str(problem)]) from None


def refuse_huge(size: int, where: str, what: str, how: str = "") -> None:
    """A small archive can claim more than any machine holds: its own list of sizes is asked first. E0624."""
    most = memory.free()
    if size > most:
        raise Error(
            "E0624",
            f"{what} fit into the memory that is free",
            where=where,
            notes=[f"{size} bytes {how or 'of text'}, {most} bytes of memory"],
        )
