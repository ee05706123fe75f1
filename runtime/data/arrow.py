"""Tables of Arrow columns: of pandas, Polars, pyarrow or whatever else exports the Arrow C stream, and of Parquet and
JSON Lines files. Their columns make fields as those of a CSV file do; a column of lists is a field by itself.

pyarrow (the extra [tables]) is imported when the first table is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ..failures import Error
from ..memory import free, refuse_endless, refuse_huge
from . import packed
from .check import Lines
from .fields import Field
from .files import Found, each, same_columns
from .header import Header, check_names
from .packed import pyarrow
from .part import Part
from .ragged import filled, listed, loose
from .raw import Raw, cells
from .table import no_number, places, refuse_more, shaped

Columns = Mapping[str, Sequence[str]]  # what the setting `columns` says
LINES = 1 << 22  # bytes of lines that are read together


class Rows(Lines):
    """Where the rows of a table are from: they have numbers, from 0, and no lines."""

    def at(self, row: int) -> str:
        return f"{self}, row {self.lines[row]}"


def exports(data: object) -> bool:
    """Whether data are a table that any Arrow library can take."""
    return hasattr(data, "__arrow_c_stream__")


def given(data: object, fields: tuple[Field, ...], columns: Columns) -> Found:
    """The columns of a table in memory that make the fields. Raises `Error` E0608, E0609, E0611, E0614, E0623, E0626,
    E0627, E0639."""
    table = _table(data)
    return _found(table, list(table.schema.names), "the data given", fields, columns)


def joined(pieces: Iterable[object], fields: tuple[Field, ...], columns: Columns) -> Found:
    """The same of tables of which each has some of the rows, read once. Raises `Error` as `given` does, E0603, E0624,
    E0626."""
    pa = pyarrow("a table")
    tables, size, most = [], 0, free()
    for number, piece in enumerate(pieces):
        if not exports(piece):
            raise Error(
                "E0603",
                f"piece {number} of the data is no table, and piece 0 is one",
                where="the data given",
                notes=[f"found {type(piece).__name__}"],
                help="give pieces of one kind",
            )
        tables.append(_table(piece))
        size += tables[-1].nbytes
        if size > most // 2:
            refuse_huge(2 * size, "the data given", "the pieces of these data do not", "so far")
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as problem:
        raise Error(
            "E0626",
            "the pieces of these data do not fit together",
            where="the data given",
            notes=[str(problem).splitlines()[0]],
            help="give each column one type in all pieces",
        ) from None
    return _found(table, list(table.schema.names), "the data given", fields, columns)


def _table(data: object) -> Any:
    """A table in memory as one of pyarrow. Raises `Error` E0614, E0623, E0639."""
    pa = pyarrow("a table")
    held: Any = getattr(data, "column_names", getattr(data, "columns", ()))  # of pyarrow, `columns` are the values
    check_names([str(name) for name in held], "the data given")
    try:
        return pa.table(data)
    except pa.ArrowException as problem:  # of a column that holds cells of several kinds, or of one that Arrow lacks
        raise Error(
            "E0614",
            "a column of this table does not hold cells of one kind",
            where="the data given",
            notes=[str(note) for note in reversed(problem.args)],
            help="make its cells numbers, or all of them text: `frame[name].astype(float)`, `frame[name].astype(str)`",
        ) from None


def parquet(path: Path, fields: tuple[Field, ...], columns: Columns) -> Found:
    """The columns of a Parquet file, or of all in a folder, in the order of their names. Columns that make no field are
    not read. Raises `Error` as `given` does, E0604 and E0624."""
    pa = pyarrow("a Parquet file")
    from pyarrow.parquet import ParquetFile

    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    for file in files:
        refuse_endless(file)
    with _whole(path, "Parquet"):
        heads = [ParquetFile(file) for file in files]
        names = list(heads[0].schema_arrow.names)
        used = [names[i] for i in _used(names, str(path), fields, columns)]
        made = [
            _named(str(file), head.schema_arrow.names, fields, columns) for file, head in zip(files, heads, strict=True)
        ]
        for one in made[1:]:
            same_columns(fields, made[0], one)
        size = 8 * sum(_values(head.metadata, set(used)) for head in heads)
        refuse_huge(size, str(path), "the columns that the model takes do not", "unpacked")
        table = pa.concat_tables([head.read(columns=used) for head in heads], promote_options="permissive")
    return _found(table, names, str(path), fields, columns)


@dataclass(frozen=True)
class Group(Part):
    """A row group of a Parquet file, not yet read; `start`: the number of its first row in the file."""

    file: Path
    number: int
    start: int
    rows: int

    def read(self, fields: tuple[Field, ...], columns: Columns) -> Found:
        """The columns that make the fields. Raises `Error` as `parquet` does."""
        from pyarrow.parquet import ParquetFile

        with _whole(self.file, "Parquet"), ParquetFile(self.file) as opened:
            names = list(opened.schema_arrow.names)
            used = [names[i] for i in _used(names, str(self.file), fields, columns)]
            table = opened.read_row_group(self.number, columns=used, use_threads=False)
        return _found(table, names, str(self.file), fields, columns, self.start)


def groups(path: Path) -> list[Group]:
    """The row groups of a Parquet file, or of all in a folder, in the order of their names. Raises `Error` E0602,
    E0603, E0604, E0639."""
    pyarrow("a Parquet file")
    from pyarrow.parquet import ParquetFile

    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files or not all(file.suffix.lower() == ".parquet" for file in files):
        raise Error("E0603", "only Parquet files are read group by group", where=str(path))
    found = []
    for file in files:
        try:
            refuse_endless(file)
            with _whole(file, "Parquet"):
                head = ParquetFile(file).metadata
        except OSError as problem:
            raise Error("E0602", f"cannot read `{file}`", notes=[problem.strerror or str(problem)]) from None
        start = 0
        for number in range(head.num_row_groups):
            rows = head.row_group(number).num_rows
            found.append(Group(file, number, start, rows))
            start += rows
    return [group for group in found if group.rows]


def _values(metadata: Any, names: set[str]) -> int:
    """How many values the columns of a Parquet file say that they hold."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    parts = [group.column(i) for group in groups for i in range(group.num_columns)]
    return sum(
        part.num_values for part in parts if part.path_in_schema in names or part.path_in_schema.split(".")[0] in names
    )


