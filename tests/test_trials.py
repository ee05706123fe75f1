"""Tries before a run, the time of one, Keras' moments, histories, and data that come piece by piece."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest
from dlc.cli.app import main
from dlc.cli.trials import seconds
from dlc.runtime import Callback, Error, Trainer
from dlc.runtime.trial import dry_run, find_rate, overfit

SPEC = """model m {
    input  x: float[batch, 4]
    target y: int[batch]
    logits = x |> dense(8) |> tanh |> dense(3)
    y ~ categorical(logits = logits)
    output p = softmax(logits)
    metric accuracy = accuracy(logits, y)
}
train (lr = 1e-2) { minimize loss using adam(lr); batch: 10; epochs: 4; validate: 0.25; seed: 1 }
"""


def data(rows: int = 80) -> dict[str, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float32)
    return {"x": x, "y": np.argmax(x[:, :3], axis=1)}


def trainer(**more: Any) -> Trainer:
    return Trainer(dlc.compile(SPEC, **more), device="cpu")


class Keras:
    """An object with Keras' names and none of our classes."""

    model: Any = None

    def __init__(self, stop: str = "") -> None:
        self.told: list[tuple[Any, ...]] = []
        self.stop = stop

    def set_model(self, model: Any) -> None:
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params

    def _note(self, name: str, *given: Any) -> None:
        self.told.append((name, *given))
        if self.stop and f"{name} {given[0] if given else ''}" == self.stop:
            self.model.stop_training = True

    def on_train_begin(self, logs: Any = None) -> None:
        self._note("train begin")

    def on_train_end(self, logs: Any = None) -> None:
        self._note("train end")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._note("epoch begin", epoch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._note("epoch end", epoch)
        self.logs = logs

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._note("batch begin", batch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._note("batch end", batch)
        assert set(logs) == {"loss", "accuracy"}

    def on_test_begin(self, logs: Any = None) -> None:
        self._note("test begin")

    def on_test_end(self, logs: Any = None) -> None:
        self._note("test end")


def test_moments_come_in_the_order_of_keras() -> None:
    one, made = Keras(), trainer()
    history = made.fit(data(), callbacks=[one])
    epoch = [(kind, k) for k in range(6) for kind in ("batch begin", "batch end")]
    wanted: list[tuple[Any, ...]] = [("train begin",)]
    for k in range(4):
        wanted += [("epoch begin", k), *epoch, ("test begin",), ("test end",), ("epoch end", k)]
    assert one.told == [*wanted, ("train end",)]
    assert one.model is made and one.params == {"epochs": 4, "steps": 6, "verbose": 0}
    last = history.epochs[-1]
    assert one.logs == {**last["train"], **{f"val_{name}": value for name, value in last["validation"].items()}}
    assert made.history is history


@pytest.mark.parametrize(
    ("stop", "steps", "epochs"), [("batch end 2", 3, 1), ("epoch end 1", 12, 2), ("batch end 5", 6, 1)]
)
def test_a_callback_ends_training(stop: str, steps: int, epochs: int, tmp_path: Path) -> None:
    made = trainer()
    history = made.fit(data(), callbacks=[Keras(stop)], run=tmp_path)
    assert (history.steps, len(history.epochs), history.stopped) == (steps, epochs, True)
    again = trainer()
    again.fit(data(), steps=steps)
    for name, array in made.state.items():
        if name != "steps":
            np.testing.assert_array_equal(array, again.state[name])
    assert made.fit(data(), epochs=1).steps == steps + (6 if steps % 6 == 0 else 6 - steps % 6)


def test_both_kinds_in_one_object_and_neither() -> None:
    class Both(Callback):
        def __init__(self) -> None:
            self.seen = list[str]()

        def on_start(self, start: Any) -> None:
            self.seen.append("start")

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.seen.append(f"epoch {epoch}")

    both = Both()
    trainer().fit(data(), epochs=2, callbacks=[both])
    assert both.seen == ["start", "epoch 0", "epoch 1"]
    with pytest.raises(TypeError, match="is no callback"):
        trainer().fit(data(), callbacks=[object()])


def test_the_time_of_a_run(tmp_path: Path) -> None:
    made = trainer(epochs=1_000_000)
    before = time.monotonic()
    history = made.fit(data(), max_time=3, run=tmp_path)
    assert 2.9 < time.monotonic() - before < 30 and history.stopped and history.steps > 0
    assert Trainer(next(tmp_path.glob("*/*.onnx")), device="cpu").file.updates == history.steps
    assert [seconds(text) for text in ("90", "90s", "30m", "2h", "1d", "0.5h")] == [90, 90, 1800, 7200, 86400, 1800]
    for text in ("", "0", "soon", "-1s", "2 hours"):
        with pytest.raises(Error):
            seconds(text)


def test_a_dry_run_changes_nothing() -> None:
    made = trainer()
    before = {name: array.tobytes() for name, array in made.state.items()}
    found = dry_run(made, data())
    assert (found.rows, found.held, found.batch, found.updates) == (60, 20, 10, 24)
    assert found.seconds > 0 and set(found.figures) == {"loss", "accuracy"}
    after = {name: array.tobytes() for name, array in made.state.items()}
    assert {name for name in before if before[name] != after[name]} <= {"steps", "observations"}
    made.fit(data())
    plain = trainer()
    plain.fit(data())
    for name, array in plain.state.items():
        np.testing.assert_array_equal(array, made.state[name])


def test_one_batch_is_learned_by_heart() -> None:
    history = overfit(trainer(), 1, data(), steps=300)
    assert history.steps == 300 and history.epochs[-1]["validation"] is None
    assert history.epochs[-1]["train"]["accuracy"] == 1.0
    assert overfit(trainer(), 3, data(), steps=9).steps == 9


def test_a_learning_rate_is_found() -> None:
    found, best = find_rate(lambda rate: trainer(lr=rate), data(), updates=60)
    assert len(found) == 14 and 1e-3 < best < 1
    losses = {one.rate: one.loss for one in found}
    assert losses[best] < losses[found[0].rate]
    spec = SPEC.replace("minimize loss", "minimize loss over dense[1].b")
    with pytest.raises(Error) as caught:
        find_rate(lambda rate: Trainer(dlc.compile(spec, lr=rate * 1e-9), device="cpu"), data(), updates=5)
    assert caught.value.code == "E0696"


def test_histories_as_tables_and_curves() -> None:
    history = trainer().fit(data())
    table = history.table()
    assert [row["epoch"] for row in table] == [1, 2, 3, 4] and table[0]["train.loss"] > table[-1]["train.loss"]
    pandas = pytest.importorskip("pandas")
    frame = history.to_pandas()
    assert isinstance(frame, pandas.DataFrame) and list(frame.index) == [1, 2, 3, 4]
    assert frame["validation.accuracy"].iloc[-1] == history.epochs[-1]["validation"]["accuracy"]


def test_curves_need_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    history = trainer().fit(data())
    try:
        importlib.import_module("matplotlib").use("agg")
    except ImportError:
        with pytest.raises(Error) as caught:
            history.plot()
        assert caught.value.code == "E0695"
        return
    assert len(history.plot().axes) == 2 and len(history.plot("loss").axes[0].lines) == 2


def test_a_summary() -> None:
    text = trainer().summary()
    assert "dense[1].W" in text and "float[8, 3]" in text and "67 numbers in 4 parameters" in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_fit_in_one_line(tmp_path: Path) -> None:
    made = dlc.fit(SPEC, data(), device="cpu", lr=1e-1, run=tmp_path)
    assert made.history is not None and made.history.epochs[-1]["train"]["accuracy"] > 0.6
    assert made.predict({"x": data()["x"]})["p"].shape == (80, 3)
    assert dlc.fit(dlc.compile(SPEC), data(), device="cpu", epochs=1).history.steps == 6  # type: ignore[union-attr]


def pieces(kind: str) -> Any:
    given = data()
    batches = [{name: array[at : at + 16] for name, array in given.items()} for at in range(0, 80, 16)]
    if kind == "generator":

        def made() -> Iterator[Any]:
            yield from batches

        return made()
    if kind == "tuples":
        return [(one["x"], one["y"]) for one in batches]
    if kind == "rows":
        return [{"x": x.tolist(), "y": int(y)} for x, y in zip(given["x"], given["y"], strict=True)]
    torch = pytest.importorskip("torch")
    held = torch.utils.data.TensorDataset(torch.tensor(given["x"]), torch.tensor(given["y"]))
    return held if kind == "data set" else torch.utils.data.DataLoader(held, batch_size=16)


@pytest.mark.parametrize("kind", ["generator", "tuples", "rows", "data set", "loader"])
def test_data_in_pieces(kind: str) -> None:
    made, plain = trainer(), trainer()
    made.fit(pieces(kind))
    plain.fit(data())
    for name, array in plain.state.items():
        np.testing.assert_array_equal(array, made.state[name])


def test_pieces_that_do_not_fit() -> None:
    for given, code in (
        ([(1, 2, 3)], "E0603"),
        ([], "E0618"),
        ([{"x": np.ones((2, 3))}, {"x": np.ones((2, 4))}], "E0626"),
    ):
        with pytest.raises(Error) as caught:
            trainer().fit(given)
        assert caught.value.code == code


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = tmp_path / "m.dl"
    spec.write_text(SPEC.replace("seed: 1", 'seed: 1; data: "d.npz"'))
    np.savez(tmp_path / "d.npz", **data())  # type: ignore[arg-type]
    runs = ["--runs", str(tmp_path / "runs"), "--device", "cpu"]
    assert main(["train", str(spec), "--dry-run", *runs]) == 0
    assert "24 updates" in capsys.readouterr().out
    assert main(["train", str(spec), "--overfit", "1", "--steps", "200", "--json", *runs]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["steps"] == 200 and last["last"]["loss"] < last["first"]["loss"]
    assert main(["train", str(spec), "--find-lr", "--json", *runs]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(found["rates"]) == 14 and math.isfinite(found["suggested"])
    assert main(["train", str(spec), "--find-lr", *runs]) == 0
    lines = capsys.readouterr().out.splitlines()
    [best] = [line for line in lines if "<- suggested" in line]
    assert lines[0].split() == ["lr", "loss"] and lines[-1] == f"suggested: --set lr={float(best.split()[0]):.3g}"
    assert not (tmp_path / "runs").exists()
    assert main(["train", str(spec), "--max-time", "1h", "--quiet", *runs]) == 0
    assert len(list((tmp_path / "runs").iterdir())) == 1
    capsys.readouterr()
    for wrong in (["--max-time", "soon"], ["--dry-run", "--find-lr"], ["--overfit", "0"]):
        assert main(["train", str(spec), *wrong, *runs]) == 2
        assert "E0790" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--overfit", "1", "--steps", "60"], ["--find-lr"], ["--dry-run"]])
def test_tries_of_a_spec_that_stops_on_its_validation_rows(words: list[str], tmp_path: Path) -> None:
    """`stop:` is for a run: a try has no rows to validate on."""
    specs = Path(__file__).parent.parent / "specs"
    assert main(["train", str(specs / "digits.dl"), *words, "--runs", str(tmp_path)]) == 0
    assert not list(tmp_path.iterdir())
