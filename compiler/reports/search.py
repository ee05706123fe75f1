"""Many trainings of one spec in search of the best hyperparameters, by Optuna (the extra `sweep`).

Its storage, a file of SQLite, keeps every trial as soon as it has ended, so a search that is interrupted goes on; its
sampler (a tree-structured Parzen estimator, Bergstra et al. 2011) suggests where to look; its pruner ends a trial whose
figure of an epoch is worse than the median of the others' at that epoch.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlc.runtime.callbacks import Callback, History, Record, Start
from dlc.runtime.failures import Error
from dlc.runtime.legs import report as summed

from ..elaborate.sweeping import Range

if TYPE_CHECKING:
    from dlc.runtime.train import Trainer

FIRST = 5  # trials before any is pruned, or the sampler looks where the best ones are
Values = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """One training: its number, from 0, the values it had, and what it came to: "complete", "pruned" or "failed".
    `value` is the figure that is searched for (None of a failed one; of a pruned one its last), `curve` that of each
    epoch, `said` why it failed."""

    number: int
    values: Values
    state: str
    value: float | None
    curve: Mapping[int, float]
    seconds: float
    said: str


@dataclass(frozen=True)
class Search:
    """What is searched for: the least (`mode` "min") or the greatest of the figure `on`, as `validation.loss`, over
    `ranges`. `origin` tells the spec from others."""

    ranges: Mapping[str, Range]
    on: str
    mode: str
    origin: str
    seed: int = 0
    prune: bool = True

    def told(self) -> str:
        return json.dumps({"ranges": self.ranges, "on": self.on, "mode": self.mode, "origin": self.origin})


def sweep(
    search: Search,
    storage: Path,
    trials: int,
    made: Callable[[Values], Trainer],
    fitted: Callable[[Trainer, Callback], History],
    heard: Callable[[Trial], None] = lambda trial: None,
    best: Callable[[Trainer, Trial], None] = lambda trainer, trial: None,
) -> list[Trial]:
    """Trains until there are so many trials in all in the file `storage`. `made` compiles with some values, `fitted`
    trains with a callback. `heard` is told of each trial, `best` of each that is better than all before. All trials,
    those of earlier calls too. Raises `Error` E0661 where the file is of another search, E0662 where no trial came to
    an end."""
    optuna = importlib.import_module("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = _study(optuna, search, storage)
    done = len(study.get_trials(deepcopy=False))
    while done < trials:
        # a seed for each trial, so that a search that was interrupted goes on as it would have
        study.sampler = optuna.samplers.TPESampler(n_startup_trials=FIRST, seed=search.seed + done, multivariate=False)
        asked = study.ask()
        values = {name: _suggested(asked, name, one) for name, one in search.ranges.items()}
        state, value, said, trainer = optuna.trial.TrialState.FAIL, None, "interrupted", None
        try:
            trainer = made(values)
            listener = _Pruning(trainer, asked, search)
            history = fitted(trainer, listener)
            value = _figure(history, search.on)
            state = optuna.trial.TrialState.PRUNED if listener.pruned else optuna.trial.TrialState.COMPLETE
            said = ""
            if value is None or not math.isfinite(value):
                state, value, said = optuna.trial.TrialState.FAIL, None, f"there is no `{search.on}`"
        except Error as problem:
            state, said = optuna.trial.TrialState.FAIL, f"{problem.code}: {problem.message}"
        finally:
            asked.set_user_attr("said", said)
            complete = state == optuna.trial.TrialState.COMPLETE
            study.tell(asked, value if complete else None, state=state)
        told = _told(study.trials[asked.number])
        if complete and trainer is not None and study.best_trial.number == told.number:
            best(trainer, told)
        heard(told)
        done += 1
    found = [_told(one) for one in study.trials]
    if not any(one.state == "complete" for one in found):
        raise Error(
            "E0662",
            f"none of {len(found)} trials came to an end",
            where=str(storage),
            notes=list(dict.fromkeys(one.said for one in found if one.said))[:3],
            help="try one of them: dlc train SPEC --set NAME=VALUE",
        )
    return found


def ordered(trials: list[Trial], mode: str) -> list[Trial]:
    """The best first; those that were pruned or failed at the end."""
    sign = -1.0 if mode == "max" else 1.0
    rank = {"complete": 0, "pruned": 1, "failed": 2}
    return sorted(trials, key=lambda one: (rank[one.state], sign * one.value if one.value is not None else 0.0))


class _Pruning(Callback):
    """Tells the pruner of each epoch, and ends training where it says so. Folds and members run to their end."""

    def __init__(self, trainer: Trainer, asked: Any, search: Search) -> None:
        self.trainer, self.asked = trainer, asked
        self.side, _, self.name = search.on.partition(".")
        self.prunes = search.prune and trainer.legs.count == 1
        self.pruned = False
        self.last: int | None = None

    def on_start(self, start: Start) -> None:
        self.last = start.epochs

    def on_epoch(self, record: Record) -> None:
        value = (record[self.side] or {}).get(self.name)
        if self.trainer.legs.count > 1 or value is None or not math.isfinite(value):
            return
        self.asked.report(value, record["epoch"])
        if self.prunes and record["epoch"] != self.last and self.asked.should_prune():
            self.pruned = self.trainer.stop_training = True


def _study(optuna: Any, search: Search, storage: Path) -> Any:
    url = importlib.import_module("sqlalchemy").URL.create("sqlite", database=str(storage))
    pruner = optuna.pruners.MedianPruner(n_startup_trials=FIRST, n_warmup_steps=1)
    direction = "maximize" if search.mode == "max" else "minimize"
    try:
        study = optuna.create_study(
            study_name="sweep",
            storage=optuna.storages.RDBStorage(url.render_as_string()),
            pruner=pruner,
            direction=direction,
            load_if_exists=True,
        )
        known = study.user_attrs.get("search")
    except Exception as problem:  # of SQLite or of Optuna, where the file is none of theirs
        raise Error(
            "E0661",
            f"`{storage}` is no search",
            where=str(storage),
            notes=[_first(problem)],
            help="begin one anew: leave `--resume` out",
        ) from None
    if known is None:
        study.set_user_attr("search", search.told())
    elif known != search.told():
        was, now = json.loads(known), json.loads(search.told())
        notes = [
            f"`{name}` is {now[name]}, was {was[name]}" for name in ("ranges", "on", "mode") if was[name] != now[name]
        ]
        raise Error(
            "E0661",
            "the search is of another spec",
            where=str(storage),
            notes=notes or ["the text of the spec is different"],
            help="begin a search of its own: leave `--resume` out",
        )
    for one in study.get_trials(deepcopy=False):  # of a process that was killed
        if not one.state.is_finished():
            study.tell(one.number, state=optuna.trial.TrialState.FAIL)
    return study


def _first(problem: Exception) -> str:
    return (str(problem).splitlines() or [type(problem).__name__])[0][:200]


def _suggested(asked: Any, name: str, of: Range) -> Any:
    [(kind, ends)] = of.items()
    if kind == "of":
        return asked.suggest_categorical(name, ends)
    suggest = asked.suggest_int if all(isinstance(end, int) for end in ends) else asked.suggest_float
    return suggest(name, *ends, log=kind == "log")


def _figure(history: History, on: str) -> float | None:
    """The figure of the state that was kept; of folds and members the mean."""
    side, _, name = on.partition(".")
    found = summed(history.results)["mean"] if history.results else history.final
    value = ((found or {}).get(side) or {}).get(name)
    return None if value is None else float(value)


def _told(one: Any) -> Trial:
    state = {"COMPLETE": "complete", "PRUNED": "pruned"}.get(one.state.name, "failed")
    curve = dict(one.intermediate_values)
    value = one.value if state == "complete" else (curve[max(curve)] if curve and state == "pruned" else None)
    seconds = one.duration.total_seconds() if one.duration is not None else 0.0
    return Trial(one.number, dict(one.params), state, value, curve, seconds, one.user_attrs.get("said", "interrupted"))
