"""A picture as a file: `.dot` and `.mmd` (Mermaid) by our own writers, `.svg`, `.pdf` and `.png` by Graphviz, which
also places what a `.tex` (TikZ) draws."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

from ..diagnostics import error
from .box import Box, Picture
from .looks import ACROSS, LEGEND, STYLES, Style, look
from .tikz import tikz

KINDS = (".svg", ".pdf", ".png", ".tex", ".html", ".dot", ".mmd")
LARGEST = 1_500  # boxes that are laid out
# Beyond so many boxes Graphviz is held to a few rounds of its network simplex and draws arrows as straight lines:
# curves around 1,500 boxes took it more than 15 minutes.
MANY = 250
QUICK = ", nslimit=0.2, nslimit1=0.2, mclimit=0.05, splines=line"


def kind_of(path: Path) -> str:
    """The ending of a picture's name, one of KINDS. E0792 for another."""
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise error(
            "E0792",
            f"a picture is not written as `{path.name}`",
            None,
            notes=["endings are " + ", ".join(KINDS)],
            help=f"-o {path.stem or 'graph'}.svg",
        )
    return kind


def content(picture: Picture, path: Path, style: str = "colour") -> str | bytes:
    """The content of a file by the ending of its name; `style`: "colour", or "print" for black on white. E0792."""
    kind = kind_of(path)
    if kind in (".pdf", ".png"):
        return laid_out(picture, kind[1:], style)
    if kind == ".tex":
        return tikz(picture, laid_out(picture, "json", style), style)
    return {".dot": dot, ".mmd": mermaid, ".svg": svg}[kind](picture, style)


# --- .dot


def quote(text: str) -> str:
    """A quoted string of the dot language: nothing in it ends the string or is an escape of Graphviz."""
    return '"' + printable(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)


def dot(picture: Picture, style: str = "colour") -> str:
    """The picture in the dot language. The same picture gives the same text."""
    drawn = STYLES[style]
    ink, soft, edge = drawn.ink
    number = {box: f"n{i}" for i, box in enumerate(picture)}
    lines = [
        "digraph {",
        f"  graph [label={_heading(picture, drawn)}, labelloc=t, labeljust=l, fontsize=18, rankdir=TB,",
        '    nodesep=0.3, ranksep=0.32, pad=0.2, bgcolor="#ffffff", fontname="Helvetica,Arial,sans-serif",',
        f'    fontcolor="{ink}", compound=true{QUICK if picture.number_of_nodes() > MANY else ""}]',
        f'  node [fontname="Helvetica,Arial,sans-serif", fontsize=13, fontcolor="{ink}", style=filled, penwidth=1.2,',
        '    margin="0.16,0.07", height=0.3]',
        f'  edge [fontname="Helvetica,Arial,sans-serif", fontsize=11, fontcolor="{soft}", color="{edge}",',
        "    arrowsize=0.7]",
    ]
    lines += _nested(tree(picture), number, 1, drawn)
    lines += _level(picture, number)
    for source, target, data in picture.edges(data=True):
        lines.append("  " + _arrow(number[source], number[target], source.side, target.side, data, drawn))
    return "\n".join([*lines, "}"]) + "\n"


def _heading(picture: Picture, style: Style) -> str:
    """The name of the model, and what the colours in the picture mean."""
    shown = {look(box) for box in picture}
    cells = "".join(
        f'<TD BGCOLOR="{style.looks[kind]["fillcolor"]}" COLOR="{style.looks[kind]["color"]}" BORDER="1" '
        f'CELLPADDING="3">'
        f'<FONT POINT-SIZE="10"> {escape(text)} </FONT></TD>'
        for text, kind in {LEGEND[kind]: kind for kind in LEGEND if kind in shown}.items()
    )
    title = escape(printable(picture.graph.get("title", "")).replace("\n", " ")) or " "
    return (
        '<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="4"><TR>'
        f'<TD ALIGN="LEFT"><B>{title}</B>   </TD>{cells}</TR></TABLE>>'
    )


def _level(picture: Picture, number: dict[Box, str]) -> Iterator[str]:
    """A derivative stands beside what it derives."""
    forward = {box.partner: box for box in picture if box.side == "forward" and not box.path and box.of is not None}
    for box in picture:
        if box.side == "backward" and len(box.path) == 1 and box.partner in forward:
            yield f"  {{rank=same; {number[forward[box.partner]]}; {number[box]}}}"


def _arrow(source: str, target: str, start: str, end: str, data: dict[str, Any], style: Style) -> str:
    """Arrows of a derivative run up, beside those of the model, which run down."""
    look = dict(style.begin if data.get("starts") else style.arrows[start, end])
    if data["label"] and (start, end) not in ACROSS:
        look["label"] = quote(" " + data["label"])
    if data["next"]:
        look |= {"style": "bold", "constraint": "false", "label": quote(" next")}
    if data["serving"]:
        look["style"], look["color"] = "dashed", f'"{style.serving}"'
    if (start, end) == ("backward", "backward"):
        source, target = target, source
        look["dir"] = "back"
    shown = ", ".join(f"{key}={value}" for key, value in look.items())
    return f"{source} -> {target}" + (f" [{shown}]" if shown else "")


