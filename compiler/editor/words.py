"""The words of the language, read out of its grammar: for whoever colours it."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

GRAMMARS = ("dl.lark", "expr.lark")
TYPES = ("float", "int", "bool", "vector")
CONSTANTS = ("true", "false", "none", "pi", "inf", "nan")
OPERATORS = ("and", "or", "not", "in")
# They begin nothing, and are names wherever one may stand: `over = 3`.
FOLLOWED = r"(?!\s*(?:[=:,\[.(~)]|<-))"


@cache
def keywords() -> tuple[str, ...]:
    """Every word that stands in quotes in the grammar, the constants and operators left out, in order."""
    found: set[str] = set()
    for name in GRAMMARS:
        text = resources.files("dlc.grammar").joinpath(name).read_text("utf-8")
        rules = re.sub(r"//[^\n]*|/(?:\\.|[^/\\\n])+/", "", text)
        found.update(re.findall(r'"([a-z]+)"', rules))
    return tuple(sorted(found - set(CONSTANTS) - set(OPERATORS)))


@cache
def statements() -> tuple[str, ...]:
    """The keywords that begin a statement or a declaration, which can be no name but `derivative` and `train`."""
    soft = ("as", "every", "from", "init", "on", "over", "posterior", "using", "else")
    return tuple(word for word in keywords() if word not in soft)


def pattern() -> re.Pattern[str]:
    """One token of a text, by the name of its kind; what is between tokens is no match."""
    hard, soft = statements(), [word for word in keywords() if word not in statements()]
    return re.compile(
        "|".join(
            (
                r"(?P<comment>#[^\n]*)",
                r'(?P<string>"(?:\\.|[^"\\\n])*"?)',
                r"(?P<number>(?:\d|\.\d)(?:(?<=[eE])[+-](?=\d)|\.(?!\.)|\w)*)",
                rf"(?P<keyword>(?<![.\w])(?:{'|'.join(hard)})\b(?!\s*[=:.(])|(?<![.\w])(?:{'|'.join(soft)})\b{FOLLOWED})",
                rf"(?P<word>\b(?:{'|'.join(OPERATORS)})\b)",
                rf"(?P<constant>(?<![.\w])(?:{'|'.join(CONSTANTS)})\b)",
                rf"(?P<type>(?<![.\w])(?:{'|'.join(TYPES)})\b(?=\s*(?:\[|[\n,)=~]|in\b|init\b|$)))",
                r"(?P<name>[^\W\d]\w*)",
                r"(?P<operator>\|>|<-(?=\s)|->|\.\.\.?|==|!=|<=|>=|//|[-+*/%@^~=<>:])",
                r"(?P<punctuation>[()\[\]{},;.])",
            )
        )
    )
