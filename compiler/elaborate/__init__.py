"""Syntax -> module: names, layers, shapes, static control flow; every pass of a model in one graph.

The text of a model runs up to three times, once for each pass: training, evaluation (targets, but dropout off) and
predicting. Nodes that are equal are one node, so passes share what they share; a pass that cannot differ is not run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import ops
from ..analysis import evaluation
from ..defaults import MAX_NODES
from ..diagnostics import CompileError, Problems, did_you_mean, error
from ..ir.graph import Node
from ..ir.module import Block, Module
from ..ir.types import Dim
from ..recursion import deep_recursion
from ..source import Source, Span
from ..syntax import tree as syntax
from . import (
    averaging,
    calls,
    columns,
    expressions,
    loading,
    statements,
    supplied,
    support,
    train,
    turns,
    types,
    update,
    weighing,
)
from .context import PASS, Context, Seen, check_size
from .library import Library, train_blocks
from .likelihood import Pass
from .scope import Frame
from .values import POISON, Tensor, Value, kind, plain


def elaborate(
    source: Source,
    *,
    folder: Path | None = None,
    model: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    max_nodes: int = MAX_NODES,
    problems: Problems | None = None,
    weights: bool = True,
    seen: Seen | None = None,
    once: bool = False,
) -> Module:
    """The module of a spec. `folder` is where its imports are looked for; `overrides` are hyperparameters and
    settings by name, `model.x` or `train.x` when both have it; `weights`: the files of `load:` are read; `seen` takes
    what each piece of the text is; `once`: the model's text runs for one pass alone and nothing is updated, as an
    editor asks for it at each key. Raises CompileError with all that was found."""
    problems = problems if problems is not None else Problems()
    with deep_recursion():
        try:
            module = _elaborate(source, folder, model, dict(overrides or {}), max_nodes, problems, weights, seen, once)
        except CompileError as problem:
            problems.add(problem)
            problems.raise_if_any()
            raise
        except RecursionError:
            raise error(
                "E0219", "definitions are nested too deeply", None, help="split long expressions over several names"
            ) from None
    problems.raise_if_any()
    return module


def _elaborate(
    source: Source,
    folder: Path | None,
    model: str | None,
    overrides: dict[str, Any],
    max_nodes: int,
    problems: Problems,
    weights: bool,
    seen: Seen | None,
    once: bool,
) -> Module:
    library = Library(problems, folder)
    unit = library.load(source, folder=folder)
    declaration = _choose(source, unit, model)
    blocks = train_blocks(unit, declaration)
    c = Context(declaration.name, library, problems, max_nodes)
    c.seen = seen
    c.module.settings = {"model": {}, "train": {}}
    of_model, of_train = _assign_overrides(declaration, blocks, overrides)
    # The train blocks' arguments first: a mistake there is worth reporting even if the model is broken.
    frames = [Frame("train", unit, "", block.span) for block in blocks]
    settings: list[dict[str, Any]] = [{} for _ in blocks]
    for block, frame, held in zip(blocks, frames, settings, strict=True):
        _arguments(c, frame, block.configuration, of_train, held)

    main = _passes(c, unit, declaration, of_model, bool(blocks), once)
    c.module.rows = _rows(c.module)
    if blocks:
        c.module.settings["train"] = settings[0]
        first = _train(c, blocks, frames, settings, of_train, main, weights, once)
        _finish_step(c, main["training"])
        if first.average is not None and not once:
            averaging.average(c, first.frame, *first.average)
    problems.raise_if_any()
    _finish(c, main)
    c.module.sources = library.sources
    return c.module


def _train(
    c: Context,
    blocks: list[syntax.Train],
    frames: list[Frame],
    settings: list[dict[str, Any]],
    given: Mapping[str, Any],
    main: Mapping[str, Pass],
    weights: bool,
    once: bool,
) -> train.Plan:
    """The updates of each train block; `once`: its settings alone. The first block, as it was read."""
    moving, sums, training = c.moving, False, main["training"]
    plan: train.Plan | None = None
    plans: list[train.Plan] = []
    starts: list[dict[str, str]] = []
    for block, frame, held in zip(blocks, frames, settings, strict=True):
        c.moving = moving
        plan = train.read(c, block, frame, given, held, plan)
        plans.append(plan)
        c.problems.raise_if_any()
        sums = sums or c.sums
        if weights:
            loading.load(c, plan)
        if once:
            continue
        weighing.apply(c, plan, main.values())
        lead = c.module.turn(len(c.module.turns))
        c.graph.outputs.update({f"{lead}rows/{name}": node for name, node in plan.choices.items()})
        with c.graph.at(derived=True):
            known = set(c.module.variables)
            update.update(c, plan, lambda name, span: _objective(training, name, span), len(blocks) > 1)
        starts.append(turns.begun(c, known) if plan.block else {})
    c.sums = sums
    if len(blocks) > 1 and not once:
        titles = [block.title for block in blocks]
        c.module.blocks = [Block(*block) for block in zip(titles, settings, starts, strict=True)]
    return plans[0]


def source_span(source: Source) -> Span:
    return Span(source, 0, 0)


def _choose(source: Source, unit: Any, wanted: str | None) -> syntax.Model:
    models = [d for d in unit.declarations.values() if isinstance(d, syntax.Model)]
    names = [m.name for m in models]
    if not models:
        raise error("E0202", "the file holds no model", source_span(source), "", help="write `model NAME() { ... }`")
    if wanted is None:
        if len(models) > 1:
            raise error(
                "E0208",
                f"the file holds {len(models)} models: which one?",
                models[1].name_span,
                "the second",
                notes=["models are " + ", ".join(names)],
                help=f"--model {names[0]}",
            )
        return models[0]
    for candidate in models:
        if candidate.name == wanted:
            return candidate
    raise error(
        "E0209",
        f"there is no model `{wanted}`",
        source_span(source),
        "",
        notes=["models are " + ", ".join(names)],
        help=did_you_mean(wanted, names),
    )


def _assign_overrides(
    model: syntax.Model, blocks: list[syntax.Train], overrides: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Which override goes where: `x`, or `model.x` and `train.x` when both have it."""
    of_model: dict[str, Any] = {}
    of_train: dict[str, Any] = {}
    in_model = [p.name for p in model.configuration]
    in_train = list(dict.fromkeys(p.name for block in blocks for p in block.configuration)) + list(train.SETTABLE)
    for name, value in overrides.items():
        side, _, bare = name.rpartition(".")
        hits = [
            place
            for place, names, word in ((of_model, in_model, "model"), (of_train, in_train, "train"))
            if bare in names and side in ("", word)
        ]
        if not hits:
            known = in_model + in_train
            raise error(
                "E0210",
                f"there is nothing named `{name}` to set",
                None,
                notes=["known are " + ", ".join(known)],
                help=did_you_mean(bare, known),
            )
        if len(hits) > 1:
            raise error(
                "E0243",
                f"both the model and the train block have `{bare}`",
                None,
                help=f"write `model.{bare}` or `train.{bare}`",
            )
        hits[0][bare] = value
    return of_model, of_train


