"""The command line: what it takes, what it writes, how it ends."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dlc.cli.app import COMMANDS
from dlc.cli.options import literal, setting
from dlc.runtime.failures import Error

ROOT = Path(__file__).parent.parent
SPECS = ROOT / "specs"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The last line of `dlc train xor.dl --json`."""
    folder = tmp_path_factory.mktemp("runs")
    done = dlc("train", SPECS / "xor.dl", "--json", "--runs", folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def dlc(*argv: object, **options: object) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", "import sys; from dlc.cli import main; sys.exit(main())", *map(str, argv)],
        capture_output=True,
        text=True,
        check=False,
        **options,  # type: ignore[call-overload]
    )


# --- the command line itself


def test_help_lists_every_command(run) -> None:
    status, out, _ = run("--help")
    assert status == 0
    assert all(f" {name} " in out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself(run, name: str) -> None:
    status, out, _ = run(name, "--help")
    assert status == 0
    assert f"dlc {name}" in out


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4),
        ("-2", -2),
        ("256", 256),
        ("true", True),
        ("none", None),
        ('"a b"', "a b"),
        ("[64, 128]", [64, 128]),
        ('{ x: ["a"], y: "b" }', {"x": ["a"], "y": "b"}),
        ("{ x: 1 }; y", "{ x: 1 }; y"),
        ("all", "all"),
        ("data/x.npz", "data/x.npz"),
        ("", ""),
        ("1 +", "1 +"),
        ("x=y", "x=y"),
    ],
)
def test_values_of_set(text: str, value: object) -> None:
    found = literal(text)
    assert found == value
    assert type(found) is type(value)


def test_set_wants_a_name_and_a_value() -> None:
    assert setting(" lr = 3e-4 ") == ("lr", 3e-4)
    assert setting("data=a=b.npz") == ("data", "a=b.npz")
    for text in ("lr", "=3"):
        with pytest.raises(Error, match="E0790"):
            setting(text)


# --- check


@pytest.mark.parametrize("spec", sorted(SPECS.glob("*.dl")), ids=lambda path: path.stem)
def test_every_spec_checks(run, spec: Path) -> None:
    status, out, err = run("check", spec)
    assert (status, err) == (0, "")
    assert "is fine" in out


# --- compile


def test_compile_writes_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    made = []
    for number, seed in enumerate(("0", "12345")):
        folder = tmp_path / str(number)
        folder.mkdir()
        done = dlc("compile", SPECS / "digits.dl", cwd=folder, env={**os.environ, "PYTHONHASHSEED": seed})
        assert done.returncode == 0, done.stderr
        assert [path.name for path in folder.iterdir()] == ["digits.onnx"]
        made.append((folder / "digits.onnx").read_bytes())
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("stage", "holds"),
    [
        ("tokens", "1: "),
        ("syntax", "Model name='xor'"),
        ("graph", "output/probability <- "),
        ("simplified", "gradient("),
        ("gradient", "next/dense.W <- "),
        ("optimized", "next/dense.W <- "),
        ("nodes", "update_binding dense.W <- next/dense.W"),
    ],
)
def test_stages_as_text(run, tmp_path: Path, stage: str, holds: str) -> None:
    status, out, _ = run("compile", SPECS / "xor.dl", "--emit", stage)
    assert status == 0
    assert holds in out
    assert run("compile", SPECS / "xor.dl", "--emit", stage, "-o", tmp_path / "stage.txt")[0] == 0
    assert (tmp_path / "stage.txt").read_text() == out


def test_compile_where_nothing_can_be_written(run, tmp_path: Path) -> None:
    status, _, err = run("compile", SPECS / "xor.dl", "-o", tmp_path / "nowhere" / "x.onnx")
    assert (status, err.split(":")[0]) == (2, "error[E0739]")


# --- train, and what follows


def test_train_ends_with_one_line(trained: dict[str, object]) -> None:
    assert set(trained) == {"run", "model", "steps", "seconds", "train", "validation"}
    run, model = Path(str(trained["run"])), Path(str(trained["model"]))
    assert model.is_file() and model.parent == run
    assert trained["train"]["loss"] < 0.1  # type: ignore[index]
    assert trained["steps"] > 0  # type: ignore[operator]