def json_lines(path: Path, fields: tuple[Field, ...], columns: Columns) -> Found:
    """The values of a JSON Lines file, or of those in a folder: an object in each line. Raises `Error` as `given` does,
    E0604 and E0624."""
    return each(path, ".jsonl", lambda file: _objects(file, fields, columns), fields)


def _objects(path: Path, fields: tuple[Field, ...], columns: Columns) -> Found:
    pyarrow("a JSON Lines file")
    from pyarrow.json import read_json

    with _whole(path, "JSON Lines"), packed.unpacked(path) as file:
        table = read_json(file)
    return _found(table, list(table.schema.names), str(path), fields, columns)


@dataclass(frozen=True)
class Some(Part):
    """Lines of a JSON Lines file, not yet read as such; `start`: the number of the first one."""

    path: Path
    text: bytes
    start: int

    def read(self, fields: tuple[Field, ...], columns: Columns) -> Found:
        from pyarrow.json import ReadOptions, read_json

        with _whole(self.path, "JSON Lines"):
            table = read_json(BytesIO(self.text), ReadOptions(use_threads=False))
        return _found(table, list(table.schema.names), str(self.path), fields, columns, self.start)


def lines(path: Path) -> Iterator[Some]:
    """A JSON Lines file, or those of a folder, some lines at a time. Raises `Error` E0604, E0639."""
    pyarrow("a JSON Lines file")
    for one in packed.files(path, ".jsonl"):
        start = 0
        with _whole(one, "JSON Lines"), packed.unpacked(one, whole=False) as file:
            while some := file.readlines(LINES):
                if full := [line for line in some if line.strip()]:  # none in a stretch of blank lines, which is no end
                    yield Some(one, b"".join(full), start)
                    start += len(full)


@contextmanager
def _whole(path: Path, kind: str) -> Iterator[None]:
    """What pyarrow says of a damaged file, as E0604."""
    from pyarrow import ArrowException

    try:
        yield
    except (ArrowException, *packed.DAMAGE) as problem:
        if path.suffix.lower() in packed.ENDINGS and isinstance(problem, packed.DAMAGE):
            raise packed.damaged(path, problem) from None
        raise Error(
            "E0604",
            f"this {kind} file is damaged",
            where=str(path),
            notes=str(problem).splitlines()[:1],
            help="write it again; a line of JSON Lines is one object, with the same names and kinds in all: "
            '{"x": [1.5, 2], "y": 0}'
            if kind == "JSON Lines"
            else "write it again, as with `pyarrow.parquet.write_table(table, path)`",
        ) from None


