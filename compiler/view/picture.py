"""A graph as a picture: `.dot` by our own writer, `.svg` laid out by Graphviz, `.html` to walk around in.

    picture = box* arrow*                   a networkx graph of Box, in the order of the text
    box     = input | target | parameter | state | operation | serving | result
    arrow   = (from, to, shape)             what flows

Boxes nest by the layer instance that made them. Single numbers and sizes are written into the operation that uses
them, and casts are not drawn, so that what is left is what a person would draw. "serving" is what only an output
needs: where dropout or running statistics make the passes differ, a layer has such a second part.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import networkx as nx

from ..diagnostics import error
from ..ir.graph import Node, show_attr
from ..ir.module import Module
from ..ir.reachable import needed
from ..ir.types import show_shape
from ..ops.match import hidden

SHOWN = {"graph": ("output/", "loss", "metric/"), "step": ("loss", "metric/", "next/"), "predict": ("output/",)}
STAGES = tuple(SHOWN)
KINDS = (".svg", ".dot", ".html")
LARGEST = 1_500  # boxes; beyond it layers are folded, the deepest first
# Beyond so many boxes Graphviz is held to a few rounds of its network simplex and draws arrows as straight lines:
# curves around 1,500 boxes took it more than 15 minutes.
MANY = 250
QUICK = ", nslimit=0.2, nslimit1=0.2, mclimit=0.05, splines=line"
WRITTEN = ("constant", "size")  # single values written into their users

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
# Fill and line of each kind: told apart by lightness and by form too (Okabe and Ito 2008), text at 7:1 or more.
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
    "state": {"shape": "box", "fillcolor": "#f1e6f5", "color": "#7a3b8f", "style": "filled,dashed", "penwidth": "1.5"},
    "operation": {"shape": "box", "fillcolor": "#ffffff", "color": "#8a929a", "style": "filled,rounded"},
    "serving": {"shape": "box", "fillcolor": "#f1faf4", "color": "#5c9f7d", "style": "filled,rounded,dashed"},
    "folded": {"shape": "box3d", "fillcolor": "#e9edf1", "color": "#5f6871"},
    "result": {"shape": "box", "fillcolor": "#d4efdf", "color": "#00684a", "peripheries": "2"},
    "loss": {"shape": "box", "fillcolor": "#fadbd8", "color": "#a93226", "peripheries": "2"},
}
CLUSTERS = ("#f6f8fa", "#edf1f5")


@dataclass(frozen=True, eq=False)
class Box:
    """What stands in one box. `scope` is the layer instance that it lies in, from the outside in."""

    kind: str
    lines: tuple[str, ...]
    scope: tuple[str, ...] = ()
    tip: str = ""


Picture: TypeAlias = "nx.MultiDiGraph[Box]"  # edges have `label`


def draw(module: Module, stage: str = "graph") -> Picture:
    """The picture of a module. "graph" is the model as it is written; "predict" and "step" are what runs, of a module
    that was differentiated and optimized."""
    if stage not in STAGES:
        raise error("E0792", f"there is no stage `{stage}`", None, notes=["stages are " + ", ".join(STAGES)])
    roots = module.roots(*SHOWN[stage])
    if stage == "step" and not module.trains:
        raise error("E0509", "there is no step to draw: the spec has no train block", None, help="--stage predict")
    picture = _Drawing(module).run(roots, names=stage == "graph")
    depth = max((len(box.scope) for box in picture), default=0)
    while picture.number_of_nodes() > LARGEST and depth:
        depth -= 1
        picture = fold(picture, depth)
    picture.graph["title"] = module.name
    return picture


class _Drawing:
    """Turns nodes into boxes, each once."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.picture: Picture = nx.MultiDiGraph()
        self.boxes: dict[Node, Box] = {}
        self.kinds = {path: variable.kind for path, variable in module.variables.items()}
        self.targets = {leaf.attrs["name"] for leaf in module.targets}
        self.names: dict[Node, str] = {}
        self.learning: set[Node] = set()
        self.forward: set[Node] = set()
        self.layers: set[str] | None = None  # of a step: the outermost layers

    def run(self, roots: dict[str, Node], names: bool) -> Picture:
        if names:
            for name, node in self.module.names.items():
                self.names.setdefault(node, name)
        shown: dict[Node, list[str]] = {}
        for name, node in roots.items():
            if not name.startswith("next/"):
                shown.setdefault(node, []).append(name.replace("/", " "))
        needed = self._needed(roots.values(), keys=not names)
        learning = [node for name, node in roots.items() if not name.startswith("output/")]
        self.learning = set(self._needed(learning, keys=True)) if learning else set(needed)
        if any(name.startswith("next/") for name in roots):
            figures = [node for name, node in roots.items() if not name.startswith("next/")]
            self.forward = set(self._needed(figures, keys=True))
            self.layers = {scope[0] for node in self.forward if (scope := scope_of(node.scope))}
        for node in needed:
            if not written(node) and not hidden(node):
                self._box(node)
        for node, titles in shown.items():
            self._result(node, titles)
        for name, node in roots.items():
            if name.startswith("next/"):
                self._next(name.removeprefix("next/"), node)
        return self.picture

    def _needed(self, roots: Collection[Node], keys: bool) -> list[Node]:
        """The roots and what they need, inputs first; without `keys`, not how a draw gets its key."""
        return needed(roots, lambda node: [source for source in node.inputs if keys or source.dtype != "key"])

    def _box(self, node: Node) -> None:
        kind = "operation" if node in self.learning else "serving"
        box = self._leaf(node) or Box(kind, self._formula(node), self._scope(node), self._tip(node))
        self.boxes[node] = box
        self.picture.add_node(box)
        for source in node.inputs:
            seen = source
            while hidden(seen):
                seen = seen.inputs[0]
            if not written(seen) and seen in self.boxes:
                self._arrow(seen, box)

    def _scope(self, node: Node) -> tuple[str, ...]:
        """Where a node is drawn: in its layer; of a step's derivatives in a part of their own, since drawn among what
        they are derivatives of their arrows would run against all others."""
        scope = scope_of(node.scope)
        if self.layers is None or node in self.forward or (scope and scope[0] not in self.layers):
            return scope
        return ("derivatives", *scope)

    def _arrow(self, source: Node, box: Box) -> None:
        origin = self.boxes[source]
        # The box of an input or parameter says its shape already.
        label = show_shape(source.shape) if source.rank and origin.kind in ("operation", "serving") else ""
        self.picture.add_edge(origin, box, label=label)

    def _leaf(self, node: Node) -> Box | None:
        name = node.op.name
        if name == "input":
            kind = "target" if node.attrs["name"] in self.targets else "input"
            return Box(kind, (node.attrs["name"], str(node.type)), (), f"{kind} {node.attrs['name']}")
        if name == "variable":
            path = node.attrs["path"]
            owner, _, last = path.rpartition(".")
            kind = "parameter" if self.kinds.get(path) == "parameter" else "state"
            inside = scope_of(owner) if "/" not in path else scope_of(node.scope)
            shape = show_shape(node.shape) if node.rank else node.dtype
            return Box(kind, (path if "/" in path else last, shape), inside, f"{kind} {path}")
        if name == "constant":
            return Box("operation", (show_attr(node.attrs["value"]), str(node.type)), scope_of(node.scope), "constant")
        return None

    def _formula(self, node: Node) -> tuple[str, ...]:
        """The operation with its numbers written in: `x × 0.5` is one box."""
        symbol = SYMBOLS.get(node.op.name.rstrip("_"), node.op.name)
        values = [_value(source) for source in node.inputs]
        if len(values) == 2 and any(values) and not symbol[0].isalpha():
            left, right = (f"({value})" if " " in value else value or "·" for value in values)  # `· ÷ (batch * time)`
            text = f"{left} {symbol} {right}"
        elif any(values):
            text = f"{symbol}({', '.join(value or '·' for value in values)})"
        else:
            text = symbol
        if node.op.name == "random_below":
            text += f" {node.attrs['share']:g}"
        axes = node.attrs.get("axes", node.attrs.get("axis"))
        if axes is not None and axes != ():
            text += f"  axis {show_attr(axes).strip('[]')}"
        return (self.names[node], text) if node in self.names else (text,)

    def _tip(self, node: Node) -> str:
        return f"{node.op.name}: {node.type}" + (f", {node.span}" if node.span else "")

    def _result(self, node: Node, titles: Sequence[str]) -> None:
        while hidden(node):
            node = node.inputs[0]
        kind = "loss" if "loss" in titles else "result"
        box = Box(kind, (*titles, str(node.type)), (), ", ".join(titles))
        self.picture.add_node(box)
        if written(node):
            return
        self.picture.add_edge(self.boxes[node], box, label="")

    def _next(self, path: str, node: Node) -> None:
        """The new value of a parameter goes into a box of its own: a step is drawn without circles."""
        variable = self.module.variables.get(path)
        drawn = not written(node) and not hidden(node)
        if variable is not None and self.kinds.get(path) == "parameter" and drawn:
            box = Box("parameter", (f"new {path}", show_shape(node.shape)), (), f"{path} after the step")
            self.picture.add_node(box)
            self.picture.add_edge(self.boxes[node], box, label="")


