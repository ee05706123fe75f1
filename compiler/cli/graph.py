"""dlc graph"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from dlc.runtime.failures import Error
from dlc.runtime.written import write

from . import kinds, report
from .options import COMPILATION, OUTPUT, Compilation, Output

if TYPE_CHECKING:
    from ..ir.module import Module
    from ..view.outline import Measured


def graph(
    spec: Annotated[Path, Parameter(help="A .dl spec, a .onnx file or a run folder.")],
    /,
    *,
    out: Annotated[
        Path | None,
        Parameter(
            name=("--output", "-o"),
            help="NAME.svg, .pdf, .png, .tex (TikZ), .html, .dot or .mmd (Mermaid). Default: NAME.svg here.",
        ),
    ] = None,
    view: Annotated[
        Literal["forward", "backward", "update", "step", "predict", "graph"],
        Parameter(
            name=("--view", "--stage"),
            help="forward (or graph): the model as written; backward: its gradients; update: what becomes of them; "
            "step: all three; predict: what runs for the outputs.",
        ),
    ] = "forward",
    depth: Annotated[str, Parameter(help="How many levels of layers are opened; all: every operation.")] = "0",
    only: Annotated[str | None, Parameter(help="Only layers with such a path: `block[0].*`.")] = None,
    values: Annotated[
        bool, Parameter(help="Of a run: say on each box what its values are on the run's own data.", show_default=False)
    ] = False,
    data: Annotated[
        Path | None, Parameter(help="Of a run or a .onnx file: say on each box what its values are on these data.")
    ] = None,
    style: Annotated[Literal["colour", "print"], Parameter(help="print: black on white, for paper.")] = "colour",
    compilation: Compilation = COMPILATION,
    output: Output = OUTPUT,
) -> None:
    """Draw the graph of a model: a box for each layer, with the shapes on the arrows."""
    from ..view.layout import content, kind_of
    from ..view.picture import WRITTEN_VIEWS, draw

    kinds.expect(spec, "graph", kinds.SPEC, kinds.COMPILED, kinds.RUN)
    levels = _levels(depth)
    target = out or Path(f"{spec.stem}.svg")
    kind_of(target)
    if target.suffix.lower() == ".html":
        if style != "colour":
            help = "-o NAME.svg; a page is printed black on white by the browser"
            raise Error("E0790", "`--style` is for pictures", help=help)
        _page(compilation, spec, output, target, view, levels, only, (values, data))
        return
    if values or data is not None:
        raise Error("E0790", "values are shown on a page: pictures have none", help="-o NAME.html")
    stage = "graph" if view in WRITTEN_VIEWS else "optimized" if view == "predict" else "gradient"
    picture = draw(compilation.module(spec, output, stage), view, levels, only)
    write(target, content(picture, target, style))
    if output.json:
        counts = {"boxes": picture.number_of_nodes(), "arrows": picture.number_of_edges()}
        report.say(json.dumps({"file": str(target), **counts}))
    else:
        report.note(f"{target}: {picture.number_of_nodes():,} boxes")


def _page(
    compilation: Compilation,
    spec: Path,
    output: Output,
    target: Path,
    view: str,
    depth: int | None,
    only: str | None,
    asked: tuple[bool, Path | None],
) -> None:
    """Writes a page of all views, which opens with that one."""
    from ..pipeline import differentiate
    from ..view.page import page
    from ..view.picture import WRITTEN_VIEWS, expect

    if only is not None:
        raise Error(
            "E0790", "`--only` is for pictures: a page has the whole model", help="search in it, or -o NAME.svg"
        )
    written = compilation.module(spec, output)
    expect(written, view)
    opens, levels = "forward" if view in WRITTEN_VIEWS else view, 99 if depth is None else depth
    measured, on, derived = None, "", written  # which is drawn before it is differentiated
    if any(asked):
        derived = compilation.module(spec, output, "gradient", quiet=True) if written.trains else written
        measured, on = _measured(spec, written, derived, asked)

    def derive() -> Module:
        if derived is written:
            differentiate(written, compilation.max_nodes)
        return derived

    text = page(written, derive, opens, levels, measured, on)
    write(target, text)
    if output.json:
        report.say(json.dumps({"file": str(target), "bytes": len(text.encode())}))
    else:
        report.note(f"{target}: {len(text.encode()):,} bytes")


def _measured(spec: Path, written: Module, derived: Module, asked: tuple[bool, Path | None]) -> tuple[Measured, str]:
    """What was measured of a run or a compiled file, and on what."""
    from dlc.runtime.checkpoint import Run
    from dlc.runtime.own import own_data
    from dlc.runtime.train import Trainer

    from ..reports.measured import measured
    from .trained import compiled_file

    _, data = asked
    if kinds.kind_of(spec) == kinds.SPEC:
        help = f"dlc train {spec}, then dlc graph RUN -o NAME.html --values"
        raise Error("E0790", "values are those of a trained file or a run", help=help)
    if data is None and not spec.is_dir():
        raise Error("E0790", "`--values` is for runs: a .onnx file knows no data", help="--data FILE")
    trainer = Trainer(compiled_file(spec, quiet=True))
    if data is not None:
        fields = trainer.evaluator.fields if trainer.file.parts else trainer.predictor.fields
        columns, on = trainer.columns(data, fields), str(data)
    else:
        columns, _, on = own_data(trainer, Run(spec))
    modules = [written] if derived is written else [written, derived]
    return measured(trainer, modules, columns), on


def _levels(depth: str) -> int | None:
    if depth == "all":
        return None
    if not depth.isdecimal() or len(depth) > 9:
        raise Error(
            "E0790",
            "`--depth` takes an integer, not negative, or `all`",
            notes=[f"found {depth}"],
            help="`--depth 1` opens the layers",
        )
    return int(depth)
