"""Which rows train, which validate and which test: seeded shares of the data, and folds of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .. import random
from ..failures import Error
from .check import Columns
from .fields import Field
from .source import take


class Shares(NamedTuple):
    """Each in the order of the data; None where it has no rows."""

    train: Columns
    validation: Columns | None
    test: Columns | None


@dataclass(frozen=True)
class Fold:
    """One of `count` parts of the rows: number `index`, from 0, validates. `index` is `count` where all rows train.
    `by`: the target whose classes each part has in proportion, None for parts of the rows as they come."""

    count: int
    index: int
    by: str | None = None


def shares(columns: Columns, seed: int, validate: float = 0.0, test: float = 0.0, fold: Fold | None = None) -> Shares:
    """The rows in a seeded order: the first validate, the next test, the rest train; or of the rest one fold validates.
    Where several dimensions count rows, of each.

    Raises `Error` E0619 where one of them would be empty, E0685 for more folds than rows, E0686 where there are no
    classes to keep the proportions of.
    """
    parts: list[dict[str, np.ndarray]] = [{}, {}, {}]
    for name, count in (columns.counts or {"": columns.rows}).items():
        place = columns.places.get(name, 0)
        found = list(places(count, seed, validate, test, columns.where, name, place))
        if fold is not None:
            of = folds(columns, found[0], fold, name)
            found[1], found[0] = found[0][of == fold.index], found[0][of != fold.index]
        for part, rows in zip(parts, found, strict=True):
            part[name] = np.sort(rows)
    taken = [_rows(columns, part) if any(map(len, part.values())) else None for part in parts[1:]]
    return Shares(_rows(columns, parts[0]), *taken)


def places(
    rows: int, seed: int, validate: float, test: float, where: str, along: str = "", place: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rows of the dimension `along` that train, that validate and that test, each in the seeded order. Raises
    `Error` E0619."""
    order = random.permutation(rows, seed=seed, purpose=random.SPLIT, own=(place, 0) if place else ())
    held, tested = round(rows * validate), round(rows * test)
    for share, count, what in ((validate, held, "validation"), (test, tested, "test")):
        if share and not 0 < count < rows - (held + tested - count):
            raise Error(
                "E0619",
                f"a {what} share of {share} of {rows} rows{f' of `{along}`' if along else ''} leaves one side empty",
                where=where,
                notes=[f"{count} rows for {what}, {rows - held - tested} for training"],
                help="give more data, another share, or none",
            )
    return order[held + tested :], order[:held], order[held : held + tested]


def folds(columns: Columns, rows: np.ndarray, fold: Fold, along: str) -> np.ndarray:
    """The fold of each of some rows: parts that follow on each other, the first ones a row larger where it does not
    come out even; or, of each class in turn, one row for each fold after the other."""
    count, total = fold.count, len(rows)
    if count > total:
        raise Error(
            "E0685",
            f"{total} rows do not make {count} folds",
            where=columns.where,
            help="each fold holds out one row at least: give more data, or fewer folds",
        )
    if fold.by is None or all(f.along != along for f in columns.fields if f.name == fold.by):
        sizes = np.full(count, total // count)
        sizes[: total % count] += 1
        return np.repeat(np.arange(count), sizes)
    labels = np.asarray(columns.arrays[fold.by])[rows]
    classes, members = np.unique(labels, return_inverse=True)
    sizes = np.bincount(members.reshape(-1))
    if labels.ndim != 1 or sizes.max() < count:
        found = f"{len(classes)} different values in {total} rows" if labels.ndim == 1 else f"shape {labels.shape}"
        raise Error(
            "E0686",
            f"`{fold.by}` has no classes that {count} folds could have in proportion",
            where=columns.where,
            notes=[f"found {found}", f"expected one label a row, and a class of {count} rows at least"],
            help=f"`folds: {count}` parts the rows at random",
        )
    parts = np.empty(total, np.int64)
    parts[np.argsort(members.reshape(-1), kind="stable")] = np.arange(total) % count
    return parts


def _rows(columns: Columns, rows: Mapping[str, np.ndarray]) -> Columns:
    def part(f: Field) -> np.ndarray:
        array = columns.arrays[f.name]
        return array if f.rows is None else take(array, f.rows, rows[f.along])

    arrays = {f.name: part(f) for f in columns.fields}
    return Columns(columns.fields, arrays, max(len(each) for each in rows.values()), columns.where)
