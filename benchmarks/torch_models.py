"""The models in torch, each in the fastest form we found (benchmarks/README.md): the loss of a batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .start import resnet_blocks
from .workloads import Workload

Theta = dict[str, Tensor]


class Objective(nn.Module):
    """The loss as a function of plain tensors by name. `torch.compile` takes modules and their buffers alike."""

    def __init__(self, workload: Workload, theta: Theta) -> None:
        super().__init__()
        self.workload = workload
        self.theta = theta
        self.prepare()

    def prepare(self) -> None:
        """What else a model holds."""

    def parameters(self, recurse: bool = True) -> Any:
        return iter(self.theta.values())

    def dense(self, name: str, x: Tensor) -> Tensor:
        return torch.addmm(self.theta[f"{name}.b"], x, self.theta[f"{name}.W"])


class Perceptron(Objective):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        last = len(self.workload.widths) - 2
        for i in range(last):
            x = torch.relu(self.dense(str(i), x))
            if self.workload.dropout:
                x = F.dropout(x, self.workload.dropout)
        loss = F.cross_entropy(self.dense(str(last), x), y)
        for i in range(last + 1) if self.workload.l2 else ():
            loss = loss + self.workload.l2 * self.theta[f"{i}.W"].square().sum()
        return loss


class Residual(Objective):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        for i in range(self.workload.depth):
            x = x + torch.relu(self.dense(str(i), x))
        return F.mse_loss(x, y)


class LeNet(Objective):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        t = self.theta
        x = F.max_pool2d(torch.relu(F.conv2d(x, t["conv1.W"], t["conv1.b"], padding=2)), 2)
        x = F.max_pool2d(torch.relu(F.conv2d(x, t["conv2.W"], t["conv2.b"])), 2).flatten(1)
        x = torch.relu(self.dense("dense2", torch.relu(self.dense("dense1", x))))
        return F.cross_entropy(self.dense("dense3", x), y)


class ResNet(Objective):
    def prepare(self) -> None:
        """Running statistics, which our spec carries too."""
        scales = {name.removesuffix(".scale"): t for name, t in self.theta.items() if name.endswith(".scale")}
        self.seen = {name: (torch.zeros(t.shape), torch.ones(t.shape)) for name, t in scales.items()}

    def unit(self, name: str, x: Tensor, stride: int = 1, pad: int = 1) -> Tensor:
        t = self.theta
        x = F.conv2d(x, t[f"{name}.W"], stride=stride, padding=pad)
        return F.batch_norm(x, *self.seen[name], t[f"{name}.scale"], t[f"{name}.shift"], training=True)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x = torch.relu(self.unit("stem", x))
        for name, into, out in resnet_blocks():
            stride = 1 if into == out else 2
            h = torch.relu(self.unit(f"{name}.conv1", x, stride))
            h = self.unit(f"{name}.conv2", h)
            x = torch.relu(h + (x if into == out else self.unit(f"{name}.short", x, stride, 0)))
        return F.cross_entropy(self.dense("head", x.mean((2, 3))), y)


class Lstm(Objective):
    """`nn.LSTM`, whose weights are ours transposed; its second bias stays zero and is not trained."""

    def prepare(self) -> None:
        t = self.theta
        n, four = t["W"].shape
        lstm = nn.LSTM(n, four // 4, batch_first=True)
        with torch.no_grad():
            lstm.weight_ih_l0.copy_(t["W"].T)
            lstm.weight_hh_l0.copy_(t["U"].T)
            lstm.bias_ih_l0.copy_(t["b"])
            lstm.bias_hh_l0.zero_()
        lstm.bias_hh_l0.requires_grad_(False)
        self.lstm = lstm
        self.trained = [lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_ih_l0, t["head.W"], t["head.b"]]

    def parameters(self, recurse: bool = True) -> Any:
        return iter(self.trained)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        _, (h, _) = self.lstm(x)
        return F.cross_entropy(self.dense("head", h[0]), y)


class Gpt(Objective):
    def prepare(self) -> None:
        self.layers, self.heads = 4, 4

    def norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.theta[f"{name}.scale"], self.theta[f"{name}.shift"])

    def forward(self, tokens: Tensor, following: Tensor) -> Tensor:
        t = self.theta
        batch, time = tokens.shape
        x = (F.embedding(tokens, t["token"]) + t["position"]).view(batch * time, -1)
        for i in range(self.layers):
            qkv = self.dense(f"{i}.project", self.norm(f"{i}.norm1", x))
            q, k, v = qkv.view(batch, time, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind()
            h = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.dense(f"{i}.join", h.transpose(1, 2).reshape(batch * time, -1))
            h = F.gelu(self.dense(f"{i}.up", self.norm(f"{i}.norm2", x)))
            x = x + self.dense(f"{i}.down", h)
        return F.cross_entropy(self.norm("last", x) @ t["token"].T, following.reshape(-1))


class Contractive(Objective):
    """The Jacobian of the code as its closed form says it, which is less work than differentiating for it."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = torch.sigmoid(self.dense("encode", x))
        jacobian = (h * (1 - h)).unsqueeze(2) * self.theta["encode.W"].T
        rebuilding = x.shape[1] * F.binary_cross_entropy_with_logits(self.dense("decode", h), x)
        return rebuilding + 0.1 * jacobian.square().sum((1, 2)).mean()


OBJECTIVES: dict[str, Callable[[Workload, Theta], Objective]] = {
    "perceptron": Perceptron,
    "residual": Residual,
    "lenet": LeNet,
    "resnet": ResNet,
    "lstm": Lstm,
    "gpt": Gpt,
    "contractive": Contractive,
}


def optimizer(workload: Workload, parameters: list[torch.Tensor]) -> torch.optim.Optimizer:
    """The fused form of each."""
    if workload.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=workload.lr, fused=True)
    if workload.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=workload.lr, weight_decay=workload.decay, fused=True)
    momentum = 0.9 if workload.optimizer == "momentum" else 0.0
    return torch.optim.SGD(parameters, lr=workload.lr, momentum=momentum, fused=True)


def schedule(workload: Workload, updates: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LambdaLR | None:
    """What is called after each update, where the rate changes: a linear climb, then half a cosine."""
    if workload.warmup is None:
        return None
    warmup, steps = workload.warmup, workload.planned

    def cosine(done: int) -> float:
        ramp = min((done + 1) / max(warmup, 1), 1.0)
        return ramp * 0.5 * (1 + math.cos(math.pi * min(max((done - warmup) / (steps - warmup), 0.0), 1.0)))

    return torch.optim.lr_scheduler.LambdaLR(updates, cosine)
