"""What one elaboration carries along: the graph, the variables, the draws, the passes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from .. import ops
from ..diagnostics import CompileError, Diagnostic, Label, Problems, error
from ..ir.graph import Graph, Node
from ..ir.module import Module, Variable
from ..ir.place import Place
from ..ir.reachable import depends
from ..ir.types import Dim, Shape, TensorType, TypeProblem, product
from ..source import Span
from . import meant
from .library import Library
from .scope import Frame
from .values import POISON, Argument, Distributed, Objective, Tensor, Value, holds_tensor

if TYPE_CHECKING:
    from .clipping import Clipping
    from .likelihood import Pass
    from .scan import OpenScan

# By source and range of text: the owner of what was made there, and the value, once for each time that the text ran.
Seen: TypeAlias = "dict[tuple[str, int, int], list[tuple[str, Value]]]"

MAX_DEPTH = 200  # applications within applications
MAX_ELEMENTS = 2**31  # of one value, and of all parameters and states together
PASS = 2**62 + 8  # and so have the passes of losses that take turns, but the first
FEED = 2**62 + 4  # no step comes to it: draws that feed an input have a key of their own
WORK = 10  # statements executed for each operation that a spec may unroll to


class _At:
    """`Graph.at`, without a generator: every statement and call enters one."""

    __slots__ = ("before", "graph", "scope", "span")

    def __init__(self, graph: Graph, scope: str, span: Span | None) -> None:
        self.graph, self.scope, self.span = graph, scope, span

    def __enter__(self) -> None:
        graph = self.graph
        self.before = graph.scope, graph.span
        graph.scope = self.scope
        if self.span is not None:
            graph.span = self.span

    def __exit__(self, *problem: object) -> None:
        self.graph.scope, self.graph.span = self.before


class _Within:
    """What `Context.within` enters."""

    __slots__ = ("before", "graph", "place")

    def __init__(self, graph: Graph, place: Place) -> None:
        self.graph, self.place = graph, place

    def __enter__(self) -> None:
        self.before = self.graph.place
        self.graph.place = self.place

    def __exit__(self, *problem: object) -> None:
        self.graph.place = self.before


class Context:
    def __init__(self, name: str, library: Library, problems: Problems, max_nodes: int) -> None:
        self.graph = Graph()
        self.module = Module(name, self.graph)
        self.library = library
        self.problems = problems
        self.max_nodes = max_nodes
        self.depth = 0
        self.blocks = 0  # `checkpoint` blocks that were run
        self.worked = 0  # statements executed
        self.draws = 0  # draws of this pass so far: the place of the next one
        self.made: dict[str, Span | None] = {}  # parameters and states that this pass asked for
        self.data: dict[Node, bool] = {}  # whether a value depends on data
        self.held: dict[Node, bool] = {}  # whether it depends on what is learned, drawn or counted
        self.applied: set[str] = set()  # paths of layers that were applied under no condition
        self.filled: dict[Node, tuple[Any, tuple[Any, ...], Span]] = {}  # what an fn made of a number, and the call
        self.ignored: list[tuple[Any, tuple[Any, ...], Span]] = []  # calls whose fn ignores its number
        self.compared: dict[Node, tuple[Node, Node, int]] = {}  # scores of the library: of which values, what is better
        self.elements = 0  # of all parameters and states
        self.starts = 0  # the same for start values
        self.starting = False  # start values are being made
        self.made_of: dict[str, tuple[Node, Span]] = {}  # start values that read those of other variables
        self.feeding = False  # a value for an input that the data of a prediction lack is being drawn
        self.moving: MutableMapping[str, Node] = {}  # states that moved in this training pass
        self.read: dict[str, None] = {}  # what of the pass was asked for: "training", "predicting", "draw", "move"
        self.scans = 0  # scans so far
        self.open_scans: list[OpenScan] = []  # scans whose iteration is being elaborated, the outermost first
        self.current: Pass  # what the pass that runs has given so far
        self.model: Frame  # what the model's text names, in its training pass
        self.optimizers: dict[tuple[int, str], str] = {}  # of each pass and parameter, where losses take turns
        self.rates: dict[str, Node] = {}  # of the pass that is made: each parameter's learning rate
        self.sums = True  # the sum of the losses is reported, as `loss`
        self.clipping: Clipping | None = None  # of the update that is being elaborated
        self.functions: dict[str, Objective] = {}  # values of the model that an optimizer may be given, by name
        self.checking_outputs = False  # outputs are evaluated in the training pass too
        self.seen: Seen | None = None  # what the text's values were found to be, where an editor asks for it

    def note(self, frame: Frame, span: Span, value: Value) -> None:
        """Remembers what a piece of the user's text is, for an editor."""
        assert self.seen is not None
        if not frame.unit.standard and value is not POISON:
            self.seen.setdefault((span.source.name, span.start, span.end), []).append((frame.path, value))

    # --- variables

    def variable(self, path: str, kind: str, type: TensorType, span: Span | None = None) -> Variable:
        """The variable of that path, made on first sight. E0312-like trouble if it changes its type."""
        known = self.module.variables.get(path)
        if kind in ("parameter", "state"):
            self.made.setdefault(path, span)
        if known is not None:
            if known.type != type:
                raise error(
                    "E0317",
                    f"`{path}` has two types",
                    span,
                    f"here it is `{type}`",
                    notes=[f"it was made as `{known.type}`"],
                    help="a layer applied twice shares its parameters: make a second instance for other sizes",
                )
            return known
        self.elements += check_size(type, f"`{path}`", span)
        if self.elements > MAX_ELEMENTS:
            raise error(
                "E0341", f"the parameters and states have more than {MAX_ELEMENTS:,} elements", span, "with this one"
            )
        variable = Variable(path, kind, ops.make_variable(self.graph, path, type))
        self.module.variables[path] = variable
        return variable

    def counter(self, name: str, shape: Shape = ()) -> Node:
        """One of the variables `step`, `key`, `steps`, `observations`, or what else a runtime says of the data."""
        if name not in self.module.variables:
            self.variable(name, "counter", TensorType("key" if name == "key" else "int", shape))
        return self.module.variables[name].node

    def step(self) -> Node:
        """The number of the update that a step makes, from 1."""
        return self.counter("step") + 1

    def start(self, path: str) -> Node:
        """The start value of a variable, in terms of the seed."""
        return self.graph.outputs[f"initial/{path}"]

    def draw(self, shape: Shape) -> tuple[Node, int]:
        """The key of the next draw, and its first word; it has as many of its own as there are elements.

        A step's key is folded from the seed's and the step, and with the iteration of each scan around the draw.
        Multiples of 2^64 over the golden ratio lie far apart: the first 2^20 places have 2^42 words each of their own,
        which no power of two separates. Start values have the key of step 0, and words without gaps, so that many small
        draws can be made as one.
        """
        self.read["draw"] = None
        if self.starting:
            size = product(shape)
            if not isinstance(size, int):
                raise error(
                    "E0330", "a start value cannot depend on the data or on the step", self.graph.span, "drawn here"
                )
            start = self.starts
            self.starts += size
            return ops.fold(ops.seed_key(self.graph), 0), start
        place, self.draws = self.draws, self.draws + 1
        key = ops.fold(self.counter("key"), self.step())
        if self.feeding:
            key = ops.fold(key, FEED)
        for open_scan in self.open_scans:
            key = ops.fold(key, open_scan.iteration)
        return key, place * ops.STRIDE % 2**64

    def depends_on_data(self, node: Node) -> bool:
        """Whether a value is computed from data, or has a dimension of it."""
        return depends(node, _is_data, self.data)

    # --- making nodes

    def make(
        self,
        operation: Callable[..., Any],
        operands: Sequence[Any],
        spans: Sequence[Span | None],
        span: Span | None,
        **attrs: Any,
    ) -> Any:
        """operation(*operands, **attrs) with type problems turned into diagnostics at the operands' places."""
        if len(self.graph) > self.max_nodes:
            raise too_many(len(self.graph), self.max_nodes, span)
        try:
            return operation(*operands, **attrs)
        except TypeProblem as problem:
            raise located(problem, spans, span, operands) from None
        except OverflowError:
            raise error("E0303", "a number is too large for an int of 64 bits", span, "here") from None

    def at(self, frame: Frame, span: Span | None) -> _At:
        """Nodes made inside belong to the frame's owner and to this place, unless it lies in the library."""
        return _At(self.graph, frame.path, None if frame.unit.standard else span)

    def within(self, kind: str, name: str, span: Span | None, given: Sequence[Argument] = ()) -> _Within:
        """Nodes made inside are drawn in that place of the one that is open (`ir/place.py`)."""
        place = self.graph.place.inside(kind, name, span)
        if given and not place.said:
            place.said = said(name, given)
        return _Within(self.graph, place)

    def inside(self, place: Place) -> _Within:
        """The same in a place that may lie elsewhere."""
        return _Within(self.graph, place)

    def work(self, span: Span | None, cost: int = 1) -> None:
        """Bounds the statements executed: iterations that make nothing take time, too."""
        self.worked += cost
        if self.worked > WORK * self.max_nodes:
            raise too_many(self.worked, self.max_nodes, span, "statements")

    @contextmanager
    def deeper(self, what: str, span: Span | None) -> Iterator[None]:
        """Bounds applications within applications: a definition that calls itself never ends."""
        self.work(span, 4)
        self.depth += 1
        try:
            if self.depth > MAX_DEPTH:
                raise error(
                    "E0219",
                    f"{what} is applied inside itself more than {MAX_DEPTH} times",
                    span,
                    "does a definition call itself forever?",
                    help="use `for` for a fixed number of iterations",
                )
            yield
        finally:
            self.depth -= 1


