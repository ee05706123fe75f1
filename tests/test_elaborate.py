"""What the language means: small specs, evaluated by the NumPy interpreter and compared with NumPy written by hand."""
from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dlc import interpret
from dlc.diagnostics import CompileError, Problems
from dlc.elaborate import elaborate
from dlc.parse import make_source, read_source
from dlc.pipeline import check, differentiate
from dlc.source import Source

SGD = "train { minimize loss using sgd(1) }"
X = np.array([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0], [2.0, 0.0, 1.0], [-1.0, 1.5, 4.0]])


class Spec:
    """A checked spec, whose roots are evaluated by name."""

    def __init__(self, text: str, *, folder: Path | None = None, model: str | None = None, max_nodes: int = 20_000,
                 **set: Any) -> None:
        problems = Problems()
        source = read_source(folder / text) if folder and text.endswith(".dl") else make_source(text)
        self.module = elaborate(source, folder=folder, model=model, overrides=set, max_nodes=max_nodes,
                                problems=problems)
        differentiate(self.module)
        self.warnings = [warning.code for warning in problems.warnings]

    @property
    def paths(self) -> list[str]:
        """Parameters and states of layers, in the order of making."""
        return [path for path, v in self.module.variables.items() if v.kind in ("parameter", "state")]

    def start(self, seed: int = 0) -> dict[str, Any]:
        roots = self.module.roots("initial/")
        values = interpret.evaluate(list(roots.values()), {"seed": np.uint64(seed)})
        state: dict[str, Any] = {name.removeprefix("initial/"): v for name, v in zip(roots, values, strict=True)}
        for name, value in (("step", 0), ("steps", 100), ("observations", 1)):
            if name in self.module.variables:
                state[name] = value
        return state

    def get(self, name: str, feeds: Mapping[str, Any], **more: Any) -> Any:
        """One root: `loss`, or an output by its bare name."""
        outputs = self.module.graph.outputs
        node = outputs[name if name in outputs else f"output/{name}"]
        return interpret.evaluate([node], {**feeds, **more})[0]

    def step(self, state: Mapping[str, Any], **data: Any) -> tuple[float, dict[str, Any]]:
        """One update: the loss, and the state after it."""
        roots = {"loss": self.module.graph.outputs["loss"], **self.module.roots("next/")}
        values = dict(zip(roots, interpret.evaluate(list(roots.values()), {**state, **data}), strict=True))
        return float(values.pop("loss")), {**state, **{n.removeprefix("next/"): v for n, v in values.items()}}


def codes(text: str, **options: Any) -> list[str]:
    """The codes of what is wrong with a spec."""
    with pytest.raises(CompileError) as caught:
        Spec(text, **options)
    return [diagnostic.code for diagnostic in caught.value.diagnostics]


def body(text: str, inputs: str = "input x: float[batch, 3]", **set: Any) -> Spec:
    """A model without training, from its body."""
    return Spec(f"model m {{\n{inputs}\n{text}\n}}", **set)


def value(text: str, **data: Any) -> Any:
    """The output `z` of a body, with x as input where it is not given."""
    spec = body(text)
    return spec.get("z", {"x": X, **spec.start(), **data})


# --- paths


@pytest.mark.parametrize(("text", "paths"), [
    ("output z = x |> dense(2)", ["dense.W", "dense.b"]),
    ("output z = x |> dense(2) |> dense(1, bias = false)", ["dense.W", "dense.b", "dense[1].W"]),
    ("head = dense(2, bias = false)\noutput z = head(x) |> dense(1, bias = false)", ["head.W", "dense.W"]),
    ("f = dense(2, bias = false)\ng = f\noutput z = f(x) + g(x)", ["f.W"]),
    ("h = x\nfor i in 0..2 {\nblock[i] = dense(3, bias = false)\nh = block[i](h)\n}\noutput z = h",
     ["block[0].W", "block[1].W"]),
    ("h = x\nfor i in 0..2 { h = h |> dense(3, bias = false) }\noutput z = h", ["dense.W", "dense[1].W"]),
    ("param w: float[3]\noutput z = x * w", ["w"]),
    # numbered in the order of making, whatever the order of use
    ("fs = [dense(2, bias = false), dense(1, bias = false)]\na = fs[1](x)\noutput z = fs[0](x) + a",
     ["dense[1].W", "dense.W"]),
    # a name that is given and a number never fall together
    ("d = dense\ndense[1] = d(2, bias = false)\n"
     "h = dense[1](x) |> d(2, bias = false) |> d(2, bias = false)\noutput z = h",
     ["dense[1].W", "dense.W", "dense[2].W"]),
    ("f = dense(2, bias = false)\na = f(x)\nf = dense(3, bias = false)\noutput z = f(x)", ["f.W", "f[1].W"]),
])
def test_path(text: str, paths: list[str]) -> None:
    assert body(text).paths == paths


def test_paths_of_layers_in_layers() -> None:
    spec = Spec("""
        layer twice(inner)(x) { return inner(inner(x)) }
        layer residual(width)(x) {
            lift = dense(width, bias = false)
            return x + (x |> lift |> dense(size(x, 1), bias = false))
        }
        model m {
            input x: float[batch, 3]
            first = residual(5)
            output z = first(x) |> twice(dense(3, bias = false)) |> residual(4)
        }
    """)
    assert spec.paths == ["first.lift.W", "first.dense.W", "dense.W", "residual.lift.W", "residual.dense.W"]


