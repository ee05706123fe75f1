"""Callbacks with Keras' names and moments: `on_train_begin`, `on_epoch_end(epoch, logs)`, `on_train_batch_end(batch,
logs)` and the rest, of any object that has some of them, Keras' own callbacks among them.

`logs` are the figures by name, those of validation as `val_loss`. `set_params` is told the epochs and batches, and
`set_model` the trainer: `self.model.stop_training = True` ends training after the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .callbacks import Callback, Figures, History, Record, Start

if TYPE_CHECKING:
    from .train import Trainer

MOMENTS = (
    "on_train_begin",
    "on_train_end",
    "on_epoch_begin",
    "on_epoch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_batch_begin",
    "on_batch_end",
    "on_test_begin",
    "on_test_end",
)


def listening(callbacks: Sequence[object], trainer: Trainer) -> tuple[Callback, ...]:
    """Callbacks as the loop tells them: ours as they are, those with Keras' names by their moments, or both."""
    found: list[Callback] = []
    for one in callbacks:
        if isinstance(one, Callback):
            found.append(one)
        if any(hasattr(one, name) for name in MOMENTS):
            found.append(Moments(one, trainer))
        elif not isinstance(one, Callback):
            raise TypeError(f"`{type(one).__name__}` is no callback: it has none of {', '.join(MOMENTS)}")
    return tuple(found)


def logs_of(record: Record) -> dict[str, float]:
    """The figures of an epoch as Keras names them."""
    held = {f"val_{name}": value for name, value in (record["validation"] or {}).items()}
    return {**record["train"], **held}


class Moments(Callback):
    """Tells one object of the moments that it has a method for."""

    def __init__(self, to: object, trainer: Trainer) -> None:
        self.to, self.trainer = to, trainer
        self.batch, self.logs = 0, dict[str, float]()
        self.each = self._has("on_train_batch_end", "on_batch_end")
        self.first = self._has("on_train_batch_begin", "on_batch_begin")

    def _has(self, *names: str) -> str | None:
        return next((name for name in names if hasattr(self.to, name)), None)

    def _tell(self, name: str | None, *given: Any) -> None:
        method = getattr(self.to, name, None) if name is not None else None
        if method is not None:
            method(*given)

    def on_start(self, start: Start) -> None:
        params = {"epochs": start.epochs, "steps": -(-start.rows // max(1, start.batch)), "verbose": 0}
        self._tell("set_params", params)
        self._tell("set_model", self.trainer)
        self._tell("on_train_begin", {})

    def before_epoch(self, epoch: int) -> None:
        self.batch = 0
        self._tell("on_epoch_begin", epoch - 1, {})

    def before_step(self, step: int) -> None:
        self._tell(self.first, self.batch, {})

    def on_step(self, step: int, figures: Figures) -> None:
        self._tell(self.each, self.batch, dict(figures))
        self.batch += 1

    def before_validation(self) -> None:
        self._tell("on_test_begin", {})

    def on_epoch(self, record: Record) -> None:
        if record["validation"] is not None:
            self._tell("on_test_end", dict(record["validation"]))
        self.logs = logs_of(record)
        self._tell("on_epoch_end", record["epoch"] - 1, dict(self.logs))

    def on_end(self, history: History) -> None:
        self._tell("on_train_end", dict(self.logs))
