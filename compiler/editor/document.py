"""A text as an editor sees it while it is typed: what is wrong with it, and what its pieces are."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..analysis import float32, paired
from ..defaults import MAX_NODES
from ..diagnostics import CompileError, Diagnostic, Label, Problems
from ..elaborate import elaborate
from ..elaborate.context import Seen
from ..elaborate.library import Library, Unit
from ..elaborate.values import Value
from ..ir.module import Module
from ..pipeline import differentiate
from ..recursion import deep_recursion
from ..source import Source, Span
from ..syntax import tree as syntax
from ..syntax.parser import make_source, parse

NO_MODEL = "E0202"  # of a file of layers, which is no mistake while it is written
WORD = re.compile(r"[^\W\d]\w*")


@dataclass
class Document:
    """One text. `tree` is None where it does not parse; `seen` what its pieces are, as far as that was found out.

    `took`: seconds of processor time to read it. `early`: parsed alone; the rest is of the text before.
    """

    source: Source
    folder: Path | None
    tree: syntax.File | None = None
    unit: Unit | None = None
    modules: list[Module] = field(default_factory=list)
    problems: list[Diagnostic] = field(default_factory=list)
    seen: Seen = field(default_factory=dict)
    took: float = 0.0
    early: bool = False

    @property
    def text(self) -> str:
        return self.source.text

    def word(self, offset: int) -> Span | None:
        """The name that stands at a place or ends there."""
        for match in WORD.finditer(self.source.line(self.source.position(offset)[0])):
            start = offset - self.source.position(offset)[1] + 1 + match.start()
            if start <= offset <= start + len(match[0]):
                return Span(self.source, start, start + len(match[0]))
        return None

    def values(self, span: Span) -> list[tuple[str, Value]]:
        """What the text of a span was, each time it ran, and whose it was."""
        return self.seen.get((span.source.name, span.start, span.end), [])

    def declarations(self) -> Iterator[syntax.Declaration | syntax.Train]:
        for declaration in self.tree.declarations if self.tree else ():
            if not isinstance(declaration, syntax.Import):
                yield declaration

    def around(self, offset: int) -> syntax.Declaration | syntax.Train | None:
        """The declaration that a place lies in."""
        return next((d for d in self.declarations() if d.span.start <= offset <= d.span.end), None)


def read(text: str, name: str = "<text>", folder: Path | None = None, whole: bool = True) -> Document:
    """A text with all that can be said of it before derivatives are taken; of a training pass alone, where that has to
    be soon: what else can be wrong is with the passes that do not train."""
    start = time.thread_time()
    document, problems = _parsed(make_source(text, name), folder)
    models = [d.name for d in document.declarations() if isinstance(d, syntax.Model)]
    if document.tree is not None:
        for model in models or (None,):
            _elaborate(document, model, problems, whole)
    document.problems = _distinct(problems)
    document.took = time.thread_time() - start
    return document


def _parsed(source: Source, folder: Path | None) -> tuple[Document, Problems]:
    document, problems = Document(source, folder), Problems()
    try:
        with deep_recursion():
            document.tree = parse(source)
            document.unit = Library(Problems(), folder).load(source, folder=folder, tree=document.tree)
    except CompileError as problem:
        problems.add(problem)
    return document, problems


# --- between two readings


class Shift:
    """Where the pieces of a text are in the same text after edits, which lie between what begins and what ends both."""

    def __init__(self, old: Source, new: Source) -> None:
        self.old, self.new = old, new
        most = min(len(old.text), len(new.text))
        self.same = next((i for i in range(most) if old.text[i] != new.text[i]), most)
        left = most - self.same
        self.tail = next((i for i in range(left) if old.text[-1 - i] != new.text[-1 - i]), left)

    @property
    def edited(self) -> tuple[int, int]:
        """Where the new text is not the old one."""
        return self.same, len(self.new.text) - self.tail

    def place(self, start: int, end: int) -> tuple[int, int] | None:
        """A piece of the old text in the new one; None where it was edited."""
        if end <= self.same:
            return start, end
        if start >= len(self.old.text) - self.tail:
            by = len(self.new.text) - len(self.old.text)
            return start + by, end + by
        return None

    def span(self, span: Span) -> Span | None:
        """The same of a span; one of another text is where it is."""
        if span.source.name != self.old.name:
            return span
        place = self.place(span.start, span.end)
        return None if place is None else Span(self.new, *place)

    def diagnostics(self, problems: Iterable[Diagnostic]) -> Iterator[Diagnostic]:
        for problem in problems:
            labels = [(self.span(label.span), label.text) for label in problem.labels]
            kept = tuple(Label(span, text) for span, text in labels if span is not None)
            if len(kept) == len(labels):
                yield replace(problem, labels=kept)


def recall(document: Document, before: Document) -> Document:
    """What the text before was understood to be, where it still stands."""
    shift = Shift(before.source, document.source)
    document.seen = {
        (name, *place): values
        for (name, start, end), values in before.seen.items()
        if (place := shift.place(start, end) if name == before.source.name else (start, end)) is not None
    }
    document.modules = before.modules
    return document


def foresee(before: Document, text: str) -> Document:
    """A text that takes long to read, at once: parsed, with what is known of the text before."""
    document, problems = _parsed(make_source(text, before.source.name), before.folder)
    document.took, document.early = before.took, True
    known = [] if problems.errors else list(Shift(before.source, document.source).diagnostics(before.problems))
    document.problems = [*_distinct(problems), *known]
    return recall(document, before)


def _elaborate(document: Document, model: str | None, problems: Problems, whole: bool) -> None:
    found = Problems()
    try:
        module = elaborate(
            document.source,
            folder=document.folder,
            model=model,
            problems=found,
            weights=False,
            seen=document.seen,
            once=not whole,
        )
        paired.warn(module, found)
        float32.warn(module, document.source, found)
        document.modules.append(module)
    except CompileError as problem:
        found.add(problem)
    except MemoryError:  # of a size that is being typed
        pass
    for diagnostic in (*found.errors, *found.warnings):
        if diagnostic.code != NO_MODEL:
            problems.add(diagnostic)


def derive(document: Document) -> list[Diagnostic]:
    """All that is wrong, with the derivatives of the models and the names of their files. The modules are used up."""
    problems = Problems()
    for known in document.problems:
        problems.add(known)
    if problems.errors:
        return document.problems
    modules, document.modules = document.modules, []
    for module in modules:
        try:
            with deep_recursion():
                differentiate(module, MAX_NODES)
                module.reserved()
        except CompileError as problem:
            problems.add(problem)
    return _distinct(problems)


def _distinct(problems: Problems) -> list[Diagnostic]:
    return list(dict.fromkeys((*problems.errors, *problems.warnings)))
