"""What becomes of the slices along a dimension of an operand: the fact `apart` of an operation, and its common forms.

`jacobian(..., per = batch)` asks whether rows stay apart, a figure over all batches whether rows met, and rewrites
whether an operation takes each row by itself. Each asks the operation; tests/test_op_facts.py compares with the
reference.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TypeAlias

from .graph import Node


class Slices(Enum):
    """How the slices along a dimension of an operand do not stay apart in the result."""

    ONE = "one value is made of all of them: reduced, summed over, added up"
    ACROSS = "an element of the result is made of several of them: along the dimension, or in windows"
    PLACED = "each element of the result is of one of them, which stands elsewhere, several times, or nowhere"
    UNREAD = "their values have no say in the result"


Apart: TypeAlias = "Callable[[Node, int, int], int | Slices]"


def aligned(node: Node, number: int, axis: int) -> int | Slices:
    """Element by element: the dimension that broadcasting lays this one on; a slice that is spread is PLACED."""
    source = node.inputs[number]
    at = axis + node.rank - source.rank
    return at if node.shape[at] == source.shape[axis] else Slices.PLACED


def along_axis(node: Node, number: int, axis: int) -> int | Slices:
    """Each row along the attribute `axis` by itself, and all of them alike; it stays as one, or gives one number."""
    source = node.inputs[number]
    own, gone = node.attrs["axis"] % source.rank, node.rank < source.rank
    if axis == own:
        return Slices.ONE if gone else Slices.ACROSS
    return axis - (gone and axis > own)


def along_last(node: Node, number: int, axis: int) -> int | Slices:
    """Each row along the last dimension by itself, and all of them alike; it stays one dimension."""
    return Slices.ACROSS if axis == node.inputs[number].rank - 1 else axis


def along_axes(node: Node, number: int, axis: int) -> int | Slices:
    """The dimensions in the attribute `axes` become one value, and go unless `keepdims`."""
    gone = [a % node.inputs[number].rank for a in node.attrs["axes"]]
    if axis in gone:
        return Slices.ONE
    return axis if node.attrs["keepdims"] else axis - sum(a < axis for a in gone)


def images(node: Node, number: int, axis: int) -> int | Slices:
    """Each channel of each image by itself, [image, channel, ...]: windows along the dimensions behind them."""
    return axis if axis < 2 else Slices.ACROSS
