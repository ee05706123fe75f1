"""`freeze`: what it holds is neither differentiated nor updated, and has no optimizer state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest
from test_checkpoint import Interrupt, same

MODEL = """
    model m {
        input  x: float[batch, 4]
        target y: float[batch, 2]
        body = dense(3)
        norm = batch_norm()
        head = dense(2)
        p = head(relu(norm(body(x))))
        loss = mean((p - y)^2)
        output p = p
    }
    train { minimize loss using adam(0.1); RULE; batch: 5; epochs: 3; seed: 1 }
"""
RNG = np.random.default_rng(0)
DATA = {"x": RNG.normal(size=(15, 4)), "y": RNG.normal(size=(15, 2))}


def trainer(rule: str, text: str = MODEL, **options: Any) -> dlc.Trainer:
    return dlc.Trainer(dlc.compile(text.replace("RULE", rule), precision="float64", **options), device="cpu")


def moved(found: dlc.Trainer) -> set[str]:
    before = {name: value.copy() for name, value in found.state.items()}
    found.fit(DATA)
    return {name for name, value in found.state.items() if not np.array_equal(value, before[name])} - {"step"}


@pytest.mark.parametrize(
    ("rule", "held"),
    [
        ("freeze body.*", {"body.W", "body.b"}),
        ("freeze body.*, norm.*", {"body.W", "body.b", "norm.scale", "norm.shift", "norm.seen_mean", "norm.seen_var"}),
        ("freeze norm.seen_mean", {"norm.seen_mean"}),
        ("freeze *.b; freeze head.*; freeze head.b", {"body.b", "head.W", "head.b"}),
        ("freeze not head.* and not *.seen_*", {"body.W", "body.b", "norm.scale", "norm.shift"}),
        ("freeze *.W; penalty: l2(0.1) on body.*", {"body.W", "head.W"}),
        ("freeze *.W; clip: global_norm(1.0)", {"body.W", "head.W"}),
    ],
)
def test_what_is_frozen_stands_still_and_the_rest_moves(rule, held):
    made = trainer(rule)
    every = {name for name in made.state if "/" not in name and name != "step"}
    states = {name for name in made.state if "/" in name}
    assert not {name for name in states if name.partition("/m/")[2] in held or name.partition("/v/")[2] in held}
    assert moved(made) == (every - held) | states


def test_it_moves_the_others_as_if_over_named_them():
    one = trainer("freeze body.*; penalty: l2(0.1) on *.W; clip: global_norm(0.5)")
    two = trainer("", MODEL.replace("loss using", "loss over norm.*, head.* using").replace(
        "RULE", "penalty: l2(0.1) on head.W; clip: global_norm(0.5)"
    ))  # fmt: skip
    one.fit(DATA)
    two.fit(DATA)
    for name in one.parameters:
        np.testing.assert_array_equal(one.parameters[name], two.parameters[name])


def test_over_and_freeze_together():
    text = MODEL.replace("minimize loss using", "minimize loss over *.W using")
    assert {name for name in moved(trainer("freeze body.*", text)) if "/" not in name} == {
        "head.W", "norm.seen_mean", "norm.seen_var",
    }  # fmt: skip


def test_no_derivative_is_taken_by_it():
    frozen = dlc.compile(MODEL.replace("RULE", "freeze body.*"))
    free = dlc.compile(MODEL.replace("RULE", ""))
    nodes = [len(p.model_proto().training_info[0].algorithm.node) for p in (frozen, free)]
    assert nodes[0] < nodes[1]
    assert frozen.settings["train"]["freeze"] == ["body.*"]


def test_a_frozen_run_resumes_bit_for_bit(tmp_path: Path):
    whole = trainer("freeze body.*, norm.*")
    whole.fit(DATA)
    part = trainer("freeze body.*, norm.*")
    with pytest.raises(KeyboardInterrupt):
        part.fit(DATA, run=tmp_path, callbacks=[Interrupt(4)])
    again = dlc.Trainer.resume(next(tmp_path.iterdir()), device="cpu")
    again.fit(DATA)
    same(whole, again)


def test_summary_says_what_is_not_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from dlc.cli import main

    path = tmp_path / "m.dl"
    path.write_text(MODEL.replace("RULE", "freeze body.*"))
    assert main(["summary", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1:3] for line in lines if line.startswith("body")] == [["W", "(frozen)"]]
    assert sum("(frozen)" in line for line in lines) == 2
