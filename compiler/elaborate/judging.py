"""The lines of a train block that say how often and on what rows a model is trained and judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..diagnostics import CompileError, did_you_mean, error
from ..source import Span
from ..syntax import tree as syntax
from . import expressions
from .context import Context
from .scope import Frame
from .values import kind, plain

if TYPE_CHECKING:
    from .train import Plan

SETTINGS = ("test", "restore", "folds", "ensemble")
OF_A_RUN = ("test", "folds", "ensemble")  # said once, in the first block
RESTORED = ("best", "last")


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
    classes = [
        leaf.attrs["name"] for leaf in c.module.targets if leaf.rank == 1 and leaf.dtype in ("int", "bool", "float")
    ]
    labels = [leaf.attrs["name"] for leaf in c.module.targets if leaf.rank == 1 and leaf.dtype != "float"]
    if by is None:
        by = labels[0] if len(labels) == 1 else None
    if by not in classes:
        raise error(
            "E0532",
            f"`{by}` is no target with a class for each row"
            if by
            else "it is not clear which target has the classes of `stratified`",
            place,
            "named here" if by else "by which?",
            notes=["targets of one number a row are " + (", ".join(classes) or "none")],
            help=(did_you_mean(by, classes) if by else None)
            or (f"write `stratified({count}, by = {classes[0]})`" if classes else f"write `folds: {count}`"),
        )
    return {"count": count, "by": by}


def refuse_both(plan: Plan, places: Mapping[str, Span]) -> None:
    """E0531 where folds and a share of their own are both to validate."""
    settings = plan.settings
    if not plan.block and settings.get("folds") is not None and settings.get("validate") is not None:
        raise error(
            "E0531",
            "`folds:` and `validate:` both say which rows validate",
            places.get("folds"),
            "each fold is held out once" if "folds" in places else "",
            more=[(places["validate"], "and these rows always")] if "validate" in places else (),
            help="leave `validate:` out; rows that no fold trains on are `test: 0.2`",
        )
