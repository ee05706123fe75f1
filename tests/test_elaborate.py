"""What the text of a model means: small specs, evaluated and compared with NumPy written by hand."""

from __future__ import annotations

from typing import Any

import dlc
import numpy as np
import pytest
from dlc.diagnostics import CompileError
from dlc.ir import interpret
from spec_cases import SGD, Spec, X, body, codes, value

# --- paths


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("output z = x |> dense(2)", ["dense.W", "dense.b"]),
        ("output z = x |> dense(2) |> dense(1, bias = false)", ["dense.W", "dense.b", "dense[1].W"]),
        ("head = dense(2, bias = false)\noutput z = head(x) |> dense(1, bias = false)", ["head.W", "dense.W"]),
        ("f = dense(2, bias = false)\ng = f\noutput z = f(x) + g(x)", ["f.W"]),
        (
            "h = x\nfor i in 0..2 {\nblock[i] = dense(3, bias = false)\nh = block[i](h)\n}\noutput z = h",
            ["block[0].W", "block[1].W"],
        ),
        ("h = x\nfor i in 0..2 { h = h |> dense(3, bias = false) }\noutput z = h", ["dense.W", "dense[1].W"]),
        ("param w: float[3]\noutput z = x * w", ["w"]),
        # numbered in the order of making, whatever the order of use
        (
            "fs = [dense(2, bias = false), dense(1, bias = false)]\na = fs[1](x)\noutput z = fs[0](x) + a",
            ["dense[1].W", "dense.W"],
        ),
        # a name that is given and a number never fall together
        (
            "d = dense\ndense[1] = d(2, bias = false)\n"
            "h = dense[1](x) |> d(2, bias = false) |> d(2, bias = false)\noutput z = h",
            ["dense[1].W", "dense.W", "dense[2].W"],
        ),
        ("f = dense(2, bias = false)\na = f(x)\nf = dense(3, bias = false)\noutput z = f(x)", ["f.W", "f[1].W"]),
    ],
)
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
    unknown = "model m { input x: float[b, 3]; f = dense(2); output z = x + sum(f.W) + sum(f(dense(3)(x))) }"
    assert codes(unknown) == ["E0223"]
    assert codes("model m { input x: float[b, 3]; f = dense(2); h = f(x); output z = f.V }") == ["E0211"]
    assert codes("model m { input x: float[b, 3]; f = dense(2); output z = f(x, V = 1) }") == ["E0215"]
    assert codes("model m { input x: float[b, 3]; f = dense(2); output z = f(x, W = ones_like(x)) }") == ["E0311"]


def test_one_layer_two_sizes() -> None:
    assert codes("model m { input x: float[b, 3]; f = dense(2); output z = f(f(x)) }") == ["E0317"]


# --- training, predicting, states

COUNTER = "layer counter()(x) { state n = 0.0; n <- n + 1; return x * n }"


def test_a_state_moves_once_for_each_application_in_training_alone() -> None:
    spec = Spec(
        COUNTER
        + """
        model m { input x: float[batch]; param w: float init ones; c = counter()
                  a = c(x); b = c(x); loss = w * mean(a + 10 * b); output z = a + b }
        train { minimize loss using sgd(0.1) }
    """
    )
    state = spec.start()
    loss, after = spec.step(state, x=np.ones(2))
    assert loss == 1 + 10 * 2 and after["c.n"] == 2
    np.testing.assert_array_equal(
        spec.get("z", after, x=np.ones(2)), [4, 4]
    )  # where it predicts the state stands still


def test_training_false_flows_down() -> None:
    layers = """
        layer noisy()(x) { if training { x = x + 100 }
                           return x }
        layer outer(f)(x) { return f(x) }
    """
    text = "model m { input x: float[batch]; param w: float init ones; %s; loss = w * mean(h) }\n" + SGD
    loss = [
        Spec(layers + text % f"f = outer(noisy()); h = f(x{more})").get("loss", {"x": np.zeros(2), "w": 1.0})
        for more in ("", ", training = false", ", training = true")
    ]
    assert loss == [100, 0, 100]


def test_what_a_fixed_training_decides_may_make_things() -> None:
    spec = Spec("""
        layer either()(x) { if training { x = x |> dense(2, bias = false) } else { x = x |> dense(4, bias = false) }
                            return x }
        model m { input x: float[batch, 3]; f = either(); loss = mean(f(x, training = false)) }
        train { minimize loss using sgd(1) }
    """)
    assert spec.module.variables["f.dense.W"].type.shape == (3, 4)


