"""dlc decompile"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from dlc.runtime.failures import Error

from . import kinds, report
from .options import OUTPUT, Output


def decompile(
    file: Annotated[Path, Parameter(help="A .onnx file that dlc wrote.")],
    /,
    *,
    out: Annotated[
        Path | None,
        Parameter(name=("--output", "-o"), help="A folder for the spec and all the files it used: new or empty."),
    ] = None,
    force: Annotated[
        bool, Parameter(help="Write into a folder that is not empty, over files of the same names.", show_default=False)
    ] = False,
    output: Output = OUTPUT,
) -> None:
    """Give back the spec that a file was compiled from, word for word."""
    from dlc.runtime.sources import places, write

    from .embedded import sources_of
    from .trained import predicting

    kinds.expect(file, "decompile", kinds.COMPILED)
    compiled = predicting(file)
    main, files = sources_of(compiled)
    if out is None:
        if output.json:
            report.say(json.dumps({"main": main, "files": files}, ensure_ascii=False))
        else:
            report.data(files[main])
        return
    at = places(files, str(file))
    try:
        write(out, {at[name]: text for name, text in files.items()}, force=force)
    except OSError as problem:
        raise Error(
            "E0739",
            f"cannot write into `{out}`",
            notes=[problem.strerror or str(problem)],
            help="check that the folder can be written and has room",
        ) from None
    spec = out.joinpath(*at[main])
    if output.json:
        report.say(json.dumps({"main": str(spec), "files": list(files)}))
    else:
        report.note(f"{len(files)} files in {out}, the spec is {spec}")
