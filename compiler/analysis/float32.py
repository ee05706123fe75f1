"""Numbers of a spec that float32 does not have: too large, and infinite in the file; too small, and 0 there."""

from __future__ import annotations

import re

import numpy as np

from ..diagnostics import Problems, error
from ..ir.graph import Node
from ..ir.module import Module
from ..ir.reachable import dependent
from ..source import Source, Span

NUMBER = re.compile(r"(?<![\w.])(\d[\d_]*\.?[\d_]*|\.\d+)([eE][+-]?\d+)?(?![\w.])|#.*|\"[^\"\n]*\"")


def warn(module: Module, source: Source, problems: Problems) -> None:
    """W0205 for each finite number that is infinite, or nonzero that is 0, where it meets data or what is learned.

    What is made of numbers and counters alone (schedules) is computed in float64. Linear.
    """
    counters = {v.node for v in module.variables.values() if v.kind == "counter"}
    order = module.graph.order(list(module.graph.outputs.values()))
    moving = dependent(order, [x for x in order if x.op.name in ("input", "variable") and x not in counters])
    starts = set(module.graph.order(list(module.roots("initial/").values())))
    held: dict[Node, tuple[float, Node]] = {}  # values that hold such a number, and its constant
    found: dict[float, Node] = {}
    for node in order:
        if node.op.name == "constant" and node.dtype == "float" and (lost := _lost(node)) is not None:
            held[node] = (lost, node)
        elif node.op.moves and node not in moving:
            held.update((node, held[x]) for x in node.inputs if x in held)
        for value in (node, *node.inputs):
            if value in held and (node in moving or node in starts):
                found.setdefault(*held[value])
    for number, node in found.items():
        what, instead = (
            ("0", "an epsilon that has an effect is at least 1e-38")
            if abs(number) < 1
            else ("infinite", "write `inf` if that is meant; the largest is 3.4e38")
        )
        problems.warn(
            error(
                "W0205",
                f"the number {number:g} is {what} in float32",
                _place(number, node.span, source),
                f"{what} in the file",
                help=f"{instead}; `--precision float64` has numbers from 5e-324 to 1.8e308",
            )
        )


def _lost(constant: Node) -> float | None:
    values = np.asarray(constant.attrs["value"], np.float64).ravel()
    with np.errstate(over="ignore", under="ignore"):
        short = values.astype(np.float32)
    gone = values[np.isfinite(values) & (~np.isfinite(short) | ((short == 0) & (values != 0)))]
    return float(gone[0]) if gone.size else None


def _place(value: float, span: Span | None, source: Source) -> Span | None:
    """Where the number stands: in the statement that uses it, else in the spec, which may give it to the library."""
    areas = [Span(source, 0, len(source.text))]
    if span is not None:
        areas.insert(0, span)
    for area in areas:
        for match in NUMBER.finditer(area.source.text, area.start, area.end):
            if match[1] and float(match[0].replace("_", "")) == abs(value):
                return Span(area.source, match.start(), match.end())
    return span
