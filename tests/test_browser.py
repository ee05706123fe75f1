"""JavaScript trains our files: onnxruntime-web in Chromium, by WebAssembly and by WebGPU, and onnxruntime-node.

    pytest -m browser

installs both from npm into a temporary folder; ONNXRUNTIME_WEB and ONNXRUNTIME_NODE name folders that have them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlc
import numpy as np
import onnx
import onnxruntime
import pytest
from dlc.runtime import graphs
from javascript import PROVIDERS, Made, Missing, in_chromium, in_node, installed, job, without_doubles
from onnx import numpy_helper

ROOT = Path(__file__).parent.parent
UPDATES, ROWS = 20, 16
SPECS = {"digits": "specs/digits.dl", "lstm": "benchmarks/lstm.dl", "lenet5": "benchmarks/lenet5.dl"}


class Trial:
    """One spec: its step, its state and its batches; and what ONNX Runtime in Python makes of them."""

    def __init__(self, name: str) -> None:
        self.name = name
        program = dlc.compile(ROOT / SPECS[name])
        model = program.model_proto()
        [info] = model.training_info
        self.bindings = {entry.key: entry.value for entry in info.update_binding}
        held = {t.name: t for t in (*model.graph.initializer, *info.algorithm.initializer)}
        state = [name for name in held if name in self.bindings or name in ("key", "steps", "observations")]
        self.step = graphs.concatenate(model, info.algorithm, ["loss", *self.bindings.values()], state)
        self.state = {name: numpy_helper.to_array(held[name]) for name in state}
        self.parameters = [name for name, variable in program.module.variables.items() if variable.kind == "parameter"]
        rng = np.random.default_rng(0)
        if name == "digits":
            data = np.load(ROOT / "specs" / "data" / "digits.npz")
            rows = [rng.integers(0, len(data["y"]), ROWS) for _ in range(UPDATES)]
            self.batches = [{"x": data["x"][at].astype(np.float32), "y": data["y"][at].astype(np.int64)} for at in rows]
        else:
            shape = [ROWS, 28, 28] if name == "lstm" else [ROWS, 1, 28, 28]
            self.batches = [
                {"x": rng.uniform(0, 1, shape).astype(np.float32), "y": rng.integers(0, 10, ROWS)}
                for _ in range(UPDATES)
            ]

    def here(self) -> tuple[list[float], dict[str, np.ndarray]]:
        session = onnxruntime.InferenceSession(self.step.SerializeToString(), providers=["CPUExecutionProvider"])
        names = {value.name for value in session.get_inputs()}
        outputs = [value.name for value in session.get_outputs()]
        state, losses = dict(self.state), []
        for batch in self.batches:
            fed = {name: value for name, value in {**state, **batch}.items() if name in names}
            made = dict(zip(outputs, session.run(None, fed), strict=True))
            losses.append(float(made["loss"]))
            state.update((name, made[after]) for name, after in self.bindings.items())
        return losses, {name: state[name] for name in self.parameters}

    def write(self, folder: Path, how: str) -> dict[str, Any]:
        model = self.step.SerializeToString()
        if how == "webgpu":
            model = without_doubles(model)
        return job(folder, f"{self.name}-{how}", model, self.batches, self.parameters, self.state, self.bindings)

    def holds(self, made: Made, where: str) -> None:
        """Each loss, and the parameters after the last update, to 1e-4."""
        assert not made.error, f"{where}: {made.error}"
        losses, parameters = self.here()
        np.testing.assert_allclose(made.losses, losses, rtol=1e-4, err_msg=f"losses of {where}")
        for path, expected in parameters.items():
            got = made.values[path].reshape(expected.shape)
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4, err_msg=f"{path} of {where}")


def test_a_step_without_doubles_is_the_step() -> None:
    """The script of the page, where there is no WebGPU: 20 updates in Python."""
    trial = Trial("digits")
    losses, parameters = trial.here()
    trial.step = onnx.load_from_string(without_doubles(trial.step.SerializeToString()))
    assert not any(held.data_type == onnx.TensorProto.DOUBLE for held in trial.step.graph.initializer)
    again, made = trial.here()
    np.testing.assert_allclose(again, losses, rtol=1e-5)
    for name, value in parameters.items():
        np.testing.assert_allclose(made[name], value, rtol=0, atol=1e-5)


@pytest.mark.browser
def test_a_browser_trains_as_python_does(tmp_path: Path) -> None:
    """20 updates from the same state on the same batches."""
    trials = {name: Trial(name) for name in SPECS}
    jobs = [
        {**trial.write(tmp_path, how), "bundle": bundle, "provider": provider}
        for how, (bundle, provider) in PROVIDERS.items()
        for trial in trials.values()
    ]
    try:
        found = in_chromium(tmp_path, installed("onnxruntime-web", tmp_path), jobs)
    except Missing as reason:
        pytest.skip(str(reason))
    for name, trial in trials.items():
        for how in PROVIDERS:
            trial.holds(found[f"{name}-{how}"], f"{name} by {how}")


@pytest.mark.browser
def test_node_trains_as_python_does(tmp_path: Path) -> None:
    trials = {name: Trial(name) for name in SPECS}
    jobs = [trial.write(tmp_path, "node") for trial in trials.values()]
    try:
        found = in_node(tmp_path, installed("onnxruntime-node", tmp_path), jobs)
    except Missing as reason:
        pytest.skip(str(reason))
    for name, trial in trials.items():
        trial.holds(found[f"{name}-node"], f"{name} in Node")