def scope_of(path: str) -> tuple[str, ...]:
    """`block[3].conv1` -> ("block[3]", "conv1")"""
    return tuple(path.replace("/", ".").split(".")) if path else ()


def written(node: Node) -> bool:
    """Whether a value is written into its users: a single number, or a size."""
    if node.op.name == "constant" and node.rank and node.attrs["value"].size == 1:
        return True
    if node.op.name in ("broadcast_to", "reshape") or hidden(node):
        return written(node.inputs[0]) and node.inputs[0].rank == 0
    return node.op.name in WRITTEN and node.rank == 0


def _value(node: Node) -> str:
    """The text of a value that is written into its users; "" for any other."""
    if not written(node):
        return ""
    while node.inputs:
        node = node.inputs[0]
    if node.op.name == "size":
        return str(node.attrs["dim"])
    number = node.attrs["value"]
    return f"{float(number.reshape(-1)[0]):.6g}" if number.dtype.kind == "f" else str(number.reshape(-1)[0])


def fold(picture: Picture, depth: int) -> Picture:
    """The picture with every layer deeper than `depth` as one box."""
    folded: Picture = nx.MultiDiGraph()
    inside: dict[tuple[str, ...], list[Box]] = {}
    for box in picture:
        if len(box.scope) > depth:
            inside.setdefault(box.scope[: depth + 1], []).append(box)
    boxes: dict[Box, Box] = {}
    for scope, members in inside.items():
        parameters = sum(box.kind == "parameter" for box in members)
        whole = Box(
            "folded",
            (scope[-1], f"{len(members) - parameters} operations, {parameters} parameters"),
            scope[:-1],
            ".".join(scope),
        )
        boxes.update(dict.fromkeys(members, whole))
    for box in picture:
        folded.add_node(boxes.get(box, box))
    seen: dict[tuple[Box, Box, str], None] = {}
    for source, target, label in picture.edges(data="label"):
        edge = (boxes.get(source, source), boxes.get(target, target), label)
        if edge[0] is not edge[1] and edge not in seen:
            seen[edge] = None
            folded.add_edge(edge[0], edge[1], label=label)
    return folded


