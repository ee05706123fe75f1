"""The trainer on files built by hand: numbers against NumPy, sessions, evaluation, prediction, saving."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from dlc.runtime import Callback, Error, Trainer, session
from dlc.runtime.failures import at_run_time
from hand_built import CLASSES, FEATURES, FLOAT, blobs, compiled, constant, foreign, value
from onnx import TensorProto, helper


def trainer(seed: int | None = 3, precision: str = "float64", **settings) -> Trainer:
    return Trainer(compiled(precision, **settings), device="cpu", seed=seed)


def by_hand(seed: int | None = 3, precision: str = "float64") -> Trainer:
    """One for a loop of steps: the plan of one update on 16 rows."""
    return Trainer(compiled(precision), device="cpu", seed=seed, steps=1, observations=16)


def line(rows: int = 60) -> dict[str, np.ndarray]:
    x = np.random.default_rng(1).normal(size=(rows, 2)).astype(np.float32)
    return {"features": x, "wanted": x @ np.array([[2.0], [3.0]], np.float32)}


class Reference:
    """The step of hand_built.py in NumPy."""

    def __init__(self, seed: int, steps: int, observations: int, rate: float = 0.1) -> None:
        self.W = 0.1 * np.sin(np.arange(FEATURES * CLASSES).reshape(FEATURES, CLASSES) + float(seed))
        self.b, self.vW, self.vb = np.zeros(CLASSES), np.zeros((FEATURES, CLASSES)), np.zeros(CLASSES)
        self.step, self.key, self.steps, self.observations, self.rate = 0, 7919 * (seed + 1), steps, observations, rate

    def probability(self, x: np.ndarray) -> np.ndarray:
        z = x @ self.W + self.b
        e = np.exp(z - z.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    def loss(self, x: np.ndarray, y: np.ndarray) -> float:
        return float(-np.log(self.probability(x)[np.arange(len(y)), y]).mean())

    def update(self, x: np.ndarray, y: np.ndarray) -> float:
        x = x.astype(float)
        loss = self.loss(x, y)
        noise = (self.key * (self.step + 1)) % 2**64 % 1000 * 1e-6
        rate = self.rate - self.step / self.steps * self.rate / 2
        g = (self.probability(x) - np.eye(CLASSES)[y]) / len(y) + noise
        self.vW = 0.9 * self.vW + x.T @ g + self.W / self.observations
        self.vb = 0.9 * self.vb + g.sum(0)
        self.W, self.b, self.step = self.W - rate * self.vW, self.b - rate * self.vb, self.step + 1
        return loss


# --- the numbers


def test_a_fit_is_the_loop_it_says() -> None:
    """Every batch of an epoch in the documented order, `steps` and `observations` set, figures weighed by rows."""
    data = blobs(90)
    trained = trainer()
    batches: list[dict[str, float]] = []

    class Watch(Callback):
        def on_step(self, step: int, figures) -> None:
            batches.append(dict(figures))

    history = trained.fit(data, epochs=4, batch=16, callbacks=[Watch()])
    expected = Reference(3, steps=24, observations=90)
    from dlc.runtime import random

    losses = []
    for epoch in range(4):
        order = random.permutation(90, seed=3, purpose=random.ORDER, turn=epoch)
        parts = [order[i : i + 16] for i in range(0, 90, 16)]
        assert [len(rows) for rows in parts] == [16] * 5 + [10]
        of_epoch = [expected.update(data["x"][rows], data["y"][rows]) for rows in parts]
        losses += of_epoch
        mean = sum(loss * len(rows) for loss, rows in zip(of_epoch, parts, strict=True)) / 90
        assert history.epochs[epoch]["train"]["loss"] == pytest.approx(mean, abs=1e-12)
    assert [figures["loss"] for figures in batches] == pytest.approx(losses, abs=1e-12)
    assert np.allclose(trained.parameters["W"], expected.W, atol=1e-12, rtol=0)
    assert np.allclose(trained.parameters["b"], expected.b, atol=1e-12, rtol=0)
    assert np.allclose(trained.state["momentum/v/W"], expected.vW, atol=1e-12, rtol=0)
    assert (int(trained.state["step"]), history.steps) == (24, 24)
    assert (int(trained.state["steps"]), int(trained.state["observations"])) == (24, 90)


@pytest.mark.parametrize("batch", [None, [1, 2], "d.npz"])
def test_a_batch_is_a_mapping(batch: object) -> None:
    trainer = by_hand()
    for _ in range(2):  # also after a batch that passed
        with pytest.raises(Error) as caught:
            trainer.step(batch)  # type: ignore[arg-type]
        assert caught.value.code == "E0603"
        trainer.step(blobs(8))


def test_steps_by_hand_are_the_same_loop() -> None:
    data, made = blobs(64), by_hand(seed=5)
    expected = Reference(5, steps=1, observations=16)
    for i in (0, 16, 32, 48):
        batch = {name: array[i : i + 16] for name, array in data.items()}
        figures = made.step(batch)
        assert figures["loss"] == pytest.approx(expected.update(batch["x"], batch["y"]), abs=1e-12)
        assert 0 <= figures["accuracy"] <= 1
    assert np.allclose(made.parameters["W"], expected.W, atol=1e-12, rtol=0)


def test_evaluation_combines_parts_over_batches() -> None:
    data, made = blobs(1500), trainer()
    expected = Reference(3, 1, 1)
    right = (expected.probability(data["x"]).argmax(-1) == data["y"]).mean()
    for batch in (None, 7, 1500):
        found = made.evaluate(data, batch=batch)
        assert found["loss"] == pytest.approx(expected.loss(data["x"].astype(float), data["y"]), abs=1e-12)
        assert found["accuracy"] == pytest.approx(right, abs=1e-12)


def test_the_least_and_the_greatest_of_parts() -> None:
    """`min` and `max` parts: the file's own list says how they are combined."""
    model = compiled("float64")
    text = next(p for p in model.metadata_props if p.key == "dlc.evaluate")
    algorithm = model.training_info[0].algorithm
    for node in algorithm.node:
        if "evaluate/part/0" in node.output:
            node.op_type = "ReduceMax"
    keep = text.value
    text.value = keep.replace('"sum"', '"max"', 1)
    made, data = Trainer(model, device="cpu", seed=3), blobs(100)
    rows = -np.log(Reference(3, 1, 1).probability(data["x"].astype(float))[np.arange(100), data["y"]])
    assert made.evaluate(data, batch=9)["loss"] == pytest.approx(rows.max() / 100, abs=1e-12)


