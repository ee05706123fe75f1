"""Figures of training for other tools: CSV, TensorBoard, MLflow, Weights & Biases. Each is a callback of `fit`; none is
imported before it is used, and nothing is sent anywhere unless the tool was told where.

    trainer.fit(data, callbacks=[TensorBoard("logs"), Updates(TensorBoard("logs"), every=10)])

A run has `metrics.jsonl` in any case.
"""

from __future__ import annotations

import csv
import importlib
import io
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .atomic import cannot_write
from .callbacks import Callback, Figures, History, Record, Start
from .failures import Error

EXTRAS = {"tensorboardX": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}  # distribution or module -> its extra


# What tells their makers of their use, off unless it is asked for.
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "WANDB_ERROR_REPORTING": "false"}


def library(name: str) -> Any:
    """A library of a logger. Raises `Error` E0663 where it is not installed."""
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    try:
        return importlib.import_module(name)
    except ImportError:
        raise Error(
            "E0663", f"`{name}` is not installed: it logs the run", help=f'pip install "dlc-compiler[{EXTRAS[name]}]"'
        ) from None


def named(record: Mapping[str, Any]) -> dict[str, float]:
    """The figures of an epoch as `train/loss`, `validation/loss`."""
    return {
        f"{side}/{name}": value for side in ("train", "validation") for name, value in (record.get(side) or {}).items()
    }


class Logger(Callback):
    """Writes the figures of each epoch, at the number of its last update. `folder` is where, by default the folder of
    the run. Subclasses say how: `open`, `write`, `close`.

        >>> from dlc.runtime.loggers import Logger
        >>> class Lines(Logger):
        ...     def write(self, step, figures):
        ...         print(step, sorted(figures))
        >>> trainer = dlc.fit("specs/xor.dl", epochs=2, callbacks=[Lines()])
        1 ['epoch', 'train/accuracy', 'train/loss']
        2 ['epoch', 'train/accuracy', 'train/loss']
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = Path(folder) if folder is not None else None
        self.start: Start | None = None

    def on_start(self, start: Start) -> None:
        if self.start is None:  # folds and members begin more than once
            self.start = start
            self.open(start, self.folder or start.run or Path())

    def on_epoch(self, record: Record) -> None:
        told: Mapping[str, Any] = record
        marks = {name: float(told[name]) for name in ("fold", "member") if name in told}
        self.write(record["step"], {"epoch": float(record["epoch"]), **marks, **named(told)})

    def on_end(self, history: History) -> None:
        if history.test is not None:
            self.write(history.steps, {f"test/{name}": value for name, value in history.test.items()})
        self.close()

    def open(self, start: Start, folder: Path) -> None:
        """Before the first figure."""

    def write(self, step: int, figures: Figures) -> None:
        """Figures after update number `step`."""

    def close(self) -> None:
        """After the last figure of a training that came to its end."""


class Updates(Callback):
    """Tells a logger the figures of every n-th update too, which are otherwise read for the sums of an epoch only.

    >>> from dlc.runtime.loggers import CSV, Updates
    >>> logger = CSV(".")
    >>> trainer = dlc.fit("specs/xor.dl", epochs=6, callbacks=[logger, Updates(logger, every=3)])
    """

    def __init__(self, logger: Logger, every: int = 1) -> None:
        self.logger, self.every = logger, every

    def on_step(self, step: int, figures: Figures) -> None:
        if step % self.every == 0:
            self.logger.write(step, {f"update/{name}": value for name, value in figures.items()})


class CSV(Logger):
    """`metrics.csv`: a row for each epoch, columns `step`, `epoch`, `train/loss`, ... A figure that the first row does
    not have goes into no column; a run that is resumed goes on in the file, less the rows that are done again.

        >>> from dlc.runtime.loggers import CSV
        >>> trainer = dlc.fit("specs/xor.dl", epochs=2, callbacks=[CSV(".")])
        >>> print(open("metrics.csv").readline().strip())
        step,epoch,train/loss,train/accuracy
    """

    def open(self, start: Start, folder: Path) -> None:
        self.path, self.names = folder / "metrics.csv", list[str]()
        if start.step and self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as file:
                head, *rows = list(csv.reader(file)) or [[]]
            self.names = head[1:]
            kept = [row for row in rows if row and row[0].isdigit() and int(row[0]) <= start.step]
            self._put([head, *kept], "w")

    def write(self, step: int, figures: Figures) -> None:
        if not self.names:
            self.names = list(figures)
            self._put([["step", *self.names]], "w")
        if any(name in self.names for name in figures):
            self._put([[step, *(figures.get(name, "") for name in self.names)]], "a")

    def _put(self, rows: list[list[Any]], mode: str) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        try:
            with self.path.open(mode, encoding="utf-8", newline="") as out:
                out.write(text.getvalue())
        except OSError as problem:
            raise cannot_write(self.path, problem) from None


class TensorBoard(Logger):
    """Event files in `tensorboard/` of the folder, by tensorboardX: each figure is in the file when `write` returns,
    which its own SummaryWriter, with a thread and a queue, does not say. Raises `Error` E0663 without it.

        >>> from dlc.runtime.loggers import TensorBoard
        >>> trainer = dlc.fit("specs/xor.dl", epochs=2, callbacks=[TensorBoard(".")])
        >>> import pathlib
        >>> [path.name.split(".")[0] for path in pathlib.Path("tensorboard").iterdir()]
        ['events']
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        super().__init__(folder)
        self.library = library("tensorboardX")

    def open(self, start: Start, folder: Path) -> None:
        writers = importlib.import_module("tensorboardX.event_file_writer")
        self.proto = importlib.import_module("tensorboardX.proto.event_pb2")
        folder = folder / "tensorboard"
        number = len(list(folder.iterdir())) if folder.is_dir() else 0  # else a run of the same second is overwritten
        writers.directory_check(str(folder))
        self.writer = writers.EventsWriter(str(folder / "events"), f".{number}")
        if start.step:  # what comes after this update in earlier files is done again
            begun = self.proto.SessionLog(status=self.proto.SessionLog.START)
            self._add(self.proto.Event(step=start.step + 1, session_log=begun))

    def write(self, step: int, figures: Figures) -> None:
        scalar = self.library.summary.scalar
        for name, value in figures.items():
            self._add(self.proto.Event(step=step, summary=scalar(name, value)))
        self.writer.flush()

    def _add(self, event: Any) -> None:
        event.wall_time = time.time()
        self.writer.write_event(event)

    def close(self) -> None:
        self.writer.close()


