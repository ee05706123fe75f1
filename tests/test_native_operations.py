"""Every operation of the native library's chains, in every type, on operands of each form, against NumPy; and the order
of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from dlc.runtime import native, programs, random
from native_cases import CASTS, CLOSE, COMPARED, EXACT, LOGIC, Array, element, numbers
from test_native import chain, run, same

pytestmark = pytest.mark.skipif(not native.works(), reason="the native library was not built")
FLOATS, UNSIGNED = ("float32", "float64"), ("uint32", "uint64")
KINDS = (*FLOATS, "int32", "int64", *UNSIGNED, "bool")
COUNT = 777  # elements, which fill no whole number of vectors

Row = tuple[int, str, str, Callable[..., Array], int, bool]  # operation, types of operands and result, how many, exact


def rows() -> Iterator[Row]:
    codes = {**{op: row[0] for op, row in {**programs.SAME, **programs.COMPARED}.items()}}
    codes |= {op: row[0] for op, row in programs.FOLDED.items()}
    for op, (kinds, many, of) in EXACT.items():
        if op != "Relu":  # a Max
            yield from ((codes[op], kind, kind, of, many, True) for kind in kinds)
    for op, (kinds, many, of) in CLOSE.items():
        yield from ((codes[op], kind, kind, of, many, False) for kind in kinds)
    for op, of in COMPARED.items():
        yield from ((codes[op], kind, "bool", of, 2, True) for kind in KINDS if op == "Equal" or kind != "bool")
    for op, of in LOGIC.items():
        yield codes[op], "bool", "bool", of, 2, True
    yield codes["Not"], "bool", "bool", np.logical_not, 1, True
    for kind in FLOATS:
        yield codes["Pow"], kind, kind, lambda x, y: np.power(np.abs(x), y), 2, False
        yield programs.NUMBERS_ONLY["Cos"], kind, kind, np.cos, 1, False
        yield programs.NUMBERS_ONLY["Sin"], kind, kind, np.sin, 1, False
    for kind in UNSIGNED:
        bits = np.dtype(kind).itemsize * 8 - 1
        yield programs.SHIFT, kind, kind, lambda x, y, bits=bits: x >> (y & y.dtype.type(bits)), 2, True
    for before, after in CASTS:
        yield programs.CAST, before, after, lambda x, after=after: x.astype(after), 1, True
    for kind in KINDS:
        yield programs.WHERE, kind, kind, np.where, 3, True


ROWS = list(rows())


def drawn(rng: np.random.Generator, kind: str, one: bool, close: bool) -> Array:
    x = numbers(rng, kind, () if one else (COUNT,))
    return np.asarray(np.where(np.abs(x) < 4, x, x.dtype.type(2)), kind) if close else x  # where all have digits left


@pytest.mark.parametrize("made", [0, 1], ids=["a made", "b made"])
@pytest.mark.parametrize("one", [False, True], ids=["all", "one for all"])
def test_every_operation_is_numpys(made: int, one: bool) -> None:
    """One operand is a result of the chain, another an input of as many elements, or of one for all: each has loops of
    its own."""
    rng = np.random.default_rng(made * 2 + one)
    seen = set()
    for operation, kind, result, of, many, exact in ROWS:
        numbers_in, truths = element(kind), element("bool")
        double = [programs.SAME["And" if kind == "bool" else "Add"][0], numbers_in, 0, 0, 0]
        a, b = drawn(rng, kind, False, not exact), drawn(rng, kind, one, not exact)
        truth = numbers(rng, "bool", () if one else (COUNT,))
        with np.errstate(all="ignore"):
            twice = a if kind == "bool" else a + a
            if operation == programs.SAME["Pow"][0]:
                double, twice = [programs.SAME["Abs"][0], numbers_in, 0, 0, 0], np.abs(a)
                b = np.asarray(np.abs(b))
            places, values = {1: ([3], [twice]), 2: ([3, 1], [twice, b]), 3: ([2, 3, 1], [truth, twice, b])}[many]
            if made and many > 1:
                places[-2:], values[-2:] = places[:-3:-1], values[:-3:-1]
            right = np.asarray(of(*values))
        # The type of an instruction is that of its result, but of a comparison that of its operands.
        said = numbers_in if operation in {row[0] for row in programs.COMPARED.values()} else element(result)
        last = [operation, said, *places, *[0] * (3 - many)]
        program = [1, 3, 2, 1, 0, numbers_in, numbers_in, truths, *double, *last, 4]
        given = {"a": numbers_in, "b": numbers_in, "t": truths}
        [found] = run(chain(program, given, {"y": element(result)}), {"a": a, "b": b, "t": truth})
        assert found.dtype == result and found.shape == right.shape, (operation, kind)
        if exact:
            assert same(found, right), (operation, kind, result)
        else:
            eps = float(np.finfo(result).eps)
            np.testing.assert_allclose(found, right, rtol=4 * eps, atol=eps, err_msg=f"{operation} {kind}")
        seen.add((operation, kind, result))
    assert len(seen) == len(ROWS) > 120


@pytest.mark.parametrize("count", [*range(20), 1_000, 2_048, 20_000, 300_000])
def test_the_library_orders_rows_as_numpy_does(count: int) -> None:
    """Of 300,000 words some ten pairs have the same upper half."""
    for key in (0, 1, 2**64 - 1, random.fold(7, count)):
        drawn = random.words(np.arange(count, dtype=np.uint64), key)
        found = native.order(count, key)
        assert found is not None and np.array_equal(found, np.argsort(drawn, kind="stable"))
        assert count != 300_000 or len(np.unique(drawn >> np.uint64(32))) < count
