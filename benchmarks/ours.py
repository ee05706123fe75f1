"""dlc: the spec compiled, and `Trainer.step` fed one NumPy batch at a time."""

from __future__ import annotations

import onnxruntime  # noqa: F401  (the runtime imports it with its first session: here it counts as import)
from dlc import Trainer, compile

from .workloads import Workload, batches, data


class Dlc:
    def __init__(self, workload: Workload) -> None:
        self.trainer = Trainer(compile(workload.spec), device="cpu", seed=0)
        self.feed = batches(*data(workload), workload.batch)

    def run(self, steps: int) -> float:
        loss = 0.0
        for _ in range(steps):
            x, y = next(self.feed)
            loss = self.trainer.step({"x": x, "y": y})["loss"]
        return loss
