"""Scores over a data set against scikit-learn, in float32, over batches that end unevenly."""

from __future__ import annotations

import json
from typing import Any

import dlc
import numpy as np
import pytest
from dlc.cli import main

metrics = pytest.importorskip("sklearn.metrics")
ROWS = 1237  # batches of 100 end with one of 37
LINES = {
    # of two classes
    "precision": "precision(s > 0, u)",
    "recall": "recall(s > 0, u)",
    "f1": "f1(s > 0, u)",
    "matthews": "matthews(s > 0, u)",
    "auc": "auc(sigmoid(s), u)",
    "average_precision": "average_precision(sigmoid(s), u)",
    "exact_auc": "exact_auc(s, u)",
    "exact_average_precision": "exact_average_precision(s, u)",
    "exact_auc_of_ties": "exact_auc(round(3 * s), u)",
    "exact_average_precision_of_ties": "exact_average_precision(round(3 * s), u)",
    "precision_of_nothing": "precision(s > 99, u)",
    "recall_of_nothing": "recall(s > 0, 0 * u)",
    "f1_of_nothing": "f1(s > 99, 0 * u)",
    "matthews_of_nothing": "matthews(s > 99, u)",
    # of several classes
    "top_k": "top_k(z, y, k = 2)",
    "macro_precision": "macro_precision(z, y)",
    "macro_recall": "macro_recall(z, y)",
    "macro_f1": "macro_f1(z, y)",
    "one_class": "f1(argmax(z, axis = -1) == 2, y == 2)",
    "micro": "f1(one_hot(argmax(z, axis = -1), 5), one_hot(y, 5))",
    "perplexity": "perplexity(z, y)",
    "calibration_error": "calibration_error(z, y)",
    # of numbers
    "r2": "r2(p - 99990, t - 99990)",
    "r2_far_from_0": "r2(p, t, near = 1e5)",
    "rmse": "rmse(p, t)",
    "mape": "mape(p, t)",
    # weighted
    "weighted_mean": "weighted_mean(abs(p - t), 1 + y)",
    "weighted_accuracy": "weighted_mean(argmax(z, axis = -1) == y, u == 1)",
    "weighted_mean_of_nothing": "weighted_mean(p, 0 * u)",
}
SPEC = "\n".join(
    [
        "model m {",
        "    input x: float[batch, 8]",
        "    target y: int[batch]; target u: int[batch]; target t: float[batch]",
        "    param w: float[8] init ones",
        "    z, s, p = (w * x)[:, :5], x[:, 5], 1e5 + x[:, 6]",
        "    loss = squared(w @ transpose(x), 0)",
        *(f"    metric {name} = {line}" for name, line in LINES.items()),
        "    output o = w * x",
        "}",
        "train { minimize loss using sgd(0.0); batch: 100; epochs: 1; validate: 0.2 }",
    ]
)


def made(seed: int, classes: int = 5) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(ROWS, 8)).astype("float32")
    y = np.where(rng.random(ROWS) < 0.4, x[:, :classes].argmax(1), rng.integers(0, classes, ROWS))
    u = (x[:, 5] + rng.normal(size=ROWS) > 0.5).astype(int)
    return {"x": x, "y": y, "u": u, "t": (1e5 + x[:, 6] + 0.5 * rng.normal(size=ROWS)).astype("float32")}


def in_bins(score: Any, bins: int = 1000) -> Any:
    """As the file has them: in float32."""
    return np.searchsorted((np.arange(1, bins) / bins).astype("float32"), score.astype("float32"), side="right")


def sigmoid(s: Any) -> Any:
    return 1 / (1 + np.exp(-s.astype(np.float64)))


def calibration(z: Any, y: Any) -> float:
    p = np.exp(z.astype(np.float64))
    p /= p.sum(1, keepdims=True)
    sure, right, error = p.max(1), p.argmax(1) == y, 0.0
    for low in range(15):
        inside = (sure >= low / 15) & (sure < (low + 1) / 15 if low < 14 else sure <= 1)
        error += abs((sure - right)[inside].sum())
    return error / len(y)


