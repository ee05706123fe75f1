"""Profiles of the benchmarks' systems: every operator is of a kind, and the times of a step add up."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from dlc.runtime import native

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # `benchmarks` is a folder of the repository, not of the package

pytest.importorskip("torch")
pytest.importorskip("jax")
pytestmark = pytest.mark.oracle

from benchmarks import kinds, nodes  # noqa: E402
from benchmarks.kinds import Hlo, of_onnx, of_torch  # noqa: E402
from benchmarks.profiles import Profile, Row, rows, shared  # noqa: E402
from benchmarks.workloads import WORKLOADS  # noqa: E402

MODULE = """HloModule jit_step, is_scheduled=true

%region_1.2 (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  ROOT %sum = f32[] add(%a, %a), metadata={op_name="jit(step)/jvp()/reduce_sum"}
}

%fused_computation (p: f32[64,128], q: f32[128,8]) -> f32[64,8] {
  %p = f32[64,128]{1,0} parameter(0)
  ROOT %dot_general.1 = f32[64,8]{1,0} dot(%p, %q), metadata={op_name="jit(step)/jvp()/dot_general"}
}

%fused_computation.1 (p: f32[64]) -> f32[] {
  %scaled = f32[64]{0} multiply(%p, %p), metadata={op_name="jit(step)/transpose(jvp())/mul"}
  ROOT %total = f32[] reduce(%scaled, %zero), dimensions={0}, to_apply=%region_1.2
}

%fused_computation.2 (p: f32[64]) -> (f32[64], f32[64]) {
  %moved = f32[64]{0} subtract(%p, %p), metadata={op_name="jit(step)/sub"}
  ROOT %both = (f32[64]{0}, /*index=1*/f32[64]{0}) tuple(%moved, %moved), metadata={op_name="jit(step)/sub"}
}

%body (s: f32[64]) -> f32[64] {
  ROOT %turn = f32[64]{0} tanh(%s), metadata={op_name="jit(step)/transpose(jvp())/while/body/closed_call/tanh"}
}

