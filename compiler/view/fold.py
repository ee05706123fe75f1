"""Folding: one box for each layer and each call of a function, and one for turns of a `for` that are equal.

    depth 0     the layers of the model, each one box with its call and what it learns
    depth n     n levels of layers opened; a function stays one box under its own name
    None        every primitive

All of it is linear in boxes and arrows, for each level of places.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from math import prod
from typing import Any, TypeAlias

import networkx as nx

from ..diagnostics import did_you_mean, error
from ..ir.place import Place
from .box import LEAVES, Box, Picture, last

Path: TypeAlias = tuple[Place, ...]
LONGEST = 38  # characters of a call
SHAPES = 2  # on one arrow
NUMBERED = re.compile(r"(.*)\[([\d, ]+)\]")


def folded(picture: Picture, depth: int | None, only: str | None = None) -> Picture:
    """The picture with layers below `depth` and all calls folded, and equal turns merged; None: as it is."""
    repeats, chosen = Repeats(), _chosen(picture, only) if only is not None else set()
    if depth is not None and only is None:
        picture = repeats.merge(picture)
    return opened(picture, repeats, depth, only is not None, chosen)


def opened(
    picture: Picture, repeats: Repeats, depth: int | None, part: bool = False, chosen: Collection[Place] = ()
) -> Picture:
    """A merged picture with its layers folded, or what of it touches the chosen ones."""
    shown = _fold(picture, depth, repeats, chosen) if depth is not None else joined(picture, _alone(picture))
    if part:
        shown = _part(shown, chosen)
    shown.graph["titles"] = {
        box.path[: i + 1]: ": ".join(repeats.title(box.path[: i + 1])) for box in shown for i in range(len(box.path))
    }
    shown.graph["times"] = repeats.times
    shown.graph["plain"] = {  # a turn that is not repeated is no part of the picture
        path for path in shown.graph["titles"] if path[-1].kind == "turn" and path not in repeats.times
    }
    return shown


def merged(picture: Picture) -> tuple[Picture, Repeats]:
    """Every primitive, but of equal turns the first alone."""
    repeats = Repeats()
    return repeats.merge(picture), repeats


def _fold(picture: Picture, depth: int, repeats: Repeats, chosen: Collection[Place]) -> Picture:
    inside: dict[Path, list[Box]] = {}
    alone = _alone(picture)
    for box in picture:
        key = _group(box, depth, chosen)
        if key is not None:
            inside.setdefault(key, []).append(box)
    boxes: dict[Box, Box] = {}
    for path, members in inside.items():
        if path[-1].kind == "operation" and members[0] in alone:
            boxes[members[0]] = alone[members[0]]
        else:
            boxes.update(dict.fromkeys(members, repeats.whole(path, members)))
    counted = _counted(dict.fromkeys(boxes.get(box, box) for box in picture), repeats)
    made = joined(picture, {box: counted.get(shown, shown) for box in picture for shown in [boxes.get(box, box)]})
    _backwards(made)
    return made


def _alone(picture: Picture) -> dict[Box, Box]:
    """What is all of an operation's call says more by itself: its axes and numbers; an index is written as one."""
    held: dict[Path, list[Box]] = {}
    for box in picture:
        for i, place in enumerate(box.path):
            if place.kind == "operation":
                held.setdefault(box.path[: i + 1], []).append(box)
    found: dict[Box, Box] = {}
    for path, members in held.items():
        if len(members) == 1 and members[0].path == path:
            name, box = path[-1].name, members[0]
            found[box] = replace(box, path=path[:-1], lines=(name,) if name.startswith("[") else box.lines)
    return found


def _counted(shown: Iterable[Box], repeats: Repeats) -> dict[Box, Box]:
    """What stands alone in a repeated turn has its count, and needs no box around it."""
    held: dict[Path, list[Box]] = {}
    for box in shown:
        for i in range(len(box.path)):
            if box.path[: i + 1] in repeats.times:
                held.setdefault(box.path[: i + 1], []).append(box)
    found: dict[Box, Box] = {}
    for path, boxes in held.items():
        for box in boxes if len(boxes) > 1 else ():
            found[box] = replace(found.get(box, box), each=True)
        if len(boxes) == 1:
            box = found.get(boxes[0], boxes[0])
            outside = tuple(place for place in box.path if place is not path[-1])
            found[boxes[0]] = replace(box, path=outside, times=box.times * repeats.times[path])
    return found


