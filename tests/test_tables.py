"""Tables as data: data frames in memory, Parquet, JSON Lines, packed CSV, folders of arrays."""

from __future__ import annotations

import builtins
import gzip
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dlc.runtime import CompiledFile, Error, Trainer, memory
from dlc.runtime.data import Field, check, load
from dlc.runtime.support import index
from hand_built import blobs, compiled
from hypothesis import HealthCheck, given, settings, strategies as st

REAL, WHOLE = np.dtype("float32"), np.dtype("int64")
X, Y = Field("x", REAL, ("batch", 2), 0), Field("y", WHOLE, ("batch",), 0, (index(3),))
M = Field("m", np.dtype("bool"), ("batch",), 0)
COLUMNS = {
    "x0": [1.0, 2.0, 3.0],
    "x1": [4.0, 5.0, 6.0],
    "y": [0, 1, 2],
    "m": [True, False, True],
    "who": ["a", "b", "c"],
}


def read(data: Any, *fields: Field, columns: Any = None) -> dict[str, Any]:
    found, where = load(data, fields or (X, Y, M), columns)
    return dict(check(found, fields or (X, Y, M), where).arrays)


def refused(data: Any, *fields: Field, columns: Any = None) -> Error:
    with pytest.raises(Error) as caught:
        read(data, *fields, columns=columns)
    return caught.value


def good(found: dict[str, Any]) -> None:
    np.testing.assert_array_equal(found["x"], [[1, 4], [2, 5], [3, 6]])
    np.testing.assert_array_equal(found["y"], [0, 1, 2])
    np.testing.assert_array_equal(found["m"], [True, False, True])
    assert [found[name].dtype for name in "xym"] == [REAL, WHOLE, np.dtype("bool")]


def lines(table: pa.Table) -> str:
    return "".join(json.dumps(row) + "\n" for row in table.to_pylist())


def csv(table: pa.Table) -> bytes:
    rows = [",".join(table.schema.names), *(",".join(map(str, row.values())) for row in table.to_pylist())]
    return ("\n".join(rows) + "\n").encode()


def zst(data: bytes, path: Path) -> None:
    with pa.CompressedOutputStream(str(path), "zstd") as out:
        out.write(data)


def parts(table: pa.Table, path: Path) -> None:
    path.mkdir()
    pq.write_table(table.slice(0, 1), path / "a.parquet")
    pq.write_table(table.slice(1), path / "b.parquet")


WRITERS: dict[str, Callable[[pa.Table, Path], object]] = {
    "d.parquet": pq.write_table,
    "d.PARQUET": pq.write_table,
    "d.jsonl": lambda table, path: path.write_text(lines(table)),
    "d.csv.gz": lambda table, path: path.write_bytes(gzip.compress(csv(table))),
    "d.csv.zst": lambda table, path: zst(csv(table), path),
    "folder": parts,
}


@pytest.mark.parametrize("name", WRITERS)
def test_files_of_tables(name: str, tmp_path: Path) -> None:
    WRITERS[name](pa.table(COLUMNS), tmp_path / name)
    good(read(tmp_path / name))
    again = read(tmp_path / name, X, columns={"x": ["x1", "x0"]})
    np.testing.assert_array_equal(again["x"], [[4, 1], [5, 2], [6, 3]])


@pytest.mark.parametrize("library", ["pyarrow", "pandas", "polars"])
def test_tables_in_memory(library: str) -> None:
    module = pytest.importorskip(library)
    table = pa.table(COLUMNS) if library == "pyarrow" else module.DataFrame(COLUMNS)
    good(read(table))
    assert refused(table, Field("whom", REAL, ("batch",), 0)).help == "did you mean `who`?"


def test_a_table_trains_as_its_arrays_do() -> None:
    arrays = blobs(48)
    names = [f"x{i}" for i in range(4)]
    table = pa.table({**dict(zip(names, arrays["x"].T, strict=True)), "y": arrays["y"]})
    made = []
    for data in (arrays, table):
        trainer = Trainer(CompiledFile(compiled()), device="cpu", seed=3)
        trainer.fit(data, epochs=2, batch=16)
        made.append({name: np.array(value) for name, value in trainer.parameters.items()})
    assert made[0].keys() == made[1].keys()
    for name, value in made[0].items():
        np.testing.assert_array_equal(value, made[1][name])


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float32(), 2), pa.large_list(pa.float64())])
def test_a_column_of_lists_is_a_field(kind: pa.DataType, tmp_path: Path) -> None:
    values = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    table = pa.table({"x": pa.chunked_array([pa.array(values[:1], kind), pa.array(values[1:], kind)])})
    pq.write_table(table, tmp_path / "d.parquet")
    for data in (table, table.slice(0), tmp_path / "d.parquet"):
        np.testing.assert_array_equal(read(data, X)["x"], values)
    np.testing.assert_array_equal(read(table.slice(1), X)["x"], values[1:])


