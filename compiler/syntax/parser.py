"""Text to syntax tree: reading a source, the parser, and the newline rules.

Newlines end statements by three small rules, with no look-ahead in the lexer:

1. Where a statement cannot end (after `+`, `=`, `,`, `(`), the contextual lexer knows no `_END`, and the
   newline falls to what is ignored.
2. Inside `( )` and `[ ]`, and inside the `{ }` of a mapping, which follows a `:`, the filter `Newlines` drops it.
3. Before a line that begins with an infix operator, `{`, `else`, `over`, `until`, `using`, `every`, `from`, `on` or
   `init` the filter drops it. It looks at the text: asking the lexer for the next token would read that token in the
   wrong state of the parser.

A `;` ends a statement wherever it stands.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from typing import Any

from dlc.runtime.sources import renamed
from lark import Token
from lark.exceptions import UnexpectedInput

from ..diagnostics import CompileError, Problems, error
from ..source import Source, Span
from . import tables, tree as s
from .builder import DEPTH, Builder, too_deep
from .errors import Examples, Failure, explain, read_examples

# A spec is a page of text; more than this is another kind of file, or an endless one.
MAX_BYTES = 16 * 2**20

CONTINUES = re.compile(
    r"\|>|->|\.\.(?!\.)|[-+*/%@^~{=]|<-(?=\s)|!=|[<>]"
    r"|(?:and|or|else)\b|(?:over|until|using|every|from|on|init)\b(?!\s*(?:[=:,\[.(~]|<-))"
)
_DECLARATION = re.compile(
    r"^(?:(?:model|layer|optimizer|distribution|fn|derivative)[ \t]+\w+[ \t]*[({]|train\b[^=\n]*\{|import[ \t]+[\w\"])",
    re.MULTILINE,
)


# --- sources


def read_source(path: str | os.PathLike[str]) -> Source:
    """The text of a file: UTF-8, a byte order mark dropped, line ends made "\\n"."""
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise error("E0701", f"there is no file `{name}`") from None
    except (OSError, ValueError) as failure:
        reason = getattr(failure, "strerror", None) or str(failure)
        raise error("E0702", f"the file `{name}` cannot be read: {reason}") from None
    if len(data) > MAX_BYTES:
        raise error("E0702", f"the file `{name}` cannot be read: it is larger than {MAX_BYTES // 2**20} MB")
    return decoded(data, name)


def decoded(data: bytes, name: str) -> Source:
    """The text of a file that was read."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        if name.lower().endswith(".onnx"):
            raise error(
                "E0131",
                f"`{name}` is a compiled file; a spec is needed here",
                help=f"`dlc decompile {name}` recovers the spec",
            ) from None
        good = data[: failure.start].decode("utf-8", "replace").removeprefix("\ufeff")
        source = make_source(good + "\ufffd", name)
        place = Span(source, len(source.text) - 1, len(source.text))
        found = f"the byte {failure.object[failure.start]:#04x}"
        raise error("E0131", "the file is not UTF-8 text", place, found, help="save it as UTF-8") from None
    return make_source(text, name)


def make_source(text: str, name: str = "<text>") -> Source:
    """A source from text in hand, with the same clean-up as a file gets."""
    clean = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return Source(name, clean, "spec.dl" if name == "<text>" else "/".join(renamed(os.path.basename(name))))


# --- the parser


class Newlines:
    """Lark's filter between lexer and parser: rules 2 and 3 above, and the bound on brackets."""

    always_accept = ()

    def begin(self, source: Source) -> None:
        self.source = source
        self.open: list[str] = []
        self.seen: list[Token] = []  # what went on to the parser, for the formatter

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        for token in stream:
            if token.type == "_END":
                assert token.end_pos is not None
                if ";" not in re.sub(r"#[^\n]*", "", token):
                    if self.open and self.open[-1] != "{":
                        continue
                    if CONTINUES.match(self.source.text, token.end_pos):
                        continue
            elif token in ("(", "[", "{"):
                self.open.append("(" if token == "{" and self.seen and self.seen[-1] == ":" else token)
                if len(self.open) > DEPTH:
                    assert token.start_pos is not None
                    raise too_deep(Span(self.source, token.start_pos, token.start_pos + 1))
            elif token in (")", "]", "}") and self.open:
                self.open.pop()
            self.seen.append(token)
            yield token


