"""The rows that test, which epoch is restored, and the means of the parameters in place of the last."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest
from dlc.cli import main
from dlc.runtime import Error, Trainer
from dlc.runtime.data import Columns, Field, Fold, shares
from test_checkpoint import Interrupt, records, same

MODEL = """
model m(hidden = 4) {
    input x: float[batch, 3]
    target y: float[batch]
    p = (x |> dense(hidden) |> tanh |> dropout(0.1) |> dense(1))[:, 0]
    loss fit = mean((p - y)^2)
    output q = p
    metric rmse = sqrt(mean((p - y)^2))
}
"""
RNG = np.random.default_rng(0)
DATA = {"x": RNG.normal(size=(60, 3)), "y": RNG.normal(size=60)}
LINES = "minimize loss using adam(0.05); batch: 8; epochs: 6; seed: 3"


def trainer(lines: str = LINES, model: str = MODEL, **options: Any) -> Trainer:
    return Trainer(dlc.compile(model + f"\ntrain m {{ {lines} }}", precision="float64", **options), device="cpu")


def columns(rows: int, labels: np.ndarray | None = None) -> Columns:
    fields = (Field("i", np.dtype(np.int64), ("batch",), 0), Field("y", np.dtype(np.int64), ("batch",), 0))
    labels = np.zeros(rows, np.int64) if labels is None else labels
    return Columns(fields, {"i": np.arange(rows), "y": labels}, rows, "here")


def numbers(part: Columns | None) -> list[int]:
    return [] if part is None else part.arrays["i"].tolist()


# --- rows that test


@pytest.mark.parametrize(("validate", "test"), [(0.0, 0.3), (0.25, 0.2), (0.25, 0.0)])
def test_shares_are_apart_and_all_there(validate: float, test: float) -> None:
    found = shares(columns(40), 7, validate, test)
    parts = [numbers(part) for part in found]
    assert [len(part) for part in parts] == [40 - round(40 * validate) - round(40 * test), 40 * validate, 40 * test]
    assert sorted(i for part in parts for i in part) == list(range(40)) and all(part == sorted(part) for part in parts)
    assert numbers(found.validation) == numbers(
        shares(columns(40), 7, validate).validation
    )  # a test moves no row of it


@pytest.mark.parametrize(("rows", "validate", "test"), [(4, 0.0, 0.1), (4, 0.5, 0.5), (3, 0.4, 0.6), (1, 0.0, 0.6)])
def test_a_share_that_leaves_one_side_empty(rows: int, validate: float, test: float) -> None:
    with pytest.raises(Error) as caught:
        shares(columns(rows), 0, validate, test)
    assert caught.value.code == "E0619"


def split_of(seed: int, **given: float) -> Any:
    fields = (Field("x", np.dtype(np.float64), ("batch", 3), 0), Field("y", np.dtype(np.float64), ("batch",), 0))
    return shares(Columns(fields, DATA, 60, "here"), seed, **given)


def test_the_score_is_that_of_the_rows_that_no_step_and_no_choice_saw(tmp_path: Path) -> None:
    lines = LINES + "; validate: 0.2; test: 0.25; stop: patience(2)"
    one = trainer(lines)
    history = one.fit(DATA, run=tmp_path)
    rows = split_of(3, validate=0.2, test=0.25).test
    assert history.best is not None and history.test == one.evaluate(rows, 8) and rows.rows == 15
    assert history.final["test"] == history.test
    last = json.loads((history.run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["test"] == history.test and last["epoch"] == history.best and set(last) == {
        "epoch", "step", "seconds", "test",
    }  # fmt: skip
    # Other numbers in these rows change nothing but the score.
    other = {name: array.copy() for name, array in DATA.items()}
    moved = [i for i in range(60) if DATA["y"][i] in rows.arrays["y"]]
    other["x"][moved] += 1
    two = trainer(lines)
    again = two.fit(other)
    same(one, two)
    assert records(again) == records(history) and again.test != history.test


def test_rows_of_a_file_and_rows_that_are_given(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", **{name: array[:9] for name, array in DATA.items()})
    (tmp_path / "m.dl").write_text(MODEL + f'\ntrain m {{ {LINES}; test: "t.npz" }}')
    held = Trainer(dlc.compile(tmp_path / "m.dl", precision="float64"), device="cpu").fit(DATA)
    given = trainer().fit(DATA, test={name: array[:9] for name, array in DATA.items()})
    assert held.test == given.test and held.test is not None and trainer().fit(DATA).test is None
    with pytest.raises(Error) as caught:
        trainer().fit(DATA, test=1.0)
    assert caught.value.code == "E0631"


@pytest.mark.parametrize("at", [3, 20, 33])
def test_a_resumed_run_tests_the_same_rows(tmp_path: Path, at: int) -> None:
    lines = LINES + "; test: 0.25"
    whole = trainer(lines)
    expected = whole.fit(DATA)
    with pytest.raises(KeyboardInterrupt):
        trainer(lines).fit(DATA, run=tmp_path, callbacks=[Interrupt(at)])
    (folder,) = tmp_path.iterdir()
    other = {**DATA, "y": np.where(DATA["y"] == split_of(3, test=0.25).test.arrays["y"][0], 9.0, DATA["y"])}
    with pytest.raises(Error) as caught:  # a row of the test is another
        Trainer.resume(folder, device="cpu").fit(other)
    assert caught.value.code == "E0746"
    again = Trainer.resume(folder, device="cpu")
    assert again.fit(DATA).test == expected.test
    same(whole, again)


def test_the_command_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "d.npz", **DATA)
    (tmp_path / "m.dl").write_text(MODEL + f'\ntrain m {{ {LINES}; data: "d.npz"; test: 0.25 }}')
    command = ["train", str(tmp_path / "m.dl"), "--runs", str(tmp_path / "runs"), "--device", "cpu"]
    assert main(command) in (0, None)
    assert "  test loss " in capsys.readouterr().out
    assert main([*command, "--json", "--test", str(tmp_path / "d.npz")]) in (0, None)
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(told["test"]) == {"loss", "fit", "rmse"}


# --- which epoch is restored


@pytest.mark.parametrize(("restore", "stop"), [("last", True), ("best", True), ("best", False), (None, True)])
def test_restore(restore: str | None, stop: bool) -> None:
    """Steps that are far too large: the first epoch is the best, or near it."""
    lines = "minimize loss using sgd(0.9); batch: 8; epochs: 6; seed: 3; validate: 0.3"
    lines += "; stop: patience(9, on = validation.rmse)" if stop else ""
    lines += f"; restore: {restore}" if restore else ""
    one = trainer(lines)
    history = one.fit(DATA)
    losses = [record["validation"]["rmse" if stop else "loss"] for record in history.epochs]
    best = int(np.argmin(losses)) + 1
    assert len(losses) == 6 and best != 6
    kept = 6 if restore == "last" else best
    assert history.best == (None if restore == "last" else best) and history.final["epoch"] == kept
    held = split_of(3, validate=0.3).validation
    assert one.evaluate(held, 8) == history.epochs[kept - 1]["validation"]


# --- means of the parameters

TWO = "minimize loss over *.W using adam(0.05, eps = 1e-6); minimize loss over *.b using momentum(0.02)"
NORMED = MODEL.replace("|> tanh", "|> batch_norm |> tanh")
PAIR = """
model m {
    input x: float[batch, 3]
    target y: float[batch]
    z = x |> dense(3) |> tanh
    u, v = dense(1), dense(1)
    loss one = mean((u(z)[:, 0] - y)^2)
    loss two = mean((v(z)[:, 0] - u(z)[:, 0])^2)
    output q = u(z) + v(z)
}
"""
TURNS = (
    "minimize one over dense[0].*, dense[1].* using adam(0.05); minimize two over dense[2].* using adam(0.02) every 2"
)
AVERAGED = [
    (MODEL, "minimize loss using adam(0.05)"),
    (MODEL, TWO),
    (MODEL, "minimize loss using lookahead(momentum(0.02)); penalty: l2(0.1) on *.W; clip: global_norm(0.5)"),
    (NORMED, "minimize loss using adam(0.05)"),
    (PAIR, TURNS.replace("dense[0]", "dense").replace("dense[1]", "u").replace("dense[2]", "v")),
]


@pytest.mark.parametrize(("model", "minimize"), AVERAGED)
def test_the_points_are_the_run_without_the_line_and_the_parameters_their_means(model: str, minimize: str) -> None:
    lines, decay = minimize + "; batch: 8; seed: 3; epochs: 2", 0.8
    plain, mean = trainer(lines, model), trainer(lines + f"; average: ema({decay})", model)
    expected = {name: array.copy() for name, array in plain.parameters.items()}
    counts = dict.fromkeys(expected, 0)
    for start in range(0, 48, 8):
        batch = {name: array[start : start + 8] for name, array in DATA.items()}
        before = {name: array.copy() for name, array in plain.parameters.items()}
        assert plain.step(batch) == mean.step(batch)
        for name, point in plain.parameters.items():
            if "v." in name and (start // 8) % 2 == 0:  # of a pass that was not due
                assert np.array_equal(point, before[name])
                continue
            counts[name] += 1
            keep = min(decay, (counts[name] - 1) / counts[name])
            expected[name] = keep * expected[name] + (1 - keep) * point
    for name, array in plain.state.items():
        point = f"average/{name}" + ("@1" if "v." in name else "")  # what one pass alone has is its own
        found = mean.state[point if name in expected else name]
        assert found.tobytes() == array.tobytes(), name
    for name, array in expected.items():
        np.testing.assert_allclose(mean.parameters[name], array, rtol=1e-13, atol=1e-15)
        assert not np.array_equal(mean.parameters[name], plain.parameters[name])


def test_it_is_what_the_optimizer_of_that_name_does() -> None:
    wrapped = trainer(LINES.replace("adam(0.05)", "ema(adam(0.05), 0.9)"))
    line = trainer(LINES + "; average: ema(0.9)")
    wrapped.fit(DATA)
    line.fit(DATA)
    for name, array in wrapped.parameters.items():
        np.testing.assert_allclose(line.parameters[name], array, rtol=1e-12)


def test_the_mean_is_what_evaluates_predicts_and_is_saved(tmp_path: Path) -> None:
    import onnxruntime

    one = trainer(LINES + "; average: ema(0.9); validate: 0.2")
    history = one.fit(DATA, run=tmp_path)
    other = trainer(LINES)
    for name, array in one.parameters.items():
        other.parameters[name] = array
    rows = split_of(3, validate=0.2).validation
    assert other.evaluate(rows, 8) == history.epochs[-1]["validation"]
    session = onnxruntime.InferenceSession(next(history.run.glob("*.onnx")))
    np.testing.assert_allclose(session.run(["q"], {"x": DATA["x"]})[0], other.predict(DATA)["q"], rtol=1e-12)


def test_in_blocks_each_begins_from_the_mean() -> None:
    model = MODEL.replace("|> dropout(0.1) ", "")  # each pass has draws of its own
    text = model + f"\ntrain m {{ {LINES}; average: ema(0.9); freeze dense[1].* }}"
    text += "\ntrain m { minimize loss using sgd(0.1); epochs: 1 }"
    both = Trainer(dlc.compile(text, precision="float64"), device="cpu")
    both.fit(DATA)
    first = trainer(LINES + "; average: ema(0.9); freeze dense[1].*", model)
    first.fit(DATA)
    second = trainer("minimize loss using sgd(0.1); epochs: 7; batch: 8; seed: 3; average: ema(0.9)", model)
    for name, array in first.parameters.items():
        second.parameters[name] = array
        second.state[f"average/{name}"] = array
    second.progress.epoch = 6  # epochs count on
    second.fit(DATA, epochs=1)
    for name, array in second.parameters.items():
        np.testing.assert_allclose(both.parameters[name], array, rtol=1e-12)


@pytest.mark.parametrize("at", [3, 40])
def test_a_resumed_run_goes_on_averaging(tmp_path: Path, at: int) -> None:
    lines = LINES + "; average: ema(0.9); validate: 0.2; stop: patience(2)"
    whole = trainer(lines)
    whole.fit(DATA)
    if whole.progress.step < at:
        at = whole.progress.step - 1
    with pytest.raises(KeyboardInterrupt):
        trainer(lines).fit(DATA, run=tmp_path, callbacks=[Interrupt(at)])
    (folder,) = tmp_path.iterdir()
    again = Trainer.resume(folder, device="cpu")
    again.fit(DATA)
    same(whole, again)


# --- folds of rows


@pytest.mark.parametrize(("rows", "count"), [(10, 5), (11, 3), (7, 7)])
def test_each_row_is_in_one_fold(rows: int, count: int) -> None:
    held = [numbers(shares(columns(rows), 1, fold=Fold(count, k)).validation) for k in range(count)]
    assert sorted(i for part in held for i in part) == list(range(rows))
    assert [len(part) for part in held] == [rows // count + (k < rows % count) for k in range(count)]
    whole = shares(columns(rows), 1, fold=Fold(count, count))
    assert numbers(whole.train) == list(range(rows)) and whole.validation is None


def test_no_fold_holds_a_row_that_tests() -> None:
    tested = set(numbers(shares(columns(50), 1, test=0.2).test))
    for k in range(4):
        found = shares(columns(50), 1, test=0.2, fold=Fold(4, k))
        assert set(numbers(found.test)) == tested and not tested & {*numbers(found.validation), *numbers(found.train)}


def test_stratified_folds_have_each_class_in_proportion() -> None:
    labels = np.repeat([3, 0, 9], [23, 10, 4])
    counts = np.array(
        [
            np.bincount(shares(columns(37, labels), 1, fold=Fold(5, k, "y")).validation.arrays["y"], minlength=10)
            for k in range(5)
        ]
    )
    for label, rows in ((3, 23), (0, 10), (9, 4)):
        assert set(counts[:, label]) <= {rows // 5, -(-rows // 5)} and counts[:, label].sum() == rows
    assert set(counts.sum(axis=1)) <= {7, 8}


def test_folds_that_cannot_be() -> None:
    for fold, rows, code in ((Fold(5, 0), 4, "E0685"), (Fold(5, 0, "y"), 4, "E0685"), (Fold(3, 0, "i"), 9, "E0686")):
        with pytest.raises(Error) as caught:
            shares(columns(rows), 0, fold=fold)
        assert caught.value.code == code
