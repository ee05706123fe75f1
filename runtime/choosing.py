"""Which rows an epoch takes, and in which order, where a file says so: by outputs of its algorithm."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from . import random
from .data import Columns, Field, fields, sweep
from .evaluate import batch_for, fit_batch
from .failures import Error
from .file import CompiledFile, Stage
from .metadata import Batch
from .session import Options, Session
from .state import State, promoted

KEEP, ORDER, WEIGHT, LENGTH, EPOCH = "rows/keep", "rows/order", "rows/weight", "rows/length", "rows/epoch"
CHOICES = (KEEP, ORDER, WEIGHT, LENGTH)  # figures of a train block that decide which rows an epoch takes, and when
TOGETHER = 64  # batches whose rows are sorted by their lengths together


class Chooser:
    """Runs what a train block says of rows over the data of an epoch."""

    def __init__(self, file: CompiledFile, state: State, how: Options, stage: Stage, outputs: list[str]) -> None:
        part = stage.parts[0]
        promote = promoted(file, part.index) | {EPOCH}
        self.name, self._outputs = file.name, outputs
        self._session = Session(file.step(part, outputs, promote), how)
        names = [name for name in self._session.inputs if name != EPOCH and state.name(part.index, name) is None]
        self.fields: tuple[Field, ...] = fields(file, names)
        self.moves = EPOCH in self._session.inputs  # from epoch to epoch
        self.along = next((field.along for field in self.fields if field.rows is not None), "")
        self._columns: Columns | None = None
        self._seed, self._batch = 0, 1
        self._known: tuple[int, dict[str, np.ndarray]] | None = None

    @classmethod
    def of(cls, file: CompiledFile, state: State, how: Options, stage: Stage) -> Chooser | None:
        """That of a train block; None where it takes all rows as they are shuffled."""
        there = {value.name for part in stage.parts[:1] for value in part.algorithm.output} if file.ours else set()
        outputs = [name for name in CHOICES if name in there]
        return cls(file, state, how, stage, outputs) if outputs else None

    def over(self, columns: Columns, seed: int, batch: Batch) -> Chooser:
        """The same, of these data; `seed` is that of rows that are drawn, and `batch` how many are together."""
        size = batch.get(self.along, "all") if isinstance(batch, Mapping) else batch
        self._seed, self._batch = seed, columns.counts[self.along] if size == "all" else size
        arrays = {field.name: columns.arrays[field.name] for field in self.fields}
        self._columns = Columns(self.fields, arrays, columns.counts[self.along], columns.where)
        self._known = None
        return self

    def __call__(self, epoch: int, order: np.ndarray) -> np.ndarray:
        """The rows of an epoch (from 0) in their order, of all rows as they were shuffled: what ties stays as it was.

        Raises `Error` E0655 for weights of which none can be drawn by, E0680 where no row is left, E0681 for an order
        or a length that is no number.
        """
        values = self._values(epoch)
        if WEIGHT in values:
            self._refuse(values[WEIGHT], epoch)
            order = random.weighted(values[WEIGHT], seed=self._seed, turn=epoch)
        if KEEP in values:
            order = order[values[KEEP][order]]
        if not len(order):
            raise Error(
                "E0680",
                f"no row is left in epoch {epoch + 1}",
                where=self.name,
                notes=["`keep:` is false of each"],
                help="`epoch` counts from 1: the first must keep some rows, too",
            )
        if ORDER in values:
            by = values[ORDER][order]
            if by.dtype.kind == "f" and np.isnan(by).any():
                raise Error(
                    "E0681",
                    f"`order:` is not a number for row {int(order[np.argmax(np.isnan(by))])}",
                    where=self.name,
                    help="a logarithm or root of a negative number is none: `where(x > 0, log(x), 0)`",
                )
            order = order[np.argsort(by, kind="stable")]
        return order if LENGTH not in values else self._bucketed(order, values[LENGTH], epoch)

    def lengths(self, epoch: int) -> np.ndarray | None:
        """How much of each row counts along the dimension that batches are cut in; None where they are not."""
        return self._values(epoch).get(LENGTH)

    def _bucketed(self, order: np.ndarray, lengths: np.ndarray, epoch: int) -> np.ndarray:
        """Rows sorted by their lengths among so many batches, and then whole batches in an order of their own; the
        short one is the last."""
        if not np.isfinite(lengths).all():
            raise Error(
                "E0681",
                f"`bucket:` is not a finite number for row {int(np.argmax(~np.isfinite(lengths)))}",
                where=self.name,
                help="it is how many places of each row count: `sum(words > 0, axis = 1)`",
            )
        whole = len(order) - len(order) % self._batch
        parts = [order[at : at + TOGETHER * self._batch] for at in range(0, whole, TOGETHER * self._batch)]
        parts = [part[: whole - k * TOGETHER * self._batch] for k, part in enumerate(parts)]
        parts = [part[np.argsort(lengths[part], kind="stable")] for part in parts]
        batches = np.concatenate([np.empty(0, order.dtype), *parts]).reshape(-1, self._batch)
        turned = random.permutation(len(batches), seed=self._seed, purpose=random.ORDER, turn=epoch, own=(0, 3))
        return np.concatenate([batches[turned].reshape(-1), order[whole:]])

    def _refuse(self, weights: np.ndarray, epoch: int) -> None:
        """E0655."""
        wrong = ~np.isfinite(weights) | (weights < 0)
        with np.errstate(over="ignore"):
            total = np.sum(weights, dtype=np.float64)
        if not wrong.any() and np.isfinite(total) and total > 0:
            return
        what = "every weight is 0" if not wrong.any() and total == 0 else "the sum of all weights is infinite"
        if wrong.any():
            what = f"a weight is {weights[np.argmax(wrong)]}"
        raise Error(
            "E0655",
            f"rows cannot be drawn in epoch {epoch + 1}: {what}",
            where=self.name,
            notes=[f"`sampler:` has such a weight for {int(wrong.sum())} of {len(weights):,} rows"]
            if wrong.any()
            else [],
            help="a weight is a number from 0 on, and one at least is above 0: `weighted(where(w > 0, w, 0))`",
        )

    def kept(self, epoch: int) -> int:
        """How many rows an epoch has."""
        return int(np.count_nonzero(self._values(epoch)[KEEP])) if KEEP in self._outputs else self._of().rows

    def _of(self) -> Columns:
        assert self._columns is not None  # `over` comes first
        return self._columns

    def _values(self, epoch: int) -> dict[str, np.ndarray]:
        """Each output, of each row as the data have them."""
        epoch = epoch if self.moves else 0
        if self._known is None or self._known[0] != epoch:
            columns, number = self._of(), np.array(epoch + 1, np.int64)
            batches = sweep(columns, fit_batch(columns, batch_for(columns, 1)))
            parts = [self._session.run(self._outputs, {**b.arrays, EPOCH: number}) for b in batches]
            joined = [np.concatenate([part[i] for part in parts]) for i in range(len(self._outputs))]
            self._known = epoch, dict(zip(self._outputs, joined, strict=True))
        return self._known[1]
