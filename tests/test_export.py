"""What `dlc export --inference` writes among other tools: converters, quantizers' preprocessing, `onnx.compose`."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import onnx
import onnxruntime
import pytest
from dlc.cli.app import main as run
from onnx import compose
from onnxruntime.quantization.shape_inference import quant_pre_process

ROOT = Path(__file__).parent.parent
GPT = {"vocabulary": 32, "time": 8, "width": 16, "layers": 2, "heads": 2}
TOKENS = np.random.default_rng(0).integers(0, 32, (4, 8))


@pytest.fixture(scope="module")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT whose layer normalizations have results that only training reads, and its predicting part."""
    folder = tmp_path_factory.mktemp("gpt")
    program = dlc.compile(ROOT / "benchmarks" / "gpt.dl", **GPT)
    assert any(len(node.output) > 1 for node in program.model_proto().graph.node)
    program.save(folder / "gpt.onnx")
    assert run(["export", str(folder / "gpt.onnx"), "--inference", "-o", str(folder / "small.onnx")]) == 0
    return folder


def probability(path: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["probability"], {"tokens": TOKENS})[0])


def test_results_that_only_training_reads_go(gpt: Path) -> None:
    model = onnx.load(gpt / "small.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert all(len(node.output) == 1 for node in model.graph.node)
    np.testing.assert_array_equal(probability(gpt / "small.onnx"), probability(gpt / "gpt.onnx"))


def test_a_float16_converter_takes_it(gpt: Path) -> None:
    float16 = importlib.import_module("onnxruntime.transformers.float16")
    made = float16.convert_float_to_float16(onnx.load(gpt / "small.onnx"), keep_io_types=True)
    onnx.save(made, gpt / "half.onnx")
    np.testing.assert_allclose(probability(gpt / "half.onnx"), probability(gpt / "gpt.onnx"), atol=1e-3)


def test_the_converter_of_onnxconverter_common_takes_it(gpt: Path) -> None:
    float16 = pytest.importorskip("onnxconverter_common.float16", reason="onnxconverter-common is not installed")
    made = float16.convert_float_to_float16(onnx.load(gpt / "small.onnx"), keep_io_types=True)
    onnx.save(made, gpt / "half_too.onnx")
    np.testing.assert_allclose(probability(gpt / "half_too.onnx"), probability(gpt / "gpt.onnx"), atol=1e-3)


def test_preparing_for_a_quantizer_takes_it(gpt: Path) -> None:
    pytest.importorskip("sympy", reason="SymPy, which the symbolic shape inference needs, is not installed")
    quant_pre_process(gpt / "small.onnx", gpt / "prepared.onnx")
    np.testing.assert_allclose(probability(gpt / "prepared.onnx"), probability(gpt / "gpt.onnx"), atol=1e-6)


HEADS = """
model heads {
    input x: float[batch, 4]
    target y: float[batch, 1]
    h = x |> dense(3) |> tanh
    side = h |> dense(1)
    z = h |> dense(1)
    loss = mean((z - y)^2) + mean((side - y)^2)
    output z = z
}
train { minimize loss using adam(1e-2) }
"""


def test_the_signature_names_what_the_prediction_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dlc.compile(HEADS).save(tmp_path / "all.onnx")
    assert run(["export", str(tmp_path / "all.onnx"), "--inference", "-o", str(tmp_path / "small.onnx")]) == 0
    said = {entry.key: entry.value for entry in onnx.load(tmp_path / "small.onnx").metadata_props}
    held = {tensor.name for tensor in onnx.load(tmp_path / "small.onnx").graph.initializer}
    signature = json.loads(said["dlc.signature"])
    assert {entry["name"] for entry in signature["parameters"]} == {n for n in held if not n.startswith("constant/")}
    assert not signature["states"]
    capsys.readouterr()
    assert run(["check", str(tmp_path / "small.onnx"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["missing"] == []


def test_two_files_without_metadata_are_merged(tmp_path: Path) -> None:
    first = "model first { input x: float[batch, 4]\n output h = x |> dense(3) |> tanh }"
    second = "model second { input h: float[batch, 3]\n output z = h |> dense(2) }"
    for name, text in (("a", first), ("b", second)):
        dlc.compile(text).save(tmp_path / f"{name}.onnx")
        words = ["export", str(tmp_path / f"{name}.onnx"), "--inference", "--no-metadata"]
        assert run([*words, "-o", str(tmp_path / f"{name}-plain.onnx")]) == 0
    plain = [onnx.load(tmp_path / f"{name}-plain.onnx") for name in "ab"]
    assert not any(entry.key.startswith("dlc.") for model in plain for entry in model.metadata_props)
    assert not any(node.metadata_props for model in plain for node in model.graph.node)
    one, other = (compose.add_prefix(model, f"{name}/") for name, model in zip("ab", plain, strict=True))
    merged = compose.merge_models(one, other, io_map=[("a/h", "b/h")])
    onnx.save(merged, tmp_path / "merged.onnx")
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)

    def give(path: str, feeds: dict[str, np.ndarray]) -> np.ndarray:
        return np.asarray(onnxruntime.InferenceSession(tmp_path / path).run(None, feeds)[0])

    wanted = give("b.onnx", {"h": give("a.onnx", {"x": x})})
    np.testing.assert_allclose(give("merged.onnx", {"a/x": x}), wanted, atol=1e-6)
    assert run(["check", str(tmp_path / "merged.onnx")]) == 0


SCALED = """
model scaled {
    input x: float[batch, 8]
    target y: int[batch]
    param direction: float[8, 16] ~ normal(0, 1)
    param length: float[16] ~ normal(0, 1)
    weights = exp(length) * direction / sqrt(sum(direction^2, axis = 0))
    h = relu(x @ weights)
    y ~ categorical(h |> batch_norm |> dense(3))
}
train { minimize loss using adam(1e-2); batch: 32; epochs: 2 }
"""


def _rows() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 8)).astype(np.float32)
    return {"x": x, "y": x[:, :3].argmax(axis=1)}


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scaled")
    trainer = dlc.fit(SCALED, _rows(), device="cpu")
    trainer.save(folder / "scaled.onnx")
    np.savez(folder / "rows.npz", **_rows())
    return folder


def test_what_depends_on_no_input_is_computed_once(scaled: Path) -> None:
    small = scaled / "folded.onnx"
    assert run(["export", str(scaled / "scaled.onnx"), "--fold", "-o", str(small)]) == 0
    model = onnx.load(small)
    onnx.checker.check_model(model, full_check=True)
    held = {tensor.name for tensor in model.graph.initializer}
    assert not {"direction", "length"} & held
    known = held | {value.name for value in model.graph.input}
    assert all(not known.issuperset(node.input) or "x" in node.input for node in model.graph.node)
    signature = {entry.key: entry.value for entry in model.metadata_props}["dlc.signature"]
    assert {entry["name"] for entry in json.loads(signature)["parameters"]} < held
    assert run(["check", str(small)]) == 0
    x = _rows()["x"]
    before, after = (
        onnxruntime.InferenceSession(path).run(["probability"], {"x": x})[0] for path in (scaled / "scaled.onnx", small)
    )
    np.testing.assert_allclose(after, before, atol=1e-6)


@pytest.mark.parametrize("measured", [False, True], ids=["dynamic", "static"])
def test_weights_in_8_bits(scaled: Path, measured: bool, capsys: pytest.CaptureFixture[str]) -> None:
    small, data = scaled / "small.onnx", ["--data", str(scaled / "rows.npz")] if measured else []
    assert run(["export", str(scaled / "scaled.onnx"), "--int8", *data, "-o", str(small), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    operators = {node.op_type for node in onnx.load(small).graph.node}
    assert ("DequantizeLinear" if measured else "MatMulInteger") in operators
    x, y = _rows().values()
    for side, path in (("before", scaled / "scaled.onnx"), ("after", small)) if measured else ():
        made = onnxruntime.InferenceSession(path).run(["probability"], {"x": x})[0]  # what the figures must agree with
        assert said[side]["accuracy"] == pytest.approx(np.mean(made.argmax(axis=1) == y))
        assert said[side]["loss"] == pytest.approx(-np.log(made[np.arange(len(y)), y]).mean(), rel=1e-4)
    if measured:
        assert said["before"]["loss"] != said["after"]["loss"]


def test_where_there_is_nothing_to_quantise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dlc.compile("model rates { input x: float[batch]\n output y = exp(x) + 1.0 }").save(tmp_path / "rates.onnx")
    for options, code in ((["--int8"], "E0808"), (["--fold", "--data", "x.npz"], "E0790"), ([], "E0790")):
        assert run(["export", str(tmp_path / "rates.onnx"), *options, "-o", str(tmp_path / "small.onnx")]) == 2
        assert code in capsys.readouterr().err
    assert not (tmp_path / "small.onnx").exists()


def test_rows_that_do_not_fit_are_told_as_such(scaled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(scaled / "wide.npz", x=np.zeros((8, 99), np.float32), y=np.zeros(8, np.int64))
    words = ["--int8", "--data", str(scaled / "wide.npz"), "-o", str(scaled / "wide.onnx")]
    assert run(["export", str(scaled / "scaled.onnx"), *words]) == 2
    assert "error[E0611]" in capsys.readouterr().err and not (scaled / "wide.onnx").exists()


def test_a_file_in_8_bits_that_onnx_runtime_cannot_load_is_not_written(
    scaled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As its quantizer writes one of an ensemble: a zero point of another type than the operator says."""
    from onnxruntime import quantization

    usual = quantization.quantize_dynamic

    def broken(model: Any, target: Any, **how: Any) -> None:
        usual(model, target, **how)
        made = onnx.load(target)
        made.graph.node[0].op_type = "Nothing"
        onnx.save(made, target)

    monkeypatch.setattr(quantization, "quantize_dynamic", broken)
    assert run(["export", str(scaled / "scaled.onnx"), "--int8", "-o", str(scaled / "broken.onnx")]) == 2
    assert "cannot load what its quantizer made" in capsys.readouterr().err and not (scaled / "broken.onnx").exists()
