"""dlc evaluate: a file or a run over data that are given, or a run over its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from dlc.runtime.failures import Error

from . import kinds, report
from .options import OUTPUT, Accept, Device, Output


def evaluate(
    file: Annotated[Path, Parameter(help="A .onnx file, or a run folder.")],
    /,
    *,
    data: Annotated[
        Path | None,
        Parameter(
            help="Data with inputs and targets (.npz, .csv, .parquet, .jsonl, a folder). "
            "A run has its own: what it validated on, if it did."
        ),
    ] = None,
    accept: Accept = False,
    device: Device = "auto",
    output: Output = OUTPUT,
) -> None:
    """Loss and metrics over a data set, with dropout off."""
    from dlc.runtime.callbacks import figure
    from dlc.runtime.checkpoint import Run
    from dlc.runtime.own import own_data
    from dlc.runtime.train import Trainer

    from .trained import compiled_file

    kinds.expect(file, "evaluate", kinds.COMPILED, kinds.RUN)
    compiled = compiled_file(file, accept=accept)
    if data is None and not file.is_dir():
        raise Error(
            "E0790",
            "`dlc evaluate` needs data",
            notes=["a run folder knows its own, a .onnx file does not"],
            help=f"dlc evaluate {file} --data FILE",
        )
    trainer = Trainer(compiled, device=device)
    if data is not None:
        found = trainer.evaluate(data)
    else:
        columns, batch, what = own_data(trainer, Run(file))
        report.note(f"note: on {what}: {columns.rows:,} rows")
        found = trainer.evaluate(columns, batch)
    if output.json:
        report.say(json.dumps(dict(found)))
    else:
        for name, value in found.items():
            report.say(f"{name}  {figure(value)}")
