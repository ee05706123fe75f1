"""Sizes: arithmetic on names is arithmetic on the numbers they stand for, and equal sizes are equal objects."""

from __future__ import annotations

import operator

import pytest
from dlc.ir.types import (
    Dim,
    TensorType,
    TypeProblem,
    broadcast,
    divide,
    evaluate,
    names_of,
    normal_axis,
    product,
    show_shape,
)
from hypothesis import given, strategies as st

NAMES = ("a", "b", "batch", "time")
values = st.fixed_dictionaries({name: st.integers(1, 50) for name in NAMES})


def build(size, operation, other):
    return {"+": operator.add, "-": operator.sub, "*": operator.mul, "//": operator.floordiv}[operation](size, other)


leaves = st.one_of(st.integers(-6, 9), st.sampled_from(NAMES).map(Dim.name))
expressions = st.recursive(
    leaves.map(lambda size: (size,)),
    lambda inner: (
        st.tuples(inner, st.sampled_from("+-*"), inner)
        | st.tuples(inner, st.just("//"), st.integers(1, 7).map(lambda n: (n,)))
    ),
    max_leaves=8,
)


def sized(tree):
    """The size that the compiler computes."""
    return tree[0] if len(tree) == 1 else build(sized(tree[0]), tree[1], sized(tree[2]))


def number(tree, names):
    """The number that Python computes."""
    if len(tree) == 1:
        return tree[0] if isinstance(tree[0], int) else names[str(tree[0])]
    return build(number(tree[0], names), tree[1], number(tree[2], names))


@given(expressions, values)
def test_evaluation_commutes_with_arithmetic(tree, names):
    assert evaluate(sized(tree), names) == number(tree, names)


@given(expressions, expressions, expressions)
def test_equal_polynomials_are_equal_objects(x, y, z):
    a, b, c = sized(x), sized(y), sized(z)
    assert a + b == b + a and a * b == b * a
    assert (a + b) + c == a + (b + c) and (a * b) * c == a * (b * c)
    assert a * (b + c) == a * b + a * c
    assert a - a == 0 and a * 1 == a and a + 0 == a and 0 - (0 - a) == a
    assert hash(a + b) == hash(b + a)


@given(expressions, expressions, values)
def test_division_is_exact_or_none(x, y, names):
    size, by = sized(x), sized(y)
    quotient = divide(size, by)
    if quotient is not None and evaluate(by, names) != 0:
        assert evaluate(quotient, names) * evaluate(by, names) == evaluate(size, names)


@given(expressions, st.integers(1, 9), values)
def test_division_with_remainder(tree, by, names):
    size = sized(tree)
    assert evaluate(size // by, names) == number(tree, names) // by
    assert evaluate(size % by, names) == number(tree, names) % by


@given(expressions)
def test_multiplying_undoes_dividing(tree):
    size = sized(tree)
    for by in (Dim.name("a"), 6, Dim.name("a") * 3):
        assert divide(size * by, by) == size


def test_text():
    b, t = Dim.name("batch"), Dim.name("time")
    assert str(b) == "batch" and str(2 * b + 1) == "2 * batch + 1" and str(1 - b) == "-batch + 1"
    assert str(b * t - 3 * b) == "batch * time - 3 * batch"
    assert str((b + 1) // 2) == "((batch + 1) // 2)"
    assert show_shape((b, 3)) == "[batch, 3]" and str(TensorType("float", (b, 3))) == "float[batch, 3]"


def test_the_size_of_a_convolution():
    h = Dim.name("h")
    size = (h + 2 * 1 - 3) // 2 + 1
    assert [evaluate(size, {"h": n}) for n in (5, 6, 28)] == [3, 3, 14]
    assert names_of(size) == ["h"] and names_of(3) == []


def test_products_and_numbers():
    b = Dim.name("b")
    assert product([]) == 1 and product([b, 3, 0]) == 0 and product([b, 2, 3]) == 6 * b
    assert b - b == 0 and isinstance(b - b, int)
    with pytest.raises(KeyError):
        evaluate(b, {})


@pytest.mark.parametrize(("shapes", "expected"), [
    ([(), ()], ()), ([(3,), ()], (3,)), ([(2, 1), (3,)], (2, 3)), ([(1,), (0,)], (0,)),
    ([(2, 1, 3), (4, 1), (1, 3)], (2, 4, 3)),
    ([(Dim.name("b"), 3), (1,)], (Dim.name("b"), 3)), ([(Dim.name("b"), 1), (Dim.name("b"), 4)], (Dim.name("b"), 4)),
])  # fmt: skip
def test_broadcasting(shapes, expected):
    assert broadcast(*shapes) == expected


@pytest.mark.parametrize("shapes", [
    [(2,), (3,)], [(Dim.name("b"),), (3,)], [(Dim.name("b"),), (Dim.name("t"),)], [(2, 3), (1, 3), (4, 1)],
])  # fmt: skip
def test_what_does_not_broadcast_says_where(shapes):
    with pytest.raises(TypeProblem) as caught:
        broadcast(*shapes)
    assert caught.value.code == "E0310" and len(caught.value.operands) == 2


def test_axes():
    assert normal_axis(-1, 3) == 2 and normal_axis(0, 1) == 0
    for axis, rank in ((3, 3), (-4, 3), (0, 0)):
        with pytest.raises(TypeProblem) as caught:
            normal_axis(axis, rank)
        assert caught.value.code == "E0314"
