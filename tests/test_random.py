"""The generator against an independent implementation in whole numbers, bit for bit, and across precisions."""
from __future__ import annotations

import math

import numpy as np
import pytest
from dlc import interpret, ops
from dlc.graph import Graph
from dlc.ops.leaf import make_input
from dlc.ops.random import K0, squares32
from dlc.tensor_type import Dim, TensorType
from op_cases import file_of, run

WORD = 2**64


def rotated(x: int) -> int:
    return (x >> 32 | x << 32) % WORD


def squares32_of(counter: int, key: int) -> int:
    """Widynski 2020, section 5, with Python's whole numbers."""
    y = counter * key % WORD
    z = (y + key) % WORD
    x = y
    for add in (y, z, y):
        x = rotated((x * x + add) % WORD)
    return (x * x + z) % WORD >> 32


def folded(key: int, data: int) -> int:
    """docs/file-format.md, "The random generator"."""
    high, low = squares32_of(2 * data % WORD, key), squares32_of((2 * data + 1) % WORD, key)
    return (2 * (high * 2**32 + low) + 1) % WORD


def keys(count: int) -> list[int]:
    rng = np.random.default_rng(4)
    return [int(rng.integers(0, 2**63)) * 2 + 1 for _ in range(count)]


def test_bits_are_those_of_the_definition():
    counters = [0, 1, 2, 2**31, 2**32, 2**40 + 7, 2**63, WORD - 1]
    for key in [K0, 1, WORD - 1, *keys(20)]:
        found = squares32(np.array(counters, np.uint64), np.uint64(key))
        assert found.tolist() == [squares32_of(counter, key) for counter in counters]


class Drawn:
    """fold, uniform and normal of one key, as a graph."""

    def __init__(self, shape=(7, 3), start: int = 0) -> None:
        self.graph = Graph()
        self.key = make_input(self.graph, "key", TensorType("key", ()))
        self.rows = make_input(self.graph, "rows", TensorType("float", (Dim.name("n"),)))
        folded = ops.fold(self.key, 12)
        self.roots = {
            "fold": folded, "uniform": ops.random_uniform(folded, shape=shape, start=start),
            "normal": ops.random_normal(folded, shape),
        }

    def numpy(self, feeds):
        return dict(zip(self.roots, interpret.evaluate(list(self.roots.values()), feeds), strict=True))

    def onnx(self, feeds, precision):
        model = file_of(self.roots, [self.key, self.rows], precision)
        return dict(zip(self.roots, run(model, feeds, precision, True), strict=True))


def feeds(key: int, rows: int = 5):
    return {"key": np.uint64(key), "rows": np.zeros(rows)}


@pytest.mark.parametrize("key", keys(3))
@pytest.mark.parametrize("start", [0, 5, 2**40, (3 << 40) + (1 << 38)])
def test_keys_and_uniforms_are_those_of_the_definition(key, start):
    drawn = Drawn(start=start).numpy(feeds(key))
    expected = folded(key, 12)
    assert int(drawn["fold"]) == expected
    bits = [squares32_of(start + i, expected) >> 8 for i in range(21)]
    assert drawn["uniform"].reshape(-1).tolist() == [b / 2**24 for b in bits]


@pytest.mark.parametrize("shape", [(7, 3), (), (0, 2), (5000,), (Dim.name("n"), 4), (Dim.name("n") * 2 + 1,)])
@pytest.mark.parametrize("start", [0, 2**40])
def test_onnx_runtime_draws_the_same_numbers_in_every_precision(shape, start):
    for key in keys(2):
        case, fed = Drawn(shape, start), feeds(key)
        expected = case.numpy(fed)
        for precision in ("float32", "float64"):
            found = case.onnx(fed, precision)
            assert found["fold"] == expected["fold"]
            assert np.array_equal(found["uniform"], expected["uniform"])
            tolerance = 2e-6 if precision == "float32" else 1e-14
            assert np.allclose(found["normal"], expected["normal"], rtol=0, atol=tolerance)


def test_seed_key_is_folded_from_the_seed():
    graph = Graph()
    key = ops.seed_key(graph)
    for seed in (0, 7, 2**64 - 1):
        assert int(interpret.evaluate([key], {"seed": np.uint64(seed)})[0]) == folded(K0, seed)


def test_draws_look_uniform_and_normal():
    """Loose bounds that a wrong shift or a missing round breaks; the statistics proper are tested elsewhere."""
    case = Drawn((200, 300))
    drawn = case.numpy(feeds(keys(1)[0]))
    uniform, normal = drawn["uniform"], drawn["normal"]
    n = uniform.size
    assert uniform.min() >= 0 and uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 5 * math.sqrt(1 / 12 / n)
    assert abs(np.corrcoef(uniform[:, :-1].ravel(), uniform[:, 1:].ravel())[0, 1]) < 5 / math.sqrt(n)
    counts = np.bincount((uniform.ravel() * 100).astype(int), minlength=100)
    assert ((counts - n / 100) ** 2 / (n / 100)).sum() < 99 + 5 * math.sqrt(2 * 99)
    assert abs(normal.mean()) < 5 / math.sqrt(n) and abs(normal.std() - 1) < 5 / math.sqrt(2 * n)
    assert abs((np.abs(normal) < 1).mean() - 0.6827) < 0.01
    assert np.isfinite(normal).all()
