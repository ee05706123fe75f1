"""Finding the compiled file that a command line means: a .onnx file, or the one in a run folder."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dlc.runtime.failures import Error

if TYPE_CHECKING:
    from dlc.runtime.file import CompiledFile


def compiled_file(path: Path) -> CompiledFile:
    """A .onnx file, or the trained one of a run folder."""
    from dlc.runtime.checkpoint import Run
    from dlc.runtime.file import CompiledFile

    if path.suffix.lower() == ".dl":
        raise Error("E0790", f"`{path}` is a spec: this command takes a compiled file",
                    help=f"dlc train {path}, or dlc compile {path}")
    return CompiledFile.load(Run(path).model if path.is_dir() else path)
