"""A watched run: specs made to overflow slowly are named before the step that is NaN, healthy ones never."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest
from dlc.runtime import Error, Trainer
from dlc.runtime.detect import FILE, Detector

SPECS = Path(__file__).parent.parent / "specs"
SPEC = """
model m {{
    input  x: float[batch, 4]
    target y: float[batch]
    z = (x |> dense(1))[:, 0]
    {line}
}}
train m {{ minimize loss using {rule}; batch: 4; seed: 1 }}
"""
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 4)).astype(np.float32)
DATA = {"x": X, "y": X.sum(1)}


def watched(line: str, rule: str, precision: str = "float32", steps: int = 200, every: int = 1) -> tuple[Detector, int]:
    """What was seen, and how many updates were finite."""
    one = Trainer(dlc.compile(SPEC.format(line=line, rule=rule), precision=precision), device="cpu")
    detector = Detector(one, every)
    try:
        one.fit(DATA, steps=steps, callbacks=[detector])
    except Error as problem:
        assert problem.code == "E0670"
    return detector, one.progress.step


@pytest.mark.parametrize(
    ("line", "rule", "kind", "place"),
    [
        ("loss = mean((z - y)^2)", "sgd(2.0)", "near overflow", "6"),
        ("loss = mean((z - y)^2)", "sgd(2.0)", "large update", "dense.W"),
        ("loss = mean(1e-38 * exp(z) - z) + 0 * mean(y)", "sgd(0.3)", "near overflow", "6"),
        ("loss = mean((z - y)^2)", "sgd(2.0)", "growing gradient", "dense.W"),
        ("loss = mean((relu(z - 50) - y)^2) + mean(relu((x |> dense(3)) - 90))", "sgd(0.1)", "dead relu", "6"),
    ],
)
def test_what_comes_is_said_before_it_is_there(line: str, rule: str, kind: str, place: str) -> None:
    detector, done = watched(line, rule)
    kinds = {sight.kind: sight for sight in reversed(detector.sights)}
    assert kind in kinds, detector.sights
    assert kinds[kind].step <= done
    assert place in kinds[kind].where
    problem = detector.error()
    assert problem is not None and problem.code == "E0656"


SCAN = """scan t over 0..3 {{
        state h: float[batch] = 0
        g = h + {more} + 0 * z
        h <- {line}
    }}
    loss = mean((z - y)^2) + 1e-9 * mean(h)"""


@pytest.mark.parametrize(
    ("more", "line", "kind", "steps"),
    [
        (27, "g + tanh(exp(g))", "near overflow", 1),  # of 27, 55 and 83: what comes out is 84
        (0, "relu(g[:, none] - 90)[:, 0]", "dead relu", 3),
        (0, "softmax(stack([g + 90, g], axis = 1))[:, 0]", "saturated softmax", 3),
    ],
)
def test_the_iterations_of_a_scan_are_looked_at(more: int, line: str, kind: str, steps: int) -> None:
    detector, done = watched(SCAN.format(more=more, line=line), "sgd(0)", steps=steps)
    assert [(one.kind, one.step) for one in detector.sights] == [(kind, steps)] and done == steps
    assert detector.sights[0].where.split(":")[-2] == "9"
    assert watched(SCAN.format(more=more, line=line), "sgd(0)", steps=max(1, steps - 1))[0].sights == [] or steps == 1


def test_a_relu_that_lives_in_one_iteration_is_not_dead() -> None:
    line = "relu(g[:, none] - 0.5)[:, 0] + 1"
    assert watched(SCAN.format(more=0, line=line), "sgd(0)", steps=4)[0].sights == []


def test_a_softmax_that_is_sure_of_every_row_is_said() -> None:
    """One that the loss is made of; a row that it is not sure of, and it is none."""
    line = "p = softmax({much} * x[:, :2])\n    loss = mean((z + p[:, 0] - y)^2)"
    seen = watched(line.format(much=1e6), "sgd(0)", steps=4)[0].sights
    assert [(one.kind, one.step) for one in seen] == [("saturated softmax", 3)] and ":6:" in seen[0].where
    assert watched(line.format(much=3), "sgd(0)", steps=4)[0].sights == []
    outside = "p = softmax(1e6 * x[:, :2])\n    output o = p\n    loss = mean((z - y)^2)"
    assert watched(outside, "sgd(0)", steps=4)[0].sights == []


def test_looks_are_counted_for_each_relu_of_a_line() -> None:
    """Four of one line are dead: that is one look at each, no four looks."""
    line = "h = x\n    for i in 0..4 { h = relu((h |> dense(4)) - 90) }\n    loss = mean((z - y)^2) + mean(h)"
    assert watched(line, "sgd(0)", steps=1)[0].sights == []
    kinds = [(sight.kind, sight.step) for sight in watched(line, "sgd(0)", steps=4)[0].sights]
    assert ("dead relu", 3) in kinds


@pytest.mark.parametrize("living", ["mean(relu(x |> dense(3)))", "mean(relu(z + 90)) + mean(relu(x))"])
@pytest.mark.parametrize("first", [True, False])
def test_a_dead_relu_beside_a_living_one_of_its_line_is_found(living: str, first: bool) -> None:
    parts = ["mean(relu((x |> dense(3)) - 90))", living]
    detector, _ = watched(f"loss = mean((z - y)^2) + {' + '.join(parts if first else parts[::-1])}", "sgd(0)", steps=3)
    assert "dead relu" in [sight.kind for sight in detector.sights]


def test_looks_are_counted_for_each_loss_that_moves_a_parameter() -> None:
    """Of two losses that take turns both move `dense.W`: six lengths in three looks, three of each."""
    text = SPEC.format(line="loss one = mean((z - y)^2)\n    loss two = mean((z - 2 * y)^2)", rule="sgd(5.0)")
    text = text.replace("minimize loss", "minimize one over dense.W using sgd(5.0); minimize two over dense.W")
    one = Trainer(dlc.compile(text), device="cpu")
    detector = Detector(one)
    one.fit(DATA, steps=2, callbacks=[detector])
    assert len(one.stage.parts) == 2 and detector.sights == []
    one.fit(DATA, steps=1, callbacks=[detector])
    assert "large update" in [sight.kind for sight in detector.sights]


def test_float16_has_an_end_of_its_own() -> None:
    detector, done = watched(
        "loss = mean(((z * 8000) |> reshape([batch, 1]) |> dense(1))^2) + mean(y) * 0", "sgd(0)", "float16", 3
    )
    assert done == 3 and any("float16" in sight.said for sight in detector.sights)


@pytest.mark.parametrize("spec", ["digits", "cnn", "xor", "linear", "logistic", "softmax", "poisson", "inverse"])
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_healthy_run_says_nothing(spec: str, precision: str) -> None:
    one = Trainer(dlc.compile(SPECS / f"{spec}.dl", precision=precision), device="cpu")
    detector = Detector(one)
    one.fit(steps=25, callbacks=[detector])
    assert detector.sights == [] and detector.error() is None


def test_a_look_changes_nothing() -> None:
    a, b = (Trainer(dlc.compile(SPECS / "xor.dl"), device="cpu") for _ in range(2))
    a.fit(steps=30), b.fit(steps=30, callbacks=[Detector(b)])
    for name in a.state:
        assert np.array_equal(a.state[name], b.state[name]), name


def test_the_command_tells_and_ends_with_2(run: Any, tmp_path: Path) -> None:
    spec = tmp_path / "m.dl"
    spec.write_text(SPEC.format(line="loss = mean((z - y)^2)", rule="sgd(0.5)"), "utf-8")
    np.savez(tmp_path / "d.npz", **DATA)
    common = (spec, "--data", tmp_path / "d.npz", "--runs", tmp_path / "runs", "--steps", "12")
    status, _, err = run("train", *common, "--detect", "1")
    assert status == 2 and "E0656" in err and "before update" in err
    [folder] = (tmp_path / "runs").iterdir()
    lines = [json.loads(line) for line in (folder / FILE).read_text("utf-8").splitlines()]
    assert lines[0]["event"] == "detected" and set(lines[0]) == {"event", "step", "kind", "said", "where"}
    assert (folder / "m.onnx").exists()
    assert run("train", *common)[0] == 0
    assert run("train", *common, "--detect", "0")[0] == 2
