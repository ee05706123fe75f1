"""dlc fmt"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from dlc.runtime.failures import Error
from dlc.runtime.written import write

from . import kinds, report
from .options import OUTPUT, Output


def fmt(
    *files: Annotated[Path, Parameter(help="Specs; - reads standard input and prints it formatted.")],
    check: Annotated[bool, Parameter(help="Change nothing; status 2 if a file would change.")] = False,
    output: Output = OUTPUT,
) -> None:
    """Format specs in the standard form. Only white space changes."""
    from ..syntax.format import format_source
    from ..syntax.parser import decoded, read_source

    if not files:
        raise Error("E0790", "`dlc fmt` needs a file", help="dlc fmt specs/digits.dl, or `-` for the standard input")
    changed: list[str] = []
    for path in files:
        if str(path) == "-":
            data = sys.stdin.buffer.read()  # UTF-8 as in a file, whatever the locale
            new, text = format_source(decoded(data, "<stdin>")), data.decode("utf-8")
            if not check:
                report.data(new)
        else:
            kinds.expect(path, "fmt", kinds.SPEC)
            source = read_source(path)
            new, text = format_source(source), path.read_bytes().decode("utf-8")
            if new != text and not check:
                write(path, new)
        if new != text:
            changed.append(str(path))
    if output.json:
        report.say(json.dumps({"files": len(files), "changed": changed}))
    if check and changed:
        raise Error(
            "E0794",
            f"{len(changed)} of {len(files)} files are not in the standard form",
            notes=changed,
            help="dlc fmt " + " ".join(changed[:3]),
        )
    if changed and not output.json and "-" not in changed:
        report.note("formatted " + ", ".join(changed))
