"""Where the time and the memory of a step go: ONNX Runtime's own profile, mapped back to layers and lines of the spec
by the metadata of the nodes.

What is measured is what `dlc train` runs, with its state, bindings and rewrites. A profile itself takes about a
microsecond a node, so that small models seem slower than they are; the time without it is measured, too.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from dlc.runtime import graphs
from dlc.runtime.data import ArraySource, Columns, Field, check
from dlc.runtime.evaluate import Predictor
from dlc.runtime.failures import Error
from dlc.runtime.initial import initialize
from dlc.runtime.metadata import BATCH
from dlc.runtime.norms import GRADIENT
from dlc.runtime.request import Request
from dlc.runtime.session import Session
from dlc.runtime.state import Stepper
from dlc.runtime.train import Trainer
from onnx import GraphProto, NodeProto

WARM, FREE = 3, 16  # calls before any is measured; a free dimension where no data say how long it is
SIDES = ("forward", "backward", "update", "predict")
BYTES = {"float": 4, "double": 8, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "uint64": 8, "uint32": 4}


@dataclass
class Spent:
    """One node in one call."""

    name: str
    op: str
    start: float  # µs
    took: float  # µs, without what its bodies took
    whole: float  # µs
    made: int  # bytes of its outputs
    scope: str = ""
    source: str = ""
    side: str = "forward"


@dataclass
class Profile:
    """`calls`: of each what its nodes took; `plain`: µs of a call without a profile, the median; `peak`: bytes of
    values that are alive at once, at most, and in which layers they were made."""

    title: str
    what: str  # "step" or "predict"
    rows: int
    calls: list[list[Spent]]
    outer: list[float]  # µs of whole calls
    plain: float
    peak: int
    held: dict[str, int] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)

    def by(self, key: Callable[[Spent], str]) -> list[tuple[str, float, float, int, int]]:
        """What a node has, by that: µs of a call, share of all nodes, nodes, bytes made. The greatest first."""
        found: dict[str, list[float]] = {}
        for call in self.calls:
            for one in call:
                row = found.setdefault(key(one), [0.0, 0, 0])
                row[0] += one.took
                row[1] += 1
                row[2] += one.made
        n = len(self.calls)
        total = sum(row[0] for row in found.values()) or 1.0
        rows = [(name, t / n, t / total, round(c / n), round(b / n)) for name, (t, c, b) in found.items()]
        return sorted(rows, key=lambda row: -row[1])

    @property
    def inside(self) -> float:
        """µs of a call within nodes."""
        return sum(one.took for call in self.calls for one in call) / max(1, len(self.calls))

    @property
    def between(self) -> float:
        """µs of a call outside of nodes."""
        return max(0.0, sum(self.outer) / max(1, len(self.outer)) - self.inside)


def profiled(trainer: Trainer, what: str, data: object = None, calls: int = 20, rows: int | None = None) -> Profile:
    """Measures `calls` calls of a step ("step") or a prediction. `data`: what to run on, else those of the spec's own
    settings, else numbers made up of the right shapes and ranges. Raises `Error` E06xx, E08xx."""
    arrays = _batch(trainer, what, data, rows)
    if what == "step" and trainer._waiting:
        initialize(trainer)
    batch = max((len(array) for array in arrays.values() if array.ndim), default=1)
    plain = _timed(_step(trainer.stepper, arrays) if what == "step" else _prediction(trainer.predictor, arrays), calls)
    with TemporaryDirectory() as folder:
        how = replace(trainer._how, profile=str(Path(folder) / "profile"))
        if what == "step":
            stepper = Stepper(trainer.file, trainer._values, how, trainer.stage)
            run, sessions = _step(stepper, arrays), stepper._sessions
            losses = [[name for name, _ in pairs] for pairs in stepper._figures_of]
        else:
            predictor = Predictor(trainer.file, trainer._values, how)
            run, sessions = _prediction(predictor, arrays), [predictor.session]
            losses = [[]]
        for _ in range(WARM + calls):
            run()
        found = Profile(trainer.file.title, what, batch, [[] for _ in range(calls)], [0.0] * calls, plain, 0)
        for session, figures in zip(sessions, losses, strict=True):
            events = json.loads(Path(session.raw.end_profiling()).read_text("utf-8"))
            _read(found, session, events, calls, figures)
    return found


def _batch(trainer: Trainer, what: str, data: object, rows: int | None) -> dict[str, np.ndarray]:
    """One batch: of `data`, of those that the spec's own settings name, or made up. Columns are checked and encoded."""
    fields = trainer.inputs if what == "step" else trainer.predictor.fields
    if isinstance(data, Columns):
        arrays = next(iter(ArraySource(data, min(rows or BATCH, data.rows)).batches(0))).arrays
        return {field.name: arrays[field.name] for field in fields}
    if trainer.file.parts and (data is not None or trainer.stage.settings.get("data")):
        try:
            arrays = next(iter(Request(trainer, data, batch=rows).source.batches(0))).arrays
            if {field.name for field in fields} <= arrays.keys():
                return {field.name: arrays[field.name] for field in fields}
        except Error:
            if data is not None and what == "step":
                raise
    size = rows or trainer.stage.settings.get("batch")
    columns = trainer.columns(data, fields) if data is not None else made_up(fields, size)
    most = size if isinstance(size, int) else BATCH
    return dict(next(iter(ArraySource(columns, min(most, columns.rows)).batches(0))).arrays)


