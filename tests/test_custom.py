"""Derivatives given in the language: reverse, forward, higher orders, and what does not fit."""

from __future__ import annotations

import re

import dlc
import numpy as np
import pytest
from op_cases import error_of, slope
from spec_cases import Spec, X, codes
from work import calls

QUANTIZE = "fn quantize(x, levels = 16) = round(x * levels) / levels\nderivative quantize(g, y, x, levels) = g\n"


def model(before: str, text: str, **options) -> Spec:
    return Spec(f"{before}model m {{\ninput x: float[batch, 3]\n{text}\n}}", **options)


def get(before: str, expression: str, **data):
    spec = model(before, f"output z = {expression}")
    return spec.get("z", {"x": X, **spec.start(), **data})


def test_a_straight_through_estimator_in_both_modes_and_twice():
    q = np.round(X * 4) / 4
    np.testing.assert_array_equal(get(QUANTIZE, "quantize(x, 4)"), q)
    for expression, expected in (
        ("grad(sum(quantize(x, 4)^3), x)", 3 * q**2),
        ("vjp(quantize(x, 4), x, x)", X),
        ("jvp(quantize(x, 4)^3, x, 2)", 6 * q**2),
        ("jvp(grad(sum(quantize(x, 4)^3), x), x, 1)", 6 * q),
        ("grad(sum(jvp(quantize(x, 4)^3, x, 1)), x)", 6 * q),
        ("hvp(sum(quantize(x, 4)^3), x, x)", 6 * q * X),
        ("jacobian(quantize(x, 4)^2, x, per = batch)", np.einsum("bi,ij->bij", 2 * q, np.eye(3))),
    ):
        np.testing.assert_allclose(get(QUANTIZE, expression), expected, atol=1e-12)


def test_it_trains():
    spec = Spec(
        QUANTIZE + "model m { input x: float[batch, 3]\ntarget t: float[batch]\nparam w: float[3] init ones\n"
        "loss = mean((x @ reshape(quantize(w, 8), [3, 1]) - reshape(t, [batch, 1]))^2)\n}\n"
        "train { minimize loss using sgd(0.05) }"
    )
    t = X @ np.array([0.5, -0.25, 1.0])
    state = spec.start()
    first, state = spec.step(state, x=X, t=t)
    for _ in range(200):
        last, state = spec.step(state, x=X, t=t)
    assert last < first / 100


def test_rules_are_derived_again():
    """The second derivative is that of the rule, here one that is no derivative of the value at all."""
    rule = "fn f(x) = x^3\nderivative f(g, y, x) = g * 5 * x^2\n"
    np.testing.assert_allclose(get(rule, "f(x)"), X**3)
    np.testing.assert_allclose(get(rule, "grad(sum(f(x)), x)"), 5 * X**2)
    np.testing.assert_allclose(get(rule, "grad(sum(grad(sum(f(x)), x)), x)"), 10 * X)
    np.testing.assert_allclose(get(rule, "jvp(jvp(f(x), x, 1), x, 1)"), 10 * X)


def test_a_rule_in_terms_of_the_result():
    """y in the rule is the result with its own derivative: e^x to any order."""
    rule = "fn f(x) = exp(x)\nderivative f(g, y, x) = g * y\n"
    deep = "f(x)"
    for _ in range(3):
        deep = f"grad(sum({deep}), x)"
        np.testing.assert_allclose(get(rule, deep), np.exp(X))


def test_several_arguments():
    """One value for each argument, in order; `none` and those left out have no derivative."""
    rule = "fn f(a, k, b) = a * b + 0 * k\nderivative f(g, y, a, k, b) = (g * b * 2, none, g * a * 3)\n"
    y = "f(sin(x), 7, cos(x))"
    expected = 2 * np.cos(X) * np.cos(X) - 3 * np.sin(X) * np.sin(X)
    np.testing.assert_allclose(get(rule, f"grad(sum({y}), x)"), expected)
    np.testing.assert_allclose(get(rule, f"jvp({y}, x, x)"), expected * X)
    only = "fn f(a, b) = a * b\nderivative f(g, y, a, b) { return g * b }\n"
    np.testing.assert_allclose(get(only, "grad(sum(f(x, sin(x))), x)"), np.sin(X))
    text = "model m { input x: float[n]\nb = sin(x)\noutput z = grad(sum(f(2.0 + 0 * stop_gradient(b), b)), b) }"
    assert codes(only + text) == ["E0402"]


