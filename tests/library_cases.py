"""Every function of the standard library that has a closed form, for test_library.py to sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
from library_attention import ATTENTION_CASES
from library_augment import AUGMENT_CASES
from library_blocks import BLOCK_CASES
from library_distributions import DISTRIBUTION_CASES
from library_sequences import SEQUENCE_CASES
from library_shelf import SHELF_CASES
from library_sweep import (
    SCALED,
    Case,
    Dims,
    any_rank,
    away,
    free,
    labelled,
    last_gone,
    matrices,
    mean,
    normed,
    numbers,
    picture,
    ranks,
    rows,
    scalar,
    ties,
)
from library_windows import along_channels, averaged_in_bins, convolved, sequences, spread, tiled
from scipy import special, stats


def over_rows(function: Callable[..., Any], x: Any, axis: int = -1) -> Any:
    """SciPy refuses the greatest of nothing."""
    return function(x, axis=axis) if x.size else x


def log_softmax(x: Any) -> Any:
    return over_rows(special.log_softmax, x)


def exactly(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of each element by 30 digits."""

    def at(x: float) -> float:
        with mpmath.workdps(30):
            return float(function(mpmath.mpf(x)))

    return np.vectorize(at, otypes=[float])


log1pmx = exactly(lambda x: mpmath.log1p(x) - x)
stirling_rest = exactly(lambda z: mpmath.loggamma(z) - (z - 0.5) * mpmath.log(z) + z - mpmath.log(2 * mpmath.pi) / 2)


def row(x: Any, k: Any) -> Any:
    return np.take_along_axis(x, k[..., None], axis=-1)[..., 0]


def batch_normed(x: Any, scale: Any, shift: Any, **seen: Any) -> Any:
    y = normed(x, (0, *range(2, x.ndim)), 0.1)
    return along_channels(np.moveaxis(np.moveaxis(y, 1, -1) * scale, -1, 1), shift)


def running_normed(x: Any, scale: Any, shift: Any, seen_mean: Any, seen_var: Any) -> Any:
    y = scale * (np.moveaxis(x, 1, -1) - seen_mean) / np.sqrt(seen_var + 1e-5) + shift
    return np.moveaxis(y, -1, 1)