def test_prediction_needs_no_targets() -> None:
    made, data = trainer(), blobs(1300)
    found = made.predict({"x": data["x"]})
    assert list(found) == ["probability"]
    expected = Reference(3, 1, 1).probability(data["x"].astype(float))
    assert np.allclose(found["probability"], expected, atol=1e-12, rtol=0)
    assert made.predict({"x": data["x"]}, batch=2)["probability"].shape == (1300, CLASSES)


# --- foreign files


def test_a_foreign_file_trains() -> None:
    made, data = Trainer(foreign(), device="cpu"), line()
    w = np.array([[0.5], [-0.5]])
    history = made.fit(data, steps=90, batch=60)
    for _ in range(90):
        w = w - 0.2 * data["features"].T @ (data["features"] @ w - data["wanted"]) / 60
    assert np.allclose(made.parameters["weights"], w, atol=1e-5)
    assert history.steps == 90 and list(history.epochs[0]["train"]) == ["mean_square", "bias_seen"]
    assert made.evaluate(data)["mean_square"] < 1e-6
    assert made.predict({"features": data["features"]})["prediction"].shape == (60, 1)


def test_several_parts_are_one_iteration_in_order() -> None:
    made, data = Trainer(foreign(2), device="cpu"), line()
    w = np.array([[0.5], [-0.5]])
    for turn in range(1, 6):
        made.step(data)
        w = w - 0.2 * data["features"].T @ (data["features"] @ w - data["wanted"]) / 60
        w = w * 0.99
        assert np.allclose(made.parameters["weights"], w, atol=1e-5)
        assert (int(made.state["turns"]), int(made.state["turns@1"])) == (turn, 2 * turn)


