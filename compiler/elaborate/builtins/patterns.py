"""Patterns of axes: `"b h q d, b h k d -> b h q k"`, `"b t (h d) -> b h t d"`; and the place of every mistake in them.

einsum    = term ("," term)* ["->" term]         as NumPy writes it, or with a name of any length for each axis
rearrange = side "->" side                       as einops writes it
side      = (axis | group)*
group     = "(" axis* ")"
axis      = name | number | "..."
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from ...diagnostics import CompileError, did_you_mean, error
from ...source import Span
from ..values import Argument

_TOKEN = re.compile(r"\s+|->|\.\.\.|…|[,()]|[^\W\d]\w*|\d+|.", re.DOTALL)
DOTS = "..."
Axis = Hashable


@dataclass(frozen=True, slots=True)
class Token:
    text: str
    start: int
    end: int
    spaced: bool = False  # a space stands before it


@dataclass(frozen=True, slots=True)
class Group:
    """One dimension of a side: several axes in one, or a single axis (`open_` is False)."""

    axes: tuple[Token, ...]
    start: int
    end: int
    grouped: bool


class Pattern:
    """The text of a pattern, which knows how to point into itself."""

    def __init__(self, argument: Argument, what: str) -> None:
        self.argument, self.text, self.what = argument, argument.value, what
        written = argument.span.text
        quote = written.find('"')
        self.inside = quote >= 0 and written[quote + 1 : -1] == self.text  # the text itself stands in the call

    def span(self, start: int, end: int) -> Span:
        whole = self.argument.span
        if not self.inside:
            return whole
        first = whole.start + whole.text.find('"') + 1
        return Span(whole.source, first + start, first + max(end, start + 1))

    def error(
        self,
        code: str,
        message: str,
        at: Token | Group | tuple[int, int],
        label: str,
        *,
        help: str | None = None,
        more: Sequence[tuple[Span | None, str]] = (),
        notes: Sequence[str] = (),
    ) -> CompileError:
        start, end = at if isinstance(at, tuple) else (at.start, at.end)
        told = list(notes)
        if not self.inside:
            told.insert(0, f'the pattern is "{self.text}"; this is its character {start + 1}')
        return error(code, message, self.span(start, end), label, help=help, more=list(more), notes=told)

    def tokens(self) -> Iterator[Token]:
        spaced = False
        for match in _TOKEN.finditer(self.text):
            text = match[0]
            if text.isspace():
                spaced = True
                continue
            text = DOTS if text == "…" else text
            if not (text in ("->", DOTS, ",", "(", ")") or text.isdigit() or re.match(r"[^\W\d]", text)):
                raise self.error(
                    "E0380",
                    f"`{text}` has no meaning in a pattern of `{self.what}`",
                    (match.start(), match.end()),
                    "not understood",
                    help="`...` is three dots"
                    if text == "."
                    else "`->` separates the two sides"
                    if text in "-=>"
                    else None,
                )
            yield Token(text, match.start(), match.end(), spaced)
            spaced = False

    # --- rearrange, reduce, repeat

    def sides(self) -> tuple[list[Group], list[Group]]:
        """The dimensions before and after `->`."""
        tokens = list(self.tokens())
        arrows = [i for i, token in enumerate(tokens) if token.text == "->"]
        if len(arrows) != 1:
            at: Token | tuple[int, int] = tokens[arrows[1]] if arrows else (0, len(self.text))
            raise self.error(
                "E0380",
                f"a pattern of `{self.what}` has one `->`",
                at,
                "the second one" if arrows else "none here",
                help=None if arrows else '`"b t d -> b (t d)"` says what becomes of what',
            )
        left, right = self._side(tokens[: arrows[0]]), self._side(tokens[arrows[0] + 1 :])
        for group in left:
            for axis in group.axes:
                if axis.text == DOTS and group.grouped:
                    raise self.error(
                        "E0380",
                        "`...` cannot be in parentheses before `->`",
                        axis,
                        "how it divides is not known",
                        help="after `->`, `(...)` merges them",
                    )
        return left, right

    def _side(self, tokens: list[Token]) -> list[Group]:
        groups: list[Group] = []
        inside: list[Token] | None = None
        opened: Token | None = None
        seen: dict[str, Token] = {}
        for token in tokens:
            if token.text == "(":
                if opened is not None:
                    raise self.error(
                        "E0380",
                        "parentheses do not nest in a pattern",
                        token,
                        "opened again",
                        more=[(self.span(opened.start, opened.end), "opened here")],
                    )
                opened, inside = token, []
            elif token.text == ")":
                if opened is None or inside is None:
                    raise self.error("E0380", "this parenthesis closes nothing", token, "here")
                groups.append(Group(tuple(inside), opened.start, token.end, True))
                opened = inside = None
            elif token.text == ",":
                raise self.error(
                    "E0380",
                    f"a pattern of `{self.what}` has no commas: spaces separate the axes",
                    token,
                    "here",
                    help="`einsum` takes several values, separated by commas",
                )
            else:
                if token.text in seen and not token.text.isdigit():
                    raise self.error(
                        "E0381",
                        f"the axis `{token.text}` appears twice on one side",
                        token,
                        "again here",
                        more=[(self.span(seen[token.text].start, seen[token.text].end), "first here")],
                        help='`einsum("i i -> i", x)` takes a diagonal' if token.text != DOTS else None,
                    )
                seen[token.text] = token
                if inside is None:
                    groups.append(Group((token,), token.start, token.end, False))
                else:
                    inside.append(token)
        if opened is not None:
            raise self.error("E0380", "a parenthesis is never closed", opened, "opened here")
        return groups

    # --- einsum

    def terms(self) -> tuple[list[list[Token]], list[Token] | None, bool]:
        """The axes of each operand and of the result (None where there is no `->`), each run of letters one token;
        and whether somewhere a space divides two names of one operand."""
        parts: list[list[Token]] = [[]]
        output: list[Token] | None = None
        worded = False
        for token in self.tokens():
            if token.text == "->":
                if output is not None:
                    raise self.error("E0380", "a pattern of `einsum` has one `->`", token, "the second one")
                output = []
            elif token.text == ",":
                if output is not None:
                    raise self.error("E0380", "`einsum` has one result", token, "after `->` there is no comma")
                parts.append([])
            elif token.text in ("(", ")") or token.text.isdigit():
                raise self.error(
                    "E0380",
                    f"`{token.text}` has no meaning in a pattern of `einsum`",
                    token,
                    "not understood",
                    help="`rearrange` splits and merges dimensions"
                    if token.text in "()"
                    else "an axis is a letter or a name",
                )
            else:
                own = parts[-1] if output is None else output
                worded = worded or (token.spaced and bool(own) and DOTS not in (token.text, own[-1].text))
                own.append(token)
        return parts, output, worded


def letters(tokens: Sequence[Token]) -> list[Token]:
    """Every letter an axis, as NumPy reads a pattern."""
    return [
        single
        for token in tokens
        for single in (
            [token]
            if token.text == DOTS
            else [Token(letter, token.start + i, token.start + i + 1) for i, letter in enumerate(token.text)]
        )
    ]


# --- what the functions that take patterns share


def parted(name: str, given: Sequence[Argument]) -> tuple[list[Argument], list[Argument], dict[str, Argument]]:
    """The texts, the other positional arguments, and the named ones of a call."""
    texts = [a for a in given if a.name is None and isinstance(a.value, str)]
    others = [a for a in given if a.name is None and not isinstance(a.value, str)]
    named: dict[str, Argument] = {}
    for argument in given:
        if argument.name is not None:
            if argument.name in named:
                raise error(
                    "E0216",
                    f"`{argument.name}` is given twice",
                    argument.span,
                    "again here",
                    more=[(named[argument.name].span, "first here")],
                )
            named[argument.name] = argument
    return texts, others, named


def lacks(name: str, what: str, span: Span, example: str) -> Exception:
    return error("E0217", f"`{name}` lacks {what}", span, "not given", help=f"write `{example}`")


def meant(token: Token, names: list[str]) -> str | None:
    """The axis that was meant, where a name is long enough to tell."""
    return did_you_mean(token.text, names) if len(token.text) > 2 else None


def many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
