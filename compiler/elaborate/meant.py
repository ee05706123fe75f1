"""What was probably meant where shapes do not fit: the form that works, with the names of the text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..ir.graph import Node
from ..ir.types import Dim, Size, TensorType, TypeProblem, show_shape
from ..source import Span
from ..syntax import tree as syntax
from . import assignments
from .scope import Frame


def defined_below(frame: Frame, name: syntax.Name) -> Span | None:
    """Where a name that is not known yet is given a value, in the same declaration below."""
    around: Frame | None = frame
    while around is not None:
        for word, span in assignments.targets(around.bodies[0] if around.bodies else ()):
            if (
                word == name.name
                and span is not None
                and span.source is name.span.source
                and span.start > name.span.start
            ):
                return span
        around = around.home
    return None


def instead(problem: TypeProblem, operands: Sequence[Any]) -> str | None:
    """For E0310 (two values that do not broadcast) and E0312 (a product of matrices); None where nothing is known."""
    if problem.code == "E0310" and len(problem.operands) == 2:
        pair = [operands[at] for at in sorted(problem.operands) if at < len(operands)]
    else:
        pair = list(operands) if problem.code == "E0312" else []
    if len(pair) != 2 or not all(isinstance(node, Node) for node in pair):
        return None
    a, b = pair
    if problem.code == "E0312":
        return _declared(a, b)
    return _indexed(a, b) or _indexed(b, a) or _raised(a, b) or _raised(b, a) or _turned(a, b) or _named_alike(a, b)


def _declared(x: Node, w: Node) -> str | None:
    """The declaration that would fit, where a matrix of parameters does not."""
    if w.op.name != "variable" or w.rank != 2 or not isinstance(x.shape[-1], int):
        return None
    return f"did you mean `{_name(w)}: float{show_shape((x.shape[-1], w.shape[1]))}`?"


def _indexed(rows: Node, few: Node) -> str | None:
    """Parameters one for each of some things, and data of which a row belongs to one of them."""
    if not 0 < few.rank <= rows.rank or any(node.op.name == "input" for node in few.graph.order([few])):
        return None
    count, free = few.shape[0], rows.shape[-few.rank]
    if not isinstance(free, Dim) or not isinstance(count, int) or len(free.names()) != 1:
        return None
    name, row = _whole(few), free.names()[0]
    return (
        f"say which of the {count} a row belongs to: `input row: int[{row}] in 0..{count}`, and `{name}[row]` for "
        f"`{_name(few)}`; where the data have them in order, `{name}[arange({free})]` with `batch: all`"
    )


def _raised(small: Node, large: Node) -> str | None:
    """One number for each row of a matrix."""
    missing = large.rank - small.rank
    if missing < 1 or not small.rank or small.shape != large.shape[: small.rank]:
        return None
    index = ", ".join([":" if small.rank == 1 else "...", *["none"] * missing])
    return f"`{_whole(small)}[{index}]` is `{show_shape((*small.shape, *[1] * missing))}`: one for each row"


def _turned(a: Node, b: Node) -> str | None:
    if a.rank != 2 or a.shape != b.shape[::-1]:
        return None
    return f"write `transpose({_name(b)})` if its rows are the columns of the other"


def _named_alike(a: Node, b: Node) -> str | None:
    """Two free dimensions that the text gives two names."""
    for one, other in zip(reversed(a.shape), reversed(b.shape), strict=False):
        if one != other and 1 not in (one, other):
            if isinstance(one, Dim) and isinstance(other, Dim):
                return f"`{one}` and `{other}` are two sizes: if they are always equal, give both the same name"
            return None
    return None


def two_names(name: str, size: Size) -> tuple[list[str], str]:
    """Notes and the way out where a dimension of that name and size meets another name (E0313)."""
    if isinstance(size, Dim):
        return ["two different names never meet"], "if they always have the same size, declare both with one name"
    return (
        ["both have the same size here, but two different names never meet"],
        f"`v[{name}]` lays a vector along the dimension `{name}`",
    )


def counted(owner: str, name: str, type: TensorType) -> str:
    """For a parameter whose number differs from run to run (E0328), in a model or a layer."""
    first, *rest = type.shape
    if owner == "model" and isinstance(first, Dim) and not any(isinstance(size, Dim) for size in rest):
        row = (first.names() or ["batch"])[0]
        return (
            f"say how many there are, `param {name}: float{show_shape((8, *rest))}`, and which of them a row "
            f"takes: `{name}[row]` of `input row: int[{row}] in 0..8`"
        )
    return "give the dimension a number where the data are declared: `input x: float[batch, 8]`"


def _name(node: Node) -> str:
    """What the text calls a value."""
    if node.op.name == "variable":
        return str(node.attrs["path"]).rpartition(".")[2]
    if node.op.name == "input":
        return str(node.attrs["name"])
    text = node.span.text if node.span is not None else ""
    return text if text and len(text) <= 24 and "\n" not in text else "value"


def _whole(node: Node) -> str:
    """The same as something that an index can follow: a name, a call, or in parentheses."""
    text = _name(node)
    rest = re.sub(r"^\w*", "", text)
    depth = 0
    for at, sign in enumerate(rest):
        depth += (sign == "(") - (sign == ")")
        if not depth:
            return text if at == len(rest) - 1 else f"({text})"
    return f"({text})" if rest else text
