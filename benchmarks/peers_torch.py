"""torch: eager with the fused optimizer, and torch.compile."""

from __future__ import annotations

import sys

import torch

from .start import start
from .torch_models import OBJECTIVES, Objective, optimizer, schedule
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
        self.schedule = schedule(workload, self.optimizer)
        self.objective = torch.compile(objective) if compiled else objective

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
