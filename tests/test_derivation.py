"""Derivations as textbooks have them: losses and activations of the shelf, networks of introductions, recurrences."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dlc.elaborate import elaborate
from dlc.ir import interpret
from dlc.ops import OPS
from dlc.pipeline import check, source_of
from dlc.syntax.parser import make_source
from dlc.view.derivation import Derivation, derivation
from dlc.view.notation import Apply, Expression, Symbol
from dlc.view.rules import RULES
from scipy import special
from test_formula import Reader, like

ROOT = Path(__file__).parent.parent


TRAIN = "\ntrain { minimize loss using sgd(1) }"


def derived(text: str, wrt: str, of: str = "loss") -> Derivation:
    return derivation(elaborate(make_source(text + TRAIN)), of, wrt)


# --- losses: what a prediction is told

HEAD = "model m {{\n    input x: float[batch, 4]\n    param w: float[4]\n    param W: float[4, 3]\n    {body}\n}}\n"
ONE, ROW = "target y: float[batch]\n    z = x @ w", "target y: int[batch]\n    z = x @ W"
PAIR = "input s: float[batch, 3]\n    target y: int[batch]\n    z = x @ W"
LOSSES = [  # what is given, the loss, its derivative by z
    (ONE, "loss = squared(z, y)", "2 (z − y) / batch"),
    (ONE, "loss = absolute(z, y)", "sign(z − y) / batch"),
    (ONE, "loss = huber(z, y)", "where([abs(z − y) ≤ 1], z − y, sign(z − y)) / batch"),
    (ONE, "loss = mean((z - y)^2) / 2", "(z − y) / batch"),
    (ONE, "loss = binary_cross_entropy(z, y)", "(σ(z) − y) / batch"),
    (ONE, "loss = hinge(z, y)", "−(y ⊙ [y ⊙ z < 1]) / batch"),
    (ONE, "loss = logistic_loss(z, y)", "−(σ(−(y ⊙ z)) ⊙ y) / batch"),
    (ROW, "loss = cross_entropy(z, y)", "(softmax(z) − onehot(y)) / batch"),
    (ROW, "loss = cross_entropy(z, y, smoothing = 0.1)", "(softmax(z) − 1 / 30 − 0.9 onehot(y)) / batch"),
    (ROW, "p = softmax(z)\n    loss = -mean(log(pick(p, y)))", "(p − onehot(y)) / batch"),
    (PAIR, "loss = info_nce(z, s)", "(10 softmax(10 z sᵀ) s − 10 s) / batch"),
    (ROW, "loss = activity(z, 0.1)", "sign(z) / (10 batch)"),
    (ONE, "y ~ normal(z, 1)", "(z − y) / batch"),
    (ONE, "y ~ laplace(z, 1)", "−sign(y − z) / batch"),
    (ONE.replace("float[batch]\n", "int[batch]\n"), "y ~ bernoulli(logits = z)", "(σ(z) − y) / batch"),
    (ONE.replace("float[batch]\n", "int[batch]\n"), "y ~ poisson(exp(z))", "(exp(z) − y) / batch"),
    (
        ONE.replace("float[batch]\n", "int[batch]\n"),
        "p = sigmoid(z)\n    loss = -mean(y * log(p) + (1 - y) * log(1 - p))",
        "(p − y) / batch",
    ),
    (ROW, "y ~ categorical(logits = z)", "(softmax(z) − onehot(y)) / batch"),
]
# Without a form that every textbook has: they are true, which is held below.
OTHERS = [
    (ONE, "loss = pinball(z, y, level = 0.9)"),
    (ROW, "loss = focal(z, y)"),
    ("input s: float[batch, 3]\n    input o: float[batch, 3]\n    z = x @ W", "loss = triplet(z, s, o)"),
    (PAIR, "loss = cosine_embedding(z, s, where(y > 0, 1, -1))"),
    (PAIR, "loss = contrastive(z, s, where(y > 0, 1, 0))"),
]
DATA = np.random.default_rng(5)
FEEDS = {
    "x": DATA.normal(size=(6, 4)),
    "s": DATA.normal(size=(6, 3)),
    "o": DATA.normal(size=(6, 3)),
    "w": DATA.normal(size=4),
    "W": DATA.normal(size=(4, 3)),
}


@pytest.mark.parametrize(("given", "loss", "form"), LOSSES, ids=[loss for _, loss, _ in LOSSES])
def test_a_loss_reads_as_in_a_textbook(given: str, loss: str, form: str) -> None:
    assert derived(HEAD.format(body=f"{given}\n    {loss}"), "z").formula.text == form


class Wide(Reader):
    """The functions that losses and activations are made of."""

    def apply(self, name: str, args: list[Any]) -> Any:
        if name.startswith("[") and len(args) == 1 and ":" in name:
            places = [
                slice(*(int(n) if n else None for n in part.split(":"))) if ":" in part else int(part)
                for part in name[1:-1].split(", ")
            ]
            return args[0][tuple(places)]
        if name == "Σ_axis 1":
            return args[0].sum(1, keepdims=True)
        table = {
            "logsumexp": lambda z: special.logsumexp(z, axis=-1, keepdims=True),
            "softplus": lambda z: np.logaddexp(0, z),
            "erf": special.erf,
            "maximum": np.maximum,
            "minimum": np.minimum,
            "relu": lambda z: np.maximum(z, 0),
            "onehot": lambda y: np.eye(self.classes)[y.astype(int).ravel()],
            "pick": lambda z, y: z[np.arange(len(z)), y.astype(int).ravel()][:, None],
            "and": np.logical_and,
            "not": np.logical_not,
            "sin": np.sin,
            "cos": np.cos,
            "≠": np.not_equal,
            "concat": lambda *parts: np.concatenate(parts, axis=-1),
        }
        if name in table:
            pair = len(args) == 2 and name in ("maximum", "minimum")
            return table[name](*(like(*args) if pair else args))
        if name == "where":
            return np.where(*args)
        return super().apply(name, args)


@pytest.mark.parametrize(("given", "loss"), [(g, x) for g, x, _ in LOSSES] + OTHERS, ids=lambda text: text[-60:])
def test_a_loss_is_true(given: str, loss: str) -> None:
    """The formula, evaluated by NumPy, is the derivative that the compiler takes."""
    text = HEAD.format(body=f"{given}\n    {loss}")
    shown = derived(text, "z").formula
    module = check(make_source(text + TRAIN))[0]
    z_is_one = "z = x @ w" in given
    hit = "loss = hinge" in loss or "logistic_loss" in loss
    signs = np.array([1, -1, 1, 1, -1, -1])
    y = signs if hit else np.array([1, 0, 1, 1, 0, 0]) if z_is_one else np.array([0, 1, 1, 0, 1, 0])
    feeds: dict[str, Any] = {**FEEDS, "y": y.astype(float) if "y: float" in given else y, "step": 0}
    feeds |= {path: FEEDS[path] for path in ("w", "W")}
    z = module.names["z"]
    named = dict(zip(module.names, interpret.evaluate(list(module.names.values()), feeds), strict=True))
    columns = {} if z_is_one else {"y": feeds["y"][:, None]}  # one number for each row of several
    found = Wide({**feeds, **named, **columns, "batch": 6}, 3).formula(shown)
    by, step = ("w", 1e-6) if z.rank == 1 else ("W", 1e-6)
    exact = FEEDS["x"].T @ np.broadcast_to(np.squeeze(found), np.shape(named["z"]))

    def at(value: Any) -> float:
        return float(interpret.evaluate([module.graph.outputs["loss"]], {**feeds, by: value})[0])

    for place in np.ndindex(FEEDS[by].shape):
        up, down = FEEDS[by].copy(), FEEDS[by].copy()
        up[place] += step
        down[place] -= step
        assert exact[place] == pytest.approx((at(up) - at(down)) / (2 * step), rel=1e-4, abs=1e-7)


# --- activations

ACTIVATIONS = {  # f, and its derivative in a hidden layer as the reason of its step says it; h is the result
    "relu": "relu′(a) = [a > 0]",
    "leaky_relu": "leaky_relu′(a) = where([a > 0], 1, 0.01)",
    "elu": "elu′(a) = where([a > 0], 1, exp(a))",
    "selu": "selu′(a) = where([a > 0], 1.0507, 1.7581 exp(a))",
    "sigmoid": "σ′(a) = h (1 − h)",
    "tanh": "tanh′(a) = 1 − h²",
    "silu": "silu′(a) = σ(a) + a σ(a) (1 − σ(a))",
    "softplus": "softplus′(a) = σ(a)",
    "log_sigmoid": "log_sigmoid′(a) = σ(−a)",
    "mish": "mish′(a) = tanh(softplus(a)) + a (1 − tanh(softplus(a))²) σ(a)",
    "gelu": "gelu′(a) = √(1/2) (√(1/2) (1 + erf(√(1/2) a)) + √(1/π) (exp(−a² / 2) a))",
    "softsign": "softsign′(a) = ",
    "hard_tanh": "hard_tanh′(a) = [a < 1] [a > −1]",
    "hard_sigmoid": "hard_sigmoid′(a) = ([a < 3] [a > −3]) / 6",
    "hard_swish": "hard_swish′(a) = minimum(relu(a / 6 + 1 / 2), 1) + (a [a < 3] [a > −3]) / 6",
}
HIDDEN = """model m {{
    input  x: float[batch, 4]
    target y: float[batch, 3]
    param W1: float[4, 5]
    param b1: float[5]
    param W2: float[5, 3]
    h = {name}(x @ W1 + b1)
    z = h @ W2
    loss = mean((z - y)^2)
}}
"""


@pytest.mark.parametrize(("name", "form"), ACTIVATIONS.items())
def test_an_activation_in_a_hidden_layer(name: str, form: str) -> None:
    found = derived(HIDDEN.format(name=name), "W1")
    function = form.partition("(")[0]
    assert found.formula.text == f"2 xᵀ (((z − y) W2ᵀ) ⊙ {function}(a)) / (3 batch)\n    where a = x W1 + b1"
    [step] = [step for step in found.steps if step.left == Symbol("a", adjoint=True)]
    assert form in step.reason and step.right.text == f"dh ⊙ {function}(a)"


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_true(name: str) -> None:
    """f′ as it is written, against differences of f."""
    text = f"model m {{ input x: float[batch]; param w: float; h = {name}(x); loss = sum({name}(x)) * w^0 }}"
    module = elaborate(make_source(text + TRAIN))
    x = np.array([-3.7, -1.3, -0.4, 0.3, 0.8, 1.9, 4.2])

    def at(value: Any) -> Any:
        return interpret.evaluate([module.names["h"]], {"x": value})[0]

    slopes = (at(x + 1e-6) - at(x - 1e-6)) / 2e-6
    shown = derived(text.replace(f"h = {name}(x); ", ""), "x").formula
    primes = {"relu′": x > 0, "tanh′": 1 / np.cosh(x) ** 2, "σ′": special.expit(x) * special.expit(-x)}
    direct = shown.expression
    found = (
        primes[direct.function]
        if isinstance(direct, Apply) and direct.function in primes
        else Wide({"x": x, "h": at(x)}, 1).formula(shown)
    )
    np.testing.assert_allclose(np.broadcast_to(found, x.shape), slopes, rtol=1e-6, atol=1e-8)


def test_every_activation_of_the_shelf_is_here() -> None:
    text = (ROOT / "specs" / "std" / "activations.dl").read_text("utf-8")
    rows = {"softmax", "log_softmax", "glu", "swiglu", "sparsemax"}  # of whole rows
    assert set(re.findall(r"^fn (\w+)", text, re.M)) - rows <= set(ACTIVATIONS)
    losses = set(re.findall(r"^fn (\w+)", (ROOT / "specs" / "std" / "losses.dl").read_text("utf-8"), re.M))
    said = " ".join(loss for _, loss, *_ in [*LOSSES, *OTHERS])
    assert {name for name in losses - {"accuracy"} if f"{name}(" not in said} == set()


# --- the networks of introductions


def lines(text: str, wrt: str) -> list[str]:
    """A derivation without its reasons."""
    return [re.sub(r"    .*", "", line.strip()) for line in derived(text, wrt).text.splitlines() if line]


def test_a_perceptron_with_one_hidden_layer() -> None:
    """Nielsen 2015, chapter 2; Goodfellow, Bengio and Courville 2016, section 6.5."""
    text = """model m {
        input  x: float[batch, 4]
        target y: int[batch]
        param W1: float[4, 5]
        param b1: float[5]
        param W2: float[5, 3]
        param b2: float[3]
        h = tanh(x @ W1 + b1)
        z = h @ W2 + b2
        y ~ categorical(logits = z)
    }"""
    assert lines(text, "W1") == [
        "With dv for ∂loss/∂v:",
        "a = x W1 + b1",
        "h = tanh(a)",
        "z = h W2 + b2",
        "loss = (Σ (logsumexp(z) − pick(z, y))) / batch",
        "dz = (softmax(z) − onehot(y)) / batch",
        "dh = dz W2ᵀ",
        "da = dh ⊙ tanh′(a)",
        "dW1 = xᵀ da",
        "dW1 = xᵀ (((softmax(z) − onehot(y)) W2ᵀ) ⊙ tanh′(a)) / batch",
        "where a = x W1 + b1",
    ]
    assert lines(text, "W2")[-1] == "dW2 = hᵀ (softmax(z) − onehot(y)) / batch"
    assert lines(text, "b2")[-1] == "db2 = (Σ_batch (softmax(z) − onehot(y))) / batch"


def test_columns() -> None:
    """One example as a column, as most introductions write it: dW₂ = (ŷ − y) hᵀ."""
    text = """model m {
        input x: float[4]
        input y: float[1]
        param W1: float[5, 4]
        param W2: float[1, 5]
        h = tanh(W1 @ x)
        z = W2 @ h
        p = sigmoid(z)
        loss = -sum(y * log(p) + (1 - y) * log(1 - p))
    }"""
    assert derived(text, "W2").formula.text == "(p − y) hᵀ"
    assert derived(text, "W1").formula.text.splitlines()[0] == "((W2ᵀ (p − y)) ⊙ tanh′(a)) xᵀ"
    wide = text.replace("y: float[1]", "y: float[2]").replace("W2: float[1", "W2: float[2")
    squares = wide.replace("-sum(y * log(p) + (1 - y) * log(1 - p))", "sum((p - y)^2) / 2")
    assert derived(squares, "W2").formula.text.splitlines()[0] == "((p − y) ⊙ σ′(z)) hᵀ"


def test_a_step_says_why() -> None:
    reasons = {step.left.name: step.reason for step in derived(HIDDEN.format(name="sigmoid"), "b1").steps}
    assert "each element by itself; σ′(a) = h (1 − h)" in reasons["a"]
    assert "a product of matrices" in reasons["h"] and "by z" in reasons["h"]
    assert "what is repeated is summed up" in reasons["b1"]


def test_every_operation_with_a_derivative_has_a_rule_or_a_name() -> None:
    assert set(RULES) <= set(OPS) and all(rule is None or len(rule) < 80 for rule in RULES.values())


# --- recurrences

RNN = """model m {
    input  x: float[batch, time, 4]
    target y: float[batch, time, 3]
    param W: float[4, 5]
    param U: float[5, 5]
    param b: float[5]
    param V: float[5, 3]
    scan t over time {
        state h: float[batch, 5] = 0
        a = x[:, t] @ W + h @ U + b
        h <- tanh(a)
        s[:, t] = h
    }
    z = s @ V
    loss = mean((z - y)^2)
}
"""


def test_a_scan_is_the_recurrence_of_its_adjoints() -> None:
    """Backpropagation through time (Werbos 1990)."""
    assert lines(RNN, "U") == [
        "With dv for ∂loss/∂v:",
        "aₜ = xₜ W + hₜ₋₁ U + b",
        "hₜ = tanh(aₜ)",
        "z = s V",
        "loss = (Σ (z − y)²) / (3 batch time)",
        "dz = 2 (z − y) / (3 batch time)",
        "ds = dz Vᵀ",
        "for each t, from the last to the first:",
        "dhₜ = dsₜ + daₜ₊₁ Uᵀ",
        "daₜ = dhₜ ⊙ tanh′(aₜ)",
        "dU = Σ_t (hₜ₋₁ᵀ daₜ)",
        "dU = Σ_t (hₜ₋₁ᵀ daₜ)",
        "where ds = 2 (z − y) Vᵀ / (3 batch time)",
        "where dhₜ = dsₜ + daₜ₊₁ Uᵀ",
        "where daₜ = dhₜ ⊙ tanh′(aₜ)",
    ]
    backwards = lines(RNN.replace("over time", "over reverse(time)"), "W")
    assert "dhₜ = dsₜ + daₜ₋₁ Uᵀ" in backwards and "for each t, from the first to the last:" in backwards
    assert "result(" not in derived(RNN, "b").text and "scan(" not in derived(RNN, "b").text


LAYERS = ["rnn(5)", "rnn(5, backward = true)", "lstm(5)", "gru(5)", "lstm(5, backward = true)"]


@pytest.mark.parametrize("layer", LAYERS)
def test_no_recurrent_layer_shows_a_scan(layer: str) -> None:
    text = f"model m {{ input x: float[batch, time, 4]; s = x |> {layer}; loss = mean(s^2) }}"
    for wrt in ("W", "U"):
        shown = derived(text, f"{layer.partition('(')[0]}.{wrt}")
        assert "result(" not in shown.text and "scan(" not in shown.text and "ₜ" in shown.text
        assert any(step.inner for step in shown.steps)


class Through(Wide):
    """A recurrence as it is written, iteration by iteration: values with an index are looked up at it."""

    def __init__(self, values: dict[str, Any], at: dict[str, list[Any]], t: int) -> None:
        super().__init__(values, 1)
        self.at, self.t = at, t

    def __call__(self, e: Expression) -> Any:
        if isinstance(e, Symbol) and e.index:
            place = self.t + {"t": 0, "t+1": 1, "t−1": -1}[e.index]
            held = self.at["d" * e.adjoint + e.name]
            return held[place] if 0 <= place < len(held) else np.zeros_like(held[0])
        return super().__call__(e)


def test_the_recurrence_is_true() -> None:
    """Run backwards by hand, it gives the gradient of the scan."""
    rng = np.random.default_rng(2)
    batch, time = 3, 6
    shapes = {"W": (4, 5), "U": (5, 5), "b": (5,), "V": (5, 3)}
    held = {name: rng.normal(size=shape) * 0.5 for name, shape in shapes.items()}
    x, y = rng.normal(size=(batch, time, 4)), rng.normal(size=(batch, time, 3))
    h, a, before = [], [], np.zeros((batch, 5))
    for t in range(time):
        a.append(x[:, t] @ held["W"] + before @ held["U"] + held["b"])
        before = np.tanh(a[-1])
        h.append(before)
    z = np.stack(h, 1) @ held["V"]
    dz = 2 * (z - y) / (3 * batch * time)
    steps = {(s.left.name, s.left.index): s for s in derived(RNN, "U").steps}
    ds = dz @ held["V"].T
    at = {"h": h, "a": a, "x": list(x.transpose(1, 0, 2)), "ds": list(ds.transpose(1, 0, 2))}
    at |= {"dh": [np.zeros((batch, 5))] * (time + 1), "da": [np.zeros((batch, 5))] * (time + 1)}
    found = np.zeros((5, 5))
    total = steps["U", ""].right.expression
    assert isinstance(total, Apply) and total.function == "Σ_t"
    for t in reversed(range(time)):
        reader = Through(held, at, t)
        at["dh"][t] = reader(steps["h", "t"].right.expression)
        at["da"][t] = reader(steps["a", "t"].right.expression)
        found += reader(total.arguments[0])
    module = check(make_source(RNN + TRAIN))[0]
    feeds = {**held, "x": x, "y": y, "step": 0}
    after = interpret.evaluate([module.graph.outputs["next/U"]], feeds)[0]
    np.testing.assert_allclose(found, held["U"] - after, rtol=1e-9)


# --- the other forms

SHOWN = [
    ("softmax", "W"),
    ("xor", "dense.W"),
    ("logistic", "b"),
    ("linear", "W"),
    ("poisson", "W"),
    ("digits", "dense.W"),
]


class Balanced(HTMLParser):
    """Every tag that opens closes, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in ("meta", "mspace"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        assert tag in ("meta", "mspace")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize(("name", "wrt"), SHOWN)
def test_latex_and_html(name: str, wrt: str) -> None:
    source, folder = source_of(ROOT / "specs" / f"{name}.dl")
    found = derivation(elaborate(source, folder=folder), "loss", wrt)
    latex = found.latex
    assert latex.count("{") - latex.count(r"\{") == latex.count("}") - latex.count(r"\}")
    assert latex.count(r"\left") == latex.count(r"\right") and latex.startswith(r"\begin{aligned}")
    page = Balanced()
    page.feed(found.html)
    assert page.open == [] and "<math>" in found.html and "src=" not in found.html and "//" not in found.html


def test_hostile_names_do_nothing_in_a_page() -> None:
    text = "model m { input x: float[batch, 4]; param w: float[4]; z = x @ w; loss = mean(z^2) }"
    found = Derivation("<script>alert(1)</script>", "w", (), derived(text, "w").steps, derived(text, "w").formula)
    assert "<script" not in found.html


def test_the_command(run, tmp_path: Path) -> None:
    spec = str(ROOT / "specs" / "softmax.dl")
    assert run("grad", spec, "--wrt", "W", "--short")[1] == "xᵀ (softmax(z) − onehot(y)) / batch\n"
    assert run("grad", spec, "--wrt", "W")[1].splitlines()[-1] == "dW = xᵀ (softmax(z) − onehot(y)) / batch"
    assert run("grad", spec, "--wrt", "W", "--html")[1].startswith("<!DOCTYPE html>")
    assert r"\begin{aligned}" in run("grad", spec, "--wrt", "W", "--latex")[1]
    assert run("grad", spec, "--wrt", "W", "--latex", "--html")[0] == 2
    assert run("grad", spec, "--wrt", "W", "--short", "--html")[0] == 2


def test_the_document_shows_what_is_printed(run) -> None:
    text = (ROOT / "docs" / "derivatives.md").read_text("utf-8")
    [shown] = re.findall(r"```\n\$ dlc grad specs/xor.dl --wrt dense.W\n(.*?)```", text, re.S)
    assert run("grad", str(ROOT / "specs" / "xor.dl"), "--wrt", "dense.W")[1] == shown


def test_a_residual_network_is_derived_layer_by_layer() -> None:
    """The stream between the blocks has a name for each block: what is written grows with the number of layers."""

    def written(depth: int) -> Derivation:
        body = f"h = x\nfor i in 0..{depth} {{ block[i] = dense(4); h = h + relu(block[i](h)) }}"
        return derived(f"model m {{ input x: float[batch, 4]\n{body}\nloss = mean(h^2) }}", "block[0].W")

    ten, twenty = written(10), written(20)
    assert len(twenty.text) < 2.3 * len(ten.text) and len(twenty.steps) < 2.3 * len(ten.steps)
    assert any(step.right.text.endswith("Wᵀ + du1") or " + d" in step.right.text for step in ten.steps)
