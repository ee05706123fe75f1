"""More functions of the standard library that have a closed form, for library_cases.py."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
from library_sweep import SCALED, Case, Dims, away, labelled, mean, normed, numbers, picture, ranks, rows, scalar
from library_windows import along_channels
from scipy import special

SLOPE = {"parameters": ("slope",), "straight": "slope", "edge": lambda x, **f: np.abs(x)}


def half(x: Dims, *others: Dims) -> Dims:
    return (*x[:-1], "2")


def per_channel(x: Any, scale: Any) -> Any:
    return np.moveaxis(np.moveaxis(x, 1, -1) * scale, -1, 1)


def mish(x: Any) -> Any:
    return x * np.tanh(np.logaddexp(0, x))


def hard_sigmoid(x: Any) -> Any:
    return np.minimum(np.maximum(x + 3, 0), 6) / 6


def threshold(x: Any) -> Any:
    """The t at which the parts of x above it are 1 together, by bisection and then exactly from who is above."""
    low, high = x.max(-1, keepdims=True) - 1, x.max(-1, keepdims=True)
    for _ in range(60):
        middle = (low + high) / 2
        above = np.maximum(x - middle, 0).sum(-1, keepdims=True) > 1
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    inside = x > high
    return (np.where(inside, x, 0).sum(-1, keepdims=True) - 1) / inside.sum(-1, keepdims=True)


def instance_normed(x: Any, scale: Any, shift: Any) -> Any:
    return along_channels(per_channel(normed(x, tuple(range(2, x.ndim)), 0.1), scale), shift)


def unit(W: Any, axis: int | tuple[int, ...]) -> Any:
    return W / np.sqrt((W**2).sum(axis, keepdims=True))


def focal(x: Any, k: Any) -> Any:
    p = np.take_along_axis(special.softmax(x, -1), k[..., None], -1)[..., 0] if x.size else x[..., 0]
    return mean(-((1 - p) ** 2) * np.log(p))


def focal_of_torch(torch: Any, x: Any, k: Any) -> Any:
    log_p = torch.log_softmax(x, -1).gather(-1, k[..., None])[..., 0]
    return torch.mean(-((1 - log_p.exp()) ** 2) * log_p)


def cosines(x: Any, y: Any) -> Any:
    return (unit_rows(x) * unit_rows(y)).sum(-1)


def unit_rows(x: Any) -> Any:
    return x / np.sqrt((x**2).sum(-1, keepdims=True))


def distance(x: Any, y: Any) -> Any:
    return np.sqrt(((x - y) ** 2).sum(-1))


def labelled_pairs(number: int, count: int) -> list[Dims]:
    [x] = ranks(1)(number, 1)
    return [x, x, x[:-1]]


def paired(x: Any, y: Any) -> Any:
    """Row i of x among all rows of y, by logs of probabilities."""
    return mean(-np.diagonal(special.log_softmax(x @ y.T / 0.5, -1)))


def cycled(x: Any, step: Any) -> Any:
    share = min((step - 1) / 8, 1)
    if share < 0.25:
        return x * (0.04 + 0.96 * np.sin(np.pi * share / 0.5) ** 2)
    return x * (4e-6 + (1 - 4e-6) * np.cos(np.pi * (share - 0.25) / 1.5) ** 2)


SCHEDULE = "PyTorch's schedules are objects that set a number in an optimizer: no function of the peak"

# fmt: off
SHELF_CASES = {
    # activations
    "softsign": Case("out = softsign(x)", lambda x: x / (1 + np.abs(x)), edge=away(0),
                     said={"softsign(a)": lambda a: 1}, torch=lambda torch, x: torch.nn.functional.softsign(x),
                     points=[("softsign(x[0])^2", [0], lambda x: x**2)]),
    "mish": Case("out = mish(x)", mish, edge=away(0), said={"mish(a)": lambda a: a},
                 torch=lambda torch, x: torch.nn.functional.mish(x),
                 points=[("mish(x[0])", [0], lambda x: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x))))]),
    "selu": Case("out = selu(x)", lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
                 edge=away(0), said={"selu(a)": lambda a: 1.8 * (a + 1)},
                 torch=lambda torch, x: torch.nn.functional.selu(x),
                 points=[("selu(x[0])", [0], lambda x: 1.0507009873554805 * 1.6732632423543772 * mpmath.expm1(x))]),
    "hard_sigmoid": Case("out = hard_sigmoid(2 * x)", lambda x: hard_sigmoid(2 * x), edge=away(-1.5, 1.5),
                         said={"hard_sigmoid(a)": lambda a: 1},
                         torch=lambda torch, x: torch.nn.functional.relu6(2 * x + 3) / 6,
                         points=[("hard_sigmoid(x[0])^2", [0], lambda x: (x / 6 + 0.5) ** 2)]),
    "hard_swish": Case("out = hard_swish(2 * x)", lambda x: 2 * x * hard_sigmoid(2 * x), edge=away(-1.5, 1.5),
                       said={"hard_swish(a)": lambda a: a},
                       torch=lambda torch, x: torch.nn.functional.hardswish(2 * x),
                       points=[("hard_swish(x[0])", [0], lambda x: x * (x / 6 + 0.5))]),
    "hard_tanh": Case("out = hard_tanh(x)", lambda x: np.clip(x, -1, 1), edge=away(-1, 1),
                      said={"hard_tanh(a)": lambda a: 1}, torch=lambda torch, x: torch.nn.functional.hardtanh(x),
                      points=[("hard_tanh(x[0])^2", [0], lambda x: x**2)]),
    "glu": Case("out = glu(x)", lambda x: x[..., :2] * special.expit(x[..., 2:]), shapes=ranks(1, 5, ("4",)),
                result=half, most=24, said={"glu(concat([a, 0.3 - a], axis = -1))": lambda a: a},
                torch=lambda torch, x: torch.nn.functional.glu(x),
                points=[("glu(x)[0]", [0, 0], lambda x, y: x / (1 + mpmath.exp(-y)))]),
    "swiglu": Case("out = swiglu(x)", lambda x: x[..., :2] * special.expit(x[..., :2]) * x[..., 2:],
                   shapes=ranks(1, 5, ("4",)), result=half, most=24,
                   said={"swiglu(concat([a, 0.3 - a], axis = -1))": lambda a: a * (a + 0.3)},
                   torch=lambda torch, x: torch.nn.functional.silu(x[..., :2]) * x[..., 2:],
                   points=[("swiglu(x)[0]", [0, 0], lambda x, y: x / (1 + mpmath.exp(-x)) * y)]),
    "sparsemax": Case("out = sparsemax(x)", lambda x: np.maximum(x - threshold(x), 0) if x.size else x, shapes=rows,
                      edge=lambda x: np.abs(x - threshold(x)) if x.size else 1, said={"sparsemax(a)": lambda a: 1},
                      torch="PyTorch has none; by bisection in test_library.py",
                      points=[("sparsemax(x)[0]^2", [0, 0], lambda x, y: ((x - y + 1) / 2) ** 2)]),
    "prelu": Case("out = f(x)", lambda x, slope: np.where(x > 0, x, per_channel(x, slope)), layer="prelu()", **SLOPE,
                  **picture("2", low=2), torch=lambda torch, x, slope: torch.nn.functional.prelu(x, slope),
                  points="leaky_relu with a slope that is learned"),
    "prelu of one slope": Case(
        "out = f(x)", lambda x, slope: np.where(x > 0, x, slope * x), layer="prelu(shared = true)", **SLOPE,
        **picture("2", low=2), torch=lambda torch, x, slope: torch.nn.functional.prelu(x, slope.reshape(1))),
    # norms
    "rms_norm": Case("out = f(x)", lambda x, scale: scale * x / np.sqrt((x**2).mean(-1, keepdims=True) + 0.1),
                     shapes=ranks(1, 5, ("#",)), layer="rms_norm(eps = 0.1)", parameters=("scale",), straight="scale",
                     said={"0.5 * (a |> rms_norm(eps = 0.2))": lambda a: 1.5},
                     torch=lambda torch, x, scale: torch.nn.functional.rms_norm(x, scale.shape, scale, 0.1),
                     points=[("(x |> rms_norm(eps = 0.25))[0]", [0, 0],
                              lambda x, y: x / mpmath.sqrt((x**2 + y**2) / 2 + 0.25))]),
    "instance_norm": Case("out = f(x)", instance_normed, layer="instance_norm(eps = 0.1)", **SCALED, **picture("2"),
                          torch=lambda torch, x, scale, shift: torch.native_group_norm(
                              x.contiguous(), scale, shift, len(x), 2, int(np.prod(x.shape[2:])), 2, 0.1)[0],
                          points="made of the functions above, parameter by parameter"),
    "weight_norm": Case("g = dense(3, bias = false)\n    f = weight_norm(g)\n    out = f(x)",
                        lambda x, W, gain: x @ (gain * unit(W, 0)), shapes=ranks(1, 5, ("#",)),
                        result=lambda x: (*x[:-1], "3"), parameters=("g.W", "gain"),
                        torch=lambda torch, x, W, gain: torch.nn.functional.linear(
                            x, torch._weight_norm(W.mT, gain[:, None], 0)),
                        points="normalize, of the W of a layer"),
    # losses
    "pinball": Case("out = pinball(p, y, level = 0.8)",
                    lambda p, y: mean(np.where(y > p, 0.8 * (y - p), 0.2 * (p - y))), "p y", result=scalar,
                    edge=lambda p, y: np.abs(p - y),
                    torch=lambda torch, p, y: torch.mean(0.3 * (y - p) + 0.5 * torch.abs(y - p)),
                    points=[("pinball(x, stack([1.0]), 0.8)^2", [1], lambda x: (0.3 * (x - 1)) ** 2)]),
    "logistic_loss": Case("out = logistic_loss(x, 2 * t - 1)", lambda x, t: mean(np.logaddexp(0, (1 - 2 * t) * x)),
                          "x t", result=scalar, edge=lambda x, t: np.abs(x),
                          torch=lambda torch, x, t: torch.nn.functional.soft_margin_loss(
                              *torch.broadcast_tensors(x, 2.0 * t - 1)),
                          points=[("logistic_loss(x, stack([1.0]))", [0],
                                   lambda x: mpmath.log1p(mpmath.exp(-x)))]),
    "focal": Case("out = focal(x, k)", focal, "x k", labelled, scalar, least={"e": 1}, torch=focal_of_torch,
                  points=[("focal(x[none], stack([0]))", [0, 0], lambda x, y: mpmath.log1p(mpmath.exp(y - x))
                           / (1 + mpmath.exp(x - y)) ** 2)]),
    "triplet": Case("out = triplet(x, y, s, margin = 0.5)",
                    lambda x, y, s: mean(np.maximum(((x - y) ** 2).sum(-1) - ((x - s) ** 2).sum(-1) + 0.5, 0)),
                    "x y s", ranks(1), scalar,
                    edge=lambda x, y, s: np.abs(((x - y) ** 2).sum(-1) - ((x - s) ** 2).sum(-1) + 0.5),
                    torch=lambda torch, x, y, s: torch.relu(
                        ((x - y) ** 2).sum(-1) - ((x - s) ** 2).sum(-1) + 0.5).mean(),
                    points="squares below a maximum, which has its own"),
    # penalties and schedules
    "elastic_net": Case("out = elastic_net(x, 0.3, share = 0.2)",
                        lambda x: 0.06 * np.abs(x).sum() + 0.12 * (x**2).sum(), result=scalar, edge=away(0),
                        torch=lambda torch, x: 0.06 * x.abs().sum() + 0.12 * (x**2).sum(),
                        points=[("elastic_net(x, 1)^2", [0, 1], lambda x, y: (y / 2 + (x**2 + y**2) / 4) ** 2)]),
    "polynomial": Case("out = polynomial(x, 6, power = 2, last = y)", lambda x, y, step: (
        y + (x - y) * np.clip(1 - (step - 1) / 6, 0, 1) ** 2), "x y", numbers, stepped=True, torch=SCHEDULE,
        points="an update rule or a schedule"),
    "inverse_time": Case("out = inverse_time(x, 3, rate = 1 + y^2)", lambda x, y, step: (
        x / (1 + (1 + y**2) * (step - 1) / 3)), "x y", numbers, stepped=True, torch=SCHEDULE,
        points="an update rule or a schedule"),
    "restarts": Case("out = restarts(x, 5, low = y)", lambda x, y, step: (
        y + (x - y) * np.cos(np.pi * ((step - 1) % 5) / 10) ** 2), "x y", numbers, stepped=True, torch=SCHEDULE,
        points="an update rule or a schedule"),
    "piecewise": Case("out = piecewise([x, y, x * y], ends = [3, 7])", lambda x, y, step: (
        x if step <= 3 else y if step <= 7 else x * y), "x y", numbers, stepped=True, torch=SCHEDULE,
        points="an update rule or a schedule"),
    "one_cycle": Case("out = one_cycle(x, over = 8, rise = 0.25)", cycled, "x", numbers, stepped=True, torch=SCHEDULE,
                      points="an update rule or a schedule"),
    # more losses and penalties, and an initialiser without draws
    "cosine_embedding": Case(
        "out = cosine_embedding(x, y, 2 * t - 1, margin = 0.1)",
        lambda x, y, t: mean(np.where(t > 0, 1 - cosines(x, y), np.maximum(cosines(x, y) - 0.1, 0))), "x y t",
        labelled_pairs, scalar, least={"e": 2},
        edge=lambda x, y, t: np.minimum(np.abs(cosines(x, y) - 0.1), np.minimum(
            distance(x, 0), distance(y, 0)) - 0.1) if x.size else 1,
        torch=lambda torch, x, y, t: torch.nn.functional.cosine_embedding_loss(
            x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1]), 2 * t.reshape(-1) - 1, 0.1),
        points="normalize and a maximum, which have their own"),
    "contrastive": Case(
        "out = contrastive(x, y, t, margin = 2)",
        lambda x, y, t: mean(np.where(t > 0, distance(x, y) ** 2, np.maximum(2 - distance(x, y), 0) ** 2)) / 2,
        "x y t", labelled_pairs, scalar, least={"e": 1}, edge=lambda x, y, t: np.minimum(
            np.abs(2 - distance(x, y)), distance(x, y) - 0.1) if x.size else 1,
        torch=lambda torch, x, y, t: torch.mean(torch.where(
            t > 0, ((x - y) ** 2).sum(-1), torch.relu(2 - torch.linalg.vector_norm(x - y, dim=-1)) ** 2)) / 2,
        points="squares below a maximum, which has its own"),
    "info_nce": Case("out = info_nce(x, y, temperature = 0.5)", paired, "x y", lambda n, count: [("d", "e")] * 2,
                     scalar, least={"d": 1, "e": 1}, torch=lambda torch, x, y: torch.nn.functional.cross_entropy(
                         x @ y.mT / 0.5, torch.arange(len(x))), points="a cross entropy"),
    "activity": Case("out = activity(x, 0.3)", lambda x: 0.3 * np.abs(x).sum() / len(x) if len(x) else np.nan,
                     shapes=ranks(1), result=scalar, edge=away(0), least=dict.fromkeys("abcde", 1),
                     torch=lambda torch, x: 0.3 * x.abs().sum() / len(x), points="the absolute value"),
    "anchored": Case("out = anchored(x, y, 0.3)", lambda x, y: 0.3 * ((x - y) ** 2).sum(), "x y",
                     lambda n, count: [*ranks(0)(n, 1)] * 2, scalar,
                     torch=lambda torch, x, y: 0.3 * ((x - y) ** 2).sum(), points="squares"),
    "identity": Case("out = x @ identity(y, gain = 2)", lambda x, y: 2 * x @ np.eye(*y.shape), "x y",
                     lambda n, count: [("d", "e"), ("e", "3")], lambda x, y: (x[0], "3"), given="y",
                     points="a constant",
                     torch=lambda torch, x, y: x @ (2 * torch.nn.init.eye_(torch.empty_like(y)))),
    "kl_categorical": Case(
        "out = kl_categorical(categorical(x), categorical(y))",
        lambda x, y: special.rel_entr(special.softmax(x, -1), special.softmax(y, -1)).sum(-1) if x.size else x[..., 0],
        "x y", ranks(1), lambda x, y: x[:-1], least=dict.fromkeys("abcde", 1), points="a sum of softmax",
        torch=lambda torch, x, y: torch.distributions.kl_divergence(
            torch.distributions.Categorical(logits=x), torch.distributions.Categorical(logits=y))),
}
