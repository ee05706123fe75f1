"""What takes the place of a cosine for which ONNX Runtime has no kernel: before 1.29 its CPU had none of float64, in
which schedules are computed."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from onnx import ModelProto, helper, numpy_helper

from . import graphs

MISSING = re.compile(r"Could not find an implementation for Cos\(\d+\) node with name '([^']+)'")


def replaced(data: bytes, problem: Exception) -> bytes | None:
    """The model, as bytes, with sin(x + π/2) for the cosine of float64 that `problem`, of making a session, says has no
    kernel; None where it says something else. It differs from the cosine by the rounding of that sum."""
    found = MISSING.search(str(problem))
    if found is None:
        return None
    made = ModelProto()
    made.ParseFromString(data)
    for holder in _holders(made.graph):
        for place, node in enumerate(holder.node):
            if node.op_type == "Cos" and node.name == found[1]:
                quarter, shifted = f"{node.output[0]}/quarter", f"{node.output[0]}/shifted"
                value = numpy_helper.from_array(np.array(math.pi / 2), quarter)
                holder.node.insert(
                    place, helper.make_node("Add", [node.input[0], quarter], [shifted], f"{node.name}/add")
                )
                holder.node.insert(
                    place, helper.make_node("Constant", [], [quarter], f"{node.name}/quarter", value=value)
                )
                node = holder.node[place + 2]
                node.op_type, node.input[0] = "Sin", shifted
                changed: bytes = made.SerializeToString()
                return changed
    return None


def _holders(graph: Any) -> list[Any]:
    """A graph and the bodies within it."""
    return [graph, *(body for node in graphs.nodes(graph) for body in graphs.subgraphs(node))]
