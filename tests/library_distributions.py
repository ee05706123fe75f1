"""Log densities of distributions as SciPy and PyTorch have them, for library_cases.py."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
from library_sweep import Case, Dims, away, free, ranks
from scipy import special, stats


def torch_density(name: str, *arguments: Any) -> Any:
    """The log density of `torch.distributions.NAME` at y, of values made of the inputs."""

    def run(torch: Any, **of: Any) -> Any:
        *given, y = (argument(torch, **of) for argument in arguments)
        return getattr(torch.distributions, name)(*given, validate_args=False).log_prob(y)

    return run


def by_rows(function: Any, *values: Any) -> Any:
    """Of each row of the last dimension."""
    lead = np.broadcast_shapes(*(value.shape[:-1] for value in values))
    wide = [np.broadcast_to(value, (*lead, value.shape[-1])) for value in values]
    return np.array([function(*(value[place] for value in wide)) for place in np.ndindex(lead)]).reshape(lead)


def multinomial(y: Any, x: Any) -> float:
    """SciPy asks for probabilities that are 1 together to the last digit: it makes the last one the rest."""
    return float(stats.multinomial.logpmf(y, y.sum(), special.softmax(x)))


def dirichlet(y: Any, x: Any) -> float:
    shares = special.softmax(y)
    return float(stats.dirichlet.logpdf(shares / shares.sum(), np.exp(x)))


def gram(x: Any) -> Any:
    return np.swapaxes(x, -1, -2) @ x + 3 * np.eye(x.shape[-1])


def mixed(x: Any, p: Any, s: Any, y: Any) -> Any:
    return special.logsumexp(special.log_softmax(x, -1) + stats.norm.logpdf(y[..., None], p, 0.5 + s**2), -1)


def mixed_vectors(x: Any, p: Any, y: Any) -> Any:
    each = stats.norm.logpdf(y[..., None, :], p, 0.7).sum(-1)
    return special.logsumexp(special.log_softmax(x, -1) + each, -1)


def mixed_of_torch(torch: Any, x: Any, p: Any, s: Any, y: Any) -> Any:
    made = torch.distributions
    return made.MixtureSameFamily(made.Categorical(logits=x), made.Normal(p, 0.5 + s**2)).log_prob(y)


def mixed_vectors_of_torch(torch: Any, x: Any, p: Any, y: Any) -> Any:
    made = torch.distributions
    parts = made.Independent(made.Normal(p, torch.full_like(p, 0.7)), 1)
    return made.MixtureSameFamily(made.Categorical(logits=x), parts).log_prob(y)


def parts_and_value(number: int, count: int) -> list[Dims]:
    full = free(1 + number % 4)
    return [full, full, full, full[:-1]]


def rows_gone(x: Dims, *others: Dims) -> Dims:
    return x[:-1]


def within(p: Any, s: Any, y: Any) -> Any:
    return p + 2 * (0.5 + s**2) * np.tanh(y)


FULL: dict[str, int] = dict.fromkeys("abcde", 1)
HELD = "the density of a distribution: its parts have their own"


def scale(torch: Any, s: Any, **of: Any) -> Any:
    return 0.5 + s**2


def place(torch: Any, p: Any, **of: Any) -> Any:
    return p


def value(torch: Any, y: Any, **of: Any) -> Any:
    return y


def square(torch: Any, y: Any, **of: Any) -> Any:
    return y**2


# fmt: off
DISTRIBUTION_CASES = {
    # numbers
    "student_t": Case("out = log_density(student_t(2 + 0.1 * s^2, p, 0.5 + s^2), y)",
                      lambda p, s, y: stats.t.logpdf(y, 2 + 0.1 * s**2, p, 0.5 + s**2), "p s y", points=HELD,
                      torch=torch_density("StudentT", lambda torch, s, **of: 2 + 0.1 * s**2, place, scale, value)),
    "cauchy": Case("out = log_density(cauchy(p, 0.5 + s^2), y)", lambda p, s, y: stats.cauchy.logpdf(y, p, 0.5 + s**2),
                   "p s y", points=HELD, torch=torch_density("Cauchy", place, scale, value)),
    "exponential": Case("out = log_density(exponential(0.5 + s^2), y^2)",
                        lambda s, y: stats.expon.logpdf(y**2, scale=1 / (0.5 + s**2)), "s y", points=HELD,
                        torch=torch_density("Exponential", scale, square)),
    "gamma": Case("out = log_density(gamma(0.5 + s^2, 0.2 + p^2), 0.1 + y^2)",
                  lambda p, s, y: stats.gamma.logpdf(0.1 + y**2, 0.5 + s**2, scale=1 / (0.2 + p**2)), "p s y",
                  edge=lambda p, s, y: np.abs(0.5 + s**2 - 8), points=HELD, torch=torch_density(
                      "Gamma", scale, lambda torch, p, **of: 0.2 + p**2, lambda torch, y, **of: 0.1 + y**2)),
    "beta": Case(
        "out = log_density(beta(0.5 + tanh(s)^2, 0.2 + tanh(p)^2), 0.5 + 0.4 * tanh(y))",
        lambda p, s, y: stats.beta.logpdf(0.5 + 0.4 * np.tanh(y), 0.5 + np.tanh(s) ** 2, 0.2 + np.tanh(p) ** 2),
        "p s y", points=HELD, torch=torch_density(
            "Beta", lambda torch, s, **of: 0.5 + torch.tanh(s) ** 2, lambda torch, p, **of: 0.2 + torch.tanh(p) ** 2,
            lambda torch, y, **of: 0.5 + 0.4 * torch.tanh(y))),
    "log_normal": Case("out = log_density(log_normal(p, 0.5 + s^2), exp(y))",
                       lambda p, s, y: stats.lognorm.logpdf(np.exp(y), 0.5 + s**2, scale=np.exp(p)), "p s y",
                       points=HELD, torch=torch_density("LogNormal", place, scale,
                                                        lambda torch, y, **of: torch.exp(y))),
    "truncated_normal": Case(
        "out = log_density(truncated_normal(p, 0.5 + s^2), p + (1 + 2 * s^2) * tanh(y))",
        lambda p, s, y: stats.truncnorm.logpdf(within(p, s, y), -2, 2, p, 0.5 + s**2), "p s y", points=HELD,
        torch="PyTorch has none; against SciPy in test_library.py and test_distributions.py"),
    "von_mises": Case("out = log_density(von_mises(p, 0.5 + tanh(s)^2), y)",
                      lambda p, s, y: stats.vonmises.logpdf(y, 0.5 + np.tanh(s) ** 2, loc=p), "p s y", points=HELD,
                      torch="PyTorch's Bessel functions are good to 1e-7; against SciPy in test_library.py"),
    # counts
    "binomial": Case("out = log_density(binomial(5, x), k)",
                     lambda x, k: stats.binom.logpmf(k, 5, special.expit(x)), "x k", high=6, points=HELD,
                     edge=lambda x, k: np.abs(x),
                     torch=lambda torch, x, k: torch.distributions.Binomial(
                         5 * torch.ones_like(x), logits=x).log_prob(k.double())),
    "negative_binomial": Case(
        "out = log_density(negative_binomial(exp(x), 0.5 + s^2), k)",
        lambda x, s, k: stats.nbinom.logpmf(k, 0.5 + s**2, (0.5 + s**2) / (0.5 + s**2 + np.exp(x))), "x s k", high=12,
        points=HELD, torch=lambda torch, x, s, k: torch.distributions.NegativeBinomial(
            0.5 + s**2, logits=x - torch.log(0.5 + s**2), validate_args=False).log_prob(k.double())),
    "multinomial": Case("out = log_density(multinomial(sum(k, axis = -1), x), k)",
                        lambda x, k: by_rows(multinomial, k, x), "x k", ranks(1), rows_gone, high=5, least=FULL,
                        points=HELD, torch=lambda torch, x, k: torch.distributions.Multinomial(
                            1, logits=x, validate_args=False).log_prob(k.double())),
    # vectors
    "multivariate_normal": Case(
        "out = log_density(multivariate_normal(p, std = 0.5 + s^2), y)",
        lambda p, s, y: stats.norm.logpdf(y, p, 0.5 + s**2).sum(-1), "p s y", ranks(1), rows_gone, least=FULL,
        points=HELD, torch=lambda torch, p, s, y: torch.distributions.Independent(
            torch.distributions.Normal(p, 0.5 + s**2), 1).log_prob(y)),
    "multivariate_normal of a factor": Case(
        "out = log_density(multivariate_normal(0.3 * y, factor = cholesky(swap(x) @ x + 3 * eye(size(x, -1)))), y)",
        lambda x, y: np.reshape(stats.multivariate_normal.logpdf(0.7 * y, np.zeros(y.shape[-1]), gram(x)), len(y)),
        "x y", lambda n, count: [("d", str(1 + n % 3)), ("a", str(1 + n % 3))], lambda x, y: y[:-1], least={"a": 1},
        torch=lambda torch, x, y: torch.distributions.MultivariateNormal(
            0.3 * y, x.mT @ x + 3 * torch.eye(x.shape[-1], dtype=x.dtype)).log_prob(y)),
    "dirichlet": Case("out = log_density(dirichlet(exp(x)), softmax(y))", lambda x, y: by_rows(dirichlet, y, x), "x y",
                      ranks(1), rows_gone, least=FULL | {"e": 2}, points=HELD,
                      torch=torch_density("Dirichlet", lambda torch, x, **of: torch.exp(x),
                                          lambda torch, y, **of: torch.softmax(y, -1))),
    "mixture": Case("out = log_density(mixture(x, normal(p, 0.5 + s^2)), y)", mixed, "x p s y", parts_and_value,
                    rows_gone, least=FULL, points=HELD, torch=mixed_of_torch),
    "mixture of vectors": Case(
        "out = log_density(mixture(x, multivariate_normal(p, std = 0.7), vector = true), y)", mixed_vectors, "x p y",
        lambda n, count: [("a", "d"), ("a", "d", "e"), ("a", "e")], rows_gone, least=FULL,
        torch=mixed_vectors_of_torch),
    # functions that they are made of
    "normal_cdf": Case("out = normal_cdf(x)", lambda x: special.ndtr(x), torch=lambda torch, x: torch.special.ndtr(x),
                       points=[("normal_cdf(x[0])", [0], mpmath.ncdf)], said={"normal_cdf(a)": lambda a: 1}),
    "normal_quantile": Case("out = normal_quantile(sigmoid(x))", lambda x: special.ndtri(special.expit(x)),
                            edge=away(0), torch=lambda torch, x: torch.special.ndtri(torch.sigmoid(x)),
                            said={"normal_quantile(sigmoid(a))": lambda a: a},
                            points=[("normal_quantile(x[0])", [0.5],
                                     lambda p: mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1))]),
    "erf_inv": Case("out = erf_inv(0.5 * tanh(x))", lambda x: special.erfinv(0.5 * np.tanh(x)), edge=away(0),
                    torch=lambda torch, x: torch.erfinv(0.5 * torch.tanh(x)),
                    said={"erf_inv(0.9 * tanh(a))": lambda a: 2}, points=[("erf_inv(x[0])", [0], mpmath.erfinv)]),
    "normal_between": Case("out = normal_between(x, x + y^2)", lambda x, y: stats.norm.sf(x) - stats.norm.sf(x + y**2),
                           "x y", edge=lambda x, y: np.abs(x), points="differences of normal_cdf",
                           torch=lambda torch, x, y: torch.special.ndtr(x + y**2) - torch.special.ndtr(x)),
    "log_bessel0": Case("out = log_bessel0(2 * x)", lambda x: np.log(special.i0(2 * x)),
                        torch="PyTorch's is good to 1e-7; by SciPy in test_library.py",
                        said={"log_bessel0(a)": lambda a: a},
                        points=[("log_bessel0(x[0])", [0], lambda x: mpmath.log(mpmath.besseli(0, x)))]),
    "log_beta": Case("out = log_beta(exp(tanh(x)), 0.3 + tanh(y)^2)",
                     lambda x, y: special.betaln(np.exp(np.tanh(x)), 0.3 + np.tanh(y) ** 2), "x y",
                     torch=lambda torch, x, y: torch.lgamma(torch.exp(torch.tanh(x))) + torch.lgamma(
                         0.3 + torch.tanh(y) ** 2) - torch.lgamma(torch.exp(torch.tanh(x)) + 0.3 + torch.tanh(y) ** 2),
                     points="sums of log_gamma"),
    "log_choose": Case("out = log_choose(20 + tanh(x), 10 + tanh(y))", lambda x, y: np.log(
                           special.binom(20 + np.tanh(x), 10 + np.tanh(y))), "x y", points="sums of log_gamma",
                       torch=lambda torch, x, y: torch.lgamma(21 + torch.tanh(x)) - torch.lgamma(
                           11 + torch.tanh(y)) - torch.lgamma(11 + torch.tanh(x) - torch.tanh(y))),
}
