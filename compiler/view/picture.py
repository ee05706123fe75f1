"""A graph as a picture, before anything is laid out.

    picture = box* arrow*                   a networkx graph of Box, in the order of the text
    box     = input | target | parameter | state | operation | serving | gradient | result | loss
    arrow   = (from, to, shape)             what flows

Boxes lie in the places of the text that made them: layers, calls, turns of a `for` (`ir/place.py`); `fold.py` makes one
box of each. Single numbers and sizes are written into the operation that uses them, and casts are not drawn, so that
what is left is what a person would draw. "serving" is what only an output needs: where dropout or running statistics
make the passes differ, a layer has such a second part. A derivative stands in the places of what it derives, beside
them: `backward` holds those. A gradient is a box with the name of its parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from itertools import takewhile
from math import prod
from typing import TypeAlias

import networkx as nx

from ..diagnostics import error
from ..ir.body import Captured, Scanned, ScanView, State
from ..ir.graph import Node, show_attr
from ..ir.module import MEMBERS, POINT, Module, pass_of
from ..ir.place import Place, wrappers
from ..ir.reachable import needed
from ..ir.types import show_shape
from ..ops.match import hidden
from .box import Box, Picture
from .fold import folded
from .lent import Lent
from .said import at, formula, seen, told, written

Path: TypeAlias = tuple[Place, ...]
Source: TypeAlias = Callable[[Node, Box], "Box | None"]  # the box of a value for one that reads it

# The roots of each view. "graph", the model as it is written, is the forward view's older name.
SHOWN = {
    "forward": ("output/", "loss", "metric/"),
    "backward": ("loss",),
    "update": ("next/", "turn/"),
    "step": ("loss", "metric/", "next/", "turn/"),
    "predict": ("output/",),
    "graph": ("output/", "loss", "metric/"),
}
WRITTEN_VIEWS = ("forward", "graph")  # of the model as it is written, before any pass
TRAINING = ("backward", "update", "step")
MOVING = ("input", "variable", "seed")  # what values can depend on


def draw(module: Module, view: str = "forward", depth: int | None = None, only: str | None = None) -> Picture:
    """The picture of a module. "forward" is the model as it is written; the others are of a module that was
    differentiated: "backward" its gradients, "update" what becomes of them, "step" all of it, "predict" the outputs.
    `depth` levels of layers are opened; None: all, down to the primitives. `only`: a pattern of paths of layers.
    E0509, E0704, E0792."""
    expect(module, view)
    return folded(primitives(module, view), depth, only)


def expect(module: Module, view: str) -> None:
    """That there is such a view of a module. E0509, E0792."""
    if view not in SHOWN:
        raise error("E0792", f"there is no view `{view}`", None, notes=["views are " + ", ".join(SHOWN)])
    if view in TRAINING and not module.trains:
        help = "--view forward or --view predict"
        raise error("E0509", f"there is no {view} to draw: the spec has no train block", None, help=help)


def primitives(module: Module, view: str) -> Picture:
    """The picture with every primitive."""
    picture = _Drawing(module, view).run()
    picture.graph.update(title=module.name, view=view)
    return picture


def _plain(name: str) -> str:
    """The name of a root without its pass, where losses take turns."""
    return pass_of(name)[1]


def _loss(module: Module, mark: str) -> str:
    """The loss that a gradient is of: its own, where losses take turns."""
    return module.turns[pass_of(mark)[0]].loss if module.turns else "loss"


class _Drawing:
    """Turns nodes into boxes, each once; but what depends on nothing is drawn in each layer that reads it, as equal
    layers are made of equal boxes then."""

    def __init__(self, module: Module, view: str) -> None:
        self.module, self.view = module, view
        self.picture: Picture = nx.MultiDiGraph()
        self.boxes: dict[Node, Box] = {}
        self.scans: dict[Node, list[Box | None]] = {}  # the boxes of their results
        self.copies: dict[tuple[Node, tuple[Place, ...]], Box] = {}
        self.chains: dict[Place, tuple[Place, ...]] = {}
        self.wrapped: dict[Place, dict[Place, tuple[Place, ...]]] = {}
        self.fixed: set[Node] = set()  # depends on no data, parameter, state or draw
        self.kinds = {path: variable.kind for path, variable in module.variables.items()}
        self.means: dict[str, Node] = {}  # what parameters become that are means of points, which are what is trained
        if view in TRAINING:
            moved = {_plain(name).removeprefix("next/"): node for name, node in module.roots("next/", "turn/").items()}
            self.means = {path: node for path, node in moved.items() if POINT + path in self.kinds}
        self.targets = {leaf.attrs["name"] for leaf in module.targets}
        self.names: dict[Node, str] = {}
        self.learning: set[Node] = set()
        self.backward = Place(None, "model", "").inside("part", "backward", None)
        self.after = Place(None, "model", "").inside("part", "after the step", None)
        self.mirrors: dict[tuple[Place, Place], Place] = {}
        self.gradients: dict[Node, list[tuple[str, str]]] = {}  # of which loss, with respect to which parameter
        if view not in WRITTEN_VIEWS:
            for name, node in module.gradients().items():
                path = _plain(name).removeprefix("gradient/")
                self.gradients.setdefault(node, []).append((_loss(module, name), path))
        self.paths: dict[Node, Path] = {}  # of derivatives
        self.lent = Lent((), self._chain)
        self.made: dict[Node, int] = {}  # their order
        self.sides: dict[Node, str] = {}
        self.figures = set(self._needed(module.roots("loss", "metric/").values()) if view in TRAINING else ())

    def run(self) -> Picture:
        roots = self._roots()
        if self.view in WRITTEN_VIEWS:
            for name, node in self.module.names.items():
                self.names.setdefault(node, name)
        shown: dict[Node, list[str]] = {}
        for name, node in roots.items():
            if not _plain(name).startswith(("next/", "gradient/")):
                term = name.removeprefix("metric/") in self.module.terms
                shown.setdefault(node, []).append(name.replace("metric/", "loss ") if term else name.replace("/", " "))
        order = self._needed(roots.values())
        learning = [node for name, node in roots.items() if not name.startswith("output/")]
        self.learning = set(self._needed(learning)) if learning else set(order)
        self.lent = Lent([node for node in order if self._side(node) == "forward"], self._chain)
        for node in order:
            if self._counts(node) or (node.op.name not in MOVING and all(s in self.fixed for s in node.inputs)):
                self.fixed.add(node)
            if not written(node) and not hidden(node):
                self._box(node)
        for node, titles in shown.items():
            self._result(node, titles)
        for name, node in roots.items():
            if _plain(name).startswith("next/"):
                self._next(_plain(name).removeprefix("next/"), node)
        return self.picture

    def _counts(self, node: Node) -> bool:
        """Whether a variable is a number of the training: `step`, `steps`, `observations`."""
        return node.op.name == "variable" and self.kinds.get(node.attrs["path"]) == "counter"

    def _roots(self) -> dict[str, Node]:
        """What is shown, by its name: the views of training have the gradients, too."""
        roots = self.module.roots(*SHOWN[self.view])
        roots = {name: node for name, node in roots.items() if not _plain(name).startswith("initial/")}
        if self.view == "update":  # the states of layers and the counters move in the forward pass
            roots = {name: node for name, node in roots.items() if self._learned(_plain(name)[5:])}
        if self.view == "backward":
            roots |= self.module.roots(*(f"metric/{turn.loss}" for turn in self.module.turns))
            roots |= self.module.gradients()
        return roots

    def _learned(self, path: str) -> bool:
        return self.kinds.get(path) == "parameter"

    def _needed(self, roots: Collection[Node]) -> list[Node]:
        """The roots and what they need, inputs first; not how a draw gets its key."""

        def sources(node: Node) -> Sequence[Node]:
            if self.view == "update" and node in self.gradients:
                return ()
            return [source for source in node.inputs if source.dtype != "key"]

        return needed(roots, sources)

    # --- where a box lies

    def _chain(self, place: Place) -> tuple[Place, ...]:
        if place not in self.chains:
            found: list[Place] = []
            for each in place.chain():
                if each.kind == "layer" and each.above is not None:
                    if each.above not in self.wrapped:
                        self.wrapped[each.above] = wrappers(each.above)
                    found += self.wrapped[each.above].get(each, ())
                found.append(each)
            self.chains[place] = tuple(found)
        return self.chains[place]

    def _path(self, node: Node) -> tuple[Place, ...]:
        """Where a node is drawn: a derivative beside what it derives, since among it its arrows would run against all
        others."""
        if self._side(node) != "backward":
            return self._home(node)
        if node not in self.paths:
            chain = self.lent.places.get(node.place) or self._chain(node.place)
            own = self._mirror(self.backward, chain)
            self.paths[node] = self._summed(node, own)
            self.made[node] = len(self.made)
        return self.paths[node]

    def _home(self, node: Node) -> Path:
        """Where a value of the model is drawn: in its layer, unless that lends it."""
        return self.lent.nodes[node] if node in self.lent.nodes else self._chain(node.place)

    def _summed(self, node: Node, own: Path) -> Path:
        """Where derivatives that are added up lie: in the place of all of them, or in the turn of a `for` of the one
        that is made last, else where the value is made. A turn adds up what flows to its own input, so that the last
        of several equal ones is like the others."""
        terms = [seen(source) for source in node.inputs]
        if node.op.name != "add" or not all(term in self.paths for term in terms):
            return own
        paths = [self.paths[term] for term in terms]
        shared = sum(1 for _ in takewhile(lambda places: len(set(places)) == 1, zip(*paths, strict=False)))
        if shared > 1:
            return paths[0][:shared]
        last = self.paths[max(terms, key=self.made.__getitem__)]
        turns = sum(1 for _ in takewhile(lambda place: place.kind == "turn", last[1:]))
        return own if own[: 1 + turns] == last[: 1 + turns] else last[: 1 + turns]

    def _mirror(self, place: Place, chain: tuple[Place, ...]) -> tuple[Place, ...]:
        """The same places in another part of the picture."""
        for part in chain:
            key = place, part
            if key not in self.mirrors:
                self.mirrors[key] = Place(place, part.kind, part.name, part.said, part.span)
            place = self.mirrors[key]
        return self._chain(place)

    def _side(self, node: Node) -> str:
        """Of a training step: the model, its derivatives or the update. What the loss needs is of the model; what
        else reads a derivative is one."""
        if node not in self.sides:
            chain = self._chain(node.place)
            if node in self.figures or self.view in WRITTEN_VIEWS or self.view == "predict":
                side = "forward"
            elif chain and chain[0].kind == "part":
                side = "update"
            elif node.op.name in MOVING:
                side = "forward"
            else:
                behind = any(self.sides.get(source) == "backward" for source in node.inputs)
                side = "backward" if node.derived or behind else "forward"
            self.sides[node] = side
        return self.sides[node]

    # --- boxes and arrows

    def _box(self, node: Node) -> None:
        if node in self.gradients and self.view == "update":
            self.boxes[node] = self._gradient(node)
            return
        if node.op.name == "scan":
            self.fixed.discard(node)
            self.scans[node] = self._iterations(node, self._path(node), self._side(node), self._source)
            return
        box = self.scans[node.inputs[0]][node.attrs["index"]] if node.op.name == "result" else None
        if box is None:
            box = self.boxes[node] = self._leaf(node) or self._operation(node)
            if self._copied(node):
                return
            self._join(node, box)
        self.boxes[node] = box
        if node in self.gradients:
            gradient = self._gradient(node)
            self.picture.add_edge(box, gradient, label="", serving=False, next=False)
            self.boxes[node] = gradient

    def _gradient(self, node: Node) -> Box:
        """∂loss/∂W, in the layer of W; of several losses each by its name."""
        pairs = self.gradients[node]
        owner = self.module.variables[pairs[0][1]].node
        names = [f"∂{loss}/∂{path.rpartition('.')[2]}" for loss, path in pairs]
        shape = show_shape(node.shape) if node.rank else node.dtype
        inside = self._mirror(self.backward, self._home(owner))
        tip = "gradient of " + ", ".join(path for _, path in pairs)
        box = Box("gradient", (*names, shape), inside, tip, side="backward", at=at(owner), node=node)
        self.picture.add_node(box)
        return box

    def _operation(self, node: Node) -> Box:
        kind = "operation" if node in self.learning else "serving"
        name = self.names.get(node, "")
        return Box(kind, formula(node), self._path(node), told(node), name, self._side(node), at=at(node), node=node)

    def _join(self, node: Node, box: Box) -> None:
        self.picture.add_node(box)
        for source in node.inputs:
            self._arrow(source, self._source(source, box), box)

    def _source(self, node: Node, reader: Box) -> Box | None:
        """The box of a value that is read, if it has one."""
        node = seen(node)
        return None if written(node) else self._origin(node, reader)

    def _origin(self, node: Node, reader: Box) -> Box | None:
        """The box of a value for one that reads it: a value that depends on nothing is made where it is read."""
        if node not in self.boxes or not self._copied(node):
            return self.boxes.get(node)
        for made in needed([node], lambda n: () if self._copy_of(n, reader) in self.copies else n.inputs):
            key = self._copy_of(made, reader)
            if key not in self.copies and made in self.boxes:
                box = self.copies[key] = replace(self.boxes[made], path=key[1], side=reader.side, at=())
                self._join(made, box)
        return self.copies[self._copy_of(node, reader)]

    def _copy_of(self, node: Node, reader: Box) -> tuple[Node, tuple[Place, ...]]:
        """A value as it is drawn for a reader: in the same calls where it was made for a layer of that text, else
        where the reader is."""
        chain, owner = self._chain(node.place), _layers(reader.path)
        own = _layers(chain)
        if self._counts(node) or [_text(place) for place in own] != [_text(p) for p in owner if p.kind != "part"]:
            return node, reader.path
        calls = chain[len(own) :]
        return node, self._mirror(owner[-1], calls) if reader.side == "backward" and owner else owner + calls

    def _copied(self, node: Node) -> bool:
        """Whether a value is drawn where it is read: one that depends on nothing, but for a schedule of the update."""
        chain = self._chain(node.place)
        update = len(chain) > 1 and chain[0].kind == "part" and chain[1].kind == "call"
        return node in self.fixed and not (update and all(place.kind != "turn" for place in chain))

    # --- scans

    def _iterations(self, scan: Node, base: Path, side: str, outside: Source) -> list[Box | None]:
        """One iteration of a scan, drawn in its place; returns the boxes of its results. What it carries is a box that
        the iteration before gives its value; `outside` finds the boxes of what it is given."""
        view, made, scans = ScanView(scan), dict[Node, Box](), dict[Node, list[Box | None]]()
        t = next((place.name.split()[1] for place in base[::-1] if place.name.startswith("scan ")), "t")
        chain, kind = self._chain(scan.place), "operation" if scan in self.learning else "serving"

        def inside(node: Node, reader: Box) -> Box | None:
            node = seen(node)
            if node.op.name == "local" and isinstance(view.given(node), Captured):
                return outside(view.given(node).value, reader)
            return made.get(node)

        def path(node: Node) -> Path:
            own = self._chain(node.place)
            rest = own[len(chain) :] if own[: len(chain)] == chain else ()
            return self._mirror(base[-1], rest) if side == "backward" and base else base + rest

        for node in view.body.graph.order(view.body.roots):
            if written(node) or hidden(node):
                continue
            if node.op.name == "scan":
                scans[node] = self._iterations(node, path(node), side, inside)
            elif node.op.name == "result" and scans[node.inputs[0]][node.attrs["index"]] is not None:
                made[node] = scans[node.inputs[0]][node.attrs["index"]]
            elif node.op.name != "local":
                lines = (t,) if node.op.name == "iteration" else formula(node)
                made[node] = Box(kind, lines, path(node), told(node), side=side, at=at(node), node=node)
                self.picture.add_node(made[node])
                for source in node.inputs:
                    self._arrow(source, inside(source, made[node]), made[node])
            elif not isinstance(given := view.given(node), Captured):
                part = isinstance(given, Scanned)
                lines = (f"[{':, ' * given.axis}{t}]",) if isinstance(given, Scanned) else ("carried",)
                shape = () if part or not node.rank else (show_shape(node.shape),)
                tip = f"of each iteration: {node.type}" if part else f"carried from iteration to iteration: {node.type}"
                made[node] = Box(kind if part else "state", lines + shape, base, tip, side=side, at=at(scan), node=node)
                self.picture.add_node(made[node])
                self._arrow(given.value, outside(given.value, made[node]), made[node])
        for node, box in list(made.items()):
            if node.op.name == "local" and isinstance(given := view.given(node), State):
                self._arrow(given.after, inside(given.after, box), box, next=True)
        return [made.get(seen(result.after if isinstance(result, State) else result.root)) for result in view.results]

    def _arrow(self, source: Node, origin: Box | None, box: Box, next: bool = False) -> None:
        if origin is None:
            return
        # The box of an input or parameter says its shape already.
        label = show_shape(source.shape) if source.rank and origin.kind in ("operation", "serving") else ""
        self.picture.add_edge(origin, box, label=label, serving=box.kind == "serving", next=next)

    def _leaf(self, node: Node) -> Box | None:
        name = node.op.name
        if name == "input":
            kind = "target" if node.attrs["name"] in self.targets else "input"
            return Box(
                kind, (node.attrs["name"], str(node.type)), (), f"{kind} {node.attrs['name']}", at=at(node), node=node
            )
        if name == "variable":
            return self._variable(node)
        if name == "constant":
            lines = show_attr(node.attrs["value"]), str(node.type)
            return Box("operation", lines, self._chain(node.place), "constant", at=at(node), node=node)
        return None

    def _variable(self, node: Node) -> Box:
        path = node.attrs["path"]
        if path in self.means:
            return self._mean(path, node)
        path = path.removeprefix(POINT).removeprefix(MEMBERS)  # a copy stands for what it is a copy of
        learned = self._learned(path)
        kind = "parameter" if learned else "state"
        inside = self._home(node)
        shown = path.rpartition("/")[0] if "/" in path else path.rpartition(".")[2]  # `adam/m` of adam/m/dense.W
        lines = shown, show_shape(node.shape) if node.rank else node.dtype
        count = prod(size for size in node.shape if isinstance(size, int)) if learned else 0
        return Box(kind, lines, inside, f"{kind} {path}", side=self._side(node), count=count, at=at(node), node=node)

    def _mean(self, path: str, node: Node) -> Box:
        """The mean of a parameter, which the update alone reads: it lies where it is moved, beside what optimizers
        keep. In the layer lies the point that is trained."""
        inside = self._chain(self.means[path].place)
        lines = "ema/mean", show_shape(node.shape) if node.rank else node.dtype
        return Box("state", lines, inside, f"mean of {path}", side="update", at=at(node), node=node)

    def _result(self, node: Node, titles: Sequence[str]) -> None:
        node = seen(node)
        kind = "loss" if any(title.partition(" ")[0] == "loss" for title in titles) else "result"
        lines = (*titles, str(node.type)) if node.rank else tuple(titles)
        box = Box(kind, lines, (), ", ".join(titles), at=at(node), node=node)
        self.picture.add_node(box)
        if not written(node):
            serving = all(title.startswith("output ") for title in titles)
            origin = self._origin(node, box)
            assert origin is not None
            self.picture.add_edge(origin, box, label="", serving=serving, next=False)

    def _next(self, path: str, node: Node) -> None:
        """The new value of a parameter goes into a box of its own: a step is drawn without circles."""
        if self._learned(path) and not written(node) and not hidden(node) and node in self.boxes:
            owner = self.module.variables[path].node
            lines = f"new {path.rpartition('.')[2]}", show_shape(node.shape) if node.rank else node.dtype
            inside = self._mirror(self.after, self._chain(owner.place))
            box = Box("parameter", lines, inside, f"{path} after the step", side="update", at=at(node), node=node)
            self.picture.add_node(box)
            self.picture.add_edge(self.boxes[node], box, label="", serving=False, next=False)


def _layers(path: tuple[Place, ...]) -> tuple[Place, ...]:
    """The part of a path down to its innermost layer or turn."""
    end = max((i + 1 for i, place in enumerate(path) if place.kind in ("layer", "turn", "part")), default=0)
    return path[:end]


def _text(place: Place) -> tuple[str, str, int, int]:
    """Equal for layers that one text makes with the same arguments, and for turns of one `for`."""
    name = "" if place.kind in ("layer", "turn") else place.name
    return place.kind, place.said or name, *place.ends
