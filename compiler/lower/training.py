"""`training_info`: the step, evaluation and initialisation beside the main graph."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from dlc.runtime import graphs
from dlc.runtime.metadata import BATCH
from onnx import GraphProto, StringStringEntryProto, TrainingInfoProto

from ..analysis import epoch
from ..ir.graph import Node
from ..ir.module import Module
from .elements import element, tensor, value_info
from .emit import Emitter
from .exact import exact_emitter, inside
from .model import hold, write_roots
from .start import Starts


def training_info(info: TrainingInfoProto, module: Module, beside: Emitter, start: Starts, seed: int) -> None:
    """Fills `info` with what the step and evaluation need beyond the main graph, which `beside` wrote."""
    _algorithm(info.algorithm, module, beside, start)
    _initialization(info.initialization, module, beside.precision, seed)
    info.update_binding.extend(_bindings(module, "next/"))
    info.initialization_binding.extend(_bindings(module, "initial/"))


def _bindings(module: Module, prefix: str) -> list[StringStringEntryProto]:
    return [
        StringStringEntryProto(key=path, value=prefix + path)
        for path in module.variables
        if prefix + path in module.graph.outputs
    ]


def step_roots(module: Module) -> dict[str, Node]:
    """The outputs of `algorithm` by name, in the order of the format."""
    outputs = module.graph.outputs
    names = ["loss"]
    names += [f"metric/{name}" for name in (*module.terms, *module.metrics) if f"metric/{name}" in outputs]
    names += [f"next/{path}" for path in module.variables if f"next/{path}" in outputs]
    names += [f"evaluate/part/{k}" for k in range(len(module.reduces))]
    names += [name for name in outputs if name.startswith("evaluate/value/")]
    names += [f"{epoch.PART}{k}" for k in range(len(module.epoch_reduces))]
    names += [name for name in outputs if name.startswith(epoch.VALUE)]
    return {name.removeprefix("metric/"): outputs[name] for name in names}


def early(roots: Iterable[Node]) -> list[Node]:
    """The roots, those first that can be computed first.

    The updates of the last layers are ready long before those of the first. Written in this order, which ONNX Runtime
    keeps (ExecutionOrder.PRIORITY_BASED), no gradient of an activation waits for the whole backward pass to be used.
    """
    depth: dict[Node, int] = {}
    roots = list(roots)
    for node in roots[0].graph.order(roots) if roots else []:
        depth[node] = 1 + max((depth[source] for source in node.inputs), default=0)
    return sorted(roots, key=depth.__getitem__)


def _algorithm(graph: GraphProto, module: Module, beside: Emitter, start: Starts) -> None:
    graph.name = "train"
    main, precision = beside.graph, beside.precision
    roots = step_roots(module)
    named = {name.removeprefix("metric/") for name in module.exact} if precision != "float64" else set()
    exact = {name: node for name, node in roots.items() if name in named}
    totals = [variable for path, variable in module.variables.items() if path in named]
    doubled, read = inside(exact.values(), [variable.node for variable in totals])
    own = {name: node for name, node in roots.items() if name not in named}
    order = module.graph.order([*early(own.values()), *read])
    there = {info.name for info in main.input}
    draws = {
        f"evaluate/draw/{name}": module.graph.outputs[f"draw/{name}"]
        for leaf in module.drawn()
        if (name := leaf.attrs["name"]) in there
    }
    feeding = module.graph.order(draws.values())
    needed = {*order, *doubled, *feeding}
    # Drawn inputs are data of a prediction alone: nothing of a step may read them, not for a size either.
    drawn = module.drawn()
    data = [leaf for leaf in (*module.inputs, *module.targets) if leaf not in drawn]
    # Sizes come from the data that is fed anyway, that of the main graph first.
    likely = [leaf for leaf in data if leaf.attrs["name"] in there]
    likely += [leaf for leaf in data if leaf in needed and leaf.attrs["name"] not in there]
    rest = [leaf for leaf in data if leaf not in needed and leaf.attrs["name"] not in there]
    emitter = Emitter(graph, precision, data=likely + rest, beside=beside)
    batch = module.settings.get("train", {}).get("batch") or BATCH
    if isinstance(batch, int) and module.batch:
        emitter.batch = {module.batch: batch}
    if drawn:
        emitter.forget(_made_of(main, {leaf.attrs["name"] for leaf in drawn}))
    for leaf in data:
        emitter.leaf(leaf, leaf.attrs["name"])
    held = {tensor.name for tensor in main.initializer}
    # Counters that nothing reads and nothing changes are left out; other state is kept, to be saved.
    hold(
        emitter,
        [
            variable
            for path, variable in module.variables.items()
            if path not in held
            and path not in named
            and (variable.kind != "counter" or variable.node in needed or f"next/{path}" in roots)
        ],
        start,
    )
    write_roots(emitter, order, own)
    used = dict(emitter.used)
    if exact:
        double = exact_emitter(emitter, doubled, read)
        hold(double, totals, start)
        write_roots(double, doubled, {name: node for name, node in exact.items() if name not in module.metrics})
        for name, node in exact.items():
            if name in module.metrics:  # of one batch, in the precision of the file
                double.alias(name, node, element(node.dtype, precision))
                graph.output.append(value_info(name, node.type, precision))
        used.update(double.used)
        said = {info.name: info for info in graph.output}
        del graph.output[:]
        graph.output.extend(said[name] for name in roots)
    if draws:
        used.update(_feed(emitter, beside, module, feeding, draws))
    graph.input.extend(
        value_info(leaf.attrs["name"], leaf.type, precision)
        for leaf in data
        if leaf.attrs["name"] not in there and (leaf in needed or leaf.attrs["name"] in used)
    )


def _feed(step: Emitter, main: Emitter, module: Module, order: list[Node], draws: dict[str, Node]) -> dict[str, None]:
    """Writes the draws for inputs that the data of a prediction lack. Their sizes are those of what is fed in their
    place. Returns the names of the data that are read."""
    drawn = module.drawn()
    rest = [leaf for leaf in (*module.inputs, *module.targets) if leaf not in drawn]
    emitter = Emitter(step.graph, step.precision, data=[*drawn, *rest], beside=main)
    for leaf in (*drawn, *rest):
        emitter.leaf(leaf, leaf.attrs["name"])
    for variable in module.variables.values():
        emitter.leaf(variable.node, variable.path)
    write_roots(emitter, order, draws)
    return emitter.used


def _made_of(graph: GraphProto, names: set[str]) -> set[str]:
    """The values of a graph that are made of these, and these."""
    found = set(names)
    for node in graph.node:
        if not found.isdisjoint(graphs.reads(node)):
            found.update(node.output)
    return found


def _initialization(graph: GraphProto, module: Module, precision: str, seed: int) -> None:
    """Start values are computed in float64 and rounded once: a float32 iteration (`orthogonal`) or logarithm would
    be off by more than 1e-6, and what runs once need not be fast. `seed` is the one the initializers were made from."""
    graph.name = "initialize"
    outputs = module.graph.outputs
    names = [f"initial/{path}" for path in module.variables]
    roots = {name: outputs[name] for name in names if name in outputs}
    order = module.graph.order(roots.values())
    emitter = Emitter(graph, "float64", reserved=["seed", *roots], spread=True)
    graph.initializer.append(tensor("seed", np.uint64(seed), "uint64"))
    for node in order:
        if node.op.name == "seed":
            emitter.leaf(node, "seed")
    emitter.write(order, {})
    for name, node in roots.items():
        emitter.alias(name, node, element(node.dtype, precision))
        graph.output.append(value_info(name, node.type, precision))
