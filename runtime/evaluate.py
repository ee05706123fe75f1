"""Figures over a whole data set, and predictions: sessions cut from the same file by the outputs they ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from onnx import numpy_helper

from . import graphs, random
from .closing import COMBINE, Closing, OfAllRows, figures
from .data import Batch, Columns, Field, check, fields, figure_batch, sweep
from .failures import Error
from .file import CompiledFile, Part
from .metadata import Evaluation
from .session import Options, Session
from .state import State, figure_names, promoted

BYTES = 1 << 20  # data of one evaluation batch, where the training batch is not larger
LARGEST = 1024  # rows


def batch_for(columns: Columns, batch: int) -> int:
    """Rows of an evaluation batch: few calls, little memory."""
    size = max(1, sum(a.nbytes for a in columns.arrays.values()) // columns.rows)
    return max(batch, min(LARGEST, BYTES // size))


def fit_batch(columns: Columns, batch: int) -> int:
    """`batch`, or the one size that the graph takes. Raises `Error` E0632 where rows would be left over."""
    fixed = figure_batch(columns.fields)
    if fixed is None:
        return batch
    if columns.rows % fixed:
        raise Error(
            "E0632",
            f"the file takes batches of exactly {fixed} rows, and {columns.rows} is not a multiple of that",
            where=columns.where,
            notes=[f"{columns.rows % fixed} rows would be left over"],
            help=f"give a multiple of {fixed} rows, or write the file with a free batch dimension",
        )
    return fixed


def _fed(
    batches: Iterator[Batch], held: Mapping[str, Any], key: np.ndarray | None
) -> Iterator[tuple[dict[str, Any], int]]:
    """What to feed for each batch, and its rows. Each batch that draws does so with a key of its own: with one for all
    their draws would be the same."""
    row = 0
    for part in batches:
        own = {} if key is None else {"key": np.array(random.batch_key(int(key), row), np.uint64)}
        yield {**held, **part.arrays, **own}, part.rows
        row += part.rows


class Evaluator:
    """The loss and the metrics over a data set, from parts that add up over batches (docs/file-format.md).

    A foreign file says nothing of evaluation: there the numbers a step reports are averaged over rows.
    """

    def __init__(self, file: CompiledFile, state: State, how: Options, plan: Evaluation | None = None) -> None:
        """`plan`: another than that of the file."""
        if not file.parts:
            raise Error(
                "E0715",
                "this file predicts only: it has no training_info",
                where=file.name,
                help="compile the spec with a `train` block, and do not export it with `--inference`",
            )
        self.state, self.plan = state, plan or file.evaluation
        outputs = [one.part for one in self.plan.parts] if self.plan else figure_names(file.parts[0])
        outputs += self.plan.kept if self.plan else ()
        holder = next(
            (p for p in file.parts if {v.name for v in p.algorithm.output}.issuperset(outputs)), file.parts[0]
        )
        self.part = holder.index
        promote = promoted(file, self.part)
        model = file.step(holder, outputs, promote)
        self.session = Session(model, how)
        self.outputs = outputs
        self.names = [*self.plan.values, *self.plan.of_kept] if self.plan else outputs
        self.key = state.name(self.part, "key") if file.ours and "key" in self.session.inputs else None
        data = [name for name in self.session.inputs if state.name(self.part, name) is None]
        self.fields: tuple[Field, ...] = fields(file, data)
        self.closing: Closing | None = None
        self.of_all: OfAllRows | None = None
        if self.plan:
            values = {**self.plan.values, **self.plan.tables}
            self.closing = Closing(file, holder, state, self.plan.parts, values, how.fused)
            if self.plan.of_kept:
                self.of_all = OfAllRows(file, holder, state, self.plan.kept, self.plan.of_kept, how.fused)
        self.reads = {*self.session.inputs, *(self.closing.inputs if self.closing else ())}  # state included

    def run(self, columns: Columns, batch: int) -> dict[str, float]:
        """Each figure over all rows."""
        return figures(self.values(columns, batch))

    def values(self, columns: Columns, batch: int) -> dict[str, np.ndarray]:
        """Each figure and each table over all rows; parts are combined in float64, then closed by the file's own
        arithmetic. What figures keep of all rows stays in memory until then."""
        batches = sweep(columns, fit_batch(columns, batch_for(columns, batch)))
        held = self.state.feeds(self.part, self.session.inputs)
        key = self.state.read(self.key) if self.key is not None else None
        results = [(self.session.run(self.outputs, feeds), rows) for feeds, rows in _fed(batches, held, key)]
        if self.plan is None or self.closing is None:
            return {
                name: np.asarray(
                    sum(float(np.reshape(values[i], ())) * rows for values, rows in results) / columns.rows
                )
                for i, name in enumerate(self.names)
            }
        totals = []
        for i, part in enumerate(self.plan.parts):
            value = np.asarray(results[0][0][i], np.float64)
            for values, _ in results[1:]:
                value = COMBINE[part.reduce](value, values[i])
            totals.append(value)
        found = self.closing(totals)
        if self.of_all is not None:
            first = len(self.plan.parts)
            kept = {
                name: np.concatenate([values[first + i] for values, _ in results])
                for i, name in enumerate(self.plan.kept)
            }
            found.update(self.of_all(kept, columns.arrays))
        order = [*self.names, *self.plan.tables]
        return {name: found[name] for name in sorted(found, key=order.index)}


class Predictor:
    """The main graph's outputs for rows of data; of an ensemble `each` member's too."""

    def __init__(self, file: CompiledFile, state: State, how: Options, each: bool = False) -> None:
        self.state = state
        shapes = {value.name: graphs.shape_of(value) for value in file.main.output}
        self.outputs = list(shapes)
        if not self.outputs:
            raise Error(
                "E0705",
                "this file predicts nothing: it has no output",
                where=file.name,
                help="state one in the spec, as `output NAME = VALUE`, and compile it again",
            )
        if file.ensemble is not None and not each:
            self.outputs = [name for name in self.outputs if not name.endswith(".members")]
        # A file that never trains has no state, but it may draw.
        self.keys = {
            held.name: numpy_helper.to_array(held) for held in file.main.initializer if file.ours and held.name == "key"
        }
        model = file.step(None, self.outputs, promoted(file, None) | self.keys.keys())
        self.session = Session(model, how)
        data = [name for name in self.session.inputs if state.name(None, name) is None and name not in self.keys]
        self.fields = fields(file, data)
        names = {f.shape[f.rows] for f in self.fields if f.rows is not None}
        self.rows = {name: _row_axis(shape, names) for name, shape in shapes.items()}
        self.drawer = Drawer.of(file, state, how, self.fields)
        self.calls = 0

    def needed(self) -> tuple[Field, ...]:
        """The fields that the data must have: not those that can be drawn."""
        drawn = self.drawer.outputs if self.drawer else {}
        return tuple(field for field in self.fields if field.name not in drawn)

    def run(
        self, data: Mapping[str, object], where: str, batch: int, rows: int | None = None, seed: int | None = None
    ) -> dict[str, np.ndarray]:
        """Outputs by name, each with its row dimension over all rows. Each call draws anew, or as the seed says; `rows`
        are those to draw where no data say how many. Raises `Error` E06xx."""
        slot = self.state.name(None, "key") or (self.drawer.key if self.drawer else None)
        key = self.state.read(slot) if slot is not None else self.keys.get("key")
        if key is not None:
            number = random.fold(random.K0, seed) if seed is not None else random.call_key(int(key), self.calls)
            key, self.calls = np.array(number, np.uint64), self.calls + (seed is None)
        if self.drawer is not None and key is not None:
            data = self.drawer.complete(data, where, rows, key)
        columns = check(data, self.fields, where)
        # What has no row dimension is over all rows together, so they go in one batch.
        whole = None in self.rows.values() or len(columns.counts) > 1
        batches = sweep(columns, fit_batch(columns, columns.rows if whole else batch_for(columns, batch)))
        held = self.state.feeds(None, self.session.inputs)
        key = key if "key" in self.session.inputs else None
        results = [self.session.run(self.outputs, feeds) for feeds, _ in _fed(batches, held, key)]
        made = {}
        for i, name in enumerate(self.outputs):
            axis = self.rows[name]
            parts = [result[i] for result in results]
            made[name] = parts[0] if axis is None or len(parts) == 1 else np.concatenate(parts, axis=axis)
        return made


class Drawer:
    """Draws inputs that have a distribution, where the data of a prediction lack them: by outputs of the algorithm that
    take their sizes from what is fed in their place."""

    def __init__(
        self,
        file: CompiledFile,
        state: State,
        how: Options,
        part: Part,
        outputs: dict[str, str],
        others: tuple[Field, ...],
    ) -> None:
        self.state, self.part, self.outputs, self.others = state, part.index, outputs, others
        model = file.step(part, outputs.values(), promoted(file, part.index))
        self.session = Session(model, how)
        self.key = state.name(part.index, "key")
        data = [name for name in self.session.inputs if state.name(part.index, name) is None]
        self.fields = {field.name: field for field in fields(file, [*outputs, *(n for n in data if n not in outputs)])}

    @classmethod
    def of(cls, file: CompiledFile, state: State, how: Options, wanted: tuple[Field, ...]) -> Drawer | None:
        named = {one.name: one.drawn for one in file.signature.inputs if one.drawn is not None}
        for part in file.parts:
            there = {value.name for value in part.algorithm.output}
            outputs = {f.name: named[f.name] for f in wanted if f.name in named and named[f.name] in there}
            if outputs:
                return cls(file, state, how, part, outputs, wanted)
        return None

    def complete(
        self, data: Mapping[str, object], where: str, rows: int | None, key: np.ndarray
    ) -> Mapping[str, object]:
        """The data with what they lack. Raises `Error` E0636 where nothing says how many rows, or how long."""
        lacking = {name: output for name, output in self.outputs.items() if name not in data}
        if not lacking:
            return data
        sizes: dict[int | str | None, int] = {}  # what the predictor takes beside, and what the distribution is made of
        for field in (*self.others, *self.fields.values()):
            if field.name in data:
                sizes.update(zip(field.shape, np.asarray(data[field.name]).shape, strict=False))
        own = tuple(field for name, field in self.fields.items() if name not in self.outputs)
        feeds: dict[str, object] = dict(check(data, own, where).arrays)
        for name in lacking:
            field = self.fields[name]
            if field.rows is not None and rows is not None:
                sizes.setdefault(field.shape[field.rows], rows)
            shape = [size if isinstance(size, int) else sizes.get(size, -1) for size in field.shape]
            if -1 in shape:
                raise Error(
                    "E0636",
                    f"nothing says how many `{name}` to draw",
                    where=where,
                    notes=[f"`{name}: {field}` is drawn where the data have none"],
                    help="say how many rows: trainer.predict({}, rows=16), or `--rows 16`; or give the values",
                )
            feeds[name] = np.zeros(shape, field.dtype)
        held = self.state.feeds(self.part, self.session.inputs)
        if self.key is not None and "key" in self.session.inputs:
            held["key"] = key
        feeds = {name: value for name, value in feeds.items() if name in self.session.inputs}
        made = self.session.run(list(lacking.values()), {**held, **feeds})
        return {**data, **dict(zip(lacking, made, strict=True))}


def _row_axis(shape: graphs.Shape | None, names: set[int | str | None]) -> int | None:
    """Where the rows are in an output: the dimension that has the inputs' name for them."""
    if not shape:
        return None
    return next((axis for axis, size in enumerate(shape) if size in names), 0 if shape[0] is None else None)
