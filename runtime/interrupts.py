"""Ctrl-C and SIGTERM of a program of our own: the first ends it, others that come while it ends change nothing."""
from __future__ import annotations

import signal
from types import FrameType

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


def ended() -> None:
    """All is done and said: a signal that comes now is too late, also while Python itself ends."""
    global _ending
    _ending = True
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) == stop:
            signal.signal(number, signal.SIG_IGN)
