"""What is in a file, or packed in one: by gzip, or by Zstandard, which pyarrow unpacks."""

from __future__ import annotations

import gzip
import io
import math
import zlib
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from .. import memory
from ..failures import Error

ENDINGS = (".gz", ".zst")
DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile)  # what reading a damaged file raises
AGAIN = "pack it again, or give it unpacked, without the ending"
BLOCK = 1 << 20
LONGEST = 1 << 26  # bytes of a line, where a packed file is read line by line


def unpacked(path: Path, whole: bool = True) -> BinaryIO:
    """The bytes of a file, unpacked as they are read; as a `whole` no more than the free memory holds. Raises `Error`
    E0624, E0639."""
    kind = path.suffix.lower()
    if kind not in ENDINGS:
        if whole:
            memory.refuse_huge(path.stat().st_size, str(path), "this file does not")
        return path.open("rb")
    inner = gzip.GzipFile(path) if kind == ".gz" else pyarrow("what Zstandard packed").input_stream(str(path), "zstd")
    return io.BufferedReader(_Bounded(inner, path, whole), BLOCK)


def text(path: Path, whole: bool = True) -> TextIO:
    """The same as text. Raises `Error` as `unpacked` does."""
    return io.TextIOWrapper(unpacked(path, whole), newline="", encoding="utf-8-sig")


def files(path: Path, *endings: str) -> list[Path]:
    """The files in a folder that end so, packed or not, in the order of their names, without hidden ones; of a file
    itself. Raises `Error` E0603 where one is there packed and unpacked: its rows would count twice."""
    if not path.is_dir():
        return [path]
    every = tuple(ending + more for ending in endings for more in ("", *ENDINGS))
    found = sorted(f for f in path.iterdir() if f.name.lower().endswith(every) and f.name[0] != "." and not f.is_dir())
    alike: dict[str, Path] = {}
    for file in found:
        memory.refuse_endless(file)
        bare = file.name.removesuffix(file.suffix if file.suffix.lower() in ENDINGS else "")
        if (other := alike.setdefault(bare, file)) is not file:
            raise two(path, other, file)
    return found


def two(path: Path, first: Path, second: Path) -> Error:
    """E0603 of a folder with two files that are not read together."""
    return Error(
        "E0603",
        f"the folder `{path.name}` holds data of two kinds",
        where=str(path),
        notes=[f"found `{first.name}` and `{second.name}`"],
        help="leave one kind of files in the folder, and each of them once, packed or not",
    )


def blank(path: Path) -> bool:
    """Whether nothing but blanks is in a file. Raises `Error` E0604, E0639."""
    try:
        with unpacked(path, whole=False) as file:
            while some := file.read(BLOCK):
                if some.strip():
                    return False
    except DAMAGE as problem:
        raise damaged(path, problem) from None
    return True


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


def damaged(path: Path, problem: Exception) -> Error:
    """E0604 of what reading a packed file raised, one of `DAMAGE`."""
    return Error("E0604", "this packed file is damaged", where=str(path), notes=[str(problem)], help=AGAIN)


class _Bounded(io.RawIOBase):
    """What is unpacked, until it passes what memory holds, or one line does, where it is read line by line: a few bytes
    can stand for any number of them."""

    def __init__(self, inner: Any, path: Path, whole: bool = True) -> None:
        self.inner, self.path, self.count, self.line = inner, path, 0, 0
        self.most: float = memory.free() if whole else math.inf
        self.longest: float = math.inf if whole else LONGEST

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
        end = data.rfind(b"\n")
        self.line = self.line + len(data) if end < 0 else len(data) - end - 1
        if self.line > self.longest:
            raise Error(
                "E0624",
                "a line of this file does not fit into the memory that is free for one",
                where=str(self.path),
                notes=[f"found {self.line} bytes without an end of line, {self.longest} at most"],
                help="write each row on a line of its own",
            )
        return len(data)

    def close(self) -> None:
        self.inner.close()
        super().close()
