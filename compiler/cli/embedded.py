"""The spec that a compiled file holds, as a graph again: with the settings that the file was compiled with."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from dlc.runtime.failures import Error

if TYPE_CHECKING:
    from dlc.runtime.file import CompiledFile

    from ..ir.module import Module


def module_of(file: CompiledFile, max_nodes: int) -> Module:
    """The model of a file as a graph, before any pass. The library is the one that is installed. E0795 for a file
    without its spec; what the files of `load:` would start is left as it is."""
    return _read(file, max_nodes)[0]


def changed(file: CompiledFile, max_nodes: int) -> dict[str, Any]:
    """The settings with which a file was compiled otherwise than its spec says, as `--set` takes them. E0795."""
    return _read(file, max_nodes)[1]


def _read(file: CompiledFile, max_nodes: int) -> tuple[Module, dict[str, Any]]:
    from dlc.runtime.sources import places, write

    from ..elaborate import elaborate
    from ..elaborate.train import SETTABLE
    from ..pipeline import source_of
    from ..source import Source

    main, files = sources_of(file)
    at = places(files, file.name)
    with TemporaryDirectory() as name:
        write(Path(name), {at[source]: text for source, text in files.items()})
        source, folder = source_of(Path(name).joinpath(*at[main]))
        shown = f"{file.name}/{'/'.join(at[main])}"  # in messages
        source = Source(shown, source.text, source.stored)
        again = partial(elaborate, source, folder=folder, model=file.title, max_nodes=max_nodes, weights=False)
        module = again()
        given = {"model": file.hyperparameters, "train": file.settings}
        given_anew: dict[str, Any] = {
            f"{side}.{setting}": _given(value)
            for side, held in given.items()
            for setting, value in held.items()
            if setting in module.settings[side]
            and (setting not in SETTABLE or setting in ("ensemble", "class_weights"))
            and value != module.settings[side][setting]
        }
        return (again(overrides=given_anew) if given_anew else module), given_anew


def _given(value: Any) -> Any:
    """A setting as `--set` takes it: a function by its name, where files say "the function `tanh`"."""
    named = re.fullmatch(r"the \w+ `(\w+)`", value) if isinstance(value, str) else None
    return value if named is None else named[1]


def sources_of(file: CompiledFile) -> tuple[str, dict[str, str]]:
    """The name of the spec, and all texts that it was compiled from by their names. E0795 where the file lacks them."""
    main, files = file.sources.main, file.sources.files
    if main is None or main not in files:
        raise Error(
            "E0795",
            "the file does not hold its spec",
            where=file.name,
            notes=["files that other tools wrote, or that were changed by them, may lack it"],
            help="use the file that `dlc compile` or `dlc train` wrote",
        )
    return main, files
