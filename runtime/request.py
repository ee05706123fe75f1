"""One call of `fit`, resolved: its data, the rows of a batch, and where training ends, as it or its run was asked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import checksum, feeding, patience, stages
from .arguments import positive
from .checkpoint import Plan
from .data import Columns, Field, fields as fields_of, split
from .failures import Error
from .initial import reserve
from .metadata import EPOCHS, Batch
from .observed import CLASSES, classes, observed

if TYPE_CHECKING:
    from .train import Trainer


class Request:
    """What is to be done: `plan`, on `columns` and `held` (rows to validate on, or None), in batches of `batch` rows.

    `again`: an interrupted fit goes on; `over`: of a finished one nothing is left; `follows`: another train block is to
    follow.
    """

    def __init__(
        self,
        trainer: Trainer,
        data: object = None,
        validation: object = None,
        epochs: int | None = None,
        steps: int | None = None,
        batch: int | str | Mapping[str, int | str] | None = None,
        only: bool = False,
    ) -> None:
        self.trainer = trainer
        plan, block = trainer.plan, trainer.progress.block
        entered = plan is not None and plan.block != block  # the plan is that of the block before
        self.again = plan is not None and not trainer.progress.finished and epochs is None and steps is None
        self.again = self.again and not entered
        # Of a resumed run that is finished, nothing is left to do unless more is asked for.
        self.over = trainer.run is not None and trainer.progress.finished and epochs is None and steps is None
        settings = trainer.stage.settings
        more = self.again or self.over or trainer.resumed  # of the same: data, validation, batch and stop
        known = asdict(plan) if plan is not None and more else settings
        if entered and plan is not None:
            known = stages.gone_on(plan, trainer.file.stages[plan.block].settings, settings)
        size = feeding.batch_of(trainer.file, batch if batch is not None else known.get("batch"), settings.get("batch"))
        self.columns, self.held, validate = self._data(data, validation, known, size)
        feeding.held_to(trainer.file, self.columns, size, settings.get("batch"))
        self.source = feeding.source(self.columns, size, trainer.seed, trainer.chooser)
        self.batch = self.source.batch
        self.plan = Plan(
            size,
            stop=known.get("stop"),
            validate=validate,
            data=self._path(data, known),
            seed=trainer.seed,
            rows=self.columns.rows,
            block=block,
            only=only or (plan is not None and plan.only and not entered),
            threads=trainer._how.threads,
        )
        # Whether another block is to follow: then this one ends where that begins.
        self.follows = not self.plan.only and block + 1 < len(trainer.file.stages) and not self.over
        if plan is not None and self.again:
            self.same_data(plan)
            self.plan.epochs, self.plan.steps, self.plan.since = plan.epochs, plan.steps, plan.since
        elif not self.over:
            self._ends(epochs, steps, settings)
        if self.plan.stop is not None:
            patience.check(trainer, self.plan.stop, self.held)
        found, wanted = len(trainer.progress.sums), trainer.epoch_figures.count
        if found != wanted and (found or trainer.progress.cursor):
            raise Error(
                "E0742",
                "the checkpoint belongs to another model",
                where=self.trainer.file.name,
                notes=[f"it accumulates {found} metrics within an epoch, the model {wanted}"],
                help="resume with the file that it was made with",
            )

    def _data(
        self, data: object, validation: object, known: Mapping[str, Any], batch: Batch
    ) -> tuple[Columns, Columns | None, float | str | None]:
        """Training data, validation data or None, and the setting that says how to get them again."""
        trainer = self.trainer
        if data is None:
            data = self._path(None, known)
        wanted = validation if validation is not None else known.get("validate")
        inputs = self._fields()
        if not inputs and wanted in (None, False):
            return feeding.undrawn(batch), None, None
        if data is None:
            raise Error(
                "E0601",
                "there are no data to train on",
                where=trainer.file.name,
                notes=[f"expected `{field.name}: {field}`" for field in inputs],
                help='give them: --data FILE, trainer.fit(data), or `data: "FILE"` in the train block',
            )
        if wanted is None or wanted is False:
            return trainer.columns(data, inputs, fits=True), None, None
        if isinstance(wanted, int | float):
            if not 0 < wanted < 1:
                raise Error("E0631", f"`validate` takes a share between 0 and 1, not {wanted}")
            fields = united(inputs, trainer.evaluator.fields)
            both = trainer.columns(data, fields, fits=True, share=float(wanted))
            train, held = split(both, float(wanted), trainer.seed)
            return train, held, float(wanted)
        path = str(self._place(wanted)) if isinstance(wanted, str | os.PathLike) else None
        train = trainer.columns(data, inputs, fits=True)
        return train, trainer.columns(path or wanted, trainer.evaluator.fields), path

    def _fields(self) -> tuple[Field, ...]:
        """What of the training data is read: by the step, to choose rows, and to count them."""
        trainer = self.trainer
        counted = fields_of(trainer.file, [name.removeprefix(CLASSES) for name in classes(trainer.file)])
        return united(trainer.inputs, trainer.chooser.fields if trainer.chooser else (), counted)

    def _path(self, data: object, known: Mapping[str, Any]) -> str | None:
        if isinstance(data, str | os.PathLike):
            return os.path.abspath(data)
        if data is None and known.get("data"):
            return str(self._place(known["data"]))
        return None

    def _place(self, path: str | os.PathLike[str]) -> Path:
        """A path of the spec counts from the spec's folder."""
        return Path(os.path.abspath((self.trainer.folder or Path()) / path))

    def same_data(self, plan: Plan) -> None:
        """Whether the data are those of a plan. Raises `Error` E0746."""
        if plan.rows != self.plan.rows:
            raise Error(
                "E0746",
                "the data are not those that the run was trained on",
                where=self.columns.where,
                notes=[f"found {self.plan.rows} rows for training, the run had {plan.rows}"],
                help="give the same data and validation share, or start a new run",
            )
        if plan.digest and plan.digest != self.digest():
            raise Error(
                "E0746",
                "the data are not those that the run was trained on",
                where=self.columns.where,
                notes=[f"they have {plan.rows} rows for training, as those had, but different values"],
                help="give the same data, or start a new run",
            )

    def digest(self) -> str:
        """A checksum of the training and validation arrays."""
        if not self.plan.digest:
            held = {f"validation {name}": array for name, array in (self.held.arrays if self.held else {}).items()}
            self.plan.digest = checksum.arrays({**self.columns.arrays, **held})
        return self.plan.digest

    def _ends(self, epochs: int | None, steps: int | None, settings: Mapping[str, Any]) -> None:
        if epochs is not None and steps is not None:
            raise Error("E0628", "`epochs` and `steps` both say when training ends", help="give one of them")
        if epochs is None and steps is None:
            epochs, steps = settings.get("epochs"), settings.get("steps")
            if steps is not None:
                epochs = None
            elif epochs is None:
                epochs = EPOCHS
        progress = self.trainer.progress
        self.plan.since = progress.epoch
        if steps is not None:
            self.plan.steps = progress.step + positive("steps", steps)
        else:
            self.plan.epochs = progress.epoch + positive("epochs", epochs)

    def total(self) -> int:
        """The number of the last update that is planned."""
        if self.plan.steps is not None:
            return self.plan.steps
        progress = self.trainer.progress
        epochs = range(progress.epoch, self.plan.epochs or 0)
        return progress.step + feeding.planned(self.source, self.trainer.chooser, epochs, progress.cursor)

    def reserve(self) -> int:
        """Tells the file how many updates and rows there will be. The number of the last update."""
        total = self.total()
        for name, value in {**observed(self.trainer.file, self.columns), "steps": total}.items():
            reserve(self.trainer, name, value)
        return total


def united(*several: tuple[Field, ...]) -> tuple[Field, ...]:
    """Fields, each name once."""
    found = {field.name: field for each in reversed(several) for field in each}
    return tuple({field.name: found[field.name] for each in several for field in each}.values())
