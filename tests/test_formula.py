"""Derivatives as formulas: how they read, and that what they say is true."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dlc.elaborate import elaborate
from dlc.ir import interpret
from dlc.pipeline import check, source_of
from dlc.syntax.parser import make_source
from dlc.view.derivation import derivative
from dlc.view.notation import Expression, Formula, Number, Product, Sum, Symbol, Transposed
from hypothesis import given, settings, strategies as st

SPECS = Path(__file__).parent.parent / "specs"


def formula(text: str, wrt: str, of: str = "loss", **options: Any) -> Formula:
    return derivative(elaborate(make_source(text), **options), of, wrt)


def of_file(name: str, wrt: str) -> Formula:
    source, folder = source_of(SPECS / f"{name}.dl")
    return derivative(elaborate(source, folder=folder), "loss", wrt)


# --- how they read


@pytest.mark.parametrize(
    ("name", "wrt", "text"),
    [
        ("logistic", "W", "xᵀ (σ(z) − y) / batch"),
        ("logistic", "b", "(Σ (σ(z) − y)) / batch"),
        ("softmax", "W", "xᵀ (softmax(z) − onehot(y)) / batch"),
        ("linear", "W", "4 xᵀ (prediction − y) / batch"),
        ("linear", "b", "4 (Σ (prediction − y)) / batch"),
        ("poisson", "W", "xᵀ (rate − y) / batch"),
        ("xor", "dense.W", "xᵀ (((σ(z) − y) dense[1].Wᵀ) ⊙ tanh′(a)) / batch\n    where a = x dense.W + dense.b"),
        ("xor", "dense[1].W", "hᵀ (σ(z) − y) / batch\n    where a = x dense.W + dense.b\n    where h = tanh(a)"),
    ],
)
def test_text(name: str, wrt: str, text: str) -> None:
    assert of_file(name, wrt).text == text


@pytest.mark.parametrize(
    ("name", "wrt", "text"),
    [
        ("logistic", "W", r"\frac{x^\top \, \left(\sigma\left(z\right) - y\right)}{\mathit{batch}}"),
        (
            "softmax",
            "W",
            r"\frac{x^\top \, \left(\operatorname{softmax}\left(z\right)"
            r" - \operatorname{onehot}\left(y\right)\right)}{\mathit{batch}}",
        ),
        ("linear", "b", r"\frac{4 \, \left(\sum \left(\mathit{prediction} - y\right)\right)}{\mathit{batch}}"),
    ],
)
def test_latex(name: str, wrt: str, text: str) -> None:
    assert of_file(name, wrt).latex == text


def test_other_names_read_the_same() -> None:
    text = (
        "model m {{ input {x}: float[rows, 5]; target {y}: int[rows]; param {w}: float[5] init zeros\n"
        "{z} = {x} @ {w}; {y} ~ bernoulli(logits = {z}) }}\ntrain {{ minimize loss using sgd(0.1) }}"
    )
    names = {"x": "pixels", "y": "is_cat", "w": "weights", "z": "score"}
    assert formula(text.format(**names), "weights").text == "pixelsᵀ (σ(score) − is_cat) / rows"


def test_sizes_zeros_and_draws() -> None:
    """Sizes are no matrices, what is 0 says nothing, and a draw has the name of its distribution."""
    text = """model m {{
        input x: float[batch, 3, time]; target y: float[batch]
        y ~ normal(mean(sin(x |> conv(2, kernel = 1) |> batch_norm(){}), axis = [1, 2]), 1)
    }}
    train {{ minimize loss using sgd(0.1) }}"""
    assert "bernoulli(0.2)\n" in formula(text.format(" |> dropout(0.2)"), "conv.W").text
    shown = formula(text.format(""), "conv.W").text
    assert "/ (batch time)" in shown and "⊙ time" not in shown and not re.search(r"\b0 [a-z]", shown)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(Exception, match="there is no `V` for --wrt") as caught:
        of_file("logistic", "V")
    assert caught.value.code == "E0405"  # type: ignore[attr-defined]


# --- that they are true: the expression evaluated by NumPy, as a person would


class Reader:
    """Evaluates a formula. Vectors are columns of a product; sizes of 1 come and go as in the formula."""

    def __init__(self, values: Mapping[str, Any], classes: int) -> None:
        self.values, self.classes = dict(values), classes

    def formula(self, shown: Formula) -> Any:
        for symbol, expression in shown.where:
            self.values[symbol.name] = self(expression)
        return self(shown.expression)

    def __call__(self, e: Expression) -> Any:
        if isinstance(e, Symbol):
            return np.asarray(self.values[e.name], float)
        if isinstance(e, Number):
            return np.asarray(e.value)
        if isinstance(e, Transposed):
            return self(e.inner).T
        if isinstance(e, Sum):
            total = np.asarray(0.0)
            for sign, term in e.terms:
                a, b = like(total, self(term))
                total = a + sign * b
            return total
        if isinstance(e, Product):
            result = np.asarray(1.0)
            for scalar in e.scalars:
                result = np.multiply(*like(result, self(scalar)))
            product = None
            for factor in e.matrix:
                product = self(factor) if product is None else times(product, self(factor))
            result = result if product is None else np.multiply(*like(result, product))
            for divisor in e.over:
                result = np.divide(*like(result, self(divisor)))
            return result
        args = [self(argument) for argument in e.arguments]
        if e.function == "⊙":
            result = args[0]
            for other in args[1:]:
                result = np.multiply(*like(result, other))
            return result
        return self.apply(e.function, args)

    def apply(self, name: str, args: list[Any]) -> Any:
        if name == "Σ":
            return args[0].sum()
        if name.startswith("Σ_"):
            return args[0].sum(0)
        if name == "softmax":
            z = np.exp(args[0] - args[0].max(-1, keepdims=True))
            return z / z.sum(-1, keepdims=True)
        if name == "onehot":
            return np.eye(self.classes)[args[0].astype(int)]
        table = {
            "σ": lambda z: 1 / (1 + np.exp(-z)),
            "relu": lambda z: np.maximum(z, 0),
            "σ′": lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2,
            "tanh′": lambda z: 1 / np.cosh(z) ** 2,
            "relu′": lambda z: z > 0,
            "^": np.power,
            "where": np.where,
            ">": np.greater,
            "<": np.less,
            "≥": np.greater_equal,
            "≤": np.less_equal,
            "=": np.equal,
            "tanh": np.tanh,
            "exp": np.exp,
            "log": np.log,
            "sqrt": np.sqrt,
            "abs": np.abs,
            "sign": np.sign,
        }
        return table[name](*args)


def like(a: Any, b: Any) -> tuple[Any, Any]:
    if a.shape != b.shape and a.squeeze().shape == b.squeeze().shape:
        return a.squeeze(), b.squeeze()
    return a, b


def times(a: Any, b: Any) -> Any:
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    if a.ndim == 1 and b.ndim == 2 and b.shape[0] == 1:
        return np.outer(a, b)
    return a @ b


def agrees(text: str, wrt: str, data: Mapping[str, Any], classes: int = 1) -> Formula:
    """Evaluates the formula, and the gradient that a step of `sgd(1)` takes."""
    module = check(make_source(text))[0]
    start = module.roots("initial/")
    state = dict(
        zip(
            [n.removeprefix("initial/") for n in start],
            interpret.evaluate(list(start.values()), {"seed": np.uint64(3)}),
            strict=True,
        )
    )
    rng = np.random.default_rng(1)
    for path, variable in module.variables.items():
        if variable.kind == "parameter":
            state[path] = rng.normal(size=np.shape(state[path]))
    feeds = {**state, "step": 0, **data}
    after = interpret.evaluate([module.graph.outputs[f"next/{wrt}"]], feeds)[0]
    named = dict(zip(module.names, interpret.evaluate(list(module.names.values()), feeds), strict=True))
    values = {**named, **feeds, "batch": len(next(iter(data.values())))}
    shown = derivative(elaborate(make_source(text)), "loss", wrt)
    found = Reader(values, classes).formula(shown)
    np.testing.assert_allclose(np.squeeze(found), np.squeeze(state[wrt] - after), rtol=1e-9, atol=1e-12)
    return shown


LIKELIHOODS = {
    "bernoulli": ("bernoulli(logits = {z})", "σ({z})", "int"),
    "categorical": ("categorical(logits = {z})", "softmax({z})", "int"),
    "poisson": ("poisson(exp({z}))", "exp({z})", "int"),
    "normal": ("normal({z}, 1)", "{z}", "float"),
}
NAMES = st.from_regex(r"[a-z][a-z_0-9]{2,7}", fullmatch=True).map(lambda name: f"q{name}")


@settings(max_examples=40, deadline=None, database=None, derandomize=True)
@given(
    st.lists(NAMES, min_size=5, max_size=5, unique=True),
    st.integers(2, 6),
    st.integers(2, 5),
    st.integers(2, 7),
    st.sampled_from(sorted(LIKELIHOODS)),
    st.booleans(),
)
def test_generated(names: list[str], n: int, classes: int, rows: int, likelihood: str, bias: bool) -> None:
    x, y, w, b, z = names
    right, mean, dtype = (part.format(z=z) for part in LIKELIHOODS[likelihood])
    wide = likelihood == "categorical"
    text = f"""
        model m {{
            input  {x}: float[batch, {n}]
            target {y}: {dtype}[batch]
            param {w}: float[{n}{f", {classes}" if wide else ""}] init zeros
            param {b}: float{f"[{classes}]" if wide else ""} init zeros
            {z} = {x} @ {w}{f" + {b}" if bias else ""}
            {y} ~ {right}
        }}
        train {{ minimize loss using sgd(1.0) }}
    """
    rng = np.random.default_rng(n + 10 * classes + 100 * rows)
    top = classes if wide else 2
    data = {x: rng.normal(size=(rows, n)), y: rng.integers(0, top, rows) if dtype == "int" else rng.normal(size=rows)}
    target = f"onehot({y})" if wide else y
    assert agrees(text, w, data, classes).text == f"{x}ᵀ ({mean} − {target}) / batch"
    if bias:
        over = "Σ_batch" if wide else "Σ"
        assert agrees(text, b, data, classes).text == f"({over} ({mean} − {target})) / batch"


NETS = [
    "z = (x |> dense(4) |> tanh |> dense(1))[:, 0]\ny ~ bernoulli(logits = z)",
    "z = x |> dense(4) |> sigmoid |> dense(3)\ny ~ categorical(logits = z)",
    "h = x |> dense(4) |> relu\nz = h |> dense(3)\nloss = cross_entropy(z, y)",
    "z = (x |> dense(4) |> relu |> dense(4) |> tanh |> dense(1))[:, 0]\nloss = squared(z, y)",
]


@pytest.mark.parametrize("body", NETS)
@pytest.mark.parametrize("wrt", ["dense.W", "dense.b", "dense[1].W", "dense[1].b"])
def test_networks(body: str, wrt: str) -> None:
    text = (
        f"model m {{\ninput x: float[batch, 3]\ntarget y: int[batch]\n{body}\n}}\n"
        "train { minimize loss using sgd(1.0) }"
    )
    rng = np.random.default_rng(0)
    shown = agrees(text, wrt, {"x": rng.normal(size=(5, 3)), "y": rng.integers(0, 2, 5)}, 3)
    assert len(shown.text) < 420
    assert set(re.findall(r"where (\w+) =", shown.text)) == {symbol.name for symbol, _ in shown.where}


def test_by_an_input_and_by_a_named_value() -> None:
    text = (
        "model m { input x: float[batch, 3]; param w: float[3]; z = x @ w; loss = mean(z^2) }\n"
        "train { minimize loss using sgd(1) }"
    )
    assert formula(text, "x").text == "2 z wᵀ / batch"
    assert formula(text, "z").text == "2 z / batch"
