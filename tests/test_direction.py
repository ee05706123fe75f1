"""Which way a figure should go, where its graph says so; asked for where it does not. Never a guess."""

from __future__ import annotations

import dlc
import numpy as np
import pytest

SPEC = """model m {
    input  x: float[batch, 4]
    target y: int[batch]
    target t: float[batch]
    z = x |> dense(3)
    p = z[:, 0]
    y ~ categorical(logits = z)
    loss kl = 0.1 * mean(p^2)
    output z = z
    metric figure = METRIC
}
train {
    minimize loss using adam(1e-2)
    stop: patience(3, on = validation.figure)
}
"""
GROWS = [
    "accuracy(z, y)",
    "mean(argmax(z) == y)",
    "100 * accuracy(z, y)",
    "sum(argmax(z) == y)",
    "1 - mean(argmax(z) != y)",
    "mean(any(top(z, 2) == y[:, none], axis = -1))",
    "mean(log_density(categorical(logits = z), y))",
    "exp(mean(log_density(categorical(logits = z), y)))",
    "-mean((p - t)^2)",
    "1 - sqrt(mean((p - t)^2)) / 3",
    "mean((p > 0) == (t > 0))",
    "accuracy(z, y) - squared(p, t)",
    "max(-abs(p - t))",
    "mean(not (argmax(z) != y))",
    "mean(argmax(z) == y and t > 0)",
    "-cross_entropy(z, y)",
]
FALLS = [
    "cross_entropy(z, y)",
    "exp(cross_entropy(z, y))",
    "mean((p - t)^2)",
    "sqrt(mean((t - p)^2))",
    "mean(abs(t - p))",
    "max(abs(p - t))",
    "absolute(p, t)",
    "huber(p, t)",
    "hinge(p, 2 * t - 1)",
    "binary_cross_entropy(p, t)",
    "1 - accuracy(z, y)",
    "mean(argmax(z) != y)",
    "-mean(log_density(categorical(logits = z), y))",
    "mean(abs(p - t) > 0.1)",
    "squared(p, t) + absolute(p, t)",
    "0.1 * mean(p^2)",
    "log(squared(p, t))",
    "mean(not (argmax(z) == y))",
    "squared(p, t) / 7",
]
UNKNOWN = [
    "1 - mean((t - p)^2) / (mean(t^2) - mean(t)^2)",
    "mean(p)",
    "mean(p > 0)",
    "mean(abs(p))",
    "mean(x[:, 0] == t)",
    "sum(y * p)",
    "accuracy(z, y) + squared(p, t)",
    "accuracy(z, y) / squared(p, t)",
    "accuracy(z, y) * squared(p, t)",
    "squared(p, 0.0)",
    "binary_cross_entropy(p, 0.9)",
    "squared(p, z[:, 1])",
    "1 / squared(p, t)",
    "mean(argmax(z) == 1)",
    "mean(p * t)",
    "sum((argmax(z) == y) * t) / sum(t)",
    "squared(p, t)^2",
    "cos(squared(p, t))",
    "0 * accuracy(z, y)",
    "mean((p - t)^3)",
    "mean(p == p)",
    "mean(t)",
    "squared(p, p + t)",
]


def mode(metric: str) -> str:
    return str(dlc.compile(SPEC.replace("METRIC", metric)).settings["train"]["stop"]["mode"])


@pytest.mark.parametrize("metric", GROWS)
def test_what_grows(metric: str) -> None:
    assert mode(metric) == "max"


@pytest.mark.parametrize("metric", FALLS)
def test_what_falls(metric: str) -> None:
    assert mode(metric) == "min"


@pytest.mark.parametrize("metric", UNKNOWN)
def test_what_is_asked_for(metric: str) -> None:
    with pytest.raises(dlc.Error) as caught:
        mode(metric)
    assert "E0525" in str(caught.value) and 'mode = "max"' in str(caught.value)
    for said in ("min", "max"):
        text = SPEC.replace("METRIC", metric).replace("validation.figure", f'validation.figure, mode = "{said}"')
        assert dlc.compile(text).settings["train"]["stop"]["mode"] == said


@pytest.mark.parametrize("name", ["accuracy", "f1", "auc", "recall", "precision", "error"])
def test_a_name_says_nothing(name: str) -> None:
    text = SPEC.replace("metric figure", f"metric {name}").replace("validation.figure", f"validation.{name}")
    assert dlc.compile(text.replace("METRIC", "mean(argmax(z) != y)")).settings["train"]["stop"]["mode"] == "min"
    with pytest.raises(dlc.Error, match="E0525"):
        dlc.compile(text.replace("METRIC", "mean(p)"))


def test_a_function_of_the_same_name_is_not_the_librarys() -> None:
    own = "fn squared(a, b) = mean(a * b)\n" + SPEC.replace("METRIC", "squared(p, t)")
    with pytest.raises(dlc.Error, match="E0525"):
        dlc.compile(own)


def test_a_stop_from_outside_is_held_to_the_same() -> None:
    text = SPEC.replace("METRIC", "accuracy(z, y)")
    given = dlc.compile(text, set={"stop": {"patience": 2, "on": "validation.figure"}})
    assert given.settings["train"]["stop"] == {"patience": 2, "on": "validation.figure", "mode": "max"}
    for wrong, code in (
        ({"patience": 0}, "E0507"),
        ({"patience": 2, "on": "validation.f"}, "E0508"),
        ({"patience": 2, "mood": "max"}, "E0215"),
        ({"patience": 2, "mode": "up"}, "E0507"),
    ):
        with pytest.raises(dlc.Error) as caught:
            dlc.compile(text, set={"stop": wrong})
        assert code in str(caught.value)


def test_the_best_epoch_by_accuracy_is_kept() -> None:
    """Labels that the inputs tell: accuracy rises from the first epoch on, so the first is not the best."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    data = {"x": x, "y": x[:, :3].argmax(1), "t": x[:, 0]}
    text = SPEC.replace("METRIC", "accuracy(z, y)").replace("stop:", "epochs: 30; validate: 0.3; stop:")
    history = dlc.Trainer(dlc.compile(text), seed=1).fit(data)
    scores = [record["validation"]["figure"] for record in history.epochs]
    assert history.best is not None and scores[history.best - 1] == max(scores) > scores[0]
