"""dlc evaluate"""
from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from . import report
from .options import OUTPUT, Device, Output


def evaluate(
    file: Annotated[Path, Parameter(help="A .onnx file, or a run folder.")], /, *,
    data: Annotated[Path, Parameter(help="An .npz or .csv file with inputs and targets.")],
    device: Device = "auto", output: Output = OUTPUT,
) -> None:
    """Loss and metrics over a data set, with dropout off."""
    from dlc.runtime.train import Trainer

    from .trained import compiled_file

    found = Trainer(compiled_file(file), device=device).evaluate(data)
    if output.json:
        report.say(json.dumps(dict(found)))
    else:
        for name, value in found.items():
            report.say(f"{name}  {value:.6g}")
