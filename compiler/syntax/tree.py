"""The syntax tree: one frozen dataclass per construct, each with its span.

    file        = declaration*
    declaration = Import | Model | Layer | Optimizer | Distribution | Fn | Derivative | Train
    statement   = Input | Target | Term | Param | State | Return | If | For | Scan | Checkpoint | Local | Typed
                | Assign | Update | Tilde
    train line  = Minimize | Sample | Freeze | Setting | Assign
    expression  = Number | Text | Name | Constant | Ellipsis | Tuple | List | Unary | Binary | Compare | Range
                | Choice | Pipe | Call | Index | Attribute
    setting     = expression | Mapping
    pattern     = Path | Not | And | Or

Long left-leaning chains (`a + b + c ...`, `x |> f |> g ...`) are deep trees in `left`; whoever walks
them loops down that side instead of recursing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar, dataclass_transform

from ..source import Span

T = TypeVar("T")


@dataclass_transform(frozen_default=True, eq_default=False)
def part(cls: type[T]) -> type[T]:
    """A frozen dataclass, as the type checker sees it: refusing changes at run time too would double the time that
    this module takes to import."""
    return dataclass(slots=True, eq=False)(cls)


# --- expressions


@part
class Expr:
    span: Span


@part
class Number(Expr):
    value: int | float


@part
class Text(Expr):
    value: str


@part
class Name(Expr):
    name: str


@part
class Constant(Expr):
    """`true`, `false` or `none`."""

    value: bool | None


@part
class Ellipsis(Expr):
    """`...`, or `...name`: the sizes of a list, in the type of something that is made."""

    name: str | None = None


@part
class Tuple(Expr):
    items: tuple[Expr, ...]


@part
class List(Expr):
    items: tuple[Expr, ...]


@part
class Unary(Expr):
    op: str  # "-" "+" "not"
    operand: Expr


@part
class Binary(Expr):
    op: str  # "+" "-" "*" "/" "//" "%" "@" "^" "and" "or" "==" "!=" "<" "<=" ">" ">="
    left: Expr
    right: Expr
    op_span: Span


@part
class Range(Expr):
    """`start..stop`, stop excluded."""

    start: Expr
    stop: Expr


@part
class Choice(Expr):
    """`yes if condition else no`"""

    yes: Expr
    condition: Expr
    no: Expr


@part
class Pipe(Expr):
    """`left |> right`"""

    left: Expr
    right: Expr


@part
class Argument:
    """One argument of a call; `name` is set for `name = value`."""

    span: Span
    name: str | None
    value: Expr


@part
class Call(Expr):
    function: Expr
    arguments: tuple[Argument, ...]


@part
class Slice(Expr):
    """`start:stop:step` between the brackets of an index."""

    start: Expr | None
    stop: Expr | None
    step: Expr | None


@part
class Index(Expr):
    """`value[places]`; a place is an expression, a Slice, `none` or `...`."""

    value: Expr
    places: tuple[Expr, ...]


@part
class Attribute(Expr):
    value: Expr
    name: str
    name_span: Span


@part
class Mapping(Expr):
    """`{ x: ["a", "b"], y: ["label"] }`, the value of a setting; each entry has a name."""

    entries: tuple[Argument, ...]


# --- types, parameters, patterns


@part
class Type:
    """`float[batch, n]`; `dims` is None for a bare `int`. A dimension may be `...` (Ellipsis)."""

    span: Span
    dtype: str
    dims: tuple[Expr, ...] | None


@part
class Parameter:
    """One entry of a parameter list: `name: type in support = default`."""

    span: Span
    name: str
    type: Type | None
    default: Expr | None
    within: Expr | None = None


@part
class Segment:
    """One part of a path: `conv*` with its places `[3, *]` (None stands for `*`)."""

    span: Span
    name: str
    places: tuple[tuple[Expr | None, ...], ...]


@part
class Pattern:
    span: Span


@part
class Path(Pattern):
    segments: tuple[Segment, ...]


@part
class Not(Pattern):
    operand: Pattern


@part
class And(Pattern):
    items: tuple[Pattern, ...]


@part
class Or(Pattern):
    items: tuple[Pattern, ...]


@part
class Encoding:
    """How a column becomes numbers: `standardised`, `bins(10)` (with arguments), `missing = median` (with a value)."""

    span: Span
    name: str
    arguments: tuple[Argument, ...]
    value: Expr | None


@part
class Columns:
    """`from "a", "b" ENCODING*`: the columns of a table that an input or target is made of."""

    span: Span
    names: tuple[Text, ...]
    encodings: tuple[Encoding, ...]


# --- statements


@part
class Statement:
    span: Span


@part
class Input(Statement):
    name: str
    name_span: Span
    type: Type
    drawn_from: Expr | None
    within: Expr | None
    columns: Columns | None


@part
class Target(Statement):
    name: str
    name_span: Span
    type: Type
    within: Expr | None
    columns: Columns | None


@part
class Term(Statement):
    """`loss [NAME] = expr`, `metric NAME = expr`, `output NAME = expr`."""

    kind: str
    name: str | None
    name_span: Span
    value: Expr


@part
class Param(Statement):
    name: str
    name_span: Span
    type: Type
    prior: Expr | None
    init: Expr | None


@part
class State(Statement):
    """`state NAME: TYPE = value` (drawn=False) or `init initializer` (drawn=True)."""

    name: str
    name_span: Span
    type: Type | None
    value: Expr
    drawn: bool


@part
class Return(Statement):
    values: tuple[Expr, ...]


@part
class If(Statement):
    condition: Expr
    yes: tuple[Statement, ...]
    no: tuple[Statement, ...]  # `else if` is an If alone in here


@part
class For(Statement):
    name: str
    name_span: Span
    over: Expr
    body: tuple[Statement, ...]


@part
class Scan(Statement):
    name: str
    name_span: Span
    over: Expr
    until: Expr | None  # ends it where it holds after an iteration
    body: tuple[Statement, ...]


@part
class Checkpoint(Statement):
    """`checkpoint { ... }`: what the body computes is computed again for its derivative."""

    body: tuple[Statement, ...]


@part
class Typed(Statement):
    """`name: type = expr`"""

    name: str
    name_span: Span
    type: Type
    value: Expr


@part
class Assign(Statement):
    """`a, b[i] = expr, ...`; a target is a Name, or an Index whose value is a Name."""

    targets: tuple[Expr, ...]
    values: tuple[Expr, ...]


@part
class Update(Statement):
    """`state <- expr`"""

    target: Name
    value: Expr


@part
class Tilde(Statement):
    """`left ~ distribution`"""

    left: Expr
    distribution: Expr


# --- train block


@part
class Minimize(Statement):
    objective: Expr
    over: Pattern | None
    using: Expr
    every: Expr | None
    start: Expr | None  # `from`: the iteration of its first turn


@part
class Sample(Statement):
    over: Pattern | None
    using: Expr


@part
class Freeze(Statement):
    pattern: Pattern


@part
class Setting(Statement):
    """`name: value`, or `name: value on pattern`."""

    name: str
    name_span: Span
    value: Expr
    on: Pattern | None


# --- declarations


@part
class Import:
    """`import "blocks.dl"` or `import std.vision [as v]`."""

    span: Span
    path: str | None  # a quoted file, relative to the importing one
    module: tuple[str, ...] | None  # dotted names
    alias: str | None


@part
class Declaration:
    """Shared by Model, Layer, Optimizer, Distribution, Fn and Derivative. `doc` is the comment above it."""

    span: Span
    name: str
    name_span: Span
    doc: str
    configuration: tuple[Parameter, ...]  # the first argument list (of an fn: the only one)
    body: tuple[Statement, ...]  # of `fn f(x) = e`: one Return


@part
class Model(Declaration):
    pass


@part
class Layer(Declaration):
    flow: tuple[Parameter, ...]
    returns: tuple[Type, ...] | None


@part
class Optimizer(Declaration):
    flow: tuple[Parameter, ...]


@part
class Distribution(Declaration):
    flow: tuple[Parameter, ...]


@part
class Fn(Declaration):
    returns: tuple[Type, ...] | None


@part
class Derivative(Declaration):
    """What flows back through the fn of that name: g, y and the arguments of the fn."""


@part
class Train:
    span: Span
    name: str | None
    name_span: Span
    title: str | None
    title_span: Span
    configuration: tuple[Parameter, ...]
    body: tuple[Statement, ...]


@part
class Local(Statement):
    """An fn or a layer inside a block: the lines below know it, and it knows the names above."""

    declaration: Fn | Layer


@part
class File:
    """One parsed source."""

    span: Span
    declarations: tuple[Declaration | Import | Train, ...]


def walk(roots: Sequence[Any]) -> Iterator[Any]:
    """Every piece of syntax in and below the roots, in the order of the text. Not recursive."""
    stack = list(roots)[::-1]
    while stack:
        node = stack.pop()
        if isinstance(node, list | tuple):
            stack += list(node)[::-1]
        elif is_dataclass(node) and not isinstance(node, type) and type(node).__module__ == __name__:
            yield node
            stack += [getattr(node, field.name) for field in fields(node)][::-1]