def _arguments(
    c: Context,
    frame: Frame,
    parameters: tuple[syntax.Parameter, ...],
    given: Mapping[str, Any],
    settings: dict[str, Any],
) -> None:
    """The first list of a model or train block: defaults, or what was set from outside."""
    for parameter in parameters:
        try:
            if parameter.name in given:
                value = given[parameter.name]
                default = expressions.evaluate(c, frame, parameter.default) if parameter.default else None
                value = _from_outside(c, frame, parameter, value, default)
                if parameter.type is not None:
                    value = types.check_value(c, frame, value, parameter.type, f"`{parameter.name}`", parameter.span)
            elif parameter.default is None:
                raise error(
                    "E0217",
                    f"`{parameter.name}` has no value",
                    parameter.span,
                    "no default and not set",
                    help=f"--set {parameter.name}=...",
                )
            else:
                value = expressions.evaluate(c, frame, parameter.default)
                if parameter.type is not None:
                    value = types.check_value(
                        c, frame, value, parameter.type, f"`{parameter.name}`", parameter.default.span
                    )
            support.hold(c, frame, parameter, value, f"`{c.module.name}`", parameter.span)
        except CompileError as problem:
            c.problems.add(problem)
            value = POISON
        frame.names[parameter.name] = value
        settings[parameter.name] = _shown(value)


