"""Finding the compiled file that a command line means: a .onnx file, or the one in a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dlc.runtime.failures import Error

from . import report

if TYPE_CHECKING:
    from dlc.runtime.file import CompiledFile


def compiled_file(path: Path, quiet: bool = False, predicts: bool = False, accept: bool = False) -> CompiledFile:
    """A .onnx file, or that of a run folder with the state which the folder means; stderr is told where that is not
    the end of its training, and where a file has no checksum, unless it is to be quiet. `predicts`: training is not
    needed, so what of it another tool has spoilt is said and left out. `accept`: what another tool has changed is
    taken as it stands."""
    from dlc.runtime.checkpoint import Run
    from dlc.runtime.file import CompiledFile

    if accept and path.is_dir():
        raise Error(
            "E0790", f"`--accept` is for .onnx files: `{path}` is a folder", help=f"dlc check {path}/NAME.onnx --accept"
        )
    if path.is_dir():
        file, said = Run(path).trained()
    else:
        file, said = predicting(path) if predicts else CompiledFile.load(path, accept=accept), None
    if said is not None and not quiet:
        report.note(f"note: {said}")
    if not file.sealed and not quiet:
        report.note(f"note: {path} has no checksum: damage to it would go undetected")
    return file


def predicting(path: Path) -> CompiledFile:
    """A .onnx file whose training is not needed; stderr is told why it predicts only, where another tool has changed
    it."""
    from dlc.runtime.file import CompiledFile

    file = CompiledFile.load(path, predicts=True)
    if file.stale is not None:
        report.note(f"note: {file.stale.message}: `dlc check {file.name}` says more")
    return file
