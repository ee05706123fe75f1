"""Gates in the iterations of a scan: a sigmoid that does nothing but multiply.

The kernel Sigmoid of ONNX Runtime is off by up to 1e-7, and 0 below -18: four operators are right to the last bits in
every tail. In a gated recurrence (an LSTM) they would cost a tenth of the step, and there a gate is a share of what it
multiplies: 1e-9 of it or nothing is the same to what is added.
"""

from __future__ import annotations

from .. import ops
from ..ir.body import ScanView, scans, with_body
from ..ir.graph import Graph, Node
from ..ops.match import is_number


def gates(graph: Graph) -> None:
    """sigmoid(x) = gate(x) in an iteration that only multiplies by it and by 1 - it, and hands it on only to other
    scans"""
    for scan in scans(graph):
        handed = _handed(graph, scan)

        def change(body: Graph, handed: frozenset[str] = handed) -> None:
            gates(body)
            _gated(body, handed)

        graph.replace(scan, with_body(scan, scan.attrs["body"].changed(change)))


def _handed(graph: Graph, scan: Node) -> frozenset[str]:
    """The roots of the body, by name, that are emitted and read by other scans alone."""
    kept = set(graph.outputs.values())
    read = {str(emit.number): True for emit in ScanView(scan).emitted}
    for result in graph.users(scan):
        name = str(result.attrs["index"])
        if result in kept or any(user.op.name != "scan" for user in graph.users(result)):
            read[name] = False
    return frozenset(name for name, alone in read.items() if alone)


def _gated(body: Graph, handed: frozenset[str]) -> None:
    kept = {node for name, node in body.outputs.items() if name not in handed}
    for node in body.order(body.outputs.values()):
        if node.op.name == "sigmoid" and node not in kept:
            users = body.users(node)
            if users and all(_multiplies(user, node) for user in users):
                with body.like(node):
                    body.replace(node, ops.gate(node.inputs[0]))


def _multiplies(user: Node, gate: Node) -> bool:
    return user.op.name == "mul" or (user.op.name == "sub" and user.inputs[1] is gate and is_number(user.inputs[0], 1))
