"""ONNX Runtime sessions: which device, which options, and failures in the words of the spec.

ONNX Runtime is imported when the first session is made, never before: `dlc check` does without it.
"""

from __future__ import annotations

import functools
import gc
import importlib
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto

from . import blocks, chains, cosines, devices, graphs, halves, native, regions, rewrite, updates
from .failures import Error, at_run_time
from .file import CompiledFile
from .frame import MANY
from .guard import Guard
from .memory import give_back
from .metadata import BATCH

# Nodes; loading with all rewrites grows faster than the graph (docs/performance.md, Sessions).
FULL_OPTIMIZATION, BASIC_OPTIMIZATION = 1_500, 6_000
# From here on a second thread pays: elements of a parameter, operations of a product (docs/performance.md).
LARGE_PARAMETER, LARGE_PRODUCT = 65_536, 10_000_000
WIDE_OPERATORS = {"Conv", "ConvTranspose", "LSTM", "GRU", "RNN"}
TRIVIAL = 4  # nodes of a graph that may well run on the CPU beside a device
logger = logging.getLogger("dlc.runtime")
DEVICES = ("auto", "cpu", "cuda")  # others by the names of their providers (devices.py)


def onnxruntime() -> Any:
    """The module, with its telemetry off. Raises `Error` E0801 where it is not installed."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read once, at the first import
    try:
        module = importlib.import_module("onnxruntime")
    except ImportError:
        raise Error(
            "E0801",
            "ONNX Runtime is not installed: it runs the model",
            help='pip install "dlc-compiler[cpu]", or "dlc-compiler[gpu]" on a machine with a CUDA device',
        ) from None
    if not hasattr(module, "InferenceSession"):
        raise Error(
            "E0801",
            "ONNX Runtime is installed in part only",
            notes=["`onnxruntime` and `onnxruntime-gpu` overwrite each other"],
            help='uninstall both, then pip install "dlc-compiler[cpu]" or "dlc-compiler[gpu]"',
        )
    return module


def choose(device: str) -> str:
    """The device to run on: `auto` takes CUDA where it works. Raises `Error` E0802, E0803."""
    if device == "cpu":
        return "cpu"
    module = onnxruntime()
    if device not in DEVICES:
        return devices.find(module, device)
    if "CUDAExecutionProvider" in module.get_available_providers():
        module.preload_dlls(directory="")
        if device == "cuda" or _cuda_starts(module):
            return "cuda"
    if device == "cuda":
        raise _no_cuda("this ONNX Runtime has no CUDA provider")
    return "cpu"


def _cuda_starts(module: Any) -> bool:
    """Whether a session of one node comes up on CUDA: the provider is also listed where its libraries lack."""
    probe = ModelProto(ir_version=10)
    probe.opset_import.add(domain="", version=21)
    probe.graph.name = "probe"
    for values in (probe.graph.input, probe.graph.output):
        value = values.add(name="x" if values is probe.graph.input else "y")
        value.type.tensor_type.elem_type = 1
        value.type.tensor_type.shape.dim.add(dim_value=1)
    probe.graph.node.add(op_type="Neg", input=["x"], output=["y"])
    options = module.SessionOptions()
    options.log_severity_level = 4
    session = module.InferenceSession(probe.SerializeToString(), options, providers=["CUDAExecutionProvider"])
    return bool("CUDAExecutionProvider" in session.get_providers())


@functools.cache
def _block(module: Any) -> int:
    """How many channels ONNX Runtime's convolutions on blocks of channels take at a time here; 0: there are none."""
    options = module.SessionOptions()
    options.log_severity_level = 4
    try:
        session = module.InferenceSession(blocks.probe().SerializeToString(), options, ["CPUExecutionProvider"])
        [y] = session.run(None, {"x": np.zeros((1, 4, 1, 1), np.float32)})
    except Exception:  # ONNX Runtime's exceptions have no common base
        return 0
    return int(y.shape[1])


def _no_cuda(why: str) -> Error:
    return Error(
        "E0802",
        "there is no CUDA device to run on",
        notes=[why],
        help='pip install "dlc-compiler[gpu]" with a CUDA driver, or --device cpu; `dlc doctor` says what is missing',
    )


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_for(file: CompiledFile) -> int:
    """How many threads a file pays for: one for small models, else all cores."""
    return 1 if is_small(file) else cores()


def rows_of(settings: Mapping[str, Any]) -> int:
    """The rows of a batch that settings say, 0 where they differ."""
    batch = settings.get("batch") or BATCH
    return batch if isinstance(batch, int) else 0


