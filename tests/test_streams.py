"""Data that are read piece by piece, and the thread that reads them ahead of the steps."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dlc.runtime import CompiledFile, Error, Stream, Trainer
from dlc.runtime.callbacks import Callback
from dlc.runtime.data import ArraySource, Field, check
from dlc.runtime.data.ahead import Waits, ahead
from dlc.runtime.data.stream import StreamSource, streamed
from hand_built import blobs, compiled
from hypothesis import given, settings, strategies as st

ROWS = 50
ARRAYS = blobs(ROWS)


def trained(data: Any, **more: Any) -> Trainer:
    trainer = Trainer(CompiledFile(compiled()), device="cpu", seed=3)
    trainer.fit(data, **{"epochs": 2, "batch": 16, **more})
    return trainer


def same(one: Trainer, other: Trainer) -> None:
    for name, array in one.state.items():
        np.testing.assert_array_equal(array, other.state[name])


def pieces(size: int) -> Iterator[dict[str, np.ndarray]]:
    for first in range(0, ROWS, size):
        yield {name: array[first : first + size] for name, array in ARRAYS.items()}


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "dlc-reader"]


@pytest.mark.parametrize("size", [1, 7, 16, 50])
def test_a_stream_trains_as_its_arrays_do(size: int) -> None:
    """Whatever its pieces, where a block holds all rows: then the order is that of arrays."""
    whole = trained(ARRAYS)
    same(trained(Stream(lambda epoch: pieces(size))), whole)
    same(trained(lambda epoch: pieces(size)), whole)  # a function is a stream
    same(trained(Stream(list(pieces(size)), rows=ROWS)), whole)
    rows = [(ARRAYS["x"][k], ARRAYS["y"][k]) for k in range(ROWS)]
    same(trained(Stream(rows)), whole)
    tables = [pa.table({"x": list(piece["x"]), "y": piece["y"]}) for piece in pieces(size)]
    same(trained(Stream(tables)), whole)


def test_a_loader_of_torch_streams() -> None:
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(*(torch.from_numpy(ARRAYS[name]) for name in ("x", "y")))
    same(trained(Stream(torch.utils.data.DataLoader(data, batch_size=9))), trained(ARRAYS))


def source(shuffle: int, batch: int = 4, size: int = 7, **more: Any) -> StreamSource:
    x = np.arange(ROWS, dtype=np.float32)[:, None]
    parts = [{"x": x[first : first + size]} for first in range(0, ROWS, size)]
    fields = (Field("x", np.dtype("float32"), ("batch", 1), 0),)
    read: Any = lambda piece: check(piece, fields, "here")  # noqa: E731
    return StreamSource(streamed(Stream(parts, shuffle=shuffle, **more), fields, read), batch, 5)


def order(found: Any, epoch: int, cursor: int = 0) -> list[int]:
    return [int(one) for batch in found.batches(epoch, cursor) for one in batch.arrays["x"][:, 0]]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 60), st.integers(1, 20), st.integers(1, 60), st.integers(0, 3), st.data())
def test_an_epoch_is_the_same_from_any_row_on(shuffle: int, batch: int, size: int, epoch: int, data: Any) -> None:
    made = source(shuffle, batch, size)
    whole = order(made, epoch)
    assert sorted(whole) == list(range(ROWS))
    cursor = batch * data.draw(st.integers(0, ROWS // batch))
    assert order(source(shuffle, batch, size), epoch, cursor) == whole[cursor:]
    block = made.block
    for first in range(0, ROWS, block):  # rows do not leave their block
        assert sorted(whole[first : first + block]) == list(range(first, min(first + block, ROWS)))
    if not shuffle:
        assert whole == list(range(ROWS))
    elif min(block, ROWS) > 8:
        assert whole != list(range(ROWS)) and whole != order(made, epoch + 1)


def rows_of(folder: Path, count: int, group: int) -> Path:
    """Parquet files of so many rows, numbered through."""
    folder.mkdir()
    for k, first in enumerate(range(0, count, count // 2)):
        own = np.arange(first, min(first + count // 2, count), dtype=np.float32)
        pq.write_table(pa.table({"x": own, "z": own}), folder / f"{k}.parquet", row_group_size=group)
    return folder


def test_row_groups_of_parquet(tmp_path: Path) -> None:
    path = rows_of(tmp_path / "rows", 60, 7)
    fields = (Field("x", np.dtype("float32"), ("batch",), 0),)
    trainer = Trainer(CompiledFile(compiled()), device="cpu")
    read: Any = lambda piece: trainer.columns(piece, fields)  # noqa: E731

    def made(shuffle: int) -> StreamSource:
        return StreamSource(streamed(Stream(path, shuffle=shuffle), fields, read), 4, 5)

    def numbers(found: StreamSource, epoch: int, cursor: int = 0) -> list[int]:
        return [int(one) for batch in found.batches(epoch, cursor) for one in batch.arrays["x"]]

    assert numbers(made(0), 0) == list(range(60))
    for shuffle in (12, 100):
        whole = numbers(made(shuffle), 1)
        assert sorted(whole) == list(range(60)) and whole != numbers(made(shuffle), 2)
        for cursor in (4, 24, 28, 56, 60):
            assert numbers(made(shuffle), 1, cursor) == whole[cursor:]
    assert set(numbers(made(12), 1)[:12]) != set(range(12))  # the groups are in another order too
    (tmp_path / "rows" / "1.parquet").write_bytes(b"no")
    with pytest.raises(Error) as caught:
        made(0)
    assert caught.value.code == "E0604"
    for wrong, code in ((tmp_path / "none.parquet", "E0602"), (tmp_path, "E0603")):
        with pytest.raises(Error) as caught:
            Stream(wrong).groups()
        assert caught.value.code == code


@pytest.mark.parametrize("size", [2, 100])
def test_folders_of_arrays_are_read_ahead(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order and the numbers are those of arrays in memory."""
    monkeypatch.setattr("dlc.runtime.data.source.READ", size * 100)
    for name, array in ARRAYS.items():
        np.save(tmp_path / f"{name}.npy", array)
    assert not readers()
    same(trained(tmp_path), trained(ARRAYS))
    assert not readers()


