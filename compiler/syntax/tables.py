"""The parser's tables, worked out once for each grammar and kept beside it.

Lark works the tables of an LALR parser out of a grammar in an eighth of a second, which each command would wait for.
`grammar/tables.json` holds them as plain data; `python tests/parser_tables.py` writes it anew after a change of the
grammar. They hold for one grammar and one release of Lark: for others the parser is built from the grammar, as ever.
"""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from typing import Any

import lark
from lark import Lark

FILES = ("dl.lark", "expr.lark")
NAME = "tables.json"


def grammar() -> str:
    return "\n".join(resources.files("dlc.grammar").joinpath(name).read_text("utf-8") for name in FILES)


def parser(builder: Any, newlines: Any) -> Lark:
    """The parser that calls these: from its tables where they are of this grammar, else from the grammar."""
    text = grammar()
    held = resources.files("dlc.grammar").joinpath(NAME)
    kept = json.loads(held.read_text("utf-8")) if held.is_file() else {}
    if any(kept.get(key) != value for key, value in of(text).items()):
        return build(text, builder, newlines)
    data, memo = kept["data"], _numbered(kept["memo"])
    table = data["parser"]["parser"]
    table["tokens"] = _numbered(table["tokens"])
    table["states"] = _numbered({state: _numbered(actions) for state, actions in table["states"].items()})
    data["options"] |= {"transformer": builder, "postlex": newlines}
    made: Lark = Lark.load({"data": data, "memo": memo})  # plain data, or a file of them
    return made


def _numbered(held: dict[str, Any]) -> dict[int, Any]:
    """JSON has no keys but text."""
    return {int(key): value for key, value in held.items()}


def build(text: str, builder: Any, newlines: Any) -> Lark:
    """The parser of a grammar."""
    return Lark(
        text,
        parser="lalr",
        lexer="contextual",
        start=["file", "expr", "pattern"],
        keep_all_tokens=True,
        maybe_placeholders=True,
        transformer=builder,
        postlex=newlines,
    )


def of(text: str) -> dict[str, str]:
    """Which grammar and which release of Lark tables are of."""
    return {"grammar": hashlib.sha256(text.encode()).hexdigest(), "lark": lark.__version__}
