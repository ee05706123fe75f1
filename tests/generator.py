"""The generator as docs/file-format.md says it, in Python's integers: what implementations are held to."""

from __future__ import annotations

import math

WORD = 2**64
K0 = 0x548C9DECBCE65297
STRIDE, FACTOR = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93


def mixed(x: int, factor: int) -> int:
    y = (x * x % WORD // 2**32 + x) % WORD
    z = y * y % WORD
    return (z + z // 2**25) * factor % WORD


def word(counter: int, key: int) -> int:
    return mixed((key + counter * STRIDE) % WORD, FACTOR)


def fold(key: int, data: int) -> int:
    return mixed((key + data * FACTOR) % WORD, STRIDE)


def decisions(key: int, start: int, count: int, share: float) -> list[bool]:
    """Whether each of `count` decisions is true."""
    lanes = 4 if 1 / 128 <= share <= 127 / 128 else 2
    words = [word(start + i, key) for i in range(math.ceil(count / lanes))]
    made = [w // 2**32 < round(share * 2**32) for w in words]
    made += [w % 2**32 < round(share * 2**32) for w in words]
    if lanes == 4:
        made += [w // 2**32 % 2**16 < round(share * 2**16) for w in words]
        made += [w % 2**16 < round(share * 2**16) for w in words]
    return made[:count]
