"""`batch: rows(a = ..., b = ...)`: data whose rows are of several dimensions, and rows that are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest
from dlc.cli import main
from dlc.runtime import random
from test_checkpoint import Interrupt, same

SPECS = Path(__file__).parents[1] / "specs"
SPEC = """model m {
    input  x: float[inner, 3]
    target y: float[inner]
    input  e: float[edge, 3]
    f = dense(1)
    g = f(x)[:, 0]
    loss fit  = mean((g - y)^2)
    loss edge_loss = 0.5 * mean(f(e)^2)
    metric rmse = sqrt(mean((g - y)^2))
    output g = g
}
train {
    minimize loss using momentum(0.02)
    batch: rows(inner = 8, edge = 3)
    seed: 4
    epochs: 3
}
"""


def trainer(text: str = SPEC, **options: Any) -> dlc.Trainer:
    return dlc.Trainer(dlc.compile(text, precision="float64", **options), device="cpu")


def rows(inner: int = 30, edge: int = 7) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    return {"x": rng.normal(size=(inner, 3)), "y": rng.normal(size=inner), "e": rng.normal(size=(edge, 3))}


def line(one: dlc.Trainer, x: np.ndarray) -> np.ndarray:
    return (x @ one.parameters["f.W"] + one.parameters["f.b"])[:, 0]


def order(count: int, epoch: int, place: int, turn: int) -> np.ndarray:
    """docs/runtime.md, in its words."""
    key = random.fold(random.fold(random.fold(random.K0, 4), 1 << 62), epoch)
    if place or turn:
        key = random.fold(random.fold(key, place), turn)
    words = [int(random.words(np.array([i], np.uint64), key)[0]) for i in range(count)]
    return np.array(sorted(range(count), key=words.__getitem__))


@pytest.mark.parametrize(("inner", "edge", "longest"), [(30, 7, "inner"), (16, 20, "edge"), (24, 9, "inner")])
def test_an_epoch_goes_through_the_longest_and_the_others_begin_again(inner: int, edge: int, longest: str) -> None:
    fitted, stepped, data = trainer(), trainer(), rows(inner, edge)
    history = fitted.fit(data)
    for epoch in range(3):
        sizes = {"inner": (inner, 8, 0), "edge": (edge, 3, 1)}
        batches = max(-(-count // size) for count, size, _ in sizes.values())
        for k in range(batches):
            chosen = {}
            for name, (count, size, place) in sizes.items():
                if name == longest:
                    chosen[name] = order(count, epoch, place, 0)[k * size : (k + 1) * size]
                else:
                    endless = np.concatenate([order(count, epoch, place, turn) for turn in range(9)])
                    chosen[name] = endless[k * size : (k + 1) * size]
            stepped.step(
                {"x": data["x"][chosen["inner"]], "y": data["y"][chosen["inner"]], "e": data["e"][chosen["edge"]]}
            )
    same(fitted, stepped)
    assert history.steps == 3 * batches


@pytest.mark.parametrize("at", [1, 3, 5, 8])
def test_resumed_from_the_middle(tmp_path: Path, at: int) -> None:
    whole = trainer()
    expected = whole.fit(rows(), validation=0.3)
    with pytest.raises(KeyboardInterrupt):
        trainer().fit(rows(), validation=0.3, run=tmp_path, callbacks=[Interrupt(at)])
    (folder,) = tmp_path.iterdir()
    again = dlc.Trainer.resume(folder, device="cpu")
    found = again.fit(rows())
    same(whole, again)
    assert [r["validation"] for r in found.epochs] == [r["validation"] for r in expected.epochs]


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_an_evaluation_is_over_all_rows_of_each(batch: int) -> None:
    one, data = trainer(), rows()
    found = one.evaluate(data, batch=batch)
    fit = ((line(one, data["x"]) - data["y"]) ** 2).mean()
    assert found["fit"] == pytest.approx(fit, rel=1e-12)
    assert found["edge_loss"] == pytest.approx(0.5 * (line(one, data["e"]) ** 2).mean(), rel=1e-12)
    assert found["loss"] == pytest.approx(found["fit"] + found["edge_loss"], rel=1e-12)
    assert found["rmse"] == pytest.approx(np.sqrt(fit), rel=1e-12)
    np.testing.assert_allclose(one.predict({"x": data["x"]})["g"], line(one, data["x"]), rtol=1e-12)


def test_a_share_is_held_out_of_each() -> None:
    history = trainer().fit(rows(30, 10), validation=0.2, epochs=1)
    assert history.steps == 3  # of 24 rows, 8 at a time
    with pytest.raises(dlc.Error) as caught:
        trainer().fit(rows(30, 2), validation=0.2)
    assert caught.value.code == "E0619" and "edge" in str(caught.value)


def test_rows_of_one_dimension_agree_and_those_of_two_need_not() -> None:
    data = rows()
    with pytest.raises(dlc.Error) as caught:
        trainer().fit(data | {"y": data["y"][:9]})
    assert caught.value.code == "E0617" and "`e`" not in str(caught.value)
    with pytest.raises(dlc.Error) as caught:
        trainer().fit(data | {"e": np.zeros((0, 3))})
    assert caught.value.code == "E0618"


def test_another_batch_says_a_number_for_each() -> None:
    one = trainer()
    assert one.fit(rows(), batch={"inner": 15, "edge": "all"}, epochs=1).steps == 2
    for wrong in (8, "all", {"inner": 8}):
        with pytest.raises(dlc.Error) as caught:
            trainer().fit(rows(), batch=wrong)
        assert caught.value.code == "E0682"
    assert trainer(set={"batch": {"inner": 5, "edge": 2}}).fit(rows(), epochs=1).steps == 6


def test_all_of_a_dimension_is_in_every_batch_as_it_stands() -> None:
    fitted, stepped = trainer(SPEC.replace("edge = 3", "edge = all")), trainer()
    data = rows()
    fitted.fit(data, epochs=1)
    for first in range(0, 30, 8):
        at = order(30, 0, 0, 0)[first : first + 8]
        stepped.step({"x": data["x"][at], "y": data["y"][at], "e": data["e"]})
    same(fitted, stepped)


def test_weights_and_choices_are_of_their_own_dimension() -> None:
    text = SPEC.replace("epochs: 3", "epochs: 1; weights: abs(y); keep: x[:, 0] > 0")
    one, data = trainer(text), rows()
    assert one.fit(data).steps == -(-int((data["x"][:, 0] > 0).sum()) // 8)
    found, w = one.evaluate(data), np.abs(data["y"])
    assert found["fit"] == pytest.approx((w * (line(one, data["x"]) - data["y"]) ** 2).sum() / w.sum(), rel=1e-12)
    assert found["edge_loss"] == pytest.approx(0.5 * (line(one, data["e"]) ** 2).mean(), rel=1e-12)


PAIRS = """model m {
    input p: float[good, 3]
    input n: float[bad, 3]
    input w: float[good]
    f = dense(1)
    a, b = f(p)[:, 0], f(n)[:, 0]
    loss = mean(relu(1 - a[:, none] + b[none, :]))
    output score = f(p)[:, 0]
    output other = f(n)[:, 0]
}
train { minimize loss using sgd(0.1); batch: rows(good = 8, bad = 10); epochs: 2; LINES }
"""


@pytest.mark.parametrize("lines", ["", "weights: w"])
def test_pairs_of_rows_of_two_dimensions(lines: str) -> None:
    """Every positive with every negative row of the batch: of all rows, where an evaluation takes them at once."""
    rng = np.random.default_rng(0)
    data = {"p": rng.normal(size=(40, 3)) + 1, "n": rng.normal(size=(90, 3)), "w": rng.uniform(0, 1, 40)}
    one = trainer(PAIRS.replace("LINES", lines))

    def expected() -> float:
        a, b = line(one, data["p"]), line(one, data["n"])
        each = np.maximum(1 - a[:, None] + b[None, :], 0).mean(1)
        return float(np.average(each, weights=data["w"] if lines else None))

    assert one.evaluate(data)["loss"] == pytest.approx(expected(), rel=1e-12)
    before = expected()
    assert one.fit(data, validation=0.2).epochs[-1]["validation"]["loss"] > 0
    assert one.evaluate(data)["loss"] == pytest.approx(expected(), rel=1e-12) and expected() < before
    found = one.predict({"p": data["p"], "n": data["n"]})
    np.testing.assert_allclose(found["score"], line(one, data["p"]), rtol=1e-12)
    np.testing.assert_allclose(found["other"], line(one, data["n"]), rtol=1e-12)


DRAWN = """model m {
    input x: float[inner] ~ uniform(-1, 1)
    input s: float[edge] ~ normal(0, 1)
    f = dense(1)
    loss a = mean((f(x[:, none])[:, 0] - 2 * x)^2)
    loss b = mean(f(s[:, none])^2)
    metric low = min(x)
    metric number = sum(1 + 0 * x)
    output y = f(x[:, none])
}
train { minimize loss using sgd(0.01); batch: rows(inner = 20, edge = 6); steps: 250; seed: 1 }
"""


def test_rows_that_are_drawn_need_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are drawn anew in every step, as many as the batch says; 100 updates are an epoch."""
    one = trainer(DRAWN)
    history = one.fit()
    assert [record["step"] for record in history.epochs] == [100, 200, 250]
    lows = {one.step({})["low"] for _ in range(5)}
    assert len(lows) == 5 and all(-1 <= low < -0.5 for low in lows)
    assert one.step({})["number"] == 20
    again = trainer(DRAWN)
    again.fit()
    for _ in range(6):
        again.step({})
    same(one, again)
    assert one.evaluate({})["number"] == 20
    x = np.linspace(-1, 1, 7)
    f = x * one.parameters["f.W"][0, 0] + one.parameters["f.b"][0]
    np.testing.assert_allclose(one.predict({"x": x})["y"][:, 0], f, rtol=1e-12)
    monkeypatch.chdir(tmp_path)
    Path("drawn.dl").write_text(DRAWN)
    assert main(["train", "drawn.dl", "--quiet"]) == 0
    (folder,) = Path("runs").iterdir()
    capsys.readouterr()
    for what in (folder, folder / "m.onnx"):
        assert main(["evaluate", str(what)]) == 0
        assert "number  20" in capsys.readouterr().out


