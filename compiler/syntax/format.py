"""`dlc fmt`: the text of a spec laid out anew. Only white space changes, and a `;` where a newline is enough.

Line breaks stay where they are, but for a `{` or `else` on a line of its own. Indentation is four blanks a
level, blank lines come singly, columns that neighbouring lines align stay aligned, and comments behind a line
keep their column where there is room.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lark import Token

from ..source import Source
from .parser import CONTINUES, tokens

INDENT = 4

_GAP = re.compile(r"#[^\n]*|\n|;")
_JOINTS = frozenset(("=", "<-", "~", "->", "|>"))  # aligned with their like only
_VALUES = frozenset(("NAME", "NUMBER", "STRING", "TRUE", "FALSE", "NONE"))


def format_source(source: Source) -> str:
    """The canonical text of a source; formatting it again changes nothing. It must parse (CompileError)."""
    formatter = _Formatter(source)
    formatter.run()
    _align(formatter.lines)
    return "".join(_render(line) for line in formatter.lines)


@dataclass
class _Cell:
    """A token or comment, the blanks before it, and where the source has it."""

    text: str
    blanks: int
    column: int
    loose: bool  # the source has two blanks or more before it


@dataclass
class _Line:
    level: int
    spaced: bool  # a blank line stands before it
    cells: list[_Cell] = field(default_factory=list)


class _Formatter:
    """Goes once through the tokens and what stands between them."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.lines: list[_Line] = []
        self.opened: list[tuple[str, int]] = []  # bracket, and the level of its line
        self.previous: Token | None = None
        self.unary = False  # the previous token is a sign before its operand
        self.pattern = False  # in a pattern of paths, where `*` is part of a name
        self.trains = False  # in a `minimize` or `sample`, whose `over` begins a pattern

    def run(self) -> None:
        ended, end = False, 0
        for token in tokens(self.source):
            if token.type == "_END":
                ended = True
                continue
            start = token.start_pos or 0
            begins = ended or self.previous is None or self.previous == "{"
            broken, spaced = self.gap(end, start, token, begins)
            self.follow(token, begins)
            if broken or not self.lines:
                self.lines.append(_Line(self.level(token, begins), spaced))
            blanks = 0 if self.previous is None else self.blanks(self.previous, token)
            self.add(str(token), start, blanks)
            self.unary = token in ("+", "-") and (begins or not self.value(self.previous))
            if token in ("(", "[", "{"):
                # The braces after `columns:` hold no statements: they are laid out as brackets are.
                bracket = "(" if token == "{" and self.previous == ":" else str(token)
                self.opened.append((bracket, self.lines[-1].level))
            elif token in (")", "]", "}"):
                self.opened.pop()
            self.previous, ended, end = token, False, token.end_pos or 0
        self.gap(end, len(self.source.text), None, True)

    def add(self, text: str, start: int, blanks: int) -> None:
        line = self.lines[-1]
        before = self.source.text[max(0, start - 2) : start]
        column = self.source.position(start)[1]
        loose = len(before) == 2 and not before.strip(" \t")
        line.cells.append(_Cell(text, blanks if line.cells else 0, column, loose))

    def gap(self, start: int, stop: int, token: Token | None, begins: bool) -> tuple[bool, bool]:
        """Lay out the comments between two tokens: is there a line break, a blank line?"""
        found = list(_GAP.finditer(self.source.text, start, stop))
        newline = any(match[0] == "\n" for match in found)
        inside = self.previous is not None and self.previous != "{" and token is not None and token != "}"
        # A `;` separates what stays on one line, or keeps the next line from going on with this one.
        if (
            inside
            and any(match[0] == ";" for match in found)
            and (not newline or CONTINUES.match(self.source.text, stop))
        ):
            self.add(";", start, 0)
        newlines, commented = 0, False
        for match in found:
            if match[0] == "\n":
                newlines += 1
            elif match[0] != ";":
                if newlines or not self.lines:
                    opening = not commented and (self.previous is None or self.previous == "{")
                    within = 0 if begins or not self.in_block() else 1
                    self.lines.append(_Line(self.depth() + within, newlines > 1 and not opening))
                self.add(match[0].rstrip(), match.start(), 2)
                newlines, commented = 0, True
        joins = token == "{" or (token is not None and token.type == "ELSE" and self.previous == "}")
        opening = not commented and (self.previous is None or self.previous == "{")
        return (newline and (commented or not joins)), newlines > 1 and not opening and token != "}"

    def depth(self) -> int:
        return self.opened[-1][1] + 1 if self.opened else 0

    def in_block(self) -> bool:
        return not self.opened or self.opened[-1][0] == "{"

    def level(self, token: Token, begins: bool) -> int:
        """The level of a line that begins with this token; one that goes on with a statement is a step in."""
        if token in (")", "]", "}"):
            return self.opened[-1][1]
        goes_on = not begins and self.in_block() and token != "{" and token.type != "ELSE"
        return self.depth() + (1 if goes_on else 0)

    def follow(self, token: Token, begins: bool) -> None:
        """Keep track of whether `*` is a product or part of a path."""
        if begins or token == "}":
            self.pattern, self.trains = False, token.type in ("MINIMIZE", "SAMPLE")
        if token.type in ("ON", "FREEZE") or (token.type == "OVER" and self.trains):
            self.pattern = True
        elif token.type in ("USING", "EVERY"):
            self.pattern = False

    def value(self, token: Token | None) -> bool:
        """Does a value end with this token?"""
        if token is None:
            return False
        return token.type in _VALUES or token in (")", "]", "...") or (self.pattern and token == "*")

    def blanks(self, previous: Token, token: Token) -> int:
        """The blanks between two tokens of a line, columns aside."""
        if previous == "{" or token in ("}", "{"):
            return 1
        if previous in ("(", "[") or token in (")", "]", ",") or self.unary:
            return 0
        if previous == ",":
            return 1
        if token == ":" or (previous == ":" and self.opened and self.opened[-1][0] == "["):
            return 0
        if token == ".":
            return 1 if previous.type == "NUMBER" else 0  # `1.x` would be read as one number
        if token == ".." or previous == "..":
            return 1 if previous.endswith(".") and token.startswith(".") else 0  # `1. .. .5`
        if previous == "." or "^" in (previous, token):
            return 0
        if previous == "..." and token.type == "NAME":
            return 0
        if token == "(":
            return 0 if self.value(previous) or previous.type == "TRAIN" else 1
        if token == "[":
            return 0 if self.value(previous) else 1
        if self.pattern and "*" in (previous, token):
            return 0 if self.part(previous) and self.part(token) else 1
        return 1

    def part(self, token: Token) -> bool:
        return token.type == "NAME" or token == "*"


