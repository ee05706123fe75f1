"""A text as an editor sees it while it is typed: what is wrong with it, and what its pieces are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..analysis import float32, paired
from ..defaults import MAX_NODES
from ..diagnostics import CompileError, Diagnostic, Problems
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
    """One text. `tree` is None where it does not parse; `seen` what its pieces are, as far as that was found out."""

    source: Source
    folder: Path | None
    tree: syntax.File | None = None
    unit: Unit | None = None
    modules: list[Module] = field(default_factory=list)
    problems: list[Diagnostic] = field(default_factory=list)
    seen: Seen = field(default_factory=dict)

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
    source = make_source(text, name)
    document = Document(source, folder)
    problems = Problems()
    try:
        with deep_recursion():
            document.tree = parse(source)
            document.unit = Library(Problems(), folder).load(source, folder=folder, tree=document.tree)
    except CompileError as problem:
        problems.add(problem)
    models = [d.name for d in document.declarations() if isinstance(d, syntax.Model)]
    if document.tree is not None:
        for model in models or (None,):
            _elaborate(document, model, problems, whole)
    document.problems = _distinct(problems)
    return document


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
