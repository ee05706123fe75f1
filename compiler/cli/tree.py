"""Tokens and a syntax tree as text, for `dlc compile --emit tokens` and `--emit syntax`."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from ..source import Span

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lark import Token

KINDS = ("NAME", "NUMBER", "STRING")  # tokens that are more than their text; `_END` is the end of a statement


def show_tokens(tokens: Iterable[Token]) -> str:
    """The tokens of each line of the source behind its number."""
    lines: dict[int | None, list[str]] = {}
    for token in tokens:
        shown = f"{token.type}({token})" if token.type in KINDS else "_END" if token.type == "_END" else str(token)
        lines.setdefault(token.line, []).append(shown)
    return "".join(f"{line}: {' '.join(shown)}\n" for line, shown in lines.items())


def show(root: Any) -> str:
    """One construct a line, its parts indented below it. Not recursive: chains of operators may be long."""
    lines: list[str] = []
    stack: list[tuple[int, str, Any]] = [(0, "", root)]
    while stack:
        depth, label, value = stack.pop()
        children: list[tuple[str, Any]] = []
        if is_dataclass(value) and not isinstance(value, type):
            words = []
            for field in fields(value):
                part = getattr(value, field.name)
                if isinstance(part, Span) or part is None or part == () or part == "":
                    continue
                if isinstance(part, str | int | float):
                    words.append(f"{field.name}={part!r}")
                else:
                    children.append((field.name, part))
            text = " ".join([type(value).__name__, *words])
        elif isinstance(value, tuple):
            children = [(str(i), item) for i, item in enumerate(value)]
            text = ""
        else:
            text = repr(value)
        lines.append("  " * depth + (f"{label}: {text}" if label else text).rstrip())
        stack += [(depth + 1, name, part) for name, part in reversed(children)]
    return "\n".join(lines) + "\n"
