"""Where a step's time goes, ours and torch's: ``python -m benchmarks.nodes WORKLOAD [--steps N] [--top N]``.

Both on one thread, one after the other in this process, after a warm-up: ours by the operators of ONNX Runtime's
profiler (as ``dlc profile`` has it), torch eager's by those of ``torch.profiler``, each operator's own time without
that of what it calls. Profiling itself costs each node about a microsecond.
"""

from __future__ import annotations

import argparse

from .workloads import WORKLOADS, Workload

Rows = list[tuple[str, float, float]]  # operator, µs a step, how often a step


def ours(workload: Workload, steps: int) -> Rows:
    from dlc import Trainer, compile
    from dlc.reports.profile import profiled

    from .workloads import batches, data

    trainer = Trainer(compile(workload.spec), device="cpu", seed=0, threads=1)
    batch = dict(zip(workload.feeds, next(batches(*data(workload), workload.batch)), strict=False))
    found = profiled(trainer, "step", batch, calls=steps)
    return [(name, took, count) for name, took, _, count, _ in found.by(lambda one: one.op)]


def theirs(workload: Workload, steps: int) -> Rows:
    import torch
    from torch.profiler import ProfilerActivity, profile

    from .peers_torch import Torch

    torch.set_num_threads(1)
    peer = Torch(workload)
    peer.run(3)
    with profile(activities=[ProfilerActivity.CPU]) as found:
        peer.run(steps)
    rows = [(event.key, event.self_cpu_time_total / steps, event.count / steps) for event in found.key_averages()]
    return sorted(rows, key=lambda row: -row[1])


def table(title: str, rows: Rows, top: int) -> str:
    total = sum(took for _, took, _ in rows)
    lines = [f"{title}: {total:,.0f} µs in operators"]
    lines += [f"  {took:10,.0f} µs {took / total:6.1%} {count:7,.0f} x {name}" for name, took, count in rows[:top]]
    rest = rows[top:]
    if rest:
        lines.append(f"  {sum(row[1] for row in rest):10,.0f} µs {'':6} {len(rest):7,} other operators")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nodes", description=__doc__)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("--steps", type=int, default=10, metavar="N", help="how many are profiled, after a warm-up")
    parser.add_argument("--top", type=int, default=12, metavar="N", help="how many operators are shown of each")
    options = parser.parse_args()
    workload = WORKLOADS[options.workload]
    print(table("dlc", ours(workload, options.steps), options.top))
    print(table("torch", theirs(workload, options.steps), options.top))


if __name__ == "__main__":
    main()
