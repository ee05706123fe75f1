"""The last stage: a Module becomes one standard ONNX model (docs/file-format.md says how it is laid out)."""

from __future__ import annotations

import json

from onnx import ModelProto, StringStringEntryProto

from ..defaults import PRECISIONS
from ..diagnostics import InternalError
from ..ir.module import Module
from .kernels import OPSET
from .metadata import metadata, version
from .model import main_graph, start_values
from .training import training_info

IR_VERSION = 10

__all__ = ["IR_VERSION", "OPSET", "export_inference", "lower", "serialize", "sources"]


def lower(module: Module, precision: str = "float32", seed: int = 0) -> ModelProto:
    """The model of a Module after all passes: the main graph predicts, `training_info` trains.

    precision: one of PRECISIONS; seed: that of the start values which the initializers hold.
    CompileError E0810 when ONNX Runtime lacks a kernel, E0350 when a size has no source, E0290 when two
    things have one name.
    """
    if precision not in PRECISIONS:
        raise InternalError(f"precision {precision!r} is none of {', '.join(PRECISIONS)}")

    start = start_values(module, seed)
    model = ModelProto(ir_version=IR_VERSION, producer_name="dlc", producer_version=version())
    model.opset_import.add(domain="", version=OPSET)
    emitter = main_graph(model.graph, module, precision, start)
    if module.trains:
        training_info(model.training_info.add(), module, emitter, start, seed)
    model.metadata_props.extend(
        StringStringEntryProto(key=key, value=value) for key, value in metadata(module, precision).items()
    )
    return model


def serialize(model: ModelProto) -> bytes:
    """The bytes of the file: the same for the same model, in every process."""
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def export_inference(model: ModelProto) -> ModelProto:
    """The predicting model alone: no training_info, and no metadata about it."""
    kept = ModelProto()
    kept.CopyFrom(model)
    del kept.training_info[:]
    for index in reversed(range(len(kept.metadata_props))):
        if kept.metadata_props[index].key == "dlc.evaluate":
            del kept.metadata_props[index]
    return kept


def sources(model: ModelProto) -> dict[str, str]:
    """The texts a file was compiled from by name, the spec first; empty for a file that dlc did not write."""
    for entry in model.metadata_props:
        if entry.key == "dlc.sources":
            held = json.loads(entry.value)
            main, files = held["main"], held["files"]
            return {main: files[main], **{name: text for name, text in files.items() if name != main}}
    return {}
