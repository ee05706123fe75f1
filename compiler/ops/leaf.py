"""Values that come from outside the graph: constants, inputs, variables, the seed, sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir import op
from ..ir.graph import Array, Graph, Node
from ..ir.op import NONE, NUMPY, define, free, no_gradient
from ..ir.types import Dim, Size, TensorType


def _fed(*arrays: Array, **attrs: Any) -> Array:
    raise KeyError(f"no value was given for {attrs}")


def _named(out: Any, node: Node) -> str:
    """Leaves are named by whoever writes the graph, before any node is written."""
    raise KeyError(f"{node} has no name in this graph")


constant = define(
    "constant",
    infer=lambda value, dtype: TensorType(dtype, value.shape),
    grad=no_gradient(0),
    jvp=NONE,
    cost=free,
    lower=lambda out, node: out.constant(node.attrs["value"], node.attrs["dtype"]),
    reference=lambda value, dtype: value.astype(NUMPY[dtype]),
    samples=None,
)
input_ = define(  # a column of the data: attrs name, type
    "input",
    infer=lambda name, type: type,
    grad=no_gradient(0),
    jvp=NONE,
    lower=_named,
    reference=_fed,
    samples=None,
    cost=free,
    finite=True,
)
variable = define(  # a parameter or state at the beginning of the step: attrs path, type
    "variable",
    infer=lambda path, type: type,
    grad=no_gradient(0),
    jvp=NONE,
    lower=_named,
    reference=_fed,
    samples=None,
    cost=free,
    finite=True,
)
seed = define(  # the user's seed, in the graph that makes start values
    "seed",
    infer=lambda: TensorType("key", ()),
    grad=no_gradient(0),
    jvp=NONE,
    lower=_named,
    reference=_fed,
    samples=None,
    cost=free,
    finite=True,
)
size = define(  # the number that a free dimension has when the file runs: attr dim
    "size",
    infer=lambda dim: TensorType("int", ()),
    grad=no_gradient(0),
    jvp=NONE,
    cost=free,
    lower=lambda out, node: out.size(node.attrs["dim"]),
    reference=lambda dim: np.asarray(dim, np.int64),
    samples=None,
    finite=True,
)


def make_input(graph: Graph, name: str, type: TensorType) -> Node:
    node = graph.inputs[name] = graph.add(input_, (), {"name": name, "type": type})
    return node


def make_variable(graph: Graph, path: str, type: TensorType) -> Node:
    return graph.add(variable, (), {"path": path, "type": type})


def make_size(graph: Graph, dim: Size) -> Node:
    """A size as an int scalar: a constant if it is a number."""
    if isinstance(dim, Dim):
        return graph.add(size, (), {"dim": dim})
    return op.constant(graph, dim, "int")
