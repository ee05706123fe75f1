"""The predicting graph of an ensemble: all members at once, along a leading dimension of their parameters."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from .. import ops
from ..ir.graph import Array, Node
from ..ir.module import MEMBERS, Module, Variable
from ..ir.types import TensorType
from .batching import along

STD, EACH = ".std", ".members"  # behind the name of an output


def gather(module: Module, max_nodes: int) -> None:
    """Makes of each output of an ensemble the mean over its members, and beside it `NAME.std`, the root of the mean
    squared deviation, and `NAME.members`, [members, ...]. Nothing for a single model, or where that is done."""
    count = module.settings.get("train", {}).get("ensemble")
    if not count or not module.trains or module.members:
        return
    graph, outputs = module.graph, module.graph.outputs
    module.members = count
    names = list(module.outputs)
    targets = [outputs[f"output/{name}"] for name in names]
    needed = set(graph.order(targets))
    held = [v for v in module.variables.values() if v.kind in ("parameter", "state") and v.node in needed]
    every: dict[Node, Node] = {}
    for variable in held:
        path, type = MEMBERS + variable.path, variable.type
        shape = (count, *type.shape)
        with graph.like(variable.node):
            every[variable.node] = ops.make_variable(graph, path, TensorType(type.dtype, shape))
        module.variables[path] = Variable(path, "member", every[variable.node])
        if variable.path in module.loaded:
            module.loaded[path] = partial(_repeated, module.loaded[variable.path], count)
        elif f"initial/{variable.path}" in outputs:
            outputs[f"initial/{path}"] = ops.broadcast_to(outputs[f"initial/{variable.path}"], shape=shape)
    module.outputs = []
    for name, target, found in zip(names, targets, along(targets, every, count, max_nodes), strict=True):
        each = found if found is not None else ops.broadcast_to(target, shape=(count, *target.shape))
        with graph.at():
            graph.place = graph.place.inside("call", "ensemble", None)
            mean = ops.mean(each, axes=[0])
            std = ops.sqrt(ops.mean((each - mean) * (each - mean), axes=[0]))
        for ending, node in (("", mean), (STD, std), (EACH, each)):
            outputs[f"output/{name}{ending}"] = node
            module.outputs.append(name + ending)


def _repeated(value: Callable[[], Array], count: int) -> Array:
    one = value()
    return np.broadcast_to(one, (count, *one.shape))
