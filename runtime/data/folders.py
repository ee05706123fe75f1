"""Text files and folders of files as tables: lines of texts, and texts or images in folders that are called as their
classes.

| path | rows | columns |
| --- | --- | --- |
| `notes.txt` | its lines | `text`, `file` |
| a folder of `.txt` files | their lines | `text`, `file` |
| a folder of folders of `.txt` files | the files | `text`, `class`, `file` |
| a folder of images | the images | `image`, `file` |
| a folder of folders of images | the images | `image`, `class`, `file` |

`file` is the name of the file without its ending, `class` that of the folder in which it is. Rows are in the order of
these names, and lines in that of the file; lines and files of nothing but blanks are no rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from .. import memory
from ..failures import Error
from . import packed
from .check import Lines
from .fields import Field
from .raw import Raw
from .table import no_number, places

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
TEXT = ".txt"

Columns = Mapping[str, Sequence[str]]  # what the setting `columns` says
Found = tuple[Mapping[str, object], Lines]


class Places(Lines):
    """Where rows are from that have a file, or a line in one, each."""

    each: Sequence[str]

    def at(self, row: int) -> str:
        return self.each[row]


def kind(path: Path) -> str | None:
    """How a folder is read, `/.txt`, `//.txt`, `/image` or `//image`; None for one that holds no such files."""
    for mark, pattern in (("/", "*"), ("//", "*/*")):
        for file in path.glob(pattern):
            if file.suffix.lower() in (TEXT, *IMAGES):
                return mark + (TEXT if file.suffix.lower() == TEXT else "image")
    return None


def lines(path: Path, fields: tuple[Field, ...], columns: Columns) -> Found:
    """The lines of a text file, packed or not, or of those in a folder. Raises `Error` E0604, E0609, E0618, E0624,
    E0627, E0639, E0650."""
    rows: dict[str, list[str]] = {"text": [], "file": []}
    where: list[str] = []
    for file in _files(path, (TEXT,), deep=False) if path.is_dir() else [path]:
        name = file.name[: file.name.lower().rindex(TEXT)]
        for number, line in enumerate(_text(file).split("\n"), 1):
            if line.strip():
                rows["text"].append(line.strip())
                rows["file"].append(name)
                where.append(f"{file}:{number}")
    return _table(path, rows, where, fields, columns)


def texts(path: Path, fields: tuple[Field, ...], columns: Columns) -> Found:
    """Texts in folders that are called as their classes. Raises `Error` as `lines` does."""
    rows: dict[str, list[str]] = {"text": [], "class": [], "file": []}
    where: list[str] = []
    size = 0
    for file in _files(path, (TEXT,), deep=True):
        text = _text(file).strip()
        size += len(text)
        memory.refuse_huge(size, str(path), "the texts in this folder do not", "so far")
        if text:
            rows["text"].append(text)
            rows["class"].append(file.parent.name)
            rows["file"].append(file.stem)
            where.append(str(file))
    return _table(path, rows, where, fields, columns)


def images(path: Path, fields: tuple[Field, ...], columns: Columns) -> Found:
    """Images in a folder, or in folders that are called as their classes: their paths, from which they are read when
    they are encoded. Raises `Error` E0609, E0618, E0627."""
    nested = kind(path) == "//image"
    files = _files(path, IMAGES, deep=nested)
    rows = {"image": [str(file.relative_to(path)) for file in files], "file": [file.stem for file in files]}
    if nested:
        rows["class"] = [file.parent.name for file in files]
    return _table(path, rows, [str(file) for file in files], fields, columns)


def _files(path: Path, endings: Sequence[str], *, deep: bool) -> list[Path]:
    found = [file for file in path.glob("*/*" if deep else "*") if file.suffix.lower() in endings]
    for file in found:
        memory.refuse_endless(file)
    return sorted(found, key=lambda file: (file.parent.name, file.name))


def _text(file: Path) -> str:
    """Raises `Error` E0604, E0624, E0639, E0650."""
    try:
        with packed.text(file) as opened:
            return opened.read().replace("\r\n", "\n").replace("\r", "\n")
    except packed.DAMAGE as problem:
        raise packed.damaged(file, problem) from None
    except UnicodeDecodeError as problem:
        raise Error(
            "E0650",
            "this text file is not UTF-8",
            where=str(file),
            notes=[f"byte {problem.start} is {problem.object[problem.start]:#04x}: {problem.reason}"],
            help="save it as UTF-8: `iconv -f LATIN1 -t UTF-8 old.txt > new.txt`",
        ) from None


def _table(
    path: Path, rows: Mapping[str, list[str]], where: Sequence[str], fields: tuple[Field, ...], columns: Columns
) -> Found:
    """The columns of which fields are made: cells of text, and of nothing else."""
    header = list(rows)
    found: dict[str, object] = dict.fromkeys(header)
    names: dict[str, list[str]] = {}
    for field in fields:
        at = places(field, header, columns, str(path))
        found.pop(field.name, None)
        if at is None:
            continue
        names[field.name] = [header[i] for i in at]
        if not isinstance(field, Raw) or field.dtype.kind != "O":
            name = names[field.name][0]
            raise no_number(field, name, (rows[name] or ["nothing"])[0], where[0] if where else str(path))
        parts = [np.array(rows[name], object) for name in names[field.name]]
        found[field.name] = parts[0] if len(field.shape) == 1 else np.stack(parts, axis=1)
    made = Places(str(path), range(len(where)), names)
    made.each = where
    return found, made
