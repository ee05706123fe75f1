"""Sums over all axes but one at the ends of chains, and results that lie where operands did."""

from __future__ import annotations

from typing import Any

import dlc
import numpy as np
import pytest
from dlc.runtime import native
from native_cases import Array
from onnx import ModelProto, TensorProto, helper
from test_native import chain, chained, fused, node, run, same

there = pytest.mark.skipif(not native.works(), reason="the native library was not built")
F, D = TensorProto.FLOAT, TensorProto.DOUBLE
KINDS = {"float32": F, "float64": D}


def plain(
    nodes: list[Any], inputs: dict[str, Array], outputs: list[str], lists: dict[str, list[int]] | None = None
) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, KINDS[str(x.dtype)], x.shape) for name, x in inputs.items()],
        [helper.make_tensor_value_info(name, F, None) for name in outputs],
        [helper.make_tensor(name, TensorProto.INT64, [len(list_)], list_) for name, list_ in (lists or {}).items()],
    )
    for value in graph.output:
        value.type.tensor_type.elem_type = KINDS[str(next(iter(inputs.values())).dtype)]
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def operators(made: ModelProto) -> list[str]:
    return [node.op_type for node in made.graph.node]


def drawn(rng: np.random.Generator, kind: str) -> tuple[dict[str, Array], int]:
    """A tensor, another that is broadcast along all but one axis, and which axis that is. No axis after it has fewer
    than 16 elements in a row."""
    rank = int(rng.integers(2, 5))
    kept = int(rng.integers(0, rank - 1))
    shape = [int(rng.choice([1, 2, 3, 7, 16])) for _ in range(rank)]
    shape[-1] = int(rng.choice([16, 17, 64, 100, 1024, 1500]))
    x = rng.normal(size=shape).astype(kind)
    if rng.random() < 0.2:
        x.reshape(-1)[int(rng.integers(0, x.size))] = rng.choice([np.inf, -np.inf, np.nan])
    places = rng.normal(size=(shape[kept], *([1] * (rank - 1 - kept)))).astype(kind)
    return {"x": x, "p": places}, kept


@there
@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("block", range(4))
def test_random_sums_are_numpys(kind: str, block: int) -> None:
    for seed in range(block * 12, block * 12 + 12):
        rng = np.random.default_rng(seed)
        given, kept = drawn(rng, kind)
        x, places = given["x"], given["p"]
        others = [k for k in range(x.ndim) if k != kept]
        axes = {"axes": [k - x.ndim if rng.random() < 0.5 else k for k in others]}
        nodes = [
            node("Sub", "x p", "d"),
            node("Mul", "d d", "q"),
            node("ReduceSum", "d axes", "s", keepdims=0),
            node("ReduceSum", "q axes", "v", keepdims=0, noop_with_empty_axes=1),
        ]
        made, _ = chained(plain(nodes, given, ["d", "s", "v"], axes))
        assert operators(made) == ["Chain"], seed
        with np.errstate(invalid="ignore"):
            d = x - places
            wide = d.astype(np.longdouble)
            right = [wide.sum(tuple(others)), (wide * wide).sum(tuple(others))]
            sizes = [np.abs(wide).sum(tuple(others)), right[1]]
        first = run(made, given)
        assert same(first[0], d)
        for found, sum_, size in zip(first[1:], right, sizes, strict=True):
            finite = np.isfinite(size)
            eps = float(np.finfo(kind).eps)
            with np.errstate(invalid="ignore"):
                assert found.dtype == kind and found.shape == sum_.shape
                assert np.all(np.abs(found - sum_)[finite] <= 8 * eps * size[finite]), seed
            np.testing.assert_array_equal(found[~finite], sum_[~finite].astype(kind))
        for threads in (1, 2, 3):
            assert all(same(a, b) for a, b in zip(run(made, given, threads), first, strict=True)), seed


@there
@pytest.mark.parametrize("shape", [(3, 0, 20), (0, 5, 20), (3, 5, 0), (1, 1, 16)])
def test_sums_of_nothing(shape: tuple[int, ...]) -> None:
    """By the program itself: a file that says such sizes is left to ONNX Runtime."""
    program = [1, 1, 2, 2, 0, F, 5, F, 0, 0, 0, 40, F, 1, 1, 0, 1, 2]
    y, s = run(chain(program, {"x": F}, {"y": F, "s": F}), {"x": np.ones(shape, np.float32)})
    assert y.shape == shape and s.shape == shape[1:2]
    np.testing.assert_array_equal(s, np.ones(shape, np.float32).sum((0, 2)))


