"""Where batches come from: arrays, `.npz` and CSV, checked against the file's signature before the first step."""

from __future__ import annotations

from .batch import Batch
from .check import Columns, check
from .fields import Field, fields, figure_batch
from .load import load
from .shares import Fold, Shares, shares
from .source import ArraySource, Source, side_by_side, sweep
from .stream import Stream, Streamed

__all__ = [
    "ArraySource",
    "Batch",
    "Columns",
    "Field",
    "Fold",
    "Shares",
    "Source",
    "Stream",
    "Streamed",
    "check",
    "fields",
    "figure_batch",
    "load",
    "shares",
    "side_by_side",
    "sweep",
]
