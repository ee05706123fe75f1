"""Every operation of the registry against NumPy, ONNX Runtime, differences and PyTorch, on random samples.

The operations write these tests: one that is added to `ops` is checked here without a line more.
"""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from dlc import ops
from dlc.autodiff.errors import SIGNS
from dlc.autodiff.reverse import gradients
from dlc.diagnostics import CompileError
from dlc.ir import interpret
from dlc.ir.graph import Graph
from dlc.ir.op import NUMPY, OPS, Op
from dlc.ir.types import Dim, TensorType, TypeProblem
from dlc.ops.leaf import make_input
from op_cases import (
    DTYPES,
    Case,
    differentiable,
    error_of,
    file_of,
    fixed_of,
    float_leaves,
    projected,
    run,
    sampled,
    samples,
    slope,
)

COUNT = 25
N = Dim.name("n")
every_op = pytest.mark.parametrize("op", sampled(), ids=lambda op: op.name)
smooth = pytest.mark.parametrize("op", [op for op in sampled() if differentiable(op)], ids=lambda op: op.name)


def close(found, expected, tolerance: float) -> bool:
    """|a − b| ≤ tolerance · max(1, |b|), and the same infinities and NaN."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if found.shape != expected.shape:
        return False
    return np.allclose(found, expected, rtol=tolerance, atol=tolerance, equal_nan=True)


# Operations whose samples have not every kind of shape: how far they go.
NARROW = {"fold": "two numbers", "arange": "a count", "gemm": "two matrices"}


@every_op
def test_samples_have_every_kind_of_shape(op):
    """A dimension of 0, one of 1, and five dimensions, among the operands or in the result."""
    found = []
    for sample in samples(op, COUNT):
        found += [np.shape(value) for value in sample.inputs] + [Case(op, sample).node.shape]
    if op.name not in ("fold", "arange"):
        assert any(0 in shape for shape in found) and any(1 in shape for shape in found)
    assert op.name in NARROW or max(map(len, found)) >= 5


# --- values


@every_op
def test_types_say_what_the_reference_gives(op, checked):
    for sample in samples(op, COUNT):
        case = Case(op, sample)
        with np.errstate(all="ignore"):
            value = np.asarray(op.reference(*sample.inputs, **{**op.defaults, **sample.attrs}))
        assert (value.dtype, value.shape) == (NUMPY[case.node.dtype], case.node.shape)
        checked(op)


@every_op
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_onnx_runtime_computes_the_reference(op, precision, checked):
    graph, roots, leaves, feeds = Graph(), {}, [], {}
    for number, sample in enumerate(samples(op, COUNT)):
        case = Case(op, sample, graph=graph, prefix=f"s{number}_")
        roots[f"y{number}"] = case.node
        leaves += case.leaves
        feeds.update(case.feeds)
    if precision == "float32":  # what float32 holds of the samples, so that only the operation is compared
        feeds = {
            name: value.astype(np.float32).astype(value.dtype) if value.dtype.kind == "f" else value
            for name, value in feeds.items()
        }
    expected = interpret.evaluate(list(roots.values()), feeds)
    model = file_of(roots, leaves, precision)
    for optimized in (False, True):
        for found, wanted in zip(run(model, feeds, precision, optimized), expected, strict=True):
            if wanted.dtype.kind == "f" and op.name != "random_uniform":
                assert found.dtype == precision
                assert close(found, wanted, 1e-5 if precision == "float32" else 1e-13)
            else:
                assert found.dtype in (wanted.dtype, precision)
                assert np.array_equal(found, wanted)
            checked(op)


def with_free_size(op: Op, sample):
    """The sample with its most frequent size above 1 made a free dimension, wherever it stands; None without one."""
    found = [size for value in sample.inputs for size in value.shape if size > 1]
    if not found:
        return None
    size = max(found, key=found.count)

    def free(shape):
        return tuple(N if s == size else s for s in shape)

    attrs = dict(sample.attrs)
    for name, value in attrs.items():
        if name in ("shape", "starts", "stops"):
            attrs[name] = free(value)
        elif name in ("depth", "k", "size") and value == size:
            attrs[name] = N
    try:
        return Case(op, sample, shapes=[free(value.shape) for value in sample.inputs], attrs=attrs)
    except TypeProblem as problem:
        # The size stood for two things in this sample, or for that of a kernel.
        assert problem.code in ("E0337", "E0310", "E0342", "E0361", "E0363", "E0364", "E0365")
        return None


@every_op
def test_free_sizes_change_nothing(op, checked):
    tried = 0
    for number, sample in enumerate(samples(op, COUNT)):
        case = with_free_size(op, sample)
        if case is None:
            continue
        expected = interpret.evaluate([Case(op, sample).node], Case(op, sample).feeds)[0]
        found = interpret.evaluate([case.node], case.feeds)[0]
        assert np.array_equal(found, expected, equal_nan=found.dtype.kind == "f")
        if number % 3 == 0 or op.name in ("reshape", "slice", "unslice", "scatter_add", "matmul"):
            model = file_of({"y": case.node}, case.leaves, "float64")
            assert close(run(model, case.feeds, "float64", False)[0], expected, 1e-12)
        tried += 1
        checked(op)
    assert tried or not any(value.ndim for sample in samples(op, COUNT) for value in sample.inputs)


# --- derivatives


@smooth
def test_gradient_against_differences(op, checked):
    rng = np.random.default_rng(zlib.crc32(op.name.encode()))
    for number, sample in enumerate(samples(op, COUNT)):
        fixed = fixed_of(op, sample, number)
        case = Case(op, sample, fixed=fixed)
        wrt = float_leaves(case)
        if case.node.dtype != "float" or not wrt:
            continue
        target, weights = projected(case, rng)
        found = gradients(target, wrt)
        attrs = {**op.defaults, **sample.attrs}
        values = interpret.evaluate([g for g in found if g is not None], case.feeds)
        assert len(values) == len(wrt), "every float operand has a derivative"
        for leaf, value in zip(wrt, values, strict=True):
            assert value.shape == leaf.shape
            at = int(leaf.attrs["name"])
            numeric = np.empty(leaf.shape)
            for index in np.ndindex(*leaf.shape):

                def moved(h, index=index, at=at, sample=sample, attrs=attrs, weights=weights):
                    inputs = list(sample.inputs)
                    inputs[at] = inputs[at].copy()
                    inputs[at][index] += h
                    return np.sum(op.reference(*inputs, **attrs) * weights)

                numeric[index] = slope(moved)
            assert error_of(value, numeric) <= 1e-6
        checked(op)


@smooth
def test_second_derivative_against_differences(op, checked):
    """d/dt of v · ∇f(x + t u) for random v and u is v · H u."""
    rng = np.random.default_rng([zlib.crc32(op.name.encode()), 2])
    for number, sample in enumerate(samples(op, COUNT, turn=2)):
        case = Case(op, sample, fixed=fixed_of(op, sample, number))
        wrt = float_leaves(case)
        if case.node.dtype != "float" or not wrt:
            continue
        target, _ = projected(case, rng)
        scalar = sum_of_products(case.graph, gradients(target, wrt), rng)
        second = [or_none(scalar, leaf) for leaf in wrt]
        direction = {leaf.attrs["name"]: rng.uniform(-1, 1, leaf.shape) for leaf in wrt}
        exact = {leaf.attrs["name"]: g for leaf, g in zip(wrt, second, strict=True) if g is not None}
        values = interpret.evaluate(list(exact.values()), case.feeds)
        along = sum(np.sum(value * direction[name]) for name, value in zip(exact, values, strict=True))

        def moved(h, case=case, scalar=scalar, direction=direction):
            feeds = {**case.feeds, **{name: case.feeds[name] + h * u for name, u in direction.items()}}
            return float(interpret.evaluate([scalar], feeds)[0])

        assert error_of(along, slope(moved)) <= 1e-6
        checked(op)


def or_none(target, leaf):
    """The derivative; None where it is zero because the slope of the first one is constant between kinks."""
    try:
        return gradients(target, [leaf])[0]
    except CompileError as problem:
        assert problem.code == "E0402"
        return None


def sum_of_products(graph: Graph, nodes, rng):
    """Σ v · g over several nodes with random v."""
    total = ops.constant(graph, 0.0, "float")
    for node in nodes:
        weighted = node * ops.constant(graph, rng.uniform(-1, 1, node.shape), "float")
        total = total + ops.reduce_sum(weighted, axes=range(weighted.rank))
    return total


@pytest.mark.parametrize(
    "op", [op for op in sampled() if not differentiable(op) and op.name != "stop_gradient"], ids=lambda op: op.name
)
def test_what_has_no_derivative_is_flat_and_says_so(op):
    for sample in samples(op, COUNT):
        case = Case(op, sample)
        for leaf in float_leaves(case):
            with pytest.raises(CompileError) as caught:
                gradients(ops.reduce_sum(ops.cast(case.node, dtype="float"), axes=range(case.node.rank)), [leaf])
            assert caught.value.code == "E0402" and f"`{SIGNS.get(op.name, op.name)}`" in str(caught.value)


@every_op
def test_derivatives_are_lowered_too(op, checked):
    """The gradient as ONNX Runtime computes it in float32 and float64, without its optimizations and with them."""
    if not differentiable(op):
        return
    rng = np.random.default_rng(5)
    for precision, tolerance in (("float32", 1e-5), ("float64", 1e-12)):
        graph, roots, leaves, feeds = Graph(), {}, [], {}
        for number, sample in enumerate(samples(op, COUNT, turn=3)):
            case = Case(op, sample, graph=graph, prefix=f"s{number}_", fixed=fixed_of(op, sample, 1))
            if case.node.dtype == "float" and float_leaves(case):
                for at, g in enumerate(gradients(projected(case, rng)[0], float_leaves(case))):
                    roots[f"g{number}_{at}"] = g
                leaves += case.leaves
                feeds.update(case.feeds)
        feeds = {
            name: value.astype(precision).astype(value.dtype) if value.dtype.kind == "f" else value
            for name, value in feeds.items()
        }
        if not roots:
            assert op.name == "cast"  # of other things than floats
            return
        expected = interpret.evaluate(list(roots.values()), feeds)
        model = file_of(roots, leaves, precision)
        for optimized in (False, True):
            for name, a, b in zip(roots, run(model, feeds, precision, optimized), expected, strict=True):
                assert close(a, b, tolerance), name
                checked(op)


# --- kinks, ties and edges


def derivative_at(f, *points: float) -> list[float]:
    """df/dx_i of a function of scalars at a point."""
    graph = Graph()
    leaves = [make_input(graph, str(i), TensorType("float", ())) for i in range(len(points))]
    found = gradients(f(*leaves), leaves)
    return [float(v) for v in interpret.evaluate(found, {str(i): p for i, p in enumerate(points)})]


@pytest.mark.parametrize(("f", "points", "expected"), [
    (ops.relu, (0.0,), [0.0]),
    (ops.abs_, (0.0,), [0.0]),
    (lambda x: ops.maximum(x, 0.0), (0.0,), [0.0]),
    (lambda x: ops.maximum(0.0, x), (0.0,), [0.0]),
    (lambda x: ops.minimum(x, 1.0), (1.0,), [0.0]),
    (ops.maximum, (2.0, 2.0), [0.5, 0.5]),
    (ops.minimum, (2.0, 2.0), [0.5, 0.5]),
    (lambda x: ops.maximum(x, x), (2.0,), [1.0]),
    (ops.sqrt, (0.0,), [np.inf]),
    (lambda x: ops.pow_(x, 0.5), (0.0,), [np.inf]),
    (lambda x: ops.pow_(x, 2), (0.0,), [0.0]),
    (lambda x: ops.pow_(x, 2), (-3.0,), [-6.0]),
    (lambda x: ops.pow_(x, 3), (-2.0,), [12.0]),
    (lambda x: ops.pow_(x, 1), (0.0,), [1.0]),
    (lambda x: ops.pow_(x, 0), (0.0,), [0.0]),
    (lambda x: ops.pow_(x, -1), (-2.0,), [-0.25]),
    (ops.pow_, (-2.0, 3.0), [12.0, 0.0]),
    (ops.pow_, (0.0, 0.0), [0.0, 0.0]),
    (ops.pow_, (0.0, 2.0), [0.0, 0.0]),
    (lambda x: ops.where(ops.gt(x, 0.0), ops.sqrt(ops.where(ops.gt(x, 0.0), x, 1.0)), 0.0), (0.0,), [0.0]),
    (lambda x: ops.cut(x) * 3.0, (1.0,), [3.0]),
    (ops.mod, (7.5, 2.0), [1.0, -3.0]),
    (lambda x: ops.softplus(x), (800.0,), [1.0]),
    (lambda x: ops.softplus(x), (-800.0,), [0.0]),
    (lambda x: ops.logsumexp(ops.stack([x, x - 1000.0]), axes=(0,)), (1e4,), [1.0]),
])  # fmt: skip
def test_derivatives_at_kinks_ties_and_edges(f, points, expected):
    assert derivative_at(f, *points) == expected


def test_equal_extremes_share_the_derivative():
    graph = Graph()
    x = make_input(graph, "x", TensorType("float", (4,)))
    for reduce in (ops.reduce_max, ops.reduce_min):
        [g] = gradients(reduce(x, axes=(0,)), [x])
        values = np.array([1.0, 1.0, 1.0, 1.0])
        assert interpret.evaluate([g], {"x": values})[0].tolist() == [0.25] * 4


@pytest.mark.parametrize(("values", "expected"), [
    ([2.0, 0.0, 3.0], [0.0, 6.0, 0.0]), ([0.0, 0.0, 3.0], [0.0, 0.0, 0.0]), ([2.0, 5.0, 3.0], [15.0, 6.0, 10.0]),
])  # fmt: skip
def test_derivative_of_a_product_with_zeros(values, expected):
    graph = Graph()
    x = make_input(graph, "x", TensorType("float", (3,)))
    [g] = gradients(ops.reduce_prod(x, axes=(0,)), [x])
    assert interpret.evaluate([g], {"x": np.array(values)})[0].tolist() == expected


SPECIAL = np.array(
    [
        0.0,
        -0.0,
        1e-30,
        -1e-30,
        1e-9,
        -1e-9,
        1e-3,
        0.4,
        0.5,
        -0.5,
        1,
        -1,
        3.9,
        5.0,
        -7.0,
        30.0,
        -30.0,
        np.inf,
        -np.inf,
        np.nan,
    ]
)


OF_ONE = [op.name for op in OPS.values() if op.arguments == ("x",)]  # of a number, as specs call them


@pytest.mark.parametrize("name", [*OF_ONE, "neg", "softplus", "relu"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_infinities_nan_and_tiny_numbers(name, precision):
    op = OPS[name]
    graph = Graph()
    x = make_input(graph, "x", TensorType("float", SPECIAL.shape))
    y = op(x)
    fed = {"x": SPECIAL.astype(precision).astype(np.float64)}
    expected = interpret.evaluate([y], fed)[0].astype(precision)
    found = run(file_of({"y": y}, [x], precision), fed, precision, False)[0]
    relative, absolute = (1e-5, 3e-8) if precision == "float32" else (1e-13, 1e-15)
    assert np.allclose(found, expected, rtol=relative, atol=absolute, equal_nan=True)
    if name in ("expm1", "log1p", "erf", "softplus", "neg", "sqrt"):  # to the last digits near 0 as well
        tiny = np.abs(SPECIAL) < 1e-2
        assert np.allclose(found[tiny], expected[tiny], rtol=relative, atol=0, equal_nan=True)


@pytest.mark.parametrize("op", [ops.maximum, ops.minimum, ops.add, ops.mul], ids=lambda op: op.__name__)
def test_nan_wins_on_either_side(op):
    graph = Graph()
    a, b = (make_input(graph, name, TensorType("float", (3,))) for name in "ab")
    fed = {"a": np.array([np.nan, 1, np.nan]), "b": np.array([1, np.nan, np.nan])}
    y = op(a, b)
    assert np.isnan(interpret.evaluate([y], fed)[0]).all()
    assert np.isnan(run(file_of({"y": y}, [a, b], "float32"), fed, "float32", True)[0]).all()


def test_logsumexp_of_infinities():
    graph = Graph()
    x = make_input(graph, "x", TensorType("float", (4, 2)))
    y = ops.logsumexp(x, axes=(1,))
    fed = {"x": np.array([[-np.inf, -np.inf], [np.inf, 1], [-np.inf, 2], [1e308, 1e308]])}
    expected = [-np.inf, np.inf, 2.0, 1e308]
    assert interpret.evaluate([y], fed)[0].tolist() == expected
    assert run(file_of({"y": y}, [x], "float64"), fed, "float64", False)[0].tolist() == expected


@pytest.mark.parametrize(("a", "b"), [(1.0, 0.1), (-1.0, 3.0), (5.5, -2.0), (6.0, 3.0), (-6.0, 3.0), (1e6, 0.3)])
def test_floor_division_and_remainder_are_pythons(a, b):
    graph = Graph()
    x, y = (make_input(graph, name, TensorType("float", ())) for name in "xy")
    roots = {"q": ops.floordiv(x, y), "r": ops.mod(x, y)}
    fed = {"x": a, "y": b}
    assert [float(v) for v in interpret.evaluate(list(roots.values()), fed)] == [a // b, a % b]
    assert [float(v) for v in run(file_of(roots, [x, y], "float64"), fed, "float64", False)] == [a // b, a % b]


# --- dtypes


def test_dtypes_meet():
    graph = Graph()
    leaf = {d: make_input(graph, d, TensorType(d, ())) for d in ("bool", "int", "float")}
    assert (leaf["bool"] + leaf["int"]).dtype == "int"
    assert (leaf["int"] * leaf["float"]).dtype == "float"
    assert (leaf["int"] / leaf["int"]).dtype == "float"
    assert (leaf["int"] * 2).dtype == "int" and (leaf["int"] * 2.0).dtype == "float"
    assert (2 * leaf["float"]).inputs[0].attrs["value"].dtype == np.float64
    assert ops.lt(leaf["bool"], leaf["bool"]).inputs[0].dtype == "int"
    assert ops.where(leaf["bool"], 1, 0.5).dtype == "float"


@pytest.mark.parametrize("name", sorted(DTYPES.values()))
def test_wrong_dtypes_are_type_problems(name):
    """Whatever is given to whatever operation, it is a type or a TypeProblem."""
    given = TensorType(name, (2, 2))
    refused = 0
    for op in sampled():
        sample = samples(op, 1)[0]
        try:
            result = op.infer(*[given] * len(sample.inputs), **{**op.defaults, **sample.attrs})
        except TypeProblem as problem:
            assert problem.code.startswith("E03")
            refused += 1
        else:
            assert result.dtype in NUMPY
    assert refused > 5
