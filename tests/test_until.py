"""`scan ... until`: rows end by themselves, against loops; in files that predict the rest is not made."""

from __future__ import annotations

from typing import Any

import dlc
import numpy as np
import pytest
from library_sweep import Compiled, central, close
from test_early_end import nodes

ROWS = """model m {
    input x: float[batch, time, 2]
    input w: float[2]
    input limit: float[batch]
    scan t over ORDER until CONDITION {
        state h: float[batch, 2] = 0.1
        state count: int[batch] = 0
        state turns: int = 0
        h     <- tanh(h * w + x[:, t])
        count <- count + 1
        turns <- turns + 1
        y[:, t]    = h
        many[:, t] = count
        far[:, t]  = h[:, 0] > 0.3
    }
    output y = y
    output h = h
    output many = 1.0 * many
    output count = 1.0 * count
    output turns = 1.0 * turns
    output far = where(far, 1.0, 0.0)
    DERIVATIVES
}"""
SLOPES = """total = sum(y * (arange(2) + 1.0)) + sum(h^2)
    output total = total
    output first_x = grad(total, x)
    output first_w = grad(total, w)
    output second_w = grad(sum(grad(total, x)^2), w)
    output bent = sum(grad(total, x)^2)"""
CONDITIONS = {
    "each row": ("sum(h, axis = 1) > limit", lambda h, limit, t: h.sum(1) > limit),
    "all rows": ("all(sum(h, axis = 1) > limit)", lambda h, limit, t: (h.sum(1) > limit).all()),
    "by the iteration": ("t == 2", lambda h, limit, t: t == 2),
    "at once": ("true", lambda h, limit, t: True),
    "never": ("sum(h) > 1000", lambda h, limit, t: False),
}


def text(condition: str, derivatives: str = "", order: str = "time") -> str:
    return ROWS.replace("CONDITION", condition).replace("DERIVATIVES", derivatives).replace("ORDER", order)


def loop(x: Any, w: Any, limit: Any, condition: Any, order: Any) -> dict[str, Any]:
    rows, time = x.shape[:2]
    h, count, turns, ended = np.full((rows, 2), 0.1), np.zeros(rows), 0, np.zeros(rows, bool)
    y, many, far = np.zeros((rows, time, 2)), np.zeros((rows, time)), np.zeros((rows, time))
    for t in order(range(time)):
        if ended.all():
            break
        new, turns = np.tanh(h * w + x[:, t]), turns + 1
        going = ~ended
        h, count = np.where(going[:, None], new, h), count + going
        y[:, t], many[:, t] = np.where(going[:, None], h, 0), np.where(going, count, 0)
        far[:, t] = (h[:, 0] > 0.3) & going
        ended = ended | condition(np.where(going[:, None], new, h), limit, t)
    return {"y": y, "h": h, "many": many, "count": count, "turns": turns, "far": far}


def feeds(seed: int, rows: int = 4, time: int = 6) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {"x": rng.normal(0, 1, (rows, time, 2)), "w": rng.normal(0, 1, 2), "limit": rng.uniform(0, 1.5, rows)}


@pytest.mark.parametrize("order", ["time", "reverse(time)"])
@pytest.mark.parametrize("name", CONDITIONS)
def test_values(name: str, order: str) -> None:
    """By the interpreter, and by ONNX Runtime without its optimizations and with them."""
    condition, same = CONDITIONS[name]
    spec = Compiled(text(condition, order=order))
    kinds = {node.op_type for node in nodes(spec.model.graph) if node.op_type in ("Loop", "Scan")}
    assert kinds == {"Scan" if "reverse" in order else "Loop"}
    for seed, sizes in ((0, {}), (1, {"rows": 1}), (2, {"time": 1}), (3, {"rows": 7, "time": 9})):
        given = feeds(seed, **sizes)
        expected = loop(**given, condition=same, order=reversed if "reverse" in order else iter)
        found = spec(given)
        for values in (found, spec.stock(given, False), spec.stock(given)):
            for output, value in expected.items():
                assert close(values[output], value, 1e-12), output


@pytest.mark.parametrize("name", CONDITIONS)
def test_derivatives(name: str) -> None:
    spec = Compiled(text(CONDITIONS[name][0], SLOPES))
    given = feeds(5)
    found = spec(given)
    for by in ("x", "w"):
        slope = central(lambda values: spec(values)["total"], given, by)
        assert close(found[f"first_{by}"], slope, 1e-6), by
    assert close(found["second_w"], central(lambda values: spec(values)["bent"], given, "w"), 1e-6)
    stock = spec.stock(given)
    assert all(close(stock[output], value, 1e-10) for output, value in found.items())


def test_no_rows() -> None:
    spec = Compiled(text(CONDITIONS["each row"][0]))
    given = feeds(0, rows=0)
    assert spec.stock(given)["y"].shape == (0, 6, 2) and spec(given)["y"].shape == (0, 6, 2)


def test_states_from_outside_and_of_layers_end_with_the_last_row() -> None:
    """A running mean in the iterations sees those that are made, and no more."""
    program = dlc.compile(
        """
    layer counted()(x: float[batch]) -> float[batch] {
        state turns: int = 0
        if training { turns <- turns + 1 }
        return x
    }
    model m {
        input x: float[batch]
        param w: float init ones
        c = counted()
        scan t over 0..9 until s > 3 {
            state s: float[batch] = 0
            s <- s + c(x) * w
        }
        loss = mean(s)
        output s = s
    }
    train { minimize loss using sgd(0.0); batch: all }""",
        precision="float64",
    )
    trainer = dlc.Trainer(program, device="cpu")
    trainer.step({"x": np.array([2.0, 0.6])})
    assert int(trainer.state["c.turns"]) == 6  # 0.6 * 6 > 3
    np.testing.assert_allclose(trainer.predict({"x": np.array([2.0, 0.6])})["s"], [4.0, 3.6])


def test_a_row_does_not_depend_on_the_others() -> None:
    spec = Compiled(text(CONDITIONS["each row"][0]))
    given = feeds(3, rows=6)
    whole = spec.stock(given)
    for row in range(6):
        alone = spec.stock({**given, "x": given["x"][row : row + 1], "limit": given["limit"][row : row + 1]})
        for output in ("y", "h", "many", "count"):
            np.testing.assert_array_equal(alone[output][0], whole[output][row])
