"""What a picture is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import networkx as nx

from ..ir.graph import Node
from ..ir.place import Place

LEAVES = ("input", "target", "parameter", "state", "result", "loss", "gradient")  # boxes that are no operation


@dataclass(frozen=True, eq=False)
class Box:
    """What stands in one box. `path`: the places that it lies in, from the outside in."""

    kind: str
    lines: tuple[str, ...]
    path: tuple[Place, ...] = ()
    tip: str = ""
    name: str = ""  # what the text calls it
    side: str = "forward"  # or "backward", "update"
    count: int = 0  # numbers that it learns
    at: tuple[int, ...] = ()  # lines of the spec, from 1
    times: int = 1  # how many such boxes there are
    each: bool = False  # it is one of those that stand in a repeated part
    of: Place | None = None  # what is folded into it
    node: Node | None = None  # whose value it is

    @property
    def scope(self) -> tuple[str, ...]:
        """The names of the layers that it lies in."""
        return tuple(last(place) for place in self.path if place.kind in ("layer", "part"))

    @property
    def text(self) -> tuple[str, ...]:
        """The lines that are shown: its name first."""
        first, *more = (self.name, *self.lines) if self.name else self.lines
        if self.kind == "layer":
            many = self.count * self.times
            more.append(f"{many:,} parameter{'s' * (many != 1)}{' each' * self.each}")
        return (f"{first} × {self.times:,}" if self.times > 1 else first, *more)

    @property
    def partner(self) -> tuple[str, str, int, int] | None:
        """Equal for a layer or call and for its derivative."""
        place = self.of
        return None if place is None else (place.kind, place.name, *place.ends)


Picture: TypeAlias = "nx.MultiDiGraph[Box]"  # of an arrow `label`, its shape; `serving`, whether only outputs need it;
# `next`, whether it is the iteration after that reads it


def last(place: Place) -> str:
    """`conv1` of the layer `block[3].conv1`; of anything else its name."""
    return place.name.rpartition(".")[2] if place.kind == "layer" else place.name
