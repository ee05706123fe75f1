"""Every rule of the fusing pass: the interpreter gives the same before and after, and so does ONNX Runtime."""

from __future__ import annotations

import dlc
import numpy as np
import onnxruntime
import pytest
from dlc import ops
from dlc.ir import interpret
from dlc.ir.graph import Graph
from dlc.ir.module import Module, Variable
from dlc.ir.types import Dim, TensorType
from dlc.lower import lower
from dlc.ops.leaf import make_input, make_variable
from dlc.optimize.fuse import fuse
from work import assert_linear

BATCH = Dim.name("batch")


class Case:
    """A graph under construction with inputs x: [batch, 4], dz: [batch, 3] and parameters W: [4, 3], b: [3]."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.graph.derived = True  # where factors may move
        self.x, self.dz = self.input("x", BATCH, 4), self.input("dz", BATCH, 3)
        self.W, self.b = self.variable("W", 4, 3), self.variable("b", 3)
        self.rate = self.variable("rate")

    def input(self, name, *shape):
        return make_input(self.graph, name, TensorType("float", shape))

    def variable(self, path, *shape):
        return make_variable(self.graph, path, TensorType("float", shape))

    def values(self, rows: int = 5) -> dict[str, np.ndarray]:
        draw = np.random.default_rng(1)
        shapes = {"x": (rows, 4), "dz": (rows, 3), "W": (4, 3), "b": (3,), "rate": ()}
        return {name: draw.normal(size=shape) for name, shape in shapes.items()}

    def evaluate(self) -> np.ndarray:
        [value] = interpret.evaluate(list(self.graph.outputs.values()), self.values())
        return value

    def run(self, precision: str) -> dict[str, np.ndarray]:
        """What ONNX Runtime computes; the variables become inputs, so that nothing is folded."""
        module = Module("case", self.graph, inputs=[self.x, self.dz], rows=("batch",))
        for leaf in (self.W, self.b, self.rate):
            module.variables[leaf.attrs["path"]] = Variable(leaf.attrs["path"], "parameter", leaf)
        module.outputs = [root.removeprefix("output/") for root in self.graph.outputs]
        model = lower(module, precision)
        values = {name: value.astype(precision) for name, value in self.values().items()}
        for tensor in model.graph.initializer:
            if tensor.name in values:
                tensor.raw_data = values[tensor.name].tobytes()
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        fed = {value.name: values[value.name] for value in session.get_inputs()}
        return dict(zip(self.graph.outputs, session.run(None, fed), strict=True))


def dx(case: Case):
    dy = ops.relu(case.x)
    return dy + ops.matmul(case.dz, case.W, tb=True)


def adam(case: Case):
    m, v, c = case.x, ops.exp(case.x), case.rate * case.rate + 0.5
    return case.rate * (m / c) / (ops.sqrt(v / c) + 1e-8)


def moments(case: Case):
    g = ops.matmul(case.x, case.dz, ta=True)
    return (0.9 * case.W + 0.1 * g) / ops.sqrt(0.999 * ops.exp(case.W) + 0.001 * (g * g))


def bias_moments(case: Case):
    g = ops.reduce_sum(case.dz, axes=(0,))
    return (0.9 * case.b + 0.1 * g) / ops.sqrt(0.999 * ops.exp(case.b) + 0.001 * (g * g))


def likelihood(case: Case):
    return ops.logsumexp(case.dz, axes=(1,)) - ops.pick(case.dz, ops.argmin(case.dz, axis=1))


def rectifier(case: Case):
    return ops.maximum(case.x, 0.0) + ops.where(ops.gt(case.x, 0.0), ops.exp(case.x), 0.0)


# name -> (graph, operations that the fused graph has: how many of each)
def scaled_affine(case: Case):
    return ops.erf((case.x @ case.W + case.b) / np.sqrt(2.0))


def halved(case: Case):
    return 0.5 * (case.x @ case.W)


def bell(case: Case):
    return 2.0 * (case.x * ops.exp(-(case.x * case.x))) + 3.0 * ops.exp(-ops.relu(case.x))


def scaled_beside(case: Case):
    share = 1.0 / (case.rate * case.rate + 1.0)
    g = case.dz * share
    return ops.matmul(case.x, g, ta=True) + share * ops.reduce_sum(case.dz, axes=(0,))


CASES = {
    "product and bias": (lambda c: c.x @ c.W + c.b, {"gemm": 1, "add": 0}),
    "bias first": (lambda c: c.b + c.x @ c.W, {"gemm": 1, "add": 0}),
    "minus a product": (lambda c: c.dz - c.x @ c.W, {"gemm": 1, "sub": 0}),
    "product minus": (lambda c: c.x @ c.W - c.b, {"gemm": 1, "sub": 0}),
    "two products": (lambda c: c.x @ c.W + ops.relu(c.x) @ c.W, {"gemm": 1, "matmul": 1}),
    "three terms": (lambda c: (c.dz + c.x @ c.W) + ops.relu(c.x) @ c.W, {"gemm": 2, "matmul": 0}),
    "sgd": (lambda c: c.W - 0.1 * ops.matmul(c.x, c.dz, ta=True), {"gemm": 1, "sub": 0}),
    "sgd, negated": (lambda c: c.W + -(ops.matmul(c.x, c.dz, ta=True) * 0.1), {"gemm": 1, "add": 0, "neg": 0}),
    "sgd, divided": (lambda c: c.W - ops.matmul(c.x, c.dz, ta=True) / 8.0, {"gemm": 1, "div": 0}),
    "sgd by a schedule": (lambda c: c.W - c.rate * ops.matmul(c.x, c.dz, ta=True), {"gemm": 1, "sub": 0}),
    "sum of what is scaled already": (scaled_beside, {"gemm": 1, "mul": 1}),
    "momentum": (lambda c: 0.9 * c.W + ops.matmul(c.x, c.dz, ta=True), {"gemm": 1, "add": 0}),
    "average": (lambda c: 0.9 * c.W + 0.1 * ops.matmul(c.x, c.dz, ta=True), {"gemm": 1, "add": 0}),
    "gradient of the input": (dx, {"gemm": 1, "add": 0}),
    "column sums": (lambda c: ops.reduce_sum(c.dz, axes=(0,)), {"matmul": 1, "reduce_sum": 0}),
    "column sums kept": (lambda c: ops.reduce_sum(c.dz, axes=(0,), keepdims=True), {"matmul": 1, "reshape": 0}),
    "bias by sgd": (lambda c: c.b - 0.1 * ops.reduce_sum(c.dz, axes=(0,)), {"gemm": 1, "reduce_sum": 0, "sub": 0}),
    "bias by a schedule": (lambda c: c.b - c.rate * ops.reduce_sum(c.dz, axes=(0,)), {"gemm": 1, "sub": 0}),
    "scalars": (lambda c: c.rate * (c.dz / (c.rate * c.rate + 1.0)) * -2.0, {"div": 1, "mul": 3, "add": 1}),
    "scalars that cancel": (lambda c: -(c.dz * 2.0) / -2.0, {"mul": 0, "div": 0, "neg": 0}),
    "denominator of adam": (adam, {"sqrt": 2, "div": 2, "mul": 4}),
    "scalars around a quotient": (lambda c: (c.dz * c.rate) / ops.exp(c.dz) * c.rate, {"mul": 2, "div": 1}),
    "a mean's share": (lambda c: c.dz * (1.0 / (c.rate * c.rate)), {"div": 1, "mul": 1}),
    "moments of a gradient": (moments, {"gemm": 1, "matmul": 0, "mul": 4}),
    "moments of a bias's gradient": (bias_moments, {"matmul": 1, "mul": 4}),
    "likelihood": (likelihood, {"log_softmax": 1, "logsumexp": 0}),
    "sum of squares": (lambda c: ops.reduce_sum(c.x * c.x, axes=(0, 1)), {"reduce_sum_square": 1, "mul": 0}),
    "sums of squares": (lambda c: ops.reduce_sum(c.x * c.x, axes=(1,), keepdims=True), {"reduce_sum_square": 0}),
    "maximum": (lambda c: ops.maximum(0.0, c.x), {"relu": 1, "maximum": 0}),
    "maximum's mask": (rectifier, {"relu": 1, "gt": 0, "maximum": 0}),
    "relu mask": (lambda c: ops.where(ops.gt(ops.relu(c.x), 0.0), c.x * 3.0, 0.0), {"gt": 0, "where": 1}),
    "a scaled affine map": (scaled_affine, {"gemm": 1, "div": 0, "mul": 0}),
    "half a product": (halved, {"gemm": 1, "mul": 0}),
    "bells": (bell, {"neg": 0, "mul": 2}),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_rule(name, precision):
    build, expected = CASES[name]
    case = Case()
    case.graph.outputs["output/y"] = build(case)
    before = case.evaluate()
    fuse(case.graph, precision)
    np.testing.assert_allclose(case.evaluate(), before, rtol=1e-14, atol=1e-14)
    tolerance = 1e-5 if precision == "float32" else 1e-14
    np.testing.assert_allclose(case.run(precision)["output/y"], before, rtol=tolerance, atol=tolerance)
    found = [node.op.name for node in case.graph.order(case.graph.outputs.values())]
    if precision == "float32":
        assert {op: found.count(op) for op in expected} == expected


def test_what_something_else_reads_is_not_absorbed():
    case = Case()
    product = case.x @ case.W
    case.graph.outputs.update({"output/y": product + case.b, "output/z": ops.relu(product)})
    gradient = ops.matmul(case.x, case.dz, ta=True)
    case.graph.outputs.update({"output/g": gradient, "output/w": case.W - 0.1 * gradient})
    text = case.graph.text()
    fuse(case.graph)
    assert case.graph.text() == text


def test_a_product_of_higher_rank_is_left_alone():
    case = Case()
    deep = ops.reshape(case.x, shape=(BATCH, 2, 2))
    case.graph.outputs["output/y"] = deep @ deep + deep
    text = case.graph.text()
    fuse(case.graph)
    assert case.graph.text() == text


def test_factors_that_float32_cannot_hold_stay_exact_in_float64():
    for factor, alpha in ((0.1, -1.0), (0.25, -0.25)):
        case = Case()
        case.graph.outputs["output/y"] = case.W - factor * ops.matmul(case.x, case.dz, ta=True)
        fuse(case.graph, "float64")
        [gemm] = [node for node in case.graph.nodes if node.op.name == "gemm"]
        assert gemm.attrs["alpha"] == alpha


def residual(layers: int) -> Graph:
    """A residual perceptron with its backward pass and sgd by hand: x + relu(x @ W + b), width 64."""
    graph = Graph()
    graph.derived = True  # where factors may move
    x = make_input(graph, "x", TensorType("float", (BATCH, 64)))
    kept = []
    for i in range(layers):
        W = make_variable(graph, f"{i}.W", TensorType("float", (64, 64)))
        b = make_variable(graph, f"{i}.b", TensorType("float", (64,)))
        hidden = ops.relu(x @ W + b)
        kept.append((x, W, b, hidden))
        x = x + hidden
    dy = x
    for i, (before, W, b, hidden) in reversed(list(enumerate(kept))):
        dz = ops.where(ops.gt(hidden, 0.0), dy, 0.0)
        graph.outputs[f"next/{i}.W"] = W - 0.01 * ops.matmul(before, dz, ta=True)
        graph.outputs[f"next/{i}.b"] = b - 0.01 * ops.reduce_sum(dz, axes=(0,))
        dy = dy + ops.matmul(dz, W, tb=True)
    graph.outputs["output/dx"] = dy
    return graph


def test_a_residual_layer_takes_ten_nodes():
    short, long = residual(3), residual(13)
    for graph in (short, long):
        fuse(graph)
    found = [node.op.name for node in long.nodes]
    assert found.count("gemm") == 4 * 13 and "matmul" not in found and "reduce_sum" not in found
    leaves = 2 * 10  # W and b of ten layers
    # forward gemm, relu, add; backward two casts, mul, gemm, two updates, and the reshape of the bias
    assert len(long) - len(short) == 10 * 10 + leaves


def test_fusing_is_linear():
    assert_linear(residual, fuse, counted=(25, 400), timed=(100, 1600), limit=2.5)  # 16 if it were quadratic


# --- masks


def derived(body: str):
    """The operators and the value of `g` in a stock session, for x = -1, 1, -1, 1, ..."""
    text = f"model m {{\n input x: float[batch, 512]\n {body}\n output out = g\n}}"
    model = dlc.compile(text).model_proto()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.tile(np.array([-1.0, 1.0], np.float32), (32, 256))
    return {node.op_type for node in model.graph.node}, session.run(["out"], {"x": x})[0]


def test_a_mask_multiplies_what_is_finite():
    names, g = derived("g = grad(sum(relu(x)^2 / (1 + x^2)), x)")
    assert "Where" not in names
    assert np.allclose(g[:, ::2], 0) and np.allclose(g[:, 1::2], 0.5)


@pytest.mark.parametrize("body", ["where(x == x, x, 0)", "where(x < 10, 2 * x, 0)", "where(abs(x) < inf, x, 0)"])
def test_a_guard_against_data_that_are_not_finite_stays(body):
    model = dlc.compile(f"model m {{\n input x: float[64, 512]\n output out = {body}\n}}").model_proto()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.ones((64, 512), np.float32)
    x[0, :2] = np.nan, np.inf
    found = session.run(["out"], {"x": x})[0]
    assert found[0, 0] == 0 and (np.isfinite(found[0, 1]) or "==" in body)


@pytest.mark.parametrize(
    "body", ["g = grad(sum(sqrt(relu(x))), x)", "g = grad(sum(log(relu(x))), x)", "g = grad(sum(1 / relu(x)), x)"]
)
def test_what_may_be_infinite_is_chosen(body):
    """0 times infinity is no derivative: on the side where relu is flat it is 0, as `where` says."""
    names, g = derived(body)
    assert "Where" in names
    assert (g[:, ::2] == 0).all() and np.isfinite(g).all()


@pytest.mark.parametrize(
    "value", ["x @ W + 0.0 * c", "0.0 * c - x @ W", "0.0 * (c @ W)", "x @ W + 0.0 * (c @ W)", "c / 0.0 * 0.0 + x @ W"]
)
def test_a_factor_of_0_keeps_nan(value: str) -> None:
    """0 times NaN or an infinity is NaN; a product with `alpha` or `beta` 0 reads nothing."""
    program = dlc.compile(f"""model m {{
    input x: float[batch, 4]
    input d: float[batch, 4]
    param W: float[4, 4] init orthogonal
    c = 1 / d
    output o = {value}
}}
""")
    d = np.ones((3, 4), np.float32)
    d[1, 2] = 0
    model = program.model_proto()
    fed = {"x": np.ones((3, 4), np.float32), "d": d}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    [made] = session.run(None, {one.name: fed[one.name] for one in session.get_inputs()})
    again = dlc.Trainer(program, device="cpu").predict(fed)["o"]  # as the runtime rewrites it
    assert np.isnan(made[1]).any() and np.isnan(again[1]).any()
