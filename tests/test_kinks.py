"""docs/derivatives.md: the derivative at kinks, as the table says."""
from __future__ import annotations

import json
import re
from pathlib import Path

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
