"""Reading and writing compiled files: large state beside the file, no path out of the folder, whole or nothing."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from dlc.runtime import CompiledFile, Error, external
from dlc.runtime.atomic import why
from hand_built import FEATURES, compiled
from onnx import TensorProto


def test_large_state_goes_beside_the_file(tmp_path: Path) -> None:
    made = CompiledFile(compiled(classes=80))
    path = tmp_path / "m.onnx"
    made.save(path, threshold=1000)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]
    stored = onnx.load(path, load_external_data=False)
    held = next(t for t in stored.graph.initializer if t.name == "W")
    entries = {e.key: e.value for e in held.external_data}
    assert entries["location"] == "m.onnx.data" and int(entries["offset"]) % 4096 == 0
    again = CompiledFile.load(path)
    for name, array in made.values().items():
        assert np.array_equal(array, again.values()[name])
    plain = onnxruntime.InferenceSession(path).run(None, {"x": np.zeros((1, FEATURES), np.float32)})[0]
    assert plain.shape == (1, 80)


@pytest.mark.parametrize("location", ["/etc/passwd", "../m.onnx.data", "a/../../x", "", "link", "C:x", "a\\b"])
def test_no_path_leaves_the_folder(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret").write_bytes(b"\0" * 100)
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    model = compiled()
    held = model.graph.initializer[0]
    held.ClearField("raw_data")
    held.data_location = TensorProto.EXTERNAL
    held.external_data.add(key="location", value=location)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(Error) as caught:
        CompiledFile.load(folder / "m.onnx")
    assert caught.value.code == "E0716"


@pytest.mark.parametrize(
    ("entries", "note"),
    [
        ({"offset": "0"}, "there is no such file"),
        ({"offset": "x"}, "its offset or length is not a number"),
        ({"length": "10"}, "found a length of 10 bytes, expected 48 for shape [4, 3]"),
        ({"location": "short", "offset": "80", "length": "48"}, "found 100 bytes, expected 48 at offset 80"),
        ({"location": "short", "offset": "-8"}, "found 100 bytes, expected 48 at offset -8"),
    ],
)
def test_external_data_are_measured_before_they_are_read(tmp_path: Path, entries: dict[str, str], note: str) -> None:
    (tmp_path / "short").write_bytes(b"\0" * 100)
    model = compiled()
    held = model.graph.initializer[0]
    held.ClearField("raw_data")
    held.data_location = TensorProto.EXTERNAL
    for key, text in {"location": "none", **entries}.items():
        held.external_data.add(key=key, value=text)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(Error) as caught:
        CompiledFile.load(tmp_path / "m.onnx")
    assert (caught.value.code, caught.value.notes) == ("E0717", (note,))


def test_saving_is_whole_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.onnx"
    made = CompiledFile(compiled())
    made.save(path)
    before = path.read_bytes()
    made.save(path)
    assert path.read_bytes() == before

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Error) as caught:
        made.save(path, trained=3)
    (note,) = caught.value.notes
    assert caught.value.code == "E0739"
    assert re.fullmatch(rf"No space left on device: [\d,]+ bytes are free in `{re.escape(str(tmp_path))}`", note)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.skipif(os.name == "nt", reason="Windows counts no inodes")
@pytest.mark.parametrize(("files", "left", "named"), [(4096, 0, True), (4096, 1, False), (0, 0, False)])
def test_a_disk_without_inodes_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int, left: int, named: bool
) -> None:
    """A file system that makes inodes as needed has 0 of 0, and none is lacking."""
    monkeypatch.setattr("os.statvfs", lambda folder: SimpleNamespace(f_files=files, f_favail=left))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=68_000_000_000))
    said = why(tmp_path / "m.onnx", OSError(errno.ENOSPC, "No space left on device"))
    end = ", and no inodes, one of which each file takes" if named else ""
    assert said == f"No space left on device: 68,000,000,000 bytes are free in `{tmp_path}`{end}"


def test_what_a_program_may_be(tmp_path: Path) -> None:
    model = compiled()
    onnx.save(model, tmp_path / "m.onnx")
    file = CompiledFile(model)
    for program in (
        model,
        file,
        model.SerializeToString(),
        tmp_path / "m.onnx",
        str(tmp_path / "m.onnx"),
        SimpleNamespace(model_proto=lambda: model),
    ):
        assert CompiledFile.of(program).title in ("softmax", "m")
    with pytest.raises(TypeError):
        CompiledFile.of(3)


def large() -> onnx.ModelProto:
    """A trained model with everything that a file may hold around its tensors."""
    model = compiled(classes=80)
    model.doc_string = "a model"
    model.graph.doc_string = "its graph"
    model.graph.initializer[0].doc_string = "its first tensor"
    model.graph.node.add(op_type="Constant", output=["unread"], name="c").attribute.add(
        name="value", type=onnx.AttributeProto.TENSOR, t=onnx.numpy_helper.from_array(np.arange(2000.0), "attribute")
    )
    return model


def test_a_file_has_the_bytes_that_protobuf_writes(tmp_path: Path) -> None:
    """The same bytes, though large tensors are never in one message."""
    for model in (large(), compiled(), compiled(classes=80)):
        CompiledFile(model).save(tmp_path / "m.onnx")
        entries = CompiledFile.load(tmp_path / "m.onnx").model.metadata_props[-2:]
        assert [entry.key for entry in entries] == ["dlc.structure", "dlc.checksum"]
        model.metadata_props.extend(entries)
        assert (tmp_path / "m.onnx").read_bytes() == model.SerializeToString(deterministic=True)


WRITTEN = ("dlc.trained", "dlc.structure", "dlc.checksum")


def test_a_file_of_other_values_has_the_bytes_that_protobuf_writes(tmp_path: Path) -> None:
    file = CompiledFile(large())
    values = {name: array + np.ones((), array.dtype) for name, array in file.values().items() if array.size}
    file.save(tmp_path / "m.onnx", values, trained=7)
    expected = large()
    for held in (*expected.graph.initializer, *expected.training_info[0].algorithm.initializer):
        if held.name in values:
            held.raw_data = values[held.name].tobytes()
    again = CompiledFile.load(tmp_path / "m.onnx")
    assert again.updates == 7
    kept = [entry for entry in again.model.metadata_props if entry.key not in WRITTEN]
    del again.model.metadata_props[:]
    again.model.metadata_props.extend(kept)
    assert again.model.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)


@pytest.mark.parametrize("values", [False, True])
def test_tensors_of_nodes_go_beside_the_file_too(tmp_path: Path, values: bool) -> None:
    file = CompiledFile(large())
    file.save(tmp_path / "m.onnx", file.values() if values else None, threshold=100)
    model = CompiledFile.load(tmp_path / "m.onnx").model
    written = [model.metadata_props.pop() for _ in range(2)]
    assert [entry.key for entry in written] == ["dlc.checksum", "dlc.structure"]
    size = (tmp_path / "m.onnx").stat().st_size - len(written[1].value)
    assert size < 2000 + len(compiled().SerializeToString())
    for tensor in external.model_tensors(model):
        tensor.ClearField("data_location")  # the default, which reading says
    assert model.SerializeToString(deterministic=True) == file.model.SerializeToString(deterministic=True)
    assert onnx.load(tmp_path / "m.onnx").graph.node[-1].attribute[0].t.raw_data == np.arange(2000.0).tobytes()
