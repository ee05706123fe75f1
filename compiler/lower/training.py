"""`training_info`: the step, evaluation and initialisation beside the main graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from dlc.runtime import graphs
from dlc.runtime.metadata import BATCH
from onnx import GraphProto, StringStringEntryProto, TrainingInfoProto

from ..analysis import epoch
from ..analysis.evaluation import KEPT, OF_ALL
from ..ir.graph import Node
from ..ir.module import TOGETHER, Module, pass_of
from ..ir.types import names_of
from .elements import element, tensor, value_info
from .emit import Emitter
from .exact import exact_emitter, inside
from .model import hold, write_roots
from .start import Starts


def training_info(
    info: TrainingInfoProto,
    module: Module,
    beside: Emitter,
    start: Starts,
    seed: int,
    owned: Mapping[str, int | None],
    turn: int = 0,
) -> None:
    """Fills `info` with what a step and, in the first, evaluation need beyond the main graph, which `beside` wrote.
    `owned` is what `owners` says, `turn` the number of the pass where losses take turns."""
    main = {held.name for held in beside.graph.initializer}
    own = {path: f"turn/{path}" for path in ("step", "key") if turn and path in main}
    _algorithm(info.algorithm, module, beside, start, owned, turn, own)
    starts = _start_roots(module, owned, turn)
    if module.turns:
        main.update(held.name for held in info.algorithm.initializer)
        starts = {path: node for path, node in starts.items() if own.get(path, path) in main}
    _initialization(info.initialization, module, beside.precision, seed, starts)
    for bound, values, prefix in (
        (info.update_binding, _next(module, turn), "next/"),
        (info.initialization_binding, starts, "initial/"),
    ):
        bound.extend(
            StringStringEntryProto(key=own.get(path, path), value=prefix + path)
            for path in module.variables
            if path in values
        )


def owners(module: Module) -> dict[str, int | None]:
    """The pass whose training_info holds each variable that the main graph need not hold; None where that must,
    because a training_info sees itself and the main graph alone. Counters are in each that needs them."""
    if not module.turns:
        return dict.fromkeys(module.variables, 0)
    users: dict[str, list[int]] = {path: [] for path in module.variables}
    for turn in range(len(module.turns)):
        needed = set(module.graph.order(step_roots(module, turn).values()))
        moved = _next(module, turn)
        for path, variable in module.variables.items():
            if variable.node in needed or path in moved:
                users[path].append(turn)
    kinds = {path: variable.kind for path, variable in module.variables.items()}
    return {
        path: turns[0]
        if len(turns) == 1 and kinds[path] == "optimizer"
        else None
        if any(turns) and kinds[path] in SHARED
        else 0
        for path, turns in users.items()
    }


SHARED = ("parameter", "state", "optimizer")


def _next(module: Module, turn: int) -> dict[str, Node]:
    """What a pass moves, by path, in the order of the file."""
    outputs, prefix = module.graph.outputs, f"{module.turn(turn)}next/"
    return {path: outputs[prefix + path] for path in module.variables if prefix + path in outputs}


def _start_roots(module: Module, owned: Mapping[str, int | None], turn: int) -> dict[str, Node]:
    """The start values that a pass computes: of what its training_info holds, in the first of the main graph too."""
    outputs = module.graph.outputs
    found = {
        path: outputs[f"initial/{path}"]
        for path in module.variables
        if f"initial/{path}" in outputs and (owned[path] == turn or (owned[path] is None and turn == 0))
    }
    if turn and "key" in module.variables:
        found["key"] = outputs[f"{module.turn(turn)}initial/key"]
    return found


def step_roots(module: Module, turn: int = 0) -> dict[str, Node]:
    """The outputs of `algorithm` by name, in the order of the format."""
    outputs = module.graph.outputs
    names = ["loss", *module.terms, *module.metrics]
    if module.turns:  # the first of a block gives all figures but those of the others
        mine = module.turns[turn]
        block = [each.loss for each in module.turns if each.block == mine.block]
        leads = module.turns[turn - 1].block != mine.block if turn else True
        rest = [name for name in names[1:] if name not in block] if leads else []
        names = [mine.loss, *rest]
    roots = {name: outputs[root] for name in names if (root := name if name == "loss" else f"metric/{name}") in outputs}
    roots.update({f"next/{path}": node for path, node in _next(module, turn).items()})
    mark = module.turn(turn)
    choices = {name.removeprefix(mark): node for name, node in module.roots(f"{mark}rows/").items()}
    if turn:
        parts = [f"{epoch.PART}{k}" for k in range(len(module.epoch_reduces))] if leads else []
        return roots | {name: outputs[name] for name in parts} | choices
    names = [f"evaluate/part/{k}" for k in range(len(module.reduces))]
    names += [name for name in outputs if name.startswith(("evaluate/value/", KEPT, OF_ALL))]
    names += list(module.roots(TOGETHER))
    names += [f"{epoch.PART}{k}" for k in range(len(module.epoch_reduces))]
    names += [name for name in outputs if name.startswith(epoch.VALUE)]
    return roots | {name: outputs[name] for name in names} | choices


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


def _algorithm(
    graph: GraphProto,
    module: Module,
    beside: Emitter,
    start: Starts,
    owned: Mapping[str, int | None],
    turn: int,
    renamed: Mapping[str, str],
) -> None:
    """`renamed`: counters that the main graph holds for predictions, of which this pass has its own."""
    graph.name = "train"
    main, precision = beside.graph, beside.precision
    roots = step_roots(module, turn)
    named = {name.removeprefix("metric/") for name in module.exact} if precision != "float64" and not turn else set()
    exact = {name: node for name, node in roots.items() if name in named}
    totals = [variable for path, variable in module.variables.items() if path in named]
    doubled, read = inside(exact.values(), [variable.node for variable in totals])
    own = {name: node for name, node in roots.items() if name not in named}
    order = module.graph.order([*early(own.values()), *read])
    there = {info.name for info in main.input}
    draws = {
        f"evaluate/draw/{name}": module.graph.outputs[f"draw/{name}"]
        for leaf in module.drawn()
        if (name := leaf.attrs["name"]) in there and not turn
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
    emitter.batch = _sizes(module, turn)
    emitter.fixed = {
        name: size
        for name, size in emitter.batch.items()
        if not any(name in names_of(size) for leaf in data for size in leaf.shape)
    }
    if drawn or renamed:
        emitter.forget(_made_of(main, {*renamed, *(leaf.attrs["name"] for leaf in drawn)}))
    for leaf in data:
        emitter.leaf(leaf, leaf.attrs["name"])
    held = {tensor.name for tensor in main.initializer}
    # Counters that nothing reads and nothing changes are left out; other state is kept, to be saved.
    hold(
        emitter,
        [
            variable
            for path, variable in module.variables.items()
            if (path not in held or path in renamed)
            and path not in named
            and (
                variable.node in needed or f"next/{path}" in roots
                if variable.kind == "counter"
                else owned[path] == turn
            )
        ],
        start,
        turn,
        renamed,
    )
    emitter.titles = {  # what a step derives, by name: for runs that note it, and for people
        node: name for mark, node in module.gradients().items() for number, name in [pass_of(mark)] if number == turn
    }
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


def _sizes(module: Module, turn: int) -> dict[str, int]:
    """The rows that a batch has at most, of each dimension that counts them, where it is known."""
    block = module.turns[turn].block if module.turns else 0
    settings = module.blocks[block].settings if module.blocks else module.settings.get("train", {})
    batch = settings.get("batch") or BATCH
    each = batch if isinstance(batch, Mapping) else dict.fromkeys(module.rows[:1], batch)
    return {name: size for name, size in each.items() if isinstance(size, int)}


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


def _initialization(graph: GraphProto, module: Module, precision: str, seed: int, starts: Mapping[str, Node]) -> None:
    """Start values are computed in float64 and rounded once: a float32 iteration (`orthogonal`) or logarithm would
    be off by more than 1e-6, and what runs once need not be fast. `seed` is the one the initializers were made from."""
    graph.name = "initialize"
    roots = {f"initial/{path}": starts[path] for path in module.variables if path in starts}
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