def test_one_output_may_feed_two_states() -> None:
    model = foreign()
    info = model.training_info[0]
    info.algorithm.initializer.append(constant("copy", [[0.0], [0.0]], np.float32))
    info.update_binding.add(key="copy", value="moved")
    made = Trainer(model, device="cpu")
    for _ in range(3):
        made.step(line())
        assert np.array_equal(made.state["copy"], made.state["weights"])


def test_a_file_of_one_batch_size() -> None:
    model = foreign()
    for graph in (model.graph, model.training_info[0].algorithm):
        for item in (*graph.input, *graph.output):
            for size in item.type.tensor_type.shape.dim:
                if size.dim_param:
                    size.dim_value = 20
    made = Trainer(model, device="cpu")
    assert len(made.fit(line(60), epochs=2, batch=7).epochs) == 2 and made.progress.step == 6
    assert made.predict({"features": line(40)["features"]})["prediction"].shape == (40, 1)
    with pytest.raises(Error) as caught:
        made.fit(line(50), epochs=1)
    assert caught.value.code == "E0632"


def test_an_inference_file_predicts_and_does_not_train() -> None:
    model = compiled()
    del model.training_info[:]
    made = Trainer(model, device="cpu")
    assert made.predict({"x": blobs(5)["x"]})["probability"].shape == (5, CLASSES)
    for call in (lambda: made.fit(blobs()), lambda: made.step(blobs()), lambda: made.evaluate(blobs())):
        with pytest.raises(Error) as caught:
            call()
        assert caught.value.code == "E0715"


# --- start values and seeds


def test_the_seed_comes_from_the_trainer_then_the_file_then_is_zero() -> None:
    starts = [trainer(seed=4, seed_=None), trainer(seed=None)]
    assert np.allclose(starts[0].parameters["W"], Reference(4, 1, 1).W, atol=1e-15)
    assert np.allclose(starts[1].parameters["W"], Reference(0, 1, 1).W, atol=1e-15)
    of_file = Trainer(compiled("float64", seed=9), device="cpu")
    assert of_file.seed == 9 and np.allclose(of_file.parameters["W"], Reference(9, 1, 1).W, atol=1e-15)
    assert Trainer(compiled("float64", seed=9), device="cpu", seed=4).seed == 4


def test_a_trained_file_goes_on_from_what_it_holds(tmp_path: Path) -> None:
    made = trainer(precision="float32")
    made.fit(blobs(), epochs=3)
    made.save(tmp_path / "m.onnx")
    again = Trainer(tmp_path / "m.onnx", device="cpu", seed=1)
    for name, array in made.state.items():
        assert np.array_equal(array, again.state[name]), name
    assert again.progress.step == made.progress.step == 18
    plain = onnxruntime.InferenceSession(tmp_path / "m.onnx").run(None, {"x": blobs()["x"]})[0]
    assert np.allclose(plain, made.predict(blobs())["probability"], atol=1e-6)


def test_a_foreign_file_keeps_its_values_until_it_trains() -> None:
    model = foreign()
    start = helper.make_graph(
        [helper.make_node("Identity", ["held"], ["begin"])],
        "begin",
        [],
        [value("begin", FLOAT, [2, 1])],
        [constant("held", [[7.0], [8.0]], np.float32)],
    )
    model.training_info[0].initialization.CopyFrom(start)
    model.training_info[0].initialization_binding.add(key="weights", value="begin")
    made = Trainer(model, device="cpu")
    assert made.parameters["weights"].ravel().tolist() == [0.5, -0.5]
    x = line(1)
    made.step({"features": 0 * x["features"], "wanted": 0 * x["wanted"]})
    assert made.parameters["weights"].ravel().tolist() == [7, 8]
    kept = Trainer(model, device="cpu", start="file")
    kept.step({"features": 0 * x["features"], "wanted": 0 * x["wanted"]})
    assert kept.parameters["weights"].ravel().tolist() == [0.5, -0.5]


def test_same_seed_same_run_bit_for_bit() -> None:
    runs = [trainer(precision="float32") for _ in range(2)]
    for made in runs:
        made.fit(blobs(), epochs=3)
    for name, array in runs[0].state.items():
        assert array.tobytes() == runs[1].state[name].tobytes(), name
    other = trainer(seed=8, precision="float32")
    other.fit(blobs(), epochs=3)
    assert other.parameters["W"].tobytes() != runs[0].parameters["W"].tobytes()


