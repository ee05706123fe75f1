"""Writing what a person asked for: whole or not at all."""

from __future__ import annotations

from pathlib import Path

from .atomic import replacing, why
from .failures import Error


def write(path: Path, content: str | bytes) -> None:
    """Writes a file under a temporary name and renames it. Raises E0739."""
    try:
        with replacing(path) as out:
            out.write(content.encode("utf-8") if isinstance(content, str) else content)
    except OSError as problem:
        raise unwritable(path, problem) from None


def unwritable(path: Path, problem: OSError) -> Error:
    """E0739, of what leaves the file as it was."""
    return Error(
        "E0739",
        f"cannot write `{path}`",
        notes=[why(path, problem)],
        help="nothing was changed; check that the folder is there, can be written and has room",
    )
