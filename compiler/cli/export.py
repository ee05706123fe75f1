"""dlc export"""
from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from dlc.runtime.failures import Error

from . import report
from .options import Output

if TYPE_CHECKING:
    from dlc.runtime.file import CompiledFile

KEPT = ("dlc.format", "dlc.language", "dlc.compiler", "dlc.model", "dlc.precision", "dlc.trained")


def export(
    file: Annotated[Path, Parameter(help="A .onnx file, or a run folder.")], /, *,
    inference: Annotated[
        bool, Parameter(help="Leave the predicting model alone: no training_info, no spec.", show_default=False)
    ] = False,
    out: Annotated[Path | None, Parameter(name=("--output", "-o"), help="Where to.")] = None,
    output: Output = Output(),
) -> None:
    """Write the predicting part of a file alone, as any ONNX tool reads it."""
    if not inference:
        raise Error("E0790", "`dlc export` must be told what to write", help="--inference is the predicting model alone")
    if out is None:
        raise Error("E0790", "`dlc export` must be told where to write", help="-o NAME.onnx")
    from .trained import compiled_file

    predicting(compiled_file(file)).save(out)
    if output.json:
        print(json.dumps({"file": str(out), "bytes": out.stat().st_size}))
    else:
        report.note(f"{out}: {out.stat().st_size:,} bytes")


def predicting(file: CompiledFile) -> CompiledFile:
    """The main graph alone, with the metadata that is about it."""
    from onnx import ModelProto

    from dlc.runtime.file import CompiledFile

    model = ModelProto()
    model.CopyFrom(file.model)
    del model.training_info[:]
    kept = [(entry.key, entry.value) for entry in model.metadata_props if entry.key in KEPT]
    held = {initializer.name for initializer in model.graph.initializer}
    signature = {
        name: [entry for entry in value if entry.get("name") in held] if name in ("parameters", "states") else value
        for name, value in file.signature.items() if name != "targets"
    }
    del model.metadata_props[:]
    if signature:
        kept.append(("dlc.signature", json.dumps({**signature, "targets": []}, sort_keys=True)))
    for key, value in kept:
        model.metadata_props.add(key=key, value=value)
    return CompiledFile(model, file.name)
