"""A syntax tree as text, in the form of `dlc fmt`: what `parse` makes of the text is the tree again."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from . import tree as s
from .format import format_source
from .parser import CONTINUES, make_source

WIDE = 110  # characters of a line above which a chain of `|>` stands on several
INDENT = "    "
Piece = Any  # a text, or an expression and how tightly what stands around it binds

# How tightly each construct binds, as grammar/expr.lark has the ladder.
CHOICE, RANGE, PIPE, OR, AND, NOT, COMPARISON, SUM, PRODUCT, SIGN, POWER, POSTFIX, ATOM = range(13)
LEVELS = {"or": OR, "and": AND, "+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT, "//": PRODUCT, "%": PRODUCT}
LEVELS |= {"@": PRODUCT, "^": POWER} | dict.fromkeys(("==", "!=", "<", "<=", ">", ">="), COMPARISON)
_ESCAPES = {"\n": "\\n", "\t": "\\t", "\\": "\\\\", '"': '\\"'}


def unparse(tree: s.File) -> str:
    """The text of a file. Chains on the left may be of any length, as in the parser; nothing here recurses on them."""
    text = "\n\n".join("\n".join(_declaration(each)) for each in tree.declarations)
    return format_source(make_source(text)) if text else ""


# --- expressions


def expression(root: s.Expr, level: int = CHOICE) -> str:
    """The text of an expression, in brackets where it binds less tightly than `level`."""
    found: list[str] = []
    stack: list[Piece] = [(root, level)]
    while stack:
        piece = stack.pop()
        if isinstance(piece, str):
            found.append(piece)
            continue
        node, around = piece
        own, pieces = _pieces(node)
        stack += (pieces if own >= around else ["(", *pieces, ")"])[::-1]
    return "".join(found)


def _pieces(e: s.Expr) -> tuple[int, list[Piece]]:
    """How tightly an expression binds, and what it is made of from left to right."""
    match e:
        case s.Number():
            return ATOM, [number(e.value)]
        case s.Text():
            return ATOM, [quoted(e.value)]
        case s.Name():
            return ATOM, [e.name]
        case s.Constant():
            return ATOM, [{True: "true", False: "false", None: "none"}[e.value]]
        case s.Ellipsis():
            return ATOM, ["..." + (e.name or "")]
        case s.Tuple():
            return ATOM, ["(", *_joined((item, CHOICE) for item in e.items), "," * (len(e.items) == 1), ")"]
        case s.List():
            return ATOM, ["[", *_joined((item, CHOICE) for item in e.items), "]"]
        case s.Unary(op="not"):
            return NOT, ["not ", (e.operand, NOT)]
        case s.Unary():
            return SIGN, [e.op, (e.operand, SIGN)]
        case s.Binary(op="^"):
            return POWER, [(e.left, POSTFIX), "^", (e.right, SIGN)]
        case s.Binary():
            own = LEVELS[e.op]
            return own, [(e.left, own + (own == COMPARISON)), f" {e.op} ", (e.right, own + 1)]
        case s.Range():
            dots = " .. " if any(isinstance(part, s.Ellipsis) for part in s.walk([e])) else ".."
            return RANGE, [(e.start, PIPE), dots, (e.stop, PIPE)]
        case s.Choice():
            return CHOICE, [(e.yes, RANGE), " if ", (e.condition, OR), " else ", (e.no, CHOICE)]
        case s.Pipe():
            return PIPE, [(e.left, PIPE), " |> ", (e.right, POSTFIX)]
        case s.Call():
            return POSTFIX, [(e.function, POSTFIX), "(", *_joined(map(_argument, e.arguments)), ")"]
        case s.Index():
            return POSTFIX, [(e.value, POSTFIX), "[", *_joined((place, CHOICE) for place in e.places), "]"]
        case s.Slice():
            first, last, step = ([] if part is None else [(part, CHOICE)] for part in (e.start, e.stop, e.step))
            return ATOM, [*first, ":", *last, *([":", *step] if step else [])]
        case s.Attribute():
            return POSTFIX, [(e.value, ATOM + 1 if isinstance(e.value, s.Number) else POSTFIX), ".", e.name]
        case s.Mapping():
            return ATOM, ["{ ", *_joined([f"{entry.name}: ", (entry.value, CHOICE)] for entry in e.entries), " }"]
    raise TypeError(f"{type(e).__name__} is no expression")


def _argument(argument: s.Argument) -> list[Piece]:
    return [*([] if argument.name is None else [f"{argument.name} = "]), (argument.value, CHOICE)]


def _joined(items: Iterable[Piece]) -> Iterator[Piece]:
    for i, item in enumerate(items):
        if i:
            yield ", "
        yield from item if isinstance(item, list) else [item]


def number(value: int | float) -> str:
    """A number that is not negative, as the parser reads it again."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number of a syntax tree is finite: `inf` and `nan` are names")
    return repr(value)


