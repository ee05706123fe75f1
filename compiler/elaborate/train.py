"""The train block as it is read: its settings, checked, and its statements for `update`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..analysis.direction import direction
from ..diagnostics import CompileError, did_you_mean, error
from ..ir.graph import Node
from ..ir.module import Supplied
from ..source import Span
from ..syntax import foreign, tree as syntax
from . import (
    assignments,
    averaging,
    batches,
    by_row,
    expressions,
    judging,
    loading,
    statements,
    sweeping,
    turns,
    weighing,
)
from .context import Context
from .scope import Frame
from .values import POISON, Argument, Value, plain

DEFAULTS: dict[str, Any] = {
    "batch": 32,
    "epochs": 10,
    "steps": None,
    "data": None,
    "validate": None,
    "stop": None,
    "seed": None,
    "columns": None,
}
SETTABLE = (*DEFAULTS, "class_weights", *judging.SETTINGS)  # from outside, too
BY_ROW = ("weights", "class_weights")
CHOICES = ("keep", "order")  # which rows an epoch has, and in which order
REPEATED = ("penalty", "clip", "load")
# What a block has of the one before, unless it says so.
GOES_ON = (
    "batch",
    "drop_last",
    "sampler",
    "stream",
    "bucket",
    "data",
    "validate",
    "seed",
    "columns",
    *judging.OF_A_RUN,
)
FAR = 2**31 - 1  # as files take it: `metadata.FAR` of the runtime


@dataclass
class Plan:
    """A train block read, before its gradients are made."""

    frame: Frame
    settings: dict[str, Any] = field(default_factory=dict)
    block: int = 0  # its place among those of the model
    minimizes: list[syntax.Minimize] = field(default_factory=list)
    penalties: list[syntax.Setting] = field(default_factory=list)
    clips: list[syntax.Setting] = field(default_factory=list)
    freezes: list[syntax.Freeze] = field(default_factory=list)
    loads: list[loading.Request] = field(default_factory=list)
    weights: list[tuple[Node, Span]] = field(default_factory=list)  # of each row, and where it is said
    classes: syntax.Setting | None = None  # the line `class_weights:`
    choices: dict[str, Node] = field(default_factory=dict)  # `keep:`, `order:` and by what rows are drawn, of each
    average: tuple[syntax.Setting, list[Argument]] | None = None
    arguments: tuple[str, ...] = ()  # the names of those of the block


def read(
    c: Context,
    block: syntax.Train,
    frame: Frame,
    overrides: Mapping[str, Any],
    settings: dict[str, Any],
    before: Plan | None = None,
) -> Plan:
    """Reads a train block into `settings`, which hold its arguments. `before`: the block that runs before it, whose
    data it goes on with."""
    plan = Plan(frame, settings, 0 if before is None else before.block + 1, arguments=tuple(settings))
    settings.update(DEFAULTS)
    if before is not None:
        settings.update({name: before.settings[name] for name in GOES_ON if name in before.settings})
        plan.choices.update({name: node for name, node in before.choices.items() if name in judging.CARRIED})
    c.sums = turns.reported(block)
    if before is None:
        c.module.rows = batches.named(block) or c.module.rows
    frame.bodies.append(block.body)
    for statement in block.body:
        try:
            with c.at(frame, statement.span), c.within("part", "update", None):
                if isinstance(statement, syntax.Setting):
                    _setting(c, plan, statement, settings, overrides)
                elif isinstance(statement, syntax.Minimize):
                    plan.minimizes.append(statement)
                elif isinstance(statement, syntax.Sample):
                    raise error(
                        "E0513",
                        "sampling a posterior is not in this version",
                        statement.span,
                        "`sample` here",
                        help="`minimize loss using ...` finds the most probable parameters",
                    )
                elif isinstance(statement, syntax.Freeze):
                    plan.freezes.append(statement)
                    settings.setdefault("freeze", []).append(statement.pattern.span.text)
                else:
                    statements.execute(c, frame, statement)
        except CompileError as problem:
            c.problems.add(problem)
            for name in assignments.assigned([statement]):
                frame.names[name] = POISON
    for name, value in overrides.items():
        if name in judging.SETTINGS:
            settings[name] = judging.check(name, value, None)
            if name == "sampler":
                plan.choices.pop(judging.WEIGHT, None)
        elif name in SETTABLE and (name not in BY_ROW or not plan.block):
            if name == "batch":
                settings[name] = batches.check(c, value, None)
            else:
                settings[name] = _columns(c, value, None) if name == "columns" else check(name, value, None)
            if name == "stop" and value is not None:
                settings[name] = _watched(c, value, {}, None)
    given = {statement.name for statement in block.body if isinstance(statement, syntax.Setting)} | set(overrides)
    spans = {one.name: one.span for one in block.body if isinstance(one, syntax.Setting) and one.name not in overrides}
    try:
        judging.refuse_both(plan, spans)
    except CompileError as problem:
        c.problems.add(problem)
    if settings["steps"] is not None and (
        "epochs" not in given or ("steps" in overrides and "epochs" not in overrides)
    ):
        settings["epochs"] = None  # the run ends with its steps, not with the epochs of the spec or of the default
    if settings["data"] is not None and c.sums and not given & {"epochs", "steps"}:
        _until_it_is_learned(c, plan, given)
    if settings.get("class_weights") is not None:
        with c.at(frame, plan.classes.span if plan.classes else None):
            weight = weighing.class_weights(c, plan.classes, settings["class_weights"])
        plan.weights.append((weight, plan.classes.span if plan.classes else block.span))
    if settings.get("restore") == "best" and settings["stop"] is None:
        settings["stop"] = _watched(c, {"patience": FAR}, {}, spans.get("restore"))
    return plan


def _until_it_is_learned(c: Context, plan: Plan, given: set[str]) -> None:
    """What a block with data that does not say how long it trains has where it says nothing else: a fifth of the rows
    to validate, and as many epochs as make that better."""
    settings = plan.settings
    folds = settings.get("folds") is not None
    if "validate" not in given and settings["validate"] is None and not folds and settings.get("stream") is None:
        settings["validate"] = 0.2
    if "stop" not in given and (folds or settings["validate"] is not None):
        settings["stop"] = _watched(c, {"patience": 5}, {}, None)
    if settings["stop"] is not None:
        settings["epochs"] = 100
    of = f" of block {plan.block + 1}" if plan.block else ""
    for name in ("batch", "epochs", "validate", "stop"):
        if name not in given and settings[name] is not None:
            c.module.supplied.append(Supplied("setting", name + of, shown(settings[name])))


def shown(value: Any) -> str:
    """The value of a setting as a spec writes it."""
    if isinstance(value, Mapping):
        return f"patience({value['patience']}, on = {value['on']})"
    return json.dumps(value) if isinstance(value, str) and value != "all" else str(value)


def _setting(
    c: Context, plan: Plan, statement: syntax.Setting, settings: dict[str, Any], overrides: Mapping[str, Any]
) -> None:
    name = statement.name
    if name in REPEATED:
        if statement.on is not None and name == "clip":
            raise error("E0505", "`clip:` sees the whole gradient: it takes no `on`", statement.on.span, "here")
        if name == "load":
            _first_alone(plan, statement, "what is loaded is what the parameters start from")
            plan.loads.append(loading.request(c, plan.frame, statement))
            settings.setdefault("load", []).append(_text(statement))
        else:
            (plan.penalties if name == "penalty" else plan.clips).append(statement)
        return
    if name not in SETTABLE and name not in (*BY_ROW, *CHOICES, "bucket", "average", "sweep"):
        known = [*DEFAULTS, *BY_ROW, *CHOICES, *judging.SETTINGS, "bucket", "average", "sweep", *REPEATED]
        raise error(
            "E0506",
            f"there is no setting `{name}`",
            statement.name_span,
            "not known",
            notes=["settings are " + ", ".join(known)],
            help=foreign.lookup(name, [foreign.SETTINGS, foreign.NAMES], known),
        )
    if statement.on is not None and name not in ("class_weights", "bucket"):
        raise error("E0505", f"`{name}:` takes no `on`", statement.on.span, "here")
    if name in BY_ROW:
        _weights(c, plan, statement, settings, overrides)
        return
    if name == "seed":
        _first_alone(plan, statement, "one seed makes the start values, the order of rows and all draws")
    if name in overrides:
        return
    if name == "sampler":
        plan.choices.pop(judging.WEIGHT, None)
    if name in judging.SETTINGS:
        settings[name] = judging.read(c, plan, statement)
    elif name == "average":
        _first_alone(plan, statement, "the parameters are means in all blocks or in none")
        plan.average = statement, averaging.rule(c, plan.frame, statement)
        settings[name] = _text(statement)
    elif name == "sweep":
        _first_alone(plan, statement, "it is said of all blocks together")
        there = dict.fromkeys([*c.module.settings["model"], *plan.arguments, *SETTABLE])
        settings[name] = sweeping.read(statement.value, there)
    elif name == "columns":
        value = statement.value
        entries = {e.name: e.span for e in value.entries} if isinstance(value, syntax.Mapping) else {}
        settings[name] = _columns(c, expressions.evaluate(c, plan.frame, value), value.span, entries)
    elif name == "stop":
        settings[name] = _patience(c, plan.frame, statement.value)
    elif name == "keep" and isinstance(statement.value, syntax.Name) and statement.value.name == "optimizer":
        if not plan.block:
            raise error(
                "E0527",
                "`keep:` belongs in a later train block",
                statement.span,
                "there is no optimizer yet",
                help="`keep: optimizer` goes on with the optimizer state of the block before",
            )
        settings["keep"] = "optimizer"
    elif name in CHOICES:
        node = by_row.of_epoch(c, plan.frame, statement)
        if node is not None:
            plan.choices[name] = node
        settings["order" if name == "order" else "keep_rows"] = _text(statement)
    elif name == "bucket":
        settings[name] = batches.bucket(c, plan, statement)
    elif name == "batch":
        settings[name] = batches.read(c, plan.frame, statement.value, not plan.block)
    else:
        settings[name] = check(name, expressions.evaluate(c, plan.frame, statement.value), statement.value.span)


def _first_alone(plan: Plan, statement: syntax.Setting, why: str, goes_on: str = "from where the last ended") -> None:
    """E0527 in a later block."""
    if plan.block:
        raise error(
            "E0527",
            f"`{statement.name}:` belongs in the first train block",
            statement.span,
            f"this block goes on {goes_on}",
            help=why,
        )


def _weights(
    c: Context, plan: Plan, statement: syntax.Setting, settings: dict[str, Any], overrides: Mapping[str, Any]
) -> None:
    """`weights:` and `class_weights:`."""
    name, value = statement.name, statement.value
    why = "what the losses are, and so how rows count in them, is the same in all blocks"
    _first_alone(plan, statement, why, "with the same losses")
    if name == "weights":
        weight = by_row.expression(c, plan.frame, statement)
        if weight is not None:
            plan.weights.append((weight, value.span))
        settings[name] = _text(statement)
        return
    plan.classes = statement
    if name not in overrides:
        balanced = isinstance(value, syntax.Name) and value.name == "balanced"
        given = "balanced" if balanced else expressions.evaluate(c, plan.frame, value)
        settings[name] = weighing.check(given, value.span)


def _text(statement: syntax.Setting) -> str:
    """What a setting says after its name."""
    span = statement.span
    return Span(span.source, statement.value.span.start, span.end).text


def check(name: str, value: Any, span: Span | None) -> Any:
    """A setting's value, if it makes sense: E0507 otherwise."""
    if name == "class_weights":
        return weighing.check(value, span)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = plain(value) if isinstance(value, int) else value
    whole = isinstance(value, int) and not isinstance(value, bool)
    good, wanted = {
        "epochs": ((whole and 0 <= value <= FAR) or value is None, "an integer"),
        "steps": ((whole and 0 <= value <= FAR) or value is None, "an integer"),
        "data": (isinstance(value, str) or value is None, 'a file, as in "data/digits.npz"'),
        "validate": (
            value is None or isinstance(value, str) or (isinstance(value, float) and 0 < value < 1),
            "a share between 0 and 1, or a file",
        ),
        "stop": (value is None or isinstance(value, dict), "`patience(5, on = validation.loss)`"),
        "seed": ((whole and 0 <= value < 2**63) or value is None, "an integer, not negative"),
        "columns": (
            value is None or _named(value) or (isinstance(value, Mapping) and all(map(_named, value.values()))),
            'a list of names, as in ["a", "b"], or a mapping, as in { x: ["a", "b"], y: ["label"] }',
        ),
    }[name]
    if not good:
        raise judging.refused(name, value, wanted, span)
    return value


