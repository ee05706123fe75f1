"""Where one step of each system goes, operator by operator, as its own profiler has it:
``python -m benchmarks.profiles SYSTEM WORKLOAD STEPS THREADS`` prints it as JSON, from a process of its own.

Profilers cost about a microsecond for each operator, which the time of the whole step is measured without.
"""

from __future__ import annotations

import glob
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from tempfile import TemporaryDirectory
from typing import Any

from .kinds import Hlo, of_onnx, of_torch
from .workloads import WORKLOADS, System, Workload

WARM, ROUNDS = 3, 7


@dataclass
class Row:
    kind: str
    op: str
    took: float  # µs a step, the median of steps
    count: float  # a step


@dataclass
class Profile:
    system: str
    step: float  # µs of a whole step without a profiler, the median of rounds
    rows: list[Row]
    note: str = ""

    def of(self, kind: str) -> float:
        return sum(row.took for row in self.rows if row.kind == kind)

    @property
    def inside(self) -> float:
        """µs in operators."""
        return sum(row.took for row in self.rows)


Seen = tuple[str | None, str, float]  # kind (None: around operators), operator, µs


def rows(steps: Iterable[list[Seen]]) -> list[Row]:
    """Of each operator the median over steps of what it took in them, the greatest first."""
    sums: list[dict[tuple[str, str], list[float]]] = []
    for step in steps:
        sums.append({})
        for kind, op, took in step:
            if kind is not None:
                sums[-1].setdefault((kind, op), []).append(took)
    known = {key for step in sums for key in step}
    found = [
        Row(
            *key,
            statistics.median(sum(step.get(key, ())) for step in sums),
            statistics.median(len(step.get(key, ())) for step in sums),
        )
        for key in known
    ]
    return sorted(found, key=lambda row: -row.took)


def whole(system: System, workload: Workload) -> float:
    """µs of a step, feeding included, when nobody looks."""
    system.run(WARM)
    steps, rounds = max(3, workload.steps // 10), []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        system.run(steps)
        rounds.append((time.perf_counter() - begin) / steps * 1e6)
    return statistics.median(rounds)


def ours(workload: Workload, steps: int) -> Profile:
    from dlc.reports.profile import profiled
    from dlc.runtime.regions import TOGETHER

    from .ours import Dlc

    system = Dlc(workload)
    step = whole(system, workload)
    together = system.trainer.rewrites.get(TOGETHER, 0)
    found = profiled(system.trainer, "step", dict(zip(system.names, next(system.feed), strict=False)), calls=steps)
    seen: list[list[Seen]] = [[(of_onnx(one.op, one.side), one.op, one.took) for one in call] for call in found.calls]
    note = f"{together} operations are one node in a step, measured here one by one" if together else ""
    return Profile("dlc", step, rows(seen), note)


def torch(workload: Workload, steps: int) -> Profile:
    import torch
    from torch.profiler import ProfilerActivity, profile, record_function

    from .peers_torch import Torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    system = Torch(workload)
    step = whole(system, workload)
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(steps):
            with record_function("a step"):
                system.run(1)
    events = list(found.events())
    bounds = sorted((e.time_range.start, e.time_range.end) for e in events if e.name == "a step")
    seen: list[list[Seen]] = [[] for _ in bounds]
    for event in events:
        for number, (begin, end) in enumerate(bounds):
            if begin <= event.time_range.start < end and event.name != "a step":
                seen[number].append((of_torch(event.name, updating(event)), event.name, event.self_cpu_time_total))
    return Profile("torch", step, rows(seen))


def updating(event: Any) -> bool:
    """Whether the optimizer called it. The backward pass has a thread, and callers, of its own."""
    while event is not None and not event.name.startswith("Optimizer."):
        event = event.cpu_parent
    return event is not None


def jax(workload: Workload, steps: int) -> Profile:
    import jax.profiler

    from .peers_jax import Jax

    system = Jax(workload)
    step = whole(system, workload)
    hlo = Hlo(system.step.lower(system.state, *next(system.feed)).compile().as_text() or "")
    with TemporaryDirectory() as folder:
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level, options.host_tracer_level = 0, 2
        with jax.profiler.trace(folder, profiler_options=options):
            system.run(steps)
        [file] = glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)
        runs = executions(jax.profiler.ProfileData.from_file(file))
    assert len(runs) == steps, f"{len(runs)} executions of {steps} steps"
    return Profile("jax", step, rows([(hlo.kind(op), op, took) for op, took in shared(run, hlo)] for run in runs))


Interval = tuple[float, float, str]  # begin and end in µs, the instruction


def executions(data: Any, module: str = "jit_step") -> list[list[Interval]]:
    """Of each execution of the module its instructions. One that other threads go on with ends with an event of its
    own, which its number names."""
    begun: dict[Any, list[Any]] = {}
    ends: dict[Any, float] = {}
    for plane in data.planes:
        for line in plane.lines:
            for event in line.events:
                end = event.start_ns + event.duration_ns
                stats = dict(event.stats)
                if stats.get("hlo_module") == module:
                    begun.setdefault(stats["run_id"], []).append(
                        (stats.get("_p"), event.start_ns, end, stats["hlo_op"])
                    )
                elif event.name.startswith("end: "):
                    ends[stats.get("_c")] = end
    return [
        [(start / 1e3, max(end, ends.get(number, end)) / 1e3, op) for number, start, end, op in run]
        for run in begun.values()
    ]


def shared(run: list[Interval], hlo: Hlo) -> list[tuple[str, float]]:
    """What each instruction has of the time: where several run at once they share it, and a loop has only what none in
    it does. So the sum is no more than what passed."""
    edges = sorted(
        [(begin, 1, i) for i, (begin, _, _) in enumerate(run)] + [(end, 0, i) for i, (_, end, _) in enumerate(run)]
    )
    took, running, before = [0.0] * len(run), set[int](), 0.0
    loops = {i for i, (_, _, op) in enumerate(run) if hlo.kind(op) is None}
    for now, begins, i in edges:
        active = running - loops or running
        for each in active:
            took[each] += (now - before) / len(active)
        before = now
        running ^= {i}
        assert (i in running) == bool(begins)
    return [(op, took[i]) for i, (_, _, op) in enumerate(run)]


PROFILES: dict[str, Callable[[Workload, int], Profile]] = {"dlc": ours, "torch": torch, "jax": jax}


def main(system: str, workload: str, steps: str, threads: str) -> None:
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    if hasattr(os, "sched_setaffinity"):  # XLA and ONNX Runtime have a thread for each core
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(threads)])
    print(json.dumps(asdict(PROFILES[system](WORKLOADS[workload], int(steps)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
