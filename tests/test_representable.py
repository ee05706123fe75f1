"""Numbers that float32 does not have (W0205): named where they count, and only there."""

from __future__ import annotations

import dlc
import numpy as np
import pytest
from dlc.pipeline import check, source_of

SPEC = """fn scaled(a, by = 1e-60) = a * by
model m {{
    input x: float[batch, 3]
    param w: float[3] init {init}
    loss = mean((x @ w)^2)
    output f = {output}
}}
train {{ minimize loss using {rule} }}"""
PLAIN = {"init": "zeros", "output": "x", "rule": "sgd(0.1)"}
LOST = [
    {"output": "x * 1e39"},
    {"output": "x + 1e-50"},
    {"output": "x - -1e39"},
    {"output": "where(x > 0, x, 4e38)"},
    {"output": "maximum(x, 1e-300)"},
    {"output": "x * 16_777_217e40"},
    {"output": "scaled(x)"},
    {"output": "scaled(x, 1e39)"},
    {"output": "x * (1e30 * 1e30)"},
    {"init": "1e39"},
    {"init": "normal(0, 1e-60)"},
    {"rule": "sgd(1e-50)"},
    {"rule": "adam(0.1, eps = 1e-60)"},
    {"output": "x / stack([1.0, 1e-60, 2.0])"},
]
KEPT = [
    {"output": "x * 3.4e38"},
    {"output": "x + 1e-44"},
    {"output": "x * (1e-30 * 1e30)"},
    {"output": "x * inf + nan"},
    {"output": "x * 1e-60 ^ 0"},
    {"output": "x + 0.0"},
    {"output": "16777217 * x"},
    {"init": "1e-30"},
    {"rule": "sgd(cosine(0.1, over = 1e39))"},
    {"rule": "sgd(0.1 * (1 - 1e-60 ^ step))"},
]


@pytest.mark.parametrize("change", LOST, ids=str)
def test_a_number_that_is_lost(change: dict[str, str]) -> None:
    text = SPEC.format(**PLAIN | change)
    found = check(source_of(text)[0])[1]
    assert [w.code for w in found] == ["W0205"]
    assert found[0].labels
    assert not dlc.compile(text, precision="float64").warnings
    assert [w.code for w in dlc.compile(text).warnings] == ["W0205"]


@pytest.mark.parametrize("change", KEPT, ids=str)
def test_a_number_that_is_kept(change: dict[str, str]) -> None:
    assert not check(source_of(SPEC.format(**PLAIN | change))[0])[1]


def test_the_literal_is_named() -> None:
    text = SPEC.format(**PLAIN | {"output": 'x + 1e39  # 1e39 "'}).replace("model m", "# 1e39\nmodel m")
    label = check(source_of(text)[0])[1][0].labels[0]
    assert label.span.text == "1e39" and label.span.source.text[: label.span.start].endswith("output f = x + ")


def test_what_is_said_is_what_the_file_does() -> None:
    def value(number: str) -> np.ndarray:
        program = dlc.compile(SPEC.format(**PLAIN | {"output": f"x * {number}"}))
        result: np.ndarray = dlc.Trainer(program).predict({"x": np.ones((1, 3), np.float32)})["f"]
        return result

    assert np.isinf(value("1e39")).all() and not value("1e-50").any()
    assert np.isfinite(value("3.4e38")).all() and value("1e-44").all()


def test_a_hyperparameter_from_outside_is_named_where_it_is_used() -> None:
    text = SPEC.format(**PLAIN | {"output": "x * c"}).replace("model m {", "model m(c = 1.0) {")
    assert not check(source_of(text)[0])[1]
    found = check(source_of(text)[0], set={"c": 1e-70})[1]
    assert [w.code for w in found] == ["W0205"] and found[0].labels[0].span.text == "x * c"
