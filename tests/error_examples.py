"""The examples of docs/errors/*.md as specs: each wrong line and each right one, among the lines around it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

PAGES = Path(__file__).parent.parent / "docs" / "errors"
TOP = re.compile(r"(fn|layer|optimizer|distribution|derivative|import|model|train)\b")
TRAIN = re.compile(
    r"(minimize|sample|freeze|(penalty|clip|batch|epochs?|steps|data|validate|stop|seed|columns|load|ensemble|keep|order|"
    r"weights|class_weights|folds|test|restore|average):)"
)
LOSS = """
    target y: int[batch]
    body = dense(4)
    head = dense(3)
    logits = x |> body |> relu |> head
    loss = cross_entropy(logits, y)
    metric accuracy = accuracy(logits, y)"""
MARK = re.compile(r"\s*(wrong|not yet|warning|right|better|says)\b")
RIGHT = ("right", "better", "says")


def statements(block: str) -> Iterator[tuple[str, str]]:
    """Each statement of a block, and what its comment begins with."""
    lines: list[str] = []
    mark, depth = "", 0
    for line in block.splitlines():
        code, _, comment = line.partition("#")
        found = MARK.match(comment)
        mark = mark or (found[1] if found else "")
        bare = re.sub(r'"[^"]*"', "", code)
        depth += sum(bare.count(sign) for sign in "([{") - sum(bare.count(sign) for sign in ")]}")
        lines.append(code.rstrip())
        if depth <= 0:
            if code := "\n".join(lines).strip():
                yield code, mark
            lines, mark, depth = [], "", 0


def blocks(code: str) -> list[str]:
    """The examples of a page, where it has them whole."""
    return re.findall(r"```dl\n(.*?)```", (PAGES / f"{code}.md").read_text("utf-8"), re.S)


def examples(code: str) -> Iterator[tuple[bool, list[str]]]:
    """Whether it is right, and the statements of each example of a page."""
    for block in blocks(code):
        found = list(statements(block))
        marked = [place for place, (_, mark) in enumerate(found) if mark]
        for chosen in marked:
            yield (
                found[chosen][1] in RIGHT,
                [text for place, (text, mark) in enumerate(found) if place == chosen or not mark],
            )


def spec(lines: Iterable[str]) -> str:
    """A spec with those statements, each where it belongs: at the top, in the model or in the train block."""
    above, inside, train = list[str](), list[str](), list[str]()
    for text in lines:
        (above if TOP.match(text) else train if TRAIN.match(text) else inside).append(text)
    top = "\n".join(above)
    body = "\n    ".join(inside)
    trained = train or re.search(r"^train\b", top, re.M)
    if not re.search(r"^model (?!encoder)", top, re.M):
        if not re.search(r"\binput x\b", body):
            body = f"input x: float[batch, 4]\n    {body}"
        if trained and not re.search(r"\bloss\b|~", body):
            body += LOSS
        top += f"\nmodel m {{\n    {body}\n    output ready = x\n}}"
    if (train or re.search(r"\bloss\b|~", body)) and not re.search(r"^train\b", top, re.M):
        if not any(line.startswith(("minimize", "sample")) for line in train):
            train.append("minimize loss using sgd(0.1)")
        top += "\ntrain m {\n    " + "\n    ".join(train) + "\n}"
    return top + "\n"
