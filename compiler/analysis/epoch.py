"""The figures of a training epoch, put together from those of its steps as an evaluation puts them together.

Most are means of rows, and those of batches weighed by their rows are right; a sum, a least and a greatest combine as
what they are. Of all else (a root, a ratio) the step gives the values that do combine, and the closing arithmetic is
written once more over their totals: roots `evaluate/train/part/K` and `evaluate/train/value/NAME`.
"""

from __future__ import annotations

from .. import ops
from ..ir.module import Module, Variable
from ..ir.rebuild import rebuild
from ..ir.types import TensorType
from .aggregation import COMBINED, cancels, kinds, measured, region

PART, TOTAL, VALUE = "evaluate/train/part/", "evaluate/train/total/", "evaluate/train/value/"


def split(module: Module, root: str, figure: str) -> None:
    """Notes in `module.epoch` how the figure of a root combines: "mean", "sum", "min", "max"; "closed" where a root
    `evaluate/train/value/NAME` does it; "none" where nothing can, and the figures of an epoch go without it. A loss
    of which that is so is the mean over its batches."""
    graph, value = module.graph, module.graph.outputs[root]
    if not module.rows or figure in module.later():  # such a pass gives nothing but its loss
        module.epoch[figure] = "mean"
        return
    found = kinds(graph.order([value]), module.rows)
    if found[value] != "other":
        module.epoch[figure] = "mean" if found[value] == "const" else found[value]
        return
    nodes, sized = region(value, found), measured(graph.order([value]))
    found.update((node, "max") for node in nodes if found[node] == "const" and node in sized)
    parts = [node for node in nodes if found[node] in COMBINED]
    lost = any(
        found[node] == "other" and (not node.inputs or any(found[x] == "rows" for x in node.inputs)) for node in nodes
    )
    if lost or any(node.rank for node in parts):
        module.epoch[figure] = "none" if figure in module.metrics else "mean"  # a loss is that of batches
        return
    exact = figure in module.metrics and cancels(value, found)
    totals = {}
    for node in parts:
        number = len(module.epoch_reduces)
        module.epoch_reduces.append(found[node])
        graph.outputs[f"{PART}{number}"] = node
        path = f"{TOTAL}{number}"
        totals[node] = ops.make_variable(graph, path, TensorType(node.dtype, ()))
        module.variables[path] = Variable(path, "total", totals[node])
        if exact:
            module.exact.update(dict.fromkeys([f"{PART}{number}", path]))
    graph.outputs[f"{VALUE}{figure}"] = rebuild(graph, [value], totals)[0]
    module.epoch[figure] = "closed"
    if exact:
        module.exact.update(dict.fromkeys([root, f"{VALUE}{figure}"]))
