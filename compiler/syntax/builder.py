"""The parser's callbacks: each rule of grammar/*.lark becomes a node of `syntax` as it is reduced.

The LALR parser calls these bottom-up, so no tree of the grammar is ever built or walked and depth costs
no stack. A rule's children come with every token in place; an absent `[x]` is None for each of its parts.
"""

from __future__ import annotations

import dataclasses
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from lark import Token

from ..diagnostics import CompileError, error
from ..source import Source, Span
from . import tree as s
from .typos import malformed_number, typed

# Deeper trees are refused, so that every later stage may recurse. Depth does not count down `left`.
DEPTH = 100

# The words that begin a statement are no names, nor are those of expressions. `loss` may be read: it is the
# sum of the terms, and what an optimizer may ask for.
RESERVED = frozenset((
    "input", "target", "metric", "output", "param", "state", "return", "if", "for", "scan", "checkpoint",
    "else", "true", "false", "none", "and", "or", "not",
))  # fmt: skip

_DIGITS = r"[0-9]+(?:_[0-9]+)*"
_NUMBER = re.compile(rf"(?:{_DIGITS})?(\.(?:{_DIGITS})?)?([eE][+-]?[0-9]+)?")
_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\", '"': '"'}

T = TypeVar("T", bound="s.Expr | s.Statement | s.Pattern")


class Block(NamedTuple):
    """`{ statements }`, or the `value` of `fn f(x) = value`."""

    span: Span
    statements: tuple[s.Statement, ...]


class Parts(NamedTuple):
    """A bracketed or separated list that is no node of its own."""

    span: Span
    items: tuple[Any, ...]


def too_deep(span: Span) -> CompileError:
    return error(
        "E0110",
        f"nested more than {DEPTH} levels deep",
        span,
        "too deep",
        help="give part of it a name of its own, on an earlier line",
    )


def kind(children: Iterable[Any], wanted: type[Any]) -> tuple[Any, ...]:
    return tuple(child for child in children if isinstance(child, wanted))


