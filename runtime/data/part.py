"""A part of a file, which is read when its rows are needed: what streams of files are made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from .fields import Field


class Part(ABC):
    """Some rows of a file, in their order."""

    @abstractmethod
    def read(self, fields: tuple[Field, ...], columns: Mapping[str, Sequence[str]]) -> tuple[Mapping[str, object], str]:
        """What `load` gives of a whole file. Raises `Error` as that does."""
