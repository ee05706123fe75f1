"""A value as a formula that a person reads: its graph, written in `notation`.

What the spec gave a name to is shown by that name; what stands several times and has none is defined below the formula.
Reshapes that only add or drop dimensions of size 1, and casts, are not shown.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from ..ir.graph import Node
from ..ir.reachable import needed
from ..ir.types import Dim, Size
from ..ops.match import hidden, number
from .algebra import (
    compared,
    expanded,
    join,
    loose,
    matrix_product,
    product_of,
    pull,
    scale,
    size_of,
    split,
    sum_of,
    transposed,
)
from .notation import COMPARISONS, Apply, Expression, Formula, Number, Symbol, symbols


def of_value(root: Node, names: Mapping[Node, str | Expression], taken: Collection[str] = ()) -> Formula:
    """A value in terms of those that have a name. `taken`: what it may give to no other."""
    given = {node: Symbol(name) if isinstance(name, str) else name for node, name in names.items()}
    return _Writer(given, root, {*taken, *(e.name for e in given.values() if isinstance(e, Symbol))}).formula()


# --- graph -> expression

FUNCTIONS = {
    "sigmoid": "σ",
    "one_hot": "onehot",
    "reduce_max": "max",
    "reduce_min": "min",
    "reduce_prod": "prod",
    "unslice": "pad",
}
DRAWS = {"random_uniform": "uniform(0, 1)", "random_normal": "normal(0, 1)", "random_below": "bernoulli({share:g})"}


@dataclass
class _Writer:
    names: dict[Node, Expression]
    root: Node
    taken: set[str]
    done: dict[Node, Expression] = field(default_factory=dict)

    def formula(self) -> Formula:
        for node, name in list(self.names.items()):  # a value has its name whatever dimensions of 1 it shows
            while node.op.name == "reshape" and _same_but_ones(node):
                node = node.inputs[0]
                if node.op.name not in ("input", "variable"):
                    self.names.setdefault(node, name)
        shown = self._shown()
        uses: dict[Node, int] = {}
        for node in shown:
            if node.op.name not in DRAWS:
                for source in _read(node):
                    uses[source] = uses.get(source, 0) + 1
        where: list[tuple[Symbol, Expression]] = []
        for node in shown:
            expression = self._expression(node)
            large = size_of(expression) > 4 or node.op.name in DRAWS  # two draws read alike and are not
            if uses.get(node, 0) > 1 and node.rank and node is not self.root and large:
                fresh = next(n for i in count() for n in (f"{c}{i or ''}" for c in "huvw") if n not in self.taken)
                self.taken.add(fresh)
                where.append((Symbol(fresh), expression))
                expression = Symbol(fresh)
            self.done[node] = expression
        whole = self.done[self.root]
        asked = {symbol.name for symbol in symbols([whole])}
        kept: list[tuple[Symbol, Expression]] = []
        for symbol, expression in where[::-1]:  # a comparison may have looked behind one
            if symbol.name in asked:
                kept.append((symbol, expression))
                asked.update(inner.name for inner in symbols([expression]))
        return Formula(whole, tuple(kept[::-1]))

    def _behind(self, node: Node, shown: Expression) -> Expression:
        """What a comparison looks at: relu(a) > 0 where a > 0, and relu(a) < 1 where a < 1."""
        left, right = node.inputs
        limit = number(right) if left.op.name == "relu" else None
        if limit is not None and (limit == 0 if node.op.name == "gt" else limit > 0 and node.op.name == "lt"):
            [argument] = left.inputs
            if argument in self.done or argument in self.names or argument.op.name in ("input", "variable"):
                return self.done.get(argument) or self._expression(argument)
        return shown

    def _shown(self) -> dict[Node, None]:
        """What the formula reaches without looking behind names."""
        return dict.fromkeys(
            needed([self.root], lambda node: () if node in self.names or node.op.name in DRAWS else _read(node))
        )

    def _expression(self, node: Node) -> Expression:
        if node in self.names:
            return self.names[node]
        name, attrs = node.op.name, node.attrs
        if name in DRAWS:
            return Symbol(DRAWS[name].format(**attrs))
        args = [self.done[source] for source in _read(node)]
        if name in ("input", "variable"):
            return Symbol(attrs.get("name") or attrs["path"])
        if name == "size":
            return _of_size(attrs["dim"])
        if name == "constant":
            value: np.ndarray = attrs["value"]
            same = bool(value.size) and bool((value == value.flat[0]).all())
            return Number(float(value.flat[0])) if same else Symbol("C")
        if hidden(node) or name == "broadcast_to" or (name == "reshape" and _same_but_ones(node)):
            return args[0]
        if name == "neg":
            return scale(args[0], -1.0)
        if name in ("add", "sub"):
            return expanded(sum_of([(1, args[0]), (1 if name == "add" else -1, args[1])]))
        if name in ("mul", "div"):
            if node.rank:
                args = [
                    arg if any(size != 1 for size in source.shape) else loose(arg)
                    for source, arg in zip(node.inputs, args, strict=True)
                ]
            return product_of(args[:1], args[1:]) if name == "div" else product_of(args, [])
        if name == "pow" and isinstance(args[1], Number):
            return Apply("^", (args[0], args[1]))
        if name in ("matmul", "gemm"):
            a = transposed(args[0]) if attrs["ta"] else args[0]
            b = transposed(args[1]) if attrs["tb"] else args[1]
            result = matrix_product(a, b)
            if name == "gemm":
                result = sum_of([(1, scale(result, attrs["alpha"])), (1, scale(args[2], attrs["beta"]))])
            return result
        if name == "transpose" and node.rank == 2:
            return transposed(args[0])
        if name == "reduce_sum":
            over = ",".join(
                str(node.inputs[0].shape[i]) if isinstance(node.inputs[0].shape[i], Dim) else f"axis {i}"
                for i in attrs["axes"]
            )
            everything = len(attrs["axes"]) == node.inputs[0].rank
            return pull(args[0], lambda core: Apply("Σ" if everything else f"Σ_{over}", (core,)))
        if name in COMPARISONS:
            return compared(COMPARISONS[name], self._behind(node, args[0]), args[1])
        if name == "where":
            return _chosen(*args)
        if name == "sigmoid" and node.inputs[0].op.name == "neg":
            other = node.graph.known(node.op, node.inputs[0].inputs, node.attrs)
            if other is not None and other in self.names:
                return sum_of([(1, Number(1.0)), (-1, self.names[other])])
        if name == "slice":
            return Apply(_sliced(node), (args[0],))
        return Apply(FUNCTIONS.get(name, name), tuple(args))


def _read(node: Node) -> tuple[Node, ...]:
    """What a formula shows of an operation's inputs: a divisor without the guard that makes 0 / 0 be 0, which formulas
    do not say."""
    if node.op.name != "div":
        return node.inputs
    above, below = node.inputs
    if below.op.name == "add":
        divisor, guard = below.inputs
        while guard.op.name in ("cast", "broadcast_to"):
            guard = guard.inputs[0]
        if guard.op.name == "and" and any(_is_zero(test, divisor) for test in guard.inputs):
            return above, divisor
    elif below.op.name == "where" and _is_zero(below.inputs[0], below.inputs[2]) and number(below.inputs[1]) == 1:
        return above, below.inputs[2]
    return node.inputs


def _is_zero(test: Node, of: Node) -> bool:
    return test.op.name == "eq" and any(test.inputs[i] is of and number(test.inputs[1 - i]) == 0 for i in (0, 1))


def _sliced(node: Node) -> str:
    """`[:, 0:4]`, as the language writes it."""
    said = []
    attrs, whole = node.attrs, node.inputs[0].shape
    for start, stop, step, size in zip(attrs["starts"], attrs["stops"], attrs["steps"], whole, strict=True):
        if (start, stop, step) == (0, size, 1):
            said.append(":")
        elif step == 1 and stop == start + 1:
            said.append(str(start))
        else:
            said.append(f"{start}:{stop}" + f":{step}" * (step != 1))
    while len(said) > 1 and said[-1] == ":":
        said.pop()
    return f"[{', '.join(said)}]"


_CONTRARY = {"<": "≥", "≤": ">", ">": "≤", "≥": "<", "=": "≠", "≠": "="}


def _chosen(condition: Expression, yes: Expression, no: Expression) -> Expression:
    """Iverson's brackets: a choice between something and 0 is a product with the condition."""
    (n, s, m, over), (k, t, q, under) = split(yes), split(no)
    if over and over == under:
        return join(1.0, [], [_chosen(condition, join(n, s, m, ()), join(k, t, q, ()))], over)
    if no == Number(0.0):
        return condition if yes == Number(1.0) else product_of([yes, condition], [])
    if yes == Number(0.0) and isinstance(condition, Apply) and condition.function in _CONTRARY:
        other = Apply(_CONTRARY[condition.function], condition.arguments)
        return other if no == Number(1.0) else product_of([no, other], [])
    return Apply("where", (condition, yes, no))


def _of_size(size: Size) -> Expression:
    """A size, its numbers apart from its names, which are no matrices: `batch time`, without ⊙."""
    if isinstance(size, Dim) and len(size.terms) == 1:
        [(atoms, factor)] = size.terms
        return join(float(factor), [Symbol(str(atom)) for atom in atoms], [], [])
    return Symbol(f"({size})" if isinstance(size, Dim) else str(size))


def _same_but_ones(node: Node) -> bool:
    """Whether a reshape leaves the rows as they are: other dimensions of size 1, or all rows in one dimension."""
    before, after = ([size for size in n.shape if size != 1] for n in (node.inputs[0], node))
    return before == after or (len(before) > 1 and len(after) > 1 and before[-1] == after[-1])
