"""The file alone: stock ONNX Runtime predicts and trains from it in a process that cannot import dlc."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import dlc
import numpy as np
import pytest

SPECS = Path(__file__).parent.parent / "specs"

# What a stranger writes from docs/file-format.md. It refuses to import dlc, and prints what it found as JSON.
STRANGER = """
import json, os, sys
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name == "dlc" or name.startswith("dlc."):
            raise ImportError("dlc is not here")

sys.meta_path.insert(0, Refuse())
import numpy as np, onnx, onnxruntime
from onnx import helper, numpy_helper

file, data, updates, batch = sys.argv[1], np.load(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
model = onnx.load(file)
session = onnxruntime.InferenceSession(file)
names = [i.name for i in session.get_inputs()]
report = {"outputs": {o.name: np.asarray(v).tolist() for o, v in zip(
    session.get_outputs(), session.run(None, {n: data[n][:7] for n in names}))}, "losses": {}, "starts": {}}

[info] = model.training_info
bound = {b.key: b.value for b in info.update_binding}
held = [*model.graph.initializer, *info.algorithm.initializer]
fed = {t.name: t for t in held if t.name in bound or t.name in ("key", "steps", "observations")}
step = helper.make_model(helper.make_graph(
    [*model.graph.node, *info.algorithm.node], "step",
    [*model.graph.input, *info.algorithm.input,
     *(helper.make_tensor_value_info(n, t.data_type, t.dims) for n, t in fed.items())],
    [o for o in info.algorithm.output if not o.name.startswith("evaluate/")],
    [t for t in held if t.name not in fed]), opset_imports=model.opset_import, ir_version=model.ir_version)
step = onnxruntime.InferenceSession(step.SerializeToString())
reads, writes = {i.name for i in step.get_inputs()}, [o.name for o in step.get_outputs()]
for seed in (1, 2):
    start = onnx.GraphProto()
    start.CopyFrom(info.initialization)
    [drawn] = [t for t in start.initializer if t.name == "seed"]
    drawn.CopyFrom(numpy_helper.from_array(np.array(seed, np.uint64), "seed"))
    start = helper.make_model(start, opset_imports=model.opset_import, ir_version=model.ir_version)
    start = onnxruntime.InferenceSession(start.SerializeToString())
    made = dict(zip([o.name for o in start.get_outputs()], start.run(None, {})))
    state = {n: numpy_helper.to_array(t) for n, t in fed.items()}
    state.update({b.key: made[b.value] for b in info.initialization_binding if b.key in fed})
    report["starts"][seed] = float(sum(np.abs(v).sum() for n, v in state.items() if v.dtype.kind == "f"))
    losses, rows = [], np.random.default_rng(seed)
    for update in range(updates):
        at = rows.integers(0, len(data["y"]), batch)
        got = dict(zip(writes, step.run(None, {**{n: data[n][at] for n in data.files if n in reads},
                                               **{n: v for n, v in state.items() if n in reads}})))
        state.update({key: got[value] for key, value in bound.items()})
        losses.append(float(got["loss"]))
    report["losses"][seed] = losses
assert not any(name == "dlc" or name.startswith("dlc.") for name in sys.modules)
print(json.dumps(report))
"""


@pytest.mark.parametrize(("spec", "settings"), [("digits", {}), ("groups", {}), ("wrappers", {"turns": 2})])
def test_a_stranger_predicts_and_trains(tmp_path: Path, spec: str, settings: dict[str, int]) -> None:
    """Predictions are those of the interpreter; two seeds start apart, and 50 updates lower the loss of each."""
    program = dlc.compile(SPECS / f"{spec}.dl", **settings)
    file = program.save(tmp_path / "model.onnx")
    (tmp_path / "stranger.py").write_text(STRANGER)
    done = subprocess.run(
        [sys.executable, "-I", *map(str, (tmp_path / "stranger.py", file, SPECS / "data" / "digits.npz", 50, 64))],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)

    from dlc.ir.interpret import evaluate

    module = program.module
    start = evaluate(list(module.roots("initial/").values()), {"seed": module.settings["train"]["seed"]})
    feeds = {name.removeprefix("initial/"): value for name, value in zip(module.roots("initial/"), start, strict=True)}
    digits = np.load(SPECS / "data" / "digits.npz")
    [expected] = evaluate([module.graph.outputs["output/probability"]], {**feeds, "x": digits["x"][:7]})
    np.testing.assert_allclose(report["outputs"]["probability"], expected, atol=2e-6)

    assert report["starts"]["1"] != report["starts"]["2"]
    for losses in report["losses"].values():
        assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_the_derivative_is_part_of_the_predicting_graph(tmp_path: Path) -> None:
    """`output force = -grad(energy, x)`: stock ONNX Runtime gives minus the central difference of the energy."""
    import onnxruntime

    program = dlc.compile(
        """
        model field(hidden = 16) {
            input x: float[batch, 3]
            energy = (x |> dense(hidden) |> tanh |> dense(1))[:, 0] + 0.1 * sum(x^4, axis = -1)
            output energy = energy
            output force  = -grad(sum(energy), x)
        }
        """,
        precision="float64",
    )
    session = onnxruntime.InferenceSession(program.model_proto().SerializeToString())
    x = np.random.default_rng(0).normal(size=(6, 3))
    force = session.run(["force"], {"x": x})[0]
    for axis in range(3):
        h = np.zeros(3)
        h[axis] = 1e-4
        ahead, behind = (session.run(["energy"], {"x": x + side * h})[0] for side in (1, -1))
        np.testing.assert_allclose(force[:, axis], -(ahead - behind) / 2e-4, rtol=1e-6, atol=1e-7)
