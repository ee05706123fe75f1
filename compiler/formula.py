"""A derivative as a formula that a person reads, in text and LaTeX.

The graph of the derivative is turned into a small algebra and put in order the way people write it:

    formula = Symbol | Number | Apply(function, formulas) | Sum((sign, formula)*) | Product(factors, over)
            | Transposed(formula)

Scalars come out in front, `1/n` goes under the line, signs move into differences, and what the spec gave a name to is
shown by that name. Reshapes that only add or drop dimensions of size 1, and casts, are not shown.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from . import ops
from .diagnostics import did_you_mean, error
from .differentiate import expand
from .graph import Node
from .module import Module
from .optimize import simplify
from .tensor_type import Dim


@dataclass(frozen=True)
class Symbol:
    name: str


@dataclass(frozen=True)
class Number:
    value: float


@dataclass(frozen=True)
class Apply:
    function: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True)
class Sum:
    terms: tuple[tuple[int, Expression], ...]


@dataclass(frozen=True)
class Product:
    """Factors above the line and below; `matrix` factors keep their order and stand last."""

    scalars: tuple[Expression, ...]
    matrix: tuple[Expression, ...]
    over: tuple[Expression, ...]


@dataclass(frozen=True)
class Transposed:
    inner: Expression


Expression = Symbol | Number | Apply | Sum | Product | Transposed

ONE = Number(1.0)


@dataclass(frozen=True)
class Formula:
    """`where` defines the values without a name that stand in it more than once, in order."""

    expression: Expression
    where: tuple[tuple[str, Expression], ...] = ()

    @property
    def text(self) -> str:
        return "\n".join([_text(self.expression), *(f"    where {n} = {_text(e)}" for n, e in self.where)])

    @property
    def latex(self) -> str:
        lines = [_latex(self.expression), *(f"{_latex_name(n)} = {_latex(e)}" for n, e in self.where)]
        return " \\\\\n".join(lines)


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
        target, *values_ = graph.substitute([target, *names.values()], {by: leaf})
        by, names = leaf, dict(zip(names, values_, strict=True))
    graph.outputs.clear()
    graph.outputs.update({"derivative": ops.gradient(target, by), **{f"name/{n}": node for n, node in names.items()}})
    simplify(graph)
    while expand(graph):
        simplify(graph)
    simplify(graph, final=True)
    writer = _Writer({node: n.removeprefix("name/") for n, node in reversed(list(graph.outputs.items()))
                      if n != "derivative"},
                     graph.outputs["derivative"])
    return writer.formula()


def _find(name: str, known: dict[str, Node], option: str) -> Node:
    if name not in known:
        raise error("E0405", f"there is no `{name}` for {option}", None,
                    notes=["there are " + ", ".join(sorted(known))],
                    help=did_you_mean(name, known))
    return known[name]


# --- graph -> expression

FUNCTIONS = {"sigmoid": "σ", "one_hot": "onehot", "reduce_max": "max", "reduce_min": "min", "reduce_prod": "prod"}
INVISIBLE = ("cast", "broadcast_to", "stop_gradient", "cut")
COMPARISONS = {"lt": "<", "le": "≤", "gt": ">", "ge": "≥", "eq": "=", "ne": "≠"}


@dataclass
class _Writer:
    names: dict[Node, str]
    root: Node
    done: dict[Node, Expression] = field(default_factory=dict)

    def formula(self) -> Formula:
        graph = self.root.graph
        self.names.pop(self.root, None)
        order = graph.order([self.root])
        shown = self._shown()
        uses: dict[Node, int] = {}
        for node in order:
            if node in shown:
                for source in node.inputs:
                    uses[source] = uses.get(source, 0) + 1
        where: list[tuple[str, Expression]] = []
        taken = set(self.names.values())
        for node in order:
            if node not in shown:
                continue
            expression = self._expression(node)
            if uses.get(node, 0) > 1 and node.rank and node is not self.root and _size(expression) > 4:
                name = next(n for i in count() for n in (f"{c}{i or ''}" for c in "huvw") if n not in taken)
                taken.add(name)
                where.append((name, expression))
                expression = Symbol(name)
            self.done[node] = expression
        return Formula(self.done[self.root], tuple(where))

    def _shown(self) -> dict[Node, None]:
        """What the formula reaches without looking behind names."""
        shown: dict[Node, None] = {}
        stack = [self.root]
        while stack:
            node = stack.pop()
            if node not in shown:
                shown[node] = None
                if node not in self.names:
                    stack += node.inputs
        return shown

    def _expression(self, node: Node) -> Expression:
        if node in self.names:
            return Symbol(self.names[node])
        args = [self.done[source] for source in node.inputs]
        name, attrs = node.op.name, node.attrs
        if name in ("input", "variable"):
            return Symbol(attrs.get("name") or attrs["path"])
        if name == "size":
            return Symbol(str(attrs["dim"]))
        if name == "constant":
            value: np.ndarray = attrs["value"]
            return Number(float(value.reshape(-1)[0])) if value.size == 1 or (value.size
                                                                              and (value == value.flat[0]).all()) \
                else Symbol("C")
        if name in INVISIBLE or (name == "reshape" and _same_but_ones(node)):
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
            over = ",".join(str(node.inputs[0].shape[i]) if isinstance(node.inputs[0].shape[i], Dim) else f"axis {i}"
                            for i in attrs["axes"])
            everything = len(attrs["axes"]) == node.inputs[0].rank
            return pull(args[0], lambda core: Apply("Σ" if everything else f"Σ_{over}", (core,)))
        if name in COMPARISONS:
            return Apply(COMPARISONS[name], tuple(args))
        if name == "where":
            return Apply("where", tuple(args))
        return Apply(FUNCTIONS.get(name, name), tuple(args))


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


# --- the algebra


def split(expression: Expression) -> tuple[float, tuple[Expression, ...], tuple[Expression, ...],
                                           tuple[Expression, ...]]:
    """A number, other scalar-like factors, matrix factors and divisors whose product an expression is."""
    if isinstance(expression, Number):
        return expression.value, (), (), ()
    if isinstance(expression, Product):
        number, scalars = 1.0, []
        for factor in expression.scalars:
            if isinstance(factor, Number):
                number *= factor.value
            else:
                scalars.append(factor)
        return number, tuple(scalars), expression.matrix, expression.over
    return 1.0, (), (expression,), ()


def join(
    number: float, scalars: Sequence[Expression], matrix: Sequence[Expression], over: Sequence[Expression]
) -> Expression:
    over, scalars = list(over), list(scalars)
    for factor in list(scalars):  # what stands above and below cancels
        if factor in over:
            over.remove(factor)
            scalars.remove(factor)
    last = matrix[-1] if matrix else ONE
    if number < 0 and isinstance(last, Sum) and len({sign for sign, _ in last.terms}) > 1:  # -(a - b) = b - a
        turned = Sum(tuple(sorted(((-sign, term) for sign, term in last.terms), key=lambda pair: -pair[0])))
        number, matrix = -number, [*matrix[:-1], turned]
    if number not in (0.0, 1.0) and abs(number) < 1 and abs(1 / number - round(1 / number)) < 1e-9:
        over = [Number(float(round(1 / abs(number)))), *over]
        number = 1.0 if number > 0 else -1.0
    front = [] if number == 1.0 else [Number(number)]
    if not scalars and not over and not front and len(matrix) == 1:
        return matrix[0]
    if not scalars and not matrix and not over:
        return Number(number)
    return Product((*front, *scalars), tuple(matrix), tuple(over))


def scale(expression: Expression, by: float) -> Expression:
    number, scalars, matrix, over = split(expression)
    return join(number * by, scalars, matrix, over)


def product_of(above: Sequence[Expression], below: Sequence[Expression]) -> Expression:
    """An elementwise product: the order does not matter; symbols of sizes and numbers come first."""
    number = 1.0
    scalars: list[Expression] = []
    matrix: list[tuple[Expression, ...]] = []
    over: list[Expression] = []
    for factor in above:
        n, s, m, o = split(factor)
        number, scalars, over = number * n, [*scalars, *s], [*over, *o]
        matrix.append(m)
    for factor in below:
        n, s, m, o = split(factor)
        if not n:
            over.append(Number(n))
            n = 1.0
        number, over, scalars = number / n, [*over, *s], [*scalars, *o]
        over += m if len(m) < 2 else [Product((), m, ())]
    flat = [m for m in matrix if m]
    if len(flat) > 1:  # elementwise between matrix products: ⊙
        return join(number, scalars, [Apply("⊙", tuple(m[0] if len(m) == 1 else Product((), m, ()) for m in flat))],
                    over)
    return join(number, scalars, flat[0] if flat else [], over)


def matrix_product(a: Expression, b: Expression) -> Expression:
    n, s, m, o = split(a)
    k, t, p, q = split(b)
    return join(n * k, [*s, *t], [*m, *p], [*o, *q])


def pull(expression: Expression, of: object) -> Expression:
    """A linear function of an expression: its scalars come out."""
    number, scalars, matrix, over = split(expression)
    core = matrix[0] if len(matrix) == 1 else Product((), matrix, ()) if matrix else ONE
    return join(number, scalars, [of(core)], over)  # type: ignore[operator]


def sum_of(terms: Sequence[tuple[int, Expression]]) -> Expression:
    flat: list[tuple[int, Expression]] = []
    for sign, term in terms:
        if isinstance(term, Sum):
            flat += [(sign * inner, t) for inner, t in term.terms]
        else:
            number, scalars, matrix, over = split(term)
            if number < 0:
                sign, term = -sign, join(-number, scalars, matrix, over)
            flat.append((sign, term))
    return Sum(tuple(sorted(flat, key=lambda p: -p[0])))


def transposed(expression: Expression) -> Expression:
    if isinstance(expression, Transposed):
        return expression.inner
    number, scalars, matrix, over = split(expression)
    if len(matrix) > 1 or (number, scalars, over) != (1.0, (), ()):
        return join(number, scalars, [transposed(m) for m in reversed(matrix)], over)
    return Transposed(expression)


# --- expression -> text and LaTeX. Precedence: 0 sum, 1 product, 2 factor, 3 atom.


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else f"{value:.6g}"


def _text(expression: Expression, level: int = 0) -> str:
    def wrap(text: str, own: int) -> str:
        return f"({text})" if own < level else text

    if isinstance(expression, Symbol):
        return expression.name
    if isinstance(expression, Number):
        return wrap(_number(expression.value), 3 if expression.value >= 0 else 0)
    if isinstance(expression, Transposed):
        return _text(expression.inner, 3) + "ᵀ"
    if isinstance(expression, Sum):
        parts = [("− " if sign < 0 else "+ ") + _text(term, 1) for sign, term in expression.terms]
        first = parts[0].removeprefix("+ ").replace("− ", "−", 1)
        return wrap(" ".join([first, *parts[1:]]), 0)
    if isinstance(expression, Product):
        factors = [_text(f, 2) for f in (*expression.scalars, *expression.matrix)] or ["1"]
        if factors[0] == "(-1)" and len(factors) > 1:
            factors = ["−" + factors[1], *factors[2:]]
        text = " ".join(factors)
        if expression.over:
            below = [_text(f, 2) for f in expression.over]
            text += " / " + (below[0] if len(below) == 1 else "(" + " ".join(below) + ")")
        return wrap(text, 1)
    name, arguments = expression.function, expression.arguments
    if name == "^":
        return wrap(_text(arguments[0], 3) + _superscript(arguments[1]), 2)
    if name == "⊙":
        return wrap(" ⊙ ".join(_text(a, 2) for a in arguments), 1)
    if name in COMPARISONS.values():
        return "[" + f" {name} ".join(_text(a) for a in arguments) + "]"
    if name.startswith("Σ"):
        return wrap(f"{name} {_text(arguments[0], 2)}", 1)
    return f"{name}({', '.join(_text(a) for a in arguments)})"


def _superscript(exponent: Expression) -> str:
    text = _text(exponent, 3)
    return text.translate(str.maketrans("0123456789-",
                                        "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")) if set(text) <= set("0123456789-") else f"^{text}"


_LATEX_FUNCTIONS = {"σ": r"\sigma", "exp": r"\exp", "log": r"\log", "tanh": r"\tanh", "sin": r"\sin", "cos": r"\cos",
                    "max": r"\max",
                    "min": r"\min"}
_LATEX_SIGNS = {"≤": r"\le", "≥": r"\ge", "≠": r"\ne"}


def _latex_name(name: str) -> str:
    escaped = name.replace("_", r"\_")
    return escaped if len(name) == 1 else rf"\mathit{{{escaped}}}"


def _latex(expression: Expression, level: int = 0) -> str:
    def wrap(text: str, own: int) -> str:
        return rf"\left({text}\right)" if own < level else text

    if isinstance(expression, Symbol):
        return _latex_name(expression.name)
    if isinstance(expression, Number):
        return wrap(_number(expression.value), 3 if expression.value >= 0 else 0)
    if isinstance(expression, Transposed):
        return _latex(expression.inner, 3) + r"^\top"
    if isinstance(expression, Sum):
        parts = [("- " if sign < 0 else "+ ") + _latex(term, 1) for sign, term in expression.terms]
        return wrap(" ".join([parts[0].removeprefix("+ "), *parts[1:]]), 0)
    if isinstance(expression, Product):
        factors = [_latex(f, 2) for f in (*expression.scalars, *expression.matrix)] or ["1"]
        if factors[0] == r"\left(-1\right)" and len(factors) > 1:
            factors = ["-" + factors[1], *factors[2:]]
        text = r" \, ".join(factors)
        if expression.over:
            return rf"\frac{{{text}}}{{{' '.join(_latex(f, 2) for f in expression.over)}}}"
        return wrap(text, 1)
    name, arguments = expression.function, expression.arguments
    if name == "^":
        return wrap(rf"{_latex(arguments[0], 3)}^{{{_latex(arguments[1])}}}", 2)
    if name == "⊙":
        return wrap(r" \odot ".join(_latex(a, 2) for a in arguments), 1)
    if name in COMPARISONS.values():
        return rf"\left[{f' {_LATEX_SIGNS.get(name, name)} '.join(_latex(a) for a in arguments)}\right]"
    if name.startswith("Σ"):
        below = rf"_{{\mathrm{{{name[2:]}}}}}" if len(name) > 2 else ""
        return wrap(rf"\sum{below} {_latex(arguments[0], 2)}", 1)
    inner = ", ".join(_latex(a) for a in arguments)
    shown = _LATEX_FUNCTIONS.get(name) or r"\operatorname{" + name.replace("_", r"\_") + "}"
    return rf"{shown}\left({inner}\right)"
