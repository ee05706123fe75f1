"""Whole random specs with chains and regions in the native library and without: they agree."""

from __future__ import annotations

from functools import cache
from typing import Any

import dlc
import numpy as np
import pytest
from dlc.runtime import chains, graphs, native
from dlc.runtime.session import Options, Session
from onnx import TensorProto, numpy_helper
from random_specs import random_spec
from test_random_specs import distance, feeds_of

pytestmark = pytest.mark.skipif(not native.works(), reason="the native library was not built")
BOUND = {"float32": 1e-5, "float64": 1e-12}  # of the largest entry of a tensor
NEIGHBOURS = 16
CHUNK = 20


def step_of(seed: int, precision: str, rounded: str) -> tuple[list[str], Any, dict[str, Any]]:
    """What the step of a random spec gives, its graph, and what it takes: rounded to one precision, in another."""
    text = random_spec(seed)
    feeds, module = feeds_of(text, seed)
    names = [
        name.removeprefix("output/").removeprefix("metric/")
        for name in module.roots("output/", "loss", "metric/", "next/")
    ]
    model = dlc.compile(text, precision=precision).model_proto()
    algorithm = model.training_info[0].algorithm
    held = {t.name: t for graph in (model.graph, algorithm) for t in graph.initializer if t.name in feeds}
    joined = graphs.concatenate(model, algorithm, names, held)
    given: dict[str, Any] = {}
    for value in joined.graph.input:
        array, number = np.asarray(feeds[value.name]), value.type.tensor_type.elem_type
        if number in (TensorProto.FLOAT, TensorProto.DOUBLE):
            array = array.astype(rounded).astype(precision)
        elif value.name in held:
            array = array.astype(numpy_helper.to_array(held[value.name]).dtype)
        given[value.name] = array
    return names, joined, given


@cache
def exact(seed: int) -> dict[str, np.ndarray]:
    """Values of the step of a random spec by ONNX Runtime in float64, of what the step in float32 is given."""
    names, joined, given = step_of(seed, "float64", "float32")
    return dict(zip(names, Session(joined, Options(fused=True, native=False)).run(names, given), strict=True))


@cache
def rounding(seed: int) -> dict[str, float]:
    """How far ONNX Runtime's own step in float32 comes from that in float64, at neighbours of what a random spec is
    given: each number one unit in the last place away. What a few sums cancel to is a matter of chance at one input."""
    names, joined, given = step_of(seed, "float32", "float32")
    session, rng, worst = Session(joined, Options(fused=True, native=False)), np.random.default_rng(seed), {}
    for _ in range(NEIGHBOURS):
        near = {
            name: np.asarray(np.nextafter(value, np.where(rng.random(value.shape) < 0.5, np.inf, -np.inf).astype("f4")))
            if value.dtype == np.float32
            else value
            for name, value in given.items()
        }
        for name, value in zip(names, session.run(names, near), strict=True):
            worst[name] = max(worst.get(name, 0.0), distance(exact(seed)[name], value.astype("float64")))
    return worst


def parts(seed: int, precision: str, name: str, plain: np.ndarray, fused: np.ndarray, largest: float) -> bool:
    """Whether two computations are further apart than the bound. Where sums of float32 cancel, neither is exact to it:
    then the library's must be no further from the same step in float64 than ONNX Runtime's own, there or at neighbours
    of what it is given."""
    apart = distance(plain, fused)
    if apart <= BOUND[precision] * largest:
        return False
    if precision == "float64" or not np.isfinite(apart):
        return True
    truth = exact(seed)[name]
    off = distance(truth, fused.astype("float64"))
    return not (off <= distance(truth, plain.astype("float64")) or off <= rounding(seed)[name])


def both(seed: int, precision: str) -> tuple[list[str], int]:
    """Values of the step of a random spec that differ, and how many operations went into chains."""
    names, joined, given = step_of(seed, precision, precision)
    plain = Session(joined, Options(fused=True, native=False))
    found, count = [], 0
    for small in (False, True):
        fused = Session(joined, Options(fused=True, native=True, small=small))
        count += fused.rewrites.get(chains.CHAINED, 0)
        for name, a, b in zip(names, plain.run(names, given), fused.run(names, given), strict=True):
            largest = float(np.max(np.abs(a), where=np.isfinite(a), initial=0.0)) if a.dtype.kind == "f" else 0.0
            if a.shape != b.shape or a.dtype != b.dtype or parts(seed, precision, name, a, b, largest):
                found.append(f"{seed} {precision} {name}: {distance(a, b):.3g} of {largest:.3g}, small: {small}")
    return found, count


def agree(chunk: int) -> None:
    faults, count = [], 0
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        for precision in BOUND:
            found, chained = both(seed, precision)
            faults += found
            count += chained
    assert faults == []
    assert count > 20 * CHUNK


@pytest.mark.parametrize("chunk", range(3))
def test_random_specs_agree(chunk: int) -> None:
    agree(chunk)


@pytest.mark.long
@pytest.mark.parametrize("chunk", range(3, 500 // CHUNK))
def test_random_specs_agree_at_length(chunk: int) -> None:
    agree(chunk)
