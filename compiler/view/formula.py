"""A derivative as a formula that a person reads: the graph of the derivative, written in `notation`.

What the spec gave a name to is shown by that name; what stands several times and has none is defined below the formula.
Reshapes that only add or drop dimensions of size 1, and casts, are not shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from .. import ops
from ..autodiff.expand import expand
from ..diagnostics import did_you_mean, error
from ..ir.graph import Node
from ..ir.module import Module
from ..ir.reachable import needed
from ..ir.rebuild import rebuild
from ..ir.types import Dim, Size
from ..ops.match import hidden
from ..optimize import simplify
from .notation import (
    COMPARISONS,
    Apply,
    Expression,
    Formula,
    Number,
    Product,
    Sum,
    Symbol,
    join,
    matrix_product,
    product_of,
    pull,
    scale,
    sum_of,
    transposed,
)


def derivative(module: Module, of: str, wrt: str) -> Formula:
    """The derivative of a scalar of the spec by a parameter, an input or a named value.

    `of` is `loss`, `objective`, the NAME of a loss or metric, or a name of the model's text; `wrt` is the path of a
    parameter, an input, or a name. E0405 for a name that is not there. The module is used up: its graph is rewritten.
    """
    graph = module.graph
    scalars = {n: node for n, node in module.names.items() if not node.rank and node.dtype == "float"}
    scalars.update({n.removeprefix("metric/"): node for n, node in module.roots("loss", "metric/").items()})
    values = {n: node for n, node in module.names.items() if node.dtype == "float"}
    values.update({path: v.node for path, v in module.variables.items() if v.kind == "parameter"})
    target, by = _find(of, scalars, "--of"), _find(wrt, values, "--wrt")
    if by not in graph.order([target]):
        raise error("E0401", f"`{of}` does not depend on `{wrt}`", target.span, "this value")
    names = dict(module.names)
    if by.op.name not in ("input", "variable"):
        leaf = ops.cut(by)
        target, *values_ = rebuild(graph, [target, *names.values()], {by: leaf})
        by, names = leaf, dict(zip(names, values_, strict=True))
    graph.outputs.clear()
    for node in graph.nodes:  # nothing is run, so nothing is computed again
        node.block = 0
    graph.outputs.update({"derivative": ops.gradient(target, by), **{f"name/{n}": node for n, node in names.items()}})
    simplify(graph)
    while expand(graph):
        simplify(graph)
    simplify(graph, final=True)
    writer = _Writer(
        {node: n.removeprefix("name/") for n, node in reversed(list(graph.outputs.items())) if n != "derivative"},
        graph.outputs["derivative"],
    )
    return writer.formula()


def of_value(root: Node, names: dict[Node, str]) -> Formula:
    """A value in terms of those that have a name."""
    return _Writer(dict(names), root).formula()


def _find(name: str, known: dict[str, Node], option: str) -> Node:
    if name not in known:
        raise error(
            "E0405",
            f"there is no `{name}` for {option}",
            None,
            notes=["there are " + ", ".join(sorted(known))],
            help=did_you_mean(name, known),
        )
    return known[name]


# --- graph -> expression

FUNCTIONS = {"sigmoid": "σ", "one_hot": "onehot", "reduce_max": "max", "reduce_min": "min", "reduce_prod": "prod"}
DRAWS = {"random_uniform": "uniform(0, 1)", "random_normal": "normal(0, 1)", "random_below": "bernoulli({share:g})"}


@dataclass
class _Writer:
    names: dict[Node, str]
    root: Node
    done: dict[Node, Expression] = field(default_factory=dict)

    def formula(self) -> Formula:
        for node, name in list(self.names.items()):  # a value has its name whatever dimensions of 1 it shows
            while node.op.name == "reshape" and _same_but_ones(node):
                node = node.inputs[0]
                if node.op.name not in ("input", "variable"):
                    self.names.setdefault(node, name)
        self.names.pop(self.root, None)
        shown = self._shown()
        uses: dict[Node, int] = {}
        for node in shown:
            if node.op.name not in DRAWS:
                for source in node.inputs:
                    uses[source] = uses.get(source, 0) + 1
        where: list[tuple[str, Expression]] = []
        taken = set(self.names.values())
        for node in shown:
            expression = self._expression(node)
            large = _size(expression) > 4 or node.op.name in DRAWS  # two draws read alike and are not
            if uses.get(node, 0) > 1 and node.rank and node is not self.root and large:
                name = next(n for i in count() for n in (f"{c}{i or ''}" for c in "huvw") if n not in taken)
                taken.add(name)
                where.append((name, expression))
                expression = Symbol(name)
            self.done[node] = expression
        return Formula(self.done[self.root], tuple(where))

    def _shown(self) -> dict[Node, None]:
        """What the formula reaches without looking behind names."""
        return dict.fromkeys(
            needed([self.root], lambda node: () if node in self.names or node.op.name in DRAWS else node.inputs)
        )

    def _expression(self, node: Node) -> Expression:
        if node in self.names:
            return Symbol(self.names[node])
        name, attrs = node.op.name, node.attrs
        if name in DRAWS:
            return Symbol(DRAWS[name].format(**attrs))
        args = [self.done[source] for source in node.inputs]
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
            return sum_of([(1, args[0]), (1 if name == "add" else -1, args[1])])
        if name in ("mul", "div"):
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
            return Apply(COMPARISONS[name], tuple(args))
        if name == "where":
            return Apply("where", tuple(args))
        return Apply(FUNCTIONS.get(name, name), tuple(args))


def _of_size(size: Size) -> Expression:
    """A size, its numbers apart from its names, which are no matrices: `batch time`, without ⊙."""
    if isinstance(size, Dim) and len(size.terms) == 1:
        [(atoms, factor)] = size.terms
        return join(float(factor), [Symbol(str(atom)) for atom in atoms], [], [])
    return Symbol(f"({size})" if isinstance(size, Dim) else str(size))


def _same_but_ones(node: Node) -> bool:
    before = [size for size in node.inputs[0].shape if size != 1]
    return before == [size for size in node.shape if size != 1]


def _size(expression: Expression) -> int:
    if isinstance(expression, Symbol | Number):
        return 1
    parts: Sequence[Expression]
    if isinstance(expression, Apply):
        parts = expression.arguments
    elif isinstance(expression, Sum):
        parts = [term for _, term in expression.terms]
    elif isinstance(expression, Product):
        parts = (*expression.scalars, *expression.matrix, *expression.over)
    else:
        parts = (expression.inner,)
    return 1 + sum(_size(part) for part in parts)
