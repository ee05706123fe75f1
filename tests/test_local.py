"""An fn or layer in a block, and an activation among a layer's arguments: the same numbers as the form without them."""

from __future__ import annotations

import dlc
import numpy as np
import pytest
from dlc import Error

TRAIN = "train { minimize loss using adam(1e-2); batch: 4; seed: 3 }"


def model(lines: str, above: str = "") -> str:
    return f"{above}\nmodel m(width = 5) {{\ninput x: float[batch, 4]\ntarget t: float[batch]\n{lines}\n}}\n{TRAIN}\n"


def trained(lines: str, above: str = "") -> tuple[list[str], list[np.ndarray]]:
    """The names and values of the parameters after a few updates, and what is then predicted."""
    trainer = dlc.Trainer(dlc.compile(model(lines, above), precision="float64"), device="cpu")
    rng = np.random.default_rng(0)
    rows = {"x": rng.normal(size=(12, 4)), "t": rng.normal(size=12)}
    for first in (0, 4, 8):
        trainer.step({name: array[first : first + 4] for name, array in rows.items()})
    names = sorted(trainer.parameters)
    return names, [*(trainer.parameters[name] for name in names), trainer.predict({"x": rows["x"]})["y"]]


def same(one: tuple[list[str], list[np.ndarray]], other: tuple[list[str], list[np.ndarray]]) -> None:
    assert one[0] == other[0]
    for a, b in zip(one[1], other[1], strict=True):
        np.testing.assert_array_equal(a, b)


END = "\nlast = dense(1)\ny = last(h)[:, 0]\nloss = squared(y, t)\noutput y = y"


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("h = x |> dense(8, relu)", "h = x |> dense(8) |> relu"),
        ("h = dense(8, tanh)(x)", "h = tanh(dense(8)(x))"),
        ("h = x |> dense(8, relu, bias = false)", "h = x |> dense(8, bias = false) |> relu"),
        ("h = x |> dense(8, false, he_normal, relu)", "h = x |> dense(8, false, he_normal) |> relu"),
        ("h = x |> dense(8, leaky_relu(slope = 0.2))", "h = x |> dense(8) |> leaky_relu(0.2)"),
        ("h = x |> dense(8, clamp(lo = -1, hi = 1))", "h = x |> dense(8) |> clamp(-1, 1)"),
        ("h = x |> dense(8, prelu)", "h = x |> dense(8) |> prelu"),
        ("h = x |> dense(8, layer_norm(1e-3))", "h = x |> dense(8) |> layer_norm(1e-3)"),
        ("h = x |> layer_norm(gelu)", "h = x |> layer_norm |> gelu"),
        ("h = x |> mlp(6, 1, 3, tanh)", "h = x |> mlp(6, 1, 3, activation = tanh)"),
        ("h = x |> mlp(6, 1, 3, tanh, sigmoid)", "h = x |> mlp(6, 1, 3, tanh) |> sigmoid"),
        ("f = dense(4, softplus)\nh = x |> f |> f", "f = dense(4)\nh = x |> f |> softplus |> f |> softplus"),
        ("f = dense(4, relu)\nh = f(x, b = 2 * f.b)", "f = dense(4)\nh = relu(f(x, b = 2 * f.b))"),
        (
            "for i in 0..2 { f[i] = dense(4, relu); x = f[i](x) }\nh = x",
            "for i in 0..2 { f[i] = dense(4); x = relu(f[i](x)) }\nh = x",
        ),
        (
            "h = reshape(x[:, none] |> conv(2, relu, pad = 1), [batch, 8])",
            "h = reshape(x[:, none] |> conv(2, pad = 1) |> relu, [batch, 8])",
        ),
        ("h = (x[:, none] |> conv(2, 3, 1, 1, relu))[:, 0]", "h = relu(x[:, none] |> conv(2, 3, 1, 1))[:, 0]"),
    ],
)
def test_an_activation_among_the_arguments(short: str, long: str) -> None:
    same(trained(short + END), trained(long + END))


def test_what_a_layer_has_a_place_for_stays_there() -> None:
    """A function given by position to an argument that takes one is that argument, as it was."""
    wrap = "layer wrap(inner)(x) = x + inner(x)\nlayer last(n: int, how = none)(x) = x |> dense(n) |> how\n"
    same(trained("h = x |> wrap(tanh)" + END, wrap), trained("h = x + tanh(x)" + END))
    same(trained("h = x |> last(3, tanh)" + END, wrap), trained("h = x |> last(3, how = tanh)" + END, wrap))
    same(trained("h = x |> dense(4, true, he_normal)" + END), trained("h = x |> dense(4, weights = he_normal)" + END))


