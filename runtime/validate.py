"""The strict validator of a file with `training_info`, ours or foreign.

ONNX's own checker and shape inference do not look into the field. Here the two graphs of a step are put together
and go through both; then names, bindings and what our format promises are checked. One code for each kind of fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import prod

import onnx
from onnx import GraphProto, ModelProto, TensorProto, TrainingInfoProto, ValueInfoProto

from . import graphs, metadata
from .columns import verify
from .failures import Error
from .file import CompiledFile, Part
from .metadata import RESERVED
from .state import figure_names

LARGE = 1 << 12  # bytes; no tensor that decides a shape is larger
OPSET, IR = 21, 10  # of files of ours
DEFAULT = ("", "ai.onnx")
Type = tuple[int, graphs.Shape | None]


def validate(file: CompiledFile) -> None:
    """Raises `Error` E0714, E0718 to E0738 for the first fault of a file. Every load and `dlc check` call it."""
    model = file.model
    _check_opset(file)
    for graph, what in _all_graphs(model):
        _check_tensors(file, graph, what)
    _check_values(file, model.graph, None)
    for part in file.parts:
        _check_order(file, part)
        if file.ours:
            _check_reserved(file, part)
    _infer(file, graphs.whole(model, None, LARGE), "E0718", "the main graph")
    for part, info in zip(file.parts, model.training_info, strict=True):
        _check_values(file, model.graph, part)
        start = _initialization(file, part)
        _check_duplicates(file, info)
        _check_bindings(file, part)
        where = f"the step of training_info[{part.index}] (main graph and algorithm)"
        step = _infer(file, graphs.whole(model, part.algorithm, LARGE), "E0719", where)
        _check_types(file, part, step, start)
    if file.ours:
        _check_promises(file)


def _fault(code: str, file: CompiledFile, message: str, *notes: str, help: str | None = None) -> Error:
    return Error(code, message, where=file.name, notes=notes, help=help)


def _all_graphs(model: ModelProto) -> Iterator[tuple[GraphProto, str]]:
    yield model.graph, "the main graph"
    for index, info in enumerate(model.training_info):
        yield info.algorithm, f"the algorithm of training_info[{index}]"
        yield info.initialization, f"the initialization of training_info[{index}]"


def _check_opset(file: CompiledFile) -> None:
    versions = graphs.opsets(file.model)
    opset = versions.get("", versions.get("ai.onnx"))
    if opset is None:
        raise _fault(
            "E0731",
            file,
            "the file does not say which opset of ONNX it uses",
            "expected an opset_import of the default domain",
        )
    if not file.ours or not file.parts:  # what predicts only may be anything that ONNX Runtime loads
        return
    if opset != OPSET or file.model.ir_version > IR:
        raise _fault(
            "E0731",
            file,
            "the file has another opset or IR version than dlc writes",
            f"found opset {opset}, IR {file.model.ir_version}",
            f"expected opset {OPSET}, IR {IR}",
        )
    foreign = sorted(domain for domain in versions if domain not in DEFAULT)
    nodes = (node for graph, _ in _all_graphs(file.model) for node in graph.node)
    foreign += [node.domain for node in nodes if node.domain not in DEFAULT]
    if foreign:
        raise _fault(
            "E0732",
            file,
            f"the file uses operators of the domain `{foreign[0]}`",
            "files of dlc hold standard operators only",
            help="compile the spec again",
        )


def _check_tensors(file: CompiledFile, graph: GraphProto, what: str) -> None:
    """Whether each tensor holds as many values as its shape and type say, in the one field that it should."""
    for tensor in graphs.tensors(graph):
        name = f"the tensor `{tensor.name}` of {what}"
        try:
            dtype = graphs.dtype_of(tensor.data_type)
        except KeyError:
            unknown = f"its element type {tensor.data_type} is unknown"
            raise _fault("E0738", file, f"{name} is broken", unknown) from None
        if any(size < 0 for size in tensor.dims):
            raise _fault("E0738", file, f"{name} is broken", f"its shape is {list(tensor.dims)}")
        if prod(tensor.dims) > 2**48 or len(tensor.dims) > 64:
            raise _fault(
                "E0738",
                file,
                f"{name} is broken",
                f"its shape is {list(tensor.dims)[:8]}",
                "no tensor can have so many values or dimensions",
            )
        held = graphs.held(tensor)
        wanted = graphs.holds(tensor, dtype)
        if held != wanted:
            raise _fault(
                "E0738",
                file,
                f"{name} is broken",
                f"found {_counts(held)}",
                f"expected {_counts(wanted)} for {dtype} {list(tensor.dims)}",
            )


def _counts(held: dict[str, int]) -> str:
    words = (f"{n:,} {'bytes' if field == 'raw_data' else f'values in {field}'}" for field, n in held.items())
    return " and ".join(words) or "no data"


def _defined(graph: GraphProto) -> list[str]:
    """Names of the values that a graph defines, one for each definition."""
    held = [tensor.name for tensor in graph.initializer] + [graphs.sparse_name(t) for t in graph.sparse_initializer]
    known = set(held)
    names = held + [value.name for value in graph.input if value.name not in known]  # an input may have a default
    return names + [name for node in graph.node for name in node.output if name]


def _check_values(file: CompiledFile, main: GraphProto, part: Part | None) -> None:
    names = _defined(main) + (_defined(part.algorithm) if part else [])
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        where = f"main graph and algorithm of training_info[{part.index}]" if part else "main graph"
        raise _fault(
            "E0721",
            file,
            f"two values are called `{twice[0]}` in {where}",
            "names are unique over the two graphs of a step",
        )


def _check_order(file: CompiledFile, part: Part) -> None:
    """The algorithm reads the main graph, never the other way round."""
    own, later = set(_defined(file.main)), set(_defined(part.algorithm))
    for node in file.main.node:
        for name in graphs.reads(node):
            if name in later and name not in own:
                raise _fault(
                    "E0722",
                    file,
                    f"the main graph reads `{name}`, a value of the algorithm",
                    f"the node `{node.name or node.op_type}` reads it",
                    help="the main graph must work without training_info",
                )


def _infer(file: CompiledFile, model: ModelProto, code: str, what: str) -> dict[str, Type]:
    """Types of all values, after the ordinary checker and strict shape inference have passed."""
    try:
        onnx.checker.check_model(model)
        # Without data propagation: it follows each element of integer vectors, so that the counters of a draw of
        # four million numbers take half a minute. What it leaves unknown agrees with anything.
        inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as problem:
        lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
        raise _fault(code, file, f"{what} is not valid ONNX", *lines[:3]) from None
    graph = inferred.graph
    found = {tensor.name: (tensor.data_type, tuple(tensor.dims)) for tensor in graph.initializer}
    return {**{v.name: _type(v) for values in (graph.input, graph.value_info, graph.output) for v in values}, **found}


def _type(value: ValueInfoProto) -> Type:
    return value.type.tensor_type.elem_type, graphs.shape_of(value)


def _initialization(file: CompiledFile, part: Part) -> dict[str, Type]:
    graph = part.initialization
    if graph is None or not (graph.node or graph.output or graph.input):
        return {}
    needed = graphs.inputs(graph)
    if needed:
        raise _fault(
            "E0723",
            file,
            f"the initialization of training_info[{part.index}] has inputs",
            f"found the input `{needed[0].name}`",
            "start values come from nothing but its own initializers",
        )
    model = graphs.whole(graphs.standalone(file.model, graph), None, LARGE)
    return _infer(file, model, "E0720", f"the initialization of training_info[{part.index}]")


def _check_duplicates(file: CompiledFile, info: TrainingInfoProto) -> None:
    for what, bindings in (("update", info.update_binding), ("initialization", info.initialization_binding)):
        twice = [key for key, count in Counter(entry.key for entry in bindings).items() if count > 1]
        if twice:
            raise _fault(
                "E0726",
                file,
                f"`{twice[0]}` is bound twice in {what}_binding",
                "each state has one next value and one start value",
            )


def _check_bindings(file: CompiledFile, part: Part) -> None:
    held = {tensor.name for graph in (file.main, part.algorithm) for tensor in graph.initializer}
    made = {value.name for value in part.algorithm.output}
    for key, value in part.updates.items():
        if key not in held:
            raise _fault(
                "E0724",
                file,
                f"update_binding names `{key}`, which is not an initializer",
                "a key is an initializer of the main graph or of the algorithm",
            )
        if value not in made:
            raise _fault(
                "E0725", file, f"update_binding takes `{value}` for `{key}`, which is not an output of the algorithm"
            )
    made = {value.name for value in part.initialization.output} if part.initialization else set()
    for key, value in part.initials.items():
        if key not in held:
            raise _fault(
                "E0728",
                file,
                f"initialization_binding names `{key}`, which is not an initializer",
                "a key is an initializer of the main graph or of the algorithm",
            )
        if value not in made:
            message = (
                f"initialization_binding takes `{value}` for `{key}`, which is not an output of the initialization"
            )
            raise _fault("E0729", file, message)


def _check_types(file: CompiledFile, part: Part, step: dict[str, Type], start: dict[str, Type]) -> None:
    for code, bindings, types, what in (
        ("E0727", part.updates, step, "next"),
        ("E0730", part.initials, start, "start"),
    ):
        for key, value in bindings.items():
            if not _agree(step[key], types[value]):
                raise _fault(
                    code,
                    file,
                    f"`{key}` and its {what} value `{value}` differ in type or shape",
                    f"`{key}` is {_shown(step[key])}",
                    f"`{value}` is {_shown(types[value])}",
                )


def _agree(state: Type, made: Type) -> bool:
    if state[0] != made[0]:
        return False
    if state[1] is None or made[1] is None:
        return True
    return len(state[1]) == len(made[1]) and all(
        a == b for a, b in zip(state[1], made[1], strict=True) if isinstance(a, int) and isinstance(b, int)
    )


def _shown(found: Type) -> str:
    try:
        name = str(graphs.dtype_of(found[0]))
    except KeyError:
        name = f"type {found[0]}"
    return f"{name} of any shape" if found[1] is None else f"{name} [{', '.join(str(d) for d in found[1])}]"


# --- what docs/file-format.md promises of files of ours


def _check_promises(file: CompiledFile) -> None:
    for key in ("dlc.settings", "dlc.signature", *(("dlc.evaluate",) if file.parts else ())):
        if key not in file.metadata:
            raise _fault("E0714", file, f"the metadata `{key}` is missing", help="compile the spec again")
    named = {value.name for value in file.main.output}
    for entry in file.signature.outputs:
        if entry.name not in named:
            raise _fault(
                "E0714",
                file,
                f"the metadata `dlc.signature` names an output `{entry.name}`",
                "the main graph has none of that name",
            )
    for one in (
        "settings",
        "sources",
        "supplied",
        "evaluation",
        "columns",
        "updates",
        "turns",
        "stages",
    ):  # what is of the wrong kind is said at once
        getattr(file, one)
    if file.parts and len(file.turns) != len(file.parts):
        found = f"found {len(file.turns)}, and {len(file.parts)} training_infos"
        raise _fault("E0714", file, "the metadata `dlc.turns` does not have one entry for each training_info", found)
    if file.parts and (sum(len(stage.parts) for stage in file.stages) != len(file.parts) or not all(
        stage.parts for stage in file.stages
    )):  # fmt: skip
        raise _fault("E0714", file, "the passes of the metadata `dlc.blocks` are not as many as the training_infos")
    for part, turn in zip(file.parts, file.turns, strict=False):
        outputs = list(part.algorithm.output)
        first = outputs[0] if outputs else None
        wanted = turn.loss or "loss"
        if first is None or first.name != wanted or graphs.shape_of(first) != ():
            raise _fault(
                "E0734",
                file,
                f"the first output of training_info[{part.index}] is not the loss",
                f"found {f'`{first.name}`' if first else 'no output'}",
                f"expected the scalar `{wanted}`",
            )
    _check_evaluation(file)
    if file.columns is not None:
        verify(file)


def _check_reserved(file: CompiledFile, part: Part) -> None:
    for held in part.algorithm.initializer:
        if held.name in RESERVED:
            wanted = TensorProto.UINT64 if held.name == "key" else TensorProto.INT64
            if held.data_type != wanted or list(held.dims):
                found = _shown((held.data_type, tuple(held.dims)))
                raise _fault(
                    "E0736",
                    file,
                    f"the state `{held.name}` has the wrong type",
                    f"found {found}",
                    f"expected {_shown((wanted, ()))}",
                )


def _check_evaluation(file: CompiledFile) -> None:
    plan = file.evaluation
    if plan is None or not file.parts:  # an exported inference file may keep the metadata
        return
    outputs = {value.name for part in file.parts for value in part.algorithm.output}
    totals = {tensor.name for part in file.parts for tensor in part.algorithm.initializer}
    scalars = {name for part in file.parts for name in figure_names(part, "evaluate/train/")}
    train = plan.train or metadata.Epoch()
    for one in (*plan.parts, *train.parts):
        hows = ("mean", "sum", "min", "max") if one in train.parts else ("sum", "min", "max")
        if (
            one.part not in outputs
            or one.total not in totals
            or one.reduce not in hows
            or (one in train.parts and one.part not in scalars)
        ):
            raise _fault(
                "E0737",
                file,
                f"`dlc.evaluate` does not fit the graph: the part `{one.part}`",
                f"total `{one.total}`, reduce `{one.reduce}`",
            )
    for name, output in (*plan.values.items(), *train.values.items()):
        if output not in outputs:
            raise _fault(
                "E0737",
                file,
                f"`dlc.evaluate` does not fit the graph: the value `{name}`",
                f"`{output}` is not an output of the algorithm",
            )