def test_a_shared_instance_shares_and_its_gradients_add() -> None:
    spec = Spec("""
        model m { input x: float[batch, 3]; f = dense(3, bias = false); loss = mean(f(f(x))) }
        train { minimize loss using sgd(1.0) }
    """)
    state = spec.start()
    W = state["f.W"]
    _, after = spec.step(state, x=X)
    dz = np.full((4, 3), 1 / 12)
    grad = (X @ W).T @ dz + X.T @ (dz @ W.T)
    np.testing.assert_allclose(after["f.W"], W - grad, rtol=1e-12)


def test_a_part_ties_and_is_replaced() -> None:
    tied = value("f = dense(2, bias = false)\nh = f(x)\noutput z = h @ transpose(f.W)\n")
    spec = body("f = dense(2, bias = false)\nh = f(x)\noutput z = h @ transpose(f.W)\noutput w = f(x, W = 2 * f.W)")
    state = spec.start()
    np.testing.assert_allclose(tied, X @ state["f.W"] @ state["f.W"].T)
    np.testing.assert_allclose(spec.get("w", state, x=X), 2 * X @ state["f.W"])
    assert spec.paths == ["f.W"]


def test_parts_and_replacements_that_are_not_there() -> None:
    assert codes("model m { input x: float[b, 3]; f = dense(2); output z = x + sum(f.W) + sum(f(x)) }") == ["E0223"]
    assert codes("model m { input x: float[b, 3]; f = dense(2); h = f(x); output z = f.V }") == ["E0211"]
    assert codes("model m { input x: float[b, 3]; f = dense(2); output z = f(x, V = 1) }") == ["E0215"]
    assert codes("model m { input x: float[b, 3]; f = dense(2); output z = f(x, W = ones_like(x)) }") == ["E0311"]


def test_one_layer_two_sizes() -> None:
    assert codes("model m { input x: float[b, 3]; f = dense(2); output z = f(f(x)) }") == ["E0317"]


# --- training, predicting, states

COUNTER = "layer counter()(x) { state n = 0.0; n <- n + 1; return x * n }"


def test_a_state_moves_once_for_each_application_in_training_alone() -> None:
    spec = Spec(COUNTER + """
        model m { input x: float[batch]; param w: float init ones; c = counter()
                  a = c(x); b = c(x); loss = w * mean(a + 10 * b); output z = a + b }
        train { minimize loss using sgd(0.1) }
    """)
    state = spec.start()
    loss, after = spec.step(state, x=np.ones(2))
    assert loss == 1 + 10 * 2 and after["c.n"] == 2
    np.testing.assert_array_equal(spec.get("z", after, x=np.ones(2)),
                                  [4, 4])  # where it predicts the state stands still


def test_training_false_flows_down() -> None:
    layers = """
        layer noisy()(x) { if training { x = x + 100 }
                           return x }
        layer outer(f)(x) { return f(x) }
    """
    text = "model m { input x: float[batch]; param w: float init ones; %s; loss = w * mean(h) }\n" + SGD
    loss = [Spec(layers + text % f"f = outer(noisy()); h = f(x{more})").get("loss", {"x": np.zeros(2), "w": 1.0})
            for more in ("", ", training = false", ", training = true")]
    assert loss == [100, 0, 100]


def test_what_a_fixed_training_decides_may_make_things() -> None:
    spec = Spec("""
        layer either()(x) { if training { x = x |> dense(2, bias = false) } else { x = x |> dense(4, bias = false) }
                            return x }
        model m { input x: float[batch, 3]; f = either(); loss = mean(f(x, training = false)) }
        train { minimize loss using sgd(1) }
    """)
    assert spec.module.variables["f.dense.W"].type.shape == (3, 4)


@pytest.mark.parametrize("text", [
    "if training { h = x |> dense(3) } else { h = x }",
    "h = (x |> dense(3)) if training else x",
    "if predicting { h = x } else { h = x |> dense(3) }",
    "flag = training; if flag { h = x |> dense(3) } else { h = x }",
    "h = x; if mean(x) > 0 { h = x |> dense(3) }",
    "h = (x |> dense(3)) if mean(x) > 0 else x",
    "h = x; if training { param w: float[3]; h = x * w }",
])
def test_nothing_is_made_in_one_pass_alone(text: str) -> None:
    assert codes(f"""
        model m {{ input x: float[batch, 3]; param s: float init ones; {text}; loss = s * mean(h) }}
        train {{ minimize loss using sgd(1) }}
    """)[0] == "E0222"


def test_a_layer_applied_before_may_be_applied_in_an_if() -> None:
    spec = Spec("""
        model m { input x: float[batch, 3]; f = dense(3, bias = false); h = f(x)
                  if training { h = f(h) }
                  loss = mean(h); output z = h }
        train { minimize loss using sgd(1) }
    """)
    state = spec.start()
    W = state["f.W"]
    assert spec.get("loss", state, x=X) == pytest.approx(np.mean(X @ W @ W), rel=1e-12)
    np.testing.assert_allclose(spec.get("z", state, x=X), X @ W)


def test_three_passes() -> None:
    spec = Spec("""
        model m { input x: float[batch]; target y: float[batch]; param w: float init ones
                  k = 1 if training else 2 if predicting else 3
                  h = k * w * x
                  loss = mean(h - y); metric off = mean(h); output z = h }
        train { minimize loss using sgd(1) }
    """)
    data = {"x": np.ones(2), "y": np.zeros(2), "w": 1.0}
    assert spec.get("loss", data) == 1 and spec.get("metric/off", data) == 1 and list(spec.get("z", data)) == [2, 2]
    parts = {f"evaluate/total/{i}": spec.get(f"evaluate/part/{i}", data) for i in range(len(spec.module.reduces))}
    assert spec.get("evaluate/value/off", parts) == 3 and spec.get("evaluate/value/loss", parts) == 3


