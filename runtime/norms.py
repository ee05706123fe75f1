"""How long gradients and weights are, parameter by parameter, noted while a run trains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from onnx import helper

from . import graphs
from .atomic import cannot_write, replacing
from .callbacks import Callback, Record
from .data import ArraySource, figure_batch
from .data.stream import StreamSource
from .failures import Error
from .file import Part
from .metadata import Norms, Unfit, build, parse
from .session import Session
from .state import promoted

if TYPE_CHECKING:
    from .train import Trainer

GRADIENT = "gradient/"  # before the path of a parameter: the name of its gradient in a file of ours
APART = 50  # updates: a note costs about one
ROWS = 64


class NormsFile(Callback):
    """One JSON object a line: Euclidean norms of `weights` and `gradients` by parameter, at the ends of epochs. The
    gradients are those of the loss with its penalties, before any clip, on the first rows of the first epoch: the same
    in every line.

    The first epoch is noted, and then one when there have been twice as many updates or 50 more, so that notes are
    less than a fiftieth of a training. What a step does stays as it is.
    """

    def __init__(self, path: Path, trainer: Trainer, source: ArraySource | StreamSource) -> None:
        """Keeps the lines that a resumed run goes on from. Raises `Error` E0748."""
        self.path, self.trainer, self.source = path, trainer, source
        self.first: dict[str, np.ndarray] | None = None  # the batch that gradients are of
        self.sessions: list[tuple[Part, list[str], Session]] | None = None
        known = [line for line in read(path) if line.step <= trainer.progress.step]
        self.due = _after(known[-1].step) if known else 0
        try:
            with replacing(path) as out:
                out.write(b"".join(_line(one) for one in known))
        except OSError as problem:
            raise cannot_write(path, problem) from None

    def on_epoch(self, record: Record) -> None:
        if record["step"] < self.due:
            return
        self.due = _after(record["step"])
        held = self.trainer._values.view()
        weights = {path: float(np.linalg.norm(held[path])) for path in self.trainer.file.parameters}
        try:
            with self.path.open("ab") as out:
                out.write(_line(Norms(record["epoch"], record["step"], weights, self._gradients())))
        except OSError as problem:
            raise cannot_write(self.path, problem) from None

    def _gradients(self) -> dict[str, float]:
        """Of the parameters whose gradient has its name in the file; none where a session of them does not run."""
        try:
            if self.sessions is None:
                self.sessions = [made for part in self.trainer.stage.parts if (made := self._session(part))]
            batch = self._batch() if self.sessions else {}
            found: dict[str, float] = {}
            for part, paths, session in self.sessions:
                feeds = {**self.trainer._values.feeds(part.index, session.inputs), **batch}
                norms = session.run(session.outputs, feeds)
                found.update((path, float(norm)) for path, norm in zip(paths, norms, strict=True))
            return found
        except (Error, MemoryError):  # a note is no reason to end a training
            self.sessions = []
            return {}

    def _batch(self) -> dict[str, np.ndarray]:
        """The first batch of the first epoch; of a large one its first rows, where any number of rows will do."""
        if self.first is not None:
            return self.first
        arrays, fields = dict(next(iter(self.source.batches(0))).arrays), self.source.columns.fields
        if not self.trainer.file.signature.rows and figure_batch(fields) is None:
            for field in fields:
                if field.rows is not None:
                    arrays[field.name] = arrays[field.name][(slice(None),) * field.rows + (slice(ROWS),)]
        self.first = {name: np.array(array) for name, array in arrays.items()}
        return self.first

    def _session(self, part: Part) -> tuple[Part, list[str], Session] | None:
        trainer = self.trainer
        made = {name for node in part.algorithm.node for name in node.output}
        paths = [path for path in trainer.file.parameters if GRADIENT + path in made]
        if not paths:
            return None
        names = [GRADIENT + path for path in paths]
        model = trainer.file.step(part, names, promoted(trainer.file, part.index))
        del model.graph.output[:]
        for path, name in zip(paths, names, strict=True):
            model.graph.node.add(op_type="ReduceL2", name=f"{name}/norm", input=[name], output=[f"{name}/norm"])
            model.graph.node[-1].attribute.append(helper.make_attribute("keepdims", 0))
            kind = graphs.element_of(trainer.slots[path].dtype)
            model.graph.output.append(helper.make_tensor_value_info(f"{name}/norm", kind, []))
        return part, paths, Session(model, trainer._how)


def read(path: Path) -> list[Norms]:
    """The lines of a file of norms, up to one that is not whole."""
    found: list[Norms] = []
    try:
        text = path.read_text("utf-8")
        for line in text.splitlines():
            found.append(build(parse(line), Norms))
    except (OSError, ValueError, Unfit):
        pass
    return found


def _after(step: int) -> int:
    """The update from which on the next note is due."""
    return step + min(step, APART)


def _line(one: Norms) -> bytes:
    return (json.dumps(vars(one)) + "\n").encode()
