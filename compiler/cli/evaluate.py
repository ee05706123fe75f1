"""dlc evaluate: a file or a run over data that are given, or a run over its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter
from dlc.runtime.callbacks import figure
from dlc.runtime.failures import Error

from . import kinds, report
from .options import OUTPUT, Accept, Device, Output

Array = np.ndarray[tuple[int, ...], np.dtype[np.generic]]


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
    from dlc.runtime.checkpoint import Run
    from dlc.runtime.own import own_data
    from dlc.runtime.train import Trainer

    from .trained import compiled_file

    kinds.expect(file, "evaluate", kinds.COMPILED, kinds.RUN)
    compiled = compiled_file(file, accept=accept)
    trainer = Trainer(compiled, device=device)
    drawn = bool(compiled.parts) and not trainer.evaluator.fields  # all that an evaluation reads
    if data is None and not drawn and not file.is_dir():
        raise Error(
            "E0790",
            "`dlc evaluate` needs data",
            notes=["a run folder knows its own, a .onnx file does not"],
            help=f"dlc evaluate {file} --data FILE",
        )
    if data is not None:
        found = trainer.evaluate(data)
    elif drawn:
        report.note("note: on rows that are drawn, of a batch")
        found = trainer.evaluate({})
    else:
        columns, batch, what = own_data(trainer, Run(file))
        report.note(f"note: on {what}: {columns.rows:,} rows")
        found = trainer.evaluate(columns, batch)
    if output.json:
        report.say(
            json.dumps({name: value if isinstance(value, float) else value.tolist() for name, value in found.items()})
        )
    else:
        for name, value in found.items():
            for line in [f"{name}  {figure(value)}"] if isinstance(value, float) else [name, *table(value)]:
                report.say(line)


def table(values: Array) -> list[str]:
    """Lines of a table, its rows and columns numbered from 0; of more than two dimensions one table after another."""
    if values.ndim > 2:
        return [line for i, part in enumerate(values) for line in (f"[{i}]", *table(part))]
    rows = np.atleast_2d(values)
    cells = [[str(int(x)) if float(x).is_integer() else figure(float(x), 4) for x in row] for row in rows]
    lines = [["", *map(str, range(rows.shape[1]))], *([str(i), *row] for i, row in enumerate(cells))]
    if values.ndim == 1:
        lines = [line[1:] for line in lines]
    width = max((len(cell) for line in lines for cell in line), default=0)
    return ["  " + "  ".join(f"{cell:>{width}}" for cell in line) for line in lines]