# --- parameters


def test_parameters_can_be_read_and_assigned() -> None:
    made = by_hand(precision="float32")
    assert list(made.parameters) == ["W", "b"] and len(made.state) == 8
    copy = made.parameters["b"]
    copy += 1
    assert made.parameters["b"].tolist() == [0, 0, 0]
    made.parameters["b"] = [1, 2, 3]
    assert made.parameters["b"].tolist() == [1, 2, 3]
    made.step(blobs(10))
    made.step(blobs(10))
    assert 0 < np.abs(made.parameters["b"] - [1, 2, 3]).max() < 1
    for name, wrong in (("b", [1, 2]), ("b", [1j, 2, 3]), ("B", [1, 2, 3])):
        with pytest.raises(Error) as caught:
            made.parameters[name] = wrong
        assert caught.value.code == "E0629"
    with pytest.raises(Error):
        del made.parameters["b"]
    with pytest.raises(KeyError):
        made.parameters["c"]


def test_reading_after_an_odd_and_an_even_step() -> None:
    """State alternates between two buffers; what is read is always the newest."""
    made = by_hand()
    data = blobs(10)
    for turn in range(1, 6):
        made.step(data)
        assert int(made.state["step"]) == turn


# --- fit: what is asked for


def test_patience_restores_the_best_epoch() -> None:
    stop = {"patience": 2, "on": "validation.loss", "mode": "min"}
    made = trainer(validate=0.3, stop=stop, epochs=40, rate=1.5)
    history = made.fit(blobs(60))
    losses = [record["validation"]["loss"] for record in history.epochs]
    assert history.stopped and len(losses) < 40
    assert history.best == int(np.argmin(losses)) + 1 == len(losses) - 2
    assert history.final == history.epochs[history.best - 1]
    assert int(made.state["step"]) == history.final["step"]