def is_small(file: CompiledFile) -> bool:
    """Whether a file is so small that its step costs by the node, and one thread does it. A rule and not a
    measurement, so that a spec runs the same way each time."""
    largest = max((int(np.prod(slot.shape, dtype=np.int64)) for slot in file.slots), default=0)
    batch = file.settings.get("batch", BATCH)
    sizes = batch.values() if isinstance(batch, dict) else [batch]
    rows = max(size if isinstance(size, int) else LARGE_PRODUCT for size in sizes)
    if largest >= LARGE_PARAMETER or 2 * rows * largest >= LARGE_PRODUCT:
        return False
    nodes = [*file.main.node, *(node for part in file.parts for node in part.algorithm.node)]
    return not any(node.op_type in WIDE_OPERATORS for node in nodes)


@dataclass(frozen=True)
class Options:
    """How sessions are made: `device` is "cpu" or "cuda"; `fused`: the compiler has rewritten the graph already, so
    ONNX Runtime need not; `profile`: the beginning of a path where ONNX Runtime writes what each node took; `native`:
    whether chains of elementwise operations run in kernels of our own, which must work here (native.py); `small`:
    whether whole steps do, since their tensors are small; `rows`: of the batches, 0 where it is not known."""

    device: str = "cpu"
    threads: int = 1
    fused: bool = False
    profile: str | None = None
    native: bool = False
    small: bool = False
    rows: int = 0


def giving_back() -> Any:
    """Options of a run on the CPU after which ONNX Runtime gives back what memory it holds and does not use."""
    options = onnxruntime().RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


class Prepared:
    """A model as a session loads it: rewritten for a device, as bytes. It needs the message no more."""

    def __init__(
        self,
        model: ModelProto,
        how: Options,
        guard: Guard | None = None,
        wanted: updates.Wanted | None = None,
        keep: bool = False,
    ) -> None:
        """`guard`: what of its data a small step is to check, if it can; `wanted`: what a large one may update in place
        (`in_place` says what it does); `keep`: whether the model stays as it is. Raises `Error` E0802, E0805."""
        if not keep and len(model.graph.node) >= MANY:  # of a trainer's step, which is made first
            gc.collect()  # the graph that it was compiled from refers to itself
        give_back()  # what compiling or reading took
        module, device = onnxruntime(), how.device
        if device == "cuda" and "CUDAExecutionProvider" not in module.get_available_providers():
            raise _no_cuda("this ONNX Runtime has no CUDA provider")
        self.inputs = [value.name for value in model.graph.input]
        self.outputs = [value.name for value in model.graph.output]
        self.types, self.output_types = (
            {value.name: graphs.dtype_of(value.type.tensor_type.elem_type) for value in values}
            for values in (model.graph.input, model.graph.output)
        )
        self.sources = sources(model.graph)
        self.places: dict[str, str] = {}  # the same, of what is in nodes of several
        self.level = _level(module, len(model.graph.node), how.fused)
        block = _block(module) if device == "cpu" else 0
        whole, in_halves = (model, {}) if device == "cpu" else halves.joined(model, halves.asking(module, device))
        model, self.rewrites = rewrite.rewritten(  # what -> how often
            whole,
            device,
            block,
            how.native,
            how.small and how.profile is None,
            guard,
            wanted.targets.values() if wanted else (),
            how.threads,
            how.rows,
            keep,
        )
        self.in_place: updates.InPlace | None = None
        if wanted is not None and chains.CHAINED in self.rewrites:
            self.in_place = updates.joined(model, wanted)
        if self.in_place is not None:
            self.rewrites[updates.IN_PLACE] = len(self.in_place.tensors)
        self.rewrites |= in_halves
        self.native = bool(rewrite.NATIVE & self.rewrites.keys())
        if self.native:
            self.places = regions.places(model.graph, self.sources)
        self.profiled = model.graph if how.profile is not None else None  # whose nodes a profile names
        data = graphs.serialized(model)
        if data is None:
            raise Error("E0805", "the constants of this model exceed 2 GB", help="make them parameters or inputs")
        self.data = data


