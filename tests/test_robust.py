"""Inputs that mislead, mixed rows, noise on weights, and the length of what flows back through time."""

from __future__ import annotations

from typing import Any

import dlc
import numpy as np
import pytest
from library_sweep import Compiled, close
from scipy import special, stats

RNG = np.random.default_rng(0)
X, Y, W = RNG.normal(size=(5, 3)), np.array([1.0, -1, 1, 1, -1]), RNG.normal(size=3)
ATTACKED = """
fn attacked(x, y, w) = logistic_loss(x @ w, y)
model m {
    input x: float[batch, 3]
    input y: float[batch]
    input w: float[3]
    near = NEAR
    cost = attacked(near, y, w)
    output near = near
    output by_w = grad(cost, w)
}"""


def slope(x: Any) -> Any:
    return -(Y * special.expit(-Y * (x @ W)))[:, None] * W / len(Y)


def by_w(x: Any) -> Any:
    return -(Y * special.expit(-Y * (x @ W))) @ x / len(Y)


def test_a_step_against_the_loss() -> None:
    found = Compiled(ATTACKED.replace("NEAR", "fgsm(attacked(y = y, w = w), x, size = 0.3)")).stock(
        {"x": X, "y": Y, "w": W}
    )
    near = X + 0.3 * np.sign(slope(X))
    assert close(found["near"], near, 1e-14) and close(found["by_w"], by_w(near), 1e-12)


def test_steps_within_a_box() -> None:
    call = "pgd(attacked(y = y, w = w), x, limit = 0.25, size = 0.1, iterations = 4)"
    found = Compiled(ATTACKED.replace("NEAR", call)).stock({"x": X, "y": Y, "w": W})
    near = X
    for _ in range(4):
        near = np.clip(near + 0.1 * np.sign(slope(near)), X - 0.25, X + 0.25)
    assert close(found["near"], near, 1e-14) and close(found["by_w"], by_w(near), 1e-12)


def test_a_network_trained_on_them_is_misled_less() -> None:
    text = """
    fn attacked(x, f, y) = -log_density(categorical(logits = f(x)), y)
    model m(size = 0.15) {
        input x: float[batch, 64]
        target y: int[batch]
        f = mlp(32, 1, 10)
        near = pgd(attacked(f = f, y = y), x, limit = size, size = size / 2, iterations = 3)
        loss = mean(attacked(near, f, y))
        worst = pgd(attacked(f = f, y = y), x, limit = 0.15, size = 0.05, iterations = 5)
        metric misled = accuracy(f(worst), y)
        output p = softmax(f(x))
    }
    train { minimize loss using adam(5e-3); batch: 64; epochs: 12 }"""
    with np.load("specs/data/digits.npz") as held:
        data = {"x": held["x"][:1000], "y": held["y"][:1000]}
        rest = {"x": held["x"][1000:], "y": held["y"][1000:]}
    found = []
    for size in (1e-3, 0.15):
        trainer = dlc.Trainer(dlc.compile(text, size=size), device="cpu", seed=0)
        trainer.fit(data)
        found.append(trainer.evaluate(rest)["misled"])
    assert found[1] > found[0] + 0.1


MIXED = """
model m {
    input x: float[batch, 4]
    input y: float[batch, 4]
    param w: float init ones
    u, v = mixup(ALPHA)(x, y)
    state seen: float[4, 4] = 0
    state also: float[4, 4] = 0
    if training {
        seen <- u[arange(4)]
        also <- v[arange(4)]
    }
    loss = w * mean(u)
    output u = u
    output v = v
}
train { minimize loss using sgd(0.0); batch: all }"""


