"""When training ends early: after so many epochs without a better figure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .callbacks import Record
from .checkpoint import Progress
from .data import Columns
from .failures import Error
from .nearest import did_you_mean
from .repeats import Lane

if TYPE_CHECKING:
    from .train import Trainer


def check(trainer: Trainer, stop: Mapping[str, Any], held: Columns | None) -> None:
    """Raises `Error` E0630 where there is no such figure, E0635 where nothing says which direction is better."""
    on = str(stop.get("on", "validation.loss"))
    known = [f"train.{name}" for name in trainer.epoch_figures.shown]
    if held is not None:
        known += [f"validation.{name}" for name in trainer.evaluator.names]
    if on not in known:
        raise Error(
            "E0630",
            f"training cannot stop on `{on}`: there is no such metric",
            notes=[f"known: {', '.join(known)}"],
            help=did_you_mean(on, known) or "`validate: 0.2` holds data out for validation",
        )
    if stop.get("mode") not in ("min", "max") and not on.endswith(".loss"):
        raise Error(
            "E0635",
            f"nothing says whether `{on}` should grow or fall",
            where=trainer.file.name,
            notes=[f"the file's setting `stop` is {stop}"],
            help='say it in the spec: `patience(5, on = ..., mode = "max")`, or "min", and compile it again',
        )


def judge(stop: Mapping[str, Any], progress: Progress | Lane, record: Record, since: int) -> bool:
    """Whether an epoch is the best so far. Stops when none has been better for long enough, counted from epoch `since`
    on."""
    part, _, name = str(stop.get("on", "validation.loss")).partition(".")
    value = float(record[part].get(name, math.nan))
    sign = -1.0 if stop.get("mode") == "max" else 1.0
    if math.isfinite(value) and (progress.score is None or sign * value < sign * progress.score):
        progress.score, progress.best = value, record["epoch"]
        return True
    if record["epoch"] - max(progress.best or 0, since) >= int(stop.get("patience", 5)):
        progress.stopped = True
    return False
