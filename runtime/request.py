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
from .data import Columns, Field, Stream, Streamed, fields as fields_of, shares
from .data.stream import cannot, streamed
from .failures import Error
from .initial import reserve
from .metadata import EPOCHS, Batch
from .observed import CLASSES, classes, observed

if TYPE_CHECKING:
    from .train import Trainer


class Request:
    """What is to be done: `plan`, in batches of `batch` rows of `columns`; `held` and `tested` are the rows to validate
    and to test on, or None.

    `again`: an interrupted fit goes on; `over`: of a finished one nothing is left; `follows`: another train block, or
    a leg, is to follow, which begins anew where this one `ends_leg`.
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
        test: object = None,
    ) -> None:
        self.trainer = trainer
        plan, block, leg = trainer.plan, trainer.progress.block, trainer.progress.leg
        # Whether the plan is that of the block, or the leg, before.
        entered = plan is not None and (plan.block, plan.leg) != (block, leg)
        if entered and plan is not None and epochs is None and steps is None:
            epochs, steps = plan.more_epochs, plan.more_steps
        self.again = not entered and plan is not None and not trainer.progress.finished
        self.again = self.again and epochs is None and steps is None
        # Of a resumed run that is finished, nothing is left to do unless more is asked for.
        self.over = trainer.run is not None and trainer.progress.finished and epochs is None and steps is None
        settings = trainer.stage.settings
        if epochs is not None or steps is not None:  # whoever says how long has no use for what says it otherwise
            settings = {**settings, **dict.fromkeys(trainer.file.leaves(block, "validate", "stop"))}
        more = self.again or self.over or trainer.resumed  # of the same: data, validation, batch and stop
        known = asdict(plan) if plan is not None and more else settings
        if entered and plan is not None:
            known = stages.gone_on(plan, trainer.file.stages[plan.block].settings, settings)
        size = feeding.batch_of(trainer.file, batch if batch is not None else known.get("batch"), settings.get("batch"))
        validate, tested = self._data(data, validation, test, known, size)
        feeding.held_to(trainer.file, self.columns, size, settings.get("batch"))
        self.source = feeding.source(self.columns, size, trainer.own_seed, trainer.chooser, settings)
        self.batch = self.source.batch
        self.plan = Plan(
            size,
            stop=None if trainer.tried else known.get("stop"),
            validate=validate,
            data=self._path(data, known),
            seed=trainer.seed,
            rows=self.columns.rows,
            block=block,
            only=only or (plan is not None and plan.only and (not entered or plan.leg != leg)),
            threads=trainer._how.threads,
            native=trainer.native if trainer.device == "cpu" else None,
            test=tested,
            restore=known.get("restore"),
            leg=leg,
            more_epochs=epochs,
            more_steps=steps,
            assigned=sorted(trainer._assigned) if trainer.file.ensemble else [],
            together=trainer.together,
        )
        # Whether another block, or a leg, is to follow: then this one ends where that begins.
        self.ends_leg = self.plan.only or block + 1 == len(trainer.file.stages)
        self.follows = not self.over and not (self.ends_leg and leg + 1 == trainer.legs.count)
        if plan is not None and self.again:
            self.same_data(plan)
            for name in ("epochs", "steps", "since", "more_epochs", "more_steps"):
                setattr(self.plan, name, getattr(plan, name))
        elif not self.over:
            self._ends(epochs, steps, settings)
        if trainer.legs.last(leg) and self.plan.stop is not None:
            self._as_folds_did()
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
        self, data: object, validation: object, test: object, known: Mapping[str, Any], batch: Batch
    ) -> tuple[float | str | None, float | str | None]:
        """Sets the data to train on, to validate on and to test on. Returns the settings that say how to get the last
        two again."""
        trainer = self.trainer
        if data is None:
            data = self._path(None, known)
        fold = trainer.legs.fold(trainer.progress.leg)
        said = {**known, "validate": None} if fold is not None else known
        validate, share = self._share("validate", validation, said)
        tests, test_share = self._share("test", test, known)
        inputs, apart = self._fields(), bool(share or test_share or fold)
        self.held, self.tested = None, None
        if not inputs and not apart and validate in (None, False) and tests in (None, False):
            self.columns = feeding.undrawn(batch)
            return None, None
        if data is None:
            raise Error(
                "E0601",
                "there are no data to train on",
                where=trainer.file.name,
                notes=[f"expected `{field.name}: {field}`" for field in inputs],
                help='give them: --data FILE, trainer.fit(data), or `data: "FILE"` in the train block',
            )
        if fold is not None and validation not in (None, False):
            raise Error(
                "E0688",
                "the folds of a cross-validation are its validation data",
                where=trainer.file.name,
                notes=[f"the spec says `folds: {fold.count}`"],
                help="leave `validation` out; rows that no fold trains on are `test`",
            )
        rows = trainer.stage.settings.get("stream")
        if callable(data) or (rows is not None and isinstance(data, str | os.PathLike)):
            data = Stream(data) if rows is None else Stream(data, shuffle=rows)
        if isinstance(data, Stream):
            self.columns = self._streamed(data, inputs, apart, batch)
            (first, self.held), (second, self.tested) = self._own(validate), self._own(tests)
            return first, second
        fields = united(inputs, trainer.evaluator.fields) if apart else inputs
        self.columns = trainer.columns(data, fields, fits=True, share=(share, test_share), fold=fold)
        if apart:
            self.columns, self.held, self.tested = shares(self.columns, trainer.seed, share, test_share, fold)
        paths: list[str | None] = [None, None]
        if not share and fold is None:
            paths[0], self.held = self._own(validate)
        if not test_share:
            paths[1], self.tested = self._own(tests)
        return share or paths[0], test_share or paths[1]

    def _streamed(self, stream: Stream, inputs: tuple[Field, ...], apart: bool, batch: Batch) -> Streamed:
        """Data that are read piece by piece. Raises `Error` E0652, E0653, E0654 and those of their pieces."""
        trainer = self.trainer
        table = trainer.file.table
        for wrong, why in (
            (apart, "a share of the rows, or a fold, is held out of data in memory"),
            (not isinstance(batch, int), "a batch has so many rows of one kind, `batch: 64`"),
            (bool(trainer.stage.settings.get("sampler")), "`sampler:` draws among all rows"),
            (trainer.chooser is not None, "`keep:`, `order:` and `bucket:` choose among all rows"),
            (bool(classes(trainer.file)), "`class_weights: balanced` counts the rows of all classes first"),
        ):
            if wrong:
                raise cannot(stream.name, why)
        if table is not None and not table.fitted:
            why = "what the encodings of columns know (means, words) is found in all rows, before the first step"
            instead = (
                'find it in rows that fit into memory, `trainer.fit("some.csv", epochs=1)`, then stream all of them, '
                '`trainer.fit(Stream("all.csv"))`; or give the model numbers, without encodings'
            )
            raise cannot(stream.name, why, instead)
        return streamed(stream, inputs, lambda piece: trainer.columns(piece, inputs))

    @staticmethod
    def _share(what: str, given: object, known: Mapping[str, Any]) -> tuple[object, float]:
        """What `validate` or `test` is, and the share of the rows where it is one. A path that is given counts from
        where Python runs, as that of `data` does. Raises `Error` E0631."""
        wanted = given if given is not None else known.get(what)
        if isinstance(given, str | os.PathLike):
            wanted = os.path.abspath(given)
        if isinstance(wanted, int | float) and wanted is not False:
            if not 0 < wanted < 1:
                raise Error("E0631", f"`{what}` takes a share between 0 and 1, not {wanted}")
            return wanted, float(wanted)
        return wanted, 0.0

    def _own(self, wanted: object) -> tuple[str | None, Columns | None]:
        """Rows of their own, and the path that they are from."""
        if wanted is None or wanted is False:
            return None, None
        path = str(self._place(wanted)) if isinstance(wanted, str | os.PathLike) else None
        return path, self.trainer.columns(path or wanted, self.trainer.evaluator.fields)

    def _fields(self) -> tuple[Field, ...]:
        """What of the training data is read: by the step, to choose rows, and to count them."""
        trainer = self.trainer
        sampler = trainer.stage.settings.get("sampler")
        names = [name.removeprefix(CLASSES) for name in classes(trainer.file)] + (
            [sampler["by"]] if sampler and sampler.get("by") else []
        )
        counted = fields_of(trainer.file, names)
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
        """A checksum of the arrays to train, validate and test on."""
        if not self.plan.digest:
            arrays, texts = dict(self.columns.arrays), dict[str, str]()
            if isinstance(self.columns, Streamed):
                texts = {"stream": self.columns.digest}
            for what, columns in (("validation", self.held), ("test", self.tested)):
                arrays.update({f"{what} {name}": a for name, a in (columns.arrays if columns else {}).items()})
            self.plan.digest = checksum.arrays(arrays, texts)
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

    def _as_folds_did(self) -> None:
        """Trains on all rows as long as the folds of a cross-validation did: no rows are left to say when to stop."""
        stop, progress, trainer = self.plan.stop, self.trainer.progress, self.trainer
        if stop is not None and str(stop.get("on", "validation.loss")).startswith("validation."):
            self.plan.stop = None
            if not self.again and not self.over and not progress.finished:
                epochs = trainer.legs.epochs(progress.results, progress.block)
                self.plan.epochs, self.plan.steps = progress.epoch + epochs, None

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
