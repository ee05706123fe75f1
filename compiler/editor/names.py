"""Where names are defined and used, and what may stand at a place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..diagnostics import CompileError, Problems
from ..elaborate.builtins import BUILTINS
from ..elaborate.expressions import CONSTANTS
from ..elaborate.library import Library, standard_index
from ..elaborate.train import DEFAULTS, REPEATED
from ..elaborate.values import Builtin
from ..recursion import deep_recursion
from ..source import Span
from ..syntax import tree as syntax
from .document import WORD, Document, Shift
from .words import CONSTANTS as CONSTANT_WORDS, OPERATORS, TYPES, keywords, pattern, statements

STATEMENTS = (
    "input",
    "target",
    "param",
    "state",
    "loss",
    "metric",
    "output",
    "return",
    "if",
    "for",
    "scan",
    "checkpoint",
)
LINES = ("minimize", "freeze")  # of a train block
DECLARATIONS = ("model", "layer", "fn", "optimizer", "distribution", "derivative", "train", "import")
KINDS = {
    syntax.Layer: "layer",
    syntax.Fn: "function",
    syntax.Optimizer: "optimizer",
    syntax.Distribution: "distribution",
    syntax.Model: "model",
    syntax.Derivative: "derivative",
}


@dataclass(frozen=True)
class Offer:
    """A completion: what it is (`layer`, `argument` ...), what stands beside it, what is said of it."""

    name: str
    kind: str
    detail: str = ""
    doc: str = ""
    insert: str = ""
    first: bool = False


def declared(document: Document, name: str) -> tuple[syntax.Declaration, str] | None:
    """A declaration by name, and the name of its file: of the text, of what it imports, of the library."""
    try:
        with deep_recursion():
            library = Library(Problems(), document.folder)
            found = document.unit.find(name) if document.unit else None
            if found is None and name in standard_index():
                found = library.standard(standard_index()[name]).find(name)
    except CompileError:
        return None
    return None if found is None else (found[0], found[1].source.name)


def signature(declaration: syntax.Declaration) -> str:
    """`layer dense(out: int, bias = true)(x: float[..., n]) -> float[..., out]`: up to its body."""
    text = declaration.span.source.text
    line = text[declaration.span.start : declaration.span.end]
    depth = 0
    for i, c in enumerate(line):
        depth += (c in "([") - (c in ")]")
        if not depth and (c == "{" or (c == "=" and line[i : i + 2] != "==")):
            return " ".join(line[:i].split())
    return " ".join(line.split())


def parameters(declaration: syntax.Declaration) -> list[syntax.Parameter]:
    """Those of its first list; of an fn, its only one."""
    return list(declaration.configuration)


# --- where names are


def bindings(body: Sequence[syntax.Statement] | Sequence[object]) -> Iterator[tuple[str, Span]]:
    """The names that statements give, and where, those of inner statements too."""
    for part in syntax.walk(list(body)):
        if isinstance(part, syntax.Assign):
            for target in part.targets:
                name = target.value if isinstance(target, syntax.Index) else target
                if isinstance(name, syntax.Name):
                    yield name.name, name.span
        elif isinstance(
            part, (syntax.Input | syntax.Target | syntax.Param | syntax.State | syntax.Typed, syntax.For | syntax.Scan)
        ):
            yield part.name, part.name_span


def _own(parameter: syntax.Parameter) -> Span:
    start = parameter.span.start
    return Span(parameter.span.source, start, start + len(parameter.name))


def lists(declaration: syntax.Declaration | syntax.Train) -> Iterator[syntax.Parameter]:
    """Every parameter of a declaration."""
    yield from declaration.configuration
    yield from getattr(declaration, "flow", ())


def local(declaration: syntax.Declaration | syntax.Train, name: str) -> Span | None:
    """Where a declaration gives a name first."""
    for parameter in lists(declaration):
        if parameter.name == name:
            return _own(parameter)
    return next((span for known, span in bindings(declaration.body) if known == name), None)


def definition(document: Document, offset: int) -> Span | None:
    """Where the name at a place is defined: in its declaration, in the file, in a file that is imported, or in the
    library."""
    word = document.word(offset)
    if word is None:
        return None
    around = document.around(offset)
    before = document.text[: word.start].rstrip()
    if around is not None and not before.endswith("."):
        found = local(around, word.text)
        if found is not None:
            return found
    if isinstance(around, syntax.Train):
        for model in document.declarations():
            if isinstance(model, syntax.Model) and model.name in (around.name, model.name):
                found = local(model, word.text)
                if found is not None:
                    return found
    known = declared(document, word.text)
    return None if known is None else known[0].name_span


def uses(document: Document, offset: int) -> list[Span]:
    """Every place of the name at a place: within its declaration where it is local, else in the whole file."""
    word = document.word(offset)
    if word is None or document.tree is None or word.text in keywords():
        return []
    name, around = word.text, document.around(offset)
    if (
        around is not None
        and local(around, name) is not None
        and not document.text[: word.start].rstrip().endswith(".")
    ):
        inside: list[object] = [around]
        if isinstance(around, syntax.Model):  # what a train block says of its parameters and layers
            inside += [
                d for d in document.declarations() if isinstance(d, syntax.Train) and d.name in (None, around.name)
            ]
        found = list(_places(inside, name, paths=isinstance(around, syntax.Model)))
        found += [_own(p) for p in lists(around) if p.name == name]
        called = isinstance(around, syntax.Layer | syntax.Fn | syntax.Optimizer | syntax.Distribution)
        if called and any(p.name == name for p in lists(around)):
            found += _arguments(document, str(around.name), name)
    elif any(d.name == name for d in document.declarations() if not isinstance(d, syntax.Train)):
        found = list(_places([document.tree], name, paths=False))
        for declaration in document.declarations():
            if declaration.name == name:
                found.append(declaration.name_span)
    else:
        return []
    return sorted(dict.fromkeys(found), key=lambda span: span.start)


def uses_while_typing(before: Document, document: Document, offset: int) -> list[Span]:
    """The same in a text that does not parse: the places that the text before had, and those that were typed since."""
    word, shift = document.word(offset), Shift(before.source, document.source)
    if word is None:
        return []
    found: dict[Span, None] = {}
    for match in re.finditer(rf"\b{re.escape(word.text)}\b", before.text):
        known = uses(before, match.start())
        places = [place for span in known if (place := shift.span(span)) is not None]
        if word in places or (not found and shift.place(*match.span()) is None):
            found = dict.fromkeys(places)
        if word in found:
            break
    first, last = shift.edited
    for token in pattern().finditer(document.text) if found else ():
        if token.lastgroup == "name" and token[0] == word.text and token.end() >= first and token.start() <= last:
            found[Span(document.source, token.start(), token.end())] = None
    return sorted(found, key=lambda span: span.start) if word in found else []


def _places(roots: Sequence[object], name: str, paths: bool) -> Iterator[Span]:
    for part in syntax.walk(roots):
        if isinstance(part, syntax.Name) and part.name == name:
            yield part.span
        elif isinstance(
            part, syntax.Input | syntax.Target | syntax.Param | syntax.State | syntax.Typed | syntax.For | syntax.Scan
        ):
            if part.name == name:
                yield part.name_span
        elif isinstance(part, syntax.Type):  # dimensions are names within, the dtype is not
            pass
        elif paths and isinstance(part, syntax.Path) and part.segments[0].name == name:
            start = part.segments[0].span.start
            yield Span(part.span.source, start, start + len(name))
        elif isinstance(part, syntax.Term) and part.name == name:
            yield part.name_span


def _arguments(document: Document, callee: str, name: str) -> Iterator[Span]:
    """`name = value` in calls of a declaration of this file."""
    for part in syntax.walk([document.tree]):
        if isinstance(part, syntax.Call):
            function = part.function
            while isinstance(function, syntax.Call):
                function = function.function
            if isinstance(function, syntax.Name) and function.name == callee:
                for argument in part.arguments:
                    if argument.name == name:
                        yield Span(argument.span.source, argument.span.start, argument.span.start + len(name))


# --- what may stand at a place


def offers(document: Document, text: str, offset: int) -> list[Offer]:
    """What may stand at a place of a text, which need not parse: `document` is what was last understood of it."""
    line = text[text.rfind("\n", 0, offset) + 1 : offset]
    head = re.sub(r"\w*$", "", line)
    if "#" in re.sub(r'"(?:\\.|[^"\\])*"', "", line) or line.count('"') % 2:
        return []
    block, opened = _block(text, offset)
    found: list[Offer] = []
    called = _called(text, offset)
    if called is not None:
        found += _arguments_of(document, called)
    if not head.strip() and called is None:
        words = DECLARATIONS if block is None else LINES if block == "train" else STATEMENTS
        found += [Offer(word, "keyword", first=True) for word in words]
        if block == "train":
            found += [Offer(name, "setting", insert=f"{name}: ", first=True) for name in (*DEFAULTS, *REPEATED, "keep")]
            return found
        if block is None:
            return found
    if re.search(r":\s*$", head) and called is None and block != "train":
        return [Offer(name, "type", first=True) for name in TYPES]
    wanted = (
        ("optimizer",) if re.search(r"\busing\s+(?:\w+\()*$", head)
        else ("distribution",) if re.search(r"~\s*$", head)
        else ("layer", "function") if re.search(r"\|>\s*$", head)
        else ()
    )  # fmt: skip
    found += [Offer(name, "variable", first=not wanted) for name in _known(text[opened:offset])]
    for declaration in document.declarations():
        if not isinstance(declaration, syntax.Train | syntax.Model | syntax.Derivative):
            found.append(_offer(declaration, wanted))
    if not head.rstrip().endswith("."):
        found += [_library(name, wanted) for name in standard_index()]
        found += [_builtin(BUILTINS[name], wanted) for name in BUILTINS]
        found += [Offer(name, "constant") for name in CONSTANTS]
    else:
        return []
    seen: dict[str, Offer] = {}
    for offer in found:
        seen.setdefault(offer.name, offer)
    return list(seen.values())


def _offer(declaration: syntax.Declaration, wanted: Sequence[str]) -> Offer:
    kind = KINDS[type(declaration)]
    return Offer(declaration.name, kind, signature(declaration), declaration.doc, first=kind in wanted)


_BEGINNINGS = {"fn": "function", "layer": "layer", "optimizer": "optimizer", "distribution": "distribution"}


def _library(name: str, wanted: Sequence[str]) -> Offer:
    """Of a declaration of the library by the first line of its text: that of all of it would be read for nothing."""
    kind, said = heads()[name]
    return Offer(name, kind, said, first=kind in wanted)


_HEADS: dict[str, tuple[str, str]] = {}


def heads() -> dict[str, tuple[str, str]]:
    if not _HEADS:
        for path in dict.fromkeys(standard_index().values()):
            for match in re.finditer(
                r"^(fn|layer|optimizer|distribution)[ \t]+(\w+)[^\n]*", path.read_text("utf-8"), re.M
            ):
                said = re.split(r"\s*(?:=\s(?![^(]*\))|\{)", match[0])[0]
                _HEADS[match[2]] = _BEGINNINGS[match[1]], said.rstrip()
    return _HEADS


def _builtin(builtin: Builtin, wanted: Sequence[str]) -> Offer:
    names = ", ".join(name if required else f"{name} = ..." for name, required in builtin.parameters)
    return Offer(builtin.name, "function", f"{builtin.name}({names or '...'})", first="function" in wanted)


def _block(text: str, offset: int) -> tuple[str | None, int]:
    """The word that begins the declaration around a place, and where: by the braces alone, as the text need not
    parse."""
    depth, found = 0, None
    for match in re.finditer(
        r'"(?:\\.|[^"\\\n])*"|#[^\n]*|[{}]|^(?:model|layer|fn|optimizer|distribution|derivative|train)\b',
        text[:offset],
        re.M,
    ):
        if match[0] == "{":
            depth += 1
        elif match[0] == "}":
            depth = max(depth - 1, 0)
            found = found if depth else None
        elif match[0][0] not in '"#':
            found, depth = (match[0], match.start()), 0
    return (found[0], found[1]) if found else (None, offset)


def _called(text: str, offset: int) -> str | None:
    """The name of the function in whose brackets a place is."""
    depth = 0
    for i in range(offset - 1, max(offset - 4000, -1), -1):
        c = text[i]
        if c in ")]":
            depth += 1
        elif c in "([":
            if not depth:
                match = re.search(r"(\w+)$", text[:i])
                return match[1] if match and c == "(" and not match[1].isdigit() else None
            depth -= 1
        elif c in "{}" and not depth:
            return None
    return None


def _arguments_of(document: Document, name: str) -> list[Offer]:
    known = declared(document, name)
    if known is not None:
        given = parameters(known[0])
        return [Offer(p.name, "argument", p.span.text, insert=f"{p.name} = ", first=True) for p in given]
    if name in BUILTINS:
        return [Offer(n, "argument", insert=f"{n} = ", first=True) for n, _ in BUILTINS[name].parameters]
    return []


_GIVES = re.compile(
    r"(?:^|[{;])[ \t]*(?:(?:input|target|param|state|for|scan)\s+)?"
    r"((?:\w+\s*,\s*)*\w+)(?:\[[^\]]*\])?\s*(?:=(?!=)|:|in\b|over\b)",
    re.M,
)


def _known(text: str) -> list[str]:
    """The names that a text gives before its end: of a declaration that need not parse."""
    plain = re.sub(r'"(?:\\.|[^"\\\n])*"|#[^\n]*', "", text)
    head = plain.partition("{")[0]
    found = dict.fromkeys(WORD.findall(re.sub(r"=[^,)]*|:[^,)=]*", "", head.partition("(")[2])))
    for match in _GIVES.finditer(plain):
        found.update(dict.fromkeys(WORD.findall(match[1])))
    return [name for name in found if name not in keywords()]


def is_name(text: str) -> bool:
    """Whether something may be called so."""
    return (
        WORD.fullmatch(text) is not None and text not in statements() and text not in (*CONSTANT_WORDS[:3], *OPERATORS)
    )
