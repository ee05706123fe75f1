"""Runs of another build of dlc, and files that do not belong to a run: what continues continues right, the rest is
refused by name of what differs.

`older_run.zip` was made by the build of commit a2fa1cc (checkpoints of version 1, files without a checksum): a run
that was stopped after 6 of its 16 updates, its data, and the state and predictions at which that build itself arrived.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import dlc
import numpy as np
import pytest
from dlc.cli import main
from dlc.runtime import CompiledFile, Error, Trainer, origin
from dlc.runtime.checkpoint import VERSION, Checkpoint
from hand_built import foreign
from safetensors import safe_open
from safetensors.numpy import save_file

ZIP = Path(__file__).parent / "older_run.zip"
LAST = Path("checkpoints") / "last.safetensors"


@pytest.fixture
def older(tmp_path: Path) -> Path:
    with zipfile.ZipFile(ZIP) as held:
        held.extractall(tmp_path)
    return tmp_path


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as held:
        return dict(held)


def finished(run: Path, folder: Path, program: object = None) -> None:
    """The run continues to where the older build arrived."""
    trainer = Trainer.resume(run, program, device="cpu")
    data, wanted = arrays(folder / "data.npz"), arrays(folder / "end.npz")
    trainer.fit(data)
    assert trainer.finished
    assert trainer.progress.step == 16
    np.testing.assert_allclose(trainer.predict(data)["probability"], wanted.pop("probability"), atol=1e-6)
    assert trainer.state.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(trainer.state[name], value, atol=1e-6, err_msg=name)


def compiled(folder: Path, before: str = "", after: str = "", **given: object) -> Path:
    """The spec of the run, or that with a change, compiled today in the place of its file."""
    text = (folder / "run" / "spec" / "older.dl").read_text("utf-8")
    assert before in text
    (folder / "older.dl").write_text(text.replace(before, after), "utf-8")
    dlc.compile(folder / "older.dl", **given).save(folder / "run" / "older.onnx")
    return folder / "run"


def refused(run: Path) -> Error:
    with pytest.raises(Error) as caught:
        Trainer.resume(run, device="cpu")
    return caught.value


def test_an_older_run_continues(older: Path) -> None:
    finished(older / "run", older)


def test_a_run_continues_in_a_file_that_is_compiled_again(older: Path) -> None:
    """By the build that made the run: of another one the library may mean something else, as here the schedule does."""
    parted = older / "parted"
    Trainer(dlc.compile(older / "run" / "spec" / "older.dl"), device="cpu").fit(arrays(older / "data.npz"), run=parted)
    [run] = parted.iterdir()
    before = Trainer.resume(run, device="cpu").state
    dlc.compile(older / "run" / "spec" / "older.dl").save(run / "older.onnx")
    again = Trainer.resume(run, device="cpu").state
    assert all(again[name].tobytes() == before[name].tobytes() for name in before)
    problem = refused(compiled(older))
    assert problem.code == "E0742"
    assert problem.notes[0].startswith("the text of `std/layers.dl`, ")


@pytest.mark.parametrize("command", ["evaluate", "predict", "export"])
def test_commands_take_an_older_run(older: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    data = ["--data", str(older / "data.npz")]
    more = {"evaluate": data, "predict": data, "export": ["--inference", "-o", str(older / "small.onnx")]}
    assert main([command, str(older / "run"), *more[command]]) == 0
    assert "its best epoch so far, 1, is used" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("before", "after", "given", "notes"),
    [
        ("tanh", "relu", {}, ("the text of `older.dl` is different",)),
        ("", "", {"hidden": 4}, ("`hidden` is 4, was 3",)),
        ("", "", {"lr": 0.1}, ("`lr` is 0.1, was 0.05",)),
    ],
)
def test_another_file_in_the_folder_is_refused(
    older: Path,
    capsys: pytest.CaptureFixture[str],
    before: str,
    after: str,
    given: dict[str, object],
    notes: tuple[str, ...],
) -> None:
    """Names of the state fit, and shapes may."""
    program = dlc.compile(older / "run" / "spec" / "older.dl")
    Trainer(program, device="cpu").fit(arrays(older / "data.npz"), run=older / "runs")
    shutil.rmtree(older / "run")
    [run] = (older / "runs").iterdir()
    run.rename(older / "run")
    file = compiled(older, before, after, **given) / "older.onnx"
    problem = refused(older / "run")
    assert (problem.code, problem.message) == ("E0742", f"`{file}` is not the file that this run trained")
    assert problem.notes == notes
    for command in ("predict --data data.npz", "evaluate --data data.npz", "export --inference -o n.onnx"):
        name, *words = [str(older / word) if ".n" in word or ".onnx" in word else word for word in command.split()]
        assert main([name, str(older / "run"), *words]) == 2
        assert "error[E0742]" in capsys.readouterr().err
    assert not (older / "n.onnx").exists()


def test_changes_in_the_folder_of_sources_are_nothing(older: Path) -> None:
    """Where the checkpoint says which file was trained."""
    finished(older / "run", older)
    source = older / "run" / "spec" / "older.dl"
    source.write_text("# nothing\n" + source.read_text("utf-8"), "utf-8")
    assert Trainer.resume(older / "run", device="cpu").progress.step == 16


def test_another_program_is_taken_where_it_is_given(older: Path) -> None:
    file = compiled(older, "tanh", "relu") / "older.onnx"
    trainer = Trainer.resume(older / "run", file, device="cpu")
    trainer.fit(arrays(older / "data.npz"))
    assert Trainer.resume(older / "run", device="cpu").progress.step == 16  # from then on it is the run's own


def test_without_a_folder_of_sources_nothing_is_known_of_an_older_run(older: Path) -> None:
    shutil.rmtree(older / "run" / "spec")
    finished(older / "run", older)


def test_a_source_of_an_unusual_name_says_nothing(tmp_path: Path) -> None:
    """Each build writes those in a place of its own."""
    (tmp_path / "spec").mkdir()
    program = dlc.compile("model m {\n input x: float[batch]; output y = 2 * x }")
    model = program.model_proto()
    said = next(entry for entry in model.metadata_props if entry.key == "dlc.sources")
    told = json.loads(said.value)
    for name, notes in (("<text>", []), ("other.dl", ["the text of `other.dl` is different"])):
        said.value = json.dumps({**told, "files": {name: "model m { }"}})
        assert origin.changes(CompiledFile(model, "m.onnx", check=False), "", "{}", tmp_path / "spec") == notes


def test_a_file_without_a_spec_is_known_by_its_graphs(tmp_path: Path) -> None:
    trainer = Trainer(foreign(), device="cpu")
    other = foreign()
    other.graph.node[0].name = "unlike"  # which is no part of what a graph is
    assert trainer.checkpoint().origin == Trainer(other, device="cpu").checkpoint().origin
    assert other.training_info[0].algorithm.node[7].op_type == "Gemm"
    next(one for one in other.training_info[0].algorithm.node[7].attribute if one.name == "alpha").f = -0.3
    assert trainer.checkpoint().origin != Trainer(other, device="cpu").checkpoint().origin


def test_readers_of_version_1_refuse_by_the_version(older: Path, tmp_path: Path) -> None:
    """A checkpoint of today has fields that they do not know: they look at the version first, and say to install a
    newer dlc. So does this one of what comes after it."""
    finished(older / "run", older)
    with safe_open(str(older / "run" / LAST), framework="numpy") as held:
        told = held.metadata()
    assert told["dlc.checkpoint"] == str(VERSION) == "2"
    save_file({"W": np.zeros(3)}, tmp_path / "c.safetensors", {"dlc.checkpoint": str(VERSION + 1)})
    with pytest.raises(Error) as caught:
        Checkpoint.load(tmp_path / "c.safetensors")
    assert caught.value.code == "E0741"
