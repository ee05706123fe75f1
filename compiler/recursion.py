"""Deep recursion: two settings of the Python interpreter that a compilation needs otherwise than other programs do."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

DEPTH = 12_000  # applications within applications take several Python frames each; Python's bound is for runaways

_lock = threading.Lock()
_inside = 0
_before = (0, False)


@contextmanager
def deep_recursion() -> Iterator[None]:
    """Deep recursion, and no cyclic garbage collection: a graph is all cycles and all alive, and looking through it
    again and again made compiling super-linear (1.7 times as long at 3,000 layers). Nests, and is shared by threads."""
    global _inside, _before
    with _lock:
        if not _inside:
            _before = sys.getrecursionlimit(), gc.isenabled()
            sys.setrecursionlimit(max(_before[0], DEPTH))
            gc.disable()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                sys.setrecursionlimit(_before[0])
                if _before[1]:
                    gc.enable()
