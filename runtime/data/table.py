"""CSV files with a header, and folders of them: which columns make which field, and every cell that is no number with
its line."""

from __future__ import annotations

import csv
import math
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..failures import Error
from ..nearest import did_you_mean
from . import packed
from .check import Lines
from .fields import Field
from .files import Found, each
from .header import Header, check_names, opened, plain
from .part import Part as Parted
from .raw import EMPTY, GAP, Raw, written

ROWS = 1 << 14  # that are text at once: a cell takes 60 bytes as text, 8 as a number
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks"}

Texts = dict[int, list[str]]  # of each column that is used


def read(path: Path, fields: tuple[Field, ...], columns: Mapping[str, Sequence[str]]) -> Found:
    """The columns that make the fields, and where each row stands; of a folder those of its files, one behind another.

    Raises `Error` E0604, E0606 to E0609, E0611, E0623, E0624, E0627, E0639, E0645.
    """
    return each(path, ".csv", lambda file: _read(file, fields, columns), fields)


def _read(path: Path, fields: tuple[Field, ...], columns: Mapping[str, Sequence[str]]) -> Found:
    with _csv(path), packed.text(path) as text:
        header, reader = opened(text)
        _check_header(header, fields, columns, path, reader)
        return _finished(path, header, _rows(reader, len(header)), fields, columns)


@dataclass(frozen=True)
class Part(Parted):
    """Rows of a CSV file, each with its line."""

    path: Path
    header: list[str]
    rows: list[tuple[list[str], int]]

    def read(
        self, fields: tuple[Field, ...], columns: Mapping[str, Sequence[str]]
    ) -> tuple[Mapping[str, object], Lines]:
        _check_header(self.header, fields, columns, self.path, iter(row for row, _ in self.rows))
        return _finished(self.path, self.header, iter(self.rows), fields, columns)


def parts(path: Path) -> Iterator[Part]:
    """A CSV file, or those of a folder, some rows at a time. Raises `Error` E0604, E0606, E0639."""
    for file in packed.files(path, ".csv"):
        with _csv(file), packed.text(file, whole=False) as text:
            header, reader = opened(text)
            rows = _rows(reader, len(header))
            while some := list(islice(rows, ROWS)):
                yield Part(file, header, some)


def _rows(reader: Any, width: int) -> Iterator[tuple[list[str], int]]:
    line = reader.line_num
    for row in reader:  # one with a line end in a cell has several lines
        if not _blank(row, width):
            yield row, line + 1
        line = reader.line_num


def _finished(
    path: Path,
    header: list[str],
    rows: Iterator[tuple[list[str], int]],
    fields: tuple[Field, ...],
    columns: Mapping[str, Sequence[str]],
) -> Found:
    table = _Table(path, header, fields, {f.name: places(f, header, columns, f"{path}:1") for f in fields})
    for row, line in rows:
        table.add(row, line)
    return table.finished()


@contextmanager
def _csv(path: Path) -> Iterator[None]:
    """What is raised of a damaged file, as E0604 and E0606."""
    try:
        yield
    except packed.DAMAGE as problem:
        raise packed.damaged(path, problem) from None
    except (UnicodeDecodeError, csv.Error) as problem:
        raise Error(
            "E0606",
            "this is not a CSV file with a header",
            where=str(path),
            notes=[str(problem)],
            help="save it as UTF-8 text, the names of the columns in the first line",
        ) from None


def _blank(row: list[str], width: int) -> bool:
    """An empty line; in a file of several columns also one of nothing but blanks. `,,,` is a row without values."""
    return not row or (len(row) == 1 and width > 1 and not row[0].strip())


