"""dlc: state a model in a small language, get one .onnx file that predicts and trains on stock ONNX Runtime.

    program = dlc.compile("specs/digits.dl", hidden=256)
    program.save("digits.onnx")
    trainer = dlc.Trainer(program)
    trainer.fit("specs/data/digits.npz")

Importing this is light: the compiler, ONNX and ONNX Runtime load when they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if __name__ == "compiler":
    raise ImportError("the package is `dlc`; this folder is its source (run from elsewhere, or `pip install -e .`)")

if TYPE_CHECKING:
    from dlc.runtime.failures import Error
    from dlc.runtime.train import Trainer

    from .diagnostics import Diagnostic, InternalError
    from .program import Program, compile, fit, load
    from .spec import Spec

__version__ = "0.1.0"
__all__ = [
    "Diagnostic",
    "Error",
    "InternalError",
    "Program",
    "Spec",
    "Trainer",
    "__version__",
    "check",
    "compile",
    "fit",
    "load",
]

_HOMES = {
    "Diagnostic": "dlc.diagnostics",
    "InternalError": "dlc.diagnostics",
    "Error": "dlc.runtime.failures",
    "Program": "dlc.program",
    "Spec": "dlc.spec",
    "compile": "dlc.program",
    "fit": "dlc.program",
    "load": "dlc.program",
    "Trainer": "dlc.runtime.train",
}


def check(path_or_text: Any, **options: Any) -> list[Diagnostic]:
    """Checks every name and shape of a spec; returns the warnings, raises dlc.Error with the errors.

    >>> dlc.check("specs/digits.dl")
    []
    """
    from .pipeline import check as check_source, source_of

    source, folder = source_of(path_or_text)
    return check_source(source, folder, **options)[1]


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext dlc` in Jupyter: cells that begin with `%%dlc` are specs."""
    from .notebook import load

    load(shell)


def __dir__() -> list[str]:
    """What the package offers: the compiler's modules are no part of that."""
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'dlc' has no attribute {name!r}")
