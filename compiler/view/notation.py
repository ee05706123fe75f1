"""Formulas as a person writes them: a small algebra, and its text and LaTeX.

    formula = Symbol | Number | Apply(function, formulas) | Sum((sign, formula)*) | Product(factors, over)
            | Transposed(formula)

Scalars come out in front, `1/n` goes under the line, signs move into differences. Precedence in print: 0 sum,
1 product, 2 factor, 3 atom.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

COMPARISONS = {"lt": "<", "le": "≤", "gt": ">", "ge": "≥", "eq": "=", "ne": "≠"}


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


# --- the algebra


def split(
    expression: Expression,
) -> tuple[float, tuple[Expression, ...], tuple[Expression, ...], tuple[Expression, ...]]:
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
    for factor in over:
        if isinstance(factor, Number) and factor.value:
            number /= factor.value
    over, scalars = [f for f in over if not (isinstance(f, Number) and f.value)], list(scalars)
    for factor in list(scalars):  # what stands above and below cancels
        if factor in over:
            over.remove(factor)
            scalars.remove(factor)
    if number < 0 and matrix and (turned := _turned(matrix[-1])) is not None:
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


def _turned(expression: Expression) -> Expression | None:
    """-(a - b) = b - a: minus an expression, where that is as short; None elsewhere."""
    if isinstance(expression, Sum) and len({sign for sign, _ in expression.terms}) > 1:
        return Sum(tuple(sorted(((-sign, term) for sign, term in expression.terms), key=lambda pair: -pair[0])))
    if isinstance(expression, Apply) and expression.function.startswith("Σ"):
        inner = _turned(expression.arguments[0])
        return None if inner is None else Apply(expression.function, (inner,))
    return None


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
        return join(
            number, scalars, [Apply("⊙", tuple(m[0] if len(m) == 1 else Product((), m, ()) for m in flat))], over
        )
    return join(number, scalars, flat[0] if flat else [], over)


def matrix_product(a: Expression, b: Expression) -> Expression:
    n, s, m, o = split(a)
    k, t, p, q = split(b)
    return join(n * k, [*s, *t], [*m, *p], [*o, *q])


def pull(expression: Expression, of: Callable[[Expression], Expression]) -> Expression:
    """A linear function of an expression: its scalars come out."""
    number, scalars, matrix, over = split(join(*split(expression)))
    core = matrix[0] if len(matrix) == 1 else Product((), matrix, ()) if matrix else ONE
    return join(number, scalars, [of(core)], over)


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
    flat = [pair for pair in flat if split(pair[1])[0]] or flat[:1]  # 0 x says nothing
    if len(flat) == 1 and flat[0][0] > 0:
        return flat[0][1]
    return Sum(tuple(sorted(flat, key=lambda p: -p[0])))


def transposed(expression: Expression) -> Expression:
    if isinstance(expression, Transposed):
        return expression.inner
    number, scalars, matrix, over = split(expression)
    if len(matrix) > 1 or (number, scalars, over) != (1.0, (), ()):
        return join(number, scalars, [transposed(m) for m in reversed(matrix)], over)
    return Transposed(expression)


# --- text and LaTeX


def _number(value: float) -> str:
    return str(int(value)) if abs(value) < 1e15 and value == int(value) else f"{value:.6g}"


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
        first = parts[0].removeprefix("+ ") if parts[0].startswith("+ ") else "−" + parts[0].removeprefix("− ")
        return wrap(" ".join([first, *parts[1:]]), 0)
    if isinstance(expression, Product):
        factors = [_text(f, 2) for f in (*expression.scalars, *expression.matrix)] or ["1"]
        if expression.scalars and isinstance(expression.scalars[0], Number) and expression.scalars[0].value < 0:
            size = -expression.scalars[0].value  # a sign in front needs no brackets
            rest = factors[1:] if size == 1 and len(factors) > 1 else [_number(size), *factors[1:]]
            factors = ["−" + rest[0], *rest[1:]]
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
    return (
        text.translate(str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")) if set(text) <= set("0123456789-") else f"^{text}"
    )


_LATEX_FUNCTIONS = {
    "σ": r"\sigma",
    "exp": r"\exp",
    "log": r"\log",
    "tanh": r"\tanh",
    "sin": r"\sin",
    "cos": r"\cos",
    "max": r"\max",
    "min": r"\min",
}
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
        if expression.scalars and isinstance(expression.scalars[0], Number) and expression.scalars[0].value < 0:
            size = -expression.scalars[0].value
            rest = factors[1:] if size == 1 and len(factors) > 1 else [_number(size), *factors[1:]]
            factors = ["-" + rest[0], *rest[1:]]
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
