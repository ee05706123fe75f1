"""How many updates and rows a fit will have, before one runs: what a loop of a caller's own is told."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .arguments import positive
from .failures import Error
from .initial import reserve
from .metadata import BATCH, EPOCHS
from .observed import CLASSES, classes, observed
from .request import Request

if TYPE_CHECKING:
    from .train import Trainer


def foresee(trainer: Trainer, reads: Collection[str], rows: int | None) -> None:
    """Before what runs without a fit: `steps` and `observations`, where it reads them, are those that were given,
    else those of the fit that the spec's own settings and data make. `rows`: of the batch, which with
    `batch: all` are all there are, or None. Raises `Error` E0633 where nothing says them: a schedule over a guess
    would end at once or never, a prior would weigh as much as a guess has it.
    """
    planned = trainer._planned
    counted = classes(trainer.file)
    asked = [name for name in ("steps", "observations", *counted) if name in reads and name not in planned]
    missing = [name for name in asked if name not in trainer._assigned]
    if not trainer.file.ours or not missing:
        return
    if rows is not None and trainer.stage.settings.get("batch") == "all":
        planned.setdefault("observations", rows)
    found, why = foreseen(trainer, planned.get("observations"), [name for name in missing if name in counted])
    for name in missing:
        if name not in found:
            given = ", ".join(f"{name}=..." for name in missing if name not in counted)
            label = name.removeprefix(CLASSES)
            raise Error(
                "E0633",
                f"the spec reads `{name}`, and nothing says how many there will be",
                where=trainer.file.name,
                notes=["within `fit`, the spec's own settings and data say it", *why],
                help=f'trainer.state["{name}"] = numpy.bincount({label}, minlength={counted[name]})'
                if name in counted
                else f"Trainer(program, {given}): `steps` updates in all, on `observations` rows",
            )
        value = found[name]
        if isinstance(value, int):
            planned[name] = value
        reserve(trainer, name, value)


def foreseen(
    trainer: Trainer, rows: int | None, counted: Sequence[str] = ()
) -> tuple[dict[str, int | np.ndarray], list[str]]:
    """`steps` and `observations` of the fit that the file's own settings make, as far as they are known, and why not.
    `rows`: of the training set, where that is known; else they are those of the setting `data`. `counted`: numbers of
    rows by class that are asked for, too."""
    settings, why = trainer.stage.settings, list[str]()
    found: dict[str, int | np.ndarray] = {"observations": rows} if rows is not None else {}
    size = settings.get("batch") or BATCH
    plain = (
        rows is not None and not isinstance(size, Mapping) and trainer.chooser is None and not settings.get("drop_last")
    )  # all rows, one after another
    if settings.get("steps") is not None:
        found["steps"] = positive("steps", settings["steps"])
    elif rows is not None and plain:
        batch = rows if size == "all" else positive("batch", size)
        found["steps"] = positive("epochs", settings.get("epochs") or EPOCHS) * -(-rows // batch)
    if counted or not plain:
        try:
            request = Request(trainer)
        except Error as problem:
            why.append(problem.message)
        else:
            found = {"steps": request.total(), **observed(trainer.file, request.columns), **found}
    return found, why
