"""dlc compile"""
from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from . import report
from .files import write
from .options import COMPILATION, OUTPUT, Compilation, Output

Stage = Literal["syntax", "graph", "gradient", "optimized", "onnx"]


def compile(
    spec: Annotated[Path, Parameter(help="A .dl spec.")], /, *,
    out: Annotated[Path | None, Parameter(name=("--output", "-o"), help="Where to. Default: NAME.onnx here.")] = None,
    emit: Annotated[Stage, Parameter(help="The stage to write; all but onnx are text, for reading.")] = "onnx",
    compilation: Compilation = COMPILATION, output: Output = OUTPUT,
) -> None:
    """Write the .onnx file of a spec: it predicts anywhere and holds its own training step."""
    if emit != "onnx":
        text = _text(spec, emit, compilation, output)
        if out is None:
            report.data(text)
        else:
            write(out, text)
        return
    program = compilation.program(spec, output)
    target = out or Path(f"{compilation.model or spec.stem}.onnx")
    program.save(target)
    if output.json:
        report.say(json.dumps({"model": program.name, "file": str(target), "bytes": target.stat().st_size}))
    else:
        report.note(f"{target}: {program.name}, {target.stat().st_size:,} bytes")


def _text(spec: Path, stage: Stage, compilation: Compilation, output: Output) -> str:
    """A stage of the compiler as text."""
    if stage == "syntax":
        from ..syntax.parser import parse, read_source
        from .tree import show

        return show(parse(read_source(spec)))
    return compilation.module(spec, output, stage).graph.text()
