"""Text in a file, or packed in one: by gzip, or by Zstandard, which pyarrow unpacks."""

from __future__ import annotations

import gzip
import io
import math
import zlib
from pathlib import Path
from typing import Any, TextIO

from .. import memory
from ..failures import Error

ENDINGS = (".gz", ".zst")
DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile)  # what reading a damaged file raises
AGAIN = "pack it again, or give it unpacked, without the ending"
BLOCK = 1 << 20


def text(path: Path, whole: bool = True) -> TextIO:
    """The text of a CSV file, unpacked as it is read; as a `whole` no more than the free memory holds. Raises `Error`
    E0624, E0639."""
    kind = path.suffix.lower()
    if kind not in ENDINGS:
        if whole:
            memory.refuse_huge(path.stat().st_size, str(path), "this file does not")
        return path.open(newline="", encoding="utf-8-sig")
    inner = gzip.GzipFile(path) if kind == ".gz" else pyarrow("what Zstandard packed").input_stream(str(path), "zstd")
    return io.TextIOWrapper(io.BufferedReader(_Bounded(inner, path, whole), BLOCK), newline="", encoding="utf-8-sig")


def pyarrow(what: str) -> Any:
    """The module. Raises `Error` E0639."""
    try:
        import pyarrow
    except ImportError as problem:
        raise Error(
            "E0639",
            f"pyarrow is not installed: it reads {what}",
            notes=[str(problem)],
            help='install the extra: pip install "dlc-compiler[tables]"',
        ) from None
    return pyarrow


class _Bounded(io.RawIOBase):
    """What is unpacked, until it passes what memory holds: a few bytes can stand for any number of them."""

    def __init__(self, inner: Any, path: Path, whole: bool = True) -> None:
        self.inner, self.path, self.count, self.most = inner, path, 0, memory.free() if whole else math.inf

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        try:
            data = self.inner.read(len(into))
        except OSError as problem:
            if problem.errno is None and not isinstance(problem, DAMAGE):  # pyarrow's, of what is no Zstandard
                raise EOFError(str(problem)) from None
            raise
        into[: len(data)] = data
        self.count += len(data)
        if self.count > self.most:
            memory.refuse_huge(self.count, str(self.path), "this file does not", "unpacked so far")
        return len(data)

    def close(self) -> None:
        self.inner.close()
        super().close()
