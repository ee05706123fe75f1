"""Run folders under disturbance: which state they mean, who may train in them, and what a kill leaves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dlc.cli import main
from dlc.runtime import Callback, CompiledFile, Error, Trainer, lock as locks
from dlc.runtime.checkpoint import Checkpoint, Run
from hand_built import blobs, compiled
from test_checkpoint import FILE, Interrupt, same

WITHOUT_STOP = CompiledFile(compiled(epochs=8))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    np.savez(tmp_path / "d.npz", **blobs(90))
    return tmp_path / "d.npz"


def stopped(tmp_path: Path, data: Path, at: int, file: CompiledFile = FILE) -> Path:
    with pytest.raises(KeyboardInterrupt):
        Trainer(file, device="cpu").fit(data, run=tmp_path / "runs", callbacks=[Interrupt(at)])
    (folder,) = (tmp_path / "runs").iterdir()
    return folder


def refused(call) -> Error:
    with pytest.raises(Error) as caught:
        call()
    return caught.value


# --- which state a folder means


@pytest.mark.parametrize("command", ["evaluate", "predict", "export"])
def test_a_stopped_run_means_its_best_epoch(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    folder = stopped(tmp_path, data, 23)
    found = Checkpoint.load(folder / "checkpoints" / "last.safetensors")
    assert found.best is not None
    best = Trainer(FILE, device="cpu", start="file")
    best._values.restore(found.best)
    arguments = {
        "evaluate": ["--data", str(data), "--json"],
        "predict": ["--data", str(data), "--json"],
        "export": ["--inference", "-o", str(tmp_path / "small.onnx")],
    }
    assert main([command, str(folder), *arguments[command]]) == 0
    out, err = capsys.readouterr()
    assert f"the run is not finished: its best epoch so far, {found.progress.best}, is used" in err
    assert f"dlc train --resume {folder}" in err
    if command == "evaluate":
        assert json.loads(out) == best.evaluate(data)
    if command == "predict":
        np.testing.assert_allclose(json.loads(out)["probability"], best.predict(data)["probability"], rtol=1e-6)
    if command == "export":
        held = Trainer(tmp_path / "small.onnx", device="cpu")
        np.testing.assert_array_equal(held.predict(data)["probability"], best.predict(data)["probability"])


def test_without_a_best_epoch_it_means_the_last_checkpoint(tmp_path: Path, data: Path) -> None:
    folder = stopped(tmp_path, data, 23, WITHOUT_STOP)
    file, said = Run(folder).trained()
    assert said is not None and "its checkpoint after update 23 is used" in said
    state = Checkpoint.load(folder / "checkpoints" / "last.safetensors").state
    assert all(array.tobytes() == state[name].tobytes() for name, array in file.values().items())
    assert file.updates == 23


def test_a_finished_run_means_its_file(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = Trainer(FILE, device="cpu")
    folder = trainer.fit(data, run=tmp_path / "runs").run
    assert folder is not None
    file, said = Run(folder).trained()
    assert said is None and file.updates == trainer.progress.step
    assert main(["evaluate", str(folder), "--data", str(data)]) == 0
    assert capsys.readouterr().err == ""
    shutil.rmtree(folder / "checkpoints")  # to save room
    file, said = Run(folder).trained()
    assert said is not None and "has no checkpoint" in said and file.updates == trainer.progress.step


def test_a_run_that_has_trained_nothing_is_refused(tmp_path: Path, data: Path) -> None:
    class Killed(Callback):
        def on_start(self, start: object) -> None:
            raise SystemExit

    with pytest.raises(SystemExit):
        Trainer(FILE, device="cpu").fit(data, run=tmp_path / "runs", callbacks=[Killed()])
    (folder,) = (tmp_path / "runs").iterdir()
    assert refused(lambda: Run(folder).trained()).code == "E0745"
    assert main(["evaluate", str(folder), "--data", str(data)]) == 2
    again, whole = Trainer.resume(folder, device="cpu"), Trainer(FILE, device="cpu")
    again.fit()  # begins anew in the folder
    whole.fit(data)
    same(whole, again)
    assert Run(folder).trained()[1] is None


def test_a_finished_run_whose_file_was_not_written(tmp_path: Path, data: Path) -> None:
    """A full disk between finished checkpoint and .onnx: the checkpoint counts, and resuming writes the file."""
    trainer = Trainer(FILE, device="cpu")
    folder = trainer.fit(data, run=tmp_path / "runs").run
    assert folder is not None
    wanted = (folder / "softmax.onnx").read_bytes()
    FILE.save(folder / "softmax.onnx")
    file, said = Run(folder).trained()
    assert said is not None and "was not written when the run ended" in said
    assert all(array.tobytes() == trainer.state[name].tobytes() for name, array in file.values().items())
    assert main(["train", "--resume", str(folder)]) == 0
    assert (folder / "softmax.onnx").read_bytes() == wanted
    assert Run(folder).trained()[1] is None


def test_a_model_and_data_torn_by_a_kill_are_completed(tmp_path: Path, data: Path) -> None:
    trainer = Trainer(CompiledFile(compiled(classes=400, epochs=2)), device="cpu")
    folder = trainer.fit(data, run=tmp_path / "runs").run
    assert folder is not None
    start = CompiledFile(compiled(classes=400, epochs=2))
    start.save(folder / "softmax.onnx", threshold=1000)
    model = (folder / "softmax.onnx").read_bytes()
    start.save(folder / "softmax.onnx", trainer._values.snapshot(), trained=trainer.progress.step, threshold=1000)
    (folder / "softmax.onnx").write_bytes(model)  # the data are new, the model is old
    assert refused(lambda: CompiledFile.load(folder / "softmax.onnx")).code == "E0756"
    Trainer.resume(folder, device="cpu").fit()
    same(trainer, Trainer(folder / "softmax.onnx", device="cpu"))


# --- who may train in it


def test_one_process_trains_in_a_folder(tmp_path: Path, data: Path) -> None:
    folder = stopped(tmp_path, data, 7)
    with locks.alone(folder):
        assert refused(lambda: Trainer.resume(folder, device="cpu").fit()).code == "E0757"
        assert main(["train", "--resume", str(folder)]) == 2
    first, late = Trainer.resume(folder, device="cpu"), Trainer.resume(folder, device="cpu")
    first.fit()
    assert refused(lambda: late.fit()).code == "E0757"  # it would put back what it read
    Trainer.resume(folder, device="cpu").fit()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")
def test_a_lock_goes_with_its_process(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        held = locks.alone(tmp_path)
        held.__enter__()
        os._exit(0 if not locks.free(tmp_path) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with locks.alone(tmp_path):
        pass


def test_a_run_goes_on_with_the_same_data_only(tmp_path: Path, data: Path) -> None:
    folder = stopped(tmp_path, data, 7)
    for name in ("x", "y"):
        other = blobs(90)
        other[name] = np.roll(other[name], 1, 0)
        problem = refused(lambda other=other: Trainer.resume(folder, device="cpu").fit(other))
        assert problem.code == "E0746" and "different values" in problem.notes[0]
    np.savez(data, **{name: array.copy(order="F") for name, array in blobs(90).items()})
    Trainer.resume(folder, device="cpu").fit()


def test_a_run_keeps_its_number_of_threads(tmp_path: Path, data: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        Trainer(FILE, device="cpu", threads=3).fit(data, run=tmp_path / "runs", callbacks=[Interrupt(7)])
    (folder,) = (tmp_path / "runs").iterdir()
    assert Trainer.resume(folder, device="cpu")._how.threads == 3
    assert Trainer.resume(folder, device="cpu", threads=2)._how.threads == 2


# --- what a kill leaves; tests/crashes.py does it at every write


def test_what_killed_processes_leave_goes(tmp_path: Path, data: Path) -> None:
    folder = stopped(tmp_path, data, 7)
    for left in (folder / ".softmax.onnx.abc.tmp", folder / "checkpoints" / ".last.safetensors.abc.tmp"):
        left.write_bytes(b"half")
    unfinished = folder.parent / ".softmax-20260101-000000.abc.tmp"
    (unfinished / "checkpoints").mkdir(parents=True)
    (folder.parent / ".mine.tmp").mkdir()
    Trainer.resume(folder, device="cpu").fit()
    assert not list(folder.rglob("*.tmp"))
    with locks.alone(unfinished):  # another process is making it
        Trainer(FILE, device="cpu").fit(data, epochs=1, run=folder.parent)
        assert unfinished.exists()
    Trainer(FILE, device="cpu").fit(data, epochs=1, run=folder.parent)
    assert not unfinished.exists() and (folder.parent / ".mine.tmp").exists()


def test_a_folder_that_a_kill_kept_from_its_name(tmp_path: Path, data: Path) -> None:
    folder = stopped(tmp_path, data, 7)
    hidden = folder.rename(folder.parent / f".{folder.name}.abc.tmp")
    again = Trainer.resume(hidden, device="cpu")
    assert again.run is not None and again.run.folder == folder and not hidden.exists()
    again.fit()
    hidden.mkdir()
    assert refused(lambda: Trainer.resume(hidden, device="cpu")).code == "E0744" and not hidden.exists()


SPACE = ("unshare", "--user", "--map-root-user", "--mount")  # a file system of one's own


def campaign(*words: str) -> dict[str, int]:
    """tests/crashes.py, in a process without threads of ours, as it forks."""
    script = Path(__file__).parent / "crashes.py"
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, timeout=3000, check=False)
    assert done.returncode == 0, done.stderr
    return {name: int(count) for name, count in (part.rsplit(": ", 1) for part in done.stdout.strip().split(", "))}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")
@pytest.mark.parametrize("trials", [6, pytest.param(200, marks=pytest.mark.long)])
def test_kills_at_random_moments(trials: int) -> None:
    seen = campaign("kills", str(trials))
    assert seen["same bytes"] == trials and seen["killed in a run folder"] > 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")
@pytest.mark.parametrize("trials", [6, pytest.param(500, marks=pytest.mark.long)])
def test_kills_within_saves(trials: int) -> None:
    seen = campaign("digits", str(trials))
    assert seen["same bytes"] == trials
    assert seen["killed within a save"] >= (0.4 * trials if trials > 100 else 1)  # unless they have ended


def test_a_disk_that_is_full_at_each_page_written() -> None:
    """A real one, of 2 MB. The error says where and how much room there is; what stood there resumes to the same."""
    try:
        done = subprocess.run([*SPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False)
    except OSError:
        pytest.skip("no `unshare` here")
    if done.returncode:
        pytest.skip("no file system can be mounted here")
    seen = campaign("disk")
    assert seen["same bytes"] == seen["trials"] == seen["ended with 2"] + 1 > 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")
@pytest.mark.parametrize("share", [79, pytest.param(1, marks=pytest.mark.long)])
def test_faults_at_writes(share: int) -> None:
    seen = campaign("faults", str(share))
    assert seen["same bytes"] == seen["trials"] > 8
    assert seen["ended with -9"] > 2 and seen["ended with 2"] > 0
