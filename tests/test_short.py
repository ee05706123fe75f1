"""The seven short specs: as long as the page says, no longer than Keras, and trained to what they are about."""

from __future__ import annotations

import re

import dlc
import numpy as np
import pytest
from dlc.cli import main
from short import PAGE, SPECS, lines, texts

# Of each spec how many epochs reach which figure.
REACHED = {
    "cnn": (6, "accuracy", 0.93),
    "tagger": (12, "accuracy", 0.93),
    "characters": (10, "accuracy", 0.4),
    "recommender": (12, "rmse", 0.5),
    "rare": (12, "accuracy", 0.85),
    "inverse": (20, "loss", -0.45),
    "vae": (15, "loss", 20),
}


def trained(name: str, epochs: int, **settings: object) -> tuple[dlc.Trainer, dict[str, float]]:
    trainer = dlc.Trainer(dlc.compile(SPECS / f"{name}.dl", set=settings), device="cpu", seed=2)
    history = trainer.fit(epochs=epochs, validation=0.2)
    return trainer, history.epochs[-1]["validation"]


def test_no_spec_is_longer_than_in_keras() -> None:
    said = {
        name: (int(ours), int(theirs))
        for name, ours, theirs in re.findall(r"^\| `(\w+)\.dl` \| (\d+) \| (\d+) \|", PAGE, re.M)
    }
    counted = {name: (lines((SPECS / f"{name}.dl").read_text("utf-8")), lines(text)) for name, text in texts().items()}
    assert said == counted and counted.keys() == REACHED.keys()
    assert all(ours <= theirs for ours, theirs in counted.values())


@pytest.mark.parametrize("name", REACHED)
def test_it_learns(name: str) -> None:
    epochs, figure, wanted = REACHED[name]
    reached = trained(name, epochs)[1][figure]
    assert reached >= wanted if figure == "accuracy" else reached <= wanted


@pytest.mark.parametrize("name", REACHED)
def test_what_is_supplied_is_told(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The page shows it of one."""
    assert main(["check", str(SPECS / f"{name}.dl")]) == 0
    said = capsys.readouterr().out
    assert "stop: patience(5, on = validation.loss)" in said
    assert ("supplied: output" in said) != (name == "vae")  # which states its outputs
    if name == "cnn":
        assert said.replace(str(SPECS), "specs") in PAGE


def test_classes_that_weigh_alike_are_found() -> None:
    with np.load(SPECS / "data" / "rare.npz") as data:
        x, y = data["x"], data["y"]
    found = [
        (trained("rare", 12, class_weights=weights)[0].predict({"x": x})["probability"].argmax(1)[y == 1]).mean()
        for weights in ("balanced", None)
    ]
    assert found[0] > 0.9 > found[1] + 0.1
