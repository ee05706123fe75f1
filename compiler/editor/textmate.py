"""The TextMate grammar of the language, for editors that colour by one: `python -m dlc.editor.textmate` writes it into
`editors/vscode`, and a test holds the file to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .words import CONSTANTS, FOLLOWED, OPERATORS, TYPES, keywords, statements

PLACE = Path("editors/vscode/syntaxes/dlc.tmLanguage.json")
DECLARATIONS = ("model", "layer", "fn", "optimizer", "distribution", "derivative", "train")


def grammar() -> dict[str, Any]:
    hard, soft = statements(), [word for word in keywords() if word not in statements()]
    begins = [word for word in hard if word not in DECLARATIONS]

    def words(of: tuple[str, ...] | list[str]) -> str:
        return "|".join(of)

    patterns: list[dict[str, Any]] = [
        {"name": "comment.line.number-sign.dlc", "match": "#.*$"},
        {
            "name": "string.quoted.double.dlc",
            "begin": '"',
            "end": '"|$',
            "patterns": [{"name": "constant.character.escape.dlc", "match": r"\\."}],
        },
        {
            "match": rf"\b({words(DECLARATIONS)})\s+([^\W\d]\w*)",
            "captures": {"1": {"name": "keyword.other.dlc"}, "2": {"name": "entity.name.function.dlc"}},
        },
        {"name": "keyword.other.dlc", "match": rf"(?<![.\w])({words(DECLARATIONS)})\b(?!\s*[=:.(])"},
        {"name": "keyword.control.dlc", "match": rf"(?<![.\w])({words(begins)})\b(?!\s*[=:.(])"},
        {"name": "keyword.control.dlc", "match": rf"(?<![.\w])({words(soft)})\b{FOLLOWED}"},
        {"name": "keyword.operator.word.dlc", "match": rf"\b({words(OPERATORS)})\b"},
        {"name": "constant.language.dlc", "match": rf"(?<![.\w])({words(CONSTANTS)})\b"},
        {"name": "storage.type.dlc", "match": rf"(?:(?<=[:,])|(?<=->))\s*({words(TYPES)})\b"},
        {"name": "constant.numeric.dlc", "match": r"(?<![\w.])(\d+(\.(?!\.)\d*)?|\.\d+)([eE][+-]?\d+)?"},
        {
            "match": r"(\|>)\s*([^\W\d]\w*)",
            "captures": {"1": {"name": "keyword.operator.dlc"}, "2": {"name": "entity.name.function.dlc"}},
        },
        {"name": "entity.name.function.dlc", "match": r"[^\W\d]\w*(?=\()"},
        {"name": "keyword.operator.dlc", "match": r"\|>|<-|->|\.\.\.?|==|!=|<=|>=|//|[-+*/%@^~=<>]"},
    ]
    return {
        "$schema": "https://raw.githubusercontent.com/martinring/tmlanguage/master/tmlanguage.json",
        "name": "dlc",
        "scopeName": "source.dlc",
        "fileTypes": ["dl"],
        "patterns": patterns,
    }


def text() -> str:
    return json.dumps(grammar(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PLACE.parent.mkdir(parents=True, exist_ok=True)
    PLACE.write_text(text(), "utf-8")