def test_inputs_that_are_drawn_in_training_and_fed_to_predict() -> None:
    spec = Spec("""
        model m { input x: float[batch]; input z: float[batch] ~ normal(0, 1); param w: float init ones
                  loss = w * mean(x + z); output y = x + z }
        train { minimize loss using sgd(1) }
    """)
    data = {**spec.start(), "x": np.zeros(1000)}
    one, two = spec.get("loss", data, step=0), spec.get("loss", data, step=1)
    assert one != two and abs(one) < 0.2
    np.testing.assert_array_equal(spec.get("y", {"x": np.ones(2), "z": np.ones(2)}), [2, 2])


# --- if and for


def test_a_run_time_if_chooses_names_states_and_indexed_names() -> None:
    spec = Spec("""
        layer tally()(x) { state n = 0.0; n <- n + 1; return x * n }
        model m {
            input x: float[batch, 1]; input sign: float; param w: float init ones
            t = tally(); u = t(x)
            state s = 5.0
            b[0] = 1.0
            if sign > 0 { s <- s + 1; h = t(x); b[0] = 2.0; only = 3 } else { s <- s - 1; h = x - 7; b[1] = 4.0 }
            k = t(x) if sign > 0 else x
            loss = w * (s + 100 * mean(h) + 10000 * b[0]) + 0 * mean(k)
        }
        train { minimize loss using sgd(1) }
    """)
    loss, after = spec.step(spec.start(), x=np.full((2, 1), 2.0), sign=1)
    assert loss == 6 + 100 * 4 + 10000 * 2 and after["s"] == 6 and after["t.n"] == 3
    loss, after = spec.step(spec.start(), x=np.full((2, 1), -2.0), sign=-1)
    assert loss == 4 + 100 * -9 + 10000 * 1 and after["s"] == 4 and after["t.n"] == 1


@pytest.mark.parametrize(("text", "code"), [
    ("if mean(x) > 0 { only = 1 }\noutput z = only", "E0201"),
    ("if mean(x) > 0 { loss = 1 }", "E0246"),
    ("if mean(x) > 0 { output z = x }", "E0246"),
    ("if x > 0 { y = 1 }", "E0306"),
    ("if 1 { y = 1 }", "E0305"),
    ("if mean(x) > 0 { f = relu } else { f = tanh }", "E0307"),
    ("for i in 0..batch { y = i }", "E0308"),
    ("for i in x { y = i }", "E0232"),
    ("for i in 0..2 { param w: float }", "E0203"),
    ("state s = 1\ns = 2", "E0228"),
    ("state s = 1\nfor s in 0..2 { y = s }", "E0228"),
    ("y <- 2", "E0230"),
    ("param w: float\nparam w: float", "E0203"),
    ("y[:, 2] = x", "E0233"),
    ("y = [1, 2]\nz = y[0:1, 1]", "E0240"),
    ("a, b = x", "E0227"),
    ("a, b = 1, 2, 3", "E0227"),
])
def test_broken_statement(text: str, code: str) -> None:
    assert codes(f"model m {{\ninput x: float[batch, 3]\n{text}\n}}") == [code]


@pytest.mark.parametrize(("text", "expected"), [
    ("h = x\nfor i in 0..3 { h = h + i }\noutput z = h", X + 3),
    ("h = x\nfor i in 3..0 { h = h + i }\noutput z = h", X),
    ("h = x\nfor w in [10, 20] { h = h + w }\noutput z = h + w", X + 50),
    ("for i in 0..3 { a[i] = x * i }\noutput z = concat(a, axis = 1)", np.concatenate([X * 0, X, 2 * X], 1)),
    ("for i in 0..2 { for j in 0..2 { a[i, j] = x + 10 * i + j } }\noutput z = a[1, 0] + a[0, 1]", 2 * X + 11),
    ("a, b = moments(x, axis = 0)\noutput z = a + b", X.mean(0) + X.var(0)),
    ("a, b = 1, 2\na, b = b, a\noutput z = a * x + b", 2 * X + 1),
    ("h = x\nif 2 > 1 and not false { h = -h } else { h = nonsense }\noutput z = h", -X),
    ("h = x if none == none else nonsense\noutput z = h", X),
    ("f = relu if 1 < 2 else tanh\noutput z = f(x)", np.maximum(X, 0)),
    ("a, b, c = [x, 2 * x, 3 * x]\noutput z = a + b + c", 6 * X),
])
def test_statement(text: str, expected: Any) -> None:
    np.testing.assert_allclose(value(text), expected)


# --- expressions


