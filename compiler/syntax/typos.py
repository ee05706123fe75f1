"""Slips of the pen where the parser stops: a misspelt first word, a type that is put first, and an unfinished line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..diagnostics import CompileError, did_you_mean, error
from ..source import Source, Span

if TYPE_CHECKING:
    from .errors import Failure

DECLARATIONS = ("model", "layer", "fn", "optimizer", "distribution", "train", "import", "derivative")
STATEMENTS = (
    "input", "target", "loss", "metric", "output", "param", "state", "return", "if", "for", "scan", "checkpoint",
)  # fmt: skip
_OPERATOR = re.compile(r"(?:\|>|\.\.|<-|//|[-+*/%@^=~<>]|\b(?:and|or|not)\b)\Z")
_WORD = re.compile(r"[^\W\d]\w*")
_TYPED = re.compile(
    r"\s*((?:real|int|float|double|(?:row_)?vector|matrix|simplex|(?:positive_)?ordered|unit_vector|Tensor)\b"
    r"(<[^>\n]*>)?(?:\[([^\]\n]*)\])?)\s+([^\W\d]\w*)"
)


def typed(source: Source, first: int, stop: int) -> CompileError | None:
    """A declaration that begins with its type, as in Stan or C, `vector[3] beta`: E0117. `first`: where the statement
    begins; `stop`: where it stopped making sense."""
    found = _TYPED.match(source.text, first)
    if found is None or stop > found.start(4):
        return None
    size, name = found[3], found[4]
    type = f"float[{size}]" if size and size.strip() else "float"
    return error(
        "E0117",
        "a declaration does not begin with its type",
        Span(source, *found.span(1)),
        f"the type of `{name}`",
        help=f"what is learned is `param {name}: {type}`, data are `input {name}: float[batch]`"
        + ("; what is above 0 is `exp(t)` of a parameter t, what is from 0 to 1 `sigmoid(t)`" if found[2] else ""),
    )


def misspelt(failure: Failure, opened: list[int], before: tuple[int, int] | None, train: bool) -> CompileError | None:
    """A word that is nearly one of those that begin a declaration or a statement, where one begins. E0146."""
    text, span = failure.source.text, failure.span
    if not failure.begins:
        follows = _WORD.fullmatch(span.text) or span.text == "{"
        if before is None or not follows or "\n" in text[before[1] : failure.start]:
            return None
        ahead = text[: before[0]].rstrip(" \t")
        if ahead and ahead[-1] not in "{};\n":
            return None
        span = Span(failure.source, *before)
    word = span.text
    if len(word) < 3 or not _WORD.fullmatch(word):
        return None
    known = ("minimize", "if", "for") if opened and train else STATEMENTS if opened else DECLARATIONS
    help = None if word in known else did_you_mean(word, known)
    if help is None:
        return None
    return error(
        "E0146",
        f"there is no `{word}` in the language",
        span,
        f"no {'statement' if opened else 'declaration'} begins with it",
        help=help,
    )


def unfinished(failure: Failure, opened: list[int], before: tuple[int, int] | None) -> CompileError | None:
    """An operator at the end of a line, to which the next line, a statement of its own, was taken. E0147.

    `before` is the last token of the lines before that of the failure.
    """
    text = failure.source.text
    if before is None or (opened and text[opened[-1]] != "{"):
        return None
    head = text[text.rfind("\n", 0, failure.start) + 1 : failure.start].strip()
    states = head in STATEMENTS and _WORD.fullmatch(failure.span.text)
    gives = _WORD.fullmatch(head) and failure.span.text in ("=", "~", "<-", ":")
    sign = _OPERATOR.search(text, max(0, before[1] - 3), before[1])
    if sign is None or not (states or gives):
        return None
    return error(
        "E0147",
        f"the line ends with `{sign[0]}`",
        Span(failure.source, *sign.span()),
        "expected a value after it",
        more=[(failure.span, "this statement was read as its value")],
    )


def malformed_number(text: str, span: Span) -> CompileError:
    help = "numbers are written `12`, `1_000`, `0.5`, `5e-3`"
    product = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)((?![xXbBoO][0-9])[^\W\d]\w*)", text)
    if product:
        help = f"a product needs its sign: `{product[1]} * {product[2]}`"
    return error("E0108", f"`{text}` is not a number", span, help=help)
