"""Where in Python a piece of a spec is stated: the file, the line and, by Python's own tables, the columns."""

from __future__ import annotations

import linecache
import os
import sys
from itertools import islice
from types import CodeType, FrameType

from ..source import Source, Span

NOWHERE = Span(Source("<python>", ""), 0, 0)  # typed into an interpreter that keeps no text
_KEPT = 1_000  # code objects whose text is kept

_known: dict[CodeType, tuple[Source, list[tuple[int | None, int | None, int | None, int | None]]]] = {}


def here() -> Span:
    """The place of the innermost call from outside of this package; NOWHERE if the text of the program is not known."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(__package__):
        frame = frame.f_back
    return NOWHERE if frame is None else _place(frame)


def _place(frame: FrameType) -> Span:
    code = frame.f_code
    if code not in _known:
        if len(_known) >= _KEPT:
            _known.clear()
        text = "".join(linecache.getlines(code.co_filename, frame.f_globals))
        _known[code] = Source(_shown(code.co_filename), text), list(code.co_positions())
    source, positions = _known[code]
    line, last, column, end = next(islice(positions, frame.f_lasti // 2, None), (frame.f_lineno,) * 2 + (None,) * 2)
    if not source.text or line is None or line > source.text.count("\n") + 1:
        return NOWHERE
    start = source.offset(line, 1) + _characters(source, line, column or 0)
    if last is None or end is None:
        return Span(source, start, start + len(source.line(line)))
    return Span(source, start, max(start, source.offset(last, 1) + _characters(source, last, end)))


def _characters(source: Source, line: int, column: int) -> int:
    """Characters before a column, which Python counts in bytes of UTF-8."""
    return len(source.line(line).encode()[:column].decode(errors="replace"))


def _shown(path: str) -> str:
    """A file of the working folder by the path from there, as Python's own commands are given it."""
    folder = os.getcwd() + os.sep
    return path.removeprefix(folder) if os.path.isabs(path) else path
