"""Distributions: means, variances and draws against SciPy, tails, numbers outside, mixtures that are learned."""

from __future__ import annotations

from typing import Any

import dlc
import numpy as np
import pytest
from dlc.elaborate.library import standard_folder
from dlc.syntax import tree as syntax
from dlc.syntax.parser import parse, read_source
from library_sweep import Compiled, close
from scipy import special, stats

# Of each distribution of one number: SciPy's.
LIKE: dict[str, tuple[str, Any]] = {
    "normal": ("normal(1, 2)", stats.norm(1, 2)),
    "laplace": ("laplace(1, 2)", stats.laplace(1, 2)),
    "half_normal": ("half_normal(2)", stats.halfnorm(scale=2)),
    "half_cauchy": ("half_cauchy(2)", stats.halfcauchy(scale=2)),
    "uniform": ("uniform(-1, 3)", stats.uniform(-1, 4)),
    "bernoulli": ("bernoulli(0.7)", stats.bernoulli(special.expit(0.7))),
    "poisson": ("poisson(2.5)", stats.poisson(2.5)),
    "poisson of a few": ("poisson(9.99)", stats.poisson(9.99)),
    "poisson of more": ("poisson(10)", stats.poisson(10)),
    "poisson of many": ("poisson(300)", stats.poisson(300)),
    "poisson of hardly any": ("poisson(0.01)", stats.poisson(0.01)),
    "student_t": ("student_t(5, mean = 1, scale = 2)", stats.t(5, 1, 2)),
    "student_t without a variance": ("student_t(1.5)", stats.t(1.5)),
    "cauchy": ("cauchy(1, 2)", stats.cauchy(1, 2)),
    "exponential": ("exponential(rate = 2)", stats.expon(scale=0.5)),
    "gamma": ("gamma(2.5, rate = 2)", stats.gamma(2.5, scale=0.5)),
    "gamma near 0": ("gamma(0.3)", stats.gamma(0.3)),
    "gamma of 1": ("gamma(1)", stats.gamma(1)),
    "gamma of many": ("gamma(70)", stats.gamma(70)),
    "beta": ("beta(2, 3)", stats.beta(2, 3)),
    "beta at the ends": ("beta(0.4, 0.7)", stats.beta(0.4, 0.7)),
    "log_normal": ("log_normal(0.5, 0.8)", stats.lognorm(0.8, scale=np.exp(0.5))),
    "truncated_normal": ("truncated_normal(1, 2)", stats.truncnorm(-2, 2, 1, 2)),
    "truncated_normal in a tail": ("truncated_normal(1, 2, low = 9, high = 12)", stats.truncnorm(4, 5.5, 1, 2)),
    "truncated_normal on one side": (
        "truncated_normal(1, 2, low = 0, high = inf)",
        stats.truncnorm(-0.5, np.inf, 1, 2),
    ),
    "von_mises": ("von_mises(0.5, 3)", stats.vonmises(3, loc=0.5)),
    "von_mises nearly uniform": ("von_mises(0, 0.05)", stats.vonmises(0.05)),
    "von_mises of a point": ("von_mises(0, 500)", stats.vonmises(500)),
    "binomial": ("binomial(7, 0.4)", stats.binom(7, special.expit(0.4))),
    "negative_binomial": ("negative_binomial(3, 2)", stats.nbinom(2, 0.4)),
    "negative_binomial of many": ("negative_binomial(90, 0.5)", stats.nbinom(0.5, 1 / 181)),
    "mixture": ("mixture(stack([0.0, 0.5]), normal(stack([-1.0, 2.0]), stack([0.5, 1.0])))", None),
}
# Means and variances that are of rows, below.
ROWS = {"categorical", "multinomial", "multivariate_normal", "dirichlet"}


def test_no_distribution_is_forgotten() -> None:
    declared = {
        d.name
        for path in standard_folder().glob("*.dl")
        for d in parse(read_source(path)).declarations
        if isinstance(d, syntax.Distribution)
    }
    assert {name.split()[0] for name in LIKE} | ROWS == declared


class Mixture:
    """Two normals, of which SciPy has the parts."""

    share = special.softmax([0.0, 0.5])
    parts = (stats.norm(-1, 0.5), stats.norm(2, 1))

    def cdf(self, y: Any) -> Any:
        return sum(share * part.cdf(y) for share, part in zip(self.share, self.parts, strict=True))

    def mean(self) -> float:
        return float(sum(share * part.mean() for share, part in zip(self.share, self.parts, strict=True)))

    def var(self) -> float:
        squares = sum(
            share * (part.var() + part.mean() ** 2) for share, part in zip(self.share, self.parts, strict=True)
        )
        return float(squares - self.mean() ** 2)