def quoted(text: str) -> str:
    return '"' + "".join(_ESCAPES.get(c, c) for c in text) + '"'


def _all(items: Sequence[s.Expr], separator: str = ", ") -> str:
    return separator.join(map(expression, items))


# --- types, parameters, patterns


def type_(of: s.Type) -> str:
    return of.dtype + ("" if of.dims is None else f"[{_all(of.dims)}]")


def _typed(of: s.Type | None) -> str:
    return "" if of is None else f": {type_(of)}"


def parameters(of: Sequence[s.Parameter]) -> str:
    return "(" + ", ".join(map(_parameter, of)) + ")"


def _parameter(of: s.Parameter) -> str:
    return of.name + _typed(of.type) + _after("in", of.within) + _after("=", of.default)


def _after(word: str, value: s.Expr | None) -> str:
    return "" if value is None else f" {word} {expression(value)}"


def pattern(of: s.Pattern, inside: bool = False) -> str:
    match of:
        case s.Path():
            return ".".join(_segment(segment) for segment in of.segments)
        case s.Not():
            return f"not {pattern(of.operand, True)}"
        case s.And():
            return " and ".join(pattern(item, True) for item in of.items)
        case s.Or():
            return ", ".join(pattern(item, True) for item in of.items)
    raise TypeError(f"{type(of).__name__} is no pattern")


def _segment(of: s.Segment) -> str:
    places = (", ".join("*" if place is None else expression(place) for place in group) for group in of.places)
    return of.name + "".join(f"[{place}]" for place in places)


def _columns(of: s.Columns | None) -> str:
    if of is None:
        return ""
    words = [_all(of.names)]
    for encoding in of.encodings:
        given = f"({', '.join(_text(_argument(a)) for a in encoding.arguments)})" if encoding.arguments else ""
        words.append(encoding.name + given + _after("=", encoding.value))
    return " from " + " ".join(words)


def _text(pieces: list[Piece]) -> str:
    return "".join(piece if isinstance(piece, str) else expression(*piece) for piece in pieces)


# --- statements


def _block(head: str, body: Sequence[s.Statement]) -> list[str]:
    if not body:
        return [head + " { }"]
    return [head + " {", *(INDENT + line for each in body for line in statement(each)), "}"]


