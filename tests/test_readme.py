"""README's commands and its Python run one after another, as a reader types them."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "specs", tmp_path / "specs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_run(clone: Path, run) -> None:
    [block] = re.findall(r"<!-- use -->\n```sh\n(.*?)```", README, re.S)
    ran = 0
    for line in block.splitlines():
        words = shlex.split(line, comments=True)
        if words[0] != "dlc":
            assert line.startswith((". .venv/bin/activate ", "RUN=$(ls -d runs/* | tail -n 1) ")), line
            continue
        draws = words[1] == "graph" and "digits.html" not in words
        if draws and importlib.util.find_spec("pygraphviz") is None:
            continue
        given = []
        for word in words[1:]:
            named = sorted(clone.glob("runs/*")) if word == "$RUN" else sorted(clone.glob(word)) if "*" in word else []
            given += [str(named[-1])] if word == "$RUN" else [str(path) for path in named] or [word]
        status, out, err = run(*given)
        assert status == 0, (line, err)
        assert out or err or "fmt" in words, line
        ran += 1
    assert ran > 15
    assert {"digits.onnx", "small.onnx", "predictions.csv", "digits.html"} <= {path.name for path in clone.iterdir()}


def test_the_python_runs(clone: Path) -> None:
    code = "\n".join(re.findall(r"```py\n(.*?)```", README, re.S))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=clone)
    assert done.returncode == 0, done.stderr
    assert (clone / "trained.onnx").exists() and done.stdout.count("[[") == 2
