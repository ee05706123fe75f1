"""dlc profile"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from dlc.runtime.failures import Error
from dlc.runtime.written import write

from . import kinds, report
from .options import COMPILATION, OUTPUT, Compilation, Data, Device, Output, Whole, is_spec, positive

if TYPE_CHECKING:
    from ..reports.profile import Profile

SHOWN = 20  # rows of a table
ENDINGS = (".html", ".json")


def profile(
    file: Annotated[Path, Parameter(help="A .dl spec, a .onnx file or a run folder.")],
    /,
    *,
    what: Annotated[
        Literal["step", "predict"] | None,
        Parameter(help="An update, or a prediction. Default: an update where the file trains."),
    ] = None,
    data: Data = None,
    rows: Annotated[Whole | None, Parameter(help="Rows of a call. Default: a batch of the settings.")] = None,
    calls: Annotated[Whole, Parameter(help="How many calls are measured.")] = 20,
    out: Annotated[
        Path | None,
        Parameter(
            name=("--output", "-o"), help="NAME.html, a flame graph, or NAME.json, a trace for Chrome and Perfetto."
        ),
    ] = None,
    device: Device = "auto",
    compilation: Compilation = COMPILATION,
    output: Output = OUTPUT,
) -> None:
    """Measure where the time and memory of a step go: by layer, by line of the spec and by operator."""
    from dlc.runtime.train import Trainer

    from ..reports import profile as reports
    from ..reports.flame import page
    from .trained import compiled_file

    kinds.expect(file, "profile", kinds.SPEC, kinds.COMPILED, kinds.RUN)
    positive("rows", rows)
    positive("calls", calls)
    if out is not None and out.suffix.lower() not in ENDINGS:
        raise Error(
            "E0790",
            f"a profile is not written as `{out.name}`",
            notes=["endings are " + ", ".join(ENDINGS)],
            help=f"-o {out.stem or 'profile'}.html",
        )
    if is_spec(file) and not file.is_dir():
        trainer = Trainer(compilation.program(file, output), device=device, seed=compilation.seed)
    else:
        compilation.refuse(file)
        trainer = Trainer(compiled_file(file, output.json, predicts=what == "predict"), device=device)
    if what == "step" and not trainer.file.parts:
        raise trainer._cannot_train()
    found = reports.profiled(trainer, what or ("step" if trainer.file.parts else "predict"), data, calls, rows)
    if out is not None:
        html = out.suffix.lower() == ".html"
        write(
            out,
            page(found, _lines(trainer.file.sources.main, trainer.file.sources.files))
            if html
            else reports.trace(found),
        )
        report.note(f"{out}: {out.stat().st_size:,} bytes")
    if output.json:
        report.say(json.dumps(_record(found)))
    else:
        _print(found)


def _lines(main: str | None, files: dict[str, str]) -> dict[str, list[str]]:
    return {name: text.split("\n") for name, text in files.items()} if main else {}


def _record(found: Profile) -> dict[str, Any]:
    rows = {
        "layers": found.by(lambda one: one.scope),
        "lines": found.by(lambda one: one.source),
        "operators": found.by(lambda one: one.op),
        "sides": found.by(lambda one: one.side),
    }
    named = {
        key: [{"name": n, "us": t, "share": share, "nodes": c, "bytes": b} for n, t, share, c, b in table]
        for key, table in rows.items()
    }
    told = {"model": found.title, "what": found.what, "rows": found.rows, "calls": len(found.calls)}
    times = {"us": found.plain, "us_in_nodes": found.inside, "us_between": found.between}
    return {**told, **times, "peak_bytes": found.peak, "peak_by_layer": found.held, **named}


def _print(found: Profile) -> None:
    calls = len(found.calls)
    report.say(
        f"{found.title}: one {found.what} on {found.rows:,} rows takes {found.plain:,.0f} µs; profiled, "
        f"{found.inside:,.0f} µs in nodes and {found.between:,.0f} µs between them ({calls} calls)"
    )
    report.say(f"values alive at once: {_bytes(found.peak)}\n")
    tables = (
        ("part", found.by(lambda one: one.side)),
        ("layer", found.by(lambda one: f"{one.scope or '(model)'}  {one.side}")),
        ("line of the spec", found.by(lambda one: one.source or "(no line)")),
        ("operator", found.by(lambda one: one.op)),
    )
    for title, rows in tables:
        report.show(
            [(title, False), ("µs", True), ("%", True), ("nodes", True), ("makes", True)],
            [(n, f"{t:,.1f}", f"{100 * share:.1f}", f"{c:,}", _bytes(b)) for n, t, share, c, b in rows[:SHOWN]],
        )
        report.say(f"and {len(rows) - SHOWN:,} more\n" if len(rows) > SHOWN else "")


def _bytes(count: int) -> str:
    return next(
        (
            f"{count / size:,.1f} {unit}"
            for size, unit in ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB"))
            if count >= size
        ),
        f"{count} B",
    )
