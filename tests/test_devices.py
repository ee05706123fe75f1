"""Devices beside the CPU and CUDA: those that ONNX Runtime or a plug-in offers, and what is said of others."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest
from dlc.cli.app import main as run
from dlc.runtime import devices
from dlc.runtime.session import onnxruntime, sources

SPEC = """
model line {
    input  x: float[batch, 3]
    target y: int[batch]
    y ~ categorical(logits = x |> dense(8) |> tanh |> dense(2))
}
train { minimize loss using adam(0.01); batch: 8; epochs: 2 }
"""
X = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)
ROWS = {"x": X, "y": (X[:, 0] > 0).astype(np.int64)}


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device `other`, which is ONNX Runtime as it comes."""
    monkeypatch.setattr(devices, "offered", lambda module: {"other": "OtherExecutionProvider"})
    monkeypatch.setattr(devices, "use", lambda module, options, device: ["CPUExecutionProvider"])


def test_training_on_another_provider(stand_in: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(devices, "taken", lambda session: (7, 9))
    one, other = (dlc.Trainer(dlc.compile(SPEC), name, native=False) for name in ("cpu", "other"))
    histories = [trainer.fit(ROWS) for trainer in (one, other)]
    assert other.device == "other" and histories[1].epochs[-1]["train"] == pytest.approx(
        histories[0].epochs[-1]["train"], rel=1e-5
    )
    for name, value in one.parameters.items():
        np.testing.assert_allclose(other.parameters[name], value, atol=1e-6)
    np.testing.assert_allclose(other.predict(ROWS)["probability"], one.predict(ROWS)["probability"], atol=1e-6)
    other.save(tmp_path / "line.onnx")
    assert dlc.Trainer(tmp_path / "line.onnx", "cpu").evaluate(ROWS) == pytest.approx(other.evaluate(ROWS), rel=1e-5)


def test_a_provider_that_takes_nothing_is_refused(stand_in: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "taken", lambda session: (0, 9))
    with pytest.raises(dlc.Error) as caught:
        dlc.Trainer(dlc.compile(SPEC), "other").step(ROWS)
    assert caught.value.code == "E0802" and "all 9 nodes" in str(caught.value)


def test_a_provider_that_cannot_load_a_step_says_which_line(
    stand_in: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What OpenVINO says of a convolution whose weights are fed to it, and of a cycle that it makes itself."""
    (tmp_path / "line.dl").write_text(SPEC, "utf-8")
    program = dlc.compile(tmp_path / "line.dl")
    places = sources(program.model_proto().training_info[0].algorithm)
    node, place = next((name, place) for name, place in places.items() if "line.dl:5:" in place)
    long = f"Exception {'std::pair<int, long>& ' * 300}: Unsupported operation of type: Tanh name: {node} Details: no"
    for said, told in ((long, f"{node} Details: no"), ("the graph is not acyclic.", "the graph is not acyclic.")):

        def fails(*given: Any, said: str = said, **more: Any) -> Any:
            raise RuntimeError(said)

        with monkeypatch.context() as context:
            trainer = dlc.Trainer(program, "other")
            context.setattr(onnxruntime(), "InferenceSession", fails)
            with pytest.raises(dlc.Error) as caught:
                trainer.step(ROWS)
        assert caught.value.code == "E0802" and "`other` cannot load this model" in str(caught.value)
        assert told in str(caught.value) and len(str(caught.value)) < 700
        assert (f"node: {node}" in str(caught.value)) == (said is long)
        assert caught.value.where == (place if said is long else None)


def test_what_a_session_takes_is_counted() -> None:
    module = onnxruntime()
    options = module.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    data = dlc.compile(SPEC).model_proto().SerializeToString()
    count, whole = devices.taken(module.InferenceSession(data, options, providers=["CPUExecutionProvider"]))
    assert count == 0 and whole > 2


class Runtime:
    """ONNX Runtime as far as plug-ins need it."""

    def __init__(self, there: list[str]) -> None:
        self.there, self.loaded = there, list[str]()

    def get_available_providers(self) -> list[str]:
        return ["AzureExecutionProvider", "XnnpackExecutionProvider", "CPUExecutionProvider"]

    def register_execution_provider_library(self, name: str, path: str) -> None:
        if path == "broken":
            raise RuntimeError("cannot open shared object file")
        self.loaded.append(path)

    def get_ep_devices(self) -> list[Any]:
        return [types.SimpleNamespace(ep_name=name) for name in self.there]


def plugin(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    made: Any = types.ModuleType("onnxruntime_ep_toy")
    made.__spec__ = types.SimpleNamespace(name="onnxruntime_ep_toy")
    made.get_library_path, made.get_ep_name = lambda: path, lambda: "ToyExecutionProvider"
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_toy", made)


def test_a_plug_in_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(monkeypatch, "libtoy.so")
    runtime = Runtime(["ToyExecutionProvider", "CPUExecutionProvider"])
    assert devices.find(runtime, "toy") == "toy" and devices.find(runtime, "toy") == "toy"
    assert runtime.loaded == ["libtoy.so"]  # once
    assert devices.find(runtime, "xnnpack") == "xnnpack"
    for there, path, said in (([], "libtoy.so", "no hardware"), ([], "broken", "cannot open shared object")):
        plugin(monkeypatch, path)
        with pytest.raises(dlc.Error) as caught:
            devices.find(Runtime(there), "toy")
        assert caught.value.code == "E0802" and said in str(caught.value)


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("gpu", "did you mean `cuda`"),
        ("cudda", "did you mean `cuda`"),
        ("tpu", "there are auto, cpu, cuda"),
        ("azure", "no device"),
    ],
)
def test_a_device_that_is_not_here(device: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "line.dl").write_text(SPEC, "utf-8")
    assert run(["train", str(tmp_path / "line.dl"), "--device", device]) == 2
    told = capsys.readouterr().err
    assert "E0803" in told and said in told
