"""Folders of CSV, JSON Lines and Parquet files: what does not fit together is refused at its file, in memory and as a
stream alike."""

from __future__ import annotations

import gzip
from pathlib import Path

import dlc
import numpy as np
import pytest
from dlc.runtime import Error, Stream, Trainer, memory
from dlc.runtime.data.load import kind_of
from dlc.runtime.request import Request

SPEC = """model m {
    input x: float[batch, WIDTH]
    target y: float[batch, 1]
    y ~ normal(mean(x, axis = 1, keepdims = true) |> dense(1), 1)
}
train { minimize loss using sgd(1e-3); batch: 8; epochs: 1; LINES }
"""
BOTH = pytest.mark.parametrize("lines", ["", "stream: 16"])
FEW, MANY = b"x0,x1,y\n7,8,2\n", b"x0,x1,x2,y\n1,2,3,4\n"
LINE = b'{"x": [1, 2], "y": 1}\n'


def trainer(width: str, lines: str) -> Trainer:
    return Trainer(dlc.compile(SPEC.replace("WIDTH", width).replace("LINES", lines)), device="cpu")


def folder(tmp_path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def refused(one: Trainer, data: object) -> Error:
    with pytest.raises(Error) as caught:
        one.fit(data)
    assert caught.value.help
    return caught.value


@BOTH
@pytest.mark.parametrize(("files", "lacks", "name"), [
    ({"a.csv": MANY, "b.csv": FEW}, "b.csv", "x2"),
    ({"a.csv": FEW, "b.csv": MANY}, "a.csv", "x2"),
    ({"a.csv": b"x0,x1,y\n1,2,3\n", "b.csv": b"x0,x2,y\n1,2,3\n"}, "b.csv", "x1"),
    ({"a.jsonl": b'{"x0": 1, "x1": 2, "y": 3}\n', "b.jsonl": b'{"x0": 1, "y": 3}\n'}, "b.jsonl", "x1"),
    ({"a.jsonl": LINE, "b.jsonl": b'{"x0": 1, "x1": 2, "x2": 3, "y": 3}\n'}, "b.jsonl", "x"),
])  # fmt: skip
def test_a_free_width_is_of_the_same_columns_in_all_files(
    files: dict[str, bytes], lacks: str, name: str, lines: str, tmp_path: Path
) -> None:
    error = refused(trainer("n", lines), folder(tmp_path, files))
    assert error.code == "E0609" and error.where == str(tmp_path / lacks) and f"`{name}`" in str(error)


@BOTH
@pytest.mark.parametrize("wide", [0, 1])
def test_so_it_is_in_parquet(wide: int, lines: str, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    for k in range(2):
        names = ["x0", "x1", "y"] + ["x2"] * (k == wide)
        parquet.write_table(pa.table({name: [1.0, 2.0] for name in names}), tmp_path / f"{k}.parquet")
    error = refused(trainer("n", lines), tmp_path)
    assert error.code == "E0609" and error.where == str(tmp_path / f"{1 - wide}.parquet")


def test_so_it_is_of_tables_in_a_stream() -> None:
    pa = pytest.importorskip("pyarrow")
    tables = [pa.table({name: [1.0, 2.0] for name in names.split()}) for names in ("x0 x1 x2 y", "x0 x1 y")]
    assert refused(trainer("n", ""), Stream(tables)).code == "E0609"


@BOTH
def test_lists_may_differ_in_length(lines: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = folder(tmp_path, {"a.jsonl": LINE, "b.jsonl": b'{"x": [3, 4, 5], "y": 1}\n'})
    [batch] = Request(trainer("n", lines), path).source.batches(0)
    assert sorted(batch.arrays["x"].tolist()) == [[1, 2, 0], [3, 4, 5]]


@BOTH
@pytest.mark.parametrize("other", ["[1, 2, 3]", "3", "[[1, 2]]"])
def test_a_file_of_another_shape_is_named(other: str, lines: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = folder(tmp_path, {"a.jsonl": LINE, "b.jsonl": f'{{"x": {other}, "y": 1}}\n'.encode()})
    error = refused(trainer("2", lines), path)
    assert error.code == ("E0610" if "[[" in other else "E0611") and error.where == str(tmp_path / "b.jsonl")


@BOTH
@pytest.mark.parametrize(("kind", "full", "head"), [("csv", FEW, b"x0,x1,y\n"), ("jsonl", LINE, b"\n \n")])
def test_an_empty_file_is_no_rows(kind: str, full: bytes, head: bytes, lines: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    empty = {f"a.{kind}": b"", f"c.{kind}": head, f"d.{kind}.gz": gzip.compress(b"\n")}
    path = folder(tmp_path, {**empty, f"b.{kind}": full, f"e.{kind}": full})
    [batch] = Request(trainer("2", lines), path).source.batches(0)
    assert batch.arrays["x"].shape == (2, 2)
    for name in (f"b.{kind}", f"e.{kind}"):
        (path / name).unlink()
    assert refused(trainer("2", lines), path).code == "E0618"


def test_files_that_fit_alone_are_too_much_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "x0,x1,y\n" + "1,2,3\n" * 4000  # 24 kB as text, 96 kB as numbers
    for k in range(4):
        (tmp_path / f"{k}.csv").write_text(rows)
    monkeypatch.setattr(memory, "free", lambda: 500_000)
    monkeypatch.setattr("dlc.runtime.data.files.free", memory.free)
    error = refused(trainer("2", ""), tmp_path)
    assert error.code == "E0624" and error.where == str(tmp_path)


def test_lists_are_filled_up_only_where_memory_holds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand rows as long as one other would be."""
    pytest.importorskip("pyarrow")
    long = str(np.ones(2000, int).tolist()).encode()
    path = folder(tmp_path, {"a.jsonl": LINE * 1000, "b.jsonl": b'{"x": ' + long + b', "y": 1}\n'})
    monkeypatch.setattr(memory, "free", lambda: 1_000_000)
    error = refused(trainer("n", ""), path)
    assert error.code == "E0624" and "filled up" in str(error)


@BOTH
@pytest.mark.parametrize("second", ["b.jsonl", "a.csv.gz"])
def test_a_folder_of_two_kinds_is_refused(second: str, lines: str, tmp_path: Path) -> None:
    content = LINE if second.endswith("jsonl") else gzip.compress(FEW)
    error = refused(trainer("2", lines), folder(tmp_path, {"a.csv": FEW, second: content}))
    assert error.code == "E0603" and second in str(error) and "a.csv" in str(error)


@BOTH
def test_what_is_hidden_and_what_explains_tables_is_not_read(lines: str, tmp_path: Path) -> None:
    others = {".b.csv": b"damaged", "README.txt": b"Two tables."}
    path = folder(tmp_path, {"a.csv": FEW, "b.csv": FEW, **others})
    (path / "c.csv").mkdir()
    [batch] = Request(trainer("2", lines), path).source.batches(0)
    assert batch.arrays["x"].tolist() == [[7, 8], [7, 8]]


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.gz"])
def test_a_line_without_end_is_refused_before_it_is_in_memory(name: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / name
    with gzip.open(path, "wb", 1) as file:
        file.write(FEW if "csv" in name else LINE)
        for _ in range(80):
            file.write(b" " * (1 << 20))
    error = refused(trainer("2", "stream: 16"), path)
    assert error.code == "E0624" and error.where == str(path) and "end of line" in str(error)


@pytest.mark.parametrize("name", ["x.npy", "a.parquet"])
def test_tables_beside_other_data_do_not_matter(name: str, tmp_path: Path) -> None:
    """A folder of arrays or of Parquet files is read as that, whatever describes it."""
    folder(tmp_path, {name: b"", "labels.csv": FEW, "log.jsonl": LINE})
    assert kind_of(tmp_path) == f"/{Path(name).suffix}"
