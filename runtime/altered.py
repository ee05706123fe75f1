"""Files that another tool has changed: what can no longer be trained, which tool leaves such files, and the way out.

A tool that knows nothing of `training_info` changes the main graph and leaves training out, or carries it along as it
was. The main graph then predicts, as changed; what does not need training works, and what does is refused.
"""

from __future__ import annotations

from onnx import ModelProto, TensorProto

from . import checksum, graphs, structure
from .failures import Error

ON_PURPOSE = (
    "if a tool changed it on purpose, dlc check FILE.onnx --accept writes its new checksum; to take it as it stands: "
    "dlc train or dlc evaluate with --accept, dlc.load(FILE, accept=True)"
)
GOES_ON = (
    "predict, summary, decompile and export --inference work on it; train the file as dlc wrote it, and give the tool "
    "what `dlc export --inference` writes of that"
)


def staleness(model: ModelProto, name: str, *, state: bool = True) -> Error | None:
    """Holds a model to its checksum and its digest, where it has them (`state`: its state too): None where it is as it
    was written, and why it cannot be trained (E0758, E0759) where another tool has changed its graphs.

    Raises `Error` E0714, and E0755 for what looks like damage: other values, or one node of all another.
    """
    if not checksum.wrong(model, state=state):
        return None
    was = structure.noted(model, name)
    wrong = checksum.wrong(model, state=state, ir=was.ir if was else None)
    if not wrong:
        return None
    change = structure.change(model, was) if was is not None and "content" not in wrong else None
    if change is None or change.slight:
        raise Error(
            "E0755",
            "the file is not as it was written: it is damaged, or another tool has changed it",
            where=name,
            notes=[
                f"its {' and its '.join(wrong)} differ from the checksum `{checksum.KEY}`",
                *(change.notes if change is not None else ()),
            ],
            help=f"use an intact copy; {ON_PURPOSE}",
        )
    notes = [*change.notes, cause(model)]
    if not model.training_info:
        return Error(
            "E0759",
            "another tool has changed this file, and left its training part out",
            where=name,
            notes=notes,
            help=GOES_ON,
        )
    return Error(
        "E0758",
        "another tool has changed this file, and its training part no longer fits",
        where=name,
        notes=notes,
        help=f"{GOES_ON}; {ON_PURPOSE}",
    )


def explained(problem: Error, model: ModelProto) -> Error:
    """A fault of the training part alone, with where it is likely to come from and a way out."""
    return Error(
        problem.code,
        problem.message,
        where=problem.where,
        notes=[*problem.notes, cause(model)],
        help=problem.help or GOES_ON,
    )


def cause(model: ModelProto) -> str:
    """Which tool leaves such a file, as far as it shows."""
    operators = {node.op_type for node in model.graph.node}
    imports = {entry.domain for entry in model.opset_import}
    if model.producer_name == "onnx.quantize" or operators & {"QuantizeLinear", "DynamicQuantizeLinear"}:
        return "it looks like the work of a quantizer, which changes the main graph alone"
    if any(held.data_type == TensorProto.FLOAT16 for held in model.graph.initializer):
        return "it looks like the work of a float16 converter, which changes the main graph alone"
    if "com.microsoft.nchwc" in imports:
        return "it looks like what ONNX Runtime saves (optimized_model_filepath), which optimizes the main graph alone"
    if graphs.opsets(model).get("") != 21:
        return "it looks like the work of a version converter, which knows the main graph alone"
    return (
        "quantizers, float16 and version converters, onnxslim, onnxsim, and ONNX Runtime's saved models change the "
        "main graph alone, and leave training as it was or out"
    )
