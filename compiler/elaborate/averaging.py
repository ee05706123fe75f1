"""`average: ema(0.999)`: what is trained are points of their own, and the parameters the moving means of these.

The step is the same, read at the points: its figures, gradients, optimizer state and states of layers are those of a
run without the line, and cost as much. What evaluates, predicts and is saved reads the parameters, the means.
"""

from __future__ import annotations

from ..diagnostics import error
from ..ir.graph import Node
from ..ir.module import POINT
from ..ir.rebuild import rebuild
from ..syntax import tree as syntax
from . import calls, expressions, parameters
from .context import Context, to_node
from .scope import Frame
from .values import Argument, Tensor, Value, kind

RULE = "moving_mean"  # of the library: what `ema` as an optimizer does, too


def rule(c: Context, frame: Frame, statement: syntax.Setting) -> list[Argument]:
    """The arguments of `ema(...)`. E0530, and those of calling `moving_mean`."""
    value = statement.value
    name = value.function if isinstance(value, syntax.Call) else value
    if not (isinstance(name, syntax.Name) and name.name == "ema"):
        found = expressions.evaluate(c, frame, value)
        raise error(
            "E0530",
            "`average:` takes `ema(0.999)`",
            value.span,
            f"this is {kind(found)}",
            help="the moving mean of the parameters: `ema(decay)`, of about the last 1 / (1 - decay) updates",
        )
    given = calls.arguments(c, frame, value.arguments) if isinstance(value, syntax.Call) else []
    for number, argument in enumerate(given):
        if number or argument.name not in (None, "decay"):
            raise error(
                "E0215",
                f"`ema` has no argument `{argument.name}`" if argument.name else "`ema` takes one argument here",
                argument.span,
                "not known" if argument.name else "one too many",
                notes=["it takes (decay)"],
            )
        decay = argument.value
        if isinstance(decay, int | float) and not isinstance(decay, bool) and 0 <= decay < 1:
            continue
        if not isinstance(decay, Tensor) or decay.node.rank:
            raise error(
                "E0530",
                "the decay of `ema` is a number from 0 to below 1",
                argument.span,
                f"this is {decay}" if isinstance(decay, int | float) else f"this is {kind(decay)}",
                help="`ema(0.999)` averages about the last 1,000 updates",
            )
    return given


def average(c: Context, frame: Frame, statement: syntax.Setting, given: list[Argument]) -> None:
    """Gives the steps of all train blocks points to train, and moves the parameters to the means of these."""
    outputs, module = c.graph.outputs, c.module
    turns = [module.turn(number) for number in range(max(1, len(module.turns)))]
    learned = [path for path, v in module.variables.items() if v.kind == "parameter"]
    learned = [path for path in learned if any(f"{turn}next/{path}" in outputs for turn in turns)]
    points: dict[Node, Node] = {}
    with c.at(frame, statement.span):
        for path in learned:
            leaf = module.variables[path].node
            with c.inside(leaf.place):  # it is drawn where the parameter is
                point = c.variable(POINT + path, "optimizer", leaf.type, statement.span)
            points[leaf] = point.node
            parameters.begin(c, POINT + path, leaf, statement.span)
            for block in module.blocks[1:]:
                block.starts[POINT + path] = path
        done: dict[Node, Node] = {}
        roots = [root for root in outputs if _of_step(root)]
        made = rebuild(c.graph, [outputs[root] for root in roots], points, done=done)
        outputs.update(zip(roots, made, strict=True))
        marks = list(c.graph.marks)
        c.graph.marks.update(zip(marks, rebuild(c.graph, list(c.graph.marks.values()), points, done=done), strict=True))
        with c.graph.at(derived=True):
            for turn in turns:
                for path in learned:
                    if (root := f"{turn}next/{path}") in outputs:
                        mean, moved = module.variables[path].node, outputs[root]
                        outputs[f"{turn}next/{POINT}{path}"] = moved
                        outputs[root] = _mean(c, frame, statement, mean, moved, given)


def _of_step(root: str) -> bool:
    """Whether a root is one of a step: its figures and its new state."""
    parts = root.split("/")
    return parts[0] in ("loss", "metric", "next") or (parts[0] == "turn" and parts[2] == "next")


def _mean(c: Context, frame: Frame, statement: syntax.Setting, mean: Node, point: Node, given: list[Argument]) -> Node:
    span = statement.value.span
    values = [Argument(None, Tensor(node), span) for node in (mean, point, c.step())]
    found: Value = expressions.lookup(c, frame, RULE, span)
    turn = mean.attrs["path"]
    with c.within("part", "update", None), c.within("call", "ema", span, given), c.within("turn", turn, None):
        node = to_node(c, calls.call(c, frame, found, [*values, *given], span), "float")
    assert node is not None
    return node