def test_a_matrix_product_by_hand_against_differences():
    """Rules with shapes of their own, in both modes, also by the parameter and twice."""
    rule = (
        "fn affine(x: float[..., n], w: float[n, m], b: float[m]) = tanh(x @ w + b)\n"
        "derivative affine(g, y, x, w, b) {\n    d = g * (1 - y^2)\n"
        "    return d @ transpose(w), transpose(x) @ d, sum(d, axis = 0)\n}\n"
    )
    plain = rule[: rule.index("derivative")]
    text = (
        "param w: float[3, 2] init glorot_uniform\nparam b: float[2] init ones\ny = affine(x, w, b)\n"
        "output g = grad(sum(y^2), w)\noutput h = hvp(sum(y^2), w, w)\noutput t = jvp(y, x, x)\n"
        "output u = grad(sum(y^3), b)\noutput j = jacobian(y, x, per = batch)\n"
        "output s = grad(sum(grad(sum(y^2), x)^2), w)\n"
    )
    given, own = model(rule, text), model(plain, text)
    state = own.start()
    for name in "ghtujs":
        assert error_of(given.get(name, {"x": X, **state}), own.get(name, {"x": X, **state})) <= 1e-12


def test_a_better_derivative_at_a_point_where_the_plain_one_fails():
    """Of log(1 + e^x) at 1000 the value is infinite over infinite; the rule is the sigmoid."""
    rule = "fn f(x) = log(1 + exp(x)) + 0 * x\nderivative f(g, y, x) = g * sigmoid(x)\n"
    at = np.array([[1000.0, 0.0, -1000.0]])
    np.testing.assert_allclose(get(rule, "grad(sum(f(x)), x)", x=at), [[1, 0.5, 0]])


def test_one_rule_within_another():
    """Formal values of different applications do not meet. Forward mode transposes the rule as it stands."""
    rule = (
        "fn twice(x) = x\nderivative twice(g, y, x) = 2 * g\n"
        "fn outer(x) = twice(x)\nderivative outer(g, y, x) = twice(g * x) + twice(g) * y\n"
    )
    once = 2 * X  # g x + g y at g = 1
    np.testing.assert_allclose(get(rule, "grad(sum(outer(x)), x)"), once)
    np.testing.assert_allclose(get(rule, "grad(sum(outer(twice(x))), x)"), 2 * once)
    np.testing.assert_allclose(get(rule, "grad(sum(twice(outer(x))), x)"), 2 * once)
    np.testing.assert_allclose(get(rule, "jvp(outer(x), x, 1)"), once)
    np.testing.assert_allclose(get(rule, "jvp(twice(outer(twice(x))), x, 1)"), 4 * once)
    for mode in ("grad(sum(outer(x)), x)", "jvp(outer(x), x, 1)"):
        np.testing.assert_allclose(get(rule, f"jacobian({mode}, x, per = batch)").shape, (4, 3, 3))
    # by x through `twice`, and by y through the rule of `outer`
    np.testing.assert_allclose(get(rule, "grad(sum(grad(sum(outer(x)), x)), x)"), 2 + once)
    np.testing.assert_allclose(
        get(rule, "jacobian(outer(x), x, per = batch)"), np.einsum("bi,ij->bij", once, np.eye(3))
    )


@pytest.mark.parametrize("mode", ["grad(sum(h), x)", "jvp(h, x, 1)"])
def test_a_deep_chain_is_linear(mode):
    """Each rule looks at itself, not at the whole graph."""

    def work(turns: int) -> int:
        text = f"h = x\nfor i in 0..{turns} {{ h = f(h) }}\noutput z = {mode}"
        return calls(lambda: model("fn f(x) = round(x) + 1\nderivative f(g, y, x) = g * (1 + y / 100)\n", text))

    work(1)
    few, some, many = (work(turns) for turns in (20, 40, 80))
    assert many - some < 2.2 * (some - few)


def test_a_rule_that_is_not_linear_has_reverse_mode_alone():
    rule = "fn f(x) = x\nderivative f(g, y, x) = clamp(g, -1, 1)\n"
    np.testing.assert_allclose(get(rule, "grad(sum(f(x)^2), x)"), np.clip(2 * X, -1, 1))
    text = rule + "model m {{ input x: float[batch, 3]\noutput z = {} }}"
    for expression in ("jvp(f(x), x, 1)", "hvp(sum(f(x)^2), x, 1)"):
        assert codes(text.format(expression)) == ["E0415"]


