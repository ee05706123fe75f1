"""The data that a run was trained on, found again to evaluate it."""

from __future__ import annotations

from .checkpoint import LAST, Checkpoint, Run
from .data import Columns
from .failures import Error
from .request import Request
from .train import Trainer


def own_data(trainer: Trainer, run: Run) -> tuple[Columns, int, str]:
    """What `trainer.evaluate` takes to give the figures of a run's last line again: its validation rows, or those it
    was trained on where it had none; the rows of its batches; and which they are, in words. `trainer` holds the state
    that is meant. Raises `Error` E0649 where the data came from no file, E0746 where they are no longer the same, and
    those of reading them.
    """
    place = run.checkpoints / LAST
    if not place.is_file():
        raise _unknown(run, "it has no checkpoint, which would say")
    plan = Checkpoint.load(place).plan
    if plan.data is None:
        raise _unknown(run, "they were given as arrays, or by a program")
    trainer.plan, trainer.resumed = plan, True  # data and validation are those of the plan
    request = Request(trainer, batch=plan.batch)
    request.same_data(plan)
    if request.held is None and request.tested is not None and isinstance(plan.test, float):
        what = f"the rows of {plan.data} that it was trained on (it held none out to validate)"
        return request.columns, request.batch, what
    if request.held is None:
        return (
            trainer.columns(plan.data, trainer.evaluator.fields),
            request.batch,
            f"the data it was trained on (it held none out), {plan.data}",
        )
    if isinstance(plan.validate, float):
        return request.held, request.batch, f"the validation share, {plan.validate:g}, of {plan.data}"
    return request.held, request.batch, f"its validation data, {plan.validate}"


def _unknown(run: Run, why: str) -> Error:
    return Error(
        "E0649",
        f"what data `{run.folder}` was trained on is not known",
        where=str(run.folder),
        notes=[why],
        help="say what to evaluate on: --data FILE",
    )
