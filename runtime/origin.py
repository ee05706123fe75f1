"""What a compiled file was made from: whether the file in a run folder is still the one that was trained.

Names and shapes of state do not tell: a spec with another activation has the same. What is compared are the texts of
the spec and of the library that it uses, and the hyperparameters, not the graphs, so that another build of dlc may have
compiled it again if nothing of the library has changed.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import fields
from pathlib import Path

from . import metadata, sources, structure
from .file import CompiledFile

ACTED_ON = {one.name for one in fields(metadata.Train)}  # settings that no graph reads; a run has its own


def of(file: CompiledFile) -> str:
    """The CRC-32 in hex of the texts that a file was compiled from; of its graphs, where it holds none."""
    texts = file.sources.files
    what = json.dumps(texts, sort_keys=True) if texts else structure.text(file.frame)
    return f"{zlib.crc32(what.encode(errors='surrogateescape')):08x}"


def changes(file: CompiledFile, known: str, settings: str, spec: Path) -> list[str]:
    """In what the spec of a file differs from that of a run, in words; nothing if it does not.

    `known` is `of` the file that was trained, "" if its checkpoint is older than that: then the texts in `spec`, the
    run's folder of sources, decide. `settings` is its `dlc.settings`.
    """
    notes = []
    if known != of(file):
        differing = _differing(file, spec)
        if differing:
            more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
            notes.append(f"the text of {', '.join(f'`{name}`' for name in differing[:3])}{more} is different")
        elif known:
            notes.append("the text of its spec is different")
    was, now = _settings(settings), _settings(file.metadata.get("dlc.settings", "{}"))
    for name in (name for name in now if name in was and was[name] != now[name]):
        notes.append(f"`{name[1]}` is {_short(now[name])}, was {_short(was[name])}")
    return notes


def _differing(file: CompiledFile, spec: Path) -> list[str]:
    """The sources of a file that stand in the folder with another text, or not at all; none where there is no folder.
    Where a source of an unusual name was written depends on the build."""
    texts = file.sources.files
    held = {name: spec.joinpath(*parts) for name, parts in sources.anyhow(texts).items() if sources.place(name)}
    if not spec.is_dir():
        return []
    return [name for name, path in held.items() if not _reads(path, texts[name])]


def _reads(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode()
    except OSError:
        return False


def _settings(text: str) -> dict[tuple[str, str], object]:
    """Hyperparameters, and the arguments of the train block, by block and name; none of what is no such JSON."""
    try:
        found = metadata.parse(text)
    except ValueError:
        return {}
    blocks = found if isinstance(found, dict) else {}
    return {
        (block, name): value
        for block in ("model", "train")
        for name, value in (blocks[block] if isinstance(blocks.get(block), dict) else {}).items()
        if block == "model" or name not in ACTED_ON
    }


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:40] + "…"