def test_one_dimension_of_drawn_rows() -> None:
    text = DRAWN.replace("input s: float[edge] ~ normal(0, 1)", "input s: float[inner] ~ normal(0, 1)")
    one = trainer(text.replace("rows(inner = 20, edge = 6)", "20"))
    assert one.step({})["number"] == 20 and one.fit().steps == 251
    assert trainer(text.replace("batch: rows(inner = 20, edge = 6);", "")).step({})["number"] == 32


def test_how_many_are_drawn_is_part_of_the_file() -> None:
    for batch in ({"inner": 10, "edge": 6}, {"inner": 20, "edge": "all"}):
        with pytest.raises(dlc.Error) as caught:
            trainer(DRAWN).fit(batch=batch)
        assert caught.value.code == "E0682"


def test_drawn_rows_beside_data() -> None:
    """Points inside are drawn, those at the edge are data."""
    text = DRAWN.replace("input s: float[edge] ~ normal(0, 1)", "input s: float[edge]").replace(
        "steps: 250", "epochs: 2"
    )
    one = trainer(text)
    assert one.fit({"s": np.arange(20.0)}).steps == 8
    assert one.step({"s": np.zeros(6)})["number"] == 20


def test_resumed_from_the_middle_of_drawn_rows(tmp_path: Path) -> None:
    whole = trainer(DRAWN)
    whole.fit()
    with pytest.raises(KeyboardInterrupt):
        trainer(DRAWN).fit(run=tmp_path, callbacks=[Interrupt(130)])
    (folder,) = tmp_path.iterdir()
    again = dlc.Trainer.resume(folder, device="cpu")
    assert again.progress.step == 130
    again.fit()
    same(whole, again)


