"""`%%dlc` in Jupyter and IPython: a cell is a spec.

    %load_ext dlc

    %%dlc digits --set hidden=256
    model digits(hidden = 128) { ... }

compiles the cell, shows its page, and calls the program `digits` in the notebook (`program` without a name). Imports
and data are found in the folder that the notebook runs in. What is wrong is said as `dlc check` says it.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from dlc.runtime.failures import Error

from .cli.options import setting
from .program import Program, compile_source
from .syntax.parser import make_source

CELL = "cell.dl"  # what messages call it


def magic(shell: Any, line: str, cell: str) -> Program | None:
    """What a cell that begins with `%%dlc` does."""
    try:
        given = _arguments(line)
        program = compile_source(
            make_source(cell, CELL), Path.cwd(), model=given.model, precision=given.precision, set=dict(given.set)
        )
    except Error as problem:
        problem.__dict__["_render_traceback_"] = problem.render().splitlines  # IPython shows it as it stands
        raise
    for warning in program.warnings:
        sys.stderr.write(warning.render() + "\n")
    shell.user_ns[given.name] = program
    return program


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise Error("E0790", f"`%%dlc` {message}", help="%%dlc NAME --set hidden=256 --model NAME --precision float64")


def _arguments(line: str) -> argparse.Namespace:
    parser = _Parser(prog="%%dlc", add_help=False)
    parser.add_argument("name", nargs="?", default="program")
    parser.add_argument("--set", action="append", type=setting, default=[])
    parser.add_argument("--model")
    parser.add_argument("--precision", default="float32")
    try:
        given = parser.parse_args(shlex.split(line))
    except ValueError as problem:  # a quotation mark that is not closed
        raise Error("E0790", f"`%%dlc` cannot be understood: {problem}") from None
    if not given.name.isidentifier():
        raise Error("E0790", f"`{given.name}` is no name of a variable", help="%%dlc net")
    return given


def load(shell: Any) -> None:
    """Makes `%%dlc` known to an IPython shell."""

    def dlc(line: str, cell: str) -> Program | None:
        return magic(shell, line, cell)

    dlc.__doc__ = __doc__
    shell.register_magic_function(dlc, "cell", "dlc")
