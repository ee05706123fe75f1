"""Draws of predictions and evaluations: each batch has its own, and the first those of any ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import dlc
import numpy as np
import pytest
from dlc.runtime.evaluate import LARGEST
from dlc.runtime.random import batch_key

PREDICTS = """model noise {
    input x: float[batch, 3]
    output z = x + normal_like(x)
}
"""
TRAINS = """model noise {
    input  x: float[batch, 3]
    param  W: float[3] init zeros
    z = x * W + normal_like(x)
    loss = mean(z^2)
    metric first = mean(z)
    output z = z
}
train noise {
    minimize loss using sgd(0.1)
}
"""
ROWS = 2 * LARGEST + 100
DATA = {"x": np.zeros((ROWS, 3), np.float32)}


@pytest.mark.parametrize("text", [PREDICTS, TRAINS], ids=["predicts", "trains"])
def test_no_batch_of_a_prediction_repeats_another(text: str) -> None:
    trainer = dlc.Trainer(dlc.compile(text), device="cpu", seed=5)
    z = trainer.predict(DATA)["z"]
    assert len(np.unique(z)) > 0.99 * z.size  # with one key for all batches, half as many
    assert abs(z.mean()) < 0.05 and abs(z.std() - 1) < 0.05
    again = trainer.predict(DATA)["z"]
    assert not np.any(again == z)  # each call draws anew
    other = dlc.Trainer(dlc.compile(text), device="cpu", seed=5)
    assert np.array_equal(other.predict(DATA)["z"], z) and np.array_equal(other.predict(DATA)["z"], again)
    assert np.array_equal(other.predict(DATA, seed=3)["z"], trainer.predict(DATA, seed=3)["z"])
    assert abs(np.corrcoef(z[:LARGEST].ravel(), z[LARGEST : 2 * LARGEST].ravel())[0, 1]) < 0.1


def test_the_first_batch_draws_what_a_stock_session_draws(tmp_path: Path) -> None:
    import onnxruntime

    trainer = dlc.Trainer(dlc.compile(TRAINS), device="cpu", seed=5)
    trainer.step({"x": DATA["x"][:10]})
    path = trainer.save(tmp_path / "noise.onnx")
    stock = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    [expected] = stock.run(["z"], {"x": DATA["x"][:LARGEST]})
    assert np.array_equal(trainer.predict(DATA)["z"][:LARGEST], expected)


def test_draws_follow_the_seed_and_the_steps() -> None:
    program = dlc.compile(TRAINS)
    trainers = [dlc.Trainer(program, device="cpu", seed=seed) for seed in (1, 1, 2)]
    before = [trainer.predict(DATA)["z"][-100:] for trainer in trainers]
    assert np.array_equal(before[0], before[1]) and not np.any(before[0] == before[2])
    trainers[0].step({"x": DATA["x"][:10]})
    assert not np.any(trainers[0].predict(DATA)["z"][-100:] == before[0])


def test_no_batch_of_an_evaluation_repeats_another() -> None:
    trainer = dlc.Trainer(dlc.compile(TRAINS), device="cpu", seed=5)
    one, two = (trainer.evaluate({"x": DATA["x"][:rows]})["first"] for rows in (LARGEST, 2 * LARGEST))
    assert abs(one - two) > 1e-6  # the mean of the same draws twice is their mean


def test_keys_of_batches() -> None:
    keys = [batch_key(key, row) for key in (1, 2) for row in range(0, 100_000, 100)]
    assert keys[0] == 1 and len(set(keys)) == len(keys)
