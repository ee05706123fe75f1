"""What `dlc check` costs: half a second of processor time, and only the libraries it needs."""
from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

SPEC = Path(__file__).parent.parent / "specs" / "digits.dl"
# What a check has no use for: it would pay a tenth of a second for each.
IDLE = ("onnxruntime", "onnx", "networkx", "numpy.random", "rich.console")


def test_check_is_light() -> None:
    code = ("import sys; from dlc.cli import main; status = main(['check', sys.argv[1]]);"
            f"print([m for m in {IDLE} if m in sys.modules], status)")
    done = subprocess.run([sys.executable, "-c", code, SPEC], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"


def test_check_takes_half_a_second() -> None:
    # As installed: compiled modules kept (the first run writes them). Processor time: neighbours matter less.
    environment, spent = {name: v for name, v in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}, []
    command = [sys.executable, "-c", "import sys; from dlc.cli import main; sys.exit(main())", "check", SPEC]
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, capture_output=True, check=True, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) < 0.6, spent