def test_which_sums_go_into_a_chain() -> None:
    x = np.ones((2, 3, 4, 8), np.float32)
    nodes = [node("Exp", "x", "e"), node("Neg", "e", "n")]

    def left(*more: Any, **lists: list[int]) -> list[str]:
        return operators(fused(plain([*nodes, *more], {"x": x}, ["n", "s"], lists)))

    assert left(node("ReduceSum", "n a", "s", keepdims=0), a=[0, 2, 3]) == ["Chain"]
    assert left(node("ReduceSum", "n a", "s", keepdims=0), a=[0, -1, -2]) == ["Chain"]
    assert left(node("ReduceSum", "n a", "s"), a=[0, 2, 3]) == ["Chain", "ReduceSum"]  # the axes stay, of size 1
    assert left(node("ReduceSum", "n a", "s", keepdims=0), a=[0, 1, 2]) == ["Chain", "ReduceSum"]  # short runs
    assert left(node("ReduceSum", "n a", "s", keepdims=0), a=[3]) == ["Chain", "ReduceSum"]  # several stay
    assert left(node("ReduceSum", "n a", "s", keepdims=0), a=[]) == ["Chain", "ReduceSum"]
    other = left(node("ReduceSum", "n a", "s", keepdims=0, domain="other"), a=[0, 2, 3])
    assert other == ["Chain", "ReduceSum"]
    # what depends on a sum is beyond the chain
    after = [node("ReduceSum", "n a", "q", keepdims=0), node("ReduceSum", "q b", "t", keepdims=0),
             node("Mul", "n t", "m"), node("Neg", "m", "s")]  # fmt: skip
    assert left(*after, a=[0, 2, 3], b=[0]) == ["Chain", "ReduceSum", "Chain"]


WRONG = {
    "a sum that is no output": [1, 1, 2, 1, 0, F, 5, F, 0, 0, 0, 40, F, 0, 1, 0, 1],
    "a sum that is read": [1, 1, 2, 2, 0, F, 40, F, 0, 1, 0, 5, F, 1, 1, 0, 1, 2],
    "a sum of a negative axis": [1, 1, 1, 1, 0, F, 40, F, 0, -1, 0, 1],
    "a sum of an axis far away": [1, 1, 1, 1, 0, F, 40, F, 0, 2**40, 0, 1],
    "sums over other axes": [1, 1, 2, 2, 0, F, 40, F, 0, 1, 0, 40, F, 0, 0, 0, 1, 2],
    "a sum of whole numbers": [1, 1, 1, 1, 0, TensorProto.INT64, 40, TensorProto.INT64, 0, 1, 0, 1],
    "an operation between the last and the sum": [1, 1, 1, 1, 0, F, 39, F, 0, 1, 0, 1],
}


@there
@pytest.mark.parametrize("what", list(WRONG))
def test_a_wrong_program_of_sums_is_refused(what: str) -> None:
    kind = WRONG[what][5]
    outputs = {f"y{i}": kind for i in range(WRONG[what][3])}
    with pytest.raises(Exception, match="Chain"):
        run(chain(WRONG[what], {"x": kind}, outputs), {"x": np.ones((2, 3, 20), np.float32)})


@there
def test_a_sum_that_keeps_an_axis_that_is_not_there_is_refused() -> None:
    program = [1, 1, 1, 1, 0, F, 40, F, 0, 2, 0, 1]
    with pytest.raises(Exception, match="no axis"):
        run(chain(program, {"x": F}, {"y": F}), {"x": np.ones((2, 3), np.float32)})


# --- results where operands were


@there
@pytest.mark.parametrize("size", [7, 1_000, 300_000])
def test_results_over_operands_that_are_read_later(size: int) -> None:
    """What another node made is dead after the chain, so ONNX Runtime may put any result there: results that are made
    before the chain has read all of it, of one operand or two, and in any number of threads."""
    rng = np.random.default_rng(size)
    given = {name: rng.normal(size=size).astype("float32") for name in "xy"}
    nodes = [
        node("Softplus", "x", "a"),  # no operation of a chain
        node("Softplus", "y", "b"),
        node("Add", "a b", "p"),
        node("Mul", "p a", "q"),
        node("Sub", "q b", "r"),
        node("Mul", "r r", "s"),
        node("Add", "s a", "t"),
        *(node("Softplus", name, name.upper()) for name in "pqrt"),
    ]
    model = plain(nodes, given, list("PQRT"))
    made, _ = chained(model)
    assert operators(made).count("Chain") == 1
    expected = run(model, given)
    for threads in (1, 2):
        for a, b in zip(run(made, given, threads), expected, strict=True):
            assert same(a, b)


NORMALIZED = """
model m {
    input  x: float[batch, 3, 8, 8]
    target y: int[batch]
    z = x |> conv(8, kernel = 3, pad = 1) |> batch_norm |> relu |> conv(8, kernel = 3) |> batch_norm |> relu
    y ~ categorical(logits = global_avg_pool(z) |> dense(4))
}
train m { minimize loss using momentum(0.1) }
"""


def trained(**how: Any) -> tuple[dict[str, Array], list[str]]:
    rng = np.random.default_rng(2)
    trainer = dlc.Trainer(dlc.compile(NORMALIZED), device="cpu", seed=3, **how)
    for _ in range(3):
        trainer.step({"x": rng.normal(size=(6, 3, 8, 8)).astype("float32"), "y": rng.integers(0, 4, 6)})
    return {name: trainer.parameters[name] for name in trainer.parameters}, list(trainer.rewrites)


@there
def test_batch_normalization_with_its_sums_in_chains() -> None:
    with_, _ = trained(threads=1)
    without, _ = trained(native=False)
    for name, value in trained(threads=2)[0].items():
        assert same(value, with_[name])
        np.testing.assert_allclose(with_[name], without[name], rtol=1e-4, atol=1e-5)
