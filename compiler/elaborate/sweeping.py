"""`sweep:` of a train block: in which ranges `dlc sweep` looks for hyperparameters and settings.

A range is `range(low, high)`, `log(low, high)` for what differs by factors, or a list of what there is to choose from.
Both ends are taken; between two integers are integers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ..diagnostics import CompileError, did_you_mean, error
from ..source import Span
from ..syntax import tree as syntax

Range = dict[str, list[Any]]  # {"range": [low, high]}, {"log": [low, high]} or {"of": [...]}
WANTED = "`range(low, high)`, `log(low, high)` or a list of values"


def read(value: syntax.Expr, known: Iterable[str]) -> dict[str, Range]:
    """`{ lr: log(1e-5, 1e-1), hidden: [64, 128] }`; `known` are the names that can be set. E0210, E0507."""
    if not isinstance(value, syntax.Mapping) or not value.entries:
        raise _refused("a mapping of names to ranges, as in { lr: log(1e-5, 1e-1) }", value.span)
    known, found = list(known), dict[str, Range]()
    for entry in value.entries:
        name = str(entry.name)
        if name not in known:
            raise error(
                "E0210",
                f"there is nothing named `{name}` to set",
                entry.span,
                "named here",
                notes=["known are " + ", ".join(known)],
                help=did_you_mean(name, known),
            )
        found[name] = range_of(entry.value)
    return found


def range_of(value: syntax.Expr) -> Range:
    """One range. E0507."""
    if isinstance(value, syntax.List):
        items = [_constant(item) for item in value.items]
        if len(items) < 2:
            raise _refused("a list of two values at least", value.span)
        return {"of": items}
    called = value.function if isinstance(value, syntax.Call) else None
    if not isinstance(value, syntax.Call) or not isinstance(called, syntax.Name) or called.name not in ("range", "log"):
        raise _refused(WANTED, value.span)
    if len(value.arguments) != 2 or any(one.name not in (None, "low", "high") for one in value.arguments):
        raise _refused(f"`{called.name}(low, high)`", value.span)
    low, high = (_number(one.value) for one in value.arguments)
    if not low < high or (called.name == "log" and not low > 0):
        ends = "0 < low < high" if called.name == "log" else "low < high"
        raise _refused(f"`{called.name}(low, high)` with {ends}", value.span)
    if not (isinstance(low, int) and isinstance(high, int)):
        low, high = float(low), float(high)
    return {called.name: [low, high]}


def check(value: Any) -> dict[str, Range]:
    """The same given from outside, as `read` gives it. E0507."""
    good = isinstance(value, Mapping) and all(
        isinstance(one, Mapping) and len(one) == 1 and set(one) <= {"range", "log", "of"} for one in value.values()
    )
    if not good:
        raise error("E0507", f"`sweep:` takes {WANTED} for each name", None, notes=[f"found {value!r}"])
    return {str(name): {kind: list(ends) for kind, ends in one.items()} for name, one in value.items()}


def _constant(value: syntax.Expr) -> Any:
    if isinstance(value, syntax.Name):  # a function, as an activation
        return value.name
    if isinstance(value, syntax.Text | syntax.Constant):
        return value.value
    return _number(value)


def _number(value: syntax.Expr) -> int | float:
    sign = 1
    if isinstance(value, syntax.Unary) and value.op in ("+", "-"):
        sign, value = -1 if value.op == "-" else 1, value.operand
    found = value.value if isinstance(value, syntax.Number) else None
    if found is None or not math.isfinite(found):
        raise _refused("numbers", value.span)
    return sign * found


def _refused(wanted: str, span: Span | None) -> CompileError:
    return error("E0507", f"`sweep:` takes {wanted}", span, "here")