class _Table:
    """The columns as they grow: rows as text, which become numbers many at a time."""

    def __init__(
        self, path: Path, header: list[str], fields: tuple[Field, ...], places: Mapping[str, list[int] | None]
    ) -> None:
        self.path, self.header, self.fields, self.places = path, header, fields, places
        self.texts: Texts = {i: [] for i in sorted({at for found in places.values() for at in found or ()})}
        self.parts: dict[tuple[str, int], list[np.ndarray]] = {
            (name, i): [] for name, found in places.items() for i in found or ()
        }
        self.lines = array("q")
        self.done = 0  # rows that are numbers already

    def add(self, row: list[str], line: int) -> None:
        if len(row) != len(self.header):
            raise self._uneven(row, line)
        self.lines.append(line)
        for i, cells in self.texts.items():
            cells.append(row[i])
        if len(self.lines) - self.done == ROWS:
            self._convert()

    def _convert(self) -> None:
        for field in self.fields:
            for i in self.places[field.name] or ():
                self.parts[field.name, i].append(self._numbers(field, self.header[i], self.texts[i]))
        self.texts = {i: [] for i in self.texts}
        self.done = len(self.lines)

    def finished(self) -> Found:
        self._convert()
        # A name that no field asks for is kept, so that a missing one can be answered with the nearest.
        found: dict[str, object] = dict.fromkeys(self.header)
        names: dict[str, list[str]] = {}
        for field in self.fields:
            at = self.places[field.name]
            found.pop(field.name, None)
            if at is not None:
                names[field.name] = [self.header[i] for i in at]
                found[field.name] = shaped(field, [np.concatenate(self.parts[field.name, i]) for i in at])
        return found, Lines(str(self.path), self.lines, names)

    def _numbers(self, field: Field, name: str, cells: list[str]) -> np.ndarray:
        """Cells as numbers: integers where the field wants them and all are. What the file encodes stays as it is."""
        if isinstance(field, Raw):
            start = self.done
            made = written(field, cells, lambda at: no_number(field, name, "", f"{self.path}:{self.lines[start + at]}"))
            if made is not None:
                return made
            bad = next(i for i, cell in enumerate(cells) if cell.strip().lower() not in EMPTY and not _is_number(cell))
            raise no_number(field, name, cells[bad].strip(), f"{self.path}:{self.lines[start + bad]}")
        if field.kind == "bool":
            words = {"true": "1", "false": "0"}
            cells = [words.get(cell.strip().lower(), cell) for cell in cells]
        together = "".join(cells)
        if together.isascii() and "_" not in together:  # what Python reads beyond that is no number here
            if field.kind != "float":
                try:
                    return np.array([int(cell) for cell in cells], np.int64)
                except OverflowError:
                    raise self._too_large(field, name, cells) from None
                except ValueError:
                    pass  # fractions among them: read as what they are, which the check then refuses
            try:
                return np.array([float(cell) for cell in cells], np.float64)
            except ValueError:
                pass
        bad = next(i for i, cell in enumerate(cells) if not _is_number(cell))
        raise no_number(field, name, cells[bad].strip(), f"{self.path}:{self.lines[self.done + bad]}")

    def _too_large(self, field: Field, name: str, cells: list[str]) -> Error:
        bad = next(i for i, cell in enumerate(cells) if not -(2**63) <= int(cell) < 2**63)
        return Error(
            "E0622",
            f"`{field.name}` holds integers that int64 cannot hold",
            where=f"{self.path}:{self.lines[self.done + bad]}",
            notes=[f"found {cells[bad].strip()[:40]} in `{name}`"],
            help="number what they stand for from 0, or make words of them: `vocabulary`",
        )

    def _uneven(self, row: list[str], line: int) -> Error:
        width = len(self.header)
        if len(row) == 1:
            for sign in ";\t|":
                if sign in row[0]:
                    return _separated(sign, f"{self.path}:{line}", row[0])
        help = "write `,` between two cells and none at the end; an empty cell is nothing between two of them"
        if any("\n" in cell for cell in row):
            help = (
                'a quotation mark that opens in this line is closed lines below, or never: write `""` for one in a text'
            )
        elif len(row) > width and all(_is_number(cell) for cell in row):
            help = "a number is written with a point, not with a comma, which separates cells: `1.5`"
        return Error(
            "E0607",
            f"this line has {len(row)} cell{'s' * (len(row) != 1)} where the header has {width}",
            where=f"{self.path}:{line}",
            help=help,
        )


def no_number(field: Field, name: str, shown: str, where: str) -> Error:
    """E0608. `shown`: what stands there, "" for nothing."""
    help = f'the spec makes numbers of words: `from "{name}" vocabulary`, or `one_hot`'
    if not shown:
        help = GAP
    bare, joined = shown.strip("%$€£ "), shown.replace(",", "")
    if "," in shown and _is_number(joined):
        point = shown.replace(",", ".", 1)
        help = f"a number is written with a point, not with a comma: `{point if _is_number(point) else joined}`"
        if len(shown.rpartition(",")[2]) == 3:
            help = f"thousands are not divided: `{joined}`; a fraction is written with a point"
    elif _is_number(shown):
        help = "it is text in the data: make the column one of numbers, as with `frame[name].astype(float)`"
    elif _is_number(shown.replace("_", "")):
        help = f"a number is written without `_`: `{shown.replace('_', '')}`"
    elif _is_number(bare):
        help = f"a number stands alone: `{bare}`"
    elif re.match(r"\d{4}-\d\d-\d\d", shown):
        help = f'the spec makes numbers of dates: `from "{name}" date("days")`'
    return Error(
        "E0608",
        f"the cell of `{name}` is empty" if not shown else f"`{shown[:40]}` in `{name}` is not a number",
        where=where,
        notes=[f"expected `{field.name}: {field}`"],
        help=help,
    )


