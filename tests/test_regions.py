"""Regions of a small step in the native library: against the operators' definitions, in several threads at once; what
is refused, and where a failure is said to be."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest
from dlc.runtime import graphs, kernels, native, regions, rewrite
from dlc.runtime.chains import DOMAIN
from dlc.runtime.session import Options, Session
from native_cases import mangled, runs_or_says
from onnx import AttributeProto, ModelProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from region_cases import Array, draft, element
from test_native import chain, run, same

SPECS = Path(__file__).parents[1] / "specs"
there = pytest.mark.skipif(not native.works(), reason="the native library was not built")
F = TensorProto.FLOAT


def joined(model: ModelProto) -> tuple[ModelProto, dict[str, int]]:
    made = ModelProto()
    made.CopyFrom(model)
    return made, regions.together(made, graphs.inferred(made))


def one(
    nodes: list[Any], feeds: dict[str, Array], outputs: list[str], held: dict[str, Array] | None = None
) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, element(v.dtype), v.shape) for n, v in feeds.items()],
        [],
        [numpy_helper.from_array(v, n) for n, v in (held or {}).items()],
    )
    del graph.output[:]
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    found = {value.name: value for value in graphs.inferred(model).graph.value_info}
    model.graph.output.extend(found[name] for name in outputs)
    return model


# --- what a region computes


@there
@pytest.mark.parametrize("block", range(10))
def test_random_regions_are_what_their_operators_are(block: int) -> None:
    for seed in range(block * 20, block * 20 + 20):
        case = draft(seed)
        made, counts = joined(case.model())
        assert [node.op_type for node in made.graph.node] == ["Region"] and counts[regions.TOGETHER] >= 2, seed
        expected = ReferenceEvaluator(case.model(), verbose=0).run(None, case.feeds)
        for name, a, b in zip(case.outputs, run(made, case.feeds), expected, strict=True):
            assert a.shape == b.shape and a.dtype == b.dtype, (seed, name)
            if a.dtype.kind == "f":
                top = float(np.abs(b).max(initial=0, where=np.isfinite(b)))
                np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5 * top, err_msg=f"{seed} {name}")
            else:
                np.testing.assert_array_equal(a, b, err_msg=f"{seed} {name}")


SIZES = (0, 1, 2, 3, 4, 5, 8, 13, 16, 17, 31, 32, 33, 64, 70)


def product(
    m: int, n: int, k: int, ta: int, tb: int, c: tuple[int, ...] | None, seed: int
) -> tuple[Array, Array, Array]:
    """What a region makes of a Gemm, of its first rows alone, and what is right."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(k, m) if ta else (m, k)), rng.normal(size=(n, k) if tb else (k, n))
    feeds = {"a": a.astype(np.float32), "b": b.astype(np.float32)}
    if c is not None:
        feeds["c"] = np.asarray(rng.normal(size=c), np.float32)
    right = 0.5 * (feeds["a"].astype(float).T if ta else feeds["a"].astype(float)) @ (
        feeds["b"].astype(float).T if tb else feeds["b"].astype(float)
    ) + (2.0 * feeds["c"].astype(float) if c is not None else 0.0)
    found = []
    for rows in (m, max(0, m - 3)):
        part = dict(feeds, a=feeds["a"][:, :rows] if ta else feeds["a"][:rows])
        if c is not None and len(c) == 2 and c[0] != 1:
            part["c"] = feeds["c"][:rows]
        node = helper.make_node("Gemm", list(part), ["y"], alpha=0.5, beta=2.0, transA=ta, transB=tb)
        made, _ = joined(one([node, helper.make_node("Neg", ["y"], ["z"])], part, ["y", "z"]))
        found.append(run(made, part)[0])
    return found[0], found[1], np.broadcast_to(right, (m, n))


@there
@pytest.mark.parametrize("block", range(8))
def test_products_of_any_size(block: int) -> None:
    """Within the rounding of their sums; and each row is the same numbers, whatever rows are beside it."""
    rng = np.random.default_rng(block)
    for seed in range(40):
        m, n = (int(each) for each in rng.choice(SIZES, 2))
        k = int(rng.choice([*SIZES, 255, 256, 257, 700]))
        c = [None, (), (n,), (1, n), (m, 1), (m, n)][int(rng.integers(0, 6))]
        y, first, right = product(m, n, k, int(rng.integers(0, 2)), int(rng.integers(0, 2)), c, seed)
        assert y.shape == right.shape
        np.testing.assert_allclose(y, right, rtol=1e-6, atol=1e-6 * (k + 1))
        assert same(y[: len(first)], first), (m, n, k, c)


