"""Ctrl-C and SIGTERM. In a program of our own the first ends it, and others that come while it ends change nothing;
while a net trains they are noted, so that no step is broken into."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_ending = False


def stop(number: int, frame: FrameType | None) -> None:
    """The handler of both signals: raises KeyboardInterrupt once in the life of a process, so that what cleans up, and
    what says so, is not itself broken into."""
    global _ending
    if not _ending:
        _ending = True
        raise KeyboardInterrupt


def install() -> None:
    """For a process of our own, as early as can be."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):
            signal.signal(number, stop)


def asked() -> bool:
    """Whether a signal has asked a program of our own to end."""
    return _ending


def ended() -> None:
    """All is done and said: a signal that comes now is too late, also while Python itself ends."""
    global _ending
    _ending = True
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) == stop:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def noticed() -> Iterator[list[bool]]:
    """Ctrl-C or SIGTERM during the block adds to the list instead of breaking into a step; a second breaks in at once.

    Signals come to the main thread alone; elsewhere the list stays empty.
    """
    seen: list[bool] = []
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return

    def note(number: int, frame: FrameType | None) -> None:
        seen.append(True)
        if len(seen) == 2:  # a third comes while the second is obeyed
            raise KeyboardInterrupt

    usual: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    # What the program handles in its own way stays so.
    found = {number: signal.getsignal(number) for number in usual}
    ours = {number: before for number, before in found.items() if before in (usual[number], stop)}
    try:
        for number in ours:
            signal.signal(number, note)
        yield seen
    finally:
        for number, before in ours.items():
            signal.signal(number, before)
