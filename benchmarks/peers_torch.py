"""torch: eager with the fused optimizer, and torch.compile."""

from __future__ import annotations

import math
import sys

import torch

from .start import start
from .torch_models import OBJECTIVES, Objective, optimizer
from .workloads import Workload, batches, data

sys.setrecursionlimit(100_000)  # torch.compile walks the graph of 1,000 layers recursively
torch.set_num_threads(2)
torch.set_flush_denormal(True)


class Torch:
    """Parameters as plain tensors and a function of them: the shortest road through autograd."""

    def __init__(self, workload: Workload, compiled: bool = False) -> None:
        self.workload = workload
        self.feed = batches(*data(workload), workload.batch)
        theta = {name: torch.from_numpy(array).requires_grad_() for name, array in start(workload).items()}
        objective: Objective = OBJECTIVES[workload.family](workload, theta)
        self.parameters = list(objective.parameters())
        self.optimizer = optimizer(workload, self.parameters)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self.cosine) if workload.cosine else None
        self.objective = torch.compile(objective) if compiled else objective

    def cosine(self, done: int) -> float:
        warmup, steps = self.workload.warmup or 0, self.workload.planned
        ramp = min((done + 1) / max(warmup, 1), 1.0)
        return ramp * 0.5 * (1 + math.cos(math.pi * min(max((done - warmup) / (steps - warmup), 0.0), 1.0)))

    def run(self, steps: int) -> float:
        loss = torch.zeros(())
        for _ in range(steps):
            x, y = next(self.feed)
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.objective(torch.from_numpy(x), torch.from_numpy(y))
            loss.backward()
            if self.workload.clip:
                torch.nn.utils.clip_grad_norm_(self.parameters, self.workload.clip)
            self.optimizer.step()
            if self.schedule is not None:
                self.schedule.step()
        return loss.item()