def _named(value: Any) -> bool:
    """Whether a value is a list of names, one at least."""
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(name, str) for name in value)


def _columns(
    c: Context, value: Value, span: Span | None, entries: Mapping[str | None, Span] | None = None
) -> dict[str, list[str]] | None:
    """The CSV columns of each input and target, as a mapping: a list is those of the one input. E0640, E0641."""
    if isinstance(value, Mapping):  # a name alone is a list of one
        value = {name: [columns] if isinstance(columns, str) else columns for name, columns in value.items()}
    value = check("columns", value, span)
    if value is None:
        return None
    inputs = [leaf.attrs["name"] for leaf in c.module.inputs]
    targets = [leaf.attrs["name"] for leaf in c.module.targets]
    if not isinstance(value, Mapping):
        if len(inputs) != 1:
            raise error(
                "E0640",
                "it is not clear which input these columns belong to",
                span,
                "a list alone",
                notes=["inputs are " + (", ".join(inputs) or "none")],
                help="write `columns: { " + ", ".join(f"{name}: [...]" for name in inputs or targets) + " }`",
            )
        value = {inputs[0]: value}
    known = [*inputs, *targets]
    for name in value:
        if name not in known:
            place = (entries or {}).get(name, span)
            raise error(
                "E0641",
                f"the model has no input or target `{name}`",
                place,
                "named here",
                notes=["it has " + ", ".join(known)],
                help=did_you_mean(str(name), known),
            )
    return {str(name): list(columns) for name, columns in value.items()}


