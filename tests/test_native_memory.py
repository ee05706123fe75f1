"""The native library where memory runs out, at each of its allocations in turn: an error that says so, or the right
result. Only with a library that was built for it, as tests/test_native_sanitized.py does."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

import numpy as np
import pytest
import region_cases
import test_each as of_matrices
import test_in_place as of_updates
import test_native_filters as of_filters
import test_native_large as of_products
import test_native_squares as of_squares
import test_recurrences as of_scans
from dlc.runtime import native
from native_cases import Array
from onnx import ModelProto, TensorProto
from test_native import chain, run, same
from test_regions import joined

pytestmark = [pytest.mark.long, pytest.mark.skipif("DLC_FAILING" not in os.environ, reason="memory does not run out")]

Case = tuple[ModelProto, dict[str, Array]]


def sums() -> Case:
    """More places of sums than there is room for on the stack."""
    kind = TensorProto.FLOAT
    model = chain([1, 1, 2, 1, 0, kind, 5, kind, 0, 0, 0, 40, kind, 1, 1, 0, 2], {"x": kind}, {"y": kind})
    return model, {"x": np.random.default_rng(0).normal(size=(2, 3000, 8)).astype("f4")}


def long_rows() -> Case:
    """Rows that are longer than what a tile has on the stack."""
    kind = TensorProto.FLOAT
    model = chain([1, 1, 2, 1, 0, kind, 41, kind, 0, 0, 0, 4, kind, 0, 1, 0, 2], {"x": kind}, {"y": kind})
    return model, {"x": np.random.default_rng(0).normal(size=(5, 20_000)).astype("f4")}


def updated() -> Case:
    one = np.ones(6, np.float32)
    feeds = {"look": np.array(1), "guard": np.array(1, np.float32), "checked": one, "a": one, "b": 2 * one}
    return of_updates.node(of_updates.GOOD), feeds


def matrices(causal: bool) -> Case:
    nodes, feeds, held = of_matrices.attention(3, 4, 6, 5, 1, causal)
    return of_matrices.prepared(nodes, feeds, ["dx"], held)[1], feeds


def region(seed: int) -> Case:
    case = region_cases.draft(seed)
    return joined(case.model())[0], case.feeds


def recurrence(seed: int) -> Case:
    case = of_scans.Case(seed)
    return of_scans.taken(case), case.feeds(70)


def by_filters(channels: int, kernel: int, columns: int = 40) -> Case:
    rng, how = np.random.default_rng(1), of_filters.Geometry((kernel, kernel))
    x, g = rng.normal(size=(2, channels, 6, columns)), rng.normal(size=(2, 20, 7 - kernel, columns + 1 - kernel))
    return of_filters.model(how), {"x": x.astype("f4"), "g": g.astype("f4")}


def squares() -> Case:
    rng = np.random.default_rng(2)
    feeds = {"x": rng.normal(size=(3, 20, 9, 9)), "w": rng.normal(size=(17, 20, 3, 3))}
    return of_squares.model([1, 1, 1, 1], 0), {name: v.astype("f4") for name, v in feeds.items()}


def product() -> Case:
    of = of_products.case(np.random.default_rng(3), 300, 40, 300)
    return of_products.model(of_products.program(*of[1:], 2), len(of[0])), of[0]


CASES: dict[str, Callable[[], Case]] = {
    "a chain with sums": sums,
    "a chain of long rows": long_rows,
    "updates": updated,
    "matrices": lambda: matrices(False),
    "matrices below a diagonal": lambda: matrices(True),
    **{f"region {seed}": lambda seed=seed: region(seed) for seed in range(12)},
    **{f"recurrence {seed}": lambda seed=seed: recurrence(seed) for seed in range(6)},
    "filters": lambda: by_filters(5, 2),
    "filters of long rows": lambda: by_filters(3, 2, 30_000),
    "filters in squares": lambda: by_filters(16, 3),
    "squares": squares,
    "product": product,
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", list(CASES))
def test_memory_that_runs_out_is_told(name: str, threads: int) -> None:
    library = ctypes.CDLL(os.environ["DLC_SANITIZED"])
    library.dlc_memory_left.restype = ctypes.c_long
    model, feeds = CASES[name]()
    library.dlc_memory(ctypes.c_long(-1))
    expected = run(model, feeds, threads)
    told, times = 0, 0
    while True:
        library.dlc_memory(ctypes.c_long(times))
        try:
            found = run(model, feeds, threads)
            assert all(same(a, b) for a, b in zip(found, expected, strict=True)), times
        except AssertionError:
            raise
        except Exception as problem:
            assert "memory" in str(problem), problem
            told += 1
        finally:
            left = library.dlc_memory_left()
            library.dlc_memory(ctypes.c_long(-1))
        if left:  # there was enough
            break
        times += 1
    assert told >= 1 and times >= told
    assert all(same(a, b) for a, b in zip(run(model, feeds, threads), expected, strict=True))


def test_rows_are_ordered_by_numpy_where_there_is_no_memory() -> None:
    library = ctypes.CDLL(os.environ["DLC_SANITIZED"])
    expected = native.order(1_000, 3)
    assert expected is not None
    for times in (0, 1):
        library.dlc_memory(ctypes.c_long(times))
        found = native.order(1_000, 3)
        library.dlc_memory(ctypes.c_long(-1))
        assert found is None
    assert np.array_equal(native.order(1_000, 3), expected)
