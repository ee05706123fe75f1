"""Where the sources that a file holds are written: their names come from the file, which anyone may have written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path, PurePosixPath

from .atomic import replacing
from .failures import Error

Place = tuple[str, ...]  # the parts of a relative path
# A part of a name that no program takes for a command of its own: it does not begin with a dot.
_PART = re.compile(r"[^\W.][^\0-\x1f\x7f/\\:*?\"<>|]{0,199}")


def place(name: str) -> Place | None:
    """The parts of a source's name, or None where it is not one that dlc writes: one ends with `.dl`, leads nowhere
    else and has no part that begins with a dot."""
    parts = tuple(part for part in name.split("/") if part != ".")
    good = parts and parts[-1].endswith(".dl") and all(_PART.fullmatch(part) for part in parts)
    return parts if good and len(parts) <= 32 else None


def renamed(name: str) -> Place:
    """The same, of any name: a spec may be called as its owner likes."""
    found = place(name)
    if found is not None:
        return found
    given = PurePosixPath(name.replace("\\", "/")).parts
    words = [re.sub(r"[^\w.-]+", "_", part).lstrip("._-")[:150] for part in given]
    parts = [word for word in words if word][-30:] or ["spec"]
    return (*parts[:-1], parts[-1] if parts[-1].endswith(".dl") else parts[-1] + ".dl")


def places(names: Iterable[str], file: str) -> dict[str, Place]:
    """The place of each source in a folder. Raises `Error` E0798 for a name that is none, or two in one place."""
    found: dict[str, Place] = {}
    names = list(names)
    local = {place(name) for name in names if name.startswith("./")}
    for name in names:
        at = place(name)
        if at is None:
            raise Error(
                "E0798",
                f"the source name `{name}` is not one that dlc writes",
                where=file,
                notes=["a name is a relative path that ends with `.dl`; no part of it begins with a dot"],
                help="do not trust this file; without -o the spec is printed",
            )
        # A folder `std` beside the spec, and the library, of which the file holds what was used.
        found[name] = ("library", *at) if at in local and not name.startswith("./") else at
    taken = sorted(found.values())
    for one, other in pairwise(taken):
        if other[: len(one)] == one:
            raise Error(
                "E0798",
                f"two sources of the file go by the name `{'/'.join(one)}`",
                where=file,
                help="do not trust this file; without -o the spec is printed",
            )
    return found


def anyhow(names: Iterable[str]) -> dict[str, Place]:
    """The place of each source, whatever the names are: each in a folder of its own where they are none of dlc's."""
    names = list(names)
    try:
        return places(names, "")
    except Error:
        return {name: (str(i), *renamed(name)) for i, name in enumerate(names, 1)}


def write(folder: Path, texts: Mapping[Place, str], *, force: bool = False) -> None:
    """Writes texts into a folder that is new or empty, or, with `force`, over what stands there; no link is followed.
    Everything is looked at before anything is written. Raises `Error` E0773, E0774 and OSError."""
    if folder.is_symlink():
        raise _link(folder)
    if not force and folder.is_dir() and any(folder.iterdir()):
        raise Error(
            "E0773",
            f"the folder `{folder}` is not empty",
            notes=["what is there would be mixed up or lost"],
            help="give a new folder, or --force to write over what has the same names",
        )
    for parts in texts:
        at = folder
        for part in parts:
            at = at / part
            if at.is_symlink():
                raise _link(at)
        if at.is_dir():
            raise Error("E0773", f"`{at}` is a folder, and a file would be written there", help="give a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    for parts, text in texts.items():
        at = folder.joinpath(*parts)
        os.makedirs(at.parent, exist_ok=True)
        with replacing(at) as out:
            out.write(text.encode())


def _link(path: Path) -> Error:
    return Error(
        "E0774",
        f"`{path}` is a link",
        notes=["links are not followed: what they point to would be changed"],
        help="give a new folder",
    )