def of_sklearn(data: dict[str, Any]) -> dict[str, float]:
    x, y, u, t = data.values()
    z, s, p = x[:, :5], x[:, 5], (np.float32(1e5) + x[:, 6]).astype(np.float64)
    t, hit, best = t.astype(np.float64), (s > 0).astype(int), z.argmax(1)
    macro = {"average": "macro", "zero_division": 0}
    return {
        "precision": metrics.precision_score(u, hit),
        "recall": metrics.recall_score(u, hit),
        "f1": metrics.f1_score(u, hit),
        "matthews": metrics.matthews_corrcoef(u, hit),
        "auc": metrics.roc_auc_score(u, in_bins(sigmoid(s))),
        "average_precision": metrics.average_precision_score(u, in_bins(sigmoid(s))),
        "exact_auc": metrics.roc_auc_score(u, s),
        "exact_average_precision": metrics.average_precision_score(u, s),
        "exact_auc_of_ties": metrics.roc_auc_score(u, np.round(3 * s)),
        "exact_average_precision_of_ties": metrics.average_precision_score(u, np.round(3 * s)),
        **dict.fromkeys([name for name in LINES if name.endswith("nothing")], 0.0),
        "top_k": metrics.top_k_accuracy_score(y, z, k=2, labels=range(5)),
        "macro_precision": metrics.precision_score(y, best, **macro),
        "macro_recall": metrics.recall_score(y, best, **macro),
        "macro_f1": metrics.f1_score(y, best, **macro),
        "one_class": metrics.f1_score(y == 2, best == 2),
        "micro": metrics.f1_score(y, best, average="micro"),
        "perplexity": np.exp(
            metrics.log_loss(y, np.exp(z.astype(float)) / np.exp(z.astype(float)).sum(1)[:, None], labels=range(5))
        ),
        "calibration_error": calibration(z, y),
        **dict.fromkeys(("r2", "r2_far_from_0"), metrics.r2_score(t, 1e5 + x[:, 6].astype(float))),  # in float64
        "rmse": metrics.root_mean_squared_error(t, p),
        "mape": metrics.mean_absolute_percentage_error(t, p),
        "weighted_mean": metrics.mean_absolute_error(t, p, sample_weight=1 + y),
        "weighted_accuracy": metrics.accuracy_score(y, best, sample_weight=u),
    }


@pytest.mark.oracle
@pytest.mark.parametrize("seed", range(3))
def test_over_all_rows_in_float32(seed: int) -> None:
    data = made(seed, classes=4 if seed else 5)  # one class is never there
    trainer = dlc.Trainer(dlc.compile(SPEC), device="cpu")
    found, expected = trainer.evaluate(data), of_sklearn(data)
    assert expected.keys() == LINES.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-6, abs=1e-6), name


@pytest.mark.oracle
def test_scores_are_near_those_that_are_not_rounded() -> None:
    data = made(5)
    found = dlc.Trainer(dlc.compile(SPEC), device="cpu").evaluate(data)
    s = data["x"][:, 5]
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(data["u"], s), abs=2e-4)
    assert found["average_precision"] == pytest.approx(metrics.average_precision_score(data["u"], s), abs=2e-3)


TABLES = SPEC.replace(
    "    output o",
    "    metric confused = confusion(z, y)\n    metric pairs = 1.0 * confusion(z, y) / 2\n"
    "    metric counts = scatter_add(1 + 0 * y, y, 5)\n    output o",
)


