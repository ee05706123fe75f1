"""`dlc sweep`: ranges of a spec, a search that can be interrupted, its table and its page."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest
from dlc.cli.app import main as run

optuna: Any = pytest.importorskip("optuna", reason="the extra [sweep] is not installed")

# The loss is (shift - 2)^2 + cost, whatever is trained: what a search has to find is known.
SPEC = """
model known(shift = 0.0, cost = 0.0, act = relu) {
    input  x: float[batch]
    target y: float[batch]
    param w: float ~ normal(0, 1)
    loss = mean((act(0 * w * x + shift) - y)^2) + cost
    output p = x + w
}
train known(lr = 1e-2) { minimize loss using sgd(lr); epochs: 3; validate: 0.25; batch: 4 SWEEP }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.savez("rows.npz", x=np.linspace(0, 1, 16, dtype=np.float32), y=np.full(16, 2, np.float32))
    return tmp_path


def spec(sweep: str = "") -> str:
    Path("known.dl").write_text(SPEC.replace(" SWEEP", f"; sweep: {sweep}" if sweep else ""), "utf-8")
    return "known.dl"


def swept(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert run(["sweep", *words, "--data", "rows.npz", "--device", "cpu", "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_search_finds_what_is_known(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = spec("{ shift: range(-10.0, 10.0), cost: [0.5, 0.0, 1.0] }")
    *trials, last = swept(capsys, path, "--trials", "40", "--epochs", "1")
    for one in trials:
        wanted = (max(one["values"]["shift"], 0.0) - 2) ** 2 + one["values"]["cost"]
        assert one["state"] == "complete" and one["value"] == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    best = min(trials, key=lambda one: one["value"])
    assert last["best"] == best and best["values"]["cost"] == 0.0 and abs(best["values"]["shift"] - 2) < 0.7
    model = Path(last["folder"]) / "best.onnx"
    assert dlc.Trainer(model, "cpu").evaluate("rows.npz")["loss"] == pytest.approx(best["value"], rel=1e-4, abs=1e-6)
    page = (Path(last["folder"]) / "report.html").read_text("utf-8")
    assert page.count("<tr") == 41 and "Content-Security-Policy" in page and "--set shift=" in page


def test_an_interrupted_search_goes_on_as_it_would_have(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = spec("{ shift: range(-4.0, 4.0), act: [relu, tanh], lr: log(1e-4, 1e-1), batch: range(2, 6) }")
    *whole, _ = swept(capsys, path, "--trials", "9")
    *first, last = swept(capsys, path, "--trials", "6")
    *more, end = swept(capsys, path, "--trials", "9", "--resume", last["folder"])
    alike = [[(one["values"], one["state"], one["value"]) for one in trials] for trials in (whole, [*first, *more])]
    assert alike[0] == alike[1] and len(more) == 3 and end["folder"] == last["folder"]
    assert {one["values"]["batch"] for one in whole} <= set(range(2, 7))
    assert swept(capsys, path, "--trials", "9", "--resume", last["folder"])[-1]["best"] == end["best"]


def test_what_is_worse_than_most_ends_early(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = spec("{ shift: range(-10.0, 10.0) }")
    *trials, _ = swept(capsys, path, "--trials", "16")
    pruned = [one for one in trials if one["state"] == "pruned"]
    assert pruned and all(len(one["curve"]) < 3 for one in pruned)
    assert all(len(one["curve"]) == 3 for one in trials if one["state"] == "complete")
    assert all(one["number"] >= 5 for one in pruned)
    *trials, _ = swept(capsys, path, "--trials", "12", "--pruner", "none")
    assert {one["state"] for one in trials} == {"complete"}


def test_a_process_that_was_killed_leaves_a_failed_trial(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = spec("{ shift: range(-4.0, 4.0) }")
    *_, last = swept(capsys, path, "--trials", "2")
    study = optuna.load_study(study_name="sweep", storage=f"sqlite:///{Path(last['folder']) / 'sweep.db'}")
    study.ask().suggest_float("shift", -4.0, 4.0)
    *more, _ = swept(capsys, path, "--trials", "4", "--resume", last["folder"])
    assert [one["number"] for one in more] == [3]
    assert run(["sweep", path, "--trials", "4", "--resume", last["folder"], "--data", "rows.npz"]) == 0
    assert "interrupted" in (Path(last["folder"]) / "report.html").read_text("utf-8")


def test_trials_that_fail_do_not_end_a_search(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = spec("{ cost: [0.0, 1e39, 2.0] }")
    *trials, _ = swept(capsys, path, "--trials", "12")
    assert {one["state"] for one in trials if one["values"]["cost"] == 1e39} == {"failed"}
    assert all(one["said"] for one in trials if one["state"] == "failed")
    path = spec("{ cost: [1e39, 2e39] }")
    assert run(["sweep", path, "--trials", "3", "--data", "rows.npz"]) == 2
    assert "E0662" in capsys.readouterr().err


def test_searches_that_begin_at_once_have_folders_of_their_own(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlc.cli.sweep.time.strftime", lambda form: "20260101-000000")
    path = spec("{ shift: range(-4.0, 4.0) }")
    found = [Path(swept(capsys, path, "--trials", "1")[-1]["folder"]).name for _ in range(3)]
    assert [name.partition("20260101-000000")[2] for name in found] == ["", "-2", "-3"]


def test_the_figure_says_which_way_is_better(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = SPEC.replace(
        "output p",
        "metric hits = mean(where(abs(shift - y) < 1, 1.0, 0.0))\n    metric worth = 1 - shift\n    output p",
    )
    Path("known.dl").write_text(text.replace(" SWEEP", ""), "utf-8")
    over = ["--over", "shift=range(-8, 8)", "--trials", "12", "--epochs", "1"]
    assert run(["sweep", "known.dl", "--on", "validation.worth", "--data", "rows.npz", *over]) == 2
    assert "E0525" in capsys.readouterr().err
    *trials, last = swept(capsys, "known.dl", "--on", "train.loss", *over)
    assert last["best"]["value"] == min(one["value"] for one in trials)
    assert all(isinstance(one["values"]["shift"], int) for one in trials)


def test_another_spec_is_another_search(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = spec("{ shift: range(0.0, 4.0) }")
    *_, last = swept(capsys, path, "--trials", "1")
    for change in ("{ shift: range(0.0, 5.0) }", "{ shift: range(0.0, 4.0), cost: [0.0, 1.0] }"):
        assert run(["sweep", spec(change), "--resume", last["folder"], "--data", "rows.npz"]) == 2
        assert "E0661" in capsys.readouterr().err
    for place in (".", "known.dl"):
        assert run(["sweep", path, "--resume", place, "--data", "rows.npz"]) == 2
        assert "E0661" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sweep", "code", "said"),
    [
        ("{ shift: 3.0 }", "E0507", "range(low, high)"),
        ("{ shift: range(3.0) }", "E0507", "range(low, high)"),
        ("{ shift: range(3.0, 1.0) }", "E0507", "low < high"),
        ("{ shift: log(0.0, 1.0) }", "E0507", "0 < low < high"),
        ("{ shift: [1.0] }", "E0507", "two values"),
        ("{ shift: [x + 1, 2.0] }", "E0507", "numbers"),
        ("{ shift: uniform(0.0, 1.0) }", "E0507", "range(low, high)"),
        ("{ shif: range(0.0, 1.0) }", "E0210", "did you mean `shift`"),
        ("log(1e-5, 1e-1)", "E0507", "mapping"),
    ],
)
def test_ranges_that_are_none(sweep: str, code: str, said: str) -> None:
    with pytest.raises(dlc.Error) as caught:
        dlc.compile(SPEC.replace(" SWEEP", f"; sweep: {sweep}"))
    assert caught.value.code == code and said in str(caught.value)


def test_ranges_are_kept_in_the_file_and_change_nothing_else() -> None:
    said = "{ shift: range(-4.0, -1), lr: log(1e-4, 1e-1), cost: [0, 1], act: [relu, tanh], batch: range(2, 6) }"
    one, other = (dlc.compile(SPEC.replace(" SWEEP", text)) for text in ("", f"; sweep: {said}"))
    assert other.settings["train"]["sweep"] == {
        "shift": {"range": [-4.0, -1.0]},
        "lr": {"log": [1e-4, 1e-1]},
        "cost": {"of": [0, 1]},
        "act": {"of": ["relu", "tanh"]},
        "batch": {"range": [2, 6]},
    }
    assert [str(node) for node in one.model_proto().graph.node] == [
        str(node) for node in other.model_proto().graph.node
    ]


def test_lines_and_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = spec("{ shift: range(0.0, 4.0) }")
    assert run(["sweep", path, "--trials", "3", "--data", "rows.npz", "--seed", "2"]) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"^trial \d  shift=[\d.]+  validation\.loss [\d.e-]+", out, re.M)) == 3
    assert re.search(r"^best    dlc train known\.dl --set shift=[\d.e-]+$", out, re.M)
    command = re.search(r"^best    dlc (train .*)$", out, re.M)
    assert command and run([*command[1].split(), "--data", "rows.npz", "--quiet"]) == 0  # it does what it says


def test_what_the_command_refuses(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = spec()
    for words in ([path], [path, "--over", "shift"], [path, "--trials", "0"], ["rows.npz"]):
        assert run(["sweep", *words, "--data", "rows.npz"]) == 2
        assert "E0790" in capsys.readouterr().err
    monkeypatch.setattr("dlc.cli.sweep.find_spec", lambda name: None)
    assert run(["sweep", path]) == 2
    assert "E0780" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (1e-5, 0.1, ["1e-05", "0.0001", "0.001", "0.01", "0.1"]),
        (15, 260, ["20", "50", "100", "200"]),
        (2.0, 2.4, ["2", "2.1", "2.2", "2.3", "2.4"]),
        (1e-9, 1e3, ["1e-09", "1e-07", "1e-05", "0.001", "0.1", "10", "1000"]),
    ],
)
def test_an_axis_of_logarithms_says_the_numbers(low: float, high: float, said: list[str]) -> None:
    from dlc.reports.drawn import decades

    found = decades(math.log10(low), math.log10(high))
    assert [text for _, text in found] == said
    assert all(10**at == pytest.approx(float(text)) for at, text in found)
