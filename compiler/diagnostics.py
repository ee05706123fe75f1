"""Errors are data: a diagnostic says what is wrong, where, and how to get out. It is rendered here only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from dlc.runtime.failures import Error, shortened
from dlc.runtime.nearest import did_you_mean, nearest

from .excerpt import excerpt
from .source import Span
from .ways_out import WAYS_OUT

__all__ = [
    "CompileError",
    "Diagnostic",
    "InternalError",
    "Label",
    "Problems",
    "Severity",
    "did_you_mean",
    "error",
    "nearest",
]

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Label:
    """Text beside an underlined span. Several lines of text stand under each other."""

    span: Span
    text: str


@dataclass(frozen=True)
class Diagnostic:
    """One problem. `labels[0]` is the place; further labels point at what it conflicts with. `help` is the way out:
    where none is given, that of its kind.

        >>> try:
        ...     program = dlc.compile("model m { input x: float[batch, 2]; output p = dens(x) }")
        ... except dlc.Error as problem:
        ...     found = problem.diagnostics[0]
        >>> found.code, found.message, found.severity
        ('E0201', '`dens` is not defined', 'error')
    """

    code: str
    message: str
    labels: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    help: str | None = None
    severity: Severity = "error"

    @property
    def way_out(self) -> str | None:
        """`help`, or the way out of its kind.

        >>> found.way_out
        'did you mean `dense`?'
        """
        return self.help or WAYS_OUT.get(self.code)

    @property
    def where(self) -> str | None:
        """The file, line and column of its place.

        >>> found.where
        '<text>:1:48'
        """
        return str(self.labels[0].span.shown) if self.labels else None

    @property
    def stated(self) -> tuple[str, ...]:
        """What a spec that Python states says at the place, in which loops and functions of Python are gone.

        >>> found.stated
        ()
        """
        span = self.labels[0].span if self.labels else None
        if span is None or span.shown is span:
            return ()
        return (f"line {span.line} of the spec that this states: {span.source.line(span.line).strip()}",)

    def render(self, columns: int | None = None) -> str:
        """The text shown to people, as Rust's compiler lays it out; in a terminal so wide.

        >>> print(found.render())
        error[E0201]: `dens` is not defined
          --> <text>:1:48
           |
         1 | model m { input x: float[batch, 2]; output p = dens(x) }
           |                                                ^^^^ not found here
           = help: did you mean `dense`?
        """
        lines = [f"{self.severity}[{self.code}]: {self.message}"]
        if self.labels:
            places = [label.span.shown for label in self.labels]
            width = max(len(str(place.line)) for place in places)
            pad = " " * width
            previous: tuple[str, int] | None = None
            for label, place in zip(self.labels, places, strict=True):
                name, line = place.source.name, place.line
                arrow = "-->" if previous is None else ":::"
                if previous is None or name != previous[0]:
                    lines.append(f"{pad} {arrow} {place}")
                    lines.append(f"{pad}  |")
                column = place.source.position(place.start)[1]
                end = column - 1 + place.end - place.start  # of a span over several lines one is drawn
                shown, whole = excerpt(
                    place.source.line(line), column - 1, end, label.text, f"{line:>{width}}", columns
                )
                lines += shown[1:] if (name, line) == previous and whole else shown
                previous = (name, line)
            margin = pad
        else:
            margin = " "
        lines += [f"{margin}  = {note}" for note in (*self.stated, *self.notes)]
        if self.way_out:
            lines.append(f"{margin}  = help: {self.way_out}")
        return shortened("\n".join(lines))

    def record(self) -> dict[str, object]:
        """The same as data, for `--json`.

        >>> found.record()["labels"]
        [{'where': '<text>:1:48', 'text': 'not found here'}]
        """
        return {
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "where": self.where,
            "labels": [{"where": str(label.span.shown), "text": label.text} for label in self.labels],
            "notes": [*self.stated, *self.notes],
            "help": self.way_out,
        }


class CompileError(Error):
    """One or several diagnostics of a spec."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        first = self.diagnostics[0]
        super().__init__(first.code, first.message, where=first.where, notes=first.notes, help=first.way_out)

    def render(self, columns: int | None = None) -> str:
        return "\n\n".join(diagnostic.render(columns) for diagnostic in self.diagnostics)

    def records(self) -> list[dict[str, object]]:
        return [diagnostic.record() for diagnostic in self.diagnostics]


class InternalError(Exception):
    """A fault of dlc itself; the message asks for the spec.

    >>> issubclass(dlc.InternalError, dlc.Error)  # `except dlc.Error` lets it through
    False
    """


def error(
    code: str,
    message: str,
    span: Span | None = None,
    label: str = "",
    *,
    more: Iterable[tuple[Span | None, str]] = (),
    notes: Iterable[str] = (),
    help: str | None = None,
) -> CompileError:
    """A `CompileError` of one diagnostic, to be raised."""
    labels = tuple(Label(place, text) for place, text in ((span, label), *more) if place)
    return CompileError([Diagnostic(code, message, labels, tuple(notes), help)])


class Problems:
    """Collects diagnostics so that several independent errors are reported in one run."""

    LIMIT = 20

    def __init__(self) -> None:
        self.errors: list[Diagnostic] = []
        self.warnings: list[Diagnostic] = []

    def add(self, problem: CompileError | Diagnostic) -> None:
        for diagnostic in problem.diagnostics if isinstance(problem, CompileError) else (problem,):
            target = self.warnings if diagnostic.severity == "warning" else self.errors
            if diagnostic not in target:
                target.append(diagnostic)

    def warn(self, problem: CompileError) -> None:
        """The same as warnings: the spec compiles."""
        for diagnostic in problem.diagnostics:
            self.add(replace(diagnostic, severity="warning"))

    def raise_if_any(self) -> None:
        if self.errors:
            raise CompileError(self.errors[: self.LIMIT])
