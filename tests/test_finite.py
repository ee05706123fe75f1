"""What is no finite number ends training where it came up; what was good before it is kept, restored and written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest
from dlc.runtime.buffers import SMALL, is_finite
from dlc.runtime.checkpoint import Checkpoint
from hand_built import foreign

DATA = {"x": np.ones(40, np.float32), "y": np.zeros(40, np.float32)}
INFINITE_GRADIENT = """model m {
    input x: float[batch]
    param w: float init zeros
    param other: float init ones
    z = w * x
    loss = mean(sqrt(z)) + other * other
    output p = z
}
train {
    minimize loss using sgd(0.01)
    batch: 10
    epochs: 1
}
"""


def diverging(stop: str = "", rate: str = "where(step > 40, 1e6, 0.01)", epochs: int = 30) -> dlc.Program:
    """Five good epochs, then a rate that blows everything up."""
    return dlc.compile(f"""model m {{
    input  x: float[batch]
    target y: float[batch]
    param w: float init zeros
    p = w * x
    loss = squared(p, y)
    output p = p
}}
train {{
    minimize loss using sgd({rate})
    batch: 10
    epochs: {epochs}
    validate: 0.2
    {stop}
}}
""")


def line() -> dict[str, np.ndarray]:
    x = np.random.default_rng(0).normal(size=100).astype(np.float32)
    return {"x": x, "y": 2 * x}


def refused(call) -> dlc.Error:
    with pytest.raises(dlc.Error) as caught:
        call()
    assert caught.value.code == "E0670"
    return caught.value


@pytest.mark.parametrize("stop", ["stop: patience(5, on = validation.loss)", ""])
def test_a_run_that_diverges_keeps_its_best_epoch(tmp_path: Path, stop: str) -> None:
    trainer = dlc.Trainer(diverging(stop), device="cpu")
    problem = refused(lambda: trainer.fit(line(), run=tmp_path))
    (folder,) = tmp_path.iterdir()
    what = "the best epoch, 5" if stop else "the state after update 40"
    assert problem.where is not None and problem.where.endswith(":6:5")
    assert problem.notes[-2:] == (f"restored: {what}", f"written: `{folder / 'm.onnx'}`")
    w = float(trainer.parameters["w"])
    assert 1.0 < w < 1.2
    good = dlc.Trainer(diverging(stop, rate="0.01", epochs=5), device="cpu")
    good.fit(line())
    assert w == float(good.parameters["w"])
    assert w == float(dlc.Trainer(folder / "m.onnx", device="cpu").parameters["w"])
    last = Checkpoint.load(folder / "checkpoints" / "last.safetensors")
    assert not last.progress.finished and float((last.best or last.state)["w"]) == w
    again = dlc.Trainer.resume(folder, device="cpu")  # it would go on, to the same end
    refused(lambda: again.fit(line()))
    assert w == float(again.parameters["w"])


def test_within_the_first_epoch_the_state_before_the_step_stays() -> None:
    trainer = dlc.Trainer(diverging(rate="where(step > 5, 1e30, 0.01)"), device="cpu")
    refused(lambda: trainer.fit(line()))
    assert np.isfinite(trainer.parameters["w"]) and trainer.progress.step >= 5


def test_a_step_that_fails_leaves_the_state_as_it_was() -> None:
    trainer = dlc.Trainer(diverging(rate="1e6"), device="cpu", steps=100)
    data = {name: array[:10] for name, array in line().items()}
    for _ in range(100):
        before = {name: array.tobytes() for name, array in trainer.state.items()}
        step = trainer.progress.step
        try:
            trainer.step(data)
        except dlc.Error as problem:
            assert problem.code == "E0670"
            break
    else:
        pytest.fail("it must diverge")
    assert step > 1 and trainer.progress.step == step
    assert before == {name: array.tobytes() for name, array in trainer.state.items()}
    refused(lambda: trainer.step(data))  # and again: nothing has moved
    assert before == {name: array.tobytes() for name, array in trainer.state.items()}


def test_parts_that_update_one_tensor_twice_are_taken_back_too() -> None:
    data = {"features": np.ones((6, 2), np.float32), "wanted": np.ones((6, 1), np.float32)}
    trainer = dlc.Trainer(foreign(2), device="cpu")
    trainer.step(data)
    before = {name: array.tobytes() for name, array in trainer.state.items()}
    trainer.step(data)
    after = {name: array.tobytes() for name, array in trainer.state.items()}
    assert after != before
    trainer.stepper.undo()
    assert before == {name: array.tobytes() for name, array in trainer.state.items()}
    trainer.step(data)
    assert after == {name: array.tobytes() for name, array in trainer.state.items()}


@pytest.mark.parametrize("epochs", [1, 3])
def test_an_infinite_gradient_behind_a_finite_loss(tmp_path: Path, epochs: int) -> None:
    """The loss says nothing of it: the new state does, in the last update too, and nothing of NaN is written."""
    trainer = dlc.Trainer(dlc.compile(INFINITE_GRADIENT, epochs=epochs, batch=40), device="cpu")
    problem = refused(lambda: trainer.fit({"x": DATA["x"]}, run=tmp_path))
    assert problem.message == "`w` is infinite at step 1, after a finite loss"
    assert problem.where is not None and problem.where.endswith(":6:17")
    assert all(np.isfinite(array).all() for array in trainer.state.values())
    (folder,) = tmp_path.iterdir()
    for state in (
        Checkpoint.load(folder / "checkpoints" / "last.safetensors").state,
        dlc.Trainer(folder / "m.onnx", device="cpu").state,
    ):
        assert all(np.isfinite(array).all() for array in state.values())


def test_by_hand_too() -> None:
    trainer = dlc.Trainer(dlc.compile(INFINITE_GRADIENT), device="cpu")
    problem = refused(lambda: trainer.step({"x": DATA["x"]}))
    assert "`w`" in problem.message and trainer.progress.step == 0
    assert float(trainer.parameters["w"]) == 0


def test_state_that_came_to_nan_unseen_is_not_saved(tmp_path: Path) -> None:
    trainer = dlc.Trainer(diverging(rate="0.01"), device="cpu", steps=100)
    trainer.step({name: array[:10] for name, array in line().items()})
    trainer._values.write("w", np.array(np.nan, np.float32))
    with pytest.raises(dlc.Error) as caught:
        trainer.save(tmp_path / "m.onnx")
    assert caught.value.code == "E0671" and not list(tmp_path.iterdir())
    problem = refused(lambda: trainer.step({name: array[:10] for name, array in line().items()}))
    assert "`w` is NaN since an earlier update" in problem.notes


def test_what_is_infinite_to_begin_with_may_stay_so(tmp_path: Path) -> None:
    trainer = dlc.Trainer(dlc.compile(INFINITE_GRADIENT.replace("sqrt(z)", "exp(-z)")), device="cpu")
    trainer.parameters["other"] = np.array(-np.inf, np.float32)
    refused(lambda: trainer.step({"x": DATA["x"]}))  # its loss is infinite
    trainer.save(tmp_path / "m.onnx")
    assert np.isinf(dlc.Trainer(tmp_path / "m.onnx", device="cpu").parameters["other"])


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
@pytest.mark.parametrize("size", [1, 7, SMALL, SMALL + 1])
def test_each_element_decides_whether_a_tensor_is_finite(size: int, kind: str) -> None:
    good = np.ones(size, kind)
    for value in (np.finfo(kind).max, -np.finfo(kind).max, np.finfo(kind).smallest_subnormal, 0.0):
        assert is_finite(np.full(size, value, kind))  # their sum or that of their squares may not be
    for place in {0, size // 2, size - 1}:
        for value in (np.nan, np.inf, -np.inf):
            bad = good.copy()
            bad[place] = value
            assert not is_finite(bad) and not is_finite(bad.reshape(1, size)[:, ::-1])
    assert is_finite(good) and is_finite(good[:0]) and is_finite(np.zeros(size, np.int64))
    both = np.array([np.inf, -np.inf], kind)
    assert not is_finite(both) and not is_finite(both[0:1].reshape(()))


def test_a_small_tensor_takes_one_product_and_a_large_one_one_sum() -> None:
    class Summed(np.ndarray):
        times = 0

        def sum(self, *_: Any, **__: Any) -> Any:
            Summed.times += 1
            return np.asarray(self).sum()

    for size, times in ((SMALL, 0), (SMALL + 1, 1)):
        Summed.times = 0
        assert is_finite(np.ones(size, np.float32).view(Summed)) and Summed.times == times
