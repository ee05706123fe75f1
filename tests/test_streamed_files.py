"""`stream: 1024`: files and folders that each epoch reads anew, part by part, with so many rows in memory."""

from __future__ import annotations

import gzip
import json
import sys
import tracemalloc
from itertools import chain, pairwise
from pathlib import Path

import dlc
import numpy as np
import pytest
from dlc.cli import main
from dlc.runtime import Error, Stream, Trainer, memory
from dlc.runtime.data import arrow, table
from dlc.runtime.request import Request
from test_checkpoint import goes_on

SPEC = """model m {
    input x: float[batch, 2]
    target y: int[batch] in 0..3
    y ~ categorical(logits = x |> dense(3))
}
train { minimize loss using adam(1e-2); batch: 8; epochs: 2; seed: 4; LINES }
"""
LOAD = sys.modules["dlc.runtime.data.load"]  # the module; the package has its function of this name
PACKED = ("csv.gz", "csv.zst", "jsonl.gz", "jsonl.zst")
KINDS = ("csv", "csvs", "jsonl", "jsonls", "parquet", "parquets", "npys", *PACKED)


def compiled(lines: str) -> dlc.Program:
    return dlc.compile(SPEC.replace("LINES", lines))


def packed(text: str, kind: str) -> bytes:
    if kind.endswith("gz"):
        return gzip.compress(text.encode())
    pa = pytest.importorskip("pyarrow")
    return bytes(pa.compress(text.encode(), "zstd", asbytes=True))