def test_lists_of_lists() -> None:
    field = Field("x", REAL, ("batch", 2, 3), 0)
    values = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    np.testing.assert_array_equal(read(pa.table({"x": values.tolist()}), field)["x"], values)


@given(st.lists(st.tuples(st.integers(-(2**53), 2**53), st.booleans(), st.floats(-1e30, 1e30)), min_size=1))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_a_file_holds_is_what_was_written(tmp_path: Path, rows: list[tuple[int, bool, float]]) -> None:
    whole, truth, real = (list(column) for column in zip(*rows, strict=True))
    table = pa.table({"i": whole, "b": truth, "f": real})
    wanted = (
        Field("i", WHOLE, ("n",), 0),
        Field("b", np.dtype("bool"), ("n",), 0),
        Field("f", np.dtype("float64"), ("n",), 0),
    )
    for name in ("d.parquet", "d.jsonl", "d.csv.gz"):
        WRITERS[name](table, tmp_path / name)
        found = read(tmp_path / name, *wanted)
        assert [found[key].tolist() for key in "ibf"] == [whole, truth, real]


# --- what is refused


@pytest.mark.parametrize(
    ("column", "code", "message", "where"),
    [
        ([1.0, None, 3.0], "E0608", "the cell of `x1` is empty", "the data given, row 1"),
        (["4", "5", "6"], "E0608", "`4` in `x1` is not a number", "the data given, row 0"),
        (["4.5,", "", ""], "E0608", "`4.5,` in `x1` is not a number", "the data given, row 0"),
        ([1.0, 2.0, float("nan")], "E0616", "`x` holds NaN or infinity", "the data given, row 2"),
        ([[1.0], [2.0, 3.0], [4.0]], "E0626", "the lists in `x1` differ in length", "the data given"),
        ([[1.0], [None], [4.0]], "E0608", "the cell of `x1` is empty", "the data given, row 1"),
    ],
)
def test_a_column_that_is_no_numbers(column: list[Any], code: str, message: str, where: str) -> None:
    found = refused(pa.table({**COLUMNS, "x1": column}))
    assert (found.code, found.message, found.where) == (code, message, where)


def test_times_and_words_are_no_numbers() -> None:
    for kind in (pa.timestamp("s"), pa.date32()):
        assert refused(pa.table({**COLUMNS, "x1": pa.array([0, 1, 2], kind)})).code == "E0608"
    words = pa.array(["a", "b", "a"]).dictionary_encode()
    assert refused(pa.table({**COLUMNS, "x1": words})).message == "`a` in `x1` is not a number"
    numbers = pa.array([4.0, 5.0, 6.0]).dictionary_encode()
    good(read(pa.table({**COLUMNS, "x1": numbers})))
    good(read(pa.table({**COLUMNS, "x1": numbers.cast(pa.float64()).cast(pa.decimal128(8, 2))})))


def test_a_column_that_is_there_twice() -> None:
    table = pa.table([pa.array([1]), pa.array([2])], names=["y", "y"])
    assert refused(table, Y).code == "E0623"


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x0": [1.0], "z": [2]}), tmp_path / "d.parquet")
    for data in (pa.table({"x0": [1.0], "z": [2]}), tmp_path / "d.parquet"):
        assert (refused(data, X).code, refused(data, X).message) == ("E0609", "the data have no `x1`")
        assert refused(data, Y).code == "E0609"
        assert refused(data, Y, columns={"y": ["w"]}).code == "E0627"


