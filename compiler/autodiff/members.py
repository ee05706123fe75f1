"""The predicting graph of an ensemble: all members at once, along a leading dimension of their parameters."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from .. import ops
from ..ir.graph import Array, Node
from ..ir.module import MEMBERS, TOGETHER, Module, Variable
from ..ir.rebuild import rebuild
from ..ir.types import TensorType
from .batching import along

STD, SHARE, EACH = ".std", ".share", ".members"  # behind the name of an output
LAST = 2**63 - 1  # behind all integers
LEAST = 1e-37  # a probability of 0, whose logarithm is finite in float32


def gather(module: Module, max_nodes: int) -> None:
    """Makes of each output of an ensemble the mean over its members, and beside it `NAME.std`, the root of the mean
    squared deviation, and `NAME.members`, [members, ...]; of integers and booleans the vote, and beside it
    `NAME.share`. Nothing for a single model, or where that is done."""
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
    instead: dict[Node, Node] = {}
    for name, target, found in zip(names, targets, along(targets, every, count, max_nodes), strict=True):
        each = found if found is not None else ops.broadcast_to(target, shape=(count, *target.shape))
        with graph.at():
            graph.place = graph.place.inside("call", "ensemble", None)
            made = _spread(each) if each.dtype == "float" else _vote(each)
            instead |= _known(target, made[""])
        for ending, node in (*made.items(), (EACH, each)):
            outputs[f"output/{name}{ending}"] = node
            module.outputs.append(name + ending)
    _figures(module, instead)


def _known(target: Node, mean: Node) -> dict[Node, Node]:
    """What the prediction of the ensemble stands for in figures: an output, and where that is a probability the logits
    that have it."""
    if target.op.name in ("softmax", "sigmoid"):
        logits = ops.log(ops.maximum(mean, LEAST))
        if target.op.name == "sigmoid":
            logits = logits - ops.log(ops.maximum(1.0 - mean, LEAST))
        return {target: mean, target.inputs[0]: logits}
    return {target: mean}


def _figures(module: Module, instead: dict[Node, Node]) -> None:
    """The parts of figures with what the ensemble predicts in place of what a member does, `evaluate/members/part/K`,
    and in `module.together` the figures that are made of such parts alone."""
    graph, outputs = module.graph, module.graph.outputs
    own = {v.node for v in module.variables.values() if v.kind in ("parameter", "state", "optimizer")}
    parts = [outputs[f"evaluate/part/{k}"] for k in range(len(module.reduces))]
    found = dict(enumerate(rebuild(graph, parts, instead)))
    fit = {k for k, node in found.items() if own.isdisjoint(graph.order([node]))}
    totals = {module.variables[f"evaluate/total/{k}"].node: k for k in range(len(parts))}
    for root, value in module.roots("evaluate/value/").items():
        leaves = graph.order([value])
        read = {totals[node] for node in leaves if node in totals}
        if read <= fit and own.isdisjoint(leaves) and any(found[k] is not parts[k] for k in read):
            module.together[root.removeprefix("evaluate/value/")] = sorted(read)
    for k in sorted({k for read in module.together.values() for k in read}):
        outputs[f"{TOGETHER}{k}"] = found[k]
        if f"evaluate/part/{k}" in module.exact:
            module.exact[f"{TOGETHER}{k}"] = None


def _spread(each: Node) -> dict[str, Node]:
    """The mean over the members, and how far they are from it."""
    mean = ops.mean(each, axes=[0])
    return {"": mean, STD: ops.sqrt(ops.mean((each - mean) * (each - mean), axes=[0]))}


def _vote(each: Node) -> dict[str, Node]:
    """What most members say, the least of what equally many do, and the share of members that do."""
    count, *rest = each.shape
    value = each if each.dtype == "int" else ops.cast(each, dtype="int")
    pairs = ops.eq(ops.reshape(value, shape=(count, 1, *rest)), ops.reshape(value, shape=(1, count, *rest)))
    votes = ops.reduce_sum(ops.cast(pairs, dtype="float"), axes=[1])
    most = ops.reduce_max(votes, axes=[0])
    vote = ops.reduce_min(ops.where(ops.eq(votes, most), value, LAST), axes=[0])
    assert isinstance(count, int)
    return {"": vote if each.dtype == "int" else ops.eq(vote, 1), SHARE: most / float(count)}


def _repeated(value: Callable[[], Array], count: int) -> Array:
    one = value()
    return np.broadcast_to(one, (count, *one.shape))
