"""What a file may ask of the machine: memory that is free, and an end."""
from __future__ import annotations

import os
import stat
from pathlib import Path

from .failures import Error

ENDLESS = 1 << 62  # where nothing says how much there is
CGROUP = Path("/sys/fs/cgroup")


def free() -> int:
    """Bytes that a process may still take: what the system calls available, or less that its control group leaves."""
    if not hasattr(os, "sysconf"):
        return ENDLESS
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = (_available(Path("/proc/meminfo")), _left("memory.max", "memory.current"),
              _left("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
    return min(physical, *(limit for limit in limits if limit is not None), ENDLESS)


def _available(path: Path) -> int | None:
    """MemAvailable of /proc/meminfo: what can be had without swapping."""
    for line in _text(path).splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if name == "MemAvailable" and words and words[0].isdigit():
            return int(words[0]) * 1024
    return None


def _left(limit: str, usage: str) -> int | None:
    """What the control group of this process leaves (version 2 or 1); None without a limit."""
    most, used = _text(CGROUP / limit).strip(), _text(CGROUP / usage).strip()
    return max(0, int(most) - int(used)) if most.isdigit() and used.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, ValueError):
        return ""


def refuse_endless(path: Path) -> None:
    """E0647 for what has no end or waits for another program: a device, a pipe, a socket. OSError if none is there."""
    mode = path.stat().st_mode
    for kind, name in ((stat.S_ISFIFO, "a pipe"), (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
                       (stat.S_ISSOCK, "a socket")):
        if kind(mode):
            raise Error(
                "E0647", f"`{path}` is {name}, not a file", notes=["it may have no end, or never begin"],
                help="write what comes from it to a file, and give that",
            )
