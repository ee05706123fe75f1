"""What tests need to know of an operation that specs call by its name, beside its `define`: one row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mpmath as mp

INF = float("inf")
FLAT = ([0, 0], [[0, 0], [0, 0]])


@dataclass(frozen=True)
class Row:
    """An operation for test_ops_oracle.py, the random specs and test_special_points.py."""

    torch: Callable[..., Any] | str  # PyTorch's form, of its module and the operands; or why it has none
    # Lines of random specs on a value `a`, or on `a` and `b` that broadcast, with the bound of the result's magnitude
    # from theirs. Operands stay where the operation is moderate: rounding errors are to stay rounding errors.
    said: Mapping[str, Callable[..., float]]
    points: Sequence[Any] | str = field(default_factory=tuple)  # as in special_points.py; or why it needs none


def root_of_squares(x: Any, y: Any) -> Any:
    return mp.sqrt(x**2 + y**2)


ROWS: dict[str, Row] = {
    "tan": Row(lambda torch, x: torch.tan(x), {"tan(0.9 * tanh(a))": lambda a: 1.3}, [("tan(x[0])", [0], mp.tan)]),
    "arcsin": Row(
        lambda torch, x: torch.arcsin(x),
        {"arcsin(0.9 * tanh(a))": lambda a: 1.2},
        [*(("arcsin(x[0])", [point], mp.asin) for point in (0, 0.5, -0.5)), ("arcsin(x[0])", [1], ([INF], [[INF]]))],
    ),
    "arccos": Row(
        lambda torch, x: torch.arccos(x),
        {"arccos(0.9 * sin(a))": lambda a: 2.7},
        [("arccos(x[0])", [0], mp.acos), ("arccos(x[0])", [0.5], mp.acos), ("arccos(x[0])", [1], ([-INF], [[-INF]]))],
    ),
    "arctan": Row(
        lambda torch, x: torch.arctan(x),
        {"arctan(a)": lambda a: 1.6},
        [("arctan(x[0])", [point], mp.atan) for point in (0, 1, -1)],
    ),
    "sinh": Row(lambda torch, x: torch.sinh(x), {"sinh(tanh(a))": lambda a: 1.2}, [("sinh(x[0])", [0], mp.sinh)]),
    "cosh": Row(
        lambda torch, x: torch.cosh(x),
        {"cosh(tanh(a))": lambda a: 1.6},
        [("cosh(x[0])", [0], mp.cosh), ("cosh(abs(x[0]))", [0], mp.cosh)],
    ),
    "arcsinh": Row(
        lambda torch, x: torch.arcsinh(x),
        {"arcsinh(a)": lambda a: a},
        [("arcsinh(x[0])", [0], mp.asinh), ("arcsinh(x[0])", [-1], mp.asinh)],
    ),
    "arccosh": Row(
        lambda torch, x: torch.arccosh(x), {"arccosh(1.3 + a^2)": lambda a: 2 + a}, [("arccosh(x[0])", [2], mp.acosh)]
    ),
    "arctanh": Row(
        lambda torch, x: torch.arctanh(x),
        {"arctanh(0.9 * sin(a))": lambda a: 1.5},
        [("arctanh(x[0])", [0], mp.atanh), ("arctanh(x[0])", [1], ([INF], [[INF]]))],
    ),
    "cbrt": Row(
        "PyTorch has no cube root of negative numbers",
        {"cbrt(0.5 + a^2)": lambda a: 1 + a},
        [("cbrt(x[0])", [1], mp.cbrt), ("cbrt(x[0])", [-8], lambda x: -mp.cbrt(-x))],
    ),
    "erfc": Row(
        lambda torch, x: torch.special.erfc(x),
        {"erfc(a)": lambda a: 2},
        [("erfc(x[0])", [point], mp.erfc) for point in (0, 0.5, 4)],
    ),
    "hypot": Row(
        lambda torch, x, y: torch.hypot(x, y),
        {"hypot(a, b)": lambda a, b: a + b},
        [
            ("hypot(x[0], x[1])", [0, 2], root_of_squares),
            ("hypot(x[0], x[1])", [2, 0], root_of_squares),
            ("hypot(x[0], x[1])", [0, 0], FLAT),
            ("hypot(x[0], x[1])^2", [0, 0], lambda x, y: x**2 + y**2),
            ("(hypot(x[0], x[1]) / 3)^2", [0, 0], lambda x, y: (x**2 + y**2) / 9),
        ],
    ),
    "arctan2": Row(
        lambda torch, y, x: torch.arctan2(y, x),
        {"arctan2(a, 0.6 + abs(b))": lambda a, b: 1.6},
        [
            ("arctan2(x[0], x[1])", [0, 1], mp.atan2),
            ("arctan2(x[0], x[1])", [1, 0], lambda y, x: mp.pi / 2 - mp.atan(x / y)),
            ("arctan2(x[0], x[1])", [-1, 0], lambda y, x: -mp.pi / 2 - mp.atan(x / y)),
            ("arctan2(x[0], x[1])", [0, -1], lambda y, x: mp.pi + mp.atan(y / x)),
            ("arctan2(x[0], x[1])", [0, 0], FLAT),
        ],
    ),
}