def test_what_a_reader_raises_is_raised_at_its_place() -> None:
    def parts() -> Iterator[int]:
        yield 1
        yield 2
        raise Error("E0616", "broken")

    found = []
    with pytest.raises(Error) as caught:
        for part in ahead(parts(), Waits()):
            found.append(part)
    assert found == [1, 2] and caught.value.code == "E0616"
    assert not readers()

    def broken(epoch: int) -> Iterator[Any]:
        yield from pieces(25) if epoch == 0 else ({"x": ARRAYS["x"] * np.nan, "y": ARRAYS["y"]},)

    with pytest.raises(Error) as caught:
        trained(Stream(broken))
    assert caught.value.code == "E0616"
    found = refused(lambda epoch: (1 // k for k in (1, 0)), "E0603")  # no piece of data
    found = refused(lambda epoch: (piece for k in (1, 0) for piece in pieces(9 // k)), "E0652")
    assert found.notes[0].startswith("ZeroDivisionError")
    for wrong in (lambda epoch: 3, lambda: [], lambda epoch: 1 // 0):
        refused(wrong, "E0652")


def test_a_reader_reads_one_part_ahead_and_ends_with_its_generator() -> None:
    read: list[int] = []

    def parts() -> Iterator[int]:
        for part in range(100):
            read.append(part)
            yield part

    parts_read = ahead(parts(), Waits())
    assert next(parts_read) == 0
    time.sleep(0.2)
    assert len(read) <= 3 and readers()
    parts_read.close()
    assert not readers() and len(read) <= 4


def test_waiting_for_data_is_measured() -> None:
    def slow(epoch: int) -> Iterator[Any]:
        for piece in pieces(10):
            time.sleep(0.02)
            yield piece

    trainer = Trainer(CompiledFile(compiled()), device="cpu", seed=3)
    assert trainer.fit(Stream(slow, rows=ROWS, shuffle=10), epochs=2, batch=10).waited > 0.3
    assert trainer.fit(ARRAYS, epochs=2, batch=10).waited == 0


def test_what_the_command_line_says_of_it(tmp_path: Path) -> None:
    from dlc.cli.train import closing
    from dlc.runtime.callbacks import History

    assert closing(History(steps=3, seconds=1.0, waited=0.34))[0] == "the step waited 34 % of the time for data"
    assert len(closing(History(steps=3, seconds=1.0, waited=0.01))) == 1


@pytest.mark.parametrize("last", [1, 4, 5, 6, 11])
def test_an_interrupt_ends_the_reader(last: int, tmp_path: Path) -> None:
    """The run goes on later, within an epoch too, to what it would have come to."""
    whole = trained(Stream(lambda epoch: pieces(7), shuffle=20), epochs=3)

    class Interrupt(Callback):
        def on_step(self, step: int, figures: Any) -> None:
            if step == last:
                os.kill(os.getpid(), signal.SIGINT)

    trainer = Trainer(CompiledFile(compiled()), device="cpu", seed=3)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(
            Stream(lambda epoch: pieces(7), shuffle=20), epochs=3, batch=16, run=tmp_path, callbacks=[Interrupt()]
        )
    assert not readers()
    run = trainer.run
    assert run is not None
    again = Trainer.resume(run.folder)
    with pytest.raises(Error) as caught:
        again.fit(Stream(lambda epoch: pieces(16)))  # other pieces
    assert caught.value.code == "E0746"
    again = Trainer.resume(run.folder)
    again.fit(Stream(lambda epoch: pieces(7), shuffle=20))
    same(again, whole)


def refused(data: Any, code: str, **more: Any) -> Error:
    with pytest.raises(Error) as caught:
        trained(data, **more)
    assert caught.value.code == code
    assert not readers()
    return caught.value


def test_streams_that_are_none() -> None:
    refused(lambda epoch: pieces(7), "E0653", validation=0.2)
    refused(lambda epoch: pieces(7), "E0653", test=0.2)
    refused(lambda epoch: pieces(7), "E0653", batch="all")
    refused(lambda epoch: iter(()), "E0618")
    refused(Stream(list(pieces(7)), rows=60), "E0654")
    refused(lambda epoch: pieces(7) if epoch == 0 else [], "E0654")
    refused(lambda epoch: [{"x": ARRAYS["x"]}], "E0609")
    refused(lambda epoch: [3], "E0603")
    with pytest.raises(Error) as caught:
        Stream(pieces(7))
    assert caught.value.code == "E0654"
    # an endless one, of which each epoch takes so many rows
    same(trained(Stream(lambda epoch: (p for _ in iter(int, 1) for p in pieces(7)), rows=ROWS)), trained(ARRAYS))
    trainer = trained(lambda epoch: pieces(7), validation=ARRAYS)
    assert trainer.history is not None and trainer.history.epochs[-1]["validation"]


TABLE = """model m {
    input  a: float[batch] from "a" standardised
    target y: float[batch]
    y ~ normal((a[:, none] |> dense(1))[:, 0], 1)
}
train { minimize loss using adam(1e-2); epochs: 1; batch: 8; CHOICE }
"""


def test_encoded_columns_and_choices_of_rows() -> None:
    rows = {"a": np.arange(40.0), "y": np.ones(40)}
    trainer = Trainer(dlc.compile(TABLE.replace("CHOICE", "")), device="cpu")
    with pytest.raises(Error) as caught:
        trainer.fit(Stream([rows]))
    assert caught.value.code == "E0653"
    trainer.fit(rows)
    trainer.fit(Stream([rows]), epochs=1)  # a file that has seen a table
    other = Trainer(
        dlc.compile(TABLE.replace(' from "a" standardised', "").replace("CHOICE", "order: a")), device="cpu"
    )
    with pytest.raises(Error) as caught:
        other.fit(Stream([rows]))
    assert caught.value.code == "E0653"


def test_arrays_in_memory_have_no_reader() -> None:
    """Nothing is read: a thread would only cost."""
    fields = (Field("x", np.dtype("float32"), ("batch", 1), 0),)
    batches = ArraySource(check({"x": np.ones((9, 1), np.float32)}, fields, "here"), 2, 0).batches(0)
    next(batches)
    assert not readers()


class Rows:
    """What a data set of Hugging Face is to those who read it: rows are mappings of plain values."""

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, place: int) -> dict[str, Any]:
        if not 0 <= place < ROWS:
            raise IndexError(place)
        return {"x": ARRAYS["x"][place].tolist(), "y": int(ARRAYS["y"][place]), "note": f"row {place}"}


def test_data_sets_of_hugging_face_by_their_rows() -> None:
    whole = trained(ARRAYS)
    same(trained(Rows()), whole)
    same(trained(Stream(Rows())), whole)  # type: ignore[arg-type]
    same(trained(Stream(lambda epoch: (Rows()[place] for place in range(ROWS)))), whole)