@pytest.mark.parametrize(("expression", "expected"), [
    ("x * (7 // 2 + 7 % 4 + 2^3 + 1 / 4)", X * (3 + 3 + 8 + 0.25)),
    ("x * (-7 // 2) + -7 % 4", X * -4 + 1),
    ("-x^2", -(X**2)),
    ("2^-1 * x", X / 2),
    ("2^3^2 + 0 * x", X * 0 + 512),
    ("x + (x > 0)", X + (X > 0)),
    ("sum(x > 0, axis = 1)", (X > 0).sum(1)),
    ("mean(x > 0) * x", (X > 0).mean() * X),
    ("x * argmax(x, axis = 1)[:, none] / 2", X * X.argmax(1)[:, None] / 2),
    ("argmax(x, axis = 1) * 0.5", X.argmax(1) * 0.5),
    ("x[:, 0]", X[:, 0]), ("x[..., 1]", X[:, 1]), ("x[:, -1]", X[:, -1]), ("x[1:, ::2]", X[1:, ::2]),
    ("x[::-1]", X[::-1]), ("x[:, ::-1]", X[:, ::-1]), ("x[:, none, 1:]", X[:, None, 1:]), ("x[-2:]", X[-2:]),
    ("x[:, 5:]", X[:, 5:]),
    ("x[argmax(x, axis = 0)]", X[X.argmax(0)]),
    ("x |> maximum(0) |> clamp(0.5, 2)", np.clip(np.maximum(X, 0), 0.5, 2)),
    ("1 + (x |> relu)", 1 + np.maximum(X, 0)),
    ("x |> clamp(hi = 1, lo = 0)", np.clip(X, 0, 1)),
    ("x * size(x, 1) + size(x, 0)", X * 3 + 4),
    ("x * (size(x) // 3)", X * 4),
    ("reshape(x, [-1])", X.reshape(-1)), ("reshape(x, [3, batch])", X.reshape(3, 4)), ("transpose(x)", X.T),
    ("stack([x, 2 * x], axis = 1)", np.stack([X, 2 * X], 1)),
    ("where(x > 1, 1, x)", np.where(X > 1, 1, X)),
    ("sum(x, axis = [0, 1]) + 0 * x", X.sum() + 0 * X), ("max(x, axis = batch)", X.max(0)),
    ("x @ [1.0, 2.0, 3.0][1] if false else x", X),
    ("x * round(2.6) + abs(-3)", X * 3 + 3),
    ("x * maximum(2, 3) - minimum(1.5, 2)", X * 3 - 1.5),
    ("x + pi", X + np.pi), ("x + log(exp(2.0))", X + 2),
    ("pick(x, argmax(x, axis = 1))", X.max(1)),
    ("x + (1 if size(x, 1) == 3 else 2)", X + 1),
    ("flip(x, axis = 1)", X[:, ::-1]),
    ("concat(split(x, 3, axis = 1), axis = 0)", X.T.reshape(-1, 1)),
    ("logsumexp(x, axis = -1, keepdims = true)", np.log(np.exp(X).sum(1, keepdims=True))),
    ("one_hot(argmax(x, axis = 1), 3)", np.eye(3)[X.argmax(1)]),
    ("arange(batch) * x[:, 0]", np.arange(4) * X[:, 0]),
])
def test_expression(expression: str, expected: Any) -> None:
    np.testing.assert_allclose(value(f"output z = {expression}"), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("expression", "code"), [
    ("x @ 2", "E0318"), ("x + relu", "E0301"), ("x(1)", "E0213"), ("x.T", "E0211"), ("not x", "E0301"),
    ("1 / 0", "E0304"),
    ("10^40", "E0303"), ("x[0, 0, 0]", "E0239"), ("x[:, 3]", "E0238"), ("x[:, 0.5]", "E0240"), ("x[batch]", "E0238"),
    ("one_hot(1, none)", "E0308"), ("one_hot(argmax(x, axis = 1), 0)", "E0308"), ("split(x, none, axis = 1)", "E0308"),
    ("split(x, 2, axis = 1)", "E0339"), ("mean(x, axis = 2)", "E0314"), ("sum(x, axis = [0, 0])", "E0334"),
    ("reshape(x, [-1, -1])", "E0337"), ("reshape(x, [2, 2])", "E0337"), ("reshape(x, [-2, batch])", "E0320"),
    ("transpose(x, [0])", "E0336"), ("concat([], axis = 0)", "E0338"), ("grad(x, x)", "E0403"),
    ("grad(sum(x), 1)", "E0404"), ("grad(sum(x), 1.0)", "E0401"),
    ("draw(normal(zeros_like(x), [1, 2]))", "E0301"), ("conv(x)", "E0244"), ("unknown", "E0201"), ("x |> 3", "E0213"),
    ("relu(x, 1)", "E0214"), ("relu(y = x)", "E0215"), ("softmax(x, x = x)", "E0216"), ("...", "E0333"),
    ('"a"', "E0333"),
])
def test_broken_expression(expression: str, code: str) -> None:
    assert code in codes(f"model m {{\ninput x: float[batch, 3]\noutput z = {expression}\n}}")


# --- dimensions


def test_dimensions_are_sizes_and_arithmetic() -> None:
    spec = Spec("""
        layer f(k)(x: float[batch, n]) -> float[batch, 2 * n - k] { return concat([x, x], axis = 1)[:, k:] }
        model m {
            input s: float[width]
            input x: float[batch, 2 * width]
            h: float[batch, w] = f(1)(x)
            output z = h * size(h, 1) + width
        }
    """)
    output = spec.module.graph.outputs["output/z"]
    assert str(output.type) == "float[batch, 4 * width - 1]"
    two = X[:, :2]
    z = interpret.evaluate([output], {"x": two, spec.module.inputs[0]: np.zeros(1)})[0]
    np.testing.assert_allclose(z, np.concatenate([two, two], 1)[:, 1:] * 3 + 1)


def test_a_vector_lies_along_a_dimension() -> None:
    spec = Spec("""
        layer scale()(x: float[batch, c, ...]) -> float[batch, c, ...] {
            m = mean(x, axis = [batch, ...])
            return x - m[c]
        }
        model m { input x: float[batch, 3, 2]; output z = scale()(x); output v = mean(x, axis = [0, 2])}
    """)
    x = np.arange(24.0).reshape(4, 3, 2)
    np.testing.assert_allclose(spec.get("z", {"x": x}), x - x.mean((0, 2))[:, None])