def joined(picture: Picture, boxes: dict[Box, Box]) -> Picture:
    """The picture with each box as what it has become, and one arrow from each to each."""
    shown: Picture = nx.MultiDiGraph(**picture.graph)
    for box in picture:
        shown.add_node(boxes.get(box, box))
    arrows: dict[tuple[Box, Box], tuple[dict[str, None], list[bool], list[bool]]] = {}
    for source, target, data in picture.edges(data=True):
        ends = boxes.get(source, source), boxes.get(target, target)
        if ends[0] is not ends[1]:
            labels, serving, after = arrows.setdefault(ends, ({}, [], []))
            labels[data["label"]] = None
            serving.append(data["serving"])
            after.append(data["next"])
    for (source, target), (labels, serving, after) in arrows.items():
        texts = [text for text in labels if text]
        text = "\n".join([*texts[:SHAPES], "…"] if len(texts) > SHAPES else texts)
        shown.add_edge(source, target, label=text, serving=all(serving), next=all(after))
    return shown


def _backwards(picture: Picture) -> None:
    """The derivative begins at the loss: an arrow from it to the derivative of what makes it."""
    derived = {box.partner: box for box in picture if box.side == "backward" and box.of is not None}
    for loss in [box for box in picture if box.kind == "loss"]:
        for source in list(picture.predecessors(loss)):
            if source.partner in derived:
                picture.add_edge(loss, derived[source.partner], label="", serving=False, next=False, starts=True)


def _group(box: Box, depth: int, chosen: Collection[Place]) -> Path | None:
    """The outermost place of a box that is closed; those around a chosen layer are open, and it is."""
    opened, limit = 0, max((i + 1 for i, place in enumerate(box.path) if place in chosen), default=0)
    for i, place in enumerate(box.path):
        if i < limit:
            continue
        if place.kind == "layer":
            if opened == depth:
                return box.path[: i + 1]
            opened += 1
        elif place.kind in ("call", "operation") and box.kind not in ("input", "target", "result", "loss", "gradient"):
            return box.path[: i + 1]
    return None


