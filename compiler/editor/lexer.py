"""The language for Pygments, by its entry point `dlc`: documentation, notebooks, terminals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from pygments.lexer import Lexer
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Text

from .words import pattern

__all__ = ["DlLexer"]  # which Pygments asks for

KINDS = {
    "comment": Comment.Single,
    "string": String.Double,
    "number": Number,
    "keyword": Keyword,
    "word": Operator.Word,
    "constant": Keyword.Constant,
    "type": Keyword.Type,
    "name": Name,
    "operator": Operator,
    "punctuation": Punctuation,
}


class DlLexer(Lexer):
    """Specs of dlc (`.dl`)."""

    name = "dlc"
    aliases: ClassVar[list[str]] = ["dl", "dlc"]
    filenames: ClassVar[list[str]] = ["*.dl"]
    mimetypes: ClassVar[list[str]] = ["text/x-dlc"]

    def get_tokens_unprocessed(self, text: str) -> Iterator[tuple[int, Any, str]]:
        end, before, declared = 0, "", False
        for token in pattern().finditer(text):
            if token.start() > end:
                yield end, Text, text[end : token.start()]
            kind = str(token.lastgroup)
            shown = KINDS[kind]
            if kind == "name":
                called = text[token.end() : token.end() + 1] == "(" or before == "|>"
                shown = Name.Function if declared or called else Name.Attribute if before == "." else Name
            declared = kind == "keyword" and token[0] in ("model", "layer", "fn", "optimizer", "distribution", "train")
            yield token.start(), shown, token[0]
            before, end = token[0], token.end()
        if end < len(text):
            yield end, Text, text[end:]
