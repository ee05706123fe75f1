"""What a rule asks of the objective and of other values of the model, against loops in NumPy."""

from __future__ import annotations

from typing import Any

import dlc
import numpy as np
import pytest
from whole_cases import HITS, LOGISTIC, RIDGE, ROWS, A, N, X, Y, logistic, logistic_curvature, trainer, weights


def newton_step(w: Any) -> Any:
    return np.linalg.solve(logistic_curvature(w), logistic(w)[1])


def inner_loop(w: Any, t: int) -> Any:
    for _ in range(5):
        w = w - 0.1 * logistic(w)[1]
    return w


def through_a_step(w: Any, t: int) -> Any:
    """The derivative of the objective after a step of gradient descent, through that step (Finn et al. 2017)."""
    after = w - 0.5 * logistic(w)[1]
    return w - 0.1 * (np.eye(N + 1) - 0.5 * logistic_curvature(w)) @ logistic(after)[1]


def through_a_step_of_each(w: Any, t: int) -> Any:
    g, bend, new = logistic(w)[1], logistic_curvature(w), w.copy()
    for part in (slice(0, N), slice(N, N + 1)):
        after = w.copy()
        after[part] -= 0.5 * g[part]
        block = bend[part, part]
        new[part] -= 0.1 * (np.eye(len(block)) - 0.5 * block) @ logistic(after)[1][part]
    return new


def either(w: Any, t: int) -> Any:
    d = -logistic(w)[1]
    for _ in range(3):
        d = d - 0.1 * logistic_curvature(w) @ d
    return w - 0.1 * logistic(w + 0.1 * d)[1] if t % 2 == 0 else w + 0.1 * d


ASKED: dict[str, tuple[str, str, Any]] = {
    "a scan that descends": (
        """optimizer rule()(theta: vector[n], loss) {
            scan i over 0..5 {
                state w: float[n] = theta
                w <- w - 0.1 * grad(loss(w), w)
            }
            theta <- w
        }""",
        "rule()",
        inner_loop,
    ),
    "through a step": (
        """optimizer rule()(theta: vector[n], loss) {
            theta <- theta - 0.1 * grad(loss(theta - 0.5 * grad(loss(theta), theta)), theta)
        }""",
        "rule()",
        through_a_step,
    ),
    "through a step of each parameter": (
        """optimizer rule()(theta, loss) {
            theta <- theta - 0.1 * grad(loss(theta - 0.5 * grad(loss(theta), theta)), theta)
        }""",
        "rule()",
        through_a_step_of_each,
    ),
    "in loops and under conditions": (
        """optimizer rule()(theta: vector[n], g, t, loss) {
            d = -g
            for i in 0..3 { d = d - 0.1 * hvp(loss(theta), theta, d) }
            if t % 2 == 0 {
                near = theta + 0.1 * d
                theta <- theta - 0.1 * grad(loss(near), near)
            } else { theta <- theta + 0.1 * d }
        }""",
        "rule()",
        either,
    ),
    "a schedule": (
        "",
        "newton_cg(lr = cosine(1.0, over = 10), damping = 0, iterations = 20, tolerance = 1e-14)",
        lambda w, t: w - (1 + np.cos(np.pi * (t - 1) / 10)) / 2 * newton_step(w),
    ),
    "a schedule of its own updates": (
        "",
        "accumulate(newton(lr = 1 / step), turns = 2)",
        lambda w, t: w if t % 2 else w - 2 / t * newton_step(w),
    ),
}


@pytest.mark.parametrize("name", ASKED)
def test_what_a_rule_asks_against_a_loop(name: str) -> None:
    rule, using, expected = ASKED[name]
    trained = trainer(LOGISTIC.replace("model", f"{rule}\n    model", 1).replace("RULE", using))
    w = weights(trained)
    for t in range(1, 7):
        trained.step({"x": X, "y": HITS})
        w = expected(w, t)
        np.testing.assert_allclose(weights(trained), w, rtol=0, atol=1e-10)


def test_a_rule_may_be_given_any_value_of_the_model() -> None:
    """A tensor with its Jacobian, and terms of the loss, metrics and outputs by their names."""
    rule = """
    optimizer exact(residual, strength)(theta: vector[n], g) {
        J = jacobian(residual(theta), theta)
        H = transpose(J) @ J / size(J, 0) + strength * eye(n)
        theta <- theta - cholesky_solve(H, g[:, none])[:, 0]
    }"""
    text = RIDGE.replace("model", rule + "\n    model", 1).replace("on *.W", "on *")
    trained = trainer(text.replace("RULE", "exact(residual, 2e-3)"))
    trained.step({"x": X, "y": Y})
    expected = np.linalg.solve(A.T @ A / ROWS + 2e-3 * np.eye(N + 1), A.T @ Y / ROWS)
    np.testing.assert_allclose(weights(trained), expected, rtol=0, atol=1e-10)
    terms = """
        loss fit = mean(residual^2) / 2
        metric spread = mean(m^2)
        output there = m
    }
    train"""
    for name in ("fit", "spread", "residual"):
        curve = "newton_cg" if name != "residual" else "gauss_newton"
        trainer(RIDGE.replace("}\n    train", terms).replace("RULE", f"{curve}({name})")).step({"x": X, "y": Y})
    with pytest.raises(dlc.Error, match="did you mean `residual`"):
        dlc.compile(RIDGE.replace("RULE", "gauss_newton(residuals)"))