def _patience(c: Context, frame: Frame, expr: syntax.Expr) -> dict[str, Any] | None:
    """`patience(5, on = validation.loss, mode = "min")`"""
    if isinstance(expr, syntax.Constant) and expr.value is None:
        return None
    if not (
        isinstance(expr, syntax.Call) and isinstance(expr.function, syntax.Name) and expr.function.name == "patience"
    ):
        raise error("E0507", "`stop:` takes `patience(5, on = validation.loss)`", expr.span, "found something else")
    given: dict[str, Any] = {}
    places: dict[str, Span | None] = {}
    for number, argument in enumerate(expr.arguments):
        name = argument.name or ("patience", "on", "mode")[min(number, 2)]
        text = argument.value.span.text.replace(" ", "")
        given[name] = text if name == "on" else expressions.evaluate(c, frame, argument.value)
        places[name] = argument.value.span if name in PATIENCE else argument.span
    return _watched(c, given, places, expr.span)


PATIENCE = ("patience", "on", "mode")


def _watched(
    c: Context, given: Mapping[str, Any], places: Mapping[str, Span | None], span: Span | None
) -> dict[str, Any]:
    """The setting `stop`, checked and whole: E0215, E0507, E0508, E0525."""
    for name in given:
        if name not in PATIENCE:
            raise error(
                "E0215",
                f"`patience` has no argument `{name}`",
                places.get(name),
                "not known",
                notes=["it takes (patience, on, mode)"],
                help=did_you_mean(name, PATIENCE),
            )
    result = {"patience": None, "on": "validation.loss", "mode": None, **given}
    side, _, metric = str(result["on"]).partition(".")
    known = [*(["loss"] if c.sums else []), *(name for name, node in c.current.figures().items() if not node.rank)]
    if side not in ("train", "validation") or metric not in known:
        offers = [f"{a}.{b}" for a in ("validation", "train") for b in known]
        raise error(
            "E0508",
            f"there is no metric `{result['on']}` to watch",
            places.get("on") or span,
            "not known",
            notes=["there are " + ", ".join(offers)],
            help=did_you_mean(str(result["on"]), offers),
        )
    count = plain(result["patience"]) if isinstance(result["patience"], int) else result["patience"]
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= FAR:
        raise error("E0507", "`patience` takes a number of epochs, an integer above 0", span, "here")
    mode = result["mode"] if result["mode"] is not None else _direction(c, metric)
    if mode is None:
        raise error(
            "E0525",
            f"it is not known whether `{result['on']}` should grow or fall",
            places.get("on") or span,
            "watched here",
            notes=["known for losses, likelihoods, hits of a target and distances from one"],
            help=f'state it: `patience({count}, on = {result["on"]}, mode = "max")`, or "min"',
        )
    if mode not in ("min", "max"):
        raise error("E0507", '`mode` of `patience` is "min" or "max"', places.get("mode") or span, "here")
    return {"patience": int(count), "on": result["on"], "mode": mode}


def _direction(c: Context, figure: str) -> str | None:
    if figure not in c.current.metrics:  # the loss or a term of it
        return "min"
    learned = [v.node for v in c.module.variables.values() if v.kind in ("parameter", "state")]
    losses = [node for _, node, prior in c.current.losses if not prior]
    return direction(c.current.metrics[figure], losses, c.compared, c.module.targets, learned)
