"""What a fit feeds: how many rows a batch has, which rows an epoch takes, and in which order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from . import random
from .arguments import positive
from .choosing import Chooser
from .data import ArraySource, Columns, Streamed
from .data.source import Cut, Order
from .data.stream import StreamSource
from .evaluate import fit_batch
from .failures import Error
from .file import CompiledFile
from .metadata import BATCH, Batch

UPDATES = 100  # of an epoch, where all rows are drawn and none come from data


def batch_of(file: CompiledFile, given: object, own: object) -> Batch:
    """The rows of a batch that were asked for, of each dimension that counts rows where there are several; `own` are
    those of the train block. Raises `Error` E0625 for what is no number of rows, E0682 for too few or too many of them.
    """
    several, given = file.signature.rows, own or BATCH if given is None else given
    if not several:
        return "all" if given == "all" else positive("batch", given)
    if not isinstance(given, Mapping) or set(given) != set(several):
        raise Error(
            "E0682",
            "a batch has rows of several dimensions, and each has a number of its own",
            where=file.name,
            notes=[f"found {given!r}", "the dimensions are " + ", ".join(several)],
            help="`batch: rows(" + ", ".join(f"{name} = 100" for name in several) + ")` in the spec; from Python "
            "fit(batch={" + ", ".join(f'"{name}": 100' for name in several) + "})",
        )
    return {name: "all" if size == "all" else positive(f"batch of {name}", size) for name, size in given.items()}


def held_to(file: CompiledFile, columns: Columns, batch: Batch, own: object) -> None:
    """Raises `Error` E0682 for another number of rows than the file draws."""
    names = file.signature.rows
    asked = batch if isinstance(batch, Mapping) else {"": batch}
    said = own if isinstance(own, Mapping) else {"": own or BATCH}
    for name, size in asked.items():
        if size != said.get(name, size) and (name not in columns.counts if names else not columns.counts):
            raise Error(
                "E0682",
                f"the file draws {said[name]:,} rows{f' of `{name}`' if name else ''} for a batch, not {size}",
                where=file.name,
                help="how many are drawn is part of the step: change it in the spec, and compile it again",
            )


def undrawn(batch: Batch) -> Columns:
    """Data of a step that takes none: everything that it reads is drawn."""
    sizes = [size for size in (batch.values() if isinstance(batch, Mapping) else [batch]) if isinstance(size, int)]
    return Columns((), {}, UPDATES * (sizes[0] if sizes else 1), "the spec, which draws them")


def source(
    columns: Columns, batch: Batch, seed: int, chooser: Chooser | None, settings: Mapping[str, Any]
) -> ArraySource | StreamSource:
    """The batches of training, as the settings of a train block say."""
    if isinstance(columns, Streamed) and isinstance(batch, int):
        return StreamSource(columns, fit_batch(columns, batch), seed, drop=bool(settings.get("drop_last")))
    return arrays(columns, batch, seed, chooser, settings)


def arrays(
    columns: Columns, batch: Batch, seed: int, chooser: Chooser | None, settings: Mapping[str, Any]
) -> ArraySource:
    """The batches of data in memory. One of all rows is as the data are."""
    choose: dict[str, Order] | None = None if chooser is None else {chooser.along: chooser.over(columns, seed, batch)}
    by, drop = settings.get("sampler"), bool(settings.get("drop_last"))
    if by is not None and by.get("by"):
        field = next(field for field in columns.fields if field.name == by["by"])
        labels = np.asarray(columns.arrays[field.name])

        def balanced(epoch: int, rows: np.ndarray) -> np.ndarray:
            return random.balanced(labels, seed=seed, turn=epoch)

        choose = {field.along: balanced}
    cut = None
    if chooser is not None and settings.get("bucket"):
        along = settings["bucket"]["along"]
        axes = {f.name: tuple(axis for axis, size in enumerate(f.shape) if size == along) for f in columns.fields}
        cut = Cut(chooser.lengths, axes)
    if isinstance(batch, Mapping):
        if columns.counts:
            return ArraySource(columns, batch, seed, choose, drop=drop, cut=cut)
        batch = columns.rows // UPDATES
    if batch == "all":
        return ArraySource(columns, fit_batch(columns, columns.rows), None, choose, cut=cut)
    return ArraySource(columns, fit_batch(columns, batch), seed, choose, drop=drop, cut=cut)


def planned(source: ArraySource | StreamSource, chooser: Chooser | None, epochs: range, cursor: int) -> int:
    """How many updates some epochs (from 0) make, of the first one from row `cursor` on."""
    if not epochs:
        return 0
    batches = [-(-source.length(epochs.start) // source.batch)]  # of each epoch, the last number of all that follow
    if chooser is not None and chooser.moves:
        batches += [-(-source.length(epoch) // source.batch) for epoch in epochs[1:]]
    done = -(-cursor // source.batch)
    return sum(batches) + batches[-1] * (len(epochs) - len(batches)) - done