def other(name: str) -> Any:
    return LIKE[name][1] or Mixture()


@pytest.mark.parametrize("name", LIKE)
def test_mean_and_variance(name: str) -> None:
    spec = Compiled(
        f"model m {{\n input x: float\n d = {LIKE[name][0]}\n output m = x * d.mean; output v = x * d.variance\n}}"
    )
    found = spec({"x": np.array(1.0)})
    circular = name.startswith("von_mises")
    k = {"von_mises": 3, "von_mises nearly uniform": 0.05}.get(name, 500)
    wanted = (
        (other(name).kwds.get("loc", 0), 1 - special.i1e(k) / special.i0e(k))
        if circular
        else (other(name).mean(), other(name).var())
    )
    assert close(found["m"], wanted[0], 1e-11) and close(found["v"], wanted[1], 1e-10), (found, wanted)


def drawn(rule: str, size: int = 4000, seed: int = 0, precision: str = "float32") -> Any:
    text = f"model m {{\n input x: float[b]\n output y = draw({rule}, like = x)\n}}"
    return dlc.Trainer(dlc.compile(text, seed=seed, precision=precision)).predict({"x": np.zeros(size)})["y"]


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("name", LIKE)
def test_draws_follow_their_distribution(name: str, precision: str) -> None:
    rule, theirs = LIKE[name][0], other(name)
    y = drawn(rule, precision=precision)
    assert np.isfinite(y).all() and not np.array_equal(y, drawn(rule, seed=1, precision=precision))
    if hasattr(theirs, "pmf"):
        counts = np.bincount(y)
        assert stats.chisquare(counts, len(y) * theirs.pmf(np.arange(len(counts))), sum_check=False).pvalue > 0.001
    else:
        assert stats.kstest(y.astype(float), theirs.cdf).pvalue > 0.001


def test_a_million_draws_by_rejection() -> None:
    for rule, theirs in (("gamma(1)", stats.gamma(1)), ("von_mises(0, 2)", stats.vonmises(2))):
        y = drawn(rule, size=10**6).astype(float)
        assert stats.kstest(y, theirs.cdf).pvalue > 0.001


def test_rows() -> None:
    spec = Compiled("""model m {
        input x: float[batch, 3]
        a, b = dirichlet(exp(x)), multinomial(5, x)
        f = cholesky(stack([stack([2.0, 0.5, 0.1]), stack([0.5, 1.0, 0.2]), stack([0.1, 0.2, 3.0])]))
        c = multivariate_normal(x, factor = f)
        d = mixture(x, multivariate_normal(stack([x, 2 * x, x + 1], axis = 1), std = 0.5), vector = true)
        output am = a.mean; output av = a.variance
        output bm = b.mean; output bv = b.variance
        output cm = c.mean; output cv = c.variance
        output dm = d.mean; output dv = d.variance
    }""")
    x = np.random.default_rng(0).normal(size=(4, 3))
    found, p = spec({"x": x}), special.softmax(x, -1)
    for row in range(4):
        a, b = stats.dirichlet(np.exp(x[row])), stats.multinomial(5, p[row])
        assert close(found["am"][row], a.mean(), 1e-13) and close(found["av"][row], a.var(), 1e-13)
        assert close(found["bm"][row], 5 * p[row], 1e-13) and close(found["bv"][row], np.diag(b.cov()), 1e-13)
    assert close(found["cm"], x, 0) and close(found["cv"], np.broadcast_to([2, 1, 3], (4, 3)), 1e-13)
    centres = np.stack([x, 2 * x, x + 1], 1)
    mean = np.einsum("bk,bki->bi", p, centres)
    assert close(found["dm"], mean, 1e-13)
    assert close(found["dv"], np.einsum("bk,bki->bi", p, centres**2 + 0.25) - mean**2, 1e-13)


