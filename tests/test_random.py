"""The draws against an independent implementation in integers, bit for bit, and across precisions.

How good the numbers are is asked in test_draws.py.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from dlc import ops
from dlc.ir import interpret
from dlc.ir.graph import Graph
from dlc.ir.types import Dim, TensorType
from dlc.lower import kernels
from dlc.ops.leaf import make_input
from dlc.runtime.random import K0, words
from generator import WORD, decisions, fold as folded, word
from op_cases import file_of, run


def keys(count: int) -> list[int]:
    return [int(key) for key in np.random.default_rng(4).integers(0, 2**64, count, dtype=np.uint64)]


def test_words_are_those_of_the_definition():
    counters = [0, 1, 2, 2**31, 2**32, 2**40 + 7, 2**63, WORD - 1]
    for key in [K0, 0, 1, WORD - 1, *keys(20)]:
        found = words(np.array(counters, np.uint64), np.uint64(key))
        assert found.tolist() == [word(counter, key) for counter in counters]


SHARES = (0.2, 0.0009)


class Drawn:
    """All that is drawn of one key, as a graph."""

    def __init__(self, shape=(7, 3), start: int = 0) -> None:
        self.graph = Graph()
        self.key = make_input(self.graph, "key", TensorType("key", ()))
        self.rows = make_input(self.graph, "rows", TensorType("float", (Dim.name("n"),)))
        key = ops.fold(self.key, 12)
        drawn = ops.random_words(key, shape=shape, start=start)
        self.roots = {
            "fold": key,
            "words": drawn,
            "uniform": ops.random_uniform(key, shape, start),
            "whole": ops.random_whole(drawn),
            "normal": ops.random_normal(key, shape, start),
        } | {f"below {share}": ops.random_below(key, shape, share, start) for share in SHARES}

    def numpy(self, feeds):
        return dict(zip(self.roots, interpret.evaluate(list(self.roots.values()), feeds), strict=True))

    def file(self, precision):
        return file_of(self.roots, [self.key, self.rows], precision)

    def onnx(self, feeds, precision):
        return dict(zip(self.roots, run(self.file(precision), feeds, precision, True), strict=True))


def feeds(key: int, rows: int = 5):
    return {"key": np.uint64(key), "rows": np.zeros(rows)}


@pytest.mark.parametrize("key", keys(3))
@pytest.mark.parametrize("start", [0, 5, 2**40, (3 << 40) + (1 << 38)])
def test_draws_are_those_of_the_definition(key, start):
    drawn = Drawn(start=start).numpy(feeds(key))
    expected = folded(key, 12)
    assert int(drawn["fold"]) == expected
    bits = [word(start + i, expected) for i in range(21)]
    assert drawn["uniform"].reshape(-1).tolist() == [(b >> 40) / 2**24 for b in bits]
    assert drawn["whole"].reshape(-1).tolist() == [b >> 1 for b in bits]
    normal = [
        math.sqrt(-2 * math.log((b // 2**32 + 1) / 2**32)) * math.sin(math.pi * (b % 2**32 / 2**32 - 0.5)) for b in bits
    ]
    np.testing.assert_allclose(drawn["normal"].reshape(-1), normal, rtol=1e-13, atol=1e-13)
    for share in SHARES:
        assert drawn[f"below {share}"].reshape(-1).tolist() == decisions(expected, start, 21, share)


@pytest.mark.parametrize("shape", [(7, 3), (), (0, 2), (5000,), (Dim.name("n"), 4), (Dim.name("n") * 2 + 1,)])
@pytest.mark.parametrize("start", [0, 2**40])
def test_onnx_runtime_draws_the_same_numbers_in_every_precision(shape, start):
    for key in keys(2):
        case, fed = Drawn(shape, start), feeds(key)
        expected = case.numpy(fed)
        for precision in ("float32", "float64"):
            found = case.onnx(fed, precision)
            for name in set(found) - {"normal"}:
                assert np.array_equal(found[name], expected[name]), name
            tolerance = 2.0**-24 if precision == "float32" else 1e-15
            assert np.allclose(found["normal"], expected["normal"], rtol=tolerance, atol=tolerance)


def test_seed_key_is_folded_from_the_seed():
    graph = Graph()
    key = ops.seed_key(graph)
    for seed in (0, 7, 2**64 - 1):
        assert int(interpret.evaluate([key], {"seed": np.uint64(seed)})[0]) == folded(K0, seed)


def test_every_operator_of_a_draw_runs_on_cuda_in_the_types_it_has_here():
    """The same numbers whatever the provider: up to the floats these are operations on unsigned integers, which
    have one right answer, and all have a kernel there."""
    exact = {"Add", "Mul", "Div", "Cast", "Concat", "Less", "Reshape", "Slice", "Range", "Shape", "Identity"}
    counted = 0
    for shape in ((7, 3), (5000,), (Dim.name("n"), 3), (Dim.name("n"),)):
        case = Drawn(shape)
        for precision in ("float32", "float64"):
            model = case.file(precision)
            types = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
            types |= {tensor.name: tensor.data_type for tensor in model.graph.initializer}
            types |= _inferred(model)
            for node in model.graph.node:
                kinds = tuple(NAMES[types[name]] if name else None for name in node.input)
                given = tuple(NAMES[types[name]] for name in node.output)
                assert kernels.lacking(node.op_type, kinds, "cuda", given) is None, (node.op_type, kinds)
                assert kernels.lacking(node.op_type, kinds, "cpu", given) is None, (node.op_type, kinds)
                if not any(kind.startswith("float") for kind in (*kinds, *given) if kind):
                    assert node.op_type in exact
                    counted += 1
    assert counted > 300


def _inferred(model):
    whole = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    return {value.name: value.type.tensor_type.elem_type for value in [*whole.graph.value_info, *whole.graph.output]}


NAMES = {1: "float32", 7: "int64", 9: "bool", 11: "float64", 12: "uint32", 13: "uint64"}


def test_normal_draws_are_rounded_from_the_exact_ones():
    """Half an ulp where two would do: what every provider rounds to is the same number."""
    graph, count = Graph(), 1 << 20
    key = make_input(graph, "key", TensorType("key", ()))
    root = ops.random_normal(key, (count,))
    [found] = run(file_of({"normal": root}, [key], "float32"), {"key": np.uint64(77)}, "float32", True)
    bits = words(np.arange(count, dtype=np.uint64), np.uint64(77))
    upper, lower = (bits >> np.uint64(32)).astype(np.longdouble), (bits % np.uint64(2**32)).astype(np.longdouble)
    pi = np.longdouble("3.14159265358979323846264338327950288")
    exact = np.sqrt(-2 * np.log((upper + 1) / 2**32)) * np.sin(pi * (lower / 2**32 - 0.5))
    assert found.dtype == np.float32
    assert (np.abs(found - exact) / np.spacing(np.abs(found))).max() < 0.5001
    assert (found != exact.astype(np.float32)).sum() <= 1
