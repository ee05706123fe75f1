"""docs/derivatives.md: the derivative at kinks, as the table says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import dlc
import numpy as np
import pytest
from op_cases import file_of, run
from spec_cases import body

PAGE = Path(__file__).resolve().parents[1] / "docs" / "derivatives.md"
ROWS = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|", PAGE.read_text(encoding="utf-8"), re.M)


def number(text: str):
    return json.loads(text.replace("inf", "Infinity"))


@pytest.mark.parametrize(("expression", "at", "slope"), ROWS)
def test_kink(expression, at, slope):
    x = np.asarray(number(at), float)
    size = f"[{x.size}]" if x.ndim else ""
    spec = body(f"    output z = grad({expression}, x)", f"input x: float{size}")
    with np.errstate(all="ignore"):
        assert spec.get("z", {"x": x}).tolist() == number(slope)
    root = {"z": spec.module.graph.outputs["output/z"]}
    for optimized in (False, True):
        [found] = run(file_of(root, spec.module.inputs, "float64"), {"x": x}, "float64", optimized)
        assert found.tolist() == pytest.approx(number(slope), rel=1e-15)


def test_the_table_is_read():
    assert len(ROWS) > 20


INF = float("inf")
LOG_SUMS = {
    "input": ("logsumexp(x)", [-INF, -INF, -INF], [0, 0, 0]),
    "one left": ("logsumexp(x)", [-INF, 2.0, -INF], [0, 1, 0]),
    "several axes": ("logsumexp(stack([x, x]), axis = [0, 1])", [-INF, -INF, -INF], [0, 0, 0]),
    "padded": (
        "sum(logsumexp(pad(x[:, none], [1, 0], axis = 1, value = -inf), axis = 1))",
        [-INF, 1.0, 2.0],
        [0, 1, 1],
    ),
    "logarithm": ("sum(logsumexp(stack([log(x), log(x)], axis = 1), axis = 1))", [1.0, 2.0, 4.0], [1, 0.5, 0.25]),
    "two": ("sum(logaddexp(x, x[0]))", [-INF, 1.0, 1.0], None),
}


@pytest.mark.parametrize("name", LOG_SUMS)
def test_a_logsumexp_of_nothing_but_minus_infinity_has_a_derivative(name: str) -> None:
    text, at, expected = LOG_SUMS[name]
    program = dlc.compile(
        f"model m {{\n input x: float[3]\n output y = {text}\n output g = grad({text}, x)\n}}", precision="float64"
    )
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(program.model_proto().SerializeToString())
    y, g = session.run(["y", "g"], {"x": np.asarray(at)})
    assert not np.isnan(y) and np.isfinite(g).all()
    if expected is not None:
        np.testing.assert_allclose(g, expected, atol=1e-12)
