"""A loop of `trainer.step`: what it knows of the run that it is part of, and that one thread makes it."""

from __future__ import annotations

import threading
from pathlib import Path

import dlc
import numpy as np
import pytest

SPEC = """model m {
    input  x: float[batch, 3]
    target y: float[batch]
    param w: float[3] ~ normal(0, 1) init zeros
    y ~ normal(x @ w, 1)
    output p = x @ w
}
train m(lr = 0.1) {
    minimize loss using sgd(cosine(lr, over = steps))
    SETTINGS
}
"""
ROWS = 100


def rows(count: int = ROWS) -> dict[str, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(count, 3))
    return {"x": x, "y": x @ [1.0, -2.0, 3.0]}


def program(settings: str = "", folder: Path | None = None) -> dlc.Program:
    text = SPEC.replace("SETTINGS", settings)
    if folder is None:
        return dlc.compile(text, precision="float64")
    (folder / "m.dl").write_text(text, encoding="utf-8")
    return dlc.compile(folder / "m.dl", precision="float64")


def loop(trainer: dlc.Trainer, epochs: int = 3, batch: int = 32) -> dlc.Trainer:
    from dlc.runtime.data import ArraySource

    columns = trainer.columns(rows(), trainer.inputs)
    for epoch in range(epochs):
        for part in ArraySource(columns, batch, trainer.seed).batches(epoch):
            trainer.step(part.arrays)
    return trainer


def plan(trainer: dlc.Trainer) -> tuple[int, int]:
    return int(trainer.state["steps"]), int(trainer.state["observations"])


@pytest.mark.parametrize("said", ["given", "settings", "data", "validate", "rows", "all"])
def test_a_loop_by_hand_is_the_fit_it_stands_for(said: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", **rows())
    made = {
        "given": lambda: dlc.Trainer(program(), steps=12, observations=ROWS),
        "settings": lambda: dlc.Trainer(program("steps: 12"), observations=ROWS),
        "data": lambda: dlc.Trainer(program('epochs: 3; data: "d.npz"', tmp_path)),
        "validate": lambda: dlc.Trainer(program('epochs: 4; data: "d.npz"; validate: 0.2', tmp_path)),
        "rows": lambda: dlc.Trainer(program("epochs: 3"), observations=ROWS),
        "all": lambda: dlc.Trainer(program("epochs: 12; batch: all")),
    }[said]()
    if said == "all":
        for _ in range(12):
            made.step(rows())
        assert plan(made) == (12, ROWS)
        fitted = dlc.Trainer(program("epochs: 12; batch: all"))
        fitted.fit(rows())
    else:
        loop(made)
        assert plan(made) == (12, 80 if said == "validate" else ROWS)
        fitted = dlc.Trainer(program())
        fitted.fit(rows(), epochs=3)
    if said != "validate":  # there the prior weighs more: there are fewer rows
        np.testing.assert_allclose(made.parameters["w"], fitted.parameters["w"], rtol=1e-12)


@pytest.mark.parametrize("settings", ["", "epochs: 3", 'epochs: 3; data: "nowhere.npz"', "steps: 12"])
def test_a_plan_that_nothing_says_is_refused_before_anything_moves(settings: str) -> None:
    trainer = dlc.Trainer(program(settings))
    with pytest.raises(dlc.Error) as caught:
        trainer.step(rows())
    assert caught.value.code == "E0633"
    assert "steps" in str(caught.value) and "observations=" in str(caught.value)
    assert not trainer.parameters["w"].any() and int(trainer.state["step"]) == 0


def test_an_evaluation_that_reads_the_plan_needs_it_too() -> None:
    text = SPEC.replace("SETTINGS", "").replace("output p", "loss = sum(w^2) / observations\n    output p")
    with pytest.raises(dlc.Error) as caught:
        dlc.Trainer(dlc.compile(text)).evaluate(rows())
    assert caught.value.code == "E0633"
    assert np.isfinite(dlc.Trainer(dlc.compile(text), observations=ROWS).evaluate(rows())["loss"])


def test_what_was_assigned_or_saved_is_the_plan(tmp_path: Path) -> None:
    trainer = dlc.Trainer(program())
    trainer.state["steps"], trainer.state["observations"] = 9, 5
    trainer.step(rows())
    assert plan(trainer) == (9, 5)
    trainer.save(tmp_path / "m.onnx")
    again = dlc.Trainer(tmp_path / "m.onnx")
    again.step(rows())
    assert plan(again) == (9, 5)


@pytest.mark.parametrize("given", [{"steps": 0}, {"observations": -1}, {"steps": 2.5}])
def test_a_plan_is_whole_numbers_above_zero(given: dict[str, object]) -> None:
    with pytest.raises(dlc.Error) as caught:
        dlc.Trainer(program(), **given)  # type: ignore[arg-type]
    assert caught.value.code == "E0625"


WIDE = """model m {
    input x: float[batch]
    param w: float[1000] init zeros
    loss = mean(x * sum(w))
    output o = x * 1
}
train { minimize loss using sgd(1.0); batch: 1 }
"""


def test_no_update_is_lost_between_threads() -> None:
    """Each step is done or refused: what was done adds up."""
    trainer = dlc.Trainer(dlc.compile(WIDE, precision="float64"))
    done, refused = [0, 0, 0], [0, 0, 0]

    def steps(i: int) -> None:
        while done[i] < 300 and refused[i] < 10**6:
            try:
                trainer.step({"x": np.array([10.0**i])})
                done[i] += 1
            except dlc.Error as problem:
                assert problem.code == "E0634"
                refused[i] += 1

    threads = [threading.Thread(target=steps, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trainer.parameters["w"][0] == -sum(count * 10**i for i, count in enumerate(done))
    assert int(trainer.state["step"]) == sum(done)


def test_while_one_thread_fits_no_other_steps_assigns_or_saves(tmp_path: Path) -> None:
    trainer = dlc.Trainer(dlc.compile(WIDE))
    found: list[str] = []

    def other() -> None:
        for action in (
            lambda: trainer.step({"x": np.ones(1)}),
            lambda: trainer.save(tmp_path / "m.onnx"),
            lambda: trainer.parameters.__setitem__("w", np.ones(1000)),
            lambda: trainer.fit({"x": [1.0]}),
        ):
            try:
                action()
            except dlc.Error as problem:
                found.append(problem.code)

    class Meanwhile(dlc.runtime.Callback):
        def on_step(self, step: int, figures: object) -> None:
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
            trainer.parameters["w"] = np.zeros(1000)  # the thread that trains may

    trainer.fit({"x": [1.0]}, steps=1, callbacks=[Meanwhile()])
    assert found == ["E0634"] * 4
    assert not trainer.parameters["w"].any()
