"""What a run notes of gradients and weights: the right numbers, rarely enough, and the same when it is resumed."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import dlc
import numpy as np
import pytest
from dlc.runtime import random
from dlc.runtime.callbacks import Callback, Record
from dlc.runtime.norms import APART, read
from dlc.runtime.train import Trainer

SPEC = """
model m {
    input x: float[batch, 3]
    target y: float[batch]
    param W: float[3] init zeros
    param b: float init zeros
    z = x @ W + b
    loss = mean((z - y)^2)
    output prediction = z
}
train m {
    minimize loss using adam(1e-2)
    penalty: l2(0.1) on W
    clip: global_norm(0.5)
    batch: 10
    epochs: 12
    seed: 3
}
"""


def data(rows: int = 40) -> dict[str, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(rows, 3)).astype("float32")
    return {"x": x, "y": (x @ [1.0, -2.0, 0.5] + 0.3).astype("float32")}


class Seen(Callback):
    """The parameters at the end of each epoch."""

    def __init__(self) -> None:
        self.trainer: Trainer
        self.at: dict[int, dict[str, np.ndarray]] = {}

    def on_epoch(self, record: Record) -> None:
        self.at[record["epoch"]] = dict(self.trainer.parameters)


def test_the_norms_are_those_of_the_derivative(tmp_path: Path) -> None:
    seen = Seen()
    trainer = seen.trainer = Trainer(dlc.compile(SPEC), device="cpu")
    history = trainer.fit(data(), run=tmp_path, callbacks=[seen])
    assert history.run is not None
    lines = read(history.run / "norms.jsonl")
    rows = random.permutation(40, seed=3, purpose=random.ORDER, turn=0)[:10]  # the first batch of the first epoch
    x, y = (values[rows].astype(np.float64) for values in data().values())
    for line in lines:
        w, b = (seen.at[line.epoch][name].astype(np.float64) for name in ("W", "b"))
        off = 2 * (x @ w + b - y) / 10
        hand = {"W": np.linalg.norm(x.T @ off + 0.2 * w), "b": abs(off.sum())}
        assert line.weights == pytest.approx({"W": np.linalg.norm(w), "b": abs(b)}, rel=1e-5)
        assert line.gradients == pytest.approx(hand, rel=1e-4), line.epoch
    steps = [line.step for line in lines]
    assert steps[0] == 4 and all(b - a >= min(a, APART) for a, b in pairwise(steps)) and len(steps) >= 4


def test_a_resumed_run_notes_what_the_unbroken_one_does(tmp_path: Path) -> None:
    def made(folder: str, *parts: int) -> list[str]:
        trainer = Trainer(dlc.compile(SPEC), device="cpu")
        run = trainer.fit(data(), run=tmp_path / folder, epochs=parts[0]).run
        assert run is not None
        for epochs in parts[1:]:
            trainer = Trainer.resume(run)
            trainer.fit(data(), epochs=epochs)
        return (run / "norms.jsonl").read_text().splitlines()

    assert made("a", 12) == made("b", 5, 7)


def test_a_run_notes_nothing_that_changes_it(tmp_path: Path) -> None:
    with_, without = (Trainer(dlc.compile(SPEC), device="cpu") for _ in range(2))
    with_.fit(data(), run=tmp_path)
    without.fit(data())
    for name, value in without.state.items():
        np.testing.assert_array_equal(with_.state[name], value)


def test_lines_that_are_not_whole_end_the_list(tmp_path: Path) -> None:
    path = tmp_path / "norms.jsonl"
    line = {"epoch": 1, "step": 4, "weights": {"W": 1.0}, "gradients": {}}
    path.write_text(json.dumps(line) + "\n" + json.dumps(line)[:20])
    [found] = read(path)
    assert found.weights == {"W": 1.0} and read(tmp_path / "none") == []
    path.write_text('{"epoch": "one"}\n' + json.dumps(line))
    assert read(path) == []
