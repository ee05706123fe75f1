"""The standard library against SciPy and NumPy: values, Jacobians by central differences, second derivatives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dlc
import mpmath
import numpy as np
import pytest
from dlc.diagnostics import CompileError
from dlc.elaborate.library import standard_index
from dlc.lower.model import start_values
from library_cases import CASES
from library_sweep import SAMPLES, Case, Compiled, along, central, close, sampled
from scipy import special, stats

# Names of the library that the sweep has not, and where they are held.
ELSEWHERE = {
    **dict.fromkeys(
        ("sgd", "momentum", "adam", "adamw", "rmsprop", "adagrad"),
        "an update rule, not a function: against its loop in test_training.py",
    ),
    **dict.fromkeys(
        ("gauss_jordan", "eliminate", "pivots", "transposition"), "what linear_solve and determinant are made of"
    ),
    **dict.fromkeys(
        (
            *(
                "heavy_ball",
                "rprop",
                "adadelta",
                "adamax",
                "nadam",
                "amsgrad",
                "radam",
                "adabelief",
                "yogi",
                "adafactor",
            ),
            *("lars", "lamb", "lion", "sign_sgd", "muon", "shampoo", "inverse_root", "matrices", "clip_each", "noise"),
        ),
        "an update rule, not a function: against PyTorch, optax or its loop in test_optimizers.py",
    ),
    **dict.fromkeys(
        (
            *("newton_cg", "gauss_newton", "levenberg_marquardt", "lbfgs", "conjugate_gradient", "armijo"),
            *("newton", "wolfe", "strong_wolfe", "sam", "backtracking", "ema"),
            "moving_mean",
        ),
        "a rule of all parameters, or what it is made of: against closed forms and its loop in test_whole_rules.py",
    ),
    **dict.fromkeys(
        (
            "top_k",
            "precision",
            "recall",
            "f1",
            "macro_precision",
            "macro_recall",
            "macro_f1",
            "matthews",
            "auc",
            "average_precision",
            "exact_auc",
            "exact_average_precision",
            "by_score",
            "confusion",
            "calibration_error",
            "r2",
            "rmse",
            "mape",
            "weighted_mean",
            "perplexity",
            "class_counts",
            "in_bins",
        ),
        "a score over a data set, or a part of one: against scikit-learn in test_metrics.py",
    ),
    **dict.fromkeys(
        ("gamma_like", "von_mises_like", "poisson_like"),
        "a draw: its distribution, below and by those of test_distributions.py",
    ),
    **dict.fromkeys(("fgsm", "pgd", "gradient_match"), "no derivative by its values: against a loop in test_robust.py"),
    **dict.fromkeys(
        ("whole_like", "factor_like", "in_box"), "a draw, or a part of what draws: by the layers in test_augment.py"
    ),
    "beam_search": "a search: against all texts and one on lists in test_translate.py",
    **dict.fromkeys(("kfac", "diagonal_fisher", "plateau"), "an update rule: against its loop in test_natural.py"),
    **dict.fromkeys(("accumulate", "lookahead"), "a rule around an update rule: against its loop in test_updates.py"),
    **dict.fromkeys(
        (
            "glorot_uniform",
            "glorot_normal",
            "he_uniform",
            "he_normal",
            "lecun_normal",
            "lecun_uniform",
            "orthogonal",
            "sparse",
            "spectral_radius",
        ),
        "a draw, without a value to hold it against: its distribution over 25 shapes, below",
    ),
}


def function_of(name: str) -> str:
    return name.split()[0]


def test_the_sweep_has_the_whole_library():
    swept = {function_of(name) for name in CASES}
    assert sorted([*swept, *ELSEWHERE]) == sorted(standard_index())
    assert len(CASES) * SAMPLES >= 2500


@pytest.mark.parametrize("name", CASES)
def test_value_jacobian_and_second_derivative(name, swept):
    """Of 25 samples: the value, the derivative of every element by every entry, the second derivative along a
    direction by every entry, and all of them by ONNX Runtime in float32, without its optimizations and with them."""
    case = CASES[name]
    for spec, values in sampled(name, case, "float32"):
        check(case, spec, values)
        swept(function_of(name))


def check(case: Case, spec: Compiled, values: dict[str, Any]) -> None:
    found, reference = spec(values), case.at(values)
    expected = reference(values)
    assert close(found["value"], expected, 1e-12)
    if not case.flat and np.isfinite(expected).all():  # the mean of nothing is NaN, and has no derivative
        check_derivatives(case, spec, values, found, reference)
    for optimized in (False, True):
        stock = spec.stock(values, optimized)
        assert stock.keys() == found.keys()
        for output in found:
            assert close(stock[output], found[output], 1e-5), output


def check_derivatives(
    case: Case, spec: Compiled, values: dict[str, Any], found: dict[str, Any], reference: Callable[..., Any]
) -> None:
    shape = found["value"].shape
    if case.rule is None:
        size = found["value"].size
        units = np.eye(size).reshape((size, *shape))
        rows = [spec(values | {"weight": unit}, "first_") for unit in units]
        for name, at in case.by.items():
            slopes = central(reference, values, at)
            exact = np.array([row[f"first_{name}"] for row in rows]).reshape(slopes.shape)
            assert close(exact, slopes, 1e-6), at
            assert close(found[f"first_{name}"], np.tensordot(values["weight"], exact, len(shape)), 1e-12), at
    else:
        chosen = case.rule(values["weight"], **case.arguments(values))
        assert close(found["first_raw_x"], chosen * (1 + 0.3 * values["raw_x"] ** 2), 1e-12)
    moved_by = [at for name, at in case.by.items() if not case.held or name.startswith("raw_")]
    direction = {at: np.cos(2 * values[at] + 1) for at in moved_by}
    for name in [name for name in case.by if f"second_{name}" in found]:
        bend = along(lambda moved, name=name: spec(moved, f"first_{name}")[f"first_{name}"], values, direction)
        assert close(found[f"second_{name}"], bend, 1e-6), name


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.flat])
def test_what_has_no_derivative_says_so(name):
    case = CASES[name]
    for number in range(6):
        with pytest.raises(CompileError) as caught:
            dlc.compile(case.text(case.shapes(number, len(case.names)), orders=1))
        assert {problem.code for problem in caught.value.diagnostics} == {case.flat}


# --- at the edges


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


COUNTS = [
    (0, 0),
    (0, 1e-30),
    (0, 3),
    (1, 0),
    (8, 8),
    (9, 5),
    (20, 24.9),
    (20, 25.1),
    (100, 120),
    (10**6, 1e6),
    (10**6, 1.001e6),
    (10**6, 2e6),
    (10**8, 1e8),
    (10**8, 1.0008e8),
    (10**8, 3.0),
    (5, 1e30),
]


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 2e-6), ("float64", 4e-15)])
def test_poisson_at_its_edges_and_at_large_counts(precision, tolerance):
    """The logarithm to a few last digits of itself or of a log(y!) of small counts; the slope is y / rate - 1."""
    spec = Compiled(
        """model m {
        input rate: float[n]
        input y: int[n]
        output value = log_density(poisson(rate), y)
        output slope = grad(sum(log_density(poisson(rate), y)), rate)
        output bend = hvp(sum(log_density(poisson(rate), y)), rate, 1)
    }""",
        precision,
    )
    y = np.array([count for count, _ in COUNTS])
    rate = np.array([float(rate) for _, rate in COUNTS], np.float32 if precision == "float32" else float)

    def exactly(count, rate):
        if rate == 0:
            return -np.inf if count else 0.0
        with mpmath.workdps(40):
            return float(count * mpmath.log(rate) - rate - mpmath.loggamma(count + 1))

    expected = np.array([exactly(int(count), mpmath.mpf(float(r))) for count, r in zip(y, rate, strict=True)])
    found = spec.stock({"rate": rate, "y": y})
    np.testing.assert_allclose(found["value"], expected, rtol=tolerance, atol=tolerance)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        wide = rate.astype(float)
        for name, exact in (("slope", y / wide - 1), ("bend", -y / wide**2)):
            exact = np.where((y == 0) & (wide == 0), {"slope": -1, "bend": 0}[name], exact)
            np.testing.assert_allclose(found[name], exact, rtol=tolerance, atol=tolerance)


def test_a_count_of_none_at_rate_none_trains():
    """x = -1 has rate 0 by its relu, and count 0: the probability of that is 1."""
    program = dlc.compile(
        """model m {
        input x: float[batch]
        target y: int[batch]
        param w: float init ones
        y ~ poisson(relu(x * w))
    }
    train { minimize loss using sgd(0.1); batch: all; epochs: 1 }""",
        precision="float64",
    )
    trainer, data = dlc.Trainer(program), {"x": np.array([-1.0, 2.0]), "y": np.array([0, 1])}
    assert trainer.evaluate(data)["loss"] == pytest.approx((2 - np.log(2)) / 2, rel=1e-12)
    trainer.fit(data)
    assert trainer.parameters["w"] == pytest.approx(1 - 0.1 * (2 - 1) / 2, rel=1e-12)


EXTREMES = np.array([-1e4, -800, -90, -1e-30, 0, 1e-30, 90, 800, 1e4])


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(
    ("body", "reference"),
    [
        ("softplus(x)", lambda x: np.logaddexp(0, x)),
        ("log_sigmoid(x)", special.log_expit),
        ("sigmoid(x)", special.expit),
        ("elu(x)", lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
        ("softmax(x)", special.softmax),
        ("log_softmax(x)", special.log_softmax),
        ("log_density(bernoulli(x), ones_like(x))", special.log_expit),
        ("-binary_cross_entropy(x, zeros_like(x))", lambda x: special.log_expit(-x).mean()),
    ],
)
def test_large_arguments_give_no_infinity(body, reference, precision):
    spec = Compiled(
        f"""model m {{
        input x: float[9]
        input weight: float[9]
        out = {body}
        output value = out
        output slope = grad(sum(weight * out), x)
    }}""",
        precision,
    )
    weight = np.random.default_rng(0).normal(size=9)
    found = spec.stock({"x": EXTREMES, "weight": weight})
    assert np.all(np.isfinite(found["slope"])), found["slope"]
    assert close(found["value"], reference(EXTREMES), 1e-6 if precision == "float32" else 1e-14)


# --- draws and start values


def started(rule: str, shape: str, seed: int = 0, dtype: str = "float") -> Any:
    word = "param" if dtype == "float" else "state"
    text = f"model m {{\n input x: float[b]\n {word} w: {dtype}[{shape}] init {rule}\n output y = sum(w) * x\n}}"
    return start_values(dlc.compile(text, precision="float64").module, seed)["w"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("normal(1, 2)", stats.norm(1, 2)),
        ("laplace(1, 2)", stats.laplace(1, 2)),
        ("uniform(-1, 3)", stats.uniform(-1, 4)),
        ("half_normal(2)", stats.halfnorm(0, 2)),
        ("half_cauchy(2)", stats.halfcauchy(0, 2)),
        ("glorot_uniform", stats.uniform(-np.sqrt(6 / 160), 2 * np.sqrt(6 / 160))),
        ("glorot_normal", stats.norm(0, np.sqrt(2 / 160))),
        ("he_uniform", stats.uniform(-np.sqrt(6 / 100), 2 * np.sqrt(6 / 100))),
        ("he_normal", stats.norm(0, np.sqrt(2 / 100))),
        ("lecun_normal", stats.norm(0, 0.1)),
        ("lecun_uniform", stats.uniform(-np.sqrt(3 / 100), 2 * np.sqrt(3 / 100))),
    ],
)
def test_draws_follow_their_distribution(rule, expected):
    drawn = started(rule, "100, 60")
    assert stats.kstest(drawn.ravel(), expected.cdf).pvalue > 0.01
    assert not np.array_equal(drawn, started(rule, "100, 60", seed=1))
    assert np.array_equal(drawn, started(rule, "100, 60"))


@pytest.mark.parametrize(
    ("rule", "share"),
    [
        ("bernoulli(logits = 0.7)", [1 - special.expit(0.7), special.expit(0.7)]),
        ("categorical(logits = stack([0.0, 1.0, -1.0, 0.5]))", special.softmax([0.0, 1.0, -1.0, 0.5])),
    ],
)
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


def shapes_to_start(rank: int | None = None) -> list[tuple[int, ...]]:
    """25 shapes of rank 1 to 5, or of one rank: every fifth has a dimension of 0, another fifth one of 1."""
    rng, found = np.random.default_rng(0), []
    for number in range(SAMPLES):
        sizes = rng.integers(2, 6, rank or 1 + number % 5)
        if number % 5 in (1, 3):
            sizes[rng.integers(len(sizes))] = {1: 1, 3: 0}[number % 5]
        found.append(tuple(int(size) for size in sizes))
    return found


def started_together(rule: str, shapes: list[tuple[int, ...]]) -> list[Any]:
    lines = [f"param w{i}: float[{', '.join(map(str, shape))}] init {rule}" for i, shape in enumerate(shapes)]
    total = " + ".join(f"sum(w{i})" for i in range(len(shapes)))
    text = "model m {\n input x: float[b]\n " + "\n ".join(lines) + f"\n output y = x * ({total})\n}}"
    values = start_values(dlc.compile(text, precision="float64").module, 0)
    return [values[f"w{i}"] for i in range(len(shapes))]


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) <= 2:
        return max(shape[0], 1), max(shape[-1], 1)
    size = int(np.prod(shape))
    return max(size // max(shape[0], 1), 1), max(size // max(shape[1], 1), 1)


@pytest.mark.parametrize(
    ("rule", "scale", "expected"),
    [
        ("glorot_uniform", lambda inside, outside: np.sqrt(6 / (inside + outside)), stats.uniform(-1, 2)),
        ("glorot_normal", lambda inside, outside: np.sqrt(2 / (inside + outside)), stats.norm),
        ("he_uniform", lambda inside, outside: np.sqrt(6 / inside), stats.uniform(-1, 2)),
        ("he_normal", lambda inside, outside: np.sqrt(2 / inside), stats.norm),
        ("lecun_normal", lambda inside, outside: np.sqrt(1 / inside), stats.norm),
        ("lecun_uniform", lambda inside, outside: np.sqrt(3 / inside), stats.uniform(-1, 2)),
    ],
)
def test_draws_are_scaled_by_what_meets(rule, scale, expected, swept):
    shapes = shapes_to_start()
    found = started_together(rule, shapes)
    assert [value.shape for value in found] == shapes
    parts = [value.ravel() / scale(*fans(shape)) for value, shape in zip(found, shapes, strict=True)]
    assert stats.kstest(np.concatenate(parts), expected.cdf).pvalue > 0.01
    for _ in shapes:
        swept(rule)


def test_orthogonal(swept):
    shapes = [*shapes_to_start(2), (1, 1), (1, 4), (16, 48), (64, 64), (96, 32)]
    for q, (rows, columns) in zip(started_together("orthogonal(gain = 2)", shapes), shapes, strict=True):
        assert q.shape == (rows, columns)
        small = (q @ q.T if rows <= columns else q.T @ q) / 4
        np.testing.assert_allclose(small, np.eye(min(rows, columns)), atol=1e-12)
        swept("orthogonal")


@pytest.mark.parametrize(
    ("rule", "theirs"), [("gamma_like", stats.gamma), ("von_mises_like", lambda k: stats.vonmises(max(k, 1e-4)))]
)
def test_draws_by_rejection(rule, theirs, swept):
    """One for each of the parameters, over 25 shapes; the derivative by them is 0."""
    spec = Compiled(
        f"model m {{\n input a: float[n]\n y = {rule}(a)\n output y = y\n output d = grad(sum(y + a), a)\n}}"
    )
    for a in np.concatenate([[0.01, 0.5, 1, 1.5], np.linspace(2, 60, SAMPLES - 4)]):
        found = spec({**spec.variables, "a": np.full(500, a)})
        assert stats.kstest(found["y"], theirs(a).cdf).pvalue > 1e-4 and (found["d"] == 1).all()
        swept(rule)


def test_sparse(swept):
    """So many of what feeds each unit, elsewhere zeros; which ones is random, and the others are normal."""
    shapes = [*shapes_to_start(2), (200, 30)]
    for w, (n, units) in zip(started_together("sparse(count = 3, std = 2)", shapes), shapes, strict=True):
        assert np.array_equal((w != 0).sum(0), np.full(units, min(n, 3)))
        swept("sparse")
    assert stats.kstest(w[w != 0], stats.norm(0, 2).cdf).pvalue > 0.01
    assert stats.kstest(np.nonzero(w)[0] / 200, "uniform").pvalue > 0.01


def test_spectral_radius(swept):
    sizes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 25, 30, 40, 60, 100]
    for w in started_together("spectral_radius(radius = 0.7)", [(n, n) for n in sizes]):
        assert np.abs(np.linalg.eigvals(w)).max() == pytest.approx(0.7, rel=1e-9)
        swept("spectral_radius")
    assert stats.kstest((w / w.std()).ravel(), "norm").pvalue > 0.01


def test_spectral_radius_by_stock_initialization_in_float32():
    text = "model m {\n input x: float[b]\n param w: float[50, 50] init spectral_radius\n loss = sum(w) * mean(x)\n}"
    program = dlc.compile(text + "\ntrain { minimize loss using sgd(0.1) }")
    for seed in range(3):
        w = np.asarray(dlc.Trainer(program, device="cpu", seed=seed).parameters["w"], np.float64)
        assert np.abs(np.linalg.eigvals(w)).max() == pytest.approx(0.9, rel=1e-5)


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