def test_rows_are_mixed_with_their_targets() -> None:
    trainer = dlc.Trainer(dlc.compile(MIXED.replace("ALPHA", "0.4"), precision="float64"), device="cpu", seed=0)
    x, y = np.eye(4), np.arange(16.0).reshape(4, 4)
    shares = []
    for _ in range(400):
        trainer.step({"x": x, "y": y})
        mix = np.array(trainer.state["seen"])  # of rows that are those of the identity
        np.testing.assert_allclose(mix.sum(1), 1, rtol=1e-12)
        np.testing.assert_allclose(mix.sum(0), 1, rtol=1e-12)
        np.testing.assert_allclose(trainer.state["also"], mix @ y, rtol=1e-12)
        share = np.diag(mix)[np.diag(mix) < 1 - 1e-12]
        if share.size:
            np.testing.assert_allclose(share, share[0], rtol=1e-9)
            shares.append(share[0])
    assert len(shares) > 300 and stats.kstest(shares, stats.beta(0.4, 0.4).cdf).pvalue > 0.01
    found = trainer.predict({"x": x, "y": y})
    np.testing.assert_array_equal(found["u"], x)
    np.testing.assert_array_equal(found["v"], y)


def test_noise_on_weights_is_drawn_once_a_step() -> None:
    text = """model m {
        input x: float[batch, 30]
        g = dense(40)
        plain = g(x)
        h = weight_noise(g, std = 0.2)(x)
        state seen: float[30, 40] = 0
        if training { seen <- (h - plain)[arange(30)] }
        loss = mean(h)
        output h = h
    }
    train { minimize loss using sgd(0.0); batch: all }"""
    trainer = dlc.Trainer(dlc.compile(text, precision="float64"), device="cpu", seed=0)
    drawn = []
    for _ in range(2):
        trainer.step({"x": np.eye(30)})
        drawn.append(np.array(trainer.state["seen"]))
        assert stats.kstest(drawn[-1].ravel() / 0.2, stats.norm.cdf).pvalue > 0.01
    assert not np.allclose(*drawn)
    np.testing.assert_allclose(trainer.predict({"x": np.eye(30)})["h"], trainer.parameters["g.W"], rtol=1e-12)


@pytest.mark.oracle
def test_gradients_over_time_are_matched_in_length() -> None:
    torch = pytest.importorskip("torch")
    text = """model m {
        input x: float[batch, time, 2]
        input V: float[2, 3]
        input U: float[3, 3]
        a = x @ V
        scan t over time {
            state h: float[batch, 3] = 0
            h <- tanh(a[:, t] + h @ U)
            y[:, t] = h
        }
        cost = mean(h^2)
        out = gradient_match(grad(cost, a), y, U)
        output value = out
        output slope = grad(out, U)
    }"""
    given = {name: RNG.normal(size=size) for name, size in (("x", (4, 5, 2)), ("V", (2, 3)), ("U", (3, 3)))}
    x, V, U = (torch.tensor(value, requires_grad=True) for value in given.values())
    h, inside, states = torch.zeros(4, 3, dtype=torch.float64), [], []
    for t in range(5):
        inside.append(x[:, t] @ V + h @ U)
        inside[-1].retain_grad()
        h = torch.tanh(inside[-1])
        states.append(h)
    (h**2).mean().backward()
    total = 0.0
    U.grad = None
    for t in range(4):
        after = inside[t + 1].grad.detach()
        back = (after @ U.mT) * (1 - states[t].detach() ** 2)
        total = total + ((back.norm(dim=1) / after.norm(dim=1) - 1) ** 2).mean() / 4
    total.backward()
    found = Compiled(text).stock(given)
    assert close(found["value"], total.item(), 1e-10) and close(found["slope"], U.grad.numpy(), 1e-10)


def test_where_no_gradient_comes_nothing_is_matched() -> None:
    text = """model m {
        input g: float[batch, time, 2]
        input U: float[2, 2]
        out = gradient_match(g, 0.5 * g, U)
        output value = out
        output slope = grad(out, U)
    }"""
    found = Compiled(text).stock({"g": np.zeros((2, 3, 2)), "U": np.eye(2)})
    assert found["value"] == 0 and not found["slope"].any()
