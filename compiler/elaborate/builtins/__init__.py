"""The functions that the compiler knows by name: one for each primitive a spec may call.

Everything else (layers, losses, optimizers, schedules) is written in the language, in `specs/std/`.
"""

from __future__ import annotations

from ..values import BUILTINS
from . import (  # each registers its functions
    derivatives,
    einsum,
    elementwise,
    ordering,
    random,
    rearrange,
    shaping,
    windows,
)

__all__ = [
    "BUILTINS",
    "LATER",
    "derivatives",
    "einsum",
    "elementwise",
    "ordering",
    "random",
    "rearrange",
    "shaping",
    "windows",
]

# Words of a later version: what they will be, and what does it until then.
LATER = {"nuts": ("sampling a posterior", "`minimize loss using adam(1e-2)` finds the most probable parameters")}