@pytest.mark.parametrize(("text", "code"), [
    ("layer f()(x: float[b, c, d], v: float[c], w: float[d]) { return x + v }", "E0313"),
    ("layer f()(x: float[b, c, d], v: float[c], w: float[d]) { return x + w[c] }", "E0313"),
    ("layer f()(x: float[b, c, d], v: float[c], w: float[d]) { return (v[c] * w[d]) + x }", "E0315"),
    ("layer f()(x: float[b, c, d], v: float[c], w: float[d]) { return x[:, :, 0] + w[d] }", "E0315"),
    ("layer f()(x: float[b, c, d], v: float[c], w: float[d]) { return mean(v, axis = d) + x }", "E0314"),
    ("layer f()(x: float[b, c, c], v: float[c], w: float[d]) { return mean(x, axis = c) }", "E0334"),
    ("layer f()(x: float[b, c, d], v: float[4], w: float[d]) { return x }", "E0311"),
    ("layer f()(x: float[b, c], v: float[c], w: float[d]) { return x }", "E0324"),
    ("layer f()(x: int[...], v: float[c], w: float[d]) { return x }", "E0302"),
    ("layer f()(x: float[b, c, d], v: float[c], w: float[d]) -> float[b, 2 * d] { return x[:, 0, :] }", "E0311"),
])
def test_two_names_never_meet(text: str, code: str) -> None:
    assert codes(text
                 + "\nmodel m { input x: float[batch, 3, 3]; output z = f()(x, x[0, :, 0], x[0, 0, :]) }") == [code]


def test_names_of_a_first_list_hold_in_the_second() -> None:
    text = "layer f(v: float[c])(x: float[batch, c]) { return x + v[c] }\n" \
           "model m { input x: float[batch, %d]; output z = f(arange(3) + 0.5)(x) }"
    np.testing.assert_allclose(Spec(text % 3).get("z", {"x": X}), X + np.arange(3) + 0.5)
    assert codes(text % 2) == ["E0311"]


# --- likelihoods, priors, losses

NORMAL = 0.5 * np.log(2 * np.pi)


def test_a_likelihood_is_a_mean_and_a_prior_is_shared_by_the_observations() -> None:
    spec = Spec("""
        model m { input x: float[batch, 3]; target y: float[batch]; param w: float[3] ~ normal(0, 2) init ones
                  y ~ normal(x @ w, 1); output s = 1 * w }
        train { minimize loss using sgd(1.0) }
    """)
    y, w = np.arange(4.0), np.ones(3)
    state = {**spec.start(), "observations": 50}
    loss, after = spec.step(state, x=X, y=y)
    assert loss == pytest.approx(np.mean((y - X @ w) ** 2 / 2 + NORMAL), rel=1e-12)  # without the prior
    gradient = X.T @ (X @ w - y) / 4 + w / 4 / 50
    np.testing.assert_allclose(after["w"], w - gradient, rtol=1e-12)


def test_joint_and_weighted() -> None:
    mask = np.array([1.0, 0, 1, 0])
    density = -(X**2) / 2 - NORMAL
    for right, expected in [
        ("normal(0 * w, 1)", -density.mean()),
        ("joint(normal(0 * w, 1))", -density.sum(1).mean()),
        ("weighted(joint(normal(0 * w, 1)), k)", -(density.sum(1) * mask).sum() / 2),
        ("weighted(normal(0 * w, 1), k[:, none])", -(density * mask[:, None]).sum() / 6),
    ]:
        spec = Spec(f"""
            model m {{ input x: float[batch, 3]; input k: float[batch]; param w: float init ones; x ~ {right} }}
            train {{ minimize loss using sgd(1) }}
        """)
        assert spec.get("loss", {"x": X, "k": mask, "w": 1.0}) == pytest.approx(expected, rel=1e-12)


def test_likelihoods_beside_a_prior_say_what_an_observation_is() -> None:
    text = "model m { input x: float[batch, 3]; param w: float ~ normal(0, 1); x ~ %s }\n" + SGD
    assert codes(text % "normal(w, 1)") == ["E0502"]
    Spec(text % "joint(normal(w, 1))")


def test_loss_is_the_sum_of_its_terms() -> None:
    spec = Spec("""
        model m { input x: float[batch]; param w: float init ones
                  loss a = w * mean(x); loss = 10 * w; loss b = 100 * w
                  output z = loss; output y = b }
        train { minimize b using sgd(1.0) }
    """)
    loss, after = spec.step(spec.start(), x=np.ones(2))
    assert loss == 111 and after["w"] == 1 - 100
    assert spec.get("z", {"w": 1.0, "x": np.ones(2)}) == 111 and spec.get("y", {"w": 1.0, "x": np.ones(2)}) == 100


def test_metrics_run_over_the_whole_data_set() -> None:
    spec = Spec("""
        model m { input x: float[batch, 3]; param w: float init ones; loss = w * mean(x)
                  metric m = sqrt(mean((x - 1)^2)) / max(abs(x)) + 0.5 * sum(x) / min(x) }
        train { minimize loss using sgd(1) }
    """)
    totals: dict[str, Any] = {}
    for rows in (X[:3], X[3:]):
        for i, how in enumerate(spec.module.reduces):
            part = spec.get(f"evaluate/part/{i}", {"x": rows, "w": 1.0})
            old = totals.get(f"evaluate/total/{i}")
            totals[f"evaluate/total/{i}"] = part if old is None else {"sum": np.add, "min": np.minimum,
                                                                      "max": np.maximum}[how](old, part)
    expected = np.sqrt(np.mean((X - 1) ** 2)) / np.abs(X).max() + 0.5 * X.sum() / X.min()
    assert spec.get("evaluate/value/m", totals, w=1.0) == pytest.approx(expected, rel=1e-12)


def test_a_metric_that_needs_two_passes() -> None:
    assert codes("""
        model m { input x: float[batch]; param w: float; loss = w * mean(x); metric v = mean((x - mean(x))^2) }
        train { minimize loss using sgd(1) }
    """) == ["E0503"]


def test_an_output_needs_no_target() -> None:
    assert codes("model m { input x: float[b]; target y: float[b]; output z = x + y }") == ["E0340"]


