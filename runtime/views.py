"""Where the matrices of a batch lie: within which tensor, before slices, transposes and reshapes that only move them,
or after what turns and joins results. `Each` of the native library reads and writes them there (each.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto

from . import graphs
from .programs import Size, Sizes, Typed

ROW, COLUMN, PLACE = -1, -2, -3  # as native/each.h has them


@dataclass(frozen=True)
class Axis:
    """An axis of a tensor: its size; its part, which is the number of an axis of the batch or a constant above; the
    place of it that is taken."""

    size: Size
    part: int
    place: int = 0


@dataclass(frozen=True)
class View:
    """Matrices within a tensor: its axes; whether their sizes are not its own, but those of a reshape of it."""

    tensor: str
    axes: tuple[Axis, ...]
    shaped: bool = False


def plain(name: str, shape: Sizes, batch: int) -> View:
    """A tensor as it is: a batch of matrices, or one matrix, vector or number for all."""
    parts = [*range(batch), ROW, COLUMN] if len(shape) > 2 else [ROW, COLUMN][2 - len(shape) :]
    return View(name, tuple(Axis(size, part) for size, part in zip(shape, parts, strict=True)))


class Views:
    """Those of one graph. `lists`: constants of one axis by name; `maker`, `users`: which node makes a value, and which
    read it; `results`: the names of the graph's outputs."""

    def __init__(
        self,
        nodes: Sequence[NodeProto],
        known: Mapping[str, Typed],
        lists: Mapping[str, np.ndarray],
        maker: Mapping[str, int],
        users: Mapping[str, Sequence[int]],
        results: set[str],
    ) -> None:
        self.nodes, self.known, self.lists = nodes, known, lists
        self.maker, self.users, self.results = maker, users, results
        self.made: set[str] = set()  # values that are written as views of results: what they were made of is gone

    def read(self, view: View) -> View:
        """The same matrices in the tensor that holds them before they are moved."""
        while view.tensor in self.maker and view.tensor not in self.made:
            node = self.nodes[self.maker[view.tensor]]
            if not _moves(node) or node.input[0] not in self.known:
                break
            axes = None if view.shaped else self._before(node, view.axes)
            if axes is not None:
                view = View(node.input[0], axes)
            elif node.op_type == "Reshape" and sum(isinstance(axis.size, str) for axis in view.axes) < 2:
                view = View(node.input[0], view.axes, True)
            else:
                break
        return view

    def _before(self, node: NodeProto, axes: tuple[Axis, ...]) -> tuple[Axis, ...] | None:
        """The axes of what a node reads, which makes of it a value with these."""
        shape = self.known[node.input[0]][1]
        if node.op_type == "Transpose":
            perm = _perm(node, len(axes))
            return tuple(axes[perm.index(k)] for k in range(len(perm)))
        if node.op_type != "Slice":
            return _reshaped(axes, shape)
        given = [self.lists.get(name) for name in node.input[1:]]
        if len(given) < 3 or any(each is None or len(each) != 1 for each in given):
            return None
        start, end, at, *step = (int(each[0]) for each in given if each is not None)
        at %= len(shape)
        size = shape[at]
        if step not in ([], [1]) or not 0 <= start == end - 1 or not isinstance(size, int) or end > size:
            return None
        return (*axes[:at], Axis(size, PLACE, start), *axes[at + 1 :]) if axes[at].part == PLACE else None

    def written(self, view: View) -> View:
        """What a batch of results becomes that is only turned, and joined with others: `joined` says whether they are
        all there."""
        best, joined = view, False
        while len(self.users.get(view.tensor, ())) == 1 and view.tensor not in self.results:
            node = self.nodes[self.users[view.tensor][0]]
            if len(node.output) != 1 or node.output[0] not in self.known:
                break
            axes: tuple[Axis, ...] | None = None
            if _moves(node) and node.op_type == "Transpose":
                axes = tuple(view.axes[k] for k in _perm(node, len(view.axes)))
            elif _moves(node) and node.op_type != "Slice" and node.input[0] == view.tensor:
                axes = _reshaped(view.axes, self.known[node.output[0]][1])
            elif node.op_type == "Concat" and not joined:
                axes, joined = self._joined(node, view), True
            if axes is None:
                break
            view = View(node.output[0], axes)
            turned = axes[-1].part == COLUMN and sum(axis.part == PLACE for axis in axes) == joined
            if turned and node.op_type in ("Transpose", "Concat"):
                best = view
        return best

    def _joined(self, node: NodeProto, view: View) -> tuple[Axis, ...] | None:
        """The axes of a Concat of values that have one place each."""
        names, axes = list(node.input), view.axes
        at = next(a.i for a in node.attribute if a.name == "axis") % len(axes)
        size = self.known[node.output[0]][1][at]
        if axes[at].part != PLACE or axes[at].size != 1 or size != len(names) or len(set(names)) < len(names):
            return None
        return (*axes[:at], Axis(size, PLACE, names.index(view.tensor)), *axes[at + 1 :])


def joined(views: Sequence[View]) -> bool:
    """Whether the views of one tensor are all of it."""
    places = {tuple(axis.place for axis in view.axes) for view in views}
    parts = {tuple((axis.size, axis.part) for axis in view.axes) for view in views}
    sizes = [axis.size for axis in views[0].axes if axis.part == PLACE] or [1]
    return len(parts) == 1 and len(places) == len(views) == sizes[0]


def _moves(node: NodeProto) -> bool:
    known = ("Reshape", "Squeeze", "Unsqueeze", "Transpose", "Slice")
    return graphs.is_op(node) and node.op_type in known and len(node.output) == 1


def _perm(node: NodeProto, rank: int) -> list[int]:
    return next((list(a.ints) for a in node.attribute if a.name == "perm"), list(range(rank))[::-1])


def _reshaped(axes: Sequence[Axis], shape: Sizes) -> tuple[Axis, ...] | None:
    """The axes of a shape that differs in axes of size 1 alone, none of which has a part."""
    kept = [axis for axis in axes if axis.size != 1]
    if any(axis.size == 1 and axis.part != PLACE for axis in axes):
        return None
    if [axis.size for axis in kept] != [size for size in shape if size != 1]:
        return None
    left = iter(kept)
    return tuple(Axis(1, PLACE) if size == 1 else next(left) for size in shape)
