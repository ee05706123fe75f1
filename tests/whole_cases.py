"""Ridge and logistic regression with their objectives in NumPy: for rules of all parameters."""

from __future__ import annotations

from typing import Any

import dlc
import numpy as np
from scipy import optimize

ROWS, N = 80, 8
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, N)) * np.arange(1, N + 1) / 3
Y = X @ RNG.normal(size=N) + RNG.normal(size=ROWS)
HITS = (Y > 0).astype(float)
A = np.c_[X, np.ones(ROWS)]  # the bias is the last parameter

RIDGE = """
    model ridge {
        input x: float[batch, 8]; target y: float[batch]
        m = (x |> dense(1))[:, 0]
        residual = m - y
        y ~ normal(m, 1)
    }
    train { minimize loss using RULE; penalty: l2(1e-3) on *.W; batch: all }
"""
LOGISTIC = """
    model logistic {
        input x: float[batch, 8]; target y: float[batch]
        z = (x |> dense(1))[:, 0]
        y ~ bernoulli(logits = z)
    }
    train { minimize loss using RULE; penalty: l2(1e-2) on *; batch: all }
"""


def ridge(w: Any) -> tuple[float, Any]:
    r = A @ w - Y
    return r @ r / 2 / ROWS + 1e-3 * (w[:N] @ w[:N]), A.T @ r / ROWS + 2e-3 * np.r_[w[:N], 0]


def logistic(w: Any) -> tuple[float, Any]:
    z = A @ w
    return np.logaddexp(0, z).mean() - (HITS * z).mean() + 1e-2 * w @ w, A.T @ (
        1 / (1 + np.exp(-z)) - HITS
    ) / ROWS + 2e-2 * w


def logistic_curvature(w: Any) -> Any:
    p = 1 / (1 + np.exp(-A @ w))
    return (A.T * (p * (1 - p))) @ A / ROWS + 2e-2 * np.eye(N + 1)


def best(name: str) -> Any:
    """Ridge regression in closed form, logistic regression by Newton's method until nothing moves."""
    if name == "ridge":
        return np.linalg.solve(A.T @ A / ROWS + 2e-3 * np.diag([1.0] * N + [0]), A.T @ Y / ROWS)
    w = optimize.minimize(logistic, np.zeros(N + 1), jac=True, method="BFGS").x
    for _ in range(20):
        w = w - np.linalg.solve(logistic_curvature(w), logistic(w)[1])
    return w


def trainer(text: str, precision: str = "float64", **options: Any) -> Any:
    return dlc.Trainer(dlc.compile(text, precision=precision, **options), device="cpu", seed=1)


def weights(trained: Any) -> Any:
    return np.r_[np.array(trained.parameters["dense.W"])[:, 0], np.array(trained.parameters["dense.b"])]
