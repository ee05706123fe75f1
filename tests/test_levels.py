"""No file depends on the options of a session: plain ONNX Runtime gives the same at each level of its optimizations."""

from __future__ import annotations

from typing import Any

import dlc
import numpy as np
import onnxruntime
import pytest
from dlc.ir import interpret
from every_file import SOURCES, compiled, feeds, given, state, step
from onnx import ModelProto

LEVELS = onnxruntime.GraphOptimizationLevel.__members__
NEAR = {"float32": 2e-4, "float64": 1e-10}  # of the largest number of a tensor: rewrites round otherwise


def run(model: ModelProto, level: Any, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip((out.name for out in session.get_outputs()), session.run(None, given(model, values)), strict=True))


@pytest.mark.parametrize("precision", NEAR)
@pytest.mark.parametrize("name", SOURCES)
def test_every_level_gives_the_same(name: str, precision: str) -> None:
    program = compiled(name, precision)
    model = program.model_proto()
    values = {**state(model), **feeds(program)}
    for graph in (model, step(model)):
        if graph is None or not graph.graph.output:  # what only trains has nothing to predict
            continue
        plain = run(graph, LEVELS["ORT_DISABLE_ALL"], values)
        for level, number in LEVELS.items():
            for output, found in run(graph, number, values).items():
                expected = plain[output]
                assert (found.shape, found.dtype) == (expected.shape, expected.dtype), f"{output} at {level}"
                size = np.max(np.abs(expected), where=np.isfinite(expected), initial=1e-3)
                np.testing.assert_allclose(
                    found, expected, rtol=0, atol=NEAR[precision] * float(size), err_msg=f"{output} at {level}"
                )


ONES = {
    "stack([1.0])": "",
    "eye(1)[none]": "",
    "a": "param a: float[1] init ones",
    "b[none]": "param b: float[1] init ones",
    "exp(0.0 * arange(1))[none]": "",
    "(0 * s + 1)[none]": "",
    "jacobian(s[none] + 0, s)": "",
}


@pytest.mark.parametrize("precision", NEAR)
@pytest.mark.parametrize("one", ONES)
@pytest.mark.parametrize("y", ["y", "min(y)", "y[none]", "y[:1]"])
@pytest.mark.parametrize("form", ["({one} / s) * {y}", "{y} * ({one} / s)", "({one} / min(y)) * {y} * s"])
def test_a_one_of_some_dimensions_keeps_them(form: str, y: str, one: str, precision: str) -> None:
    """(1 / s) * y: for the optimizations of ONNX Runtime it is y / s, whatever the dimensions of the 1."""
    text = f"""model m {{
        input s: float[]
        input y: float[2]
        {ONES[one]}
        output z = {form.format(one=one, y=y)}
    }}"""
    program = dlc.compile(text, precision=precision)
    model = program.model_proto()
    values = {**state(model), **feeds(program)}
    [expected] = interpret.evaluate([program.module.graph.outputs["output/z"]], values)
    for level, number in LEVELS.items():
        found = run(model, number, values)["z"]
        assert found.shape == expected.shape, level
        np.testing.assert_allclose(found, expected, rtol=NEAR[precision], err_msg=level)


def test_whole_quotients_are_no_fractions() -> None:
    """(1 / k) * n of integers is not n / k, as the optimizations of ONNX Runtime have it."""
    program = dlc.compile("model m { input k: int[]; input n: int[3]; output z = (1 // k) * n }")
    for level, number in LEVELS.items():
        found = run(program.model_proto(), number, {"k": np.array(2), "n": np.array([4, 5, -6])})["z"]
        assert found.tolist() == [0, 0, 0], level