def _check_header(
    header: list[str],
    fields: tuple[Field, ...],
    columns: Mapping[str, Sequence[str]],
    path: Path,
    rows: Iterator[list[str]],
) -> None:
    if not header:
        raise Error(
            "E0606", "this CSV file is empty", where=str(path), help="the first line names the columns: x0,x1,y"
        )
    if len(header) == 1:
        wanted = {name for field in fields for name in (field.name, f"{field.name}0")}
        for sign in SEPARATORS:
            parts = [part.strip().strip('"') for part in header[0].split(sign)]
            if len(parts) > 1 and (sign in ";\t" or wanted & set(parts)):
                raise _separated(sign, f"{path}:1", header[0], next(rows, []))
    check_names(header, f"{path}:1")
    refuse_more(fields, header, columns, f"{path}:1")


def refuse_more(
    fields: tuple[Field, ...], header: Sequence[str], columns: Mapping[str, Sequence[str]], where: str
) -> None:
    """E0611 for `x3` where `x: float[batch, 3]` takes `x0` to `x2`: it would be left out unseen."""
    taken = {field.name for field in fields}.union(*columns.values())
    header = [plain(name) for name in header]
    for field in fields:
        width = math.prod(size if isinstance(size, int) else 0 for size in field.shape[1:])
        names = [f"{field.name}{i}" for i in range(width + 1)]
        if field.rows == 0 and width and field.name not in (*columns, *header) and {*names} <= {*header} - taken:
            raise Error(
                "E0611",
                f"the data have `{names[-1]}`, and `{field.name}` takes {width} column{'s' * (width != 1)}",
                where=where,
                notes=[f"expected `{field.name}: {field}`, in the columns {names[0]} to {names[-2]}"],
                help=f"change the size in the spec, or say which they are: `columns: {{ {field.name}: [...] }}`",
            )


def _separated(sign: str, where: str, line: str, row: Sequence[str] = ()) -> Error:
    """E0645. `row` is the next one: its commas are those of its numbers."""
    notes = [f"found {line[:40]!r}"]
    if len(row) > 1 and any(sign in cell for cell in row):
        notes.append(f"and decimal commas: {','.join(row)[:40]!r}")
    return Error(
        "E0645",
        f"the cells of this file are separated by {SEPARATORS[sign]}, not by commas",
        where=where,
        notes=notes,
        help="save it with commas between cells and points in numbers, `1.5`",
    )


def places(field: Field, header: list[str], columns: Mapping[str, Sequence[str]], where: str) -> list[int] | None:
    """Which columns make a field, or None where there is none of it. Raises `Error` E0609, E0611, E0627."""
    if field.rows != 0:
        return None
    named = Header(header, where)
    width = math.prod(size if isinstance(size, int) else 0 for size in field.shape[1:])
    if field.name in columns:
        names = list(columns[field.name])
        found = []
        for name in names:
            place = named.place(name)
            if place is None:
                said = "the spec" if isinstance(field, Raw) else "`columns`"
                raise Error(
                    "E0627",
                    f"the data have no column `{name}`, which {said} gives for `{field.name}`",
                    where=where,
                    notes=[f"they have {', '.join(header[:12]) or 'none'}" + ", ..." * (len(header) > 12)],
                    help=did_you_mean(name, header) or "name one that they have, as it is written there",
                )
            found.append(place)
        if width and len(names) != width:
            raise Error(
                "E0611",
                f"`columns` gives {len(names)} of the columns that make `{field.name}`, where {width} are expected",
                where=where,
                notes=["they are " + ", ".join(names), f"expected `{field}`"],
                help="name as many as it takes, or change the size in the spec",
            )
        return found
    own = named.place(field.name)
    if own is not None and width == 1:
        return [own]
    names = [f"{field.name}{i}" for i in range(width or len(header))]
    present = [place for name in names if (place := named.place(name)) is not None]
    if width and present and len(present) < width:
        missing = next(name for name in names if name not in named)
        raise Error(
            "E0609",
            f"the data have no `{missing}`",
            where=where,
            notes=[f"`{field.name}: {field}` is in the columns {names[0]} to {names[-1]}"],
            help=did_you_mean(missing, [name for name in header if name not in names])
            or f"change the size in the spec, or say which they are: `columns: {{ {field.name}: [...] }}`",
        )
    return present or None


def shaped(field: Field, columns: list[np.ndarray]) -> np.ndarray:
    """Columns in the field's shape."""
    if len(field.shape) == 1 and len(columns) == 1:
        return columns[0]
    table = np.stack(columns, axis=1)
    inner = [size if isinstance(size, int) else -1 for size in field.shape[1:]]
    if len(inner) > 1 and inner.count(-1) == 0 and int(np.prod(inner)) == table.shape[1]:
        return table.reshape(len(table), *inner)
    return table


def _is_number(cell: Any) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell and str(cell).isascii()


__all__ = ["read"]
