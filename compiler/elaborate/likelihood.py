"""Losses, metrics, outputs, and `~`: what a model adds up and shows."""

from __future__ import annotations

from dataclasses import dataclass, field

from .. import ops
from ..analysis.batch_mixing import made_a_vector
from ..diagnostics import error
from ..ir.graph import Node
from ..ir.module import Supplied
from ..ir.op import total
from ..ir.types import Dim, names_of
from ..source import Span
from ..syntax import tree as syntax
from . import calls, distributions, expressions, scan, supplied
from .context import Context, to_node
from .scope import Frame
from .values import POISON, Argument, Distributed, Tensor, Value, kind


@dataclass
class Pass:
    """What one pass through the model's text gave."""

    losses: list[tuple[str | None, Node, bool]] = field(default_factory=list)  # name, value, whether it is a prior
    metrics: dict[str, Node] = field(default_factory=dict)
    outputs: dict[str, Node] = field(default_factory=dict)
    places: dict[str, Span] = field(default_factory=dict)  # where each loss term, metric and output stands
    paired: dict[str, None] = field(default_factory=dict)  # names that a loss term and a metric have
    rows: list[tuple[Node, Span]] = field(default_factory=list)  # log densities of the likelihoods
    priors: list[Span] = field(default_factory=list)
    believed: dict[str, None] = field(default_factory=dict)  # parameters whose own priors are in
    observed: list[supplied.Observed] = field(default_factory=list)  # the likelihoods
    supplied: list[Supplied] = field(default_factory=list)  # outputs and metrics that they gave

    def figures(self) -> dict[str, Node]:
        """What is reported beside `loss`: its terms that have names, then metrics, which win where both have one."""
        terms = {name: node for name, node, _ in self.losses if name is not None and name not in self.metrics}
        return terms | self.metrics

    def total(self, *, priors: bool, only: str | None = None) -> Node | None:
        """The sum of the losses, with or without the priors."""
        return total(
            [node for name, node, prior in self.losses if (priors or not prior) and (only is None or name == only)]
        )


def scalar(c: Context, value: Value, what: str, span: Span, dtype: str | None = "float") -> Node:
    """A value that must be a single number. E0332 otherwise."""
    node = to_node(c, value)
    if node is None or node.rank or node.dtype == "key":
        raise error(
            "E0332",
            f"{what} is a single number",
            span,
            f"this is {kind(value)}" if node is None else f"this is `{node.type}`",
            help="`mean(...)` or `sum(...)` over all of it makes one number",
        )
    return node if dtype is None or node.dtype == dtype else ops.cast(node, dtype=dtype)


def term(c: Context, frame: Frame, statement: syntax.Term) -> None:
    """`loss [NAME] = e`, `metric NAME = e`, `output NAME = e`."""
    if statement.kind == "output" and frame.training and not c.checking_outputs:
        return  # the training pass needs no outputs
    if statement.kind == "metric" and frame.predicting:
        return
    value = expressions.evaluate(c, frame, statement.value)
    if value is POISON:
        return
    show(c, frame, statement.kind, statement.name, value, statement.name_span, statement.value.span)


def show(c: Context, frame: Frame, kind_: str, name: str | None, value: Value, place: Span, span: Span) -> None:
    """A loss, metric or output of that value, named at `place`."""
    current = c.current
    if name is not None:
        terms = [term for term, _, _ in current.losses]
        pair = (kind_ == "metric" and name in terms) or (kind_ == "loss" and name in current.metrics)
        if name == "loss" or (name in current.places and not (pair and name not in current.paired)):
            raise error(
                "E0203",
                f"`{name}` is defined twice",
                place,
                "again here",
                more=[(current.places.get(name), "first here")],
            )
        if pair:
            current.paired[name] = None
        current.places[name] = place
    if kind_ == "output":
        node = to_node(c, value)
        if node is None or node.dtype == "key":
            several = isinstance(value, tuple)
            help = "give each value a name, `a, b = ...`, and an `output` of its own" if several else None
            raise error("E0333", f"an output is a tensor, not {kind(value)}", span, f"this is {kind(value)}", help=help)
        current.outputs[name or "output"] = node
        frame.terms[name or "output"] = Tensor(node)
        return
    table = to_node(c, value) if kind_ == "metric" else None
    if table is not None and table.rank and table.dtype != "key" and not any(isinstance(n, Dim) for n in table.shape):
        node = table  # of a whole data set: a confusion matrix
    else:
        node = scalar(c, value, f"a {kind_}", span)
    if kind_ == "metric":
        current.metrics[name or "metric"] = node
        frame.terms[name or "metric"] = Tensor(node)
    else:
        add_loss(c, frame, name, node, prior=False)


