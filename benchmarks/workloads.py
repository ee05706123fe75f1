"""The workloads: what is trained, on what, and how a run of one system on one of them is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
SPECS = HERE.parent / "specs"

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Workload:
    """One model, its optimizer and its data.

    ``family`` names the model: start.py says what it starts from, torch_models.py and jax_models.py how the peers write
    it. A "perceptron" has the layer widths ``widths``, relu between the layers and cross entropy on top; "residual" is
    ``x = x + relu(x @ W + b)``, ``depth`` times at width ``widths[0]``, on squared error; a "contractive" autoencoder
    has ``widths`` inputs and hidden units, and a penalty on the Jacobian of its code. ``feeds`` are the names of our
    inputs, ``steps`` is the length of one timed round; ``dropout``, ``clip``, ``l2`` and ``cosine`` are as in
    specs/digits.dl.
    """

    name: str
    spec: Path
    family: str
    batch: int
    optimizer: str
    lr: float
    steps: int
    widths: tuple[int, ...] = ()
    depth: int = 0
    feeds: tuple[str, ...] = ("x", "y")
    dropout: float = 0.0
    clip: float = 0.0
    l2: float = 0.0
    decay: float = 0.0
    warmup: int | None = None
    planned: int = 100_000
    # (whom, times its time): at most this; "best" is the best peer
    targets: tuple[tuple[str, float], ...] = ()
    # milliseconds measured once with nothing else on the machine, to hold the peers against each other
    known: tuple[tuple[str, float], ...] = ()
    # Is held against the peers in its first step and its memory too
    bounded: bool = False

    @property
    def cosine(self) -> bool:
        return self.warmup is not None


WORKLOADS = {
    w.name: w
    for w in (
        Workload(
            "digits-mlp",
            HERE / "digits_mlp.dl",
            "perceptron",
            64,
            "adam",
            1e-3,
            2000,
            (64, 128, 10),
            targets=(("torch", 0.5), ("jax", 1.1)),
            known=(("torch", 0.24), ("torch-compile", 0.34), ("jax", 0.084)),
        ),
        Workload(
            "wide-mlp",
            HERE / "wide_mlp.dl",
            "perceptron",
            128,
            "adam",
            1e-3,
            150,
            (784, 512, 512, 10),
            targets=(("best", 1.1),),
            known=(("torch", 4.8), ("torch-compile", 2.49), ("jax", 2.50)),
        ),
        Workload(
            "large-mlp",
            HERE / "large_mlp.dl",
            "perceptron",
            256,
            "adam",
            1e-3,
            10,
            (1024, 2048, 2048, 1000),
            targets=(("best", 1.0),),
        ),
        Workload(
            "deep-residual",
            HERE / "deep_residual.dl",
            "residual",
            32,
            "sgd",
            1e-3,
            20,
            (64,),
            depth=1000,
            targets=(("best", 1.3),),
            known=(("torch", 77), ("jax", 22)),
        ),
        Workload(
            "digits-spec",
            SPECS / "digits.dl",
            "perceptron",
            64,
            "adam",
            1e-2,
            1000,
            (64, 128, 10),
            dropout=0.2,
            clip=1.0,
            l2=1e-4,
            warmup=50,
        ),
        Workload(
            "contractive",
            SPECS / "contractive.dl",
            "contractive",
            64,
            "adam",
            1e-2,
            1000,
            (64, 32),
            feeds=("x",),
            warmup=0,
            planned=460,
            targets=(("best", 1.0),),
        ),
        Workload(
            "lenet5",
            HERE / "lenet5.dl",
            "lenet",
            64,
            "momentum",
            1e-2,
            60,
            bounded=True,
            targets=(("best", 1.0),),
            known=(("torch", 5.1), ("torch-compile", 3.3), ("jax", 6.0)),
        ),
        Workload(
            "resnet20",
            HERE / "resnet20.dl",
            "resnet",
            32,
            "momentum",
            1e-2,
            6,
            bounded=True,
            targets=(("best", 1.0),),
            known=(("torch", 63), ("torch-compile", 60), ("jax", 125)),
        ),
        Workload(
            "lstm",
            HERE / "lstm.dl",
            "lstm",
            64,
            "adam",
            1e-3,
            60,
            bounded=True,
            targets=(("best", 1.3),),
            known=(("torch", 5.3), ("torch-compile", 5.9), ("jax", 14.2)),
        ),
        Workload(
            "gpt",
            HERE / "gpt.dl",
            "gpt",
            8,
            "adamw",
            3e-4,
            8,
            decay=0.01,
            feeds=("tokens", "next"),
            bounded=True,
            targets=(("best", 1.0),),
            known=(("torch", 38.6), ("torch-compile", 38.2), ("jax", 120)),
        ),
    )
}


def data(workload: Workload) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rows in a shuffled order, a whole number of batches: the digits, or noise where only the time matters."""
    rng = np.random.default_rng(7)
    rows = 16 * workload.batch
    if workload.family == "lenet":
        return _normal(rng, rows, 1, 28, 28), rng.integers(0, 10, rows)
    if workload.family == "resnet":
        return _normal(rng, rows, 3, 32, 32), rng.integers(0, 10, rows)
    if workload.family == "lstm":
        return _normal(rng, rows, 28, 28), rng.integers(0, 10, rows)
    if workload.family == "gpt":
        tokens = rng.integers(0, 256, (rows, 129))
        return np.ascontiguousarray(tokens[:, :-1]), np.ascontiguousarray(tokens[:, 1:])
    if workload.widths[0] == 64 and not workload.depth:
        with np.load(SPECS / "data" / "digits.npz") as file:
            x, y = file["x"].astype(np.float32), file["y"].astype(np.int64)
        order = rng.permutation(len(x) // workload.batch * workload.batch)
        return np.ascontiguousarray(x[order]), np.ascontiguousarray(y[order])
    rows = 64 * workload.batch
    x = _normal(rng, rows, workload.widths[0])
    if workload.depth:
        return x, x[:, ::-1].copy()
    return x, rng.integers(0, workload.widths[-1], rows)


def _normal(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return rng.normal(size=shape).astype(np.float32)


def batches(x: NDArray[Any], y: NDArray[Any], size: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Batches as contiguous slices, again and again: what every system is fed, one a step."""
    while True:
        for start in range(0, len(x), size):
            yield x[start : start + size], y[start : start + size]


class System(Protocol):
    """One system on one workload. ``run(k)`` does k steps, feeding included, and returns the last loss, finished."""

    def run(self, steps: int) -> float: ...


Build = Callable[[Workload], System]
