"""How training shows itself: a bar on a terminal, a line an epoch in a pipe, JSON for programs; less where that is
asked for."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlc.runtime.callbacks import Callback, Figures, History, Record, Start, figure
from dlc.runtime.failures import plain
from dlc.runtime.legs import mean as mean_of, report as summary

from . import report

PAUSE = 0.1  # seconds between drawings of the bar
NARROW = 90  # columns


def figures(record: Mapping[str, Any]) -> str:
    """`train loss 0.0312  validation loss 0.0712 accuracy 0.9805`"""
    parts = []
    for side in ("train", "validation", "test"):
        known = record.get(side)
        if known:
            parts.append(f"{side} {_listed(known)}")
    return "  ".join(parts)


def outcomes(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each fold, or member of an ensemble, and one with means and standard deviations."""
    summed = summary(results)
    what = "fold" if "folds" in summed else "member"
    width = len(str(len(summed[f"{what}s"])))
    lines = [f"{what} {one[what]:>{width}}: epoch {one['epoch']}  {figures(one)}" for one in summed[f"{what}s"]]
    spreads = []
    for side, mean in summed["mean"].items():
        std = summed["std"][side]
        spreads.append(
            f"{side} " + " ".join(f"{name} {figure(mean[name], 4)} ± {figure(std[name], 2)}" for name in mean)
        )
    return [*lines, "mean" + " " * (len(what) + width - 3) + ": " + "  ".join(spreads)]


def _listed(known: Figures) -> str:
    return " ".join(f"{name} {figure(value, 4)}" for name, value in known.items())


def opening(start: Start) -> str:
    rows = (f"{start.rows:,} rows" if start.rows else "rows that are drawn") + (
        f", {start.validation_rows:,} to validate" if start.validation_rows else ""
    )
    until = f"{start.epochs:,} epochs" if start.epochs is not None else f"{start.steps:,} updates"
    gone = f" (from update {start.step:,})" if start.step else ""
    return f"{start.title}: {rows}, batch {start.batch:,}, {until}{gone}, seed {start.seed}, {start.device}"


class Lines(Callback):
    """A line an epoch, of members that train at once with their means."""

    of_members = True

    def __init__(self) -> None:
        self.run: Path | None = None
        self.epochs: int | None = None
        self.steps = 0

    def on_start(self, start: Start) -> None:
        self.run, self.epochs, self.steps = start.run, start.epochs, start.steps
        self.say(opening(start))

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        of = f"/{self.epochs}" if self.epochs is not None else ""
        self.say(f"epoch {record['epoch']:>{len(of) - 1 if of else 1}}{of}  {figures(record)}")

    def on_member(self, record: Record) -> None:
        """They are told of together."""

    def on_members(self, records: list[Record]) -> None:
        self.on_epoch(mean_of(records))

    def on_update(self, step: int, figures: Figures) -> None:
        """An update that is told of by itself (`Every`)."""
        of = f"{self.steps:,}"
        self.say(f"update {step:>{len(of)},}/{of}  train {_listed(figures)}")

    def say(self, text: str) -> None:
        report.say(text)

    def close(self) -> None:
        """Training ended, well or not."""


class Json(Lines):
    """A JSON object an epoch; the command's last line follows."""

    def on_start(self, start: Start) -> None:
        self.run = start.run

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        self.say(json.dumps(record))

    def on_members(self, records: list[Record]) -> None:
        for record in records:
            self.on_epoch(record)

    def on_update(self, step: int, figures: Figures) -> None:
        self.say(json.dumps({"step": step, "train": dict(figures)}))


class Quiet(Lines):
    """Nothing, but that it knows the run."""

    def say(self, text: str) -> None:
        pass


class Bar(Lines):
    """A bar that moves with the updates, with their rate and the time left, and a line above it for each epoch. On a
    terminal of fewer columns than `NARROW` the figures of the last update stay out."""

    def __init__(self) -> None:
        super().__init__()
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        self.progress = Progress(transient=True)
        narrow = self.progress.console.width < NARROW
        self.progress.columns = (
            *(() if narrow else (TextColumn("{task.description}"),)),
            BarColumn(bar_width=None if narrow else 40),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=narrow),
            *(() if narrow else (TextColumn("{task.fields[shown]}", markup=False, table_column=Column(no_wrap=True)),)),
        )
        self.task = self.progress.add_task("training", total=None, shown="", rate="")
        self.drawn = 0.0

    def on_start(self, start: Start) -> None:
        super().on_start(start)
        self.progress.update(self.task, total=start.steps, completed=start.step)
        self.progress.start()

    def on_step(self, step: int, figures: Mapping[str, float]) -> None:
        now = time.monotonic()
        if now - self.drawn > PAUSE:
            self.drawn = now
            shown = plain(_listed(figures))
            self.progress.update(self.task, completed=step, shown=shown, rate=self._rate())

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        super().on_epoch(record)
        self.progress.update(self.task, completed=record["step"], rate=self._rate())

    def _rate(self) -> str:
        speed = self.progress.tasks[0].speed
        return "" if not speed else f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.2g}/s"

    def on_end(self, history: History) -> None:
        self.progress.update(self.task, completed=history.steps)

    def say(self, text: str) -> None:
        self.progress.console.print(plain(text), markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self.progress.stop()


class Every(Callback):
    """Lets a listener tell of every n-th epoch and the last one only; where training ends after so many updates, of
    every n-th update, and of epochs with validation that are as far apart."""

    of_members = True

    def __init__(self, to: Lines, n: int) -> None:
        self.to, self.n = to, n
        self.left: Record | None = None  # what the listener was not told of yet

    @property
    def run(self) -> Path | None:
        return self.to.run

    def on_start(self, start: Start) -> None:
        self.updates, self.steps, self.told = start.epochs is None, start.steps, start.step
        self.to.on_start(start)

    def on_step(self, step: int, figures: Figures) -> None:
        if self.updates and (step % self.n == 0 or step == self.steps):
            self.to.on_update(step, figures)
        self.to.on_step(step, figures)

    def on_epoch(self, record: Record) -> None:
        self.left = None if self.updates and not record["validation"] else record
        if record["step"] - self.told >= self.n if self.updates else record["epoch"] % self.n == 0:
            self._tell()

    def on_member(self, record: Record) -> None:
        """They are told of together."""

    def on_members(self, records: list[Record]) -> None:
        self.on_epoch(mean_of(records))

    def on_end(self, history: History) -> None:
        self._tell()
        self.to.on_end(history)

    def _tell(self) -> None:
        if self.left is not None:
            self.to.on_epoch(self.left)
            self.told, self.left = self.left["step"], None

    def close(self) -> None:
        """Training ended, well or not."""
        self.to.close()


def listener(as_json: bool, every: int | None = None, quiet: bool = False) -> Lines | Every:
    """What fits where the output goes, and tells no more than is asked for."""
    if quiet:
        return Quiet()
    lines = Json() if as_json else Bar() if sys.stdout.isatty() else Lines()
    return lines if every is None else Every(lines, every)
