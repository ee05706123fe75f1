"""Whole random specs: ONNX Runtime with all its optimizations = with none = the oracle, forward and gradients.

The oracle is the interpreter in float64 on the graph before the passes that make it run. How far a result may lie off
follows from the spec: the oracle is run again with the operands of every operation moved at random by a few units in
the last place of the precision, and what that changes is what rounding may change.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from unittest import mock

import dlc
import numpy as np
import onnxruntime
import pytest
from dlc.diagnostics import CompileError, Problems
from dlc.elaborate import elaborate
from dlc.elaborate.builtins import BUILTINS
from dlc.elaborate.library import standard_index
from dlc.ir import interpret
from dlc.ir.body import ScanView
from dlc.ir.graph import Node
from dlc.ir.op import OPS
from dlc.pipeline import check
from dlc.runtime import graphs
from dlc.syntax.parser import make_source
from onnx import TensorProto, numpy_helper
from random_specs import random_spec

UNIT = {"float32": 2.0**-23, "float64": 2.0**-51}  # of float64 the oracle itself has a share
OFF = 24.0  # a result may lie so many times as far off as a run of the oracle with errors put in
FLOOR = 32.0  # and always so many units of the largest number of its tensor
DRAWS, MORE_DRAWS = 3, 40
CHUNK = 20
# Of derivatives that are chosen, so that differences see other ones.
CHOSEN = re.compile(r"^derivative |stop_gradient|_through|reverse_gradient|clip_gradient|fgsm|pgd|gradient_match", re.M)
PLACES = re.compile(r"\b(argmax|argmin|argsort|top|categorical)\b")  # integers, through which nothing is learnt


def feeds_of(text: str, seed: int) -> tuple[dict[str, Any], Any]:
    """Data and state to run one step of a spec on: numbers that float32 holds. And the graph of the oracle."""
    rng = np.random.default_rng(seed)
    module, _ = check(make_source(text))
    sizes = {"batch": int(rng.integers(2, 5)), "time": int(rng.integers(1, 4))}
    feeds: dict[str, Any] = {}
    for leaf in (*module.inputs, *module.targets):
        name = leaf.attrs["name"]
        shape = [size if isinstance(size, int) else sizes[str(size)] for size in leaf.shape]
        low, high = module.whole_range(name) or (0, 2)
        feeds[name] = rng.integers(low, high, shape) if leaf.dtype == "int" else rng.uniform(-2, 2, shape)
    roots = module.roots("initial/")
    start = dict(zip(roots, interpret.evaluate([*roots.values()], {"seed": np.uint64(seed)}), strict=True))
    for path, variable in module.variables.items():
        if variable.kind == "total":
            continue
        value = start.get(f"initial/{path}")
        shape = [size for size in variable.type.shape if isinstance(size, int)]
        if variable.kind == "counter" and path in ("step", "steps", "observations"):
            feeds[path] = np.int64({"step": rng.integers(0, 6), "steps": 20, "observations": 12}[path])
        elif variable.type.dtype != "float":
            feeds[path] = value if value is not None else np.zeros(shape, variable.type.dtype)
        elif variable.kind == "optimizer":
            feeds[path] = rng.uniform(0.05, 0.5, shape)
        else:
            feeds[path] = np.asarray(value) + rng.uniform(0, 0.3, shape)
    return {
        n: v.astype(np.float32).astype(v.dtype) if np.asarray(v).dtype == np.float64 else v for n, v in feeds.items()
    }, module


def perturbed(roots: list[Node], feeds: Mapping[str, Any], unit: float, rng: np.random.Generator) -> list[Any]:
    """The interpreter with every float operand of every operation moved by up to a unit at random, in the iterations of
    scans too."""

    def moved(value: Any) -> Any:
        if isinstance(value, list) or value.dtype.kind != "f":  # the results of a scan are moved one by one
            return value
        return value * (1 + unit * rng.uniform(-1, 1, np.shape(value)))

    def run(order: Any, wanted: Any, values: dict[Node, Any], sizes: Mapping[str, int]) -> list[Any]:
        for node in order:
            if node in values:
                continue
            attrs = {name: interpret._resolved(value, sizes) for name, value in node.attrs.items()}
            operands = [values[source] for source in node.inputs]
            if node.op.name not in ("eq", "ne", "random_uniform"):  # of equal values exactness is meant
                operands = [moved(operand) for operand in operands]
            if node.op.name == "scan":
                values[node] = interpret._scan(ScanView(node), operands, sizes)
            else:
                values[node] = np.asarray(node.op.reference(*operands, **attrs), interpret.NUMPY[node.dtype])
        return [moved(values[root]) for root in wanted]

    with mock.patch.object(interpret, "_run", run):
        return interpret.evaluate(roots, feeds)


@dataclass
class Trial:
    """One spec with its data, and what the oracle says of it."""

    text: str
    seed: int

    def __post_init__(self) -> None:
        self.feeds, module = feeds_of(self.text, self.seed)
        wanted = module.roots("output/", "loss", "metric/", "next/")
        self.names = [name.removeprefix("output/").removeprefix("metric/") for name in wanted]
        self.roots = [*wanted.values()]
        self.expected = dict(zip(self.names, interpret.evaluate(self.roots, self.feeds), strict=True))

    def spread(self, unit: float, draws: int) -> dict[str, Any]:
        """How far each tensor of the oracle goes when errors are put in."""
        rng = np.random.default_rng([self.seed, draws])
        runs = [perturbed(self.roots, self.feeds, unit, rng) for _ in range(draws)]
        return {name: max(distance(run[i], self.expected[name]) for run in runs) for i, name in enumerate(self.names)}

    def stock(self, precision: str, optimized: bool, model: Any) -> dict[str, Any]:
        """The file's step by ONNX Runtime."""
        algorithm = model.training_info[0].algorithm
        held = {t.name: t for graph in (model.graph, algorithm) for t in graph.initializer if t.name in self.feeds}
        joined = graphs.concatenate(model, algorithm, self.names, held)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        level = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if optimized else level.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(joined.SerializeToString(), options, providers=["CPUExecutionProvider"])
        fed = {}
        for value in joined.graph.input:
            number = value.type.tensor_type.elem_type
            array = np.asarray(self.feeds[value.name])
            if number in (TensorProto.FLOAT, TensorProto.DOUBLE):
                array = array.astype(precision)
            elif value.name in held:
                array = array.astype(numpy_helper.to_array(held[value.name]).dtype)
            fed[value.name] = array
        return dict(zip(self.names, session.run(self.names, fed), strict=True))

    def all_faults(self) -> list[str]:
        return self.faults("float64") + self.faults("float32")

    def faults(self, precision: str) -> list[str]:
        """What ONNX Runtime has otherwise than the oracle, with its optimizations and without."""
        model = dlc.compile(self.text, precision=precision).model_proto()
        spread: dict[str, Any] = {}
        found = []
        for optimized in (False, True):
            for name, value in self.stock(precision, optimized, model).items():
                expected = self.expected[name]
                if np.shape(value) != np.shape(expected):
                    found.append(f"{name}: shape {np.shape(value)}, the oracle has {np.shape(expected)}")
                    continue
                if expected.dtype.kind == "f" and distance(value, expected) <= FLOOR * UNIT[precision] * size(expected):
                    continue
                if expected.dtype.kind != "f" and np.array_equal(value, expected):
                    continue
                for draws in (DRAWS, MORE_DRAWS):
                    key = (name, draws)
                    if key not in spread:
                        spread |= {(n, draws): s for n, s in self.spread(4 * UNIT[precision], draws).items()}
                    if distance(value, expected) <= OFF * spread[key] + FLOOR * UNIT[precision] * size(expected):
                        break
                else:
                    found.append(
                        f"{name} ({precision}, optimizations {'on' if optimized else 'off'}): "
                        f"{distance(value, expected):.3g} off, of {spread[name, MORE_DRAWS]:.3g} by rounding"
                    )
        return found


