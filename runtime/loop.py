"""The training loop: epochs, validation, patience, checkpoints. A resumed run does what the unbroken one would."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from . import checksum, interrupts, lock, stages
from .arguments import positive
from .callbacks import Callback, History, MetricsFile, Record, Start
from .checkpoint import Checkpoint, Plan, Progress, Run
from .data import ArraySource, Columns, split
from .evaluate import fit_batch
from .failures import Error
from .file import CompiledFile
from .finite import refused
from .metadata import BATCH, EPOCHS
from .nearest import did_you_mean

if TYPE_CHECKING:
    from .train import Trainer

SHARE = 20  # a checkpoint may take one part in so many of the time
SPARE = 20  # updates between two looks at all state, where no validation costs more anyway


class Blown(Exception):
    """Training is no longer finite; the last step is taken back. `error` is E0670."""

    def __init__(self, error: Error) -> None:
        super().__init__(str(error))
        self.error = error


class Loop:
    """One call of `fit`: resolves what was asked for into a plan, then runs it."""

    def __init__(
        self,
        trainer: Trainer,
        data: object,
        validation: object,
        epochs: int | None,
        steps: int | None,
        batch: int | str | None,
        callbacks: tuple[Callback, ...],
        run: Run | str | os.PathLike[str] | None,
        every: float,
        only: bool = False,
    ) -> None:
        self.trainer, self.every = trainer, every
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
        self.columns, self.held, validate = self._data(data, validation, known)
        given = batch if batch is not None else known.get("batch") or BATCH
        size: int | Literal["all"] = "all" if given == "all" else positive("batch", given)
        self.batch = fit_batch(self.columns, self.columns.rows if size == "all" else size)
        self.batch = min(self.batch, self.columns.rows)
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
        self._check_stop()
        found, wanted = len(trainer.progress.sums), trainer.epoch_figures.count
        if found != wanted and (found or trainer.progress.cursor):
            raise Error(
                "E0742",
                "the checkpoint belongs to another model",
                where=self.trainer.file.name,
                notes=[f"it accumulates {found} metrics within an epoch, the model {wanted}"],
                help="resume with the file that it was made with",
            )
        self.callbacks = callbacks
        self.parent = Path(run) if run is not None and not isinstance(run, Run) else None  # of a folder to be made
        self.folder = run if isinstance(run, Run) else trainer.run if run is None else None

    # --- what was asked for

    def _data(
        self, data: object, validation: object, known: Mapping[str, Any]
    ) -> tuple[Columns, Columns | None, float | str | None]:
        """Training data, validation data or None, and the setting that says how to get them again."""
        trainer = self.trainer
        if data is None:
            data = self._path(None, known)
        if data is None:
            raise Error(
                "E0601",
                "there are no data to train on",
                where=trainer.file.name,
                notes=[f"expected `{field.name}: {field}`" for field in trainer.inputs],
                help='give them: --data FILE, trainer.fit(data), or `data: "FILE"` in the train block',
            )
        wanted = validation if validation is not None else known.get("validate")
        if wanted is None or wanted is False:
            return trainer.columns(data, trainer.inputs), None, None
        if isinstance(wanted, int | float):
            if not 0 < wanted < 1:
                raise Error("E0631", f"`validate` takes a share between 0 and 1, not {wanted}")
            names = {field.name for field in trainer.inputs}
            fields = trainer.inputs + tuple(f for f in trainer.evaluator.fields if f.name not in names)
            train, held = split(trainer.columns(data, fields), float(wanted), trainer.seed)
            return train, held, float(wanted)
        path = str(self._place(wanted)) if isinstance(wanted, str | os.PathLike) else None
        held = trainer.columns(path or wanted, trainer.evaluator.fields)
        return trainer.columns(data, trainer.inputs), held, path

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
        if plan.digest and plan.digest != self._digest():
            raise Error(
                "E0746",
                "the data are not those that the run was trained on",
                where=self.columns.where,
                notes=[f"they have {plan.rows} rows for training, as those had, but different values"],
                help="give the same data, or start a new run",
            )

    def _digest(self) -> str:
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

    def _check_stop(self) -> None:
        if self.plan.stop is None:
            return
        on = str(self.plan.stop.get("on", "validation.loss"))
        known = [f"train.{name}" for name in self.trainer.epoch_figures.shown]
        if self.held is not None:
            known += [f"validation.{name}" for name in self.trainer.evaluator.names]
        if on not in known:
            raise Error(
                "E0630",
                f"training cannot stop on `{on}`: there is no such metric",
                notes=[f"known: {', '.join(known)}"],
                help=did_you_mean(on, known) or "`validate: 0.2` holds data out for validation",
            )
        if self.plan.stop.get("mode") not in ("min", "max") and not on.endswith(".loss"):
            raise Error(
                "E0635",
                f"nothing says whether `{on}` should grow or fall",
                where=self.trainer.file.name,
                notes=[f"the file's setting `stop` is {self.plan.stop}"],
                help='say it in the spec: `patience(5, on = ..., mode = "max")`, or "min", and compile it again',
            )

    def _create(self, parent: Path) -> Run:
        """A new run folder, whose first checkpoint is where training begins."""
        trainer = self.trainer
        given = {name: value for name, value in asdict(self.plan).items() if value is not None}
        settings = {
            "model": trainer.file.hyperparameters,
            "train": {**trainer.stage.settings, **given},
            "seed": trainer.seed,
            "device": trainer.device,
            "rows": self.columns.rows,
            "batch": self.batch,
        }
        first = trainer._checkpoint(trainer._values.view())
        first.plan, first.progress.finished, first.progress.stopped = self.plan, False, False
        return Run.create(parent, trainer.file, settings, first)

    # --- the loop

    def go(self) -> History:
        trainer = self.trainer
        if self.folder is not None:
            with lock.alone(self.folder.folder):
                if trainer.run is self.folder and not self.folder.current():
                    raise Error(
                        "E0757",
                        f"the run `{self.folder.folder}` has continued since this trainer read it",
                        where=str(self.folder.folder),
                        help="resume it again: Trainer.resume(folder)",
                    )
                self.folder.tidy()
                return self._written() if self.over else self._train()
        if self.over:
            return self._history()
        if trainer._waiting:
            trainer._initialize()
        if self.parent is None:
            return self._train()
        self._digest()
        self._reserve()
        self.folder = self._create(self.parent)
        with lock.alone(self.folder.folder):
            return self._train()

    def _reserve(self) -> int:
        """Tells the file how many updates and rows there will be. The number of the last update."""
        total = self.total()
        self.trainer._reserved("observations", self.columns.rows)
        self.trainer._reserved("steps", total)
        return total

    def _written(self) -> History:
        """Of a run that is finished: writes its .onnx where a kill or a full disk came before it."""
        assert self.folder is not None
        if CompiledFile.load(self.folder.model, check=False, state=False).updates != self.trainer.progress.step:
            self._save()
            self.trainer.save(self.folder.model)
        return self._history()

    def _train(self) -> History:
        trainer = self.trainer
        progress = trainer.progress
        if trainer._waiting:
            trainer._initialize()
        trainer.plan, trainer.run = self.plan, self.folder
        if self.folder is not None:
            self._digest()
        total = self._reserve()
        if not self.again:
            if progress.finished and progress.best is not None:
                trainer._best = trainer._values.snapshot()  # the fit before restored it; this one may do no better
            progress.finished = progress.stopped = False
        listeners = list(self.callbacks)
        if self.folder is not None:
            listeners.append(MetricsFile(self.folder.metrics, progress.history))
        for listener in listeners:
            listener.on_start(self._start(total))
        self._good, self._early = trainer.checkpoint(), not progress.history
        with interrupts.noticed() as interrupted:
            try:
                self._steps(listeners, interrupted)
            except KeyboardInterrupt:
                self._digest()
                if not self._torn and trainer.stepper.spoilt() is None:
                    self._save()
                raise
            except Blown as problem:
                raise self._rescued(problem.error) from None
        if self.plan.stop is not None and progress.best is not None and trainer._best is not None:
            trainer._values.restore(trainer._best)
        progress.finished, trainer._best = True, None
        history = self._history()
        if self.follows:
            trainer._enter(progress.block + 1)
            self._save()
            return history
        self._save()
        if self.folder is not None:
            trainer.save(self.folder.model)
        for listener in listeners:
            listener.on_end(history)
        return history

    def total(self) -> int:
        """The number of the last update that is planned."""
        if self.plan.steps is not None:
            return self.plan.steps
        progress, per_epoch = self.trainer.progress, -(-self.columns.rows // self.batch)
        left = (self.plan.epochs or 0) * per_epoch - progress.epoch * per_epoch - -(-progress.cursor // self.batch)
        return progress.step + left

    def _start(self, total: int) -> Start:
        progress, trainer = self.trainer.progress, self.trainer
        return Start(
            stages.title(trainer),
            trainer.device,
            trainer.seed,
            self.columns.rows,
            self.held.rows if self.held else 0,
            self.batch,
            progress.step,
            total,
            progress.epoch,
            self.plan.epochs,
            self.folder.folder if self.folder else None,
        )

    def _steps(self, listeners: list[Callback], interrupted: list[bool]) -> None:
        trainer, progress, stepper = self.trainer, self.trainer.progress, self.trainer.stepper
        each = [one.on_step for one in listeners if type(one).on_step is not Callback.on_step]
        order = None if self.plan.batch == "all" else trainer.seed  # one batch of all rows is as the data are
        source = ArraySource(self.columns, self.batch, order)
        last = self.plan.steps if self.plan.steps is not None else math.inf
        epochs = self.plan.epochs if self.plan.epochs is not None else math.inf
        add = trainer.epoch_figures.add
        before, self._due = time.monotonic(), time.monotonic() + self.every
        while progress.step < last and progress.epoch < epochs and not progress.stopped:
            sums = progress.sums
            for batch in source.batches(progress.epoch, progress.cursor):
                self._torn = True
                step, cursor = progress.step + 1, progress.cursor + batch.rows
                stepper.step(batch.arrays, step - progress.begun)
                figures, now = stepper.read(), time.monotonic()
                saves = now >= self._due
                ends = step >= last or (cursor >= self.columns.rows and progress.epoch + 1 >= epochs)
                looks = ends or saves or self._looks(step, cursor)
                bad = figures and not math.isfinite(figures[0])
                if stepper.several:
                    bad = stepper.unsound(figures) is not None
                if bad or (looks and stepper.spoilt()):
                    raise Blown(refused(trainer.file, stepper, batch.arrays, step))
                add(sums, figures, batch.rows)
                progress.step, progress.cursor = step, cursor
                self._torn = False
                for tell in each:
                    tell(step, stepper.told(figures))
                if looks and self._early:
                    self._good, self._early = self._noted(), not progress.history
                if interrupted or saves or step >= last:
                    now = time.monotonic()
                    progress.seconds += now - before
                    before = now
                    if interrupted:
                        raise KeyboardInterrupt
                    if saves:
                        self._save()
                    if step >= last:
                        break
            now = time.monotonic()
            progress.seconds += now - before
            before = now
            self._finish_epoch(listeners)
            now = time.monotonic()
            progress.seconds += now - before
            before = now

    def _looks(self, step: int, cursor: int) -> bool:
        """Whether to look through all state after a step: in the beginning ever more rarely, then at ends of epochs
        that may be the best, or that are some way from the last look."""
        if cursor < self.columns.rows:
            return self._early and not step & (step - 1)
        return self.plan.stop is not None or self._early or self._far(step)

    def _far(self, step: int) -> bool:
        return self.held is not None or step - self._good.progress.step >= SPARE

    def _finish_epoch(self, listeners: list[Callback]) -> None:
        """The record of an epoch: of a whole one it is kept, of one that `steps` cut short it is only told."""
        trainer, progress = self.trainer, self.trainer.progress
        whole = progress.cursor >= self.columns.rows
        record: Record = {
            "epoch": progress.epoch + 1,
            "step": progress.step,
            "seconds": round(progress.seconds, 6),
            "train": trainer.epoch_figures.close(progress.sums, progress.cursor),
            "validation": trainer.evaluator.run(self.held, self.batch) if self.held is not None else None,
        }
        self._short = None if whole else record
        if whole:
            self._torn = True
            progress.epoch, progress.cursor, progress.sums = progress.epoch + 1, 0, []
            progress.history.append(record)
            better = self._judge(record)
            last = (record["validation"] or record["train"]).values()  # the loss is the first
            sound = math.isfinite(next(iter(last), 0.0)) and (self._early or self._far(progress.step))
            if better or sound:
                self._keep(better)
            self._torn = False
        for listener in listeners:
            listener.on_epoch(record)

    def _judge(self, record: Record) -> bool:
        """Patience: whether an epoch is the best so far. Stops when none has been better for long enough."""
        stop, progress = self.plan.stop, self.trainer.progress
        if stop is None:
            return False
        part, _, name = str(stop.get("on", "validation.loss")).partition(".")
        value = float(record[part].get(name, math.nan))
        sign = -1.0 if stop.get("mode") == "max" else 1.0
        if math.isfinite(value) and (progress.score is None or sign * value < sign * progress.score):
            progress.score, progress.best = value, record["epoch"]
            return True
        if record["epoch"] - max(progress.best or 0, self.plan.since) >= int(stop.get("patience", 5)):
            progress.stopped = True
        return False

    def _keep(self, better: bool) -> None:
        """Notes the state as one to go back to, and as the best where it is."""
        self._good, self._early = self._noted(), False
        if better:
            self.trainer._best = self._good.best = self._good.state

    def _noted(self) -> Checkpoint:
        """Where training stands, in the memory of what was noted before unless that is the best epoch's."""
        trainer, before = self.trainer, self._good.state
        return trainer._checkpoint(trainer._values.snapshot(before if before is not trainer._best else None))

    def _rescued(self, problem: Error) -> Error:
        """After a step that was taken back: restores the best epoch, else the last state that was seen to be finite,
        and writes it. The run is not finished; the trainer has nothing left of its plan."""
        trainer = self.trainer
        if not self._early or trainer.stepper.spoilt() is not None:
            trainer._values.restore(self._good.state)
            trainer.progress, trainer._best = self._good.progress.copy(), self._good.best
        progress, written = trainer.progress, trainer.checkpoint()
        best = self.plan.stop is not None and trainer._best is not None
        if best and trainer._best is not None:
            trainer._values.restore(trainer._best)
        what = f"the best epoch, {progress.best}" if best else f"the state after update {progress.step}"
        notes = [f"restored: {what}"]
        if self.folder is not None:
            try:
                self.folder.write(written)
                trainer.save(self.folder.model)
                notes.append(f"written: `{self.folder.model}`")
            except Error as failure:
                notes.append(f"not written: {failure.message}")
        progress.finished, trainer._best = True, None
        return Error(
            problem.code, problem.message, where=problem.where, notes=[*problem.notes, *notes], help=problem.help
        )

    _good: Checkpoint  # what to go back to
    _early = True  # no epoch has ended well yet
    _short: Record | None = None
    _torn = False  # within a step: state and progress do not belong together

    def _save(self) -> None:
        """Writes the checkpoint of a run; the next one is due so late that writing takes little of the time."""
        if self.folder is None:
            return
        before = time.monotonic()
        self.folder.write(self.trainer._checkpoint(self.trainer._values.view()))
        now = time.monotonic()
        self._due = now + max(self.every, SHARE * (now - before))

    def _history(self) -> History:
        progress = self.trainer.progress
        records = list(progress.history) + ([self._short] if self._short else [])
        best = progress.best if self.plan.stop is not None else None
        folder = self.folder.folder if self.folder else None
        return History(records, best, progress.step, progress.seconds, progress.stopped, folder)


__all__ = ["Loop", "Progress"]
