"""dlc predict"""

from __future__ import annotations

import csv
import io
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter
from dlc.runtime.failures import Error
from dlc.runtime.written import write

from . import kinds, report
from .options import OUTPUT, Device, Output, Whole, check_seed, positive

Arrays = Mapping[str, "np.ndarray[tuple[int, ...], np.dtype[np.generic]]"]


def predict(
    file: Annotated[Path, Parameter(help="A .onnx file, or a run folder.")],
    /,
    *,
    data: Annotated[
        Path | None,
        Parameter(help="The model's inputs (.npz, .csv, .parquet, .jsonl, a folder); none where all are drawn."),
    ] = None,
    rows: Annotated[Whole | None, Parameter(help="Rows to draw, if no data say how many.")] = None,
    seed: Annotated[
        Whole | None, Parameter(help="Seed of what is drawn. Default: different numbers in each call.")
    ] = None,
    out: Annotated[
        Path | None, Parameter(name=("--output", "-o"), help="NAME.npz or NAME.csv. Default: CSV to stdout.")
    ] = None,
    members: Annotated[
        bool, Parameter(help="Of an ensemble each member's outputs too, NAME.members.", show_default=False)
    ] = False,
    device: Device = "auto",
    output: Output = OUTPUT,
) -> None:
    """Compute the outputs of a file for rows of data."""
    from dlc.runtime.train import Trainer

    from .trained import compiled_file

    if seed is not None:
        check_seed(seed)
    positive("rows", rows)
    if out is not None and out.suffix.lower() not in (".npz", ".csv"):
        raise Error(
            "E0799",
            f"predictions are not written as `{out.name}`",
            notes=["endings are .npz, .csv"],
            help=f"-o {out.stem or 'predictions'}.npz",
        )
    kinds.expect(file, "predict", kinds.COMPILED, kinds.RUN)
    trainer = Trainer(compiled_file(file, predicts=True), device=device)
    seed = secrets.randbits(63) if seed is None else seed
    made: Arrays = trainer.predict({} if data is None else data, rows=rows, seed=seed, members=members)
    if out is None:
        if output.json:
            report.say(json.dumps({name: array.tolist() for name, array in made.items()}))
        else:
            report.data(table(made))
        return
    write(out, table(made) if out.suffix.lower() == ".csv" else packed(made))
    if output.json:
        report.say(json.dumps({"file": str(out), "outputs": {name: list(array.shape) for name, array in made.items()}}))
    else:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in made.items())
        report.note(f"{out}: {shapes}")


def packed(made: Arrays) -> bytes:
    """The arrays as an .npz file."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **made)
    return buffer.getvalue()


def table(made: Arrays) -> str:
    """A row of CSV for each row of data; an output of several values a row is NAME0, NAME1, ..."""
    columns: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]] = {}
    made = {name: np.moveaxis(a, 0, 1) if name.endswith(".members") and a.ndim > 1 else a for name, a in made.items()}
    rows = max((len(array) for array in made.values() if array.ndim), default=1)
    for name, array in made.items():
        if array.ndim == 0 or len(array) != rows:
            array = np.broadcast_to(array, (rows, *array.shape))
        flat = array.reshape(rows, -1)
        single = array.ndim == 1
        columns.update({name if single else f"{name}{i}": flat[:, i] for i in range(flat.shape[1])})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    return text.getvalue()
