"""Where a piece of text stands: sources, and spans inside them."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field


@dataclass(frozen=True, eq=False)
class Source:
    """One text of the language. `name` is the path shown to people; `text` uses "\\n" line ends.

    `stored` is its name inside compiled files, which must not tell where on a machine the spec lay. `origins`: of a
    text that Python states, the place in Python for each piece, by its start and end.
    """

    name: str
    text: str
    stored: str = ""
    origins: dict[tuple[int, int], Span] = field(default_factory=dict, repr=False)
    _starts: list[int] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        if not self.stored:
            object.__setattr__(self, "stored", self.name)
        self._starts.append(0)
        self._starts.extend(i + 1 for i, c in enumerate(self.text) if c == "\n")

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of a character offset, both counted from 1."""
        line = bisect.bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def offset(self, line: int, column: int) -> int:
        """The character at a line and column, both counted from 1; the end of the text for what lies behind it."""
        return min(self._starts[line - 1] + column - 1, len(self.text)) if line <= len(self._starts) else len(self.text)

    def line(self, number: int) -> str:
        """The text of a line (counted from 1) without its end."""
        start = self._starts[number - 1]
        end = self._starts[number] - 1 if number < len(self._starts) else len(self.text)
        return self.text[start:end]

    def __repr__(self) -> str:
        return f"Source({self.name!r})"


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of characters of a source."""

    source: Source
    start: int
    end: int

    def to(self, other: Span) -> Span:
        """The span from the start of this one to the end of the other."""
        return Span(self.source, min(self.start, other.start), max(self.end, other.end))

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    @property
    def line(self) -> int:
        return self.source.position(self.start)[0]

    @property
    def shown(self) -> Span:
        """The place that people are shown: of a text that Python states, where the smallest piece around it is."""
        origins = self.source.origins
        around = [key for key in origins if key[0] <= self.start and self.end <= key[1]]
        return origins[min(around, key=lambda key: key[1] - key[0])] if around else self

    @property
    def stored(self) -> str:
        """`file:line:column` as compiled files have it."""
        line, column = self.source.position(self.start)
        return f"{self.source.stored}:{line}:{column}"

    def __str__(self) -> str:
        line, column = self.source.position(self.start)
        return f"{self.source.name}:{line}:{column}"

    def __repr__(self) -> str:
        return f"Span({self})"
