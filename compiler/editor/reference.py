"""The library's reference, made of its source: of each declaration its text, what it learns, its equation, its comment.

`python -m dlc.editor.reference` prints it; the documentation site has a page of it for each file (`docs/site.py`).
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from ..elaborate.library import standard_folder
from ..recursion import deep_recursion
from ..syntax import tree as syntax
from ..syntax.parser import parse, read_source
from .names import signature

LONGEST = 12  # lines of a body that is shown whole


def files() -> list[Path]:
    """The files of the library, by name."""
    return sorted(standard_folder().rglob("*.dl"))


def page(path: Path, pictures: Collection[str] = ()) -> str:
    """A file of the library in Markdown: what its head says, and each of its declarations. `pictures`: names of those
    that have one beside the page, `NAME.svg`."""
    source = read_source(path)
    with deep_recursion():
        tree = parse(source)
    found = [d for d in tree.declarations if isinstance(d, syntax.Declaration)]
    own = {d.name: d for d in found if isinstance(d, syntax.Derivative)}
    shown = [d for d in found if not isinstance(d, syntax.Derivative)]
    lines = [f"# {path.stem}", "", f"`specs/std/{path.name}`"]
    head = _head(source.text)
    if head and (not shown or head != shown[0].doc):
        lines += ["", head]
    for declaration in shown:
        lines += ["", *_entry(declaration, own.get(declaration.name))]
        if declaration.name in pictures:
            lines += ["", f"![{declaration.name}, opened]({declaration.name}.svg)"]
    return "\n".join(lines) + "\n"


def _head(text: str) -> str:
    """The comment at the top of a file, up to the first blank line."""
    block = text.split("\n\n", 1)[0]
    lines = block.split("\n")
    return " ".join(line.lstrip("# ") for line in lines) if all(line.startswith("#") for line in lines) else ""


def _entry(declaration: syntax.Declaration, rule: syntax.Declaration | None) -> Iterator[str]:
    yield f"## {declaration.name}"
    yield ""
    yield f"```dl\n{signature(declaration)}\n```"
    if declaration.doc:
        yield ""
        yield declaration.doc
    held = [part for part in syntax.walk(list(declaration.body)) if isinstance(part, syntax.Param | syntax.State)]
    scanned = {
        id(s) for part in syntax.walk(list(declaration.body)) if isinstance(part, syntax.Scan) for s in part.body
    }
    if not isinstance(declaration, syntax.Optimizer):
        held = [part for part in held if id(part) not in scanned]
    if held:
        yield ""
        yield (
            "| "
            + ("keeps" if isinstance(declaration, syntax.Optimizer) else "learns and keeps")
            + " | shape | starts as |"
        )
        yield "| --- | --- | --- |"
        for part in held:
            yield f"| {_word(part)} `{part.name}` | {_code(part.type)} | {_code(_start(part))} |"
    body = _equation(declaration)
    if body:
        yield ""
        yield f"```dl\n{body}\n```"
    if rule is not None:
        yield ""
        yield f"Its derivative is its own:\n\n```dl\n{rule.span.text}\n```"


def _word(part: syntax.Param | syntax.State) -> str:
    return "parameter" if isinstance(part, syntax.Param) else "state"


def _start(part: syntax.Param | syntax.State) -> syntax.Expr | None:
    return part.value if isinstance(part, syntax.State) else part.init or part.prior


def _code(part: syntax.Type | syntax.Expr | None) -> str:
    return "" if part is None else f"`{part.span.text}`".replace("|", "\\|")


def _equation(declaration: syntax.Declaration) -> str:
    """What it computes, where that is short; of a distribution all its equations."""
    text = declaration.span.text
    return text if text.count("\n") < LONGEST else ""


def whole() -> str:
    """All pages, one after another."""
    return "\n".join(map(page, files()))


if __name__ == "__main__":
    sys.stdout.write(whole())
