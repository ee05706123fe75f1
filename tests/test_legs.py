"""Folds of a cross-validation and members of an ensemble: each is a run of its own, and all are one run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import onnxruntime
import pytest
from dlc.cli import main
from dlc.runtime import CompiledFile, Error, Trainer
from dlc.runtime.checkpoint import Checkpoint, Run
from dlc.runtime.data import Fold, shares
from dlc.runtime.legs import report
from test_checkpoint import Interrupt, records, same

SPECS = Path(__file__).parents[1] / "specs"
MODEL = """
model m(hidden = 4) {
    input x: float[batch, 3]
    target y: int[batch]
    logits = x |> dense(hidden) |> batch_norm |> tanh |> dropout(0.1) |> dense(2)
    y ~ categorical(logits = logits)
    output p = softmax(logits)
    metric accuracy = accuracy(logits, y)
}
"""
LINES = "minimize loss using adam(cosine(0.05, over = steps)); batch: 8; epochs: 4; seed: 3"
SECOND = "\ntrain m { minimize loss using momentum(0.02); epochs: 2; freeze dense[0].* }"
RNG = np.random.default_rng(0)
DATA = {"x": RNG.normal(size=(45, 3)), "y": RNG.integers(0, 2, 45)}


def trainer(lines: str = LINES, more: str = "", text: str = MODEL, **options: Any) -> Trainer:
    program = dlc.compile(text + f"\ntrain m {{ {lines} }}{more}", precision="float64")
    return Trainer(program, device="cpu", **options)


def parts(index: int, count: int = 3, by: str | None = None, test: float = 0.0) -> Any:
    one = trainer()
    return shares(one.columns(DATA, one.evaluator.fields), 3, test=test, fold=Fold(count, index, by))


def plain(result: dict[str, Any]) -> dict[str, Any]:
    return {name: result[name] for name in ("epoch", "train", "validation")}


# --- folds


@pytest.mark.parametrize("more", ["", SECOND], ids=["one block", "two blocks"])
@pytest.mark.parametrize("folds", ["3", "stratified(3)"])
def test_a_fold_is_a_run_on_the_other_rows(more: str, folds: str, tmp_path: Path) -> None:
    """And what the run ends with is one on all rows."""
    one = trainer(LINES + f"; folds: {folds}; test: 0.2", more)
    history = one.fit(DATA, run=tmp_path)
    by = "y" if folds != "3" else None
    for index in range(3):
        rows = parts(index, by=by, test=0.2)
        alone = trainer(LINES, more).fit(dict(rows.train.arrays), validation=dict(rows.validation.arrays))
        assert plain(history.results[index]) == plain(alone.final) and history.results[index]["fold"] == index + 1
    rows = parts(3, by=by, test=0.2)
    assert rows.train.rows == 36
    last = trainer(LINES, more)
    expected = last.fit(dict(rows.train.arrays), test=dict(rows.test.arrays))
    for name, array in last.parameters.items():
        np.testing.assert_array_equal(one.parameters[name], array)
    assert [plain(record) for record in history.epochs] == [plain(record) for record in expected.epochs]
    assert history.test == expected.test
    told = json.loads((history.run / "results.json").read_text())
    losses = [result["validation"]["loss"] for result in history.results[:3]]
    assert told["mean"]["validation"]["loss"] == pytest.approx(np.mean(losses))
    assert told["std"]["validation"]["loss"] == pytest.approx(np.std(losses)) and len(told["folds"]) == 3
    lines = [json.loads(line) for line in (history.run / "metrics.jsonl").read_text().splitlines()]
    assert [line.get("fold") for line in lines[:-1]] == [k for k in (1, 2, 3, None) for _ in range(6 if more else 4)]


def test_all_rows_train_as_long_as_the_folds_did() -> None:
    lines = "minimize loss using sgd(0.5); batch: 8; epochs: 9; seed: 3; stop: patience(1)"
    one = trainer(lines + "; folds: 3")
    history = one.fit(DATA)
    best = [result["epoch"] for result in history.results[:3]]
    assert len(set(best)) > 1 or best[0] < 9
    assert (
        len(history.epochs) == max(1, round(sum(best) / 3))
        and history.best is None
        and history.epochs[-1]["validation"] is None
    )
    last = trainer(lines.replace("; stop: patience(1)", ""))
    last.fit(DATA, epochs=len(history.epochs))
    for name, array in last.parameters.items():
        np.testing.assert_array_equal(one.parameters[name], array)


def resumed(one: Trainer, path: Path, at: int, **given: Any) -> tuple[Trainer, Any]:
    with pytest.raises(KeyboardInterrupt):
        one.fit(DATA, run=path, callbacks=[Interrupt(at)], **given)
    (folder,) = path.iterdir()
    again = Trainer.resume(folder, device="cpu")
    assert not again.finished and again.progress.step == at
    return again, again.fit(DATA)


@pytest.mark.parametrize("at", [2, 17, 25, 31, 55, 64, 76])
def test_a_run_resumes_in_the_middle_of_any_fold(at: int, tmp_path: Path) -> None:
    lines = LINES + "; folds: 3; test: 0.1; stop: patience(3)"
    whole = trainer(lines, SECOND)
    expected = whole.fit(DATA)
    at = min(at, expected.steps - 1)
    again, found = resumed(trainer(lines, SECOND), tmp_path, at)
    same(whole, again)
    assert records(found) == records(expected) and found.results == expected.results and found.test == expected.test
    kept = [json.loads(line) for line in (found.run / "metrics.jsonl").read_text().splitlines()]
    assert len(kept) == len(whole.progress.past) + len(expected.epochs) + 1


@pytest.mark.parametrize("given", [{"epochs": 2}, {"steps": 7}])
def test_what_a_fit_is_given_holds_for_each_fold_also_of_a_resumed_run(given: dict[str, int], tmp_path: Path) -> None:
    whole = trainer(LINES + "; folds: 3", SECOND)
    expected = whole.fit(DATA, **given)
    again, found = resumed(trainer(LINES + "; folds: 3", SECOND), tmp_path, 5, **given)
    same(whole, again)
    assert found.results == expected.results and found.steps == expected.steps


def test_the_rows_to_validate_on_are_the_folds() -> None:
    with pytest.raises(Error) as caught:
        trainer(LINES + "; folds: 3").fit(DATA, validation=0.2)
    assert caught.value.code == "E0688"
    assert trainer(LINES + "; folds: 3").fit(DATA, validation=False).results


def test_a_trained_file_goes_on_with_all_rows(tmp_path: Path) -> None:
    one = trainer(LINES + "; folds: 3")
    one.fit(DATA)
    again = Trainer(one.save(tmp_path / "m.onnx"), device="cpu")
    found = again.fit(DATA, epochs=1)
    assert not found.results and found.epochs[0]["validation"] is None
    one.fit(DATA, epochs=1)


# --- ensembles

ENSEMBLE = LINES + "; ensemble: 3"


@pytest.mark.parametrize("more", ["", SECOND], ids=["one block", "two blocks"])
def test_a_member_is_a_run_with_a_seed_of_its_own(more: str, tmp_path: Path) -> None:
    one = trainer(ENSEMBLE, more, together=False)
    history = one.fit(DATA, run=tmp_path)
    alone = [trainer(LINES, more, seed=3 + k) for k in range(3)]
    ends = [each.fit(DATA) for each in alone]
    for k, (each, end) in enumerate(zip(alone, ends, strict=True)):
        assert plain(history.results[k]) == plain(end.final) and history.results[k]["member"] == k + 1
        for name in one.file.ensemble.state:
            np.testing.assert_array_equal(one.state[name][k], each.state[name.removeprefix("members/")])
    predicted = np.stack([each.predict(DATA)["p"] for each in alone])
    found = one.predict(DATA, members=True)
    np.testing.assert_allclose(found["p.members"], predicted, rtol=1e-12)
    np.testing.assert_allclose(found["p"], predicted.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found["p.std"], predicted.std(0), rtol=1e-9, atol=1e-15)
    assert list(one.predict(DATA)) == ["p", "p.std"]
    # The file predicts in stock ONNX Runtime, and so does what is exported of it.
    path = next(history.run.glob("*.onnx"))
    assert main(["export", str(path), "--inference", "-o", str(tmp_path / "p.onnx")]) in (0, None)
    for file in (path, tmp_path / "p.onnx"):
        session = onnxruntime.InferenceSession(file)
        mean, std = session.run(["p", "p.std"], {"x": DATA["x"]})
        np.testing.assert_allclose(mean, predicted.mean(0), rtol=1e-12)
        np.testing.assert_allclose(std, predicted.std(0), rtol=1e-9, atol=1e-15)
    figures = [each.evaluate(DATA) for each in alone]
    found = one.evaluate(DATA)
    assert list(found) == [*figures[0], "ensemble.loss", "ensemble.accuracy"]
    for name in figures[0]:
        assert found[name] == pytest.approx(np.mean([each[name] for each in figures]), rel=1e-12)
    likelihood = predicted.mean(0)[np.arange(45), DATA["y"]]
    assert found["ensemble.loss"] == pytest.approx(-np.mean(np.log(likelihood)), rel=1e-10)
    assert found["ensemble.accuracy"] == np.mean(predicted.mean(0).argmax(-1) == DATA["y"])
    assert report(history.results)["mean"]["train"]["loss"] == pytest.approx(
        np.mean([e.final["train"]["loss"] for e in ends])
    )


def test_the_commands_know_members(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "d.npz", **DATA)
    (tmp_path / "m.dl").write_text(MODEL + f'\ntrain m {{ {ENSEMBLE}; data: "d.npz"; test: 0.2 }}')
    runs = tmp_path / "runs"
    assert main(["train", str(tmp_path / "m.dl"), "--runs", str(runs), "--device", "cpu"]) in (0, None)
    out = capsys.readouterr().out
    assert "3 members at once" in out and "member 3: epoch 4  train loss" in out and " ± " in out and "test loss" in out
    (run,) = runs.iterdir()
    assert main(["predict", str(run), "--data", str(tmp_path / "d.npz"), "--members"]) in (0, None)
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split(",") == [
        *(f"p{ending}{i}" for ending in ("", ".std") for i in range(2)), *(f"p.members{i}" for i in range(6))
    ]  # fmt: skip
    assert len(rows) == 45
    for row in rows:
        values = np.array(row.split(","), float)
        np.testing.assert_allclose(values[4:].reshape(3, 2).mean(0), values[:2], atol=1e-6)
    assert main(["evaluate", str(run), "--json"]) in (0, None)  # without data: on the rows that trained
    told = json.loads(capsys.readouterr().out)
    one = Trainer(Run(run).trained()[0], device="cpu")
    rows_of = shares(one.columns(DATA, one.evaluator.fields), 3, test=0.2)
    assert told == pytest.approx(one.evaluate(rows_of.train), rel=1e-6)
    assert main(["summary", str(run), "--json"]) in (0, None)


@pytest.mark.parametrize("at", [3, 24, 30, 47, 60])
def test_an_ensemble_resumes_in_any_member(at: int, tmp_path: Path) -> None:
    whole = trainer(ENSEMBLE + "; validate: 0.2; stop: patience(2)", together=False)
    whole.parameters["dense.W"] = np.full((3, 4), 0.5)  # a value that is given is that of all members
    expected = whole.fit(DATA)
    one = trainer(ENSEMBLE + "; validate: 0.2; stop: patience(2)", together=False)
    one.parameters["dense.W"] = np.full((3, 4), 0.5)
    again, found = resumed(one, tmp_path, min(at, expected.steps - 1))
    same(whole, again)
    assert found.results == expected.results and records(found) == records(expected)
    folder = found.run
    assert (
        Run(folder).trained()[1] is None
        and Checkpoint.load(folder / "checkpoints" / "last.safetensors").progress.finished
    )


@pytest.mark.parametrize("lines", [ENSEMBLE, LINES + "; folds: 3; stop: patience(2)"])
def test_one_whose_time_is_over_is_left_to_be_resumed(lines: str, tmp_path: Path) -> None:
    whole = trainer(lines)
    expected = whole.fit(DATA)
    one, turns = trainer(lines), 0
    history = one.fit(DATA, run=tmp_path, max_time=1e-9)
    assert history.steps < expected.steps and not one.finished
    again = Trainer.resume(history.run, device="cpu")
    while not again.finished and turns < 100 and again.progress.leg + 1 < again.legs.count:
        again.fit(DATA, max_time=0.002)
        turns += 1
    found = again.fit(DATA)
    same(whole, again)
    assert found.results == expected.results


def test_one_that_is_not_finished_predicts_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trainer(ENSEMBLE, together=False).fit(DATA, run=tmp_path, callbacks=[Interrupt(30)])
    (folder,) = tmp_path.iterdir()
    with pytest.raises(Error) as caught:
        Run(folder).trained()
    assert caught.value.code == "E0745" and "1 of 3 members" in caught.value.message


def test_an_ensemble_is_trained_by_one_fit(tmp_path: Path) -> None:
    one = trainer(ENSEMBLE)
    with pytest.raises(Error) as caught:
        one.step({name: array[:8] for name, array in DATA.items()})
    assert caught.value.code == "E0687"
    history = one.fit(DATA, run=tmp_path)
    again = Trainer.resume(history.run, device="cpu")
    assert again.fit(DATA).results == history.results
    for late in (one, again, Trainer(next(history.run.glob("*.onnx")), device="cpu")):
        with pytest.raises(Error) as caught:
            late.fit(DATA, epochs=1)
        assert caught.value.code == "E0687"


def test_an_ensemble_in_folds(tmp_path: Path) -> None:
    one = trainer(LINES + "; ensemble: 2; folds: 3")
    history = one.fit(DATA, run=tmp_path)
    assert [(r.get("fold"), r["member"]) for r in history.results] == [
        (fold, member) for fold in (1, 2, 3, None) for member in (1, 2)
    ]
    told = json.loads((history.run / "results.json").read_text())
    assert len(told["folds"]) == 3
    two = [result["validation"]["loss"] for result in history.results[:2]]
    assert told["folds"][0]["validation"]["loss"] == pytest.approx(np.mean(two))
    only = trainer(LINES + "; ensemble: 2")
    only.fit(DATA)
    for name in one.file.ensemble.state:
        np.testing.assert_array_equal(one.state[name], only.state[name])
    again, found = resumed(trainer(LINES + "; ensemble: 2; folds: 3"), tmp_path / "again", 70)
    same(one, again)
    assert found.results == history.results


def test_what_holds_values_of_members_is_a_file_of_format_3() -> None:
    file = CompiledFile.of(dlc.compile(MODEL + f"\ntrain m {{ {ENSEMBLE} }}"))
    assert file.metadata["dlc.format"] == "3" and file.ensemble is not None and file.ensemble.members == 3
    assert CompiledFile.of(dlc.compile(MODEL + f"\ntrain m {{ {LINES} }}")).metadata["dlc.format"] == "1"


def test_loaded_and_frozen_parameters_are_those_of_all_members(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", **{"dense.W": np.full((3, 4), 0.25)})
    (tmp_path / "m.dl").write_text(
        MODEL + f'\ntrain m {{ {ENSEMBLE}; load: "w.npz" on dense[0].W; freeze dense[0].W }}'
    )
    one = Trainer(dlc.compile(tmp_path / "m.dl"), device="cpu")
    one.fit(DATA)
    np.testing.assert_array_equal(one.state["members/dense.W"], np.full((3, 3, 4), 0.25, np.float32))


BODIES = [
    'h = x[:, :, none] |> rearrange("b t c -> b c t") |> conv(4, kernel = 2)\n z = mean(h, axis = -1) |> dense(2)',
    "h: float[batch, 3, 4] = reshape(x |> dense(12), [batch, 3, 4])\n"
    "z = cumsum(h, axis = 1)[:, -1] |> layer_norm |> dense(2)",
    "k = dense(5)\n h = x |> k\n best = argmax(h, axis = -1)\n u = dense(2)\n z = u(x) * pick(h, best)[:, none]",
    "h = x[:, :, none] |> gru(3)\n z = h[:, -1] |> dense(2)",
    "h = x |> dense(4)\n z = concat([h, x], axis = -1) |> dense(2) |> log_softmax",
]


@pytest.mark.parametrize("body", BODIES)
def test_every_kind_of_operation_predicts_for_all_members_at_once(body: str) -> None:
    text = f"""model m {{
    input x: float[batch, 3]
    target y: float[batch]
    {body}
    loss = mean((sum(z, axis = -1) - y)^2)
    output o = z
    output g = grad(sum(z), x)
}}
train m {{ minimize loss using sgd(0.01); epochs: 1; seed: 1 LINE }}"""
    data = {"x": RNG.normal(size=(9, 3)), "y": RNG.normal(size=9)}
    one = Trainer(dlc.compile(text.replace("LINE", "; ensemble: 3"), precision="float64"), device="cpu")
    one.fit(data)
    found = one.predict(data, members=True)
    for k in range(3):
        alone = Trainer(dlc.compile(text.replace("LINE", ""), precision="float64"), device="cpu", seed=1 + k)
        alone.fit(data)
        for name, array in alone.predict(data).items():
            np.testing.assert_allclose(found[f"{name}.members"][k], array, rtol=1e-11, atol=1e-13)


# --- the specs


def test_the_spec_with_folds(tmp_path: Path) -> None:
    whole = Trainer(dlc.compile(SPECS / "folds.dl"), device="cpu")
    expected = whole.fit()
    told = report(expected.results)
    assert (
        len(told["folds"]) == 5 and told["mean"]["validation"]["accuracy"] > 0.95 and expected.test["accuracy"] > 0.95
    )
    assert 0 < told["std"]["validation"]["accuracy"] < 0.02
    with pytest.raises(KeyboardInterrupt):
        Trainer(dlc.compile(SPECS / "folds.dl"), device="cpu").fit(
            run=tmp_path, callbacks=[Interrupt(expected.steps // 2)]
        )
    (folder,) = tmp_path.iterdir()
    again = Trainer.resume(folder, device="cpu")
    found = again.fit()
    same(whole, again)
    assert found.results == expected.results and found.test == expected.test


def test_the_spec_of_an_ensemble(tmp_path: Path) -> None:
    """It knows the curve where there are data, and where there are none it says that it does not."""
    whole = Trainer(dlc.compile(SPECS / "ensemble.dl"), device="cpu")
    expected = whole.fit()
    assert len(expected.results) == 15 and expected.test["rmse"] < 0.15
    with pytest.raises(KeyboardInterrupt):
        Trainer(dlc.compile(SPECS / "ensemble.dl"), device="cpu").fit(
            run=tmp_path,
            callbacks=[Interrupt(expected.steps // 15 // 2)],  # of each member, who train at once
        )
    (folder,) = tmp_path.iterdir()
    again = Trainer.resume(folder, device="cpu")
    found = again.fit()
    same(whole, again)
    assert found.results == expected.results
    session = onnxruntime.InferenceSession(next(folder.glob("*.onnx")))
    x = np.linspace(-1, 1, 81, dtype=np.float32)
    mean, std = session.run(["curve", "curve.std"], {"x": x[:, None]})
    inside = (x < -0.35) | (x > 0.45)
    assert np.sqrt(np.mean((mean - np.sin(4 * x))[inside] ** 2)) < 0.1
    assert std[~inside].max() > 2 * std[inside & (np.abs(x) < 0.95)].mean()


def test_whole_numbers_of_an_ensemble_are_put_to_the_vote() -> None:
    """What most members say, of equally many the least; a boolean likewise."""
    text = MODEL.replace("dense(2)", "dense(5)").replace(
        "output p = softmax(logits)",
        "output label = argmax(logits)\n output sure = logits[:, 0] > 0\n output n = step_of(x)",
    )
    text = text.replace("model m", "fn step_of(x) = argmax(x, axis = -1)\nmodel m")
    one = trainer(ENSEMBLE.replace("ensemble: 3", "ensemble: 4"), text=text)
    one.fit(DATA)
    found = one.predict(DATA, members=True)
    for name in ("label", "sure", "n"):
        each = found[f"{name}.members"]
        assert each.shape == (4, 45) and found[name].dtype == each.dtype
        for row, votes in enumerate(each.T):
            values, counts = np.unique(votes, return_counts=True)
            assert found[name][row] == values[np.argmax(counts)]
            assert found[f"{name}.share"][row] == counts.max() / 4
    assert len(np.unique(found["label.share"])) > 1
    np.testing.assert_array_equal(found["n"], np.argmax(DATA["x"], axis=-1))  # in which members do not differ


FIGURES = {
    "numbers": (
        "m = (x |> dense(4, tanh) |> dense(1))[:, 0]\n y ~ normal(m, 0.5)\n output m = m\n metric rmse = rmse(m, y)\n"
        " metric r2 = 1 - mean((y - m)^2) / (mean(y^2) - mean(y)^2)\n metric worst = max(abs(y - m))",
        lambda p, y: {
            "rmse": np.sqrt(np.mean((p["m"] - y) ** 2)),
            "r2": 1 - np.mean((p["m"] - y) ** 2) / np.var(y),
            "worst": np.max(np.abs(p["m"] - y)),
            "loss": np.mean(2 * (p["m"] - y) ** 2 + np.log(0.5) + np.log(2 * np.pi) / 2),
        },
    ),
    "yes or no": (
        "y ~ bernoulli((x |> dense(4, tanh) |> dense(1))[:, 0])",
        lambda p, y: {
            "accuracy": np.mean((p["probability"] > 0.5) == (y > 0.5)),
            "loss": -np.mean(np.log(np.where(y > 0.5, p["probability"], 1 - p["probability"]))),
        },
    ),
    "a table": (
        "z = x |> dense(2)\n t = where(y > 0.5, 1, 0)\n loss = cross_entropy(z, t)\n output p = softmax(z)\n"
        " metric confused = confusion(z, t)",
        lambda p, y: {
            "loss": -np.mean(np.log(p["p"][np.arange(45), (y > 0.5) * 1])),
            "confused": [[np.sum((p["p"].argmax(-1) == b) & ((y > 0.5) == a)) for b in (0, 1)] for a in (0, 1)],
        },
    ),
    "what no output says": (
        "h = x |> dense(4, tanh)\n m = (h |> dense(1))[:, 0]\n loss = mean((m - y)^2)\n output m = m\n"
        " metric size = mean(h^2)\n metric both = mean(abs(m - y)) + mean(h^2)\n metric mean_y = mean(y)",
        lambda p, y: {"loss": np.mean((p["m"] - y) ** 2)},
    ),
    "a prior": (
        "d = dense(1)\n m = d(x)[:, 0]\n d.W ~ normal(0, 1)\n loss fit = mean((m - y)^2)\n output m = m",
        lambda p, y: dict.fromkeys(("fit", "loss"), np.mean((p["m"] - y) ** 2)),  # which leaves priors out
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_an_evaluation_has_the_figures_of_what_the_ensemble_predicts(name: str) -> None:
    """Beside the means over the members; of what is not made of outputs there are those alone."""
    body, closed = FIGURES[name]
    text = f"model m {{\n input x: float[batch, 3]\n target y: float[batch]\n {body}\n}}"
    y = DATA["y"].astype(float) + (0.1 * DATA["x"][:, 0] if name != "yes or no" else 0)
    one = trainer(ENSEMBLE, text=text)
    one.fit({"x": DATA["x"], "y": y})
    figures, expected = one.evaluate({"x": DATA["x"], "y": y}), closed(one.predict(DATA), y)
    assert {n for n in figures if n.startswith("ensemble.")} == {f"ensemble.{n}" for n in expected}
    for figure, value in expected.items():
        np.testing.assert_allclose(figures[f"ensemble.{figure}"], value, rtol=1e-9, err_msg=figure)
