"""What a model shows without saying so: the outputs and metrics that the distributions of its likelihoods declare.

    distribution bernoulli(logits)(y in [0, 1]) {
        ...
        output probability = sigmoid(logits)
        metric accuracy    = weighted_mean((logits > 0) == (y > 0), weights)
    }

A model without an `output` of its own gives those of its likelihoods; one that states no `metric` either reports their
metrics, too. A likelihood is `~` of data, or of what is computed from data alone: of what is learned nothing is shown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .. import ops
from ..diagnostics import CompileError, error
from ..ir.graph import Node
from ..ir.module import Supplied
from ..ir.reachable import depends
from ..source import Span
from ..syntax import tree as syntax
from . import distributions, likelihood
from .context import Context
from .scope import Frame
from .values import Distributed, Tensor, Value


@dataclass(frozen=True)
class Observed:
    """A likelihood: `left ~ value`."""

    frame: Frame
    value: Distributed
    subject: Tensor
    left: Span
    span: Span

    @property
    def name(self) -> str:
        """The first name on its left."""
        found = re.search(r"[^\W\d]\w*", self.left.text)
        return found[0] if found else "y"

    @property
    def text(self) -> str:
        return f"{' '.join(self.left.text.split())} ~ {self.value.declaration.name}"


def note(
    c: Context, frame: Frame, value: Distributed, subject: Tensor, left: Span, span: Span, density: Node | None = None
) -> None:
    """Keeps a likelihood until the whole model is known. A prior is none, nor is a density of what is learned."""
    if c.depends_on_data(subject.node) and not depends(subject.node, lambda node: node.op.name == "variable", c.held):
        if value.weights is not None and density is not None:
            value = replace(value, weights=Tensor(_each(value.weights.node, density, value.joint)))
        c.current.observed.append(Observed(frame, value, subject, left, span))


def _each(weights: Node, density: Node, joint: bool) -> Node:
    """The weight of each log density; `joint` has weighted rows."""
    for _ in range(density.rank - max(weights.rank, 1) if joint and weights.rank < 2 else 0):
        weights = ops.expand_dims(weights, axis=weights.rank)
    return ops.broadcast_to(weights, shape=density.shape)


def supply(c: Context, frame: Frame, declaration: syntax.Model) -> None:
    """At the end of a pass: what the model does not state, its likelihoods do."""
    terms = [part for part in syntax.walk(declaration.body) if isinstance(part, syntax.Term)]
    stated = {term.kind for term in terms}
    leaves = [leaf.attrs["name"] for leaf in (*c.module.inputs, *c.module.targets)]
    taken = dict.fromkeys([*leaves, *c.module.variables, *(term.name for term in terms if term.name), "loss"])
    if "output" not in stated and not (frame.training and not c.checking_outputs):
        _show(c, frame, "output", taken)
    if not stated & {"output", "metric"} and not frame.predicting:
        _show(c, frame, "metric", taken)


def _show(c: Context, frame: Frame, kind: str, taken: dict[str, None]) -> None:
    found: list[tuple[Observed, syntax.Term, Value]] = []
    for observed in c.current.observed:
        stated: dict[str | None, Span] = {}
        for term in distributions.terms(observed.value.declaration, kind):
            if stated.setdefault(term.name, term.name_span) is not term.name_span:
                more = [(stated[term.name], "first here")]
                raise error("E0203", f"`{term.name}` is defined twice", term.name_span, "again here", more=more)
            value = _value(c, observed, term)
            if value is not None:
                found.append((observed, term, value))
    several = len({id(observed) for observed, _, _ in found}) > 1
    for observed, term, value in found:
        name = _free(f"{observed.name}_{term.name}" if several else str(term.name), observed.name, taken)
        c.current.supplied.append(Supplied(kind, name, observed.text))
        with c.at(observed.frame, observed.span):
            likelihood.show(c, frame, kind, name, value, observed.span, term.value.span)


def _value(c: Context, observed: Observed, term: syntax.Term) -> Value:
    try:
        with c.at(observed.frame, observed.span), c.within("call", observed.value.declaration.name, observed.span):
            return distributions.shown(c, observed.frame, observed.value, term, observed.span, observed.subject)
    except CompileError as problem:
        if problem.code == "E0224" and observed.value.unit.standard:
            return None  # the mean of a mixture whose parts have none
        raise


def _free(name: str, left: str, taken: dict[str, None]) -> str:
    """A name that nothing in the file has yet."""
    tries: Sequence[str] = (name,) if name.startswith(f"{left}_") else (name, f"{left}_{name}")
    found = next((one for one in tries if one not in taken), None)
    number = 2
    while found is None:
        found = f"{name}_{number}" if f"{name}_{number}" not in taken else None
        number += 1
    taken[found] = None
    return found
