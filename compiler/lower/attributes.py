"""The attributes of ONNX nodes: how they are written, and what makes two nodes the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import AttributeProto, numpy_helper

from ..diagnostics import InternalError
from ..ir.graph import Array


def repeatable(op_type: str, inputs: Sequence[str], attributes: Mapping[str, Any]) -> Any:
    """What a node is, to find its equal; None where an attribute has no key, and for the copy that a root needs."""
    if op_type == "Identity":
        return None
    values = []
    for name, value in attributes.items():
        if isinstance(value, np.ndarray | np.generic):
            return None
        values.append((name, tuple(value) if isinstance(value, list) else value))
    return (op_type, tuple(inputs), *values)


def set_attribute(proto: AttributeProto, name: str, value: Any) -> None:
    proto.name = name
    if isinstance(value, bool | int | np.integer):
        proto.type, proto.i = AttributeProto.INT, int(value)
    elif isinstance(value, float):
        proto.type, proto.f = AttributeProto.FLOAT, value
    elif isinstance(value, str):
        proto.type, proto.s = AttributeProto.STRING, value.encode()
    elif isinstance(value, np.ndarray | np.generic):
        array: Array = np.asarray(value)
        proto.type = AttributeProto.TENSOR
        proto.t.CopyFrom(numpy_helper.from_array(array))
    elif all(isinstance(item, int | np.integer) for item in value):
        proto.type = AttributeProto.INTS
        proto.ints.extend(int(item) for item in value)
    elif all(isinstance(item, float) for item in value):
        proto.type = AttributeProto.FLOATS
        proto.floats.extend(value)
    else:
        raise InternalError(f"attribute {name} = {value!r} has no ONNX form")
