"""How many updates and rows a fit will have, before one runs: what a loop of a caller's own is told."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from .arguments import positive
from .failures import Error
from .initial import reserve
from .metadata import BATCH, EPOCHS
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
    missing = [
        name
        for name in ("steps", "observations")
        if name in reads and name not in planned and name not in trainer._assigned
    ]
    if not trainer.file.ours or not missing:
        return
    if rows is not None and trainer.stage.settings.get("batch") == "all":
        planned.setdefault("observations", rows)
    found, why = foreseen(trainer, planned.get("observations"))
    for name in missing:
        if name not in found:
            given = ", ".join(f"{name}=..." for name in missing)
            raise Error(
                "E0633",
                f"the spec reads `{name}`, and nothing says how many there will be",
                where=trainer.file.name,
                notes=["within `fit`, the spec's own settings and data say it", *why],
                help=f"Trainer(program, {given}): `steps` updates in all, on `observations` rows",
            )
        planned[name] = found[name]
        reserve(trainer, name, found[name])


def foreseen(trainer: Trainer, rows: int | None) -> tuple[dict[str, int], list[str]]:
    """`steps` and `observations` of the fit that the file's own settings make, as far as they are known, and why not.
    `rows`: of the training set, where that is known; else they are those of the setting `data`."""
    settings, why = trainer.stage.settings, []
    found = {"observations": rows} if rows is not None else {}
    if settings.get("steps") is not None:
        found["steps"] = positive("steps", settings["steps"])
    elif rows is not None:
        size = settings.get("batch") or BATCH
        batch = rows if size == "all" else positive("batch", size)
        found["steps"] = positive("epochs", settings.get("epochs") or EPOCHS) * -(-rows // batch)
    if rows is None:
        try:
            request = Request(trainer)
        except Error as problem:
            why.append(problem.message)
        else:
            found = {"steps": request.total(), "observations": request.columns.rows, **found}
    return found, why