def said(name: str, given: Sequence[Argument]) -> str:
    """A call as pictures show it: `dense(128)`. Numbers by their values; no start values, and no tensors, which arrows
    show."""
    shown = []
    for argument in given:
        value = argument.value
        if isinstance(value, bool):
            text = str(value).lower()
        elif isinstance(value, int | float):
            text = f"{value:g}" if isinstance(value, float) else str(int(value))
        elif holds_tensor(value) or isinstance(value, Distributed):
            continue
        else:
            text = argument.span.text
            if argument.name is not None and text.replace(" ", "").startswith(argument.name + "="):
                text = text.partition("=")[2].strip()  # the span may be of all of `name = value`
        shown.append(text if argument.name is None else f"{argument.name} = {text}")
    return f"{name}({', '.join(shown)})" if shown else name


def _is_data(node: Node) -> bool:
    return node.op.name == "input" or any(isinstance(size, Dim) for size in node.shape)


def check_size(type: TensorType, what: str, span: Span | None) -> int:
    """The number of elements of a type as far as it is known. E0341 where no machine could hold them."""
    count = math.prod(max(size, 1) for size in type.shape if isinstance(size, int))
    if count > MAX_ELEMENTS:
        raise error(
            "E0341",
            f"{what} has {count:,} elements; the limit is {MAX_ELEMENTS:,}",
            span,
            f"this is `{type}`",
            help="is one of its sizes a mistake?",
        )
    return count


