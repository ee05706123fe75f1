"""The update of a train block: objective, penalties, clipping, optimizers, and the state after a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from .. import ops
from ..diagnostics import error
from ..ir.graph import Node
from ..source import Span
from ..syntax import tree as syntax
from . import calls, expressions, paths, tensor_arguments, turns, updaters
from .clipping import Clipping
from .context import Context, to_node
from .scope import Frame
from .subjects import Subject, is_vector, takes_whole
from .train import Plan
from .values import Argument, Declared, Objective, Partial, Parts, Tensor, Updater, Value, kind


def update(c: Context, plan: Plan, objective_of: Any, several: bool = False) -> None:
    """Gradients, penalties, clips, optimizers: sets the root `next/PATH` of every variable that moves. `several`: the
    model has other train blocks."""
    if not plan.minimizes:
        raise error(
            "E0509",
            "the train block minimizes nothing",
            plan.frame.span,
            "this block",
            help="write `minimize loss using adam(1e-3)`",
        )
    frozen = _frozen(c, plan)
    known = [path for path, v in c.module.variables.items() if v.kind == "parameter"]
    passes = turns.passes(c, plan)
    if len(passes) == 1 and not several:
        c.graph.outputs.update(_pass(c, plan, passes[0], objective_of, known, frozen))
        return
    first = len(c.module.turns)
    c.module.turns += [each.turn for each in passes]
    layers, losses = c.moving, []
    for number, each in enumerate(passes, first):
        losses.append(objective_of(each.objective, each.statements[0].objective.span))
        c.moving = {}
        moved = _pass(c, plan, each, objective_of, known, frozen, number, len(passes) > 1)
        moved |= {f"next/{path}": node for path, node in c.moving.items()}
        c.graph.outputs.update({c.module.turn(number) + root: node for root, node in moved.items()})
    moves = turns.moves(c, layers, losses) if len(passes) > 1 else [layers]
    for number, states in enumerate(moves, first):
        c.graph.outputs.update({f"{c.module.turn(number)}next/{path}": node for path, node in states.items()})
    c.moving = {}


def _pass(
    c: Context,
    plan: Plan,
    each: turns.Pass,
    objective_of: Any,
    known: list[str],
    frozen: Mapping[str, syntax.Freeze],
    number: int = 0,
    others: bool = False,
) -> dict[str, Node]:
    """One update, of one loss: the roots `next/PATH` of the parameters that it trains. `number`: of the pass;
    `others`: other losses take turns with it."""
    first = each.statements[0]
    objective: Node = objective_of(each.objective, first.objective.span)
    named = {**c.current.figures(), **c.current.outputs, **c.module.names}
    c.functions = {name: Objective(node) for name, node in named.items() if node.dtype == "float"}
    c.functions["loss"] = Objective()
    with c.within("part", "update", None):
        groups = _groups(c, plan, each.statements, known, frozen)
    trained = [path for group in groups for path in group[1]]
    open_ = not any(m.over for m in each.statements)
    if others and open_:  # a penalty alone is no reason to train what another pass does
        trained = [path for path in trained if path in _reached(c, objective)] or trained
    for setting in plan.penalties:
        with c.at(plan.frame, setting.span):
            everywhere = trained if not others else [path for path in known if path not in frozen]
            objective = _penalized(c, plan.frame, setting, objective, trained, everywhere, frozen)
    reached = _reached(c, objective)
    untouched = [path for path in trained if path not in reached]
    if untouched and open_:
        trained = [path for path in trained if path in reached]
    if not trained and not untouched:
        raise error(
            "E0401",
            "there is nothing to train: the model has no parameters",
            first.span,
            "minimized here",
            help="`param w: float[4]` is learned, and so is what layers have: `x |> dense(8)`; "
            "without a train block the file predicts",
        )
    if not trained or (untouched and not open_):
        raise error(
            "E0401",
            f"the loss does not depend on {', '.join(f'`{p}`' for p in untouched[:4])}",
            first.span,
            "minimized here",
            help="leave it out with `over`, or use it in the model",
        )
    spans = [first.objective.span] * 2
    by_path = {
        path: c.make(ops.gradient, [objective, c.module.variables[path].node], spans, first.span) for path in trained
    }
    marked = c.module.turn(number)
    c.graph.marks.update({f"{marked}gradient/{path}": node for path, node in by_path.items()})
    c.rates = {}
    clipping = c.clipping = Clipping(c, partial(_all_clipped, c, plan) if plan.clips else None)
    with c.within("part", "update", None):
        for statement, group, updater in groups:
            with c.at(plan.frame, statement.span):
                for subject in _subjects(c, updater, [path for path in group if path in by_path], objective):
                    rule = partial(_updated, c, plan.frame, updater, subject, statement.using.span, number)
                    clipping.run(subject, [by_path[path] for path in subject.paths], rule)
        c.clipping, c.functions = None, {}
        moved = {f"next/{path}": theta for path, theta in clipping.close().items()}
    c.graph.marks.update({f"{marked}rate/{path}": node for path, node in c.rates.items()})
    return moved


def _reached(c: Context, objective: Node) -> set[str]:
    """The variables that an objective is computed from."""
    return {leaf.attrs["path"] for leaf in c.graph.order([objective]) if leaf.op.name == "variable"}


def _frozen(c: Context, plan: Plan) -> dict[str, syntax.Freeze]:
    """What `freeze` holds, parameters and states of layers, and where it says so. The states move no more."""
    held: dict[str, syntax.Freeze] = {}
    known = [path for path, v in c.module.variables.items() if v.kind in ("parameter", "state")]
    for statement in plan.freezes:
        for path in paths.named(c, plan.frame, statement.pattern, known, "`freeze`", "parameter or state"):
            held.setdefault(path, statement)
    c.moving = {path: node for path, node in c.moving.items() if path not in held}
    return held


def _unfrozen(chosen: list[str], frozen: Mapping[str, syntax.Freeze], span: Span, text: str) -> list[str]:
    """Those of some parameters that `freeze` does not hold. E0515 where it holds all."""
    free = [path for path in chosen if path not in frozen]
    if chosen and not free:
        names = ", ".join(f"`{path}`" for path in chosen[:4]) + (", ..." if len(chosen) > 4 else "")
        raise error(
            "E0515",
            f"`freeze` holds {text}",
            span,
            f"only {names}",
            more=[(frozen[chosen[0]].span, "held here")],
            help="`freeze` holds some of the parameters, and `minimize` trains others",
        )
    return free


def _groups(
    c: Context, plan: Plan, statements: Sequence[syntax.Minimize], known: list[str], frozen: Mapping[str, syntax.Freeze]
) -> list[tuple[syntax.Minimize, list[str], Updater]]:
    """Each `minimize` with its parameters, which no other has and `freeze` does not hold, and its optimizer."""
    taken: dict[str, syntax.Minimize] = {}
    groups = []
    for statement in statements:
        place = statement.over.span if statement.over else statement.span
        chosen = paths.named(c, plan.frame, statement.over, known, "`over`")
        chosen = _unfrozen(chosen, frozen, place, "all that is trained here")
        for path in chosen:
            if path in taken:
                raise error(
                    "E0516",
                    f"`{path}` is trained by two statements",
                    statement.span,
                    "here",
                    more=[(taken[path].span, "and here")],
                    help="make the patterns disjoint: `over *.W` and `over not *.W`",
                )
            taken[path] = statement
        value = expressions.evaluate(c, plan.frame, statement.using)
        if calls.is_maker(value):
            value = calls.call(c, plan.frame, value, [], statement.using.span)
        if not isinstance(value, Updater):
            raise error(
                "E0517",
                f"`using` takes an optimizer, not {kind(value)}",
                statement.using.span,
                f"this is {kind(value)}",
                help="write `using adam(1e-3)`",
            )
        groups.append((statement, chosen, value))
    return groups


def _penalized(
    c: Context,
    frame: Frame,
    setting: syntax.Setting,
    objective: Node,
    trained: list[str],
    everywhere: list[str],
    frozen: Mapping[str, syntax.Freeze],
) -> Node:
    """The objective with a penalty for those parameters of this pass that it names; a pattern means any that some
    pass may train (`everywhere`)."""
    held = [path for path, v in c.module.variables.items() if v.kind == "parameter" and path in frozen]
    chosen = paths.named(c, frame, setting.on, [*everywhere, *held], "`on`")
    chosen = _unfrozen(chosen, frozen, setting.on.span if setting.on else setting.span, "all that is penalized here")
    rule = expressions.evaluate(c, frame, setting.value)
    for path in [path for path in chosen if path in trained] if everywhere is not trained else chosen:
        theta = Argument(None, Tensor(c.module.variables[path].node), setting.value.span)
        value = _through(c, frame, rule, theta, setting, "a penalty")
        node = to_node(c, value, "float")
        if node is None or node.rank:
            raise error(
                "E0519",
                "a penalty is a single number",
                setting.value.span,
                f"this is {kind(value)}",
                help="end it with `sum(...)`",
            )
        objective = objective + node
    return objective


def _through(c: Context, frame: Frame, rule: Value, subject: Argument, setting: syntax.Setting, what: str) -> Value:
    if not isinstance(rule, Partial | Declared):
        help = "`penalty: l2(1e-4) on *.W`" if setting.name == "penalty" else "`clip: global_norm(1.0)`"
        raise error(
            "E0519",
            f"{what} is a function, not {kind(rule)}",
            setting.value.span,
            f"this is {kind(rule)}",
            help=_unfilled(c, frame, setting) or help,
        )
    value = calls.call(c, frame, rule, [subject], setting.value.span)
    if isinstance(value, Partial) and isinstance(value.function, Declared):
        declaration = value.function.declaration
        calls.require(value.missing, f"`{declaration.name}`", declaration.configuration, setting.value.span)
    return value


def _all_clipped(c: Context, plan: Plan, gradients: list[Tensor]) -> list[Tensor]:
    for setting in plan.clips:
        with c.at(plan.frame, setting.span):
            gradients = _clipped(c, plan.frame, setting, gradients)
    return gradients


def _unfilled(c: Context, frame: Frame, setting: syntax.Setting) -> str | None:
    """What to write for `mine(0.5)` where `mine(x, rate = 1)` has taken the number for what a setting gives it."""
    expr = setting.value
    if not isinstance(expr, syntax.Call) or not expr.arguments or expr.arguments[0].name is not None:
        return None
    callee = expressions.evaluate(c, frame, expr.function)
    if not isinstance(callee, Declared):
        return None
    instead = tensor_arguments.waiting(callee, calls.arguments(c, frame, expr.arguments))
    first = callee.declaration.configuration[0].name if instead else ""
    return f"`{first}` is left out: `{setting.name}:` supplies it: `{setting.name}: {instead}`" if instead else None


def _clipped(c: Context, frame: Frame, setting: syntax.Setting, gradients: Sequence[Tensor]) -> list[Tensor]:
    """A clip whose first parameter is `vector[n]` sees all gradients as one vector, any other sees each by itself."""
    rule = expressions.evaluate(c, frame, setting.value)
    function = rule.function if isinstance(rule, Partial) else rule
    whole = False
    if isinstance(function, Declared) and isinstance(function.declaration, syntax.Fn):
        parameters = function.declaration.configuration
        whole = bool(parameters) and is_vector(parameters[0].type)
    subjects: list[Any] = [Parts(tuple(gradients))] if whole else list(gradients)
    results: list[Tensor] = []
    for subject in subjects:
        value = _through(c, frame, rule, Argument(None, subject, setting.value.span), setting, "a clip")
        results += value.items if isinstance(value, Parts) else [value] if isinstance(value, Tensor) else []
    if len(results) != len(gradients) or any(
        a.node.shape != b.node.shape for a, b in zip(results, gradients, strict=True)
    ):
        raise error(
            "E0520",
            "a clip changes the shape of the gradient",
            setting.value.span,
            "its result does not have the shape of its input",
            help="a clip returns the gradient, changed: `g * (limit / maximum(norm(g), limit))`",
        )
    return results


def _subjects(c: Context, updater: Updater, paths: Sequence[str], objective: Node) -> list[Subject]:
    """Each parameter by itself, or all as one vector for a rule that takes it."""
    leaves = [c.module.variables[path].node for path in paths]
    if takes_whole(updater):
        return [Subject(tuple(paths), tuple(leaves), objective, whole=True)] if paths else []
    return [Subject((path,), (leaf,), objective) for path, leaf in zip(paths, leaves, strict=True)]


def _updated(
    c: Context, frame: Frame, updater: Updater, subject: Subject, span: Span, number: int, gradient: Node
) -> Node:
    values = {"theta": subject.theta(), "g": gradient, "t": c.step()}
    name = updater.declaration.name
    if subject.whole:
        return updaters.apply_updater(c, frame, updater, values, frame.take_name(name), subject, span)
    [path] = subject.paths
    before = sum(c.optimizers.get((k, path)) == name for k in range(number))
    c.optimizers[number, path] = name
    name += f"[{before}]" if before else ""  # each pass that trains a parameter has optimizer state of its own
    return updaters.apply_updater(c, frame, updater, values, name, subject, span)
