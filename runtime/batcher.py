"""Predictions for many who ask at once: those that wait while one runs go into the next run together."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .columns import loaded
from .data import check, figure_batch
from .failures import Error

if TYPE_CHECKING:
    from .train import Trainer

WHERE = "the request"


@dataclass(frozen=True)
class Limits:
    """What one request may ask for: `body` in bytes, `rows`, and `seconds` from its first byte to its answer; and how
    many requests may be `waiting` at a time."""

    body: int = 16 << 20
    rows: int = 10_000
    seconds: float = 30.0
    waiting: int = 256


class Refused(Exception):
    """A request that meets a limit, not an error in what it holds: the status of HTTP, and why."""

    def __init__(self, status: int, why: str) -> None:
        self.status, self.why = status, why
        super().__init__(why)


@dataclass(eq=False)
class _Asked:
    """One request that waits: its arrays, checked; `form` is what those must have in common that run together."""

    arrays: Mapping[str, Any]
    rows: int
    form: tuple[Any, ...]
    until: float
    answer: asyncio.Future[dict[str, np.ndarray]]


class Batcher:
    """Runs the predictions of a trainer one after another, in a thread of its own. Requests that wait are joined where
    the rows of an output do not know of each other (`joins`), their sizes beside the rows are the same, and nothing is
    drawn: so nobody's answer depends on what others ask. `asked` counts requests, `runs` those of the model."""

    def __init__(self, trainer: Trainer, limits: Limits, joins: bool) -> None:
        self.trainer, self.limits = trainer, limits
        self.predictor = trainer.predictor
        counted = {field.along for field in self.predictor.fields if field.rows is not None}
        self.joins = (
            joins
            and len(counted) == 1
            and self.predictor.drawer is None
            and "key" not in self.predictor.session.inputs
            and all(field.rows is not None for field in self.predictor.fields)
            and None not in self.predictor.rows.values()
            and figure_batch(self.predictor.fields) is None
        )
        self.asked = self.runs = 0
        self._waiting: deque[_Asked] = deque()
        self._there = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "dlc-predicts")

    async def ask(self, body: bytes, until: float) -> dict[str, np.ndarray]:
        """The outputs for a request, JSON with the inputs by name. Raises `Error` E06xx for data that do not fit, and
        `Refused` where it meets a limit."""
        self.asked += 1
        if len(self._waiting) >= self.limits.waiting:
            raise Refused(503, f"{self.limits.waiting} requests are waiting: ask again later")
        arrays, rows, form = await asyncio.to_thread(self._read, body)
        asked = _Asked(arrays, rows, form, until, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        self._there.set()
        return await asked.answer

    async def work(self) -> None:
        """Answers what is asked, until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._there.wait()
            while together := self._next():
                try:
                    made = await loop.run_in_executor(self._thread, partial(self._run, together))
                except Exception as problem:
                    for one in together:
                        if not one.answer.done():
                            one.answer.set_exception(problem)
                    continue
                for one, outputs in zip(together, made, strict=True):
                    if not one.answer.done():
                        one.answer.set_result(outputs)
            self._there.clear()

    def _next(self) -> list[_Asked]:
        """The one that has waited longest, and those that can run with it, of as many rows as one request may have;
        whoever does not wait any more is left out."""
        now = time.monotonic()
        alive = [one for one in self._waiting if not one.answer.done() and one.until > now]
        self._waiting.clear()
        together: list[_Asked] = []
        rows = 0
        for one in alive:
            fits = not together or (self.joins and one.form == together[0].form and rows + one.rows <= self.limits.rows)
            (together if fits else self._waiting).append(one)
            rows += one.rows if fits else 0
        return together

    def _read(self, body: bytes) -> tuple[Mapping[str, Any], int, tuple[Any, ...]]:
        """A request as arrays that the model takes. Raises `Error` E0660 and E06xx, `Refused`."""
        try:
            data = json.loads(body)
        except (ValueError, RecursionError) as problem:  # UnicodeDecodeError is a ValueError
            raise Error("E0660", "the request is no JSON", where=WHERE, notes=[str(problem)[:200]]) from None
        wanted = self.predictor.needed()
        if not isinstance(data, dict):
            raise Error(
                "E0660",
                f"the request is a JSON object of inputs by name, not {_kind(data)}",
                where=WHERE,
                notes=["expected " + ", ".join(f"`{field.name}: {field}`" for field in wanted)],
            )
        wanted = tuple(field for field in self.predictor.fields if field in wanted or field.name in data)
        found, _ = loaded(self.trainer, data, wanted)
        columns = check(found, wanted, WHERE)
        if columns.rows > self.limits.rows:
            raise Refused(413, f"{columns.rows:,} rows, where a request may have {self.limits.rows:,}")
        form = tuple(
            size for field in wanted for axis, size in enumerate(columns.arrays[field.name].shape) if axis != field.rows
        )
        return columns.arrays, columns.rows, form

    def _run(self, together: list[_Asked]) -> list[dict[str, np.ndarray]]:
        """The outputs of requests that run as one."""
        self.runs += 1
        arrays = together[0].arrays
        if len(together) > 1:
            axes = {field.name: field.rows or 0 for field in self.predictor.fields}
            arrays = {name: np.concatenate([one.arrays[name] for one in together], axes[name]) for name in arrays}
        made = self.predictor.run(arrays, WHERE, 1)
        if self.trainer.file.table is not None:
            made = self.trainer.file.table.decode(made)
        if len(together) == 1:
            return [made]
        ends = np.cumsum([one.rows for one in together])[:-1]
        parts = {name: np.split(array, ends, self.predictor.rows[name] or 0) for name, array in made.items()}
        return [{name: split[k] for name, split in parts.items()} for k in range(len(together))]


def _kind(value: object) -> str:
    return {list: "a list", str: "a text", type(None): "null", bool: "a boolean"}.get(type(value), "a number")
