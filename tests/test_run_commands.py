"""Commands on a run folder, and how training shows itself in a pipe."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from dlc.cli.progress import figures
from dlc.runtime.callbacks import figure

TEXT = """
model m {{
    input x: float[batch, 3]
    target y: float[batch]
    param w: float[3] init zeros
    loss = squared(x @ w, y)
    metric away = mean(abs(x @ w - y))
    output f = x @ w
}}
train {{ minimize loss using sgd(0.05); epochs: 4; batch: 8; data: "data.npz"; {settings} }}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, rows in (("data", 50), ("other", 20)):
        x = rng.normal(size=(rows, 3)).astype(np.float32)
        np.savez(tmp_path / f"{name}.npz", x=x, y=x @ np.array([1, -2, 3], np.float32))
    return tmp_path


def train(run, folder: Path, settings: str, *more: object) -> dict[str, object]:
    (folder / "m.dl").write_text(TEXT.format(settings=settings))
    return train_file(run, folder, *more)


def train_file(run, folder: Path, *more: object) -> dict[str, object]:
    status, out, err = run("train", folder / "m.dl", "--runs", folder / "runs", "--json", *more)
    assert status == 0, err
    return json.loads(out.splitlines()[-1])


# --- evaluate, summary, export


@pytest.mark.parametrize(
    ("settings", "side", "said"),
    [
        ("validate: 0.3", "validation", "the validation share, 0.3, of"),
        ('validate: "other.npz"', "validation", "its validation data,"),
        ("validate: 0.3; stop: patience(3, on = validation.away)", "validation", "the validation share"),
    ],
)
def test_a_run_is_evaluated_on_its_own_validation_rows(run, folder: Path, settings: str, side: str, said: str) -> None:
    done = train(run, folder, settings)
    status, out, err = run("evaluate", done["run"], "--json")
    assert status == 0 and json.loads(out) == done[side]
    assert f"note: on {said}" in err and ("20 rows" if "other" in settings else "15 rows") in err


def test_a_run_that_held_nothing_out_is_evaluated_on_what_it_was_trained_on(run, folder: Path) -> None:
    done = train(run, folder, "")
    status, out, err = run("evaluate", done["run"], "--json")
    given = run("evaluate", done["run"], "--data", folder / "data.npz", "--json")
    assert status == 0 and given[0] == 0 and json.loads(out) == pytest.approx(json.loads(given[1]), rel=1e-6)
    assert "it held none out" in err and "50 rows" in err and "rows" not in given[2]


def test_data_that_are_gone_changed_or_unknown(run, folder: Path) -> None:
    done = train(run, folder, "validate: 0.3")
    data = dict(np.load(folder / "data.npz"))
    np.savez(folder / "data.npz", x=data["x"], y=data["y"] + 1)
    assert run("evaluate", done["run"])[0] == 2 and "E0746" in run("evaluate", done["run"])[2]
    (folder / "data.npz").unlink()
    status, _, err = run("evaluate", done["run"])
    assert status == 2 and "data.npz" in err
    status, _, err = run("evaluate", done["model"])
    assert status == 2 and "needs data" in err and "--data" in err


def test_arrays_leave_no_file_to_evaluate_on(run, folder: Path) -> None:
    import dlc

    (folder / "m.dl").write_text(TEXT.format(settings=""))
    history = dlc.Trainer(dlc.compile(folder / "m.dl")).fit(dict(np.load(folder / "data.npz")), run=folder / "runs")
    status, _, err = run("evaluate", history.run)
    assert status == 2 and "E0649" in err and "--data" in err
    assert run("evaluate", history.run, "--data", folder / "data.npz")[0] == 0


def test_summary_and_export_take_a_run(run, folder: Path) -> None:
    done = train(run, folder, "validate: 0.3")
    status, out, _ = run("summary", done["run"], "--json")
    assert status == 0 and out == run("summary", done["model"], "--json")[1]
    assert run("summary", done["run"], "--set", "a=1")[0] == 2 and run("summary", folder)[2].startswith("error[E0790]")
    small = folder / "small.onnx"
    assert run("export", done["run"], "--inference", "-o", small)[0] == 0
    model = onnx.load(small)
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert not model.training_info and np.abs(held["w"]).min() > 0.1  # as trained, not as compiled


# --- how training shows itself


def lines(run, folder: Path, *more: object) -> list[str]:
    """What `dlc train` says in a pipe: 7 updates an epoch, 4 epochs."""
    (folder / "m.dl").write_text(TEXT.format(settings='validate: "other.npz"'))
    status, out, err = run("train", folder / "m.dl", "--runs", folder / "runs", *more)
    assert (status, err) == (0, "")
    return out.splitlines()


