"""Every command on hostile files ends well (0) or with a coded message (2): no traceback, no endless loop, nothing
written elsewhere."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from dlc.cli import main
from dlc.runtime.failures import plain
from hostile_files import hostile
from mutations import TooLong, bounded

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="bounds time and memory as Linux does")
PART = 20  # files of one test
COMMANDS = (
    "check FILE",
    "check FILE --json",
    "check FILE --device cuda",
    "summary FILE",
    "summary FILE --json",
    "decompile FILE",
    "decompile FILE --json",
    "decompile FILE -o OUT",
    "export FILE --inference -o OUT.onnx",
    "evaluate FILE --data DATA",
    "predict FILE --data DATA",
    "predict FILE --data DATA --json",
    "train FILE --data DATA --steps 2 --runs RUNS",
    "train FILE --data DATA --epochs 1 --runs RUNS",
    "graph FILE -o OUT.svg",
    "train --resume RUN",
)


def every(numbers: range, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All commands on these files; what fails is told by the file's number."""
    rng = np.random.default_rng(0)
    np.savez(folder / "data.npz", x=rng.normal(size=(40, 4)).astype("float32"), y=rng.integers(0, 3, 40))
    (folder / "loop").symlink_to("loop")
    for name in ("run", "files"):
        (folder / name).mkdir()
    wrong = []
    for number in numbers:
        data = hostile(number)
        (folder / "m.onnx").write_bytes(data)
        (folder / "run" / "m.onnx").write_bytes(data)
        for command in COMMANDS:
            words = {
                "FILE": "m.onnx",
                "OUT": f"files/{number}",
                "OUT.onnx": f"files/{number}.onnx",
                "OUT.svg": "files/a.svg",
                "DATA": "data.npz",
                "RUNS": "runs",
                "RUN": "run",
            }
            argv = [str(folder / words[word]) if word in words else word for word in command.split()]
            try:
                with bounded(memory=2**31):
                    status = main(argv)
            except TooLong as problem:
                status = str(problem)  # type: ignore[assignment]
            said = capsys.readouterr()
            coded = re.search(r"error\[E0\d\d\d\]|\"code\": \"E0\d\d\d\"", said.err)
            shown = said.err + ("" if command == "decompile FILE" else said.out)
            if status not in (0, 2) or (status == 2 and not coded) or plain(shown) != shown:
                wrong.append(f"hostile({number}), {command}: {status} {said.err[:300]}")
    names = {path.name for path in folder.iterdir()} - {"data.npz", "loop", "run", "files", "m.onnx", "runs"}
    assert not wrong, "\n".join(wrong)
    assert not names


@pytest.mark.parametrize("part", range(3))
def test_hostile_files(part: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    every(range(PART * part, PART * (part + 1)), tmp_path, capsys)


@pytest.mark.long
@pytest.mark.parametrize("part", range(3, 83))
def test_hostile_files_at_length(part: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    every(range(PART * part, PART * (part + 1)), tmp_path, capsys)
