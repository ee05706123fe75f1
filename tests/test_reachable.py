"""What needs what in a graph, against networkx; and values made again, against the interpreter."""

from __future__ import annotations

import networkx as nx
import numpy as np
from dlc import ops
from dlc.ir import interpret
from dlc.ir.body import Captured, Emitted, Scanned, ScanView, State, scans
from dlc.ir.graph import Graph, Node
from dlc.ir.reachable import dependent, depends, needed, readers
from dlc.ir.rebuild import rebuild
from dlc.ir.types import TensorType
from dlc.ops.leaf import make_input
from dlc.pipeline import check
from dlc.syntax.parser import make_source
from hypothesis import given, settings, strategies as st

FED = {"x": 0.3, "y": -0.7, "z": 1.1}
STEPS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=30)
MAKE = (ops.add, ops.mul, lambda a, b: ops.tanh(a), ops.maximum)
PLACES = st.lists(st.integers(0, 99), min_size=1, max_size=4)


def made(steps) -> tuple[Graph, list[Node]]:
    graph = Graph()
    nodes = [make_input(graph, name, TensorType("float", ())) for name in FED]
    for kind, i, j in steps:
        nodes.append(MAKE[kind](nodes[i % len(nodes)], nodes[j % len(nodes)]))
    return graph, list(dict.fromkeys(nodes))


@settings(max_examples=60, deadline=None)
@given(STEPS, PLACES, PLACES)
def test_reachability(steps, roots, leaves):
    graph, nodes = made(steps)
    roots, leaves = ([nodes[i % len(nodes)] for i in places] for places in (roots, leaves))
    order, edges = graph.order(roots), graph.view(nodes)
    assert needed(roots) == order
    until = needed(roots, lambda node: () if node in leaves else node.inputs)
    cut = edges.copy()
    cut.remove_edges_from([(source, leaf) for leaf in leaves for source in leaf.inputs])
    assert set(until) == set(roots).union(*(nx.ancestors(cut, root) for root in roots))
    place = {node: number for number, node in enumerate(until)}
    assert all(place[source] < place[node] for node in until if node not in leaves for source in node.inputs)

    above = set(leaves).union(*(nx.descendants(edges, leaf) for leaf in leaves))
    found = dependent(order, leaves)
    assert set(found) == set(leaves) | (above & set(order))
    for node, source in found.items():
        if node in leaves:
            assert source is None
        else:
            assert source in found and source == next(x for x in node.inputs if x in found)
    assert set(readers(leaves, lambda node: False)) == above
    known: dict[Node, bool] = {}
    assert {node for node in nodes if depends(node, leaves.__contains__, known)} == above


def test_readers_leave_out_what_is_only_by_way_of_a_node():
    graph = Graph()
    x = make_input(graph, "x", TensorType("float", ()))
    y = ops.tanh(x)
    by, beside = ops.exp(y), ops.sin(x)
    assert list(readers([x], lambda node: node is y)) == [x, beside]
    assert by in readers([x], lambda node: False)


@settings(max_examples=60, deadline=None)
@given(STEPS, PLACES, PLACES)
def test_what_is_made_again_has_the_values_of_what_takes_the_place(steps, roots, replaced):
    graph, nodes = made(steps)
    roots, replaced = ([nodes[i % len(nodes)] for i in places] for places in (roots, replaced))
    new = make_input(graph, "new", TensorType("float", ()))
    mapping = dict.fromkeys(replaced, new)
    found = rebuild(graph, roots, mapping)
    values = {node: np.float64(FED[node.attrs["name"]]) for node in nodes[: len(FED)]}
    for node in nodes:
        if node in mapping or node not in values:
            values[node] = np.float64(5.5) if node in mapping else node.op.reference(*(values[x] for x in node.inputs))
    assert np.array_equal(interpret.evaluate(found, {**FED, "new": 5.5}), [values[root] for root in roots])
    above = dependent(graph.order(roots), replaced)
    assert all((new is old) == (old not in above) for new, old in zip(found, roots, strict=True))

    other, done = Graph(), dict[Node, Node]()
    for root in roots:  # one call after the other, as in one
        [copy] = rebuild(other, [root], {}, done=done)
        assert copy is done[root] and other.text([copy]) == graph.text([root])
    assert len(other) == len(graph.order(roots))


def test_nodes_made_again_keep_their_place_or_take_that_of_a_derivative():
    graph = Graph()
    x, y = (make_input(graph, name, TensorType("float", ())) for name in "xy")
    with graph.at(scope="layer", block=3):
        z = ops.tanh(x)
    [again] = rebuild(graph, [z], {x: y})
    assert (again.scope, again.block, again.derived) == ("layer", 3, False)
    [copied] = rebuild(Graph(), [z], {})
    assert (copied.scope, copied.block) == ("layer", 0)  # blocks are of one graph
    with graph.at(scope="", block=0, derived=True):
        [here] = rebuild(graph, [z], {x: ops.exp(y)}, here=True)
    assert (here.scope, here.block, here.derived) == ("layer", 0, True)


def test_what_is_outside_is_asked_for_where_it_is_read():
    graph = Graph()
    x, y = (make_input(graph, name, TensorType("float", ())) for name in "xy")
    inner = ops.exp(y)
    z = ops.tanh(x) + inner
    asked: list[Node] = []

    def outside(node: Node) -> Node:
        asked.append(node)
        return ops.constant(other, 2.0, "float")

    other = Graph()
    [found] = rebuild(other, [z], {}, [z], outside=outside)
    assert asked == list(z.inputs) and interpret.evaluate([found]) == [4.0]
    [found] = rebuild(graph, [z], {x: y}, make=lambda node, taken: taken(y) if node is inner else None)
    assert interpret.evaluate([found], {"y": 0.5}) == [np.tanh(0.5) + 0.5]


def test_the_parts_of_a_scan_by_name():
    module, _ = check(
        make_source("""model m {
    input x: float[batch, time, 2]
    param W: float[2, 2] init glorot_uniform
    scan t over reverse(time) {
        state h: float[batch, 2] = 1.0
        h <- tanh(x[:, t] + h @ W)
        y[:, t] = h * h
    }
    output z = y
    output last = h
}""")
    )
    [scan] = scans(module.graph)
    view = ScanView(scan)
    assert [type(part) for part in view.inputs] == [State, Scanned, Captured]
    assert [type(part) for part in view.results] == [State, Emitted]
    assert [part.number for part in view.inputs] == [0, 1, 2] and [part.number for part in view.results] == [0, 1]
    assert [part.value for part in view.inputs] == list(scan.inputs)
    [state], [emit], [sliced] = view.states, view.emitted, view.scanned
    assert (state.after, emit.root) == view.body.roots and view.reverse and str(view.length) == "time"
    assert sliced.value.shape[sliced.axis] == view.length
    for number, leaf in view.body.locals().items():
        assert view.given(leaf) is view.inputs[number]
    assert ops.result(scan, emit.number).shape[emit.axis] == view.length
