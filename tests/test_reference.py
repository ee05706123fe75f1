"""ONNX's own ReferenceEvaluator trains our files: every operator as its specification defines it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlc
import numpy as np
import onnxruntime
import pytest
from every_file import feeds, given, state, step
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator

ROOT = Path(__file__).parent.parent
GPT = {"vocabulary": 32, "time": 8, "width": 16, "layers": 2, "heads": 2}


def trained(run: Any, model: ModelProto, program: dlc.Program) -> tuple[list[float], dict[str, np.ndarray]]:
    """The losses of 3 updates, and what the state is then."""
    whole = step(model)
    assert whole is not None
    bound = {entry.key: entry.value for entry in model.training_info[0].update_binding}
    outputs = ["loss", *bound.values()]
    held, losses = state(model), []
    for update in range(3):
        made = dict(zip(outputs, run(outputs, given(whole, {**held, **feeds(program, update)})), strict=True))
        losses.append(float(made["loss"]))
        held.update((name, np.asarray(made[after])) for name, after in bound.items())
    return losses, {name: held[name] for name in bound}


@pytest.mark.parametrize(("spec", "settings"), [("specs/digits.dl", {}), ("benchmarks/gpt.dl", GPT)])
def test_the_reference_evaluator_trains_as_onnx_runtime_does(spec: str, settings: dict[str, int]) -> None:
    """Dropout and its random bits included: 3 updates, to 1e-6."""
    program = dlc.compile(ROOT / spec, **settings)
    model = program.model_proto()
    whole = step(model)
    assert whole is not None
    session = onnxruntime.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])
    losses, there = trained(session.run, model, program)
    found, here = trained(ReferenceEvaluator(whole).run, model, program)
    np.testing.assert_allclose(found, losses, rtol=0, atol=1e-6)
    assert losses[0] != losses[2]
    for name, value in there.items():
        np.testing.assert_allclose(here[name], value, rtol=0, atol=1e-6, err_msg=name)
