"""Noise and blocks of layers in plain NumPy and as PyTorch has them, for library_cases.py."""

from __future__ import annotations

from typing import Any

import numpy as np
from library_sweep import Case, mean, picture, ranks
from library_windows import along_channels, convolved
from scipy import special


def highway(x: Any, **f: Any) -> Any:
    h, t = np.tanh(x @ f["change.W"] + f["change.b"]), special.expit(x @ f["carry.W"] + f["carry.b"] - 1.5)
    return t * h + (1 - t) * x


def highway_of_torch(torch: Any, x: Any, **f: Any) -> Any:
    h, t = torch.tanh(x @ f["change.W"] + f["change.b"]), torch.sigmoid(x @ f["carry.W"] + f["carry.b"] - 1.5)
    return torch.lerp(x, h, t)


def excited(x: Any, **f: Any) -> Any:
    means = x.mean(tuple(range(2, x.ndim)))
    hidden = np.tanh(means @ f["squeeze.W"] + f["squeeze.b"])
    gate = special.expit(hidden @ f["excite.W"] + f["excite.b"])
    return x * gate.reshape(*gate.shape, *[1] * (x.ndim - 2))


def excited_of_torch(torch: Any, x: Any, **f: Any) -> Any:
    """With convolutions over one place instead of the dense layers."""
    z = x.mean(tuple(range(2, x.ndim)))[..., None]
    z = torch.tanh(torch.nn.functional.conv1d(z, f["squeeze.W"].mT[..., None], f["squeeze.b"]))
    z = torch.sigmoid(torch.nn.functional.conv1d(z, f["excite.W"].mT[..., None], f["excite.b"]))
    return x * z.reshape(*x.shape[:2], *[1] * (x.ndim - 2))


def inside(x: Any, convolve: Any, bent: Any, pool: Any, f: dict[str, Any]) -> list[Any]:
    """The four columns of an inception block."""

    def conv(z: Any, at: int, pad: int = 0) -> Any:
        name = "conv" if at == 0 and "conv.W" in f else f"conv[{at}]"
        return bent(convolve(z, f[f"{name}.W"], f[f"{name}.b"], pad))

    return [conv(x, 0), conv(conv(x, 1), 2, 1), conv(conv(x, 3), 4, 2), conv(pool(x), 5)]


def largest_of_three(x: Any) -> Any:
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3)).max((-1, -2))


def unequal(x: Any) -> Any:
    """How far the values of each channel are from each other."""
    return np.diff(np.sort(x.reshape(*x.shape[:2], x.shape[2] * x.shape[3]), -1), axis=-1)


def inception(x: Any, **f: Any) -> Any:
    def convolve(z: Any, W: Any, b: Any, pad: int) -> Any:
        return along_channels(convolved(z, W, pad=pad), b)

    return np.concatenate(inside(x, convolve, np.tanh, largest_of_three, f), 1)


def inception_of_torch(torch: Any, x: Any, **f: Any) -> Any:
    functional = torch.nn.functional
    columns = inside(
        x,
        lambda z, W, b, pad: functional.conv2d(z, W, b, padding=pad),
        torch.tanh,
        lambda z: functional.max_pool2d(z, 3, 1, 1),
        f,
    )
    return torch.cat(columns, 1)


def contracted(x: Any, W: Any, b: Any) -> Any:
    h = np.tanh(x @ W + b)
    return ((1 - h**2) ** 2 * (W**2).sum(0)).sum(-1)


def contraction_of_torch(torch: Any, x: Any, W: Any, b: Any) -> Any:
    rows = [torch.func.jacrev(lambda row: torch.tanh(row @ W + b))(row) for row in x]
    return torch.stack([(row**2).sum() for row in rows]).mean() if rows else x.new_full((), torch.nan)


def turns(x: Any) -> Any:
    """The length of the slope of the sine of each row."""
    return np.sqrt((np.cos(x) ** 2).sum(tuple(range(1, x.ndim))))


def penalty_of_torch(torch: Any, x: Any) -> Any:
    [g] = torch.autograd.grad(torch.sin(x).sum(), x, create_graph=True)
    return ((g.flatten(1).norm(dim=1) - 0.3) ** 2).mean()


