"""Numbers that are not finite: whether state has any, and where the first one of a step came from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, helper, numpy_helper

from . import graphs
from .buffers import in_words, is_finite
from .data import Columns
from .failures import Error
from .file import CompiledFile, Part
from .session import onnxruntime
from .state import Stepper, promoted

SHOWN = 8  # rows that are named


def refused(file: CompiledFile, stepper: Stepper, batch: Mapping[str, np.ndarray], step: int) -> Error:
    """Takes the last step, number `step` on `batch`, back. Gives `Error` E0670, which says what is no finite number
    and at which line of the spec it became so."""
    figures = stepper.read()
    at = stepper.unsound(figures) or 0
    name, value = (stepper.figures[at], figures[at]) if stepper.figures else ("loss", 0.0)
    spoilt = stepper.spoilt()
    after = None if spoilt is None else stepper.word(spoilt)
    stepper.undo()
    before = stepper.spoilt()
    notes, where = [], None
    if math.isfinite(value) and spoilt is not None and after is not None:
        message = f"`{spoilt}` is {after} at step {step}, after a finite loss"
    else:
        message = f"`{name}` is {in_words(np.array(value))} at step {step}"
    if before is not None:
        where = _reader(file, stepper, before)
        notes = [f"`{before}` is {stepper.word(before)} since an earlier update"]
    else:
        found = None
        with suppress(Exception):  # this is help on the way to an error: it must not put another in its place
            found = _origin(file, stepper, batch, name, None if math.isfinite(value) else value, spoilt)
        if found is not None:
            node, tensor, array = found
            where = graphs.source(node) or None
            shape = f" {list(array.shape)}" if array.ndim else ""
            notes = [f"first in `{tensor}`{shape}, which {node.op_type} made {in_words(array)}"]
            notes += _rows(array, batch)
    help = "a smaller learning rate, clipping (`clip: global_norm(1.0)`) or a stable form of the loss"
    if file.metadata.get("dlc.precision") == "float16":
        notes.append("products are of float16, which ends at 65,504")
        help = f"`--precision bfloat16`, which ends where float32 does; or {help}"
    return Error("E0670", message, where=where or file.name, notes=notes, help=help)


def blamed(
    file: CompiledFile,
    stepper: Stepper,
    check: Callable[[Mapping[str, Any]], Columns],
    batch: Mapping[str, Any],
    step: int,
) -> Error:
    """The same for data that nobody has looked at closely yet: raises what `check` has against them, the step taken
    back, before the numbers of the step are blamed."""
    try:
        columns = check(batch)
    except Error:
        stepper.undo()
        raise
    return refused(file, stepper, columns.arrays, step)


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
    nodes, values = everything(Opened(file, part, [target]), stepper, batch)
    return _first(nodes, values, target)


def _first(
    nodes: Sequence[NodeProto], values: Mapping[str, np.ndarray], target: str
) -> tuple[NodeProto, str, np.ndarray]:
    """The node that made the first number that is not finite on the way to a value: one whose operands are finite. In
    a scan that of its body, in the first iteration that has one."""
    made = {name: node for node in nodes for name in node.output if name}
    at = target
    while True:
        node = made[at]
        infinite = [name for name in graphs.reads(node) if name in made and _counts(node, name, values)]
        if not infinite:
            inner = None
            if node.op_type == "Scan":
                with suppress(Exception):  # of a body that cannot be run by itself: the scan is named
                    inner = _within(node, values)
            return inner or (node, at, values[at])
        # Where NaN goes in it is what comes out; infinities only make one where there was none.
        at = next((name for name in infinite if np.isnan(values[name]).any()), infinite[0])


def _counts(node: NodeProto, name: str, values: Mapping[str, np.ndarray]) -> bool:
    """Whether an operand has what is not finite; that of a `Where` in what it is chosen for."""
    if is_finite(values[name]):
        return False
    if node.op_type != "Where" or name == node.input[0]:
        return True
    chosen = values.get(node.input[0])
    if chosen is None:
        return True
    sides = [(chosen, node.input[1]), (~chosen, node.input[2])]
    return any(bool((~np.isfinite(values[name]) & side).any()) for side, one in sides if one == name)


def _rows(array: np.ndarray, batch: Mapping[str, np.ndarray]) -> list[str]:
    """Which rows of the batch have what is not finite, where the value has a row for each."""
    counts = Counter(len(one) for one in batch.values() if one.ndim)
    rows = counts.most_common(1)[0][0] if counts else 0
    if rows < 2 or not array.ndim or len(array) != rows:
        return []
    bad = np.flatnonzero(~np.isfinite(array).reshape(rows, -1).all(axis=1)).tolist()
    if len(bad) == rows:
        return [f"in all {rows} rows of the batch"]
    shown = ", ".join(map(str, bad[:SHOWN])) + (f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else "")
    return [f"in row{'s' if len(bad) > 1 else ''} {shown} of the batch, counted from 0"]


def _within(scan: NodeProto, values: Mapping[str, np.ndarray]) -> tuple[NodeProto, str, np.ndarray] | None:
    """The same inside a scan: in the first iteration that makes what is not finite."""
    body = Body(scan, values)
    for made in body.turns(values):
        bad = next((name for name in body.finals if not is_finite(made[name])), None)
        if bad is not None:
            return _first(body.nodes, made, bad)
    return None


class Body:
    """The body of a scan, to be run by itself: iteration by iteration, with all values as outputs."""

    def __init__(self, scan: NodeProto, values: Mapping[str, np.ndarray]) -> None:
        given = {one.name: one for one in scan.attribute}
        body, count = given["body"].g, given["num_scan_inputs"].i
        held = len(scan.input) - count
        self.nodes, self.finals = list(body.node), [value.name for value in body.output]
        self.state, self.slices = list(scan.input[:held]), list(scan.input[held:])
        self.axes = list(given["scan_input_axes"].ints) if "scan_input_axes" in given else [0] * count
        self.turned = list(given["scan_input_directions"].ints) if "scan_input_directions" in given else [0] * count
        self.outer = [name for name in dict.fromkeys(graphs.free_names(body)) if name in values]
        self.inputs = [value.name for value in body.input]
        names = [name for node in body.node for name in node.output if name]
        self.wanted = list(dict.fromkeys([*names, *self.finals]))
        model = ModelProto(ir_version=10)
        model.opset_import.add(domain="", version=21)
        model.graph.CopyFrom(body)
        known = {value.name for value in model.graph.output}
        model.graph.output.extend(ValueInfoProto(name=name) for name in dict.fromkeys(names) if name not in known)
        model.graph.input.extend(
            helper.make_tensor_value_info(name, graphs.element_of(array.dtype), [None] * array.ndim)
            for name in self.outer
            for array in [values[name]]
        )
        self.session = _plain(model)

    def turns(self, values: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        """All values of each iteration, and those around the scan."""
        outer = {name: values[name] for name in self.outer}
        state = [np.asarray(values[name]) for name in self.state]
        slices = [np.asarray(values[name]) for name in self.slices]
        length = slices[0].shape[self.axes[0]] if slices else 0
        for turn in range(length):
            parts = [
                np.take(array, length - 1 - turn if back else turn, axis=axis)
                for array, axis, back in zip(slices, self.axes, self.turned, strict=True)
            ]
            feeds = {**outer, **dict(zip(self.inputs, [*state, *parts], strict=True))}
            found = dict(zip(self.wanted, _run(self.session, self.wanted, feeds), strict=True))
            yield {**outer, **feeds, **found}
            state = [found[name] for name in self.finals[: len(state)]]


class Opened:
    """A session of what some values of a part need, with all values on the way as outputs."""

    def __init__(self, file: CompiledFile, part: Part, targets: Sequence[str]) -> None:
        targets = list(dict.fromkeys(targets))
        self.part, self.model = part, file.step(part, targets, promoted(file, part.index))
        graph = self.model.graph
        self.names = [name for node in graph.node for name in node.output if name]
        graph.output.extend(ValueInfoProto(name=name) for name in self.names if name not in targets)
        self.session = _plain(self.model)
        self.held = {one.name: numpy_helper.to_array(one) for one in graph.initializer}


def everything(
    opened: Opened, stepper: Stepper, batch: Mapping[str, np.ndarray]
) -> tuple[list[NodeProto], dict[str, np.ndarray]]:
    """The nodes, and what each of them makes of a batch and the present state."""
    graph, feeds = opened.model.graph, dict[str, Any]()
    for value in graph.input:
        slot = stepper.state.name(opened.part.index, value.name)
        feeds[value.name] = stepper.state.read(slot) if slot is not None else {**opened.held, **batch}[value.name]
    made = dict(zip(opened.names, _run(opened.session, opened.names, feeds), strict=True))
    return list(graph.node), {**opened.held, **feeds, **made}


def _plain(model: ModelProto) -> Any:
    """A session on the CPU that computes every node as it stands."""
    module = onnxruntime()
    options = module.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = module.GraphOptimizationLevel.ORT_DISABLE_ALL
    return module.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _run(session: Any, names: Sequence[str], feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Values by name; of one that is no tensor nothing."""
    ort = onnxruntime().OrtValue
    own = {one.name for one in session.get_inputs()}
    given = {
        name: ort.ortvalue_from_numpy(np.ascontiguousarray(array).reshape(array.shape))
        for name, array in feeds.items()
        if name in own
    }
    made = session.run_with_ort_values(list(names), given)
    return [np.asarray(one.numpy()) if one.is_tensor() else np.zeros(0) for one in made]
