"""dlc: the spec compiled, and `Trainer.step` fed one NumPy batch at a time."""

from __future__ import annotations

import dlc

from .workloads import Workload, batches, data


class Dlc:
    def __init__(self, workload: Workload) -> None:
        self.trainer = dlc.Trainer(dlc.compile(workload.spec), device="cpu", seed=0)
        self.feed = batches(*data(workload), workload.batch)

    def run(self, steps: int) -> float:
        for _ in range(steps):
            x, y = next(self.feed)
            figures = self.trainer.step({"x": x, "y": y})
        return float(figures["loss"])