def test_grad_nests() -> None:
    spec = body("e = sum(x^3)\ng = grad(e, x)\noutput z = grad(sum(g * x), x)\nh = 2 * x\noutput y = grad(sum(h^2), h)")
    np.testing.assert_allclose(spec.get("z", {"x": X}), 9 * X**2)
    np.testing.assert_allclose(spec.get("y", {"x": X}), 4 * X)


# --- names, imports, settings


def test_a_name_hides_a_function_with_a_warning() -> None:
    assert body("exp = x + 1\noutput z = exp").warnings == ["W0201"]
    assert body("param mean: float\noutput z = x + mean").warnings == ["W0201"]
    spec = Spec("fn relu(x) = x + 1\nmodel m { input x: float[b]; output z = relu(x) }")
    assert spec.warnings == ["W0202"]
    np.testing.assert_allclose(spec.get("z", {"x": X[0]}), X[0] + 1)
    spec = Spec("fn exp(x) = x + 1\nmodel m { input x: float[b]; output z = exp(x) }")
    assert spec.get("z", {"x": X[0]})[0] == X[0, 0] + 1


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.dl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder


def test_imports(tmp_path: Path) -> None:
    write(
        tmp_path,
        main='import "parts/a.dl"\nimport "parts/b.dl" as b\nimport std.activations as act\n'
             "model m { input x: float[n]; output z = a(x) + b.c(x) + act.relu(x) }",
        parts__a='import "b.dl"\nfn a(x) = 100 * c(x)',
        parts__b='import "a.dl"\nimport "../main.dl"\nfn c(x) = x + 1\nfn d(x) = a(x)',  # a circle
    )
    spec = Spec("main.dl", folder=tmp_path)
    np.testing.assert_allclose(spec.get("z", {"x": X[0]}), 101 * (X[0] + 1) + np.maximum(X[0], 0))
    assert list(spec.module.sources)[1:] == ["parts/a.dl", "parts/b.dl", "std/activations.dl"]


def test_imports_that_fail(tmp_path: Path) -> None:
    write(tmp_path, out="fn f(x) = x",
          inner__main='import "../out.dl"\nimport "none.dl"\nimport std.nothing\nimport other.thing\n'
                                                    + f'import "{"x" * 400}.dl"\nmodel m {{ output z = 1 }}')
    assert sorted(codes("main.dl", folder=tmp_path / "inner")) == ["E0204", "E0204", "E0205", "E0205", "E0207"]
    assert codes('import "a.dl"\nmodel m { output z = 1.0 }') == ["E0206"]


def test_a_users_file_is_not_taken_for_one_of_the_library(tmp_path: Path) -> None:
    write(tmp_path,
          main='import "std/layers.dl" as own\nmodel m { input x: float[b, 3]; output z = own.f(x) |> dense(2) }',
          std__layers="fn f(x) = 2 * x")
    assert set(Spec("main.dl", folder=tmp_path).module.sources) >= {"./std/layers.dl", "std/layers.dl"}


SET = """
    model m(width = 4, rate = 0.5, deep = false, act = relu, widths = [3, 2], note = "a", free = none) {
        input x: float[batch, 3]
        for w in widths { x[0] = w }
        h = act(x |> dense(width))
        output z = h * rate
    }
"""


def test_set() -> None:
    text = SET.replace("for w in widths { x[0] = w }", "")
    spec = Spec(text, width=np.int64(7), rate=2, deep=True, act="tanh", widths=(5,), note="b", free=1.5)
    assert spec.module.variables["dense.W"].type.shape == (3, 7)
    assert spec.module.settings["model"] == {
        "width": 7, "rate": 2.0, "deep": True, "act": "the function `tanh`", "widths": [5], "note": "b", "free": 1.5}
    for name, wrong in [("width", 2.5), ("width", True), ("width", "a"), ("rate", "a"), ("rate", True), ("deep", 1),
                        ("act", 3),
                        ("act", "nothing"), ("widths", 3), ("note", 3), ("widths", [object()])]:
        assert codes(text, **{name: wrong}) == ["E0302"], (name, wrong)
    assert codes(text, widht=3) == ["E0210"]
    assert codes(text, width=2**70) == ["E0303"]


def test_set_reaches_model_and_train_block() -> None:
    text = "model m(a = 1) { input x: float[b]; param w: float; loss = a * w * mean(x) }\n" \
           "train m(a = 0.5) { minimize loss using sgd(a) }"
    assert codes(text, a=2) == ["E0243"]
    spec = Spec(text, **{"model.a": 3, "train.a": 0.25, "epochs": 3})
    assert spec.module.settings["model"] == {"a": 3}
    assert {"a": 0.25, "epochs": 3}.items() <= spec.module.settings["train"].items()


@pytest.mark.parametrize(("settings", "set", "expected"), [
    ("", {}, (None, 10)), ("epochs: 7", {}, (None, 7)), ("steps: 9", {}, (9, None)),
    ("steps: 9; epochs: 7", {}, (9, 7)),
    ("epochs: 7", {"steps": 9}, (9, None)), ("steps: 9", {"epochs": 7}, (9, 7)), ("steps: 9; epochs: 10", {}, (9, 10)),
])
def test_steps_and_epochs(settings: str, set: dict[str, Any], expected: tuple[Any, Any]) -> None:
    model = "model m { input x: float[b]; param w: float; loss = w * mean(x) }\n"
    spec = Spec(model + f"train {{ minimize loss using sgd(1); {settings} }}", **set)
    train = spec.module.settings["train"]
    assert (train["steps"], train["epochs"]) == expected


