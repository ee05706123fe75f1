"""One process at a time in a run folder. The system gives a lock back when its process ends, however it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .failures import Error

FAR = 1 << 30  # the byte that is locked where only bytes of files can be: beyond the end of any settings


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Holds the lock of a run folder: on the folder itself, so nothing is left lying. Raises `Error` E0757 where
    another process (or another trainer of this one) holds it. File systems without locks are taken as they are."""
    handle = _open(folder)
    try:
        if handle is not None and not _taken(handle):
            raise Error(
                "E0757",
                f"the run `{folder}` is already being trained",
                where=str(folder),
                help="wait for the other process to end, or stop it",
            )
        yield
    finally:
        if handle is not None:
            os.close(handle)


def free(folder: Path) -> bool:
    """Whether nobody holds the lock of a folder; false where that cannot be said."""
    handle = _open(folder)
    try:
        return os.name == "posix" and handle is not None and _taken(handle)
    finally:
        if handle is not None:
            os.close(handle)


def _open(folder: Path) -> int | None:
    with suppress(OSError):
        return os.open(folder, os.O_RDONLY) if os.name == "posix" else os.open(folder / "settings.json", os.O_RDWR)
    return None


def _taken(handle: int) -> bool:
    """Takes the lock; whether it was free."""
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt  # of Windows

            os.lseek(handle, FAR, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True  # this file system has no locks
    return True
