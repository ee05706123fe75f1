"""The standard library against SciPy and NumPy: values, gradients by central differences, second derivatives."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import onnxruntime
import pytest
from dlc import interpret
from dlc.elaborate.library import standard_index
from dlc.lower.model import start_values
from scipy import special, stats

SAMPLES = 25
STEP = 3e-4  # of central differences on five points, whose error is of order STEP^4
TYPES = dict.fromkeys("xyps", "float[a, b]") | {"k": "int[a]", "t": "int[a, b]"}


class Compiled:
    """The outputs of a spec: by the interpreter in float64, or by ONNX Runtime alone."""

    def __init__(self, text: str, precision: str = "float64") -> None:
        self.program = dlc.compile(text, precision=precision)
        self.model = self.program.model_proto()
        module = self.program.module
        self.graph = module.graph
        self.roots = {name.removeprefix("output/"): node for name, node in module.roots("output/").items()}
        self.variables = start_values(module, 0)

    def __call__(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """`values` are inputs by name; one with a parameter's path stands for that parameter."""
        found = interpret.evaluate(list(self.roots.values()), self.variables | dict(values))
        return dict(zip(self.roots, found, strict=True))

    def stock(self, values: Mapping[str, Any]) -> dict[str, Any]:
        session = onnxruntime.InferenceSession(self.model.SerializeToString(), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        kinds = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}
        feeds = {v.name: np.asarray(values[v.name], kinds[v.type]) for v in session.get_inputs()}
        return dict(zip(names, session.run(names, feeds), strict=True))


