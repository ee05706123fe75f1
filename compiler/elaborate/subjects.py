"""What the rule of an optimizer updates, one parameter or all of a statement as one vector, and values of the model as
functions of it: `loss(theta + e)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .. import ops
from ..diagnostics import error
from ..ir.graph import Node
from ..ir.rebuild import rebuild
from ..ir.types import TensorType, product
from ..source import Span
from ..syntax import tree as syntax
from .values import Argument, Objective, Tensor, Updater, Value, kind

if TYPE_CHECKING:
    from .context import Context


@dataclass(frozen=True, eq=False)
class Subject:
    """Parameters by their paths, and the objective that depends on them. As a vector (`whole`) they stand one after
    another, each row by row; otherwise there is one, as it is."""

    paths: tuple[str, ...]
    leaves: tuple[Node, ...]
    objective: Node
    whole: bool = False
    elsewhere: Mapping[Node, Node] = field(default_factory=dict)  # what other parameters are where theta is asked

    @property
    def type(self) -> TensorType:
        """Of theta and of its gradient."""
        if not self.whole:
            return self.leaves[0].type
        return TensorType("float", (sum(_count(leaf) for leaf in self.leaves),))

    def join(self, parts: Sequence[Node]) -> Node:
        """One value of that type."""
        return ops.concat(*[ops.reshape(x, shape=(_count(x),)) for x in parts], axis=0) if self.whole else parts[0]

    def parts(self, value: Node) -> list[Node]:
        """What a value of that type is for each parameter."""
        if not self.whole:
            return [value]
        found, start = [], 0
        for leaf in self.leaves:
            stop = start + _count(leaf)
            found.append(ops.reshape(ops.narrow(value, 0, start, stop), shape=leaf.shape))
            start = stop
        return found

    def theta(self) -> Node:
        """The parameters as they are. No rewrite looks through the vector while derivatives are taken by it."""
        return ops.point(self.join(self.leaves)) if self.whole else self.leaves[0]

    def each(self, theta: Node) -> list[Subject]:
        """Each parameter by itself, where the others are those of a theta."""
        there = dict(zip(self.leaves, self.parts(theta), strict=True))
        return [
            Subject((path,), (leaf,), self.objective, elsewhere={k: v for k, v in there.items() if k is not leaf})
            for path, leaf in zip(self.paths, self.leaves, strict=True)
        ]


def _count(leaf: Node) -> int:
    size = product(leaf.shape)
    assert isinstance(size, int)  # a parameter has the shape that the spec says
    return size


def is_vector(type: syntax.Type | None) -> bool:
    return type is not None and type.dtype == "vector"


def takes_whole(updater: Updater) -> bool:
    """Whether a rule sees all parameters as one vector: it says so, or one that it is given does."""
    if any(is_vector(parameter.type) for parameter in updater.declaration.flow):
        return True
    return any(isinstance(value, Updater) and takes_whole(value) for value in updater.configuration.names.values())


def at(value: Objective, subject: Subject) -> Objective:
    """A value of the model that an optimizer was given, as a function of what it updates."""
    return Objective(value.node or subject.objective, subject)


def ask(c: Context, function: Objective, given: Sequence[Argument], span: Span) -> Value:
    """`loss(theta + e)`: the value with other parameters, on the same rows and with the same draws. E0522."""
    subject = function.subject
    if subject is None or function.node is None:
        raise error(
            "E0522",
            "a value of the model is a function of theta in the rule of an optimizer",
            span,
            "asked here",
            help="give the function itself: `newton_cg(curvature = loss)`; the rule asks it: `curvature(theta)`",
        )
    wanted = subject.type
    if len(given) != 1 or given[0].name not in (None, "theta"):
        found = f"{len(given)} arguments" if len(given) != 1 else f"no argument is named `{given[0].name}`"
        raise error(
            "E0522", "the objective is a function of theta alone", span, found, help="`loss(theta + e)` asks it there"
        )
    value = given[0].value
    if not isinstance(value, Tensor) or value.node.type != wanted:
        raise error(
            "E0522",
            f"the objective takes a theta, which is `{wanted}`",
            given[0].span,
            f"this is {kind(value)}",
            help="`loss(theta + e)`, with e of the shape of theta",
        )
    there = {**subject.elsewhere, **dict(zip(subject.leaves, subject.parts(value.node), strict=True))}
    return Tensor(rebuild(c.graph, [function.node], there, here=True)[0])


def with_objective(subject: Subject, value: Value, span: Span) -> Subject:
    """The subject of a rule that is given another objective: `inner(theta, g, t, loss)`. E0522."""
    if not isinstance(value, Objective) or value.node is None:
        raise error(
            "E0522",
            "`loss` of an optimizer is a function of theta",
            span,
            f"this is {kind(value)}",
            help="give the function itself: `inner(theta, g, t, loss)`",
        )
    return replace(subject, objective=value.node)
