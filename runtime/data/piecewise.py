"""Files and folders read part by part: those that a stream reads anew in each epoch, however large they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..failures import Error
from . import arrow, packed, table
from .fields import Field
from .load import kind_of, slices
from .part import Part

KINDS = (
    *(mark + more for mark in (".csv", ".jsonl") for more in ("", *packed.ENDINGS)),
    ".parquet",
    *("/.npy", "/.parquet", "/.csv", "/.jsonl"),
)


def kind(path: Path) -> str:
    """How a path is read part by part. Raises `Error` E0603 for one that is not."""
    found = kind_of(path)
    if found not in KINDS:
        raise Error(
            "E0603",
            f"`{path.name}` cannot be read part by part",
            where=str(path),
            notes=["a stream reads Parquet, CSV and JSON Lines files, and folders of these and of .npy files"],
            help="leave `stream:` out for data that fit into memory",
        )
    return found


def parts(path: Path, fields: tuple[Field, ...]) -> Iterator[Part]:
    """The parts of a file or folder in their order, each small. Raises `Error` E0602 to E0606, E0639."""
    how = kind(path)
    try:
        if ".csv" in how:
            yield from table.parts(path)
        elif ".jsonl" in how:
            yield from arrow.lines(path)
        elif how == "/.npy":
            yield from slices(path, fields)
        else:
            yield from arrow.groups(path)
    except OSError as problem:
        raise Error("E0602", f"cannot read `{path}`", notes=[problem.strerror or str(problem)]) from None
