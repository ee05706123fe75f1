"""What is written in boxes: operations with their numbers, shapes, and lines of the spec."""

from __future__ import annotations

from ..ir.graph import Node, show_attr
from ..ops.match import hidden
from .looks import SYMBOLS

WRITTEN = ("constant", "size")  # single values written into their users


def formula(node: Node) -> tuple[str, ...]:
    """The operation with its numbers written in: `x × 0.5` is one box."""
    symbol = SYMBOLS.get(node.op.name.rstrip("_"), node.op.name)
    values = [_value(source) for source in node.inputs]
    if len(values) == 2 and any(values) and not symbol[0].isalpha():
        left, right = (f"({value})" if " " in value else value or "·" for value in values)  # `· ÷ (batch * time)`
        text = f"{left} {symbol} {right}"
    elif any(values):
        text = f"{symbol}({', '.join(value or '·' for value in values)})"
    else:
        text = symbol
    if node.op.name == "random_below":
        text += f" {node.attrs['share']:g}"
    axes = node.attrs.get("axes", node.attrs.get("axis"))
    if axes is not None and axes != ():
        text += f"  axis {show_attr(axes).strip('[]')}"
    return (text,)


def seen(node: Node) -> Node:
    while hidden(node):
        node = node.inputs[0]
    return node


def at(node: Node) -> tuple[int, ...]:
    return (node.span.line,) if node.span else ()


def told(node: Node) -> str:
    return f"{node.op.name}: {node.type}" + (f", {node.span.stored}" if node.span else "")


def written(node: Node) -> bool:
    """Whether a value is written into its users: a single number, or a size."""
    if node.op.name == "constant" and node.rank and node.attrs["value"].size == 1:
        return True
    if node.op.name in ("broadcast_to", "reshape") or hidden(node):
        return written(node.inputs[0]) and node.inputs[0].rank == 0
    return node.op.name in WRITTEN and node.rank == 0


def _value(node: Node) -> str:
    """The text of a value that is written into its users; "" for any other."""
    if not written(node):
        return ""
    while node.inputs:
        node = node.inputs[0]
    if node.op.name == "size":
        return str(node.attrs["dim"])
    number = node.attrs["value"]
    return f"{float(number.reshape(-1)[0]):.6g}" if number.dtype.kind == "f" else str(number.reshape(-1)[0])
