"""Numbers of 16 bits: what a product of a file of half precision reads and gives."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from ..ir.graph import Array, Node
from ..ir.op import NUMPY, define, free, linear
from ..ir.types import TensorType, TypeProblem

TYPES = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}


def _infer(x: TensorType, kind: str) -> TensorType:
    if x.dtype != "float":
        raise TypeProblem("E0301", "a float is rounded", {0: f"this is `{x}`"})
    return x


def _lower(out: Any, node: Node, x: str) -> str:
    """Two conversions, which ONNX Runtime keeps: what lies between them is what 16 bits hold."""
    kind = node.attrs["kind"]
    return str(out.cast(out.cast(x, kind), "float"))


def _reference(x: Array, kind: str) -> Array:
    return x.astype(np.float32).astype(TYPES[kind]).astype(NUMPY["float"])


rounded = define(  # the nearest number of 16 bits, infinite beyond the greatest; attr kind: "float16" | "bfloat16"
    "rounded",
    infer=_infer,
    grad=lambda g, y, x, kind: [g],
    jvp=linear,
    lower=_lower,
    reference=_reference,
    samples=None,
    cost=free,
)
