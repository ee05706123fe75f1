"""The `clip:` lines of a train block. They see the gradients of an update together, so an optimizer is elaborated on a
formal gradient, and what it is to get takes its place when all of them are known.

An optimizer gets its gradient clipped, unless it says `clipped(x)` itself: then it gets what was computed, and x, of
all parameters together, is clipped where it says so (a mean over several batches, in `accumulate`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .. import ops
from ..diagnostics import error
from ..ir.graph import Node
from ..ir.rebuild import rebuild
from ..source import Span
from .context import Context
from .subjects import Subject
from .values import Tensor

Clip = Callable[[list[Tensor]], list[Tensor]]


@dataclass
class Clipping:
    """One update: `clip` is None where the block has no `clip:` line."""

    c: Context
    clip: Clip | None
    asked: dict[str, tuple[Node, Node]] = field(default_factory=dict)  # by the optimizer that runs: place and subject
    waiting: list[tuple[Node, Node, Node, Node]] = field(default_factory=list)  # formal, gradient, place, subject
    results: dict[str, Node] = field(default_factory=dict)  # path -> the new theta

    def run(self, subject: Subject, gradients: Sequence[Node], rule: Callable[[Node], Node]) -> None:
        """The update of parameters by an optimizer, `rule`, of their gradients as one value."""
        formals = list(gradients)
        if self.clip is not None:
            formals = [ops.make_formal(self.c.graph, gradient.type) for gradient in gradients]
        self.asked = {}
        made = subject.parts(rule(subject.join(formals)))
        self.results.update(zip(subject.paths, made, strict=True))
        for path, formal, gradient in zip(subject.paths, formals, gradients, strict=True):
            self.waiting.append((formal, gradient, *self.asked.get(path, (formal, formal))))

    def ask(self, subject: Subject, x: Node, span: Span) -> Node:
        """What stands for x, clipped. E0316, E0523 for the second of one optimizer."""
        if subject.whole and x.type != subject.type:
            raise error(
                "E0316",
                f"a gradient of all parameters is `{subject.type}`",
                span,
                f"this is `{x.type}`",
                help="clip that",
            )
        if self.clip is None:
            return x
        if any(path in self.asked for path in subject.paths):
            raise error(
                "E0523",
                "an optimizer clips once",
                span,
                "the second time",
                help="clip the gradient, or what becomes of it",
            )
        asked = [(ops.make_formal(self.c.graph, part.type), part) for part in subject.parts(x)]
        self.asked.update(zip(subject.paths, asked, strict=True))
        return subject.join([place for place, _ in asked])

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
