"""Formulas as MathML, which browsers lay out by themselves (MathML Core, W3C 2025)."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .notation import COMPARISONS, Expression, Number, Product, Sum, Symbol, Transposed, letters, text


def mathml(expression: Expression) -> str:
    """A whole formula, in a line of text."""
    return f"<math>{_row(expression)}</math>"


def equation(left: Expression, right: Expression) -> str:
    return f"<math><mrow>{_row(left)}<mo>=</mo>{_row(right)}</mrow></math>"


def _row(expression: Expression, level: int = 0) -> str:
    def wrap(shown: str, own: int) -> str:
        return f"<mrow><mo>(</mo>{shown}<mo>)</mo></mrow>" if own < level else f"<mrow>{shown}</mrow>"

    if isinstance(expression, Symbol):
        return _symbol(expression)
    if isinstance(expression, Number):
        shown = f"<mn>{escape(text(expression))}</mn>"
        return wrap(shown, 3 if expression.value >= 0 else 0)
    if isinstance(expression, Transposed):
        return f"<msup>{_row(expression.inner, 3)}<mo>⊤</mo></msup>"
    if isinstance(expression, Sum):
        parts = []
        for i, (sign, term) in enumerate(expression.terms):
            if i or sign < 0:
                parts.append(f"<mo>{'−' if sign < 0 else '+'}</mo>")
            parts.append(_row(term, 1))
        return wrap("".join(parts), 0)
    if isinstance(expression, Product):
        return _product(expression, wrap(_factors((*expression.scalars, *expression.matrix)), 1))
    name, arguments = expression.function, expression.arguments
    if name == "^":
        return f"<msup>{_row(arguments[0], 3)}{_row(arguments[1])}</msup>"
    if name == "⊙":
        return wrap("<mo>⊙</mo>".join(_row(a, 2) for a in arguments), 1)
    if name in COMPARISONS.values():
        inner = f"<mo>{escape(name)}</mo>".join(_row(a) for a in arguments)
        return f"<mrow><mo>[</mo>{inner}<mo>]</mo></mrow>"
    if name.startswith("Σ"):
        below = f"<munder><mo>∑</mo><mi>{escape(name[2:])}</mi></munder>" if len(name) > 2 else "<mo>∑</mo>"
        return wrap(below + _row(arguments[0], 2), 1)
    if name.startswith("["):
        return f"<msub>{_row(arguments[0], 3)}<mtext>{escape(name[1:-1])}</mtext></msub>"
    called = (
        f"<msup><mi>{escape(name[:-1])}</mi><mo>′</mo></msup>" if name.endswith("′") else f"<mi>{escape(name)}</mi>"
    )
    inner = "<mo>,</mo>".join(_row(a) for a in arguments)
    return f"<mrow>{called}<mo>(</mo>{inner}<mo>)</mo></mrow>"


def _product(expression: Product, whole: str) -> str:
    if not expression.over:
        return whole
    above = _factors((*expression.scalars, *expression.matrix)) or "<mn>1</mn>"
    return f"<mfrac><mrow>{above}</mrow><mrow>{_factors(expression.over)}</mrow></mfrac>"


def _factors(factors: Sequence[Expression]) -> str:
    if not factors:
        return ""
    first, *others = factors
    if isinstance(first, Number) and first.value < 0:  # a sign in front needs no brackets
        shown = (
            f"<mo>−</mo><mn>{escape(text(Number(-first.value)))}</mn>"
            if first.value != -1 or not others
            else "<mo>−</mo>"
        )
    else:
        shown = _row(first, 2)
    space = '<mspace width="0.17em"/>'
    return shown + "".join((space if shown != "<mo>−</mo>" or i else "") + _row(f, 2) for i, f in enumerate(others))


def _symbol(symbol: Symbol) -> str:
    stem, number = letters(symbol.name)
    base = f"<mi>{escape(stem)}</mi>"
    below = ", ".join(filter(None, (number, symbol.index)))
    if below:
        base = f"<msub>{base}<mi>{escape(below)}</mi></msub>"
    return f'<mrow><mi mathvariant="normal">d</mi>{base}</mrow>' if symbol.adjoint else base
