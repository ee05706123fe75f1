"""Specs that once came out wrong, each with what mathematics gives for it.

The comment lines at the head of a spec in `tests/faults/` say what is fed and what must come out:

    # mode: predict | steps | evaluate | fit      (predict: plain ONNX Runtime; steps: one feed a batch)
    # precision: float32 | float64                (float64 where it is not said)
    # feed: JSON       # expect: JSON (outputs, state or figures)       # tol: relative, 1e-9 where it is not said

`{"full": [shape, value]}` is an array of one number, `{"ramp": [n, start, step]}` are evenly spaced ones; the strings
"inf", "-inf" and "nan" are numbers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest

SPECS = sorted((Path(__file__).parent / "faults").glob("*.dl"))
KINDS = {"tensor(double)": np.float64, "tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(bool)": np.bool_}


def array(value: Any) -> np.ndarray:
    if isinstance(value, dict):
        if "full" in value:
            shape, number = value["full"]
            return np.full(shape, number)
        n, start, step = value["ramp"]
        return start + step * np.arange(n)
    text = json.dumps(value)
    for word, number in (('"inf"', "Infinity"), ('"-inf"', "-Infinity"), ('"nan"', "NaN")):
        text = text.replace(word, number)
    return np.asarray(json.loads(text))


def head(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# ") and ": " in line:
            key, value = line[2:].split(": ", 1)
            found.setdefault(key, value.strip())
    return found


def predicted(program: dlc.Program, feed: dict[str, Any]) -> dict[str, np.ndarray]:
    """By plain ONNX Runtime, as a stranger to dlc would."""
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(program.model_proto().SerializeToString())
    data = {given.name: array(feed[given.name]).astype(KINDS[given.type]) for given in session.get_inputs()}
    return dict(zip((out.name for out in session.get_outputs()), session.run(None, data), strict=True))


def result(path: Path, said: dict[str, str]) -> Any:
    feed = json.loads(said["feed"])
    program = dlc.compile(path.read_text(encoding="utf-8"), precision=said.get("precision", "float64"))
    if said["mode"] == "predict":
        return predicted(program, feed)
    trainer = dlc.Trainer(program)
    if said["mode"] == "steps":
        for batch in feed:
            trainer.step({name: array(value) for name, value in batch.items()})
        return trainer.state
    data = {name: array(value) for name, value in feed.items()}
    if said["mode"] == "evaluate":
        return trainer.evaluate(data)
    trainer.fit(data)
    return trainer.state


@pytest.mark.parametrize("path", SPECS, ids=[path.stem for path in SPECS])
def test_comes_out_as_mathematics_has_it(path: Path) -> None:
    said = head(path.read_text(encoding="utf-8"))
    found = result(path, said)
    for name, value in json.loads(said["expect"]).items():
        wanted, got = array(value), np.asarray(found[name])
        assert got.shape == wanted.shape, name
        np.testing.assert_allclose(got, wanted, rtol=float(said.get("tol", 1e-9)), atol=0, err_msg=name)