def made_up(fields: Sequence[Field], batch: Any) -> Columns:
    """Arrays of the right shapes whose numbers may be: normal ones, or any that the signature allows."""
    rng = np.random.default_rng(0)
    rows = batch if isinstance(batch, int) else BATCH
    data: dict[str, np.ndarray] = {}
    for one in fields:
        shape = [
            size if isinstance(size, int) else rows if axis == one.rows else FREE for axis, size in enumerate(one.shape)
        ]
        low = max([int(s.low) for s in one.supports if s.low is not None and np.isfinite(s.low)], default=0)
        high = min([int(s.high) for s in one.supports if s.high is not None and np.isfinite(s.high)], default=low + 1)
        if one.dtype.kind in "iub":
            data[one.name] = rng.integers(low, max(low, high) + 1, shape).astype(one.dtype)
        elif one.supports:
            data[one.name] = (low + (max(high, low) - low) * rng.uniform(0.01, 0.99, shape)).astype(one.dtype)
        else:
            data[one.name] = rng.normal(size=shape).astype(one.dtype)
    return check(data, tuple(fields), "numbers made up")


def _step(stepper: Stepper, arrays: Mapping[str, np.ndarray]) -> Callable[[], object]:
    return lambda: stepper.step(arrays)


def _prediction(predictor: Predictor, arrays: Mapping[str, np.ndarray]) -> Callable[[], object]:
    rows = max(len(array) for array in arrays.values())
    return lambda: predictor.run(arrays, "", rows, None, 0)


def _timed(call: Callable[[], object], calls: int) -> float:
    for _ in range(WARM):
        call()
    taken = []
    for _ in range(calls):
        before = time.perf_counter()
        call()
        taken.append(1e6 * (time.perf_counter() - before))
    return median(taken)


# --- ONNX Runtime's events


def _read(found: Profile, session: Session, events: list[dict[str, Any]], calls: int, figures: list[str]) -> None:
    """Adds what a session took in each of its last calls."""
    graph = session.profiled
    assert graph is not None
    known = {node.name: node for node in graphs.nodes(graph)}
    sides = sides_of(graph, figures)
    runs = sorted((e for e in events if e.get("name") == "model_run"), key=lambda e: e["ts"])[-calls:]
    nodes = sorted(
        (e for e in events if e.get("cat") == "Node" and str(e.get("name", "")).endswith("_kernel_time")),
        key=lambda e: (e["ts"], -e["dur"]),
    )
    took = _own(nodes)
    at = 0
    for number, run in enumerate(runs):
        begin, end = run["ts"], run["ts"] + run["dur"]
        while at < len(nodes) and nodes[at]["ts"] < begin:
            at += 1
        live: list[tuple[str, list[int]]] = []
        while at < len(nodes) and nodes[at]["ts"] <= end:
            event = nodes[at]
            one = _spent(event, took[at], known, sides, found.what)
            found.calls[number].append(one)
            live.append((one.name, _sizes(event)))
            _named(event, one)
            at += 1
        found.outer[number] += run["dur"]
        if number == len(runs) - 1:
            peak, held = _peak(graph, live)
            if peak > found.peak:
                found.peak, found.held = peak, held
    found.events += [e for e in events if e.get("ts", 0) >= (runs[0]["ts"] if runs else 0)]


def _own(nodes: Sequence[Mapping[str, Any]]) -> list[float]:
    """What each node took by itself: of a Scan or Loop without the nodes of its body, which lie within it."""
    took = [float(event["dur"]) for event in nodes]
    open_: list[int] = []
    for i, event in enumerate(nodes):
        while open_ and nodes[open_[-1]]["ts"] + nodes[open_[-1]]["dur"] <= event["ts"]:
            open_.pop()
        if open_ and _holds(nodes[open_[-1]]):
            took[open_[-1]] -= float(event["dur"])
        if _holds(event):
            open_.append(i)
    return [max(0.0, each) for each in took]


def _holds(event: Mapping[str, Any]) -> bool:
    return event.get("args", {}).get("op_name") in ("Scan", "Loop", "If")


def _spent(
    event: Mapping[str, Any], took: float, known: Mapping[str, NodeProto], sides: Mapping[str, str], what: str
) -> Spent:
    name = str(event["name"]).removesuffix("_kernel_time")
    node = known.get(name)
    told = {entry.key: entry.value for entry in node.metadata_props} if node is not None else {}
    args = event.get("args", {})
    scope, source = told.get("dlc.scope", ""), told.get("dlc.source", "")
    op = str(args.get("op_name", ""))
    side = sides.get(name, "predict" if what == "predict" else "forward")
    return Spent(name, op, event["ts"], took, event["dur"], sum(_sizes(event)), scope, source, side)


