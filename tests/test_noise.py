"""What the layers that add noise draw in training, against the distributions that they are named after."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from library_sweep import Compiled
from scipy import stats

ROWS, WIDTH = 300, 64


def noisy(layer: str, x: Any) -> Any:
    """Of a training pass, and of one that predicts, which is the input or its product alone."""
    spec = Compiled(f"""model m {{
        input x: float[batch, {x.shape[1]}]
        f = {layer}
        output y = f(x, training = true)
        output plain = f(x)
    }}""")
    return spec({**spec.variables, "x": x})


def test_gaussian_noise() -> None:
    x = np.full((ROWS, WIDTH), 2.0)
    found = noisy("gaussian_noise(0.3)", x)
    assert np.array_equal(found["plain"], x)
    assert stats.kstest((found["y"] - x).ravel(), stats.norm(0, 0.3).cdf).pvalue > 0.01


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    """Of normal values: those that are dropped are equal, the others on a line."""
    x = np.random.default_rng(0).normal(size=(ROWS, WIDTH))
    y = noisy("alpha_dropout(0.2)", x)["y"]
    assert abs(y.mean()) < 0.03 and abs(y.std() - 1) < 0.03
    low = -1.0507009873554805 * 1.6732632423543772
    scale = (0.8 * (1 + 0.2 * low**2)) ** -0.5
    dropped = np.isclose(y, scale * (low - 0.2 * low), atol=1e-12)
    np.testing.assert_allclose(y[~dropped], scale * (x[~dropped] - 0.2 * low), atol=1e-12)
    assert stats.binomtest(int(dropped.sum()), y.size, 0.2).pvalue > 0.01


def test_stochastic_depth_drops_whole_rows() -> None:
    x = np.random.default_rng(0).normal(size=(2000, 5))
    y = noisy("stochastic_depth(0.25)", x)["y"]
    dropped = (y == 0).all(1)
    np.testing.assert_allclose(y[~dropped], x[~dropped] / 0.75, rtol=1e-14)
    assert stats.binomtest(int(dropped.sum()), len(x), 0.25).pvalue > 0.01


def test_dropconnect_drops_weights() -> None:
    """One mask for all rows: the rows of the identity show W."""
    found = noisy("dropconnect(dense(90, bias = false), rate = 0.3)", np.eye(70))
    kept = found["y"] != 0
    np.testing.assert_allclose(found["y"][kept], found["plain"][kept] / 0.7, rtol=1e-14)
    assert stats.binomtest(int(kept.sum()), kept.size, 0.7).pvalue > 0.01


@pytest.mark.parametrize("layer", ["gaussian_noise()", "alpha_dropout(0.5)", "stochastic_depth(0.5)", "dropout(0.5)"])
def test_two_places_in_a_text_draw_apart(layer: str) -> None:
    spec = Compiled(f"""model m {{
        input x: float[batch, 3]
        f, g = {layer}, {layer}
        output one = f(x, training = true)
        output two = g(x, training = true)
    }}""")
    found = spec({**spec.variables, "x": np.ones((40, 3))})
    assert not np.array_equal(found["one"], found["two"])
