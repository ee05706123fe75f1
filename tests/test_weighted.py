"""`weighted(D, mask)`: the mean over what counts, and nothing where nothing does."""

from __future__ import annotations

import dlc
import numpy as np
import pytest

SPEC = """model m {
    input  x: float[batch, 3]
    target y: int[batch]
    target m: DTYPE[batch]
    logits = x |> dense(3)
    y ~ weighted(categorical(logits = logits), m)
    output p = logits
}
train {
    minimize loss using sgd(0.5)
    batch: 4
    epochs: 2
}
"""


def data(kind: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    mask = np.r_[np.ones(3), np.zeros(37)]
    return {
        "x": rng.normal(size=(40, 3)),
        "y": rng.integers(0, 3, 40),
        "m": mask.astype(bool) if kind == "bool" else mask.astype(np.int64) if kind == "int" else mask,
    }


def density(state: dict[str, np.ndarray], rows: dict[str, np.ndarray]) -> np.ndarray:
    z = rows["x"] @ state["dense.W"] + state["dense.b"]
    return z[np.arange(len(z)), rows["y"]] - np.log(np.exp(z).sum(1))


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["float", "int", "bool"])
def test_a_batch_of_which_nothing_counts_is_0_and_moves_nothing(kind: str, precision: str) -> None:
    trainer = dlc.Trainer(dlc.compile(SPEC.replace("DTYPE", kind), precision=precision))
    rows = data(kind)
    nothing = {name: array[3:7] for name, array in rows.items()}
    before = {name: trainer.parameters[name] for name in trainer.parameters}
    assert trainer.step(nothing)["loss"] == 0 == trainer.evaluate(nothing)["loss"]
    assert all(np.array_equal(trainer.parameters[name], before[name]) for name in before)
    trainer.step({name: array[:3] for name, array in rows.items()})
    assert all(not np.array_equal(trainer.parameters[name], before[name]) for name in before)
    trainer.fit(rows)
    assert all(np.isfinite(trainer.parameters[name]).all() for name in before)
    some = -density({name: trainer.parameters[name] for name in before}, rows)[:3].mean()
    assert trainer.evaluate(rows)["loss"] == pytest.approx(some, rel=1e-5)


def test_weights_that_cancel_are_no_padding() -> None:
    """Of 1 and -1 the sum is 0, the mean is infinite: that is told, not made 0."""
    trainer = dlc.Trainer(dlc.compile(SPEC.replace("DTYPE", "float"), precision="float64"))
    batch = {name: array[:2] for name, array in data("float").items()} | {"m": np.array([1.0, -1.0])}
    with pytest.raises(dlc.Error) as caught:
        trainer.step(batch)
    assert caught.value.code == "E0670"
