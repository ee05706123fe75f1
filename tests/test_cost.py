"""What a derivative costs: at most three times the forward graph more, and nothing twice."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from dlc.autodiff.reverse import gradients
from dlc.diagnostics import CompileError
from dlc.ir.graph import Node
from dlc.ir.module import Module
from dlc.ir.op import pointwise
from dlc.ir.types import Dim, Size, evaluate, product
from dlc.lower import lower
from dlc.optimize import fuse, simplify
from dlc.optimize.draws import merge_draws
from dlc.pipeline import check, optimize, source_of

ROOT = Path(__file__).resolve().parents[1]
SPECS = sorted(path for folder in ("specs", "benchmarks") for path in (ROOT / folder).glob("*.dl"))
SMALL = {"deep_residual": {"depth": 20}}
FREE = 48  # what a free dimension is taken to be


def checked(path: Path) -> Module:
    source, folder = source_of(path)
    try:
        return check(source, folder, set=SMALL.get(path.stem))[0]
    except CompileError as problem:
        if "not in this version" in str(problem):
            pytest.skip(str(problem).splitlines()[0])
        raise


def count(size: Size) -> int:
    return evaluate(size, dict.fromkeys(size.names(), FREE)) if isinstance(size, Dim) else size


def cost(nodes: Iterable[Node]) -> int:
    return sum(count(node.op.cost(node)) for node in nodes)


MOVES = ("reshape", "transpose", "broadcast_to", "cast", "cut", "point", "stop_gradient", "all_rows")


def moved(node: Node) -> Node:
    """The value without what only moves it: two that differ in this alone are one computation."""
    while node.op.name in MOVES:
        node = node.inputs[0]
    return node


def computed_twice(nodes: Iterable[Node]) -> list[str]:
    """What is computed once more: with equal operands, or with operands that differ only in how they lie."""
    seen: dict[object, Node] = {}
    again = []
    for node in nodes:
        keys: list[object] = [node.key]
        if node.op.name == "matmul" or (node.op.jvp is pointwise and node.op.name not in MOVES):
            sources = [moved(source).id for source in node.inputs]
            if node.op.commutative or node.op.name == "matmul":
                sources.sort()
            size = product(node.shape)
            keys.append((node.op.name, node.dtype, *sources, str(node.op.cost(node)), str(size)))
        for key in keys:
            if key in seen and seen[key] is not node:
                again.append(f"{seen[key]} and {node}")
            seen[key] = node
    return again


# Rows and columns of a square image lie at the same places, so that both are turned by the same sines and cosines.
TWICE = {"augmented": 2}


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_gradient_costs_at_most_four_times_the_loss(path):
    """Forward included, in multiplications, divisions and elementary functions, before and after fusing."""
    module = checked(path)
    graph = module.graph
    first = next((turn.loss for turn in module.turns), "loss")  # of losses that take turns
    loss = graph.outputs[first if first == "loss" else f"metric/{first}"]
    parameters = [v.node for v in module.variables.values() if v.kind == "parameter"]
    inside = dict.fromkeys(graph.order([loss]))
    wrt = [node for node in parameters if node in inside]
    assert wrt
    forward = cost(inside)
    found = gradients(loss, wrt)
    for name in list(graph.outputs):
        del graph.outputs[name]
    graph.outputs.update({"loss": loss, **{f"grad/{i}": node for i, node in enumerate(found) if node is not None}})
    simplify(graph, final=True)
    whole = graph.order(graph.outputs.values())
    assert forward < cost(whole) <= 4 * forward
    assert len(computed_twice(whole)) == TWICE.get(path.stem, 0), computed_twice(whole)
    merge_draws(graph)
    fuse(graph)
    whole = graph.order(graph.outputs.values())
    assert cost(whole) <= 4 * forward
    assert len(computed_twice(whole)) == TWICE.get(path.stem, 0), computed_twice(whole)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_nothing_is_computed_twice_in_the_file(path):
    module = checked(path)
    optimize(module, "float32")
    again = computed_twice(module.graph.order(module.graph.outputs.values()))
    assert len(again) == TWICE.get(path.stem, 0), again
    model = lower(module)
    for info in model.training_info:
        seen: dict[object, str] = {}
        for node in (*model.graph.node, *info.algorithm.node):
            attributes = sorted(a.SerializeToString(deterministic=True) for a in node.attribute)
            key = (node.op_type, *node.input, *attributes)
            if node.op_type != "Identity":
                assert key not in seen, f"{seen.get(key)} and {node.name}"
            seen[key] = node.name
