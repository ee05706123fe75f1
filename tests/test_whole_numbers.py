"""Division of integers at its ends: the least number, -1 and 0, by numbers known and by data."""

from __future__ import annotations

import dlc
import numpy as np
import pytest

LEAST, MOST = -(2**63), 2**63 - 1
ENDS = [LEAST, LEAST + 1, LEAST + 2, -7, -3, -1, 0, 1, 3, 7, MOST - 1, MOST]


def run(spec: str, **data: np.ndarray) -> dict[str, np.ndarray]:
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(dlc.compile(spec).model_proto().SerializeToString())
    return dict(zip((out.name for out in session.get_outputs()), session.run(None, data), strict=True))


def test_by_data() -> None:
    a, b = (grid.ravel() for grid in np.meshgrid(ENDS, ENDS))
    found = run("model m {\n input a: int[n]\n input b: int[n]\n output q = a // b\n output r = a % b\n}", a=a, b=b)
    for x, y, q, r in zip(a.tolist(), b.tolist(), found["q"].tolist(), found["r"].tolist(), strict=True):
        if y == 0:
            assert (q, r) == (0, 0)
        else:
            assert (q - x // y) % 2**64 == 0 and r == x % y, (x, y)  # the least by -1 wraps around


@pytest.mark.parametrize("by", [-MOST, -3, -1, 1, 2, 3, 7, MOST])
def test_by_a_number(by: int) -> None:
    a = np.asarray(ENDS)
    found = run(f"model m {{\n input a: int[n]\n output q = a // {by}\n output r = a % {by}\n}}", a=a)
    assert [(q - x // by) % 2**64 for x, q in zip(ENDS, found["q"].tolist(), strict=True)] == [0] * len(ENDS)
    assert found["r"].tolist() == [x % by for x in ENDS]