def test_the_heat_equation_against_its_closed_form(tmp_path: Path) -> None:
    program = dlc.compile(SPECS / "heat.dl")
    whole = dlc.Trainer(program, device="cpu")
    history = whole.fit()
    x, t = (grid.ravel() for grid in np.meshgrid(np.linspace(0, 1, 41), np.linspace(0, 1, 41)))
    exact = np.exp(-0.1 * np.pi**2 * t) * np.sin(np.pi * x)
    found = whole.predict({"x": x.astype(np.float32), "t": t.astype(np.float32)})["temperature"]
    assert np.sqrt(((found - exact) ** 2).mean() / (exact**2).mean()) <= 0.01
    assert history.seconds < 30
    with pytest.raises(KeyboardInterrupt):
        dlc.Trainer(program, device="cpu").fit(run=tmp_path, callbacks=[Interrupt(1250)])
    (folder,) = tmp_path.iterdir()
    again = dlc.Trainer.resume(folder, device="cpu")
    again.fit()
    same(whole, again)


def test_a_metric_over_all_pairs_keeps_the_rows_of_both_dimensions() -> None:
    one = trainer("""model m {
        input a: float[good, 3]
        input b: float[bad, 3]
        score = dense(1)
        p, q = score(a)[:, 0], score(b)[:, 0]
        loss = mean(relu(1 - p[:, none] + q[none, :]))
        metric auc = mean(all_rows(p)[:, none] > all_rows(q)[none, :])
    }
    train { minimize loss using sgd(0.1); batch: rows(good = 4, bad = 4) }""")
    data = {name: np.random.default_rng(3).normal(size=(count, 3)) for name, count in (("a", 37), ("b", 19))}
    p, q = (data[name] @ one.parameters["score.W"] + one.parameters["score.b"] for name in "ab")
    for batch in (5, 64):
        assert one.evaluate(data, batch=batch)["auc"] == pytest.approx((p > q[:, 0]).mean(), abs=1e-12)
