"""Negative indices of every word that takes one: the value, the gradient, forward mode, the Jacobian and the second
derivative against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from library_sweep import Compiled

ROWS, COLUMNS = 3, 4
Reference = Callable[[Any, Any, Any], Any]


def added(x: Any, i: Any, size: int) -> Any:
    total = np.zeros((size, *x.shape[1:]))
    np.add.at(total, i, x)
    return total


# Of x: float[3, 4], i: int[3] in -3..2 and j: int[3] in -4..3. (x itself is moved: y = f(x) is linear in it.)
WORDS: dict[str, Reference] = {
    "pick(x, j)": lambda x, i, j: np.take_along_axis(x, j[:, None], 1)[:, 0],
    "pick(transpose(x), stack([i[0], i[1], i[2], -1]))": lambda x, i, j: x[[*i, -1], np.arange(4)],
    "take_along(x, j[:, none])": lambda x, i, j: np.take_along_axis(x, j[:, None], 1),
    "take_along(x, stack([i, i, i, i], axis = 1), axis = 0)": lambda x, i, j: np.take_along_axis(
        x, np.stack([i] * 4, 1), 0
    ),
    "gather(x, i)": lambda x, i, j: x[i],
    "gather(x, j, axis = 1)": lambda x, i, j: x[:, j],
    "gather(x, j, axis = -1)": lambda x, i, j: x[:, j],
    "gather(x, -1)": lambda x, i, j: x[-1],
    "x[i]": lambda x, i, j: x[i],
    "x[:, j]": lambda x, i, j: x[:, j],
    "x[i, j]": lambda x, i, j: x[i, j],
    "x[i[:, none], j]": lambda x, i, j: x[i[:, None], j],
    "x[-1, j]": lambda x, i, j: x[-1, j],
    "x[i, -2]": lambda x, i, j: x[i, -2],
    "x[i[0]]": lambda x, i, j: x[i[0]],
    "x[i[0], j[1]]": lambda x, i, j: x[i[0], j[1]],
    "x[-1]": lambda x, i, j: x[-1],
    "x[:, -2]": lambda x, i, j: x[:, -2],
    "x[-2:, -3:-1]": lambda x, i, j: x[-2:, -3:-1],
    "x[:-1, none, -1]": lambda x, i, j: x[:-1, None, -1],
    "scatter_add(x, i, 3)": lambda x, i, j: added(x, i, 3),
    "scatter_add(transpose(x), stack([i[0], i[1], i[2], -2]), 3)": lambda x, i, j: added(x.T, [*i, -2], 3),
    "roll(x, -1)": lambda x, i, j: np.roll(x, -1, -1),
    "sum(x, axis = -2)": lambda x, i, j: x.sum(-2),
}


@pytest.mark.parametrize(
    ("word", "rows", "columns"),
    [*((word, ROWS, COLUMNS) for word in WORDS), *((word, "n", "m") for word in WORDS if "stack" not in word)],
)
def test_against_numpy(word: str, rows: int | str, columns: int | str) -> None:
    """Each word is linear in x: its Jacobian has the word of each unit as a column, from which all follows."""
    reference = WORDS[word]
    known = isinstance(rows, int)
    spec = Compiled(f"""model m {{
        input x: float[{rows}, {columns}]
        input v: float[{rows}, {columns}]
        input i: int[{rows}]
        input j: int[{rows}]
        y = {word}
        cubes = sum(y^3)
        output value = y
        output slope = grad(cubes, x)
        output moved = jvp(y, x, v)
        output bend = hvp(cubes, x, v)
        {"output columns = jacobian(y, x)" if known else ""}
    }}""")
    rng = np.random.default_rng(len(word))
    for turn in range(4):
        x, v = rng.uniform(0.5, 2, (2, ROWS, COLUMNS))
        i, j = rng.integers(-ROWS, ROWS, ROWS), rng.integers(-COLUMNS, COLUMNS, ROWS)
        if not turn:
            i, j = np.array([-1, -2, -3]), np.array([-1, -4, -1])
        feeds = {"x": x, "v": v, "i": i, "j": j}
        units = np.eye(ROWS * COLUMNS).reshape(-1, ROWS, COLUMNS)
        y, columns = reference(x, i, j), [reference(unit, i, j) for unit in units]
        expected = {
            "value": y,
            "slope": np.reshape([np.sum(3 * y**2 * column) for column in columns], x.shape),
            "moved": reference(v, i, j),
            "bend": np.reshape([np.sum(6 * y * reference(v, i, j) * column) for column in columns], x.shape),
        }
        if known:
            expected["columns"] = np.reshape(np.stack(columns, -1), (*y.shape, *x.shape))
        for found in (spec(feeds), spec.stock(feeds, False), spec.stock(feeds, True)):
            for name, right in expected.items():
                np.testing.assert_allclose(found[name], right, rtol=1e-12, atol=1e-12, err_msg=name)
