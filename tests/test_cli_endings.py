"""How the command line ends: bad input, our own fault, an interrupt, a closed pipe; status and words of each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from dlc.cli import report

SPECS = Path(__file__).parent.parent / "specs"
BROKEN = "model m {\n    input x: float[batch, 4]\n    param W: float[5, 3]\n    output z = x @ W\n}\n"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.dl"
    path.write_text(BROKEN)
    return path


def test_bad_input_is_shown_at_its_place(run, broken: Path) -> None:
    status, out, err = run("check", broken)
    assert (status, out) == (2, "")
    assert err.startswith("error[E0312]: ")
    assert f"{broken}:4:16" in err
    assert "\x1b" not in err


def test_errors_as_json(run, broken: Path) -> None:
    status, _, err = run("check", broken, "--json")
    [record] = [json.loads(line) for line in err.splitlines()]
    assert status == 2
    assert record["code"] == "E0312"
    assert record["where"].endswith("broken.dl:4:16")


def test_colour_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert report.coloured(Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not report.coloured(Terminal())
    text = "error[E0312]: no\n  --> a.dl:1:1\n   |\n 1 | x @ W\n   | ^ here\n   = help: y"
    assert "\x1b[1;31merror[E0312]\x1b[0m" in report.paint(text)
    import re

    assert re.sub(r"\x1b\[[0-9;]*m", "", report.paint(text)) == text


def test_our_own_fault(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import dlc.program

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("of ours")

    monkeypatch.setattr(dlc.program, "compile", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("DLC_DEBUG", raising=False)
    status, out, err = run("check", SPECS / "xor.dl")
    assert (status, out) == (70, "")
    assert err.startswith("internal error: RuntimeError: of ours")
    assert "Traceback" not in err
    [kept] = tmp_path.glob("dlc-fault-*.txt")
    assert str(kept) in err
    assert "Traceback" in kept.read_text()
    assert "Traceback" in run("check", SPECS / "xor.dl", "--debug")[2]
    assert json.loads(run("check", SPECS / "xor.dl", "--json")[2])["severity"] == "internal"


def test_interrupted(run, monkeypatch: pytest.MonkeyPatch) -> None:
    import dlc.program

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dlc.program, "compile", stop)
    status, _, err = run("check", SPECS / "xor.dl")
    assert status == 130
    assert "Traceback" not in err


def test_a_closed_pipe_is_no_matter() -> None:
    command = f"{sys.executable} -c 'import sys; from dlc.cli import main; sys.exit(main())' explain | head -n 1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["check", "nowhere.dl"], "E0701"),
        (["check", "."], "E0790"),
        (["check", "nowhere.onnx"], "E0710"),
        (["check", SPECS / "data" / "xor.csv"], "E0790"),
        (["decompile", SPECS / "xor.dl"], "E0790"),
        (["train", "--resume", "nowhere"], "E07"),
        (["explain", "E9999"], "E0793"),
        (["check", SPECS / "xor.dl", "--model", "xnor"], "E0209"),
        (["check", SPECS / "xor.dl", "--set", "hiden=4"], "E0210"),
        (["check", SPECS / "xor.dl", "--set", "hidden=many"], "E0302"),
        (["check", SPECS / "xor.dl", "--max-nodes", "3"], "E0220"),
        (["train", SPECS / "xor.dl", "--data", "nowhere.npz"], "E0602"),
        (["graph", SPECS / "xor.dl", "-o", "x.gif"], "E0792"),
    ],
)
def test_bad_input_has_a_code(
    run, argv: list[object], code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = run(*argv)
    assert (status, out) == (2, "")
    assert err.startswith(f"error[{code}")


def test_names_in_both_lists(run, tmp_path: Path) -> None:
    spec = tmp_path / "both.dl"
    spec.write_text(
        "model m(rate = 0.5) {\n    input x: float[batch, 4]\n    loss = rate * mean(dense(1)(x)^2)\n}\n"
        "train m(rate = 0.1) { minimize loss using sgd(rate) }\n"
    )
    status, _, err = run("check", spec, "--set", "rate=1")
    assert (status, err.split(":")[0]) == (2, "error[E0243]")
    assert run("check", spec, "--set", "train.rate=1")[0] == 0


def test_imports_stay_in_the_folder(run, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "blocks.dl").write_text("layer block()(x) { return x |> dense(4) }\n")
    for path, code in (("../blocks.dl", "E0207"), ("nowhere.dl", "E0204")):
        spec = tmp_path / "inner" / "m.dl"
        spec.write_text(f'import "{path}"\nmodel m {{ input x: float[batch, 4]; output y = x |> block }}\n')
        status, _, err = run("check", spec)
        assert (status, err.split(":")[0]) == (2, f"error[{code}]")
    spec = tmp_path / "m.dl"
    spec.write_text('import "blocks.dl"\nmodel m { input x: float[batch, 4]; output y = x |> block }\n')
    assert run("check", spec)[0] == 0
