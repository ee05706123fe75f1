"""A thread that reads ahead, so that a step need not wait for the next part of the data while it is read."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
PAUSE = 0.05  # seconds after which a reader looks whether it is still wanted
LAST = 1.0  # seconds that one which is not wanted any more has to end; it may be waiting for a disk


@dataclass
class Waits:
    """Seconds for which the steps have waited for data."""

    seconds: float = 0.0


def ahead(parts: Iterator[T], waits: Waits) -> Generator[T, None, None]:
    """The same parts in the same order, each read while the one before is worked on. What reading raises is raised
    here, at the part that could not be read; closing the generator ends the thread."""
    ready: queue.Queue[tuple[str, T | BaseException | None]] = queue.Queue(maxsize=1)
    over = threading.Event()

    def put(entry: tuple[str, T | BaseException | None]) -> bool:
        while not over.is_set():
            try:
                ready.put(entry, timeout=PAUSE)
                return True
            except queue.Full:
                continue
        return False

    def read() -> None:
        try:
            for part in parts:
                if not put(("part", part)):
                    return
            put(("end", None))
        except BaseException as problem:
            put(("raised", problem))

    thread = threading.Thread(target=read, name="dlc-reader", daemon=True)
    thread.start()
    try:
        while True:
            begin = time.perf_counter()
            kind, what = ready.get()
            waits.seconds += time.perf_counter() - begin
            if kind == "end":
                return
            if isinstance(what, BaseException):
                raise what
            yield what  # type: ignore[misc]
    finally:
        over.set()
        thread.join(LAST)