@pytest.mark.parametrize(
    "text",
    [
        "if training { h = x |> dense(3) } else { h = x }",
        "h = (x |> dense(3)) if training else x",
        "if predicting { h = x } else { h = x |> dense(3) }",
        "flag = training; if flag { h = x |> dense(3) } else { h = x }",
        "h = x; if mean(x) > 0 { h = x |> dense(3) }",
        "h = (x |> dense(3)) if mean(x) > 0 else x",
        "h = x; if training { param w: float[3]; h = x * w }",
    ],
)
def test_nothing_is_made_in_one_pass_alone(text: str) -> None:
    assert (
        codes(f"""
        model m {{ input x: float[batch, 3]; param s: float init ones; {text}; loss = s * mean(h) }}
        train {{ minimize loss using sgd(1) }}
    """)[0]
        == "E0222"
    )


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


@pytest.mark.parametrize(
    ("text", "code"),
    [
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
        ("y[:, 2] = x", "E0374"),
        ("y = [1, 2]\nz = y[0:1, 1]", "E0240"),
        ("a, b = x", "E0227"),
        ("a, b = 1, 2, 3", "E0227"),
    ],
)
def test_broken_statement(text: str, code: str) -> None:
    assert codes(f"model m {{\ninput x: float[batch, 3]\n{text}\n}}") == [code]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
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
    ],
)
def test_statement(text: str, expected: Any) -> None:
    np.testing.assert_allclose(value(text), expected)


# --- expressions


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
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
        ("x[:, 0]", X[:, 0]),
        ("x[..., 1]", X[:, 1]),
        ("x[:, -1]", X[:, -1]),
        ("x[1:, ::2]", X[1:, ::2]),
        ("x[::-1]", X[::-1]),
        ("x[:, ::-1]", X[:, ::-1]),
        ("x[:, none, 1:]", X[:, None, 1:]),
        ("x[-2:]", X[-2:]),
        ("x[:, 5:]", X[:, 5:]),
        ("x[argmax(x, axis = 0)]", X[X.argmax(0)]),
        ("x |> maximum(0) |> clamp(0.5, 2)", np.clip(np.maximum(X, 0), 0.5, 2)),
        ("1 + (x |> relu)", 1 + np.maximum(X, 0)),
        ("x |> clamp(hi = 1, lo = 0)", np.clip(X, 0, 1)),
        ("x * size(x, 1) + size(x, 0)", X * 3 + 4),
        ("x * (size(x) // 3)", X * 4),
        ("reshape(x, [-1])", X.reshape(-1)),
        ("reshape(x, [3, batch])", X.reshape(3, 4)),
        ("transpose(x)", X.T),
        ("stack([x, 2 * x], axis = 1)", np.stack([X, 2 * X], 1)),
        ("where(x > 1, 1, x)", np.where(X > 1, 1, X)),
        ("sum(x, axis = [0, 1]) + 0 * x", X.sum() + 0 * X),
        ("max(x, axis = batch)", X.max(0)),
        ("x @ [1.0, 2.0, 3.0][1] if false else x", X),
        ("x * round(2.6) + abs(-3)", X * 3 + 3),
        ("x * maximum(2, 3) - minimum(1.5, 2)", X * 3 - 1.5),
        ("x + pi", X + np.pi),
        ("x + log(exp(2.0))", X + 2),
        ("pick(x, argmax(x, axis = 1))", X.max(1)),
        ("x + (1 if size(x, 1) == 3 else 2)", X + 1),
        ("flip(x, axis = 1)", X[:, ::-1]),
        ("concat(split(x, 3, axis = 1), axis = 0)", X.T.reshape(-1, 1)),
        ("logsumexp(x, axis = -1, keepdims = true)", np.log(np.exp(X).sum(1, keepdims=True))),
        ("one_hot(argmax(x, axis = 1), 3)", np.eye(3)[X.argmax(1)]),
        ("arange(batch) * x[:, 0]", np.arange(4) * X[:, 0]),
    ],
)
def test_expression(expression: str, expected: Any) -> None:
    np.testing.assert_allclose(value(f"output z = {expression}"), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("x @ 2", "E0318"),
        ("x + relu", "E0301"),
        ("x(1)", "E0213"),
        ("x.T", "E0211"),
        ("not x", "E0301"),
        ("1 / 0", "E0304"),
        ("10^40", "E0303"),
        ("x[0, 0, 0]", "E0239"),
        ("x[:, 3]", "E0238"),
        ("x[:, 0.5]", "E0240"),
        ("x[batch]", "E0238"),
        ("one_hot(1, none)", "E0308"),
        ("one_hot(argmax(x, axis = 1), 0)", "E0308"),
        ("split(x, none, axis = 1)", "E0308"),
        ("split(x, 2, axis = 1)", "E0339"),
        ("mean(x, axis = 2)", "E0314"),
        ("sum(x, axis = [0, 0])", "E0334"),
        ("reshape(x, [-1, -1])", "E0337"),
        ("reshape(x, [2, 2])", "E0337"),
        ("reshape(x, [-2, batch])", "E0320"),
        ("transpose(x, [0])", "E0336"),
        ("concat([], axis = 0)", "E0338"),
        ("grad(x, x)", "E0403"),
        ("grad(sum(x), 1)", "E0404"),
        ("grad(sum(x), 1.0)", "E0401"),
        ("draw(normal(zeros_like(x), [1, 2]))", "E0301"),
        ("nuts(x)", "E0244"),
        ("jacobian(x, x)", "E0411"),
        ("unknown", "E0201"),
        ("x |> 3", "E0213"),
        ("relu(x, 1)", "E0214"),
        ("relu(y = x)", "E0215"),
        ("softmax(x, x = x)", "E0216"),
        ("...", "E0333"),
        ('"a"', "E0333"),
    ],
)
def test_broken_expression(expression: str, code: str) -> None:
    assert code in codes(f"model m {{\ninput x: float[batch, 3]\noutput z = {expression}\n}}")


