"""Metrics of what a scan makes: of rows that are kept apart in its iterations, or refused."""

from __future__ import annotations

import dlc
import numpy as np
import pytest

TEXT = """
model m {
    input x: float[batch]
    param w: float init ones
    scan t over 0..3 UNTIL {
        state s: float[batch] = x
        state n: float = 0
        BODY
    }
    loss = mean((w - s)^2)
    metric a = mean(s^2)
    output p = s
}
train { minimize loss using sgd(0.1) }
"""


def text(until: str, body: str) -> str:
    return TEXT.replace("UNTIL", until).replace("BODY", body)


@pytest.mark.parametrize(
    ("until", "body"),
    [
        ("", "s <- s - mean(s)"),
        ("", "n <- n + sum(s); s <- s + n"),
        ("", "s <- s + 0.1 * n; n <- max(s)"),  # the next iteration reads it
        ("until all(s > 3)", "s <- s + x"),
        ("until n > 4", "s <- s + x; n <- n + max(s)"),
        ("", "s <- s + grad(mean(s^2), s)"),  # as many rows as there are
        ("", "s <- s + sort(s)"),
        ("", "scan i over 0..2 { state r: float[batch] = s; r <- r + mean(r) }\n s <- r"),
    ],
)
def test_rows_that_meet_in_an_iteration_are_refused(until: str, body: str) -> None:
    with pytest.raises(dlc.Error) as caught:
        dlc.compile(text(until, body))
    assert caught.value.code in ("E0503", "E0504") and "`a`" in str(caught.value)


@pytest.mark.parametrize(
    ("until", "body"),
    [
        ("", "s <- s + grad(sum(s^3), s)"),
        ("until s > 3", "s <- s + x; n <- n + 1"),
        ("", "n <- n + sum(s); s <- s + x"),
        ("", "scan i over 0..2 { state r: float[batch] = s; r <- r + x }\n s <- r * w"),
    ],
)
def test_rows_that_are_kept_apart_give_what_all_rows_together_give(until: str, body: str) -> None:
    trainer = dlc.Trainer(dlc.compile(text(until, body), precision="float64", set={"batch": 4}), device="cpu")
    x = np.random.default_rng(0).normal(1, 1, 11)
    found = trainer.evaluate({"x": x})
    np.testing.assert_allclose(found["a"], np.mean(trainer.predict({"x": x})["p"] ** 2), rtol=1e-12)
