"""Formulas as a person writes them: a small algebra, and its text and LaTeX.

    formula = Symbol | Number | Apply(function, formulas) | Sum((sign, formula)*) | Product(factors, over)
            | Transposed(formula)

What makes formulas of formulas is in `algebra.py`. Precedence in print: 0 sum, 1 product, 2 factor, 3 atom.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite, pi

COMPARISONS = {"lt": "<", "le": "≤", "gt": ">", "ge": "≥", "eq": "=", "ne": "≠"}


@dataclass(frozen=True)
class Symbol:
    """A name; `index`: of which iteration (`t`, `t−1`); `adjoint`: the derivative of the target by it, `dz` of `z`."""

    name: str
    index: str = ""
    adjoint: bool = False


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


def symbols(expressions: Iterable[Expression]) -> Iterator[Symbol]:
    """Every symbol that stands in them."""
    stack = list(expressions)
    while stack:
        top = stack.pop()
        if isinstance(top, Symbol):
            yield top
        elif isinstance(top, Apply):
            stack += top.arguments
        elif isinstance(top, Sum):
            stack += [term for _, term in top.terms]
        elif isinstance(top, Product):
            stack += [*top.scalars, *top.matrix, *top.over]
        elif isinstance(top, Transposed):
            stack.append(top.inner)


@dataclass(frozen=True)
class Formula:
    """`where` defines, in order, what stands in it by a name that the spec did not give."""

    expression: Expression
    where: tuple[tuple[Symbol, Expression], ...] = ()

    @property
    def text(self) -> str:
        return "\n".join([text(self.expression), *(f"    where {text(n)} = {text(e)}" for n, e in self.where)])

    @property
    def latex(self) -> str:
        return " \\\\\n".join([latex(self.expression), *(f"{latex(n)} = {latex(e)}" for n, e in self.where)])


# --- text and LaTeX

_ABOVE = str.maketrans("0123456789−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_BELOW = str.maketrans("0123456789+−aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ")


def _number(value: float) -> str:
    if isfinite(value) and abs(value) < 1e15 and value == int(value):
        return str(int(value)).replace("-", "−")
    root = _root(value)
    return (
        f"{value:.6g}".replace("inf", "∞").replace("-", "−")
        if root is None
        else f"√({root})"
        if "/" in root
        else f"√{root}"
    )


def _root(value: float) -> str | None:
    """What a number is the root of, where that is a quotient of small numbers, or one by π: `1/2`, `2/π`."""
    if not isfinite(value) or value <= 0 or float(f"{value:.6g}") == value:
        return None
    for factor, below in ((1.0, ""), (pi, "π")):
        found = Fraction(value * value * factor).limit_denominator(64)
        if found.numerator < 64 and abs(float(found) - value * value * factor) < 1e-14 * value * value:
            under = f"{found.denominator}{below}" if found.denominator > 1 or not below else below
            return str(found.numerator) if under == "1" else f"{found.numerator}/{under}"
    return None


def _latex_number(value: float) -> str:
    root = None if isfinite(value) and value == int(value) else _root(value)
    if root is None:
        return _number(value).replace("∞", r"\infty").replace("−", "-")
    above, _, below = root.replace("π", r"\pi").partition("/")
    return rf"\sqrt{{\frac{{{above}}}{{{below}}}}}" if below else rf"\sqrt{{{above}}}"


def text(expression: Expression, level: int = 0) -> str:
    def wrap(shown: str, own: int) -> str:
        return f"({shown})" if own < level else shown

    if isinstance(expression, Symbol):
        return _symbol(expression)
    if isinstance(expression, Number):
        return wrap(_number(expression.value), 3 if expression.value >= 0 else 0)
    if isinstance(expression, Transposed):
        return text(expression.inner, 3) + "ᵀ"
    if isinstance(expression, Sum):
        parts = [("− " if sign < 0 else "+ ") + text(term, 1) for sign, term in expression.terms]
        first = parts[0].removeprefix("+ ") if parts[0].startswith("+ ") else "−" + parts[0].removeprefix("− ")
        return wrap(" ".join([first, *parts[1:]]), 0)
    if isinstance(expression, Product):
        factors = [text(f, 2) for f in (*expression.scalars, *expression.matrix)] or ["1"]
        if expression.scalars and isinstance(expression.scalars[0], Number) and expression.scalars[0].value < 0:
            size = -expression.scalars[0].value  # a sign in front needs no brackets
            rest = factors[1:] if size == 1 and len(factors) > 1 else [_number(size), *factors[1:]]
            factors = ["−" + rest[0], *rest[1:]]
        shown = " ".join(factors)
        if expression.over:
            below = [text(f, 2) for f in expression.over]
            shown += " / " + (below[0] if len(below) == 1 else "(" + " ".join(below) + ")")
        return wrap(shown, 1)
    name, arguments = expression.function, expression.arguments
    if name == "^":
        return wrap(text(arguments[0], 3) + _superscript(arguments[1]), 2)
    if name == "⊙":
        return wrap(" ⊙ ".join(text(a, 2) for a in arguments), 1)
    if name in COMPARISONS.values():
        return "[" + f" {name} ".join(text(a) for a in arguments) + "]"
    if name.startswith("Σ"):
        return wrap(f"{name} {text(arguments[0], 2)}", 1)
    if name.startswith("["):
        return text(arguments[0], 3) + name
    return f"{name}({', '.join(text(a) for a in arguments)})"


def _symbol(symbol: Symbol) -> str:
    name = (
        symbol.name if not symbol.adjoint else f"d{symbol.name}" if symbol.name.isidentifier() else f"d {symbol.name}"
    )
    below = symbol.index.translate(_BELOW)
    return name + (f"[{symbol.index}]" if any(c.isascii() or c == "−" for c in below) else below)


def _superscript(exponent: Expression) -> str:
    shown = text(exponent, 3)
    return shown.translate(_ABOVE) if set(shown) <= set("0123456789−") else f"^{shown}"


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


_GREEK = dict(
    zip(
        [
            "alpha",
            "beta",
            "gamma",
            "delta",
            "epsilon",
            "zeta",
            "eta",
            "theta",
            "iota",
            "kappa",
            "lambda",
            "mu",
            "nu",
            "xi",
            "pi",
            "rho",
            "sigma",
            "tau",
            "phi",
            "chi",
            "psi",
            "omega",
        ],
        "αβγδεζηθικλμνξπρστφχψω",
        strict=True,
    )
)


def letters(name: str) -> tuple[str, str]:
    """A name as it is set: `W2` is W with a 2 below, `theta2` the Greek letter; what is longer is one word."""
    stem = name.rstrip("0123456789")
    greek = _GREEK.get(stem, stem)
    return (greek, name[len(stem) :]) if len(greek) == 1 else (name, "")


def _latex_name(symbol: Symbol) -> str:
    stem, number = letters(symbol.name)
    below = ", ".join(filter(None, (number, symbol.index.replace("−", "-"))))
    word = next((rf"\{name}" for name, letter in _GREEK.items() if letter == stem), stem)
    shown = word if len(stem) == 1 else rf"\mathit{{{stem.replace('_', chr(92) + '_')}}}"
    return r"\mathrm{d}" * symbol.adjoint + shown + (f"_{{{below}}}" if below else "")


def latex(expression: Expression, level: int = 0) -> str:
    def wrap(shown: str, own: int) -> str:
        return rf"\left({shown}\right)" if own < level else shown

    if isinstance(expression, Symbol):
        return _latex_name(expression)
    if isinstance(expression, Number):
        return wrap(_latex_number(expression.value), 3 if expression.value >= 0 else 0)
    if isinstance(expression, Transposed):
        return latex(expression.inner, 3) + r"^\top"
    if isinstance(expression, Sum):
        parts = [("- " if sign < 0 else "+ ") + latex(term, 1) for sign, term in expression.terms]
        return wrap(" ".join([parts[0].removeprefix("+ "), *parts[1:]]), 0)
    if isinstance(expression, Product):
        factors = [latex(f, 2) for f in (*expression.scalars, *expression.matrix)] or ["1"]
        if expression.scalars and isinstance(expression.scalars[0], Number) and expression.scalars[0].value < 0:
            size = -expression.scalars[0].value
            rest = factors[1:] if size == 1 and len(factors) > 1 else [_latex_number(size), *factors[1:]]
            factors = ["-" + rest[0], *rest[1:]]
        above = r" \, ".join(factors)
        if expression.over:
            return rf"\frac{{{above}}}{{{' '.join(latex(f, 2) for f in expression.over)}}}"
        return wrap(above, 1)
    name, arguments = expression.function, expression.arguments
    if name == "^":
        return wrap(rf"{latex(arguments[0], 3)}^{{{latex(arguments[1])}}}", 2)
    if name == "⊙":
        return wrap(r" \odot ".join(latex(a, 2) for a in arguments), 1)
    if name in COMPARISONS.values():
        return rf"\left[{f' {_LATEX_SIGNS.get(name, name)} '.join(latex(a) for a in arguments)}\right]"
    if name.startswith("Σ"):
        below = rf"_{{\mathrm{{{name[2:]}}}}}" if len(name) > 2 else ""
        return wrap(rf"\sum{below} {latex(arguments[0], 2)}", 1)
    if name.startswith("["):
        return rf"{latex(arguments[0], 3)}_{{{name[1:-1]}}}"
    inner = ", ".join(latex(a) for a in arguments)
    if name.endswith("′"):
        stem = name.removesuffix("′")
        shown = _LATEX_FUNCTIONS.get(stem) or r"\operatorname{" + stem.replace("_", r"\_") + "}"
        return rf"{shown}'\left({inner}\right)"
    shown = _LATEX_FUNCTIONS.get(name) or r"\operatorname{" + name.replace("_", r"\_") + "}"
    return rf"{shown}\left({inner}\right)"
