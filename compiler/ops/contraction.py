"""Sums of products over named axes (Einstein's convention), built from transpose, reshape, products and sums."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from ..ir.graph import Node
from ..ir.types import Dim, Size, evaluate, product
from .choice import eq, where
from .elementwise import mul
from .indexing import make_arange
from .linalg import matmul
from .operands import cast, meet
from .reduction import reduce_sum
from .shaping import reshape, transpose
from .slicing import slice_

Axis = Hashable

FREE = 32  # what a free dimension counts where orders of contraction are compared
ALL_ORDERS = 8  # up to so many operands every order is looked at; of more the cheapest pairs go first


@dataclass(frozen=True, slots=True, eq=False)
class _Term:
    """A factor of the product: a value and the axes its dimensions are."""

    node: Node
    axes: tuple[Axis, ...]


def contract(
    nodes: Sequence[Node], axes: Sequence[Sequence[Axis]], output: Sequence[Axis], sizes: Mapping[Axis, Size]
) -> Node:
    """Σ over the axes that `output` leaves out of the product of the nodes, whose dimensions are `axes`.

    An axis that stands twice in one operand is its diagonal; of size 1 it is repeated to its size in `sizes`. Floats
    are multiplied by `matmul`, whose flags take the transposes that they can; ints by `mul` and `reduce_sum`. Several
    operands are contracted in the order of fewest multiplications (a free dimension counts as 32).
    """
    operands = meet("einsum", *nodes)
    if operands[0].dtype == "bool":
        operands = [cast(node, dtype="int") for node in operands]
    kept = dict.fromkeys(output)
    count = {axis: _nominal(size) for axis, size in sizes.items()}
    terms = [_own_size(_diagonal(_Term(node, tuple(own))), sizes) for node, own in zip(operands, axes, strict=True)]
    for number, term in enumerate(terms):
        elsewhere = {axis for i, other in enumerate(terms) if i != number for axis in other.axes}
        terms[number] = _sum_out(term, [a for a in term.axes if a not in kept and a not in elsewhere])
    while len(terms) > ALL_ORDERS:
        terms = _cheapest_pair(terms, tuple(output), kept, count)
    result = _contracted(terms, _order(terms, kept, count), tuple(output), kept, count)
    return transpose(result.node, perm=[result.axes.index(axis) for axis in output])


def _nominal(size: Size) -> int:
    return max(1, evaluate(size, dict.fromkeys(size.names(), FREE)) if isinstance(size, Dim) else size)


def _elements(axes: Sequence[Axis], count: Mapping[Axis, int]) -> int:
    total = 1
    for axis in axes:
        total *= count[axis]
    return total


# --- one operand


def _diagonal(term: _Term) -> _Term:
    """Axes that stand several times become one: of k of size n each element 1 + n + … + n^(k−1) steps apart."""
    for axis in dict.fromkeys(term.axes):
        places = [i for i, other in enumerate(term.axes) if other == axis]
        rest = [i for i in range(term.node.rank) if i not in places]
        n = term.node.shape[places[0]]
        if len(places) == 1:
            continue
        if isinstance(n, Dim):  # a step is a number: the others are masked away and summed out
            while len(places) > 1:
                last = places.pop()
                term = _Term(_mask(term.node, places[0], last), term.axes[:last] + term.axes[last + 1 :])
            continue
        node = transpose(term.node, perm=[*places, *rest])
        node = reshape(node, shape=(n ** len(places), *node.shape[len(places) :]))
        if n > 1:
            steps = (sum(n**i for i in range(len(places))), *[1] * len(rest))
            node = slice_(node, starts=(0,) * node.rank, stops=node.shape, steps=steps)
        term = _Term(node, (axis, *(term.axes[i] for i in rest)))
    return term


def _mask(x: Node, first: int, second: int) -> Node:
    """The diagonal of two dimensions of one free size: the second is gone."""
    n = x.shape[first]
    along = make_arange(x.graph, n)
    row = reshape(along, shape=(n, *[1] * (x.rank - first - 1)))
    column = reshape(along, shape=(n, *[1] * (x.rank - second - 1)))
    zero = 0.0 if x.dtype == "float" else 0
    return reduce_sum(where(eq(row, column), x, zero), axes=(second,))


def _own_size(term: _Term, sizes: Mapping[Axis, Size]) -> _Term:
    """Dimensions of 1 that another operand makes wider are left to broadcasting."""
    kept = [i for i, axis in enumerate(term.axes) if term.node.shape[i] == sizes[axis]]
    shape = tuple(term.node.shape[i] for i in kept)
    return _Term(reshape(term.node, shape=shape), tuple(term.axes[i] for i in kept))


def _sum_out(term: _Term, gone: Sequence[Axis]) -> _Term:
    if not gone:
        return term
    node = reduce_sum(term.node, axes=[term.axes.index(axis) for axis in gone])
    return _Term(node, tuple(axis for axis in term.axes if axis not in gone))


# --- the order of several


def _left(axes: Sequence[Axis], kept: Mapping[Axis, None], others: Sequence[_Term]) -> dict[Axis, None]:
    """Those of the axes that the result or another term still needs."""
    return {axis: None for axis in axes if axis in kept or any(axis in other.axes for other in others)}


def _order(terms: Sequence[_Term], kept: Mapping[Axis, None], count: Mapping[Axis, int]) -> object:
    """The tree of pairs with the fewest multiplications, over all subsets of the terms."""
    best: dict[int, tuple[int, object]] = {1 << i: (0, i) for i in range(len(terms))}
    needed = {}
    for mask in range(1, 1 << len(terms)):
        inside = [term for i, term in enumerate(terms) if mask >> i & 1]
        outside = [term for i, term in enumerate(terms) if not mask >> i & 1]
        needed[mask] = tuple(_left(tuple(dict.fromkeys(a for t in inside for a in t.axes)), kept, outside))
        if mask in best:
            continue
        low = mask & -mask
        part = (mask - 1) & mask
        while part:
            if part & low:
                rest = mask ^ part
                cost = best[part][0] + best[rest][0]
                cost += _elements(tuple(dict.fromkeys(needed[part] + needed[rest])), count)
                if mask not in best or cost < best[mask][0]:
                    best[mask] = (cost, (best[part][1], best[rest][1]))
            part = (part - 1) & mask
    return best[(1 << len(terms)) - 1][1]


def _cheapest_pair(
    terms: list[_Term], output: tuple[Axis, ...], kept: Mapping[Axis, None], count: Mapping[Axis, int]
) -> list[_Term]:
    pairs = [(i, j) for j in range(len(terms)) for i in range(j)]
    i, j = min(
        pairs, key=lambda pair: _elements(tuple(dict.fromkeys(terms[pair[0]].axes + terms[pair[1]].axes)), count)
    )
    rest = [term for number, term in enumerate(terms) if number not in (i, j)]
    needed = _left(terms[i].axes + terms[j].axes, kept, rest)
    return [_pair(terms[i], terms[j], needed, (), count), *rest]


def _contracted(
    terms: Sequence[_Term], tree: object, output: tuple[Axis, ...], kept: Mapping[Axis, None], count: Mapping[Axis, int]
) -> _Term:
    if isinstance(tree, int):
        return terms[tree]
    assert isinstance(tree, tuple)
    sides = [_members(part) for part in tree]
    made = []
    for part, own in zip(tree, sides, strict=True):
        outside = [term for i, term in enumerate(terms) if i not in own]
        needed = _left(tuple(a for i in own for a in terms[i].axes), kept, outside)
        made.append(_contracted(terms, part, (), needed, count))
    needed = _left(made[0].axes + made[1].axes, kept, [])
    return _pair(made[0], made[1], needed, output, count)


def _members(tree: object) -> list[int]:
    return [tree] if isinstance(tree, int) else [i for part in tree for i in _members(part)]  # type: ignore[attr-defined]


# --- a pair


def _pair(
    a: _Term, b: _Term, needed: Mapping[Axis, None], wanted: tuple[Axis, ...], count: Mapping[Axis, int]
) -> _Term:
    """The product of two terms, summed over the axes that nothing needs; in the order `wanted` if that is cheap."""
    shared = [axis for axis in a.axes if axis in b.axes]
    inner = [axis for axis in shared if axis not in needed]
    alone = len(shared) == len(a.axes) and len(shared) == len(b.axes)
    if not inner or alone or a.node.dtype != "float":
        return _sum_out(_times(a, b, wanted), inner)
    batch = [axis for axis in shared if axis in needed]
    best: tuple[int, _Layout] | None = None
    for left, right in ((a, b), (b, a)):
        for first in (left, right):
            for second in (left, right):
                layout = _Layout(left, right, _as_in(first, batch), _as_in(second, inner))
                cost = layout.moved(wanted, count)
                if best is None or cost < best[0]:
                    best = (cost, layout)
    assert best is not None
    return best[1].build()


def _as_in(term: _Term, axes: Sequence[Axis]) -> tuple[Axis, ...]:
    return tuple(axis for axis in term.axes if axis in axes)


def _times(a: _Term, b: _Term, wanted: tuple[Axis, ...]) -> _Term:
    """The product without a sum: each is laid along the axes of both."""
    every = tuple(dict.fromkeys(a.axes + b.axes))
    if wanted:
        every = tuple(axis for axis in wanted if axis in every) + tuple(axis for axis in every if axis not in wanted)
    laid = []
    for term in (a, b):
        own = _as_in(_Term(term.node, every), term.axes)
        node = transpose(term.node, perm=[term.axes.index(axis) for axis in own])
        sizes = dict(zip(own, node.shape, strict=True))
        shape = [sizes.get(axis, 1) for axis in every]
        while shape and every[len(every) - len(shape)] not in sizes:
            shape = shape[1:]
        laid.append(reshape(node, shape=tuple(shape)))
    return _Term(mul(*laid), every)


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """A product of matrices: left [batch, rows, inner] by right [batch, inner, columns], either transposed or not."""

    left: _Term
    right: _Term
    batch: tuple[Axis, ...]
    inner: tuple[Axis, ...]

    @property
    def rows(self) -> tuple[Axis, ...]:
        return tuple(axis for axis in self.left.axes if axis not in self.right.axes)

    @property
    def columns(self) -> tuple[Axis, ...]:
        return tuple(axis for axis in self.right.axes if axis not in self.left.axes)

    def moved(self, wanted: tuple[Axis, ...], count: Mapping[Axis, int]) -> int:
        """Elements that Transposes move: a flag of the product costs nothing."""
        total = 0
        for term, own in ((self.left, self.rows), (self.right, self.columns)):
            if term.axes not in (self.batch + own + self.inner, self.batch + self.inner + own):
                total += _elements(term.axes, count)
        result = self.batch + self.rows + self.columns
        return total + (_elements(result, count) if wanted and result != wanted else 0)

    def build(self) -> _Term:
        rows, columns, batch, inner = self.rows, self.columns, self.batch, self.inner
        over_rows = not batch and len(rows) > 1 and len(inner) == len(columns) == 1 and self.left.axes == rows + inner
        left, ta = (self.left.node, False) if over_rows else self._matrix(self.left, rows, inner)
        right, tb = self._matrix(self.right, inner, columns)
        node = matmul(left, right, ta=ta, tb=tb)
        sizes = {
            axis: size
            for term in (self.left, self.right)
            for axis, size in zip(term.axes, term.node.shape, strict=True)
        }
        axes = batch + rows + columns
        return _Term(reshape(node, shape=tuple(sizes[axis] for axis in axes)), axes)

    def _matrix(self, term: _Term, first: tuple[Axis, ...], second: tuple[Axis, ...]) -> tuple[Node, bool]:
        """The term as [batch, first, second], each of these one dimension; True where it is transposed instead."""
        node, axes, batch = term.node, term.axes, self.batch
        flipped = axes != batch + first + second and axes == batch + second + first
        if flipped:
            first, second = second, first
        node = transpose(node, perm=[axes.index(axis) for axis in batch + first + second])
        n, m = len(batch), len(batch) + len(first)
        shape = (*node.shape[:n], product(node.shape[n:m]), product(node.shape[m:]))
        return reshape(node, shape=shape), flipped
