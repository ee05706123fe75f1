"""The training loop: epochs, validation, patience, checkpoints. A resumed run does what the unbroken one would."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Generator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from . import interrupts, legs, lock, patience, stages
from .callbacks import Callback, History, MetricsFile, Record, Start
from .checkpoint import Checkpoint, Plan, Run
from .data import Batch
from .environment import environment
from .failures import Error
from .file import CompiledFile
from .finite import refused
from .initial import initialize
from .norms import NormsFile
from .together import Alone, Together

if TYPE_CHECKING:
    from .request import Request
    from .train import Trainer

SHARE = 20  # a checkpoint may take one part in so many of the time
SPARE = 20  # updates between two looks at all state, where no validation costs more anyway


class Blown(Exception):
    """Training is no longer finite; the last step is taken back. `error` is E0670."""

    def __init__(self, error: Error) -> None:
        super().__init__(str(error))
        self.error = error


class Loop:
    """Runs what a call of `fit` asks for, and writes it into the folder of a run."""

    def __init__(
        self,
        trainer: Trainer,
        request: Request,
        callbacks: tuple[Callback, ...],
        run: Run | str | os.PathLike[str] | None,
        every: float,
        limit: float = math.inf,
    ) -> None:
        """`limit`: the time, of `time.monotonic`, after which no further update begins."""
        self.trainer, self.request, self.every, self.callbacks = trainer, request, every, callbacks
        self.limit = limit
        self.plan: Plan = request.plan
        self.columns, self.held, self.batch = request.columns, request.held, request.batch
        self.parent = Path(run) if run is not None and not isinstance(run, Run) else None  # of a folder to be made
        self.folder = run if isinstance(run, Run) else trainer.run if run is None else None

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
            "environment": environment(),
        }
        first = trainer._checkpoint(trainer._values.view())
        first.plan, first.progress.finished, first.progress.stopped = self.plan, False, False
        return Run.create(parent, trainer.file, settings, first)

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
                return self._written() if self.request.over else self._train()
        if self.request.over:
            return self._history()
        if trainer._waiting:
            initialize(trainer)
        if self.parent is None:
            return self._train()
        self.request.digest()
        self.request.reserve()
        self.folder = self._create(self.parent)
        with lock.alone(self.folder.folder):
            return self._train()

    def _written(self) -> History:
        """Of a run that is finished: writes its .onnx where a kill or a full disk came before it."""
        assert self.folder is not None
        progress, history = self.trainer.progress, self._history()
        if CompiledFile.load(self.folder.model, check=False, state=False).updates != progress.step:
            self._save()
            MetricsFile(self.folder.metrics, [*progress.past, *progress.history]).on_end(history)
            self.folder.report(progress.results)
            self.trainer.save(self.folder.model)
        return history

    def _train(self) -> History:
        trainer = self.trainer
        progress = trainer.progress
        if trainer._waiting:
            initialize(trainer)
        trainer.plan, trainer.run = self.plan, self.folder
        if self.folder is not None:
            self.request.digest()
        total = self.request.reserve()
        if not self.request.again:
            if progress.finished and progress.best is not None:
                trainer._best = trainer._values.snapshot()  # the fit before restored it; this one may do no better
            progress.finished = progress.stopped = False
            progress.test = None
            if not progress.leg and not progress.block and trainer.legs.count > 1:
                trainer._begin = trainer._values.snapshot()
        listeners = list(self.callbacks)
        if self.folder is not None:
            listeners.append(MetricsFile(self.folder.metrics, [*progress.past, *progress.history]))
            listeners.append(NormsFile(self.folder.norms, trainer, self.request.source))
        self._together = Together.of(self, listeners)
        for listener in listeners:
            listener.on_start(self._start(total))
        self._good, self._early = trainer.checkpoint(), not progress.history
        self._spent = progress.seconds
        with interrupts.noticed() as interrupted:
            try:
                self._run(listeners, interrupted)
            except KeyboardInterrupt:
                self.request.digest()
                if not self._torn and trainer.stepper.spoilt() is None:
                    self._save()
                raise
            except Blown as problem:
                raise self._rescued(self._retraced(problem.error)) from None
            finally:
                if self._feed is not None:
                    self._feed.close()
        if progress.leg + 1 < trainer.legs.count and self._halts(time.monotonic()):
            progress.stopped = False  # others are to follow, so this one is to be finished
            self._save()
            return self._history()
        if self._together is not None:
            self._together.close()
        if self._restores() and progress.best is not None and trainer._best is not None:
            trainer._values.restore(trainer._best)
        progress.finished, trainer._best = True, None
        return self._ended(listeners)

    def _run(self, listeners: list[Callback], interrupted: list[bool]) -> None:
        """The updates of a leg, or of all members of an ensemble at once."""
        if self._together is not None:
            try:
                return self._together.run(listeners, interrupted)
            except Alone:
                self._together.abandon(listeners)
                self._together = None
                self._good, self._early = self.trainer.checkpoint(), True
        return self._steps(listeners, interrupted)

    def _restores(self) -> bool:
        """Whether the best epoch is what training ends with."""
        return self.plan.stop is not None and self.plan.restore != "last"

    def _ended(self, listeners: list[Callback]) -> History:
        """Turns to the block or the leg that follows; after the last scores the test rows and writes the file."""
        trainer, progress = self.trainer, self.trainer.progress
        history = self._history()
        progress.kept.append((history.best or progress.epoch) - self.plan.since)
        if self.request.ends_leg and trainer.legs.mark(progress.leg):
            progress.results.append(legs.result(trainer, history.final))
            legs.store(trainer)
        if self.request.follows:
            if self.request.ends_leg:
                legs.enter(trainer, progress.block if self.plan.only else 0)
            else:
                trainer._enter(progress.block + 1)
            self._save()
            return history
        if self.request.tested is not None:
            found = legs.score(trainer, self.request.tested, self.batch)
            progress.test = {name: value for name, value in found.items() if isinstance(value, float)}
        history = self._history()
        self._save()
        if self.folder is not None:
            self.folder.report(progress.results)
            trainer.save(self.folder.model)
        for listener in listeners:
            listener.on_end(history)
        return history

    def _start(self, total: int) -> Start:
        progress, trainer = self.trainer.progress, self.trainer
        return Start(
            stages.title(trainer, self._together is not None),
            trainer.device,
            trainer.seed,
            self.columns.rows if self.columns.fields else 0,
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
        first = [one.before_step for one in listeners if type(one).before_step is not Callback.before_step]
        watching = [one.before_batch for one in listeners if type(one).before_batch is not Callback.before_batch]
        source = self.request.source
        last = self.plan.steps if self.plan.steps is not None else math.inf
        epochs = self.plan.epochs if self.plan.epochs is not None else math.inf
        add = trainer.epoch_figures.add
        before, self._due = time.monotonic(), time.monotonic() + self.every
        now = before
        while progress.step < last and progress.epoch < epochs and not progress.stopped and not self._halts(now):
            sums, self._rows = progress.sums, source.length(progress.epoch)
            for listener in listeners:
                listener.before_epoch(progress.epoch + 1)
            self._feed = source.batches(progress.epoch, progress.cursor)
            for batch in self._feed:
                if (now >= self.limit or trainer.stop_training) and progress.cursor and self._halts(now):
                    break
                step, cursor = progress.step + 1, progress.cursor + batch.rows
                for tell_first in first:
                    tell_first(step)
                saves = now >= self._due
                ends = step >= last or (cursor >= self._rows and progress.epoch + 1 >= epochs)
                looks = ends or saves or self._looks(step, cursor)
                for watch in watching:
                    watch(step, batch.arrays)
                self._torn = True
                stepper.step(batch.arrays, step - progress.begun, looks)
                figures, now = stepper.read(), time.monotonic()
                bad = figures and not math.isfinite(figures[0])
                if stepper.several:
                    bad = stepper.unsound(figures) is not None
                if bad or (looks and stepper.spoilt(looked=True)):
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

    def _halts(self, now: float) -> bool:
        """Whether training ends here: its time is over, or a callback has asked for it."""
        halts = now >= self.limit or self.trainer.stop_training
        self.trainer.progress.stopped = self.trainer.progress.stopped or halts
        return halts

    def _looks(self, step: int, cursor: int) -> bool:
        """Whether to look through all state after a step: in the beginning ever more rarely, then at ends of epochs
        that may be the best, or that are some way from the last look."""
        if cursor < self._rows:
            return self._early and not step & (step - 1)
        return self.plan.stop is not None or self._early or self._far(step)

    def _far(self, step: int) -> bool:
        return self.held is not None or step - self._good.progress.step >= SPARE

    def _finish_epoch(self, listeners: list[Callback]) -> None:
        """The record of an epoch: of a whole one it is kept, of one that `steps` cut short it is only told."""
        trainer, progress = self.trainer, self.trainer.progress
        whole = progress.cursor >= self._rows
        for listener in listeners if self.held is not None else ():
            listener.before_validation()
        record: Record = {
            "epoch": progress.epoch + 1,
            **trainer.legs.mark(progress.leg),
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
            stop = self.plan.stop
            better = stop is not None and patience.judge(stop, progress, record, self.plan.since)
            last = (record["validation"] or record["train"]).values()  # the loss is the first
            sound = math.isfinite(next(iter(last), 0.0)) and (self._early or self._far(progress.step))
            if better or sound:
                self._keep(better)
            self._torn = False
        for listener in listeners:
            listener.on_epoch(record)

    def _keep(self, better: bool) -> None:
        """Notes the state as one to go back to, and as the best where it is."""
        self._good, self._early = self._noted(), False
        if better and self._restores():
            self.trainer._best = self._good.best = self._good.state

    def _noted(self) -> Checkpoint:
        """Where training stands, in the memory of what was noted before unless that is the best epoch's."""
        trainer, before = self.trainer, self._good.state
        return trainer._checkpoint(trainer._values.snapshot(before if before is not trainer._best else None))

    def _retraced(self, problem: Error) -> Error:
        """Where state came to NaN in an update whose loss was finite, a later step shows it: the updates since the last
        state that was seen to be finite are done once more, with a look at all state after each, to the first that is
        to blame."""
        trainer, stepper = self.trainer, self.trainer.stepper
        if stepper.spoilt() is None or not self._good.state:
            return problem
        last = trainer.progress.step
        trainer._values.restore(self._good.state)
        progress = self._good.progress.copy()
        step, epoch, cursor = progress.step, progress.epoch, progress.cursor
        while step < last:
            for batch in self.request.source.batches(epoch, cursor):
                step += 1
                stepper.step(batch.arrays, step - progress.begun, True)
                if stepper.spoilt(looked=True) is not None:
                    found = refused(trainer.file, stepper, batch.arrays, step)
                    trainer._values.restore(self._good.state)
                    trainer.progress, trainer._best = progress, self._good.best
                    later = f"the loss showed it at step {last + 1}"
                    return Error(
                        found.code, found.message, where=found.where, notes=[*found.notes, later], help=found.help
                    )
                if step >= last:
                    break
            epoch, cursor = epoch + 1, 0
        return problem

    def _rescued(self, problem: Error) -> Error:
        """After a step that was taken back: restores the best epoch, else the last state that was seen to be finite,
        and writes it. The run is not finished; the trainer has nothing left of its plan."""
        trainer = self.trainer
        if not self._early or trainer.stepper.spoilt() is not None:
            trainer._values.restore(self._good.state)
            trainer.progress, trainer._best = self._good.progress.copy(), self._good.best
        progress, written = trainer.progress, trainer.checkpoint()
        best = self._restores() and trainer._best is not None
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

    _together: Together | None = None
    _rows = 0  # of the epoch
    _good: Checkpoint  # what to go back to
    _early = True  # no epoch has ended well yet
    _short: Record | None = None
    _feed: Generator[Batch, None, None] | None = None  # the batches of the epoch
    _spent = 0.0  # seconds of training before this fit
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
        best = progress.best if self._restores() else None
        folder = self.folder.folder if self.folder else None
        ends = progress.step, progress.seconds, progress.stopped, folder
        spent = progress.seconds - self._spent
        waited = self.request.source.waits.seconds / spent if spent > 0 else 0.0
        return History(records, best, *ends, progress.test, list(progress.results), waited)
