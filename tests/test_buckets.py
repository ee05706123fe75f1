"""Sequences of different lengths: `bucket:` cuts batches to their longest rows, and rows of any lengths are taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest
from dlc.runtime import Error, Stream, Trainer
from dlc.runtime.request import Request
from hypothesis import given, settings, strategies as st
from test_checkpoint import goes_on

SPEC = """model m {
    input words: int[batch, time] in 0..9
    target tags: int[batch, time] in 0..3
    lengths = sum(words > 0, axis = 1)
    h = words |> embedding(9, 6) |> gru(5)(lengths)
    tags ~ weighted(categorical(h |> dense(3)), arange(time) < lengths[:, none])
}
train { minimize loss using RULE; batch: 8; epochs: 2; seed: 4; LINES }
"""


def compiled(lines: str, rule: str = "adam(1e-2)", precision: str = "float32") -> dlc.Program:
    return dlc.compile(SPEC.replace("LINES", lines).replace("RULE", rule), precision=precision)


def sentences(count: int = 100, longest: int = 17) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, longest + 1, count)
    lengths[0] = longest
    words = rng.integers(1, 9, (count, longest)) * (np.arange(longest) < lengths[:, None])
    return {"words": words, "tags": words % 3}


def ragged(data: dict[str, np.ndarray]) -> dict[str, list[np.ndarray]]:
    lengths = (data["words"] > 0).sum(1)
    return {name: [row[:n] for row, n in zip(array, lengths, strict=True)] for name, array in data.items()}


def batches(program: dlc.Program, data: Any, epoch: int, cursor: int = 0) -> list[dict[str, np.ndarray]]:
    return [dict(b.arrays) for b in Request(Trainer(program, device="cpu"), data).source.batches(epoch, cursor)]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 70), st.integers(0, 4))
def test_each_row_is_in_a_batch_that_is_as_long_as_its_longest(count: int, epoch: int) -> None:
    data, program = sentences(count), compiled("bucket: lengths")
    found = batches(program, data, epoch)
    seen = []
    for one in found:
        lengths = (one["words"] > 0).sum(1)
        assert one["words"].shape == one["tags"].shape == (len(lengths), lengths.max())
        seen += [tuple(np.pad(row, (0, 17 - len(row))).tolist()) for row in one["words"]]
    assert sorted(seen) == sorted(map(tuple, data["words"].tolist()))
    assert [len(one["words"]) for one in found] == [8] * (count // 8) + [count % 8] * (count % 8 > 0)
    for k in range(len(found)):
        rest = batches(program, data, epoch, 8 * k)
        for a, b in zip(rest, found[k:], strict=True):
            assert a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_batches_hold_rows_of_about_one_length_in_an_order_of_their_own() -> None:
    data = sentences(800)
    padding = {}
    for lines in ("bucket: lengths", ""):
        found = [batches(compiled(lines), data, epoch) for epoch in (0, 1)]
        padding[lines] = sum((one["words"] == 0).sum() for one in found[0]) / (data["words"] > 0).sum()
        longest = [one["words"].shape[1] for one in found[0]]
        assert longest != sorted(longest) or not lines
        assert any(not np.array_equal(a["words"], b["words"]) for a, b in zip(*found, strict=True))
    assert padding["bucket: lengths"] < 0.05 < 0.8 < padding[""]


def test_a_step_on_a_cut_batch_is_that_on_the_padded_one() -> None:
    data = sentences()
    whole, cut = (Trainer(compiled("", precision="float64"), device="cpu") for _ in range(2))
    for batch in batches(compiled("bucket: lengths"), data, 0):
        widths = ((0, 0), (0, 17 - batch["words"].shape[1]))
        a = whole.step({name: np.pad(array, widths) for name, array in batch.items()})
        b = cut.step(batch)
        assert a == pytest.approx(b, rel=1e-12)
    for name, array in whole.state.items():
        np.testing.assert_allclose(array, cut.state[name], rtol=1e-10, atol=1e-13, err_msg=name)


def test_a_resumed_run_takes_the_same_batches(tmp_path: Path) -> None:
    program = compiled("bucket: lengths; drop_last: true; validate: 0.1")
    assert goes_on(program, sentences(), 15, tmp_path).steps == 22


def test_with_a_sampler_and_in_later_blocks() -> None:
    text = SPEC.replace("RULE", "sgd(0.1)").replace("LINES", "bucket: lengths; sampler: weighted(lengths)")
    program = dlc.compile(text + "train { minimize loss using sgd(0.01); epochs: 1 }")
    names = [{value.name for value in part.algorithm.output} for part in program.model_proto().training_info]
    assert all({"rows/length", "rows/weight"} <= one for one in names)
    assert Trainer(program, device="cpu").fit(sentences()).steps == 39
    for one in batches(program, sentences(), 0):
        assert (one["words"] > 0).sum(1).max() == one["words"].shape[1]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("bucket: 3", "E0540"),
        ("bucket: words", "E0540"),
        ("bucket: lengths on batch", "E0529"),
        ("bucket: lengths on step", "E0529"),
        ("bucket: lengths * uniform_like(lengths)", "E0541"),
    ],
)
def test_what_is_no_length(line: str, code: str) -> None:
    with pytest.raises(dlc.Error) as caught:
        compiled(line)
    assert caught.value.records()[0]["code"] == code


def test_which_dimension_is_cut() -> None:
    text = """model m { input a: int[batch, seen] in 0..5; input b: int[batch, time] in 0..5; input c: float[batch, 4]
        f = embedding(5, 3)
        target y: float[batch]
        loss = mean((sum(f(a), axis = [1, 2]) + sum(f(b), axis = [1, 2]) + sum(c, axis = 1) - y)^2) }
    train { minimize loss using sgd(0.01); batch: 4; epochs: 1; bucket: sum(b > 0, axis = 1) LINE }"""
    with pytest.raises(dlc.Error) as caught:
        dlc.compile(text.replace("LINE", ""))
    assert caught.value.records()[0]["code"] == "E0529"
    n = np.arange(12)
    data = {"a": np.ones((12, 7), int), "b": 1 * (np.arange(12) <= n[:, None]), "c": np.ones((12, 4)), "y": n}
    found = batches(dlc.compile(text.replace("LINE", "on time")), data, 0)
    assert sorted(one["b"].shape[1] for one in found) == [4, 8, 12]
    assert {one["a"].shape for one in found} == {(4, 7)} and {one["c"].shape for one in found} == {(4, 4)}


MASKED = """model m {
    input words: int[batch, time] in 0..9
    input mask: float[batch, time, time]
    input place: float[time, 2]
    target y: float[batch]
    lengths = sum(words > 0, axis = 1)
    h = words |> embedding(9, 3)
    seen = mask @ h + mean(mask @ place, axis = 2)[..., none]
    loss = mean((sum(where((arange(time) < lengths[:, none])[..., none], seen, 0), axis = [1, 2]) - y)^2)
}
train { minimize loss using adam(1e-2); batch: 4; epochs: 2; seed: 4; bucket: lengths on time }
"""


def test_each_axis_that_is_the_dimension_is_cut() -> None:
    rng = np.random.default_rng(1)
    words = sentences(30)["words"]
    there = words > 0
    pairs = there[:, :, None] & there[:, None, :]
    data = {
        "words": words,
        "mask": rng.normal(size=pairs.shape) * pairs,  # another number for each place, so that no cut can hide
        "place": rng.normal(size=(17, 2)),
        "y": rng.normal(size=30),
    }
    program = dlc.compile(MASKED, precision="float64")
    whole, cut = (Trainer(program, device="cpu") for _ in range(2))
    for batch in batches(program, data, 0):
        count, longest = batch["words"].shape
        assert batch["mask"].shape == (count, longest, longest) and batch["place"].shape == (longest, 2)
        gap = 17 - longest
        padded = {
            "words": np.pad(batch["words"], ((0, 0), (0, gap))),
            "mask": np.pad(batch["mask"], ((0, 0), (0, gap), (0, gap))),
            "place": data["place"],
            "y": batch["y"],
        }
        assert whole.step(padded) == pytest.approx(cut.step(batch), rel=1e-12)
    for name, array in whole.state.items():
        np.testing.assert_allclose(array, cut.state[name], rtol=1e-10, atol=1e-13, err_msg=name)
    ragged_rows = {name: [row[:n] for row, n in zip(data[name], there.sum(1), strict=True)] for name in ("words",)}
    ragged_rows["mask"] = [row[:n, :n] for row, n in zip(data["mask"], there.sum(1), strict=True)]
    a, b = (batches(program, {**data, **rows}, 1) for rows in ({}, ragged_rows))
    for one, other in zip(a, b, strict=True):
        assert one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("size", ["time + 1", "2 * time", "time // 2", "time - 1", "time * seen"])
@pytest.mark.parametrize("rows", ["batch, ", ""])
def test_a_size_computed_from_the_dimension_is_refused(size: str, rows: str) -> None:
    text = f"""model m {{ input words: int[batch, time] in 0..9; input other: float[batch, seen]
        input e: float[{rows}{size}]
        target y: float[batch]
        lengths = sum(words > 0, axis = 1)
        loss = mean((sum(embedding(9, 3)(words), axis = [1, 2]) + sum(other, axis = 1) + sum(e, axis = -1) - y)^2) }}
    train {{ minimize loss using sgd(0.1); batch: 4; epochs: 1; bucket: lengths on AXIS }}"""
    with pytest.raises(dlc.Error) as caught:
        dlc.compile(text.replace("AXIS", "time"))
    assert caught.value.records()[0]["code"] == "E0529" and "`e` has the size" in str(caught.value)
    if "seen" not in size:
        dlc.compile(text.replace("lengths on AXIS", "sum(other > 0, axis = 1) on seen"))


def given_as(kind: str, data: dict[str, np.ndarray], tmp_path: Path) -> Any:
    rows = ragged(data)
    if kind == "lists":
        return {name: [row.tolist() for row in own] for name, own in rows.items()}
    if kind == "arrays":
        return rows
    if kind == "objects":
        made = {name: np.empty(len(own), object) for name, own in rows.items()}
        for name, own in rows.items():
            made[name][:] = own
        return made
    if kind == "rows":
        return [{name: own[k] for name, own in rows.items()} for k in range(len(data["words"]))]
    if kind == "batches":
        lengths = (data["words"] > 0).sum(1)
        parts = [slice(at, at + 9) for at in range(0, len(lengths), 9)]
        return [{name: array[part, : lengths[part].max()] for name, array in data.items()} for part in parts]
    pa = pytest.importorskip("pyarrow")
    if kind == "table":
        return pa.table({name: pa.chunked_array([own[:40], own[40:]]) for name, own in rows.items()})
    path = tmp_path / f"d.{kind}"
    if kind == "jsonl":
        lines = [{name: own[k].tolist() for name, own in rows.items()} for k in range(len(data["words"]))]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    else:
        from pyarrow import parquet

        parquet.write_table(pa.table(rows), path)
    return path


KINDS = ["lists", "arrays", "objects", "rows", "batches", "table", "jsonl", "parquet"]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_different_lengths_train_as_padded_ones(kind: str, tmp_path: Path) -> None:
    data, program = sentences(), compiled("bucket: lengths")
    padded, other = (Trainer(program, device="cpu") for _ in range(2))
    padded.fit(data)
    other.fit(given_as(kind, data, tmp_path))
    for name, array in padded.state.items():
        np.testing.assert_array_equal(array, other.state[name])


def test_pieces_of_a_stream_of_different_lengths() -> None:
    data = sentences()
    padded, other = (Trainer(compiled(""), device="cpu") for _ in range(2))
    padded.fit(data)
    other.fit(Stream(given_as("batches", data, Path())))
    for name, array in padded.state.items():
        np.testing.assert_array_equal(array, other.state[name])


def test_features_of_different_lengths() -> None:
    text = """model m { input x: float[batch, time, 2]; input n: int[batch]; output y = sum(x, axis = [1, 2]) + n }"""
    rows = [np.ones((k, 2)) for k in (3, 1, 0, 5)]
    found = Trainer(dlc.compile(text), device="cpu").predict({"x": rows, "n": [0, 0, 0, 0]})
    np.testing.assert_array_equal(found["y"], [6, 2, 0, 10])


@pytest.mark.parametrize(
    ("type", "rows"),
    [
        ("[batch, 3]", [[1, 2, 3], [1, 2]]),
        ("[batch, time, 2]", [np.ones((2, 2)), np.ones((2, 3))]),
        ("[batch, time]", [[1, 2], [[1, 2]]]),
        ("[batch, time]", [["a", "b"], ["c"]]),
        ("[batch, time]", [[1, 2], None]),
    ],
)
def test_rows_that_differ_in_more_are_refused(type: str, rows: Any) -> None:
    program = dlc.compile(f"model m {{ input x: float{type}; output y = 2 * x }}")
    with pytest.raises(Error) as caught:
        Trainer(program, device="cpu").predict({"x": rows})
    assert caught.value.code in ("E0614", "E0626")


def test_gaps_in_lists_are_said_with_their_row() -> None:
    pa = pytest.importorskip("pyarrow")
    program = dlc.compile("model m { input x: float[batch, time]; output y = 2 * x }")
    with pytest.raises(Error) as caught:
        Trainer(program, device="cpu").predict(pa.table({"x": [[1.0], [2.0, 3.0], [4.0, None, 5.0]]}))
    assert caught.value.code == "E0608" and "row 2" in str(caught.value.where)
