"""Start values that a trainer's file leaves out: whatever is made of it is what it would be with them."""

from __future__ import annotations

from pathlib import Path

import dlc
import numpy as np
import onnx
import pytest
from dlc.lower import start
from dlc.runtime import CompiledFile, Error, graphs, memory
from onnx import ModelProto, numpy_helper

SPECS = Path(__file__).parent.parent / "specs"
LARGE = """model m {
    input  x: float[batch, 1500]
    target y: float[batch, 1000]
    p = x |> dense(1000)
    y ~ normal(p, 1.0)
    output p = p
}
train { minimize loss using adam(1e-3); batch: 2; epochs: 1 }
"""


def data(model: ModelProto) -> bytes:
    return model.SerializeToString(deterministic=True)


def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left out."""
    monkeypatch.setattr(start, "TOGETHER", 1 << 60)


def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the smallest values are."""
    for name in ("LONG", "TOGETHER", "EACH"):
        monkeypatch.setattr(start, name, 16)


def test_a_large_file_in_a_trainer_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    program = dlc.compile(LARGE)
    trainer = dlc.Trainer(program, device="cpu")
    assert trainer.file.frame.ByteSize() < 100_000
    whole = data(program.model_proto())
    assert len(whole) > 3 * 4 * 1500 * 1000 and data(trainer.file.model) == whole
    early(monkeypatch)
    assert data(dlc.compile(LARGE).model_proto()) == whole


def test_a_small_one_leaves_nothing_out() -> None:
    file = CompiledFile.of(dlc.compile(SPECS / "digits.dl"))
    assert file.model is file.frame
    assert all(held.raw_data for held in file.main.initializer)


@pytest.mark.parametrize(
    "name", ["digits", "gan", "ensemble", "curriculum", "tagger", "wrappers", "groups", "force", "vae"]
)
def test_files_are_the_same_bytes(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = SPECS / f"{name}.dl"
    monkeypatch.chdir(SPECS)
    early(monkeypatch)
    program = dlc.compile(path)
    whole = CompiledFile.of(program)
    whole.save(tmp_path / "whole.onnx")
    late(monkeypatch)
    again = dlc.compile(path)
    file = CompiledFile.of(again)
    assert file.model is not file.frame and len(data(file.frame)) < len(data(whole.frame))
    assert data(file.model) == data(whole.model) == data(again.model_proto())
    file.save(tmp_path / "file.onnx")
    again.save(tmp_path / "again.onnx")
    for other in ("file", "again"):
        assert (tmp_path / f"{other}.onnx").read_bytes() == (tmp_path / "whole.onnx").read_bytes()
    values, wanted = file.values(), whole.values()
    assert values.keys() == wanted.keys()
    assert all(
        np.array_equal(values[name], wanted[name]) and values[name].dtype == wanted[name].dtype for name in wanted
    )
    some = {name: array + 1 for name, array in list(wanted.items())[::2]}
    assert data(file.holding(some, 3).model) == data(whole.holding(some, 3).model)
    file.save(tmp_path / "some.onnx", some)
    whole.save(tmp_path / "others.onnx", some)
    assert (tmp_path / "some.onnx").read_bytes() == (tmp_path / "others.onnx").read_bytes()


@pytest.mark.parametrize("seed", [None, 5])
def test_runs_are_the_same(seed: int | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(SPECS)
    told = []
    for way in (early, late):
        way(monkeypatch)
        folder = tmp_path / way.__name__
        trainer = dlc.Trainer(dlc.compile("digits.dl"), device="cpu", seed=seed)
        trainer.fit(steps=30, run=folder)
        [run] = folder.iterdir()
        resumed = dlc.Trainer.resume(run, device="cpu")
        resumed.fit(steps=30)
        figures = resumed.evaluate("data/digits.npz")
        states = {name: array.tobytes() for name, array in resumed.state.items()}
        told.append((figures, states, (run / "digits.onnx").read_bytes()))
    assert told[0][:2] == told[1][:2] and told[0][2] == told[1][2]


def test_a_table_keeps_its_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The encodings of columns read values of the file."""
    late(monkeypatch)
    spec = """model m {
    input  kind: int[batch] from "kind"
    target y: float[batch] from "y"
    p = kind |> embedding(4, 8) |> dense(1)
    y ~ normal(p[:, 0], 1.0)
    output p = p
}
train { minimize loss using sgd(0.1); batch: 2; epochs: 2 }
"""
    table = tmp_path / "table.csv"
    table.write_text("kind,y\n" + "".join(f"{k % 4},{k}\n" for k in range(8)), "utf-8")
    trainer = dlc.Trainer(dlc.compile(spec), device="cpu")
    trainer.fit(table)
    trainer.save(tmp_path / "m.onnx")
    held = {one.name: numpy_helper.to_array(one) for one in CompiledFile.load(tmp_path / "m.onnx").main.initializer}
    assert all(np.array_equal(held[name], array) for name, array in trainer.parameters.items())


def test_what_is_over_two_gigabytes_without_its_state_stays_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """protobuf does not write such a message: large constants that are not state."""
    path = dlc.compile(LARGE).save(tmp_path / "m.onnx")
    whole = onnx.load(path)
    light = CompiledFile.load(path)
    assert light.model is not light.frame
    monkeypatch.setattr(graphs, "serialized", lambda model: None)
    file = CompiledFile.load(path)
    assert file.model is file.frame and data(file.frame) == data(whole)
    values = file.values()
    assert all(np.array_equal(values[name], array) for name, array in light.values().items())
    with pytest.raises(Error) as caught:
        dlc.Trainer(file, device="cpu").predictor()
    assert caught.value.code == "E0805"


def test_memory_is_given_back_where_the_system_can(monkeypatch: pytest.MonkeyPatch) -> None:
    memory.give_back()
    for platform in ("darwin", "win32"):
        monkeypatch.setattr(memory.sys, "platform", platform)
        memory._trimmer.cache_clear()
        assert memory._trimmer() is None
        memory.give_back()
    memory._trimmer.cache_clear()