def test_draws_of_rows() -> None:
    spec = Compiled("""model m {
        input x: float[batch, 3]
        f = cholesky(stack([stack([2.0, 0.5, 0.1]), stack([0.5, 1.0, 0.2]), stack([0.1, 0.2, 3.0])]))
        output dirichlet = draw(dirichlet(exp(x)))
        output multinomial = draw(multinomial(5, x))
        output normal = draw(multivariate_normal(x, factor = f))
        parts = multivariate_normal(stack([x, x + 9, x + 99], axis = 1), std = 0.1)
        output mixed = draw(mixture(x, parts, vector = true))
        output shaped = draw(dirichlet(stack([1.0, 2.0])), shape = [7, 2])
    }""")
    centre = np.array([0.3, -0.5, 0.2])
    found = spec({**spec.variables, "x": np.broadcast_to(centre, (4000, 3))})
    p = special.softmax(centre)
    shares, total = found["dirichlet"], np.exp(centre).sum()
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-12)
    for place, a in enumerate(np.exp(centre)):
        assert stats.kstest(shares[:, place], stats.beta(a, total - a).cdf).pvalue > 0.001
    assert (found["multinomial"].sum(1) == 5).all() and found["multinomial"].dtype == np.int64
    assert stats.chisquare(found["multinomial"].sum(0), 20000 * p).pvalue > 0.001
    covariance = np.array([[2, 0.5, 0.1], [0.5, 1, 0.2], [0.1, 0.2, 3]])
    white = np.linalg.solve(np.linalg.cholesky(covariance), (found["normal"] - centre).T)
    assert stats.kstest(white.ravel(), "norm").pvalue > 0.001
    np.testing.assert_allclose(np.corrcoef(white), np.eye(3), atol=0.08)
    kind = np.round((found["mixed"] - centre).mean(1) / 9).clip(0, 2).astype(int)
    assert stats.chisquare(np.bincount(kind), 4000 * p).pvalue > 0.001
    assert found["shaped"].shape == (7, 2)


@pytest.mark.parametrize(
    ("rule", "y", "wanted"),
    [
        ("exponential(2)", [-1.0], -np.inf),
        ("gamma(2, 3)", [-1.0], -np.inf),
        ("gamma(1, 3)", [0.0], np.log(3)),
        ("beta(2, 3)", [1.5], -np.inf),
        ("beta(1, 1)", [0.0], 0.0),
        ("beta(1, 1)", [1.0], 0.0),
        ("log_normal(0, 1)", [0.0], -np.inf),
        ("truncated_normal(0, 1, low = 0, high = 1)", [1.5], -np.inf),
        ("truncated_normal(0, 1, low = -inf, high = inf)", [1.5], stats.norm.logpdf(1.5)),
        ("truncated_normal(0, 1, low = 20, high = 25)", [20.5], stats.truncnorm.logpdf(20.5, 20, 25)),
        ("binomial(4, 0.5)", [5.0], -np.inf),
        ("negative_binomial(1e-30, 2)", [0.0], 0.0),
        ("von_mises(0, 1000)", [0.1], stats.vonmises.logpdf(0.1, 1000)),
        ("von_mises(0, 0)", [0.1], -np.log(2 * np.pi)),
        ("student_t(1e7)", [1.0], stats.norm.logpdf(1.0)),
    ],
)
def test_at_the_edges(rule: str, y: list[float], wanted: float) -> None:
    spec = Compiled(f"model m {{\n input y: float[n]\n output value = log_density({rule}, y + 0 * y)\n}}")
    assert close(spec({"y": np.array(y)})["value"], [wanted], 2e-7 if "1e7" in rule else 1e-12)


@pytest.mark.parametrize("k", [1e-8, 0.5, 10, 150, 199, 201, 1000, 1e6])
def test_log_bessel0(k: float) -> None:
    spec = Compiled("model m {\n input x: float\n y = log_bessel0(x)\n output y = y; output d = grad(y, x)\n}")
    found = spec({"x": np.array(k)})
    assert close(found["y"], np.log(special.i0e(k)) + k, 1e-14)
    assert close(found["d"], special.i1e(k) / special.i0e(k), 1e-12)


@pytest.mark.parametrize("p", [1e-300, 1e-30, 1e-9, 0.01, 0.3, 0.5, 0.9, 1 - 1e-9])
def test_quantiles(p: float) -> None:
    spec = Compiled("model m {\n input p: float\n output y = normal_quantile(p)\n}")
    assert close(spec({"p": np.array(p)})["y"], special.ndtri(p), 1e-13)


def test_draws_are_differentiable_where_they_say_so() -> None:
    spec = Compiled("""model m {
        input a: float[n]
        y = draw(gamma(2 + 0 * a, exp(a)))
        output y = y
        output d = grad(sum(y), a)
    }""")
    found = spec({**spec.variables, "a": np.zeros(50)})
    np.testing.assert_allclose(found["d"], -found["y"])