@there
def test_products_of_one_row_and_many_columns() -> None:
    for seed, (n, k) in enumerate((n, k) for n in (127, 128, 200, 513, 1030) for k in (1, 5, 256, 257, 700)):
        c = [None, (), (n,), (1, n)][seed % 4]
        y, _, right = product(1, n, k, seed % 2, seed // 2 % 2, c, seed)
        np.testing.assert_allclose(y, right, rtol=1e-6, atol=1e-6 * (k + 1))


@there
@pytest.mark.parametrize("kind", ["bool", "float32", "int64", "float64"])
def test_axes_of_any_type_are_moved(kind: str) -> None:
    """Also into rows whose elements lie apart."""
    x = np.random.default_rng(0).normal(size=(3, 5, 2)).astype(kind)
    for perm in ([2, 1, 0], [0, 2, 1], [1, 0, 2]):
        nodes = [helper.make_node("Transpose", ["x"], ["y"], perm=perm), helper.make_node("Shape", ["y"], ["s"])]
        made, _ = joined(one(nodes, {"x": x}, ["y", "s"]))
        y, shape = run(made, {"x": x})
        np.testing.assert_array_equal(y, x.transpose(perm))
        assert list(shape) == [x.shape[axis] for axis in perm]


@there
def test_what_is_not_finite_stays_so() -> None:
    x = np.array([[1, np.nan, 0], [np.inf, 1, 2], [-np.inf, -np.inf, -np.inf], [-np.inf, 0, 1]], np.float32)
    nodes = [helper.make_node("Softmax", ["x"], ["p"]), helper.make_node("LogSoftmax", ["x"], ["l"])]
    nodes += [helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0), helper.make_node("MatMul", ["x", "w"], ["y"])]
    feeds = {"x": x, "w": np.zeros((3, 2), np.float32)}
    made, _ = joined(one(nodes, feeds, ["p", "l", "s", "y"]))
    p, l, s, y = run(made, feeds)
    assert np.isnan(p[:3]).all() and np.isfinite(p[3]).all() and p[3, 0] == 0 and l[3, 0] == -np.inf
    assert np.isnan(s) and np.isnan(y[0]).all() and np.isnan(y[1]).all()


@there
def test_one_session_runs_in_several_threads_at_once() -> None:
    """Each with memory of its own, and with batches of other sizes between."""
    case = helper.make_node("Gemm", ["x", "w"], ["y"])
    shapes = {"x": np.zeros((1, 24), np.float32), "w": np.zeros((24, 40), np.float32)}
    model = one([case, helper.make_node("Softmax", ["y"], ["p"]), helper.make_node("MatMul", ["p", "v"], ["z"])],
                shapes | {"v": np.zeros((40, 8), np.float32)}, ["z"])  # fmt: skip
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    session = Session(model, Options(native=True, small=True, fused=True))
    assert session.rewrites[regions.TOGETHER] == 3
    rng = np.random.default_rng(1)
    w, v = rng.normal(size=(24, 40)).astype("f4"), rng.normal(size=(40, 8)).astype("f4")
    batches = [rng.normal(size=(int(n), 24)).astype("f4") for n in rng.integers(1, 300, 40)]
    alone = [session.run(["z"], {"x": x, "w": w, "v": v})[0] for x in batches]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            again = list(pool.map(lambda x: session.run(["z"], {"x": x, "w": w, "v": v})[0], batches))
            assert all(same(a, b) for a, b in zip(alone, again, strict=True))


# --- what it refuses


def text(model: ModelProto) -> list[int]:
    return list(next(a for a in model.graph.node[0].attribute if a.name == "program").ints)


def spoilt(model: ModelProto, words: list[int]) -> ModelProto:
    made = ModelProto()
    made.CopyFrom(model)
    del made.graph.node[0].attribute[:]
    made.graph.node[0].attribute.append(helper.make_attribute("program", words, attr_type=AttributeProto.INTS))
    return made


@there
@pytest.mark.parametrize("block", range(6))
def test_random_programs_are_refused_or_run(block: int) -> None:
    """Any list of integers: an error, or a result, and no reading where nothing is."""
    rng = np.random.default_rng(block)
    loaded = refused = 0
    for seed in range(block * 10, block * 10 + 10):
        case = draft(seed)
        made, _ = joined(case.model())
        words = text(made)
        for _ in range(12):
            wrong = mangled(rng, words, [-(2**63), -1, 0, 1, 2, 3, 4, 5, 7, 11, 15, 16, 127, 2**31, 2**63 - 1], 3)
            if rng.random() < 0.1:
                wrong = wrong[: int(rng.integers(0, len(wrong)))]
            good = runs_or_says(partial(run, spoilt(made, wrong), case.feeds), "Region", "program", "type", "Type")
            loaded, refused = loaded + good, refused + (not good)
    assert loaded and refused