def test_rows_that_a_rule_mixes_are_told():
    rule = "fn f(x) = x\nderivative f(g, y, x) = g - mean(g, axis = 0)\n"
    text = "h: float[batch, ...] = f(x)\noutput z = jacobian(h, x, per = batch)"
    assert codes(f"{rule}model m {{ input x: float[batch, 3]\n{text} }}") == ["E0413"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("derivative f(g, y, x) = g", "E0255"),
        ("fn f(x) = x\nderivative f(g, x) = g", "E0256"),
        ("fn f(x) = x\nderivative f(g, y, z) = g", "E0256"),
        ("fn f(x) = x\nderivative f(x, y, x) = x", "E0256"),
        ("fn f(x) = x\nderivative f(g, y, x = 1) = g", "E0256"),
        ("fn f(x) = x\nderivative f(g, y, x) = g\nderivative f(g, y, x) = g", "E0203"),
        ("fn f(x) = x\nderivative f(g, y, x) = (g, g)", "E0414"),
        ("fn f(x) = x\nderivative f(g, y, x) = sum(g, axis = 0)", "E0414"),
        ("fn f(x) = x\nderivative f(g, y, x) = [g]", "E0414"),
        ("fn f(x) = (x, x)\nderivative f(g, y, x) = g", "E0414"),
        ("fn f(x) = x > 0\nderivative f(g, y, x) = g", "E0414"),
        ("fn f(x) = x\nderivative f(g, y, x) = h", "E0201"),
    ],
)
def test_what_does_not_fit(text, code):
    assert code in codes(f"{text}\nmodel m {{ input x: float[batch, 3]\noutput z = f(x) }}")


def test_in_a_checkpoint_and_around_a_scan():
    """A block that is computed again uses the rule; so does what goes into a recurrence and what comes out of it."""
    rule = "fn f(x) = round(x)\nderivative f(g, y, x) = g * (2 + x)\n"
    block = "h = x * 1\ncheckpoint { a = f(sin(h)); b = f(cos(a)) }\noutput z = grad(sum(b * b), x)"
    plain = block.replace("checkpoint {", "").replace(" }", "")
    np.testing.assert_allclose(model(rule, block).get("z", {"x": X}), model(rule, plain).get("z", {"x": X}))
    text = (
        "q = f(x)\nscan t over 0..3 {\n state h: float[batch] = 1\n h <- h * q[:, t]\n}\n"
        "output z = grad(sum(f(h)), x)\noutput t = jvp(f(h), x, 1)"
    )
    spec, at = model(rule, text), X + 0.3
    q = np.round(at)
    others = np.stack([np.prod(np.delete(q, i, 1), axis=1) for i in range(3)], axis=1)
    expected = (2 + np.prod(q, axis=1))[:, None] * others * (2 + at)
    np.testing.assert_allclose(spec.get("z", {"x": at}), expected)
    np.testing.assert_allclose(spec.get("t", {"x": at}), expected.sum(1))


# name -> (functions, the next h of h and the slice u)
TURNS = {
    "a surrogate of a step": (
        "fn f(v) = where(v > 0, 1.0, 0.0)\nderivative f(g, y, v) = g / (1 + 3 * abs(v))^2\n",
        "0.5 * h + f(u @ W - h)",
    ),
    "a product with the weights": (
        "fn f(h, W) = h @ W\nderivative f(g, y, h, W) { return 2 * g @ transpose(W), 3 * transpose(h) @ g }\n",
        "tanh(f(h, W) + u)",
    ),
    "of the slice alone": ("fn f(v) = round(v)\nderivative f(g, y, v) = g * v^2\n", "tanh(h @ W + f(u))"),
    "the result": ("fn f(v) = tanh(v)\nderivative f(g, y, v) = g * (1 - y^3)\n", "f(h @ W + u)"),
    "g alone": ("fn f(v) = v\nderivative f(g, y, v) = -g\n", "tanh(f(h) @ W + u)"),
    "a weight of the turn": (
        "fn f(v, k) = k * v\nderivative f(g, y, v, k) { return g * k^2, sum(g * v) }\n",
        "sin(f(h, W[0, 0]) + u)",
    ),
    "one in another": (
        "fn a(v) = round(v)\nderivative a(g, y, v) = g * v\n"
        "fn b(v) = sin(a(2 * v))\nderivative b(g, y, v) = g * (a(v) + y)\n",
        "0.9 * b(h + u) @ W + h / 2",
    ),
    "of the library": ("", "round_through(2 * h + u) @ W / 3 + sign_through(reverse_gradient(h, 0.5))"),
}


@pytest.mark.parametrize("name", TURNS)
def test_in_the_iterations_of_a_scan(name):
    """As in a `for`, to the second order, backwards and forwards."""
    functions, following = TURNS[name]
    start = "param W: float[3, 3] init normal(0, 0.5)\ninput s: float[batch, 4, 3]\n"
    scan = f"scan t over 0..4 {{\n state h: float[batch, 3] = 0\n u = s[:, t]\n h <- {following}\n r[:, t] = h\n}}\n"
    each = [re.sub(r"\bu\b", f"u{t}", following) for t in range(4)]
    turns = "".join(f"u{t} = s[:, {t}]\nh = {next_}\nr{t} = h\n" for t, next_ in enumerate(each))
    loop = f"h = 0 * x\n{turns}r = stack([r0, r1, r2, r3], axis = 1)\n"
    loss = (
        "loss = sum(sin(r) * r) + sum(h)\noutput a = grad(loss, s)\noutput b = grad(loss, W)\n"
        "output c = grad(sum(grad(loss, s)^2), s)\noutput d = jvp(sum(r^2), s, cos(s))\noutput z = r"
    )
    data = {"x": X, "s": np.random.default_rng(3).normal(size=(4, 4, 3))}
    one, other = (model(functions, start + body + loss) for body in (scan, loop))
    state = one.start()
    for output in "zabcd":
        found, expected = (spec.get(output, {**data, **state}) for spec in (one, other))
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11, err_msg=output)