def add_loss(c: Context, frame: Frame, name: str | None, node: Node, *, prior: bool) -> None:
    scan.check_outside(c, node, "a loss", c.graph.span)
    c.current.losses.append((name, node, prior))
    model: Frame | None = frame
    while model is not None and model.kind != "model":
        model = model.caller
    if model is not None:
        if name is not None and name not in c.current.metrics:
            model.terms[name] = Tensor(node)
        before = model.terms.get("loss")
        model.terms["loss"] = Tensor(node if before is None else before.node + node)


def observe(c: Context, frame: Frame, left: Value, right: Value, left_span: Span, span: Span) -> None:
    """`left ~ right`: the negative log density joins the loss; a mean over observations, or a prior."""
    if calls.is_maker(right):
        right = calls.call(c, frame, right, [], span)
    if not isinstance(right, Distributed):
        raise error(
            "E0236",
            f"`~` takes a distribution, not {kind(right)}",
            span,
            f"this is {kind(right)}",
            help="write `y ~ normal(mean, std)` or another distribution of the library",
        )
    if to_node(c, left) is None:
        raise error(
            "E0301", f"`~` says how a tensor is distributed, not {kind(left)}", left_span, f"this is {kind(left)}"
        )
    subject = left if isinstance(left, Tensor) else Tensor(to_node(c, left, "float"))  # type: ignore[arg-type]
    if frame.predicting:
        return supplied.note(c, frame, right, subject, left_span, span)
    with c.within("call", right.declaration.name, span):
        _joined(c, frame, right, subject, left_span, span)


def _joined(c: Context, frame: Frame, right: Distributed, subject: Tensor, left_span: Span, span: Span) -> None:
    """The negative log density joins the loss."""
    density = log_density(c, frame, right, subject, left_span, span)
    if c.depends_on_data(subject.node):
        current, each = c.current, density
        if right.joint and density.rank > 1:
            density = ops.reduce_sum(density, axes=tuple(range(1, density.rank)), keepdims=False)
        if right.weights is not None:
            weights = c.make(
                ops.broadcast_to, [ops.cast(right.weights.node, dtype="float")], [span], span, shape=density.shape
            )
            axes = tuple(range(density.rank))
            summed = ops.reduce_sum(density * weights, axes=axes, keepdims=False)
            whole = ops.reduce_sum(weights, axes=axes, keepdims=False)
            # Where no row counts, 0 / 1: a batch of padding alone is 0 and moves nothing.
            nothing = ops.and_(ops.eq(whole, 0.0), ops.eq(summed, 0.0))
            summed = summed / (whole + ops.cast(nothing, dtype="float"))
        else:
            summed = ops.mean(density, tuple(range(density.rank)))
            current.rows.append((density, span))
        add_loss(c, frame, None, -summed, prior=False)
        supplied.note(c, frame, right, subject, left_span, span, each)
        if current.priors:
            _same_rows(current)
        return
    summed = ops.reduce_sum(density, axes=tuple(range(density.rank)), keepdims=False) if density.rank else density
    with c.at(frame, span):
        count = ops.cast(c.counter("observations"), dtype="float")
        add_loss(c, frame, None, -summed / count, prior=True)
    c.current.priors.append(span)
    _same_rows(c.current)


def _same_rows(current: Pass) -> None:
    """Beside a prior an observation is a row: a likelihood of several values a row must say `joint`."""
    for density, span in current.rows:
        if density.rank != 1:
            names = [name for size in density.shape for name in names_of(size)]
            twice = next((name for name in names if names.count(name) > 1), None)
            raise error(
                "E0502",
                "with a prior, it must be clear what one observation is",
                span,
                f"this likelihood has log densities of shape `{density.type}`",
                more=[(current.priors[0], "the prior is shared among the observations")],
                help=made_a_vector(twice) if twice else "`joint(...)` makes all of a row one observation",
            )


def log_density(c: Context, frame: Frame, value: Distributed, subject: Tensor, left_span: Span, span: Span) -> Node:
    density = distributions.equation(c, frame, value, "log_density", span, Argument(None, subject, left_span))
    node = to_node(c, density, "float")
    if node is None:
        raise error("E0301", "a log density is a tensor", span, f"this is {kind(density)}")
    return node
