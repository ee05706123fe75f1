"""The workloads: what is trained, on what, and how a run of one system on one of them is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
SPECS = HERE.parent / "specs"


@dataclass(frozen=True)
class Workload:
    """One model, its optimizer and its data.

    ``widths`` are the layer widths of a perceptron with relu between the layers and cross entropy on top. With
    ``depth`` the model is ``x = x + relu(x @ W + b)`` that many times at width ``widths[0]``, trained on squared error.
    ``steps`` is the length of one timed round; ``dropout``, ``clip``, ``l2`` and ``cosine`` are as in specs/digits.dl.
    """

    name: str
    spec: Path
    widths: tuple[int, ...]
    batch: int
    optimizer: str
    lr: float
    steps: int
    depth: int = 0
    dropout: float = 0.0
    clip: float = 0.0
    l2: float = 0.0
    warmup: int = 0
    planned: int = 100_000
    # (whom, times its time): at most this; "best" is the best peer
    targets: tuple[tuple[str, float], ...] = ()
    # milliseconds measured once with nothing else on the machine, to hold the peers against each other
    known: tuple[tuple[str, float], ...] = ()

    @property
    def cosine(self) -> bool:
        return self.warmup > 0


WORKLOADS = {w.name: w for w in (
    Workload("digits-mlp", HERE / "digits_mlp.dl", (64, 128, 10), 64, "adam", 1e-3, 2000,
             targets=(("torch", 0.5), ("jax", 1.1)), known=(("torch", 0.24), ("torch-compile", 0.34), ("jax", 0.084))),
    Workload("wide-mlp", HERE / "wide_mlp.dl", (784, 512, 512, 10), 128, "adam", 1e-3, 150,
             targets=(("best", 1.1),), known=(("torch", 4.8), ("torch-compile", 2.49), ("jax", 2.50))),
    Workload("deep-residual", HERE / "deep_residual.dl", (64,), 32, "sgd", 1e-3, 20, depth=1000,
             targets=(("best", 1.3),), known=(("torch", 77), ("jax", 22))),
    Workload("digits-spec", SPECS / "digits.dl", (64, 128, 10), 64, "adam", 1e-2, 1000,
             dropout=0.2, clip=1.0, l2=1e-4, warmup=50),
)}


def data(workload: Workload) -> tuple[NDArray[np.float32], NDArray[np.generic]]:
    """Rows in a shuffled order, a whole number of batches: the digits, or noise where only the time matters."""
    rng = np.random.default_rng(7)
    if workload.widths[0] == 64 and not workload.depth:
        with np.load(SPECS / "data" / "digits.npz") as file:
            x, y = file["x"].astype(np.float32), file["y"].astype(np.int64)
        order = rng.permutation(len(x) // workload.batch * workload.batch)
        return np.ascontiguousarray(x[order]), np.ascontiguousarray(y[order])
    rows = 64 * workload.batch
    x = rng.normal(size=(rows, workload.widths[0])).astype(np.float32)
    if workload.depth:
        return x, x[:, ::-1].copy()
    return x, rng.integers(0, workload.widths[-1], rows)


def batches(x: NDArray[np.float32], y: NDArray[np.generic], size: int
            ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.generic]]]:
    """Batches as contiguous slices, again and again: what every system is fed, one a step."""
    while True:
        for start in range(0, len(x), size):
            yield x[start:start + size], y[start:start + size]


def weights(workload: Workload) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """The same start for every peer: Glorot for the perceptrons; small for the deep one, that it may not blow up."""
    rng = np.random.default_rng(3)
    if workload.depth:
        n = workload.widths[0]
        return [(rng.normal(0, 3e-4, (n, n)).astype(np.float32), np.zeros(n, np.float32))
                for _ in range(workload.depth)]
    pairs = zip(workload.widths[:-1], workload.widths[1:], strict=True)
    return [(rng.uniform(-1, 1, (n, m)).astype(np.float32) * np.float32(np.sqrt(6 / (n + m))),
             np.zeros(m, np.float32)) for n, m in pairs]


class System(Protocol):
    """One system on one workload. ``run(k)`` does k steps, feeding included, and returns the last loss, finished."""

    def run(self, steps: int) -> float: ...


Build = Callable[[Workload], System]
