"""dlc lsp"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

from cyclopts import Parameter
from dlc.runtime.failures import Error

from .options import OUTPUT, Output


def lsp(
    *,
    stdio: Annotated[
        bool, Parameter(help="Speak over the standard streams, as is done anyway.", show_default=False)
    ] = True,
    output: Output = OUTPUT,
) -> None:
    """Serve an editor: problems, shapes, names and formatting of specs, by the Language Server Protocol."""
    if find_spec("pygls") is None:
        raise Error("E0780", "`dlc lsp` needs pygls", help='pip install "dlc-compiler[lsp]"')
    from ..editor.server import run

    run()
