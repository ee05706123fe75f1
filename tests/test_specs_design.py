"""The specs that the language was designed from: each trains, or is refused by a diagnostic with the word it lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest

FOLDER = Path(__file__).parent / "specs_design"
UPDATES, ROWS = 20, 8
RNG = np.random.default_rng(0)


def pictures(size: int, classes: int) -> dict[str, Any]:
    return {"x": RNG.normal(0, 1, (ROWS, 3, size, size)), "y": RNG.integers(0, classes, ROWS)}


# Small hyperparameters, and data that fit. The rate of resnet18 is for batches of 256: on four rows it blew up, or not,
# by how products were rounded.
SMALL: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "bigru_tagger": (
        {"vocabulary": 12, "tags": 3, "width": 4, "hidden": 5},
        {
            "words": RNG.integers(0, 12, (ROWS, 6)),
            "lengths": RNG.integers(1, 7, ROWS),
            "y": RNG.integers(0, 3, (ROWS, 6)),
        },
    ),
    "contractive": ({"hidden": 3}, {"x": RNG.uniform(0, 1, (ROWS, 784)).round()}),
    "gpt2": (
        {"vocabulary": 11, "context": 8, "width": 8, "layers": 2, "heads": 2},
        {"tokens": RNG.integers(0, 11, (ROWS, 8))},
    ),
    "lbfgs": ({}, {"x": RNG.normal(0, 1, (ROWS, 8)), "y": RNG.normal(0, 1, ROWS)}),
    "norms": ({"classes": 3}, pictures(32, 3)),
    "optimizers": ({"hidden": 4}, {"x": RNG.normal(0, 1, (ROWS, 64)), "y": RNG.integers(0, 10, ROWS)}),
    "resnet18": ({"classes": 7, "lr": 0.01}, {"image" if k == "x" else k: v for k, v in pictures(32, 7).items()}),
    "vae": ({"hidden": 6, "latent": 2}, {"x": RNG.uniform(0, 1, (ROWS, 784)).round()}),
}
# What the specs that do not compile yet lack: the code of the diagnostic, and the word in it.
LACKING: dict[str, tuple[str, str]] = {}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.dl")), ids=lambda path: path.stem)
def test_it_trains_or_says_what_it_lacks(path):
    hyperparameters, data = SMALL[path.stem]
    text = path.read_text("utf-8").replace("224, 224", "32, 32")  # pictures of a size that a test can afford
    for divisor in ("dot(p, Hp)", "dot(r, r)"):  # conjugate gradients that have converged would divide by 0
        text = text.replace(f"/ {divisor}", f"/ maximum({divisor}, 1e-30)")
    text = text.replace("lr = 1.0, damping = 1e-3", "lr = 0.1, damping = 0.1")  # the curvature is that of four rows
    try:
        # Of eight rows none are left out: the best epoch by two of them would be kept, not the last.
        program = dlc.compile(text, set={**hyperparameters, "batch": 4, "validate": None})
    except dlc.Error as problem:
        assert path.stem in LACKING, problem.render()
        code, word = LACKING[path.stem]
        assert code in [diagnostic.code for diagnostic in problem.diagnostics] and word in problem.render()
        return
    assert path.stem not in LACKING
    trainer = dlc.Trainer(program, device="cpu", seed=0)
    before = {name: trainer.parameters[name].copy() for name in trainer.parameters}
    began = trainer.evaluate(data)["loss"]
    history = trainer.fit(data, steps=UPDATES)
    assert int(trainer.state["step"]) == UPDATES
    assert all(np.isfinite(record["train"]["loss"]) for record in history.epochs)
    # It learned: seen without the noise of dropout, or with the statistics of the batch where running ones lag behind.
    first, last = (history.epochs[at]["train"]["loss"] for at in (0, -1))
    assert trainer.evaluate(data)["loss"] < began or last < first
    still = [name for name, value in before.items() if np.array_equal(value, trainer.parameters[name])]
    assert not still, f"these did not move: {still}"
