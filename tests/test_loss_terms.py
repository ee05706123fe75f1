"""Terms of a loss that have names are reported by them, wherever metrics are."""

from __future__ import annotations

import json
from pathlib import Path

import dlc
import numpy as np
import pytest

MODEL = """
model m {{
    input x: float[batch, 3]
    target y: float[batch]
    param w: float[3] init ones
    loss fit = squared(x @ w, y)
    loss small = 0.1 * mean(abs(w))
    {more}
    output f = x @ w
}}
train {{ minimize {objective} using sgd(0.01); epochs: 3; batch: 4; validate: 0.5; {settings} }}
"""


def spec(more: str = "", objective: str = "loss", settings: str = "") -> str:
    return MODEL.format(more=more, objective=objective, settings=settings)


@pytest.fixture
def data() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"x": rng.normal(size=(20, 3)).astype(np.float32), "y": rng.normal(size=20).astype(np.float32)}


def test_terms_are_figures_everywhere(data: dict[str, np.ndarray], tmp_path: Path) -> None:
    trainer = dlc.Trainer(dlc.compile(spec(), precision="float64"))
    found = trainer.evaluate(data)
    fit, small = float(np.mean((data["x"].astype(float).sum(1) - data["y"]) ** 2)), 0.1
    assert list(found) == ["loss", "fit", "small"]
    assert found == pytest.approx({"loss": fit + small, "fit": fit, "small": small}, rel=1e-12)
    history = trainer.fit(data, run=tmp_path)
    assert history.run is not None
    written = [json.loads(line) for line in (history.run / "metrics.jsonl").read_text().splitlines()]
    for record in (*history.epochs, *written):
        for side in ("train", "validation"):
            assert list(record[side]) == ["loss", "fit", "small"]
            assert record[side]["loss"] == pytest.approx(record[side]["fit"] + record[side]["small"], rel=1e-9)
    assert list(trainer.step(data)) == ["loss", "fit", "small"]


def test_an_epoch_adds_a_term_up_as_what_it_is(data: dict[str, np.ndarray]) -> None:
    history = dlc.Trainer(dlc.compile(spec("loss all = 0 * sum(y^2); loss root = 0 * w[0] + sqrt(mean(y^2))"))).fit(
        data, validation=data, epochs=1
    )
    train, held = history.epochs[0]["train"], history.epochs[0]["validation"]
    assert train["all"] == 0 and train["root"] == pytest.approx(held["root"], rel=1e-6)


def test_a_term_may_be_watched_and_falls(data: dict[str, np.ndarray]) -> None:
    program = dlc.compile(spec(settings="stop: patience(1, on = validation.small)"))
    trainer = dlc.Trainer(program)
    assert trainer.file.settings["stop"] == {"patience": 1, "on": "validation.small", "mode": "min"}
    history = trainer.fit(data)
    least = min(history.epochs, key=lambda record: record["validation"]["small"])
    assert history.best == least["epoch"]


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_metric_may_have_the_name_of_a_term(data: dict[str, np.ndarray], order: str) -> None:
    metric = "metric fit = mean(abs(x @ w - y))"
    text = spec(metric) if order == "after" else spec().replace("    loss fit", f"    {metric}\n    loss fit")
    found = dlc.Trainer(dlc.compile(text)).evaluate(data)
    away = data["x"].sum(1) - data["y"]
    assert sorted(found) == ["fit", "loss", "small"]
    assert found["fit"] == pytest.approx(np.mean(np.abs(away)), rel=1e-5)
    assert found["loss"] == pytest.approx(np.mean(away**2) + 0.1, rel=1e-5)
    trained = dlc.Trainer(dlc.compile(spec(metric, objective="fit")))  # the term, not the metric
    trained.step(data)
    moved = 1 - 0.01 * 2 * (away[:, None] * data["x"]).mean(0)
    assert trained.parameters["w"] == pytest.approx(moved, rel=1e-5)


def test_names_are_still_given_once() -> None:
    for more in ("loss fit = 2 * mean(y)", "metric fit = mean(y); metric fit = mean(x)", "output small = x"):
        with pytest.raises(dlc.Error) as caught:
            dlc.compile(spec(more))
        assert caught.value.code == "E0203"


@pytest.mark.parametrize("name", ["x", "y", "w", "f"])
def test_a_term_has_a_name_of_its_own(name: str) -> None:
    with pytest.raises(dlc.Error) as caught:
        dlc.compile(spec().replace("loss small", f"loss {name}"))
    assert caught.value.code in ("E0203", "E0290") and (name == "f" or "loss term" in str(caught.value))


def test_terms_that_compare_the_rows_of_a_batch_are_those_of_batches(data: dict[str, np.ndarray]) -> None:
    text = spec("loss pairs = mean(abs(x @ w - sort(y)))")
    assert "pairs" in dlc.Trainer(dlc.compile(text)).evaluate(data)


def test_terms_of_training_alone(data: dict[str, np.ndarray]) -> None:
    text = spec("if training { loss noise = 0.5 * mean(w^2) }")
    trainer = dlc.Trainer(dlc.compile(text))
    assert list(trainer.evaluate(data)) == ["loss", "fit", "small"]
    assert list(trainer.step(data)) == ["loss", "fit", "small", "noise"]


def test_metrics_of_one_side_alone(data: dict[str, np.ndarray]) -> None:
    text = spec("if training { metric busy = mean(y^2) }\n    if not training { metric calm = mean(y^2) }")
    trainer = dlc.Trainer(dlc.compile(text))
    assert list(trainer.evaluate(data)) == ["loss", "fit", "small", "calm"]
    assert list(trainer.step(data)) == ["loss", "fit", "small", "busy"]
    record = trainer.fit(data).epochs[-1]
    assert "busy" in record["train"] and "calm" in record["validation"]
