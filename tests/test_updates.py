"""Schedules, penalties, clips, wrappers and running statistics of the library, seen in the updates they make."""

from __future__ import annotations

from typing import Any

import dlc
import numpy as np
import pytest
from dlc.lower.model import start_values


def trainer(text: str, **options: Any) -> Any:
    return dlc.Trainer(dlc.compile(text, precision="float64", **options), device="cpu", seed=0)


# --- schedules: with sgd on a loss of slope -1, theta rises by the learning rate


def rates(schedule: str, count: int) -> Any:
    trained = trainer(f"""
        model m {{
            input x: float[batch]
            param theta: float init zeros
            loss = -theta * mean(x)
        }}
        train {{ minimize loss using sgd({schedule}) }}
    """)
    seen = [0.0]
    for _ in range(count):
        trained.step({"x": np.ones(3)})
        seen.append(float(trained.parameters["theta"]))
    return np.diff(seen)


def cosine(step: Any, peak: float, over: int, warmup: int) -> Any:
    share = np.clip((step - 1 - warmup) / max(over - warmup, 1), 0, 1)
    return peak * np.minimum(step / max(warmup, 1), 1) * (1 + np.cos(np.pi * share)) / 2


STEPS = np.arange(1, 31)
SCHEDULES = {
    "0.25": np.full(30, 0.25),
    "constant_rate(0.25)": np.full(30, 0.25),
    "step_decay(0.5, every = 10, factor = 0.2)": np.repeat([0.5, 0.1, 0.02], 10),
    "exponential_decay(0.5, over = 10)": 0.5 * 0.1 ** ((STEPS - 1) / 10),
    "cosine(0.5, over = 20, warmup = 5)": cosine(STEPS, 0.5, 20, 5),
    "cosine(0.5, over = 20)": cosine(STEPS, 0.5, 20, 0),
    "cyclic(0.1, 0.5, half = 4)": np.interp((STEPS - 1) % 8, [0, 4, 8], [0.1, 0.5, 0.1]),
    "2 * cosine(0.5, over = 20) + 0.1": 2 * cosine(STEPS, 0.5, 20, 0) + 0.1,
}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedule(schedule):
    np.testing.assert_allclose(rates(schedule, 30), SCHEDULES[schedule], rtol=1e-12, atol=1e-14)


# --- penalties and clips: one update of sgd(1.0) takes the gradient off

