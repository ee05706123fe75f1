"""The predicting part of a file made smaller: what depends on no input computed once, weights in 8 bits."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from . import graphs
from .data import figure_batch
from .data.source import take
from .failures import Error, plain
from .session import Options, Session, onnxruntime

if TYPE_CHECKING:
    from .train import Trainer

SMALL = 1_024  # bytes of a result that is held in any case
CHANGING = ("key", "step")  # initializers that whoever predicts may write: they say what is drawn
BATCH, CALIBRATED = 64, 512  # rows, at most, in whose predictions ranges are measured
WINDOWED = ("Conv", "ConvTranspose")
MEASURED = (*WINDOWED, "Gemm", "MatMul", "MaxPool", "Relu")  # what keeps its ranges; probabilities stay exact


def folded(model: ModelProto) -> ModelProto:
    """A model that predicts without training_info, in which what depends on no input is a constant: roots of variances
    that are kept, weights that a spec computes from others. Results that are much larger than what they are made of
    (`Expand` of a number) stay computed. Linear in nodes."""
    graph = model.graph
    size = {held.name: held.ByteSize() for held in graph.initializer if held.name not in CHANGING}
    for value in graph.input:
        size.pop(value.name, None)
    outputs = {value.name for value in graph.output}
    constant: list[NodeProto] = []
    for node in graph.node:
        read = list(graphs.reads(node))
        if all(name in size for name in read) and outputs.isdisjoint(node.output) and not _draws(node):
            constant.append(node)
            size.update(dict.fromkeys(node.output, max((size[name] for name in read), default=0)))
    made = {name for node in constant for name in node.output if name}
    held_back = {id(node) for node in constant}
    others = [node for node in graph.node if id(node) not in held_back]
    wanted = list(dict.fromkeys(name for node in others for name in graphs.reads(node) if name in made))
    if not wanted:
        return model
    cut = graphs.inferred(graphs.concatenate(model, None, wanted, ()))  # values in the middle have no type yet
    computed = Session(cut, Options()).run(wanted, {})
    kept = {
        name: np.asarray(array)
        for name, array in zip(wanted, computed, strict=True)
        if array.dtype.kind != "O" and array.nbytes <= max(SMALL, size[name])
    }
    result = ModelProto()
    result.CopyFrom(model)
    taken = graphs.names(graph)
    renamed = {name: graphs.fresh(f"constant/{name}", taken) for name in kept}
    of_kept = {id(node) for node in constant if any(name in kept for name in node.output)}
    nodes = [node for node, own in zip(result.graph.node, graph.node, strict=True) if id(own) not in of_kept]
    for node in nodes:
        graphs.rename(node, renamed)
    nodes = graphs.needed(nodes, outputs)
    copies = [node.SerializeToString() for node in nodes]
    del result.graph.node[:]
    for data in copies:
        result.graph.node.add().ParseFromString(data)
    result.graph.initializer.extend(graphs.tensor(renamed[name], array) for name, array in kept.items())
    there = {name for node in result.graph.node for name in node.output}
    declared = [value for value in result.graph.value_info if value.name in there]
    del result.graph.value_info[:]
    result.graph.value_info.extend(declared)
    return result


def _draws(node: NodeProto) -> bool:
    return node.op_type.startswith(("Random", "Multinomial", "Bernoulli", "Dropout"))


def quantised(model: ModelProto, rows: Iterable[Mapping[str, np.ndarray]] | None = None) -> ModelProto:
    """A model with weights in 8 bits, by ONNX Runtime's quantizer. With `rows` (what to feed, batch after batch) the
    ranges of activations are measured in predictions of these and stay (static, QDQ); without them each prediction
    finds them in its own batch (dynamic), so that its rows are no longer apart. Raises `Error` E0808."""
    convolves = any(node.op_type in WINDOWED for node in model.graph.node)
    quiet, level, runs = logging.getLogger(), logging.getLogger().level, onnxruntime()
    tools: Any = import_module("onnxruntime.quantization")
    with TemporaryDirectory() as folder:
        target = Path(folder) / "quantised.onnx"
        try:
            quiet.setLevel(logging.CRITICAL)
            runs.set_default_logger_severity(4)
            if rows is None:  # ConvInteger has a kernel for weights without a sign only
                kind = tools.QuantType.QUInt8 if convolves else tools.QuantType.QInt8
                tools.quantize_dynamic(model, target, weight_type=kind)
            else:
                reader = _Rows(rows)
                how = {"quant_format": tools.QuantFormat.QDQ, "per_channel": convolves}
                tools.quantize_static(model, target, reader, op_types_to_quantize=list(MEASURED), **how)
        except Error:  # of the rows, which are read while it runs
            raise
        except Exception as problem:  # whatever the quantizer meets
            raise Error(
                "E0808",
                "ONNX Runtime's quantizer cannot take this model",
                notes=[plain(" ".join(str(problem).split()))[:300]],
                help="export it without --int8",
            ) from None
        finally:
            quiet.setLevel(level)
            runs.set_default_logger_severity(2)  # as it comes
        made = onnx.load(target)
        try:  # it may write what it cannot load itself
            options = runs.SessionOptions()
            options.log_severity_level = 4
            runs.InferenceSession(str(target), options, providers=["CPUExecutionProvider"])
        except Exception as problem:
            raise Error(
                "E0808",
                "ONNX Runtime cannot load what its quantizer made of this model",
                notes=[plain(" ".join(str(problem).split()))[:300]],
                help="export it without --data, which quantises otherwise, or without --int8"
                if rows is not None
                else "export it without --int8",
            ) from None
    if not any(held.data_type in (TensorProto.INT8, TensorProto.UINT8) for held in made.graph.initializer):
        raise Error(
            "E0808",
            "there is nothing in this model that ONNX Runtime's quantizer takes",
            notes=["it quantises products and convolutions with weights that are constants"],
            help="export it without --int8; --fold computes weights that are made of others",
        )
    return made


class _Rows:
    """What the quantizer asks for batches."""

    def __init__(self, rows: Iterable[Mapping[str, np.ndarray]]) -> None:
        self.rows = iter(rows)

    def get_next(self) -> dict[str, np.ndarray] | None:
        found = next(self.rows, None)
        return None if found is None else dict(found)


def calibration(trainer: Trainer, data: object) -> Iterator[dict[str, np.ndarray]]:
    """What to feed to the predicting graph for the first rows of data, batch after batch; cells of a table as the graph
    takes them. Raises `Error` E06xx."""
    predictor, table = trainer.predictor, trainer.file.table
    needed, count = predictor.needed(), CALIBRATED
    arrays: dict[str, np.ndarray] = {}
    if needed:
        columns = trainer.columns(data, needed)
        arrays, count = dict(columns.arrays), min(columns.rows, CALIBRATED)
    if table is not None:
        cells, _ = table.load(data, needed, trainer.file.settings.get("columns"))
        arrays.update((name, np.asarray(cells[name])) for name in table.made if name in arrays)
    size = figure_batch(predictor.fields) or min(BATCH, count)
    for first in range(0, count - size + 1, size):
        rows = slice(first, first + size)
        part: Mapping[str, Any] = {
            one.name: arrays[one.name] if one.rows is None else take(arrays[one.name], one.rows, rows) for one in needed
        }
        if predictor.drawer is not None:
            part = predictor.drawer.complete(part, "the data", size, np.array(first, np.uint64))
        yield dict(part)


def judged(whole: ModelProto, made: ModelProto) -> ModelProto:
    """A model that predicts as `made` does, with the evaluation of the `whole` that it was made of: what that reads and
    `made` no longer has is computed as before."""
    result = ModelProto()
    result.CopyFrom(whole)
    result.graph.CopyFrom(made.graph)
    result.functions.extend(made.functions)
    known = {entry.domain for entry in whole.opset_import}
    result.opset_import.extend(entry for entry in made.opset_import if entry.domain not in known)
    there = _given(result.graph)
    wanted = [name for info in whole.training_info for node in info.algorithm.node for name in graphs.reads(node)]
    missing = [name for name in dict.fromkeys(wanted) if name not in there]
    nodes = graphs.needed([n for n in whole.graph.node if there.isdisjoint(n.output)], missing)
    read = {*missing, *(name for node in nodes for name in graphs.reads(node))}
    result.graph.node.extend(nodes)
    rounded = {node.output[0]: node.input[0] for node in made.graph.node if node.op_type == "QuantizeLinear"}
    read_as = {
        rounded[node.input[0]]: node.output[0]
        for node in made.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in rounded
    }
    for info in result.training_info:  # what it reads is what the next layer reads
        for node in info.algorithm.node:
            graphs.rename(node, read_as)
    for held in whole.graph.initializer:
        if held.name in read and held.name not in there:
            result.graph.initializer.add().CopyFrom(held)
    return result


def _given(graph: GraphProto) -> set[str]:
    made = {name for node in graph.node for name in node.output}
    return made | {value.name for value in graph.input} | {held.name for held in graph.initializer}
