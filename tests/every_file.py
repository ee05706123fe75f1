"""Every file that the suite can make, and its two graphs as a stranger runs them: plain ONNX Runtime, no dlc."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import onnx
from dlc.ir.types import evaluate, names_of
from onnx import ModelProto, TensorProto, helper
from shelf import SHELF
from test_specs_design import LACKING, SMALL as DESIGNS

ROOT = Path(__file__).parent.parent
# Cut down to what a test can afford: what they compute stays.
SMALL: dict[str, dict[str, Any]] = {
    "benchmarks/deep_residual": {"depth": 4},
    "benchmarks/gpt": {"vocabulary": 32, "time": 8, "width": 16, "layers": 1, "heads": 2},
    "specs/contractive": DESIGNS["contractive"][0],
    **{f"specs_design/{name}": hyperparameters for name, (hyperparameters, _) in DESIGNS.items()},
}
FOLDERS = [ROOT / "specs", ROOT / "benchmarks", *(ROOT / "tests" / name for name in ("specs_design", "faults"))]


def sources() -> dict[str, str]:
    """Name -> text of each spec."""
    found = {
        f"{folder.name}/{path.stem}": path.read_text("utf-8")
        for folder in FOLDERS
        for path in sorted(folder.glob("*.dl"))
        if path.stem not in LACKING
    }
    return {**found, **SHELF}


SOURCES = sources()


def compiled(name: str, precision: str) -> dlc.Program:
    path = ROOT / f"{name}.dl"  # one that loads weights or imports is no text alone
    text = path if path.is_file() else SOURCES[name].replace("224, 224", "32, 32")
    return dlc.compile(text, precision=precision, set=SMALL.get(name, {}))


def feeds(program: dlc.Program, seed: int = 0) -> dict[str, np.ndarray]:
    """Data that fit, by the name of the input."""
    rng = np.random.default_rng(seed)
    module = program.module
    kind = np.float64 if program.precision == "float64" else np.float32
    made: dict[str, np.ndarray] = {}
    for leaf in (*module.inputs, *module.targets):
        name = str(leaf.attrs["name"])
        free = {dim: 4 if dim == module.batch else 6 for size in leaf.shape for dim in names_of(size)}
        shape = [evaluate(size, free) for size in leaf.shape]
        low, high = module.whole_range(name) or (0, 2)
        if leaf.dtype == "float":
            made[name] = rng.uniform(0.05, 0.95, shape).astype(kind)
        elif leaf.dtype == "bool":
            made[name] = rng.uniform(0, 1, shape) < 0.5
        else:
            made[name] = rng.integers(low, high, shape)
    return made


def step(model: ModelProto, turn: int = 0) -> ModelProto | None:
    """The main graph and `algorithm` concatenated as docs/file-format.md says; state is fed. None without training.
    `turn`: which of several."""
    if not model.training_info:
        return None
    info = model.training_info[turn]
    bound = {entry.key for each in model.training_info for entry in each.update_binding}
    held = [*model.graph.initializer, *info.algorithm.initializer]
    fed = [t for t in held if t.name in bound or t.name in ("key", "steps", "observations")]
    names = {t.name for t in fed}
    return helper.make_model(
        helper.make_graph(
            [*model.graph.node, *info.algorithm.node],
            "step",
            [
                *model.graph.input,
                *info.algorithm.input,
                *(helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in fed),
            ],
            [*model.graph.output, *info.algorithm.output],
            [t for t in held if t.name not in names],
            value_info=[*model.graph.value_info, *info.algorithm.value_info],
        ),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
    )


def state(model: ModelProto, turn: int = 0) -> dict[str, np.ndarray]:
    """What the initializers of a step hold, by name."""
    held: list[TensorProto] = [*model.graph.initializer]
    for info in model.training_info[turn : turn + 1]:
        held += info.algorithm.initializer
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in held}


def given(model: ModelProto, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those of the values that the model takes."""
    return {value.name: values[value.name] for value in model.graph.input}
