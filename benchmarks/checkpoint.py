"""What `checkpoint` saves: the peak memory of one training step of a deep chain, with and without.

    python -m benchmarks.checkpoint [--layers 1000] [--rows 4096]

Each figure is a process of its own: the peak of the resident memory during a step less what was resident before it, in
the sessions of this project and in a stock ONNX Runtime session with default options. Linux only.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

WIDTH = 64


def spec(layers: int, block: int, rate: float) -> str:
    """A chain of tanh layers, in blocks of `block` layers; 0 for none. Widths are small against the rows."""
    layer = f"h = tanh(h |> dense({WIDTH}, bias = false))"
    layer += f"; h = h |> dropout({rate})" if rate else ""
    if block:
        whole, rest = divmod(layers, block)
        lines = f"for i in 0..{whole} {{ checkpoint {{ for j in 0..{block} {{ {layer} }} }} }}"
        lines += f"\n    checkpoint {{ for j in 0..{rest} {{ {layer} }} }}" if rest else ""
    else:
        lines = f"for i in 0..{layers} {{ {layer} }}"
    return f"""model deep {{
    input  x: float[batch, {WIDTH}]
    target y: float[batch, {WIDTH}]
    h = x
    {lines}
    loss = mean((h - y)^2)
    output z = h
}}
train {{ minimize loss using sgd(0.1) }}
"""


def step_of(program: Any, stock: bool) -> Any:
    """A function from a batch to the loss and the updated parameters: one training step."""
    import dlc
    import onnxruntime
    from dlc.runtime.graphs import concatenate

    if not stock:
        trainer = dlc.Trainer(program, device="cpu", seed=0)

        def ours(x: np.ndarray) -> dict[str, Any]:
            return {"loss": trainer.step({"x": x, "y": x})["loss"], **trainer.parameters}

        return ours
    model = program.model_proto()
    [info] = model.training_info
    held = {t.name: t for t in (*model.graph.initializer, *info.algorithm.initializer)}
    bound = {binding.key: binding.value for binding in info.update_binding}
    fixed = [name for name in ("key", "steps", "observations") if name in held]
    step = concatenate(model, info.algorithm, ["loss", *bound.values()], {*bound, *fixed})
    session = onnxruntime.InferenceSession(step.SerializeToString())
    from onnx import numpy_helper

    state = {name: numpy_helper.to_array(held[name]) for name in (*bound, *fixed)}
    names = [value.name for value in session.get_inputs()]

    def stock_step(x: np.ndarray) -> dict[str, Any]:
        found = session.run(["loss", *bound.values()], {n: x if n in ("x", "y") else state[n] for n in names})
        return {"loss": float(found[0]), **dict(zip(bound, found[1:], strict=True))}

    return stock_step


def measure(layers: int, block: int, rows: int, rate: float, stock: bool, save: str | None) -> dict[str, Any]:
    import dlc

    step = step_of(dlc.compile(spec(layers, block, rate), seed=0), stock)
    x = np.random.default_rng(0).normal(size=(rows, WIDTH)).astype(np.float32)
    step(x[:2])
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew: compiling took memory too
    began = time.perf_counter()
    found = step(x)
    seconds = time.perf_counter() - began
    after = _status("VmHWM")
    if save:
        np.savez(save, **{name: np.asarray(value) for name, value in found.items()})
    return {"megabytes": (after - before) * 1024 / 1e6, "loss": found["loss"], "seconds": seconds}


def _status(name: str) -> int:
    """A line of /proc/self/status, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


def in_a_process(
    layers: int, block: int, rows: int, rate: float = 0.0, stock: bool = False, save: Path | None = None
) -> dict[str, Any]:
    given = [str(layers), str(block), str(rows), str(rate), str(int(stock)), str(save or "")]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.checkpoint", "--one", *given],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[1],
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--one", nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        layers, block, rows, rate, stock, save = options.one
        print(json.dumps(measure(int(layers), int(block), int(rows), float(rate), stock == "1", save)))
        return
    block = round(math.sqrt(options.layers))
    one = options.rows * WIDTH * 4 / 1e6
    print(f"{options.layers} layers, {options.rows} rows of {WIDTH}: one activation is {one:.2f} MB\n")
    print("| session | blocks of | peak, MB | activations | step, s |\n| --- | --- | --- | --- | --- |")
    for stock in (False, True):
        for size in (0, block):
            found = in_a_process(options.layers, size, options.rows, stock=stock)
            print(
                f"| {'stock, default options' if stock else 'dlc'} | {size or 'none'} | {found['megabytes']:.0f} | "
                f"{found['megabytes'] / one:.0f} | {found['seconds']:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
