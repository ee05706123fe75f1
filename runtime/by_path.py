"""The state of a trainer by path, to read and to assign."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .data.check import refuse_masked
from .failures import Error
from .nearest import did_you_mean

if TYPE_CHECKING:
    from .train import Trainer


class Values(MutableMapping[str, np.ndarray]):
    """State by path. Reading gives a copy; assigning checks name, shape and dtype (`Error` E0629)."""

    def __init__(self, trainer: Trainer, names: Sequence[str]) -> None:
        self._trainer, self._names = trainer, dict.fromkeys(names)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        return self._trainer._values.read(name)

    def __setitem__(self, name: str, value: object) -> None:
        if name not in self._names:
            raise Error("E0629", f"there is no `{name}` to assign", help=did_you_mean(name, self._names))
        slot = self._trainer._values.slots[name]
        refuse_masked(name, value, None)
        array = np.asarray(value)
        if array.shape != slot.shape or not np.can_cast(array.dtype, slot.dtype, "same_kind"):
            raise Error(
                "E0629",
                f"`{name}` cannot take this value",
                notes=[f"found {array.dtype} {list(array.shape)}", f"expected {slot.dtype} {list(slot.shape)}"],
            )
        with self._trainer._alone():
            self._trainer._values.write(name, array)
            self._trainer._assigned.add(name)

    def __delitem__(self, name: str) -> None:
        raise Error("E0629", f"`{name}` is part of the model and cannot be deleted")

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
