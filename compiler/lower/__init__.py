"""The last stage: a Module becomes one standard ONNX model (docs/file-format.md says how it is laid out)."""

from __future__ import annotations

import json
from collections.abc import Callable

from dlc.runtime import graphs
from dlc.runtime.left import Left, whole
from onnx import ModelProto, StringStringEntryProto, defs

from ..defaults import ELEMENTS
from ..diagnostics import InternalError
from ..ir.module import Module
from .columns import columns
from .kernels import OPSET
from .metadata import metadata, version
from .model import main_graph, start_values
from .training import owners, training_info

IR_VERSION = 10

__all__ = ["IR_VERSION", "OPSET", "export_inference", "lower", "lowered", "serialize", "sources"]


def lower(module: Module, precision: str = "float32", seed: int = 0) -> ModelProto:
    """What `lowered` gives, with all start values."""
    return whole(*lowered(module, precision, seed))


def lowered(
    module: Module, precision: str = "float32", seed: int = 0, said: str | None = None
) -> tuple[ModelProto, Left]:
    """The model of a Module after all passes: the main graph predicts, `training_info` trains; and what makes the start
    values that it leaves out, since they are large (`start.LONG`).

    precision: one of ELEMENTS; seed: that of the start values which the initializers hold; said: the precision that
    the file says it has, where products have another.
    CompileError E0810 when ONNX Runtime lacks a kernel, E0350 when a size has no source, E0290 when two
    things have one name.
    """
    if precision not in ELEMENTS:
        raise InternalError(f"precision {precision!r} is none of {', '.join(ELEMENTS)}")

    start = start_values(module, seed)
    model = ModelProto(ir_version=IR_VERSION, producer_name="dlc", producer_version=version())
    model.opset_import.add(domain="", version=OPSET)
    owned = owners(module)
    shared = [path for path, turn in owned.items() if turn is None]
    emitter = main_graph(model.graph, module, precision, start, shared)
    for turn in range(max(len(module.turns), 1) if module.trains else 0):
        training_info(model.training_info.add(), module, emitter, start, seed, owned, turn)
    columns(model, module, precision)
    model.metadata_props.extend(
        StringStringEntryProto(key=key, value=value) for key, value in metadata(module, said or precision).items()
    )
    parts = [(None, model.graph), *((turn, info.algorithm) for turn, info in enumerate(model.training_info))]
    left = {
        (part, held.name): start.left[part or 0, held.name]
        for part, graph in parts
        for held in graph.initializer
        if (part or 0, held.name) in start.left
    }
    return model, left


def serialize(model: ModelProto) -> bytes:
    """The bytes of the file: the same for the same model, in every process."""
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def export_inference(
    model: ModelProto, *, plain: bool = False, shrunk: Callable[[ModelProto], ModelProto] | None = None
) -> ModelProto:
    """The predicting model alone: no training_info, no metadata about it, and no result that only training reads.

    `plain`: no metadata of dlc at all, so that `onnx.compose` merges two such models. `shrunk`: what more is done to
    its graph (runtime/smaller.py); parameters that are then gone are not in the signature.
    """
    kept = ModelProto()
    kept.CopyFrom(model)
    del kept.training_info[:]
    _without_unread(kept)
    there = _without_unheld(kept)
    if shrunk is not None:
        kept = shrunk(kept)
        there = _without_unheld(kept)
    infos = model.training_info
    only_trained = {held.name for info in infos for held in (*model.graph.initializer, *info.algorithm.initializer)}
    only_trained -= there
    props = {entry.key: entry.value for entry in kept.metadata_props if entry.key != "dlc.evaluate"}
    if "dlc.signature" in props and only_trained:
        said = json.loads(props["dlc.signature"])
        for what in ("parameters", "states"):
            said[what] = [entry for entry in said.get(what, ()) if entry["name"] not in only_trained]
        props["dlc.signature"] = json.dumps(said, ensure_ascii=False)
    if plain:
        props = {key: value for key, value in props.items() if not key.startswith("dlc.")}
        for node in graphs.nodes(kept.graph):
            others = [entry for entry in node.metadata_props if not entry.key.startswith("dlc.")]
            del node.metadata_props[:]
            node.metadata_props.extend(others)
    del kept.metadata_props[:]
    kept.metadata_props.extend(StringStringEntryProto(key=key, value=value) for key, value in props.items())
    return kept


def _without_unheld(model: ModelProto) -> set[str]:
    """Takes away the initializers that several training parts share and no output needs. Those that stay."""
    read = {name for node in model.graph.node for name in graphs.reads(node)}
    read.update(value.name for value in model.graph.output)
    held = [tensor for tensor in model.graph.initializer if tensor.name in read]
    if len(held) < len(model.graph.initializer):
        kept = [tensor.SerializeToString() for tensor in held]
        del model.graph.initializer[:]
        for data in kept:
            model.graph.initializer.add().ParseFromString(data)
    return {tensor.name for tensor in held}


def _without_unread(model: ModelProto) -> None:
    """Takes away the optional results of nodes that nothing in the model reads: float16 converters and others take
    them for a mistake."""
    nodes = list(graphs.nodes(model.graph))
    read = {name for node in nodes for name in graphs.reads(node)}
    read.update(value.name for value in model.graph.output)
    for node in nodes:
        for body in graphs.subgraphs(node):
            read.update(value.name for value in body.output)
    versions = graphs.opsets(model)
    gone: set[str] = set()
    for node in nodes:
        if len(node.output) < 2 or not defs.has(node.op_type, node.domain):
            continue
        formal = defs.get_schema(node.op_type, versions.get(node.domain, 1), node.domain).outputs
        for number, name in enumerate(node.output):
            optional = number < len(formal) and formal[number].option == defs.OpSchema.FormalParameterOption.Optional
            if name and name not in read and optional:
                node.output[number] = ""
                gone.add(name)
        while not node.output[-1]:
            del node.output[-1]
    declared = [value for value in model.graph.value_info if value.name not in gone]
    del model.graph.value_info[:]
    model.graph.value_info.extend(declared)


def sources(model: ModelProto) -> dict[str, str]:
    """The texts a file was compiled from by name, the spec first; empty for a file that dlc did not write."""
    for entry in model.metadata_props:
        if entry.key == "dlc.sources":
            held = json.loads(entry.value)
            main, files = held["main"], held["files"]
            return {main: files[main], **{name: text for name, text in files.items() if name != main}}
    return {}
