"""Trains and runs a compiled file on stock ONNX Runtime; needs nothing of the compiler.

Importing this is light: NumPy, ONNX and ONNX Runtime load when they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .callbacks import Callback, History
    from .data.stream import Stream
    from .failures import Error
    from .file import CompiledFile
    from .train import Trainer

__all__ = ["Callback", "CompiledFile", "Error", "History", "Stream", "Trainer"]

_HOMES = {
    "Callback": "callbacks",
    "CompiledFile": "file",
    "Error": "failures",
    "History": "callbacks",
    "Stream": "data.stream",
    "Trainer": "train",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module 'dlc.runtime' has no attribute {name!r}")