@there
def test_more_parts_of_a_program_than_there_is_text_take_no_memory() -> None:
    case = draft(0)
    made, _ = joined(case.model())
    words = text(made)
    for at, most in ((2, 1 << 12), (3, 1 << 20)):  # chains, steps
        for count in (most, len(words) + 1):
            with pytest.raises(Exception, match="another length than it says"):
                run(spoilt(made, [*words[:at], count, *words[at + 1 :]]), case.feeds)


@there
@pytest.mark.parametrize("kind", ["float32", "float64", "int64", "bool"])
def test_a_program_may_give_what_it_holds(kind: str) -> None:
    """A constant that is a result is written into the memory of the output."""
    held = np.array([[1.5, 0, -2]]).astype(kind)
    bits = held.view(f"u{held.itemsize}").astype(np.uint64).astype(np.int64)
    attributes = [element(kind), held.ndim, *held.shape, *bits.ravel().tolist()]
    program = [1, 1, 0, 1, 1, F, 0, 0, 1, len(attributes), *attributes, 1]  # the one step: CONSTANT
    model = chain(program, {"x": F}, {"y": element(kind)})
    model.graph.node[0].op_type = regions.OPERATOR
    [y] = run(model, {"x": np.ones(2, np.float32)})
    assert same(y, held)


@there
def test_an_index_out_of_range_is_told_with_its_line() -> None:
    from dlc.runtime.failures import Error

    nodes = [helper.make_node("Neg", ["x"], ["a"], name="first"),
             helper.make_node("GatherElements", ["a", "i"], ["y"], name="second", axis=1)]  # fmt: skip
    for node, line in zip(nodes, ("m.dl:1:1", "m.dl:2:7"), strict=True):
        entry = node.metadata_props.add()
        entry.key, entry.value = "dlc.source", line
    feeds = {"x": np.ones((2, 3), np.float32), "i": np.array([[0], [3]])}
    session = Session(one(nodes, feeds, ["y"]), Options(native=True, small=True, fused=True))
    with pytest.raises(Error) as caught:
        session.run(["y"], feeds)
    assert caught.value.code == "E0804" and caught.value.where == "m.dl:2:7"
    assert "out of range" in " ".join(caught.value.notes)


# --- which nodes go together


def operators(nodes: list[Any], feeds: dict[str, Array], outputs: list[str]) -> list[str]:
    made, _ = joined(one(nodes, feeds, outputs))
    return [node.op_type for node in made.graph.node]


def test_a_node_that_no_region_holds_stands_between_two() -> None:
    square = {"x": np.ones((3, 3), np.float32)}
    nodes = [
        helper.make_node("MatMul", ["x", "x"], ["a"]),
        helper.make_node("Exp", ["a"], ["b"]),
        helper.make_node("CumSum", ["b", "axis"], ["c"]),
        helper.make_node("Mul", ["c", "b"], ["d"]),
        helper.make_node("MatMul", ["d", "x"], ["y"]),
    ]
    made, counts = joined(one(nodes, square, ["y"], {"axis": np.array(0)}))
    assert [node.op_type for node in made.graph.node] == ["Region", "CumSum", "Region"]
    assert counts[regions.TOGETHER] == 4


def test_products_of_doubles_and_batches_stay() -> None:
    wide = {"x": np.ones((3, 3))}
    assert operators([helper.make_node("MatMul", ["x", "x"], ["a"]), helper.make_node("MatMul", ["a", "x"], ["y"])],
                     wide, ["y"]) == ["MatMul", "MatMul"]  # fmt: skip


@there
def test_a_small_step_is_one_node_and_a_large_one_is_not() -> None:
    def rewrites(width: int) -> dict[str, int]:
        spec = f"""
        model m {{
            input x: float[batch, 8]
            target y: float[batch, 8]
            loss = mean(((x |> dense({width}) |> tanh |> dense(8)) - y)^2)
        }}
        train m {{
            minimize loss using adam(0.01)
            batch: 4
        }}
        """
        return dlc.Trainer(dlc.compile(spec), device="cpu").rewrites

    assert rewrites(16)[regions.TOGETHER] > 10
    assert regions.TOGETHER not in rewrites(9_000)
    assert DOMAIN == "dlc.native"


@there
@pytest.mark.parametrize("spec", ["digits", "contractive", "curriculum", "finetune", "folds", "groups"])
def test_what_the_runtime_puts_in_is_in_the_region_too(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums over the batch, which are products of vectors that no file has."""
    seen = []

    whole = rewrite.rewritten

    def kept(*given: Any) -> tuple[ModelProto, dict[str, int]]:
        seen.append(whole(*given))
        return seen[-1]

    monkeypatch.setattr("dlc.runtime.session.rewrite.rewritten", kept)
    dlc.Trainer(dlc.compile(SPECS / f"{spec}.dl"), device="cpu").stepper.rewrites()
    [(made, counts)] = seen
    assert counts[kernels.VECTORS] >= 1
    assert [node.op_type for node in made.graph.node] == ["Region"]
