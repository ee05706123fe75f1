"""Element types of a file: how a dtype of the graph is held in a file of some precision."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from onnx import TensorProto, ValueInfoProto

from ..ir.types import Dim, TensorType

# ONNX element type and array type of every dtype a file holds.
ELEMENT = {
    "float32": (TensorProto.FLOAT, np.dtype(np.float32)),
    "float64": (TensorProto.DOUBLE, np.dtype(np.float64)),
    "float16": (TensorProto.FLOAT16, np.dtype(np.float16)),
    "bfloat16": (TensorProto.BFLOAT16, np.dtype(ml_dtypes.bfloat16)),
    "int32": (TensorProto.INT32, np.dtype(np.int32)),
    "int64": (TensorProto.INT64, np.dtype(np.int64)),
    "uint32": (TensorProto.UINT32, np.dtype(np.uint32)),
    "uint64": (TensorProto.UINT64, np.dtype(np.uint64)),
    "bool": (TensorProto.BOOL, np.dtype(np.bool_)),
}
BY_NUMBER = {number: name for name, (number, _) in ELEMENT.items()}
NUMPY = {array: name for name, (_, array) in ELEMENT.items()}
_FIXED = {"int": "int64", "bool": "bool", "key": "uint64"}


def element(dtype: str, precision: str) -> str:
    """The element type in the file of a dtype of the graph ("float" is the file's precision)."""
    return precision if dtype == "float" else _FIXED.get(dtype, dtype)


def tensor(name: str, value: Any, dtype: str) -> TensorProto:
    """A TensorProto of an element type; values beyond its range become infinite as IEEE 754 says."""
    number, array_type = ELEMENT[dtype]
    with np.errstate(over="ignore"):
        array = np.asarray(value).astype(array_type)
    return TensorProto(name=name, data_type=number, dims=array.shape, raw_data=array.tobytes())


def value_info(name: str, type: TensorType, precision: str) -> ValueInfoProto:
    """The declaration of an input or output; a size that is not a number is a dim_param of its text."""
    info = ValueInfoProto(name=name)
    declared = info.type.tensor_type
    declared.elem_type = ELEMENT[element(type.dtype, precision)][0]
    declared.shape.SetInParent()
    for size in type.shape:
        dim = declared.shape.dim.add()
        if isinstance(size, Dim):
            dim.dim_param = str(size)
        else:
            dim.dim_value = size
    return info