def too_many(count: int, limit: int, span: Span | None, what: str = "operations") -> CompileError:
    allowed = limit if what == "operations" else WORK * limit
    return error(
        "E0220",
        f"the spec unrolls to {count:,} {what}; the limit is {allowed:,}",
        span,
        "made here",
        help=f"use fewer iterations, or allow more: --max-nodes {max(count, limit) * 2}",
    )


def located(
    problem: TypeProblem, spans: Sequence[Span | None], span: Span | None, operands: Sequence[Any] = ()
) -> CompileError:
    """A diagnostic of a type problem: each operand underlined where it stands, by name, and where it comes from."""
    labels = []
    for number, text in problem.operands.items():
        place = spans[number] if number < len(spans) else None
        if place is not None:
            node = operands[number] if number < len(operands) else None
            named = text.replace(" dimension is ", f" dimension of `{place.text}` is ") if _short(place) else text
            labels.append(Label(place, named + _origin(node, place)))
    notes: list[str] = []
    if not labels:
        labels = [Label(span, "\n".join(problem.operands.values()))] if span else []
    elif span is not None and len({label.span for label in labels}) < len(labels):
        notes = [label.text for label in labels]
        labels = [Label(span, "")]
    help = meant.instead(problem, operands) or problem.help
    return CompileError([Diagnostic(problem.code, str(problem), tuple(labels), tuple(notes), help)])


def _short(span: Span) -> bool:
    return span.end - span.start <= 24 and "\n" not in span.text


def _origin(node: Any, place: Span) -> str:
    """Where a value comes from, if that is another line of the same text."""
    if not isinstance(node, Node) or node.span is None or node.span.source is not place.source:
        return ""
    made, read = node.span.shown, place.shown
    if made.source is not read.source or made.line == read.line:
        return ""
    if node.op.name in ("input", "variable"):
        return f" (declared on line {made.line})"
    text = f"`{node.span.text}`, " if _short(node.span) else ""
    return f" (from {text}line {made.line})"


def poisoned(*values: Value) -> bool:
    """Whether a value comes from a statement that was already in error."""
    return any(value is POISON for value in values)


def to_node(c: Context, value: Value, dtype: str | None = None) -> Node | None:
    """A tensor, number, Boolean or size as a node; None for anything else."""
    if isinstance(value, Tensor):
        return value.node if dtype is None or value.node.dtype == dtype else ops.cast(value.node, dtype=dtype)
    if isinstance(value, Dim):
        node = ops.make_size(c.graph, Dim(value.terms))
        return node if dtype in (None, "int") else ops.cast(node, dtype=dtype)
    if isinstance(value, bool):
        return ops.constant(c.graph, value, dtype or "bool")
    if isinstance(value, int):
        return ops.constant(c.graph, int(value), dtype or "int")
    if isinstance(value, float):
        return ops.constant(c.graph, value, dtype or "float")
    return None
