"""Files that other tools have changed: what needs no training works, and what does is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import dlc
import numpy as np
import onnx
import onnxruntime
import pytest
from dlc.cli.app import main as run
from dlc.runtime import CompiledFile, Error, Trainer
from onnx import version_converter
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_dynamic, quantize_static

SPECS = Path(__file__).parent.parent / "specs"
DATA = SPECS / "data" / "digits.npz"


class Rows(CalibrationDataReader):
    def __init__(self) -> None:
        rows = np.load(DATA)["x"][:256].astype(np.float32)
        self.batches = iter([{"x": rows[i : i + 64]} for i in range(0, 256, 64)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.batches, None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("digits") / "digits.onnx"
    trainer = Trainer(dlc.compile(SPECS / "digits.dl"), "cpu")
    trainer.fit(DATA, epochs=1)
    trainer.save(path)
    return path


def static(path: Path, to: Path) -> None:
    quantize_static(path, to, Rows(), quant_format=QuantFormat.QDQ, op_types_to_quantize=["Relu", "Softmax"])


def converted(path: Path, to: Path) -> None:
    onnx.save(version_converter.convert_version(onnx.load(path), 22), to)


def optimized(path: Path, to: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(to), 4
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


TOOLS: list[tuple[Callable[[Path, Path], object], str, str, str]] = [
    (static, "E0758", "QuantizeLinear", "quantizer"),
    (quantize_dynamic, "E0758", "DynamicQuantizeLinear", "quantizer"),
    (converted, "E0759", "opset 22, was 21", "version converter"),
    (optimized, "E0758", "FusedGemm", "ONNX Runtime saves"),
]


@pytest.fixture(params=TOOLS, ids=["static", "dynamic", "converted", "optimized"])
def changed(request: pytest.FixtureRequest, trained: Path, tmp_path: Path) -> tuple[Path, str, str, str]:
    tool, code, new, cause = request.param
    tool(trained, tmp_path / "changed.onnx")
    return tmp_path / "changed.onnx", code, new, cause


def test_what_needs_training_is_refused_by_name_of_what_changed(changed, capsys: pytest.CaptureFixture[str]) -> None:
    path, code, new, cause = changed
    for words in (["evaluate", str(path), "--data", str(DATA)], ["train", str(path), "--data", str(DATA)]):
        assert run(words) == 2
        said = capsys.readouterr().err
        assert code in said and new in said and cause in said
    assert run(["check", str(path)]) == (2 if code == "E0758" else 0)
    told = capsys.readouterr()
    assert new in told.out + told.err and cause in told.out + told.err


def test_what_needs_no_training_works(changed, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, *_ = changed
    x = np.load(DATA)["x"][:100].astype(np.float32)
    wanted = onnxruntime.InferenceSession(path).run(["probability"], {"x": x})[0]
    np.savez(path.with_name("x.npz"), x=x)
    assert run(["predict", str(path), "--data", str(path.with_name("x.npz")), "-o", str(path.with_name("p.npz"))]) == 0
    assert "another tool has changed this file" in capsys.readouterr().err
    np.testing.assert_allclose(np.load(path.with_name("p.npz"))["probability"], wanted, atol=1e-6)
    assert run(["summary", str(path)]) == 0
    capsys.readouterr()
    assert run(["decompile", str(path)]) == 0
    assert capsys.readouterr().out == (SPECS / "digits.dl").read_text()
    small = path.with_name("small.onnx")
    assert run(["export", str(path), "--inference", "-o", str(small)]) == 0
    assert run(["check", str(small)]) == 0
    assert np.array_equal(onnxruntime.InferenceSession(small).run(["probability"], {"x": x})[0], wanted)


def test_parameters_that_are_gone_are_named(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quantize_dynamic(trained, tmp_path / "q.onnx")
    assert run(["export", str(tmp_path / "q.onnx"), "--inference", "-o", str(tmp_path / "small.onnx")]) == 0
    assert run(["check", str(tmp_path / "small.onnx"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["missing"] == ["dense.W", "dense[1].W"]


def test_what_is_accepted_trains(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "q.onnx"
    static(trained, path)
    assert run(["check", str(path), "--accept"]) == 0
    file = CompiledFile.load(path)
    assert file.stale is None
    assert Trainer(file, "cpu").evaluate(DATA)["accuracy"] > 0.5


def test_a_changed_file_is_accepted_where_it_is_used(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "q.onnx"
    static(trained, path)
    before = path.read_bytes()
    assert run(["evaluate", str(path), "--data", str(DATA), "--accept"]) == 0
    assert run(["train", str(path), "--data", str(DATA), "--steps", "2", "--runs", str(tmp_path), "--accept"]) == 0
    assert path.read_bytes() == before  # accepted for that call
    assert Trainer(dlc.load(path, accept=True), "cpu").evaluate(DATA)["accuracy"] > 0.5
    for words in (["train", SPECS / "xor.dl"], ["evaluate", tmp_path], ["train", "--resume", tmp_path]):
        assert run([*map(str, words), "--accept"]) == 2


def test_a_file_that_was_saved_again_with_imports_of_other_domains_trains(trained: Path, tmp_path: Path) -> None:
    """ONNX Runtime's saved models import every domain that it knows, and have an IR version of their own."""
    model = onnx.load(trained)
    model.ir_version = 9
    model.opset_import.add(domain="ai.onnx.ml", version=5)
    onnx.save(model, tmp_path / "m.onnx")
    assert Trainer(str(tmp_path / "m.onnx"), "cpu").evaluate(DATA)["accuracy"] > 0.5


