"""Inputs and targets that a spec makes of columns of a table (`dlc.columns`): what their encodings need to know is
found in the training rows, kept in the file, and applied by the file's own nodes, here as in any other tool.

A step takes what these nodes make, once for all rows: `bare` takes them off a file, and whoever saves that saves the
whole (`CompiledFile.whole`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto, helper

from . import graphs
from .column import Column, Columns
from .data import Columns as Checked, Field, check, fields, load
from .data.check import check_shape, given, no_rows
from .data.images import pixels
from .data.iterated import over
from .data.raw import Raw, cells as raw_cells
from .data.shares import Fold, folds, places
from .encoding import PREFIX, characters, fit, raw_shape, state_name, unfitted
from .failures import Error, at_run_time
from .file import CompiledFile
from .memory import refuse_huge
from .metadata import Tensor
from .session import onnxruntime, sources

if TYPE_CHECKING:
    from .train import Trainer

KEY = "dlc.columns"
# What a file holds by its precision, and other values; in half precision, too, it holds float32.
KINDS = {"float64": TensorProto.DOUBLE, "int": TensorProto.INT64, "bool": TensorProto.BOOL}
TOKENS = 64  # words of a text, as far as memory is planned
SIZE = 1 << 22  # comparisons of cells with words at once
Cells = Mapping[str, Any]


class Table:
    """The columns of a file: it loads their cells, finds what their encodings need to know, encodes them, and decodes
    outputs to what such cells hold."""

    def __init__(self, whole: CompiledFile) -> None:
        self.whole = whole
        self.said: Columns = whole.columns or Columns({})
        entries = (*whole.signature.inputs, *whole.signature.targets, *whole.signature.outputs)
        self.entries: dict[str, Tensor] = {entry.name: entry for entry in entries}
        self.made = {name: column for name, column in self.said.of.items() if not column.plain}
        self.outputs = {column.output: name for name, column in self.made.items() if column.output}
        self._sessions: dict[str, Any] = {}

    @property
    def fitted(self) -> bool:
        """Whether the training rows were seen; true of columns that are taken as they stand."""
        return self.said.fitted > 0 or not self.made

    def names(self) -> dict[str, list[str]]:
        """Which columns make a field, as the setting `columns` says it."""
        return {name: list(column.names) for name, column in self.said.of.items()}

    def declared(self, name: str) -> ValueInfoProto:
        """An input, target or output as the spec declares it."""
        entry, precision = self.entries[name], self.whole.metadata.get("dlc.precision", "float32")
        kind = KINDS.get(precision if entry.dtype == "float" else entry.dtype, TensorProto.FLOAT)
        return helper.make_tensor_value_info(name, kind, list(entry.shape))

    # --- cells

    def load(
        self, data: object, taken: tuple[Field, ...], columns: Mapping[str, Sequence[str]] | None
    ) -> tuple[Cells, str]:
        """What `runtime.data.load` gives, and cells where columns are encoded. Raises `Error` as that does, E0692."""
        wanted = tuple(self.field(field) for field in taken)
        names = {**self.names(), **(columns or {})}
        loaded, where = load(data, wanted, names)
        found: dict[str, object] = {}
        for field in wanted:
            if isinstance(field, Raw) and field.name in loaded:
                own = raw_cells(field, given(field, loaded, where), where)
                check_shape(field, own, {}, where)
                if not len(own):
                    raise no_rows(where)
                if self.made[field.name].text:
                    own = _plain(field.name, self.made[field.name], own, where)
                elif "log1p" in self.made[field.name].encode and bool((own <= -1).any()):
                    raise Error(
                        "E0692",
                        f"`{field.name}` holds numbers of -1 or less, which have no `log1p`",
                        where=where,
                        notes=[f"found {own[own <= -1].flat[0]}"],
                        help="leave these rows out, or leave `log1p` out",
                    )
                found[field.name] = own
        return over(found, loaded), where

    def field(self, field: Field) -> Field:
        column = self.made.get(field.name)
        if column is None:
            return field
        kind = np.dtype(object if column.text or column.image else np.float64)
        shape = (field.shape[0], *raw_shape(column, len(field.shape)))
        gaps = column.missing is not None or column.tokens
        return Raw(field.name, kind, shape, 0, (), gaps=gaps, image=column.image)

    # --- what encodings know

    def fit(self, cells: Cells, rows: np.ndarray | None, where: str) -> CompiledFile:
        """The whole file with what its encodings know of these training rows (None: of all). Raises `Error` E0691,
        E0693."""
        states: dict[str, np.ndarray] = {}
        count = 1
        for name, column in self.made.items():
            if name not in cells:
                continue
            own = np.asarray(cells[name])
            own = own if rows is None else own[rows]
            count = len(own)
            found = fit(name, column, own, where, len(self.entries[name].shape))
            if column.words:
                self._refuse_many(name, column, found["words"].tolist(), where)
            states.update({state_name(name, what): value for what, value in found.items()})
        model = ModelProto()
        model.CopyFrom(self.whole.model)
        for graph in _graphs(model):
            for held in graph.initializer:
                if held.name in states:
                    held.CopyFrom(graphs.tensor(held.name, states[held.name]))
        for entry in model.metadata_props:
            if entry.key == KEY:
                entry.value = json.dumps(asdict(replace(self.said, fitted=count)), ensure_ascii=False)
        return CompiledFile(model, self.whole.name, check=False)

    def _refuse_many(self, name: str, column: Column, words: list[str], where: str) -> None:
        """E0693 where there are more words than the spec has room for."""
        entry, others = self.entries[name], 0 if column.target else 2 if column.tokens else 1
        if "one_hot" in column.encode:
            room = entry.shape[1] + 1 if isinstance(entry.shape[1], int) else math.inf
        else:
            highs = [one.high for one in entry.support or () if one.part is None and one.high is not None]
            room = min(highs, default=math.inf) + 1
        if len(words) <= room:
            return
        notes = [f"they are {', '.join(word for word in words[others:][:12])}{', ...' if len(words) > 12 else ''}"]
        if others and "vocabulary" in column.encode:
            notes.append("the place 0 is for words that no training row has")
        what = "characters" if "characters" in column.encode else "words"
        size = f"`float[batch, {len(words) - 1}]`" if "one_hot" in column.encode else f"a table of {len(words)}"
        raise Error(
            "E0693",
            f"`{name}` has {len(words) - others} {what} where the spec has room for {int(room) - others}",
            where=where,
            notes=notes,
            help=f"make it {size} in the spec",
        )

    def words(self, name: str) -> list[str]:
        """The words of a column in the order of their numbers."""
        wanted = state_name(name, "words")
        held = next(held for graph in _graphs(self.whole.model) for held in graph.initializer if held.name == wanted)
        return [text.decode() for text in held.string_data]

    # --- in and out

    def encode(self, cells: Cells, wanted: Sequence[Field], where: str) -> Cells:
        """What columns become. Raises `Error` E0690 before training, E0694 for a target of another word."""
        made: dict[str, object] = {}
        for field in wanted:
            column = self.made.get(field.name)
            if column is None or field.name not in cells:
                continue
            self._refuse_unfitted(field.name)
            own = np.asarray(cells[field.name])
            if column.words and column.target:
                self._refuse_unknown(field.name, own, where)
            if column.image:
                made[field.name] = self._images(field, own, where)
            else:
                made[field.name] = self._run(field.name, PREFIX + field.name, field.name, own)
        return over(made, cells)

    def decode(self, outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs, those that are called as the column of a target as that column is."""
        made = dict(outputs)
        for output in self.outputs:
            if output in made:
                self._refuse_unfitted(output)
                found = self._run(PREFIX + output, output, output, made[output])
                made[output] = found.astype(str) if found.dtype.kind == "O" else found
        return made

    def _images(self, field: Field, cells: np.ndarray, where: str) -> np.ndarray:
        """Images read, resized and scaled by the nodes of their column, those of one size that follow on each other
        together. Raises `Error` E0624, E0639, E0651."""
        name, shape = field.name, [size for size in self.entries[field.name].shape[1:] if isinstance(size, int)]
        size = len(cells) * math.prod(shape) * field.dtype.itemsize
        refuse_huge(size, str(where), f"the images of `{name}` do not", "resized")
        made = np.empty((len(cells), *shape), field.dtype)
        at = getattr(where, "at", None)
        base = Path(where) if at else Path()
        base = base if base.is_dir() else base.parent
        waiting: list[np.ndarray] = []
        for row in range(len(cells) + 1):
            one = None
            if row < len(cells):
                place = at(row) if at else f"{where}, row {row}"
                one = pixels(field, cells[row], shape[0], place, base)
            count = len(waiting)
            if waiting and (one is None or one.shape != waiting[0].shape or count * one.size >= SIZE):
                made[row - count : row] = self._run(name, PREFIX + name, name, np.stack(waiting))
                waiting = []
            if one is not None:
                waiting.append(one)
        return made

    def _run(self, source: str, output: str, name: str, own: np.ndarray) -> np.ndarray:
        """The nodes of a column, over rows in parts that take little memory."""
        session = self._sessions.get(name)
        if session is None:
            session = self._sessions[name] = self._session(source, output, name)
        column = self.made[self.outputs.get(name, name)]
        width = len(self.words(self.outputs.get(name, name))) if column.words else 1
        size = max(1, SIZE // (width * max(1, own[:1].size) * (TOKENS if column.tokens else 1)))
        parts = range(0, max(1, len(own)), size)
        cut = source == name and "characters" in column.encode
        try:
            made = []
            for at in parts:
                part = np.ascontiguousarray(own[at : at + size])
                made.append(session.run([output], {source: characters(part) if cut else part})[0])
        except Exception as problem:  # ONNX Runtime's exceptions have no common base
            raise at_run_time(problem, sources(self.whole.main)) from None
        if column.tokens and len(made) > 1:  # of a free dimension each part is as long as its longest text
            longest = max(one.shape[1] for one in made)
            made = [np.pad(one, ((0, 0), (0, longest - one.shape[1]))) for one in made]
        return np.concatenate(made)

    def _session(self, source: str, output: str, name: str) -> Any:
        graph = next(one for one in _graphs(self.whole.model) if any(_of(name, node.name) for node in one.node))
        model = ModelProto(ir_version=self.whole.model.ir_version)
        model.opset_import.extend(self.whole.model.opset_import)
        model.graph.name = name
        model.graph.node.extend(node for node in graph.node if _of(name, node.name))
        read = {one for node in model.graph.node for one in graphs.reads(node)}
        held = {one.name: one for part in (graph, self.whole.main) for one in part.initializer if one.name in read}
        model.graph.initializer.extend(held.values())
        inner = self.declared(name)
        inner.name = PREFIX + name
        outer = next(one for one in (*graph.input, *graph.output) if one.name == name)
        model.graph.input.append(outer if source == name else inner)
        model.graph.output.append(inner if source == name else outer)
        module = onnxruntime()
        options = module.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        return module.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def _refuse_unfitted(self, name: str) -> None:
        if not self.fitted:
            raise Error(
                "E0690",
                f"the file has seen no table yet: what `{name}` means is found in the training rows",
                where=self.whole.name,
                help="train it first: dlc train, or trainer.fit(data)",
            )

    def _refuse_unknown(self, name: str, cells: np.ndarray, where: str) -> None:
        known = self.words(name)
        wrong = ~np.isin(cells.astype(str), known)
        if wrong.any():
            row = int(np.argmax(wrong.reshape(len(cells), -1).any(axis=1)))
            at = getattr(where, "at", None)
            raise Error(
                "E0694",
                f"`{str(cells[wrong].flat[0])[:40]}` is no word that the training rows have for `{name}`",
                where=at(row) if at else where,
                notes=["they have " + ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")],
                help="leave these rows out, or train with rows of it",
            )


def bare(file: CompiledFile) -> CompiledFile:
    """A file whose graphs take what its columns become, under the names of the inputs, and give its outputs as indices
    and numbers; the file itself where none is encoded. Its `table` is the whole."""
    if file.columns is None:
        return file
    file = CompiledFile(file.model, file.name, check=False, stale=file.stale)  # its words are among the values
    table = Table(file)
    model = ModelProto()
    model.CopyFrom(file.model)
    inner = {PREFIX + name: name for name in (*table.made, *table.outputs)}
    for graph in _graphs(model):
        nodes = [node for node in graph.node if not node.name.startswith(PREFIX)]
        for node in nodes:
            graphs.rename(node, inner)
            for at, name in enumerate(node.output):
                node.output[at] = inner.get(name, name)
        held = [one for one in graph.initializer if not one.name.startswith(PREFIX)]
        for field, kept in (("node", nodes), ("initializer", held)):
            copies = [one.SerializeToString() for one in kept]
            graph.ClearField(field)
            for data in copies:
                getattr(graph, field).add().ParseFromString(data)
        for value in (*graph.input, *graph.output):
            if value.name in table.made or value.name in table.outputs:
                value.CopyFrom(table.declared(value.name))
    made = CompiledFile(model, file.name, check=False, stale=file.stale)
    made.table = table
    return made


def verify(file: CompiledFile) -> None:
    """Whether `dlc.columns` fits the graphs. Raises `Error` E0776."""
    table = Table(file)
    made = {name for graph in _graphs(file.model) for node in graph.node for name in node.output}
    held = {one.name for graph in _graphs(file.model) for one in graph.initializer}
    there = {value.name for graph in _graphs(file.model) for value in (*graph.input, *graph.output)}
    for name in (*table.said.of, *table.outputs):
        lacks = name not in table.entries or (name in there and name not in table.said.of and name not in made)
        if name in table.made and name in there:
            states = unfitted(table.made[name], len(table.entries[name].shape)) if not lacks else {}
            lacks = lacks or PREFIX + name not in made or not held.issuperset(state_name(name, one) for one in states)
        if lacks:
            raise Error(
                "E0776",
                f"the metadata `{KEY}` does not fit the graphs: `{name}`",
                where=file.name,
                notes=["an input that is made of columns has nodes that encode them"],
                help="compile the spec again",
            )


def _plain(name: str, column: Column, cells: np.ndarray, where: str) -> np.ndarray:
    """Texts with single blanks between words, and dates as YYYY-MM-DD. Raises `Error` E0697."""
    if "words" in column.encode:
        return np.array([" ".join(cell.split()) for cell in cells.tolist()], object)
    if "date" not in column.encode:
        return cells
    cells = np.array([cell[:10] for cell in cells.tolist()], object)
    for row, cell in enumerate(cells.tolist()):
        try:
            sound = re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", cell) is not None
            np.datetime64(cell, "D")
        except ValueError:
            sound = False
        if not sound:
            at = getattr(where, "at", None)
            raise Error(
                "E0697",
                f"`{cell}` in `{name}` is not a date",
                where=at(row) if at else where,
                notes=["expected YYYY-MM-DD, as in 2026-01-31"],
                help="write the date so in the table, or leave these rows out",
            )
    return cells


def _of(name: str, node: str) -> bool:
    return node.startswith(f"{PREFIX}{name}/")


def _graphs(model: ModelProto) -> Iterator[GraphProto]:
    yield model.graph
    for info in model.training_info:
        yield info.algorithm


def loaded(
    trainer: Trainer,
    data: object,
    wanted: tuple[Field, ...],
    *,
    fits: bool = False,
    share: tuple[float, float] | None = None,
    fold: Fold | None = None,
) -> tuple[Cells, str]:
    """Data as the graphs take them, not yet checked, and where they are from. With `fits` a file that has seen no table
    yet finds out what its encodings need to know: in all rows, or in those that a `share` for validation and one to
    test leave. Each `fold` of a cross-validation finds it in its own."""
    columns, table = trainer.stage.settings.get("columns"), trainer.file.table
    if isinstance(data, Checked):
        return data.arrays, data.where
    if table is None:
        return load(data, wanted, columns)
    fits = fits and (not table.fitted or (fold is not None and not trainer.file.trained))
    cells, where = table.load(data, (*wanted, *(_others(trainer.file, wanted) if fits else ())), columns)
    if fits:
        count = max((len(np.asarray(own)) for name, own in cells.items() if name in table.made), default=0)
        rows = None if share is None else places(count, trainer.seed, *share, where)[0]
        if rows is not None and fold is not None:
            known = Checked(wanted, {one.name: cells[one.name] for one in wanted if one.name in cells}, count, where)
            rows = rows[folds(known, rows, fold, trainer.file.signature.batch or "") != fold.index]
        rows = None if rows is None else np.sort(rows)
        trainer.file = bare(table.fit(cells, rows, where))
        table = trainer.file.table or table
    return table.encode(cells, wanted, where), where


def _others(file: CompiledFile, wanted: tuple[Field, ...]) -> tuple[Field, ...]:
    """The fields of encoded columns beside these: of what only a prediction takes."""
    known = {field.name for field in wanted}
    there = dict.fromkeys(value.name for graph in _graphs(file.model) for value in graph.input)
    return fields(
        file, [name for name in there if name in (file.table.made if file.table else ()) and name not in known]
    )


def read(
    trainer: Trainer,
    data: object,
    wanted: tuple[Field, ...],
    *,
    fits: bool = False,
    share: tuple[float, float] | None = None,
    fold: Fold | None = None,
) -> Checked:
    """The same, checked. Raises `Error` E06xx."""
    found, where = loaded(trainer, data, wanted, fits=fits, share=share, fold=fold)
    return check(found, wanted, where)
