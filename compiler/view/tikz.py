r"""A picture as TikZ, for papers in LaTeX: boxes and arrows where Graphviz has placed them, text as text.

The file is a document of the class `standalone`; its `tikzpicture` may be copied into another one, with the colours
above it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .box import Picture
from .looks import STYLES, Style, look

ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{c: f"{{{c}}}" for c in "[]*"},  # which `\\\\` at the end of a line before would take for its own
    **{c: "\\" + c for c in "$&#_%"},
}
SIGNS = {
    "∂": r"\partial", "×": r"\times", "÷": r"\div", "−": "-", "·": r"\cdot", "√": r"\surd", "Σ": r"\Sigma",
    "Π": r"\Pi", "≤": r"\le", "≥": r"\ge", "≠": r"\ne", "∞": r"\infty", "…": r"\ldots", "→": r"\rightarrow",
    "<": "<", ">": ">", "|": "|", "⊙": r"\odot", "ᵀ": r"^{\mathsf{T}}", "²": "^2", "′": r"'", "∈": r"\in",
}  # fmt: skip
GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu "
    "nu xi o pi rho varsigma sigma tau upsilon phi chi psi omega"
)
LETTERS = {chr(0x3B1 + i): name for i, name in enumerate(GREEK.split())}


def text(said: str) -> str:
    """Text of LaTeX: nothing in it is a command."""
    return "".join(_letter(c) for c in said)


def _letter(c: str) -> str:
    if c in ESCAPES:
        return ESCAPES[c]
    if c in SIGNS:
        return f"\\ensuremath{{{SIGNS[c]}}}"
    if c in LETTERS:
        return f"\\ensuremath{{\\{LETTERS[c]}}}" if len(LETTERS[c]) > 1 else c
    return c if (c.isascii() and c.isprintable()) or "\u00a1" <= c <= "\u017f" else "?"


def tikz(picture: Picture, laid: bytes, style: str = "colour") -> str:
    """`laid`: what Graphviz says of the picture in JSON, whose boxes are in the order of the picture."""
    found: dict[str, Any] = json.loads(laid)
    drawn = STYLES[style]
    lines = [
        "% Made by `dlc graph`. Needs the packages standalone and tikz.",
        r"\documentclass[tikz,border=4pt]{standalone}",
        r"\usetikzlibrary{arrows.meta}",
        *_colours(drawn),
        r"\begin{document}",
        r"\begin{tikzpicture}[x=1bp, y=1bp, font=\sffamily\small, line width=0.6pt, >={Stealth[length=5pt]},",
        "  box/.style={draw, align=center, inner sep=0pt}, shape label/.style={font=\\sffamily\\scriptsize}]",
    ]
    objects = found.get("objects", [])
    lines += [line for one in objects if "nodes" in one or "bb" in one for line in _group(one, drawn)]
    by_name = {f"n{i}": box for i, box in enumerate(picture)}
    for edge in found.get("edges", []):
        lines += _arrow(edge)
    for one in objects:
        box = by_name.get(one.get("name", ""))
        if box is None or "pos" not in one:
            continue
        x, y = one["pos"].split(",")
        size = f"minimum width={_points(one['width'])}, minimum height={_points(one['height'])}"
        head, *more = box.text
        body = r"\\".join([f"\\textbf{{{text(head)}}}", *(text(line) for line in more)])
        lines.append(f"  \\node[box, {_look(drawn, look(box))}, {size}] at ({x}, {y}) {{{body}}};")
    return "\n".join([*lines, r"\end{tikzpicture}", r"\end{document}"]) + "\n"


def _points(inches: str) -> str:
    return f"{72 * float(inches):.2f}bp"


def _colours(style: Style) -> list[str]:
    """A name for each colour of a picture."""
    values = [value for each in style.looks.values() for value in (each["fillcolor"], each["color"])]
    values += [*style.clusters, *style.ink, style.serving, style.groups]
    values += [arrow.get("color", "").strip('"') for arrow in (*style.arrows.values(), style.begin)]
    return [
        f"\\definecolor{{{_name(value)}}}{{HTML}}{{{value[1:].upper()}}}" for value in dict.fromkeys(values) if value
    ]


def _name(value: str) -> str:
    return "c" + value.strip('"#').lower()


def _look(style: Style, kind: str) -> str:
    drawn = style.looks[kind]
    words = [f"fill={_name(drawn['fillcolor'])}", f"draw={_name(drawn['color'])}"]
    words += ["rounded corners=4pt"] if "rounded" in drawn.get("style", "") else []
    words += _dashes(drawn.get("style", ""))
    words += ["double"] if drawn.get("peripheries") == "2" else []
    return ", ".join([*words, f"line width={0.5 * float(drawn.get('penwidth', '1.2')):g}pt"])


def _dashes(style: str) -> list[str]:
    return [word for word in ("dashed", "dotted") if word in style]


def _group(one: Mapping[str, Any], style: Style) -> Iterable[str]:
    """The frame around what is opened, and its title."""
    if not one.get("name", "").startswith("cluster"):
        return
    low_x, low_y, high_x, high_y = one["bb"].split(",")
    fill = _name(one.get("fillcolor", style.clusters[0]))
    yield (
        f"  \\draw[rounded corners=5pt, draw={_name(style.groups)}, fill={fill}] "
        f"({low_x}, {low_y}) rectangle ({high_x}, {high_y});"
    )
    title = text(str(one.get("label", "")))
    said = f"anchor=north west, inner sep=3pt, shape label, text={_name(style.ink[1])}"
    yield f"  \\node[{said}] at ({low_x}, {high_y}) {{{title}}};"


def _arrow(edge: Mapping[str, Any]) -> list[str]:
    """One arrow as the splines that Graphviz has made; its head is where that says the end is."""
    pieces = edge.get("pos", "").split()
    tip = next((piece[2:] for piece in pieces if piece.startswith("e,")), None)
    tail = next((piece[2:] for piece in pieces if piece.startswith("s,")), None)
    points = [piece for piece in pieces if not piece.startswith(("e,", "s,"))]
    if len(points) < 4:
        return []
    path = f"({points[0]})" + "".join(
        f" .. controls ({points[i]}) and ({points[i + 1]}) .. ({points[i + 2]})" for i in range(1, len(points) - 2, 3)
    )
    path = (f"({tail}) -- " if tail else "") + path + (f" -- ({tip})" if tip else "")
    head = "<-" if tail and not tip else "->"
    words = [head, f"draw={_name(edge.get('color', '#6b747d'))}", *_dashes(edge.get("style", ""))]
    words += ["line width=1.2pt"] if "bold" in edge.get("style", "") else []
    lines = [f"  \\draw[{', '.join(words)}] {path};"]
    if edge.get("label", "").strip() and "lp" in edge:
        said = r"\\".join(text(line) for line in _lines(edge["label"]))
        lines.append(f"  \\node[shape label, align=center] at ({edge['lp']}) {{{said}}};")
    return lines


def _lines(label: str) -> Sequence[str]:
    return label.replace("\\n", "\n").strip().split("\n")
