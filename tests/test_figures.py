"""Figures over a data set, of either side, against NumPy in float64: how they are put together from batches, and what
is refused."""

from __future__ import annotations

from typing import Any

import dlc
import numpy as np
import pytest

SPEC = """model m {
    input  x: float[batch, 3]
    target y: float[batch]
    target k: int[batch]
    target w: float[batch]
    param u: float[3] init ones
    p = x @ u
    z = stack([p, x[:, 0], x[:, 1]], axis = 1)
    loss = LOSS
    output p = p
    metric figure = METRIC
}
train {
    minimize loss using sgd(0.0)
    batch: 7
    epochs: 1
}
"""
ROWS = 45


def data(rows: int = ROWS, far: float = 0.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(rows, 3))
    return {
        "x": x + far / 3,
        "y": x.sum(1) + far + 0.5 * rng.normal(size=rows),
        "k": rng.integers(0, 3, rows),
        "w": (rng.random(rows) < 0.4).astype(float),
    }


def values(d: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    p = d["x"].sum(1)
    return {**d, "p": p, "z": np.stack([p, d["x"][:, 0], d["x"][:, 1]], 1)}


def softplus(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(x))


# Each in the language and in NumPy; "none" where the training side has no such figure.
KEPT = {
    "mean(p)": lambda v: v["p"].mean(),
    "mean(p) - 2 * mean(y) + 1": lambda v: v["p"].mean() - 2 * v["y"].mean() + 1,
    "sum(ones_like(y))": lambda v: len(v["y"]),
    "sum(p)": lambda v: v["p"].sum(),
    "3 * sum(p) - sum(y) / 2": lambda v: 3 * v["p"].sum() - v["y"].sum() / 2,
    "1 + sum(p)": lambda v: 1 + v["p"].sum(),
    "max(abs(p - y))": lambda v: np.abs(v["p"] - v["y"]).max(),
    "min(p)": lambda v: v["p"].min(),
    "-max(p)": lambda v: -v["p"].max(),
    "2 * max(p)": lambda v: 2 * v["p"].max(),
    "max(p) - min(p)": lambda v: np.ptp(v["p"]),
    "sum(k)": lambda v: v["k"].sum(),
    "max(k)": lambda v: v["k"].max(),
    "sqrt(mean((p - y)^2))": lambda v: np.sqrt(((v["p"] - v["y"]) ** 2).mean()),
    "mean(p)^2": lambda v: v["p"].mean() ** 2,
    "exp(mean(log(abs(y))))": lambda v: np.exp(np.log(np.abs(v["y"])).mean()),
    "log(mean(exp(p)))": lambda v: np.log(np.exp(v["p"]).mean()),
    "log(sum(exp(p)))": lambda v: np.log(np.exp(v["p"]).sum()),
    "log(mean(sigmoid(p)))": lambda v: np.log((1 / (1 + np.exp(-v["p"]))).mean()),
    "sum(p * w) / sum(w)": lambda v: (v["p"] * v["w"]).sum() / v["w"].sum(),
    "2 * sum(w * (p > 0)) / (sum(w) + sum(p > 0))": lambda v: (
        2 * (v["w"] * (v["p"] > 0)).sum() / (v["w"].sum() + (v["p"] > 0).sum())
    ),
    "mean(p^2) - mean(p)^2": lambda v: v["p"].var(),
    "sqrt(mean(p^2) - mean(p)^2)": lambda v: v["p"].std(),
    "1 - mean((y - p)^2) / (mean(y^2) - mean(y)^2)": lambda v: 1 - ((v["y"] - v["p"]) ** 2).mean() / v["y"].var(),
    "(mean(p * y) - mean(p) * mean(y)) / sqrt((mean(p^2) - mean(p)^2) * (mean(y^2) - mean(y)^2))": lambda v: (
        np.corrcoef(v["p"], v["y"])[0, 1]
    ),
    "accuracy(z, k)": lambda v: (v["z"].argmax(1) == v["k"]).mean(),
    "mean(z)": lambda v: v["z"].mean(),
    "max(mean(z, axis = 1))": lambda v: v["z"].mean(1).max(),
    "cross_entropy(z, k)": lambda v: (np.log(np.exp(v["z"]).sum(1)) - v["z"][np.arange(len(v["k"])), v["k"]]).mean(),
    "sum(p) / size(p, axis = 0)": lambda v: v["p"].mean(),
    "mean(softplus(p) - w * p)": lambda v: (softplus(v["p"]) - v["w"] * v["p"]).mean(),
}
EVALUATED = {  # vectors over columns: no figure of a step's, but of an evaluation
    "max(mean(z, axis = 0))": lambda v: v["z"].mean(0).max(),
    "sqrt(sum(grad(sum((p - y)^2), u)^2))": lambda v: np.linalg.norm(2 * (v["p"] - v["y"]) @ v["x"]),
    "sum(max(z, axis = 0) - min(z, axis = 0))": lambda v: np.ptp(v["z"], axis=0).sum(),
    "sqrt(sum(mean(x, axis = 0)^2))": lambda v: np.linalg.norm(v["x"].mean(0)),
    "sum((transpose(x) @ x)^2)": lambda v: ((v["x"].T @ v["x"]) ** 2).sum(),
}


def program(metric: str, precision: str = "float64", loss: str = "squared(p, y)") -> dlc.Program:
    return dlc.compile(SPEC.replace("METRIC", metric).replace("LOSS", loss), precision=precision)


@pytest.mark.parametrize("metric", [*KEPT, *EVALUATED])
def test_a_figure_is_over_all_rows_on_both_sides(metric: str) -> None:
    true = {**KEPT, **EVALUATED}[metric](values(data()))
    trainer = dlc.Trainer(program(metric))
    for batch in (1, 7, 45, None):
        assert trainer.evaluate(data(), batch=batch)["figure"] == pytest.approx(true, rel=1e-9)
    record = trainer.fit(data(), validation=data()).epochs[0]
    assert record["validation"]["figure"] == pytest.approx(true, rel=1e-9)
    if metric in EVALUATED:
        assert "figure" not in record["train"] and "loss" in record["train"]
    else:
        assert record["train"]["figure"] == pytest.approx(true, rel=1e-9)


@pytest.mark.parametrize(("metric", "of"), [
    ("sum(h) / batch / time", lambda h: h.mean()),
    ("sqrt(mean(h^2)) * time", lambda h: np.sqrt((h**2).mean()) * 5),
    ("max(h) / (time - 1)", lambda h: h.max() / 4),
    ("mean(sum(h, axis = 1)) / time^2", lambda h: h.mean() / 5),
    ("time", lambda h: 5),
    ("mean(h) + sum(arange(time)) / time", lambda h: h.mean() + 2),
])  # fmt: skip
def test_the_closing_arithmetic_has_the_length_of_sequences(metric: str, of: Any) -> None:
    text = f"""
        model m {{
            input h: float[batch, time]
            param w: float init ones
            loss = sum((w * h - 1)^2) / batch / time
            metric figure = {metric}
        }}
        train {{ minimize loss using sgd(0); batch: 3; epochs: 1 }}
    """
    h = np.random.default_rng(4).normal(size=(11, 5))
    trainer = dlc.Trainer(dlc.compile(text, precision="float64"), device="cpu")
    record = trainer.fit({"h": h}, validation={"h": h}).epochs[0]
    for side in ("train", "validation"):
        assert record[side]["figure"] == pytest.approx(of(h), rel=1e-12)
        assert record[side]["loss"] == pytest.approx(((h - 1) ** 2).mean(), rel=1e-12)


def test_a_batch_larger_than_one_evaluation_takes() -> None:
    rows = data(3000)
    for metric in ("max(abs(p - y))", "log(mean(exp(p)))", "max(mean(z, axis = 0))"):
        true = {**KEPT, **EVALUATED}[metric](values(rows))
        assert dlc.Trainer(program(metric)).evaluate(rows)["figure"] == pytest.approx(true, rel=1e-9)


@pytest.mark.parametrize("loss", ["sum((p - y)^2)", "sqrt(mean((p - y)^2))", "max(abs(p - y))", "squared(p, y)"])
def test_the_loss_of_an_epoch_is_put_together_as_its_evaluation(loss: str) -> None:
    trainer = dlc.Trainer(program("mean(p)", loss=loss))
    record = trainer.fit(data(), validation=data()).epochs[0]
    assert record["train"]["loss"] == pytest.approx(record["validation"]["loss"], rel=1e-12)


def test_a_weighted_loss_of_an_epoch_counts_what_counts() -> None:
    text = SPEC.replace("loss = LOSS", "y ~ weighted(normal(p, 1), w)").replace("METRIC", "mean(p)")
    record = dlc.Trainer(dlc.compile(text, precision="float64")).fit(data(), validation=data()).epochs[0]
    assert record["train"]["loss"] == pytest.approx(record["validation"]["loss"], rel=1e-12)


def test_training_stops_on_the_figure_of_the_epoch() -> None:
    """The greatest error of the epoch, not the mean of those of its batches."""
    text = SPEC.replace("METRIC", "max(abs(p - y))").replace("LOSS", "squared(p, y)").replace("sgd(0.0)", "sgd(0.05)")
    text = text.replace("epochs: 1", "epochs: 20; stop: patience(3, on = train.figure)")
    history = dlc.Trainer(dlc.compile(text, precision="float64")).fit(data())
    worst = [record["train"]["figure"] for record in history.epochs]
    assert history.best == int(np.argmin(worst)) + 1
    with pytest.raises(dlc.Error) as caught:
        dlc.Trainer(
            dlc.compile(
                text.replace("max(abs(p - y))", "max(mean(z, axis = 0))").replace(
                    "on = train.figure", 'on = train.figure, mode = "min"'
                )
            )
        ).fit(data())
    assert caught.value.code == "E0630"


def test_a_run_that_was_cut_within_an_epoch_goes_on_to_the_same_figures(tmp_path) -> None:
    class Stop(dlc.runtime.Callback):
        def on_step(self, step: int, figures: object) -> None:
            if step == 3:
                raise KeyboardInterrupt

    made = program("sqrt(mean((p - y)^2)) + max(p)")
    whole = dlc.Trainer(made).fit(data()).epochs[0]["train"]
    with pytest.raises(KeyboardInterrupt):
        dlc.Trainer(made).fit(data(), run=tmp_path, callbacks=[Stop()])
    [folder] = tmp_path.iterdir()
    assert dlc.Trainer.resume(folder).fit(data()).epochs[0]["train"] == whole


def test_sums_of_another_model_are_refused() -> None:
    trainer = dlc.Trainer(program("sqrt(mean((p - y)^2))"))
    trainer.progress.sums = [1.0]
    with pytest.raises(dlc.Error) as caught:
        trainer.fit(data())
    assert caught.value.code == "E0742"


@pytest.mark.parametrize("far", [0.0, 2e3, 1e5, -1e5])
@pytest.mark.parametrize("metric", [metric for metric in KEPT if "^2) - mean(" in metric])
def test_a_variance_holds_far_from_zero_in_float32(metric: str, far: float) -> None:
    rows = {name: array.astype(np.float32) if array.dtype == float else array for name, array in data(500, far).items()}
    exact = {name: array.astype(np.float64) if array.dtype == np.float32 else array for name, array in rows.items()}
    true = KEPT[metric](values(exact))
    trainer = dlc.Trainer(program(metric, "float32"))
    # The prediction itself is a product in float32: what it is off by is no fault of the figure.
    off = 0.02 if far else 1e-4
    assert trainer.evaluate(rows)["figure"] == pytest.approx(true, abs=off)
    assert trainer.fit(rows).epochs[0]["train"]["figure"] == pytest.approx(true, abs=off)
    batch = {name: array[:64] for name, array in rows.items()}
    true = KEPT[metric](values({name: array[:64] for name, array in exact.items()}))
    assert trainer.step(batch)["figure"] == pytest.approx(true, abs=off)


PAIRS = [
    "sum((p[:, none] > p[none, :]) and (y[:, none] > y[none, :])) / (sum(w) * sum(1 - w))",
    "mean(abs(p[:, none] - p[none, :]))",
    "max(p[:, none] - p[none, :])",
    "min(abs(p[:, none] + p[none, :]))",
    "sum(max(p[:, none] * p[none, :], axis = 1))",
    "sum(x @ transpose(x))",
    "max(sum(x @ transpose(x), axis = 1))",
    "mean(argmax(x @ transpose(x), axis = 1) == k)",
    "sqrt(sum((x @ transpose(x))^2))",
    "sum(p[:, none] > p[none, :]) / 100",
    "mean(sum(p[:, none] > p[none, :], axis = 1))",
]
MEETING = [
    "sum(cumsum(p, axis = 0))",
    "max(cumsum(p, axis = 0))",
    "mean(softmax(p, axis = 0)^2)",
    "sum(p * flip(y, axis = 0))",
    "sum(abs(p[1:] - p[:-1]))",
    "sum(sort(p, axis = 0) * y)",
    "sum(p[::2])",
    "sum(p[k])",
    "mean(p * arange(batch))",
    "max(roll(p, 1, axis = 0) * p)",
    "sum(abs(sort(p) - sort(y)))",
    "sum(reshape(x, [3, batch])[0] * y)",
]


@pytest.mark.parametrize("metric", [*PAIRS, *MEETING])
def test_rows_that_meet_in_a_metric_are_refused(metric: str) -> None:
    """Taken batch by batch it would be another number than over all rows."""
    with pytest.raises(dlc.Error) as caught:
        program(metric)
    assert "E0504" in str(caught.value) or "E0503" in str(caught.value)