SETTINGS = """
    model m {
        input x: float[batch, 2]
        param W: float[2, 3] init normal(0, 1)
        param b: float[3] init normal(0, 1)
        loss = sum(mean(x, axis = 0) @ W + b)
    }
    train { minimize loss using sgd(1.0); SETTING }
"""
X = np.array([[1.0, -3.0], [2.0, 5.0]])
G_W, G_B = np.repeat(X.mean(0)[:, None], 3, axis=1), np.ones(3)
NORM = np.sqrt((G_W**2).sum() + (G_B**2).sum())


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("batch: 2", lambda W, b: (G_W, G_B)),
        ("penalty: l2(0.1) on *", lambda W, b: (G_W + 0.2 * W, G_B + 0.2 * b)),
        ("penalty: l1(0.1) on W", lambda W, b: (G_W + 0.1 * np.sign(W), G_B)),
        ("penalty: l2(0.1) on W; penalty: l1(0.1) on b", lambda W, b: (G_W + 0.2 * W, G_B + 0.1 * np.sign(b))),
        ("clip: global_norm(1.5)", lambda W, b: (G_W * 1.5 / NORM, G_B * 1.5 / NORM)),
        ("clip: global_norm(100)", lambda W, b: (G_W, G_B)),
        ("clip: each_norm(2.0)", lambda W, b: (G_W * 2 / np.sqrt((G_W**2).sum()), G_B)),
        ("clip: each_value(0.9)", lambda W, b: (np.clip(G_W, -0.9, 0.9), np.full(3, 0.9))),
        (
            "clip: each_value(0.9); clip: global_norm(1.0)",
            lambda W, b: (np.array([[0.9] * 3] * 3)[:2] / np.sqrt(9 * 0.81), np.full(3, 0.9) / np.sqrt(9 * 0.81)),
        ),
        (
            "penalty: l2(0.5) on *; clip: each_value(1.0)",
            lambda W, b: (np.clip(G_W + W, -1, 1), np.clip(G_B + b, -1, 1)),
        ),
    ],
)
def test_penalty_and_clip(setting, expected):
    trained = trainer(SETTINGS.replace("SETTING", setting))
    W, b = (np.array(trained.parameters[path]) for path in ("W", "b"))
    result = trained.step({"x": X})
    g_W, g_b = expected(W, b)
    np.testing.assert_allclose(trained.parameters["W"], W - g_W, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(trained.parameters["b"], b - g_b, rtol=1e-12, atol=1e-14)
    assert result["loss"] == pytest.approx((X.mean(0) @ W + b).sum(), rel=1e-12)  # penalties are not reported


# --- wrappers, on the loss theta . mean(x)

WRAPPED = """
    model m {
        input x: float[batch, 3]
        param theta: float[3] init ones
        loss = dot(theta, mean(x, axis = 0))
    }
    train { minimize loss using RULE }
"""


def adam(theta: Any, g: Any, t: int, lr: float, s: dict[str, Any]) -> Any:
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    s["v"] = 0.999 * s.get("v", 0) + 0.001 * g**2
    return theta - lr * (s["m"] / (1 - 0.9**t)) / (np.sqrt(s["v"] / (1 - 0.999**t)) + 1e-8)


def gradients(count: int) -> Any:
    return np.random.default_rng(5).normal(size=(count, 3))


def follow(rule: str, expected: Any) -> None:
    trained = trainer(WRAPPED.replace("RULE", rule))
    for g, theta in zip(gradients(len(expected)), expected, strict=True):
        trained.step({"x": g[None]})
        np.testing.assert_allclose(trained.parameters["theta"], theta, rtol=1e-12, atol=1e-13)


def test_accumulate():
    theta, inner, expected = np.ones(3), {}, []
    every = gradients(22)
    for t in range(1, 23):
        if t % 4 == 0:
            theta = adam(theta, every[t - 4 : t].mean(0), t // 4, 0.1, inner)
        expected.append(theta)
    follow("accumulate(adam(0.1), turns = 4)", expected)


def test_lookahead():
    theta = slow = np.ones(3)
    inner, expected = {}, []
    for t, g in enumerate(gradients(12), 1):
        theta = adam(theta, g, t, 0.1, inner)
        if t % 5 == 0:
            theta = slow = slow + 0.3 * (theta - slow)
        expected.append(theta)
    follow("lookahead(adam(0.1), k = 5, alpha = 0.3)", expected)


def test_wrappers_nest_and_the_schedule_follows_the_inner_optimizer():
    theta = slow = np.ones(3)
    inner, expected = {}, []
    every = gradients(24)
    for t in range(1, 25):
        if t % 2 == 0:
            theta = adam(theta, every[t - 2 : t].mean(0), t // 2, float(cosine(t // 2, 0.1, 10, 3)), inner)
        if t % 6 == 0:
            theta = slow = slow + 0.5 * (theta - slow)
        expected.append(theta)
    follow("lookahead(accumulate(adam(cosine(0.1, over = 10, warmup = 3)), turns = 2), k = 6)", expected)


def test_a_wrapper_of_one_iteration_changes_nothing():
    theta, inner, expected = np.ones(3), {}, []
    for t, g in enumerate(gradients(8), 1):
        theta = adam(theta, g, t, 0.1, inner)
        expected.append(theta)
    follow("adam(0.1)", expected)
    follow("accumulate(adam(0.1), turns = 1)", expected)
    follow("lookahead(adam(0.1), k = 3, alpha = 1.0)", expected)


# --- layers in training


def test_batch_norm_keeps_running_statistics():
    text = """
        model m {
            input x: float[batch, 2, time]
            f = batch_norm(momentum = 0.8)
            out = f(x)
            loss = mean(out^2) + mean(out * x)
            output out = out
        }
        train { minimize loss using sgd(0.0) }
    """
    trained = trainer(text)
    seen_mean, seen_var = np.zeros((1, 2, 1)), np.ones((1, 2, 1))
    rng = np.random.default_rng(0)
    for _ in range(4):
        x = rng.normal([[1.0], [-2.0]], [[2.0], [0.5]], (5, 2, 7))
        m, v = x.mean((0, 2), keepdims=True), x.var((0, 2), keepdims=True)
        seen_mean, seen_var = 0.8 * seen_mean + 0.2 * m, 0.8 * seen_var + 0.2 * v
        out = (x - m) / np.sqrt(v + 1e-5)
        assert trained.step({"x": x})["loss"] == pytest.approx((out**2).mean() + (out * x).mean(), rel=1e-12)
        np.testing.assert_allclose(trained.state["f.seen_mean"], seen_mean.ravel(), rtol=1e-12)
        np.testing.assert_allclose(trained.state["f.seen_var"], seen_var.ravel(), rtol=1e-12)
    found = trained.predict({"x": x})["out"]  # by the running statistics, which prediction leaves alone
    np.testing.assert_allclose(found, (x - seen_mean) / np.sqrt(seen_var + 1e-5), rtol=1e-12)
    np.testing.assert_allclose(trained.state["f.seen_mean"], seen_mean.ravel(), rtol=1e-12)


def test_dropout_drops_its_share_and_keeps_the_mean():
    trained = trainer("""
        model m {
            input x: float[batch]
            param W: float init ones
            h = x |> dropout(0.3)
            loss = W * mean(h)
            metric dropped = mean(h == 0)
            output out = W * x |> dropout(0.3)
        }
        train { minimize loss using sgd(0.0) }
    """)
    x = np.ones(20000)
    first, second = trained.step({"x": x}), trained.step({"x": x})
    assert abs(first["dropped"] - 0.3) < 0.01
    assert first["loss"] == pytest.approx((1 - first["dropped"]) / 0.7, rel=1e-12)
    assert first["dropped"] != second["dropped"]
    np.testing.assert_array_equal(trained.predict({"x": x[:10]})["out"], x[:10])


def test_start_values_of_the_library_are_the_same_for_the_same_seed():
    program = dlc.compile(SETTINGS.replace("SETTING", "batch: 2"), precision="float64")
    first, again, other = (start_values(program.module, seed)["W"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


# --- where clips apply

ACCUMULATED = """
    model m {
        input x: float[batch, 2]
        param w: float[2] init zeros
        param u: float init zeros
        loss = sum(mean(x, axis = 0) * w) + mean(x[:, 0]) * u
    }
    train { minimize loss using RULE; clip: global_norm(1.0); batch: 1 }
"""


@pytest.mark.parametrize(
    ("rule", "parts"),
    [
        ("accumulate(sgd(1.0), turns = 2)", False),
        ("accumulate(sgd(1.0), turns = 2, clip_parts = true)", True),
        ("lookahead(accumulate(sgd(1.0), turns = 2), k = 100)", False),
    ],
)
def test_a_clip_sees_the_mean_of_batches_or_each(rule, parts):
    batches = [np.array([[3.0, 4.0]]), np.array([[3.0, -4.0]])]
    trained = trainer(ACCUMULATED.replace("RULE", rule))
    for batch in batches:
        trained.step({"x": batch})
    gradients = [np.array([*batch[0], batch[0, 0]]) for batch in batches]  # of w and u together

    def clip(g):
        return g / max(np.sqrt((g**2).sum()), 1.0)

    expected = -np.mean([clip(g) for g in gradients], axis=0) if parts else -clip(np.mean(gradients, axis=0))
    found = [*trained.parameters["w"], trained.parameters["u"]]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)
