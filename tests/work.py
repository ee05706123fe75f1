"""How much work a call is, measured so that a busy machine does not change the answer."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any


def calls(run: Callable[[], Any]) -> int:
    """How many functions `run` calls, Python's own (`list.append`, `isinstance`) among them: the same every time."""
    count = 0

    def note(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(before)
    return count


def seconds(make: Callable[[], Any], run: Callable[[Any], Any], repetitions: int = 3) -> float:
    """The least processor time of `run(make())`, where only `run` counts.

    The collector of garbage is paused: it looks at every object of the process, whoever made it.
    """
    best = float("inf")
    for _ in range(repetitions):
        made = make()
        gc.collect()
        gc.disable()
        try:
            start = time.process_time()
            run(made)
            best = min(best, time.process_time() - start)
        finally:
            gc.enable()
    return best


def assert_linear(
    make: Callable[[int], Any],
    run: Callable[[Any], Any],
    *,
    counted: tuple[int, int],
    timed: tuple[int, int],
    limit: float,
) -> None:
    """`run(make(size))` takes work in proportion to the size.

    Calls say so exactly, from the small to the large size `counted`: quadratic work would be many times as much for
    each unit. Processor time, between the sizes `timed`, adds what goes on inside a call (the copy of a list, say); for
    each unit it may grow by the factor `limit`, since a large graph fits a processor's caches less well.
    """
    few, many = counted
    assert calls(partial(run, make(many))) / many < 1.1 * calls(partial(run, make(few))) / few
    small, large = timed
    short, long = seconds(lambda: make(small), run), seconds(lambda: make(large), run, 2)
    assert long / large < limit * short / small
