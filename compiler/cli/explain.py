"""dlc explain"""

from __future__ import annotations

import json
from typing import Annotated

from cyclopts import Parameter
from dlc.runtime.failures import Error

from . import report
from .options import OUTPUT, Output


def explain(
    code: Annotated[str | None, Parameter(help="Such as E0312; without it, all codes are listed.")] = None,
    /,
    *,
    output: Output = OUTPUT,
) -> None:
    """The page of an error code: what it means, a wrong example, how to fix it."""
    known = pages()
    if code is None:
        titles = {name: text.split("\n", 1)[0].partition(": ")[2] for name, text in known.items()}
        lines = "\n".join(f"{name}  {title}" for name, title in titles.items())
        report.say(json.dumps(titles) if output.json else lines)
        return
    name = code.strip().strip("[]").upper()
    name = name if name[:1] in ("E", "W") else f"E{name.zfill(4)}"
    if name not in known:
        near = sorted(known, key=lambda other: (other[:3] != name[:3], _far(name, other), other))[:3]
        raise Error(
            "E0793",
            f"there is no code `{code}`",
            notes=["the nearest are " + ", ".join(near)],
            help="`dlc explain` lists all of them",
        )
    report.say(json.dumps({"code": name, "page": known[name]}) if output.json else known[name].rstrip())


def _far(name: str, other: str) -> int:
    digits = name[1:], other[1:]
    if not all(part.isdecimal() and len(part) < 10 for part in digits):
        return 0
    return abs(int(digits[0]) - int(digits[1]))


def pages() -> dict[str, str]:
    """Every page by its code, in order."""
    from importlib import resources

    folder = resources.files("dlc.errors")
    found = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".md")), key=lambda entry: entry.name)
    return {entry.name.removesuffix(".md"): entry.read_text("utf-8") for entry in found}
