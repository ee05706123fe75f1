"""Second derivatives of every function at its zeros, ties and kinks, against mpmath or a limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from dlc.elaborate.builtins import BUILTINS
from dlc.elaborate.library import standard_index
from library_sweep import Compiled
from special_points import POINTS, WITHOUT

DIGITS, STEP = 60, mp.mpf(10) ** -15
ROWS = [
    pytest.param(*row, id=f"{row[0]} at {[float(number) for number in row[1]]}")
    for rows in POINTS.values()
    for row in rows
]


def test_no_function_is_forgotten() -> None:
    known = {*BUILTINS, *standard_index()}
    assert sorted(known - {*POINTS, *WITHOUT}) == [], "give it points in special_points.py, or say why it has none"
    assert not {*POINTS} & {*WITHOUT} and {*POINTS, *WITHOUT} <= known
    assert all(any(f"{name}(" in row[0] for row in rows) or name == "layer_norm" for name, rows in POINTS.items())


def derivatives(function: Callable[..., Any], at: Sequence[float]) -> tuple[float, Any, Any]:
    """The value, the gradient and the Hessian, by central differences of 60 digits: right to 30."""
    with mp.workdps(DIGITS):
        point = [mp.mpf(float(number)) for number in at]
        count = range(len(point))

        def moved(*by: tuple[int, int]) -> Any:
            there = list(point)
            for i, steps in by:
                there[i] += steps * STEP
            return function(*there)

        slope = [float((moved((i, 1)) - moved((i, -1))) / (2 * STEP)) for i in count]
        bend = [
            [
                float(
                    (moved((i, 1), (j, 1)) - moved((i, 1), (j, -1)) - moved((i, -1), (j, 1)) + moved((i, -1), (j, -1)))
                    / (4 * STEP**2)
                )
                for j in count
            ]
            for i in count
        ]
        return float(function(*point)), np.asarray(slope), np.asarray(bend)


@pytest.mark.parametrize(("expression", "at", "right"), ROWS)
def test_at_its_special_points(expression: str, at: Sequence[float], right: Any) -> None:
    """By the interpreter and by ONNX Runtime, at both of its levels and in float32: the Hessian, forward over reverse
    along a direction, and reverse over reverse."""
    text = f"""model m {{
        input x: float[{len(at)}]
        v = arange({len(at)}) + 1.0
        y = {expression}
        output value = y
        output slope = grad(y, x)
        output bend = hessian(y, x)
        output along = hvp(y, x, v)
        output back = grad(sum(grad(y, x) * v), x)
    }}"""
    feeds = {"x": np.asarray([float(number) for number in at])}
    single = {"x": feeds["x"].astype(np.float32)}
    spec = Compiled(text)
    with np.errstate(all="ignore"):
        double = [spec(feeds), spec.stock(feeds, False), spec.stock(feeds, True)]
        in_float32 = Compiled(text, "float32").stock(single)
    everywhere = [*((found, feeds, 1e-10, 1e-12) for found in double), (in_float32, single, 2e-5, 2e-6)]
    for found, fed, relative, absolute in everywhere:
        if not callable(right):
            exact = {"slope": right[0], "bend": right[1]}
        else:
            value, slope, bend = derivatives(right, fed["x"])
            along = bend @ (np.arange(len(at)) + 1)
            exact = {"value": value, "slope": slope, "bend": bend, "along": along, "back": along}
        for name, expected in exact.items():
            np.testing.assert_allclose(found[name], expected, rtol=relative, atol=absolute, err_msg=name)
