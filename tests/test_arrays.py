"""What the language calls by name and builds from primitives, against NumPy: values in the interpreter and in ONNX
Runtime (both precisions, with and without its optimizations), and derivatives against differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from dlc import ops
from dlc.autodiff.reverse import gradients
from dlc.diagnostics import CompileError
from dlc.ir import interpret
from op_cases import file_of, run
from spec_cases import Spec

RNG = np.random.default_rng(7)
X = RNG.uniform(0.3, 3, (3, 4, 2)) * RNG.choice([-1.0, 1.0], (3, 4, 2))
P = np.abs(X) + 0.1
V = RNG.normal(size=5)
S = RNG.normal(size=(2, 5, 5))
SPD = S @ S.transpose(0, 2, 1) + np.eye(5)
B = RNG.normal(size=(2, 5, 3))
I = np.array([[2, 0, -1], [1, 1, 0]])
J = np.array([3, -4, 0])
DATA = {"x": X, "p": P, "v": V, "a": SPD, "b": B, "i": I, "j": J}


def along(x, k, axis):
    order = np.argsort(-x, axis=axis, kind="stable")
    return np.take(order, np.arange(k), axis=axis)


def added(values, index, size, axis):
    result = np.zeros((*values.shape[:axis], size, *values.shape[axis + 1 :]))
    np.add.at(np.moveaxis(result, axis, 0), index, np.moveaxis(values, axis, 0))
    return result


def exclusive(total, x, axis):
    return total(x, axis) - x if total is np.cumsum else total(x, axis) / x


CASES = [  # an expression, and what NumPy says
    ("cumsum(x)", lambda: np.cumsum(X, -1)), ("cumsum(x, axis = 0)", lambda: np.cumsum(X, 0)),
    ("cumsum(x, axis = 1, exclusive = true)", lambda: exclusive(np.cumsum, X, 1)),
    ("cumsum(x, axis = 1, reverse = true)", lambda: np.cumsum(X[:, ::-1], 1)[:, ::-1]),
    ("cumsum(i)", lambda: np.cumsum(I, -1)), ("cumprod(x, axis = 1)", lambda: np.cumprod(X, 1)),
    ("cumprod(x, axis = 0, exclusive = true)", lambda: exclusive(np.cumprod, X, 0)),
    ("cumprod(x, axis = 1, reverse = true)", lambda: np.cumprod(X[:, ::-1], 1)[:, ::-1]),
    ("sort(x)", lambda: np.sort(X, -1)), ("sort(x, axis = 1)", lambda: np.sort(X, 1)),
    ("sort(x, axis = 0, descending = true)", lambda: np.sort(X, 0)[::-1]),
    ("argsort(x, axis = 1)", lambda: np.argsort(X, 1)),
    ("argsort(x, axis = 1, descending = true)", lambda: np.argsort(-X, 1)), ("sort(i)", lambda: np.sort(I, -1)),
    ("top(x, 2, axis = 1)", lambda: along(X, 2, 1)), ("top(x, 1)", lambda: along(X, 1, -1)),
    ("top_values(x, 3, axis = 1)", lambda: -np.sort(-X, 1)[:, :3]), ("top(x, 0, axis = 1)", lambda: along(X, 0, 1)),
    ("take_along(x, argsort(x, axis = 1), axis = 1)", lambda: np.sort(X, 1)),
    ("take_along(x, i[none, :1, :1] + 0 * argsort(x), axis = 1)",
     lambda: np.take_along_axis(X, I[None, :1, :1] + 0 * np.argsort(X), 1)),
    ("pad(x, 1)", lambda: np.pad(X, 1)), ("pad(x, [1, 2], axis = 1)", lambda: np.pad(X, ((0, 0), (1, 2), (0, 0)))),
    ("pad(x, [[1, 0], [0, 2], [1, 1]])", lambda: np.pad(X, ((1, 0), (0, 2), (1, 1)))),
    ("pad(x, [1, 2], axis = 1, value = -inf)", lambda: np.pad(X, ((0, 0), (1, 2), (0, 0)), constant_values=-np.inf)),
    ("pad(i, 1, value = 7)", lambda: np.pad(I, 1, constant_values=7)),
    ("pad(i, [0, 1])", lambda: np.pad(I, ((0, 1), (0, 1)))),
    *[(f'pad(x, [{a}, {b}], axis = {axis}, mode = "{mode}")', lambda a=a, b=b, axis=axis, mode=mode: np.pad(
        X, [(a, b) if n == axis else (0, 0) for n in range(3)], mode=mode))
      for mode in ("reflect", "edge", "symmetric", "wrap") for a, b, axis in ((1, 2, 0), (2, 0, 1), (0, 1, 2))],
    ('pad(x, 5, axis = 1, mode = "edge")', lambda: np.pad(X, ((0, 0), (5, 5), (0, 0)), mode="edge")),
    ("tile(x, 2)", lambda: np.tile(X, 2)), ("tile(x, [2, 1, 3])", lambda: np.tile(X, (2, 1, 3))),
    ("tile(v, [2, 3])", lambda: np.tile(V, (2, 3))), ("tile(x, [2, 1, 1, 2])", lambda: np.tile(X, (2, 1, 1, 2))),
    ("repeat(x, 2, axis = 1)", lambda: np.repeat(X, 2, 1)), ("repeat(x, 3)", lambda: np.repeat(X, 3, -1)),
    ("repeat(x, times = 2, axis = 0)", lambda: np.repeat(X, 2, 0)),
    ("roll(x, 1, axis = 1)", lambda: np.roll(X, 1, 1)), ("roll(x, -1)", lambda: np.roll(X, -1, -1)),
    ("roll(x, 5, axis = 0)", lambda: np.roll(X, 5, 0)), ("roll(v, 0)", lambda: V),
    ("flip(x, axis = 1)", lambda: X[:, ::-1]),
    ("tril(a)", lambda: np.tril(SPD)), ("triu(a)", lambda: np.triu(SPD)), ("tril(x, 1)", lambda: np.tril(X, 1)),
    ("triu(a, k = -2)", lambda: np.triu(SPD, -2)), ("tril(i)", lambda: np.tril(I)), ("eye(4)", lambda: np.eye(4)),
    ("split(v, [1, 3, 1])[1]", lambda: V[1:4]), ("split(x, [1, -1], axis = 1)[1]", lambda: X[:, 1:]),
    ("split(x, [4], axis = 1)[0]", lambda: X), ("size(x, [0, 2])", lambda: np.array(6)),
    # several arrays at once
    ("x[i[1, 0], i[1, 0]]", lambda: X[1, 1]), ("x[:, i[1, 0], i[1, 0]]", lambda: X[:, 1, 1]),  # the same one twice
    ("x[i, j]", lambda: X[I, J]), ("x[i, j, 1]", lambda: X[I, J, 1]), ("x[i, :, 0 * i]", lambda: X[I, :, 0 * I]),
    ("x[:, j, j - j]", lambda: X[:, J, J - J]), ("x[i, j, i * 0]", lambda: X[I, J, I * 0]),
    ("a[:, j, j]", lambda: SPD[:, J, J]),
    ("x[i, 1:, 0 * j]", lambda: X[I, 1:, 0 * J]), ("x[::2, j, 0 * j]", lambda: X[::2, J, 0 * J]),
    ("x[j[2:], i]", lambda: X[J[2:], I]), ("x[i][:, j - j]", lambda: X[I][:, J - J]),
    ("x[i, ..., j * 0]", lambda: X[I, ..., J * 0]),
    ("scatter_add(x, j, 5)", lambda: added(X, J, 5, 0)),
    ("scatter_add(b, 1 + 0 * arange(5), 3, axis = 1)", lambda: added(B, np.ones(5, int), 3, 1)),
    ("one_hot(i, 3)", lambda: np.eye(4)[I][..., :3]),
    # products of all ranks
    ("v @ v", lambda: V @ V), ("a @ v", lambda: SPD @ V), ("v @ b", lambda: V @ B), ("a @ b", lambda: SPD @ B),
    ("a[0] @ b", lambda: SPD[0] @ B),
    ("a @ b[1]", lambda: SPD @ B[1]),
    ("x[:, none, :, none, :] @ transpose(x[0])", lambda: X[:, None, :, None, :] @ X[0].T),
    ("x[:, none] @ tile(transpose(x, [0, 2, 1]), [1, 1, 1])[none]", lambda: X[:, None] @ X.transpose(0, 2, 1)[None]),
    # reductions
    ("var(x)", lambda: X.var()), ("var(x, axis = 1)", lambda: X.var(1)),
    ("std(x, axis = [0, 2], ddof = 1)", lambda: X.std((0, 2), ddof=1)),
    ("var(x, axis = 0, keepdims = true)", lambda: X.var(0, keepdims=True)), ("norm(x)", lambda: np.sqrt((X**2).sum())),
    ("norm(x, 1, axis = 1)", lambda: np.abs(X).sum(1)), ("norm(x, inf)", lambda: np.abs(X).max()),
    ("norm(x, -inf, axis = 0)", lambda: np.abs(X).min(0)),
    ("norm(x, 3, axis = [0, 1])", lambda: (np.abs(X) ** 3).sum((0, 1)) ** (1 / 3)),
    ("norm(maximum(x, 0), 0)", lambda: (X > 0).sum()),
    ("norm(x, axis = 2, keepdims = true)", lambda: np.linalg.norm(X, axis=2, keepdims=True)),
    # elementwise
    ("exp2(x)", lambda: np.exp2(X)), ("log2(p)", lambda: np.log2(P)), ("log10(p)", lambda: np.log10(P)),
    ("rsqrt(p)", lambda: 1 / np.sqrt(P)),
    ("square(x)", lambda: X**2), ("reciprocal(x)", lambda: 1 / X), ("power(p, 1.5)", lambda: P**1.5),
    ("remainder(x, 0.7)", lambda: np.mod(X, 0.7)),
    ("trunc(x) + x", lambda: np.trunc(X) + X), ("logaddexp(x, 2 * p)", lambda: np.logaddexp(X, 2 * P)),
    ("sinc(x)", lambda: np.sinc(X)),
    ("sinc(x / 100)", lambda: np.sinc(X / 100)), ("hypot(x, 2.0)", lambda: np.hypot(X, 2)),
    ("arctan2(x, p - 1)", lambda: np.arctan2(X, P - 1)),
    ("xor(x > 0, p > 1)", lambda: (X > 0) ^ (P > 1)), ("is_nan(log(x))", lambda: X < 0),
    ("is_inf(1 / floor(p))", lambda: np.floor(P) == 0),
    ("is_finite(log(x))", lambda: X > 0), ("tan(x / 3)", lambda: np.tan(X / 3)), ("cbrt(x)", lambda: np.cbrt(X)),
    ("erfc(x)", lambda: np.vectorize(math.erfc)(X)),
    # linear algebra
    ("outer(v, 2 * v)", lambda: np.outer(V, 2 * V)), ("trace(a)", lambda: np.trace(SPD, axis1=1, axis2=2)),
    ("dot(v, v)", lambda: V @ V),
    ("diagonal(a)", lambda: np.diagonal(SPD, axis1=1, axis2=2)), ("diag(v)", lambda: np.diag(V)),
    ("swap(b)", lambda: B.transpose(0, 2, 1)),
    ("cholesky(a)", lambda: np.linalg.cholesky(SPD)),
    ("triangular_solve(a, b)", lambda: np.linalg.solve(np.tril(SPD), B)),
    ("triangular_solve(a, b, lower = false)", lambda: np.linalg.solve(np.triu(SPD), B)),
    ("cholesky_solve(a, b)", lambda: np.linalg.solve(SPD, B)),
    ("log_determinant(a)", lambda: np.linalg.slogdet(SPD)[1]),
    ("cholesky(a[:, :1, :1])", lambda: np.sqrt(SPD[:, :1, :1])),
    ("cholesky(a[:, :0, :0])", lambda: SPD[:, :0, :0]),
]  # fmt: skip
INPUTS = (
    "input x: float[3, 4, 2]\ninput p: float[3, 4, 2]\ninput v: float[5]\ninput a: float[2, 5, 5]\n"
    "input b: float[2, 5, 3]\ninput i: int[2, 3]\ninput j: int[3]\n"
)


@pytest.mark.parametrize(("text", "expected"), CASES, ids=[text for text, _ in CASES])
def test_values_and_derivatives(text, expected):
    with np.errstate(all="ignore"):
        wanted = np.asarray(expected())
    spec = Spec(f"model m {{\n{INPUTS}output z = {text}\n}}")
    node = spec.module.graph.outputs["output/z"]
    found = spec.get("z", DATA)
    assert found.shape == wanted.shape
    assert np.allclose(found, wanted, rtol=1e-12, atol=1e-13, equal_nan=True)
    for precision, tolerance in (("float32", 1e-5), ("float64", 1e-12)):
        model = file_of({"z": node}, spec.module.inputs, precision)
        for optimized in (False, True):
            value = run(model, DATA, precision, optimized)[0]
            assert value.shape == wanted.shape and np.allclose(value, wanted, rtol=tolerance, atol=tolerance)
    if node.dtype != "float" or not wanted.size or not np.isfinite(wanted).all():
        return
    # d/dt of Σ w z along a random direction, by central differences of the fourth order
    rng = np.random.default_rng(1)
    weights = ops.constant(node.graph, rng.normal(size=node.shape), "float")
    target = ops.reduce_sum(node * weights, axes=range(node.rank))
    reached = [leaf for leaf in spec.module.inputs if leaf.dtype == "float" and leaf in node.graph.order([target])]
    if not reached:
        return
    values = interpret.evaluate(gradients(target, reached), DATA)
    way = {leaf.attrs["name"]: rng.normal(size=leaf.shape) for leaf in reached}

    def at(h: float) -> float:
        return float(interpret.evaluate([target], {**DATA, **{name: DATA[name] + h * u for name, u in way.items()}})[0])

    step = 1e-4
    numeric = (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)
    exact = sum(float(np.sum(g * way[leaf.attrs["name"]])) for leaf, g in zip(reached, values, strict=True))
    assert abs(numeric - exact) <= 1e-6 * max(1, abs(exact))


@pytest.mark.parametrize("text", [
    "cumsum(x, axis = 0)", "sort(x, axis = 0)", "argsort(x, axis = 0)", 'pad(x, 1, mode = "reflect")',
    'pad(x, 1, mode = "wrap")',
    "pad(x, [1, 2], axis = 0, value = 3)", "pad(x, 1)", "tile(x, [2, 1])", "repeat(x, 2, axis = 0)",
    "roll(x, 2, axis = 0)",
    "roll(x, -1, axis = 0)", "tril(x)", "triu(x, 1)", "top(x, 2)", "top_values(x, 2, axis = 0)", "x[i, i]",
    "var(x, axis = 0)", "std(x)",
    "eye(batch)", "flip(x, axis = 0)", "split(x, [2, -1], axis = 0)[1]", "x[i - 1, -i]", "trace(x[:, :batch])",
    'einsum("i i -> i", x @ transpose(x))', "cumprod(x, axis = 1)",
])  # fmt: skip
def test_free_dimensions_give_the_same(text):
    x, i = RNG.normal(size=(4, 3)), np.array([1, 0, 2])
    if "batch]" in text or "eye" in text:
        x = RNG.normal(size=(3, 3))
    results = []
    for rows in ("batch", str(len(x))):
        if rows != "batch" and "batch" in text:
            continue
        spec = Spec(f"model m {{\ninput x: float[{rows}, 3]\ninput i: int[3]\noutput z = {text}\n}}")
        results.append(spec.get("z", {"x": x, "i": i}))
        model = file_of({"z": spec.module.graph.outputs["output/z"]}, spec.module.inputs, "float64")
        results.append(run(model, {"x": x, "i": i}, "float64", True)[0])
    for other in results[1:]:
        assert np.allclose(results[0], other, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("text", "expected"), [
    ("sum(e, axis = 0)", [0.0, 0.0]), ("prod(e, axis = 0)", [1.0, 1.0]), ("max(e, axis = 0)", [-np.inf] * 2),
    ("min(e, axis = 0)", [np.inf] * 2), ("mean(e, axis = 0)", [np.nan] * 2), ("logsumexp(e, axis = 0)", [-np.inf] * 2),
    ("any(e > 0, axis = 0)", [False, False]), ("all(e > 0, axis = 0)", [True, True]), ("mean(e)", np.nan),
    ("sum(e)", 0.0),
    ("var(e, axis = 0)", [np.nan] * 2), ("norm(e)", 0.0), ("max(e, axis = 1)", []),
    ("cumsum(e, axis = 0)", np.zeros((0, 2))),
    ("sort(e, axis = 0)", np.zeros((0, 2))), ("argsort(e, axis = 0)", np.zeros((0, 2))), ("argmax(e, axis = 1)", []),
    ("max(e)", -np.inf), ("prod(e)", 1.0), ('einsum("i j, i j -> j", e, e)', [0.0, 0.0]),
    ("transpose(e) @ e", np.zeros((2, 2))),
])  # fmt: skip
@pytest.mark.parametrize("rows", ["0", "batch"])
def test_reductions_of_nothing(text, expected, rows):
    spec = Spec(f"model m {{\ninput e: float[{rows}, 2]\noutput z = {text}\n}}")
    data = {"e": np.zeros((0, 2))}
    with np.errstate(all="ignore"):
        found = spec.get("z", data)
    assert np.array_equal(found, np.asarray(expected), equal_nan=found.dtype.kind == "f")
    for precision in ("float32", "float64"):
        model = file_of({"z": spec.module.graph.outputs["output/z"]}, spec.module.inputs, precision)
        for optimized in (False, True):
            value = run(model, data, precision, optimized)[0]
            assert value.shape == found.shape and np.array_equal(value, found, equal_nan=value.dtype.kind == "f")


@pytest.mark.parametrize(("text", "code"), [
    ("argmax(x[:, :0], axis = 1)", "E0345"), ("top(x, 5)", "E0345"), ("top(x, -1)", "E0345"), ("top(x, 1.5)", "E0308"),
    ('pad(x, 3, axis = 1, mode = "reflect")', "E0385"), ('pad(x[:, :0], 1, axis = 1, mode = "edge")', "E0385"),
    ('pad(x, 1, mode = "mirror")', "E0384"), ("pad(x, -1)", "E0384"), ("pad(x, [1, 2, 3])", "E0384"),
    ("pad(x, [[1, 2]])", "E0384"),
    ("cumprod(x, axis = 0)", "E0386"), ("cholesky(x @ transpose(x))", "E0387"), ("split(x, [1, 1], axis = 1)", "E0339"),
    ("split(x, [-1, -1], axis = 1)", "E0339"), ("take_along(x, arange(3))", "E0343"), ("tril(x[0])", "E0318"),
    ("tile(x, -1)", "E0320"),
    ("roll(x, 0.5)", "E0308"), ("x[arange(2), arange(3)]", "E0310"), ("repeat(x, 2, depth = 1)", "E0217"),
    ("grad(sum(argsort(x)), x)", "E0403"),
    ("reduce(x, \"b n -> b\", std)[0:1] + cumsum(\"a\")", "E0301"), ("known_size(x, 0)", "E0387"),
    ("scatter_add(x, arange(2), 3, axis = 2)", "E0314"), ("scatter_add(x[0], arange(2), 3)", "E0310"),
    ("scatter_add(x, arange(2), -1)", "E0320"), ("one_hot(arange(2), 0)", "E0308"),
])  # fmt: skip
def test_mistakes(text, code):
    with pytest.raises(CompileError) as caught:
        Spec(f"model m {{\ninput x: float[batch, 3]\noutput z = {text}\n}}")
    assert code in [diagnostic.code for diagnostic in caught.value.diagnostics]


def test_the_derivative_of_cumprod_is_right_at_zeros():
    spec = Spec("model m {\ninput x: float[4]\noutput z = grad(sum(cumprod(x)), x)\n}")
    assert spec.get("z", {"x": np.array([2.0, 0.0, 3.0, 5.0])}).tolist() == [1.0, 2 + 6 + 30, 0.0, 0.0]


def test_norms_have_a_derivative_at_zero():
    spec = Spec("""model m {
        input x: float[2, 3]
        output a = grad(norm(x), x)
        output b = grad(sum(norm(x, 3, axis = 1)), x)
        output c = grad(std(x), x)
        output d = grad(sum(normalize(x)), x)
    }""")
    for name, expected in (("a", 0.0), ("b", 0.0), ("c", 0.0), ("d", 1e12)):
        assert np.allclose(spec.get(name, {"x": np.zeros((2, 3))}), expected)


def test_tan_of_a_number_is_a_number():
    spec = Spec("model m {\ninput x: float[2]\noutput z = x * arctan(1.0) * hypot(3, 4)\n}")
    assert np.allclose(spec.get("z", {"x": np.ones(2)}), 5 * math.pi / 4)


# --- parameters read above the first application


NORMED = """
model m {
    input x: float[batch, 4]
    target y: float[batch, 3]
    h = x |> dense(6) |> tanh
    s = %s
    y ~ normal(s(h), 1.0)
    output z = s(h)
}
train { minimize loss using sgd(1e-3) }
"""


def test_spectral_norm_has_a_greatest_singular_value_of_one():
    spec = Spec(NORMED % "spectral_norm(dense(3, bias = false))")
    assert spec.paths == ["dense.W", "dense.b", "dense[1].W", "s.u"]
    rng, state = np.random.default_rng(0), spec.start()
    for number in range(40):
        state["step"] = number
        _, state = spec.step(state, x=rng.normal(size=(5, 4)), y=rng.normal(size=(5, 3)))
    x = rng.normal(size=(5, 4))
    h = np.tanh(x @ state["dense.W"] + state["dense.b"])
    expected = h @ (state["dense[1].W"] / np.linalg.svd(state["dense[1].W"])[1][0])
    assert np.allclose(spec.get("z", {"x": x, **state}), expected, rtol=1e-4)


def test_spectral_norm_of_a_convolution():
    """A kernel is a matrix of its first dimension by the others; one of another shape is refused where it is given."""
    spec = Spec("""model m {
        input x: float[batch, 2, 6, 6]
        f = conv(4, kernel = 3, bias = false)
        s = spectral_norm(f)
        output z = s(x)
        output plain = x |> conv(4, kernel = 3, bias = false)
        output divided = s(x) * norm(f.W)
    }""")
    state = spec.start()
    W, u = state["f.W"].reshape(4, -1), state["s.u"]
    v = W @ u / np.linalg.norm(W @ u)
    sigma = v @ W @ (v @ W / np.linalg.norm(v @ W))
    x = RNG.normal(size=(2, 2, 6, 6))
    same = {**state, "conv.W": state["f.W"]}
    assert np.allclose(spec.get("z", {"x": x, **same}) * sigma, spec.get("plain", {"x": x, **same}), rtol=1e-12)
    with pytest.raises(CompileError) as caught:
        Spec(
            "model m {\ninput x: float[batch, 2, 6, 6]\nf = conv(4, kernel = 3)\nw = f(x)\n"
            "output z = f(x, W = f.W[:, :, :2])\n}"
        )
    assert [diagnostic.code for diagnostic in caught.value.diagnostics] == ["E0311"]


def test_what_is_tried_ahead_leaves_nothing_behind():
    """Draws, states and paths are those of the same spec with the line in its place."""
    lines = ["f = batch_norm()", "h = x |> dropout(0.3)", "w = sum(f.scale^2)", "z = f(h) |> dropout(0.4)"]
    specs = [
        Spec(
            "model m {\ninput x: float[batch, 4]\ntarget y: float[batch, 4]\n"
            + "\n".join(order)
            + "\nloss = mean((z - y)^2) + w\noutput z = z\n}\n"
            + "train { minimize loss using sgd(0.1) }"
        )
        for order in (lines, [lines[0], lines[1], lines[3], lines[2]])
    ]
    assert specs[0].paths == specs[1].paths
    data = {"x": RNG.normal(size=(6, 4)), "y": RNG.normal(size=(6, 4))}
    results = []
    for spec in specs:
        state = {**spec.start(), "key": np.uint64(9)}
        results.append(spec.step(state, **data))
    assert results[0][0] == results[1][0]
    for path in specs[0].paths:
        assert np.array_equal(results[0][1][path], results[1][1][path])
