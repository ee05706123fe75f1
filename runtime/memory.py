"""What a file may ask of the machine: memory that is free, and an end."""

from __future__ import annotations

import ctypes
import functools
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from .failures import Error

ENDLESS = 1 << 62  # where nothing says how much there is
CGROUP, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def free() -> int:
    """Bytes that a process may still take: what the system calls available, or less that its control group leaves."""
    if not hasattr(os, "sysconf"):
        return ENDLESS
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [_available(Path("/proc/meminfo")), *(_left(*files) for files in _groups(_text(OWN)))]
    return min([physical, *(limit for limit in limits if limit is not None)])


def _available(path: Path) -> int | None:
    """MemAvailable of /proc/meminfo: what can be had without swapping."""
    for line in _text(path).splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if name == "MemAvailable" and words and words[0].isdigit():
            return int(words[0]) * 1024
    return None


def _groups(own: str) -> Iterator[tuple[Path, Path]]:
    """The limit and the usage of the control groups of this process and of those around them, of version 2 and 1.

    `own` is /proc/self/cgroup: lines of `number:controllers:path`. A container sees its own group as the root.
    """
    found = {"": PurePosixPath("/"), "memory": PurePosixPath("/")}
    for line in own.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        name = "memory" if "memory" in controllers.split(",") else controllers
        if name in found and path.startswith("/") and ".." not in path:
            found[name] = PurePosixPath(path)
    for name, files in (
        ("", ("memory.max", "memory.current")),
        ("memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")),
    ):
        for group in (found[name], *found[name].parents):
            folder = CGROUP / name / group.relative_to("/")
            yield folder / files[0], folder / files[1]


def _left(limit: Path, usage: Path) -> int | None:
    """What a control group leaves; None without a limit."""
    most, used = _text(limit).strip(), _text(usage).strip()
    return max(0, int(most) - int(used)) if most.isdigit() and used.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, ValueError):
        return ""


def give_back() -> None:
    """Gives the system what this process holds and does not use, where its C library keeps that for itself (glibc)."""
    trim = _trimmer()
    if trim is not None:
        trim(0)


@functools.cache
def _trimmer() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # of another C library
        return None
    return found


def refuse_endless(path: Path) -> None:
    """E0647 for what has no end or waits for another program: a device, a pipe, a socket. OSError if none is there."""
    mode = path.stat().st_mode
    for kind, name in (
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
        (stat.S_ISSOCK, "a socket"),
    ):
        if kind(mode):
            raise Error(
                "E0647",
                f"`{path}` is {name}, not a file",
                notes=["it may have no end, or never begin"],
                help="write what comes from it to a file, and give that",
            )


def refuse_huge(size: int, where: str, what: str, how: str = "", help: str | None = None) -> None:
    """A small archive can claim more than any machine holds: its own list of sizes is asked first. E0624."""
    most = free()
    if size > most:
        raise Error(
            "E0624",
            f"{what} fit into the memory that is free",
            where=where,
            notes=[f"{size} bytes {how or 'of text'}, {most} bytes of memory"],
            help=help,
        )
