"""`mypy --strict` on the whole package: setuptools mounts the folders under the name `dlc`, mypy sees them by links."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MOUNTED = ("runtime", "specs", "grammar")  # as in pyproject.toml, beside compiler/ itself


def test_types(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    package = tmp_path / "dlc"
    package.mkdir()
    for entry in (ROOT / "compiler").iterdir():
        if entry.name != "__pycache__":
            (package / entry.name).symlink_to(entry)
    for folder in MOUNTED:
        (package / folder).symlink_to(ROOT / folder)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--config-file",
            str(ROOT / "pyproject.toml"),
            "--cache-dir",
            str(ROOT / ".mypy_cache"),
            "--strict",
            "-p",
            "dlc",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout.replace("dlc/runtime/", "runtime/").replace("dlc/", "compiler/")
    assert done.returncode == 0, said + done.stderr