@pytest.mark.parametrize(
    ("inside", "outside", "above"),
    [
        (
            "layer block(n)(x) = x |> dense(n) |> tanh\nh = x |> block(width) |> block(3)",
            "h = x |> block(width) |> block(3)",
            "layer block(n)(x) = x |> dense(n) |> tanh",
        ),
        (
            "layer block()(x) = x |> dense(width) |> tanh\nh = x |> block",
            "h = x |> block(width)",
            "layer block(width)(x) = x |> dense(width) |> tanh",
        ),
        ("fn f(a, k = 2) = k * a + width\nh = f(x)", "h = f(x, 2, width)", "fn f(a, k, width) = k * a + width"),
        ("fn f(a) { b = 2 * a; return b + 1 }\nh = f(x)", "h = 2 * x + 1", ""),
        ("fn f(a) = a * width\nwidth = 7\nh = f(x)", "h = 5 * x", ""),  # as it was above
        ("fn width(a) = 3 * a\nh = width(x)", "h = 3 * x", ""),
        ("s = dense(4)\nfn f(a) = s(a) * size(x, 1)\nh = f(f(x))", "s = dense(4)\nh = 4 * s(4 * s(x))", ""),
        ("fn f(a) = a + 1\nfn g(a) = f(f(a))\nfn f(a) = 0 * a\nh = g(x)", "h = x + 1 + 1", ""),
        ("fn sigmoid(a) = 2 * a\nh = sigmoid(x)", "h = 2 * x", ""),  # hides the library's, with a warning
        ("h = x |> outer", "h = x |> outer", "layer outer()(x) { fn f(a) = 2 * a; return f(x) |> dense(3) }"),
        ("h = x\nfor i in 0..2 { fn f(a) = a + i; h = f(h) }", "h = x\nfor i in 0..2 { h = h + i }", ""),
        (
            "fn f(a) = a * x[:, 0]\nscan i over 0..4 { state s = 0 * x[:, 0]\n s <- s + f(x[:, i]) }\nh = s[:, none]",
            "scan i over 0..4 { state s = 0 * x[:, 0]\n s <- s + x[:, i] * x[:, 0] }\nh = s[:, none]",
            "",
        ),
        ("param w: float[4] init ones\nfn f(a) = a * w\nh = f(x)", "param w: float[4] init ones\nh = x * w", ""),
        (
            "layer scaled()(a) { param w: float[4] init ones; return a * w }\nh = x |> scaled",
            "h = x |> scaled",
            "layer scaled()(a) { param w: float[4] init ones; return a * w }",
        ),
    ],
)
def test_declared_in_a_block(inside: str, outside: str, above: str) -> None:
    same(trained(inside + END, above), trained(outside + END, above))


def test_the_rule_of_an_fn_above_is_not_that_of_one_inside() -> None:
    above = "fn f(a) = 3 * a\nderivative f(g, y, a) = 0 * g"
    slope = "loss = squared((x |> dense(1))[:, 0], t)\noutput y = grad(sum(f(x)), x)[:, 0]"
    program = dlc.compile(model(f"fn f(a) = 2 * a\n{slope}", above))
    assert (dlc.Trainer(program).predict({"x": np.ones((2, 4))})["y"] == 2).all()


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ("h = f(x)\nfn f(a) = 2 * a", "E0201"),  # it is known below
        ("fn f(a) = later * a\nlater = 2\nh = f(x)", "E0201"),
        ("fn f(a) = f(a)\nh = f(x)", "E0219"),
        ("fn f(a) = a |> dense(3)\nh = f(x)", "E0221"),
        ("state s: float[4] = 0\nfn f(a) { s <- s + 1; return a }\nh = f(x)", "E0230"),
        ("fn f(a) { output b = a; return a }\nh = f(x)", "E0235"),
        ("scan i over 0..4 { fn f(a) = a + i\n y[:, i] = f(x[:, i]) }\nh = f(y)", "E0201"),
        (" optimizer o()(theta, g) { theta <- g }\nh = x", "E0134"),
        ("fn f(a)(b) = b\nh = x", "E0142"),
        ("layer f(a) = a\nh = x", "E0121"),
    ],
)
def test_what_is_wrong_in_a_block(lines: str, code: str) -> None:
    with pytest.raises(Error) as caught:
        dlc.compile(model(lines + END))
    assert caught.value.code == code, caught.value


def test_names_that_begin_no_declaration_stay_names() -> None:
    lines = "fn = 2\nlayer[0] = dense(3)\nh = layer[0](fn * x)"
    same(trained(lines + END), trained("layer[0] = dense(3)\nh = layer[0](2 * x)" + END))
