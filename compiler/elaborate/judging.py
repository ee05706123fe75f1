"""The lines of a train block that say how often and on what rows a model is trained and judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..diagnostics import CompileError, did_you_mean, error
from ..source import Span
from ..syntax import tree as syntax
from . import by_row, expressions
from .context import Context
from .scope import Frame
from .values import kind, plain

if TYPE_CHECKING:
    from .train import Plan

SETTINGS = ("test", "restore", "folds", "ensemble", "drop_last", "sampler", "stream")
OF_A_RUN = ("test", "folds", "ensemble")  # said once, in the first block
RESTORED = ("best", "last")
WEIGHT, LENGTH = "weight", "length"  # the choices that `sampler: weighted(w)` and `bucket: length` are
CARRIED = (WEIGHT, LENGTH)  # to later blocks


def read(c: Context, plan: Plan, statement: syntax.Setting) -> Any:
    """The value of a line. E0507, E0527."""
    name, value = statement.name, statement.value
    if name in OF_A_RUN and plan.block:
        raise error(
            "E0527",
            f"`{name}:` belongs in the first train block",
            statement.span,
            "this block goes on from where the last ended",
            help="it is said of all blocks together",
        )
    if name == "restore" and isinstance(value, syntax.Name):
        if value.name not in RESTORED:
            raise error(
                "E0507",
                "`restore:` takes `best` or `last`",
                value.span,
                "neither of these",
                help=did_you_mean(value.name, RESTORED),
            )
        return value.name
    if name == "sampler":
        return _sampler(c, plan, statement)
    called = value.function if isinstance(value, syntax.Call) else None
    if name == "folds" and isinstance(called, syntax.Name) and called.name == "stratified":
        assert isinstance(value, syntax.Call)
        return _stratified(c, plan.frame, value)
    return check(name, expressions.evaluate(c, plan.frame, value), value.span)


def check(name: str, value: Any, span: Span | None) -> Any:
    """A setting's value, if it makes sense: E0507 otherwise."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = plain(value) if isinstance(value, int) else value
    whole = isinstance(value, int) and not isinstance(value, bool)
    good, wanted = {
        "test": (
            value is None or isinstance(value, str) or (isinstance(value, float) and 0 < value < 1),
            "a share between 0 and 1, or a file",
        ),
        "restore": (value in (None, *RESTORED), "`best` or `last`"),
        "folds": (
            value is None or _is_stratified(value) or (whole and 2 <= value < 2**31),
            "how many parts the rows make, an integer above 1, or `stratified(5)`",
        ),
        "drop_last": (value is None or isinstance(value, bool), "`true` or `false`"),
        "stream": (value is None or (whole and 0 < value < 2**31), "how many rows are in memory, an integer above 0"),
        "sampler": (
            value is None or (isinstance(value, Mapping) and value.keys() == {"by"}),
            "`balanced`, or `weighted(w)`",
        ),
        "ensemble": (value is None or (whole and 2 <= value < 2**31), "how many members, an integer above 1"),
    }[name]
    if not good:
        raise refused(name, value, wanted, span)
    return value


def refused(name: str, value: Any, wanted: str, span: Span | None) -> CompileError:
    """E0507: a setting whose value makes no sense, in a text or given from outside."""
    return error(
        "E0507",
        f"`{name}:` takes {wanted}",
        span,
        f"this is {kind(value)}" if span else "",
        notes=[] if span else [f"found {value!r}"],
    )


