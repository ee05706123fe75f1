"""The main graph (what predicts), the names of a file, and the start values of its state."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import partial

from onnx import GraphProto

from ..diagnostics import InternalError
from ..ir.graph import Node
from ..ir.module import Module, Variable
from .elements import ELEMENT, element, value_info
from .emit import Emitter
from .start import Starts


def main_graph(
    graph: GraphProto, module: Module, precision: str, start: Starts, shared: Collection[str] = ()
) -> Emitter:
    """Fills `graph` with what the outputs need, and with the state of these paths, which several algorithms share. The
    emitter knows its values, for the algorithms to read."""
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
    held = [v for v in module.variables.values() if v.node in needed or v.path in shared]
    hold(emitter, held, start)
    write_roots(emitter, order, roots)
    # An input may be needed for its shape alone.
    graph.input.extend(
        value_info(leaf.attrs["name"], leaf.type, precision)
        for leaf in module.inputs
        if leaf in needed or leaf.attrs["name"] in emitter.used
    )
    return emitter


def hold(
    emitter: Emitter,
    variables: Iterable[Variable],
    start: Starts,
    turn: int = 0,
    renamed: Mapping[str, str] | None = None,
) -> None:
    """Variables as initializers of the emitter's graph, with their start values in this pass, but for those that are
    made later; some under a name of their own."""
    for variable in variables:
        name = (renamed or {}).get(variable.path, variable.path)
        emitter.leaf(variable.node, name)
        kind = element(variable.type.dtype, emitter.precision)
        number, array_type = ELEMENT[kind]
        held = emitter.graph.initializer.add(name=name, data_type=number, dims=start.shape(variable.path))
        make = partial(start.raw, variable.path, array_type, turn)
        if variable.path in start.late:
            start.left[turn, name] = make
        else:  # filled where it stands: a large tensor is copied for each message that it is handed on in
            held.raw_data = make()


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


def start_values(module: Module, seed: int) -> Starts:
    """What every variable holds before the first step, by path, for this seed."""
    return Starts(module, seed)
