"""The `clip:` lines of a train block. They see the gradients of an update together, so an optimizer is elaborated on a
formal gradient, and what it is to get takes its place when all of them are known.

An optimizer gets its gradient clipped, unless it says `clipped(x)` itself: then it gets what was computed, and x, of
all parameters together, is clipped where it says so (a mean over several batches, in `accumulate`). Optimizers that
wrap each other may each say so: the first values of all parameters are clipped together, then the second.
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
Ask = tuple[Node, Node]  # what stands for a clipped value, and that value


@dataclass
class Clipping:
    """One update: `clip` is None where the block has no `clip:` line."""

    c: Context
    clip: Clip | None
    asked: dict[str, dict[str, Ask]] = field(default_factory=dict)  # of the rule that runs: by parameter and optimizer
    waiting: list[tuple[Node, Node, list[Ask]]] = field(default_factory=list)  # formal and true gradient of a parameter
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
            asked = list(self.asked.get(path, {"": (formal, formal)}).values())
            self.waiting.append((formal, gradient, asked))

    def ask(self, optimizer: str, subject: Subject, x: Node, span: Span) -> Node:
        """What stands for x, clipped, in an optimizer by its path. E0316, E0523 for the second time in one."""
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
        if any(optimizer in self.asked.get(path, ()) for path in subject.paths):
            raise error(
                "E0523",
                "an optimizer clips once",
                span,
                "the second time",
                help="clip the gradient, or what becomes of it",
            )
        places = [ops.make_formal(self.c.graph, part.type) for part in subject.parts(x)]
        for path, place, part in zip(subject.paths, places, subject.parts(x), strict=True):
            self.asked.setdefault(path, {})[optimizer] = place, part
        return subject.join(places)

    def close(self) -> dict[str, Node]:
        """The new value of each parameter; the states of the optimizers are put right."""
        c, clip = self.c, self.clip
        if clip is None:
            return self.results
        given = {formal: gradient for formal, gradient, _ in self.waiting}
        for turn in range(
            max(map(len, (asked for *_, asked in self.waiting)), default=0)
        ):  # what one clips, one within may clip again
            asked = [asked[turn] for *_, asked in self.waiting if turn < len(asked)]
            subjects = rebuild(c.graph, [subject for _, subject in asked], given)
            clipped = clip([Tensor(subject) for subject in subjects])
            given.update((place, value.node) for (place, _), value in zip(asked, clipped, strict=True))
        roots = [*self.results.values(), *c.moving.values()]
        made = rebuild(c.graph, roots, given)
        thetas = dict(zip(self.results, made, strict=False))
        c.moving.update(zip(list(c.moving), made[len(thetas) :], strict=True))
        return thetas
