"""What data become for a file: types, ranges, gaps, classes, and what is likely to be a mistake in them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .data import Columns, Field
from .request import Request

if TYPE_CHECKING:
    from .train import Trainer

FIRST = 5  # rows that are shown
CLASSES = 1000  # that a target of integers may have to be counted
MANY = 1_000_000  # rows among which those that are alike are counted
LEAK = 0.999  # the correlation from which an input says what the target is


@dataclass(frozen=True)
class About:
    """One input or target. `low`, `high` and `mean` are of the numbers that the graph takes; `words` those of its
    column in the order of their numbers; `classes` how many training rows each integer has, for a target; `first` the
    first rows, of each the first of its `numbers`."""

    name: str
    target: bool
    type: str
    columns: tuple[str, ...]
    low: float
    high: float
    mean: float
    missing: int = 0
    words: tuple[str, ...] = ()
    classes: Mapping[int, int] = field(default_factory=dict)
    first: tuple[Any, ...] = ()
    numbers: int = 1


@dataclass(frozen=True)
class Description:
    """What data become: rows for training and for validation, each input and target, and warnings."""

    where: str
    rows: int
    held: int
    fields: tuple[About, ...]
    warnings: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """The same for JSON."""
        return asdict(self)


def describe(trainer: Trainer, data: object = None, validation: object = None) -> Description:
    """What data become for a trainer's file: those given, else those of its settings. Nothing is trained; a file that
    has seen no table yet finds out what its encodings need to know. Raises `Error` E0601 to E0694.

        >>> from dlc.runtime.describe import describe
        >>> found = describe(dlc.Trainer(dlc.compile("specs/xor.dl")))
        >>> found.rows, [field.name for field in found.fields]
        (4, ['x', 'y'])
    """
    request = Request(trainer, data, validation)
    columns, held = request.columns, request.held
    targets = {entry.name for entry in trainer.file.signature.targets}
    cells = _cells(trainer, request.plan.data or data, columns)
    shown = [f for f in columns.fields if f.name in columns.arrays]
    about = tuple(_about(trainer, one, columns, one.name in targets, cells) for one in shown)
    return Description(
        str(columns.where),
        columns.rows,
        held.rows if held is not None else 0,
        about,
        tuple(_warnings(about, columns, held, targets)),
    )


def _cells(trainer: Trainer, data: object, columns: Columns) -> Mapping[str, Any]:
    """The cells of encoded columns as the table has them, in all rows."""
    table = trainer.file.table
    if table is None:
        return {}
    wanted = tuple(one for one in columns.fields if one.name in table.made)
    found, _ = table.load(data, wanted, trainer.stage.settings.get("columns"))
    return {one.name: np.asarray(found[one.name]) for one in wanted}


def _about(trainer: Trainer, one: Field, columns: Columns, target: bool, cells: Mapping[str, Any]) -> About:
    array, table = columns.arrays[one.name], trainer.file.table
    column = table.said.of.get(one.name) if table is not None else None
    own = cells.get(one.name)
    missing, words = 0, tuple[str, ...]()
    if own is not None:
        missing = int(np.count_nonzero(own == "") if own.dtype.kind == "O" else np.count_nonzero(np.isnan(own)))
    if column is not None and table is not None and column.words:
        words = tuple(table.words(one.name))
    classes: dict[int, int] = {}
    if target and array.dtype.kind == "i" and array.ndim == 1:
        found, counts = np.unique(array, return_counts=True)
        if len(found) <= CLASSES:
            classes = dict(zip(found.tolist(), counts.tolist(), strict=True))
    numbers = array.astype(np.float64)
    shown = own if own is not None else array
    return About(
        one.name,
        target,
        str(one),
        column.names if column is not None else (),
        float(numbers.min()) if array.size else math.nan,
        float(numbers.max()) if array.size else math.nan,
        float(numbers.mean()) if array.size else math.nan,
        missing,
        words,
        classes,
        tuple(_plain(row) for row in shown[:FIRST]),
        math.prod(shown.shape[1:]),
    )


def _plain(row: Any) -> Any:
    """A row as JSON has it: a long one by its first numbers."""
    flat = np.reshape(row, -1)[:8].tolist()
    flat = [None if isinstance(item, float) and math.isnan(item) else item for item in flat]
    return flat[0] if np.ndim(row) == 0 else flat


def _warnings(about: tuple[About, ...], columns: Columns, held: Columns | None, targets: set[str]) -> Iterator[str]:
    for one in about:
        array = columns.arrays[one.name]
        if columns.rows > 1 and one.low == one.high:
            yield f"`{one.name}` is {one.low:g} in every training row: it says nothing"
        elif columns.rows > 1 and array.ndim == 2 and array.shape[0] == columns.rows:
            still = np.flatnonzero((array == array[:1]).all(axis=0))
            if len(still):
                places = ", ".join(map(str, still[:8].tolist())) + (", ..." if len(still) > 8 else "")
                yield f"`{one.name}` is the same in every training row at {places}"
    yield from _leaks(columns, targets)
    if columns.rows <= MANY:
        yield from _alike(columns, held)
    if held is not None:
        for one in about:
            if one.classes and one.name in held.arrays:
                there = set(np.unique(held.arrays[one.name]).tolist())
                lacking = [_called(one, k) for k in one.classes if k not in there]
                new = [_called(one, k) for k in sorted(there - one.classes.keys())]
                if lacking:
                    yield f"no row for validation has the class {', '.join(lacking[:8])} of `{one.name}`"
                if new:
                    yield f"no row for training has the class {', '.join(new[:8])} of `{one.name}`"


def _called(one: About, number: int) -> str:
    return f"{number} ({one.words[number]})" if number < len(one.words) else str(number)


def _leaks(columns: Columns, targets: set[str]) -> Iterator[str]:
    """Inputs that say what a target is: equal to it, or nearly in proportion to it."""
    rows = columns.rows
    arrays = {
        name: np.reshape(array, (rows, -1)).astype(np.float64)
        for name, array in columns.arrays.items()
        if array.ndim and len(array) == rows and array.size
    }
    if rows < 3:
        return
    for name in (name for name in arrays if name in targets and arrays[name].shape[1] == 1):
        y = arrays[name][:, 0] - arrays[name][:, 0].mean()
        for other in (other for other in arrays if other not in targets):
            x = arrays[other] - arrays[other].mean(axis=0)
            spread = np.sqrt((x**2).sum(axis=0) * (y**2).sum())
            share = np.abs(x.T @ y) / np.where(spread > 0, spread, np.inf)
            at = int(np.argmax(share))
            if share[at] >= LEAK:
                place = f" at {at}" if x.shape[1] > 1 else ""
                yield f"`{other}`{place} says what `{name}` is (correlation {share[at]:.4f}): is it known beforehand?"


def _alike(columns: Columns, held: Columns | None) -> Iterator[str]:
    """Rows that are there more than once."""
    keys = _keys(columns)
    again = len(keys) - len(set(keys))
    if again:
        yield f"{again:,} of {columns.rows:,} training rows repeat another in every number"
    if held is not None and {one.name for one in held.fields} >= {one.name for one in columns.fields}:
        known = set(keys)
        shared = sum(key in known for key in _keys(Columns(columns.fields, held.arrays, held.rows, held.where)))
        if shared:
            yield f"{shared:,} of {held.rows:,} rows for validation are among those for training"


def _keys(columns: Columns) -> list[bytes]:
    parts = [
        np.ascontiguousarray(columns.arrays[one.name]).reshape(columns.rows, -1).view(np.uint8)
        for one in columns.fields
        if one.rows == 0
    ]
    return [row.tobytes() for row in np.concatenate(parts, axis=1)] if parts else []
