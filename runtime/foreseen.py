"""How many updates and rows a fit will have, before one runs: what a loop of a caller's own is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .arguments import positive
from .failures import Error
from .loop import Loop
from .metadata import BATCH, EPOCHS

if TYPE_CHECKING:
    from .train import Trainer


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
            loop = Loop(trainer, None, None, None, None, None, (), None, 0.0)
        except Error as problem:
            why.append(problem.message)
        else:
            found = {"steps": loop.total(), "observations": loop.columns.rows, **found}
    return found, why
