"""What is shown of a text: what a name is, the shapes behind the lines, its outline, its colours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from dlc.runtime.failures import plain

from ..elaborate.builtins import BUILTINS
from ..elaborate.values import Distributed, Indexed, Instance, Tensor, Updater, Value
from ..ir.graph import Node
from ..ir.reachable import needed
from ..ir.types import Dim, show_shape
from ..source import Span
from ..syntax import tree as syntax
from ..view.formula import of_value
from .document import Document, Shift
from .names import KINDS, bindings, declared, heads, lists, local, signature
from .words import pattern

LONGEST = 200  # characters of a formula
LARGEST = 60  # operations of one


def typed(value: Value) -> str | None:
    """A value as its type: `float[batch, 10]`; what else it is."""
    if isinstance(value, Tensor):
        return str(value.node.type)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Dim):
        return str(value)
    if isinstance(value, Instance | Distributed | Updater):
        return f"{KINDS[type(value.declaration)]} {value.declaration.name}"
    if isinstance(value, Indexed):
        return f"{len(value.entries)} values"
    return None


def hover(document: Document, offset: int) -> tuple[Span, str] | None:
    """What the name at a place is, in Markdown: its shape, what it learns, its text, its formula."""
    word = document.word(offset)
    if word is None:
        return None
    head: list[str] = []
    more: list[str] = []
    around = document.around(offset)
    values = document.values(word)
    calls = _called(document, around, word)
    known = declared(document, word.text) if not isinstance(values[0][1] if values else None, Tensor) else None
    if around is not None and local(around, word.text) is not None and not calls:
        known = None
    types = list(dict.fromkeys(filter(None, (typed(value) for _, value in values))))
    if types and known is None:
        head.append(f"{word.text}: {', '.join(types[:4])}{', ...' if len(types) > 4 else ''}")
        more += filter(None, [_learned(document, *values[0]), _formula(document, word.text, values[0][1])])
    elif known is not None:
        declaration, name = known
        head.append(signature(declaration))
        results = [v for span in calls for v in document.values(span)]
        shapes = list(dict.fromkeys(filter(None, (typed(v) for _, v in results))))
        if shapes:
            more.append("here: `" + "`, `".join(shapes[:4]) + "`")
            more += filter(None, [_learned(document, *results[0])])
        if isinstance(declaration, syntax.Fn):
            body = declaration.span.text.partition("\n")[0]
            if not body.rstrip().endswith("{"):
                more.append(f"```dl\n{body}\n```")
        if declaration.doc:
            more.append(prose(declaration.doc))
        more.append(f"*{prose(name)}*")
    elif word.text in BUILTINS:
        names = ", ".join(n if required else f"{n} = ..." for n, required in BUILTINS[word.text].parameters)
        head.append(f"{word.text}({names or '...'})")
        shapes = list(dict.fromkeys(filter(None, (typed(v) for span in calls for _, v in document.values(span)))))
        more += ["here: `" + "`, `".join(shapes[:4]) + "`"] if shapes else []
        more.append("*known to the compiler*")
    if not head:
        return None
    return word, plain("\n\n".join([f"```dl\n{head[0]}\n```", *more]))


_CODE = re.compile(r"(?<!`)(`[^`\n]+`)(?!`)")
_MARKUP = re.compile(r"[\\`*_\[\]<&~]")


def prose(text: str) -> str:
    """A comment as Markdown that says just that: editors would load the images of another's file, and draw `a*b*c`
    without its stars. What stands between backticks is code there too."""
    parts = _CODE.split(plain(text))
    return "".join(part if i % 2 else _MARKUP.sub(r"\\\g<0>", part) for i, part in enumerate(parts)).replace(
        "\n", "  \n"
    )


def _called(document: Document, around: object, word: Span) -> list[Span]:
    """The calls and stages of a pipe whose function the word is, the largest first."""
    found: list[Span] = []
    for part in syntax.walk([around]) if around is not None else ():
        if (isinstance(part, syntax.Pipe) and _head(part.right).start == word.start) or (
            isinstance(part, syntax.Call) and _head(part).start == word.start
        ):
            found.append(part.span)
    return found


def _head(expr: syntax.Expr) -> Span:
    while isinstance(expr, syntax.Call):
        expr = expr.function
    return expr.span


def _learned(document: Document, owner: str, value: Value) -> str | None:
    """How many numbers a layer learns: that which a value left, or an instance."""
    path = value.path if isinstance(value, Instance) else None
    if isinstance(value, Tensor):
        layers = [place.name for place in value.node.place.chain() if place.kind == "layer"]
        inside = [name for name in layers if name.startswith(owner + "." if owner else "") and name != owner]
        path = inside[0] if inside else None
    if not path:
        return None
    for module in document.modules:
        held = [v for v in module.variables.values() if v.kind == "parameter" and v.path.startswith(path + ".")]
        if held:
            count = sum(prod(size for size in v.type.shape if isinstance(size, int)) for v in held)
            return f"`{path}`: {count:,} parameter{'s' * (count != 1)}"
    return None


def _formula(document: Document, name: str, value: Value) -> str | None:
    """A value in terms of the others that the model names."""
    if not isinstance(value, Tensor) or not value.node.inputs:
        return None
    for module in document.modules:
        if module.names.get(name) is value.node:
            names: dict[Node, str] = {}
            for other, node in module.names.items():
                names.setdefault(node, other)
            names.pop(value.node)
            inside = needed([value.node], _below(names))
            if len(inside) <= LARGEST and not any(node.op.name in ("scan", "seed") for node in inside):
                text = of_value(value.node, dict(names)).text
                if len(text) <= LONGEST and text != name:
                    return f"`{name} = {text}`"
    return None


def _below(names: Mapping[Node, str]) -> Callable[[Node], Sequence[Node]]:
    return lambda node: () if node in names else node.inputs


# --- shapes behind the lines


@dataclass(frozen=True)
class Inlay:
    line: int  # from 1
    column: int  # from 0: where it stands
    text: str


def inlays(document: Document, first: int, last: int) -> list[Inlay]:
    """`: [batch, 128]` behind each line that makes a value: that of the largest piece of text which ends there."""
    found: dict[int, tuple[int, str]] = {}
    source = document.source
    for name, start, end in document.seen:
        if name != source.name:
            continue
        line, column = source.position(end)
        if not first <= line <= last:
            continue
        rest = source.line(line)[column - 1 :].partition("#")[0].strip(" \t")
        if rest and rest not in (")", "}", ","):
            continue
        said = _shape(document.seen[name, start, end])
        size = end - start
        if said is not None and (line not in found or size > found[line][0]):
            found[line] = size, said
    for declaration in document.declarations():
        for _, span in bindings(declaration.body):
            line = _last_line(declaration, span)
            said = _shape(document.values(span))
            if said is not None and first <= line <= last and declaration.span.source is source:
                found[line] = len(source.text), said
    return [Inlay(line, len(_code(source.line(line))), text) for line, (_, text) in sorted(found.items())]


def _last_line(declaration: syntax.Declaration | syntax.Train, span: Span) -> int:
    """The line on which the statement ends that gives a name."""
    for part in syntax.walk(list(declaration.body)):
        if (
            isinstance(part, syntax.Statement)
            and part.span.start <= span.start < part.span.end
            and isinstance(
                part,
                syntax.Assign
                | syntax.Update
                | syntax.Typed
                | syntax.Param
                | syntax.State
                | syntax.Input
                | syntax.Target,
            )
        ):
            return span.source.position(part.span.end)[0]
    return span.line


def _shape(values: Sequence[tuple[str, Value]]) -> str | None:
    types = [value.node.type for _, value in values if isinstance(value, Tensor) and value.node.dtype != "key"]
    if not types:
        return None
    shown = dict.fromkeys((show_shape(t.shape) if t.rank else "") if t.dtype == "float" else str(t) for t in types)
    texts = [text or "float" for text in shown]
    return ": " + " | ".join(texts[:3]) + (" | ..." if len(texts) > 3 else "")


def _code(line: str) -> str:
    """A line without the comment at its end."""
    end = 0
    for token in pattern().finditer(line):
        if token.lastgroup != "comment":
            end = token.end()
    return line[:end]


# --- the outline


@dataclass(frozen=True)
class Entry:
    name: str
    kind: str
    span: Span
    name_span: Span
    inner: tuple[Entry, ...] = ()
    detail: str = ""


def outline(document: Document) -> list[Entry]:
    found = []
    for declaration in document.declarations():
        if isinstance(declaration, syntax.Train):
            name = declaration.name or declaration.title or ""
            found.append(
                Entry(
                    f"train {name}".strip(), "train", declaration.span, declaration.span, tuple(_settings(declaration))
                )
            )
        else:
            kind = KINDS[type(declaration)]
            found.append(
                Entry(
                    declaration.name,
                    kind,
                    declaration.span,
                    declaration.name_span,
                    tuple(_entries(document, declaration)),
                )
            )
    return found


def carried(entries: Iterable[Entry], shift: Shift) -> Iterator[Entry]:
    """An outline in the text as it is now, without what was edited but for those around it."""
    for entry in entries:
        inner = tuple(carried(entry.inner, shift))
        whole, name = shift.span(entry.span), shift.span(entry.name_span)
        if inner:
            name = name or inner[0].name_span
            whole = whole or name.to(inner[-1].span)
        if whole is not None and name is not None:
            yield replace(entry, span=whole, name_span=name, inner=inner)


def _settings(block: syntax.Train) -> Iterator[Entry]:
    for line in block.body:
        if isinstance(line, syntax.Setting):
            yield Entry(line.name, "setting", line.span, line.name_span, detail=line.value.span.text)
        elif isinstance(line, syntax.Minimize):
            yield Entry("minimize " + line.objective.span.text, "setting", line.span, line.span)


_WORDS = {
    syntax.Input: "input",
    syntax.Target: "target",
    syntax.Param: "param",
    syntax.State: "state",
    syntax.Typed: "variable",
}


def _entries(document: Document, declaration: syntax.Declaration) -> Iterator[Entry]:
    for part in syntax.walk(list(declaration.body)):
        if isinstance(part, syntax.Input | syntax.Target | syntax.Param | syntax.State | syntax.Typed):
            yield Entry(
                part.name, _WORDS[type(part)], part.span, part.name_span, detail=_detail(document, part.name_span)
            )
        elif isinstance(part, syntax.Term):
            yield Entry(part.name or part.kind, part.kind, part.span, part.name_span)
        elif isinstance(part, syntax.Assign):
            for target in part.targets:
                name = target.value if isinstance(target, syntax.Index) else target
                if isinstance(name, syntax.Name):
                    yield Entry(name.name, "variable", part.span, name.span, detail=_detail(document, name.span))


def _detail(document: Document, span: Span) -> str:
    return next(filter(None, (typed(value) for _, value in document.values(span))), "")


# --- colours

COLOURS = (
    "keyword",
    "type",
    "function",
    "class",
    "parameter",
    "variable",
    "property",
    "number",
    "string",
    "comment",
    "operator",
)
_FIXED = {
    "comment": "comment",
    "string": "string",
    "number": "number",
    "keyword": "keyword",
    "word": "keyword",
    "constant": "keyword",
    "type": "type",
    "operator": "operator",
}


def colours(document: Document) -> Iterator[tuple[Span, str]]:
    """Every token of a text and its colour, of COLOURS: names by what they are."""
    text, source = document.text, document.source
    parameters: dict[int, set[str]] = {}
    found = list(document.declarations())
    for i, declaration in enumerate(found):
        parameters[i] = {p.name for p in lists(declaration)}
    own = {
        d.name: "class"
        if isinstance(d, syntax.Layer | syntax.Model | syntax.Distribution | syntax.Optimizer)
        else "function"
        for d in found
        if not isinstance(d, syntax.Train)
    }
    place, before = 0, ""
    for token in pattern().finditer(text):
        kind = str(token.lastgroup)
        colour = _FIXED.get(kind)
        if kind == "name":
            while place < len(found) and found[place].span.end < token.start():
                place += 1
            inside = place < len(found) and found[place].span.start <= token.start()
            called = text[token.end() : token.end() + 1] == "("
            if before == ".":
                colour = "property"
            elif inside and token[0] in parameters[place]:
                colour = "parameter"
            elif token[0] in own:
                colour = own[token[0]]
            elif called or before == "|>":
                colour = _colour_of(document, token[0])
            else:
                colour = "variable"
        if colour is not None and "\n" not in token[0]:
            yield Span(source, token.start(), token.end()), colour
        before = token[0]


def _colour_of(document: Document, name: str) -> str:

    head = heads().get(name)
    return "class" if head is not None and head[0] in ("layer", "optimizer", "distribution") else "function"