def statement(of: s.Statement) -> list[str]:
    """The lines of a statement."""
    match of:
        case s.Input() | s.Target():
            drawn = _after("~", of.drawn_from) if isinstance(of, s.Input) else ""
            word = type(of).__name__.lower()
            return [f"{word} {of.name}: {type_(of.type)}{_after('in', of.within)}{drawn}{_columns(of.columns)}"]
        case s.Term():
            return _valued(of.kind + ("" if of.name is None else f" {of.name}"), of.value)
        case s.Param():
            return [f"param {of.name}: {type_(of.type)}{_after('~', of.prior)}{_after('init', of.init)}"]
        case s.State():
            return [f"state {of.name}{_typed(of.type)}{_after('init' if of.drawn else '=', of.value)}"]
        case s.Return():
            return [f"return {_all(of.values)}"]
        case s.If():
            lines = _block(f"if {expression(of.condition)}", of.yes)
            if len(of.no) == 1 and isinstance(of.no[0], s.If):
                first, *more = statement(of.no[0])
                return [*lines[:-1], f"{lines[-1]} else {first}", *more]
            if of.no:
                first, *more = _block("else", of.no)
                return [*lines[:-1], f"{lines[-1]} {first}", *more]
            return lines
        case s.For():
            return _block(f"for {of.name} in {expression(of.over)}", of.body)
        case s.Scan():
            return _block(f"scan {of.name} over {expression(of.over)}{_after('until', of.until)}", of.body)
        case s.Checkpoint():
            return _block("checkpoint", of.body)
        case s.Local():
            return _declaration(of.declaration)
        case s.Typed():
            return _valued(f"{of.name}: {type_(of.type)}", of.value)
        case s.Assign():
            if len(of.values) == 1:
                return _valued(_all(of.targets), of.values[0])
            return [f"{_all(of.targets)} = {_all(of.values)}"]
        case s.Update():
            return [f"{of.target.name} <- {expression(of.value)}"]
        case s.Tilde():
            left = expression(of.left, PIPE)
            if CONTINUES.match(left):  # such as `-x`, which would go on with the line above
                left = f"({left})"
            return [f"{left} ~ {expression(of.distribution)}"]
        case s.Minimize():
            using = f" using {expression(of.using)}{_after('every', of.every)}{_after('from', of.start)}"
            return [f"minimize {expression(of.objective)}{_over(of.over)}{using}"]
        case s.Sample():
            return [f"sample posterior{_over(of.over)} using {expression(of.using)}"]
        case s.Freeze():
            return [f"freeze {pattern(of.pattern)}"]
        case s.Setting():
            return [f"{of.name}: {expression(of.value)}{'' if of.on is None else ' on ' + pattern(of.on)}"]
    raise TypeError(f"{type(of).__name__} is no statement")


def _over(of: s.Pattern | None) -> str:
    return "" if of is None else f" over {pattern(of)}"


def _valued(left: str, value: s.Expr) -> list[str]:
    """`left = value`, a long chain of `|>` with a stage a line."""
    whole = f"{left} = {expression(value)}"
    stages: list[str] = []
    while isinstance(value, s.Pipe) and len(whole) > WIDE:
        stages.append(f"{INDENT}|> {expression(value.right, POSTFIX)}")
        value = value.left
    return [f"{left} = {expression(value, PIPE)}", *stages[::-1]] if stages else [whole]


# --- declarations


def _declaration(of: s.Declaration | s.Import | s.Train) -> list[str]:
    if isinstance(of, s.Import):
        what = quoted(of.path) if of.path is not None else ".".join(of.module or ())
        return [f"import {what}" + ("" if of.alias is None else f" as {of.alias}")]
    if isinstance(of, s.Train):
        words = ["train", of.name, None if of.title is None else quoted(of.title)]
        head = " ".join(word for word in words if word is not None)
        return _block(head + (parameters(of.configuration) if of.configuration else ""), of.body)
    comment = [f"# {line}".rstrip() for line in of.doc.split("\n")] if of.doc else []
    lists = parameters(of.configuration) if of.configuration or not isinstance(of, s.Model) else ""
    if isinstance(of, s.Layer | s.Optimizer | s.Distribution):
        lists += parameters(of.flow)
    returns = of.returns if isinstance(of, s.Layer | s.Fn) else None
    head = f"{type(of).__name__.lower()} {of.name}{lists}"
    head += "" if returns is None else " -> " + ", ".join(map(type_, returns))
    short = isinstance(of, s.Fn | s.Layer | s.Derivative) and len(of.body) == 1 and of.body[0]
    if isinstance(short, s.Return) and len(short.values) == 1:
        return [*comment, *_valued(head, short.values[0])]
    return [*comment, *_block(head, of.body)]