class Builder:
    """Callbacks named as the rules. It serves one parse at a time; `begin` says of which source."""

    def begin(self, source: Source) -> None:
        self.source = source
        self.problems: list[CompileError] = []  # found in text that is grammatical
        self._depths: dict[int, int] = {}

    # --- places, names and depth

    def _at(self, token: Token) -> Span:
        return Span(self.source, token.start_pos or 0, token.end_pos or 0)

    def _span(self, children: Sequence[Any]) -> Span:
        """From the first to the last child that is there."""
        present = [child for child in children if child is not None]
        first, last = present[0], present[-1]
        start = first.start_pos if isinstance(first, Token) else first.span.start
        end = last.end_pos if isinstance(last, Token) else last.span.end
        return Span(self.source, start or 0, end or 0)

    def _name(self, token: Token) -> str:
        if token in RESERVED:
            self.problems.append(reserved(str(token), self._at(token)))
        return str(token) if token.isascii() else unicodedata.normalize("NFKC", token)

    def _deep(self, node: T, below: Iterable[Any], left: Any = None) -> T:
        """Note how deep the tree under `node` is, where `left` stands level with it."""
        depth = 1 + max((self._depths.get(id(child), 0) for child in below), default=0)
        depth = max(depth, self._depths.get(id(left), 0))
        if depth > DEPTH:
            raise too_deep(node.span)
        self._depths[id(node)] = depth
        return node

    def _level(self, node: T, parts: Iterable[Any]) -> T:
        """A statement is as deep as its deepest expression."""
        self._depths[id(node)] = max((self._depths.get(id(part), 0) for part in parts), default=0)
        return node

    def _doc(self, token: Token) -> str:
        """The comment lines that stand directly above a declaration."""
        line = self.source.position(self._at(token).start)[0] - 1
        found: list[str] = []
        while line >= 1 and (text := self.source.line(line).lstrip("; \t")).startswith("#"):
            found.append(text.lstrip("#").strip())
            line -= 1
        return "\n".join(reversed(found))

    # --- expressions

    def number(self, c: list[Token]) -> s.Number:
        text, span = str(c[0]), self._at(c[0])
        value: int | float = 0
        parts = _NUMBER.fullmatch(text)
        if not parts:
            self.problems.append(malformed_number(text, span))
        elif parts[1] is None and parts[2] is None:
            digits = text.replace("_", "").lstrip("0")
            value = int(digits or "0") if len(digits) < 20 else 2**63
        else:
            value = float(text)
        if isinstance(value, int) and value >= 2**63:
            self.problems.append(error("E0109", "a number is too large", span, "an int is at most 9223372036854775807"))
        elif not math.isfinite(value):
            self.problems.append(
                error("E0109", "a number is too large", span, "a float is at most 1.8e308", help="write `inf`")
            )
        return s.Number(span, value)

    def string(self, c: list[Token]) -> s.Text:
        return s.Text(self._at(c[0]), self._unescape(c[0]))

    def _unescape(self, token: Token) -> str:
        def plain(match: re.Match[str]) -> str:
            if match[1] not in _ESCAPES:
                start = self._at(token).start + 1 + match.start()
                self.problems.append(
                    error(
                        "E0107",
                        f"unknown escape `{match[0]}` in a string",
                        Span(self.source, start, start + 2),
                        help='the escapes are `\\n`, `\\t`, `\\"` and `\\\\`; a path is written with `/`',
                    )
                )
            return _ESCAPES.get(match[1], match[1])

        return re.sub(r"\\(.)", plain, token[1:-1])

    def name(self, c: list[Token]) -> s.Name:
        return s.Name(self._at(c[0]), self._name(c[0]))

    def constant(self, c: list[Token]) -> s.Constant:
        return s.Constant(self._at(c[0]), {"true": True, "false": False}.get(str(c[0])))

    def ellipsis(self, c: list[Token]) -> s.Ellipsis:
        return s.Ellipsis(self._span(c), self._name(c[1]) if len(c) > 1 else None)

    def group(self, c: list[Any]) -> s.Expr:
        """`(e)` is e, with the brackets in its span."""
        inner: s.Expr = c[1]
        outer = dataclasses.replace(inner, span=self._span(c))
        # The inner node dies here and its id may be given again: it must leave no depth behind.
        self._depths[id(outer)] = self._depths.pop(id(inner), 0)
        return outer

    def tuple_(self, c: list[Any]) -> s.Tuple:
        items = kind(c, s.Expr)
        return self._deep(s.Tuple(self._span(c), items), items)

    def list_(self, c: list[Any]) -> s.List:
        items = kind(c, s.Expr)
        return self._deep(s.List(self._span(c), items), items)

    def unary(self, c: list[Any]) -> s.Unary:
        return self._deep(s.Unary(self._span(c), str(c[0]), c[1]), (c[1],))

    def binary(self, c: list[Any]) -> s.Binary:
        left, op, right = c
        node = s.Binary(self._span(c), str(op), left, right, self._at(op))
        return self._deep(node, (right,), left)

    def range_(self, c: list[Any]) -> s.Range:
        return self._deep(s.Range(self._span(c), c[0], c[2]), (c[0], c[2]))

    def choice(self, c: list[Any]) -> s.Choice:
        yes, _, condition, _, no = c
        return self._deep(s.Choice(self._span(c), yes, condition, no), (yes, condition, no))

    def pipe(self, c: list[Any]) -> s.Pipe:
        return self._deep(s.Pipe(self._span(c), c[0], c[2]), (c[2],), c[0])

    def argument(self, c: list[Any]) -> s.Argument:
        return s.Argument(self._span(c), self._name(c[0]) if len(c) == 3 else None, c[-1])

    def call(self, c: list[Any]) -> s.Call:
        arguments = kind(c, s.Argument)
        seen: dict[str, s.Argument] = {}
        for argument in arguments:
            if argument.name is None:
                if seen:
                    first = next(iter(seen.values()))
                    self.problems.append(
                        error(
                            "E0128",
                            "a positional argument follows a named one",
                            argument.span,
                            "has no name",
                            more=[(first.span, "has a name")],
                            help="positional arguments come first",
                        )
                    )
                    break
            elif argument.name in seen:
                self.problems.append(
                    error(
                        "E0129",
                        f"`{argument.name}` is given twice in a call",
                        argument.span,
                        "the second time",
                        more=[(seen[argument.name].span, "the first time")],
                    )
                )
            else:
                seen[argument.name] = argument
        node = s.Call(self._span(c), c[0], arguments)
        return self._deep(node, (argument.value for argument in arguments), c[0])

    def slice_(self, c: list[Any]) -> s.Slice:
        bounds = [*c[::2], None][:3]
        colons = [child for child in c if child is not None]
        return self._deep(s.Slice(self._span(colons), *bounds), bounds)

    def index(self, c: list[Any]) -> s.Index:
        places = kind(c[1:], s.Expr)
        return self._deep(s.Index(self._span(c), c[0], places), places, c[0])

    def attribute(self, c: list[Any]) -> s.Attribute:
        # After a dot any word is a name: `validation.loss`, `f.state`.
        node = s.Attribute(self._span(c), c[0], unicodedata.normalize("NFKC", c[2]), self._at(c[2]))
        return self._level(node, (c[0],))

    # --- types, parameters, patterns

    def type_(self, c: list[Any]) -> s.Type:
        return s.Type(self._span(c), self._name(c[0]), kind(c, s.Expr) if len(c) > 1 else None)

    def types(self, c: list[Any]) -> tuple[s.Type, ...]:
        return kind(c, s.Type)

    def parameter(self, c: list[Any]) -> s.Parameter:
        name, _, type, _, within, *default = c
        return s.Parameter(self._span(c), self._name(name), type, default[1] if default else None, within)

    def parameters(self, c: list[Any]) -> Parts:
        return Parts(self._span(c), kind(c, s.Parameter))

    def places(self, c: list[Any]) -> Parts:
        return Parts(self._span(c), tuple(None if child == "*" else child for child in c[1::2]))

    def segment(self, c: list[Any]) -> s.Segment:
        words = kind(c, Token)
        span = self._span(words)
        name = "".join(words)
        if span.end - span.start != len(name):
            self.problems.append(
                error(
                    "E0130",
                    "a space inside a part of a path",
                    span,
                    help=f"write `,` between two paths, or `{name}` as one part",
                )
            )
        places = kind(c, Parts)
        return s.Segment(self._span(c), unicodedata.normalize("NFKC", name), tuple(p.items for p in places))

    def path(self, c: list[Any]) -> s.Path:
        return s.Path(self._span(c), kind(c, s.Segment))

    def without(self, c: list[Any]) -> s.Not:
        return self._deep(s.Not(self._span(c), c[1]), (c[1],))

    def every(self, c: list[Any]) -> s.And:
        return self._deep(s.And(self._span(c), kind(c, s.Pattern)), kind(c, s.Pattern))

    def either(self, c: list[Any]) -> s.Or:
        return self._deep(s.Or(self._span(c), kind(c, s.Pattern)), kind(c, s.Pattern))

    # --- statements

    def block(self, c: list[Any]) -> Block:
        return Block(self._span(c), kind(c, s.Statement))

    def input_(self, c: list[Any]) -> s.Input:
        _, name, _, type, _, within, _, drawn_from, columns = c
        return s.Input(self._span(c), self._name(name), self._at(name), type, drawn_from, within, columns)

    def target(self, c: list[Any]) -> s.Target:
        _, name, _, type, _, within, columns = c
        return s.Target(self._span(c), self._name(name), self._at(name), type, within, columns)

    def columns(self, c: list[Any]) -> s.Columns:
        names = (token for token in kind(c, Token) if token.type == "STRING")
        return s.Columns(self._span(c), tuple(self.string([name]) for name in names), kind(c, s.Encoding))

    def encoding(self, c: list[Any]) -> s.Encoding:
        value = c[2] if c[1:2] == ["="] else None
        return s.Encoding(self._span(c), self._name(c[0]), kind(c, s.Argument), value)

    def term(self, c: list[Any]) -> s.Term:
        word, name, _, value = c
        if name is None and word != "loss":
            self.problems.append(
                error("E0122", f"`{word}` needs a name", self._at(word), help=f"write `{word} NAME = ...`")
            )
        text = None if name is None else self._name(name)
        return self._level(s.Term(self._span(c), str(word), text, self._at(name or word), value), (value,))

    def param(self, c: list[Any]) -> s.Param:
        _, name, _, type, _, prior, *init = c
        return s.Param(self._span(c), self._name(name), self._at(name), type, prior, init[1] if init else None)

    def state(self, c: list[Any]) -> s.State:
        _, name, _, type, sign, value = c
        return s.State(self._span(c), self._name(name), self._at(name), type, value, sign == "init")

    def return_(self, c: list[Any]) -> s.Return:
        return self._level(s.Return(self._span(c), kind(c, s.Expr)), kind(c, s.Expr))

    def if_(self, c: list[Any]) -> s.If:
        yes = c[2].statements
        no: tuple[s.Statement, ...] = ()
        if len(c) == 5:
            no = c[4].statements if isinstance(c[4], Block) else (c[4],)
        return self._deep(s.If(self._span(c), c[1], yes, no), (*yes, *no, c[1]))

    def for_(self, c: list[Any]) -> s.For:
        _, name, _, over, body = c
        node = s.For(self._span(c), self._name(name), self._at(name), over, body.statements)
        return self._deep(node, (over, *body.statements))

    def scan(self, c: list[Any]) -> s.Scan:
        _, name, _, over, _, until, body = c
        node = s.Scan(self._span(c), self._name(name), self._at(name), over, until, body.statements)
        return self._deep(node, (over, *body.statements, *kind(c, s.Expr)[1:]))

    def checkpoint(self, c: list[Any]) -> s.Checkpoint:
        body = c[1].statements
        return self._deep(s.Checkpoint(self._span(c), body), body)

    def local(self, c: list[Any]) -> s.Local:
        return self._deep(s.Local(c[0].span, c[0]), c[0].body)

    def typed(self, c: list[Any]) -> s.Typed:
        name, _, type, _, value = c
        return self._level(s.Typed(self._span(c), self._name(name), self._at(name), type, value), (value,))

    def assign(self, c: list[Any]) -> s.Assign:
        sign = next(i for i, child in enumerate(c) if isinstance(child, Token) and child == "=")
        targets, values = kind(c[:sign], s.Expr), kind(c[sign:], s.Expr)
        for target in targets:
            if not isinstance(target.value if isinstance(target, s.Index) else target, s.Name):
                self.problems.append(
                    typed(target.span.source, target.span.start, target.span.end)
                    or error(
                        "E0115",
                        "only a name can be given a value",
                        target.span,
                        "neither `name` nor `name[i]`",
                        help="a distribution is stated with `~`, a state is updated with `<-`",
                    )
                )
        return self._level(s.Assign(self._span(c), targets, values), (*targets, *values))

    def update(self, c: list[Any]) -> s.Update:
        target, _, value = c
        if not isinstance(target, s.Name):
            self.problems.append(
                error(
                    "E0116",
                    "`<-` updates a whole state, by its name",
                    target.span,
                    "not a name",
                    help="build the new value of the whole state, with `concat`, `stack` or `where`",
                )
            )
        return self._level(s.Update(self._span(c), target, value), (value,))

    def tilde(self, c: list[Any]) -> s.Tilde:
        return self._level(s.Tilde(self._span(c), c[0], c[2]), (c[0], c[2]))

    # --- the train block

    def minimize(self, c: list[Any]) -> s.Minimize:
        _, objective, _, over, _, using, _, every, _, start = c
        return s.Minimize(self._span(c), objective, over, using, every, start)

    def sample(self, c: list[Any]) -> s.Sample:
        return s.Sample(self._span(c), c[3], c[5])

    def freeze(self, c: list[Any]) -> s.Freeze:
        return s.Freeze(self._span(c), c[1])

    def setting(self, c: list[Any]) -> s.Setting:
        name, _, value, _, on = c
        return s.Setting(self._span(c), self._name(name), self._at(name), value, on)

    def mapping(self, c: list[Any]) -> s.Mapping:
        entries = kind(c, s.Argument)
        seen: dict[str, s.Argument] = {}
        for entry in entries:
            first = seen.setdefault(str(entry.name), entry)
            if first is not entry:
                self.problems.append(
                    error(
                        "E0129",
                        f"`{entry.name}` is given twice",
                        entry.span,
                        "the second time",
                        more=[(first.span, "the first time")],
                    )
                )
        return self._deep(s.Mapping(self._span(c), entries), (entry.value for entry in entries))

    def entry(self, c: list[Any]) -> s.Argument:
        return s.Argument(self._span(c), self._name(c[0]), c[2])

    # --- declarations

    def dotted(self, c: list[Token]) -> Parts:
        return Parts(self._span(c), tuple(str(token) for token in c[::2]))

    def import_(self, c: list[Any]) -> s.Import:
        _, what, _, alias = c
        path = self._unescape(what) if isinstance(what, Token) else None
        module = None if isinstance(what, Token) else what.items
        return s.Import(self._span(c), path, module, None if alias is None else self._name(alias))

    def _head(self, c: list[Any]) -> tuple[Span, str, Span, str]:
        return self._span(c), self._name(c[1]), self._at(c[1]), self._doc(c[0])

    def model(self, c: list[Any]) -> s.Model:
        return s.Model(*self._head(c), c[2].items if c[2] else (), c[3].statements)

    def layer(self, c: list[Any]) -> s.Layer:
        configuration, flow, returns, body = c[2], c[3], c[5], c[-1]
        statements = body.statements if isinstance(body, Block) else (s.Return(body.span, (body,)),)
        return s.Layer(*self._head(c), configuration.items, statements, flow.items, returns)

    def optimizer(self, c: list[Any]) -> s.Optimizer:
        return s.Optimizer(*self._head(c), c[2].items, c[4].statements, c[3].items)

    def distribution(self, c: list[Any]) -> s.Distribution:
        return s.Distribution(*self._head(c), c[2].items, c[4].statements, c[3].items)

    def fn(self, c: list[Any]) -> s.Fn:
        returns, body = c[4], c[-1]
        statements = body.statements if isinstance(body, Block) else (s.Return(body.span, (body,)),)
        return s.Fn(*self._head(c), c[2].items, statements, returns)

    def derivative(self, c: list[Any]) -> s.Derivative:
        body = c[-1]
        statements = body.statements if isinstance(body, Block) else (s.Return(body.span, (body,)),)
        return s.Derivative(*self._head(c), c[2].items, statements)

    def train(self, c: list[Any]) -> s.Train:
        word, name, title, configuration, body = c
        return s.Train(
            self._span(c),
            None if name is None else self._name(name),
            self._at(word if name is None else name),
            None if title is None else self._unescape(title),
            self._at(title or name or word),
            configuration.items if configuration else (),
            body.statements,
        )

    def file(self, c: list[Any]) -> s.File:
        declarations = tuple(child for child in c if not isinstance(child, Token))
        return s.File(Span(self.source, 0, len(self.source.text)), declarations)


def reserved(word: str, span: Span) -> CompileError:
    return error(
        "E0111",
        f"`{word}` is a word of the language, not a name",
        span,
        "cannot be a name",
        help=f"choose another name, such as `{word}_` or a longer one",
    )