ALONE = "the same as its input outside training; its draws in test_noise.py"
NOISE: dict[str, Any] = {"torch": lambda torch, x: x, "points": ALONE}

# fmt: off
BLOCK_CASES = {
    "gaussian_noise": Case("out = x |> gaussian_noise(0.3)", lambda x: x, **NOISE,
                           said={"a |> gaussian_noise(0.1)": lambda a: a + 0.7}),
    "alpha_dropout": Case("out = x |> alpha_dropout(0.3)", lambda x: x, **NOISE,
                          said={"a |> alpha_dropout(0.1)": lambda a: a + 2}),
    "stochastic_depth": Case("out = x |> stochastic_depth(0.3)", lambda x: x, shapes=ranks(1), **NOISE),
    "dropconnect": Case("g = dense(3, bias = false)\n    f = dropconnect(g)\n    out = f(x)", lambda x, W: x @ W,
                        shapes=ranks(1, 5, ("#",)), result=lambda x: (*x[:-1], "3"), parameters=("g.W",),
                        torch=lambda torch, x, W: torch.nn.functional.linear(x, W.mT), points=ALONE),
    "weight_noise": Case("g = dense(3, bias = false)\n    f = weight_noise(g)\n    out = f(x)", lambda x, W: x @ W,
                         shapes=ranks(1, 5, ("#",)), result=lambda x: (*x[:-1], "3"), parameters=("g.W",),
                         torch=lambda torch, x, W: torch.nn.functional.linear(x, W.mT), points=ALONE),
    "mixup": Case("u, v = mixup(0.3)(x, y)\n    out = u * sin(v)", lambda x, y: x * np.sin(y), "x y", shapes=ranks(1),
                  torch=lambda torch, x, y: x * torch.sin(y),
                  points="the same as its input outside training; its draws in test_robust.py"),
    "contraction": Case("out = contraction(tanh(f(x)), x)", lambda x, W, b: mean(contracted(x, W, b)),
                        shapes=lambda n, count: [("a", "2")], result=lambda x: (), layer="dense(3)",
                        parameters=("W", "b"), torch=contraction_of_torch, points="a derivative"),
    "gradient_penalty": Case("out = gradient_penalty(sin(x), x, length = 0.3)", lambda x: mean((turns(x) - 0.3) ** 2),
                             shapes=ranks(2), result=lambda x: (), torch=penalty_of_torch, edge=turns,
                             least={"b": 1, "c": 1, "d": 1, "e": 1},
                             points=[("gradient_penalty(x[:, none]^2 / 2, x[:, none], length = 0)", [0, 1],
                                      lambda x, y: (x**2 + y**2) / 2)]),
    "highway": Case("out = f(x)", highway, layer="highway(activation = tanh, gate = -1.5)",
                    shapes=ranks(1, 5, ("#",)), torch=highway_of_torch, points="made of functions that have their own"),
    "squeeze_excitation": Case("out = f(x)", excited, layer="squeeze_excitation(2, activation = tanh)",
                               **picture("4"), torch=excited_of_torch, points="made of functions that have their own"),
    "bilinear": Case("out = f(x, y)", lambda x, y, W, b: np.einsum("...i,oij,...j->...o", x, W, y) + b, "x y",
                     layer="bilinear(2)", shapes=ranks(1, 5, ("#",)), result=lambda x, y: (*x[:-1], "2"),
                     parameters=("W", "b"), straight="b", points="a product",
                     torch=lambda torch, x, y, W, b: torch.nn.functional.bilinear(x, y, W, b)),
    "dense_connection": Case("g = dense(2, bias = false)\n    f = dense_connection(g, axis = -1)\n    out = f(x)",
                             lambda x, W: np.concatenate([x, x @ W], -1), shapes=ranks(1, 5, ("3",)),
                             result=lambda x: (*x[:-1], "5"), parameters=("g.W",),
                             torch=lambda torch, x, W: torch.cat([x, x @ W], -1), points="no arithmetic"),
    "inception": Case("out = f(x)", inception, layer="inception(1, 2, 1, 1, 2, 1, activation = tanh)", edge=unequal,
                      shapes=lambda n, count: [("a", "2", "d", "e")], result=lambda x: (x[0], "5", *x[2:]),
                      least={"d": 1, "e": 1}, torch=inception_of_torch, points="made of convolutions and pools"),
}
