"""A picture as the tree that a page opens and closes: groups (layers, calls, repeated turns), leaves, and arrows."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from ..ir.graph import Node
from ..ir.place import Place
from ..ir.types import Size, product
from .box import LEAVES, Box, Picture, last
from .fold import Path, Repeats, merged
from .formula import of_value
from .looks import look
from .said import written

UNWRITTEN = ("local", "iteration", "result", "scan")  # of a recurrence, which is no formula of its own
LARGEST = 60  # operations of a group whose formula is written
LONGEST = 240  # characters of a formula


@dataclass(frozen=True)
class Measured:
    """What was measured on a batch: of values their mean, spread, length, share of zeros and of dead units, rounded;
    of layers and calls how many µs they take, by side."""

    values: Mapping[Node, Mapping[str, float]] = field(default_factory=dict)
    times: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


class Outline:
    """The groups and leaves of a view, numbered: groups first. `written` is what the page reads. `runs`: what a
    prediction needs; `unrolled`: each turn of a `for` stands by itself."""

    def __init__(
        self,
        picture: Picture,
        names: Mapping[Node, str],
        runs: Collection[Node] = (),
        unrolled: bool = False,
        measured: Measured | None = None,
    ) -> None:
        self.picture, self.repeats = (picture, Repeats()) if unrolled else merged(picture)
        self.names, self.runs, self.measured = names, runs, measured or Measured()
        self.members: dict[Path, list[Box]] = {}
        self.above: dict[Path, Path | None] = {}
        self.leaf: dict[Box, Path | None] = {}  # the group that it stands in
        self.times: dict[Path | Box, int] = {}
        self.alone: set[Box] = set()  # all of an operation's call
        for box in self.picture:
            self._place(box)
        self._count()

    def _place(self, box: Box) -> None:
        above: Path | None = None
        for i, place in enumerate(box.path):
            path = box.path[: i + 1]
            if place.kind == "part" or (place.kind == "turn" and path not in self.repeats.times):
                continue
            self.members.setdefault(path, []).append(box)
            self.above[path] = above
            above = path
        self.leaf[box] = above

    def _count(self) -> None:
        """An operation of one box is that box; what stands alone in a repeated turn has its count."""
        for path, members in list(self.members.items()):
            if path[-1].kind == "operation" and len(members) == 1 and self.leaf[members[0]] == path:
                self.leaf[members[0]] = self.above[path]
                self.alone.add(members[0])
                del self.members[path], self.above[path]
        for path in sorted(self.repeats.times, key=len, reverse=True):
            inside: list[Path | Box] = [p for p, above in self.above.items() if above == path]
            inside += [box for box, above in self.leaf.items() if above == path]
            if len(inside) == 1:
                [only] = inside
                self.times[only] = self.repeats.times[path] * self.times.get(only, 1)
                if isinstance(only, Box):
                    self.leaf[only] = self.above[path]
                else:
                    self.above[only] = self.above[path]
                del self.members[path], self.above[path]

    def written(self) -> dict[str, Any]:
        keys: list[Path | Box] = [*self.members, *self.leaf]
        number = {key: i for i, key in enumerate(keys)}
        groups = [self._group(path, members, number) for path, members in self.members.items()]
        leaves = [self._leaf(box, number) for box in self.leaf]
        arrows = [
            [number[source], number[target], data["label"], int(data["serving"]) + 2 * int(data["next"])]
            for source, target, data in self.picture.edges(data=True)
        ]
        return {"groups": groups, "leaves": leaves, "arrows": arrows, "starts": self._starts(number)}

    def _group(self, path: Path, members: Sequence[Box], number: Mapping[Path | Box, int]) -> dict[str, Any]:
        place = path[-1]
        above = self.above[path]
        found: dict[str, Any] = {"up": -1 if above is None else number[above], "id": place.name}
        if place.kind == "turn":
            text = self.repeats.title(path)
            return {**found, "look": "turn", "text": text, "title": text[0], "at": [], "side": members[0].side}
        box = self.repeats.whole(path, members)
        times = self.times.get(path, 1)
        first, *more = box.text
        if box.kind == "layer":
            learned = box.count * times
            around = sum(path[: i + 1] in self.repeats.times for i in range(len(path))) - (times > 1)
            more[-1] = f"{learned:,} parameter{'s' * (learned != 1)}{' each' * (around > 0)}"
        first += f" × {times:,}" if times > 1 else ""
        own = [place.span.line] if place.span and place.span.source is self._source(members) else []
        at = sorted({*own, *box.at})
        title = ": ".join(self.repeats.title(path)) + (f" × {times:,}" if times > 1 else "")
        return {
            **found,
            "id": f"{box.side}:{self._id(path)}" if box.side != "forward" else self._id(path),
            "look": look(box),
            "text": [first, *more],
            "title": f"∂ {title}" if box.side == "backward" else title,
            "at": at,
            "side": box.side,
            "partner": ":".join(map(str, _outermost(members[0]))) if above is None else None,
            "formula": self._formulas(members),
            **self._work(path, members),
            **self._measured(path, members, box.side),
        }

    def _measured(self, path: Path, members: Sequence[Box], side: str) -> dict[str, Any]:
        """What was measured of the value that leaves a place, of a derivative of its first gradient, and how long the
        place takes."""
        own = set(members)
        gradients = [box for box in members if box.kind == "gradient"]
        leaving = [box for box in members if any(target not in own for target in self.picture.successors(box))]
        ends = [box.node for box in gradients[::-1] or leaving]
        nodes = [node for node in ends if node is not None and node in self.measured.values]
        made: dict[str, Any] = {"stats": self.measured.values[nodes[-1]]} if nodes else {}
        took = self.measured.times.get(side, {}).get(path[-1].name) if path[-1].kind in ("layer", "call") else None
        return made if took is None else {**made, "time": round(took, 1)}

    def _work(self, path: Path, members: Sequence[Box]) -> dict[str, str]:
        """How many multiplications, divisions and elementary functions a place takes, and how many numbers it makes."""
        work: Size = 0
        made: Size = 0
        for box in _of_one_pass(members):
            if box.node is not None and box.kind not in LEAVES:
                times = self.repeats.many(box.path[len(path) :], path) * self.times.get(path, 1)
                work, made = work + box.node.op.cost(box.node) * times, made + product(box.node.shape) * times
        return {name: _size(size) for name, size in (("work", work), ("makes", made)) if size != 0}

    def _id(self, path: Path) -> str:
        """A name for a link: the layer's path, and the calls in it."""
        names = [place.name for place in path if place.kind in ("call", "operation")]
        layer = next((place.name for place in reversed(path) if place.kind == "layer"), "")
        return "/".join([layer, *names] if layer else names)

    def _source(self, members: Sequence[Box]) -> Any:
        return next((box.node.span.source for box in members if box.node is not None and box.node.span), None)

    def _leaf(self, box: Box, number: Mapping[Path | Box, int]) -> dict[str, Any]:
        above = self.leaf[box]
        path = box.path
        lines = list(box.text)
        if box in self.alone and path[-1].name.startswith("["):
            lines = [path[-1].name]
        times = self.times.get(box, 1)
        if times > 1:
            lines[0] += f" × {times:,}"
        found = {"up": -1 if above is None else number[above], "look": look(box), "text": lines, "side": box.side}
        found |= {"at": list(box.at), "tip": box.tip}
        if box.node is not None and box.node in self.measured.values:
            found["stats"] = self.measured.values[box.node]
        if box.node in self.runs and (box.kind != "result" or box.tip.startswith("output ")):
            found["runs"] = 1
        if box.kind == "gradient":  # any other says itself what it does
            found["formula"] = self._formulas([box])
        elif box.kind not in LEAVES:
            found |= self._work(path, [box])
        return found

    # --- formulas

    def _formulas(self, members: Sequence[Box]) -> list[str]:
        """What the values that leave these boxes are, in terms of what enters them."""
        operations = [box for box in _of_one_pass(members) if box.node is not None and box.kind not in LEAVES]
        if any(box.node is not None and box.node.op.name in UNWRITTEN for box in members):
            operations = []
        if not 0 < len(operations) <= LARGEST:
            operations = []
        inside = dict.fromkeys(box.node for box in operations if box.node is not None)
        gradients = [box for box in members if box.kind == "gradient" and box.node is not None]
        own = set(members)
        leaving = [box for box in operations if any(target not in own for target in self.picture.successors(box))]
        names = self._entering(inside | dict.fromkeys(box.node for box in gradients if box.node is not None))
        found = []
        for box in [*gradients, *leaving][:3]:
            assert box.node is not None
            if box.node in inside or box.kind == "gradient":
                names_here = {node: name for node, name in names.items() if node is not box.node}
                text = of_value(box.node, names_here).text
                left = ", ".join(box.lines[:-1]) if box.kind == "gradient" else box.name
                text = f"{left} = {text}" if left else text
                if len(text) <= LONGEST and "scan(" not in text and text not in found:
                    found.append(text)
        return found

    def _entering(self, inside: Mapping[Node, None]) -> dict[Node, str]:
        """A name for each value that is read inside and made outside."""
        names: dict[Node, str] = {}
        letters = {letter: count(1) for letter in "xg"}
        for node in inside:
            for source in node.inputs:
                if source in inside or source in names or written(source):
                    continue
                name = source.op.name
                if name in ("input", "variable"):
                    names[source] = (source.attrs.get("name") or source.attrs["path"]).rpartition(".")[2]
                elif source in self.names:
                    names[source] = self.names[source]
                else:
                    letter = "g" if source.derived else "x"
                    i = next(letters[letter])
                    names[source] = letter if i == 1 else f"{letter}{i}"
        return names

    # --- where the derivative begins

    def _starts(self, number: Mapping[Path | Box, int]) -> list[list[int]]:
        """An arrow from the loss to the derivative of what makes it."""
        derived: dict[tuple[Any, ...], Box] = {}
        for box in self.picture:  # the first that reads no derivative, if there is one
            if box.side == "backward" and all(source.side != "backward" for source in self.picture.predecessors(box)):
                derived.setdefault(_outermost(box), box)
        for box in self.picture:
            if box.side == "backward":
                derived.setdefault(_outermost(box), box)
        found = []
        for loss in [box for box in self.picture if box.kind == "loss"]:
            for source in self.picture.predecessors(loss):
                if _outermost(source) in derived and _outermost(source):
                    found.append([number[loss], number[derived[_outermost(source)]]])
        return found


def _of_one_pass(members: Sequence[Box]) -> list[Box]:
    """Those of training, where a layer has a second part that only an output needs."""
    return [box for box in members if box.kind != "serving"] or list(members)


def _size(size: Size) -> str:
    """`8,192 batch`: a size as a page says it."""
    text = str(size).replace(" * ", " ").replace("*", " ")
    return re.sub(r"\d{4,}", lambda number: f"{int(number[0]):,}", text)


def _outermost(box: Box) -> tuple[Any, ...]:
    """What stands for the outermost group of a box and of its derivative alike."""
    place: Place | None = next((place for place in box.path if place.kind != "part"), None)
    return () if place is None else (place.kind, last(place), *place.ends)