ENTRY %main.9 (x: f32[64,128]) -> f32[] {
  %x = f32[64,128]{1,0} parameter(0)
  %product = f32[64,8]{1,0} fusion(%x, %w), kind=kOutput, calls=%fused_computation
  %square_sum = f32[] fusion(%x), calls=%fused_computation.1, metadata={op_name="jit(step)/transpose(jvp())/sum"}
  %update = (f32[64]{0}, /*index=1*/f32[64]{0}) fusion(%x), kind=kLoop, calls=%fused_computation.2
  %copy.3 = f32[64,128]{0,1} copy(%x)
  %relu = f32[64,128]{1,0} maximum(%x, %zero), metadata={op_name="jit(step)/jvp()/max"}
  %image = f32[1,8,4,4]{3,2,1,0} convolution(%x, %w), window={size=3x3}, metadata={op_name="jit(step)/jvp()/conv"}
  %loop = f32[64]{0} while(%x), condition=%cond, body=%body, metadata={op_name="jit(step)/jvp()/while"}
  %key = u32[2]{0} xor(%k, %k), metadata={op_name="jit(step)/jvp(jit(_bernoulli))/jit(_uniform)/while/body/xor"}
}
"""


def test_instructions_are_of_the_kind_of_what_is_fused_in_them() -> None:
    hlo = Hlo(MODULE)
    found = {
        name: hlo.kind(name)
        for name in ("product", "square_sum", "update", "copy.3", "relu", "image", "turn", "loop", "key")
    }
    assert found == {
        "product": kinds.PRODUCTS,
        "square_sum": kinds.REDUCTIONS,
        "update": kinds.OPTIMIZER,
        "copy.3": kinds.MOVEMENT,
        "relu": kinds.ELEMENTWISE,
        "image": kinds.CONVOLUTION,
        "turn": kinds.RECURRENCE,
        "loop": None,
        "key": kinds.ELEMENTWISE,
    }


def test_instructions_that_run_at_once_share_the_time() -> None:
    """A loop from 0 to 10 µs with 2 to 5 and 4 to 6 within, and another from 20 to 21."""
    run = [(0.0, 10.0, "loop"), (2.0, 5.0, "relu"), (4.0, 6.0, "product"), (20.0, 21.0, "relu")]
    assert shared(run, Hlo(MODULE)) == [("loop", 6.0), ("relu", 2.5), ("product", 1.5), ("relu", 1.0)]


def test_the_median_counts_steps_in_which_an_operator_did_not_run() -> None:
    steps = [[("products", "mm", 3.0), ("products", "mm", 4.0), (None, "view", 9.0)], [("products", "mm", 5.0)], []]
    assert rows(steps) == [Row("products", "mm", 5.0, 1)]


def test_a_name_that_nobody_sorted_in_is_told() -> None:
    for asked in (lambda: of_onnx("Unheard", "forward"), lambda: of_torch("aten::unheard", False)):
        with pytest.raises(KeyError, match="unheard"):
            try:
                asked()
            except KeyError as wrong:
                raise KeyError(str(wrong).lower()) from None
    assert (
        of_torch("autograd::engine::evaluate_function: AddmmBackward0", False) is None is of_torch("aten::view", True)
    )
    assert of_torch("aten::copy_", False) == kinds.MOVEMENT and of_torch("aten::copy_", True) == kinds.OPTIMIZER
    assert of_onnx("Chain", "update") == kinds.OPTIMIZER and of_onnx("Gemm", "update") == kinds.PRODUCTS


def test_operators_of_the_native_library_are_of_a_kind() -> None:
    texts = [path.read_text("utf-8") for path in (ROOT / "runtime").glob("*.py")]
    named = {name for text in texts for name in re.findall(r'^OPERATOR\b.* = "(\w+)"', text, re.MULTILINE)}
    named -= {"Region", "Guard"}  # profiles have no regions, and these alone have guards
    assert {"Chain", "Scan", "Each", "ConvWeights", "ConvSquares"} <= named and named <= kinds.ONNX.keys()


def test_tables_go_between_the_comments(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text(f"before\n{nodes.MARK}\nold\n{nodes.MARK}\nafter\n")
    nodes.put(file, "new")
    assert file.read_text() == f"before\n{nodes.MARK}\nnew\n{nodes.MARK}\nafter\n"
    file.write_text("no comments\n")
    with pytest.raises(SystemExit, match="profiles"):
        nodes.put(file, "new")
    assert file.read_text() == "no comments\n"


def counted(profile: Profile, kind: str) -> float:
    return sum(row.count for row in profile.rows if row.kind == kind)


# Products, convolutions and recurrences: two layers are five products, as no derivative by the input is needed.
COUNTS = {
    "digits-mlp": {"torch": (5, 0, 0), "jax": (5, 0, 0)},
    "lenet5": {"dlc": (None, 5, 0), "torch": (9, 4, 0)},
    "lstm": {"dlc": (None, 0, 2), "torch": (3, 0, 2)},
}


@pytest.mark.parametrize("workload", COUNTS)
def test_a_profile_has_what_the_model_has(workload: str) -> None:
    for system, expected in COUNTS[workload].items():
        found = nodes.measured(system, workload, 2, 1)
        for kind, count in zip((kinds.PRODUCTS, kinds.CONVOLUTION, kinds.RECURRENCE), expected, strict=True):
            assert count is None or counted(found, kind) == count, (system, kind)
        assert found.step > 0 and found.inside == pytest.approx(sum(found.of(kind) for kind in kinds.KINDS))
        assert found.of(kinds.OPTIMIZER) > 0
        fused = {row.op: (row.kind, row.count) for row in found.rows if "fused" in row.op}
        assert system != "torch" or list(fused.values()) == [(kinds.OPTIMIZER, 1)], fused


@pytest.mark.long
@pytest.mark.parametrize("workload", [name for name in WORKLOADS if name != "deep-residual"])
@pytest.mark.parametrize("system", ["dlc", "torch", "jax"])
def test_every_operator_of_the_benchmarks_is_of_a_kind(workload: str, system: str) -> None:
    assert nodes.measured(system, workload, 2, 1).rows


def test_a_system_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="KeyError: 'nothing'"):
        nodes.measured("dlc", "nothing", 1, 1)


def test_one_command_prints_all_side_by_side() -> None:
    """Kinds and what lies outside add up to the whole step, or are more than it."""
    command = [sys.executable, "-m", "benchmarks.nodes", "digits-mlp", "--steps", "3", "--top", "2", "--threads", "1"]
    done = subprocess.run([*command, "--markdown"], cwd=ROOT, capture_output=True, text=True, check=True)
    cells = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    table = {line[0]: line[1:] for line in cells if len(line) == 4}
    assert table.pop("µs a step") == ["dlc", "torch", "jax"] and table.keys() >= {"products", "optimizer"}
    whole = [float(cell.replace(",", "")) for cell in table.pop("a step, when nobody looks")]
    outside = [float(cell.replace(",", "")) for cell in table.pop("outside of operators")]
    inside = [
        sum(float(cell.replace(",", "")) for cell in column)
        for column in zip(*(table[k] for k in table if k in kinds.KINDS), strict=True)
    ]
    for step, around, within in zip(whole, outside, inside, strict=True):
        assert around + within == pytest.approx(max(step, within), rel=0.02, abs=3)
    assert re.search(r"\| \d+\s+5 x Gemm \(products\) \| ", done.stdout)
    assert ("operations are one node in a step" in done.stdout) == native.wanted(None)