def _is_stratified(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() == {"count", "by"}


ARGUMENTS = ("folds", "by")


def _stratified(c: Context, frame: Frame, call: syntax.Call) -> dict[str, Any]:
    """`stratified(5, by = y)`: `by` is the target that has classes, where there are several. E0215, E0507, E0532."""
    count, by, place = None, None, call.span
    for number, argument in enumerate(call.arguments):
        name = argument.name or ARGUMENTS[min(number, 1)]
        if name not in ARGUMENTS:
            raise error(
                "E0215",
                f"`stratified` has no argument `{name}`",
                argument.span,
                "not known",
                notes=["it takes (folds, by)"],
                help=did_you_mean(name, ARGUMENTS),
            )
        if name == "folds":
            count = check("folds", expressions.evaluate(c, frame, argument.value), argument.value.span)
        else:
            by, place = argument.value.span.text, argument.value.span
    if not isinstance(count, int):
        raise error("E0507", "`stratified` takes how many folds, an integer above 1", call.span, "none here")
    return {"count": count, "by": _classed(c, "stratified", by, place, f"{count}, by = ", f"folds: {count}")}


def _sampler(c: Context, plan: Plan, statement: syntax.Setting) -> dict[str, str] | None:
    """`balanced`, or `balanced(y)`: rows by the classes of a target. `weighted(w)`: by a number of each, which is then
    among the choices of the plan. E0507, E0532, E0540 to E0542."""
    value = statement.value
    named = value.function if isinstance(value, syntax.Call) else value
    arguments = value.arguments if isinstance(value, syntax.Call) else ()
    name = named.name if isinstance(named, syntax.Name) else ""
    if name == "weighted" and len(arguments) == 1 and arguments[0].name in (None, "weights"):
        node = by_row.number(c, plan.frame, replace(statement, value=arguments[0].value))
        if node is None:
            return None
        plan.choices[WEIGHT] = node
        return {"weighted": arguments[0].value.span.text}
    if name != "balanced" or len(arguments) > 1:
        raise error(
            "E0507",
            "`sampler:` takes `balanced`, `balanced(y)` where several targets have classes, or `weighted(w)`",
            value.span,
            "this is something else",
            help=did_you_mean(name, ("balanced", "weighted"))
            or "each row as often as the others: leave `sampler:` out",
        )
    by = arguments[0].value.span.text if arguments else None
    place = arguments[0].value.span if arguments else value.span
    return {"by": _classed(c, "balanced", by, place, "", "class_weights: balanced")}


def _classed(c: Context, what: str, by: str | None, place: Span, before: str, other: str) -> str:
    """The target that has the classes. E0532."""
    classes = [
        leaf.attrs["name"] for leaf in c.module.targets if leaf.rank == 1 and leaf.dtype in ("int", "bool", "float")
    ]
    labels = [leaf.attrs["name"] for leaf in c.module.targets if leaf.rank == 1 and leaf.dtype != "float"]
    if by is None:
        by = labels[0] if len(labels) == 1 else None
    if by is None or by not in classes:
        raise error(
            "E0532",
            f"`{by}` is no target with a class for each row"
            if by
            else f"it is not clear which target has the classes of `{what}`",
            place,
            "named here" if by else "by which?",
            notes=["targets of one number a row are " + (", ".join(classes) or "none")],
            help=(did_you_mean(by, classes) if by else None)
            or (f"write `{what}({before}{classes[0]})`" if classes else f"write `{other}`"),
        )
    return by


def refuse_both(plan: Plan, places: Mapping[str, Span]) -> None:
    """E0531 where folds and a share of their own are both to validate, or a sampler and a choice both have the rows."""
    settings = plan.settings
    chosen = [name for name in plan.choices if name not in CARRIED]
    if settings.get("sampler") is not None and chosen:
        raise error(
            "E0531",
            "`sampler:` and `keep:` or `order:` both say which rows an epoch has",
            places.get("sampler"),
            "rows that are drawn" if "sampler" in places else "",
            more=[(places[name], "and rows by this") for name in chosen if name in places],
            help="leave one of them out",
        )
    if not plan.block and settings.get("folds") is not None and settings.get("validate") is not None:
        raise error(
            "E0531",
            "`folds:` and `validate:` both say which rows validate",
            places.get("folds"),
            "each fold is held out once" if "folds" in places else "",
            more=[(places["validate"], "and these rows always")] if "validate" in places else (),
            help="leave `validate:` out; rows that no fold trains on are `test: 0.2`",
        )