class Parser:
    """The grammar, built once a process. Its callbacks hold the parse in hand, so parses take turns."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._examples: Examples | None = None
        self.builder, self.newlines = Builder(), Newlines()
        self.lark = tables.parser(self.builder, self.newlines)

    def attempt(self, source: Source, start: str, text: str) -> tuple[Any, list[CompileError], Failure | None]:
        """Parse `text`, which has the offsets of `source`: the tree, problems of sense, where it stopped."""
        self.builder.begin(source)
        self.newlines.begin(source)
        try:
            return self.lark.parse(text, start=start), self.builder.problems, None
        except CompileError as problem:
            return None, [*self.builder.problems, problem], None
        except UnexpectedInput as unexpected:
            return None, self.builder.problems, Failure.of(unexpected, source, text)

    def run(self, source: Source, start: str) -> Any:
        """The tree, or all the problems found: after one, reading goes on at the next declaration."""
        found: list[CompileError] = []
        text = source.text if start == "file" else source.text.rstrip()
        with self.lock:
            while True:
                tree, problems, failure = self.attempt(source, start, text)
                found += problems
                if failure is None:
                    break
                found.append(explain(failure, self.examples(), self.lark))
                onward = _DECLARATION.search(text, failure.resume)
                if start != "file" or onward is None or len(found) >= Problems.LIMIT:
                    break
                text = re.sub(r"[^\n]", " ", text[: onward.start()]) + text[onward.start() :]
        if found:
            raise CompileError(diagnostic for problem in found for diagnostic in problem.diagnostics)
        return tree

    def examples(self) -> Examples:
        """What grammar/mistakes.txt says of each state of the parser; worked out at the first error."""
        if self._examples is None:
            self._examples = read_examples(lambda source: self.attempt(source, "file", source.text)[2])
        return self._examples


_parser: Parser | None = None
_building = threading.Lock()


def _get_parser() -> Parser:
    global _parser
    with _building:
        if _parser is None:
            _parser = Parser()
        return _parser


def parse(source: Source) -> s.File:
    """The syntax tree of a file. Raises CompileError with everything found wrong in its text (E01xx)."""
    tree: s.File = _get_parser().run(source, "file")
    return tree


def tokens(source: Source) -> list[Token]:
    """The tokens of a file that parses; of the newlines, only those that end statements (`_END`)."""
    parser = _get_parser()
    with parser.lock:
        parser.run(source, "file")
        return parser.newlines.seen


def parse_expression(source: Source | str) -> s.Expr:
    """The tree of one expression, as given on a command line."""
    tree: s.Expr = _get_parser().run(_given(source), "expr")
    return tree


def parse_value(text: str) -> s.Expr:
    """The tree of a setting's value, as given on a command line: an expression, or a mapping."""
    if not text.lstrip().startswith("{"):
        return parse_expression(text)
    [block] = parse(make_source(f"train {{ value: {text} }}")).declarations
    assert isinstance(block, s.Train)
    setting = block.body[0]
    if len(block.body) > 1 or not isinstance(setting, s.Setting):
        raise ValueError("more than one value")
    return setting.value


def parse_pattern(source: Source | str) -> s.Pattern:
    """The tree of a pattern of paths: `*.W`, `encoder.* and not *.b`."""
    tree: s.Pattern = _get_parser().run(_given(source), "pattern")
    return tree


def _given(source: Source | str) -> Source:
    return make_source(source.strip()) if isinstance(source, str) else source
