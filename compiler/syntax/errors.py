"""What to say where the parser stops: the diagnosis of text that is not grammatical.

In order: an operator, comment or word of another language; a character of no token; brackets that do not
match; a slip of the pen; then what grammar/mistakes.txt says of the state and the token; last, what the
parser could have gone on with.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import Any

from lark import Lark, Token
from lark.exceptions import UnexpectedCharacters, UnexpectedInput
from lark.parsers.lalr_analysis import Shift

from ..diagnostics import CompileError, error
from ..source import Source, Span
from .builder import RESERVED, reserved
from .foreign import LOOKALIKES, OPERATORS, WORDS
from .typos import misspelt, typed, unfinished

_SIGNS = "-+*/%@^~<>=!&|:?\\"
_RUN = re.compile(rf"[{re.escape(_SIGNS)}]+")
_TOKEN = re.compile(r'#[^\n]*|"(?:\\.|[^"\\\n])*"|\w+|[()\[\]{}]|[^\s\w]')
_LADDER = frozenset((
    "expr", "ranged", "piped", "disjunction", "conjunction", "negation", "comparison",
    "sum", "product", "signed", "power", "postfix", "atom",
))  # fmt: skip
_PAIRS = {"(": ")", "[": "]", "{": "}"}
_VALUE = "NAME NUMBER STRING true false none not + - ... ( ["
# What may stand in a place, in people's words: said for the terminals on the right when all in the middle are
# expected.
_GROUPS = (
    ("a declaration", "model layer", "model layer optimizer distribution fn train import"),
    ("a statement", "param for", f"{_VALUE} input target loss metric output param state return if for scan checkpoint"),
    ("a line of the train block", "minimize", f"{_VALUE} minimize sample freeze"),
    ("a value", "NAME NUMBER STRING", _VALUE),
    ("a path", "NAME *", "NAME * not"),
    ("a name", "NAME", "NAME"),
    ("a string", "STRING", "STRING"),
    ("an operator", "+ -", "+ - * / // % @ ^ |> .. and or if COMPARISON"),
    ("the end of the line", "_END", "_END"),
)


@dataclass(frozen=True)
class Failure:
    """Where and how the parser stopped. `type` is "" for a character of no token, "$END" for the end.

    `text` is what was parsed, of the source's offsets: what was reported before is blanked out in it.
    """

    source: Source
    text: str
    start: int
    end: int
    type: str
    state: int
    construct: str  # the rule read last: of an expression, else of a statement or declaration
    statement: str
    expected: frozenset[str]
    begins: bool  # a statement or declaration: what stands before it is complete

    @classmethod
    def of(cls, unexpected: UnexpectedInput, source: Source, text: str) -> Failure:
        parser: Any = unexpected.state
        table = parser.parse_conf.states
        state, construct, statement, commas = _settled(list(parser.state_stack), table)
        going_on = _shifts(table[state]) | ({"COMMA"} if commas else set())
        if "NAME" in (stopped := _shifts(table[parser.state_stack[-1]])):
            going_on |= stopped
        going_on = going_on or frozenset({"$END"})
        token: Any = getattr(unexpected, "token", None)
        if token is None:
            assert isinstance(unexpected, UnexpectedCharacters)
            start = unexpected.pos_in_stream or 0
            end, type = start + 1, ""
        elif token.type == "$END":
            start = end = len(text.rstrip())
            type = "$END"
        else:
            start, end, type = token.start_pos, token.end_pos, token.type
        last = parser.value_stack[-1] if parser.value_stack else None
        begins = last is None or (isinstance(last, Token) and (last.type == "_END" or last == "{"))
        return cls(source, text, start, end, type, state, construct, statement, going_on, begins)

    @property
    def span(self) -> Span:
        return Span(self.source, self.start, self.end)

    @property
    def resume(self) -> int:
        """Where to look for the next declaration: one that begins this line in an open block comes next."""
        line = _line_start(self.text, self.start)
        return line if _scan(self.text, line)[0] else self.start

    @property
    def found(self) -> str:
        if self.type == "$END":
            return "the end of the text"
        if self.type == "_END":
            return "the end of the line" if ";" not in self.span.text else "`;`"
        return f"`{self.span.text}`"


def _shifts(actions: dict[str, Any]) -> frozenset[str]:
    return frozenset(name for name, (action, _) in actions.items() if action is Shift)


def _settled(stack: list[int], states: dict[int, dict[str, Any]]) -> tuple[int, str, str, bool]:
    """The state after every reduction that needs no look-ahead: the same after `x` as after `x + f(y)`.

    With it, the last rules of an expression and of anything else that were reduced on the way, and whether a
    comma could have stood there.
    """
    construct = statement = ""
    commas = False
    while True:
        commas = commas or "COMMA" in _shifts(states[stack[-1]])
        rules = {arg for action, arg in states[stack[-1]].values() if action is not Shift}
        if len(rules) != 1:
            break
        (rule,) = rules
        size, name = len(rule.expansion), rule.origin.name
        if name == "file" or name not in states[stack[-1 - size]]:
            break
        if size > 1 and name in _LADDER:
            construct = name
        elif size > 1 and not name.startswith("_"):
            statement = name
        del stack[len(stack) - size :]
        stack.append(states[stack[-1]][name][1])
    return stack[-1], construct, statement, commas


# --- examples of mistakes


@dataclass(frozen=True)
class Advice:
    """An entry of grammar/mistakes.txt."""

    code: str
    title: str
    fields: dict[str, str]
    texts: tuple[str, ...]


_ANY = -1
Key = tuple[int, str, str, str]
Examples = dict[Key, Advice]


def _keys(failure: Failure, before: tuple[int, int] | None) -> list[Key]:
    """What a failure is known by, the most telling first."""
    state, type = failure.state, failure.type
    word = failure.source.text[slice(*before)] if before else ""
    return [
        *([(state, type, "after", word)] if len(word) > 1 and word.isalpha() else []),
        *([(state, type, "text", failure.span.text)] if type == "NAME" else []),
        *([(state, type, "construct", failure.construct)] if failure.construct else []),
        *([(state, type, "statement", failure.statement)] if failure.statement else []),
        (state, type, "", ""),
        *([(_ANY, type, "construct", failure.construct)] if failure.construct else []),
        (state, "any", "", ""),
    ]


def read_advice() -> list[Advice]:
    """The entries of grammar/mistakes.txt."""
    entries = []
    text = resources.files("dlc.grammar").joinpath("mistakes.txt").read_text("utf-8")
    for block in re.split(r"\n\s*\n", text):
        lines = [line for line in block.splitlines() if not line.startswith("#")]
        if not lines:
            continue
        code, title = lines[0].split(" ", 1)
        fields = dict(line.split(": ", 1) for line in lines[1:] if not line.startswith(" "))
        texts = tuple(line.strip() for line in lines[1:] if line.startswith(" "))
        entries.append(Advice(code, title, fields, texts))
    return entries


def read_examples(stop: Callable[[Source], Failure | None]) -> Examples:
    """Each entry under the keys of the failures of its texts."""
    examples: Examples = {}
    for advice in read_advice():
        for text in advice.texts:
            failure = stop(Source("mistakes.txt", text))
            if failure is not None:
                for key in _keys(failure, _scan(text, failure.start)[1]):
                    if (key[0] != _ANY or "state" in advice.fields) and (key[1] != "any" or "token" in advice.fields):
                        examples.setdefault(key, advice)
    return examples


# --- the diagnosis


def explain(failure: Failure, examples: Examples, lark: Lark) -> CompileError:
    """The diagnostic of a failure."""
    opened, before = _scan(failure.text, failure.start)
    problem = _foreign(failure, before) or (_character(failure) if failure.type == "" else None)
    problem = problem or _brackets(failure, opened)
    if problem:
        return problem
    ahead = _scan(failure.text, _line_start(failure.text, failure.start))[1]
    problem = (
        _word(failure, before)
        or typed(failure.source, _first(failure), failure.start)
        or unfinished(failure, opened, ahead)
    )
    block = _declares(failure)
    problem = problem or misspelt(failure, opened, before, block == "train block")
    if problem:
        return problem
    for key in _keys(failure, before):
        if key in examples and examples[key].fields.get("in", block) == block:
            return _advise(examples[key], failure, before)
    return _expected(failure, before, lark)


def _scan(text: str, stop: int) -> tuple[list[int], tuple[int, int] | None]:
    """The brackets open at `stop`, by offset, and where the token before it stands."""
    opened: list[int] = []
    before = None
    for match in _TOKEN.finditer(text, 0, stop):
        sign = match[0]
        if sign[0] == "#":
            continue
        before = match.span()
        if sign in _PAIRS:
            opened.append(match.start())
        elif opened and sign == _PAIRS[text[opened[-1]]]:
            opened.pop()
    return opened, before


def _before(failure: Failure, before: tuple[int, int] | None) -> Span | None:
    return Span(failure.source, *before) if before else None


def _foreign(failure: Failure, before: tuple[int, int] | None) -> CompileError | None:
    """An operator or a comment of another language around the place."""
    text, first = failure.source.text, _line_start(failure.text, failure.start)
    comment = re.compile(r"[ \t]*(//|/\*|--|%)[ \t]*\w").match(text, first)
    comment = comment or re.compile(r"[^#\"\n]*?[ \t{](//|/\*)[ \t]+[^\W\d]\w*[ \t]+(?=\w)").match(text, first)
    if comment and comment.start(1) <= failure.start <= comment.end():
        span = Span(failure.source, *comment.span(1))
        return error("E0141", "a comment begins with `#`", span, help="write `# ...`")
    last = _before(failure, before)
    if failure.span.text == "//" and (last is None or last.text in ("{", "}", ";")):
        return error("E0141", "a comment begins with `#`", failure.span, help="write `# ...`")
    start = failure.start
    while start > 0 and text[start - 1] in _SIGNS:
        start -= 1
    run = _RUN.match(text, start)
    if run and run[0] not in OPERATORS and failure.type == "":
        run = _RUN.match(text, failure.start)
    if run and run[0] in OPERATORS and run.end() > failure.start:
        return error(
            "E0113", f"there is no operator `{run[0]}`", Span(failure.source, *run.span()), help=OPERATORS[run[0]]
        )
    return None


def _line_start(text: str, offset: int) -> int:
    return text.rfind("\n", 0, offset) + 1


def _character(failure: Failure) -> CompileError:
    """A character that begins no token, or a text without its end."""
    source, at = failure.source, failure.start
    character = source.text[at]
    if character == '"':
        end = source.text.find("\n", at)
        span = Span(source, at, len(source.text) if end < 0 else end)
        return error(
            "E0106",
            "a string is never closed",
            span,
            'expected `"` on this line',
            help='a `"` inside a string is written `\\"`, a newline `\\n`',
        )
    shown = character if character.isprintable() else f"U+{ord(character):04X}"
    name = unicodedata.name(character, "a control character").lower()
    label = "" if character.isascii() and character.isprintable() else name
    help = LOOKALIKES.get(character) or OPERATORS.get(character)
    if help is None and not character.isprintable():
        help = "delete it; words are separated by plain spaces"
    return error("E0101", f"`{shown}` cannot begin anything in the language", failure.span, label, help=help)


def _brackets(failure: Failure, opened: list[int]) -> CompileError | None:
    """Brackets that do not match."""
    source, text = failure.source, failure.text
    found = failure.span.text
    inner = opened[-1] if opened else None
    if found in (")", "]", "}"):
        if inner is None or (found != "}" and text[inner] == "{"):
            return error("E0105", f"this `{found}` closes nothing", failure.span, "no bracket is open here")
        if found == _PAIRS[text[inner]]:
            return None
        if found != "}":
            return error(
                "E0105",
                f"`{found}` cannot close `{text[inner]}`",
                failure.span,
                f"expected `{_PAIRS[text[inner]]}`",
                more=[(Span(source, inner, inner + 1), "opened here")],
            )
        return _unclosed(failure, inner)
    if inner is None:
        return None
    if failure.type == "$END":
        return _unclosed(failure, _suspect(source, opened, failure.start))
    line = _line_start(text, failure.start)
    if text[inner] == "{":
        # A declaration that begins a line, without indentation, inside a block: the block was not closed.
        declares = re.compile(r"(?:model|layer|fn|optimizer|distribution|train|import)[ \t]+(?=[\w\"{])")
        head = declares.match(text, line)
        if head and failure.start in (line, head.end()):
            return _unclosed(failure, _suspect(source, opened, line))
        return None
    first = not text[line : failure.start].strip()
    if found == "{" or (first and _closer(text, inner) is None):
        return _unclosed(failure, inner)
    return None


def _unclosed(failure: Failure, opener: int) -> CompileError:
    sign = failure.source.text[opener]
    return error(
        "E0104",
        f"this `{sign}` is never closed",
        Span(failure.source, opener, opener + 1),
        f"expected its `{_PAIRS[sign]}`",
        more=[(failure.span, f"before {failure.found}")],
    )


def _suspect(source: Source, opened: list[int], stop: int) -> int:
    """Of the open brackets the likeliest to lack its end: the innermost block that the indentation ended."""
    for opener in reversed(opened):
        if source.text[opener] != "{":
            return opener
        line = source.line(source.position(opener)[0])
        margin = len(line) - len(line.lstrip())
        inside = source.text[opener:stop].split("\n")[1:]
        if any(row.strip() and len(row) - len(row.lstrip()) <= margin for row in inside):
            return opener
    return opened[-1]


def _closer(text: str, opener: int) -> int | None:
    """Where the bracket at an offset is closed, if by its own kind."""
    opened: list[str] = []
    for match in _TOKEN.finditer(text, opener):
        sign = match[0]
        if sign in _PAIRS:
            opened.append(sign)
        elif sign in (")", "]", "}"):
            if sign != _PAIRS[opened.pop()]:
                return None
            if not opened:
                return match.start()
    return None


def _word(failure: Failure, before: tuple[int, int] | None) -> CompileError | None:
    """A word of another language at the place, or just before it as the head of a statement."""
    source = failure.source
    place = failure.span
    last = _before(failure, before)
    if place.text not in WORDS and last is not None and last.text in WORDS:
        head = source.text[_line_start(source.text, last.start) : last.start].rstrip()
        if not head or head[-1] in "{;}":
            place = last
    if place.text not in WORDS:
        return None
    return error("E0117", f"there is no `{place.text}` in the language", place, help=WORDS[place.text])


def _first(failure: Failure) -> int:
    """Where the statement begins, if it does on the line."""
    text, line = failure.source.text, _line_start(failure.source.text, failure.start)
    return max(line, *(text.rfind(sign, line, failure.start) + 1 for sign in "{;"))


def _advise(advice: Advice, failure: Failure, before: tuple[int, int] | None) -> CompileError:
    last = _before(failure, before)
    head = _declares(failure)
    words = {"{found}": failure.found.strip("`"), "{before}": last.text if last else "", "{word}": head}

    def fill(text: str) -> str:
        return re.sub(r"\{\w+\}", lambda match: words.get(match[0], match[0]), text)

    place, label = _place(failure, last, fill(advice.fields.get("label", "")))
    if last is not None and "at" in advice.fields:
        place = last
    help = advice.fields.get("help")
    return error(advice.code, fill(advice.title), place, label, help=help and fill(help))


def _place(failure: Failure, last: Span | None, label: str) -> tuple[Span, str]:
    """Where to point: at the end of the line before, when that goes on on the line that stopped the parser."""
    if failure.type in ("_END", "$END"):
        return failure.span, label.removesuffix(" before this")
    if failure.begins or last is None or "\n" not in failure.source.text[last.end : failure.start]:
        return failure.span, label
    return Span(failure.source, last.end, last.end), label.removesuffix(" before this")


def _declares(failure: Failure) -> str:
    """The word that begins the declaration of the place."""
    heads = re.findall(r"\b(model|layer|optimizer|distribution|fn|train)\b", failure.source.text[: failure.start])
    return {"fn": "function", "train": "train block"}.get(heads[-1], heads[-1]) if heads else "declaration"


def _expected(failure: Failure, before: tuple[int, int] | None, lark: Lark) -> CompileError:
    """What was found, and what the parser could have gone on with, in people's words."""
    wanted = _wanted(failure.expected, lark)
    label = "expected " + (", ".join(wanted[:-1]) + " or " + wanted[-1] if len(wanted) > 1 else wanted[0])
    text = failure.span.text
    last = _before(failure, before)
    if wanted == ["a name"] and text in ("=", "[", "(", "<-", "~", ".") and last and last.text in RESERVED:
        return reserved(last.text, last)
    if failure.type == "$END":
        return error("E0103", "the text ends too early", failure.span, label)
    if wanted[0] == "a value":
        return error("E0127", f"a value is missing before {failure.found}", failure.span, label)
    return error("E0102", f"{failure.found} is not allowed here", failure.span, label)


def _wanted(expected: frozenset[str], lark: Lark) -> list[str]:
    """The terminals in people's words, those that stand together under one word."""
    signs = {t.pattern.value: t.name for t in lark.terminals if t.pattern.type == "str"}
    left = set(expected)
    words: list[str] = []
    for word, needs, members in _GROUPS:
        if left.issuperset(signs.get(text, text) for text in needs.split()):
            left.difference_update(signs.get(text, text) for text in members.split())
            words.append(word)
    texts = {name: f"`{text}`" for text, name in signs.items()}
    texts |= {"NUMBER": "a number", "COMPARISON": "a comparison", "ARROW": "`<-`"}
    if not words:
        texts["$END"] = "the end of the text"
    return words + sorted(texts[name] for name in left if name in texts)
