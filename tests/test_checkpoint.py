"""Checkpoints and run folders: a resumed run is the unbroken one bit for bit, and nothing is half-written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dlc.runtime import Callback, CompiledFile, Error, History, Trainer
from dlc.runtime.checkpoint import Checkpoint, Run
from hand_built import blobs, compiled, foreign
from safetensors.numpy import load_file, save_file

STOP = {"patience": 6, "on": "validation.loss", "mode": "min"}
FILE = CompiledFile(compiled(validate=0.2, stop=STOP, epochs=8))


class Interrupt(Callback):
    """Ctrl-C after so many updates, or another signal."""

    of_members = True

    def __init__(self, at: int, number: signal.Signals = signal.SIGINT) -> None:
        self.at, self.number = at, number

    def on_step(self, step: int, figures) -> None:
        if step == self.at:
            os.kill(os.getpid(), self.number)


def same(a: Trainer, b: Trainer) -> None:
    for name, array in a.state.items():
        assert array.tobytes() == b.state[name].tobytes(), name


def goes_on(program: object, data: object, at: int, runs: Path, *again: object, **given: Any) -> History:
    """Interrupts a run after so many updates and resumes it with `again`, else the data: it ends as the unbroken one,
    whose history this is."""
    whole, broken = (Trainer(program, device="cpu") for _ in range(2))
    history = whole.fit(data, **given)
    with pytest.raises(KeyboardInterrupt):
        broken.fit(data, run=runs, callbacks=[Interrupt(at)], **given)
    resumed = Trainer.resume(broken.run.folder)
    resumed.fit(*(again or (data,)))
    same(whole, resumed)
    return history


def records(history: History) -> list[dict]:
    return [{key: value for key, value in record.items() if key != "seconds"} for record in history.epochs]


@pytest.mark.parametrize("at", [1, 4, 5, 7, 18, 23, 39])
def test_interrupted_and_resumed_is_unbroken(tmp_path: Path, at: int) -> None:
    """5 updates an epoch: at the first, at an epoch's end, in the middle, after the best epoch."""
    data = blobs(90)
    whole = Trainer(FILE, device="cpu", seed=2)
    expected = whole.fit(data)
    with pytest.raises(KeyboardInterrupt):
        Trainer(FILE, device="cpu", seed=2).fit(data, run=tmp_path, callbacks=[Interrupt(at)])
    (folder,) = tmp_path.iterdir()
    again = Trainer.resume(folder, device="cpu")
    assert not again.finished and again.progress.step == at and again.seed == 2
    found = again.fit(data)
    same(whole, again)
    assert records(found) == records(expected)
    assert (found.best, found.stopped, found.steps) == (expected.best, expected.stopped, expected.steps)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [{k: v for k, v in line.items() if k != "seconds"} for line in lines] == records(expected)
    assert Trainer.resume(folder, device="cpu").finished


def test_more_of_a_resumed_run_is_more_of_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data, validation, batch and patience are the run's own, wherever it is resumed from."""
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", **blobs(90))
    trainer = Trainer(FILE, device="cpu")
    run = trainer.fit("data.npz", validation=0.3, epochs=2, batch=7, run=tmp_path).run
    monkeypatch.chdir("/")
    again = Trainer.resume(run, device="cpu")
    found = again.fit(epochs=3)
    assert (again.plan.data, again.plan.validate, again.plan.batch) == (str(tmp_path / "data.npz"), 0.3, 7)
    assert again.plan.stop == STOP and again.plan.rows == 63 and found.steps == 5 * 9
    whole = Trainer(FILE, device="cpu")
    whole.fit(blobs(90), validation=0.3, epochs=2, batch=7)
    whole.fit(blobs(90), validation=0.3, epochs=3, batch=7)
    same(whole, again)


def test_interrupted_twice(tmp_path: Path) -> None:
    data = blobs(90)
    whole = Trainer(FILE, device="cpu")
    whole.fit(data)
    trainer, run = Trainer(FILE, device="cpu"), tmp_path
    for at in (3, 11):
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(data, run=run, callbacks=[Interrupt(at)])
        (folder,) = tmp_path.iterdir()
        trainer, run = Trainer.resume(folder, device="cpu"), None
    trainer.fit(data)
    same(whole, trainer)


