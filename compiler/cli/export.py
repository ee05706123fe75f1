"""dlc export"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from dlc.runtime.failures import Error

from . import kinds, report
from .options import OUTPUT, Output

if TYPE_CHECKING:
    from dlc.runtime.file import CompiledFile
    from dlc.runtime.train import Trainer
    from onnx import ModelProto


def export(
    file: Annotated[Path, Parameter(help="A .onnx file, or a run folder.")],
    /,
    *,
    inference: Annotated[
        bool, Parameter(help="Keep only the predicting model: no training_info.", show_default=False)
    ] = False,
    fold: Annotated[
        bool, Parameter(help="The same, and compute once what depends on no input.", show_default=False)
    ] = False,
    int8: Annotated[
        bool, Parameter(help="The same, with weights in 8 bits, by ONNX Runtime's quantizer.", show_default=False)
    ] = False,
    data: Annotated[
        Path | None,
        Parameter(help="With --int8: data to measure ranges of values in, and the metrics before and after."),
    ] = None,
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
    if not (inference or fold or int8):
        raise Error(
            "E0790", "`dlc export` must be told what to write", help="--inference keeps only the predicting model"
        )
    if out is None:
        raise Error("E0790", "`dlc export` must be told where to write", help="-o NAME.onnx")
    if data is not None and not int8:
        raise Error("E0790", "`--data` of `dlc export` is for `--int8`", help="leave it out, or add --int8")
    from dlc.runtime.file import CompiledFile
    from dlc.runtime.smaller import calibration, folded, quantised
    from dlc.runtime.train import Trainer

    from ..lower import export_inference
    from .trained import compiled_file

    kinds.expect(file, "export", kinds.COMPILED, kinds.RUN)
    compiled = compiled_file(file, predicts=True)
    trainer = Trainer(compiled, "cpu") if data is not None else None

    def shrunk(model: ModelProto) -> ModelProto:
        model = folded(model) if fold or int8 else model
        return quantised(model, calibration(trainer, data) if trainer is not None else None) if int8 else model

    made = export_inference(compiled.model, plain=not metadata, shrunk=shrunk)
    record: dict[str, Any] = {"file": str(out)}
    if trainer is not None and trainer.file.parts and trainer.file.ensemble is None:
        record["before"], record["after"] = _compared(compiled, made, trainer, data)
    elif trainer is not None:
        why = "the file has no training part" if not trainer.file.parts else "an ensemble is evaluated by its members"
        report.note(f"note: {why}, so no metrics are compared")
    CompiledFile(made, compiled.name).save(out, sealed=metadata)
    record["bytes"] = out.stat().st_size
    if output.json:
        report.say(json.dumps(record))
        return
    if "before" in record:
        report.show(
            [("", False), ("before", True), ("after", True)],
            [(name, f"{value:.6g}", f"{record['after'][name]:.6g}") for name, value in record["before"].items()],
        )
    report.note(f"{out}: {record['bytes']:,} bytes")


def _compared(
    file: CompiledFile, made: ModelProto, trainer: Trainer, data: Path | None
) -> tuple[dict[str, float], dict[str, float]]:
    """The metrics over the data, of the file and of what is written of it."""
    from dlc.runtime.file import CompiledFile
    from dlc.runtime.smaller import judged
    from dlc.runtime.train import Trainer

    after = Trainer(CompiledFile(judged(file.model, made), file.name, check=False), "cpu", start="file")
    before, found = trainer.evaluate(data), after.evaluate(data)
    return tuple(  # type: ignore[return-value]
        {name: float(value) for name, value in figures.items() if not getattr(value, "shape", ())}
        for figures in (before, found)
    )
