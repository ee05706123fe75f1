"""The algebra of formulas: scalars come out in front, `1/n` goes under the line, signs move into differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import isfinite

from .notation import COMPARISONS, ONE, Apply, Expression, Formula, Number, Product, Sum, Symbol, Transposed


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
    above, below = _ratio(number)
    if below != 1:
        over, number = [Number(below), *over], above
    front = [] if number == 1.0 else [Number(number)]
    if not scalars and not over and not front and len(matrix) == 1:
        return matrix[0]
    if not scalars and not matrix and not over:
        return Number(number)
    return Product((*front, *scalars), tuple(matrix), tuple(over))


def _ratio(number: float) -> tuple[float, float]:
    """A number as a quotient of whole ones, where that is 1 / n or says more than its decimals: 2 / 3, and not 0.3."""
    if number in (0.0, 1.0) or not isfinite(number):
        return number, 1.0
    if abs(number) < 1 and abs(1 / number - round(1 / number)) < 1e-9:
        return (1.0 if number > 0 else -1.0), float(round(1 / abs(number)))
    found = Fraction(number).limit_denominator(1000)
    if float(f"{number:.6g}") != number and abs(float(found) - number) < 1e-12 * abs(number) and abs(found) < 1000:
        return float(found.numerator), float(found.denominator)
    return number, 1.0


def loose(expression: Expression) -> Expression:
    """A single number, whose order in a product does not matter: it stands in front, without ⊙."""
    number, scalars, matrix, over = split(expression)
    core = [] if not matrix else [matrix[0] if len(matrix) == 1 else Product((), matrix, ())]
    return join(number, [*scalars, *core], [], over)


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
    parts: list[tuple[Expression, ...]] = []
    for m in matrix:
        nested = isinstance(m[0], Apply) and m[0].function == "⊙" if len(m) == 1 else False
        if nested and isinstance(m[0], Apply):
            parts += [
                a.matrix if isinstance(a, Product) and not (a.scalars or a.over) else (a,) for a in m[0].arguments
            ]
        elif m:
            parts.append(m)
    flat = sorted(_powers(parts), key=_is_comparison)  # conditions last
    if len(flat) > 1:  # elementwise between matrix products: ⊙
        return join(
            number, scalars, [Apply("⊙", tuple(m[0] if len(m) == 1 else Product((), m, ()) for m in flat))], over
        )
    return join(number, scalars, flat[0] if flat else [], over)


def _is_comparison(factor: tuple[Expression, ...]) -> bool:
    return isinstance(factor[0], Apply) and factor[0].function in COMPARISONS.values() if len(factor) == 1 else False


def _powers(factors: Sequence[tuple[Expression, ...]]) -> list[tuple[Expression, ...]]:
    """h ⊙ h = h²"""
    times: dict[tuple[Expression, ...], int] = {}
    for factor in factors:
        times[factor] = times.get(factor, 0) + 1
    found: list[tuple[Expression, ...]] = []
    for factor, n in times.items():
        if n == 1:
            found.append(factor)
        else:
            base = factor[0] if len(factor) == 1 else Product((), factor, ())
            found.append((Apply("^", (base, Number(float(n)))),))
    return found


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
    """A sum: equal terms are one, the numbers too, and what all are divided by stands below all."""
    found: dict[tuple[tuple[Expression, ...], ...], float] = {}
    stack = list(terms)[::-1]
    while stack:
        sign, term = stack.pop()
        if isinstance(term, Sum):
            stack += [(sign * inner, t) for inner, t in term.terms[::-1]]
        else:
            number, scalars, matrix, over = split(term)
            key = scalars, matrix, over
            found[key] = found.get(key, 0.0) + sign * number
    first = next(iter(found), ((), (), ()))
    kept = {key: number for key, number in found.items() if number} or {first: 0.0}  # 0 x says nothing
    below = [
        f
        for f in dict.fromkeys(next(iter(kept))[2])
        if not isinstance(f, Number)
        for _ in range(min(key[2].count(f) for key in kept))
    ]
    flat: list[tuple[int, Expression]] = []
    for (scalars, matrix, over), number in kept.items():
        rest = list(over)
        for factor in below if len(kept) > 1 else ():
            rest.remove(factor)
        flat.append((1 if number >= 0 else -1, join(abs(number), scalars, matrix, rest)))
    if len(flat) == 1:
        [(sign, only)] = flat
        return only if sign > 0 else Sum(((sign, only),))
    if below:
        return join(1.0, [], [sum_of(flat)], below)
    common = _common([term for _, term in flat])
    if common:
        inner = sum_of([(sign, _without(term, common)) for sign, term in flat])
        return product_of([Apply("⊙", common) if len(common) > 1 else common[0], inner], [])
    return Sum(tuple(sorted(flat, key=lambda p: -p[0])))


def _factors(term: Expression) -> tuple[Expression, ...]:
    """The factors of an elementwise product of several; none of anything else."""
    matrix = split(term)[2]
    return (
        matrix[0].arguments if len(matrix) == 1 and isinstance(matrix[0], Apply) and matrix[0].function == "⊙" else ()
    )


def _common(terms: Sequence[Expression]) -> tuple[Expression, ...]:
    """What stands in every elementwise product of a sum, where each has more: u a − u b is u (a − b)."""
    every = [_factors(term) for term in terms]
    shared = tuple(f for f in dict.fromkeys(every[0]) if all(factors.count(f) == 1 for factors in every))
    return shared if all(len(factors) > len(shared) for factors in every) else ()


def _without(term: Expression, common: Sequence[Expression]) -> Expression:
    number, scalars, _, over = split(term)
    rest = tuple(f for f in _factors(term) if f not in common)
    return join(number, scalars, [rest[0] if len(rest) == 1 else Apply("⊙", rest)], over)


def expanded(expression: Expression) -> Expression:
    """A sum of elementwise products multiplied out, where that is shorter: y (1 − p) − (1 − y) p is y − p."""
    if not isinstance(expression, Sum) or len(expression.terms) > 4:
        return expression
    terms: list[tuple[int, Expression]] = []
    for sign, term in expression.terms:
        for number, factors, over in _multiplied(term):
            core = _powers([(f,) for f in sorted(factors, key=repr)])
            flat = [c[0] for c in core]
            whole = flat[0] if len(flat) == 1 else Apply("⊙", tuple(flat))
            terms.append((sign if number > 0 else -sign, join(abs(number), [], [whole] if flat else [], over)))
            if len(terms) > 16:
                return expression
    found = sum_of(terms)
    no_more = not isinstance(found, Sum) or len(found.terms) <= len(expression.terms)
    return found if no_more and size_of(found) < size_of(expression) else expression


_Term = tuple[float, list[Expression], list[Expression]]  # a number, factors, divisors


def _multiplied(expression: Expression) -> list[_Term]:
    """The terms that a product of sums is, elementwise; σ(−x) is 1 − σ(x)."""
    if isinstance(expression, Sum) and len(expression.terms) <= 4:
        return [(s * n, f, o) for s, t in expression.terms for n, f, o in _multiplied(t)]
    if isinstance(expression, Apply) and expression.function == "σ":
        number, scalars, matrix, over = split(expression.arguments[0])
        if number < 0:
            return [(1.0, [], []), (-1.0, [Apply("σ", (join(-number, scalars, matrix, over),))], [])]
    if isinstance(expression, Apply) and expression.function == "⊙":
        factors, number, over = expression.arguments, 1.0, ()
    else:
        number, scalars, matrix, over = split(expression)
        if matrix == (expression,):
            return [(1.0, [expression], [])]
        factors = (*scalars, *(matrix if len(matrix) < 2 else (Product((), matrix, ()),)))
    found: list[_Term] = [(number, [], list(over))]
    for factor in factors:
        if isinstance(factor, Product) and len(factor.matrix) > 1:
            found = [(n, [*f, factor], o) for n, f, o in found]
            continue
        found = [(n * k, [*f, *g], [*o, *p]) for n, f, o in found for k, g, p in _multiplied(factor)]
        if len(found) > 16:
            return [(1.0, [expression], [])]
    return found


def size_of(expression: Expression) -> int:
    """How many symbols, numbers and operations a formula has."""
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
    return 1 + sum(size_of(part) for part in parts)


def compared(sign: str, a: Expression, b: Expression) -> Expression:
    """A comparison, a number on its right side: `1 - x > 0` is `x < 1`."""
    limit = _value(b)
    if limit is None:
        return Apply(sign, (a, b))
    if isinstance(a, Sum) and len(a.terms) == 2:
        for (one, number), (other, rest) in (a.terms, a.terms[::-1]):
            if (value := _value(number)) is not None:
                limit = other * (limit - one * value)
                return compared(sign if other > 0 else _TURNED.get(sign, sign), rest, Number(limit))
    by, scalars, matrix, over = split(a)
    if by != 1.0 or over:  # z / 6 < 1 / 2 is z < 3
        by = _value(join(by, [], [], over)) or 0.0
        if by and matrix and not scalars:
            return Apply(sign if by > 0 else _TURNED.get(sign, sign), (join(1.0, [], matrix, []), Number(limit / by)))
    return Apply(sign, (a, b))


def _value(expression: Expression) -> float | None:
    """The number that an expression is, 1 / 2 among them."""
    number, scalars, matrix, over = split(expression)
    if scalars or matrix:
        return None
    for factor in over:
        if not isinstance(factor, Number) or not factor.value:
            return None
        number /= factor.value
    return number


_TURNED = {"<": ">", ">": "<", "≤": "≥", "≥": "≤"}


def transposed(expression: Expression) -> Expression:
    if isinstance(expression, Transposed):
        return expression.inner
    number, scalars, matrix, over = split(expression)
    if len(matrix) > 1 or (number, scalars, over) != (1.0, (), ()):
        return join(number, scalars, [transposed(m) for m in reversed(matrix)], over)
    return Transposed(expression)


def in_full(formula: Formula) -> Expression:
    """A formula without its definitions, each put where its name stands."""
    known: dict[Expression, Expression] = {}

    def put(expression: Expression) -> Expression:
        if isinstance(expression, Apply):
            return Apply(expression.function, tuple(map(put, expression.arguments)))
        if isinstance(expression, Sum):
            return Sum(tuple((sign, put(term)) for sign, term in expression.terms))
        if isinstance(expression, Product):
            parts = expression.scalars, expression.matrix, expression.over
            return Product(*(tuple(map(put, part)) for part in parts))
        if isinstance(expression, Transposed):
            return Transposed(put(expression.inner))
        return known.get(expression, expression)

    for symbol, expression in formula.where:
        known[symbol] = put(expression)
    return put(formula.expression)


def plain(expression: Expression) -> Expression:
    """A formula of single numbers: products need no ⊙."""
    if isinstance(expression, Apply):
        arguments = tuple(map(plain, expression.arguments))
        return Product((), arguments, ()) if expression.function == "⊙" else Apply(expression.function, arguments)
    if isinstance(expression, Sum):
        return Sum(tuple((sign, plain(term)) for sign, term in expression.terms))
    if isinstance(expression, Product):
        parts = expression.scalars, expression.matrix, expression.over
        return Product(*(tuple(map(plain, part)) for part in parts))
    return expression
