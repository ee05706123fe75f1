"""What data a graph takes: from `dlc.signature`, or, in a foreign file, from the graph inputs themselves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .. import graphs
from ..failures import Error
from ..file import CompiledFile
from ..metadata import Tensor
from ..support import Support

KINDS = {"f": "float", "i": "int", "u": "int", "b": "bool", "O": "text"}


def kind_of(dtype: np.dtype[np.generic]) -> str:
    """The kind as NumPy says it; that of bfloat16, for which it has none, is that of floats."""
    return "f" if dtype.name == "bfloat16" else dtype.kind


@dataclass(frozen=True)
class Field:
    """One array of the data. `shape` holds sizes, names, or None where any size will do; `rows` is the axis that
    counts rows, None for an array that is the same in every batch. `supports` say what numbers it may hold. `along` is
    the name of the dimension of its rows in a file where several count rows, "" where one does, and `place` its place
    among them."""

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int | str | None, ...]
    rows: int | None
    supports: tuple[Support, ...] = ()
    along: str = ""
    place: int = 0

    @property
    def kind(self) -> str:
        return KINDS.get(self.dtype.kind, str(self.dtype))

    def __str__(self) -> str:
        return f"{self.kind}[{', '.join('any' if d is None else str(d) for d in self.shape)}]"


def fields(file: CompiledFile, names: Iterable[str]) -> tuple[Field, ...]:
    """The fields of the named graph inputs, in that order. Raises `Error` E0733 for an input of unknown rank."""
    values = file.fed
    supports = {entry.name: _supports(entry) for entry in (*file.signature.inputs, *file.signature.targets)}
    batch = file.signature.batch if file.ours else _common(graphs.shape_of(v) for v in values.values())
    several = file.signature.rows
    found = []
    for name in names:
        value = values[name]
        shape = graphs.shape_of(value)
        if shape is None:
            raise Error("E0733", f"the input `{name}` has no shape, so data cannot be checked", where=file.name)
        # The graph knows `batch` and `time` by name too, but not what labels may be.
        counted = next((size for size in shape if size in (several or (batch,)) and size is not None), None)
        rows = shape.index(counted) if counted is not None else None
        if rows is None and not file.ours and shape and (shape[0] is None or batch is None):
            rows = 0
        dtype = graphs.dtype_of(value.type.tensor_type.elem_type)
        along = str(counted) if several and counted is not None else ""
        place = several.index(along) if along else 0
        found.append(Field(name, dtype, shape, rows, supports.get(name, ()), along, place))
    return tuple(found)


def _supports(entry: Tensor) -> tuple[Support, ...]:
    if entry.support is not None:
        return tuple(Support(**vars(possible)) for possible in entry.support)
    return () if entry.range is None else (Support(entry.range[0], entry.range[1] - 1, whole=True),)


def _common(shapes: Iterable[graphs.Shape | None]) -> str | None:
    """A foreign file's name for the rows: the first dimension's, where one has a name."""
    return next((shape[0] for shape in shapes if shape and isinstance(shape[0], str)), None)


def figure_batch(found: Iterable[Field]) -> int | None:
    """The one batch size that a graph of fixed sizes takes, or None where any will do."""
    sizes = [field.shape[field.rows] for field in found if field.rows is not None]
    fixed = [size for size in sizes if isinstance(size, int)]
    return fixed[0] if fixed else None