def _from_outside(c: Context, frame: Frame, parameter: syntax.Parameter, value: Any, default: Value) -> Value:
    """A value set from outside, if it is like the default: E0302 otherwise. A text names a function."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim < 2):
        value = value.tolist()
    if isinstance(value, str) and calls.callable_(default):
        found = expressions.lookup(c, frame, value, parameter.span)
        if calls.callable_(found):
            return found
    scalar = isinstance(value, bool | int | float | str)
    if default is None:
        fits = scalar or value is None
    elif isinstance(default, list | tuple):
        fits = isinstance(value, list | tuple)
    elif isinstance(default, float):
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    else:
        fits = scalar and type(value) is type(plain(default))
    if not fits:
        raise error(
            "E0302",
            f"`{parameter.name}` takes {_like(default)}",
            parameter.span,
            f"it is set to {value!r} from outside",
        )
    if isinstance(value, list | tuple):
        if not all(isinstance(item, bool | int | float | str) for item in value):
            raise error(
                "E0302",
                f"`{parameter.name}` takes a list of numbers",
                parameter.span,
                f"it is set to {value!r} from outside",
            )
        return list(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise error(
            "E0303", "a number is too large for an int of 64 bits", parameter.span, f"`{parameter.name}` is set to it"
        )
    return float(value) if isinstance(default, float) else value


def _shown(value: Value) -> Any:
    """A value as the settings in the file show it."""
    if isinstance(value, bool | int | float | str | None):
        return value
    if isinstance(value, list | tuple):
        return [_shown(item) for item in value]
    return kind(value)


def _like(default: Any) -> str:
    if isinstance(default, bool):
        return "`true` or `false`"
    if isinstance(default, list | tuple):
        return "a list"
    if isinstance(default, bool | int | float | str):
        return "a string" if isinstance(default, str) else "an integer" if isinstance(default, int) else "a number"
    return "a number, a boolean or a string" if default is None else f"something like {kind(default)}"


# --- the passes


def _passes(
    c: Context, unit: Any, declaration: syntax.Model, given: Mapping[str, Any], trains: bool, once: bool
) -> dict[str, Pass]:
    """Runs the model's text for each pass that can differ; `once`: for the first alone, whose results stand for all."""
    results: dict[str, Pass] = {}
    made: list[dict[str, Span | None]] = []
    settings = c.module.settings["model"]

    def run(name: str, training: bool, predicting: bool) -> Pass:
        frame = Frame("model", unit, "", declaration.name_span, None, training, predicting)
        c.current, c.draws, c.made = Pass(), 0, {}
        c.moving = {} if training else c.moving
        moving = c.moving
        if not training:
            c.moving = {}
        _arguments(c, frame, declaration.configuration, given, settings)
        c.problems.raise_if_any()
        statements.run(c, frame, declaration.body)
        c.problems.raise_if_any()
        supplied.supply(c, frame, declaration)
        c.moving = moving
        if training:
            c.model = frame
        for known, value in frame.names.items():
            if isinstance(value, Tensor):
                c.module.names.setdefault(known, value.node)
        results[name] = c.current
        made.append(c.made)
        for path, span in {**made[0], **c.made}.items():
            if path not in made[0] or path not in c.made:
                raise error(
                    "E0222",
                    f"`{path}` is made in one pass and not in another",
                    span,
                    "made here",
                    notes=["the training and the predicting graph share every parameter and state"],
                    help="make it regardless of `training` and `predicting`",
                )
        return c.current

    if trains:
        c.checking_outputs = True
        run("training", True, False)
        c.checking_outputs = False
        if once:
            return dict.fromkeys(("training", "evaluation", "predicting"), results["training"])
        asked, draws = dict(c.read), c.draws
        if not ("training" in asked or "draw" in asked or "move" in asked):
            results["evaluation"] = results["training"]
        else:
            run("evaluation", False, False)
        results["predicting"] = results["evaluation"]
        if "predicting" in c.read:
            run("predicting", False, True)
        c.draws, c.current = draws, results["training"]
    else:
        results["evaluation"] = run("evaluation", False, False)
        results["predicting"] = run("predicting", False, True) if "predicting" in c.read else results["evaluation"]
    return results


