"""What is said where there is no derivative: E0401 where nothing depends on a value, E0402 where every path ends."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from ..diagnostics import CompileError, error
from ..ir.body import Body
from ..ir.graph import Node
from ..ir.reachable import dependent
from ..ops import NONE
from ..source import Span

SHOWN = 8  # steps of a path that are shown
WIDTH = 40  # characters of an expression that are

SIGNS = {
    "gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "==", "ne": "!=", "floordiv": "//", "and": "and", "or": "or",
    "reduce_max": "max", "reduce_min": "min", "cast": "a conversion to integers",
}  # fmt: skip
_COMPARISONS = ("gt", "ge", "lt", "le", "eq", "ne")
_KINKED = {
    "relu": "relu",
    "maximum": "maximum",
    "minimum": "minimum",
    "abs": "abs",
    "reduce_max": "max",
    "reduce_min": "min",
}
_INSTEAD = {
    **dict.fromkeys(("gt", "ge", "lt", "le"), "`sigmoid((a - b) / width)` is a smooth `a > b`"),
    **dict.fromkeys(("eq", "ne"), "`exp(-((a - b) / width)^2)` is a smooth `a == b`"),
    **dict.fromkeys(("argmax", "argmin"), "`softmax(x / temperature)` is a smooth one-hot row of `argmax(x)`"),
    **dict.fromkeys(
        ("round", "floor", "ceil"), "to round in the forward pass only, write `x + stop_gradient({name}(x) - x)`"
    ),
    "sign": "`tanh(x / width)` is a smooth `sign(x)`; "
    "`x + stop_gradient(sign(x) - x)` takes the sign in the forward pass only",
    "floordiv": "`/` divides without rounding",
    "mod": "`a % b` has a derivative with respect to a",
}


def stopped_at(placeholder: Node) -> Node | None:
    """The `stop_gradient` through which a value depends on what it is to be derived by, if it does."""
    target, x = placeholder.inputs[:2]
    return next(
        (
            node
            for node in target.graph.order([target])
            if node.op.name == "stop_gradient" and x in dict.fromkeys(target.graph.order([node]))
        ),
        None,
    )


def untrained(placeholders: Sequence[Node], others: Iterable[Node]) -> CompileError:
    """E0401: the derivatives of what is minimized by parameters that nothing would train. `others`: those by all."""
    paths = [str(one.inputs[1].attrs["path"]) for one in placeholders]
    kept = {_owner(str(one.inputs[1].attrs["path"])) for one in others if one not in placeholders}
    patterns = dict.fromkeys(path if _owner(path) in kept else _owner(path) for path in paths)
    names = ", ".join(f"`{path}`" for path in paths[:4]) + (", ..." if len(paths) > 4 else "")
    stopped = stopped_at(placeholders[0])
    through = " but through `stop_gradient`" if stopped is not None else ""
    return error(
        "E0401",
        f"what is minimized does not depend on {names}{through}",
        placeholders[0].span,
        "minimized here",
        more=[(stopped.span, "the derivative is stopped here")] if stopped is not None else [],
        help=f"leave out what is not trained: `freeze {', '.join(patterns)}`, or `minimize` with `over` and the others",
    )


def _owner(path: str) -> str:
    """The pattern of all that is made where a parameter is."""
    first, dot, _ = path.partition(".")
    return first + (dot and ".*")


def independent(placeholder: Node) -> CompileError:
    """E0401: the value of a derivative does not depend on what it is to be derived by."""
    target, x = placeholder.inputs[:2]
    stopped = stopped_at(placeholder)
    if stopped is not None:
        return error(
            "E0401",
            f"the value depends on {name_of(x)} through `stop_gradient` only",
            placeholder.span,
            "differentiated here",
            more=[(stopped.span, "the derivative is stopped here"), (x.span, "differentiated with respect to this")],
            help="a derivative that is always zero is treated as a mistake",
        )
    return error(
        "E0401",
        f"the value does not depend on {name_of(x)}",
        placeholder.span,
        "differentiated here",
        more=[(target.span, "this value"), (x.span, "differentiated with respect to this")],
        help="a derivative that is always zero is treated as a mistake",
    )


def check_no_end(x: Node, target: Node, order: Sequence[Node], ends: Mapping[Node, None]) -> None:
    """E0402 at the first operation that ends a path from x to the target; `stop_gradient` does so on purpose."""
    reached = dependent((node for node in order if node.op.name != "stop_gradient"), [x])
    for node in reached:
        if node is x:
            continue
        end: Node | None = node if node in ends or node.dtype not in ("float", "results") else None
        if node.op.name == "scan" and end is not None:
            end = _end_within(node, [source in reached for source in node.inputs])
        if end is not None:
            raise _ended(x, target, node, end, reached, order)


def _end_within(scan: Node, flags: Sequence[bool]) -> Node | None:
    """The operation of an iteration at which a derivative by some inputs ends; None where only `stop_gradient` ends
    it."""
    body: Body = scan.attrs["body"]
    order = (node for node in body.graph.order(body.roots) if node.op.name != "stop_gradient")
    reached = dependent(order, [leaf for number, leaf in body.locals().items() if flags[number]])
    for node, came in reached.items():
        if came is None:
            continue
        end = node if node.op.jvp is NONE else None
        if node.op.name == "scan":
            end = _end_within(node, [source in reached for source in node.inputs])
        if end is not None:
            return end
    return None


def _ended(
    x: Node, target: Node, last: Node, end: Node, reached: Mapping[Node, Node | None], order: Sequence[Node]
) -> CompileError:
    """`last` is where a path ends in the graph, `end` the operation that ends it: in a scan it is one of the
    iteration."""
    name = SIGNS.get(end.op.name, end.op.name)
    label, help = "the derivative ends here", _INSTEAD.get(end.op.name, "use a smooth form of it").format(name=name)
    kinked = _slope_of(end)
    if kinked is not None:
        message = f"the slope of `{kinked}` does not change with {name_of(x)}, so it has no derivative"
        label = "made of straight pieces: its second derivative is zero or does not exist"
        help = "`softplus(x)`, `gelu(x)`, `tanh(x)` and `sqrt(x^2 + width^2)` bend smoothly"
    elif end.op.name == "cast":
        message = f"integers have no derivative, and no other path leads from {name_of(x)}"
    else:
        message = f"`{name}` has no derivative, and no other path leads from {name_of(x)}"
    below: list[Node] = []
    node: Node | None = last
    while node is not None:
        below.append(node)
        node = reached[node]
    path = _path([*below[::-1], *_onwards(last, target, order)])
    return error(
        "E0402",
        message,
        end.span,
        label,
        more=[(x.span, "differentiated with respect to this")],
        notes=[f"the path is {path}"] if path else [],
        help=f"{help}; or leave {name_of(x)} out of what is trained or differentiated with respect to",
    )


def _slope_of(end: Node) -> str | None:
    """The operation with a kink whose derivative a comparison is, or a sign: that of `abs`."""
    if end.op.name not in (*_COMPARISONS, "sign"):
        return None
    kinks = {"abs"} if end.op.name == "sign" else _KINKED.keys() - {"abs"}
    near = [*end.inputs, *(user for source in end.inputs for user in source.graph.users(source))]
    for node in near:
        if node.op.name in kinks and (node.span, node.scope) == (end.span, end.scope):
            return _KINKED[node.op.name]
    return None


def _onwards(end: Node, target: Node, order: Sequence[Node]) -> list[Node]:
    """One path from where the derivative ends to the target, without the end."""
    came = dependent(order, [end])
    path: list[Node] = []
    node: Node | None = target
    while node is not None and node is not end:
        path.append(node)
        node = came.get(node)
    return path[::-1] if node is end else []


def _path(nodes: Sequence[Node]) -> str:
    """The named values that a path goes through, with their lines; a long path without its middle."""
    steps: list[str] = []
    for node in nodes:
        if node.span is not None:
            step = name_of(node) if node.op.name in ("variable", "input") else f"`{_called(node.span)}`"
            step = f"{step} (line {node.span.shown.line})"
            if not steps or steps[-1] != step:
                steps.append(step)
    if len(steps) > SHOWN:
        steps = [*steps[: SHOWN // 2], "...", *steps[-(SHOWN // 2) :]]
    return " -> ".join(steps)


def _called(span: Span) -> str:
    """The name that the line gives to what it computes, or the expression."""
    given = re.match(r"[^=#]*?([A-Za-z_]\w*)\s*(?::[^=]*)?=(?!=)", span.source.line(span.line))
    if given:
        return given[1]
    text = " ".join(span.text.split())
    return text if len(text) <= WIDTH else text[: WIDTH - 3] + "..."


def name_of(x: Node) -> str:
    """A leaf's name in quotes, for messages."""
    name = x.attrs.get("path") or x.attrs.get("name")
    return f"`{name}`" if name else "the value"
