"""dlc data"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from . import kinds, report
from .options import COMPILATION, OUTPUT, Compilation, Data, Output, is_spec

if TYPE_CHECKING:
    from dlc.runtime.describe import About, Description

CLASSES = 20  # that are listed


def data(
    file: Annotated[Path, Parameter(help="A .dl spec, or a .onnx file with a training step.")],
    /,
    *,
    data: Data = None,
    validation: Annotated[
        Path | None, Parameter(help="Data to validate on; takes precedence over the spec's `validate`.")
    ] = None,
    compilation: Compilation = COMPILATION,
    output: Output = OUTPUT,
) -> None:
    """Show what the columns of data become: types, ranges, gaps, first rows, classes, and likely mistakes."""
    from dlc.runtime.describe import describe
    from dlc.runtime.train import Trainer

    from .trained import compiled_file

    kinds.expect(file, "data", kinds.SPEC, kinds.COMPILED)
    if is_spec(file):
        trainer = Trainer(compilation.program(file, output), device="cpu", seed=compilation.seed)
    else:
        compilation.refuse(file, "--seed")
        trainer = Trainer(compiled_file(file), device="cpu", seed=compilation.seed)
    found = describe(trainer, data, validation)
    if output.json:
        report.say(json.dumps(found.record()))
        return
    for line in shown(found):
        report.say(line)


def shown(found: Description) -> list[str]:
    """A description as lines for people."""
    lines = [f"{found.where}: {found.rows:,} rows" + (f", {found.held:,} to validate" if found.held else "")]
    for one in found.fields:
        kind = "target" if one.target else "input"
        columns = f"  of {_listed(one.columns)}" if one.columns else ""
        lines += ["", f"{kind} {one.name}: {one.type}{columns}", f"  {_range(one)}"]
        if one.words:
            lines.append(f"  words {_listed([repr(word) for word in one.words])}")
        if one.classes:
            counts = [f"{_class(one, k)} {count:,}" for k, count in list(one.classes.items())[:CLASSES]]
            lines.append("  rows " + ", ".join(counts) + (", ..." if len(one.classes) > CLASSES else ""))
        lines.append(f"  first {', '.join(_cell(row, one.numbers) for row in one.first)}")
    lines += [""] if found.warnings else []
    return lines + [f"warning: {text}" for text in found.warnings]


def _range(one: About) -> str:
    missing = f", {one.missing:,} empty" if one.missing else ""
    return f"from {one.low:.6g} to {one.high:.6g}, mean {one.mean:.6g}{missing}"


def _class(one: About, number: int) -> str:
    return one.words[number] if number < len(one.words) else str(number)


def _listed(names: Any) -> str:
    names = list(names)
    return ", ".join(names[:CLASSES]) + (f", ... ({len(names):,})" if len(names) > CLASSES else "")


def _cell(row: Any, numbers: int = 1) -> str:
    if isinstance(row, list):
        return "[" + ", ".join(map(_cell, row)) + (", ...]" if len(row) < numbers else "]")
    return "(empty)" if row is None or row == "" else f"{row:.6g}" if isinstance(row, float) else str(row)
