"""`ruff check` and `ruff format --check` on every Python file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("command", [["check"], ["format", "--diff"]], ids=" ".join)
def test_style(command: list[str]) -> None:
    pytest.importorskip("ruff")
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--no-cache", "."],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_file_is_longer_than_five_hundred_lines() -> None:
    """What grows past that is cut by concern. The libraries that pages bring along are not ours."""
    kinds = {".py", ".js", ".css", ".c", ".h", ".dl", ".lark"}
    found = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines())
        for folder in ("compiler", "runtime", "native", "specs", "grammar", "tests", "editors", "docs")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in kinds and not path.name.endswith((".min.js", ".min.css"))
    }
    assert len(found) > 400 and {name: lines for name, lines in found.items() if lines > 500} == {}
