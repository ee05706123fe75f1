"""The trainer: one compiled file, its state on a device, and what can be done with them."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from . import origin, session
from .arguments import positive, whole
from .by_path import Values
from .callbacks import History
from .checkpoint import Checkpoint, Plan, Progress, Run
from .choosing import Chooser
from .closing import EpochFigures
from .columns import bare, loaded, read
from .data import Columns, Field, Fold, fields
from .data.check import BatchCheck
from .devices import memory
from .evaluate import Evaluator, Predictor, batch_for
from .failures import Error
from .file import CompiledFile, Slot, Stage
from .finite import blamed
from .foreseen import foresee
from .initial import initialize, reserve, starts, steps_done
from .legs import Legs, refuse_again, refuse_steps, score
from .loop import Loop
from .metadata import BATCH, SEEDS, THREADS
from .moments import listening
from .native import wanted as own_kernels
from .request import Request
from .resumed import resumed
from .stages import begin, place as stage_of
from .state import State, Stepper


class Trainer:
    """Trains, evaluates and predicts. One thread trains it: a step, a fit or an assignment while another thread is in
    one is refused (`Error` E0634).

    A file that no trainer has written begins at the start values of its seed, which its own `initialization`
    computes; a trained one goes on from what it holds. A foreign file (without our metadata) keeps what it holds
    until the first training step. `start="file"` keeps it in any case.

        >>> trainer = dlc.Trainer(dlc.compile("specs/xor.dl"), device="cpu", seed=3)
        >>> history = trainer.fit("specs/data/xor.csv", epochs=5)
        >>> trainer.evaluate("specs/data/xor.csv")["loss"] > 0
        True
        >>> trainer.predict({"x": [[0.0, 1.0], [1.0, 1.0]]})["probability"].shape[0]
        2
        >>> said = trainer.summary()
        >>> trainer.finished, trainer.native in (True, False)
        (True, True)
        >>> done = trainer.rewrites  # such as {'elementwise operations in chains': 62}
        >>> trainer.save("xor.onnx").name
        'xor.onnx'
    """

    history: History | None = None  # of the last fit
    stop_training = False  # a callback says True: training ends after the update
    tried = False  # by `trial`: what the spec says of stopping is for a run

    def __init__(
        self,
        program: object,
        device: str = "auto",
        seed: int | None = None,
        *,
        threads: int | None = None,
        native: bool | None = None,
        start: str | None = None,
        folder: str | os.PathLike[str] | None = None,
        steps: int | None = None,
        observations: int | None = None,
        together: bool | None = None,
    ) -> None:
        """`program`: a compiled spec, a CompiledFile, a `ModelProto`, or the path of a .onnx file.

        `seed` comes before the file's own setting, which comes before 0. `threads`: of the CPU; by default one for
        small models, else every core. `native`: whether chains of elementwise operations run in kernels of our own
        (docs/native.md); by default where they work and `DLC_NATIVE=0` is not set. `folder`: what relative data paths
        of the spec count from. `steps`: how many updates a loop of `step` will make in all, and `observations`: the
        rows of its training set, where the spec reads them and its own settings and data do not say (a fit plans for
        itself). `together`: whether the members of an ensemble train at once, where they fit (docs/runtime.md); by
        default where that is faster.
        Raises `Error` E0625, E07xx, E08xx.
        """
        self.file = bare(CompiledFile.of(program))
        self.device = session.choose(device)
        fused = self.file.ours and self.file.stale is None  # what another tool has put in is not rewritten yet
        threads = session.threads_for(self.file) if threads is None else whole("threads", threads, THREADS)
        native = self.device == "cpu" and own_kernels(native)
        self._how = session.Options(self.device, threads, fused, native=native, small=session.is_small(self.file))
        given = seed if seed is not None else self.file.settings.get("seed")
        self.seed = 0 if given is None else whole("seed", given, SEEDS)
        home = folder if folder is not None else getattr(program, "folder", None)
        self.folder = Path(home) if home is not None else None
        self._values, self.together = State(self.file, memory(self.device)), together
        self._assigned: set[str] = set()
        self._starters: dict[int, session.Session] = {}  # of each part, where there are several legs
        self.legs = Legs.of(self.file)
        self.progress = Progress(leg=self.legs.count - 1 if self.file.trained else 0)  # what folds are for may be done
        self._waiting = start != "file" and not self.file.trained and any(p.initials for p in self.file.parts)
        if self._waiting and (self.file.ours or seed is not None):
            initialize(self)
        self.progress.step = steps_done(self)
        self.plan: Plan | None = None  # of the run that a checkpoint interrupted, or of the last fit
        self.run: Run | None = None
        self.resumed = False
        self._best: dict[str, np.ndarray] | None = None
        self._begin: dict[str, np.ndarray] | None = None  # with which each leg begins, where there are several
        self._lanes: dict[str, np.ndarray] | None = None  # of members that train at once, and what they end with
        self._ends: dict[str, np.ndarray] | None = None
        self._turn = threading.RLock()
        self._planned = {
            name: positive(name, value)
            for name, value in (("steps", steps), ("observations", observations))
            if value is not None
        }
        for name, value in self._planned.items():
            reserve(self, name, value)

    @property
    def native(self) -> bool:
        """Whether chains of elementwise operations run in kernels of our own (docs/native.md)."""
        return self._how.native

    def _repr_html_(self) -> str:
        """In a notebook: what it trains, how far it is, and the first parameters with their shapes."""
        from .overview import shown

        return shown(self)

    # --- what it holds

    @property
    def parameters(self) -> MutableMapping[str, np.ndarray]:
        """What is learned, by path; `trainer.parameters["dense.W"] = array` replaces a value.

        >>> trainer.parameters["dense.b"].shape
        (8,)
        >>> trainer.parameters["dense.b"] = [0.0] * 8
        """
        return Values(self, self.file.parameters)

    @property
    def state(self) -> MutableMapping[str, np.ndarray]:
        """Everything that training carries, by path: parameters, optimizer state, statistics, counters.

        >>> [name for name in trainer.state if name.endswith("dense.W")]
        ['dense.W', 'adam/m/dense.W', 'adam/v/dense.W']
        """
        return Values(self, list(self._values.slots))

    @property
    def slots(self) -> Mapping[str, Slot]:
        return self._values.slots

    @property
    def finished(self) -> bool:
        """Whether nothing is left of the run: false for one resumed from the middle."""
        return self.progress.finished

    @property
    def inputs(self) -> tuple[Field, ...]:
        """The data of a step."""
        return fields(self.file, self.stepper.inputs)

    @cached_property
    def stepper(self) -> Stepper:
        if not self.file.parts:
            raise self._cannot_train()
        return Stepper(self.file, self._values, self._how, self.stage)

    @property
    def rewrites(self) -> dict[str, int]:
        """What becomes of the graph of a step for the provider it runs on, and how often: the file holds standard
        operators only. The logger `dlc.runtime` says it too, at level DEBUG. Makes the step's sessions."""
        return self.stepper.rewrites()

    @cached_property
    def epoch_figures(self) -> EpochFigures:
        return EpochFigures(self.file, self._values, self.stepper, self._how.fused, self.stage)

    @cached_property
    def chooser(self) -> Chooser | None:
        return Chooser.of(self.file, self._values, self._how, self.stage)

    @cached_property
    def evaluator(self) -> Evaluator:
        return Evaluator(self.file, self._values, self._how)

    @cached_property
    def together_evaluator(self) -> Evaluator | None:
        """Of what an ensemble predicts; None where the file has no figures of it."""
        file = self.file
        if file.ensemble is None or not file.ensemble.figures or file.evaluation is None:
            return None
        return Evaluator(file, self._values, self._how, file.ensemble.evaluation(file.evaluation))

    @cached_property
    def predictor(self) -> Predictor:
        return Predictor(self.file, self._values, self._how)

    @cached_property
    def _each(self) -> Predictor:
        return Predictor(self.file, self._values, self._how, each=True)

    @cached_property
    def _check(self) -> BatchCheck:
        return BatchCheck(self.inputs, self.stepper.guarded)

    def _cannot_train(self) -> Error:
        return self.file.stale or Error(
            "E0715",
            "this file predicts only: it has no training_info",
            where=self.file.name,
            help="compile the spec with a `train` block, and do not export it with `--inference`",
        )

    # --- what it does

    def step(self, batch: Mapping[str, Any]) -> dict[str, float]:
        """One update on one batch (arrays by name); the loss and the metrics of the batch.

        Raises `Error` E06xx for data that do not fit, E0633 where the spec reads how many updates or rows there will
        be and nothing says it, E0634 while another thread trains, E0670 for a loss that is no finite number: the state
        is then as before the step. (All state is looked through after updates 1, 2, 4, 8 and so on; a NaN that comes
        between them shows in the loss of the next step.)

            >>> sorted(trainer.step({"x": [[0.0, 1.0], [1.0, 1.0]], "y": [1, 0]}))
            ['accuracy', 'loss']
        """
        if not self._turn.acquire(blocking=False):  # `_alone` without its microsecond
            raise self._elsewhere()
        try:
            return self._step(batch)
        finally:
            self._turn.release()

    def _step(self, batch: Mapping[str, Any]) -> dict[str, float]:
        stepper, progress = self.stepper, self.progress
        arrays: Mapping[str, np.ndarray] | None = self._check.alike(batch)
        if arrays is None:
            columns = self._check(batch)
            arrays = columns.arrays
            refuse_steps(self)
            if progress.step == 0 and self.plan is None:
                foresee(self, stepper.reads, columns.rows)
        if self._waiting:
            initialize(self)
        step = progress.step + 1
        looks = not step & (step - 1)
        try:
            stepper.step(arrays, step - progress.begun, looks)
        except Error:
            self._check(batch)  # a label out of range, which the step has not come to look at, may be why
            raise
        values = stepper.read()
        # Where there is one loss, what `unsound` says without its microsecond.
        good = stepper.unsound(values) is None if stepper.several else not values or math.isfinite(values[0])
        if not good or (looks and stepper.spoilt(looked=True)):
            raise blamed(self.file, stepper, self._check, batch, step)
        progress.step = step
        # One each; `strict` costs half a microsecond.
        return stepper.told(values) if stepper.several else dict(zip(stepper.figures, values))  # noqa: B905

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """What one thread at a time may be in. Raises `Error` E0634."""
        if not self._turn.acquire(blocking=False):
            raise self._elsewhere()
        try:
            yield
        finally:
            self._turn.release()

    @staticmethod
    def _elsewhere() -> Error:
        return Error(
            "E0634",
            "another thread is training this trainer",
            help="one thread trains a trainer: make one for each thread, or guard it with a lock of your own",
        )

    def fit(
        self,
        data: object = None,
        validation: object = None,
        epochs: int | None = None,
        steps: int | None = None,
        batch: int | str | Mapping[str, int | str] | None = None,
        callbacks: Sequence[object] = (),
        run: Run | str | os.PathLike[str] | None = None,
        *,
        every: float = 10.0,
        only: str | int | None = None,
        test: object = None,
        max_time: float | None = None,
    ) -> History:
        """Trains. What is not given comes from the file's train settings.

        `data`: a mapping of arrays, a table, or the path of a file or folder. `validation`: the same, a share of
        them in (0, 1), or False for none. `epochs` or `steps`: how many more. `batch`: rows, or "all", or these
        by dimension where several count rows. `run`: a Run, or the folder in which to make one. `every`: seconds
        between checkpoints. What a resumed trainer is not given it takes from its run; given neither epochs nor steps,
        it finishes the run that was interrupted. Ctrl-C and SIGTERM write a checkpoint and raise KeyboardInterrupt. Of
        several train blocks those that are left run one after another, each from where the last ended; `only`: this
        one, by its title or its place, from 1. `test`: as `validation`, scored once at the end. The folds and members
        of a spec that has them train one after another, or members at once. `callbacks`: listeners (`Callback`), or
        objects with Keras' names; `stop_training = True` on the trainer ends it after the update. `max_time`: seconds
        after which no update begins; what was trained is kept as at any end.
        Raises `Error` E06xx, E0670, E07xx, E08xx.

            >>> history = trainer.fit("specs/data/xor.csv", epochs=20, batch=2)
            >>> len(history.epochs), history.steps
            (25, 46)
        """
        if not self.file.parts:
            raise self._cannot_train()
        limit = math.inf if max_time is None else time.monotonic() + max_time
        with self._alone():
            self.stop_training = False
            refuse_again(self, epochs is not None or steps is not None)
            number = None if only is None else stage_of(self.file.stages, only)
            again = len(self.file.stages) > 1 and self.plan is None and self.file.trained  # from the first block on
            if again or (number is not None and number != self.progress.block):
                self._enter(number or 0)
                if self.plan is not None:  # what this fit is given counts, not what the last one was
                    self.plan = replace(self.plan, more_epochs=None, more_steps=None)
            heard = listening(callbacks, self)
            while True:
                request = Request(self, data, validation, epochs, steps, batch, number is not None, test)
                history = Loop(self, request, heard, run, every, limit).go()
                if not request.follows or self.stop_training or time.monotonic() >= limit:
                    self.history = history
                    return history
                run = None  # the next block goes on in the folder of this one

    def summary(self) -> str:
        """A table: inputs and targets, parameters with their shapes and counts, outputs, and totals."""
        from .overview import overview

        return overview(self)

    @property
    def stage(self) -> Stage:
        """The train block that trains."""
        return self.file.stages[self.progress.block]

    def _enter(self, number: int) -> None:
        """Turns to another train block, which begins where the one before ended."""
        before = self.stage
        self._turn_to(number)
        begin(self._values, before, self.stage, partial(starts, self))

    def _turn_to(self, number: int) -> None:
        """Makes a train block the one that trains. The plan of the one before stays: it says what data were given."""
        progress, other = self.progress, number != self.progress.block
        progress.block, progress.begun, progress.cursor, progress.sums = number, progress.step, 0, []
        progress.best = progress.score = None
        progress.finished = progress.stopped = False
        self._best = None
        for name in ("stepper", "epoch_figures", "chooser", "_check") if other else ():
            self.__dict__.pop(name, None)

    @property
    def own_seed(self) -> int:
        """The seed of start values, draws and the order of rows: each member of an ensemble has the next."""
        return self.seed + self.legs.member(self.progress.leg)

    def evaluate(self, data: object, batch: int | None = None) -> dict[str, Any]:
        """The loss, its named terms and each metric over a data set: numbers, and arrays of metrics that are tables.
        Raises `Error` E06xx, E0633 as `step` does.

            >>> sorted(trainer.evaluate({"x": [[0.0, 1.0]], "y": [1]}))
            ['accuracy', 'loss']
        """
        columns = data if isinstance(data, Columns) else self.columns(data, self.evaluator.fields)
        if self.progress.step == 0 and self.plan is None:
            foresee(self, self.evaluator.reads, None)
        with self._alone() if self.file.ensemble else nullcontext():
            return score(self, columns, batch or batch_for(columns, self._batch()))

    def predict(
        self,
        data: object,
        batch: int | None = None,
        *,
        rows: int | None = None,
        seed: int | None = None,
        members: bool = False,
    ) -> dict[str, np.ndarray]:
        """The model's outputs by name for rows of data (the inputs that the outputs need; no targets).

        `batch`: rows of a batch at least, by default those of the settings; it is larger where rows are small. Inputs
        with a distribution are drawn where the data lack them, `rows` of them where no data say how many. What is drawn
        is drawn anew in each batch and each call; the same `seed` gives the same numbers. An ensemble gives the means
        and `NAME.std`, of integers the vote and `NAME.share`, with `members` also `NAME.members`, [members, rows,
        ...]. Raises `Error` E06xx.

            >>> trainer.predict({"x": [[0.0, 1.0]]})["probability"].dtype
            dtype('float32')
        """
        rows = None if rows is None else positive("rows", rows)
        seed = None if seed is None else whole("seed", seed, SEEDS) % (1 << 64)
        predictor = self._each if members else self.predictor
        wanted = predictor.fields
        try:
            found, where = loaded(self, data, wanted)
        except Error:
            if len(predictor.needed()) == len(wanted):
                raise
            found, where = loaded(self, data, predictor.needed())  # those that can be drawn are not there
        made = predictor.run(found, where, batch or self._batch(), rows, seed)
        return made if self.file.table is None else self.file.table.decode(made)

    def columns(
        self,
        data: object,
        wanted: tuple[Field, ...],
        *,
        fits: bool = False,
        share: tuple[float, float] | None = None,
        fold: Fold | None = None,
    ) -> Columns:
        """Data loaded and checked; `fits`, `share` and `fold` as in `columns.loaded`."""
        return read(self, data, wanted, fits=fits, share=share, fold=fold)

    def _batch(self) -> int:
        batch = self.stage.settings.get("batch", BATCH)
        return batch if isinstance(batch, int) else 1

    # --- files

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the .onnx file with the present values: it predicts with them, and trains on from them.

        Raises `Error` E0671 where training has put NaN or an infinity among them, E0739.
        """
        with self._alone():
            self._sound(f"`{path}` was not written")
            self.file.save(path, self._values.view(), trained=self.progress.step)
        return Path(path)

    def _sound(self, what: str) -> None:
        """Raises `Error` E0671 where state that was finite is so no more."""
        spoilt = self.stepper.spoilt() if "stepper" in self.__dict__ else None
        if spoilt is not None:
            raise Error(
                "E0671",
                f"`{spoilt}` holds NaN or an infinity: {what}",
                where=self.file.name,
                help="continue from an earlier file or checkpoint, or assign the right value to `trainer.parameters`",
            )

    def checkpoint(self) -> Checkpoint:
        """Where training stands, to be saved and resumed."""
        return self._checkpoint(self._values.snapshot())

    def _checkpoint(self, state: dict[str, np.ndarray]) -> Checkpoint:
        plan = self.plan or Plan(seed=self.seed)
        settings = self.file.metadata.get("dlc.settings", "{}")
        words = self.file.title, self._best, settings, self._origin
        return Checkpoint(state, self.progress.copy(), plan, *words, self._begin, self._lanes, self._ends)

    @cached_property
    def _origin(self) -> str:
        return origin.of(self.file)

    @classmethod
    def resume(
        cls,
        path: str | os.PathLike[str],
        program: object = None,
        device: str = "auto",
        *,
        threads: int | None = None,
        native: bool | None = None,
    ) -> Trainer:
        """A trainer as it stood at the last checkpoint of a run folder, or at a checkpoint file.

        A checkpoint outside a run folder needs the `program` that it is of. One that is given is taken if its state has
        the same names and shapes; the file in a run folder must be of the spec that was trained. It goes on with as
        many threads, and with or without kernels of our own, as it began; where there are none, its `native` is not
        that of its `plan`. Raises `Error` E0740 to E0745.

            >>> trainer.checkpoint().save("here.safetensors")
            >>> again = dlc.Trainer.resume("here.safetensors", dlc.compile("specs/xor.dl"), device="cpu")
        """
        return resumed(cls, Path(path), program, device, threads, native)