def written(kind: str, folder: Path, count: int) -> Path:
    n = np.arange(count)
    x, y = np.stack([n, -n], 1).astype(np.float64), n % 3
    path = folder / f"d.{kind}"
    cuts = [0, count // 3, count // 2, count]
    head, lines = "x0,x1,y\n", [f"{a},{b},{c}\n" for (a, b), c in zip(x, y, strict=True)]
    if kind.startswith("jsonl"):
        head, lines = "", [json.dumps({"x": a.tolist(), "y": int(c)}) + "\n" for a, c in zip(x, y, strict=True)]
    if kind in ("csvs", "jsonls"):
        path.mkdir()
        for a, b in pairwise(cuts):
            (path / f"{a:05}.{kind[:-1]}").write_text(head + "".join(lines[a:b]))
    elif kind in ("csv", "jsonl"):
        path.write_text(head + "".join(lines))
    elif kind in PACKED:
        path.write_bytes(packed(head + "".join(lines), kind))
    elif kind == "npys":
        path = folder / "npys"
        path.mkdir()
        np.save(path / "x.npy", x)
        np.save(path / "y.npy", y)
    else:
        pa = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        data = pa.table({"x0": x[:, 0], "x1": x[:, 1], "y": y})
        path = folder / "parquets" if kind == "parquets" else path
        parts = [(path, data)]
        if kind == "parquets":
            path.mkdir()
            parts = [(path / f"{a}.parquet", data.slice(a, b - a)) for a, b in pairwise(cuts)]
        for file, part in parts:
            parquet.write_table(part, file, row_group_size=17)
    return path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a few rows."""
    monkeypatch.setattr(table, "ROWS", 10)
    monkeypatch.setattr(arrow, "LINES", 300)
    monkeypatch.setattr(LOAD, "PART", 300)


def rows(program: dlc.Program, path: Path, epoch: int, cursor: int = 0) -> list[list[int]]:
    source = Request(Trainer(program, device="cpu"), path).source
    found = []
    for batch in source.batches(epoch, cursor):
        x, y = batch.arrays["x"], batch.arrays["y"]
        assert np.array_equal(x[:, 0], -x[:, 1]) and np.array_equal(y, x[:, 0] % 3)
        found.append(x[:, 0].astype(int).tolist())
    return found


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_has_each_row_once_in_an_order_that_a_resumed_run_has_too(kind: str, tmp_path: Path) -> None:
    path, program = written(kind, tmp_path, 101), compiled("stream: 32")
    orders = [rows(program, path, epoch) for epoch in (0, 1)]
    for found in orders:
        assert sorted(chain(*found)) == list(range(101)) and [len(one) for one in found] == [8] * 12 + [5]
    assert orders[0] != orders[1]
    assert rows(program, path, 1, 48) == orders[1][6:]
    if not kind.startswith("parquet"):  # rows stay in their block
        assert sorted(chain(*orders[0][:4])) == list(range(32))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", KINDS)
def test_what_fits_into_one_block_trains_as_in_memory(kind: str, tmp_path: Path) -> None:
    path, n = written(kind, tmp_path, 60), np.arange(60)
    arrays = {"x": np.stack([n, -n], 1).astype(np.float64), "y": n % 3}
    trained = []
    for lines, data in (("", arrays), ("", path), ("stream: 64", path)):
        trained.append(Trainer(compiled(lines), device="cpu"))
        trained[-1].fit(data)
    for name, array in trained[0].state.items():
        for other in trained[1:]:
            np.testing.assert_array_equal(array, other.state[name])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", ["csv", "csvs", "jsonl", "jsonl.gz", "npys", "parquets"])
def test_a_run_goes_on_in_the_same_order(kind: str, tmp_path: Path) -> None:
    goes_on(compiled("stream: 32"), written(kind, tmp_path, 101), 9, tmp_path / "runs", None)


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = tmp_path / "m.dl"
    spec.write_text(SPEC.replace("LINES", ""))
    path = written("csv", tmp_path, 50)
    assert main(["train", str(spec), "--data", str(path), "--set", "stream=16", "--runs", str(tmp_path / "runs")]) == 0
    [run] = (tmp_path / "runs").iterdir()
    assert dlc.Trainer.resume(run).stage.settings["stream"] == 16


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "csvs", "jsonl", "jsonl.gz", "npys"])
def test_it_takes_little_memory_however_long_the_file_is(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also more rows than the memory that is free would hold."""
    monkeypatch.setattr(arrow, "LINES", 1 << 15)
    monkeypatch.setattr(LOAD, "PART", 1 << 15)
    monkeypatch.setattr(table, "ROWS", 1 << 10)
    peaks = []
    for count in (8_000, 40_000):
        (tmp_path / str(count)).mkdir()
        path = written(kind, tmp_path / str(count), count)
        text = SPEC.replace("LINES", "stream: 2048").replace("batch: 8", "batch: 512")
        trainer = Trainer(dlc.compile(text), device="cpu")
        monkeypatch.setattr(memory, "free", lambda: 1 << 18)
        tracemalloc.start()
        trainer.fit(path, epochs=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0] + 100_000


@pytest.mark.parametrize(
    ("lines", "file", "code"),
    [
        ("stream: 32; validate: 0.2", "d.csv", "E0653"),
        ("stream: 32; sampler: balanced", "d.csv", "E0653"),
        ("stream: 32; batch: all", "d.csv", "E0653"),
        ("stream: 32", "d.npz", "E0603"),
        ("stream: 32", "none.csv", "E0602"),
        ("stream: 32", "d.xyz", "E0603"),
    ],
)
def test_what_is_not_read_part_by_part(lines: str, file: str, code: str, tmp_path: Path) -> None:
    written("csv", tmp_path, 20)
    np.savez(tmp_path / "d.npz", x=np.ones((3, 2)), y=np.zeros(3, int))
    (tmp_path / "d.xyz").write_text("")
    with pytest.raises(Error) as caught:
        Trainer(compiled(lines), device="cpu").fit(tmp_path / file)
    assert caught.value.code == code


@pytest.mark.usefixtures("small")
def test_a_bad_cell_is_said_with_its_line(tmp_path: Path) -> None:
    path = written("csv", tmp_path, 50)
    path.write_text(path.read_text().replace("37.0,-37.0,1", "37.0,far,1"))
    with pytest.raises(Error) as caught:
        Trainer(compiled("stream: 32"), device="cpu").fit(path)
    assert caught.value.code == "E0608" and caught.value.where == f"{path}:39"


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("lines", ["", "stream: 32"])
@pytest.mark.parametrize(("head", "cells", "code", "at"), [
    ("x0,x1,y", "1,far,2", "E0608", ":2"), ("y,x1,x0", "2,1,far", "E0608", ":2"), ("x0,x1,y", "1,2,7", "E0620", ":2"),
    ("x0,y", "1,2", "E0609", ":1"), ("x0;x1;y", "1;2;2", "E0645", ":1"), ("x0,x1", "1,2", "E0609", ""),
])  # fmt: skip
def test_a_bad_file_among_many_is_said_with_its_line(
    lines: str, head: str, cells: str, code: str, at: str, tmp_path: Path
) -> None:
    path = written("csvs", tmp_path, 50)
    bad = path / "00020.csv"
    bad.write_text(f"{head}\n{cells}\n")
    with pytest.raises(Error) as caught:
        Trainer(compiled(lines), device="cpu").fit(path)
    assert caught.value.code == code and caught.value.where == f"{bad}{at}" and caught.value.help


@pytest.mark.parametrize("lines", ["", "stream: 32"])
@pytest.mark.parametrize("kind", PACKED)
def test_a_damaged_packed_file(kind: str, lines: str, tmp_path: Path) -> None:
    path = written(kind, tmp_path, 50)
    for data in (path.read_bytes()[:-30], b"x0,x1,y\n1,2,0\n", b""):
        path.write_bytes(data)
        with pytest.raises(Error) as caught:
            Trainer(compiled(lines), device="cpu").fit(path)
        assert (
            caught.value.code in ("E0604", "E0606", "E0618") and caught.value.where == str(path) and caught.value.help
        )


def test_encodings_ask_for_rows_in_memory_first(tmp_path: Path) -> None:
    path = written("csvs", tmp_path, 50)
    text = SPEC.replace("x: float[batch, 2]", 'x: float[batch, 2] from "x0", "x1" standardised').replace("LINES", "")
    trainer = Trainer(dlc.compile(text), device="cpu")
    with pytest.raises(Error) as caught:
        trainer.fit(Stream(path))
    assert caught.value.code == "E0653" and 'trainer.fit("some.csv", epochs=1)' in (caught.value.help or "")
    trainer.fit(written("csv", tmp_path, 30), epochs=1)
    assert trainer.fit(Stream(path), epochs=1).steps == 4 + 7  # the first 30 rows and all 50, by 8


@pytest.mark.parametrize("value", ["0", "-1", "true", "0.5", '"all"'])
def test_what_is_no_number_of_rows(value: str) -> None:
    with pytest.raises(dlc.Error) as caught:
        compiled(f"stream: {value}")
    assert caught.value.records()[0]["code"] == "E0507"


def test_a_short_block_holds_out_no_share(tmp_path: Path) -> None:
    """What a block with data has where it says nothing: but for a share, which needs all rows in memory."""
    path = written("csv", tmp_path, 50)
    text = SPEC.split("train {")[0] + f'train {{ minimize loss using sgd(0.1); stream: 16; data: "{path}" }}'
    program = dlc.compile(text)
    assert not [one for one in program.module.supplied if one.name == "validate"]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("blank", ["\n", " \t\n", "\r\n"])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("at", [0, 1, 50, 60])
def test_blank_lines_are_no_end(kind: str, blank: str, at: int, tmp_path: Path) -> None:
    """More of them than are read together: what stands behind them is still read, and rows have their numbers."""
    path = written(kind, tmp_path, 60)
    lines = path.read_text().splitlines(keepends=True)
    head = 1 if kind == "csv" else 0
    path.write_bytes("".join([*lines[: head + at], blank * 1000, *lines[head + at :]]).encode())
    assert sorted(chain(*rows(compiled("stream: 32"), path, 0))) == list(range(60))
    if kind == "jsonl":
        assert [part.start for part in arrow.lines(path)] == sorted({part.start for part in arrow.lines(path)})
        assert sum(part.text.count(b"\n") for part in arrow.lines(path)) == 60


@pytest.mark.parametrize("kind", ["groups", "files"])
def test_empty_parts_are_no_end(kind: str, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    n = np.arange(60)
    data = pa.table({"x0": 1.0 * n, "x1": -1.0 * n, "y": n % 3})
    parts = [data.slice(0, 0), data.slice(0, 7), *[data.slice(0, 0)] * 3, data.slice(7), data.slice(0, 0)]
    source = tmp_path
    if kind == "groups":
        source = tmp_path / "d.parquet"
        with parquet.ParquetWriter(source, data.schema) as writer:
            for part in parts:
                writer.write_table(part)
        assert 0 in {parquet.ParquetFile(source).metadata.row_group(i).num_rows for i in range(len(parts))}
    else:
        for k, part in enumerate(parts):
            parquet.write_table(part, tmp_path / f"{k}.parquet")
    assert sorted(chain(*rows(compiled("stream: 32"), source, 0))) == list(range(60))
