"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .failures import Error


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A temporary file in the folder of `path` that takes its name, synced, when the block ends well.

    Whatever stood there before stays until then; a killed process leaves it untouched. Raises OSError.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        # mkstemp makes files that only the owner reads; the result gets what an ordinary file would have.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def sync_folder(folder: Path) -> None:
    """Makes the rename itself durable, where the system lets a folder be opened."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def cannot_write(path: Path, problem: OSError) -> Error:
    """E0748, of what a run writes."""
    return Error(
        "E0748",
        f"cannot write `{path}`",
        notes=[why(path, problem)],
        help="check that the folder can be written and has room",
    )


def why(path: Path, problem: OSError) -> str:
    """What the system says; of a full disk also how much of it is free, in bytes and in files."""
    said = problem.strerror or str(problem)
    if problem.errno == errno.ENOSPC:
        with suppress(OSError):
            folder = next(one for one in path.absolute().parents if one.exists())
            said += f": {shutil.disk_usage(folder).free:,} bytes are free in `{folder}`"
            said += ", and no inodes, one of which each file takes" if _without_inodes(folder) else ""
    return said


def _without_inodes(folder: Path) -> bool:
    """Whether the file system has a fixed number of inodes, and none left. Windows counts none."""
    if sys.platform == "win32":
        return False
    found = os.statvfs(folder)
    return found.f_files > 0 and found.f_favail == 0  # file systems that make them as needed say 0 of 0