@dataclass(frozen=True)
class Case:
    """`body` makes `out` of the inputs and of the parameters of `layer`, which is called f."""

    body: str
    reference: Callable[..., Any]
    inputs: str = "x"
    result: str = "[a, b]"  # the shape of `out`
    edge: Callable[..., Any] | None = None  # distances to the kinks
    layer: str = ""
    parameters: tuple[str, ...] = ()

    @property
    def floats(self) -> list[str]:
        return [name for name in self.inputs.split() if TYPES[name].startswith("float")]

    @property
    def text(self) -> str:
        """The inputs are bent (v + v^3 / 10), so that straight pieces have second derivatives too."""
        lines = [f"input raw_{name}: {TYPES[name]}" for name in self.floats]
        lines += [f"input {name}: {TYPES[name]}" for name in self.inputs.split() if name not in self.floats]
        lines += [f"input weight: float{self.result}"]
        lines += [f"{name} = raw_{name} + raw_{name}^3 / 10" for name in self.floats]
        lines += [f"f = {self.layer}"] if self.layer else []
        lines += [self.body, "total = sum(weight * out)"]
        by = {f"raw_{name}": f"raw_{name}" for name in self.floats}
        by |= {f"f.{name}": f"f_{name}" for name in self.parameters}
        lines += [f"d_{name} = grad(total, {at})" for at, name in by.items()]
        lines += ["turned = " + " + ".join(f"sum(d_{name}^2)" for name in by.values())]
        lines += ["output value = out", "output total = total", "output turned = turned"]
        lines += [f"output first_{name} = d_{name}" for name in by.values()]
        lines += [f"output second_raw_{name} = grad(turned, raw_{name})" for name in self.floats]
        return "model test {\n    " + "\n    ".join(lines) + "\n}\n"

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        a, b = rng.integers(2, 4), rng.integers(2, 5)
        while True:
            values: dict[str, Any] = {f"raw_{name}": rng.normal(0, 1, (a, b)) for name in self.floats}
            values |= {"k": rng.integers(0, b, a)} if "k" in self.inputs.split() else {}
            values |= {"t": rng.integers(0, 2, (a, b))} if "t" in self.inputs.split() else {}
            shape = {"[a, b]": (a, b), "[a]": (a,), "[b]": (b,), "[a, 3]": (a, 3), "": ()}[self.result]
            values["weight"] = rng.normal(0, 1, shape)
            if self.edge is None or np.min(self.edge(**self.bent(values))) > 5e-3:
                return values

    def bent(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of `reference` and `edge`."""
        bend = {name: values[f"raw_{name}"] + values[f"raw_{name}"] ** 3 / 10 for name in self.floats}
        return bend | {name: values[name] for name in self.inputs.split() if name not in bend}


def log_softmax(x: Any) -> Any:
    return special.log_softmax(x, axis=-1)


def row(x: Any, k: Any) -> Any:
    return np.take_along_axis(x, k[:, None], axis=-1)[:, 0]


def normed(x: Any, axis: int, eps: float) -> Any:
    return (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + eps)


def gram(x: Any) -> Any:
    return x.T @ x + 3 * np.eye(x.shape[1])


def away(*kinks: float) -> Callable[..., Any]:
    return lambda x: np.abs(x[..., None] - np.array(kinks))


def length(x: Any) -> Any:
    return np.sqrt((x**2).sum())


CASES = {
    # activations
    "relu": Case("out = relu(x)", lambda x: np.maximum(x, 0), edge=away(0)),
    "leaky_relu": Case("out = leaky_relu(x, slope = 0.2)", lambda x: np.where(x > 0, x, 0.2 * x), edge=away(0)),
    "elu": Case("out = elu(x, alpha = 1.5)", lambda x: np.where(x > 0, x, 1.5 * np.expm1(x)), edge=away(0)),
    "gelu": Case("out = gelu(x)", lambda x: x * special.ndtr(x)),
    "softplus": Case("out = softplus(x)", lambda x: np.logaddexp(0, x)),
    "log_sigmoid": Case("out = log_sigmoid(x)", lambda x: special.log_expit(x)),
    "softmax": Case("out = softmax(x)", lambda x: special.softmax(x, axis=-1)),
    "softmax along 0": Case("out = softmax(x, axis = 0)", lambda x: special.softmax(x, axis=0)),
    "log_softmax": Case("out = log_softmax(x)", log_softmax),
    "sigmoid": Case("out = sigmoid(x)", lambda x: special.expit(x)),
    "tanh": Case("out = tanh(x)", lambda x: np.tanh(x)),
    # helpers
    "clamp": Case("out = x |> clamp(-0.5, 0.8)", lambda x: np.clip(x, -0.5, 0.8), edge=away(-0.5, 0.8)),
    "dot": Case("out = dot(x, y)", lambda x, y: (x * y).sum(), "x y", ""),
    "norm": Case("out = norm(x)", length, result=""),
    "normalize": Case("out = normalize(x)", lambda x: x / np.sqrt((x**2).sum(-1, keepdims=True))),
    "moments": Case("m, v = moments(x, axis = 0)\n    out = m + 2 * v", lambda x: x.mean(0) + 2 * x.var(0),
                    result="[b]"),
    "log_gamma": Case("out = log_gamma(exp(x))", lambda x: special.gammaln(np.exp(x)),
                      edge=lambda x: np.abs(np.exp(x) - 8)),
    "norm of order 3": Case("out = norm(x, 3, axis = 0)", lambda x: (np.abs(x) ** 3).sum(0) ** (1 / 3), result="[b]",
                            edge=away(0)),
    "var": Case("out = var(x, axis = 0, ddof = 1)", lambda x: x.var(0, ddof=1), result="[b]"),
    "std": Case("out = std(x)", lambda x: x.std(), result=""),
    # elementary functions
    "square": Case("out = square(x)", lambda x: x**2),
    "reciprocal": Case("out = reciprocal(3 + x^2)", lambda x: 1 / (3 + x**2)),
    "rsqrt": Case("out = rsqrt(3 + x^2)", lambda x: (3 + x**2) ** -0.5),
    "power": Case("out = power(3 + x^2, y)", lambda x, y: (3 + x**2) ** y, "x y"),
    "exp2": Case("out = exp2(x)", lambda x: np.exp2(x)),
    "log2": Case("out = log2(3 + x^2)", lambda x: np.log2(3 + x**2)),
    "log10": Case("out = log10(3 + x^2)", lambda x: np.log10(3 + x**2)),
    "remainder": Case("out = x * remainder(x, 2)", lambda x: x * np.mod(x, 2), edge=away(-4, -2, 0, 2, 4)),
    "trunc": Case("out = x * trunc(x)", lambda x: x * np.trunc(x), edge=away(*range(-9, 10))),
    "logaddexp": Case("out = logaddexp(x, y)", lambda x, y: np.logaddexp(x, y), "x y", edge=lambda x, y: np.abs(x - y)),
    "sinc": Case("out = sinc(x)", lambda x: np.sinc(x)),
    "sinc near 0": Case("out = sinc(x / 100)", lambda x: np.sinc(x / 100), edge=lambda x: np.abs(np.abs(x) - 3.183)),
    # linear algebra
    "outer": Case("out = sum(outer(x[0], y[1])^3, axis = 1)", lambda x, y: (np.outer(x[0], y[1]) ** 3).sum(1), "x y",
                  "[b]"),
    "trace": Case("out = trace(transpose(x) @ y)", lambda x, y: np.trace(x.T @ y), "x y", ""),
    "diagonal": Case("out = diagonal(transpose(x) @ y)", lambda x, y: np.diagonal(x.T @ y), "x y", "[b]"),
    "diag": Case("out = x @ diag(y[0])", lambda x, y: x * y[0], "x y"),
    "swap": Case("out = swap(swap(x) + 1)", lambda x: x + 1),
    "cholesky": Case("out = x @ cholesky(transpose(x) @ x + 3 * eye(size(x, 1)))",
                     lambda x: x @ np.linalg.cholesky(gram(x))),
    "triangular_solve": Case(
        "out = swap(triangular_solve(swap(transpose(x) @ x) + 3 * eye(size(x, 1)), swap(y), lower = false))",
        lambda x, y: np.linalg.solve(np.triu(gram(x)), y.T).T, "x y"),
    "cholesky_solve": Case("out = swap(cholesky_solve(transpose(x) @ x + 3 * eye(size(x, 1)), swap(y)))",
                           lambda x, y: np.linalg.solve(gram(x), y.T).T, "x y"),
    "log_determinant": Case("out = log_determinant(transpose(x) @ x + 3 * eye(size(x, 1)))",
                            lambda x: np.linalg.slogdet(gram(x))[1], result=""),
    # losses
    "squared": Case("out = squared(p, y)", lambda p, y: ((p - y) ** 2).mean(), "p y", ""),
    "absolute": Case("out = absolute(p, y)", lambda p, y: np.abs(p - y).mean(), "p y", "", lambda p, y: np.abs(p - y)),
    "huber": Case("out = huber(p, y, delta = 0.7)", lambda p, y: special.huber(0.7, p - y).mean(), "p y", "",
                  lambda p, y: np.abs(np.abs(p - y) - 0.7)),
    "cross_entropy": Case("out = cross_entropy(x, k)", lambda x, k: -row(log_softmax(x), k).mean(), "x k", ""),
    "binary_cross_entropy": Case("out = binary_cross_entropy(x, t)", lambda x, t: -np.where(
        t == 1, special.log_expit(x), special.log_expit(-x)).mean(), "x t", ""),
    "hinge": Case("out = hinge(x, 2 * t - 1)", lambda x, t: np.maximum(1 - (2 * t - 1) * x, 0).mean(), "x t", "",
                  lambda x, t: np.abs(1 - (2 * t - 1) * x)),
    # distributions
    "normal": Case("out = log_density(normal(p, 0.5 + s^2), y)", lambda p, s, y: stats.norm.logpdf(y, p, 0.5 + s**2),
                   "p s y"),
    "laplace": Case("out = log_density(laplace(p, 0.5 + s^2), y)",
                    lambda p, s, y: stats.laplace.logpdf(y, p, 0.5 + s**2), "p s y",
                    edge=lambda p, s, y: np.abs(p - y)),
    "bernoulli": Case("out = log_density(bernoulli(x), t)",
                      lambda x, t: stats.bernoulli.logpmf(t, special.expit(x)), "x t"),
    "categorical": Case("out = log_density(categorical(logits = x), k)", lambda x, k: row(log_softmax(x), k),
                        "x k", "[a]"),
    "poisson": Case("out = log_density(poisson(exp(x)), t)", lambda x, t: stats.poisson.logpmf(t, np.exp(x)), "x t"),
    "kl_normal": Case("out = kl_normal(normal(p, 0.5 + s^2), normal(y, 0.7))", lambda p, s, y: (
        np.log(0.7 / (0.5 + s**2)) + ((0.5 + s**2) ** 2 + (p - y) ** 2) / (2 * 0.49) - 0.5), "p s y"),
    # penalties and clips
    "l1": Case("out = l1(x, 0.3)", lambda x: 0.3 * np.abs(x).sum(), result="", edge=away(0)),
    "l2": Case("out = x |> l2(0.3)", lambda x: 0.3 * (x**2).sum(), result=""),
    "each_norm": Case("out = each_norm(x, 2.0)", lambda x: x * min(1, 2 / length(x)),
                      edge=lambda x: np.abs(length(x) - 2)),
    "each_value": Case("out = each_value(x, 0.7)", lambda x: np.clip(x, -0.7, 0.7), edge=away(-0.7, 0.7)),
    # layers
    "dense": Case("out = f(x)", lambda x, W, b: x @ W + b, result="[a, 3]", layer="dense(3)", parameters=("W", "b")),
    "embedding": Case("out = f(k) * x", lambda x, k, table: table[k] * x, "x k", layer="embedding(4, size(x, 1))",
                      parameters=("table",)),
    "mlp": Case("out = f(x)", lambda x, **f: np.tanh(x @ f["inner[0].W"] + f["inner[0].b"]) @ f["last.W"] + f["last.b"],
                result="[a, 3]", layer="mlp(4, 1, 3, activation = tanh)"),
    "layer_norm": Case("out = f(x)", lambda x, scale, shift: scale * normed(x, -1, 1e-5) + shift,
                       layer="layer_norm()", parameters=("scale", "shift")),
    "batch_norm in training": Case(
        "out = f(x, training = true)", lambda x, scale, shift: scale * normed(x, 0, 0.1) + shift,
        layer="batch_norm(eps = 0.1)", parameters=("scale", "shift")),
    "batch_norm": Case("out = f(x)", lambda x, scale, shift, seen_mean, seen_var: scale * (x - seen_mean) / np.sqrt(
        seen_var + 1e-5) + shift, layer="batch_norm()", parameters=("scale", "shift")),
    "dropout": Case("out = x |> dropout(0.4)", lambda x: x),
}
# These have parameters of the width of x, which must be a number.
FIXED_WIDTH = ("cholesky", "triangular_solve", "cholesky_solve", "log_determinant",
               "dense", "mlp", "embedding", "layer_norm", "batch_norm in training", "batch_norm")


def close(found: Any, expected: Any, tolerance: float) -> bool:
    found, expected = np.asarray(found), np.asarray(expected)
    error = np.abs(found - expected) / np.maximum(1, np.maximum(np.abs(found), np.abs(expected)))
    return found.shape == expected.shape and bool(np.all(error <= tolerance))


def central(function: Callable[[dict[str, Any]], Any], values: dict[str, Any], name: str) -> Any:
    """The derivative of a scalar by every entry of values[name]."""
    result = np.zeros(np.shape(values[name]))
    for place in np.ndindex(result.shape):
        step = np.zeros(result.shape)
        step[place] = STEP
        near, far = (
            function(values | {name: values[name] + by * step}) - function(values | {name: values[name] - by * step})
            for by in (1, 2)
        )
        result[place] = (8 * near - far) / (12 * STEP)
    return result


@pytest.mark.parametrize("name", CASES)
def test_value_gradient_and_second_derivative(name):
    case, rng = CASES[name], np.random.default_rng(len(name))
    specs: dict[int, Compiled] = {}
    for number in range(SAMPLES):
        values = case.sample(rng)
        width = values[f"raw_{case.floats[0]}"].shape[1] if name in FIXED_WIDTH else 0
        if width not in specs:
            specs[width] = Compiled(case.text.replace("a, b]", f"a, {width}]") if width else case.text)
        spec = specs[width]
        if "k" in values and "embedding" in name:
            values["k"] = rng.integers(0, 4, len(values["k"]))
        own = {path: rng.normal(1, 0.3, value.shape) for path, value in spec.variables.items() if path.startswith("f.")}
        found = spec(values | own)
        arguments = case.bent(values) | {path[2:]: value for path, value in own.items()}
        if "training" in name:
            arguments = {key: value for key, value in arguments.items() if not key.startswith("seen_")}
        assert close(found["value"], case.reference(**arguments), 1e-12)
        by = [f"raw_{float_}" for float_ in case.floats] + [f"f.{parameter}" for parameter in case.parameters]
        for at in by:
            slope = central(lambda v, spec=spec: spec(v)["total"], values | own, at)
            assert close(found[f"first_{at.replace('.', '_')}"], slope, 1e-6), at
            if at.startswith("raw_"):
                bend = central(lambda v, spec=spec: spec(v)["turned"], values | own, at)
                assert close(found[f"second_{at}"], bend, 1e-6), at
        if number == 0:
            stock, mine = spec.stock(values), spec(values)
            for output in stock:
                assert close(stock[output], mine[output], 1e-9), output


# --- what has no derivative, or none everywhere


def test_accuracy():
    spec = Compiled("model m {\n input x: float[a, b]\n input k: int[a]\n output value = accuracy(x, k)\n}")
    x, k = np.random.default_rng(0).normal(size=(50, 3)), np.arange(50) % 3
    assert spec({"x": x, "k": k})["value"] == np.mean(x.argmax(1) == k)


def test_uniform_density():
    spec = Compiled("""model m {
        input y: float[a]
        input h: float
        out = log_density(uniform(-1, h), y)
        output value = out
        output slope = grad(sum(where(y < h and y >= -1, out, 0)), h)
    }""")
    y, h = np.array([-1.5, -1, 0, 2.4, 2.5, 3]), np.array(2.5)
    found = spec({"y": y, "h": h})
    expected = np.where((y >= -1) & (y < 2.5), -np.log(3.5), -np.inf)
    assert np.array_equal(np.isfinite(found["value"]), np.isfinite(expected))
    assert close(np.exp(found["value"]), np.exp(expected), 1e-14)
    assert close(found["slope"], -3 / 3.5, 1e-14)


EXTREMES = np.array([-1e4, -800, -90, -1e-30, 0, 1e-30, 90, 800, 1e4])


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(("body", "reference"), [
    ("softplus(x)", lambda x: np.logaddexp(0, x)),
    ("log_sigmoid(x)", special.log_expit),
    ("sigmoid(x)", special.expit),
    ("elu(x)", lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
    ("softmax(x)", special.softmax),
    ("log_softmax(x)", special.log_softmax),
    ("log_density(bernoulli(x), ones_like(x))", special.log_expit),
    ("-binary_cross_entropy(x, zeros_like(x))", lambda x: special.log_expit(-x).mean()),
])
def test_large_arguments_give_no_infinity(body, reference, precision):
    spec = Compiled(f"""model m {{
        input x: float[9]
        input weight: float[9]
        out = {body}
        output value = out
        output slope = grad(sum(weight * out), x)
    }}""", precision)
    weight = np.random.default_rng(0).normal(size=9)
    found = spec.stock({"x": EXTREMES, "weight": weight})
    assert np.all(np.isfinite(found["slope"])), found["slope"]
    assert close(found["value"], reference(EXTREMES), 1e-6 if precision == "float32" else 1e-14)


# --- draws and start values


def started(rule: str, shape: str, seed: int = 0, dtype: str = "float") -> Any:
    word = "param" if dtype == "float" else "state"
    text = f"model m {{\n input x: float[b]\n {word} w: {dtype}[{shape}] init {rule}\n output y = sum(w) * x\n}}"
    return start_values(dlc.compile(text, precision="float64").module, seed)["w"]


@pytest.mark.parametrize(("rule", "expected"), [
    ("normal(1, 2)", stats.norm(1, 2)),
    ("laplace(1, 2)", stats.laplace(1, 2)),
    ("uniform(-1, 3)", stats.uniform(-1, 4)),
    ("glorot_uniform", stats.uniform(-np.sqrt(6 / 160), 2 * np.sqrt(6 / 160))),
    ("glorot_normal", stats.norm(0, np.sqrt(2 / 160))),
    ("he_uniform", stats.uniform(-np.sqrt(6 / 100), 2 * np.sqrt(6 / 100))),
    ("he_normal", stats.norm(0, np.sqrt(2 / 100))),
])
def test_draws_follow_their_distribution(rule, expected):
    drawn = started(rule, "100, 60")
    assert stats.kstest(drawn.ravel(), expected.cdf).pvalue > 0.01
    assert not np.array_equal(drawn, started(rule, "100, 60", seed=1))
    assert np.array_equal(drawn, started(rule, "100, 60"))


@pytest.mark.parametrize(("rule", "share"), [
    ("bernoulli(logits = 0.7)", [1 - special.expit(0.7), special.expit(0.7)]),
    ("categorical(logits = stack([0.0, 1.0, -1.0, 0.5]))", special.softmax([0.0, 1.0, -1.0, 0.5])),
])
def test_whole_draws_follow_their_distribution(rule, share):
    counts = np.bincount(started(rule, "6000", dtype="int"), minlength=len(share))
    assert stats.chisquare(counts, 6000 * np.asarray(share)).pvalue > 0.01


def drawn(rule: str, x: Any, seed: int = 0) -> Any:
    """`rule` where the file predicts; the model has no training."""
    program = dlc.compile(f"model m {{\n input x: float[b, 3]\n output y = {rule}\n}}", seed=seed)
    return dlc.Trainer(program).predict({"x": x})["y"]


def test_a_draw_without_a_shape_has_that_of_one_value():
    """Of the parameters together, or of the equation `like`; a label is whole, so that it can be an index."""
    x = np.eye(3)[np.random.default_rng(1).integers(3, size=3000)]
    assert np.array_equal(drawn("draw(categorical(logits = 1000 * x))", x), x.argmax(axis=1))
    assert np.array_equal(drawn("[7, 8, 9][0] + arange(3)[draw(categorical(1000 * x))]", x), 7 + x.argmax(axis=1))
    counts = sum(np.bincount(drawn("draw(categorical(x))", 0 * x[:1000], seed), minlength=3) for seed in range(8))
    assert stats.chisquare(counts).pvalue > 0.01
    assert drawn("draw(normal(x, x[0]^2))", x).shape == drawn("draw(normal(x[:, 0:1], x[0]^2))", x).shape == x.shape
    assert drawn("draw(categorical(x[0]), shape = [size(x, 0), 5])", x).shape == (3000, 5)
    with pytest.raises(dlc.Error) as caught:
        drawn("draw(normal(x, x[0, 0:2]))", x)
    assert [problem.code for problem in caught.value.diagnostics] == ["E0310"]


def test_a_model_without_training_draws_from_a_key_too():
    x = np.zeros((200, 3))
    one, two = (drawn("uniform_like(x)", x, seed) for seed in (0, 1))
    assert stats.kstest(one.ravel(), "uniform").pvalue > 0.01 and not np.array_equal(one, two)


def test_plain_start_values():
    assert np.array_equal(started("zeros", "2, 3"), np.zeros((2, 3)))
    assert np.array_equal(started("ones", "2, 3"), np.ones((2, 3)))
    assert np.array_equal(started("constant(0.5)", "2, 3"), np.full((2, 3), 0.5))
    assert np.array_equal(started("0.25", "2, 3"), np.full((2, 3), 0.25))


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 4), (3, 3), (5, 2), (16, 48), (64, 64), (96, 32)])
def test_orthogonal(rows, columns):
    for seed in range(3):
        q = started("orthogonal(gain = 2)", f"{rows}, {columns}", seed) / 2
        small = q @ q.T if rows <= columns else q.T @ q
        np.testing.assert_allclose(small, np.eye(min(rows, columns)), atol=1e-12)


def test_orthogonal_by_stock_initialization_in_float32():
    text = "model m {\n input x: float[b]\n param w: float[128, 96] init orthogonal\n loss = sum(w) * mean(x)\n}"
    program = dlc.compile(text + "\ntrain { minimize loss using sgd(0.1) }")
    for seed in range(3):
        q = np.asarray(dlc.Trainer(program, device="cpu", seed=seed).parameters["w"], np.float64)
        np.testing.assert_allclose(q.T @ q, np.eye(96), atol=1e-6)


def test_fans_of_a_convolution():
    limit = np.sqrt(6 / (3 * 25))  # 3 channels in, 5 x 5 places
    drawn = started("he_uniform", "8, 3, 5, 5")
    assert 0.95 * limit < np.abs(drawn).max() <= limit
    limit = np.sqrt(6 / (3 * 25 + 8 * 25))
    drawn = started("glorot_uniform", "8, 3, 5, 5")
    assert 0.95 * limit < np.abs(drawn).max() <= limit


def test_everything_is_in_the_reference():
    text = (Path(__file__).parents[1] / "docs" / "library.md").read_text("utf-8")
    missing = [name for name in standard_index() if f"`{name}(" not in text and f"`{name}`" not in text]
    assert not missing
