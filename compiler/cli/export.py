"""dlc export"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from dlc.runtime.failures import Error

from . import report
from .options import OUTPUT, Output


def export(
    file: Annotated[Path, Parameter(help="A .onnx file, or a run folder.")],
    /,
    *,
    inference: Annotated[
        bool, Parameter(help="Keep only the predicting model: no training_info.", show_default=False)
    ] = False,
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

    compiled = compiled_file(file, predicts=True)
    CompiledFile(export_inference(compiled.model), compiled.name).save(out)
    if output.json:
        report.say(json.dumps({"file": str(out), "bytes": out.stat().st_size}))
    else:
        report.note(f"{out}: {out.stat().st_size:,} bytes")
