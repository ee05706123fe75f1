"""What may listen to a training run. The library never prints: to get lines, pass a callback."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from .atomic import cannot_write, replacing

Figures = Mapping[str, float]
Record = dict[str, Any]  # of the form `metadata.Record`


def figure(value: float, digits: int = 6) -> str:
    """A figure as text, with so many significant digits; a zero has no sign."""
    return f"{value + 0.0:.{digits}g}"


@dataclass(frozen=True)
class Start:
    """What a run is about to do. `step` and `epoch` are what was done before, `steps` and `epochs` where it ends
    (`epochs` is None when the end was given in steps)."""

    title: str
    device: str
    seed: int
    rows: int
    validation_rows: int
    batch: int
    step: int
    steps: int
    epoch: int
    epochs: int | None
    run: Path | None


@dataclass
class History:
    """What a run did: one record per epoch, the last one short where `steps` ended within an epoch."""

    epochs: list[Record] = field(default_factory=list)
    best: int | None = None  # the epoch, from 1, whose state was restored
    steps: int = 0  # updates done in all
    seconds: float = 0.0  # wall time of training
    stopped: bool = False  # patience ran out
    run: Path | None = None
    test: Mapping[str, float] | None = None  # the figures of the test rows, with the state that was kept
    results: list[dict[str, Any]] = field(default_factory=list)  # of folds and members (`legs.report`)

    def _repr_html_(self) -> str:
        """In a notebook: a row for each epoch, the last forty."""
        shown = self.epochs[-40:]
        last = shown[-1] if shown else {}
        names = [f"{side} {name}" for side in ("train", "validation") for name in (last.get(side) or {})]
        head = "".join(f"<th>{escape(name)}</th>" for name in ("epoch", *names))
        rows = ""
        for record in shown:
            found = {
                f"{side} {name}": value
                for side in ("train", "validation")
                for name, value in (record[side] or {}).items()
            }
            cells = "".join(f"<td>{figure(found[name])}</td>" if name in found else "<td></td>" for name in names)
            rows += f"<tr><td>{record['epoch']}</td>{cells}</tr>"
        return f"<table><tr>{head}</tr>{rows}</table>{self.steps:,} updates in {self.seconds:.1f} s"

    @property
    def final(self) -> Record | None:
        """The record of the state that the trainer now has: the best epoch's where it was restored."""
        if self.best is not None:
            found = next((record for record in self.epochs if record["epoch"] == self.best), None)
        else:
            found = self.epochs[-1] if self.epochs else None
        return {**found, "test": self.test} if found is not None and self.test is not None else found


class Callback:
    """A listener that does nothing; override what is wanted."""

    def on_start(self, start: Start) -> None:
        """Before the first step."""

    def on_step(self, step: int, figures: Figures) -> None:
        """After update number `step`. Costs nothing where it is not overridden."""

    def on_epoch(self, record: Record) -> None:
        """After each epoch and its validation."""

    def on_end(self, history: History) -> None:
        """After training, the best state restored. Not called when training failed or was interrupted."""


class MetricsFile(Callback):
    """One JSON object a line for each epoch. `known` are the records that a resumed run starts from."""

    def __init__(self, path: Path, known: list[Record]) -> None:
        """Raises `Error` E0748."""
        self.path = path
        try:
            with replacing(path) as out:  # epochs after the checkpoint are done again, so their lines go
                out.write(b"".join(_line(record) for record in known))
        except OSError as problem:
            raise cannot_write(path, problem) from None

    def on_epoch(self, record: Record) -> None:
        self._add(record)

    def on_end(self, history: History) -> None:
        """What the test rows came to is a line of its own, the last."""
        final = history.final
        if final is not None and history.test is not None:
            self._add({name: final[name] for name in ("epoch", "step", "seconds", "test")})

    def _add(self, record: Mapping[str, Any]) -> None:
        try:
            with self.path.open("ab") as out:
                out.write(_line(record))
        except OSError as problem:
            raise cannot_write(self.path, problem) from None


def _line(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record) + "\n").encode()


class Log(Callback):
    """Each epoch as a line of the logger `dlc.train`."""

    logger = logging.getLogger("dlc.train")

    def on_epoch(self, record: Record) -> None:
        parts = [f"epoch {record['epoch']}", f"step {record['step']}"]
        for name in ("train", "validation"):
            parts += [f"{name}.{key} {figure(value)}" for key, value in (record[name] or {}).items()]
        self.logger.info("%s", "  ".join(parts))
