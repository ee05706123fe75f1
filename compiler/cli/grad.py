"""dlc grad"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from . import kinds, report
from .options import COMPILATION, OUTPUT, Compilation, Output


def grad(
    spec: Annotated[Path, Parameter(help="A .dl spec.")],
    /,
    *,
    of: Annotated[str, Parameter(help="A loss, metric or scalar output.")] = "loss",
    wrt: Annotated[str, Parameter(help="A parameter's path, or an input.")],
    latex: Annotated[bool, Parameter(help="LaTeX instead of text.")] = False,
    compilation: Compilation = COMPILATION,
    output: Output = OUTPUT,
) -> None:
    """A derivative as a formula that a person reads."""
    from ..view.formula import derivative

    kinds.expect(spec, "grad", kinds.SPEC)
    formula = derivative(compilation.module(spec, output), of, wrt)
    if output.json:
        report.say(json.dumps({"of": of, "wrt": wrt, "text": formula.text, "latex": formula.latex}, ensure_ascii=False))
    else:
        report.say(formula.latex if latex else formula.text)
