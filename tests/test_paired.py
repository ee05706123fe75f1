"""Parameters that belong to rows by their place (W0204), and the order in which rows are taken."""

from __future__ import annotations

from pathlib import Path

import dlc
import numpy as np
import pytest
from dlc.pipeline import check, source_of

ROOT = Path(__file__).parent.parent
SPEC = """model schools {{
    input  sigma: float[j]
    input  school: int[j] in 0..8
    target y: float[j]
    param theta: float[8]
    param table: float[8, 3]
    param rate: float
    param bias: float
    {line}
    output t = theta
}}
train {{ minimize loss using sgd(0.5); {settings} }}"""
MET = (
    "y ~ normal(theta[arange(j)], sigma)",
    "y ~ normal(theta[:j], sigma)",
    "y ~ normal(theta[arange(j) % 8], sigma)",
    "y ~ normal(one_hot(arange(j), 8) @ theta, sigma)",
    "loss = squared(sum(table[arange(j)], axis = -1) + 1, y)",
    "y ~ normal(pick(broadcast_to(theta, [j, 8]), arange(j)), sigma)",
    "loss = mean(y * rate ^ arange(j))",
    "loss = mean((y - bias - rate * arange(j))^2)",
    "loss = squared(tanh(theta[arange(j)]) * sigma, y)",
)
APART = (
    "y ~ normal(theta[school], sigma)",
    "y ~ normal(broadcast_to(bias, [j]), sigma)",
    "loss = cross_entropy(y[:, none] * theta + sigma[:, none], school)",
    "loss = squared(theta[0], y)",
    "loss = mean(pick(sigma[:, none] * theta, school) - y)",
    "loss = squared(rate * sigma, y) + sum(theta[arange(8)])",
    "loss = mean(y - sum((sigma[:, none] - sigma)^2 + rate * eye(j), axis = -1))",
    "loss = mean(cross_entropy(sigma[:, none] * y * rate, arange(j)))",
    "loss = squared(rate * normal_like(sigma), y)",
    "loss = squared(theta[arange(j) * 0 + school], y)",
)


def warned(line: str, settings: str) -> list[str]:
    return [w.code for w in check(source_of(SPEC.format(line=line, settings=settings))[0])[1]]


@pytest.mark.parametrize("line", MET)
def test_a_parameter_by_the_place_of_a_row(line: str) -> None:
    assert warned(line, "batch: 4") == warned(line, "epochs: 3") == ["W0204"]
    assert warned(line, "batch: all; validate: 0.2") == ["W0204"]
    assert not warned(line, "batch: all") and not warned(line, 'batch: all; validate: "v.npz"')


@pytest.mark.parametrize("line", APART)
def test_rows_that_may_come_in_any_order(line: str) -> None:
    assert not warned(line, "batch: 4")


@pytest.mark.parametrize(
    "path",
    sorted(
        path
        for folder in ("specs", "benchmarks", "tests/specs_design", "tests/faults")
        for path in (ROOT / folder).glob("*.dl")
    ),
    ids=lambda path: path.name,
)
def test_no_spec_is_warned_without_a_reason(path: Path) -> None:
    try:
        source, folder = source_of(path)
        warnings = check(source, folder)[1]
    except dlc.Error:
        return  # words of a later version, and what the faults are refused for
    assert not {"W0204", "W0205"} & {w.code for w in warnings}


def test_all_rows_at_once_come_in_their_order() -> None:
    rows = np.arange(8, dtype=np.float32)
    data = {"sigma": np.ones(8), "school": np.arange(8), "y": rows}
    trainer = dlc.Trainer(
        dlc.compile(SPEC.format(line="loss = sum((theta[arange(j)] - y)^2) / 2", settings="batch: all; steps: 40"))
    )
    trainer.fit(data)
    np.testing.assert_allclose(trainer.parameters["theta"], rows, atol=1e-5)
    mixed = dlc.Trainer(
        dlc.compile(SPEC.format(line="loss = sum((theta[arange(j)] - y)^2) / 2", settings="batch: 8; steps: 40"))
    )
    mixed.fit(data)
    assert np.abs(mixed.parameters["theta"] - rows).max() > 0.5
