"""Start values of large tensors: made in parts, they are what the interpreter makes of the whole."""

from __future__ import annotations

import resource
import subprocess
import sys
import tracemalloc
from pathlib import Path

import dlc
import ml_dtypes
import numpy as np
import pytest
from dlc.ir import interpret
from dlc.lower import start
from dlc.lower.model import start_values
from dlc.pipeline import optimize
from dlc.runtime import CompiledFile
from dlc.runtime.write import ALIGNMENT
from safetensors import safe_open

INITS = [
    "glorot_uniform",
    "he_normal",
    "normal(0, 0.02)",
    "uniform(-0.1, 0.1)",
    "laplace(0, 0.1)",
    "zeros",
    "ones",
    "constant(0.5)",
    "odd",
    "shifted",
    "orthogonal",
    "by_column",
    "exponential",
]
OWN = """
fn odd(w) { u = uniform_like(w); return where(u < 0.25, floor(8 * u), sign(u - 0.5) * exp(-u)) }
fn shifted(w) = uniform_like(w) + 0 * sum(normal_like(w))
fn by_column(w) = normal_like(w) * arange(size(w, 1))
fn exponential(w) = -log(uniform_like(w))
"""

SPEC = """model big(n = 150000) {
    input  s: int[batch]
    target y: float[batch]
    e = embedding(n, 4000, weights = zeros)
    p = mean(e(s), axis = -1)
    loss = squared(p, y)
    output p = p
}
train { minimize loss using sgd(0.1); batch: 4; epochs: 1 }
"""


def module(init: str, shape: str) -> dlc.module.Module:
    made = dlc.compile(
        OWN
        + f"""
        model m {{
            input x: float[batch]
            param a: float[7] init normal(0, 1)
            param W: float[{shape}] init {init}
            param v: float[30] init he_uniform
            loss = mean(x) * (sum(W) + sum(a) + sum(v))
        }}
        train m {{ minimize loss using adam(1e-3) }}
    """
    ).module
    optimize(made, "float32")
    return made


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("init", INITS)
def test_parts_are_what_the_whole_is(init: str, dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    made = module(init, "20, 31")
    roots = made.roots("initial/")
    whole = interpret.evaluate([*roots.values()], {"seed": np.uint64(3)})
    monkeypatch.setattr(start, "LARGE", 100)
    monkeypatch.setattr(start, "PART", 64)
    values = start_values(made, 3)
    for name, expected in zip(roots, whole, strict=True):
        path = name.removeprefix("initial/")
        assert values.raw(path, np.dtype(dtype)) == expected.astype(dtype).tobytes(), path
        assert np.array_equal(values[path], expected)
    in_parts = start.plan(roots["initial/W"]) is not None
    assert in_parts == (init not in ("orthogonal", "by_column"))
    assert values.raw("adam/m/W", np.dtype(dtype)) == bytes(620 * np.dtype(dtype).itemsize)


def test_a_large_tensor_takes_little_more_than_itself() -> None:
    values = start_values(module("he_normal", "2500, 2000"), 0)
    tracemalloc.start()
    data = values.raw("W", np.dtype(np.float32))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1.2 * len(data) + 8 * 8 * start.PART


@pytest.mark.long
def test_one_tensor_of_more_than_two_gigabytes(tmp_path: Path) -> None:
    """A table of 2.4 GB: the process that compiles it holds it once and writes it from there; then it is checked."""
    (tmp_path / "big.dl").write_text(SPEC)
    code = "import sys; from dlc.cli import main; sys.exit(main(sys.argv[1:]))"
    for command in (["compile", "big.dl", "-o", "big.onnx"], ["check", "big.onnx"]):
        subprocess.run([sys.executable, "-c", code, *command], cwd=tmp_path, check=True, timeout=300)
        assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < 2 * 2.4e9 + 3e8
    assert (tmp_path / "big.onnx.data").stat().st_size == ALIGNMENT + 2_400_000_000  # the checksum is before it


@pytest.mark.long
def test_a_run_of_one_tensor_of_more_than_two_gigabytes(tmp_path: Path) -> None:
    """An epoch, and one more of the resumed run: its rows become those of a small table. The process holds the table
    as it was compiled, twice as state, once to go back to, and twice within a step."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", s=rng.integers(0, 10, 8), y=rng.normal(size=8).astype(np.float32))
    code = "import sys; from dlc.cli import main; sys.exit(main(sys.argv[1:]))"
    rows = []
    for n in (10, 150_000):
        (tmp_path / "big.dl").write_text(SPEC.replace("150000", str(n)))
        runs = tmp_path / str(n)
        train = [sys.executable, "-c", code, "train"]
        subprocess.run([*train, "big.dl", "--data", "d.npz", "--runs", runs], cwd=tmp_path, check=True, timeout=300)
        (run,) = runs.iterdir()
        subprocess.run([*train, "--resume", run, "--epochs", "1"], cwd=tmp_path, check=True, timeout=300)
        with safe_open(str(run / "checkpoints" / "last.safetensors"), framework="numpy") as found:
            assert found.get_tensor("step") == 4
            rows.append(found.get_slice("e.table")[:10])
        assert len(CompiledFile.load(run / "big.onnx", state=False).slots) > 0
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < 6.1 * 2.4e9 + 3e8
    assert np.abs(rows[0]).max() > 0
    np.testing.assert_allclose(rows[1], rows[0], rtol=1e-6)
