"""Where a step's time goes, ours and the peers', by kinds of work and by operators:
``python -m benchmarks.nodes WORKLOAD ... [--threads N] [--steps N] [--top N] [--markdown]``.

Each system in a process of its own, one after the other on the same cores: ours by ONNX Runtime's profiler (as ``dlc
profile`` has it), torch eager by ``torch.profiler``, JAX by XLA's. What an operator calls is not counted to it.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path

from .kinds import KINDS
from .profiles import PROFILES, Profile, Row
from .workloads import WORKLOADS

MARK = "<!-- profiles -->"


def measured(system: str, workload: str, steps: int, threads: int) -> Profile:
    """In a process of its own. Raises `RuntimeError` with the last line that it said."""
    words = [sys.executable, "-m", "benchmarks.profiles", system, workload, str(steps), str(threads)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or "died without a word").splitlines()[-1])
    fields = json.loads(done.stdout.splitlines()[-1])
    return Profile(**fields | {"rows": [Row(**row) for row in fields["rows"]]})


def by_kind(profiles: list[Profile]) -> list[list[str]]:
    """Cells: a head, a line for each kind that any has, what lies outside, and the whole step."""
    lines = [["µs a step", *(each.system for each in profiles)]]
    for kind in KINDS:
        if any(each.of(kind) for each in profiles):
            lines.append([kind, *(number(each.of(kind)) for each in profiles)])
    lines.append(["outside of operators", *(number(max(0.0, each.step - each.inside)) for each in profiles)])
    lines.append(["a step, when nobody looks", *(number(each.step) for each in profiles)])
    return lines


def by_operator(profiles: list[Profile], top: int) -> list[list[str]]:
    """Cells: the operators that take most, each system's in a column, with how often they run."""
    columns = []
    for each in profiles:
        column = [f"{number(row.took)}  {row.count:g} x {short(row.op)} ({row.kind})" for row in each.rows[:top]]
        rest = each.rows[top:]
        columns.append(column + [f"{number(sum(row.took for row in rest))}  {len(rest)} others"] * bool(rest))
    return [[each.system for each in profiles], *map(list, zip_longest(*columns, fillvalue=""))]


def number(took: float) -> str:
    return f"{took:,.0f}" if took >= 10 else f"{took:.1f}"


def short(op: str) -> str:
    """Without what all names of a system begin with."""
    return op.removeprefix("aten::").removeprefix("_scaled_dot_product_")


def plain(lines: list[list[str]], right: bool) -> str:
    """As columns; `right`: all but the first to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    put = [str.ljust, *[str.rjust if right else str.ljust] * (len(widths) - 1)]
    return "\n".join(
        "  ".join(how(cell, width) for how, cell, width in zip(put, line, widths, strict=True)).rstrip()
        for line in lines
    )


def markdown(lines: list[list[str]], right: bool) -> str:
    rule = ["---"] + ["---:" if right else "---"] * (len(lines[0]) - 1)
    return "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], rule, *lines[1:]])


def machine() -> str:
    """The processor, and how wide its vectors are to the native library."""
    from dlc.runtime import native

    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return f"{name or platform.machine()} ({native.lanes() or 'no native library'})"


def section(workload: str, options: argparse.Namespace) -> str:
    """Both tables of a workload. A system that fails has a line with the reason."""
    profiles, notes = [], []
    for system in options.systems:
        try:
            profiles.append(measured(system, workload, options.steps, options.threads))
            notes += [f"{system}: {profiles[-1].note}"] * bool(profiles[-1].note)
        except RuntimeError as reason:
            notes.append(f"{system}: {reason}")
    table = markdown if options.markdown else plain
    bold = "**" if options.markdown else ""
    head = f"{bold}{workload}{bold}, {options.threads} thread{'s' * (options.threads > 1)}, {machine()}"
    parts = [head, *notes]
    if profiles:
        parts += [table(by_kind(profiles), True), table(by_operator(profiles, options.top), False)]
    return "\n\n".join(parts)


def put(file: Path, text: str) -> None:
    """In the place of what stands between the comments."""
    before, mark, rest = file.read_text("utf-8").partition(MARK)
    _, again, after = rest.partition(MARK)
    if not again:
        raise SystemExit(f"{file} has no two lines {MARK}")
    file.write_text(f"{before}{mark}\n{text}\n{again}{after}", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nodes", description=__doc__)
    parser.add_argument("workloads", nargs="+", choices=WORKLOADS, metavar="WORKLOAD", help=", ".join(WORKLOADS))
    parser.add_argument("--systems", nargs="+", choices=PROFILES, default=list(PROFILES))
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="and cores")
    parser.add_argument("--steps", type=int, default=10, metavar="N", help="how many are profiled, after a warm-up")
    parser.add_argument("--top", type=int, default=12, metavar="N", help="how many operators are shown of each")
    parser.add_argument("--markdown", action="store_true", help="tables as in docs/performance.md")
    parser.add_argument("--into", type=Path, metavar="FILE", help="put them there, between the two comments `profiles`")
    options = parser.parse_args()
    options.markdown |= options.into is not None
    sections = []
    for workload in options.workloads:
        sections.append(section(workload, options))
        print(sections[-1], end="\n\n", flush=True)
    if options.into:
        put(options.into, "\n\n".join(sections))


if __name__ == "__main__":
    main()
