"""The node tests that ship with the `onnx` package, rebuilt as our primitives: the oracle and ONNX Runtime both give
the outputs that ONNX expects. The summary prints how many, and why others are left out."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from dlc.ir import interpret
from dlc.ops import indexing
from node_cases import NEVER, TABLE, Left, node_tests, written
from op_cases import file_of, run

TOLERANCE = 1e-5  # of float32, in which most expected outputs were computed


def agrees(found, expected) -> bool:
    expected = np.asarray(expected)
    if expected.dtype.kind != "f":
        return np.array_equal(found, expected)
    return np.shape(found) == expected.shape and np.allclose(
        np.asarray(found, np.float64), expected.astype(np.float64), rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True
    )


@pytest.mark.parametrize("op_type", sorted(TABLE))
def test_node_tests(op_type, node_tested, monkeypatch):
    monkeypatch.setattr(indexing, "ONE_HOT_ROWS", 0)  # so that small tables take the way of large ones
    count, left = 0, Counter[str]()
    for case in node_tests(op_type):
        try:
            node = TABLE[op_type](case)
        except Left as reason:
            left[str(reason)] += 1
            continue
        feeds = case.feeds
        with np.errstate(all="ignore"):
            assert agrees(interpret.evaluate([node], feeds)[0], case.expected), case.name
        precision = "float64" if any(value.dtype == np.float64 for value in feeds.values()) else "float32"
        model = file_of({"y": node}, list(case.leaves.values()), precision)
        assert op_type in {made.op_type for made in model.graph.node}, f"{case.name}: our file has no {op_type}"
        for optimized in (False, True):
            assert agrees(run(model, feeds, precision, optimized)[0], case.expected), case.name
        count += 1
    node_tested(op_type, count, left)
    assert count, f"every node test of {op_type} is left out: {dict(left)}"


def test_every_operator_that_is_written_has_a_row_or_a_reason():
    names = written()
    new = sorted(names - set(TABLE) - set(NEVER))
    assert not new, f"each wants a row in TABLE (node_cases.py) or a reason in NEVER: {new}"
    assert sorted(set(NEVER) - names) == [], "nothing names these any more"
    assert not set(TABLE) & set(NEVER)
