"""torch: eager with the fused optimizer, and torch.compile."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F

from .workloads import Workload, batches, data, weights

sys.setrecursionlimit(100_000)   # torch.compile walks the graph of 1,000 layers recursively
torch.set_num_threads(2)
torch.set_flush_denormal(True)


class Torch:
    """Parameters as plain tensors and a function of them: the shortest road through autograd."""

    def __init__(self, workload: Workload, compiled: bool = False) -> None:
        self.workload = workload
        self.feed = batches(*data(workload), workload.batch)
        self.layers = [(torch.from_numpy(w).requires_grad_(), torch.from_numpy(b).requires_grad_())
                       for w, b in weights(workload)]
        self.parameters = [p for layer in self.layers for p in layer]
        self.optimizer: torch.optim.Optimizer
        if workload.optimizer == "adam":
            self.optimizer = torch.optim.Adam(self.parameters, lr=workload.lr, fused=True)
        else:
            self.optimizer = torch.optim.SGD(self.parameters, lr=workload.lr, fused=True)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self.cosine) if workload.cosine else None
        objective: Callable[..., torch.Tensor] = self.deep if workload.depth else self.perceptron
        self.objective = torch.compile(objective) if compiled else objective

    def perceptron(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        for w, b in self.layers[:-1]:
            x = torch.relu(torch.addmm(b, x, w))
            if self.workload.dropout:
                x = F.dropout(x, self.workload.dropout)
        w, b = self.layers[-1]
        loss = F.cross_entropy(torch.addmm(b, x, w), y)
        for w, _ in self.layers if self.workload.l2 else ():
            loss = loss + self.workload.l2 * w.square().sum()
        return loss

    def deep(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        for w, b in self.layers:
            x = x + torch.relu(torch.addmm(b, x, w))
        return F.mse_loss(x, y)

    def cosine(self, done: int) -> float:
        step, warmup, steps = done + 1, self.workload.warmup, self.workload.planned
        ramp = min(step / warmup, 1.0)
        return ramp * 0.5 * (1 + math.cos(math.pi * min(max((step - warmup) / (steps - warmup), 0.0), 1.0)))

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
