"""What boxes and arrows look like: told apart by lightness and form, too (Okabe and Ito 2008), text at 7:1 or more."""

from __future__ import annotations

from .box import Box

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


def look(box: Box) -> str:
    """Which of LOOKS a box has."""
    if box.side == "backward" and box.kind not in ("gradient", "input", "target", "parameter", "loss"):
        return "gradient" if any(line.startswith("∂loss/∂") for line in box.lines) else "backward"
    if box.side == "update" and box.kind not in ("gradient", "state", "parameter", "layer"):
        return "update"
    return box.kind
