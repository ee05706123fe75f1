"""Sums and largest numbers of rows in the middle of chains: against NumPy in longer numbers, in any number of
threads."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from dlc.runtime import native
from native_cases import Array, mangled, runs_or_says
from onnx import ModelProto, TensorProto
from test_native import chain, chained, node, run, same
from test_native_sums import KINDS, operators, plain

there = pytest.mark.skipif(not native.works(), reason="the native library was not built")
F = TensorProto.FLOAT
LAST = {"last": [-1]}
LENGTHS = [32, 33, 48, 100, 128, 512, 513, 1000, 1024, 1025, 4096]


def drawn(rng: np.random.Generator, kind: str) -> tuple[int, ...]:
    rank = int(rng.integers(2, 5))
    shape = [int(rng.choice([0, 1, 2, 3, 7, 16], p=[0.04, 0.24, 0.24, 0.24, 0.12, 0.12])) for _ in range(rank)]
    return (*shape[:-1], int(rng.choice(LENGTHS)))


def softmax(x: Array) -> Array:
    with np.errstate(all="ignore"):
        wide = x.astype(np.longdouble)
        e = np.exp(wide - wide.max(-1, keepdims=True))
        return np.asarray(e / e.sum(-1, keepdims=True))


def close(found: Array, right: Array, bound: float) -> None:
    """Within a bound relative to the largest finite number; what is not finite is the same."""
    right = right.astype(found.dtype)
    top = np.abs(right).max(initial=0, where=np.isfinite(right))
    np.testing.assert_allclose(found, right, rtol=bound, atol=bound * float(top))


@there
@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("block", range(4))
def test_random_softmaxes_of_single_operations_are_numpys(kind: str, block: int) -> None:
    """With masks of -inf, whole rows of it, infinities and NaN; its derivative, too. All of it is one chain, the same
    in any number of threads, and single rows are the same bits."""
    nodes = [node("Add", "x m", "s"), node("ReduceMax", "s last", "t"), node("Sub", "s t", "c"),
             node("Exp", "c", "e"), node("ReduceSum", "e last", "z"), node("Div", "e z", "p"),
             node("Mul", "g p", "h"), node("ReduceSum", "h last", "r"), node("Sub", "g r", "d"),
             node("Mul", "d p", "y")]  # fmt: skip
    for seed in range(block * 12, block * 12 + 12):
        rng = np.random.default_rng(seed)
        shape = drawn(rng, kind)
        x, g = rng.normal(size=shape).astype(kind), rng.normal(size=shape).astype(kind)
        mask = np.where(rng.random(shape[-2:]) < 0.3, -np.inf, 0).astype(kind)
        if seed % 3 == 0 and mask.size:
            mask[int(rng.integers(0, len(mask)))] = -np.inf
        if seed % 3 == 1 and x.size:
            x.reshape(-1)[int(rng.integers(0, x.size))] = rng.choice([np.inf, -np.inf, np.nan])
        feeds = {"x": x, "m": mask, "g": g}
        made, count = chained(plain(nodes, feeds, ["p", "y", "r"], LAST))
        assert operators(made) == ["Chain"] and count == len(nodes)
        p, y, r = run(made, feeds)
        with np.errstate(all="ignore"):
            right = softmax(x + mask)
            held = right * g
            total = held.sum(-1, keepdims=True)
        bound = 2e-6 if kind == "float32" else 4e-15
        close(p, right, bound)
        assert y.shape == shape and r.shape == (*shape[:-1], 1)
        close(r, total, bound * 30)
        close(y, held - right * total, bound * 30)
        for threads in (2, 3):
            assert all(same(a, b) for a, b in zip((p, y, r), run(made, feeds, threads), strict=True)), seed
        if x.ndim == 2 and len(x) > 1:
            part = {"x": x[1:], "m": mask[1:], "g": g[1:]}
            again = run(chained(plain(nodes, part, ["p", "y", "r"], LAST))[0], part)
            assert all(same(a[1:], b) for a, b in zip((p, y, r), again, strict=True)), seed


@there
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_normalisation_of_rows_has_two_passes(kind: str) -> None:
    """Its variance is that of what is left without the mean: a large mean costs no digits."""
    rng = np.random.default_rng(3)
    nodes = [node("ReduceSum", "x last", "s"), node("Mul", "s n", "mean"), node("Sub", "x mean", "c"),
             node("Mul", "c c", "q"), node("ReduceSum", "q last", "v"), node("Mul", "v n", "w"),
             node("Add", "w e", "u"), node("Sqrt", "u", "k"), node("Div", "c k", "y")]  # fmt: skip
    for rows, length in ((1, 32), (5, 100), (64, 128), (300, 768), (3, 4096)):
        x = (1000 + rng.normal(size=(rows, length))).astype(kind)
        feeds = {"x": x, "n": np.asarray(1 / length, kind), "e": np.asarray(1e-5, kind)}
        made, _ = chained(plain(nodes, feeds, ["y", "k"], LAST))
        assert operators(made) == ["Chain"]
        y, k = run(made, feeds)
        wide = x.astype(np.longdouble)
        centred = wide - wide.mean(-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        bound = 2e-4 if kind == "float32" else 1e-12  # the mean itself is rounded, to an ulp of 1000
        close(y, centred / deviation, bound)
        close(k, deviation, bound)


@there
def test_the_largest_of_a_row_is_exact_and_nan_where_one_is() -> None:
    rng = np.random.default_rng(1)
    for kind in KINDS:
        x = rng.normal(size=(40, 77)).astype(kind)
        x[0], x[1, 70], x[2, 0], x[3, 5], x[4] = -np.inf, np.nan, np.nan, np.inf, -0.0
        nodes = [node("ReduceMax", "x last", "t"), node("Neg", "t", "y")]
        made, _ = chained(plain(nodes, {"x": x}, ["y"], LAST))
        assert operators(made) == ["Chain"]
        [y] = run(made, {"x": x})
        np.testing.assert_array_equal(-y[:, 0], x.max(-1))


@there
def test_what_leads_through_rows_of_another_length_makes_no_cycle() -> None:
    """A sum of rows goes into longer rows, and a sum of these back."""
    nodes = [node("ReduceSum", "x last", "r"), node("Mul", "r w", "l"), node("ReduceSum", "l last", "q"),
             node("Mul", "x q", "y"), node("Mul", "y r", "z")]  # fmt: skip
    rng = np.random.default_rng(2)
    feeds = {"x": rng.normal(size=(6, 40)).astype("f4"), "w": rng.normal(size=(6, 64)).astype("f4")}
    made, _ = chained(plain(nodes, feeds, ["z"], LAST))
    assert set(operators(made)) == {"Chain"}
    r = feeds["x"].astype(float).sum(-1, keepdims=True)
    close(run(made, feeds)[0], feeds["x"] * (r * feeds["w"]).sum(-1, keepdims=True) * r, 1e-5)


@there
def test_short_rows_and_other_axes_stay_as_they_are() -> None:
    x = np.ones((4, 31), np.float32)
    nodes = [node("ReduceSum", "x last", "s"), node("Sub", "x s", "y"), node("Neg", "y", "z")]
    assert "ReduceSum" in operators(chained(plain(nodes, {"x": x}, ["z"], LAST))[0])
    x = np.ones((4, 64), np.float32)
    assert "ReduceSum" in operators(chained(plain(nodes, {"x": x}, ["z"], {"last": [0]}))[0])


# --- what is refused

ROWS = [1, 1, 3, 2, 0, F, 41, F, 0, 0, 0, 4, F, 0, 1, 0, 42, F, 2, 0, 0, ~1, 2]


@there
def test_the_program_that_the_others_spoil_is_right() -> None:
    x = np.arange(80, dtype=np.float32).reshape(2, 40)
    s, d = run(chain(ROWS, {"a": F}, {"s": F, "d": F}), {"a": x})
    np.testing.assert_array_equal(s, x.sum(-1, keepdims=True))
    np.testing.assert_array_equal(d, x - s)


@there
@pytest.mark.parametrize(
    "words",
    [
        [*ROWS[:-2], ~0, 2],  # an input
        [*ROWS[:-2], ~1, 1],  # twice
        [*ROWS[:-2], ~77, 2],
        [*ROWS[:-2], -(2**63), 2],
        [*ROWS[:6], 3, F, 0, 0, 0, *ROWS[11:16], 3, F, 2, 0, 0, ~1, 2],  # no rows
        [*ROWS[:7], TensorProto.INT64, *ROWS[8:]],
        [*ROWS[:6], 43, *ROWS[7:]],
    ],
)
def test_wrong_programs_are_refused(words: list[int]) -> None:
    with pytest.raises(Exception, match=r"Chain|program"):
        run(chain(words, {"a": F}, {"s": F, "d": F}), {})


@there
def test_random_programs_with_rows_are_refused_or_run() -> None:
    rng = np.random.default_rng(6)
    loaded = 0
    for _ in range(600):
        words = mangled(rng, ROWS, [-(2**63), ~2, ~1, -1, 0, 1, 2, 3, 4, 40, 41, 42, 2**31, 2**63 - 1], 4)
        model = chain(words, {"a": F}, {"s": F, "d": F})
        shape: Any = [(3, 50), (2, 3000), (0, 5), (5, 0), (), (70,)][int(rng.integers(0, 6))]
        feeds = {"a": np.ones(shape, np.float32)}
        loaded += runs_or_says(partial(run, model, feeds), "Chain", "program", "type", "Type")
    assert 0 < loaded < 600


@there
def test_rows_without_elements_are_refused() -> None:
    with pytest.raises(Exception, match="rows without elements"):
        run(chain(ROWS, {"a": F}, {"s": F, "d": F}), {"a": np.ones((3, 0), np.float32)})


@there
def test_sizes_with_names_go_too() -> None:
    nodes = [node("ReduceSum", "x last", "s"), node("Div", "x s", "y")]
    x = np.random.default_rng(0).random((7, 50)).astype("f4")
    model: ModelProto = plain(nodes, {"x": x}, ["y"], LAST)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    made, _ = chained(model)
    assert operators(made) == ["Chain"]
    for rows in (0, 1, 7):
        close(run(made, {"x": x[:rows]})[0], x[:rows] / x[:rows].sum(-1, keepdims=True), 1e-6)