def _used(names: list[str], where: str, fields: tuple[Field, ...], columns: Columns) -> list[int]:
    found = [_places(field, names, columns, where) or [] for field in fields]
    return sorted({at for some in found for at in some})


def _named(where: str, names: list[str], fields: tuple[Field, ...], columns: Columns) -> Rows:
    """Which columns of a file make the fields; of none of its rows."""
    found = {field.name: _places(field, names, columns, where) or [] for field in fields}
    return Rows(where, range(0), {name: [names[i] for i in at] for name, at in found.items()})


def _places(field: Field, names: list[str], columns: Columns, where: str) -> list[int] | None:
    """Which columns make a field. One column of lists may."""
    if field.rows == 0 and field.name not in columns and (own := Header(names, where).place(field.name)) is not None:
        return [own]
    return places(field, names, columns, where)


def _found(
    table: Any, names: list[str], where: str, fields: tuple[Field, ...], columns: Columns, start: int = 0
) -> Found:
    """The fields of a table, which has at least those of the columns `names` that they need. `start`: the number of its
    first row."""
    check_names(names, where)
    refuse_more(fields, names, columns, where)
    numbers = range(start, start + table.num_rows)
    rows = Rows(where, numbers, {})
    found: dict[str, object] = dict.fromkeys(names)
    of: dict[str, list[str]] = {}
    for field in fields:
        at = _places(field, names, columns, where)
        found.pop(field.name, None)
        if at is not None:
            of[field.name] = [names[i] for i in at]
            parts = [_numbers(field, name, table.column(name), rows) for name in of[field.name]]
            found[field.name] = parts[0] if len(parts) == 1 and parts[0].ndim > 1 else shaped(field, parts)
    return found, Rows(where, numbers, of)


def _numbers(field: Field, name: str, column: Any, where: Rows) -> np.ndarray:
    """A column as an array: of numbers or booleans, or of lists of one length of them."""
    import pyarrow as pa
    from pyarrow import compute

    if isinstance(field, Raw):
        if column.null_count and not field.gaps:
            raise no_number(field, name, "", where.at(int(np.argmax(column.is_null().to_numpy()))))
        held = np.empty(len(column), object)
        held[:] = column.to_pylist()
        return cells(field, held, where)
    lengths: list[int] = []
    whole, spread = column, None  # `spread`: of lists of different lengths
    while True:
        if column.null_count:
            place = int(np.argmax(column.is_null().to_numpy()))
            each = np.full(len(where.lines), int(np.prod(lengths))) if spread is None else spread
            raise no_number(field, name, "", where.at(int(np.searchsorted(np.cumsum(each), place, side="right"))))
        kind = column.type
        if not _listed(kind):
            break
        ends = compute.min_max(compute.list_value_length(column)).as_py()
        if ends["min"] != ends["max"]:
            if len(lengths) in loose(field):
                if lengths or _listed(kind.value_type):
                    made = filled(field, whole.to_pylist(), where)
                    if made is not None:
                        return made
                else:
                    spread = compute.list_value_length(column).to_numpy()
                    column = pa.chunked_array([part.flatten() for part in column.chunks], kind.value_type)
                    continue
            raise Error(
                "E0626",
                f"the lists in `{name}` differ in length",
                where=where,
                notes=[f"expected `{field.name}: {field}`", f"found {ends['min']} to {ends['max']} values"],
                help="pad them to one length, or leave the dimension free in the spec: `[batch, time]`",
            )
        lengths.append(ends["min"] or 0)
        column = pa.chunked_array([part.flatten() for part in column.chunks], kind.value_type)
    if pa.types.is_dictionary(kind):
        kind, column = kind.value_type, column.cast(kind.value_type)
    if pa.types.is_decimal(kind):
        kind, column = pa.float64(), column.cast(pa.float64())
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise no_number(field, name, str(column[0].as_py()) if len(column) else str(kind), where.at(0))
    made = np.asarray(column.to_numpy())
    return made.reshape(len(where.lines), *lengths) if spread is None else listed(spread, made)


def _listed(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))
