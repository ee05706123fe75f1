"""dlc compile"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from dlc.runtime.written import write

from . import kinds, report
from .options import COMPILATION, OUTPUT, Compilation, Output

if TYPE_CHECKING:
    from onnx import ModelProto

Stage = Literal["tokens", "syntax", "graph", "simplified", "gradient", "optimized", "nodes", "onnx"]


def compile(
    spec: Annotated[Path, Parameter(help="A .dl spec.")],
    /,
    *,
    out: Annotated[
        Path | None, Parameter(name=("--output", "-o"), help="File to write. Default: NAME.onnx here.")
    ] = None,
    emit: Annotated[Stage, Parameter(help="The stage to write; all but onnx are text, for reading.")] = "onnx",
    compilation: Compilation = COMPILATION,
    output: Output = OUTPUT,
) -> None:
    """Write the .onnx file of a spec: it predicts in ONNX runtimes and holds its own training step."""
    kinds.expect(spec, "compile", kinds.SPEC)
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
    made, size = _made(program.model_proto()), target.stat().st_size
    if output.json:
        report.say(json.dumps({"model": program.name, "file": str(target), "nodes": made, "bytes": size}))
    else:
        report.note(f"{target}: {program.name}, {made:,} nodes, {size:,} bytes")


def _made(model: ModelProto) -> int:
    """How many nodes a file has: what predicts and what trains, bodies of loops included."""
    from dlc.runtime.graphs import nodes

    graphs = [model.graph, *(info.algorithm for info in model.training_info)]
    return sum(1 for graph in graphs for _ in nodes(graph))


def _text(spec: Path, stage: Stage, compilation: Compilation, output: Output) -> str:
    """A stage of the compiler as text."""
    if stage in ("tokens", "syntax"):
        from ..syntax.parser import parse, read_source, tokens
        from . import tree

        source = read_source(spec)
        return tree.show(parse(source)) if stage == "syntax" else tree.show_tokens(tokens(source))
    if stage == "nodes":
        from . import nodes

        return nodes.show(compilation.program(spec, output).model_proto())
    return compilation.module(spec, output, stage).graph.text()
