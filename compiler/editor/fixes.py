"""Ways out of a problem that an editor can take by itself: each is tried, and offered if the problem is gone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..diagnostics import Diagnostic
from ..source import Span
from .document import Document, read

MOST = 4


@dataclass(frozen=True)
class Fix:
    title: str
    span: Span
    text: str


def fixes(document: Document, problem: Diagnostic) -> list[Fix]:
    """What of a problem's help makes the problem go away, and brings no other."""
    before = {(p.code, p.message) for p in document.problems}
    found: list[Fix] = []
    for fix in _tried(document, problem):
        text = document.text[: fix.span.start] + fix.text + document.text[fix.span.end :]
        after = {(p.code, p.message) for p in read(text, document.source.name, document.folder).problems}
        if (problem.code, problem.message) not in after and after <= before and fix not in found:
            found.append(fix)
        if len(found) == MOST:
            break
    return found


def _tried(document: Document, problem: Diagnostic) -> Iterator[Fix]:
    if not problem.labels or problem.labels[0].span.source.name != document.source.name:
        return
    span = problem.labels[0].span
    offered = re.findall(r"`([^`\n]+)`", problem.help or "")
    named = re.findall(r"`([^`\n]+)`", problem.message)
    for text in offered:
        if "..." in text or "NAME" in text or text.startswith("--"):
            continue
        for place in _places(document, span, named):
            if place.text != text:
                yield Fix(f"write `{text}`", place, text)


def _places(document: Document, span: Span, named: list[str]) -> Iterator[Span]:
    """What a way out may stand for: what the message names, the place of the problem, the word there, and its call."""
    text = document.text
    for name in named[:2]:
        at = text.find(name, span.start, span.end)
        if at >= 0 and name != span.text:
            yield Span(document.source, at, at + len(name))
    yield span
    word = document.word(span.start)
    if word is not None and word != span:
        yield word
    if text[span.end : span.end + 1] == "(":
        depth = 0
        for end in range(span.end, min(len(text), span.end + 2000)):
            depth += (text[end] in "([{") - (text[end] in ")]}")
            if not depth:
                yield Span(document.source, span.start, end + 1)
                return