def test_which_model_is_trained() -> None:
    two = "model a { input x: float[b]; param w: float; loss = w * mean(x) }\nmodel b { output z = 1.0 }\n"
    assert codes(two) == ["E0208"]
    assert codes(two, model="c") == ["E0209"]
    assert codes(two + "train { minimize loss using sgd(1) }", model="a") == ["E0208"]
    assert codes(two + "train c { minimize loss using sgd(1) }", model="a") == ["E0209"]
    spec = Spec(two + "train a { minimize loss using sgd(1) }", model="b")
    assert not spec.module.trains
    assert Spec(two + "train a { minimize loss using sgd(1) }", model="a").module.trains


# --- the train block

GROUPS = """
    model m {
        input x: float[batch, 3]
        encoder = dense(3)
        h = encoder(x)
        for i in 0..3 { block[i] = dense(3, bias = false); h = block[i](h) }
        loss = mean(h |> dense(2))
    }
    train { minimize loss over PATTERN using sgd(1) }
"""


@pytest.mark.parametrize(("pattern", "paths"), [
    ("*", ["encoder.W", "encoder.b", "block[0].W", "block[1].W", "block[2].W", "dense.W", "dense.b"]),
    ("*.W", ["encoder.W", "block[0].W", "block[1].W", "block[2].W", "dense.W"]),
    ("not *.W", ["encoder.b", "dense.b"]),
    ("encoder.*, dense.b", ["encoder.W", "encoder.b", "dense.b"]),
    ("block[*].W", ["block[0].W", "block[1].W", "block[2].W"]),
    ("block[1].*", ["block[1].W"]), ("encoder[0].W", ["encoder.W"]), ("block.W", ["block[0].W"]),
    ("*.W and not block[*].*", ["encoder.W", "dense.W"]),
    ("dense[0].*", ["dense.W", "dense.b"]),
    ("e*", ["encoder.W", "encoder.b"]),
])
def test_pattern(pattern: str, paths: list[str]) -> None:
    spec = Spec(GROUPS.replace("PATTERN", pattern))
    moved = [name.removeprefix("next/") for name in spec.module.roots("next/") if name != "next/step"]
    assert sorted(moved) == sorted(paths)


def test_patterns_that_name_nothing_or_twice() -> None:
    assert codes(GROUPS.replace("PATTERN", "encodr.*")) == ["E0518"]
    assert codes(GROUPS.replace("PATTERN", "*.W using sgd(1); minimize loss over encoder.*")) == ["E0516"]


