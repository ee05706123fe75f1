"""The native library for systems that are not here: it compiles and links for each without a warning. Needs Zig, whose
C compiler has the headers and libraries of all (`pip install ziglang`)."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SYSTEMS = [
    "x86_64-linux-gnu", "x86_64-linux-musl", "aarch64-linux-gnu", "x86_64-windows-gnu", "aarch64-macos", "x86_64-macos",
]  # fmt: skip
FLAGS = (
    "-std=c11",
    "-O0",
    "-ffp-contract=off",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-shared",
    "-fPIC",
)
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="needs Zig: pip install ziglang"),
]


def linked(system: str, folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    files = sorted(map(str, (ROOT / "native").glob("*.c")))
    command = [sys.executable, "-m", "ziglang", "cc", "-target", system, *FLAGS, *flags, *files]
    return subprocess.run(
        [*command, "-o", str(folder / "chains.so"), "-lm"], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("system", SYSTEMS)
def test_it_compiles_without_a_warning(system: str, tmp_path: Path) -> None:
    done = linked(system, tmp_path)
    assert done.returncode == 0 and not done.stderr, done.stderr[-4000:]
    assert b"RegisterCustomOps" in (tmp_path / "chains.so").read_bytes()


def test_a_warning_would_be_seen(tmp_path: Path) -> None:
    done = linked("aarch64-linux-gnu", tmp_path, "-Weverything")
    assert done.returncode != 0 and "error" in done.stderr
