"""What numbers data may be, as the text says it (`y in 0..2`), traced to the inputs and targets that it holds of.

    in      = start..stop (integers, the last excluded) | [a, b, ...] (those numbers) | interval(low, high)
    traced  = data | cast | part of a traced value | the same elsewhere (reshape, transpose, broadcast)
            | several together (concat) | traced +- integer | traced * or / integer

What else is computed from data is not traced: it may well be in range where the data are not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

from dlc.runtime.metadata import Part
from dlc.runtime.support import Support, index as places

from ..diagnostics import error
from ..ir.graph import Node
from ..ir.types import Dim, Size
from ..source import Span
from ..syntax import tree as syntax
from . import expressions
from .builtins.arguments import builtin
from .context import Context, poisoned
from .scope import Frame
from .values import POISON, Argument, Range, Tensor, Value, kind

FAR = 64  # steps that a value is traced at most: the work stays linear, whatever is built on what
Places = list[Any]  # for each dimension of a value None (all of it), or start, stop and step


@builtin
def interval(
    c: Context,
    frame: Frame,
    span: Span,
    low: Argument | None = None,
    high: Argument | None = None,
    open: Argument | None = None,
) -> Value:
    ends = [
        _end(argument.value, argument.span) if argument is not None and argument.value is not None else None
        for argument in (low, high)
    ]
    side = None if open is None else open.value
    if side not in (None, "low", "high", "both"):
        raise error(
            "E0642",
            '`open` of `interval` is "low", "high" or "both"',
            open.span if open else span,
            f"this is {kind(side)}",
        )
    return Support(ends[0], ends[1], side in ("low", "both"), side in ("high", "both"))


def _end(value: Value, span: Span) -> int | float | None:
    """An end of a support. What is known only when the file runs, or is infinite, is none."""
    if isinstance(value, Tensor | Dim) or value in (math.inf, -math.inf):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise error(
            "E0642", f"what a value may be is bounded by numbers, not by {kind(value)}", span, f"this is {kind(value)}"
        )
    return _plain(Fraction(value))


def _plain(number: Fraction) -> int | float:
    return int(number) if number.denominator == 1 and abs(number) < 2**63 else float(number)


def of(c: Context, frame: Frame, expr: syntax.Expr, name: str) -> Support | None:
    """The support that stands behind `in`; None where nothing is left of it. E0642."""
    value = expressions.evaluate(c, frame, expr)
    if value is None or poisoned(value, *(value if isinstance(value, list) else ())):
        return None
    if isinstance(value, Range):
        low, stop = (_end(end, expr.span) for end in (value.start, value.stop))
        if any(isinstance(end, float) for end in (low, stop)):
            raise error(
                "E0642",
                "the ends of a range are integers",
                expr.span,
                "one of them is not",
                help="`interval(low, high)` allows any number",
            )
        made = Support(low, None if stop is None else stop - 1, whole=True)
    elif isinstance(value, Support):
        made = value
    elif isinstance(value, list) and value:
        numbers = [_end(item, expr.span) for item in value]
        if None in numbers:
            raise error(
                "E0642",
                "a list of allowed values holds finite numbers that are known before the file runs",
                expr.span,
                "one of them is not",
            )
        made = Support(values=tuple(n for n in numbers if n is not None))
    else:
        raise error(
            "E0642",
            f"`in` takes a range, a list of numbers or an interval, not {kind(value)}",
            expr.span,
            f"this is {kind(value)}",
            help="`0..n`: integers; `[-1, 1]`: these two; `interval(0, 1)`",
        )
    if (
        made.low is not None
        and made.high is not None
        and (made.low > made.high or (made.low == made.high and (made.low_open or made.high_open)))
    ):
        raise error("E0642", "no number is in this range", expr.span, "empty")
    return replace(made, of=name)


def hold(c: Context, frame: Frame, parameter: syntax.Parameter, value: Value, what: str, span: Span) -> None:
    """A value given for a parameter is held to what is said behind its `in`: numbers now (E0643), data when they
    come."""
    if parameter.within is None or value is POISON:
        return
    support = of(c, frame, parameter.within, what.strip("`"))
    if support is None:
        return
    if isinstance(value, Tensor):
        ask(c, value.node, support)
    elif isinstance(value, int | float) and not isinstance(value, bool) and value not in support:
        raise error(
            "E0643",
            f"`{parameter.name}` of {what} is outside its allowed values",
            span,
            f"this is {kind(value)}",
            notes=[f"expected {support}"],
            more=[(parameter.within.span, "stated here")],
        )


def declare(c: Context, frame: Frame, within: syntax.Expr | None, leaf: Node) -> None:
    """`target y: int[batch] in 1..6`"""
    found = None if within is None else of(c, frame, within, "")
    if found is not None:
        ask(c, leaf, found)


def ask_index(c: Context, node: Node, size: Size) -> None:
    """Data used as an index are the places of the dimension. An index that is computed may count from its end."""
    ask(c, node, places(size if isinstance(size, int) else None), computed=False)


def ask(c: Context, node: Node, support: Support, *, computed: bool = True) -> None:
    """Notes that the data a value is traced to (`computed`: also through arithmetic) must be such that it is in the
    support."""
    for leaf, part, scale, shift in _trace(c, node):
        if leaf.dtype != "bool" and (computed or (scale == 1 and not shift)):
            asked = replace(_before(support, scale, shift), part=part)
            c.module.supports.setdefault(leaf.attrs["name"], {}).setdefault(replace(asked, of=""), asked)


def _before(support: Support, scale: Fraction, shift: Fraction) -> Support:
    """The support of x, where that of scale * x + shift is given."""
    if scale == 1 and not shift:
        return support

    def back(number: int | float) -> int | float:
        return _plain((Fraction(number) - shift) / scale)

    low, high = (None if end is None else back(end) for end in (support.low, support.high))
    values = None if support.values is None else tuple(sorted(map(back, support.values)))
    whole = support.whole and abs(scale) == 1 and shift.denominator == 1
    made = replace(support, low=low, high=high, whole=whole, values=values)
    if scale < 0:
        made = replace(made, low=high, high=low, low_open=support.high_open, high_open=support.low_open)
    return made


def _trace(c: Context, node: Node) -> Iterator[tuple[Node, Part | None, Fraction, Fraction]]:
    """The data that a value is (several where it is put together), the part of them, and scale and shift."""
    pending: list[tuple[Node, Places, Fraction, Fraction]] = [(node, [None] * node.rank, Fraction(1), Fraction(0))]
    for _ in range(FAR):
        if not pending:
            return
        node, part, scale, shift = pending.pop()
        if node.op.name == "input":
            yield node, None if all(place is None for place in part) else tuple(part), scale, shift
        elif node.op.name == "concat":
            if part[node.attrs["axis"]] is None:
                pending += [(source, part, scale, shift) for source in reversed(node.inputs)]
        elif node.op.name in ("add", "sub", "mul", "div", "neg"):
            if (step := _affine(node)) is not None and step[0].dtype != "bool":
                source, a, b = step
                pending.append((source, part, scale * a, scale * b + shift))
        elif (before := _moved(c, node, part)) is not None:
            pending.append((node.inputs[0], before, scale, shift))


def _moved(c: Context, node: Node, part: Places) -> Places | None:
    """The part of the first operand that is a part of a value with the same elements elsewhere; None for others."""
    name, source = node.op.name, node.inputs[0] if node.inputs else None
    if source is None:
        return None
    if name == "stop_gradient" or (name == "cast" and source.dtype != "bool" and node.dtype == "float"):
        return part
    if name == "transpose":
        moved: Places = [None] * source.rank
        for place, axis in zip(part, node.attrs["perm"], strict=True):
            moved[axis] = place
        return moved
    if name == "broadcast_to":
        last = part[node.rank - source.rank :]
        return [None if have == 1 else place for place, have in zip(last, source.shape, strict=True)]
    if name == "reshape":
        return _reshaped(part, node.shape, source.shape)
    if name == "slice":
        return _sliced(part, node, source)
    if name == "gather":
        at, axis = node.inputs[1], node.attrs["axis"] % source.rank
        if any(at is open_scan.iteration and open_scan.length == source.shape[axis] for open_scan in c.open_scans):
            return [*part[:axis], None, *part[axis:]]  # in the iterations of a scan together: all of it
    return None


def _affine(node: Node) -> tuple[Node, Fraction, Fraction] | None:
    """x, a and b of a * x + b, where a or 1 / a and b are integers."""
    if node.op.name == "neg":
        return node.inputs[0], Fraction(-1), Fraction(0)
    left, right = (_whole(source) for source in node.inputs)
    if (left is None) == (right is None):
        return None
    x = node.inputs[left is not None]
    if x.shape != node.shape:
        return None
    n = Fraction(right if left is None else left)  # type: ignore[arg-type]
    if node.op.name == "add":
        return x, Fraction(1), n
    if node.op.name == "sub":
        return (x, Fraction(1), -n) if left is None else (x, Fraction(-1), n)
    if not n or (node.op.name == "div" and left is not None):
        return None
    return x, n if node.op.name == "mul" else 1 / n, Fraction(0)


def _whole(node: Node) -> int | None:
    """The integer that a value is everywhere."""
    while node.op.name in ("broadcast_to", "reshape", "cast") and node.dtype in ("int", "float"):
        node = node.inputs[0]
    if node.op.name != "constant" or node.dtype not in ("int", "float") or node.attrs["value"].size != 1:
        return None
    number = float(node.attrs["value"].reshape(-1)[0])
    return int(number) if number.is_integer() and abs(number) < 2**53 else None


def _reshaped(part: Places, after: tuple[Size, ...], before: tuple[Size, ...]) -> Places | None:
    """The part before a reshape: any, where all is meant; else one that adds or takes away dimensions of 1."""
    if all(place is None for place in part):
        return [None] * len(before)
    kept = [place for place, size in zip(part, after, strict=True) if size != 1]
    if [size for size in after if size != 1] != [size for size in before if size != 1]:
        return None
    rest = iter(kept)
    return [None if size == 1 else next(rest) for size in before]


def _sliced(part: Places, node: Node, source: Node) -> Places | None:
    """The part before a slice."""
    made: Places = []
    for place, start, stop, step, size in zip(
        part, node.attrs["starts"], node.attrs["stops"], node.attrs["steps"], source.shape, strict=True
    ):
        if (start, stop, step) == (0, size, 1):
            made.append(place)
            continue
        if isinstance(size, int) and isinstance(start, int) and isinstance(stop, int):
            taken = range(start, stop, step)[slice(*place) if place else slice(None)]
            if not taken:
                return None
            first, last = sorted((taken[0], taken[-1]))
            made.append((first, last + 1, abs(taken.step)))
            continue
        if place is not None:
            return None  # a part of a part of a free dimension
        if step == -1 and start == size - 1:
            made.append(None)  # turned round
            continue
        begin, end = start - size if isinstance(start, Dim) else start, stop - size
        if step < 1 or not isinstance(begin, int) or (isinstance(start, Dim) and begin >= 0):
            return None
        if isinstance(end, int):
            end = None if end == 0 else end
        elif isinstance(stop, int):
            end = stop
        else:
            return None
        made.append((begin, end, step))
    return made


__all__ = ["ask", "ask_index", "declare", "hold", "interval", "of"]
