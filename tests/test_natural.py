"""Natural gradient of dense layers against loops in NumPy, and a rate that falls where the objective does not."""

from __future__ import annotations

from typing import Any

import dlc
import numpy as np
import pytest
from scipy import special

TEXT = """
model m {
    input x: float[batch, 4]
    target y: int[batch]
    param V: float[4, 5]
    param W: float[5, 3]
    a = x @ V
    h = tanh(a)
    z = h @ W
    fit = cross_entropy(z, y)
    loss = fit
    by_a = grad(fit, a)
    by_z = grad(fit, z)
    output z = z
}
train {
    minimize loss over V using RULE(x, by_a, lr = 0.1, damping = 0.01, keep = 0.9)
    minimize loss over W using RULE(h, by_z, lr = 0.1, damping = 0.01, keep = 0.9)
}
"""


def slopes(x: Any, y: Any, V: Any, W: Any) -> Any:
    """What each matrix is multiplied by, and the gradient by what comes out."""
    h = np.tanh(x @ V)
    by_z = (special.softmax(h @ W, -1) - np.eye(3)[y]) / len(x)
    return (x, by_z @ W.T * (1 - h**2)), (h, by_z)


def kfac(t: int, a: Any, d: Any, s: dict[str, Any]) -> Any:
    s["A"] = 0.9 * s.get("A", 0) + 0.1 * a.T @ a / len(a)
    s["G"] = 0.9 * s.get("G", 0) + 0.1 * len(d) * d.T @ d
    A, G = s["A"] / (1 - 0.9**t), s["G"] / (1 - 0.9**t)
    share = np.sqrt(np.trace(A) / len(A) / (np.trace(G) / len(G)))
    A, G = A + share * 0.1 * np.eye(len(A)), G + 0.1 / share * np.eye(len(G))
    return np.linalg.inv(A) @ (a.T @ d) @ np.linalg.inv(G)


def diagonal(t: int, a: Any, d: Any, s: dict[str, Any]) -> Any:
    rows = [np.outer(row, len(d) * back) for row, back in zip(a, d, strict=True)]  # the gradient of each row's loss
    s["F"] = 0.9 * s.get("F", 0) + 0.1 * np.mean(np.square(rows), 0)
    return a.T @ d / (s["F"] / (1 - 0.9**t) + 0.01)


@pytest.mark.parametrize(("rule", "loop"), [("kfac", kfac), ("diagonal_fisher", diagonal)])
def test_updates_are_those_of_a_loop(rule: str, loop: Any) -> None:
    trainer = dlc.Trainer(dlc.compile(TEXT.replace("RULE", rule), precision="float64"), device="cpu", seed=0)
    V, W = (np.array(trainer.parameters[name]) for name in "VW")
    rng, held = np.random.default_rng(1), ({}, {})
    for t in range(1, 31):
        x, y = rng.normal(size=(12, 4)), rng.integers(0, 3, 12)
        trainer.step({"x": x, "y": y})
        (a, d), (b, e) = slopes(x, y, V, W)
        V, W = V - 0.1 * loop(t, a, d, held[0]), W - 0.1 * loop(t, b, e, held[1])
        np.testing.assert_allclose(trainer.parameters["V"], V, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(trainer.parameters["W"], W, rtol=1e-9, atol=1e-12)


def test_kfac_does_not_see_a_change_of_basis() -> None:
    """Inputs mixed by a matrix, with weights mixed the other way, are updated to the same function (Martens and Grosse
    2015, theorem 1), nearly, as the damping is small."""
    rng = np.random.default_rng(0)
    x, y, B = rng.normal(size=(60, 4)), rng.integers(0, 3, 60), rng.normal(size=(4, 4)) + 2 * np.eye(4)
    text = """
    model m {
        input x: float[batch, 4]
        target y: int[batch]
        param W: float[4, 3] init zeros
        z = x @ W
        fit = cross_entropy(z, y)
        loss = fit
        by_z = grad(fit, z)
        output z = z
    }
    train { minimize loss using kfac(x, by_z, lr = 0.2, damping = 1e-12); batch: all }"""
    made = []
    for data in (x, x @ B):
        trainer = dlc.Trainer(dlc.compile(text, precision="float64"), device="cpu", seed=0)
        for _ in range(8):
            trainer.step({"x": data, "y": y})
        made.append(trainer.predict({"x": data})["z"])
    np.testing.assert_allclose(*made, rtol=1e-3, atol=1e-4)


def test_a_rate_falls_where_the_objective_does_not() -> None:
    text = """
    model m {
        input x: float[batch]
        param w: float init constant(3.0)
        loss = mean(abs(w - x))
        output y = w * x
    }
    train { minimize loss using plateau(sgd(0.4), patience = 4, factor = 0.25, keep = 0.5, threshold = 0.01) }"""
    trainer = dlc.Trainer(dlc.compile(text, precision="float64"), device="cpu")
    w, scale, seen, least, waited, scales = 3.0, 1.0, 0.0, np.inf, 0, set()
    for t in range(1, 61):
        trainer.step({"x": np.zeros(2)})
        seen = 0.5 * seen + 0.5 * abs(w)
        now = seen / (1 - 0.5**t)
        least, waited = (now, 0) if now < 0.99 * least else (least, waited + 1)
        if waited > 4:
            scale, waited = scale * 0.25, 0
        w -= scale * 0.4 * np.sign(w)
        scales.add(scale)
        assert trainer.parameters["w"] == pytest.approx(w, abs=1e-12)
    assert len(scales) > 3 and abs(w) < 0.02
