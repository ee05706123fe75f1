"""Types of values: a dtype and a shape whose sizes are numbers or arithmetic on free dimension names.

dtype = "float" | "int" | "bool" | "key"     `float` is the precision chosen when the file is written;
                                             `key` is the unsigned 64-bit key of a random draw
size  = int | Dim
Dim   = integer polynomial over names and floor divisions, in one canonical form: equal sizes are equal objects
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import TypeVar, Union

Size = Union[int, "Dim"]
Shape = tuple[Size, ...]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FloorDiv:
    """`numerator // denominator`, kept whole because it did not divide evenly."""

    numerator: Size
    denominator: Size

    def __str__(self) -> str:
        top, bottom = (str(s) if " " not in str(s) else f"({s})" for s in (self.numerator, self.denominator))
        return f"({top} // {bottom})"


Atom = str | FloorDiv
Monomial = tuple[Atom, ...]  # a product, sorted by text


def _text(atom: Atom) -> str:
    return atom if isinstance(atom, str) else str(atom)


class Dim:
    """A size that is known when the file runs. Arithmetic gives an int again where the names cancel."""

    __slots__ = ("_hash", "terms", "weight")

    def __init__(self, terms: tuple[tuple[Monomial, int], ...]) -> None:
        self.terms = terms
        self.weight = sum(
            max(1, sum(1 if isinstance(a, str) else weight(a.numerator) + weight(a.denominator) for a in atoms))
            for atoms, _ in terms
        )
        self._hash = hash(terms)

    @staticmethod
    def name(name: str) -> Dim:
        return Dim((((name,), 1),))

    @staticmethod
    def _make(terms: dict[Monomial, int]) -> Size:
        kept = {m: c for m, c in terms.items() if c}
        if not kept:
            return 0
        if len(kept) == 1 and () in kept:
            return kept[()]
        return Dim(tuple(sorted(kept.items(), key=lambda t: (-len(t[0]), [_text(a) for a in t[0]]))))

    @staticmethod
    def _terms(size: Size) -> dict[Monomial, int]:
        return dict(size.terms) if isinstance(size, Dim) else {(): size} if size else {}

    def __add__(self, other: Size) -> Size:
        terms = Dim._terms(self)
        for monomial, factor in Dim._terms(other).items():
            terms[monomial] = terms.get(monomial, 0) + factor
        return Dim._make(terms)

    def __mul__(self, other: Size) -> Size:
        if self.weight * weight(other) > 2**14:
            raise OverflowError("the arithmetic on free dimensions is too long")
        terms: dict[Monomial, int] = {}
        for a, x in self.terms:
            for b, y in Dim._terms(other).items():
                monomial = tuple(sorted(a + b, key=_text))
                terms[monomial] = terms.get(monomial, 0) + x * y
        return Dim._make(terms)

    def __neg__(self) -> Size:
        return self * -1

    def __sub__(self, other: Size) -> Size:
        return self + (other * -1)

    def __rsub__(self, other: int) -> Size:
        return -self + other

    def __floordiv__(self, other: Size) -> Size:
        exact = divide(self, other)
        if exact is not None:
            return exact
        if isinstance(other, int) and other > 0:  # (s a + b) // s = a + b // s: one form of equal sizes
            whole = {m: c // other * other for m, c in self.terms if c >= other or not m}
            rest = self - Dim._make(whole)
            if rest != self:
                return Dim._make({m: c // other for m, c in whole.items()}) + rest // other
        return Dim._make({(FloorDiv(self, other),): 1})

    def __rfloordiv__(self, other: int) -> Size:
        return Dim._make({(FloorDiv(other, self),): 1})

    def __mod__(self, other: Size) -> Size:
        return self - (self // other) * other

    def __rmod__(self, other: int) -> Size:
        return other - (other // self) * self

    __radd__ = __add__
    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dim) and self.terms == other.terms

    def __hash__(self) -> int:
        return self._hash

    def names(self) -> list[str]:
        """The free names in it, in order of appearance, each once."""
        found: dict[str, None] = {}
        for monomial, _ in self.terms:
            for atom in monomial:
                if isinstance(atom, str):
                    found[atom] = None
                else:
                    for part in (atom.numerator, atom.denominator):
                        found.update(dict.fromkeys(names_of(part)))
        return list(found)

    def __str__(self) -> str:
        parts: list[str] = []
        for monomial, factor in self.terms:
            names = " * ".join(_text(atom) for atom in monomial)
            size = str(abs(factor)) if not names else names if abs(factor) == 1 else f"{abs(factor)} * {names}"
            sign = "-" if factor < 0 else "+"
            parts.append(f"{sign} {size}" if parts else ("-" if factor < 0 else "") + size)
        return " ".join(parts)

    def __repr__(self) -> str:
        return f"Dim({self})"


def divide(size: Size, by: Size) -> Size | None:
    """size / by where it divides evenly for every value of the names, else None."""
    if isinstance(size, int) and isinstance(by, int):
        return size // by if by and size % by == 0 else None
    if size == by:
        return 1
    divisor = Dim._terms(by)
    if len(divisor) != 1:
        return None
    [(atoms, factor)] = divisor.items()
    result: dict[Monomial, int] = {}
    for monomial, c in Dim._terms(size).items():
        rest = list(monomial)
        for atom in atoms:
            if atom not in rest:
                return None
            rest.remove(atom)
        if not factor or c % factor:
            return None
        result[tuple(rest)] = c // factor
    return Dim._make(result)


def names_of(size: Size) -> list[str]:
    return size.names() if isinstance(size, Dim) else []


def weight(size: Size) -> int:
    """How many names and numbers stand in a size, at least 1: what work with it costs."""
    return size.weight if isinstance(size, Dim) else 1


def evaluate(size: Size, bindings: Mapping[str, int]) -> int:
    """The number a size has once its names have values; KeyError for a name without one."""
    if isinstance(size, int):
        return size
    result: int = walk(
        size,
        lambda name: bindings[name],
        lambda number: number,
        lambda a, b: a + b,
        lambda a, b: a * b,
        lambda a, b: a // b,
    )
    return result


def walk(
    size: Size,
    name: Callable[[str], T],
    number: Callable[[int], T],
    add: Callable[[T, T], T],
    multiply: Callable[[T, T], T],
    floor_divide: Callable[[T, T], T],
) -> T:
    """Folds a size with the arithmetic given: how the interpreter counts and how lowering writes nodes."""
    if isinstance(size, int):
        return number(size)

    def of_atom(atom: Atom) -> T:
        if isinstance(atom, str):
            return name(atom)
        parts = [walk(p, name, number, add, multiply, floor_divide) for p in (atom.numerator, atom.denominator)]
        return floor_divide(parts[0], parts[1])

    terms: list[T] = []
    for monomial, factor in size.terms:
        factors = [of_atom(atom) for atom in monomial]
        if factor != 1 or not factors:
            factors.append(number(factor))
        terms.append(reduce(multiply, factors))
    return reduce(add, terms)


def product(sizes: Iterable[Size]) -> Size:
    result: Size = 1
    for size in sizes:
        result = result * size
    return result


def show_shape(shape: Sequence[Size]) -> str:
    return _shown(tuple(shape))


@lru_cache(maxsize=4096)  # a large model has many values of few shapes
def _shown(shape: tuple[Size, ...]) -> str:
    return "[" + ", ".join(str(size) for size in shape) + "]"


DTYPES = ("float", "int", "bool", "key")


@dataclass(frozen=True, slots=True)
class TensorType:
    dtype: str
    shape: Shape

    @property
    def rank(self) -> int:
        return len(self.shape)

    def with_shape(self, shape: Shape) -> TensorType:
        return TensorType(self.dtype, shape)

    def with_dtype(self, dtype: str) -> TensorType:
        return TensorType(dtype, self.shape)

    def __str__(self) -> str:
        return f"{self.dtype}{show_shape(self.shape)}" if self.shape else self.dtype


class TypeProblem(Exception):
    """An operation does not take these types. The elaborator adds the place.

    `operands` says, for some operands by number, what is wrong with each.
    """

    def __init__(
        self, code: str, message: str, operands: Mapping[int, str] | None = None, help: str | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.operands, self.help = code, message, dict(operands or {}), help


def broadcast(*shapes: Shape) -> Shape:
    """NumPy's rule on sizes that may be names: equal, or one of them is 1. E0310 otherwise."""
    if shapes and all(shape == shapes[0] for shape in shapes):
        return shapes[0]
    rank = max((len(shape) for shape in shapes), default=0)
    result: list[Size] = [1] * rank
    owner = [0] * rank
    for number, shape in enumerate(shapes):
        for place, size in enumerate(shape, rank - len(shape)):
            if size == 1 or size == result[place]:
                continue
            if result[place] == 1:
                result[place], owner[place] = size, number
                continue
            first, second = owner[place], number
            raise TypeProblem(
                "E0310",
                f"shapes {show_shape(shapes[first])} and {show_shape(shapes[second])} do not broadcast",
                {
                    first: f"dimension {place - rank} is {result[place]} in {show_shape(shapes[first])}",
                    second: f"dimension {place - rank} is {size} in {show_shape(shapes[second])}",
                },
                "sizes are compared from the last dimension; they must be equal, or one of them must be 1",
            )
    return tuple(result)


def normal_axis(axis: int, rank: int, what: str = "axis") -> int:
    """A counted-from-the-end axis made non-negative. E0314 when there is no such axis."""
    if not -rank <= axis < rank:
        raise TypeProblem(
            "E0314",
            f"{what} {axis} does not exist: the value has {rank} dimension{'s' * (rank != 1)}",
            {0: f"it has {rank} dimension{'s' * (rank != 1)}"},
        )
    return axis % rank