def test_validation_as_a_share_a_mapping_a_path_and_none(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", **blobs(20, seed=4))
    for given, rows in ((0.5, 45), (blobs(20, seed=4), 90), (tmp_path / "v.npz", 90), (False, 90), (None, 90)):
        seen = []

        class Watch(Callback):
            def on_start(self, start) -> None:
                seen.append(start)  # noqa: B023

        history = trainer().fit(blobs(90), validation=given, epochs=1, callbacks=[Watch()])
        assert seen[0].rows == rows and seen[0].steps == -(-rows // 16)
        assert (history.epochs[0]["validation"] is None) == (given is None or given is False)


def test_data_from_the_settings_count_from_the_folder(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", **blobs(30))
    made = Trainer(compiled(data="d.npz"), device="cpu", folder=tmp_path)
    assert made.fit(epochs=1).steps == 2
    program = SimpleNamespace(model_proto=lambda: compiled(data="d.npz"), folder=tmp_path)
    assert Trainer(program, device="cpu").fit(steps=1, batch="all").steps == 1


@pytest.mark.parametrize(
    ("code", "call"),
    [
        ("E0601", lambda: trainer().fit()),
        ("E0602", lambda: trainer().fit("nowhere.npz")),
        ("E0625", lambda: trainer().fit(blobs(), batch=0)),
        ("E0625", lambda: trainer().fit(blobs(), epochs=-1)),
        ("E0625", lambda: trainer().fit(blobs(), steps=2.5)),
        ("E0628", lambda: trainer().fit(blobs(), epochs=1, steps=1)),
        ("E0630", lambda: trainer(stop={"patience": 1, "on": "validation.loss"}).fit(blobs())),
        ("E0630", lambda: trainer(stop={"patience": 1, "on": "train.los"}).fit(blobs())),
        ("E0631", lambda: trainer().fit(blobs(), validation=1.5)),
        ("E0635", lambda: trainer(stop={"patience": 2, "on": "validation.accuracy"}).fit(blobs(), validation=0.2)),
        ("E0803", lambda: Trainer(compiled(), device="tpu")),
        ("E0620", lambda: trainer().step({"x": np.zeros((1, FEATURES)), "y": [3]})),
    ],
)
def test_what_cannot_be_asked_for(code: str, call) -> None:
    with pytest.raises(Error) as caught:
        call()
    assert caught.value.code == code


def test_a_loss_that_is_no_number_ends_training() -> None:
    made = trainer(rate=1e200)
    with pytest.raises(Error) as caught:
        made.fit(blobs(), epochs=5)
    assert caught.value.code == "E0670" and "at step" in caught.value.message


def test_the_library_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    made = trainer()
    made.fit(blobs(), epochs=1)
    made.predict(blobs())
    made.evaluate(blobs())
    assert capfd.readouterr() == ("", "")


# --- sessions


def test_importing_and_checking_does_without_onnxruntime_and_telemetry_is_off(tmp_path: Path) -> None:
    onnx.save(compiled(), tmp_path / "m.onnx")
    code = (
        "import sys, os; from dlc.runtime import CompiledFile, Trainer; CompiledFile.load('m.onnx');"
        "assert 'onnxruntime' not in sys.modules; Trainer('m.onnx', device='cpu');"
        "assert os.environ['ORT_DISABLE_TELEMETRY'] == '1' and 'onnxruntime' in sys.modules"
    )
    home = tmp_path / "home"
    home.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"} | {"HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(home.iterdir()) == []


def test_a_missing_onnxruntime_names_the_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(Error) as caught:
        session.onnxruntime()
    assert caught.value.code == "E0801" and 'pip install "dlc-compiler[cpu]"' in str(caught.value.help)
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace())
    with pytest.raises(Error) as caught:
        session.onnxruntime()
    assert caught.value.message == "ONNX Runtime is installed in part only"


def test_cuda_that_is_not_there_is_said_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert session.choose("auto") == "cpu"
    with pytest.raises(Error) as caught:
        session.choose("cuda")
    assert caught.value.code == "E0802"


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_cuda_that_does_not_start_is_said_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider is listed, but its libraries are missing: ONNX Runtime falls back to the CPU in silence."""
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("CUDA is here")
    model = compiled()
    del model.training_info[:]
    notes = []
    for listed in (["CPUExecutionProvider"], ["CUDAExecutionProvider", "CPUExecutionProvider"]):
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda listed=listed: listed)
        with pytest.raises(Error) as caught:
            session.Session(model, session.Options("cuda"))
        assert caught.value.code == "E0802"
        notes += caught.value.notes
    assert notes == [
        "this ONNX Runtime has no CUDA provider",
        "the CUDA provider did not start (driver or CUDA libraries missing)",
    ]


def test_a_failure_at_run_time_names_the_line_of_the_spec() -> None:
    made = by_hand(precision="float32")
    made.step(blobs(8))
    before = made.state["W"]
    with pytest.raises(Error) as caught:  # straight to the stepper: the trainer would check the shape
        made.stepper.step({"x": blobs(8)["x"], "y": np.zeros(7, np.int64)})
    assert caught.value.code == "E0804"
    assert caught.value.where is not None and caught.value.where.startswith("softmax.dl:")
    assert np.array_equal(made.state["W"], before)


def test_a_missing_kernel_is_said() -> None:
    model = compiled()
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.BFLOAT16
    for graph in (model.graph,):
        for tensor in graph.initializer:
            tensor.data_type, tensor.raw_data = TensorProto.BFLOAT16, tensor.raw_data[: len(tensor.raw_data) // 2]
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.BFLOAT16
    del model.training_info[:]
    with pytest.raises(Error) as caught:
        session.Session(model, session.Options(fused=True))
    assert caught.value.code == "E0806"
    assert caught.value.where is not None and caught.value.where.startswith("softmax.dl:")


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("[ONNXRuntimeError] : 1 : FAIL : Non-zero status while running Gemm node. Name:'a/b_3' Status: x", "a/b_3"),
        ("Non-zero status. Name:'a/b_3/MatMulAddFusion' Status Message: y", "a/b_3"),
        ("NOT_IMPLEMENTED : Could not find an implementation for Erf(13) node with name 'a/b_3'", "a/b_3"),
    ],
)
def test_messages_of_onnxruntime_are_read(text: str, node: str) -> None:
    found = at_run_time(RuntimeError(text), {"a/b_3": "m.dl:3:4", "a": ""})
    assert found.where == "m.dl:3:4" and f"node: {node}" in found.notes