def _align(lines: list[_Line]) -> None:
    """Pad the cells that neighbouring lines have in one column of the source, where one was moved there."""
    group: dict[tuple[int, int], list[tuple[int, int]]] = {}
    groups: list[list[tuple[int, int]]] = []
    for i in range(1, len(lines)):
        above, below = lines[i - 1], lines[i]
        if below.spaced or above.level != below.level:
            continue
        columns = {cell.column: k for k, cell in enumerate(above.cells) if k and cell.blanks}
        for k, cell in enumerate(below.cells):
            j = columns.get(cell.column)
            if not k or not cell.blanks or cell.text[0] == "#" or j is None or not (cell.loose or above.cells[j].loose):
                continue
            if cell.text != above.cells[j].text and _JOINTS & {cell.text, above.cells[j].text}:
                continue
            members = group.get((i - 1, j))
            if members is None:
                members = group[i - 1, j] = [(i - 1, j)]
                groups.append(members)
            members.append((i, k))
            group[i, k] = members
    for members in sorted(groups, key=lambda members: lines[members[0][0]].cells[members[0][1]].column):
        ends = [_offset(lines[i], k) for i, k in members]
        for (i, k), end in zip(members, ends, strict=True):
            lines[i].cells[k].blanks += max(ends) - end
    for line in lines:
        last = line.cells[-1]
        if last.text[0] == "#" and len(line.cells) > 1:
            place = INDENT * line.level + _offset(line, len(line.cells) - 1)
            last.blanks += max(0, last.column - 1 - place)


def _offset(line: _Line, k: int) -> int:
    """Where a cell begins, from the indentation of its line."""
    return sum(cell.blanks + len(cell.text) for cell in line.cells[:k]) + line.cells[k].blanks


def _render(line: _Line) -> str:
    text = "".join(" " * cell.blanks + cell.text for cell in line.cells)
    return ("\n" if line.spaced else "") + " " * (INDENT * line.level) + text + "\n"
