"""The `clip:` lines of a train block. They see the gradients of an update together, so an optimizer is elaborated on a
formal gradient, and what it is to get takes its place when all of them are known.

An optimizer gets its gradient clipped, unless it says `clipped(x)` itself: then it gets what was computed, and x, of
all parameters together, is clipped where it says so (a mean over several batches, in `accumulate`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .. import ops
from ..diagnostics import error
from ..ir.graph import Node
from ..ir.rebuild import rebuild
from ..source import Span
from .context import Context
from .values import Tensor

if TYPE_CHECKING:
    pass

Clip = Callable[[list[Tensor]], list[Tensor]]


@dataclass
class Clipping:
    """One update: `clip` is None where the block has no `clip:` line."""

    c: Context
    clip: Clip | None
    place: Node | None = None  # of what the optimizer that runs asked to have clipped
    asked: Node | None = None
    waiting: list[tuple[Node, Node, Node, Node]] = field(default_factory=list)  # formal, gradient, place, subject
    results: dict[str, Node] = field(default_factory=dict)  # path -> the new theta

    def run(self, path: str, gradient: Node, rule: Callable[[Node], Node]) -> None:
        """The update of one parameter by an optimizer, `rule`, of its gradient."""
        if self.clip is None:
            self.results[path] = rule(gradient)
            return
        formal = ops.make_formal(self.c.graph, gradient.type)
        self.place = self.asked = None
        self.results[path] = rule(formal)
        if self.place is None or self.asked is None:
            self.waiting.append((formal, gradient, formal, formal))
        else:
            self.waiting.append((formal, gradient, self.place, self.asked))

    def ask(self, x: Node, span: Span) -> Node:
        """What stands for x, clipped. E0523 for the second of one optimizer."""
        if self.clip is None:
            return x
        if self.place is not None:
            raise error(
                "E0523",
                "an optimizer clips once",
                span,
                "the second time",
                help="clip the gradient, or what becomes of it",
            )
        self.asked, self.place = x, ops.make_formal(self.c.graph, x.type)
        return self.place

    def close(self) -> dict[str, Node]:
        """The new value of each parameter; the states of the optimizers are put right."""
        c, clip = self.c, self.clip
        if clip is None:
            return self.results
        raw = {formal: gradient for formal, gradient, _, _ in self.waiting}
        subjects = rebuild(c.graph, [subject for *_, subject in self.waiting], raw)
        clipped = clip([Tensor(subject) for subject in subjects])
        given = {**raw, **{place: value.node for (_, _, place, _), value in zip(self.waiting, clipped, strict=True)}}
        roots = [*self.results.values(), *c.moving.values()]
        made = rebuild(c.graph, roots, given)
        thetas = dict(zip(self.results, made, strict=False))
        c.moving.update(zip(list(c.moving), made[len(thetas) :], strict=True))
        return thetas
