"""Every function of the library and of the compiler at its zeros, ties and kinks, for test_special_points.py.

A row is an expression of x, a point, and what the expression is around it: a function that mpmath differentiates (of a
kink the side that counts, as docs/derivatives.md has it; of a tie the mean of those that tie), or the gradient and the
Hessian themselves where they are limits. Where the second derivative is 0 everywhere, which is refused as a mistake, a
square is added or taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mpmath as mp
from library_cases import CASES
from op_rows import FLAT, INF, ROWS as OPERATIONS

Limits = tuple[Sequence[float], Sequence[Sequence[float]]]
Row = tuple[str, Sequence[float], "Callable[..., Any] | Limits"]

exp, log = mp.exp, mp.log


def two(x: Any, y: Any) -> Any:
    """log(exp(x) + exp(y))"""
    return log(exp(x) + exp(y))


def squares(*x: Any) -> Any:
    return sum(value * value for value in x)


def of_pairs(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda x, y: (function(x, y) + function(y, x)) / 2


def log_determinant(a: Any, b: Any, c: Any, d: Any) -> Any:
    """Of a matrix that stands for its symmetric part."""
    return log(a * d - ((b + c) / 2) ** 2)


M = "reshape(x, [2, 2])"
UNIT, SPD = [1.0, 0.0, 0.0, 1.0], [2.0, 0.5, 0.5, 1.0]
IMAGE = "x[none, none]"

POINTS: dict[str, list[Row]] = {
    # of each element
    "abs": [
        ("abs(x[0]) + x[0]^2", [0], lambda x: x**2),
        ("abs(x[0])^2", [0], lambda x: x**2),
        ("abs(x[0])^3", [0], lambda x: 0 * x),
        ("abs(x[0])^4", [0], lambda x: x**4),
        ("abs(x[0]) * x[0]", [0], lambda x: 0 * x),
        ("cos(abs(x[0]))", [0], mp.cos),
    ],
    "sign": [("sign(x[0]) * x[0]^2 + x[0]^2", [0], lambda x: x**2)],
    "exp": [("exp(x[0])", [0], exp), ("exp(x[0])", [-INF], ([0], [[0]]))],
    "expm1": [("expm1(x[0])", [0], mp.expm1), ("expm1(x[0])", [-INF], ([0], [[0]]))],
    "log": [("log(x[0])", [1], log), ("log(x[0])", [0], ([INF], [[-INF]])), ("exp(log(x[0]))^2", [1], lambda x: x**2)],
    "log1p": [("log1p(x[0])", [0], mp.log1p), ("log1p(x[0])", [-1], ([INF], [[-INF]]))],
    "sqrt": [
        ("sqrt(x[0])", [0], ([INF], [[-INF]])),
        ("sqrt(x[0]^2) + x[0]^2", [0], lambda x: x**2),
        ("sqrt(sum(x^2))^2", [0, 0], squares),
        ("x[0]^1.5", [0], ([0], [[INF]])),
        ("x[0]^2.5", [0], ([0], [[0]])),
    ],
    "sin": [("sin(x[0])", [0], mp.sin)],
    "cos": [("cos(x[0])", [0], mp.cos)],
    "tanh": [("tanh(x[0])", [0], mp.tanh), ("tanh(x[0])", [INF], ([0], [[0]]))],
    "sigmoid": [
        ("sigmoid(x[0])", [0], lambda x: 1 / (1 + exp(-x))),
        ("sigmoid(x[0])", [-INF], ([0], [[0]])),
        ("sigmoid(x[0])", [INF], ([0], [[0]])),
    ],
    "erf": [("erf(x[0])", [0], mp.erf)],
    "floor": [("floor(x[0]) + x[0]^2", [2], lambda x: 2 + x**2), ("x[0] // 2 * x[0]^2", [4], lambda x: 2 * x**2)],
    "ceil": [("ceil(x[0]) * x[0]^2", [2], lambda x: 2 * x**2)],
    "round": [("round(x[0]) + x[0]^2", [0.5], lambda x: x**2)],
    "maximum": [
        ("maximum(x[0], x[1]) + x[0] * x[1]", [3, 3], lambda x, y: (x + y) / 2 + x * y),
        ("maximum(x[0]^2, x[1]^2)", [1, 1], of_pairs(lambda x, y: x**2)),
        ("maximum(x[0], 0)^2", [0], lambda x: 0 * x),
        ("maximum(-x[0], x[0])^2", [0], lambda x: x**2),
        ("maximum(x[0]^2, 1)", [1], lambda x: 0 * x + 1),
    ],
    "minimum": [
        ("minimum(x[0], x[1]) + x[0] * x[1]", [3, 3], lambda x, y: (x + y) / 2 + x * y),
        ("minimum(x[0]^2, x[1]^2)", [1, 1], of_pairs(lambda x, y: x**2)),
        ("minimum(x[0]^2, 1)", [1], lambda x: 0 * x + 1),
    ],
    "where": [
        ("where(x[0] > 0, x[0]^2, x[0]^3)", [0], lambda x: x**3),
        ("where(x[0] > 0, log(x[0]), x[0]^2)", [0], lambda x: x**2),
    ],
    # powers
    "power": [
        *((f"power(x[0], {n})", [0], lambda x, n=n: x**n) for n in (2, 3, 4)),
        ("power(x[0], x[1])", [2, 0], mp.power),
        ("power(x[0], x[1])", [1, 0], mp.power),
        ("power(x[0], x[1])", [3, 1], mp.power),
        ("power(x[0], x[1])", [0, 0], FLAT),
        ("power(x[0], x[1])", [-2, 2], ([-4, 0], [[2, 0], [0, 0]])),
        ("power(x[0], x[1])", [0, 1], ([1, 0], [[0, 0], [0, 0]])),
        ("x[0]^2 * x[1]", [0, 0], lambda x, y: x**2 * y),
        ("x[0]^-1", [-1], lambda x: 1 / x),
        ("1 / x[0]", [0], ([-INF], [[INF]])),
    ],
    "remainder": [
        ("remainder(x[0], 2)^2", [2], lambda x: (x - 2) ** 2),
        ("remainder(x[0], 2) * x[0]", [4], lambda x: (x - 4) * x),
    ],
    "logaddexp": [
        ("logaddexp(x[0], x[1])", [1, 1], two),
        ("logaddexp(x[0], 2 * x[0])", [0], lambda x: two(x, 2 * x)),
        ("logaddexp(x[0], x[1])", [-INF, 0], ([0, 1], [[0, 0], [0, 0]])),
    ],
    "xlogy": [
        ("xlogy(x[0], x[1])", [0, 1], lambda x, y: x * log(y)),
        ("xlogy(x[0], x[0])", [1], lambda x: x * log(x)),
        ("xlogy(x[0], x[1])", [0, 0], FLAT),
    ],
    "log1pmx": [("log1pmx(x[0])", [point], lambda x: mp.log1p(x) - x) for point in (0, 0.25, -0.25)],
    "sinc": [("sinc(x[0])", [point], lambda x: mp.sinc(mp.pi * x)) for point in (0, 1, 0.5 / mp.pi, -0.5 / mp.pi)],
    "log_gamma": [("log_gamma(x[0])", [point], mp.loggamma) for point in (1, 2, 8, 0.001)],
    "stirling_rest": [
        ("stirling_rest(x[0])", [8], lambda z: mp.loggamma(z) - (z - 0.5) * log(z) + z - log(2 * mp.pi) / 2)
    ],
    # activations
    "relu": [("relu(x[0])^2", [0], lambda x: 0 * x), ("relu(x[0]) + x[0]^2", [0], lambda x: x**2)],
    "leaky_relu": [("leaky_relu(x[0], 0.25)^2", [0], lambda x: x**2 / 16)],
    "elu": [
        ("elu(x[0])", [0], mp.expm1),
        ("elu(x[0], 2)", [0], lambda x: 2 * mp.expm1(x)),
        ("elu(x[0])", [-INF], ([0], [[0]])),
        (
            "1.0507009873554805 * elu(x[0], 1.6732632423543772)",
            [0],
            lambda x: mp.mpf(1.0507009873554805) * mp.mpf(1.6732632423543772) * mp.expm1(x),
        ),
        *(
            (spelling, [0], mp.expm1)
            for spelling in (
                "where(x[0] > 0, x[0], expm1(minimum(x[0], 0)))",
                "where(x[0] <= 0, expm1(minimum(0, x[0])), x[0])",
                "maximum(x[0], 0) + expm1(minimum(x[0], 0))",
                "maximum(x[0], 0) + minimum(0, expm1(x[0]))",
            )
        ),
    ],
    "silu": [("silu(x[0])", [0], lambda x: x / (1 + mp.exp(-x)))],
    "gelu": [("gelu(x[0])", [0], lambda x: x * mp.ncdf(x))],
    "softplus": [
        ("softplus(x[0])", [0], lambda x: two(0, x)),
        ("softplus(x[0])", [INF], ([1], [[0]])),
        ("softplus(x[0])", [-INF], ([0], [[0]])),
    ],
    "log_sigmoid": [("log_sigmoid(x[0])", [0], lambda x: -two(0, -x)), ("log_sigmoid(x[0])", [-INF], ([1], [[0]]))],
    "softmax": [("softmax(x)[0]", [0, 0], lambda x, y: exp(x - two(x, y))), ("softmax(x)[1]", [-INF, 1], FLAT)],
    "log_softmax": [("log_softmax(x)[0]", [0, 0], lambda x, y: x - two(x, y))],
    "maxout": [
        ("maxout(x)[0]^2", [1, 1], ([1, 1], [[0.5, 0.5], [0.5, 0.5]])),
        ("maxout(x^2)[0]", [1, 1], of_pairs(lambda x, y: x**2)),
    ],
    # reductions
    "sum": [("sum(x^2)", [0, 0], squares)],
    "mean": [("mean(x^2)", [0, 0], lambda x, y: (x**2 + y**2) / 2)],
    "prod": [
        *(("prod(x)", point, lambda *x: mp.fprod(x)) for point in ([0, 2, 3], [0, 0, 3], [0, 0, 0], [0, 0, 0, 1])),
        ("prod(x^2)", [0, 2, 3], lambda *x: mp.fprod(x) ** 2),
        ("prod(x)^2", [0, 2], lambda *x: mp.fprod(x) ** 2),
        (f"sum(prod({M}, axis = 0))", [0, 2, 3, 0], lambda a, b, c, d: a * c + b * d),
    ],
    "max": [
        ("max(x^2)", [1, 1], of_pairs(lambda x, y: x**2)),
        ("max(x) + x[0]^2", [3, 3], lambda x, y: (x + y) / 2 + x**2),
    ],
    "min": [
        ("min(x^2)", [1, 1], of_pairs(lambda x, y: x**2)),
        ("min(x) + x[0]^2", [3, 3], lambda x, y: (x + y) / 2 + x**2),
    ],
    "logsumexp": [
        ("logsumexp(x)", [1, 1], two),
        ("logsumexp(x)", [0, 0, 0], lambda *x: log(sum(map(exp, x)))),
        ("logsumexp(x)", [-INF, -INF], FLAT),
        ("logsumexp(x)", [-INF, 1], ([0, 1], [[0, 0], [0, 0]])),
        ("logsumexp(stack([x, x]), axis = [0, 1])", [-INF, -INF], FLAT),
        ("sum(logsumexp(stack([x, x]), axis = 0))^2", [0, 0], lambda x, y: (x + y + 2 * log(2)) ** 2),
    ],
    # along a dimension, and moved about
    "cumsum": [("sum(cumsum(x)^2)", [0, 0], lambda x, y: x**2 + (x + y) ** 2)],
    "cumprod": [
        ("sum(cumprod(x))", [0, 0, 3], lambda x, y, z: x + x * y + x * y * z),
        ("cumprod(x)[2]", [0, 2, 3], lambda x, y, z: x * y * z),
        ("sum(cumprod(x, exclusive = true))", [0, 0, 3], lambda x, y, z: 1 + x + x * y),
    ],
    "sort": [("sum(sort(x)^2)", [2, 2], squares)],
    "top_values": [("sum(top_values(x, 2)^2)", [2, 2], squares)],
    "take_along": [("take_along(x^2, stack([-1]))[0]", [1, 2], lambda x, y: y**2)],
    "pick": [("pick(x^2, -1)", [1, 2], lambda x, y: y**2)],
    "gather": [("sum(gather(x^2, stack([-1, -1])))", [1, 2], lambda x, y: 2 * y**2)],
    "scatter_add": [("sum(scatter_add(x, stack([-1, -1]), 2)^2)", [1, 2], lambda x, y: (x + y) ** 2)],
    "roll": [("roll(x, 1)[0]^2", [0, 0], lambda x, y: y**2)],
    "einsum": [('einsum("i, i ->", x, x)', [0, 0], squares)],
    # vectors
    "clamp": [("clamp(x[0], -1, 1)^2", [1], lambda x: 0 * x + 1), ("clamp(x[0], -1, 1)^2", [0], lambda x: x**2)],
    "dot": [("dot(x, x)", [0, 0], squares)],
    "norm": [
        ("norm(x)^2", [0, 0], squares),
        ("norm(x)^4", [0, 0], lambda *x: squares(*x) ** 2),
        ("norm(x) * norm(x)", [0, 0], squares),
        ("(3 * norm(x))^2", [0, 0], lambda *x: 9 * squares(*x)),
        ("norm(x - 1)^2 * x[0]", [1, 1], lambda x, y: squares(x - 1, y - 1) * x),
        ("exp(-norm(x)^2)", [0, 0], lambda *x: exp(-squares(*x))),
        (f"sum(norm({M}, axis = 1)^2)", [0, 0, 1, 0], squares),
        ("norm(x)", [0, 0], FLAT),
        ("norm(x)", [0, 2], lambda x, y: mp.sqrt(x**2 + y**2)),
        ("norm(x, order = 1)^2", [0, 1], lambda x, y: y**2),
        ("norm(x, order = 3)", [0, 1], ([0, 1], [[0, 0], [0, 0]])),
        ("norm(x, order = 3)", [0, 0], FLAT),
        ("norm(x, order = 4)^4", [0, 0], lambda x, y: x**4 + y**4),
        ("norm(x, order = inf) + x[0]^2", [1, 1], lambda x, y: (x + y) / 2 + x**2),
    ],
    "abs_power": [
        *(
            (f"abs_power(x[0], {order})", [0], ([0], [[bend]]))
            for order, bend in ((1.5, INF), (2, 2), (2.5, 0), (3, 0))
        ),
        ("abs_power(x[0], 4)", [0], lambda x: x**4),
        ("abs_power(x[0], 3)", [-2], lambda x: -(x**3)),
    ],
    "signed_power": [
        ("signed_power(x[0], 2)", [0], ([0], [[0]])),
        ("signed_power(x[0], 2.5)", [0], ([0], [[0]])),
        ("signed_power(x[0], 3)", [0], lambda x: x**3),
        ("signed_power(x[0], 2)", [-2], lambda x: -(x**2)),
    ],
    "root": [("root(x[0]^2 + x[1]^2)^2", [0, 0], squares), ("root(x[0])", [0], ([0], [[0]]))],
    "normalize": [("normalize(x)[0]", [0, 1], lambda x, y: x / mp.sqrt(x**2 + y**2))],
    "var": [("var(x)", [2, 2], lambda x, y: (x - y) ** 2 / 4)],
    "std": [
        ("std(x)^2", [2, 2], lambda x, y: (x - y) ** 2 / 4),
        ("std(x, ddof = 1)^2", [2, 2], lambda x, y: (x - y) ** 2 / 2),
        ("std(x)", [2, 2], FLAT),
    ],
    # linear algebra
    "outer": [("sum(outer(x, x))", [0, 0], lambda x, y: (x + y) ** 2)],
    "trace": [(f"trace({M} @ {M})", [0, 0, 0, 0], lambda a, b, c, d: a**2 + 2 * b * c + d**2)],
    "diagonal": [(f"sum(diagonal({M})^2)", UNIT, lambda a, b, c, d: a**2 + d**2)],
    "diag": [("sum(diag(x)^2)", [0, 0], squares)],
    "swap": [(f"swap({M})[0, 1]^2", UNIT, lambda a, b, c, d: c**2)],
    "cholesky": [
        (f"cholesky({M})[1, 1]", at, lambda a, b, c, d: mp.sqrt(d - ((b + c) / 2) ** 2 / a)) for at in (UNIT, SPD)
    ],
    "log_determinant": [(f"log_determinant({M})", at, log_determinant) for at in (UNIT, SPD)],
    "linear_solve": [
        (f"linear_solve({M}, stack([1.0, 0.0])[:, none])[0, 0]", at, lambda a, b, c, d: d / (a * d - b * c))
        for at in (UNIT, SPD, [0, 1, 1, 0], [1, 2, 3, 4])
    ],
    "inverse": [(f"inverse({M})[0, 1]", at, lambda a, b, c, d: -b / (a * d - b * c)) for at in (UNIT, [0, 1, 1, 0])],
    "determinant": [
        (f"determinant({M})", at, lambda a, b, c, d: a * d - b * c)
        for at in (UNIT, [0, 1, 1, 0], [1, 2, 2, 4], [0, 1, 0, 0], [1, 1, 1, 1])
    ],
    "log_abs_determinant": [
        (f"log_abs_determinant({M})", at, lambda a, b, c, d: mp.log(abs(a * d - b * c))) for at in (UNIT, [0, 1, 1, 0])
    ],
    "cholesky_solve": [
        (
            f"cholesky_solve({M}, stack([1.0, 0.0])[:, none])[0, 0]",
            at,
            lambda a, b, c, d: d / (a * d - ((b + c) / 2) ** 2),
        )
        for at in (UNIT, SPD)
    ],
    "triangular_solve": [
        (f"sum(triangular_solve({M}, stack([1.0, 1.0])[:, none]))", UNIT, lambda a, b, c, d: 1 / a + (1 - c / a) / d)
    ],
    "polar_step": [
        ("polar_step(x[none], 1, 1, 1)[0, 0]", [0, 0], lambda x, y: x * (1 + squares(x, y) + squares(x, y) ** 2))
    ],
    # windows
    "max_pool": [(f"max_pool({IMAGE}^2, 2)[0, 0, 0]", [1, 1], of_pairs(lambda x, y: x**2))],
    "avg_pool": [(f"avg_pool({IMAGE}^2, 2)[0, 0, 0]", [0, 0], lambda x, y: (x**2 + y**2) / 2)],
    "global_max_pool": [(f"global_max_pool({IMAGE}^2)[0, 0]", [1, 1], of_pairs(lambda x, y: x**2))],
    "global_avg_pool": [(f"global_avg_pool({IMAGE}^2)[0, 0]", [0, 0], lambda x, y: (x**2 + y**2) / 2)],
    "adaptive_avg_pool": [(f"adaptive_avg_pool({IMAGE}^2, 1)[0, 0, 0]", [0, 0], lambda x, y: (x**2 + y**2) / 2)],
    "convolve": [(f"convolve({IMAGE}, {IMAGE})[0, 0, 0]", [0, 0], squares)],
    "convolve_transpose": [(f"convolve_transpose({IMAGE}, {IMAGE})[0, 0, 1]", [0, 0], lambda x, y: 2 * x * y)],
    # losses, distributions, penalties, clips
    "squared": [("squared(x, stack([1.0]))", [1], lambda x: (x - 1) ** 2)],
    "absolute": [("absolute(x, stack([1.0]))^2", [1], lambda x: 0 * x)],
    "huber": [("huber(x, stack([0.0]))", [point], lambda x: x**2 / 2) for point in (0, 1, -1)],
    "hinge": [("hinge(x, stack([1.0]))^2", [1], lambda x: 0 * x)],
    "cross_entropy": [
        ("cross_entropy(x[none], stack([0]))", [0, 0], lambda x, y: two(x, y) - x),
        ("cross_entropy(x[none], stack([1]))", [-INF, 1], FLAT),
    ],
    "binary_cross_entropy": [("binary_cross_entropy(x, stack([1.0]))", [0], lambda x: two(0, x) - x)],
    "normal": [
        (
            "log_density(normal(x[0], x[1]), 1.0)",
            [1, 1],
            lambda m, s: -(((1 - m) / s) ** 2) / 2 - log(s) - log(2 * mp.pi) / 2,
        )
    ],
    "laplace": [("log_density(laplace(x[0], x[1]), 1.0)", [1, 1], lambda m, s: -log(2 * s))],
    "half_normal": [
        (
            "log_density(half_normal(x[1]), x[0]^2)",
            [0, 1],
            lambda y, s: log(2 / mp.pi) / 2 - log(s) - (y**2 / s) ** 2 / 2,
        )
    ],
    "half_cauchy": [
        (
            "log_density(half_cauchy(x[1]), x[0]^2)",
            [0, 1],
            lambda y, s: log(2 / mp.pi) - log(s) - log(1 + (y**2 / s) ** 2),
        )
    ],
    "uniform": [("log_density(uniform(x[0], x[1]), 0.0)", [0, 2], lambda a, b: -log(b - a))],
    "bernoulli": [("log_density(bernoulli(x[0]), 1)", [0], lambda x: x - two(0, x))],
    "categorical": [("log_density(categorical(x), 1)", [0, 0], lambda x, y: y - two(x, y))],
    "poisson": [
        ("log_density(poisson(x[0]), 0) + x[0]^2", [0], lambda r: r**2 - r),
        ("log_density(poisson(x[0]), 1)", [1], lambda r: log(r) - r),
    ],
    "poisson_log": [
        ("poisson_log(x[0], 20)", [20], lambda r: 20 * log(r) - r - mp.loggamma(21)),
        ("poisson_log(x[0], 20)", [25], lambda r: 20 * log(r) - r - mp.loggamma(21)),
    ],
    "kl_normal": [
        ("kl_normal(normal(x[0], x[1]), normal(0, 1))", [0, 1], lambda m, s: -log(s) + (s**2 + m**2) / 2 - 0.5)
    ],
    "l1": [("l1(x, 0.5)^2", [0, 1], lambda x, y: y**2 / 4)],
    "l2": [("l2(x, 0.5)", [0, 0], lambda x, y: (x**2 + y**2) / 2)],
    "global_norm": [("global_norm(x, 1.0)[0]^2", [0, 0], lambda x, y: x**2)],
    "each_norm": [("each_norm(x, 1.0)[0]^2", [0, 0], lambda x, y: x**2)],
    "each_value": [
        ("each_value(x, 1.0)[0]^2", [0, 0], lambda x, y: x**2),
        ("each_value(x, 1.0)[0]^2", [1, 0], lambda x, y: 0 * x + 1),
    ],
}
WHY = {
    "linear in its argument": "broadcast_to concat flip pad rearrange repeat reshape split stack tile transpose tril "
    "triu reduce dense conv conv_transpose tiled_conv embedding dropout rfft irfft",
    "a search, or what no derivative flows through": "beam_search fgsm pgd gradient_match",
    "without a derivative: integers, booleans, sizes": "all any arange argmax argmin argsort is_finite is_inf "
    "is_nan one_hot to_int top transposition xor accuracy size rank known_size window eye bins fan_in fan_out "
    "interval reverse",
    "a draw": "bernoulli_like normal_like uniform_like permutation shuffle draw glorot_normal glorot_uniform he_normal "
    "lecun_normal lecun_uniform "
    "he_uniform orthogonal sparse spectral_radius gamma_like von_mises_like poisson_like whole_like factor_like in_box",
    "a score over a data set": "top_k precision recall f1 macro_precision macro_recall macro_f1 matthews auc "
    "average_precision exact_auc exact_average_precision by_score confusion "
    "calibration_error r2 rmse mape weighted_mean perplexity class_counts in_bins",
    "a number, or one shape of it": "constant zeros ones zeros_like ones_like gate_bias",
    "what an optimizer asks for": "clipped",
    "a derivative itself, or a marker": "grad hessian hvp jacobian jvp vjp stop_gradient all_rows",
    "made of the functions above, parameter by parameter": "moments batch_norm group_norm mlp rnn gru lstm "
    "eliminate gauss_jordan pivots "
    "spectral_norm",
    "an update rule or a schedule": "accumulate adagrad adam adamw lookahead momentum rmsprop sgd heavy_ball rprop "
    "adadelta adamax nadam amsgrad radam adabelief yogi adafactor lars lamb lion sign_sgd muon "
    "clip_each noise sam backtracking ema newton_cg gauss_newton levenberg_marquardt lbfgs conjugate_gradient armijo "
    "newton wolfe strong_wolfe shampoo inverse_root matrices kfac diagonal_fisher plateau moving_mean "
    "constant_rate cosine cyclic exponential_decay step_decay",
    "a word about distributions": "joint weighted log_density",
    "its derivative is chosen, and linear in what flows back": "round_through sign_through reverse_gradient "
    "clip_gradient",
}
WITHOUT = {name: reason for reason, names in WHY.items() for name in names.split()}
for name, row in (*OPERATIONS.items(), *CASES.items()):  # what is said where they are
    function = name.split()[0]
    if isinstance(row.points, str):
        WITHOUT[function] = row.points
    elif row.points:
        POINTS[function] = [*POINTS.get(function, ()), *row.points]