class Repeats:
    """Turns of a `for` that are equal, drawn as the first of them. `times` says how many there are."""

    def __init__(self) -> None:
        self.times: dict[Path, int] = {}
        self.ranges: dict[Path, str] = {}  # of a layer in them: `block[0..3]`

    # --- what is written

    def title(self, path: Path) -> tuple[str, ...]:
        """`dense(128)`; `stem`, `conv(16, kernel = 3)`; `block[0..3]`, `transformer(4)`; `× 4` of a turn."""
        place = path[-1]
        if place.kind == "turn":
            return (f"× {self.times[path]:,}",) if path in self.times else ()
        if place.kind != "layer":
            return (shortened(place.said or place.name),)
        name, said = self.ranges.get(path, last(place)), shortened(place.said.removesuffix("()"))
        bare = re.sub(r"\[\d+\]$", "", last(place))
        return (said,) if bare == place.said.partition("(")[0] and path not in self.ranges else (name, said)

    def whole(self, path: Path, members: Sequence[Box]) -> Box:
        """One box for all that lies in a place."""
        place = path[-1]
        side = {"backward": "backward", "update": "update", "after the step": "update"}.get(path[0].name, "forward")
        serving = all(box.kind == "serving" for box in members)
        at = tuple(dict.fromkeys(line for box in members for line in box.at))
        operations = sum(box.kind not in LEAVES for box in members)
        what = f"{operations} operation{'s' * (operations != 1)}"
        if place.kind != "layer":
            named = [box.name for box in members if box.name]
            kept = dict.fromkeys(_state(box) for box in members if box.kind == "state" and "/" in box.lines[0])
            kind = "serving" if serving else "call"
            lines = (*self.title(path), *(("keeps " + ", ".join(kept),) if kept else ()))
            name = named[-1] if named and named[-1] != place.name else ""
            if side == "backward":
                name, lines = "", (f"∂ {lines[0]}",)
            return Box(kind, lines, path[:-1], f"{place.name}: {what}", name, side, at=at, of=place)
        learned = sum(box.count * self.many(box.path[len(path) :], path) for box in members)
        lines = self.title(path)
        gradients = [line for box in members if box.kind == "gradient" for line in box.lines[:-1]]
        if path[0].name == "after the step":
            lines = (*lines, *_few([box.lines[0] for box in members]))
        elif gradients:
            lines = (f"∂ {lines[0]}", *_few(gradients))
        elif side == "backward":
            lines = (f"∂ {lines[0]}",)
        kind = "serving" if serving else "layer" if learned else "plain"
        return Box(kind, lines, path[:-1], f"{place.name}: {what}", "", side, learned, at, of=place)

    def many(self, path: Path, above: Path) -> int:
        """How often a part of a place is repeated in it."""
        return prod(self.times.get((*above, *path[: i + 1]), 1) for i in range(len(path)))

    # --- merging

    def merge(self, picture: Picture) -> Picture:
        """Draws equal turns that follow each other once."""
        if not any(place.kind == "turn" for box in picture for place in box.path):
            return picture
        arrows = Arrows(picture)
        for level in range(1, max(len(box.path) for box in picture) + 1):
            families: dict[tuple[Path, tuple[int, int]], dict[Path, list[Box]]] = {}
            for box in arrows.into:
                if len(box.path) >= level and box.path[level - 1].kind == "turn":
                    path = box.path[:level]
                    families.setdefault((path[:-1], path[-1].ends), {}).setdefault(path, []).append(box)
            for family in families.values():
                if len(family) > 1:
                    self._family(arrows, family, level)
        return arrows.picture(picture.graph)

    def _family(self, arrows: Arrows, family: dict[Path, list[Box]], level: int) -> None:
        turns = sorted(family, key=lambda path: int(path[-1].name) if path[-1].name.isdigit() else 0)
        signatures = {turn: arrows.signature(family[turn], level) for turn in turns}
        if turns[0][0].name == "update":  # of parameters one by one: their order says nothing
            first: dict[tuple[Any, ...], int] = {}
            turns.sort(key=lambda turn: first.setdefault(signatures[turn], len(first)))
        at = 0
        while at < len(turns):
            end = at + 1
            while end < len(turns) and signatures[turns[end]] == signatures[turns[at]]:
                end += 1
            if end - at > 1:
                self._chain(arrows, [family[turn] for turn in turns[at:end]])
                self.times[turns[at]] = end - at
            at = end

    def _chain(self, arrows: Arrows, chain: list[list[Box]]) -> None:
        """Keeps the first of equal turns: the others' arrows from and to the outside become its own."""
        for box, ending in zip(chain[0], chain[-1], strict=True):
            for i, (place, end) in enumerate(zip(box.path, ending.path, strict=True)):
                if place.kind == "layer" and last(place) != last(end):
                    self.ranges.setdefault(box.path[: i + 1], _range(last(place), last(end)))
        arrows.merge(chain)