# --- .dot


def quote(text: str) -> str:
    """A quoted string of the dot language: nothing in it ends the string or is an escape of Graphviz."""
    shown = "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def dot(picture: Picture) -> str:
    """The picture in the dot language. The same picture gives the same text."""
    number = {box: f"n{i}" for i, box in enumerate(picture)}
    lines = [
        "digraph {",
        f"  graph [label={quote(picture.graph.get('title', ''))}, labelloc=t, labeljust=l, fontsize=20, rankdir=TB,",
        '    nodesep=0.28, ranksep=0.38, pad=0.3, bgcolor="#ffffff", fontname="Helvetica,Arial,sans-serif",',
        f'    fontcolor="#1b1f24", compound=true{QUICK if picture.number_of_nodes() > MANY else ""}]',
        '  node [fontname="Helvetica,Arial,sans-serif", fontsize=12, fontcolor="#1b1f24", style=filled, penwidth=1.2,',
        '    margin="0.14,0.07", height=0.3]',
        '  edge [fontname="Helvetica,Arial,sans-serif", fontsize=10, fontcolor="#4a5159", color="#6b747d",',
        "    arrowsize=0.7]",
    ]
    tree: dict[Any, Any] = {}
    for box in picture:
        branch: dict[Any, Any] = tree
        for part in box.scope:
            branch = branch.setdefault(("in", part), {})
        branch[box] = None
    lines += _nested(tree, number, 1)
    for source, target, label in picture.edges(data="label"):
        shown = f" [label={quote(' ' + label)}]" if label else ""
        lines.append(f"  {number[source]} -> {number[target]}{shown}")
    return "\n".join([*lines, "}"]) + "\n"


