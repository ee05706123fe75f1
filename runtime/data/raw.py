"""Cells of a table as the table has them, words and gaps too: what the encodings of a file's columns take."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..failures import Error
from . import images
from .check import Lines
from .fields import Field

EMPTY = ("", "na", "n/a", "nan", "null", "none")  # what stands for no number
GAP = "say in the spec what an empty cell counts as: `missing = median`, `missing = 0`; or leave these rows out"


@dataclass(frozen=True)
class Raw(Field):
    """The cells of a column that the file encodes: text (`dtype` object), or float64. `gaps`: some may be empty.
    `image`: they are images."""

    gaps: bool = False
    image: bool = False

    @property
    def text(self) -> bool:
        return self.dtype.kind == "O"


def written(field: Raw, texts: list[str], empty: Callable[[int], Error]) -> np.ndarray | None:
    """The cells of a text file; None for numbers among which is something else. `empty`: what to say of a cell, by its
    place, that may not be empty."""
    texts = [text.strip() for text in texts]
    if not field.gaps:
        bad = next((place for place, text in enumerate(texts) if not text), None)
        if bad is not None:
            raise empty(bad)
    if field.text:
        return np.array(texts, object)
    if field.gaps:
        texts = ["nan" if text.lower() in EMPTY else text for text in texts]
    together = "".join(texts)
    if not together.isascii() or "_" in together:
        return None
    try:
        return np.array([float(text) for text in texts], np.float64)
    except ValueError:
        return None


def cells(field: Raw, value: object, where: str) -> np.ndarray:
    """Any array of such cells: objects too, where None and NaN are empty. Raises `Error` E0614, E0616, E0626, E0651."""
    if field.image:
        return images.cells(field, value, where)
    try:
        array = np.asarray(value)
    except (ValueError, TypeError):
        raise Error(
            "E0626",
            f"`{field.name}` is not a rectangular array",
            where=where,
            notes=[f"expected `{field}`"],
            help="give one cell for each row",
        ) from None
    if array.dtype.kind == "O":
        made = np.empty(array.shape, field.dtype)
        made[...] = np.reshape([_one(field, item, where) for item in array.reshape(-1).tolist()], array.shape)
    elif field.text:
        made = np.empty(array.shape, object)
        made[...] = np.reshape(np.array([word(item) for item in array.reshape(-1).tolist()], object), array.shape)
    elif array.dtype.kind in "biuf":
        made = np.ascontiguousarray(array, np.float64).reshape(array.shape)
    else:
        raise _none(field, str(array.dtype), where)
    if field.text:
        wrong, what = made == "", "has an empty cell"
    else:
        wrong, what = np.isinf(made) if field.gaps else ~np.isfinite(made), "holds NaN or infinity"
    if bool(np.any(wrong)) and not (field.text and field.gaps):
        place = [int(at) for at in np.unravel_index(int(np.argmax(wrong)), made.shape)]
        infinite = not field.text and bool(np.isinf(made[tuple(place)]))
        raise Error(
            "E0616",
            f"`{field.name}` {what}",
            where=where.at(place[0]) if isinstance(where, Lines) and place else where,
            notes=[f"the first is at {place}"],
            help="leave these rows out, or leave the cell empty and say what that counts as" if infinite else GAP,
        )
    return made


def word(item: Any) -> str:
    """A cell as text: integers without a point, so that a column with gaps says what one without says."""
    if item is None or (isinstance(item, float) and math.isnan(item)):
        return ""
    if isinstance(item, bytes):
        return item.decode(errors="replace")
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, float) and item.is_integer():
        return str(int(item))
    return str(item).strip()


def _one(field: Raw, item: Any, where: str) -> Any:
    if field.text:
        return word(item)
    if item is None or str(item) == "<NA>":
        return math.nan
    if isinstance(item, bool | int | float | np.generic):
        return float(item)
    raise _none(field, repr(item)[:40], where)


def _none(field: Field, found: str, where: str) -> Error:
    return Error(
        "E0614",
        f"`{field.name}` does not hold numbers",
        where=where,
        notes=[f"found {found}", f"expected `{field}`"],
        help=f'the spec makes numbers of words: `from "{field.name}" vocabulary`, or `one_hot`',
    )
