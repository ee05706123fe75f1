"""`python tests/compile_time.py [SPEC...]`: the processor time that `dlc compile` takes for each spec, from the start
of the command to the written file, and how many nodes it makes."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import dlc
from dlc.runtime.graphs import nodes

ROOT = Path(__file__).resolve().parents[1]
SPECS = sorted(path for folder in ("specs", "specs/tables") for path in (ROOT / folder).glob("*.dl"))
DESIGNS = sorted((ROOT / "tests" / "specs_design").glob("*.dl"))


def started(spec: Path = ROOT / "specs" / "xor.dl", turns: int = 3) -> float:
    """Seconds of a whole command, libraries and all, for a small spec: the least of some turns."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", "import sys; from dlc.cli import main; sys.exit(main())", "compile", str(spec)]
        for _ in range(turns):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([*command, "-o", f"{folder}/m.onnx"], capture_output=True, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


def compiled(spec: Path, turns: int = 1) -> tuple[float, int]:
    """Seconds from text to file in a process that has its libraries, and the number of nodes of the file."""
    found, made = [], 0
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(turns):
            before = time.process_time()
            program = dlc.compile(spec)
            program.save(Path(folder) / "m.onnx")
            found.append(time.process_time() - before)
            model = program.model_proto()
            graphs = [model.graph, *(info.algorithm for info in model.training_info)]
            made = sum(1 for graph in graphs for _ in nodes(graph))
    return min(found), made


def table(specs: Sequence[Path]) -> dict[str, tuple[float, int]]:
    """Of each spec the seconds of the whole command and the nodes. What a command takes beside the spec is what the
    small one takes beside its own."""
    small = ROOT / "specs" / "xor.dl"
    compiled(small)  # imports what the first use imports
    beside = started(small) - compiled(small)[0]
    found = {}
    for spec in specs:
        seconds, made = compiled(spec)
        found[str(spec.resolve().relative_to(ROOT))] = seconds + beside, made
    return found


if __name__ == "__main__":
    rows = table([Path(name) for name in sys.argv[1:]] or [*SPECS, *DESIGNS])
    print(f"{'spec':<40}{'seconds':>9}{'nodes':>9}")
    for name, (seconds, made) in sorted(rows.items(), key=lambda row: -row[1][0]):
        print(f"{name:<40}{seconds:>9.2f}{made:>9,}")
