"""One command, one table: ``python -m benchmarks [--quick] [--json] [--only WORKLOAD ...]``.

Every system lives in a process of its own and all of one workload take turns (A B C A B C ...), so that whatever else
the machine does falls on all of them; the figure is the median over rounds, with the least beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field

from .worker import SYSTEMS
from .workloads import WORKLOADS, Workload

COMPILE_LIMIT = 60.0  # seconds that a system has to its first finished step
PAUSE = 0.1  # between turns of systems: threads of the one before spin for a while before they sleep
BEFORE = "before"  # the system that `--against` adds
MEMORY = 0.6  # times the smaller of the peers' peaks, at most
PEERS = ("torch", "torch-compile", "jax", "jax-scan")


class Silent(Exception):
    """A child that said nothing in time, or died."""


class Child:
    """A worker process, spoken to in lines of JSON."""

    def __init__(self, *arguments: str, cache: str, python: str = sys.executable) -> None:
        env = os.environ | {
            "OMP_NUM_THREADS": "2",
            "MKL_NUM_THREADS": "2",
            "TORCHINDUCTOR_COMPILE_THREADS": "1",
            "TORCHINDUCTOR_CACHE_DIR": cache,  # empty: the first step pays for compilation
        }
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (open as long as the child is)
        self.process = subprocess.Popen(
            [python, "-m", "benchmarks.worker", *arguments],
            env=env,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
        )

    def read(self, limit: float) -> dict[str, float]:
        """The next line. Raises Silent with the reason."""
        assert self.process.stdout
        timer = threading.Timer(limit, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        late = not timer.is_alive()
        timer.cancel()
        if line:
            fields: dict[str, float] = json.loads(line)
            return fields
        self.process.wait()
        self.errors.seek(0)
        said = self.errors.read().strip().splitlines()
        raise Silent(f"no step within {limit:.0f} s" if late else said[-1] if said else "died without a word")

    def ask(self, steps: int) -> dict[str, float]:
        assert self.process.stdin
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        return self.read(300)

    def close(self) -> dict[str, float]:
        assert self.process.stdin
        self.process.stdin.close()
        last = self.read(30)
        self.process.wait()
        return last


@dataclass
class Row:
    workload: str
    system: str
    import_s: float = 0.0
    first_step_s: float = 0.0
    peak_mb: float = 0.0
    rounds: list[float] = field(default_factory=list)
    note: str = ""

    @property
    def ms(self) -> float:
        return statistics.median(self.rounds)

    def line(self) -> str:
        """As JSON; a system without figures says why."""
        start = {"workload": self.workload, "system": self.system}
        if self.note:
            return json.dumps(
                start | {"ms": None, "first_step_s": None, "import_s": None, "peak_mb": None, "note": self.note}
            )
        return json.dumps(
            start
            | {
                "ms": round(self.ms, 4),
                "first_step_s": self.first_step_s,
                "import_s": self.import_s,
                "peak_mb": self.peak_mb,
                "min_ms": round(min(self.rounds), 4),
            }
        )


def measure(workload: Workload, systems: list[str], rounds: int, steps: int, against: str = "") -> list[Row]:
    """All systems on one workload, interleaved. A system that fails has a row with the reason. ``against``: the Python
    of another build of dlc, which is then one more system (``before``), and half of the rounds have processes of their
    own, started in the opposite order: what starts first gets other memory."""
    if not workload.spec.exists():  # the library does not have its layers yet
        return [Row(workload.name, "dlc", note=f"left out: there is no {workload.spec.name} yet")]
    if not against:
        return interleaved(workload, dict.fromkeys(systems, sys.executable), rounds, steps)
    pythons = dict.fromkeys(systems, sys.executable) | {BEFORE: against}
    rows = interleaved(workload, pythons, -(-rounds // 2), steps)
    again = interleaved(workload, dict(reversed(pythons.items())), -(-rounds // 2), steps)
    for row, more in zip(rows, reversed(again), strict=True):
        row.rounds += more.rounds
        row.note = row.note or more.note
    return rows


def interleaved(workload: Workload, pythons: dict[str, str], rounds: int, steps: int) -> list[Row]:
    """Systems, each with its Python, in turns; in every second round from the last to the first, so that none always
    comes after the same one."""
    rows: list[Row] = []
    running: list[tuple[Row, Child]] = []
    with tempfile.TemporaryDirectory() as cache:
        for system, python in pythons.items():
            row = Row(workload.name, system)
            child = Child("dlc" if system == BEFORE else system, workload.name, cache=cache, python=python)
            rows.append(row)
            try:
                first = child.read(COMPILE_LIMIT)
                row.import_s, row.first_step_s = first["import_s"], first["first_step_s"]
                child.ask(steps)  # warm
                running.append((row, child))
            except Silent as reason:
                row.note = str(reason)
        for turn in range(rounds):
            for row, child in running[:: -1 if turn % 2 else 1]:
                time.sleep(PAUSE)
                child.ask(max(1, steps // 10))  # its threads awake, its memory near
                row.rounds.append(child.ask(steps)["ms"])
        for row, child in running:
            row.peak_mb = child.close()["peak_mb"]
    return rows


def stages(depth: int) -> Row:
    """Our own stages alone (text to .onnx, no ONNX Runtime) on the deep model, in a fresh process."""
    row = Row(f"compile-{depth}", "dlc")
    with tempfile.TemporaryDirectory() as cache:
        child = Child("compile", str(depth), cache=cache)
        try:
            first = child.read(300)
            row.import_s, row.first_step_s = first["import_s"], first["first_step_s"]
            row.rounds.append(first["first_step_s"] * 1e3)
            row.peak_mb = child.close()["peak_mb"]
        except Silent as reason:
            row.note = str(reason)
    return row


def verdicts(workload: Workload, rows: list[Row]) -> list[str]:
    """The targets held against the table, and the peers against their known ratios to each other."""
    done = {row.system: row for row in rows if not row.note}
    peers = {name: row for name, row in done.items() if name in PEERS}
    lines = []
    for whom, limit in workload.targets if "dlc" in done else ():
        name = min(peers, key=lambda n: peers[n].ms, default=None) if whom == "best" else whom
        if name is None or name not in peers:
            continue
        ratio = done["dlc"].ms / peers[name].ms
        lines.append(f"dlc / {name} = {ratio:.2f}, at most {limit}: {'met' if ratio <= limit else 'MISSED'}")
    for name in ("jax", "jax-scan") if workload.depth else ():
        if "dlc" in done and name in done:
            ratio = done["dlc"].first_step_s / done[name].first_step_s
            lines.append(f"first step: dlc / {name} = {ratio:.2f}, at most 0.5: {'met' if ratio <= 0.5 else 'MISSED'}")
    lines += bounds(done) if workload.bounded else []
    lines += memory(done)
    if "dlc" in done and BEFORE in done:
        ours, theirs = done["dlc"], done[BEFORE]
        paired = statistics.median(a / b for a, b in zip(ours.rounds, theirs.rounds, strict=True))
        least = min(ours.rounds) / min(theirs.rounds)
        lines.append(
            f"dlc / before = {paired:.3f} (least {least:.3f}), at most 1.03: {'met' if paired <= 1.03 else 'MISSED'}"
        )
    known = dict(workload.known)
    for name in (n for n in peers if n in known and n != "jax" and "jax" in peers):
        here, there = peers[name].ms / peers["jax"].ms, known[name] / known["jax"]
        far = "" if abs(here / there - 1) <= 0.15 else " (see README: peers)"
        lines.append(f"{name} / jax = {here:.2f}, known {there:.2f}{far}")
    return lines


def bounds(done: dict[str, Row]) -> list[str]:
    """From the start of a process to its first finished step: below every peer that compiles."""
    lines = []
    for name in ("torch-compile", "jax") if "dlc" in done else ():
        if name in done:
            ours, theirs = (done[n].import_s + done[n].first_step_s for n in ("dlc", name))
            lines.append(
                f"start to first step: dlc {ours:.1f} s, {name} {theirs:.1f} s, "
                f"at most that: {'met' if ours <= theirs else 'MISSED'}"
            )
    return lines


def memory(done: dict[str, Row]) -> list[str]:
    """The peak of a process, from its start, beside the smaller of torch eager's and JAX's."""
    name = min((n for n in ("torch", "jax", "jax-scan") if n in done), key=lambda n: done[n].peak_mb, default=None)
    if "dlc" not in done or name is None:
        return []
    ratio = done["dlc"].peak_mb / done[name].peak_mb
    return [f"peak memory: dlc / {name} = {ratio:.2f}, at most {MEMORY}: {'met' if ratio <= MEMORY else 'MISSED'}"]


def table(rows: list[Row]) -> str:
    peers = [row.ms for row in rows if row.system in PEERS and not row.note]
    lines = [
        f"{'workload':14} {'system':14} {'ms':>9} {'least':>9} {'x best peer':>12} "
        f"{'first s':>8} {'import s':>9} {'MB':>6}"
    ]
    for row in rows:
        if row.note:
            lines.append(f"{row.workload:14} {row.system:14} {row.note}")
            continue
        ratio = f"{row.ms / min(peers):12.2f}" if peers else " " * 12
        lines.append(
            f"{row.workload:14} {row.system:14} {row.ms:9.3f} {min(row.rounds):9.3f} {ratio} "
            f"{row.first_step_s:8.2f} {row.import_s:9.2f} {row.peak_mb:6.0f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="WORKLOAD", help=", ".join(WORKLOADS)
    )
    parser.add_argument(
        "--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), metavar="SYSTEM", help=", ".join(SYSTEMS)
    )
    parser.add_argument(
        "--against", default="", metavar="PYTHON", help="the Python of a virtual environment with another build of dlc"
    )
    parser.add_argument("--quick", action="store_true", help="few short rounds; what compiles slowly is left out")
    parser.add_argument("--json", action="store_true", help="one line a workload and system")
    options = parser.parse_args()
    for name in options.only:
        workload = WORKLOADS[name]
        systems = [s for s in options.systems if s != "jax-scan" or workload.depth]
        if options.quick and workload.depth:
            systems = [s for s in systems if s != "torch-compile"]
        steps = max(2, workload.steps // 5) if options.quick else workload.steps
        rows = measure(workload, systems, rounds=5 if options.quick else 15, steps=steps, against=options.against)
        report(rows, verdicts(workload, rows), options.json)
        if workload.depth and "dlc" in systems:
            rows = [stages(300), stages(3000)]
            ratio = rows[1].ms / rows[0].ms if not any(row.note for row in rows) else 0.0
            line = f"stages, 3,000 / 300 layers = {ratio:.1f}, at most 12: {'met' if ratio <= 12 else 'MISSED'}"
            report(rows, [line] if ratio else [], options.json)


def report(rows: list[Row], lines: list[str], as_json: bool) -> None:
    print(
        "\n".join(row.line() for row in rows)
        if as_json
        else table(rows) + "\n\n" + "".join(f"  {line}\n" for line in lines),
        flush=True,
    )


if __name__ == "__main__":
    main()
