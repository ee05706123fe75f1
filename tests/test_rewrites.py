"""The simplifier: each rule by a golden pair of graphs that is also run, the stable forms by many spellings, and the
whole by random graphs. `pytest tests/test_rewrites.py --accept` takes what comes out today as right."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from dlc import ops
from dlc.autodiff.reverse import gradients
from dlc.diagnostics import InternalError
from dlc.ir.graph import Graph
from dlc.ir.interpret import evaluate
from dlc.ir.types import Dim, TensorType
from dlc.optimize import LATE, PASSES, fold, shapes, simplify
from dlc.optimize.rewrite import Rules, rewrite, together
from dlc.source import Source, Span
from hypothesis import HealthCheck, given, settings, strategies as st
from random_graphs import Pool
from rewrite_cases import CASES, DERIVED
from rewrite_leaves import Leaves, N, feeds
from work import assert_linear

HERE = Path(__file__).parent
FINAL = (  # cases of the last pass
    "stored",
    "kept_dimensions",
    "unmarked",
    *(rule.__name__ for rules in LATE for on in rules.values() for rule in on),
)


def build(name: str) -> Graph:
    graph = Graph()
    with graph.at(derived=name in DERIVED):
        for i, node in enumerate(CASES[name](Leaves(graph))):
            graph.outputs[f"r{i}"] = node
    graph.outputs["leaf"] = next(leaf for leaf in graph.nodes if leaf.attrs.get("name") == "x")
    return graph


def run(graph: Graph, values: dict[str, np.ndarray]) -> list[np.ndarray]:
    return evaluate(list(graph.outputs.values()), values)


def same(before: list[np.ndarray], after: list[np.ndarray], rtol: float = 1e-9) -> None:
    for a, b in zip(before, after, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        scale = np.abs(a[np.isfinite(a)]).max(initial=1.0) if a.dtype.kind == "f" else 1.0
        np.testing.assert_allclose(b, a, rtol=rtol, atol=rtol * scale)


# --- one rule at a time


@pytest.mark.parametrize("name", CASES)
def test_golden_pair(name: str, accept: bool) -> None:
    graph = build(name)
    values = feeds(np.random.default_rng(sum(map(ord, name))))
    text, before = graph.text(), run(graph, values)
    simplify(graph, final=name in FINAL)
    pair = f"{text}\n=>\n\n{graph.text()}"
    same(before, run(graph, values))
    path = HERE / "rewrites" / f"{name}.txt"
    if accept:
        path.write_text(pair, "utf-8")
    assert path.read_text("utf-8") == pair


def test_golden_pairs_have_no_leftovers() -> None:
    assert sorted(path.stem for path in (HERE / "rewrites").glob("*.txt")) == sorted(CASES)


def all_rules() -> dict[str, str]:
    """Every rule with its equation, in the order of the passes."""
    found = {}
    for group in (*PASSES, *LATE, fold.FINAL, shapes.KEEP):
        for rules in group.values():
            for rule in rules:
                found[f"{rule.__module__.rpartition('.')[2]}.{rule.__name__}"] = " ".join(rule.__doc__.split())
    return found


@pytest.mark.parametrize("rule", all_rules())
def test_every_rule_applies_to_its_case(rule: str) -> None:
    name = rule.partition(".")[2]
    applied = []

    def watch(function):  # type: ignore[no-untyped-def]
        def watched(node):  # type: ignore[no-untyped-def]
            new = function(node)
            if new is not None and new is not node:
                applied.append(f"{function.__module__.rpartition('.')[2]}.{function.__name__}")
            return new

        watched.__name__ = function.__name__
        return watched

    graph = build(name)
    groups = (*LATE, fold.FINAL, shapes.KEEP) if name in FINAL else PASSES
    table = together(groups)
    if name in FINAL:
        rewrite(graph, together(PASSES))
    rewrite(graph, {op: [watch(function) for function in rules] for op, rules in table.items()})
    assert rule in applied


def test_every_rule_is_in_the_documentation(accept: bool) -> None:
    path = HERE.parent / "docs" / "simplification.md"
    listed = "\n".join(f"- `{rule}`: {equation}" for rule, equation in all_rules().items())
    text = path.read_text("utf-8")
    if accept:
        text = re.sub(r"(?s)(?<=## The rules\n\n).*", lambda _: listed + "\n", text)
        path.write_text(text, "utf-8")
    assert text.partition("## The rules\n\n")[2] == listed + "\n"


# --- the engine


def test_new_nodes_take_the_place_of_the_old() -> None:
    graph = Graph()
    x = ops.make_input(graph, "x", TensorType("float", (N,)))
    span = Span(Source("a.dl", "log(sigmoid(x))"), 0, 3)
    with graph.at("model/layer", span):
        graph.outputs["y"] = ops.log(ops.sigmoid(x))
    with graph.at("elsewhere", None):
        simplify(graph)
    made = [node for node in graph.nodes if node is not x]
    assert {node.op.name for node in made} == {"neg", "softplus"}
    assert all(node.scope == "model/layer" and node.span is span for node in made)


def test_rules_that_undo_each_other_are_found_out() -> None:
    rules = Rules()

    @rules.on("sin")
    def to_cos(node):  # type: ignore[no-untyped-def]
        return ops.cos(node.inputs[0])

    @rules.on("cos")
    def to_sin(node):  # type: ignore[no-untyped-def]
        return ops.sin(node.inputs[0])

    graph = Graph()
    graph.outputs["y"] = ops.sin(ops.make_input(graph, "x", TensorType("float", ())))
    with pytest.raises(InternalError, match="does not end"):
        rewrite(graph, rules)


def test_simplified_stays_as_it_is() -> None:
    for name in CASES:
        graph = build(name)
        simplify(graph)
        text = graph.text()
        simplify(graph)
        assert graph.text() == text
        assert rewrite(graph, together(PASSES)) == 0


def test_cut_is_opaque_until_the_end() -> None:
    graph = Graph()
    x = ops.make_input(graph, "x", TensorType("float", (N,)))
    graph.outputs["y"] = ops.log(ops.cut(ops.sigmoid(x)))
    simplify(graph)
    assert [node.op.name for node in graph.order(graph.outputs.values())] == ["input", "sigmoid", "cut", "log"]
    simplify(graph, final=True)
    assert [node.op.name for node in graph.order(graph.outputs.values())] == ["input", "neg", "softplus", "neg"]


def test_derivative_placeholders_stay() -> None:
    graph = Graph()
    x = ops.make_input(graph, "x", TensorType("float", (N,)))
    graph.outputs["g"] = ops.gradient(ops.reduce_sum(ops.log(ops.exp(x)), axes=(0,), keepdims=False), x)
    simplify(graph)
    assert graph.outputs["g"].op.name == "gradient"
    assert [node.op.name for node in graph.order(graph.outputs.values())] == ["input", "reduce_sum", "gradient"]


def test_what_is_not_finite_stays() -> None:
    """x * 0, x - x and x / x keep NaN and infinities of x."""
    graph = Graph()
    x = ops.make_input(graph, "x", TensorType("float", (N,)))
    for i, node in enumerate([x * 0.0, x - x, x / x, (x + 1e30) - 1e30]):
        graph.outputs[f"y{i}"] = node
    values = {"x": np.array([1.0, np.inf, np.nan, 0.0, -np.inf])}
    before = run(graph, values)
    simplify(graph)
    for a, b in zip(before, run(graph, values), strict=True):
        np.testing.assert_array_equal(a, b)


def residual(layers: int) -> Graph:
    """A deep net as a spec writes it, of about 20 nodes a layer, before derivatives."""
    graph = Graph()
    batch = Dim.name("batch")
    h = ops.make_input(graph, "x", TensorType("float", (batch, 8)))
    for i in range(layers):
        w = ops.make_variable(graph, f"w{i}", TensorType("float", (8, 8)))
        c = ops.make_variable(graph, f"c{i}", TensorType("float", (8,)))
        z = ops.maximum(ops.broadcast_to(c, shape=(batch, 8)) + h @ ops.transpose(w, perm=(1, 0)), 0.0)
        mean = ops.reduce_sum(z, axes=(1,), keepdims=True) / 8.0
        p = 1.0 / (1.0 + ops.exp(-(z - mean)))
        h = h + (p * 0.5 * 0.25) * 1.0 - (-z) * -0.01 + ops.log(p) * 0.1
    graph.outputs["y"] = h
    return graph


def test_time_is_linear() -> None:
    small, large = len(residual(150)), len(residual(1500))
    assert 33_000 < large < 42_000 and large > 9.9 * small
    assert_linear(residual, simplify, counted=(25, 200), timed=(150, 1500), limit=1.4)


# --- stable forms, by many spellings

B, CLASSES = Dim.name("batch"), 5


def mean(x):  # type: ignore[no-untyped-def]
    return ops.mean(x, (0,))


def _lse(z, keepdims=False):  # type: ignore[no-untyped-def]
    return ops.logsumexp(z, axes=(1,), keepdims=keepdims)


def _sum(x, keepdims=False):  # type: ignore[no-untyped-def]
    return ops.reduce_sum(x, axes=(1,), keepdims=keepdims)


def _top(z, keepdims=True):  # type: ignore[no-untyped-def]
    return ops.reduce_max(z, axes=(1,), keepdims=keepdims)


def _by_hand(z):  # type: ignore[no-untyped-def]
    return ops.exp(z) / _sum(ops.exp(z), True)


def _hot(y):  # type: ignore[no-untyped-def]
    return ops.one_hot(y, depth=CLASSES)


CROSS_ENTROPIES = {
    "logsumexp minus pick": lambda z, y: mean(_lse(z) - ops.pick(z, y)),
    "log of softmax, picked": lambda z, y: -mean(ops.pick(ops.log(ops.softmax(z, axis=-1)), y)),
    "log of a picked softmax": lambda z, y: -mean(ops.log(ops.pick(ops.softmax(z, axis=1), y))),
    "one-hot times log of softmax": lambda z, y: -mean(_sum(_hot(y) * ops.log(ops.softmax(z, axis=1)))),
    "one-hot times log softmax": lambda z, y: mean(_sum(-_hot(y) * (z - _lse(z, True)))),
    "one-hot, softmax by hand": lambda z, y: -mean(_sum(_hot(y) * ops.log(_by_hand(z)))),
    "softmax by hand, picked": lambda z, y: -mean(ops.log(ops.pick(_by_hand(z), y))),
    "exp picked over sum": lambda z, y: -mean(ops.log(ops.pick(ops.exp(z), y) / _sum(ops.exp(z)))),
    "log of sum of exp": lambda z, y: mean(ops.log(_sum(ops.exp(z))) - ops.pick(z, y)),
    "maximum taken off": lambda z, y: -mean(ops.pick((z - _top(z)) - ops.log(_sum(ops.exp(z - _top(z)), True)), y)),
    "maximum taken off and put back": lambda z, y: mean(
        ops.log(_sum(ops.exp(z - _top(z)))) + _top(z, False) - ops.pick(z, y)
    ),
    "maximum without a derivative": lambda z, y: mean(
        ops.squeeze(ops.log(_sum(ops.exp(z - ops.stop_gradient(_top(z))), True)) + ops.stop_gradient(_top(z)), 1)
        - ops.pick(z, y)
    ),
    "softmax of shifted, by hand": lambda z, y: -mean(ops.log(ops.pick(_by_hand(z - _top(z)), y))),
    "sum over all, by size": lambda z, y: (
        -(
            ops.reduce_sum(_hot(y) * ops.log(ops.softmax(z, axis=1)), axes=(0, 1), keepdims=False)
            / ops.cast(ops.make_size(z.graph, B), dtype="float")
        )
    ),
    "mean of differences": lambda z, y: mean(_lse(z)) - mean(ops.pick(z, y)),
}


def _bernoulli(name):  # type: ignore[no-untyped-def]
    def choose(p, q):  # type: ignore[no-untyped-def]
        return lambda z, y: -mean(ops.where(ops.eq(y, 1), ops.log(p(z)), ops.log(q(z))))

    def product(p, q):  # type: ignore[no-untyped-def]
        return lambda z, y: -mean(y * ops.log(p(z)) + (1 - y) * ops.log(q(z)))

    p = ops.sigmoid
    by_hand = lambda z: 1.0 / (1.0 + ops.exp(-z))  # noqa: E731
    ratio = lambda z: ops.exp(z) / (1.0 + ops.exp(z))  # noqa: E731
    zeros = lambda z: ops.broadcast_to(ops.constant(z.graph, 0.0, "float"), shape=(B, 1))  # noqa: E731
    return {
        "softplus(z) - y z": lambda z, y: mean(ops.softplus(z) - y * z),
        "log σ and log(1 - σ)": product(p, lambda z: 1 - p(z)),
        "log σ(z) and log σ(-z)": product(p, lambda z: p(-z)),
        "σ by hand": product(by_hand, lambda z: 1 - by_hand(z)),
        "σ as a ratio": product(ratio, lambda z: 1 - ratio(z)),
        "log1p": lambda z, y: -mean(y * ops.log(p(z)) + (1 - y) * ops.log1p(-p(z))),
        "chosen logarithms": choose(p, lambda z: 1 - p(z)),
        "chosen, σ(-z)": choose(p, lambda z: p(-z)),
        "logarithm of the chosen": lambda z, y: -mean(ops.log(ops.where(ops.eq(y, 1), p(z), 1 - p(z)))),
        "stable by hand": lambda z, y: mean(ops.maximum(z, 0) - z * y + ops.log1p(ops.exp(-ops.abs_(z)))),
        "other order": lambda z, y: mean(ops.log1p(ops.exp(-ops.abs_(z))) + ops.maximum(z, 0) - y * z),
        "two softplus": lambda z, y: mean(y * ops.softplus(-z) + (1 - y) * ops.softplus(z)),
        "(1 - y) z": lambda z, y: mean((1 - y) * z + ops.log(1 + ops.exp(-z))),
        "a product of powers": lambda z, y: -mean(ops.log(ops.pow_(p(z), y) * ops.pow_(1 - p(z), 1 - y))),
        "logsumexp of two": lambda z, y: mean(_lse(ops.concat(zeros(z), ops.expand_dims(z, 1), axis=1)) - y * z),
    }[name]


BERNOULLIS = (
    "softplus(z) - y z",
    "log σ and log(1 - σ)",
    "log σ(z) and log σ(-z)",
    "σ by hand",
    "σ as a ratio",
    "log1p",
    "chosen logarithms",
    "chosen, σ(-z)",
    "logarithm of the chosen",
    "stable by hand",
    "other order",
    "two softplus",
    "(1 - y) z",
    "a product of powers",
    "logsumexp of two",
)


def derived(loss, shape: tuple[object, ...]) -> Graph:  # type: ignore[no-untyped-def]
    graph = Graph()
    z = ops.make_input(graph, "z", TensorType("float", shape))  # type: ignore[arg-type]
    y = ops.make_input(graph, "y", TensorType("int", (B,)))
    graph.outputs["loss"] = loss(z, y)
    simplify(graph)
    [g] = gradients(graph.outputs["loss"], [z])
    graph.outputs["g"] = g
    simplify(graph)
    return graph


def work(graph: Graph) -> list[str]:
    """The operations on more than one element that the derivative takes."""
    return sorted(node.op.name for node in graph.order([graph.outputs["g"]]) if node.rank and node.op.name != "input")


def by_differences(graph: Graph, z: np.ndarray, y: np.ndarray) -> np.ndarray:
    result = np.zeros_like(z)
    for at in np.ndindex(z.shape):
        step = np.zeros_like(z)
        step[at] = 1e-5
        up, down = (evaluate([graph.outputs["loss"]], {"z": z + d, "y": y})[0] for d in (step, -step))
        result[at] = (up - down) / 2e-5
    return result


@pytest.mark.parametrize("name", CROSS_ENTROPIES)
def test_cross_entropy_spellings(name: str) -> None:
    graph = derived(CROSS_ENTROPIES[name], (B, CLASSES))
    assert work(graph) == ["mul", "one_hot", "softmax", "sub"]
    rng = np.random.default_rng(1)
    z, y = rng.uniform(-3, 3, (4, CLASSES)), rng.integers(0, CLASSES, 4)
    loss, g = run(graph, {"z": z, "y": y})
    np.testing.assert_allclose(g, by_differences(graph, z, y), rtol=1e-6, atol=1e-8)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    np.testing.assert_allclose(loss, -np.log(p[np.arange(4), y]).mean(), rtol=1e-12)


@pytest.mark.parametrize("name", CROSS_ENTROPIES)
def test_cross_entropy_saturates(name: str) -> None:
    graph = derived(CROSS_ENTROPIES[name], (B, CLASSES))
    z = np.zeros((3, CLASSES))
    z[0, 0], z[1, 1], z[2, :] = 1e4, -1e4, 1e4
    loss, g = run(graph, {"z": z, "y": np.array([1, 1, 2])})
    np.testing.assert_allclose(loss, (1e4 + (1e4 + np.log(4)) + np.log(5)) / 3, rtol=1e-12)
    expected = np.array([[1, -1, 0, 0, 0], [0.25, -1, 0.25, 0.25, 0.25], [0.2, 0.2, -0.8, 0.2, 0.2]]) / 3
    np.testing.assert_allclose(g, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", BERNOULLIS)
def test_bernoulli_spellings(name: str) -> None:
    graph = derived(_bernoulli(name), (B,))
    assert [n for n in work(graph) if n not in ("cast", "eq")] == ["mul", "sigmoid", "sub"]
    rng = np.random.default_rng(2)
    z, y = rng.uniform(-3, 3, 6), rng.integers(0, 2, 6)
    loss, g = run(graph, {"z": z, "y": y})
    np.testing.assert_allclose(g, by_differences(graph, z, y), rtol=1e-6, atol=1e-8)
    p = 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(loss, -np.log(np.where(y == 1, p, 1 - p)).mean(), rtol=1e-12)


@pytest.mark.parametrize("name", BERNOULLIS)
def test_bernoulli_saturates(name: str) -> None:
    graph = derived(_bernoulli(name), (B,))
    loss, g = run(graph, {"z": np.array([1e4, 1e4, -1e4, -1e4]), "y": np.array([0, 1, 0, 1])})
    np.testing.assert_allclose(loss, 5e3, rtol=1e-12)
    np.testing.assert_allclose(g, [0.25, 0, 0, -0.25], atol=1e-15)


# --- random graphs


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(st.tuples(st.integers(0, 3), *[st.integers(0, 60)] * 3), min_size=3, max_size=25),
    final=st.booleans(),
    derive=st.booleans(),
)
def test_random_graphs_keep_their_values(steps: list[tuple[int, int, int, int]], final: bool, derive: bool) -> None:
    pool = Pool()
    for kind, name, first, second in steps:
        pool.step(kind, name, len(pool.values) - 1 - first % min(8, len(pool.values)), second)
    graph = pool.graph
    for i, node in enumerate([pool.values[3], *pool.values[-3:]]):
        graph.outputs[f"r{i}"] = node
    if derive:
        last = ops.tanh(pool.values[-1])
        loss = ops.reduce_sum(last, axes=tuple(range(last.rank)), keepdims=False)
        leaves = [x for x in pool.values[:8] if x in graph.order([loss])]
        for i, g in enumerate(gradients(loss, leaves)):
            graph.outputs[f"g{i}"] = g
    graph.prune()
    values = pool.feeds(np.random.default_rng(len(steps)))
    nodes = len(graph)
    before = run(graph, values)
    simplify(graph, final=final)
    same(before, run(graph, values))
    # sums that keep dimensions, and broadcasts at the end, are two nodes each: less work, but more nodes
    assert len(graph) <= 1.2 * nodes + 3
