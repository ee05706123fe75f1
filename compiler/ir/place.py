"""Where in the text of a model a node comes from, for pictures: which layer, call or turn of a `for` made it."""

from __future__ import annotations

from collections import Counter

from ..source import Span


class Place:
    """A layer, a call or one turn of a `for`, inside another (`above`; None of the model itself).

    kind: "model", "layer", "call" (of a function, distribution or optimizer), "operation" (of one that the compiler
    knows), or "turn". The same text run again, as it is for each pass, is in the same places: `inside` finds them.
    """

    __slots__ = ("above", "kind", "name", "said", "span", "within")

    def __init__(self, above: Place | None, kind: str, name: str, said: str = "", span: Span | None = None) -> None:
        self.above, self.kind, self.name, self.span = above, kind, name, span
        self.said = said  # as the text says it: `dense(128)`
        self.within: dict[tuple[str, str, int, int], Place] = {}

    def inside(self, kind: str, name: str, span: Span | None, said: str = "") -> Place:
        """The place of that kind and name in this one, which stands there in the text."""
        key = (kind, name, *_ends(span))
        found = self.within.get(key)
        if found is None:
            found = self.within[key] = Place(self, kind, name, said, span)
        return found

    @property
    def ends(self) -> tuple[int, int]:
        """Where its text begins and ends: calls of one pipe begin alike."""
        return _ends(self.span)

    def chain(self) -> list[Place]:
        """The places that this one lies in, from the outside in, and itself; without the model."""
        found: list[Place] = []
        place = self
        while place.above is not None:
            found.append(place)
            place = place.above
        return found[::-1]

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}>"


def _ends(span: Span | None) -> tuple[int, int]:
    return (-1, -1) if span is None else (span.start, span.end)


def wrappers(above: Place) -> dict[Place, tuple[Place, ...]]:
    """Of layers that lie there the layers that they are arguments of, the outermost first: of `dense` in
    `spectral_norm(dense(8))` that one, in which a picture shows it. Linear but for the sorting."""
    layers = [place for place in above.within.values() if place.kind == "layer" and place.span is not None]
    often = Counter(place.ends for place in layers)  # a text that made several does not say which of them is meant
    found: dict[Place, tuple[Place, ...]] = {}
    around: list[Place] = []
    for place in sorted(layers, key=lambda place: (place.ends[0], -place.ends[1])):
        while around and around[-1].ends[1] < place.ends[1]:
            around.pop()
        if often[place.ends] == 1:
            if around:
                found[place] = tuple(around)
            around.append(place)
    return found