@pytest.mark.parametrize(("n", "epochs"), [(1, [1, 2, 3, 4]), (2, [2, 4]), (3, [3, 4]), (4, [4]), (100, [4])])
def test_a_line_every_so_many_epochs_and_of_the_last(run, folder: Path, n: int, epochs: list[int]) -> None:
    shown = [line.split("  ")[0] for line in lines(run, folder, "--log-every", n) if re.match("epoch ./", line)]
    assert shown == [f"epoch {i}/4" for i in epochs]
    records = [json.loads(line) for line in lines(run, folder, "--log-every", n, "--json")]
    assert [record.get("epoch") for record in records] == [*epochs, None] and "run" in records[-1]


def test_a_line_every_so_many_updates_where_training_ends_after_updates(run, folder: Path) -> None:
    records = [json.loads(line) for line in lines(run, folder, "--steps", 30, "--log-every", 8, "--json")]
    updates = [record["step"] for record in records if "epoch" not in record and "run" not in record]
    assert updates == [8, 16, 24, 30]
    # Validation is at ends of epochs, after 7, 14, 21, 28 updates: as far apart, and the last.
    assert [record["step"] for record in records if "epoch" in record] == [14, 28, 30]
    assert all(record["validation"] for record in records if "epoch" in record)
    shown = lines(run, folder, "--steps", 30, "--log-every", 8)
    assert [line.partition("  train")[0] for line in shown if line.startswith("update")] == [
        "update  8/30",
        "update 16/30",
        "update 24/30",
        "update 30/30",
    ]


def test_quiet(run, folder: Path) -> None:
    assert lines(run, folder, "--quiet") == []
    [folder_made] = (folder / "runs").iterdir()
    assert (folder_made / "m.onnx").is_file() and len((folder_made / "metrics.jsonl").read_text().splitlines()) == 4
    [last] = lines(run, folder, "--quiet", "--json")
    assert json.loads(last)["steps"] == 28
    text = (folder / "m.dl").read_text().replace("sgd(0.05)", "sgd(1e30)")
    (folder / "m.dl").write_text(text)
    status, out, err = run("train", folder / "m.dl", "--runs", folder / "runs", "--quiet")
    assert (status, out) == (2, "") and err.startswith("error[E0670]")


@pytest.mark.parametrize("option", ["--log-every", "--epochs", "--steps", "--batch"])
@pytest.mark.parametrize("value", ["0", "-1", "many", "2.5", "1e3", "1_000", "", "9" * 30])
def test_numbers_that_are_none(run, folder: Path, option: str, value: str) -> None:
    (folder / "m.dl").write_text(TEXT.format(settings=""))
    status, out, err = run("train", folder / "m.dl", "--runs", folder / "runs", f"{option}={value}")
    assert (status, out) == (2, "") and err.startswith("error[E0790]: ") and option in err
    assert not (folder / "runs").exists()


def test_quiet_and_an_interval_contradict_each_other(run, folder: Path) -> None:
    (folder / "m.dl").write_text(TEXT.format(settings=""))
    assert "contradict" in run("train", folder / "m.dl", "--quiet", "--log-every", "2")[2]


def test_a_zero_has_no_sign(run, folder: Path) -> None:
    """The mean of -(y - y) is -0.0: as a figure of an update, of an epoch, of an evaluation, and as text."""
    text = TEXT.format(settings="validate: 0.3").replace("squared(x @ w, y)", "-mean(abs(x @ w) * 0)")
    text = text.replace("mean(abs(x @ w - y))", "-max(abs(x @ w) * 0)")
    (folder / "m.dl").write_text(text)
    for more in ((), ("--json",), ("--steps", 5, "--log-every", 2), ("--steps", 5, "--log-every", 2, "--json")):
        status, out, _ = run("train", folder / "m.dl", "--runs", folder / "runs", *more)
        assert status == 0 and "loss" in out and not re.search(r"[ :]-0(\.0*)?\b", out)
    done = train_file(run, folder)
    assert "-0" not in (Path(str(done["run"])) / "metrics.jsonl").read_text()
    for more in ((), ("--json",)):
        status, out, _ = run("evaluate", done["run"], *more)
        assert status == 0 and "loss" in out and "-0" not in out
    assert figures({"train": {"loss": -0.0, "a": -1e-9}, "validation": None}) == "train loss 0 a -1e-09"
    assert figure(-0.0) == "0" and figure(float("nan")) == "nan" and figure(-2 / 3, 3) == "-0.667"
