"""Signals that come within milliseconds of each other: no traceback, and the status of an interrupted program."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dlc.runtime import interrupts

SPECS = Path(__file__).parent.parent / "specs"
# Says when its handlers are there: before that Python itself is starting.
CODE = (
    "import sys; from dlc.runtime import interrupts; from dlc.cli import main; real = interrupts.install\n"
    "def install():\n    real(); print('ready', flush=True)\n"
    "interrupts.install = install; sys.exit(main())"
)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("wait", [0.0, 0.02, 0.1, 0.3, 0.6, 1.0, 2.0])
def test_interrupts_within_milliseconds(wait: float, tmp_path: Path) -> None:
    argv = ["train", SPECS / "xor.dl", "--epochs", "1000000", "--runs", tmp_path]
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", CODE, *argv], stdout=pipe, stderr=pipe, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    time.sleep(wait)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        process.send_signal(number)
        time.sleep(0.001)
    _, said = process.communicate(timeout=60)
    assert "Traceback" not in said
    assert "interrupted" in said or not said
    assert process.returncode == 130, said


def test_an_interrupt_that_became_an_error_is_one(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An extension module whose import is broken into says that it cannot be imported."""
    assert run("check", tmp_path / "missing.dl")[0] == 2
    monkeypatch.setattr(interrupts, "_ending", True)
    status, _, said = run("check", tmp_path / "missing.dl")
    assert status == 130 and said.strip() == "interrupted"
