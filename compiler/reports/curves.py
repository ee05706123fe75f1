"""The numbers of training as curves: figures by epoch, learning rates, and norms by layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

from dlc.runtime.metadata import Norms, Record

from ..ir.interpret import evaluate
from ..ir.module import Module
from .drawn import COLOURS, colour
from .ran import Ran

RATES = 240  # points of a learning rate
LINES = 10  # of one chart, where layers can be put together


@dataclass
class Curve:
    label: str
    colour: str
    values: dict[int, float]  # by epoch or update
    dash: bool = False


@dataclass
class Chart:
    title: str
    x: str  # "epoch" or "update"
    curves: list[Curve]
    log: bool = False
    marks: list[dict[str, Any]] = field(default_factory=list)  # `x`, `text`, `colour` of upright lines

    def written(self) -> dict[str, Any]:
        """What the page's script reads: one list of points, and of each curve a value or null at each."""
        points = sorted({x for curve in self.curves for x in curve.values})
        series = [
            {
                "label": curve.label,
                "colour": curve.colour,
                "dash": curve.dash,
                "values": [self._shown(curve.values.get(x)) for x in points],
            }
            for curve in self.curves
        ]
        return {"x": self.x, "points": points, "series": series, "log": self.log, "marks": self.marks}

    def _shown(self, value: float | None) -> float | None:
        return None if value is None or (self.log and value <= 0) else value


def figures(runs: Sequence[Ran]) -> list[Chart]:
    """A chart for each figure that runs report: the training rows dashed, the validation rows drawn through."""
    named: dict[str, list[Curve]] = {}
    for number, run in enumerate(runs):
        for side in ("train", "validation"):
            found: dict[str, dict[int, float]] = {}
            for record in run.records:
                for name, value in _of(record, side).items():
                    found.setdefault(name, {})[record.epoch] = value
            for name, values in found.items():
                label = side if len(runs) == 1 else f"{run.name} {side}"
                first = colour(number) if len(runs) > 1 else COLOURS[side == "train"]
                named.setdefault(name, []).append(Curve(label, first, values, side == "train"))
    charts = []
    for name, curves in named.items():
        seen = [value for curve in curves for value in curve.values.values()]
        log = name == "loss" and min(seen) > 0 and max(seen) > 30 * min(seen)
        charts.append(Chart(name, "epoch", curves, log, _best(runs)))
    return charts


def _of(record: Record, side: str) -> Mapping[str, float]:
    return (record.train if side == "train" else record.validation) or {}


def _best(runs: Sequence[Ran]) -> list[dict[str, Any]]:
    marks = []
    for number, run in enumerate(runs):
        if run.best is not None:
            shade = colour(number) if len(runs) > 1 else COLOURS[2]
            marks.append({"x": run.best, "text": f"best: {run.best}", "colour": shade})
    return marks


def rates(run: Ran, module: Module) -> Chart | None:
    """The learning rate at each update, as the schedule of the spec has it: each that differs."""
    total = max(1, run.steps)
    planned = int(run.file.values().get("steps", total))  # a run may have stopped earlier
    marks = {name: node for name, node in module.graph.marks.items() if name.rpartition("rate/")[1]}
    lines: dict[int, tuple[list[str], dict[int, float]]] = {}
    for name, node in marks.items():
        if id(node) in lines:
            lines[id(node)][0].append(name.rpartition("rate/")[2])
            continue
        points = sorted({1, *(1 + i * (total - 1) // RATES for i in range(RATES)), total})
        try:
            feeds = {"steps": planned, "observations": 1}
            values = {step: float(evaluate([node], {"step": step - 1, **feeds})[0]) for step in points}
        except (KeyError, ValueError):  # of more than the number of the update
            continue
        lines[id(node)] = [name.rpartition("rate/")[2]], values
    curves = [
        Curve(_many(names) if len(lines) > 1 else "learning rate", colour(i), values)
        for i, (names, values) in enumerate(lines.values())
    ]
    return Chart("learning rate", "update", curves) if curves else None


def _many(names: Sequence[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def norms(run: Ran) -> list[Chart]:
    """Lengths of gradients and weights by layer, on a logarithmic axis."""
    charts = []
    for title, kind in (("length of the gradients", "gradients"), ("length of the weights", "weights")):
        lines = by_layer(run.norms, kind)
        curves = [Curve(layer, colour(i), values, i >= len(COLOURS)) for i, (layer, values) in enumerate(lines.items())]
        if any(len(curve.values) > 1 for curve in curves):
            charts.append(Chart(title, "update", curves, log=True))
    return charts


def by_layer(lines: Iterable[Norms], kind: str) -> dict[str, dict[int, float]]:
    """Norms by update, of parameters one by one, or where these are many of layers, or of the layers around them."""
    lines = list(lines)
    names = list(dict.fromkeys(name for line in lines for name in getattr(line, kind)))
    depth = max((name.count(".") + 1 for name in names), default=0)
    keys = {name: name for name in names}
    while len(set(keys.values())) > LINES and depth > 1:
        depth -= 1
        keys = {
            name: ".".join(name.split(".")[:depth]) if name.count(".") >= depth else key for name, key in keys.items()
        }
    found: dict[str, dict[int, float]] = {}
    for line in lines:
        for name, value in getattr(line, kind).items():
            values = found.setdefault(keys[name], {})
            values[line.step] = values.get(line.step, 0.0) + value**2
    return {layer: {step: sqrt(value) for step, value in values.items()} for layer, values in found.items()}