@pytest.mark.parametrize("name", ["d.parquet", "d.jsonl", "d.csv.gz", "d.csv.zst", "folder"])
@pytest.mark.parametrize("damage", ["cut", "noise", "empty"])
def test_damaged_files(name: str, damage: str, tmp_path: Path) -> None:
    path = tmp_path / name
    WRITERS[name](pa.table({**COLUMNS, "x0": [1.0, 2.0, 3.0]}), path)
    file = path / "b.parquet" if path.is_dir() else path
    data = file.read_bytes()
    file.write_bytes({"cut": data[: len(data) // 2], "noise": b"\x93noise" * 40, "empty": b""}[damage])
    found = refused(path)
    assert found.code in ("E0602", "E0604", "E0606", "E0607", "E0609") and str(path) in f"{found.where} {found.message}"


def test_packed_text_stops_where_memory_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free", lambda: 1 << 21)
    for name in ("d.csv.gz", "d.csv.zst"):
        data = b"x0,x1,y,m\n" + b" " * (1 << 24)
        (tmp_path / name).write_bytes(gzip.compress(data)) if name.endswith("gz") else zst(data, tmp_path / name)
        assert refused(tmp_path / name).code == "E0624"


def test_a_table_larger_than_memory_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    same = np.zeros(1 << 20)
    pq.write_table(pa.table({"x0": same, "x1": same, "other": same}), tmp_path / "d.parquet")
    monkeypatch.setattr(memory, "free", lambda: 1 << 23)
    assert refused(tmp_path / "d.parquet", X).code == "E0624"
    read(tmp_path / "d.parquet", Field("other", np.dtype("float64"), ("batch",), 0))


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in WRITERS:
        WRITERS[name](pa.table(COLUMNS), tmp_path / name)
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "pyarrow":
            raise ImportError("No module named 'pyarrow'")
        return real(name, *rest, **more)

    table = pa.table(COLUMNS)
    monkeypatch.setattr(builtins, "__import__", without)
    for data in (table, *(tmp_path / name for name in WRITERS if "gz" not in name)):
        found = refused(data)
        assert found.code == "E0639" and 'pip install "dlc-compiler[tables]"' in str(found.help)
    good(read(tmp_path / "d.csv.gz"))


# --- folders of arrays


def folder(tmp_path: Path, **arrays: np.ndarray) -> Path:
    path = tmp_path / "arrays"
    path.mkdir()
    for name, array in arrays.items():
        np.save(path / f"{name}.npy", array)
    return path


def mapped(array: Any) -> bool:
    """Whether the numbers of an array lie in a file."""
    while array is not None and not isinstance(array, np.memmap):
        array = getattr(array, "base", None)
    return array is not None


def test_a_folder_of_arrays_stays_on_the_disk(tmp_path: Path) -> None:
    x, y = np.arange(6, dtype=np.float32).reshape(3, 2), np.array([0, 1, 2])
    path = folder(tmp_path, x=x, y=y, other=np.array(["a"]))
    found = read(path, X, Y)
    np.testing.assert_array_equal(found["x"], x)
    np.testing.assert_array_equal(found["y"], y)
    assert mapped(found["x"]) and mapped(found["y"])
    assert refused(path, M).code == "E0609"


def test_arrays_of_a_folder_that_cannot_be_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder(tmp_path, x=np.ones((3, 2)), y=np.array([0, 1, 5]))
    assert refused(path, X, Y).code == "E0620"
    monkeypatch.setattr(memory, "free", lambda: 8)
    assert refused(path, X).code == "E0624"
    monkeypatch.undo()
    np.save(path / "x.npy", np.array([{}, {}, {}], object), allow_pickle=True)
    assert refused(path, X).code == "E0605"
    (path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00")
    assert refused(path, X).code == "E0604"
    (path / "x.npy").write_bytes(b"")
    assert refused(path, X).code == "E0604"


def test_a_folder_without_data(tmp_path: Path) -> None:
    found = refused(tmp_path)
    assert found.code == "E0603" and "a folder holds .npy, .parquet, .csv or .jsonl files" in found.notes[0]


@pytest.mark.long
def test_twenty_gigabytes_train_in_little_memory(tmp_path: Path) -> None:
    """A sparse file stands for 20 GB. Besides pages of files, which the system takes back, training holds 500 MB: rows
    of a thousand numbers, of which there are so few that their order is some of it."""
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("what a process holds is read from /proc")
    text = "model m { input x: float[batch, 1024]; target y: int[batch]; y ~ categorical(logits = x |> dense(3)) }"
    program = dlc.compile(text + "\ntrain { minimize loss using sgd(0.1); batch: 512; steps: 200 }")
    rows = 20 * 2**30 // 4096
    path = tmp_path / "arrays"
    path.mkdir()
    for name, dtype, shape in (("x", np.float32, (rows, 1024)), ("y", np.int64, (rows,))):
        np.lib.format.open_memmap(path / f"{name}.npy", "w+", dtype, shape).flush()
    held: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            held.append(next(int(line.split()[1]) for line in status.read_text().splitlines() if "RssAnon" in line))

    trainer = Trainer(program, device="cpu", seed=0)
    threading.Thread(target=watch, daemon=True).start()
    trainer.fit(path)
    done.set()
    assert max(held) - held[0] < 500 * 1024


def test_the_order_of_more_rows_than_memory_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder(tmp_path, x=np.ones((90, 4), np.float32), y=np.arange(90) % 3)
    trainer = Trainer(CompiledFile(compiled()), device="cpu", seed=0)
    monkeypatch.setattr("dlc.runtime.data.source.MANY", 80)
    monkeypatch.setattr(memory, "free", lambda: 24 * 89)
    with pytest.raises(Error) as caught:
        trainer.fit(path, steps=1)
    assert caught.value.code == "E0624" and "stream: 65_536" in (caught.value.help or "")
    monkeypatch.setattr(memory, "free", lambda: 24 * 90)
    trainer.fit(path, steps=1)
