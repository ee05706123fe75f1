"""Commands on a run folder, and how training shows itself in a pipe."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from dlc.cli import main

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
def run(capsys: pytest.CaptureFixture[str]):
    """Runs a command line here: (status, stdout, stderr)."""

    def go(*argv: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([str(word) for word in argv])
        out, err = capsys.readouterr()
        return status, out, err

    return go


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, rows in (("data", 50), ("other", 20)):
        x = rng.normal(size=(rows, 3)).astype(np.float32)
        np.savez(tmp_path / f"{name}.npz", x=x, y=x @ np.array([1, -2, 3], np.float32))
    return tmp_path


def train(run, folder: Path, settings: str, *more: object) -> dict[str, object]:
    (folder / "m.dl").write_text(TEXT.format(settings=settings))
    status, out, err = run("train", folder / "m.dl", "--runs", folder / "runs", "--json", *more)
    assert status == 0, err
    return json.loads(out.splitlines()[-1])


# --- evaluate, summary, export


@pytest.mark.parametrize(("settings", "side", "said"), [
    ("validate: 0.3", "validation", "the validation share, 0.3, of"),
    ('validate: "other.npz"', "validation", "its validation data,"),
    ("validate: 0.3; stop: patience(3, on = validation.away)", "validation", "the validation share"),
])
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
    assert run("summary", done["run"], "--set", "a=1")[0] == 2 and run("summary", folder)[2].startswith("error[E0744]")
    small = folder / "small.onnx"
    assert run("export", done["run"], "--inference", "-o", small)[0] == 0
    model = onnx.load(small)
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert not model.training_info and np.abs(held["w"]).min() > 0.1  # as trained, not as compiled