class Arrows:
    """A picture's arrows by their ends, while parts of it become one: `into` each box, and `out` of it."""

    def __init__(self, picture: Picture) -> None:
        self.into: dict[Box, list[tuple[Box, dict[str, Any]]]] = {box: [] for box in picture}
        self.out: dict[Box, list[tuple[Box, dict[str, Any]]]] = {box: [] for box in picture}
        for source, target, data in picture.edges(data=True):
            self.into[target].append((source, data))
            self.out[source].append((target, data))

    def signature(self, boxes: list[Box], level: int) -> tuple[Any, ...]:
        """What boxes show and how they hang together, without the names of what they lie in."""
        place = {box: i for i, box in enumerate(boxes)}
        paths: dict[Path, tuple[Any, ...]] = {}
        rows = []
        for box in boxes:
            sources = sorted((place[source], data["label"]) for source, data in self.into[box] if source in place)
            if box.path not in paths:
                paths[box.path] = tuple((p.kind, p.said or last(p), p.ends) for p in box.path[level:])
            rows.append((box.kind, box.lines, paths[box.path], box.count, tuple(sources)))
        return tuple(rows)

    def merge(self, chain: list[list[Box]]) -> None:
        """All but the first of equal lists of boxes go."""
        first = {box: chain[0][i] for boxes in chain for i, box in enumerate(boxes)}
        new: dict[tuple[Box, Box, str], dict[str, Any]] = {}
        for boxes in chain[1:]:
            for box in boxes:
                for source, data in self.into[box]:
                    if source not in first and source in self.into:
                        new.setdefault((source, first[box], data["label"]), data)
                for target, data in self.out[box]:
                    if target not in first and target in self.into:
                        new.setdefault((first[box], target, data["label"]), data)
        for boxes in chain[1:]:
            for box in boxes:
                del self.into[box], self.out[box]
        for (source, target, _), data in new.items():
            self.into[target].append((source, data))
            self.out[source].append((target, data))

    def picture(self, about: dict[str, Any]) -> Picture:
        made: Picture = nx.MultiDiGraph(**about)
        made.add_nodes_from(self.into)
        for source, arrows in self.out.items():
            made.add_edges_from((source, target, data) for target, data in arrows if target in self.into)
        return made


def _range(first: str, end: str) -> str:
    """`block[0..3]`, `block[0, 1..2]`; `dense[0..2]` of a first one that has no number."""
    ends = NUMBERED.fullmatch(first) or NUMBERED.fullmatch(f"{first}[0]"), NUMBERED.fullmatch(end)
    if ends[0] is None or ends[1] is None:
        return first
    numbers = [match[2].split(",") if match else [] for match in ends]
    shown = [a.strip() if a == b else f"{a.strip()}..{b.strip()}" for a, b in zip(*numbers, strict=False)]
    return f"{ends[1][1]}[{', '.join(shown)}]"


def _state(box: Box) -> str:
    """`m` of an optimizer's state, `adam/m`"""
    return box.lines[0].rpartition("/")[2]


def _few(texts: Iterable[str], most: int = 3) -> tuple[str, ...]:
    texts = list(dict.fromkeys(texts))
    return (", ".join(texts[:most]) + (", …" if len(texts) > most else ""),)


def shortened(text: str, most: int = LONGEST) -> str:
    """A text on one line; of a call that is too long the first arguments."""
    text = " ".join(text.split())
    if len(text) <= most:
        return text
    cut = text[: most - 2]
    return f"{cut.rpartition(', ')[0]}, …)" if ", " in cut and text.endswith(")") else f"{cut}…"


# --- a part


def _chosen(picture: Picture, pattern: str) -> set[Place]:
    """The layers whose path matches. E0704 where none does."""
    layers = dict.fromkeys(place for box in picture for place in box.path if place.kind == "layer")
    glob = pattern.replace("[", "[[]")  # `[` of a path begins no set of characters
    chosen = {place for place in layers if place.name == pattern or fnmatchcase(place.name, glob)}
    if not chosen:
        names = list(dict.fromkeys(place.name for place in layers))
        raise error(
            "E0704",
            f"no layer matches `{pattern}`",
            None,
            notes=["layers are " + ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")] if names else [],
            help=did_you_mean(pattern, names),
        )
    return chosen


def _part(picture: Picture, chosen: Collection[Place]) -> Picture:
    """What lies in the chosen layers, and what it touches."""
    inside = {box for box in picture if any(place in chosen for place in box.path)}
    near = {end for box in inside for end in (*picture.predecessors(box), *picture.successors(box))}
    part: Picture = nx.MultiDiGraph(**picture.graph)
    part.add_nodes_from(box for box in picture if box in inside or box in near)
    for source, target, data in picture.edges(data=True):
        if source in inside or target in inside:
            part.add_edge(source, target, **data)
    return part
