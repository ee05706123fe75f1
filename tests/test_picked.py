"""Rows in an order of their own are gathered where a step reads them, in one copy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import dlc
import numpy as np
import pytest
from dlc.runtime import Callback
from dlc.runtime.data import ArraySource, Batch, Field, check
from dlc.runtime.data.batch import Picked, Picker, Ready

ROWS, BATCH, EPOCHS = 70, 16, 3  # four whole batches an epoch and one of 6 rows
SPEC = """
model plain {
    input x: float[batch, 3]
    input known: bool[batch]
    target y: int[batch]
    z = where(known[:, none], x, 0) |> dense(4) |> dropout(0.2) |> dense(2)
    y ~ categorical(logits = z)
    output p = softmax(z)
}
train { minimize loss using adam(0.05); epochs: 3; batch: 16; seed: 1 }
"""
PARTS = """
model two {
    input x: float[batch, 3]
    input known: bool[batch]
    A = dense(1)
    B = dense(1)
    a = A(x)
    loss first = mean((a - where(known, 1.0, 0.0)[:, none]) ^ 2)
    loss second = mean((B(a) + 1) ^ 2)
    output b = B(a)
}
train { minimize first over A.* using sgd(0.1); minimize second over B.* using adam(0.1) every 2; PLAN }
""".replace("PLAN", "epochs: 3; batch: 16; seed: 2")


def data() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 3)).astype(np.float32)
    return {"x": x, "known": rng.random(ROWS) < 0.7, "y": (x[:, 0] > 0).astype(np.int64)}


def trained(source: str, precision: str = "float32") -> dict[str, np.ndarray]:
    trainer = dlc.fit(source, {name: array for name, array in data().items() if name in source}, precision=precision)
    return dict(trainer.state)


def test_a_step_has_rows_in_its_own_memory_and_makes_no_array_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: Counter[str] = Counter()
    into, read = Picked.into, Picked.__getitem__

    def counted(batch: Picked, feeds: Any) -> bool:
        done = into(batch, feeds)
        seen["gathered" if done else "of other shapes"] += 1
        return done

    def reads(batch: Picked, name: str) -> np.ndarray:
        seen["made"] += 1
        return read(batch, name)

    def blocks(*_: object) -> None:
        raise AssertionError("a block is gathered before its batches")

    monkeypatch.setattr(Picked, "into", counted)
    monkeypatch.setattr(Picked, "__getitem__", reads)
    monkeypatch.setattr(ArraySource, "_blocks", blocks)
    trained(SPEC)
    # Of an epoch the first batch and the last, shorter one have other shapes than the one before, which arrays tell.
    assert seen == {"gathered": 5 * EPOCHS, "of other shapes": 2 * EPOCHS, "made": 2 * EPOCHS * len(data())}


@pytest.mark.parametrize("precision", ["float32", "float64", "float16"])
@pytest.mark.parametrize("source", [SPEC, PARTS], ids=["one step", "two steps in turns"])
def test_training_is_that_on_arrays(source: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gathered = trained(source, precision)
    picked = ArraySource._picked

    def ready(own: ArraySource, order: np.ndarray, cursor: int) -> Iterator[Batch]:
        for batch in picked(own, order, cursor):
            yield Ready(dict(batch.arrays), batch.rows)

    monkeypatch.setattr(ArraySource, "_picked", ready)
    on_arrays = trained(source, precision)
    assert gathered.keys() == on_arrays.keys()
    for name, array in gathered.items():
        assert array.tobytes() == on_arrays[name].tobytes(), name


@pytest.mark.parametrize("cursor", [0, 16, 64, 5])
def test_batches_are_the_rows_in_their_order(cursor: int) -> None:
    given, kinds = data(), (np.dtype("float32"), np.dtype(bool))
    fields = (Field("x", kinds[0], ("batch", 3), 0), Field("known", kinds[1], ("batch",), 0))
    source = ArraySource(check(given, fields, "here"), BATCH, seed=3)
    order, found = source._order(2), list(source.batches(2, cursor))
    assert order is not None and sorted(order.tolist()) == list(range(ROWS))
    assert [batch.rows for batch in found] == [min(BATCH, ROWS - at) for at in range(cursor, ROWS, BATCH)]
    for name in ("x", "known"):
        np.testing.assert_array_equal(np.concatenate([b.arrays[name] for b in found]), given[name][order[cursor:]])
        assert all(b.arrays[name].dtype == given[name].dtype for b in found)


@pytest.mark.parametrize("past", [0, 5, 1 << 31])
def test_there_is_no_batch_past_the_end(past: int) -> None:
    fields = (Field("x", np.dtype("float32"), ("batch", 3), 0), Field("known", np.dtype(bool), ("batch",), 0))
    assert not list(ArraySource(check(data(), fields, "here"), BATCH, seed=3).batches(2, ROWS + past))


def test_a_batch_is_a_mapping_of_arrays_of_ones_own() -> None:
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    batch = Picked(Picker({"x": table, "y": np.arange(4)}, 2), np.array([3, 1]))
    assert batch.rows == 2 and batch.arrays is batch and list(batch) == ["x", "y"] and len(batch) == 2
    assert "x" in batch and "z" not in batch and batch.get("z") is None
    batch["x"][:] = 0
    np.testing.assert_array_equal(batch["x"], table[[3, 1]])
    to = np.zeros((2, 3), np.float32)
    assert batch.into([("x", (2, 3), to)])
    np.testing.assert_array_equal(to, table[[3, 1]])


@pytest.mark.parametrize("shape", [(3, 3), (2, 2), (2,), (2, 3, 1), None])
def test_memory_of_another_shape_is_left_alone(shape: tuple[int, ...] | None) -> None:
    batch = Picked(Picker({"x": np.ones((4, 3), np.float32)}, 2), np.array([3, 1]))
    to = np.zeros(shape or (2, 3), np.float32)
    assert not batch.into([("x", shape, to)])
    assert not to.any()


def test_no_place_is_beyond_the_rows() -> None:
    table = np.ones((4, 3), np.float32)
    batch = Picked(Picker({"x": table}, 2), np.array([4, 1]))
    with pytest.raises(IndexError):
        batch["x"]
    to = np.zeros((2, 3), np.float32)
    assert batch.into([("x", (2, 3), to)])  # reads nothing that is not of the array
    np.testing.assert_array_equal(to, 1)


def test_whoever_listens_is_given_the_rows_of_the_step() -> None:
    class Heard(Callback):
        def __init__(self) -> None:
            self.rows: list[np.ndarray] = []

        def before_batch(self, step: int, arrays: Any) -> None:
            assert set(arrays) == set(data())
            self.rows.append(dict(arrays)["x"])

    heard = Heard()
    dlc.fit(SPEC, data(), callbacks=[heard])
    whole = np.concatenate(heard.rows)
    assert len(heard.rows) == 5 * EPOCHS
    for epoch in range(EPOCHS):
        own = whole[epoch * ROWS : (epoch + 1) * ROWS]
        np.testing.assert_array_equal(np.sort(own, axis=0), np.sort(data()["x"], axis=0))
    assert not np.array_equal(whole[:ROWS], whole[ROWS : 2 * ROWS])