def _nested(tree: dict[Any, Any], number: dict[Box, str], first: int) -> Iterator[str]:
    """Boxes, and clusters within clusters. Not recursive: layers may nest deeply."""
    clusters = 0
    stack: list[tuple[Iterator[Any], int]] = [(iter(tree.items()), first)]
    while stack:
        items, depth = stack[-1]
        pad = "  " * depth
        for key, inside in items:
            if isinstance(key, Box):
                yield pad + _node(key, number[key])
                continue
            clusters += 1
            yield f"{pad}subgraph cluster_{clusters} {{"
            yield (
                f'{pad}  graph [label={quote(key[1])}, labeljust=l, fontsize=12, fontcolor="#3d454d", '
                f'style="filled,rounded", color="#c3ccd5", fillcolor="{CLUSTERS[(depth - 1) % 2]}", '
                f"margin=12, tooltip={quote(key[1])}]"
            )
            stack.append((iter(inside.items()), depth + 1))
            break
        else:
            stack.pop()
            if stack:
                yield "  " * (depth - 1) + "}"


def _node(box: Box, name: str) -> str:
    look = ", ".join(f'{key}="{value}"' for key, value in LOOKS[box.kind].items())
    return f"{name} [label={quote(chr(10).join(box.lines))}, {look}, tooltip={quote(box.tip)}]"


# --- files


def svg(picture: Picture) -> str:
    """The picture laid out by Graphviz. E0791 where pygraphviz is not installed, E0775 for one that is too large."""
    if picture.number_of_nodes() > LARGEST:
        raise error(
            "E0775",
            f"the picture would have {picture.number_of_nodes():,} boxes",
            None,
            notes=[f"at most {LARGEST:,} are laid out; layers were folded already"],
            help="--stage graph draws the model as it is written; a .dot file holds any number",
        )
    try:
        import pygraphviz
    except ImportError:
        raise error(
            "E0791",
            "drawing needs Graphviz, which is not installed",
            None,
            help='pip install "dlc-compiler[graph]", or write a .dot file',
        ) from None
    with _quiet():
        drawn: bytes = pygraphviz.AGraph(string=dot(picture)).draw(format="svg", prog="dot")
    text = drawn.decode("utf-8")
    return text[text.index("<svg") :]


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


def content(picture: Picture, path: Path) -> str:
    """The content of a file by the ending of its name: .svg, .dot or .html. E0792 for another."""
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise error(
            "E0792",
            f"a picture is not written as `{path.name}`",
            None,
            notes=["endings are " + ", ".join(KINDS)],
            help=f"-o {path.stem or 'graph'}.svg",
        )
    if kind == ".dot":
        return dot(picture)
    if kind == ".svg":
        return svg(picture)
    from .page import page

    return page(picture.graph.get("title", ""), svg(picture))
