"""Numbers that are not finite: whether state has any, and where the first one of a step came from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, ValueInfoProto, numpy_helper

from . import graphs
from .failures import Error
from .file import CompiledFile, Part
from .session import onnxruntime
from .state import Stepper, is_finite, promoted


def refused(file: CompiledFile, stepper: Stepper, batch: Mapping[str, np.ndarray], step: int) -> Error:
    """Takes the last step, number `step` on `batch`, back. Gives `Error` E0670, which says what is no finite number
    and at which line of the spec it became so."""
    figures = stepper.read()
    at = stepper.unsound(figures) or 0
    name, value = (stepper.figures[at], figures[at]) if stepper.figures else ("loss", 0.0)
    spoilt = stepper.spoilt()
    after = None if spoilt is None else stepper.state.read(spoilt)
    stepper.undo()
    before = stepper.spoilt()
    notes, where = [], None
    if math.isfinite(value) and spoilt is not None and after is not None:
        message = f"`{spoilt}` is {_word(after)} at step {step}, after a finite loss"
    else:
        message = f"`{name}` is {_word(np.array(value))} at step {step}"
    if before is not None:
        where = _reader(file, stepper, before)
        notes = [f"`{before}` is {_word(stepper.state.read(before))} since an earlier update"]
    else:
        found = None
        with suppress(Exception):  # this is help on the way to an error: it must not put another in its place
            found = _origin(file, stepper, batch, name, None if math.isfinite(value) else value, spoilt)
        if found is not None:
            node, tensor, array = found
            where = graphs.source(node) or None
            shape = f" {list(array.shape)}" if array.ndim else ""
            notes = [f"first in `{tensor}`{shape}, which {node.op_type} made {_word(array)}"]
    return Error(
        "E0670",
        message,
        where=where or file.name,
        notes=notes,
        help="a smaller learning rate, clipping (`clip: global_norm(1.0)`) or a stable form of the loss",
    )


def _word(array: np.ndarray) -> str:
    return "NaN" if bool(np.isnan(array).any()) else "infinite"


def _reader(file: CompiledFile, stepper: Stepper, name: str) -> str | None:
    """The line that reads a tensor of state first."""
    slot = stepper.state.slots[name]
    steps: list[GraphProto] = [file.main, *(part.algorithm for part in stepper.parts)]
    readers = (node for graph in steps for node in graph.node if slot.tensor in graphs.reads(node))
    return next((line for node in readers if (line := graphs.source(node))), None)


def _origin(
    file: CompiledFile,
    stepper: Stepper,
    batch: Mapping[str, np.ndarray],
    figure: str,
    value: float | None,
    spoilt: str | None,
) -> tuple[NodeProto, str, np.ndarray] | None:
    """The node that made the first number that is not finite on the way to a figure, or else to a tensor of state;
    the name of what it made, and that. Runs the step once more with every value as an output."""
    if value is not None:
        found = next(
            ((part, figure) for part in stepper.parts if any(out.name == figure for out in part.algorithm.output)), None
        )
    else:
        slot = stepper.state.slots[spoilt or ""]
        found = next(((part, part.updates[slot.tensor]) for part in stepper.parts if slot.tensor in part.updates), None)
    if found is None:
        return None
    part, target = found
    nodes, values = _everything(file, part, stepper, batch, target)
    made = {name: node for node in nodes for name in node.output if name}
    at = target
    while True:
        node = made[at]
        infinite = [name for name in graphs.reads(node) if name in made and not is_finite(values[name])]
        if not infinite:
            return node, at, values[at]
        # Where NaN goes in it is what comes out; infinities only make one where there was none.
        at = next((name for name in infinite if np.isnan(values[name]).any()), infinite[0])


def _everything(
    file: CompiledFile, part: Part, stepper: Stepper, batch: Mapping[str, np.ndarray], target: str
) -> tuple[list[NodeProto], dict[str, np.ndarray]]:
    """The nodes that `target` needs, and what each of them makes."""
    model = graphs.concatenate(file.model, part.algorithm, [target], promoted(file, part.index))
    names = [name for node in model.graph.node for name in node.output if name]
    model.graph.output.extend(ValueInfoProto(name=name) for name in names if name != target)
    module = onnxruntime()
    options = module.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = module.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = module.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    held = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    feeds: dict[str, Any] = {}
    for value in model.graph.input:
        slot = stepper.state.name(part.index, value.name)
        array = stepper.state.read(slot) if slot is not None else {**held, **batch}[value.name]
        feeds[value.name] = module.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array).reshape(array.shape))
    made = session.run_with_ort_values(names, feeds)
    return list(model.graph.node), {
        name: np.asarray(one.numpy()) if one.is_tensor() else np.zeros(0) for name, one in zip(names, made, strict=True)
    }
