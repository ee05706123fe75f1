"""Damage to a file is seen when it is read; what other tools do to one without changing what it says is no damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from damage import flipped
from dlc.cli import main
from dlc.runtime import CompiledFile, Error, Trainer
from dlc.runtime.checkpoint import Checkpoint
from hand_built import blobs, compiled
from onnx import numpy_helper
from safetensors.numpy import load_file, save_file

FILE = CompiledFile(compiled())


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    trainer = Trainer(FILE, device="cpu", steps=9, observations=20)
    trainer.step(blobs(20))
    trainer.save(path)
    return path


def code(path: Path) -> str | None:
    try:
        CompiledFile.load(path)
    except Error as problem:
        return problem.code
    return None


def again(path: Path, change) -> Path:
    """The file loaded by the ONNX library, changed, and saved."""
    model = onnx.load(path)
    made = change(model) or model
    onnx.save(made, path)
    return path


def documented(model: onnx.ModelProto) -> None:
    model.doc_string, model.producer_name = "of mine", "another"
    model.metadata_props.add(key="author", value="me")


@pytest.mark.parametrize("change", [lambda model: None, documented, onnx.shape_inference.infer_shapes])
def test_what_other_tools_do_to_a_file_is_no_damage(saved: Path, change) -> None:
    before = CompiledFile.load(saved).values()
    assert code(again(saved, change)) is None and CompiledFile.load(saved).sealed
    for name, array in CompiledFile.load(saved).values().items():
        assert array.tobytes() == before[name].tobytes()


def test_tensors_may_move_to_another_file_and_back(saved: Path) -> None:
    onnx.save(onnx.load(saved), saved, save_as_external_data=True, location="other.bin", size_threshold=0)
    assert (saved.parent / "other.bin").exists() and code(saved) is None
    onnx.save(onnx.load(saved), saved)
    assert code(saved) is None


def test_tensors_may_be_stored_as_numbers(saved: Path) -> None:
    def numbers(model: onnx.ModelProto) -> None:
        for held in model.graph.initializer:
            array = numpy_helper.to_array(held)
            held.ClearField("raw_data")
            held.float_data.extend(array.reshape(-1).tolist())

    assert code(again(saved, numbers)) is None


def edited(model: onnx.ModelProto) -> None:
    held = model.graph.initializer[0]
    held.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(held) * 2, held.name))


def test_what_was_altered_on_purpose_is_accepted_when_told(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    was = CompiledFile.load(saved).values()["W"]
    assert code(again(saved, edited)) == "E0755"
    assert main(["predict", str(saved), "--data", "none.npz"]) == 2
    assert "dlc check FILE.onnx --accept" in capsys.readouterr().err
    assert main(["check", str(saved), "--accept"]) == 0
    assert code(saved) is None
    np.testing.assert_array_equal(CompiledFile.load(saved).values()["W"], 2 * was)


def test_a_file_without_a_checksum_is_said_to_have_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "foreign.onnx"
    onnx.save(compiled(), path)
    assert main(["check", str(path)]) == 0
    assert "it has no checksum" in capsys.readouterr().out
    np.savez(tmp_path / "d.npz", x=blobs(5)["x"])
    assert main(["predict", str(path), "--data", str(tmp_path / "d.npz")]) == 0
    assert capsys.readouterr().err.count("no checksum") == 1
    np.savez(tmp_path / "d.npz", **blobs(20))
    assert main(["train", str(path), "--data", str(tmp_path / "d.npz"), "--epochs", "1", "--runs", str(tmp_path)]) == 0
    assert capsys.readouterr().err.count("no checksum") == 1
    FILE.save(path)
    assert main(["check", str(path)]) == 0
    assert "no checksum" not in capsys.readouterr().out


def test_a_model_and_its_data_are_of_one_save(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    wide = CompiledFile(compiled(classes=400))
    for folder, seed in ((one, 1), (two, 2)):
        folder.mkdir()
        values = {"W": np.random.default_rng(seed).normal(size=(4, 400)).astype(np.float32)}
        wide.save(folder / "m.onnx", values, threshold=1000)
        assert code(folder / "m.onnx") is None
    torn = (two / "m.onnx.data").read_bytes()
    (one / "m.onnx.data").write_bytes(torn)
    assert code(one / "m.onnx") == "E0756"
    CompiledFile.load(one / "m.onnx", state=False)  # a run goes on with the state of its checkpoint
    (one / "m.onnx.data").write_bytes(b"\0" * 40 + torn[40:])  # without its mark, as other tools write it
    assert code(one / "m.onnx") == "E0755"


def test_the_same_content_has_the_same_bytes(tmp_path: Path) -> None:
    FILE.save(tmp_path / "a.onnx")
    CompiledFile.load(tmp_path / "a.onnx").save(tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


# --- flips of bits: tests/damage.py makes thousands


@pytest.mark.parametrize("kind", ["onnx", "external", "data", "checkpoint", "table"])
def test_no_flip_of_a_bit_loads_in_silence(tmp_path: Path, kind: str) -> None:
    seen = flipped(tmp_path, kind, 150, seed=1)
    assert seen["other values"] == 0 and seen["other failures"] == 0
    assert seen["refused"] > 60  # between tensors in a file of data lie bytes that mean nothing


def test_an_edited_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    Trainer(FILE, device="cpu").checkpoint().save(path)
    from safetensors import safe_open

    with safe_open(path, "numpy") as found:
        metadata = dict(found.metadata())
    state = load_file(path)
    save_file(state, path, metadata)
    Checkpoint.load(path)
    for change in ({"W": state["W"] + 1}, {"b": state["b"].astype(np.float64)}):
        save_file({**state, **change}, path, metadata)
        with pytest.raises(Error) as caught:
            Checkpoint.load(path)
        assert caught.value.code == "E0755"
    save_file(state, path, {**metadata, "plan": metadata["plan"].replace('"seed": 0', '"seed": 1')})
    with pytest.raises(Error) as caught:
        Checkpoint.load(path)
    assert caught.value.code == "E0755"