@pytest.mark.oracle
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_tables_over_all_rows(precision: str, tmp_path: Any, capsys: Any) -> None:
    data = made(1)
    trainer = dlc.Trainer(dlc.compile(TABLES, precision=precision), device="cpu")
    expected = metrics.confusion_matrix(data["y"], data["x"][:, :5].argmax(1), labels=range(5))
    found = trainer.evaluate(data)
    np.testing.assert_array_equal(found["confused"], expected)
    np.testing.assert_array_equal(found["pairs"], expected / 2)
    np.testing.assert_array_equal(found["counts"], expected.sum(1))
    history = trainer.fit(data, run=tmp_path)
    assert "confused" not in history.epochs[-1]["validation"] and "exact_auc" in history.epochs[-1]["validation"]
    assert "exact_auc" not in history.epochs[-1]["train"]
    np.savez(tmp_path / "d.npz", **data)
    command = ["evaluate", str(history.run), "--data", str(tmp_path / "d.npz"), "--device", "cpu"]
    assert main([*command, "--json"]) in (0, None)
    assert json.loads(capsys.readouterr().out)["confused"] == expected.tolist()
    assert main(command) in (0, None)
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("confused")
    assert lines[at + 1].split() == list("01234")
    assert [list(map(int, line.split())) for line in lines[at + 2 : at + 7]] == [
        [i, *row] for i, row in enumerate(expected.tolist())
    ]


def test_what_all_rows_may_be() -> None:
    """In a loss and an output it is the value itself; a metric of it may use what the model learned."""
    text = """model m { input x: float[batch]; target y: float[batch]; param w: float init 2.0
    loss = mean((all_rows(w * x) - y)^2)
    metric spread = w * (max(all_rows(x)) - min(all_rows(x))) + size(all_rows(x), 0)
    metric middle = sort(all_rows(w * x))[3]
    output o = all_rows(w * x) }
    train { minimize loss using sgd(0.0); batch: 3; epochs: 1 }"""
    x = np.array([3.0, 1.0, 4.0, 1.5, 9.0, 2.0, 6.0])
    trainer = dlc.Trainer(dlc.compile(text), device="cpu")
    found = trainer.evaluate({"x": x, "y": 0 * x}, batch=3)
    assert found["spread"] == 2 * 8 + 7 and found["middle"] == 6.0
    assert found["loss"] == pytest.approx(np.mean(4 * x * x))
    np.testing.assert_array_equal(trainer.predict({"x": x})["o"], 2 * x.astype(np.float32))


def test_an_epoch_reports_them() -> None:
    history = dlc.Trainer(dlc.compile(SPEC), device="cpu").fit(made(0))
    assert history.epochs[-1]["validation"].keys() >= LINES.keys()


@pytest.mark.parametrize(
    ("line", "better"),
    [
        ("f1(s > 0, u)", "max"),
        ("1 - precision(s > 0, u)", "min"),
        ("recall(s > 0, u)", "max"),
        ("matthews(s > 0, u)", "max"),
        ("auc(sigmoid(s), u)", "max"),
        ("average_precision(sigmoid(s), u)", "max"),
        ("exact_auc(s, u)", "max"),
        ("exact_average_precision(s, u)", "max"),
        ("top_k(z, y, k = 2)", "max"),
        ("macro_f1(z, y)", "max"),
        ("macro_recall(z, y)", "max"),
        ("macro_precision(z, y)", "max"),
        ("perplexity(z, y)", "min"),
        ("calibration_error(z, y)", "min"),
        ("100 * mape(p, t)", "min"),
        ("weighted_mean(argmax(z, axis = -1) == y, u)", "max"),
        ("sqrt(weighted_mean((p - t)^2, u))", "min"),
        ("rmse(p, t)", "min"),
        ("r2(p, t)", "max"),
        ("pinball(p, t)", "min"),
    ],
)
def test_which_is_better_is_known(line: str, better: str) -> None:
    text = f"""model m {{
        input x: float[batch, 8]
        target y: int[batch]; target u: int[batch]; target t: float[batch]
        z, s, p = x |> dense(5), (x |> dense(1))[:, 0], (x |> dense(1))[:, 0]
        loss = squared(s, u) + squared(p, t) + cross_entropy(z, y)
        metric figure = {line}
        output o = p
    }}
    train {{ minimize loss using sgd(0.1); validate: 0.2; stop: patience(3, on = validation.figure) }}"""
    assert dlc.compile(text).settings["train"]["stop"]["mode"] == better
