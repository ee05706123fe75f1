"""What an encoding of a column needs to know: its names, its forms, and how it is found in the training rows.

Names of what belongs to a column begin with `column:`; no path of a parameter has a colon.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from .column import Column
from .failures import Error

PREFIX = "column:"


def state_name(column: str, what: str) -> str:
    """The initializer that holds what an encoding knows."""
    return f"{PREFIX}{column}/{what}"


def raw_shape(column: Column, rank: int) -> tuple[int, ...]:
    """The shape of a row of the table's own cells, where what they become has so many dimensions."""
    wider = column.missing == "indicator" or column.tokens or {"one_hot", "date", "image"} & set(column.encode)
    return () if (len(column.names) == 1 and wider) or rank < 2 else (len(column.names),)


def unfitted(column: Column, rank: int) -> dict[str, np.ndarray]:
    """What an encoding knows before a row was seen: its numbers are NaN, and there are no words."""
    if column.words:
        return {"words": np.array(["", unknown(column)] if column.tokens else [""], object)}
    shape = raw_shape(column, rank)
    if "date" in column.encode:
        shape = (len(column.parts),) if rank > 1 else ()
    states: dict[str, np.ndarray] = {}
    if column.missing is not None:
        states["fill"] = np.full(shape, column.missing if isinstance(column.missing, float) else math.nan)
    if "standardised" in column.encode:
        states["mean"], states["scale"] = np.full(shape, math.nan), np.full(shape, math.nan)
    if column.bins is not None:
        states["edges"] = np.full((*shape, column.bins - 1), math.nan)
    return states


def unknown(column: Column) -> str:
    """What stands in the list of words for those that training has not seen: what no word is, or no character."""
    return "  " if "characters" in column.encode else " "


def tokens(column: Column, text: str) -> list[str]:
    """A text in the parts that have places: its words, which blanks divide, or its characters (code points)."""
    return list(text) if "characters" in column.encode else text.split()


def characters(texts: np.ndarray) -> np.ndarray:
    """Texts `[rows]` as the graph takes them where it reads characters: `[rows, longest]`, "" behind their ends."""
    made = np.full((len(texts), max([1, *map(len, texts.tolist())])), "", object)
    for row, text in zip(made, texts.tolist(), strict=True):
        row[: len(text)] = list(text)
    return made


def dates(column: Column, cells: np.ndarray) -> np.ndarray:
    """The parts of dates that are written YYYY-MM-DD, `[rows, parts]`: year, month, day, weekday (0 is Monday), yearday
    (from 1), days (since 1970-01-01). Raises ValueError for what is no date."""
    days = cells.astype("datetime64[D]")
    months, years = days.astype("datetime64[M]"), days.astype("datetime64[Y]")
    number = days.astype(np.int64)
    known = {
        "year": years.astype(np.int64) + 1970,
        "month": months.astype(np.int64) % 12 + 1,
        "day": (days - months).astype(np.int64) + 1,
        "weekday": (number + 3) % 7,
        "yearday": (days - years).astype(np.int64) + 1,
        "days": number,
    }
    return np.stack([known[part] for part in column.parts], axis=1).astype(np.float64)


def fit(name: str, column: Column, cells: np.ndarray, where: str, rank: int = 1) -> dict[str, np.ndarray]:
    """What an encoding knows of the cells of the training rows: `[rows]` or `[rows, columns]` of text, or of numbers
    that are NaN where a cell is empty; `rank`: that of what they become. Spreads are those of the rows themselves
    (divided by their number), a constant column has the spread 1. Raises `Error` E0691."""
    if column.tokens:
        counts = Counter(word for cell in cells.tolist() for word in tokens(column, cell))
        kept = sorted(counts, key=lambda word: (-counts[word], word))[: column.most]
        return {"words": np.array(["", unknown(column), *sorted(kept)], object)}
    if "date" in column.encode:
        made = dates(column, cells)
        cells = made if rank > 1 else made[:, 0]
    if column.words:
        if isinstance(column.missing, tuple):
            cells = np.where(cells == "", column.missing[0], cells)
        words = sorted({str(word) for word in cells.reshape(-1)} - {""})
        return {"words": np.array(words if column.target else ["", *words], object)}
    states: dict[str, np.ndarray] = {}
    if column.image:
        return states
    if column.missing is not None:
        states["fill"] = _fill(name, column, cells, where)
        cells = np.where(np.isnan(cells), states["fill"], cells)
    if "log1p" in column.encode:
        cells = np.log1p(cells)
    if "standardised" in column.encode:
        spread = np.asarray(cells.std(axis=0))
        states["mean"], states["scale"] = np.asarray(cells.mean(axis=0)), np.where(spread > 0, spread, 1.0)
    if column.bins is not None:
        ends = np.quantile(cells, np.arange(1, column.bins) / column.bins, axis=0)
        states["edges"] = np.ascontiguousarray(np.moveaxis(ends, 0, -1))
    return states


def _fill(name: str, column: Column, cells: np.ndarray, where: str) -> np.ndarray:
    if isinstance(column.missing, float):
        return np.full(cells.shape[1:], column.missing)
    if np.isnan(cells).all(axis=0).any():
        raise Error(
            "E0691",
            f"a column of `{name}` is empty in all training rows",
            where=where,
            notes=[f"`missing = {column.missing}` is of the cells that are there"],
            help="say a number, `missing = 0`, or leave the column out",
        )
    return np.asarray(np.nanmedian(cells, axis=0) if column.missing == "median" else np.nanmean(cells, axis=0))
