"""Windows that slide over padding: what is decided in closed form is what looking at every window finds."""

from __future__ import annotations

import random
import time

from dlc.ops.pooling import _window_of_padding


def every_window(size: int, count: int, kernel: int, stride: int, before: int, dilation: int) -> bool:
    """Whether one of the windows has no element in the value, by looking at each element."""
    return any(not any(0 <= p * stride - before + j * dilation < size for j in range(kernel)) for p in range(count))


def test_windows_of_padding() -> None:
    r = random.Random(1)
    seen = {True: 0, False: 0}
    for _ in range(30_000):
        size, kernel, stride, dilation = r.randint(1, 9), r.randint(1, 5), r.randint(1, 5), r.randint(1, 7)
        before, after = r.randint(0, 12), r.randint(0, 12)
        room = size + before + after - (dilation * (kernel - 1) + 1)
        if room >= 0:
            count = room // stride + 1
            found = _window_of_padding(size, count, kernel, stride, before, after, dilation)
            assert found == every_window(size, count, kernel, stride, before, dilation)
            seen[found] += 1
    assert min(seen.values()) > 1_000


def test_wide_padding_takes_no_time() -> None:
    before = time.process_time()
    assert not _window_of_padding(32, 10**9, 2 * 10**9, 1, 10**9, 10**9, 1)
    assert _window_of_padding(32, 10**9, 3, 1, 10**9, 10**9, 2)
    assert time.process_time() - before < 0.1
