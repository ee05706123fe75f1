"""What docs/library.md ("At the edges") and docs/runtime.md ("Assigning values") state, number by number."""

from __future__ import annotations

from typing import Any

import dlc
import numpy as np
import pytest

FAR = 9000  # a computed index: what is fed is this much above it
INDEX = f"(i - {FAR})"


def value(expression: str, index: list[int], precision: str = "float32", x: Any = None) -> np.ndarray:
    text = "model m { input x: float[batch, 2]\n input i: int[batch]\n output f = " + expression + " }"
    trainer = dlc.Trainer(dlc.compile(text, precision=precision))
    x = np.ones((len(index), 2)) if x is None else np.asarray(x, float)
    found: np.ndarray = trainer.predict({"x": x, "i": np.array(index) + FAR})["f"]
    return found


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_arctan2_at_the_origin(precision: str) -> None:
    y = "arctan2(x[:, 0], x[:, 1])"
    for expression in (y, f"grad(sum({y}), x)", f"grad(sum(grad(sum({y}), x)^2), x)", f"hvp(sum({y}), x, x + 1)"):
        assert not value(expression, [0], precision, [[0, 0]]).any(), expression


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_division_by_zero(precision: str) -> None:
    x = [[1, 0], [-2.5, 0], [0, 0], [3, -0.0]]
    for sign in ("//", "%"):
        assert np.isnan(value(f"x[:, 0] {sign} x[:, 1]", [0] * 4, precision, x)).all()
        assert not value(f"10 {sign} {INDEX}", [0] * 4, precision).any()
    np.testing.assert_array_equal(value("x[:, 0] / x[:, 1]", [0] * 4, precision, x), [np.inf, -np.inf, np.nan, -np.inf])


ROWS = "broadcast_to(stack([5.0, 6.0, 7.0]), [batch, 3])"
READS = (
    f"stack([5.0, 6.0, 7.0])[{INDEX}]",
    f"gather(stack([5.0, 6.0, 7.0]), {INDEX})",
    f"pick({ROWS}, {INDEX})",
    f"take_along({ROWS}, {INDEX}[:, none])[:, 0]",
)


@pytest.mark.parametrize("expression", READS)
def test_reading_counts_from_the_end_and_no_further(expression: str) -> None:
    np.testing.assert_array_equal(value(expression, [0, 2, -1, -3]), [5, 7, 7, 5])
    for beyond in (3, -4):
        with pytest.raises(dlc.Error, match="E0804"):
            value(expression, [beyond])


def test_adding_counts_from_the_end() -> None:
    total = f"scatter_add(x[:, 0], {INDEX}, 3)[none] * ones_like(x[:, :1])"
    np.testing.assert_array_equal(value(total, [-1, 0, 0, 2, 3, -3, -4])[0], [3, 0, 2])
    large = (
        f"stack([scatter_add(x[:, 0], {INDEX}, 4097)[0], scatter_add(x[:, 0], {INDEX}, 4097)[-1]])[none]"
        " * ones_like(x[:, :1])"
    )
    np.testing.assert_array_equal(value(large, [-1, 0, 4096, -4097])[0], [2, 2])
    for beyond in (4097, -4098):
        with pytest.raises(dlc.Error, match="E0804"):
            value(large, [beyond])
    np.testing.assert_array_equal(value(total.replace("3)", "4096)[:2]"), [4096, -4097, 1])[0], [0, 1])


def test_one_hot_does_not_count_from_the_end() -> None:
    np.testing.assert_array_equal(
        value(f"one_hot({INDEX}, 3)", [-1, 0, 2, 3, -3]), [[0] * 3, [1, 0, 0], [0, 0, 1], [0] * 3, [0] * 3]
    )


@pytest.mark.parametrize("expression", ["one_hot(i, 3)", "stack([5.0, 6.0, 7.0])[i]", f"pick({ROWS}, i)"])
def test_data_as_an_index_count_from_0(expression: str) -> None:
    with pytest.raises(dlc.Error, match="E0620"):
        value(expression, [-1 - FAR])


def trained(optimizer: str, steps: int) -> dlc.Trainer:
    trainer = dlc.Trainer(
        dlc.compile(f"""model m {{
    input x: float[batch, 2]
    param w: float[2] init normal(0, 1)
    loss = mean((x @ w - 1)^2)
    output f = x @ w
}}
train {{ minimize loss using {optimizer} }}""")
    )
    for _ in range(steps):
        trainer.step({"x": [[1, 2], [3, -1]]})
    return trainer


@pytest.mark.parametrize("optimizer", ["adam(0.1)", "momentum(0.1)", "lookahead(sgd(0.01), k = 2, alpha = 0.5)"])
@pytest.mark.parametrize("steps", [0, 3])
def test_assigning_parameters_leaves_all_else(optimizer: str, steps: int) -> None:
    trainer = trained(optimizer, steps)
    before = {name: np.array(array) for name, array in trainer.state.items()}
    assert len(before) > 2
    trainer.parameters["w"] = [8, 9]
    after = dict(trainer.state)
    np.testing.assert_array_equal(after.pop("w"), [8, 9])
    for name, array in after.items():
        np.testing.assert_array_equal(array, before[name])


def test_the_slow_copy_of_lookahead_pulls_back() -> None:
    trainer = trained("lookahead(sgd(0.0), k = 1, alpha = 0.5)", 0)
    start = np.array(trainer.parameters["w"])
    trainer.parameters["w"] = [8, 9]
    trainer.step({"x": [[1, 2]]})
    np.testing.assert_allclose(trainer.parameters["w"], np.add(start, [8, 9]) / 2, rtol=1e-6)
    trainer.parameters["w"] = trainer.state["lookahead/slow/w"] = np.array([8, 9], np.float32)
    trainer.step({"x": [[1, 2]]})
    np.testing.assert_array_equal(trainer.parameters["w"], [8, 9])
