"""The members of an ensemble trained at once: one step for all, each with its own state, rows and draws. What comes out
is what they come to one after another, to rounding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from . import feeding, legs, patience
from .callbacks import Callback, Record
from .choosing import CHOICES
from .closing import COMBINE
from .data import side_by_side
from .file import CompiledFile, Stage
from .initial import initialize
from .lanes import Lanes, unfit
from .metadata import BATCH
from .repeats import Lane

if TYPE_CHECKING:
    from .loop import Loop

# Elements of a parameter, and multiplications of a product: beyond, a step costs by these more than by the node, and
# one for all members was not faster (docs/performance.md).
LARGEST, HEAVY = 4_096, 200_000


class Alone(Exception):
    """Members cannot go on at once: what a member came to is no finite number, which its own training says best."""


class Together:
    """Trains the members from `first` on, the leg of the first of them, in the place of its loop."""

    def __init__(self, loop: Loop, lanes: Lanes) -> None:
        trainer = loop.trainer
        self.loop, self.trainer, self.lanes = loop, trainer, lanes
        self.first, self.count = trainer.progress.leg, lanes.count
        request, plan = loop.request, loop.plan
        seeds = [trainer.seed + k for k in range(self.count)]
        self.sources = [
            feeding.arrays(request.columns, plan.batch, seed, None, trainer.stage.settings) for seed in seeds
        ]
        self.hows = trainer.epoch_figures.hows
        self.means = np.array([how == "mean" for how in self.hows], bool)
        if trainer._lanes is not None:
            lanes.restore(trainer._lanes)
        else:
            self._begin()

    @classmethod
    def of(cls, loop: Loop, listeners: Sequence[Callback]) -> Together | None:
        """None where members train one after another: where they do not fit, or it would not pay. All legs of a run do
        as the first one does."""
        found = cls._of(loop, listeners)
        if loop.trainer.legs.members > 1:
            loop.plan.together = loop.trainer.together = found is not None
        return found

    @classmethod
    def _of(cls, loop: Loop, listeners: Sequence[Callback]) -> Together | None:
        trainer, progress, stage = loop.trainer, loop.trainer.progress, loop.trainer.stage
        if trainer.legs.members < 2 or trainer.together is False:
            return None
        if trainer.together is None and trainer.resumed and progress.leg:
            return None  # a run of before there was any of this
        if progress.lanes:
            fits = trainer._lanes is not None
        else:
            fresh = not trainer.legs.member(progress.leg) and not progress.epoch and not progress.cursor
            fits = fresh and (trainer.together is True or (_light(loop) and all(map(_hears, listeners))))
        if not fits or _divided(trainer.file, stage) or trainer.chooser is not None or not loop.request.source.plain:
            return None
        whole = loop.request.source.whole
        lanes = Lanes.of(trainer.file, trainer._values, trainer._how, stage, whole)
        return cls(loop, lanes) if lanes is not None else None

    def _begin(self) -> None:
        """The state with which each member begins, as if those before had trained."""
        trainer, progress = self.trainer, self.trainer.progress
        states = []
        for k in range(self.count):
            progress.leg = self.first + k
            if k:
                self._renew()
                initialize(trainer)
            self.loop.request.reserve()
            states.append(trainer._values.snapshot())
        progress.leg = self.first
        ours = self._ours()
        self.lanes.write([{name: array for name, array in one.items() if name not in ours} for one in states])
        progress.lanes = [Lane() for _ in range(self.count)]

    def _ours(self) -> set[str]:
        ensemble = self.trainer.file.ensemble
        return set(ensemble.state) if ensemble is not None else set()

    def _renew(self) -> None:
        """The state in which the first leg began, but for what members have each by themselves."""
        trainer, ours = self.trainer, self._ours()
        assert trainer._begin is not None
        trainer._values.restore({name: array for name, array in trainer._begin.items() if name not in ours})

    # --- training

    def run(self, listeners: Sequence[Callback], interrupted: list[bool]) -> None:
        """Raises `Alone` where a number is not finite, KeyboardInterrupt once the state is there to be saved."""
        try:
            self._epochs(listeners, interrupted)
        finally:
            self.trainer._lanes = self.lanes.all()

    def _epochs(self, listeners: Sequence[Callback], interrupted: list[bool]) -> None:
        loop, trainer, progress = self.loop, self.trainer, self.trainer.progress
        each = [one.on_step for one in listeners if type(one).on_step is not Callback.on_step]
        first = [one.before_step for one in listeners if type(one).before_step is not Callback.before_step]
        last = loop.plan.steps if loop.plan.steps is not None else math.inf
        epochs = loop.plan.epochs if loop.plan.epochs is not None else math.inf
        before = now = time.monotonic()
        loop._due, loop._rows = now + loop.every, self.sources[0].rows
        running = self._running()
        while progress.step < last and progress.epoch < epochs and running and not loop._halts(now):
            for listener in listeners:
                listener.before_epoch(progress.epoch + 1)
            totals = self._totals()
            for batch in side_by_side(self.sources, progress.epoch, progress.cursor):
                if (now >= loop.limit or trainer.stop_training) and progress.cursor and loop._halts(now):
                    break
                for tell_first in first:
                    tell_first(progress.step + 1)
                loop._torn = True
                self.lanes.step(batch.arrays)
                figures, now = self.lanes.read(), time.monotonic()
                if len(figures) and not np.isfinite(figures[0][running]).all():
                    raise Alone
                told = self._means(figures, running) if each else {}
                totals = self._added(totals, figures, batch.rows)
                progress.step, progress.cursor = progress.step + 1, progress.cursor + batch.rows
                loop._torn = False
                for tell in each:
                    tell(progress.step, told)
                if interrupted or now >= loop._due:
                    self._keep(totals)
                    now = time.monotonic()
                    progress.seconds, before = progress.seconds + now - before, now
                    if interrupted:
                        raise KeyboardInterrupt
                    trainer._lanes = self.lanes.all()
                    loop._save()
                if progress.step >= last:
                    break
            self._keep(totals)
            now = time.monotonic()
            progress.seconds, before = progress.seconds + now - before, now
            self._finish_epoch(listeners, running)
            running = self._running()
            now = time.monotonic()
            progress.seconds, before = progress.seconds + now - before, now

    def _means(self, figures: np.ndarray, running: Sequence[int]) -> dict[str, float]:
        means = figures[:, running].mean(axis=1).tolist()
        return dict(zip(self.trainer.stepper.figures, means, strict=False))

    def _running(self) -> list[int]:
        return [k for k, lane in enumerate(self.trainer.progress.lanes) if not lane.stopped]

    def _totals(self) -> np.ndarray | None:
        """The figures of the running epoch, added up as `EpochFigures` does: [figure, member]."""
        sums = [lane.sums for lane in self.trainer.progress.lanes]
        return np.array(sums, np.float64).T if all(sums) else None

    def _added(self, totals: np.ndarray | None, figures: np.ndarray, rows: int) -> np.ndarray:
        figures[self.means] *= rows
        if totals is None:
            return figures
        for row, new, how in zip(totals, figures, self.hows, strict=True):
            if how != "none":
                row[:] = COMBINE["sum" if how == "mean" else how](row, new)
        return totals

    def _keep(self, totals: np.ndarray | None) -> None:
        for k, lane in enumerate(self.trainer.progress.lanes):
            lane.sums = [] if totals is None else totals[:, k].tolist()
        self.trainer.progress.sums = list(self.trainer.progress.lanes[0].sums)  # as many as the file says

    def _finish_epoch(self, listeners: Sequence[Callback], running: list[int]) -> None:
        """The record of an epoch of each member that trains, with its state in the trainer."""
        loop, trainer, progress = self.loop, self.trainer, self.trainer.progress
        if not self.lanes.sound(running, trainer.stepper.watched):
            raise Alone
        whole, cursor, stop = progress.cursor >= loop._rows, progress.cursor, loop.plan.stop
        for listener in listeners if loop.held is not None else ():
            listener.before_validation()
        records = []
        for k in running:
            lane = progress.lanes[k]
            trainer._values.restore(self.lanes.view(k))
            record: Record = {
                "epoch": progress.epoch + 1,
                **trainer.legs.mark(self.first + k),
                "step": progress.step,
                "seconds": round(progress.seconds, 6),
                "train": trainer.epoch_figures.close(lane.sums, cursor),
                "validation": trainer.evaluator.run(loop.held, loop.batch) if loop.held is not None else None,
            }
            records.append(record)
            lane.steps, lane.sums, lane.short = progress.step - progress.begun, [], None if whole else record
            if whole:
                lane.history.append(record)
                better = stop is not None and patience.judge(stop, lane, record, loop.plan.since)
                if (better and loop._restores()) or (lane.stopped and not loop._restores()):
                    self._note(k)
            for listener in listeners:
                listener.on_member(record)
        if whole:
            progress.epoch, progress.cursor, progress.sums = progress.epoch + 1, 0, []
        for listener in listeners:
            listener.on_members(records)

    def _note(self, member: int) -> None:
        """Keeps the state of a member, which is what it ends with if nothing better comes."""
        trainer = self.trainer
        if trainer._ends is None:
            trainer._ends = self.lanes.all()
            for name in self.lanes.alone:
                trainer._ends[name] = np.stack([trainer._ends[name]] * self.count)
        for name, array in self.lanes.view(member).items():
            trainer._ends[name][member] = array
        trainer.progress.lanes[member].noted = True

    # --- ends

    def close(self) -> None:
        """Puts what each member came to where it would be if they had trained one after another. The trainer is then
        at the last member, which has ended and is not stored yet."""
        loop, trainer, progress = self.loop, self.trainer, self.trainer.progress
        lanes, progress.lanes = progress.lanes, []
        for k, lane in enumerate(lanes):
            progress.leg, progress.epoch, progress.history = self.first + k, len(lane.history), lane.history
            progress.best, progress.score, loop._short = lane.best, lane.score, lane.short
            state = self.lanes.view(k)
            if lane.noted and trainer._ends is not None:
                state = {name: array[k] for name, array in trainer._ends.items()}
            trainer._values.restore(state)
            trainer._best = trainer._values.snapshot() if loop._restores() and lane.best is not None else None
            if k + 1 < self.count:
                history = loop._history()
                progress.kept.append((history.best or progress.epoch) - loop.plan.since)
                progress.results.append(legs.result(trainer, history.final))
                legs.store(trainer)
                progress.past, progress.kept = [*progress.past, *progress.history], []
        progress.stopped = progress.stopped or lanes[-1].stopped
        progress.step = progress.begun + sum(lane.steps for lane in lanes)
        loop.plan.leg = progress.leg
        loop.request.follows = progress.leg + 1 < trainer.legs.count
        trainer._lanes = trainer._ends = None

    def abandon(self, listeners: Sequence[Callback]) -> None:
        """Back to where the members began, who then train one after another."""
        loop, trainer, progress = self.loop, self.trainer, self.trainer.progress
        progress.leg, progress.lanes, progress.history, progress.sums = self.first, [], [], []
        progress.epoch, progress.cursor, progress.step = loop.plan.since, 0, progress.begun
        progress.best = progress.score = None
        progress.stopped = False
        trainer._lanes = trainer._ends = None
        self._renew()
        loop.request.reserve()
        loop.plan.together = trainer.together = False
        for listener in listeners:
            listener.before_again([*progress.past])


def _divided(file: CompiledFile, stage: Stage) -> bool:
    """Whether training is more than one step again and again."""
    turns = any(turn.every != 1 or turn.first != 1 for turn in stage.turns)
    return len(file.stages) > 1 or len(stage.parts) > 1 or turns


def _light(loop: Loop) -> bool:
    """Whether a step costs by the node more than by its products: then one for all members pays."""
    return _heavy(_largest(loop.trainer.file), loop.batch) is None


def _heavy(largest: int, rows: object) -> str | None:
    """Why one step for all members would not pay, by the largest parameter of one and the rows of a batch."""
    if largest > LARGEST:
        return f"a parameter has {largest:,} numbers, so that one step for all would take as long"
    if isinstance(rows, int) and largest * rows > HEAVY:
        return f"a product has {largest * rows:,} multiplications, so that one step for all would take as long"
    return None


def _largest(file: CompiledFile) -> int:
    """The numbers of the largest parameter of one member."""
    shapes = {slot.name: slot.shape for slot in file.slots}
    return max((math.prod(shapes[name]) for name in file.parameters), default=0)


def forecast(file: CompiledFile) -> str:
    """How a fit trains the members of an ensemble, and why: "at once", or "one after another: ..."."""
    stage, largest = file.stages[0], _largest(file)
    batch = file.settings.get("batch") or BATCH
    rows = max(batch.values()) if isinstance(batch, dict) and "all" not in batch.values() else batch
    outputs = {value.name for part in stage.parts for value in part.algorithm.output}
    if len(file.stages) > 1:
        why = "there are several train blocks"
    elif _divided(file, stage):
        why = "losses take turns"
    elif not outputs.isdisjoint(CHOICES) or file.settings.get("sampler"):
        why = "rows are chosen for each epoch"
    elif file.settings.get("drop_last"):
        why = "the last batch of an epoch is left out"
    elif (reason := _heavy(largest, rows)) is not None or (reason := unfit(file, stage)) is not None:
        why = reason
    else:
        most = f", with up to {HEAVY // largest:,} rows of data" if largest and not isinstance(rows, int) else ""
        return f"at once{most}"
    return f"one after another: {why}"


def _hears(listener: Callback) -> bool:
    """Whether a listener looks at no state after an update: the trainer holds that of a member at ends of epochs."""
    own = type(listener)
    blind = all(getattr(own, hook) is getattr(Callback, hook) for hook in ("on_step", "before_step", "before_batch"))
    return blind or listener.of_members
