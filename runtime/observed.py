"""What a file is told of its training set: how many rows it has, and how many have each class of a target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .data import Columns
    from .file import CompiledFile

ROWS = "observations"
CLASSES = ROWS + "/"  # and the name of a target: state of one number for each of its classes


def is_count(tensor: str) -> bool:
    """Whether state of that name holds numbers of rows by class."""
    return tensor.startswith(CLASSES)


def classes(file: CompiledFile) -> dict[str, int]:
    """The state that holds numbers of rows by class, and how many classes there are."""
    return {slot.tensor: slot.shape[0] for slot in file.slots if is_count(slot.tensor)}


def observed(file: CompiledFile, columns: Columns) -> dict[str, int | np.ndarray]:
    """What state of the file's says of training data, by its name."""
    found: dict[str, int | np.ndarray] = {ROWS: columns.rows}
    for name, count in classes(file).items():
        values = columns.arrays[name.removeprefix(CLASSES)]
        found[name] = np.bincount(np.ravel(values).astype(np.int64), minlength=count)
    return found
