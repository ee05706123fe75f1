"""Frames: what a running declaration knows. One frame for each application of an fn, layer, optimizer..."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..ir.graph import Node
from ..ir.types import Size, TensorType
from ..source import Span
from ..syntax.tree import Statement
from .library import Unit
from .values import Configuration, Instance, Label, Tensor, Updater, Value

if TYPE_CHECKING:
    from .scan import OpenScan
    from .subjects import Subject

_numbers = itertools.count(1)


@dataclass
class StateSlot:
    """A state as its layer or optimizer sees it: where it is kept and its value at this line."""

    path: str
    type: TensorType
    value: Node
    labels: tuple[Label | None, ...] = ()
    scan: OpenScan | None = None  # of a scan, not of a layer or optimizer


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
    counts: dict[str, int] = field(default_factory=dict)  # the last number given to instances of a name
    terms: dict[str, Tensor] = field(default_factory=dict)  # the model's losses, metrics, outputs by name
    came_from: dict[Label, Label | None] = field(default_factory=dict)  # own dimension names -> the caller's
    result: list[Value] | None = None
    shown: Value = None  # of the output or metric that a distribution declares
    # Inside a run-time `if` or `if training` nothing may be made; the span says which `if`.
    conditional: Span | None = None
    undecided: Span | None = None  # the same for a run-time `if` alone
    fixed: bool = False  # `training` was given by a call
    unnamed: list[Instance] = field(default_factory=list)  # instances that the running statement made
    loops: set[str] = field(default_factory=set)  # variables of a `for` that has ended
    taken: set[str] = field(default_factory=set)  # paths given to instances
    subject: Subject | None = None  # of an optimizer: what it updates
    nested: list[tuple[Updater, str]] = field(
        default_factory=list
    )  # of an optimizer: those it applies, and their names
    scan: OpenScan | None = None  # the innermost scan of this text
    bodies: list[Sequence[Statement]] = field(default_factory=list)  # that run now, the innermost last
    home: Frame | None = None  # of an fn or layer that stands in a block: what it sees of the lines above it
    number: int = field(default_factory=lambda: next(_numbers))

    def inner(self, kind: str, unit: Unit, span: Span, path: str | None = None, home: Frame | None = None) -> Frame:
        """The frame of something applied here, in the same pass and under the same conditions."""
        return Frame(
            kind,
            unit,
            self.path if path is None else path,
            span,
            self,
            self.training,
            self.predicting,
            conditional=self.conditional,
            undecided=self.undecided,
            fixed=self.fixed,
            home=home,
        )

    def above(self) -> Frame:
        """This frame as the lines above see it: later ones change other copies of its names and states."""
        states = {name: replace(slot) for name, slot in self.states.items()}
        return replace(self, names=dict(self.names), dims=dict(self.dims), states=states)

    def label(self, name: str) -> Label:
        return (self.number, name)

    def outward(self, labels: tuple[Label | None, ...]) -> tuple[Label | None, ...]:
        """The names of dimensions as the caller knows them."""
        return tuple(
            label if label is None or label[0] != self.number else self.came_from.get(label) for label in labels
        )

    def take_name(self, name: str, mark: str = ".") -> str:
        """The path of something made here under a name: equal names are numbered in the order of making."""
        path = name
        while path in self.taken:
            self.counts[name] = self.counts.get(name, 0) + 1
            path = f"{name}[{self.counts[name]}]"
        self.taken.add(path)
        return f"{self.path}{mark}{path}" if self.path else path

    def adopt(self, given: Configuration) -> None:
        """Takes over the names and dimensions of a first argument list, as its own."""
        self.dims.update(given.dims)
        for name, value in given.names.items():
            if isinstance(value, Tensor) and value.labels:
                labels = tuple((self.number, x[1]) if x and x[0] == given.number else x for x in value.labels)
                value = Tensor(value.node, labels, value.along)
            self.names[name] = value