class MLflow(Logger):
    """A run of MLflow, under the model's name, in `mlruns.db` of the folder unless MLFLOW_TRACKING_URI says where. A
    training that is resumed goes on in its run. Raises `Error` E0663 without it.

        >>> from dlc.runtime.loggers import MLflow
        >>> trainer = dlc.fit("specs/xor.dl", epochs=2, callbacks=[MLflow(".")])
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        super().__init__(folder)
        self.library = library("mlflow")

    def open(self, start: Start, folder: Path) -> None:
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        tracking = importlib.import_module("mlflow.tracking")
        where = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(folder / 'mlruns.db').absolute()}"
        self.client = tracking.MlflowClient(where)
        known = self.client.get_experiment_by_name(start.title)
        held = folder / "mlflow.run"
        if start.step and held.is_file():
            self.run = held.read_text("utf-8").strip()
            return
        experiment = known.experiment_id if known is not None else self.client.create_experiment(start.title)
        self.run = self.client.create_run(experiment, run_name=folder.name).info.run_id
        held.write_text(self.run, "utf-8")
        for name in ("device", "seed", "rows", "validation_rows", "batch"):
            self.client.log_param(self.run, name, getattr(start, name))

    def write(self, step: int, figures: Figures) -> None:
        for name, value in figures.items():
            self.client.log_metric(self.run, name, value, step=step)

    def close(self) -> None:
        self.client.set_terminated(self.run)


class WandB(Logger):
    """A run of Weights & Biases in `wandb/` of the folder. It is kept there (`wandb sync FOLDER/wandb/offline-run-...`
    sends it) unless WANDB_MODE says `online`. Raises `Error` E0663 without it.

        >>> from dlc.runtime.loggers import WandB
        >>> trainer = dlc.fit("specs/xor.dl", epochs=2, callbacks=[WandB(".")])
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        super().__init__(folder)
        self.library = library("wandb")

    def open(self, start: Start, folder: Path) -> None:
        mode = os.environ.get("WANDB_MODE", "offline")
        settings = self.library.Settings(silent=True, console="off", disable_git=True)
        config = {name: getattr(start, name) for name in ("device", "seed", "rows", "validation_rows", "batch")}
        self.run = self.library.init(
            project=start.title, name=folder.name, dir=str(folder), mode=mode, config=config, settings=settings
        )

    def write(self, step: int, figures: Figures) -> None:
        self.run.log(dict(figures), step=step)

    def close(self) -> None:
        self.run.finish()


LOGGERS: dict[str, type[Logger]] = {"csv": CSV, "tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB}
