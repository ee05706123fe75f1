"""What the values of a model are on a batch, and what each layer takes: for the boxes of its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from dlc.runtime.data import Columns
from dlc.runtime.train import Trainer

from ..ir.graph import Node
from ..ir.interpret import each
from ..ir.module import Module
from ..view.outline import Measured
from .profile import Profile, profiled

Array = np.ndarray
ROWS = 32  # of the batch


def statistics(value: Array, rows: bool) -> dict[str, float]:
    """Of the numbers of a value: their mean, standard deviation, length (the square root of the sum of squares), share
    of zeros, and where its first dimension counts `rows` and there are further ones, the share of units that are zero
    in every row."""
    x = np.asarray(value, np.float64)
    with np.errstate(all="ignore"):
        found = {"mean": float(x.mean()), "spread": float(x.std()), "length": float(np.sqrt((x**2).sum()))}
    found["zeros"] = float((x == 0).mean())
    if rows and x.ndim > 1 and len(x) > 1:
        found["dead"] = float((x == 0).all(0).mean())
    return {name: number for name, number in found.items() if np.isfinite(number)}


def values(module: Module, feeds: Mapping[str, Array]) -> dict[Node, dict[str, float]]:
    """The statistics of every float value of a module, in float64. `feeds`: data and state by name."""
    found: dict[Node, dict[str, float]] = {}
    roots = [*module.graph.outputs.values(), *module.graph.marks.values()]
    for node, value in each([root for root in roots if root.op.name != "seed"], feeds):
        if node.dtype == "float" and isinstance(value, np.ndarray) and value.size:
            counts = bool(node.shape) and module.batch is not None and str(node.shape[0]) == module.batch
            found[node] = statistics(value, counts)
    return found


def fed(trainer: Trainer, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """State and the first rows of data, by the names that a module knows."""
    state = {name: trainer.state[name] for name in trainer.state}
    rows = {field.name: field.rows for field in trainer.inputs}
    cut = {n: x[(slice(None),) * (rows.get(n) or 0) + (slice(ROWS),)] if x.ndim else x for n, x in arrays.items()}
    return {**state, **cut}


def times(found: Profile) -> dict[str, dict[str, float]]:
    """µs of a call, by side and layer: of the layer and all that lies in it."""
    sides: dict[str, dict[str, float]] = {}
    for call in found.calls:
        for one in call:
            own = sides.setdefault(one.side, {})
            for layer in _around(one.scope):
                own[layer] = own.get(layer, 0.0) + one.took / len(found.calls)
    return sides


def _around(scope: str) -> Sequence[str]:
    parts = scope.split(".") if scope else []
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def measured(trainer: Trainer, modules: Sequence[Module], data: Columns) -> Measured:
    """What a page is told of the values of modules on data, and of layers."""
    feeds = fed(trainer, data.arrays)
    of: dict[Node, dict[str, float]] = {}
    for module in modules:
        of.update(values(module, feeds))
    rounded = {node: {name: float(f"{x:.4g}") for name, x in told.items()} for node, told in of.items()}
    what = "step" if trainer.file.parts else "predict"
    return Measured(rounded, times(profiled(trainer, what, data, 10)))
