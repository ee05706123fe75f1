"""What random specs are drafted with: values that are made one after the other, by constructs.

A construct is a function marked `@construct` (or a line of ELEMENTWISE or PAIRWISE) that takes a `Draft`, asks it for
values that fit, and writes a statement; one that finds nothing to work on raises `Unfit`. What is written is kept
within moderate numbers, so that rounding errors stay rounding errors.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Shape = tuple[Any, ...]  # of numbers and names of free sizes
LIMIT = 4.0  # of the magnitude that a value may have


class Unfit(Exception):
    """There is nothing that a construct can work on."""


@dataclass(frozen=True)
class Value:
    name: str
    shape: Shape
    bound: float  # no entry is larger in magnitude
    rows: bool = True  # row by row: no row of the batch depends on another, so a loss may be made of it
    dtype: str = "float"
    named: bool = True  # its free dimensions still carry their names; a reshape forgets them

    @property
    def rank(self) -> int:
        return len(self.shape)

    def __str__(self) -> str:
        return self.name


@dataclass
class Draft:
    """A spec in the making."""

    random: random.Random
    lines: list[str] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    above: dict[str, str] = field(default_factory=dict)  # declarations before the model, by name
    count: int = 0

    def fresh(self, stem: str = "v") -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def value(self, fits: Callable[[Value], bool] = lambda v: True, dtype: str = "float") -> Value:
        """A value made so far, later ones more likely; a new one is seldom far from the end of the text."""
        found = [v for v in self.values if v.dtype == dtype and fits(v)]
        if not found:
            raise Unfit
        return found[max(self.random.randrange(len(found)) for _ in range(2))]

    def number(self, low: float, high: float) -> str:
        return f"{self.random.uniform(low, high):.2f}"

    def axis(self, v: Value, fits: Callable[[Any], bool] = lambda size: True) -> int:
        places = [i for i, size in enumerate(v.shape) if fits(size)]
        if not places:
            raise Unfit
        return self.random.choice(places)

    def said(self, v: Value, axis: int) -> str:
        """An axis by number, from the front or the back, or by name."""
        ways = [str(axis), str(axis - v.rank)]
        if v.named and isinstance(v.shape[axis], str) and v.shape.count(v.shape[axis]) == 1:
            ways.append(v.shape[axis])
        return self.random.choice(ways)

    def let(
        self,
        text: str,
        shape: Shape,
        bound: float,
        of: tuple[Value, ...] = (),
        rows: bool = True,
        dtype: str = "float",
        named: bool = True,
    ) -> Value:
        """One more value: `rows` is whether the construct itself keeps rows apart."""
        name, shape = self.fresh(), tuple(shape)
        if dtype == "float" and bound > LIMIT:
            text, bound = f"{LIMIT / 2:g} * tanh(({text}) / {bound:.3g})", LIMIT / 2
        self.lines.append(f"{name} = {text}")
        paired = shape.count("batch") > max((v.shape.count("batch") for v in of), default=1)  # a row for each pair
        made = Value(
            name,
            shape,
            bound,
            rows and not paired and all(v.rows for v in of),
            dtype,
            named and all(v.named for v in of),
        )
        self.values.append(made)
        return made


def joined(a: Shape, b: Shape) -> Shape | None:
    """The shape two broadcast to; None where they do not."""
    longer, shorter = (a, b) if len(a) >= len(b) else (b, a)
    padded = (1,) * (len(longer) - len(shorter)) + shorter
    if any(s != t and 1 not in (s, t) for s, t in zip(longer, padded, strict=True)):
        return None
    return tuple(t if s == 1 else s for s, t in zip(longer, padded, strict=True))


CONSTRUCTS: list[Callable[[Draft], Any]] = []


def construct(function: Callable[[Draft], Any]) -> Callable[[Draft], Any]:
    CONSTRUCTS.append(function)
    return function
