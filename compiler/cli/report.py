"""All that is printed: results and their tables on stdout; diagnostics, coloured on a terminal only, and our own faults
on stderr. Nothing of a file reaches a terminal unescaped (`plain`)."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from dlc.runtime.failures import Error, plain

if TYPE_CHECKING:
    from ..diagnostics import Diagnostic

BAD_INPUT, OUR_FAULT = 2, 70
_STYLES = (  # of a rendered diagnostic: pattern, SGR codes for its groups
    (re.compile(r"^(error\[\w+\])(:.*)$"), ("1;31", "1")),
    (re.compile(r"^(warning\[\w+\])(:.*)$"), ("1;33", "1")),
    (re.compile(r"^( *(?:-->|:::))(.*)$"), ("1;34", "0")),
    (re.compile(r"^( *\|  *)(\^+.*)$"), ("1;34", "1;31")),
    (re.compile(r"^( *\d* \|)(.*)$"), ("1;34", "0")),
    (re.compile(r"^( *= help:)(.*)$"), ("1;36", "0")),
)


def coloured(stream: object = None) -> bool:
    """Whether a stream takes colour: a terminal, unless NO_COLOR says otherwise (https://no-color.org)."""
    stream = stream or sys.stderr
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty()) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def columns() -> int | None:
    """How wide the terminal is that shows diagnostics: what COLUMNS says, else what it says itself. None for a file or
    a pipe."""
    if not sys.stderr.isatty():
        return None
    said = os.environ.get("COLUMNS", "")
    with suppress(OSError, ValueError):  # a stream that is no file has no size
        return (
            int(said)
            if said.isdecimal() and 0 < int(said) < 10_000
            else os.get_terminal_size(sys.stderr.fileno()).columns or None
        )
    return None


def paint(text: str) -> str:
    """A rendered diagnostic with terminal colours."""
    return "\n".join(_paint_line(line) for line in text.split("\n"))


def _paint_line(line: str) -> str:
    for pattern, styles in _STYLES:
        match = pattern.match(line)
        if match:
            return "".join(f"\x1b[{style}m{part}\x1b[0m" for style, part in zip(styles, match.groups(), strict=True))
    return line


def complete() -> None:
    """Gives a process that was started without one of its standard streams (`>&-`) an empty one."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  (to the end)


def say(text: str) -> None:
    """A line of a result, or of JSON, on stdout."""
    print(plain(text), flush=True)


def data(text: str) -> None:
    """What was asked for itself (a spec, a table of numbers) on stdout, character for character where that is no
    terminal."""
    sys.stdout.write(plain(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def show(columns: Iterable[tuple[str, bool]], rows: Iterable[Iterable[str]], header: bool = True) -> None:
    """A table on stdout; of each column its title, and whether it holds numbers."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", show_header=header)
    for title, numbers in columns:
        table.add_column(title, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))  # as Text: no markup in names
    # A terminal folds long cells, so that nothing of them is lost; elsewhere lines are as long as they are.
    Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 10_000).print(table)


def note(text: str) -> None:
    """A line for people on stderr; one that is gone is no reason to fail."""
    _note(plain(text))


def _note(text: str) -> None:
    with suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def failed(problem: Error, as_json: bool) -> int:
    """Shows bad input; the exit status."""
    if as_json:
        for record in problem.records():
            note(json.dumps(record, ensure_ascii=False))
    else:
        _rendered(problem.render(columns()))
    return BAD_INPUT


def warn(warnings: Iterable[Diagnostic], as_json: bool) -> None:
    for warning in warnings:
        if as_json:
            note(json.dumps(warning.record(), ensure_ascii=False))
        else:
            _rendered(warning.render(columns()) + "\n")


def _rendered(text: str) -> None:
    """A diagnostic; painted last, when all that came from outside is escaped."""
    text = plain(text)
    _note(paint(text) if coloured() else text)


def fault(problem: Exception, as_json: bool, debug: bool) -> int:
    """Shows a fault of our own, its traceback in a file or, with --debug, on stderr; the exit status."""
    trace = "".join(traceback.format_exception(problem))
    summary = f"{type(problem).__name__}: {problem}".split("\n")[0]
    place = None
    if not debug and not os.environ.get("DLC_DEBUG"):
        try:
            handle, place = tempfile.mkstemp(prefix="dlc-fault-", suffix=".txt")
            with open(handle, "w", encoding="utf-8") as file:
                file.write(trace)
        except OSError:
            place = None
    if as_json:
        note(json.dumps({"severity": "internal", "message": summary, "traceback": place or trace}, ensure_ascii=False))
        return OUR_FAULT
    lines = [f"internal error: {summary}", "  = this is a bug in dlc, not in your input"]
    lines.append(f"  = traceback: {place}" if place else trace.rstrip())
    lines.append("  = help: please report it with the command, the spec and the traceback")
    note("\n".join(lines))
    return OUR_FAULT
