"""What the stages hand on: one graph with named roots, and what the roots and leaves mean.

The roots live in `graph.outputs`, under these names, so that every pass keeps them true:

    output/NAME          a value of the predicting graph
    loss, metric/NAME    of one batch, in the training pass
    next/PATH            a variable after the step
    turn/K/next/PATH     the same of pass K, from 1, where losses take turns
    turn/K/initial/key   the key of pass K
    initial/PATH         a variable's start value, from the leaf `seed` alone; none for one that is loaded
    rows/keep            of each row, whether it is in the epoch `rows/epoch`; rows/order: by what rows are sorted,
                         rows/weight: drawn, rows/length: together in batches;
                         turn/K/rows/... of the first pass of another train block
    draw/NAME            a draw for an input that has a distribution, of the shape of the input
    whole/NAME           `loss` or a metric over the whole data set, until `evaluation.split` makes of it
    evaluate/part/K      one batch's contribution to a total
    evaluate/value/NAME  closing arithmetic: `loss` or a metric from the totals (variables `evaluate/total/K`)
    evaluate/train/...   the same of a training epoch, for what is not put together from the figures of its steps
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from dlc.runtime.column import Column
from dlc.runtime.support import Support

from ..diagnostics import error
from ..source import Span
from .graph import Array, Graph, Node
from .types import TensorType

MEMBERS = "members/"  # before the path of a parameter or state of a layer: that of every member of an ensemble
TOGETHER = "evaluate/members/part/"  # before the number of a part of evaluation: that of what an ensemble predicts
POINT = "average/"  # before the path of a parameter: what is trained where the parameter is its moving mean


def pass_of(name: str) -> tuple[int, str]:
    """The number of the pass that a root or a mark is of, where losses take turns, and its name without that."""
    if not name.startswith("turn/"):
        return 0, name
    _, number, rest = name.split("/", 2)
    return int(number), rest


@dataclass
class Variable:
    """Something a step reads that is not data.

    kind: "parameter" (learned), "state" (of a layer), "optimizer" (its state), "member" (a parameter or state of every
    member of an ensemble, `members/PATH`), "counter" (`step`, `key`, `steps`, `observations`), or "total"
    (`evaluate/total/K`).
    """

    path: str
    kind: str
    node: Node  # the leaf

    @property
    def type(self) -> TensorType:
        return self.node.type


@dataclass(frozen=True)
class Turn:
    """One of several losses that take turns: a pass of its own, in iterations `first`, `first + every`, ..."""

    loss: str  # the figure that the pass reports first: what is minimized, or `loss` where that is the only one
    every: int = 1
    first: int = 1
    block: int = 0  # of the train blocks, which run one after another


@dataclass(frozen=True)
class Block:
    """One of several train blocks, which run one after another."""

    title: str | None
    settings: dict[str, Any]
    starts: dict[str, str]  # optimizer state that begins as a parameter is when the block does, by their paths


@dataclass(frozen=True)
class Supplied:
    """What the spec does not say and the compiler did."""

    kind: str  # "output", "metric", or "setting" of the train block
    name: str
    by: str  # `y ~ categorical` of an output or metric; the value of a setting


@dataclass
class Module:
    """A spec after elaboration, and after every later pass: they change `graph` in place."""

    name: str
    graph: Graph
    inputs: list[Node] = field(default_factory=list)  # leaves, in the order of the text
    targets: list[Node] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    metrics: list[str] = field(default_factory=list)
    terms: list[str] = field(default_factory=list)  # named terms of the loss, reported as metrics are
    variables: dict[str, Variable] = field(default_factory=dict)  # in the order of making
    reduces: list[str] = field(default_factory=list)  # of each evaluate/part/K: "sum" | "min" | "max"
    epoch: dict[str, str] = field(default_factory=dict)  # how each figure of a step combines (epoch.py)
    epoch_reduces: list[str] = field(default_factory=list)  # of each evaluate/train/part/K: "mean" | "sum" | ...
    exact: dict[str, None] = field(default_factory=dict)  # roots and totals that are worked out in float64
    supports: dict[str, dict[Support, Support]] = field(default_factory=dict)  # of data: what asks, by what is asked
    loaded: dict[str, Callable[[], Array]] = field(default_factory=dict)  # start values that another file holds
    names: dict[str, Node] = field(default_factory=dict)  # what the model's text calls its values, before any pass
    turns: list[Turn] = field(default_factory=list)  # of several losses or train blocks; empty for a single one
    blocks: list[Block] = field(default_factory=list)  # of several train blocks; empty for a single one
    columns: dict[str, Column] = field(default_factory=dict)  # of inputs and targets that say which they are made of
    placed: dict[str, Span] = field(default_factory=dict)  # where they say it
    supplied: list[Supplied] = field(default_factory=list)  # what the text does not say
    rows: tuple[str, ...] = ()  # the dimensions that count rows: one, but where the train block names several
    together: dict[str, list[int]] = field(default_factory=dict)  # figures of what they predict, and their parts
    members: int = 0  # of an ensemble, whose outputs are the means over them; 0 for a single model
    trains: bool = False
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)  # "model" and "train", as in the file
    sources: dict[str, str] = field(default_factory=dict)  # name -> text, the spec first

    @property
    def batch(self) -> str | None:
        """The first dimension that counts rows."""
        return self.rows[0] if self.rows else None

    def whole_range(self, name: str) -> tuple[int, int] | None:
        """The integers that all of an input may be, the end left out; None where none are stated."""
        ends = [
            (int(s.low), int(s.high))
            for s in self.supports.get(name, {})
            if s.whole and s.part is None and s.low is not None and s.high is not None
        ]
        return (max(low for low, _ in ends), min(high for _, high in ends) + 1) if ends else None

    def roots(self, *prefixes: str) -> dict[str, Node]:
        """The roots whose names are one of, or begin with one of (when it ends in "/"), the prefixes."""
        return {
            name: node
            for name, node in self.graph.outputs.items()
            if any(name == prefix or (prefix.endswith("/") and name.startswith(prefix)) for prefix in prefixes)
        }

    def gradients(self) -> dict[str, Node]:
        """What is derived for the updates, by its marks: `gradient/PATH`, of a later pass `turn/K/gradient/PATH`."""
        return {name: node for name, node in self.graph.marks.items() if pass_of(name)[1].startswith("gradient/")}

    def withhold(self, metric: str) -> bool:
        """Leaves a metric out that the spec does not state. False where it does, or a train block waits for it."""
        one = next((one for one in self.supplied if (one.kind, one.name) == ("metric", metric)), None)
        settings = [block.settings for block in self.blocks] or [self.settings.get("train", {})]
        watched = [held["stop"]["on"].partition(".")[2] for held in settings if held.get("stop")]
        if one is None or metric in watched:
            return False
        self.supplied.remove(one)
        self.metrics.remove(metric)
        for root in (f"whole/{metric}", f"metric/{metric}"):
            self.graph.outputs.pop(root, None)
        return True

    def turn(self, number: int) -> str:
        """What the roots of a pass begin with, where losses take turns."""
        return f"turn/{number}/" if number else ""

    def later(self) -> list[str]:
        """The losses of all passes but the first of each train block."""
        return [turn.loss for before, turn in pairwise(self.turns) if turn.block == before.block]

    def drawn(self) -> list[Node]:
        """The inputs that are drawn where no data are fed."""
        return [leaf for leaf in self.inputs if f"draw/{leaf.attrs['name']}" in self.graph.outputs]

    def reserved(self) -> list[str]:
        """Every name of the file that has a meaning. CompileError E0290 when two things have one name."""
        owner: dict[str, tuple[str, Node]] = {}
        for what, node, name in self._meanings():
            if name in owner:
                kind, first = owner[name]
                raise error(
                    "E0290",
                    f"the {kind} and the {what} have one name, `{name}`",
                    first.span,
                    f"the {kind}",
                    more=[(node.span, f"the {what}")] if first is not node else (),
                    help="a compiled file tells its values apart by name: rename one",
                )
            owner[name] = what, node
        return list(owner)

    def _meanings(self) -> Iterable[tuple[str, Node, str]]:
        for leaf in self.inputs:
            yield "input", leaf, leaf.attrs["name"]
        for leaf in self.targets:
            yield "target", leaf, leaf.attrs["name"]
        for path, variable in self.variables.items():
            yield variable.kind, variable.node, path
        for root, node in self.graph.outputs.items():
            kind, _, rest = root.partition("/")
            if kind in ("output", "metric"):
                yield "loss term" if kind == "metric" and rest in self.terms else kind, node, rest
            elif kind != "initial":
                yield "reported value", node, root
