"""What every system starts from: parameters by name, in the order in which our specs make them and in their shapes.

The same arrays go to every peer, and in tests/test_benchmarks_oracle.py to ours: then all print the same losses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .workloads import Arrays, Workload

Named = Iterator[tuple[str, NDArray[Any]]]


def start(workload: Workload) -> Arrays:
    """Parameters by name, float32, always the same."""
    rng = np.random.default_rng(3)
    return {name: np.ascontiguousarray(array, np.float32) for name, array in FAMILIES[workload.family](workload, rng)}


def _glorot(rng: Generator, *shape: int, fan: int) -> NDArray[Any]:
    return rng.uniform(-1, 1, shape) * np.sqrt(6 / fan)


def _perceptron(workload: Workload, rng: Generator) -> Named:
    for i, (n, m) in enumerate(pairwise(workload.widths)):
        yield f"{i}.W", _glorot(rng, n, m, fan=n + m)
        yield f"{i}.b", np.zeros(m)


def _residual(workload: Workload, rng: Generator) -> Named:
    """Small, that it may not blow up."""
    n = workload.widths[0]
    for i in range(workload.depth):
        yield f"{i}.W", rng.normal(0, 3e-4, (n, n))
        yield f"{i}.b", np.zeros(n)


def _conv(rng: Generator, name: str, out: int, into: int, k: int) -> Named:
    yield f"{name}.W", _glorot(rng, out, into, k, k, fan=(into + out) * k * k)


def _dense(rng: Generator, name: str, n: int, m: int) -> Named:
    yield f"{name}.W", _glorot(rng, n, m, fan=n + m)
    yield f"{name}.b", np.zeros(m)


def _norm(name: str, n: int) -> Named:
    yield f"{name}.scale", np.ones(n)
    yield f"{name}.shift", np.zeros(n)


def _lenet(workload: Workload, rng: Generator) -> Named:
    """LeCun et al. 1998, with max pooling and relu: 5 × 5 convolutions to 6 and 16 channels, dense 120, 84 and 10."""
    for name, out, into in (("conv1", 6, 1), ("conv2", 16, 6)):
        yield from _conv(rng, name, out, into, 5)
        yield f"{name}.b", np.zeros(out)
    for name, n, m in (("dense1", 400, 120), ("dense2", 120, 84), ("dense3", 84, 10)):
        yield from _dense(rng, name, n, m)


def resnet_blocks() -> list[tuple[str, int, int]]:
    """The nine blocks of a ResNet-20: name, channels in and out. Where they differ the stride is 2."""
    widths = [16, *(w for w in (16, 32, 64) for _ in range(3))]
    return [(f"block{i}", into, out) for i, (into, out) in enumerate(pairwise(widths))]


def _resnet(workload: Workload, rng: Generator) -> Named:
    """He et al. 2016, section 4.2, with projections where the shape changes."""
    yield from _conv(rng, "stem", 16, 3, 3)
    yield from _norm("stem", 16)
    for name, into, out in resnet_blocks():
        yield from _conv(rng, f"{name}.conv1", out, into, 3)
        yield from _norm(f"{name}.conv1", out)
        yield from _conv(rng, f"{name}.conv2", out, out, 3)
        yield from _norm(f"{name}.conv2", out)
        if into != out:
            yield from _conv(rng, f"{name}.short", out, into, 1)
            yield from _norm(f"{name}.short", out)
    yield from _dense(rng, "head", 64, 10)


def _lstm(workload: Workload, rng: Generator) -> Named:
    """Gates side by side in the order in, forget, cell, out."""
    n, h = 28, 128
    yield "W", _glorot(rng, n, 4 * h, fan=n + h)
    yield "U", _glorot(rng, h, 4 * h, fan=2 * h)
    yield "b", np.zeros(4 * h)
    yield from _dense(rng, "head", h, 10)


def _gpt(workload: Workload, rng: Generator) -> Named:
    d = 128

    def dense(name: str, n: int, m: int) -> Named:
        yield f"{name}.W", rng.normal(0, 0.02, (n, m))
        yield f"{name}.b", np.zeros(m)

    yield "token", rng.normal(0, 0.02, (256, d))
    yield "position", rng.normal(0, 0.01, (128, d))
    for i in range(4):
        yield from _norm(f"{i}.norm1", d)
        yield from dense(f"{i}.project", d, 3 * d)
        yield from dense(f"{i}.join", d, d)
        yield from _norm(f"{i}.norm2", d)
        yield from dense(f"{i}.up", d, 4 * d)
        yield from dense(f"{i}.down", 4 * d, d)
    yield from _norm("last", d)


def _contractive(workload: Workload, rng: Generator) -> Named:
    n, hidden = workload.widths
    yield from _dense(rng, "encode", n, hidden)
    yield from _dense(rng, "decode", hidden, n)


FAMILIES: dict[str, Callable[[Workload, Generator], Named]] = {
    "perceptron": _perceptron,
    "residual": _residual,
    "lenet": _lenet,
    "resnet": _resnet,
    "lstm": _lstm,
    "gpt": _gpt,
    "contractive": _contractive,
}
