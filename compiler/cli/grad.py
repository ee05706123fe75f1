"""dlc grad"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from dlc.runtime.failures import Error

from . import kinds, report
from .options import COMPILATION, OUTPUT, Compilation, Output


def grad(
    spec: Annotated[Path, Parameter(help="A .dl spec.")],
    /,
    *,
    of: Annotated[str, Parameter(help="A loss, metric or scalar output.")] = "loss",
    wrt: Annotated[str, Parameter(help="A parameter's path, or an input.")],
    latex: Annotated[bool, Parameter(help="LaTeX instead of text.")] = False,
    html: Annotated[bool, Parameter(help="A page instead of text.")] = False,
    short: Annotated[bool, Parameter(help="The formula without its derivation.")] = False,
    compilation: Compilation = COMPILATION,
    output: Output = OUTPUT,
) -> None:
    """A derivative as a textbook derives it: each step of the chain rule with its reason, then the formula."""
    from ..recursion import deep_recursion
    from ..view.derivation import derivation
    from ..view.notation import text

    kinds.expect(spec, "grad", kinds.SPEC)
    if latex and html:
        raise Error("E0790", "`--latex` and `--html` are two forms of one thing", help="leave one of them out")
    if html and short:
        raise Error("E0790", "`--short` is for text and `--latex`", help="leave `--short` out")
    with deep_recursion():  # formulas are as deep as a model is
        found = derivation(compilation.module(spec, output), of, wrt)
        if output.json:
            steps = [{"left": text(s.left), "right": s.right.text, "reason": s.reason} for s in found.steps]
            record = {"of": of, "wrt": wrt, "text": found.formula.text, "latex": found.formula.latex, "steps": steps}
            report.say(json.dumps(record, ensure_ascii=False))
        elif html:
            report.say(found.html)
        else:
            shown = found.formula if short else found
            report.say(shown.latex if latex else shown.text)
