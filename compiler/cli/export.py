"""dlc export"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from dlc.runtime.failures import Error

from . import kinds, report
from .options import OUTPUT, Output


def export(
    file: Annotated[Path, Parameter(help="A .onnx file, or a run folder.")],
    /,
    *,
    inference: Annotated[
        bool, Parameter(help="Keep only the predicting model: no training_info.", show_default=False)
    ] = False,
    metadata: Annotated[
        bool,
        Parameter(
            negative="--no-metadata", help="Keep the metadata of dlc; without them `onnx.compose` merges two files."
        ),
    ] = True,
    out: Annotated[Path | None, Parameter(name=("--output", "-o"), help="File to write.")] = None,
    output: Output = OUTPUT,
) -> None:
    """Write the predicting part of a file alone, as any ONNX tool reads it."""
    if not inference:
        raise Error(
            "E0790", "`dlc export` must be told what to write", help="--inference keeps only the predicting model"
        )
    if out is None:
        raise Error("E0790", "`dlc export` must be told where to write", help="-o NAME.onnx")
    from dlc.runtime.file import CompiledFile

    from ..lower import export_inference
    from .trained import compiled_file

    kinds.expect(file, "export", kinds.COMPILED, kinds.RUN)
    compiled = compiled_file(file, predicts=True)
    made = export_inference(compiled.model, plain=not metadata)
    CompiledFile(made, compiled.name).save(out, sealed=metadata)
    if output.json:
        report.say(json.dumps({"file": str(out), "bytes": out.stat().st_size}))
    else:
        report.note(f"{out}: {out.stat().st_size:,} bytes")
