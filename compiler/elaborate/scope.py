"""Frames: what a running declaration knows. One frame for each application of an fn, layer, optimizer..."""
from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from ..graph import Node
from ..source import Span
from ..tensor_type import Size, TensorType
from .library import Unit
from .values import Label, Tensor, Value

_numbers = itertools.count(1)


@dataclass
class StateSlot:
    """A state as its layer or optimizer sees it: where it is kept and its value at this line."""

    path: str
    type: TensorType
    value: Node
    labels: tuple[Label | None, ...] = ()


@dataclass(eq=False)
class Frame:
    """kind: "fn" "layer" "model" "optimizer" "distribution" "train". `path` is the owner of what is made in it."""

    kind: str
    unit: Unit
    path: str = ""
    span: Span | None = None
    caller: Frame | None = None
    training: bool = False
    predicting: bool = False
    names: dict[str, Value] = field(default_factory=dict)
    dims: dict[str, Size] = field(default_factory=dict)
    states: dict[str, StateSlot] = field(default_factory=dict)
    replaced: dict[str, Any] = field(default_factory=dict)  # parameters given by the call: `inner(x, W = ...)`
    counts: dict[str, int] = field(default_factory=dict)  # how often a name of an instance was given
    terms: dict[str, Tensor] = field(default_factory=dict)  # the model's losses, metrics, outputs by name
    came_from: dict[Label, Label | None] = field(default_factory=dict)  # own dimension names -> the caller's
    result: list[Value] | None = None
    # Inside a run-time `if` or `if training` nothing may be made; the span says which `if`.
    conditional: Span | None = None
    subject: str = ""  # of an optimizer: the parameter it updates
    nested: dict[int, str] = field(default_factory=dict)  # of an optimizer: names of the optimizers it applies
    number: int = field(default_factory=lambda: next(_numbers))

    def label(self, name: str) -> Label:
        return (self.number, name)

    def outward(self, labels: tuple[Label | None, ...]) -> tuple[Label | None, ...]:
        """The names of dimensions as the caller knows them."""
        return tuple(
            label if label is None or label[0] != self.number else self.came_from.get(label) for label in labels
        )

    def take_name(self, name: str) -> str:
        """The path of something made here under a name: equal names are numbered in the order of making."""
        count = self.counts.get(name, 0)
        self.counts[name] = count + 1
        path = f"{name}[{count}]" if count else name
        return f"{self.path}.{path}" if self.path else path