@pytest.mark.parametrize("steps", [3, 6, 7])
def test_twice_n_steps_are_two_times_n(tmp_path: Path, steps: int) -> None:
    """Also from the middle of an epoch, and through a checkpoint that stands alone."""
    data = {"features": blobs(50)["x"][:, :2], "wanted": blobs(50)["x"][:, 2:3]}
    whole, part = (Trainer(foreign(2), device="cpu", seed=1) for _ in range(2))
    whole.fit(data, steps=2 * steps, batch=12)
    part.fit(data, steps=steps, batch=12)
    part.checkpoint().save(tmp_path / "c.safetensors")
    again = Trainer.resume(tmp_path / "c.safetensors", foreign(2), device="cpu")
    again.fit(data, steps=steps, batch=12)
    part.fit(data, steps=steps, batch=12)
    same(whole, again)
    same(whole, part)


def test_a_killed_process_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    """SIGKILL in the middle: what is on disk is whole, and the resumed run ends as the unbroken one."""
    FILE.save(tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", **blobs(90))
    code = (
        "import os, signal, sys; from dlc.runtime import Callback, Trainer\n"
        "class Kill(Callback):\n"
        "    def on_step(self, step, figures):\n"
        "        if step == 17: os.kill(os.getpid(), signal.SIGKILL)\n"
        "Trainer('m.onnx', device='cpu').fit('d.npz', run='runs', callbacks=[Kill()], every=0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    assert not list(folder.rglob("*.tmp"))
    again = Trainer.resume(folder, device="cpu")
    assert 0 < again.progress.step <= 17
    again.fit()  # the data path is in the checkpoint
    whole = Trainer(FILE, device="cpu")
    whole.fit(blobs(90))
    same(whole, again)


def test_an_interrupt_in_another_thread_is_not_ours() -> None:
    found: list[History] = []
    trainer = Trainer(FILE, device="cpu")
    worker = threading.Thread(target=lambda: found.append(trainer.fit(blobs(90), epochs=1)))
    worker.start()
    worker.join()
    assert found[0].steps == 5


def test_a_container_that_is_stopped_leaves_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        Trainer(FILE, device="cpu").fit(blobs(90), run=tmp_path, callbacks=[Interrupt(7, signal.SIGTERM)])
    (folder,) = tmp_path.iterdir()
    assert Trainer.resume(folder, device="cpu").progress.step == 7


def test_signals_are_as_before_after_a_fit() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    Trainer(FILE, device="cpu").fit(blobs(90), epochs=1)
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_finished_run_has_nothing_left_and_takes_more(tmp_path: Path) -> None:
    data = blobs(90)
    first = Trainer(FILE, device="cpu")
    history = first.fit(data, run=tmp_path)
    again = Trainer.resume(history.run, device="cpu")
    same(first, again)
    assert records(again.fit(data)) == records(history) and again.progress.step == history.steps
    same(first, again)
    assert len(again.fit(data, epochs=2).epochs) == len(history.epochs) + 2


def test_more_of_a_run_that_stopped_early(tmp_path: Path) -> None:
    """Patience is counted anew, and where nothing is better the best epoch of all stays."""
    stop = {"patience": 3, "on": "validation.loss", "mode": "max"}  # the first epoch is the best
    first = Trainer(CompiledFile(compiled(validate=0.2, stop=stop, epochs=8)), device="cpu")
    history = first.fit(blobs(90), run=tmp_path)
    assert (len(history.epochs), history.best, history.stopped) == (4, 1, True)
    again = Trainer.resume(history.run, device="cpu")
    found = again.fit(blobs(90), epochs=8)
    assert (len(found.epochs), found.best, found.stopped) == (4 + 3, 1, True)
    assert again.evaluate(blobs(90)) == first.evaluate(blobs(90))


# --- the folder


def test_what_a_run_folder_holds(tmp_path: Path) -> None:
    trainer = Trainer(FILE, device="cpu", seed=11)
    history = trainer.fit(blobs(90), run=tmp_path / "deep" / "runs", epochs=2)
    folder = history.run
    assert folder is not None and folder.parent == tmp_path / "deep" / "runs"
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()) == [
        "checkpoints/last.safetensors",
        "metrics.jsonl",
        "norms.jsonl",
        "settings.json",
        "softmax.onnx",
        "spec/softmax.dl",
    ]
    settings = json.loads((folder / "settings.json").read_text())
    assert (settings["seed"], settings["device"], settings["batch"], settings["rows"]) == (11, "cpu", 16, 72)
    assert settings["train"]["epochs"] == 2 and settings["train"]["validate"] == 0.2
    assert (folder / "spec" / "softmax.dl").read_text() == "model softmax() {}\n"
    same(trainer, Trainer(folder / "softmax.onnx", device="cpu"))
    state = load_file(folder / "checkpoints" / "last.safetensors")
    assert sorted(state) == sorted(trainer.state)


def test_two_runs_in_one_second(tmp_path: Path) -> None:
    folders = [Run.create(tmp_path, FILE, {}).folder for _ in range(3)]
    assert len(set(folders)) == 3 and all(folder.name.startswith("softmax-") for folder in folders)


@pytest.mark.parametrize("name", ["../../evil.dl", "/abs/evil.dl", "a/../../evil.dl", "..\\evil.dl"])
def test_the_sources_of_a_file_stay_in_the_folder(tmp_path: Path, name: str) -> None:
    model = compiled()
    entry = next(p for p in model.metadata_props if p.key == "dlc.sources")
    entry.value = json.dumps({"main": name, "files": {name: "text"}})
    run = Run.create(tmp_path / "runs", CompiledFile(model), {})
    (found,) = tmp_path.rglob("*evil.dl")
    assert found.is_relative_to(run.folder / "spec")


def test_a_short_last_epoch_is_told_but_not_kept(tmp_path: Path) -> None:
    trainer = Trainer(FILE, device="cpu")
    history = trainer.fit(blobs(90), steps=7)
    assert [(record["epoch"], record["step"]) for record in history.epochs] == [(1, 5), (2, 7)]
    assert [record["epoch"] for record in trainer.fit(blobs(90), steps=3).epochs] == [1, 2]


# --- what is refused


def saved(tmp_path: Path) -> Path:
    trainer = Trainer(FILE, device="cpu")
    trainer.fit(blobs(90), run=tmp_path, epochs=1)
    (folder,) = tmp_path.iterdir()
    return folder


def refused(path: Path, program: object = None) -> Error:
    with pytest.raises(Error) as caught:
        Trainer.resume(path, program, device="cpu")
    return caught.value


def test_what_cannot_be_resumed(tmp_path: Path) -> None:
    assert refused(tmp_path / "none").code == "E0740"
    (tmp_path / "empty").mkdir()
    assert refused(tmp_path / "empty").code == "E0744"
    (tmp_path / "runs").mkdir()
    folder = saved(tmp_path / "runs")
    last = folder / "checkpoints" / "last.safetensors"
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(last.read_bytes())
    assert refused(alone).code == "E0744"
    assert Trainer.resume(alone, FILE, device="cpu").progress.step == 5
    for path in (folder, folder / "checkpoints", last):
        assert Trainer.resume(path, device="cpu").progress.step == 5
    last.write_bytes(last.read_bytes()[:-20])
    assert refused(folder).code == "E0740"
    last.unlink()
    assert refused(folder).code == "E0745"


def test_a_checkpoint_of_another_model(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    Trainer(FILE, device="cpu").checkpoint().save(path)
    found = refused(path, foreign())
    assert (found.code, found.notes) == (
        "E0742",
        ("the checkpoint has no `weights`, `turns`", "the model has no `W`, `b`, `key` and 5 more"),
    )
    found = refused(path, compiled(classes=5))
    assert (found.code, found.message) == ("E0743", "`W` differs between checkpoint and model")
    assert found.notes == ("checkpoint: float32 [4, 3]", "model: float32 [4, 5]")
    assert refused(path, compiled("float64")).code == "E0743"


def test_tensors_that_are_no_checkpoint_and_newer_ones(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_file({"W": np.zeros(3)}, path)
    assert refused(path, FILE).notes == ("it holds tensors, but does not say how far training had come",)
    save_file({"W": np.zeros(3)}, path, {"dlc.checkpoint": "1", "progress": "[]", "plan": "{}"})
    assert refused(path, FILE).code == "E0740"
    save_file({"W": np.zeros(3)}, path, {"dlc.checkpoint": "3"})
    assert refused(path, FILE).code == "E0741"


def test_other_data_are_refused_when_a_run_goes_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        Trainer(FILE, device="cpu").fit(blobs(90), run=tmp_path, callbacks=[Interrupt(7)])
    (folder,) = tmp_path.iterdir()
    with pytest.raises(Error) as caught:
        Trainer.resume(folder, device="cpu").fit(blobs(95))
    assert caught.value.code == "E0746"
    assert caught.value.notes == ("found 76 rows for training, the run had 72",)


def test_a_checkpoint_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.safetensors"
    trainer = Trainer(FILE, device="cpu", steps=1, observations=10)
    trainer.checkpoint().save(path)
    before = path.read_bytes()
    trainer.step(blobs(10))

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Error) as caught:
        trainer.checkpoint().save(path)
    assert caught.value.code == "E0748"
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]
    monkeypatch.undo()
    trainer.checkpoint().save(path)
    assert Checkpoint.load(path).progress.step == 1


def test_a_run_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Error) as caught:
        Trainer(FILE, device="cpu").fit(blobs(90), run=tmp_path / "file" / "runs")
    assert caught.value.code == "E0748"
