"""The loss of labels whose places are not known: against PyTorch and all paths; lengths, repeats, what does not fit."""

from __future__ import annotations

from typing import Any

import dlc
import numpy as np
import pytest
from library_sequences import said, spoken
from library_sweep import Compiled, central, close

TEXT = """model m {
    input z: float[batch, time, 5]
    input y: int[batch, most]
    input lengths: int[batch]
    input counts: int[batch]
    out = ctc(z, y, lengths, counts, blank = BLANK, drop = DROP)
    output value = out
    output slope = grad(out, z)
    output bend = hvp(out, z, cos(z))
}"""


def spec(blank: int = 0, drop: bool = False, precision: str = "float64") -> Compiled:
    return Compiled(TEXT.replace("BLANK", str(blank)).replace("DROP", str(drop).lower()), precision)


def drawn(seed: int, blank: int, rows: int = 6, time: int = 9, most: int = 4) -> dict[str, Any]:
    """Rows of every length, labels that repeat among them, and one row that says nothing."""
    rng = np.random.default_rng(seed)
    labels = [c for c in range(5) if c != blank]
    y = rng.choice(labels, (rows, most))
    y[0] = y[0, 0]
    counts = rng.integers(0, most + 1, rows)
    counts[:2] = most, 0
    return {
        "z": rng.normal(0, 2, (rows, time, 5)),
        "y": y,
        "lengths": np.minimum(time, 2 * counts + rng.integers(1, 4, rows)),
        "counts": counts,
    }


def of_torch(given: dict[str, Any], blank: int, drop: bool = False) -> tuple[Any, Any]:
    torch = pytest.importorskip("torch")
    z = torch.tensor(given["z"], requires_grad=True)
    log_p = torch.log_softmax(z, -1).transpose(0, 1)
    y, lengths, counts = (torch.tensor(given[name]) for name in ("y", "lengths", "counts"))
    loss = torch.nn.CTCLoss(blank=blank, reduction="none", zero_infinity=drop)(log_p, y, lengths, counts).mean()
    loss.backward()
    return loss.detach().numpy(), z.grad.numpy()


@pytest.mark.oracle
@pytest.mark.parametrize("blank", [0, 4, 2])
def test_against_torch(blank: int) -> None:
    made = spec(blank)
    for seed in range(8):
        given = drawn(seed, blank)
        value, slope = of_torch(given, blank)
        for found in (made(given), made.stock(given, False), made.stock(given)):
            assert np.isfinite(value) and close(found["value"], value, 1e-10)
            assert close(found["slope"], slope, 1e-10)


@pytest.mark.oracle
def test_rows_that_do_not_fit() -> None:
    """A row of more labels than iterations, and such whose labels are equal and so need blanks between them."""
    given = drawn(0, 0)
    given["y"][:3] = [[1, 2, 3, 4], [2, 2, 2, 2], [2, 2, 3, 3]]
    given["counts"][:3] = 4, 4, 4
    given["lengths"][:3] = 3, 6, 5
    value, slope = of_torch(given, 0, drop=True)
    dropped = spec(drop=True)
    for found in (dropped(given), dropped.stock(given)):
        assert close(found["value"], value, 1e-10) and close(found["slope"], slope, 1e-10)
        assert not found["slope"][:3].any() and np.isfinite(found["bend"]).all()
    whole = spec().stock(given)
    assert np.isposinf(whole["value"]) and np.isfinite(whole["slope"]).all()
    given["lengths"][:3] = 4, 7, 6  # one iteration more, and each of them fits in one way
    found, kept = spec()(given), spec(drop=True)(given)
    assert np.isfinite(found["value"]) and found["value"] == kept["value"]


def test_against_all_paths_and_differences() -> None:
    made = spec(blank=1)
    for seed in range(2):
        given = drawn(seed, 1, rows=3, time=4, most=2)
        expected = spoken(given["z"], given["y"], 1, given["lengths"], given["counts"])
        found = made(given)
        assert close(found["value"], expected, 1e-12)
        assert close(found["slope"], central(lambda values: made(values)["value"], given, "z"), 1e-6)
        wave = np.cos(given["z"])
        turned = central(lambda values, wave=wave: np.sum(made(values)["slope"] * wave), given, "z")
        assert close(found["bend"], turned, 1e-6)


def test_in_float32_and_at_large_logits() -> None:
    given = drawn(3, 0)
    given["z"] = (given["z"] * 60).astype(np.float32).astype(np.float64)
    exact, found = spec()(given), spec(precision="float32").stock(given)
    assert close(found["value"], exact["value"], 1e-5) and close(found["slope"], exact["slope"], 1e-4)


def test_it_learns_where_labels_are() -> None:
    """Three kinds of bumps at places that are not told, with as much nothing between them as chance has it."""
    text = """model m {
        input x: float[batch, time, 3]
        target y: int[batch, most]
        target counts: int[batch]
        z = x |> gru(12) |> dense(4)
        loss = ctc(z, y, counts = counts)
        output best = argmax(z, axis = -1)
    }
    train { minimize loss using adam(2e-2) }"""
    rng = np.random.default_rng(0)

    def rows(count: int) -> dict[str, Any]:
        x, y, counts = rng.normal(0, 0.1, (count, 12, 3)), np.ones((count, 3), np.int64), rng.integers(1, 4, count)
        for row in range(count):
            for place, at in enumerate(np.sort(rng.choice(6, counts[row], replace=False))):
                y[row, place] = rng.integers(1, 4)
                x[row, 2 * at, y[row, place] - 1] += 2
        return {"x": x.astype(np.float32), "y": y, "counts": counts}

    trainer = dlc.Trainer(dlc.compile(text), device="cpu", seed=0)
    for _ in range(150):
        trainer.step(rows(32))
    fresh = rows(100)
    best = trainer.predict({"x": fresh["x"]})["best"]
    read = [said(tuple(row.tolist()), 0) for row in best]
    right = [list(y[:n]) == found for y, n, found in zip(fresh["y"], fresh["counts"], read, strict=True)]
    assert np.mean(right) > 0.9