def tree(picture: Picture) -> dict[Any, Any]:
    """Boxes, and the titles of what they lie in with what lies there."""
    titles, plain = picture.graph.get("titles", {}), picture.graph.get("plain", ())
    made: dict[Any, Any] = {}
    for box in picture:
        branch = made
        for i, place in enumerate(box.path):
            path = box.path[: i + 1]
            if path not in plain and place.kind != "part":
                branch = branch.setdefault((path, titles.get(path) or place.name), {})
        branch[box] = None
    return made


def _nested(boxes: dict[Any, Any], number: dict[Box, str], first: int, style: Style) -> Iterator[str]:
    """Boxes, and clusters within clusters. Not recursive: layers may nest deeply."""
    clusters = 0
    stack: list[tuple[Iterator[Any], int]] = [(iter(boxes.items()), first)]
    while stack:
        items, depth = stack[-1]
        pad = "  " * depth
        for key, inside in items:
            if isinstance(key, Box):
                yield pad + _node(key, number[key], style)
                continue
            clusters += 1
            yield f"{pad}subgraph cluster_{clusters} {{"
            yield (
                f'{pad}  graph [label={quote(key[1])}, labeljust=l, fontsize=12, fontcolor="{style.ink[1]}", '
                f'style="filled,rounded", color="{style.groups}", fillcolor="{style.clusters[(depth - 1) % 2]}", '
                f"margin=10, tooltip={quote(key[1])}]"
            )
            stack.append((iter(inside.items()), depth + 1))
            break
        else:
            stack.pop()
            if stack:
                yield "  " * (depth - 1) + "}"


def _node(box: Box, name: str, style: Style) -> str:
    shown = ", ".join(f'{key}="{value}"' for key, value in style.looks[look(box)].items())
    return f"{name} [label={quote(chr(10).join(box.text))}, {shown}, tooltip={quote(box.tip)}]"


# --- Mermaid


def mermaid(picture: Picture, style: str = "colour") -> str:
    """The picture as a Mermaid flowchart, which GitHub and notebooks draw. The same picture gives the same text."""
    number = {box: f"n{i}" for i, box in enumerate(picture)}
    lines, parts = ["flowchart TB"], 0
    stack: list[tuple[Iterator[Any], int]] = [(iter(tree(picture).items()), 1)]
    while stack:
        items, depth = stack[-1]
        for key, inside in items:
            if isinstance(key, Box):
                text = "<br/>".join(_plain(line) for line in key.text)
                lines.append(f'{"  " * depth}{number[key]}["{text}"]:::{look(key)}')
                continue
            parts += 1
            lines.append(f'{"  " * depth}subgraph s{parts}["{_plain(key[1])}"]')
            stack.append((iter(inside.items()), depth + 1))
            break
        else:
            stack.pop()
            if stack:
                lines.append("  " * (depth - 1) + "end")
    for source, target, data in picture.edges(data=True):
        shown = f'|"{"<br/>".join(map(_plain, data["label"].splitlines()))}"|' if data["label"] else ""
        lines.append(f"  {number[source]} {'-.->' if data['serving'] else '-->'}{shown} {number[target]}")
    for kind in dict.fromkeys(map(look, picture)):
        drawn = STYLES[style].looks[kind]
        width = drawn.get("penwidth", "1.2")
        said = f"fill:{drawn['fillcolor']},stroke:{drawn['color']},color:{STYLES[style].ink[0]},stroke-width:{width}px"
        lines.append(f"  classDef {kind} {said}")
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Text of Mermaid: what it or a browser would read as more is written by its number."""
    return "".join(c if c.isalnum() or c in " .,()+-×÷·=^…" else f"#{ord(c)};" for c in printable(text))


# --- laid out by Graphviz


def svg(picture: Picture, style: str = "colour") -> str:
    """The picture as SVG."""
    text = laid_out(picture, "svg", style).decode("utf-8")
    return text[text.index("<svg") :]


def laid_out(picture: Picture, format: str, style: str = "colour") -> bytes:
    """The picture laid out by Graphviz: "svg", "pdf", "png" or "json". E0791 where pygraphviz is not installed, E0775
    for one that is too large."""
    if picture.number_of_nodes() > LARGEST:
        raise error(
            "E0775",
            f"the picture would have {picture.number_of_nodes():,} boxes",
            None,
            notes=[f"at most {LARGEST:,} are laid out"],
            help="without `--depth all` there is one box for each layer; a .dot or .mmd file holds any number",
        )
    try:
        import pygraphviz
    except ImportError:
        raise error(
            "E0791",
            "drawing needs Graphviz, which is not installed",
            None,
            help='pip install "dlc-compiler[graph]", or write a .dot or .mmd file',
        ) from None
    text = dot(picture, style)
    if format == "png":
        text = text.replace("digraph {", "digraph {\n  graph [dpi=144]", 1)  # sharp on paper and on any screen
    with _quiet():
        drawn: bytes = pygraphviz.AGraph(string=text).draw(format=format, prog="dot")
    return drawn


@contextmanager
def _quiet() -> Iterator[None]:
    """Graphviz and fontconfig write warnings about fonts to file descriptor 2, past Python."""
    try:
        before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:
        yield
        return
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)