class Session:
    """One model on one device.

    `run` takes and gives NumPy arrays; the training loop binds buffers through `raw` itself (state.py).
    """

    def __init__(self, model: ModelProto | Prepared, how: Options) -> None:
        """Raises `Error` E0802, E0805, E0806."""
        ready = model if isinstance(model, Prepared) else Prepared(model, how, keep=True)
        module, device = onnxruntime(), how.device
        self.inputs, self.outputs = ready.inputs, ready.outputs
        self.types, self.output_types = ready.types, ready.output_types
        self.sources, self.places, self.profiled = ready.sources, ready.places, ready.profiled
        self.rewrites, self.in_place = ready.rewrites, ready.in_place
        options = module.SessionOptions()
        options.log_severity_level = 4  # failures come as exceptions; nothing is printed
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        options.intra_op_num_threads = how.threads
        options.inter_op_num_threads = 1
        options.execution_order = module.ExecutionOrder.PRIORITY_BASED
        options.graph_optimization_level = ready.level
        providers: list[str] | None = ["CPUExecutionProvider"]
        if device == "cuda":
            providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
        elif device != "cpu":
            providers = devices.use(module, options, device)
        if ready.native:
            native.register(options)
        if how.profile is not None:
            options.enable_profiling, options.profile_file_prefix = True, how.profile
        self.raw = self._made(module, ready.data, options, providers, device)
        give_back()  # what rewriting took
        if device not in DEVICES:
            self._refuse_none(device)
        if device == "cuda" and self.raw.get_providers()[0] != "CUDAExecutionProvider":
            raise _no_cuda("the CUDA provider did not start (driver or CUDA libraries missing)")

    def _made(self, module: Any, data: bytes, options: Any, providers: list[str] | None, device: str) -> Any:
        """ONNX Runtime's own session. Raises `Error` E0802, E0805, E0806."""
        try:
            return module.InferenceSession(data, options, providers=providers)
        except Exception as problem:  # ONNX Runtime's exceptions have no common base
            other = cosines.replaced(data, problem)
            if other is not None:
                return self._made(module, other, options, providers, device)
            if device not in DEVICES:
                raise devices.refused(device, problem, self.sources) from None
            failure = at_run_time(problem, self.sources)
            if failure.code == "E0804":
                failure = Error(
                    "E0805",
                    "ONNX Runtime cannot load this model",
                    where=failure.where,
                    notes=failure.notes,
                    help="`dlc doctor` shows the versions; `dlc check FILE.onnx` checks the file",
                )
            raise failure from None

    def _refuse_none(self, device: str) -> None:
        """Raises `Error` E0802 where a device takes nothing of a graph that is not trivial; the logger `dlc.runtime`
        is told how much it takes of others."""
        count, whole = devices.taken(self.raw)
        logger.info("%s takes %d of %d nodes, the CPU the others", device, count, whole)
        if not count and whole >= TRIVIAL:
            raise Error(
                "E0802",
                f"`{device}` takes no operation of this model",
                notes=[f"all {whole:,} nodes would run on the CPU"],
                help="--device cpu runs them with kernels of our own",
            )

    def run(self, outputs: Sequence[str], feeds: Mapping[str, Any]) -> list[np.ndarray]:
        """Outputs for feeds (arrays or OrtValues, names beyond the inputs are left out). Raises E0804."""
        ort = onnxruntime().OrtValue
        given = {
            name: ort.ortvalue_from_numpy(np.ascontiguousarray(feeds[name]).reshape(feeds[name].shape))
            if isinstance(feeds[name], np.ndarray)
            else feeds[name]
            for name in self.inputs
        }
        try:
            results = self.raw.run_with_ort_values(list(outputs), given)
        except Exception as problem:
            raise at_run_time(problem, self.sources | self.places) from None
        return [np.asarray(value.numpy()) for value in results]


def direct(raw: Any, binding: Any) -> tuple[Any, Any]:
    """What runs a session on its bindings, and what that takes of them. The method that Python has asks what a CPU does
    not have, for a microsecond of each step, and for thirty where options are given (ONNX Runtime 1.32)."""
    inner, own = getattr(raw, "_sess", None), getattr(binding, "_iobinding", None)
    if inner is None or own is None or raw.get_providers() != ["CPUExecutionProvider"]:
        return raw.run_with_iobinding, binding
    return inner.run_with_iobinding, own


def sources(graph: GraphProto) -> dict[str, str]:
    """Node name -> `dlc.source` ("" without one)."""
    return {node.name: graphs.source(node) for node in graph.node}


def _level(module: Any, nodes: int, fused: bool) -> Any:
    levels = module.GraphOptimizationLevel
    if fused:
        return levels.ORT_DISABLE_ALL
    if nodes <= FULL_OPTIMIZATION:
        return levels.ORT_ENABLE_ALL
    return levels.ORT_ENABLE_BASIC if nodes <= BASIC_OPTIMIZATION else levels.ORT_DISABLE_ALL