def in_groups(x: Any, scale: Any, shift: Any) -> Any:
    """Two groups of two channels."""
    y = normed(x.reshape(len(x), 2, int(np.prod(x.shape[1:])) // 2), -1, 0.1).reshape(x.shape)
    return along_channels(np.moveaxis(np.moveaxis(y, 1, -1) * scale, -1, 1), shift)


def label_smoothed(x: Any, k: Any, share: Any) -> Any:
    c = x.shape[-1]
    return mean(-np.sum(((1 - share) * np.eye(c)[k] + share / c) * log_softmax(x), -1))


def swapped(x: Any) -> Any:
    return np.swapaxes(x, -1, -2)


def gram(x: Any) -> Any:
    return swapped(x) @ x + 3 * np.eye(x.shape[-1])


def general(x: Any) -> Any:
    """Neither symmetric nor positive definite, and its pivots are not on the diagonal."""
    return gram(x)[..., ::-1, :]


def length(x: Any) -> Any:
    return np.sqrt((x**2).sum())


def smoothed(x: Any, rate: Any) -> Any:
    return np.where(x > 0, 1, rate) * x


def columns(number: int, count: int) -> list[Dims]:
    """Rank 1 to 5, of which the first dimension is always a."""
    return [("a", *free(number % 5))] * count


def wide(*tail: str) -> Callable[[int, int], list[Dims]]:
    """Shapes of any rank for the first input; the second has a last dimension more."""
    return lambda number, count: [free(number % 5 + 1)[:-1], free(number % 5 + 1)[:-1] + tail]


def filled(number: int, count: int) -> list[Dims]:
    """Any rank for the first input; the second is one number."""
    return [free(number % 6), ()]


def first_gone(x: Dims, *others: Dims) -> Dims:
    return x[1:]


def out_of_three(x: Dims, *others: Dims) -> Dims:
    return (*x[:-1], "3")


def spectral(x: Any, W: Any, b: Any, u: Any, v: Any, s: Any) -> Any:
    return x @ W / (v @ W @ s) + b


def power_step(W: Any, u: Any, **others: Any) -> dict[str, Any]:
    """What one step of power iteration makes of u, with no derivative."""
    v = W @ u / length(W @ u)
    return {"v": v, "s": v @ W / length(v @ W)}


def cosine(x: Any, y: Any, step: Any) -> Any:
    share = np.clip((step - 3) / 8, 0, 1)
    return x * y * np.minimum(step / 2, 1) * (1 + np.cos(np.pi * share)) / 2


def fan(x: Any, of_kernel: int, of_matrix: int) -> int:
    """The size of a matrix in a dimension; all elements of a kernel but for a dimension."""
    if x.ndim <= 2:
        return max(x.shape[of_matrix], 1)
    return int(np.prod(np.delete(x.shape, of_kernel))) if x.size else 1


def polar_step(x: Any, y: Any, s: Any) -> Any:
    u, singular, v = np.linalg.svd(x, full_matrices=False)
    return u * (1.5 * singular + y * singular**3 + s * singular**5) @ v


def sized(channels: str, size: str) -> Callable[..., Dims]:
    """Channels, and a size in which # is that of the input."""
    return lambda x: (x[0], channels, *(size.replace("#", n) for n in x[2:]))


SEQUENCES: dict[str, Any] = {
    "shapes": ranks(3, 3, ("#",)),
    "result": lambda x, *k: (*x[:-1], "2"),
    "least": {"d": 1},
    "parameters": ("W", "U", "b"),
    "around": 0.0,
}
OF_LENGTHS = SEQUENCES | {"inputs": "x k", "least": {}, "shapes": lambda n, count: [("d", "4", "2"), ("d",)], "high": 4}

# fmt: off
CASES = {
    # activations
    "relu": Case("out = relu(x)", lambda x: np.maximum(x, 0), edge=away(0)),
    "leaky_relu": Case("out = leaky_relu(x, slope = 0.2)", lambda x: smoothed(x, 0.2), edge=away(0)),
    "leaky_relu of a slope": Case("out = leaky_relu(x, slope = y)", lambda x, y: smoothed(x, y), "x y",
                                  edge=lambda x, y: np.abs(x)),
    "elu": Case("out = elu(x, alpha = 1.5)", lambda x: np.where(x > 0, x, 1.5 * np.expm1(x)), edge=away(0)),
    "silu": Case("out = silu(x)", lambda x: x * special.expit(x)),
    "gelu": Case("out = gelu(x)", lambda x: x * special.ndtr(x)),
    "softplus": Case("out = softplus(x)", lambda x: np.logaddexp(0, x), edge=away(0)),
    "log_sigmoid": Case("out = log_sigmoid(x)", lambda x: special.log_expit(x), edge=away(0)),
    "softmax": Case("out = softmax(x)", lambda x: over_rows(special.softmax, x), shapes=rows),
    "softmax along 0": Case("out = softmax(x, axis = 0)", lambda x: over_rows(special.softmax, x, 0), shapes=rows),
    "log_softmax": Case("out = log_softmax(x)", log_softmax, shapes=rows),
    # helpers
    "clamp": Case("out = x |> clamp(-0.5, 0.8)", lambda x: np.clip(x, -0.5, 0.8), edge=away(-0.5, 0.8)),
    "clamp within tensors": Case(
        "out = clamp(x, y, y + s^2 + 0.1)", lambda x, y, s: np.clip(x, y, y + s**2 + 0.1), "x y s",
        edge=lambda x, y, s: np.minimum(np.abs(x - y), np.abs(x - y - s**2 - 0.1))),
    "dot": Case("out = dot(x, y)", lambda x, y: (x * y).sum(), "x y", result=scalar),
    "norm": Case("out = norm(x)", length, result=scalar, edge=lambda x: length(x) if x.size else 1),
    "norm of rows": Case("out = norm(x, axis = -1)", lambda x: np.sqrt((x**2).sum(-1)), shapes=rows, result=last_gone,
                         edge=lambda x: np.sqrt((x**2).sum(-1)) - 0.1 if x.shape[-1] else 1),
    "norm of order 3": Case("out = norm(x, 3, axis = 0)", lambda x: (np.abs(x) ** 3).sum(0) ** (1 / 3), shapes=rows,
                            result=first_gone, edge=lambda x: np.abs(x) - 0.1),
    "norm of order 1": Case("out = norm(x, 1)", lambda x: np.abs(x).sum(), result=scalar, edge=away(0)),
    "norm of order inf": Case(
        "out = norm(x, inf, axis = -1)", lambda x: np.abs(x).max(-1), shapes=rows, result=last_gone, least={"e": 1},
        edge=lambda x: np.append(ties(np.abs(x)), np.abs(x))),
    "norm of order -inf": Case(
        "out = norm(x, -inf, axis = -1)", lambda x: np.abs(x).min(-1), shapes=rows, result=last_gone, least={"e": 1},
        edge=lambda x: np.append(ties(-np.abs(x)), np.abs(x))),
    "norm of order 0": Case("out = norm(where(x > 0, x, 0), 0)", lambda x: (x > 0).sum(), result=scalar, flat="E0402",
                            edge=away(0)),
    "normalize": Case("out = normalize(x)", lambda x: x / np.sqrt((x**2).sum(-1, keepdims=True)), shapes=rows,
                      edge=lambda x: np.sqrt((x**2).sum(-1)) - 0.1 if x.shape[-1] else 1),
    "moments": Case("m, v = moments(x, axis = 0)\n    out = m + 2 * v", lambda x: x.mean(0) + 2 * x.var(0),
                    shapes=columns, result=first_gone, least={"a": 1}),
    "moments of rows": Case(
        "m, v = moments(x, axis = -1, keepdims = true)\n    out = m * v * ones_like(x)",
        lambda x: x.mean(-1, keepdims=True) * x.var(-1, keepdims=True) * np.ones_like(x), shapes=rows, least={"e": 1}),
    "log_gamma": Case("out = log_gamma(exp(x))", lambda x: special.gammaln(np.exp(x)),
                      edge=lambda x: np.abs(np.exp(x) - 8) / 9),
    "stirling_rest": Case("out = stirling_rest(8 + x^2)", lambda x: stirling_rest(8 + x**2)),
    "var": Case("out = var(x, axis = 0, ddof = 1)", lambda x: x.var(0, ddof=1), shapes=columns, result=first_gone,
                least={"a": 2}),
    "var of all": Case("out = var(x)", lambda x: x.var(), result=scalar),
    "std": Case("out = std(x)", lambda x: x.std(), result=scalar,
                edge=lambda x: x.std() - 0.1 if x.size > 1 else 1),
    "abs_power": Case("out = abs_power(x, 2.5)", lambda x: np.abs(x) ** 2.5, edge=away(0)),
    "signed_power": Case("out = signed_power(x, 1.5)", lambda x: np.sign(x) * np.abs(x) ** 1.5, edge=away(0)),
    "root": Case("out = root(1 + x^2)", lambda x: np.sqrt(1 + x**2)),
    "root of order 3": Case("out = root(1 + x^2, 3)", lambda x: np.cbrt(1 + x**2)),
    # elementary functions
    "square": Case("out = square(x)", lambda x: x**2, points=[
        ("square(x[0])", [0], lambda x: x**2), ("square(norm(x))", [0, 0], lambda x, y: x**2 + y**2)]),
    "reciprocal": Case(
        "out = reciprocal(3 + x^2)", lambda x: 1 / (3 + x**2), said={"reciprocal(1.2 + a^2)": lambda a: 1},
        points=[("reciprocal(x[0])", [-1], lambda x: 1 / x), ("reciprocal(x[0])", [0], ([-np.inf], [[np.inf]]))]),
    "rsqrt": Case(
        "out = rsqrt(3 + x^2)", lambda x: (3 + x**2) ** -0.5, said={"rsqrt(0.4 + a^2)": lambda a: 2},
        points=[("rsqrt(x[0])", [1], lambda x: 1 / mpmath.sqrt(x)), ("rsqrt(x[0])", [0], ([-np.inf], [[np.inf]]))]),
    "power": Case("out = power(3 + x^2, y)", lambda x, y: (3 + x**2) ** y, "x y"),
    "exp2": Case("out = exp2(x)", lambda x: np.exp2(x), said={"exp2(tanh(a))": lambda a: 2},
                 points=[("exp2(x[0])", [0], lambda x: mpmath.mpf(2) ** x)]),
    "log2": Case("out = log2(3 + x^2)", lambda x: np.log2(3 + x**2), said={"log2(0.3 + a^2)": lambda a: 2 + a},
                 points=[("log2(x[0])", [1], lambda x: mpmath.log(x) / mpmath.log(2))]),
    "log10": Case("out = log10(3 + x^2)", lambda x: np.log10(3 + x**2), points=[("log10(x[0])", [1], mpmath.log10)],
                  said={"log10(0.3 + square(a))": lambda a: 1 + a}),
    "remainder": Case("out = x * remainder(x, 2)", lambda x: x * np.mod(x, 2), edge=away(*range(-40, 41, 2))),
    "remainder of two": Case(
        "out = remainder(x, 1 + y^2)", lambda x, y: np.mod(x, 1 + y**2), "x y",
        edge=lambda x, y: np.abs(x / (1 + y**2) - np.round(x / (1 + y**2)))),
    "trunc": Case("out = x * trunc(x)", lambda x: x * np.trunc(x), edge=away(*range(-40, 41)),
                  said={"a + 0.1 * trunc(2 * a)": lambda a: 2 * a},
                  points=[("trunc(x[0]) * x[0]^2", [3], lambda x: 3 * x**2),
                          ("trunc(x[0]) + x[0]^2", [0], lambda x: x**2)]),
    "logaddexp": Case("out = logaddexp(x, y)", lambda x, y: np.logaddexp(x, y), "x y", edge=lambda x, y: np.abs(x - y)),
    "xlogy": Case("out = xlogy(x, 3 + y^2)", lambda x, y: special.xlogy(x, 3 + y**2), "x y"),
    "log1pmx": Case("out = log1pmx(x / (1 + abs(x)))", lambda x: log1pmx(x / (1 + np.abs(x))),
                    edge=lambda x: np.minimum(np.abs(x), np.abs(np.abs(x / (1 + np.abs(x))) - 0.25))),
    "sinc": Case("out = sinc(x)", lambda x: np.sinc(x), edge=lambda x: np.abs(np.pi * np.abs(x) - 0.5)),
    "sinc near 0": Case("out = sinc(x / 100)", lambda x: np.sinc(x / 100),
                        edge=lambda x: np.abs(np.pi * np.abs(x) / 100 - 0.5)),
    "is_inf": Case("out = where(is_inf(x / where(x > 0, 1, 0)), 1.0, 0.0)", lambda x: 1.0 * (x < 0), flat="E0402",
                   edge=away(0)),
    "xor": Case("out = where(xor(x > 0, y > 0), 1.0, 0.0)", lambda x, y: 1.0 * ((x > 0) != (y > 0)), "x y",
                flat="E0402", edge=lambda x, y: np.abs(x * y)),
    # chosen derivatives
    "round_through": Case("out = round_through(x)", lambda x: np.round(x), rule=lambda weight, x: weight,
                          edge=away(*np.arange(-40.5, 41))),
    "sign_through": Case("out = sign_through(x)", lambda x: np.where(x >= 0, 1.0, -1.0), edge=away(-1, 0, 1),
                         rule=lambda weight, x: np.where(np.abs(x) <= 1, weight, 0)),
    "reverse_gradient": Case("out = reverse_gradient(x, 0.7)", lambda x: x, rule=lambda weight, x: -0.7 * weight),
    "clip_gradient": Case("out = clip_gradient(x, 0.4)", lambda x: x,
                          rule=lambda weight, x: np.clip(weight, -0.4, 0.4)),
    # linear algebra
    "outer": Case("out = outer(x, y)", lambda x, y: x[..., :, None] * y[..., None, :], "x y",
                  lambda n, count: [free(1 + n % 4), (*free(1 + n % 4)[:-1], "3")],
                  lambda x, y: (*x, y[-1])),
    "trace": Case("out = trace(x)", lambda x: np.trace(x, axis1=-1, axis2=-2), shapes=ranks(2, 5, ("e", "e")),
                  result=lambda x: x[:-2]),
    "diagonal": Case("out = diagonal(x)", lambda x: np.diagonal(x, axis1=-1, axis2=-2),
                     shapes=ranks(2, 5, ("e", "e")), result=last_gone),
    "diag": Case("out = diag(x)", lambda x: x[..., None] * np.eye(x.shape[-1]), shapes=rows,
                 result=lambda x: (*x, x[-1])),
    "swap": Case("out = swap(x)", swapped, shapes=matrices, result=lambda x: (*x[:-2], x[-1], x[-2])),
    "cholesky": Case("out = cholesky(swap(x) @ x + 3 * eye(size(x, -1)))", lambda x: np.linalg.cholesky(gram(x)),
                     shapes=ranks(2, 5, ("#",)), result=lambda x: (*x[:-2], x[-1], x[-1])),
    "triangular_solve": Case(
        "out = triangular_solve(swap(x) @ x + 3 * eye(size(x, -1)), swap(y), lower = false)",
        lambda x, y: np.linalg.solve(np.triu(gram(x)), swapped(y)), "x y", ranks(2, 5, ("#",)),
        lambda x, y: (*x[:-2], x[-1], x[-2])),
    "triangular_solve downwards": Case(
        "out = triangular_solve(swap(x) @ x + 3 * eye(size(x, -1)), swap(y))",
        lambda x, y: np.linalg.solve(np.tril(gram(x)), swapped(y)), "x y", ranks(2, 5, ("#",)),
        lambda x, y: (*x[:-2], x[-1], x[-2])),
    "cholesky_solve": Case("out = cholesky_solve(swap(x) @ x + 3 * eye(size(x, -1)), swap(y))",
                           lambda x, y: np.linalg.solve(gram(x), swapped(y)), "x y", ranks(2, 5, ("#",)),
                           lambda x, y: (*x[:-2], x[-1], x[-2])),
    "log_determinant": Case("out = log_determinant(swap(x) @ x + 3 * eye(size(x, -1)))",
                            lambda x: np.linalg.slogdet(gram(x))[1], shapes=ranks(2, 5, ("#",)),
                            result=lambda x: x[:-2]),
    "linear_solve": Case("out = linear_solve(flip(swap(x) @ x + 3 * eye(size(x, -1)), -2), swap(y))",
                         lambda x, y: np.linalg.solve(general(x), swapped(y)), "x y", ranks(2, 5, ("#",)),
                         lambda x, y: (*x[:-2], x[-1], x[-2])),
    "inverse": Case("out = inverse(flip(swap(x) @ x + 3 * eye(size(x, -1)), -2))", lambda x: np.linalg.inv(general(x)),
                    shapes=ranks(2, 5, ("#",)), result=lambda x: (*x[:-2], x[-1], x[-1])),
    "determinant": Case("out = determinant(flip(swap(x) @ x + 3 * eye(size(x, -1)), -2))",
                        lambda x: np.linalg.det(general(x)), shapes=ranks(2, 5, ("#",)), result=lambda x: x[:-2]),
    "log_abs_determinant": Case("out = log_abs_determinant(flip(swap(x) @ x + 3 * eye(size(x, -1)), -2))",
                                lambda x: np.linalg.slogdet(general(x))[1], shapes=ranks(2, 5, ("#",)),
                                result=lambda x: x[:-2]),
    "rfft": Case("re, im = rfft(x)\n    out = re + 2 * im", lambda x: np.fft.rfft(x).real + 2 * np.fft.rfft(x).imag,
                 shapes=rows, result=lambda x: (*x[:-1], f"{x[-1]} // 2 + 1"), least={"e": 1}),
    "irfft": Case("out = irfft(x, y)", lambda x, y: np.fft.irfft(x + 1j * y), "x y",
                  lambda n, count: [(*free(1 + n % 4)[:-1], str(2 + n // 4 % 4))] * 2,
                  lambda x, y: (*x[:-1], str(2 * (int(x[-1]) - 1)))),
    "irfft of an odd number": Case("out = irfft(x, y, n = 2 * (size(x, -1) - 1) + 1)",
                                   lambda x, y: np.fft.irfft(x + 1j * y, 2 * x.shape[-1] - 1), "x y",
                                   lambda n, count: [(*free(1 + n % 4)[:-1], str(1 + n // 4 % 4))] * 2,
                                   lambda x, y: (*x[:-1], str(2 * int(x[-1]) - 1))),
    "polar_step": Case("out = polar_step(x / 4, 1.5, y, s)",
                       lambda x, y, s: polar_step(x / 4, y, s), "x y s",
                       lambda n, count: [("d", "e"), (), ()]),
    # losses
    "squared": Case("out = squared(p, y)", lambda p, y: mean((p - y) ** 2), "p y", result=scalar),
    "absolute": Case("out = absolute(p, y)", lambda p, y: mean(np.abs(p - y)), "p y", result=scalar,
                     edge=lambda p, y: np.abs(p - y)),
    "huber": Case("out = huber(p, y, delta = 0.7)", lambda p, y: mean(special.huber(0.7, p - y)), "p y", result=scalar,
                  edge=lambda p, y: np.minimum(np.abs(p - y), np.abs(np.abs(p - y) - 0.7))),
    "cross_entropy": Case("out = cross_entropy(x, k)", lambda x, k: mean(-row(log_softmax(x), k)), "x k", labelled,
                          scalar, least={"e": 1}),
    "cross_entropy of smoothed labels": Case(
        "out = cross_entropy(x, k, smoothing = 0.3)", lambda x, k: label_smoothed(x, k, 0.3), "x k", labelled, scalar,
        least={"e": 1}),
    "binary_cross_entropy": Case("out = binary_cross_entropy(x, sigmoid(y))", lambda x, y: mean(
        -special.expit(y) * special.log_expit(x) - special.expit(-y) * special.log_expit(-x)), "x y", result=scalar,
        edge=lambda x, y: np.abs(x)),
    "hinge": Case("out = hinge(x, 2 * t - 1)", lambda x, t: mean(np.maximum(1 - (2 * t - 1) * x, 0)), "x t",
                  result=scalar, edge=lambda x, t: np.abs(1 - (2 * t - 1) * x)),
    "accuracy": Case("out = accuracy(x, k)", lambda x, k: mean(x.argmax(-1) == k), "x k", labelled, scalar,
                     edge=lambda x, k: ties(x), least={"e": 1}, flat="E0402"),
    # distributions
    "normal": Case("out = log_density(normal(p, 0.5 + s^2), y)", lambda p, s, y: stats.norm.logpdf(y, p, 0.5 + s**2),
                   "p s y"),
    "laplace": Case("out = log_density(laplace(p, 0.5 + s^2), y)",
                    lambda p, s, y: stats.laplace.logpdf(y, p, 0.5 + s**2), "p s y",
                    edge=lambda p, s, y: np.abs(p - y)),
    "half_normal": Case("out = log_density(half_normal(0.5 + s^2), y^2)",
                        lambda s, y: stats.halfnorm.logpdf(y**2, scale=0.5 + s**2), "s y"),
    "half_cauchy": Case("out = log_density(half_cauchy(0.5 + s^2), y^2)",
                        lambda s, y: stats.halfcauchy.logpdf(y**2, scale=0.5 + s**2), "s y"),
    "uniform": Case(
        "out = exp(log_density(uniform(p, p + 1 + s^2), y))", lambda p, s, y: stats.uniform.pdf(y, p, 1 + s**2),
        "p s y", edge=lambda p, s, y: np.minimum(np.abs(y - p), np.abs(y - p - 1 - s**2)), given="y"),
    "bernoulli": Case("out = log_density(bernoulli(x), t)",
                      lambda x, t: stats.bernoulli.logpmf(t, special.expit(x)), "x t", edge=lambda x, t: np.abs(x)),
    "categorical": Case("out = log_density(categorical(logits = x), k)", lambda x, k: row(log_softmax(x), k),
                        "x k", labelled, last_gone, least={"e": 1}),
    "poisson": Case("out = log_density(poisson(exp(x)), t)", lambda x, t: stats.poisson.logpmf(t, np.exp(x)), "x t"),
    "poisson_log": Case("out = poisson_log(exp(x), t)", lambda x, t: stats.poisson.logpmf(t, np.exp(x)), "x t",
                        edge=lambda x, t: np.abs(np.abs(np.exp(x) - t) - t / 4), high=30),
    "kl_normal": Case("out = kl_normal(normal(p, 0.5 + s^2), normal(y, 0.7))", lambda p, s, y: (
        np.log(0.7 / (0.5 + s**2)) + ((0.5 + s**2) ** 2 + (p - y) ** 2) / (2 * 0.49) - 0.5), "p s y"),
    # penalties and clips
    "l1": Case("out = l1(x, y)", lambda x, y: y * np.abs(x).sum(), "x y", lambda n, count: [*any_rank(n, 1), ()],
               scalar, edge=lambda x, y: np.abs(x)),
    "l2": Case("out = x |> l2(0.3)", lambda x: 0.3 * (x**2).sum(), result=scalar),
    **{name: Case(f"out = {name}(x, 2.0)", lambda x: x * min(1, 2 / max(length(x), 1e-9)),
                  shapes=ranks(1, 1) if name == "global_norm" else any_rank,
                  edge=lambda x: np.minimum(np.abs(length(x) - 2), length(x)) if x.size else 1, most=6)
       for name in ("global_norm", "each_norm")},
    "each_value": Case("out = each_value(x, 0.7)", lambda x: np.clip(x, -0.7, 0.7), edge=away(-0.7, 0.7)),
    # schedules: the rates are inputs, so that they are functions too, of single numbers
    "constant_rate": Case("out = constant_rate(x)", lambda x: x, shapes=numbers),
    "step_decay": Case("out = step_decay(x, 3, factor = 0.5 + y^2)", lambda x, y, step: (
        x * (0.5 + y**2) ** ((step - 1) // 3)), "x y", numbers, stepped=True),
    "exponential_decay": Case("out = exponential_decay(x, 3, factor = 0.5 + y^2)", lambda x, y, step: (
        x * (0.5 + y**2) ** ((step - 1) / 3)), "x y", numbers, stepped=True),
    "cosine": Case("out = cosine(x * y, over = 10, warmup = 2)", cosine, "x y", numbers, stepped=True),
    "cyclic": Case("out = cyclic(x, y, 4)", lambda x, y, step: x + (y - x) * np.interp(
        (step - 1) % 8, [0, 4, 8], [0, 1, 0]), "x y", numbers, stepped=True),
    # initialisers without draws
    "zeros": Case("out = x + zeros(x)", lambda x: x),
    "ones": Case("out = x * ones(x)", lambda x: x),
    "constant": Case("out = constant(x, y) * x", lambda x, y: x * y, "x y", filled),
    "fan_in": Case("out = 1.0 * fan_in(x)", lambda x: fan(x, 0, 0), shapes=rows, result=scalar, flat="E0401"),
    "fan_out": Case("out = 1.0 * fan_out(x)", lambda x: fan(x, 1, -1), shapes=rows, result=scalar, flat="E0401"),
    "gate_bias": Case("out = x * gate_bias(2, y)", lambda x, y: x * np.repeat([0, y, 0], [2, 2, 4]), "x y",
                      lambda n, count: [(*free(n % 5), "8"), ()], most=24),
    # layers
    "dense": Case("out = f(x)", lambda x, W, b: x @ W + b, shapes=ranks(1, 5, ("#",)), result=out_of_three,
                  layer="dense(3)", parameters=("W", "b"), straight="b"),
    "embedding": Case("out = f(k) * x", lambda k, x, table: table[k] * x, "k x", wide("2"), lambda k, x: x, high=4,
                      layer="embedding(4, 2)", parameters=("table",)),
    "mlp": Case("out = f(x)", lambda x, **f: np.tanh(x @ f["inner[0].W"] + f["inner[0].b"]) @ f["last.W"] + f["last.b"],
                shapes=ranks(1, 5, ("#",)), result=out_of_three, layer="mlp(4, 1, 3, activation = tanh)"),
    "layer_norm": Case("out = f(x)", lambda x, scale, shift: scale * normed(x, -1, 0.1) + shift,
                       shapes=ranks(1, 5, ("#",)), layer="layer_norm(eps = 0.1)", **SCALED,
                       said={"0.5 * (a |> layer_norm(eps = 0.2))": lambda a: 1.5},
                       points=[("(x |> layer_norm(eps = 0.25))[0]", [1, 1],
                                lambda x, y: (x - y) / 2 / mpmath.sqrt((x - y) ** 2 / 4 + 0.25))]),
    "group_norm": Case("out = f(x)", in_groups, layer="group_norm(2, eps = 0.1)", **SCALED, **picture("4", low=2)),
    "batch_norm in training": Case(
        "out = f(x, training = true)", batch_normed, layer="batch_norm(eps = 0.1)", **SCALED,
        **picture("2", low=2, a=1)),
    "batch_norm": Case("out = f(x)", running_normed, layer="batch_norm()", **SCALED, **picture("2", low=2)),
    "spectral_norm": Case(
        "g = dense(3)\n    f = spectral_norm(g)\n    out = f(x)", spectral, shapes=ranks(1, 5, ("#",)),
        result=out_of_three, held=power_step,
        parameters=("g.W", "g.b")),
    "dropout": Case("out = x |> dropout(0.4)", lambda x: x),
    # windows
    "conv": Case("out = f(x)", lambda x, W, b: along_channels(convolved(x, W), b), layer="conv(2, kernel = 2)",
                 parameters=("W", "b"), straight="b", result=sized("2", "# - 1"), **picture("2", c=2, d=2, e=2)),
    "conv with strides": Case(
        "out = f(x)", lambda x, W: convolved(x, W, 2, 1), result=sized("2", "(# - 1) // 2 + 1"), parameters=("W",),
        layer="conv(2, kernel = 3, stride = 2, pad = 1, bias = false)", **picture("1")),
    "conv with holes and groups": Case(
        "out = f(x)", lambda x, W: convolved(x, W, 1, 1, 2, 2), result=sized("4", "#"), parameters=("W",),
        layer="conv(4, kernel = 2, pad = 1, dilation = 2, groups = 2, bias = false)", **picture("2")),
    "conv_transpose": Case(
        "out = f(x)", lambda x, W, b: along_channels(spread(x, W, 2, 1, 1), b), result=sized("2", "2 * #"),
        layer="conv_transpose(2, kernel = 3, stride = 2, pad = 1, output_pad = 1)", parameters=("W", "b"), straight="b",
        **picture("1") | {"most": 4}),
    "tiled_conv": Case(
        "out = f(x)", lambda x, **f: tiled(x, {(i,): (f[f"part[{i}].W"], f[f"part[{i}].b"]) for i in (0, 1)}, 2, 1),
        shapes=lambda n, count: [("a", "2", str(2 + n // 8 * 2))], result=sized("2", "#"), most=24,
        layer="tiled_conv(2, kernel = 3, pad = 1)"),
    "tiled_conv over pictures": Case(
        "out = f(x)", lambda x, **f: tiled(x, {(i, j): (f[f"part[{i},{j}].W"], f[f"part[{i},{j}].b"])
                                               for i in (0, 1) for j in (0, 1)}, 2, 1),
        shapes=lambda n, count: [("a", "1", "2", str(2 + n // 8 * 2))], result=sized("2", "#"),
        most=24, layer="tiled_conv(2, kernel = 3, pad = 1)"),
    "global_avg_pool": Case("out = global_avg_pool(x)", lambda x: x.mean(tuple(range(2, x.ndim))),
                            result=lambda x: x[:2], **picture("b")),
    "global_max_pool": Case("out = global_max_pool(x)", lambda x: x.max(tuple(range(2, x.ndim))),
                            edge=lambda x: ties(x.reshape(*x.shape[:2], int(np.prod(x.shape[2:])))),
                            result=lambda x: x[:2], **picture("b")),
    "adaptive_avg_pool": Case("out = adaptive_avg_pool(x, 2)", lambda x: averaged_in_bins(x, 2),
                              result=sized("b", "2"), **picture("b")),
    "bins": Case("out = bins(size(x, 0), 2)", lambda x: averaged_in_bins(np.eye(x.size)[:, None], 2)[:, 0],
                 shapes=lambda n, count: [("e",)], result=lambda x: (*x, "2"), flat="E0401",
                 torch="PyTorch has no weights of its adaptive pooling"),
    "maxout": Case("out = maxout(x)", lambda x: np.maximum(*np.split(x, 2, -1)), result=lambda x: (*x[:-1], "2"),
                   shapes=ranks(1, 5, ("4",)), edge=lambda x: np.abs(np.subtract(*np.split(x, 2, -1))), most=24,
                   torch=lambda torch, x: torch.maximum(*x.chunk(2, -1))),
    # sequences
    **{name: Case("out = f(x)", lambda x, W, U, b, name=name: sequences(name, x, W, U, b), layer=f"{name}(2)",
                  **SEQUENCES) for name in ("rnn", "lstm", "gru")},
    **{f"{name} backward with lengths": Case(
        "out = f(x, k + 1)", lambda x, k, W, U, b, name=name: sequences(name, x, W, U, b, k + 1, -1),
        layer=f"{name}(2, backward = true)", **OF_LENGTHS) for name in ("rnn", "lstm", "gru")},
    **ATTENTION_CASES,
    **AUGMENT_CASES,
    **BLOCK_CASES,
    **DISTRIBUTION_CASES,
    **SEQUENCE_CASES,
    **SHELF_CASES,
}