def test_wrappers_against_a_loop_by_hand() -> None:
    turns, k, peak, total = 3, 2, 0.5, 12
    spec = Spec(f"""
        model m {{ input x: float[batch, 3]; param w: float[3] init ones; loss = mean((x @ w)^2) }}
        train {{
            rule = adam(cosine({peak}, over = steps // {turns}, warmup = 2))
            minimize loss using lookahead(accumulate(rule, turns = {turns}), k = {k * turns}, alpha = 0.25)
        }}
    """)
    state = {**spec.start(), "steps": total}
    rng = np.random.default_rng(0)
    w, slow, m, v, summed = np.ones(3), np.ones(3), np.zeros(3), np.zeros(3), np.zeros(3)
    for step in range(1, total + 1):
        x = rng.normal(size=(5, 3))
        loss, state = spec.step(state, x=x)
        assert loss == pytest.approx(np.mean((x @ w) ** 2), rel=1e-10)
        summed = summed + 2 * x.T @ (x @ w) / 5 / turns
        if step % turns == 0:
            t = step // turns
            share = np.clip((t - 2) / max(total // turns - 2, 1), 0, 1)
            lr = peak * min(t / 2, 1) * 0.5 * (1 + np.cos(np.pi * share))
            m, v = 0.9 * m + 0.1 * summed, 0.999 * v + 0.001 * summed**2
            w = w - lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
            summed = np.zeros(3)
        if step % (k * turns) == 0:
            slow = slow + 0.25 * (w - slow)
            w = slow
        np.testing.assert_allclose(state["w"], w, rtol=1e-10)
    names = [path for path, one in spec.module.variables.items() if one.kind == "optimizer"]
    assert sorted(names) == ["lookahead/accumulate/adam/m/w", "lookahead/accumulate/adam/v/w",
                             "lookahead/accumulate/total/w",
                             "lookahead/slow/w"]


def test_an_optimizer_that_applies_two() -> None:
    spec = Spec("""
        optimizer between(a, b)(theta, g) { theta <- (a(theta, g) + b(theta, g)) / 2 }
        model m { input x: float[batch]; param w: float init ones; loss = w^2 * mean(x) }
        train { minimize loss using between(momentum(1.0), momentum(0.5)) }
    """)
    _, after = spec.step(spec.start(), x=np.ones(2))
    assert after["w"] == 1 - (1.0 + 0.5) * 2 / 2
    assert [p for p, v in spec.module.variables.items() if v.kind == "optimizer"] == ["between/momentum/v/w",
                                                                                      "between/momentum[1]/v/w"]


@pytest.mark.parametrize(("rule", "code"), [
    ("(theta, g) { theta = theta - g }", "E0228"),
    ("(g) { x = g }", "E0247"),
    ("(theta, gradient) { theta <- theta }", "E0226"),
    ("(theta, g) { theta <- sum(g) * [1] }", "E0301"),
    ("(theta, g) { theta <- stack([theta, g]) }", "E0326"),
    ("(theta, g) { param w: float }", "E0229"),
    ("(theta: float[r, c], g) { theta <- theta - g }", "E0324"),
    ("(theta: vector[n], g) { theta <- theta - g }", "E0521"),
    ("(theta, g, loss) { theta <- theta - g }", "E0522"),
    ("(theta, g, t) { inner = sgd(0.1); theta <- inner(theta, g, 0.5) }", "E0326"),
    ("(theta, g, t) { inner = sgd(0.1); theta <- inner(theta, relu) }", "E0326"),
    ("(theta, g, t) { inner = sgd(0.1); theta <- inner(theta) }", "E0217"),
])
def test_broken_rule(rule: str, code: str) -> None:
    assert codes(f"""
        optimizer rule{"()" if not rule.startswith("((") else ""}{rule}
        model m {{ input x: float[batch]; param w: float[2] init ones; loss = sum(w) * mean(x) }}
        train {{ minimize loss using rule }}
    """) == [code]


def test_a_clip_sees_the_gradient_as_one_vector_or_in_parts() -> None:
    for clip, expected in [
        ("fn c(g: vector[n], limit) = g * (limit / norm(g))", (-1 / np.sqrt(5), -2 / np.sqrt(5))),
        ("fn c(g, limit) = g * (limit / norm(g))", (-1, -1)),
    ]:
        spec = Spec(f"""
            {clip}
            model m {{ input x: float[batch]; param a: float init zeros; param b: float init zeros
                      loss = (a + 2 * b) * mean(x) }}
            train {{ minimize loss using sgd(1.0); clip: c(1.0) }}
        """)
        _, after = spec.step(spec.start(), x=np.ones(2))
        assert (after["a"], after["b"]) == pytest.approx(expected)


# --- draws


def test_draws_are_numbered_by_place_step_and_turn() -> None:
    spec = Spec("""
        model m { input x: float[batch, 3]; param w: float init ones
                  for i in 0..2 { u[i] = uniform_like(x) }
                  loss a = w * mean(u[0]); loss b = 10 * w * mean(u[1]); output z = x }
        train { minimize loss using sgd(0.0) }
    """)
    state = spec.start(7)
    data = {"x": np.zeros((2, 3))}
    first, after = spec.step(state, **data)
    again, _ = spec.step(state, **data)
    second, _ = spec.step(after, **data)
    assert first == again != second
    other, _ = spec.step({**state, "key": spec.start(8)["key"]}, **data)
    assert other != first


def test_adding_a_draw_below_leaves_those_above() -> None:
    text = "model m { input x: float[batch]; param w: float init ones; loss = w * mean(x * normal_like(x)); %s }\n"
    text += SGD
    one, two = [Spec(text % more) for more in ("", "metric k = mean(uniform_like(x))")]
    feeds = {**one.start(3), "x": np.ones(5), "step": 4}
    assert one.get("loss", feeds) == two.get("loss", feeds)


def test_start_values_do_not_depend_on_the_step() -> None:
    spec = body("output z = x |> dense(4) |> dense(4)")
    one, two, again = spec.start(1), spec.start(2), spec.start(1)
    assert not np.array_equal(one["dense.W"], two["dense.W"]) and np.array_equal(one["dense.W"], again["dense.W"])
    assert not np.array_equal(one["dense.W"].ravel()[:9], one["dense[1].W"].ravel()[:9])


# --- bounds


@pytest.mark.parametrize(("text", "code"), [
    ("for i in 0..1000000 { h = x }", "E0220"),
    ("for i in 0..10000 { for j in 0..10000 { h = 1 } }", "E0220"),
    ("for i in 0..15000 { h = undefined }", "E0201"),
    ("param w: float[1000000, 1000000]", "E0341"),
    ("param w: float init zeros\nh = broadcast_to(x[0, 0], [100000, 100000, 100000])", "E0341"),
    ("n = batch\nfor i in 0..64 { n = n * n + n // 3 }", "E0344"),
    ("n = 3\nfor i in 0..64 { n = n * n }", "E0303"),
])
def test_what_grows_is_refused(text: str, code: str) -> None:
    assert codes(f"model m {{\ninput x: float[batch, 3]\n{text}\n}}")[0] == code


def test_definitions_without_end() -> None:
    assert codes("fn f(x) = f(x)\nmodel m { input x: float[b]; output z = f(x) }")[0] == "E0219"
    assert codes("fn f(n) = f(n - 1) + f(n - 1) if n > 0 else 0\nmodel m { output z = f(100) + 0.0 }")[0] == "E0220"


def test_lists_that_share_their_parts() -> None:
    spec = body("fn_ = [1, 2]\nfor i in 0..60 { fn_ = [fn_, fn_] }\noutput z = x if fn_ == fn_ else 2 * x")
    np.testing.assert_allclose(spec.get("z", {"x": X}), X)


# --- determinism

DIGEST = """
import hashlib, sys, dlc
for path in sys.argv[1:]:
    print(hashlib.sha256(dlc.compile(path).model_proto().SerializeToString(deterministic=True)).hexdigest())
"""


def test_the_same_bytes_in_every_process() -> None:
    specs = [str(p) for p in sorted((Path(__file__).parent.parent / "specs").glob("*.dl")) if p.stem in ("digits",
                                                                                                         "groups",
                                                                                                         "wrappers")]
    seen = {
        subprocess.run([sys.executable, "-c", DIGEST, *specs], env={"PYTHONHASHSEED": seed, "PATH": ""},
                       capture_output=True,
                       text=True, check=True).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(seen) == 1 and len(seen.pop().split()) == 3


def test_several_mistakes_are_reported_in_one_run() -> None:
    assert codes("""
        model m { input x: float[batch, 3]; a = nothing; b = a + 1; c = x @ x; d = c + 1; output z = x + relu }
        train { minimize loss using nonsense(1); bach: 3 }
    """) == ["E0201", "E0312", "E0301"]


def test_warnings_come_with_the_module() -> None:
    source = Source("a.dl", "model m { input x: float[b]; exp = x; output z = exp }")
    assert [w.code for w in check(source)[1]] == ["W0201"]
