"""dlc decompile"""
from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Annotated

from cyclopts import Parameter
from dlc.runtime.failures import Error

from . import report
from .files import write
from .options import OUTPUT, Output


def decompile(
    file: Annotated[Path, Parameter(help="A .onnx file that dlc wrote.")], /, *,
    out: Annotated[
        Path | None, Parameter(name=("--output", "-o"), help="A folder for the spec and all it used.")
    ] = None,
    output: Output = OUTPUT,
) -> None:
    """Give back the spec that a file was compiled from, word for word."""
    from dlc.runtime.file import CompiledFile

    compiled = CompiledFile.load(file)
    main, files = compiled.sources.main, compiled.sources.files
    if main is None or main not in files:
        raise Error("E0795", "the file does not hold its spec", where=str(file),
                    notes=["files that other tools wrote, or that were changed by them, may lack it"])
    if out is None:
        if output.json:
            report.say(json.dumps({"main": main, "files": files}, ensure_ascii=False))
        else:
            report.data(files[main])
        return
    for name, text in files.items():
        write(_inside(out, name, file), text)
    if output.json:
        report.say(json.dumps({"main": str(out / PurePosixPath(main).name), "files": list(files)}))
    else:
        report.note(f"{len(files)} files in {out}, the spec is {out / PurePosixPath(main).name}")


def _inside(folder: Path, name: str, file: Path) -> Path:
    """The place of a source in the folder; a name in the file never leads out of it."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or ".." in parts or parts[0] == "/" or ":" in name:
        raise Error("E0798", f"the source name `{name}` leads out of the folder", where=str(file))
    target = folder.joinpath(*parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target
