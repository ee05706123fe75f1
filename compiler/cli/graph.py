"""dlc graph"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from . import kinds, report
from .files import write
from .options import COMPILATION, OUTPUT, Compilation, Output


def graph(
    spec: Annotated[Path, Parameter(help="A .dl spec.")],
    /,
    *,
    out: Annotated[
        Path | None, Parameter(name=("--output", "-o"), help="NAME.svg, .html or .dot. Default: NAME.svg here.")
    ] = None,
    stage: Annotated[
        Literal["graph", "step", "predict"], Parameter(help="graph: the model as written; predict and step: what runs.")
    ] = "graph",
    compilation: Compilation = COMPILATION,
    output: Output = OUTPUT,
) -> None:
    """Draw the graph of a spec: nested by layer, with the shapes on the edges."""
    from ..view.picture import content, draw

    kinds.expect(spec, "graph", kinds.SPEC)
    target = out or Path(f"{spec.stem}.svg")
    picture = draw(compilation.module(spec, output, "graph" if stage == "graph" else "optimized"), stage)
    write(target, content(picture, target))
    if output.json:
        counts = {"boxes": picture.number_of_nodes(), "arrows": picture.number_of_edges()}
        report.say(json.dumps({"file": str(target), **counts}))
    else:
        report.note(f"{target}: {picture.number_of_nodes():,} boxes")