def test_a_mixture_is_learned() -> None:
    """A mixture density network of one input: its density comes near that of the data."""
    text = """model m {
        input x: float[batch, 1]
        target y: float[batch]
        h = x |> dense(16) |> tanh
        logits, centre, spread = dense(2), dense(2), dense(2)
        d = mixture(h |> logits, normal(h |> centre, softplus(h |> spread) + 0.05))
        y ~ d
        output mean = d.mean
        metric likelihood = mean(log_density(d, y))
    }
    train { minimize loss using adam(1e-2); epochs: 150; batch: 100; validate: 0.2 }"""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (1500, 1))
    side = rng.random(1500) < 0.3
    y = np.where(side, x[:, 0], -x[:, 0]) + 0.1 * rng.normal(size=1500)
    last = dlc.Trainer(dlc.compile(text), seed=0).fit({"x": x.astype("float32"), "y": y.astype("float32")}).epochs[-1]
    best = np.log(0.3 * stats.norm.pdf(y, x[:, 0], 0.1) + 0.7 * stats.norm.pdf(y, -x[:, 0], 0.1)).mean()
    assert abs(last["validation"]["likelihood"] - best) < 0.15


def test_data_are_held_by_the_parts_of_a_mixture() -> None:
    trainer = dlc.Trainer(
        dlc.compile("""model m {
        input x: float[batch]
        target y: float[batch]
        param w: float init ones
        y ~ mixture(stack([0.0, 1.0]), exponential(exp(w) * stack([1.0, 9.0])))
        output p = w * x
    }
    train { minimize loss using sgd(0.1) }""")
    )
    good = {"x": np.ones(3, "float32"), "y": np.ones(3, "float32")}
    trainer.step(good)
    with pytest.raises(dlc.Error) as caught:
        trainer.step({**good, "y": -np.ones(3, "float32")})
    assert caught.value.code == "E0620"


def test_a_shape_and_a_value_of_that_shape_exclude_each_other() -> None:
    with pytest.raises(dlc.Error) as caught:
        dlc.compile("model m {\n input x: float[b]\n output y = draw(normal(0, 1), shape = [3], like = x)\n}")
    assert caught.value.code == "E0216"


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_to_int(precision: str) -> None:
    """Towards zero; 0 of what no integer stands for. By one conversion: what it makes is as large as what it is of."""
    whole = [0, 1, 2, 7, 2**24 - 1, 2**24, 2**33 + 2**12, 2**62, *([2**52 - 1] if precision == "float64" else [])]
    given = {**{float(n): n for n in whole}, **{-float(n): -n for n in whole}, 2.75: 2, -2.75: -2, -0.5: 0}
    given |= dict.fromkeys((2.0**63, -(2.0**63), 1e30), 0)
    said = "y = to_int(x)", "z = to_int((x - x) / 0)", "i = to_int(x^2 / 0)"
    text = "\n output ".join(("model m {\n input x: float[n]", *said)) + "\n}"
    program = dlc.compile(text, precision=precision)
    found = dlc.Trainer(program, device="cpu").predict({"x": np.array(list(given))})
    assert found["y"].dtype == np.int64 and found["y"].tolist() == list(given.values())
    assert not found["z"].any() and not found["i"].any()
    ops = {node.op_type for node in program.model_proto().graph.node}
    assert ops <= {"Abs", "Less", "Where", "Cast", "Div", "Sub", "Mul"}
    known = dlc.compile("model m {\n input x: float[n]\n output y = x + to_int(-2.75)\n}")
    assert dlc.Trainer(known, device="cpu").predict({"x": np.zeros(1)})["y"].tolist() == [-2]


@pytest.mark.parametrize("rate", [0.0, 3.5, 40.0, 1e6])
def test_counts_of_each_rate(rate: float) -> None:
    """One for each of the rates; the derivative by them is 0."""
    spec = Compiled(
        "model m {\n input a: float[n]\n y = poisson_like(a)\n output y = y\n output d = grad(sum(1.0 * y + a), a)\n}"
    )
    found = spec({**spec.variables, "a": np.full(4000, rate)})
    assert found["y"].dtype == np.int64 and (found["d"] == 1).all()
    assert (
        abs(found["y"].mean() - rate) <= 4 * np.sqrt(rate / 4000)
        and (found["y"].var() / (rate or 1) - (rate > 0)) < 0.1
    )
