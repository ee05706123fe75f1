"""The scripts that complete commands for a shell."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from dlc.cli import main
from dlc.cli.app import COMMANDS

# Completes the words that it is given, the last one as far as it is written, and prints what is offered, one a line.
ASK = """source "$1"; shift; COMP_WORDS=(dlc "$@"); COMP_CWORD=$#; COMPREPLY=()
_dlc dlc "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"; printf '%s\\n' "${COMPREPLY[@]}"; complete -p dlc"""


def script(capsys: pytest.CaptureFixture[str], shell: str) -> str:
    capsys.readouterr()
    assert main(["completion", shell]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    (tmp_path / "script").write_text(script(capsys, "bash"))
    (tmp_path / "specs").mkdir()
    (tmp_path / "a spec.dl").touch()
    return tmp_path


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["tr"], ["train"]),
        ([""], list(COMMANDS)),
        (["--v"], ["--version"]),
        (["train", "--log"], ["--log-every", "--log"]),
        (["train", "x.dl", "--qu"], ["--quiet"]),
        (["check", "--qu"], [""]),
        (["train", "x.dl", "--device", "c"], ["cpu", "cuda"]),
        (["check", "--device", ""], ["cuda"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["compile", "x.dl", "--emit", "op"], ["optimized"]),
        (["train", "sp"], ["specs"]),
        (["train", "a"], ["a spec.dl"]),
        (["predict", "x.onnx", "--data", "a s"], ["a spec.dl"]),
    ],
)
def test_bash_completes(folder: Path, words: list[str], offered: list[str]) -> None:
    done = subprocess.run(
        ["bash", "-c", ASK, "ask", folder / "script", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    *found, registered = done.stdout.splitlines()
    assert found == offered
    assert registered == "complete -o filenames -F _dlc dlc"  # a folder gets its slash, a blank its backslash


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_the_same_each_time_and_has_every_command(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    text = script(capsys, shell)
    assert text == script(capsys, shell) and all(name in text for name in (*COMMANDS, "log-every"))
    if shutil.which(shell):
        done = subprocess.run([shell, "-n"], input=text, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_another_shell(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert "tcsh" in capsys.readouterr().err
