"""The main graph (what predicts), the names of a file, and the start values of its state."""
from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from onnx import GraphProto

from .. import interpret
from ..diagnostics import InternalError
from ..graph import Array, Node
from ..module import Module, Variable
from ..ops.registry import NUMPY
from .emit import Emitter, element, tensor, value_info

# What counters hold before anyone set them; docs/file-format.md says who does.
COUNTERS = {"step": 0, "steps": 1000, "observations": 1}


def main_graph(graph: GraphProto, module: Module, precision: str, start: dict[str, Array]) -> Emitter:
    """Fills `graph` with what the outputs need. The emitter knows its values, for the algorithm to read."""
    roots = {name: module.graph.outputs[f"output/{name}"] for name in module.outputs}
    order = module.graph.order(roots.values())
    needed = set(order)
    for target in module.targets:
        if target in needed:
            raise InternalError(f"an output needs the target {target.attrs['name']}")
    graph.name = module.name
    inputs = [leaf for leaf in module.inputs if leaf in needed]
    others = [leaf for leaf in module.inputs if leaf not in needed]
    emitter = Emitter(graph, precision, data=inputs + others, reserved=module.reserved())
    for leaf in module.inputs:
        emitter.leaf(leaf, leaf.attrs["name"])
    held = [variable for variable in module.variables.values() if variable.node in needed]
    hold(emitter, held, start)
    write_roots(emitter, order, roots)
    # An input may be needed for its shape alone.
    graph.input.extend(
        value_info(leaf.attrs["name"], leaf.type, precision)
        for leaf in module.inputs
        if leaf in needed or leaf.attrs["name"] in emitter.used
    )
    return emitter


def hold(emitter: Emitter, variables: Iterable[Variable], start: dict[str, Array]) -> None:
    """Variables as initializers of the emitter's graph, with their start values."""
    for variable in variables:
        emitter.leaf(variable.node, variable.path)
        kind = element(variable.type.dtype, emitter.precision)
        emitter.graph.initializer.append(tensor(variable.path, start[variable.path], kind))


def write_roots(emitter: Emitter, order: list[Node], roots: dict[str, Node]) -> None:
    """Writes the nodes, then declares the roots as outputs under their names, in order.

    A value has one name: a root that is a leaf, a value of another graph or another root too is copied.
    """
    wanted: dict[Node, str] = {}
    for name, node in roots.items():
        if node not in emitter.names:
            wanted.setdefault(node, name)
    emitter.write(order, wanted)
    for name, node in roots.items():
        if wanted.get(node) != name:
            emitter.alias(name, node)
        emitter.graph.output.append(value_info(name, node.type, emitter.precision))


def start_values(module: Module, seed: int) -> dict[str, Array]:
    """What every variable holds before the first step, by path: its initial root for this seed, or what
    the format documents for a counter, or zeros."""
    roots = module.roots("initial/")
    found = interpret.evaluate(list(roots.values()), {"seed": np.uint64(seed)})
    values = dict(zip(roots, found, strict=True))
    start: dict[str, Array] = {}
    for path, variable in module.variables.items():
        root = f"initial/{path}"
        dtype = NUMPY[variable.type.dtype]
        if root in values:
            start[path] = np.asarray(values[root], dtype)
        else:
            shape = tuple(size for size in variable.type.shape if isinstance(size, int))
            if len(shape) != variable.type.rank:
                raise InternalError(f"the size of variable {path} is not known: {variable.type}")
            start[path] = np.full(shape, COUNTERS.get(path, 0) if variable.kind == "counter" else 0, dtype)
    return start
