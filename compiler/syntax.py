"""The syntax tree: one frozen dataclass per construct, each with its span.

    file        = declaration*
    declaration = Import | Model | Layer | Optimizer | Distribution | Fn | Derivative | Train
    statement   = Input | Target | Term | Param | State | Return | If | For | Scan | Checkpoint | Typed | Assign
                | Update | Tilde
    train line  = Minimize | Sample | Freeze | Setting | Assign
    expression  = Number | Text | Name | Constant | Ellipsis | Tuple | List | Unary | Binary | Compare | Range
                | Choice | Pipe | Call | Index | Attribute
    pattern     = Path | Not | And | Or

Long left-leaning chains (`a + b + c ...`, `x |> f |> g ...`) are deep trees in `left`; whoever walks
them loops down that side instead of recursing.
"""
from __future__ import annotations

from dataclasses import dataclass

from .source import Span

# --- expressions


@dataclass(frozen=True, slots=True, eq=False)
class Expr:
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Number(Expr):
    value: int | float


@dataclass(frozen=True, slots=True, eq=False)
class Text(Expr):
    value: str


@dataclass(frozen=True, slots=True, eq=False)
class Name(Expr):
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Constant(Expr):
    """`true`, `false` or `none`."""

    value: bool | None


@dataclass(frozen=True, slots=True, eq=False)
class Ellipsis(Expr):
    """`...`, or `...name`: the sizes of a list, in the type of something that is made."""

    name: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Tuple(Expr):
    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class List(Expr):
    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Unary(Expr):
    op: str  # "-" "+" "not"
    operand: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Binary(Expr):
    op: str  # "+" "-" "*" "/" "//" "%" "@" "^" "and" "or" "==" "!=" "<" "<=" ">" ">="
    left: Expr
    right: Expr
    op_span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Range(Expr):
    """`start..stop`, stop excluded."""

    start: Expr
    stop: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Choice(Expr):
    """`yes if condition else no`"""

    yes: Expr
    condition: Expr
    no: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Pipe(Expr):
    """`left |> right`"""

    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Argument:
    """One argument of a call; `name` is set for `name = value`."""

    span: Span
    name: str | None
    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Call(Expr):
    function: Expr
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Slice(Expr):
    """`start:stop:step` between the brackets of an index."""

    start: Expr | None
    stop: Expr | None
    step: Expr | None


@dataclass(frozen=True, slots=True, eq=False)
class Index(Expr):
    """`value[places]`; a place is an expression, a Slice, `none` or `...`."""

    value: Expr
    places: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Attribute(Expr):
    value: Expr
    name: str
    name_span: Span


# --- types, parameters, patterns


@dataclass(frozen=True, slots=True, eq=False)
class Type:
    """`float[batch, n]`; `dims` is None for a bare `int`. A dimension may be `...` (Ellipsis)."""

    span: Span
    dtype: str
    dims: tuple[Expr, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class Parameter:
    """One entry of a parameter list: `name: type = default`."""

    span: Span
    name: str
    type: Type | None
    default: Expr | None


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """One part of a path: `conv*` with its places `[3, *]` (None stands for `*`)."""

    span: Span
    name: str
    places: tuple[tuple[Expr | None, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Path(Pattern):
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Not(Pattern):
    operand: Pattern


@dataclass(frozen=True, slots=True, eq=False)
class And(Pattern):
    items: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Or(Pattern):
    items: tuple[Pattern, ...]


# --- statements


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Input(Statement):
    name: str
    name_span: Span
    type: Type
    drawn_from: Expr | None


@dataclass(frozen=True, slots=True, eq=False)
class Target(Statement):
    name: str
    name_span: Span
    type: Type


@dataclass(frozen=True, slots=True, eq=False)
class Term(Statement):
    """`loss [NAME] = expr`, `metric NAME = expr`, `output NAME = expr`."""

    kind: str
    name: str | None
    name_span: Span
    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Param(Statement):
    name: str
    name_span: Span
    type: Type
    prior: Expr | None
    init: Expr | None


@dataclass(frozen=True, slots=True, eq=False)
class State(Statement):
    """`state NAME: TYPE = value` (drawn=False) or `init initializer` (drawn=True)."""

    name: str
    name_span: Span
    type: Type | None
    value: Expr
    drawn: bool


@dataclass(frozen=True, slots=True, eq=False)
class Return(Statement):
    values: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class If(Statement):
    condition: Expr
    yes: tuple[Statement, ...]
    no: tuple[Statement, ...]  # `else if` is an If alone in here


@dataclass(frozen=True, slots=True, eq=False)
class For(Statement):
    name: str
    name_span: Span
    over: Expr
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Scan(Statement):
    name: str
    name_span: Span
    over: Expr
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint(Statement):
    """`checkpoint { ... }`: what the body computes is computed again for its derivative."""

    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Typed(Statement):
    """`name: type = expr`"""

    name: str
    name_span: Span
    type: Type
    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Assign(Statement):
    """`a, b[i] = expr, ...`; a target is a Name, or an Index whose value is a Name."""

    targets: tuple[Expr, ...]
    values: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Update(Statement):
    """`state <- expr`"""

    target: Name
    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Tilde(Statement):
    """`left ~ distribution`"""

    left: Expr
    distribution: Expr


# --- train block


@dataclass(frozen=True, slots=True, eq=False)
class Minimize(Statement):
    objective: Expr
    over: Pattern | None
    using: Expr
    every: Expr | None


@dataclass(frozen=True, slots=True, eq=False)
class Sample(Statement):
    over: Pattern | None
    using: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Freeze(Statement):
    pattern: Pattern


@dataclass(frozen=True, slots=True, eq=False)
class Setting(Statement):
    """`name: value`, or `name: value on pattern`."""

    name: str
    name_span: Span
    value: Expr
    on: Pattern | None


# --- declarations


@dataclass(frozen=True, slots=True, eq=False)
class Import:
    """`import "blocks.dl"` or `import std.vision [as v]`."""

    span: Span
    path: str | None  # a quoted file, relative to the importing one
    module: tuple[str, ...] | None  # dotted names
    alias: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Declaration:
    """Shared by Model, Layer, Optimizer, Distribution, Fn and Derivative. `doc` is the comment above it."""

    span: Span
    name: str
    name_span: Span
    doc: str
    configuration: tuple[Parameter, ...]  # the first argument list (of an fn: the only one)
    body: tuple[Statement, ...]  # of `fn f(x) = e`: one Return


@dataclass(frozen=True, slots=True, eq=False)
class Model(Declaration):
    pass


@dataclass(frozen=True, slots=True, eq=False)
class Layer(Declaration):
    flow: tuple[Parameter, ...]
    returns: tuple[Type, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class Optimizer(Declaration):
    flow: tuple[Parameter, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Distribution(Declaration):
    flow: tuple[Parameter, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Fn(Declaration):
    returns: tuple[Type, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class Derivative(Declaration):
    """What flows back through the fn of that name: g, y and the arguments of the fn."""


@dataclass(frozen=True, slots=True, eq=False)
class Train:
    span: Span
    name: str | None
    name_span: Span
    configuration: tuple[Parameter, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, eq=False)
class File:
    """One parsed source."""

    span: Span
    declarations: tuple[Declaration | Import | Train, ...]
