"""dlc report: runs as a page. (`report.py` is what prints.)"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from dlc.runtime.failures import Error
from dlc.runtime.written import write

from ..defaults import MAX_NODES
from . import kinds, report as printed
from .options import OUTPUT, Device, Output

if TYPE_CHECKING:
    from ..ir.module import Module
    from ..reports.page import Told

DRAWN = 10_000  # nodes of a model whose picture is in the page


def report(
    runs: Annotated[tuple[Path, ...], Parameter(help="Run folders.")],
    /,
    *,
    data: Annotated[
        Path | None, Parameter(help="Data to predict for. Default: what each run validated on, if it did.")
    ] = None,
    out: Annotated[
        Path | None, Parameter(name=("--output", "-o"), help="NAME.html. Default: report.html here.")
    ] = None,
    device: Device = "auto",
    output: Output = OUTPUT,
) -> None:
    """Write a page on one or more runs: curves, predictions, weights, the model, and how to train it again."""
    from ..reports.page import report as page

    if not runs:
        raise Error(
            "E0790", "`dlc report` takes one or more run folders", help="dlc report runs/digits-20260101-120000"
        )
    target = out or Path("report.html")
    if target.suffix.lower() != ".html":
        raise Error("E0790", f"a report is not written as `{target.name}`", help=f"-o {target.stem or 'report'}.html")
    for folder in runs:
        kinds.expect(folder, "report", kinds.RUN)
    text = page([_told(folder, data, device) for folder in runs])
    write(target, text)
    if output.json:
        printed.say(json.dumps({"file": str(target), "bytes": len(text.encode())}))
    else:
        printed.note(f"{target}: {len(text.encode()):,} bytes")


def _told(folder: Path, data: Path | None, device: str) -> Told:
    """A run with its model as a graph; without its picture where the file does not hold its spec, or that is large."""
    from ..pipeline import differentiate
    from ..reports.page import Told
    from ..reports.ran import command, ran
    from ..view.page import page
    from .embedded import changed, module_of

    run = ran(folder, data, device)
    if not run.file.sources.main:
        return Told(run, None, "", command(run, {}))
    written = module_of(run.file, MAX_NODES)
    picture = ""
    if len(written.graph) <= DRAWN:
        drawn = module_of(run.file, MAX_NODES)

        def derive() -> Module:
            differentiate(drawn)
            return drawn

        picture = page(drawn, derive)
    return Told(run, written, picture, command(run, changed(run.file, MAX_NODES)))
