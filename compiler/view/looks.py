"""What boxes and arrows look like: told apart by lightness and form, too (Okabe and Ito 2008), text at 7:1 or more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .box import Box

Attributes: TypeAlias = dict[str, str]  # of Graphviz

SYMBOLS = {  # operations as they are written; the others go by their names
    "add": "+",
    "sub": "−",
    "mul": "×",
    "div": "÷",
    "neg": "−",
    "pow": "^",
    "matmul": "@",
    "floordiv": "//",
    "mod": "%",
    "eq": "=",
    "ne": "≠",
    "lt": "<",
    "le": "≤",
    "gt": ">",
    "ge": "≥",
    "sqrt": "√",
    "maximum": "max",
    "minimum": "min",
    "random_uniform": "uniform draw",
    "random_normal": "normal draw",
    "random_below": "draw <",
    "reduce_sum": "Σ",
    "reduce_max": "max",
    "reduce_min": "min",
    "reduce_prod": "Π",
    "logsumexp": "log Σ exp",
}
LOOKS: dict[str, dict[str, str]] = {
    "input": {"shape": "box", "fillcolor": "#d6eaf8", "color": "#0b5394", "style": "filled,rounded", "penwidth": "2.4"},
    "target": {
        "shape": "box",
        "fillcolor": "#eef6fc",
        "color": "#0b5394",
        "style": "filled,rounded,dashed",
        "penwidth": "1.8",
    },
    "parameter": {"shape": "box", "fillcolor": "#fdebc8", "color": "#b36b00", "penwidth": "1.8"},
    "layer": {"shape": "box", "fillcolor": "#fdebc8", "color": "#b36b00", "penwidth": "1.8"},
    "state": {"shape": "box", "fillcolor": "#f1e6f5", "color": "#7a3b8f", "style": "filled,dashed", "penwidth": "1.5"},
    "plain": {"shape": "box", "fillcolor": "#e9edf3", "color": "#4c5a6b", "penwidth": "1.5"},
    "call": {"shape": "box", "fillcolor": "#ffffff", "color": "#4a5159", "style": "filled,rounded", "penwidth": "1.5"},
    "operation": {"shape": "box", "fillcolor": "#ffffff", "color": "#8a929a", "style": "filled,rounded"},
    "serving": {"shape": "box", "fillcolor": "#f1faf4", "color": "#5c9f7d", "style": "filled,rounded,dashed"},
    "backward": {"shape": "box", "fillcolor": "#fbeef5", "color": "#a0306e", "style": "filled,rounded"},
    "gradient": {"shape": "box", "fillcolor": "#f5d3e5", "color": "#a0306e", "penwidth": "1.8"},
    "update": {
        "shape": "box",
        "fillcolor": "#dcf1f1",
        "color": "#00716d",
        "style": "filled,rounded",
        "penwidth": "1.5",
    },
    "result": {"shape": "box", "fillcolor": "#d4efdf", "color": "#00684a", "peripheries": "2"},
    "loss": {"shape": "box", "fillcolor": "#fadbd8", "color": "#a93226", "peripheries": "2"},
}
CLUSTERS = ("#f6f8fa", "#edf1f5")
LEGEND = {
    "input": "data",
    "target": "target",
    "layer": "learned",
    "parameter": "learned",
    "loss": "loss",
    "result": "result",
    "serving": "when it predicts",
    "gradient": "gradient",
    "update": "update",
}
# From which side of a step to which. What a derivative reads of the model runs across.
KEPT = {"style": "dotted", "color": '"#c79ab3"', "constraint": "false", "arrowsize": "0.5"}
BACK = {"color": '"#a0306e"', "penwidth": "1.4"}
BEGIN = {**BACK, "constraint": "false"}
UPDATE = {"color": '"#00716d"'}
ARROWS: dict[tuple[str, str], dict[str, str]] = {
    ("forward", "forward"): {},
    ("forward", "backward"): KEPT,
    ("backward", "backward"): BACK,
    ("backward", "forward"): BACK,
    ("backward", "update"): UPDATE,
    ("forward", "update"): {**UPDATE, "style": "dashed", "constraint": "false"},
    ("update", "update"): UPDATE,
    ("update", "forward"): UPDATE,
    ("update", "backward"): UPDATE,
}
ACROSS = (("forward", "backward"), ("forward", "update"), ("update", "update"))  # arrows without shapes


@dataclass(frozen=True)
class Style:
    """How a picture is drawn. `begin`: the arrow from a loss to its derivative; `serving`: of arrows that only an
    output needs; `ink`: of text, its softer shade, and of arrows; `groups`: the line around what is opened."""

    looks: dict[str, Attributes]
    clusters: tuple[str, str]
    arrows: dict[tuple[str, str], Attributes]
    begin: Attributes
    serving: str
    ink: tuple[str, str, str]
    groups: str


# Black on white: kinds are told apart by shade, line and form alone.
SHADES = {"layer": "#e2e2e2", "parameter": "#e2e2e2", "plain": "#f2f2f2", "gradient": "#cccccc", "update": "#f2f2f2"}
LINES = {"backward": "filled,rounded,dashed", "gradient": "filled,dashed", "update": "filled,dotted"}


def _black(look: Attributes) -> Attributes:
    """The arrows of a derivative are dashed, those of an update thick."""
    style = {"#a0306e": "dashed", "#00716d": "bold"}.get(look.get("color", "").strip('"'), "")
    return {**({"style": style} if style else {}), **look, "color": '"#000000"'}


STYLES = {
    "colour": Style(LOOKS, CLUSTERS, ARROWS, BEGIN, "#5c9f7d", ("#1b1f24", "#4a5159", "#6b747d"), "#c3ccd5"),
    "print": Style(
        {
            kind: {**look, "fillcolor": SHADES.get(kind, "#ffffff"), "color": "#000000"}
            | ({"style": LINES[kind]} if kind in LINES else {})
            for kind, look in LOOKS.items()
        },
        ("#ffffff", "#ffffff"),
        {ends: _black(look) for ends, look in ARROWS.items()},
        _black(BEGIN),
        "#000000",
        ("#000000", "#000000", "#000000"),
        "#888888",
    ),
}


def look(box: Box) -> str:
    """Which of LOOKS a box has."""
    if box.side == "backward" and box.kind not in ("gradient", "input", "target", "parameter", "loss"):
        return "gradient" if any(line.startswith("∂") and "/∂" in line for line in box.lines) else "backward"
    if box.side == "update" and box.kind not in ("gradient", "state", "parameter", "layer"):
        return "update"
    return box.kind