def test_train_in_a_pipe_prints_lines(tmp_path: Path) -> None:
    done = dlc("train", SPECS / "digits.dl", "--epochs", "2", "--runs", tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("digits: 1,438 rows, 359 to validate, batch 64, 2 epochs, seed 7")
    assert [line.split("  ")[0] for line in lines[1:3]] == ["epoch 1/2", "epoch 2/2"]
    assert "validation loss" in lines[2]
    assert lines[-2].startswith("run ") and str(tmp_path) in lines[-2]
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


def test_seed_comes_before_the_spec(tmp_path: Path) -> None:
    results = []
    for seed in ("3", "3", "4"):
        done = dlc("train", SPECS / "digits.dl", "--steps", "5", "--seed", seed, "--json", "--runs", tmp_path)
        assert done.returncode == 0, done.stderr
        results.append(json.loads(done.stdout.splitlines()[-1])["train"]["loss"])
    assert results[0] == results[1] != results[2]


def test_a_compiled_file_trains(run, tmp_path: Path) -> None:
    assert run("compile", SPECS / "xor.dl", "-o", tmp_path / "xor.onnx")[0] == 0
    status, out, err = run(
        "train",
        tmp_path / "xor.onnx",
        "--data",
        SPECS / "data" / "xor.csv",
        "--steps",
        "20",
        "--runs",
        tmp_path / "runs",
        "--json",
    )
    assert status == 0, err
    assert json.loads(out.splitlines()[-1])["steps"] == 20
    status, _, err = run("train", tmp_path / "xor.onnx", "--set", "hidden=4")
    assert (status, err.split(":")[0]) == (2, "error[E0790]")


def test_evaluate_and_predict(run, trained: dict[str, object], tmp_path: Path) -> None:
    data = SPECS / "data" / "xor.csv"
    status, out, _ = run("evaluate", trained["run"], "--data", data, "--json")
    assert status == 0
    assert json.loads(out)["accuracy"] == 1.0
    assert run("evaluate", trained["model"], "--data", data)[1].startswith("loss  ")
    for name in ("p.npz", "p.csv"):
        status, _, err = run("predict", trained["model"], "--data", data, "-o", tmp_path / name)
        assert status == 0, err
    array = np.load(tmp_path / "p.npz")["probability"]
    rows = (tmp_path / "p.csv").read_text().splitlines()
    assert rows[0] == "probability"
    np.testing.assert_array_equal(np.array(rows[1:], array.dtype), array)
    assert run("predict", trained["model"], "--data", data)[1].splitlines() == rows
    assert run("predict", trained["model"], "--data", data, "-o", "p.txt")[2].startswith("error[E0799]")


def test_interrupted_and_resumed(run, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "import sys; from dlc.cli import main; sys.exit(main())",
        "train",
        str(SPECS / "digits.dl"),
        "--epochs",
        "100000",
        "--set",
        "stop=none",
        "--runs",
        str(tmp_path),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("epoch"):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    [folder] = tmp_path.iterdir()
    assert f"dlc train --resume {folder}" in err
    assert "Traceback" not in err
    status, out, err = run("train", "--resume", folder, "--epochs", "1", "--json")
    assert status == 0, err
    assert json.loads(out.splitlines()[-1])["run"] == str(folder)


def test_resume_a_finished_run(run, trained: dict[str, object]) -> None:
    status, out, err = run("train", "--resume", trained["run"], "--steps", "5", "--json")
    assert status == 0, err
    assert json.loads(out.splitlines()[-1])["steps"] == trained["steps"] + 5  # type: ignore[operator]


def test_export_leaves_the_predicting_part(run, trained: dict[str, object], tmp_path: Path) -> None:
    import onnx

    target = tmp_path / "small.onnx"
    status, _, err = run("export", trained["model"], "--inference", "-o", target)
    assert status == 0, err
    model = onnx.load(target)
    onnx.checker.check_model(model, full_check=True)
    assert not model.training_info
    data = SPECS / "data" / "xor.csv"
    assert run("predict", target, "--data", data)[1] == run("predict", trained["model"], "--data", data)[1]
    assert run("check", target)[0] == 0
    assert run("evaluate", target, "--data", data)[2].startswith("error[E0715]")


def test_a_file_without_outputs_trains_and_says_that_it_predicts_nothing(run, tmp_path: Path) -> None:
    spec = tmp_path / "cost.dl"
    spec.write_text("model cost { input x: float[batch, 2]; target y: int[batch]\nloss = mean((x |> dense(1))^2) }\n"
                    "train { minimize loss using sgd(0.1) }")  # fmt: skip
    data = SPECS / "data" / "xor.csv"
    status, _, err = run("train", spec, "--data", data, "--epochs", "1", "--runs", tmp_path / "runs", "-q")
    assert status == 0, err
    folder = next((tmp_path / "runs").iterdir())
    status, _, err = run("predict", folder, "--data", data)
    assert status == 2 and err.startswith("error[E0705]: this file predicts nothing: it has no output"), err
    assert run("evaluate", folder, "--data", data)[0] == 0


def test_decompile_gives_the_spec_back(run, trained: dict[str, object], tmp_path: Path) -> None:
    assert run("decompile", trained["model"])[1] == (SPECS / "xor.dl").read_text()
    assert run("decompile", trained["model"], "-o", tmp_path)[0] == 0  # a folder that is empty
    assert (tmp_path / "xor.dl").read_text() == (SPECS / "xor.dl").read_text()
    assert (tmp_path / "std" / "layers.dl").read_text() == (SPECS / "std" / "layers.dl").read_text()


def test_decompile_needs_the_spec(run, trained: dict[str, object], tmp_path: Path) -> None:
    import onnx

    model = onnx.load(str(trained["model"]))
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    assert run("decompile", tmp_path / "bare.onnx")[2].startswith("error[E0795]")


def test_decompile_stays_in_its_folder(run, trained: dict[str, object], tmp_path: Path) -> None:
    import onnx

    model = onnx.load(str(trained["model"]))
    for entry in model.metadata_props:
        if entry.key == "dlc.sources":
            entry.value = json.dumps({"main": "m.dl", "files": {"m.dl": "x", "../evil.dl": "y"}})
        if entry.key == "dlc.checksum":
            entry.key = "evil"  # whoever means harm leaves none
    onnx.save(model, tmp_path / "evil.onnx")
    (tmp_path / "out").mkdir()
    assert run("decompile", tmp_path / "evil.onnx", "-o", tmp_path / "out")[2].startswith("error[E0798]")
    assert not (tmp_path / "evil.dl").exists()


# --- faces


@pytest.mark.parametrize("kind", ["spec", "file"])
def test_summary(run, trained: dict[str, object], kind: str) -> None:
    path = SPECS / "xor.dl" if kind == "spec" else trained["model"]
    status, out, err = run("summary", path)
    assert status == 0, err
    assert "33 values in 4 parameters" in out
    found = json.loads(run("summary", path, "--json")[1])
    layers = {layer["layer"]: layer for layer in found["layers"]}
    assert layers["dense"]["parameters"] == [["W", "[2, 8]", 16], ["b", "[8]", 8]]
    assert found["values"] == 33
    assert found["optimizer_values"] == 66


def test_a_summary_has_layers_in_the_order_of_the_text(run, tmp_path: Path) -> None:
    (tmp_path / "m.dl").write_text("""
        layer block()(x: float[batch, n]) -> float[batch, n] { return x |> dense(n) |> relu |> dropout(0.5) }
        model m { input x: float[batch, time, 3]; target y: float[batch]
                  h = rearrange(x[:, 0] |> block() |> block(), "b (t c) -> b t c", t = 3) |> gru(2)
                  y ~ normal(mean(h, axis = [1, 2]), 1) }
        train { minimize loss using sgd(0.1) }""")
    layers = [row["layer"] for row in json.loads(run("summary", tmp_path / "m.dl", "--json")[1])["layers"]]
    assert layers == [
        "",
        "block",
        "block.dense",
        "block.dropout",
        "block[1]",
        "block[1].dense",
        "block[1].dropout",
        "gru",
        "sgd",
    ]


def test_grad(run) -> None:
    status, out, err = run("grad", SPECS / "softmax.dl", "--of", "loss", "--wrt", "W", "--short")
    assert status == 0, err
    assert out.strip() == "xᵀ (softmax(z) − onehot(y)) / batch"
    assert "\\" in run("grad", SPECS / "softmax.dl", "--of", "loss", "--wrt", "W", "--latex")[1]
    assert run("grad", SPECS / "softmax.dl", "--wrt", "V")[0] == 2


def test_fmt(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = tmp_path / "m.dl"
    spec.write_text("model m{input x:float[batch,4];output y=x}")
    status, _, err = run("fmt", "--check", spec)
    assert (status, err.split(":")[0]) == (2, "error[E0794]")
    assert run("fmt", spec)[0] == 0
    text = spec.read_text()
    assert "input x: float[batch, 4]" in text
    assert run("fmt", "--check", spec)[0] == 0
    assert run("fmt", spec)[0] == 0
    assert spec.read_text() == text
    monkeypatch.setattr(
        "sys.stdin", io.TextIOWrapper(io.BytesIO(b"model m{input x:float[batch,4];output y=x}"), "latin-1")
    )
    assert run("fmt", "-") == (0, text, "") and "`--check`" in run("fmt", "--chekc", "-")[2]
    assert run("fmt", "--check", *sorted(SPECS.rglob("*.dl")))[2] == ""


def test_explain(run) -> None:
    for code in ("E0312", "e0312", "[E0312]", "312"):
        assert run("explain", code)[1].startswith("# E0312: ")
    assert "E0350" in run("explain", "E0349")[2]
    assert run("explain")[1].splitlines()[0].startswith("E0101  ")


def test_doctor(run, monkeypatch: pytest.MonkeyPatch) -> None:
    from dlc.cli import doctor

    status, out, _ = run("doctor", "--json")
    found = json.loads(out)
    assert found["telemetry"] == "off"
    assert found["packages"]["onnx"]
    assert status == (0 if found["ok"] else 2)
    real = doctor.version_of
    monkeypatch.setattr(doctor, "version_of", lambda name: "1.0" if name.startswith("onnxruntime") else real(name))
    status, out, _ = run("doctor", "--json")
    assert status == 2
    assert any("overwrite each other" in problem["problem"] for problem in json.loads(out)["problems"])


def test_doctor_sees_another_dlc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dlc.cli import doctor

    own, other = tmp_path / "own", tmp_path / "other"
    for folder in (own, other):
        folder.mkdir()
        (folder / "dlc").write_text("#!/bin/sh\n")
        (folder / "dlc").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(own / "python"))
    monkeypatch.setenv("PATH", f"{other}:{own}")
    problems: list[dict[str, str]] = []
    doctor._program(problems)
    assert str(other / "dlc") in problems[0]["problem"]
    monkeypatch.setenv("PATH", f"{own}:{other}")
    problems.clear()
    doctor._program(problems)
    assert problems == []