def test_what_predicts_does_not_fail_on_training(trained: Path, tmp_path: Path) -> None:
    """Also where no digest says that the file was changed: the fault of the training part is told with its cause."""
    model = onnx.load(trained)
    del model.metadata_props[:]
    model.training_info[0].update_binding[0].key = "none"
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(Error) as caught:
        CompiledFile.load(tmp_path / "m.onnx")
    assert caught.value.code == "E0724" and "quantizers" in " ".join(caught.value.notes)
    file = CompiledFile.load(tmp_path / "m.onnx", predicts=True)
    assert file.stale is not None and file.stale.code == "E0724" and not file.parts
    x = np.load(DATA)["x"][:8].astype(np.float32)
    assert Trainer(file, "cpu").predict({"x": x})["probability"].shape == (8, 10)
    with pytest.raises(Error) as caught:
        Trainer(file, "cpu").fit(DATA, epochs=1)
    assert caught.value.code == "E0724"


def test_lost_data_of_the_training_part_do_not_keep_a_file_from_predicting(trained: Path, tmp_path: Path) -> None:
    """`onnx.load` and `onnx.save` into another folder leave them behind."""
    (tmp_path / "there").mkdir()
    CompiledFile.load(trained).save(tmp_path / "m.onnx", threshold=0)
    onnx.save(onnx.load(tmp_path / "m.onnx"), tmp_path / "there" / "m.onnx")
    with pytest.raises(Error) as caught:
        CompiledFile.load(tmp_path / "there" / "m.onnx")
    assert caught.value.code == "E0717"
    file = CompiledFile.load(tmp_path / "there" / "m.onnx", predicts=True)
    assert file.stale is not None and file.stale.code == "E0717"
    x = np.load(DATA)["x"][:8].astype(np.float32)
    expected = Trainer(CompiledFile.load(trained), "cpu").predict({"x": x})["probability"]
    assert np.array_equal(Trainer(file, "cpu").predict({"x": x})["probability"], expected)


def test_one_node_of_all_another_is_damage(trained: Path, tmp_path: Path) -> None:
    model = onnx.load(trained)
    model.graph.node[1].op_type = "Sigmoid"
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(Error) as caught:
        CompiledFile.load(tmp_path / "m.onnx", predicts=True)
    assert caught.value.code == "E0755" and "`Relu_1` (Sigmoid)" in " ".join(caught.value.notes)
