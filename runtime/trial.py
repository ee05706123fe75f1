"""Tries before a run: one update and nothing written, a few batches learned by heart, a range of learning rates."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .arguments import positive
from .callbacks import History
from .data import Batch, Columns
from .failures import Error
from .request import Request

if TYPE_CHECKING:
    from .train import Trainer

RATES = tuple(10.0 ** (k / 2 - 6) for k in range(14))  # from 1e-6 to about 3
UPDATES = 100  # of each rate
WORSE = 4.0  # times the first loss, from which a rate is given up


@dataclass(frozen=True)
class DryRun:
    """What one update showed: rows for training and validation, those of the batch, updates that a run would make, the
    seconds of the second update, and its figures."""

    rows: int
    held: int
    batch: int
    updates: int
    seconds: float
    figures: dict[str, float]


def dry_run(
    trainer: Trainer, data: object = None, validation: object = None, test: object = None, batch: int | None = None
) -> DryRun:
    """Loads and checks all data, makes two updates on the first batch, evaluates it, and takes all back. Nothing is
    written. Raises `Error` as `fit` does.

        >>> from dlc.runtime.trial import dry_run
        >>> found = dry_run(dlc.Trainer(dlc.compile("specs/xor.dl")))
        >>> found.rows, found.batch, found.updates
        (4, 4, 300)
    """
    request = Request(trainer, data, validation, None, None, batch, False, test)
    updates = request.reserve() - trainer.progress.step
    first = next(iter(request.source.batches(0, 0)))
    before = trainer._values.snapshot()
    try:
        figures, seconds = dict[str, float](), 0.0
        for number in (1, 2):
            start = time.perf_counter()
            trainer.stepper.step(first.arrays, number)
            seconds = time.perf_counter() - start
            figures = figures or trainer.stepper.told(trainer.stepper.read())
        if request.held is not None:
            trainer.evaluator.run(_first(request.held, first.rows), first.rows)
    finally:
        trainer._values.restore(before)
    held = request.held.rows if request.held is not None else 0
    return DryRun(request.columns.rows, held, first.rows, updates, seconds, figures)


def overfit(
    trainer: Trainer, batches: int, data: object = None, *, steps: int | None = None, callbacks: Sequence[object] = ()
) -> History:
    """Trains on the first batches of the first epoch alone, without validation: a model that cannot learn these by
    heart has a mistake in it. `steps` by default as many as the spec trains. Raises `Error` as `fit` does.

        >>> from dlc.runtime.trial import overfit
        >>> history = overfit(dlc.Trainer(dlc.compile("specs/xor.dl")), 1)
        >>> history.epochs[-1]["train"]["loss"] < 0.1
        True
    """
    trainer.tried = True
    try:
        return _overfit(trainer, batches, data, steps, callbacks)
    finally:
        trainer.tried = False


def _overfit(trainer: Trainer, batches: int, data: object, steps: int | None, callbacks: Sequence[object]) -> History:
    request = Request(trainer, data, False, None, None, None, False, False)
    wanted = positive("overfit", batches)
    parts = [batch for _, batch in zip(range(wanted), request.source.batches(0, 0), strict=False)]
    fields = [one for one in request.columns.fields if one.name in parts[0].arrays]
    arrays = {
        one.name: parts[0].arrays[one.name]
        if one.rows is None
        else np.concatenate([np.asarray(part.arrays[one.name]) for part in parts], axis=one.rows)
        for one in fields
    }
    count = sum(part.rows for part in parts)
    few = Columns(tuple(fields), arrays, count, request.columns.where)
    total = steps if steps is not None else request.total() - trainer.progress.step
    return trainer.fit(few, False, steps=total, batch=min(parts[0].rows, count), test=False, callbacks=callbacks)


@dataclass(frozen=True)
class Rate:
    """A learning rate and the loss to which it led: the mean of the last tenth of the updates; inf where it blew up."""

    rate: float
    loss: float


def find_rate(
    made: Callable[[float], Trainer], data: object = None, rates: Sequence[float] = RATES, updates: int = UPDATES
) -> tuple[list[Rate], float]:
    """The loss after so many updates for each rate, all from the same start values and over the same batches, and the
    rate to use: half an order of magnitude below the one with the lowest loss where that is the edge of what still
    trains, else that one. `made` gives a trainer of a rate. Raises `Error` E0696 where no rate lowers the loss.

        >>> from dlc.runtime.trial import find_rate
        >>> text = open("specs/xor.dl").read().replace("train {", "train (rate = 0.1) {")
        >>> spec = text.replace("adam(0.05)", "adam(rate)")
        >>> def made(rate):
        ...     return dlc.Trainer(dlc.compile(spec, rate=rate), folder="specs")
        >>> rates, best = find_rate(made, rates=[1e-4, 0.03, 1.0], updates=20)
        >>> [one.rate for one in rates], 1e-4 < best
        ([0.0001, 0.03, 1.0], True)
    """
    found: list[Rate] = []
    starts: list[float] = []
    for rate in rates:
        trainer = made(rate)
        trainer.tried = True
        request = Request(trainer, data, False, None, None, None, False, False)
        request.reserve()
        losses: list[float] = []
        for batch in _batches(request, updates):
            trainer.stepper.step(batch.arrays, len(losses) + 1)
            losses.append(trainer.stepper.read()[0])
            if not math.isfinite(losses[-1]) or losses[-1] > WORSE * abs(losses[0]) + 1:
                losses.append(math.inf)
                break
        starts.append(losses[0])
        last = losses[-max(1, len(losses) // 10) :]
        found.append(Rate(rate, float(np.mean(last))))
    best = min(range(len(found)), key=lambda k: found[k].loss)
    if not found[best].loss < starts[best]:
        raise Error(
            "E0696",
            f"no learning rate from {rates[0]:g} to {rates[-1]:g} lowers the loss in {updates} updates",
            notes=[f"it is {starts[best]:.6g} at the start and {found[best].loss:.6g} at best"],
            help="the data or the loss may be wrong: `dlc data SPEC` shows the data, `--overfit 1` tries one batch",
        )
    edge = best + 1 >= len(found) or found[best + 1].loss > found[best].loss + 0.5 * (starts[best] - found[best].loss)
    return found, found[best - 1].rate if edge and best else found[best].rate


def _batches(request: Request, count: int) -> Iterator[Batch]:
    """So many batches, over as many epochs as that takes."""
    done, epoch = 0, 0
    while done < count:
        for batch in request.source.batches(epoch, 0):
            yield batch
            done += 1
            if done == count:
                return
        epoch += 1


def _first(columns: Columns, rows: int) -> Columns:
    """The first rows."""
    arrays = {
        one.name: columns.arrays[one.name]
        if one.rows is None
        else columns.arrays[one.name][(slice(None),) * one.rows + (slice(rows),)]
        for one in columns.fields
    }
    return Columns(columns.fields, arrays, min(rows, columns.rows), columns.where)
