"""How training shows itself: a bar on a terminal, a line an epoch in a pipe, JSON for programs."""
from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlc.runtime.callbacks import Callback, History, Start
from dlc.runtime.failures import plain

from . import report

PAUSE = 0.1  # seconds between drawings of the bar


def figures(record: Mapping[str, Any]) -> str:
    """`train loss 0.0312  validation loss 0.0712 accuracy 0.9805`"""
    parts = []
    for side in ("train", "validation"):
        known = record.get(side)
        if known:
            parts.append(f"{side} " + " ".join(f"{name} {value:.4g}" for name, value in known.items()))
    return "  ".join(parts)


def opening(start: Start) -> str:
    rows = f"{start.rows:,} rows" + (f", {start.validation_rows:,} to validate" if start.validation_rows else "")
    until = f"{start.epochs:,} epochs" if start.epochs is not None else f"{start.steps:,} updates"
    gone = f" (from update {start.step:,})" if start.step else ""
    return f"{start.title}: {rows}, batch {start.batch:,}, {until}{gone}, seed {start.seed}, {start.device}"


class Lines(Callback):
    """A line an epoch."""

    def __init__(self) -> None:
        self.run: Path | None = None
        self.epochs: int | None = None

    def on_start(self, start: Start) -> None:
        self.run, self.epochs = start.run, start.epochs
        self.say(opening(start))

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        of = f"/{self.epochs}" if self.epochs is not None else ""
        self.say(f"epoch {record['epoch']:>{len(of) - 1 if of else 1}}{of}  {figures(record)}")

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


class Bar(Lines):
    """A bar that moves with the updates, and a line above it for each epoch."""

    def __init__(self) -> None:
        super().__init__()
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[shown]}", markup=False), transient=True,
        )
        self.task = self.progress.add_task("training", total=None, shown="")
        self.drawn = 0.0

    def on_start(self, start: Start) -> None:
        super().on_start(start)
        self.progress.update(self.task, total=start.steps, completed=start.step)
        self.progress.start()

    def on_step(self, step: int, figures: Mapping[str, float]) -> None:
        now = time.monotonic()
        if now - self.drawn > PAUSE:
            self.drawn = now
            shown = plain(" ".join(f"{name} {value:.4g}" for name, value in figures.items()))
            self.progress.update(self.task, completed=step, shown=shown)

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        super().on_epoch(record)
        self.progress.update(self.task, completed=record["step"])

    def on_end(self, history: History) -> None:
        self.progress.update(self.task, completed=history.steps)

    def say(self, text: str) -> None:
        self.progress.console.print(plain(text), markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self.progress.stop()


def listener(as_json: bool) -> Lines:
    """What fits where the output goes."""
    if as_json:
        return Json()
    return Bar() if sys.stdout.isatty() else Lines()