def test_second_derivatives_by_weights_and_data_together():
    """Scans that come to equal one another on the way to several derivatives."""
    rule = "fn f(v) = where(v > 0, 1.0, 0.0)\nderivative f(g, y, v) = g / (1 + 3 * abs(v))^2\n"
    start = "input s: float[batch, 5, 3]\nparam W: float[3, 3] init normal(0, 0.5)\n"
    scan = "scan t over 0..5 {\n state h: float[batch, 3] = 0\n h <- f(h @ W + s[:, t])\n}\n"
    loop = "h = 0 * x\n" + "".join(f"h = f(h @ W + s[:, {t}])\n" for t in range(5))
    outputs = (
        "loss = mean(h^2)\noutput a = hvp(loss, W, W)\noutput b = grad(sum(grad(loss, W)^2), W)\n"
        "output c = grad(sum(grad(loss, s)^2), s)\noutput d = grad(loss, W)\noutput e = hessian(loss, W)\n"
    )
    one, other = (model(rule, start + body + outputs) for body in (scan, loop))
    data = {"x": X, "s": np.random.default_rng(1).normal(size=(4, 5, 3)), **one.start()}
    for output in "abcde":
        np.testing.assert_allclose(one.get(output, data), other.get(output, data), rtol=1e-9, atol=1e-11)


SPIKING = """
fn spike(v) = where(v > 0, 1.0, 0.0)
derivative spike(g, y, v) = g / (1 + 10 * abs(v))^2
model spiking {
    input  x: float[batch, time, 5]
    target y: int[batch]
    param W: float[5, 16] init normal(0, 1)
    scan t over time {
        state v: float[batch, 16] = 0
        state s: float[batch, 16] = 0
        u = 0.9 * v * (1 - s) + x[:, t] @ W
        v <- u
        s <- spike(u - 1)
        spikes[:, t] = s
    }
    y ~ categorical(logits = mean(spikes, axis = time) |> dense(2))
    output rate = mean(spikes)
}
train spiking { minimize loss using adam(0.02) }
"""


def test_a_spiking_net_learns_on_onnx_runtime():
    """Leaky units that fire, trained by a surrogate gradient (Zenke and Ganguli 2018): the steps have none."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(128, 12, 5)).astype("float32")
    batch = {"x": x, "y": (x[:, :6, 0].sum(1) > x[:, 6:, 1].sum(1)).astype(int)}
    trainer = dlc.Trainer(dlc.compile(SPIKING), device="cpu", seed=0)
    losses = [trainer.step(batch)["loss"] for _ in range(150)]
    assert losses[-1] < 0.5 < 0.65 < losses[0]
    assert 0 < trainer.predict(batch)["rate"] < 1


def test_numbers_known_now_have_no_derivative():
    assert get("fn f(x) = x * 2\nderivative f(g, y, x) = g\n", "x * f(3)") == pytest.approx(X * 6)


def test_the_word_is_free_elsewhere():
    np.testing.assert_array_equal(get("fn f(derivative) = derivative\n", "f(x)"), X)


@pytest.mark.parametrize(
    ("expression", "value", "derivative"),
    [
        ("round_through(2.3 * x)", np.round(2.3 * X), 2.3 * np.ones_like(X)),
        ("sign_through(x / 2)", np.where(X >= 0, 1.0, -1.0), np.where(np.abs(X) <= 2, 0.5, 0)),
        ("reverse_gradient(x, 0.5)", X, -0.5 * np.ones_like(X)),
    ],
)
def test_the_estimators_of_the_library(expression, value, derivative):
    np.testing.assert_allclose(get("", expression), value)
    np.testing.assert_allclose(get("", f"grad(sum({expression}), x)"), derivative)
    np.testing.assert_allclose(get("", f"jvp({expression}, x, x)"), derivative * X)


def test_a_clipped_gradient():
    np.testing.assert_allclose(get("", "grad(sum(clip_gradient(x, 1.5)^2), x)"), np.clip(2 * X, -1.5, 1.5))
    numeric = slope(lambda h: get("", "clip_gradient(x, 1.5)", x=X + h))
    np.testing.assert_allclose(numeric, 1, rtol=1e-9)