@pytest.mark.parametrize(
    ("size", "advised"), [("nan", False), ("inf", False), ("-inf", False), ("0.5", False), ("12 / 4", True)]
)
def test_a_float_is_no_size(size: str, advised: bool) -> None:
    """To divide integers is the way out where the float is one."""
    with pytest.raises(CompileError) as caught:
        dlc.compile(f"model m {{\ninput x: float[batch, 3]\noutput z = reshape(x, [batch, {size}])\n}}")
    (problem,) = caught.value.diagnostics
    assert problem.code == "E0335" and ("divides integers" in (problem.help or "")) == advised


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


@pytest.mark.parametrize(
    ("text", "code"),
    [
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
    ],
)
def test_two_names_never_meet(text: str, code: str) -> None:
    assert codes(text + "\nmodel m { input x: float[batch, 3, 3]; output z = f()(x, x[0, :, 0], x[0, 0, :]) }") == [
        code
    ]


def test_names_of_a_first_list_hold_in_the_second() -> None:
    text = (
        "layer f(v: float[c])(x: float[batch, c]) { return x + v[c] }\n"
        "model m { input x: float[batch, %d]; output z = f(arange(3) + 0.5)(x) }"
    )
    np.testing.assert_allclose(Spec(text % 3).get("z", {"x": X}), X + np.arange(3) + 0.5)
    assert codes(text % 2) == ["E0311"]


# --- names that go through `...`, and through one element


@pytest.mark.parametrize(
    "text",
    [
        "h = s |> dense(5)\n z = mean(h, axis = time)",
        "h = s |> dense(5) |> relu\n z = max(h, axis = [time, batch])",
        "h = tanh(s |> layer_norm())[:, :, ::-1]\n z = any(h > 0, axis = batch)",
        "v = mean(s, axis = [batch, 2])\n z = (s |> dense(4)) * v[time]",
        "h = take_along(s, argsort(s, axis = time), axis = time)\n z = mean(h, axis = time)",
        "h = reshape(s, [-1, 3])[:2] |> dense(2)\n z = h @ swap(h) * h",  # one without a name has none afterwards
    ],
)
def test_dimensions_keep_their_names_through_dots(text):
    body(text, "input s: float[batch, time, 3]")


def test_dots_of_different_ranks_meet():
    text = (
        "fn f(a: float[...], b: float[...]) = a[..., none] * b\nmodel m {\n input s: float[batch, time]\n"
        " input u: float[batch, time, 3]\n output z = f(s, u)\n}"
    )
    Spec(text)


@pytest.mark.parametrize("shape", ["batch, 1", "batch, 1, 4"])
def test_batch_norm_of_one_channel(shape):
    body("z = x |> batch_norm()", f"input x: float[{shape}]")