def _sizes(event: Mapping[str, Any]) -> list[int]:
    """Bytes of each output of a node."""
    found = []
    for entry in event.get("args", {}).get("output_type_shape", ()):
        for kind, shape in entry.items():
            found.append(int(np.prod(shape, dtype=np.int64)) * BYTES.get(kind, 1))
    return found


def _named(event: dict[str, Any], one: Spent) -> None:
    """An event of the trace by the words of the spec."""
    event["name"] = f"{one.scope or '(model)'}: {one.op}"
    event["args"] = {**event.get("args", {}), "node": one.name, "side": one.side, "source": one.source}


def sides_of(graph: GraphProto, figures: Sequence[str]) -> dict[str, str]:
    """Of each node whether it is of the model, of its derivatives or of the update. The model is what the figures of a
    step need; the update is what comes of a gradient, or of state that the model does not read (an optimizer's), and
    what makes the next state; the rest are derivatives, whether or not a gradient still stands by itself in the graph.
    A prediction has no figures."""
    if not figures:
        return {node.name: "predict" for node in graphs.nodes(graph)}
    nodes = list(graph.node)
    made = {name for node in nodes for name in node.output}
    kept = {value.name for value in graph.output}
    needed = graphs.needed(nodes, figures)
    forward = {id(node) for node in needed}
    gradients = {name for name in made if name.startswith(GRADIENT)}
    backward = {id(node) for node in graphs.needed(nodes, list(gradients))} - forward
    read = {name for node in needed for name in graphs.reads(node)}
    late = {value.name for value in graph.input} - read | gradients  # an input, or what comes of one
    found: dict[str, str] = {}
    for node in nodes:
        side = "forward" if id(node) in forward else "backward"
        if id(node) not in forward | backward and not (
            late.isdisjoint(graphs.reads(node)) and kept.isdisjoint(node.output)
        ):
            side = "update"
            late.update(node.output)
        for inner in (node, *(n for body in graphs.subgraphs(node) for n in graphs.nodes(body))):
            found[inner.name] = side
    return found


def _peak(graph: GraphProto, live: Sequence[tuple[str, list[int]]]) -> tuple[int, dict[str, int]]:
    """The most bytes of values that are alive at once, in the order in which nodes ran, and by which layer they were
    made. State and data are not counted."""
    known = {node.name: node for node in graph.node}
    last: dict[str, int] = {}
    for i, (name, _) in enumerate(live):
        if name in known:
            last.update(dict.fromkeys(graphs.reads(known[name]), i))
    kept = {value.name for value in graph.output}
    alive: dict[str, tuple[int, str]] = {}
    ending: dict[int, list[str]] = {}
    for value, i in last.items():
        ending.setdefault(i, []).append(value)
    peak, now, held = 0, 0, dict[str, int]()
    for i, (name, sizes) in enumerate(live):
        node = known.get(name)
        if node is None:
            continue
        scope = next((entry.value for entry in node.metadata_props if entry.key == "dlc.scope"), "")
        for output, size in zip([o for o in node.output if o], sizes, strict=False):
            if output in last and output not in kept:
                alive[output] = size, scope
                now += size
        if now > peak:
            peak, held = now, {}
            for size, layer in alive.values():
                held[layer] = held.get(layer, 0) + size
        for value in ending.get(i, ()):
            now -= alive.pop(value, (0, ""))[0]
    return peak, held


# --- as a tree, for a flame graph


def tree(found: Profile) -> dict[str, Any]:
    """What a call took as a tree: side, layers from the outside in, lines of the spec, operators; each in the order in
    which it ran first. `us` are microseconds."""
    n = max(1, len(found.calls))
    top = _branch(found.what)
    for call in found.calls:
        for one in call:
            words = [one.side, *layers(one.scope), *([one.source] if one.source else []), one.op]
            at = top
            at["us"] += one.took / n
            at["bytes"] += one.made / n
            for word in words:
                at = at["inside"].setdefault(word, _branch(word))
                at["us"] += one.took / n
                at["bytes"] += one.made / n
                at["nodes"] += 1 / n
    if found.between > 0:
        rest = top["inside"].setdefault("between nodes", _branch("between nodes"))
        rest["us"] = found.between
        top["us"] += found.between
    return _listed(top)


def layers(scope: str) -> list[str]:
    """`block[0].attend` as `block[0]`, `attend`."""
    return [part for part in scope.split(".") if part] or ["(model)"]


def _branch(name: str) -> dict[str, Any]:
    return {"name": name, "us": 0.0, "bytes": 0.0, "nodes": 0.0, "inside": {}}


def _listed(branch: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": branch["name"],
        "us": round(branch["us"], 2),
        "bytes": round(branch["bytes"]),
        "nodes": round(branch["nodes"], 1),
        "inside": [_listed(each) for each in branch["inside"].values()],
    }


def trace(found: Profile) -> str:
    """A trace for chrome://tracing and Perfetto (the Trace Event Format): the calls that were measured."""
    return json.dumps({"traceEvents": found.events, "displayTimeUnit": "ms"})
