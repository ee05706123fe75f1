"""Images as data: files, packed bytes and arrays of pixels, as the pixels `[height, width, channels]` of 8 bits.

Pillow (the extra [images]) is imported when the first file or piece of packed bytes is read.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..failures import Error
from .fields import Field

MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's name of each number of channels


def cells(field: Field, value: object, where: str) -> np.ndarray:
    """What a column has of images, `[rows]` of objects: paths, packed bytes, arrays of pixels, not yet read. Raises
    `Error` E0651."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "O" and value.ndim == 1:
        return value
    if not isinstance(value, Sequence | np.ndarray) or isinstance(value, str | bytes):
        raise _none(field, type(value).__name__, where)
    made = np.empty(len(value), object)
    for row, item in enumerate(value):
        made[row] = item
    return made


def pixels(field: Field, item: Any, channels: int, place: str, base: Path) -> np.ndarray:
    """An image as its pixels, `[height, width, channels]` of uint8; its path counts from `base`. Raises `Error`
    E0639, E0651."""
    if isinstance(item, Mapping):  # a cell of a data set of Hugging Face
        item = item.get("bytes") or item.get("path")
    if isinstance(item, np.ndarray):
        return _array(field, item, channels, place)
    if isinstance(item, str | bytes | os.PathLike):
        return _decoded(field, item, channels, place, base)
    if hasattr(item, "convert") and hasattr(item, "size"):  # an image of Pillow
        return _array(field, np.asarray(item.convert(MODES[channels])), channels, place)
    raise _none(field, type(item).__name__, place)


def _decoded(field: Field, item: Any, channels: int, place: str, base: Path) -> np.ndarray:
    try:
        from PIL import Image
    except ImportError as problem:
        raise Error(
            "E0639",
            "Pillow is not installed: it reads images",
            notes=[str(problem)],
            help='install the extra: pip install "dlc-compiler[images]"',
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            source = io.BytesIO(item) if isinstance(item, bytes) else base / item
            with Image.open(source) as image:
                return _array(field, np.asarray(image.convert(MODES[channels])), channels, place)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as problem:
        shown = place if isinstance(item, bytes) or str(item) in str(place) else f"{place}: {item}"
        raise Error(
            "E0651",
            f"an image of `{field.name}` cannot be read",
            where=shown,
            notes=[str(problem)],
            help="leave this row out, or write the image anew",
        ) from None


def _array(field: Field, array: np.ndarray, channels: int, place: str) -> np.ndarray:
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], channels, axis=2)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != channels or not array.size:
        raise Error(
            "E0651",
            f"an image of `{field.name}` is no array of pixels",
            where=place,
            notes=[
                f"found {array.dtype} of shape {list(array.shape)}",
                f"expected uint8 of shape [height, width, {channels}], or [height, width]",
            ],
            help="pixels are integers from 0 to 255; give other numbers to an input without `image`",
        )
    return array


def _none(field: Field, found: str, where: str) -> Error:
    return Error(
        "E0651",
        f"`{field.name}` is made of images, and these are none",
        where=where,
        notes=[f"found {found}", "expected paths, packed bytes, or arrays of pixels [height, width, channels]"],
    )
