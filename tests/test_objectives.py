"""Likelihoods, priors, losses and metrics of a spec, elaborated and evaluated."""

from __future__ import annotations

from typing import Any

import dlc
import numpy as np
import pytest
from spec_cases import SGD, Spec, X, body, codes

NORMAL = 0.5 * np.log(2 * np.pi)


def test_a_likelihood_is_a_mean_and_a_prior_is_shared_by_the_observations() -> None:
    spec = Spec("""
        model m { input x: float[batch, 3]; target y: float[batch]; param w: float[3] ~ normal(0, 2) init ones
                  y ~ normal(x @ w, 1); output s = 1 * w }
        train { minimize loss using sgd(1.0) }
    """)
    y, w = np.arange(4.0), np.ones(3)
    state = {**spec.start(), "observations": 50}
    loss, after = spec.step(state, x=X, y=y)
    assert loss == pytest.approx(np.mean((y - X @ w) ** 2 / 2 + NORMAL), rel=1e-12)  # without the prior
    gradient = X.T @ (X @ w - y) / 4 + w / 4 / 50
    np.testing.assert_allclose(after["w"], w - gradient, rtol=1e-12)


def test_joint_and_weighted() -> None:
    mask = np.array([1.0, 0, 1, 0])
    density = -(X**2) / 2 - NORMAL
    for right, expected in [
        ("normal(0 * w, 1)", -density.mean()),
        ("joint(normal(0 * w, 1))", -density.sum(1).mean()),
        ("weighted(joint(normal(0 * w, 1)), k)", -(density.sum(1) * mask).sum() / 2),
        ("weighted(normal(0 * w, 1), k[:, none])", -(density * mask[:, None]).sum() / 6),
    ]:
        spec = Spec(f"""
            model m {{ input x: float[batch, 3]; input k: float[batch]; param w: float init ones; x ~ {right} }}
            train {{ minimize loss using sgd(1) }}
        """)
        assert spec.get("loss", {"x": X, "k": mask, "w": 1.0}) == pytest.approx(expected, rel=1e-12)


def test_likelihoods_beside_a_prior_say_what_an_observation_is() -> None:
    text = "model m { input x: float[batch, 3]; param w: float ~ normal(0, 1); x ~ %s }\n" + SGD
    assert codes(text % "normal(w, 1)") == ["E0502"]
    Spec(text % "joint(normal(w, 1))")


def test_loss_is_the_sum_of_its_terms() -> None:
    spec = Spec("""
        model m { input x: float[batch]; param w: float init ones
                  loss a = w * mean(x); loss = 10 * w; loss b = 100 * w
                  output z = loss; output y = b }
        train { minimize b using sgd(1.0) }
    """)
    loss, after = spec.step(spec.start(), x=np.ones(2))
    assert loss == 111 and after["w"] == 1 - 100
    assert spec.get("z", {"w": 1.0, "x": np.ones(2)}) == 111 and spec.get("y", {"w": 1.0, "x": np.ones(2)}) == 100


def test_metrics_run_over_the_whole_data_set() -> None:
    spec = Spec("""
        model m { input x: float[batch, 3]; param w: float init ones; loss = w * mean(x)
                  metric m = sqrt(mean((x - 1)^2)) / max(abs(x)) + 0.5 * sum(x) / min(x) }
        train { minimize loss using sgd(1) }
    """)
    totals: dict[str, Any] = {}
    for rows in (X[:3], X[3:]):
        for i, how in enumerate(spec.module.reduces):
            part = spec.get(f"evaluate/part/{i}", {"x": rows, "w": 1.0})
            old = totals.get(f"evaluate/total/{i}")
            totals[f"evaluate/total/{i}"] = (
                part if old is None else {"sum": np.add, "min": np.minimum, "max": np.maximum}[how](old, part)
            )
    expected = np.sqrt(np.mean((X - 1) ** 2)) / np.abs(X).max() + 0.5 * X.sum() / X.min()
    assert spec.get("evaluate/value/m", totals, w=1.0) == pytest.approx(expected, rel=1e-12)


def test_a_metric_that_needs_two_passes() -> None:
    assert codes("""
        model m { input x: float[batch]; param w: float; loss = w * mean(x); metric v = mean((x - mean(x))^2) }
        train { minimize loss using sgd(1) }
    """) == ["E0503"]


@pytest.mark.parametrize(
    ("loss", "batch"),
    [
        (
            "mean(w * ((a - mean(a)) / (std(a) + 1e-8))^3)",
            lambda a, w: w * np.mean(((a - a.mean()) / (a.std() + 1e-8)) ** 3),
        ),
        # mean(a) is wanted of all rows, and within each row of those of its batch
        ("w * (mean(abs(a - mean(a))) + mean(a))", lambda a, w: w * (np.abs(a - a.mean()).mean() + a.mean())),
        ("w * mean(a - max(a))", lambda a, w: w * (a - a.max()).mean()),
        # pairs of rows, and what is no sum of rows
        ("w * mean(a[:, none] * a[none, :]^2)", lambda a, w: w * a.mean() * (a**2).mean()),
        (
            "w * sum(a[:, none] * a[none, :]) / (batch * (batch - 1))",
            lambda a, w: w * a.sum() ** 2 / len(a) / (len(a) - 1),
        ),
        ("w * (logsumexp(a) - log(batch))", lambda a, w: w * np.log(np.exp(a).mean())),
        ("w * sort(a)[batch // 2]", lambda a, w: w * np.sort(a)[len(a) // 2]),
        ("w * var(a, ddof = 1)", lambda a, w: w * a.var(ddof=1)),
        ("w * mean(abs(a[1:] - a[:-1]))", lambda a, w: w * np.abs(np.diff(a)).mean()),
    ],
)
def test_a_loss_may_compare_the_rows_of_a_batch(loss: str, batch: Any) -> None:
    """An advantage is standardised so; in an evaluation the loss is the mean over its batches."""
    program = dlc.compile(
        f"model m {{ input a: float[batch]; param w: float init 2; loss = {loss} }}\n"
        "train { minimize loss using sgd(0.5) }",
        precision="float64",
    )
    a = np.random.default_rng(0).normal(size=1536)  # an evaluation takes 1,024 rows at once
    trainer = dlc.Trainer(program, device="cpu")
    assert trainer.evaluate({"a": a[:24]})["loss"] == pytest.approx(batch(a[:24], 2), rel=1e-12)
    parts = [batch(a[:1024], 2), batch(a[1024:], 2)]
    assert trainer.evaluate({"a": a})["loss"] == pytest.approx(np.dot(parts, [2, 1]) / 3, rel=1e-12)
    assert trainer.step({"a": a})["loss"] == pytest.approx(batch(a, 2), rel=1e-12)
    assert trainer.parameters["w"] == pytest.approx(2 - 0.5 * batch(a, 1), rel=1e-12)


def test_an_output_needs_no_target() -> None:
    assert codes("model m { input x: float[b]; target y: float[b]; output z = x + y }") == ["E0340"]


def test_grad_nests() -> None:
    spec = body("e = sum(x^3)\ng = grad(e, x)\noutput z = grad(sum(g * x), x)\nh = 2 * x\noutput y = grad(sum(h^2), h)")
    np.testing.assert_allclose(spec.get("z", {"x": X}), 9 * X**2)
    np.testing.assert_allclose(spec.get("y", {"x": X}), 4 * X)
