"""What `dlc check` costs: little more than the libraries it needs, and no other library. What `dlc compile` does."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import compile_time

SPEC = Path(__file__).parent.parent / "specs" / "digits.dl"
# What a check has no use for: it would pay a tenth of a second for each.
IDLE = ("onnxruntime", "onnx", "networkx", "numpy.random", "rich.console")


def test_check_is_light() -> None:
    code = (
        "import sys; from dlc.cli import main; status = main(['check', sys.argv[1]]);"
        f"print([m for m in {IDLE} if m in sys.modules], status)"
    )
    done = subprocess.run([sys.executable, "-c", code, SPEC], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"


def test_check_costs_little_more_than_its_libraries() -> None:
    # As installed: compiled modules kept (the first run writes them). In turns with the libraries it needs: how fast
    # the machine is, and how busy, is the same for both.
    environment = {name: v for name, v in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    commands = {
        "check": ["-c", "import sys; from dlc.cli import main; sys.exit(main())", "check", SPEC],
        "libraries": ["-c", "import numpy, lark, cyclopts"],
    }
    spent: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(7):
        for name, command in commands.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, *command], capture_output=True, check=True, env=environment)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent[name].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent["check"]) < 2.5 * min(spent["libraries"]), spent  # 2.0; with networkx and onnx, 3


def test_every_spec_compiles_within_two_seconds() -> None:
    """Processor time of the whole command, start included; `python tests/compile_time.py` prints the table."""
    found = compile_time.table(compile_time.SPECS)
    slow = [compile_time.ROOT / name for name, (seconds, _) in found.items() if seconds >= 2]
    again = compile_time.table(slow) if slow else {}  # a busy machine costs processor time, too
    assert {name: seconds for name, (seconds, _) in again.items() if seconds >= 2} == {}
