"""One system on one workload in a process of its own: ``python -m benchmarks.worker SYSTEM WORKLOAD``.

Speaks lines of JSON. First ``{"import_s", "first_step_s"}``; then for each line ``K`` on stdin ``{"ms", "loss"}`` of K
steps; at the end of stdin ``{"peak_mb"}``. ``compile DEPTH`` instead measures our own stages on the deep model.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time

from .workloads import WORKLOADS, System, Workload

SYSTEMS = {
    "dlc": ("ours", "Dlc", {}),
    "torch": ("peers_torch", "Torch", {}),
    "torch-compile": ("peers_torch", "Torch", {"compiled": True}),
    "jax": ("peers_jax", "Jax", {}),
    "jax-scan": ("peers_jax", "Jax", {"scanned": True}),
}


def say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


def compile_only(depth: int) -> None:
    """Our own stages on the deep model: from .dl text to the file's bytes, without ONNX Runtime."""
    begin = time.perf_counter()
    import dlc

    imported = time.perf_counter()
    dlc.compile(WORKLOADS["deep-residual"].spec, depth=depth)
    say(import_s=round(imported - begin, 3), first_step_s=round(time.perf_counter() - imported, 3))


def main(name: str, workload: Workload) -> None:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    if hasattr(os, "sched_setaffinity"):  # two threads for each: on a larger machine, two cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    module, attribute, options = SYSTEMS[name]
    begin = time.perf_counter()
    build = getattr(importlib.import_module(f".{module}", __package__), attribute)
    imported = time.perf_counter()
    system: System = build(workload, **options)
    system.run(1)
    say(import_s=round(imported - begin, 3), first_step_s=round(time.perf_counter() - imported, 3))
    for line in sys.stdin:
        steps = int(line)
        begin = time.perf_counter()
        loss = system.run(steps)
        say(ms=(time.perf_counter() - begin) / steps * 1e3, loss=loss)


if __name__ == "__main__":
    if sys.argv[1] == "compile":
        compile_only(int(sys.argv[2]))
    else:
        main(sys.argv[1], WORKLOADS[sys.argv[2]])
    scale = 1024 if sys.platform != "darwin" else 1024**2
    say(peak_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale))