def distance(a: Any, b: Any) -> float:
    """The greatest difference; infinite where one is NaN or infinite and the other is not."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(all="ignore"):
        off = np.where(same, 0.0, np.abs(a - b))
    return float(np.max(np.where(np.isnan(off), np.inf, off), initial=0.0))


def size(a: Any) -> float:
    return max(1e-3, float(np.max(np.abs(a), where=np.isfinite(a), initial=0.0)))


def slope_fault(trial: Trial) -> str | None:
    """The oracle's `dx = grad(total, x)` against differences of `total`, which the graph gives before any pass.

    None where they agree; "kink" where differences of two widths disagree with each other, "derived" where they
    cannot tell.
    """
    if CHOSEN.search(trial.text):
        return "derived"  # differences see what the derivative is told not to
    module = elaborate(
        make_source(trial.text), folder=None, model=None, overrides={}, max_nodes=20_000, problems=Problems()
    )
    total = module.graph.outputs["output/total"]
    unexpanded = OPS["gradient"].reference
    if any(node.op.reference is unexpanded for node in module.graph.order([total])):
        return "derived"
    u = np.random.default_rng(trial.seed).uniform(-1, 1, trial.feeds["x"].shape)

    def at(h: float) -> float:
        return float(interpret.evaluate([total], {**trial.feeds, "x": trial.feeds["x"] + h * u})[0])

    narrow, wide = ((8 * (at(h) - at(-h)) - at(2 * h) + at(-2 * h)) / (12 * h) for h in (2e-4, 4e-4))
    exact = float(np.sum(trial.expected["dx"] * u))
    if not np.isfinite(exact) or abs(narrow - wide) > 1e-6 * max(1, abs(narrow)):
        return "kink"
    return None if abs(exact - narrow) <= 1e-5 * max(1, abs(narrow)) else f"dx: {exact} and by differences {narrow}"


def shrunk(text: str, wrong: Callable[[str], bool]) -> str:
    """The spec with every line left out without which it is still wrong."""
    lines, at = text.split("\n"), 0
    while at < len(lines):
        fewer = [*lines[:at], *lines[at + 1 :]]
        try:
            still = wrong("\n".join(fewer))
        except Exception:  # what is not a spec any more
            still = False
        lines, at = (fewer, at) if still else (lines, at + 1)
    return "\n".join(lines)


def subjects(faults: list[str]) -> set[str]:
    """The values that faults are about."""
    return {re.split("[ :]", fault)[0] for fault in faults}


def try_seed(seed: int) -> str | None:
    """Runs one spec. Raises AssertionError with the least text that is still wrong; what its slope says."""
    text = random_spec(seed)
    try:
        trial = Trial(text, seed)
        found = trial.all_faults()
    except CompileError as problem:  # the generator writes what is well typed, or the compiler is wrong
        if problem.code == "E0402" and PLACES.search(text):
            return "derived"
        raise AssertionError(f"random spec {seed}:\n{problem.render()}\n\n{text}") from None
    if found:

        def wrong(fewer: str) -> bool:
            return bool(subjects(found) & subjects(Trial(fewer, seed).all_faults()))

        raise AssertionError(f"random spec {seed}:\n" + "\n".join(found) + f"\n\n{shrunk(text, wrong)}")
    slope = slope_fault(trial)
    if slope not in (None, "kink", "derived"):
        raise AssertionError(f"random spec {seed}: {slope}\n\n{text}")
    return slope


@pytest.mark.parametrize("chunk", range(500 // CHUNK))
def test_random_specs(chunk):
    slopes = [try_seed(seed) for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK)]
    assert slopes.count(None) >= CHUNK // 3, "few slopes could be checked"


def test_every_word_is_said():
    """The functions of the compiler and of the library, but those that only other functions of the library call."""
    said = {word for seed in range(2000) for word in re.findall(r"\w+", random_spec(seed))}
    inner = {
        "fan_in",
        "fan_out",
        "gamma_like",
        "poisson_like",
        "gate_bias",
        "armijo",
        "by_score",
        "moving_mean",
        "class_counts",
        "conjugate_gradient",
        "eliminate",
        "gauss_jordan",
        "pivots",
        "transposition",
        "in_bins",
        "interval",
        "inverse_root",
        "wolfe",
        "log_beta",
        "log_choose",
        "normal_between",
        "poisson_log",
        "polar_step",
        "stirling_rest",
        "von_mises_like",
        "window",
        "at_places",
        "between_places",
        "each_row",
        "factor_like",
        "framed",
        "in_box",
        "steps_at",
        "to_rank",
        "whole_like",
    }
    of_all_rows = {"all_rows", "confusion", "exact_auc", "exact_average_precision"}  # a metric alone, no value of rows
    assert {*BUILTINS, *standard_index()} - said == inner | of_all_rows


@pytest.mark.long
@pytest.mark.parametrize("chunk", range(500 // CHUNK, 10_500 // CHUNK))
def test_random_specs_at_length(chunk):
    test_random_specs(chunk)
