"""Figures over many batches: what each batch gives is combined in float64, then closed by the file's own arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from . import graphs
from .file import CompiledFile, Part, Stage
from .metadata import Figure
from .session import Options, Session
from .state import State, Stepper, promoted

COMBINE: dict[str, Callable[..., np.ndarray]] = {"sum": np.add, "min": np.minimum, "max": np.maximum}


class Closing:
    """The closing arithmetic of `values` (figure -> output), which reads the totals of `parts` and state."""

    def __init__(
        self,
        file: CompiledFile,
        part: Part,
        state: State,
        parts: Sequence[Figure],
        values: Mapping[str, str],
        fused: bool,
    ) -> None:
        self.state, self.part, self.parts, self.values = state, part.index, parts, values
        promote = promoted(file, part.index) | {one.total for one in parts}
        self._asked = list(dict.fromkeys(values.values()))
        model = file.step(part, self._asked, promote)
        self._session = Session(model, Options("cpu", 1, fused))
        self.inputs = self._session.inputs

    def __call__(self, totals: Sequence[object]) -> dict[str, np.ndarray]:
        """The figures and tables, from a total for each part."""
        types = self._session.types
        feeds = {
            one.total: np.asarray(value, types[one.total])
            for one, value in zip(self.parts, totals, strict=True)
            if one.total in types
        }
        held = {n: self.state.read(s) for n in self.inputs if (s := self.state.name(self.part, n))}
        closed = dict(zip(self._asked, self._session.run(self._asked, {**held, **feeds}), strict=True))
        return {name: np.asarray(closed[output]) for name, output in self.values.items()}


class OfAllRows:
    """The arithmetic of figures that read all rows at once, behind what of each row is `kept`."""

    def __init__(
        self, file: CompiledFile, part: Part, state: State, kept: Sequence[str], values: Mapping[str, str], fused: bool
    ) -> None:
        self.state, self.part, self.kept, self.values = state, part.index, kept, values
        self._asked = list(dict.fromkeys(values.values()))
        inner = [value for value in part.algorithm.output if value.name in kept]
        model = file.step(part, self._asked, promoted(file, part.index))
        graphs.cut(model, inner)
        self._session = Session(model, Options("cpu", 1, fused))
        self.inputs = self._session.inputs

    def __call__(self, kept: Mapping[str, np.ndarray], data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The figures, from what is kept of all rows in order; `data` where a figure asks how many there are."""
        feeds = {n: kept[n] if n in kept else data[n] for n in self.inputs if n in kept or n in data}
        held = {n: self.state.read(s) for n in self.inputs if n not in feeds and (s := self.state.name(self.part, n))}
        closed = dict(zip(self._asked, self._session.run(self._asked, {**held, **feeds}), strict=True))
        return {name: np.asarray(closed[output]) for name, output in self.values.items()}


def figures(values: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Those that are single numbers; -0.0 is written 0.0."""
    return {name: float(value) + 0.0 for name, value in values.items() if not value.ndim}


class EpochFigures:
    """The figures of a training epoch from those of its steps: `shown` are their names.

    A file says of each how it combines (docs/file-format.md); of one that does not they are means, weighed by rows.
    """

    def __init__(self, file: CompiledFile, state: State, stepper: Stepper, fused: bool, stage: Stage) -> None:
        plan = file.evaluation.train if file.evaluation else None
        names, self._closing, self._stepper = stepper.figures, None, stepper
        self.hows = ["mean"] * len(names)
        self.shown = list(names)
        if plan is not None:
            self.hows = [plan.figures.get(name, "none") for name in names] + [one.reduce for one in plan.parts]
            self.shown = [name for name in names if name in plan.figures or name in plan.values]
            if plan.values:
                self._closing = Closing(file, file.parts[0], state, plan.parts, plan.values, fused)
        firsts = [turn.loss for turn in stage.turns if turn.loss in self.shown]  # losses that take turns come first
        self.shown = list(dict.fromkeys([*firsts, *self.shown]))
        self._names = [(i, name) for i, name in enumerate(names) if self.hows[i] != "none"]
        # Where losses take turns a figure is not of every step, and the rows of each are counted beside its total.
        self._counted = any(turn.every > 1 or turn.first > 1 for turn in stage.turns)
        self.count = len(self.hows) * (2 if self._counted else 1)  # of the numbers that are added up
        self._means = all(how == "mean" for how in self.hows)

    def add(self, sums: list[float], values: Sequence[float], rows: int) -> None:
        """Adds the values of a step to `sums`, which an epoch begins with empty."""
        if self._counted:
            self._add_counted(sums, values, rows)
        elif not sums:
            sums += [value * rows if how == "mean" else value for how, value in zip(self.hows, values, strict=True)]
        elif self._means:
            for i, value in enumerate(values):
                sums[i] += value * rows
        else:
            for i, (how, value) in enumerate(zip(self.hows, values, strict=True)):
                if how == "mean":
                    sums[i] += value * rows
                elif how != "none":
                    sums[i] = float(COMBINE[how](sums[i], value))

    def _add_counted(self, sums: list[float], values: Sequence[float], rows: int) -> None:
        count, skipped = len(self.hows), self._stepper.skipped
        if not sums:
            sums += [0.0] * (2 * count)
        for i, (how, value) in enumerate(zip(self.hows, values, strict=True)):
            if i not in skipped:
                if not sums[count + i] or how == "none":
                    sums[i] = value * rows if how == "mean" else value
                else:
                    sums[i] = sums[i] + value * rows if how == "mean" else float(COMBINE[how](sums[i], value))
                sums[count + i] += rows

    def close(self, sums: Sequence[float], rows: int) -> dict[str, float]:
        """The figures of so many rows; of those that no step gave none."""
        if self._counted:
            count = len(self.hows)
            pairs = zip(self.hows, sums, sums[count:], strict=False)
            totals = [total / n if how == "mean" and n else total for how, total, n in pairs]
            found = {name: totals[i] for i, name in self._names if sums[count + i]}
            if self._closing is not None and sums[2 * count - 1]:
                found.update(figures(self._closing(totals[len(totals) - len(self._closing.parts) :])))
            return {name: found[name] for name in self.shown if name in found}
        totals = [total / rows if how == "mean" else total for how, total in zip(self.hows, sums, strict=True)]
        found = {name: totals[i] for i, name in self._names}
        if self._closing is not None:
            found.update(figures(self._closing(totals[len(totals) - len(self._closing.parts) :])))
        return {name: found[name] for name in self.shown}
