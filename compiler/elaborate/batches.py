"""`batch: rows(interior = 1000, boundary = 100)`: rows of several dimensions, each with its own number in a batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dlc.runtime.metadata import FAR

from ..diagnostics import did_you_mean, error
from ..ir.graph import Node
from ..ir.module import Module
from ..ir.types import Dim, Size
from ..source import Span
from ..syntax import tree as syntax
from . import by_row, expressions
from .context import Context
from .judging import LENGTH
from .scope import Frame
from .values import kind, plain

if TYPE_CHECKING:
    from .train import Plan


def is_rows(expr: syntax.Expr) -> bool:
    return isinstance(expr, syntax.Call) and isinstance(expr.function, syntax.Name) and expr.function.name == "rows"


def named(block: syntax.Train) -> tuple[str, ...]:
    """The dimensions that the `batch:` of a train block names; none without `rows(...)`."""
    for line in block.body:
        if isinstance(line, syntax.Setting) and line.name == "batch" and is_rows(line.value):
            assert isinstance(line.value, syntax.Call)
            return tuple(a.name for a in line.value.arguments if a.name is not None)
    return ()


def read(c: Context, frame: Frame, expr: syntax.Expr, first: bool) -> Any:
    """The setting `batch`: a number of rows, "all", or these by dimension. `first`: of the first train block, which
    says what the rows of the model are. E0507, E0546, E0547."""
    if is_rows(expr):
        assert isinstance(expr, syntax.Call)
        return _sizes(c, frame, expr, first)
    return check(c, _value(c, frame, expr), expr.span)


def _value(c: Context, frame: Frame, expr: syntax.Expr) -> Any:
    everything = isinstance(expr, syntax.Name) and expr.name == "all"
    value = "all" if everything else expressions.evaluate(c, frame, expr)
    return plain(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _sizes(c: Context, frame: Frame, expr: syntax.Call, first: bool) -> Any:
    """What `rows(...)` says: rows in a batch by dimension, or their number where there is one."""
    found: dict[str, Any] = {}
    spans: dict[str, Span] = {}
    free = _free(c.module)
    for argument in expr.arguments:
        name = argument.name
        if name is None or name not in free:
            raise error(
                "E0546",
                "`rows` takes the number of rows of each dimension by its name"
                if name is None
                else f"no input or target has rows of the dimension `{name}`",
                argument.span,
                "without a name" if name is None else "not known",
                notes=["free dimensions are " + (", ".join(free) or "none")],
                help="write `rows(" + ", ".join(f"{each} = 100" for each in free) + ")`"
                if name is None
                else did_you_mean(name, free),
            )
        spans[name] = argument.value.span
        found[name] = _size(f"`{name}` of `rows`", _value(c, frame, argument.value), spans[name])
    if not first and set(found) != set(c.module.rows):
        raise error(
            "E0546",
            "the train blocks do not have the same dimensions of rows",
            expr.span,
            "found " + ", ".join(found),
            notes=["the first has " + ", ".join(c.module.rows)],
            help="a later block may change the numbers, not what is counted",
        )
    _apart(c, expr.span)
    for name, value in found.items():
        if value == "all" and name in drawn(c.module):
            raise error(
                "E0547",
                f"nothing says how many rows of `{name}` there are",
                spans[name],
                "all of what is drawn",
                help=f"its inputs are drawn: give a number, `rows({name} = 1000)`",
            )
    return next(iter(found.values())) if len(found) == 1 else found


def _size(what: str, value: Any, span: Span | None, rest: str = ", or `all`") -> Any:
    if value != "all" and (not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= FAR):
        raise error(
            "E0507",
            f"{what} takes an integer above 0{rest}",
            span,
            f"this is {kind(value)}" if span else "",
            notes=[] if span else [f"found {value!r}"],
        )
    return value


def check(c: Context, value: Any, span: Span | None) -> Any:
    """The setting `batch` where it is not `rows(...)`, or comes from outside."""
    given = value if isinstance(value, Mapping) else None
    if given is None:
        _size("`batch:`", value, span, ", `all`, or `rows(...)`" if len(c.module.rows) > 1 else ", or `all`")
    else:
        value = given = {str(name): _size(f"`{name}` of `batch`", each, span) for name, each in given.items()}
    if (len(c.module.rows) > 1 and given is None) or (given is not None and set(given) != set(c.module.rows)):
        names = ", ".join(f"{name} = 100" for name in c.module.rows)
        raise error(
            "E0546",
            "`batch:` takes a number for each dimension of rows",
            span,
            "one for all" if given is None else "not those",
            help=f"write `batch: rows({names})`",
        )
    if value == "all" and any(name in drawn(c.module) for name in c.module.rows):
        raise error(
            "E0547",
            "nothing says how many rows there are: all inputs are drawn",
            span,
            "all of what is drawn",
            help="give a number, `batch: 1000`",
        )
    return next(iter(given.values())) if given is not None and len(given) == 1 else value


def bucket(c: Context, plan: Plan, statement: syntax.Setting) -> dict[str, str] | None:
    """`bucket: lengths`, or `bucket: lengths on time`: how much of each row counts along a free dimension. Rows of
    about one length are then in a batch, which is cut to the longest. E0529, E0540 to E0542."""
    node = by_row.number(c, plan.frame, statement)
    if node is None:
        return None
    leaves = [leaf for leaf in (*c.module.inputs, *c.module.targets) if leaf not in c.module.drawn()]
    free = [name for name in _free(c.module) if any(_within(leaf.shape, node.shape[0], name) for leaf in leaves)]
    along = free[0] if statement.on is None and len(free) == 1 else None
    if statement.on is not None:
        along = statement.on.span.text
    if along is None or along not in free:
        raise error(
            "E0529",
            f"no input or target has a free dimension `{along}` beside its rows"
            if along
            else "it is not clear which dimension `bucket:` cuts"
            if free
            else "`bucket:` cuts a free dimension, and no input or target has one beside its rows",
            statement.on.span if statement.on else statement.span,
            "not known" if along else "here",
            notes=["free dimensions are " + (", ".join(free) or "none")],
            help=f"write `bucket: {statement.value.span.text} on {free[0]}`"
            if free
            else "name it where it is declared: `input words: int[batch, time]`",
        )
    for leaf in leaves:
        _refuse_derived(leaf, along, statement.span)
    plan.choices[LENGTH] = node
    return {"length": statement.value.span.text, "along": along}


def _within(shape: Iterable[Size], rows: Size, name: str) -> bool:
    """Whether a value has rows, and the dimension beside them."""
    sizes = list(shape)
    return rows in sizes and Dim.name(name) in sizes and Dim.name(name) != rows


def _refuse_derived(leaf: Node, name: str, span: Span) -> None:
    """E0529 for an input that has a size computed from the dimension: what counts of it, the lengths do not say."""
    for size in leaf.shape:
        if isinstance(size, Dim) and size != Dim.name(name) and name in size.names():
            raise error(
                "E0529",
                f"`{leaf.attrs['name']}` has the size `{size}`, and `bucket:` cuts `{name}` alone",
                span,
                f"cuts `{name}`",
                notes=[f"an input or target whose size is computed from `{name}` is not cut with it"],
                help=f"declare it with `{name}` itself, and compute what is longer or shorter in the model",
            )


def drawn(module: Module) -> list[str]:
    """The dimensions of rows that no data have: what has them is drawn."""
    with_data = [leaf for leaf in (*module.inputs, *module.targets) if leaf not in module.drawn()]
    return [name for name in module.rows if not any(Dim.name(name) in leaf.shape for leaf in with_data)]


def _free(module: Module) -> list[str]:
    leaves = (*module.inputs, *module.targets)
    return list(
        dict.fromkeys(str(n) for leaf in leaves for n in leaf.shape if isinstance(n, Dim) and n == Dim.name(str(n)))
    )


def _apart(c: Context, span: Span) -> None:
    """E0546 for data that have rows of two dimensions."""
    for leaf in (*c.module.inputs, *c.module.targets):
        rows: Iterable[str] = [str(n) for n in leaf.shape if str(n) in c.module.rows]
        if len(list(rows)) > 1:
            raise error(
                "E0546",
                f"`{leaf.attrs['name']}` has rows of two dimensions",
                span,
                "both count rows",
                more=[(leaf.span, f"this is `{leaf.type}`")],
                help="a row of the data belongs to one of them: make pairs in the model",
            )
