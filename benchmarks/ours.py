"""dlc: the spec compiled, and `Trainer.step` fed one NumPy batch at a time."""

from __future__ import annotations

import onnxruntime  # noqa: F401  (the runtime imports it with its first session: here it counts as import)
from dlc import Trainer, compile

from .workloads import Arrays, Workload, batches, data


class Dlc:
    """``start``: parameters to begin with, in the order in which the spec makes them; else its own."""

    def __init__(self, workload: Workload, start: Arrays | None = None) -> None:
        self.feed = batches(*data(workload), workload.batch)  # first, as the peers make them
        self.trainer = Trainer(compile(workload.spec), device="cpu", seed=0)
        self.names = workload.feeds
        if start is not None:
            for name, array in zip(self.trainer.parameters, start.values(), strict=True):
                self.trainer.parameters[name] = array

    def run(self, steps: int) -> float:
        loss = 0.0
        for _ in range(steps):
            loss = self.trainer.step(dict(zip(self.names, next(self.feed), strict=False)))["loss"]
        return loss