def _objective(current: Pass, name: str, span: Span) -> Node | None:
    names = [n for n, _, _ in current.losses if n]
    node = current.total(priors=True, only=None if name == "loss" else name)
    if node is None:
        if name == "loss":
            raise error(
                "E0510",
                "the model has no loss to minimize",
                span,
                "nothing contributes to it",
                help="write `y ~ categorical(logits = z)`, or `loss = ...`",
            )
        raise error(
            "E0510",
            f"the model has no loss `{name}`",
            span,
            "not known",
            notes=["losses are " + ", ".join(["loss", *names])],
            help=did_you_mean(name, ["loss", *names]),
        )
    return node


def _finish_step(c: Context, current: Pass) -> None:
    """The roots of a training step."""
    outputs = c.graph.outputs
    loss = current.total(priors=False)
    if c.sums:
        outputs["loss"] = loss if loss is not None else ops.constant(c.graph, 0.0, "float")
    for name, node in current.figures().items():
        if not node.rank and not (
            name in current.metrics and evaluation.keeps(c.module, node)
        ):  # others are of a whole data set alone
            outputs[f"metric/{name}"] = node
    for path, node in c.moving.items():
        outputs[f"next/{path}"] = node
    outputs["next/step"] = c.step()
    for number in range(1, len(c.module.turns)):
        outputs[f"{c.module.turn(number)}next/step"] = c.step()
    c.module.trains = True


def _finish(c: Context, passes: dict[str, Pass]) -> None:
    """Outputs, evaluation, and what the file says about itself."""
    for node in c.graph.nodes:
        check_size(node.type, f"the result of `{node.op.name}`", node.span)
    module, outputs = c.module, c.graph.outputs
    targets = {leaf.attrs["name"] for leaf in module.targets}
    for name, node in passes["predicting"].outputs.items():
        needs = [
            leaf.attrs["name"]
            for leaf in c.graph.order([node])
            if leaf.op.name == "input" and leaf.attrs["name"] in targets
        ]
        given = [one for one in passes["predicting"].supplied if (one.kind, one.name) == ("output", name)]
        if needs and given:  # a decoder that is fed its targets: only the spec can say what it predicts
            continue
        module.supplied += given
        if needs:
            raise error(
                "E0340",
                f"the output `{name}` depends on the target `{needs[0]}`",
                passes["predicting"].places.get(name),
                "there is no target when the model predicts",
                help="a `metric` may use the target",
            )
        outputs[f"output/{name}"] = node
        module.outputs.append(name)
    columns.decoded(module)
    evaluation = passes["evaluation"]
    figures = evaluation.figures()
    training = passes["training"] if module.trains else evaluation  # a figure may be of one pass alone
    module.metrics = list({**evaluation.metrics, **training.metrics})
    said = dict.fromkeys(one for run in (evaluation, training) for one in run.supplied if one.kind == "metric")
    module.supplied += said
    ever = {**figures, **training.figures()}
    module.terms = [name for name in ever if name not in module.metrics]
    clash = [name for name in ever if name in module.outputs or name == "loss"]
    if clash:
        raise error(
            "E0203", f"`{clash[0]}` is defined twice", evaluation.places.get(clash[0]), "an output has the same name"
        )
    if module.trains:
        loss = evaluation.total(priors=False)
        values = {**({"loss": loss} if loss is not None and c.sums else {}), **figures}
        outputs.update({f"whole/{name}": node for name, node in values.items()})
    if "key" in module.variables:
        outputs["initial/key"] = ops.seed_key(c.graph)
        for number in range(1, len(module.turns)):
            outputs[f"{module.turn(number)}initial/key"] = ops.fold(ops.seed_key(c.graph), PASS + number)


def _rows(module: Module) -> tuple[str, ...]:
    """The dimension that counts rows: `batch` if there is one, else the first free one."""
    free = [size for leaf in [*module.inputs, *module.targets] for size in leaf.shape if isinstance(size, Dim)]
    names = [name for size in free for name in size.names()]
    return ("batch",) if "batch" in names else tuple(names[:1])


__all__ = ["elaborate"]
