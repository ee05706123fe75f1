"""What a run folder holds, read for a report."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlc.runtime import metadata, norms
from dlc.runtime.checkpoint import LAST, Checkpoint, Run
from dlc.runtime.data import Columns
from dlc.runtime.failures import Error
from dlc.runtime.file import CompiledFile
from dlc.runtime.own import own_data
from dlc.runtime.train import Trainer

OWN = ("epochs", "steps", "batch", "data", "validate", "seed")  # settings with an option of `dlc train`


@dataclass
class Ran:
    """A run: what it noted, its file as trained, and the data that it is judged by where they are still there."""

    folder: Path
    name: str
    file: CompiledFile
    records: list[metadata.Record]
    norms: list[metadata.Norms]
    settings: dict[str, str]  # what it was trained with, by what it is called
    environment: dict[str, str]
    best: int | None  # the epoch that was restored
    steps: int
    seconds: float
    said: list[str] = field(default_factory=list)  # what a reader has to know
    trainer: Trainer | None = None
    columns: Columns | None = None
    batch: int = 1
    data: str = ""  # which these are

    @property
    def final(self) -> metadata.Record | None:
        """The record of the state that the file holds: the best epoch's where it was restored."""
        if self.best is not None:
            return next((record for record in self.records if record.epoch == self.best), None)
        return self.records[-1] if self.records else None


def ran(folder: Path, data: Path | None = None, device: str = "auto") -> Ran:
    """Reads a run folder. `data`: what to judge by instead of its own. Raises `Error` E0744, E0745 and those of a
    damaged file or checkpoint, and E06xx for `data`."""
    run = Run(folder)
    file, said = run.trained()
    last = run.checkpoints / LAST
    found = Checkpoint.load(last) if last.is_file() else None
    progress = found.progress if found is not None else None
    best = progress.best if progress is not None and found is not None and found.plan.stop is not None else None
    told = _settings(folder)
    made = Ran(
        folder,
        folder.resolve().name,
        file,
        _records(run.metrics),
        norms.read(run.norms),
        _given(file, told),
        {name: str(value) for name, value in _mapping(told.get("environment")).items()},
        best,
        file.updates,
        progress.seconds if progress is not None else 0.0,
        [said] if said is not None else [],
    )
    if not file.parts:
        return made
    made.trainer = Trainer(file, device=device)
    try:
        if data is not None:
            made.columns = made.trainer.columns(data, made.trainer.evaluator.fields)
            made.data = str(data)
        else:
            made.columns, made.batch, made.data = own_data(made.trainer, run)
    except Error as problem:
        if data is not None:
            raise
        made.said.append(f"no predictions are shown: {problem.message}" + "".join(f"; {n}" for n in problem.notes))
    return made


def running(folder: Path, file: CompiledFile) -> Ran:
    """What a run that is training has noted so far."""
    run = Run(folder)
    records = _records(run.metrics)
    steps, seconds = (records[-1].step, records[-1].seconds) if records else (0, 0.0)  # both since the run began
    return Ran(folder, folder.resolve().name, file, records, norms.read(run.norms), {}, {}, None, steps, seconds)


def _records(path: Path) -> list[metadata.Record]:
    """Epochs, up to a line that is not whole."""
    found: list[metadata.Record] = []
    try:
        for line in path.read_text("utf-8").splitlines():
            found.append(metadata.build(metadata.parse(line), metadata.Record))
    except (OSError, ValueError, metadata.Unfit):
        pass
    return found


def _settings(folder: Path) -> Mapping[str, Any]:
    try:
        return _mapping(metadata.parse((folder / "settings.json").read_text("utf-8")))
    except (OSError, ValueError):
        return {}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _given(file: CompiledFile, told: Mapping[str, Any]) -> dict[str, str]:
    """Hyperparameters and train settings as they were resolved, by name; of the train block under `train.`."""
    found = {name: _text(value) for name, value in file.hyperparameters.items()}
    for name, value in {**file.settings, **_mapping(told.get("train"))}.items():
        if name not in ("digest", "since", "block", "only", "rows", "threads"):
            found[f"train.{name}"] = _text(value)
    for name in ("seed", "device", "rows", "batch"):
        if name in told:
            found[name] = _text(told[name])
    found["precision"] = file.metadata.get("dlc.precision", "")
    return {name: text for name, text in found.items() if text != "null"}


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def differing(runs: Sequence[Ran]) -> dict[str, list[str]]:
    """The settings in which runs differ: of each what every run has, "" where it has none."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    rows = {name: [run.settings.get(name, "") for run in runs] for name in names}
    return {name: row for name, row in rows.items() if len(set(row)) > 1}


def command(run: Ran, changed: Mapping[str, Any]) -> str:
    """The command that trains such a run again from the spec in its folder. `changed`: settings that are not as the
    spec says them."""
    file, told = run.file, _settings(run.folder)
    trained = _mapping(told.get("train"))
    main = file.sources.main
    words = ["dlc", "train", str(_spec(run.folder, main))] if main else ["dlc", "train", str(Run(run.folder).model)]
    for name, value in changed.items():
        words += ["--set", f"{name}={_literal(value)}"]
    words += ["--seed", str(told["seed"])] if isinstance(told.get("seed"), int) else []
    if len(file.stages) == 1:
        for name in ("data", "epochs", "steps", "batch"):
            value = trained.get(name)
            if isinstance(value, str | int) and value != "all":
                words += [f"--{name}", str(value)]
    validate = trained.get("validate")
    if isinstance(validate, str):
        words += ["--validation", validate]
    if run.settings["precision"] not in ("", "float32"):
        words += ["--precision", run.settings["precision"]]
    return shlex.join(words)


def _literal(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _spec(folder: Path, main: str) -> Path:
    from dlc.runtime import sources

    return folder / "spec" / Path(*sources.anyhow({main: ""})[main])
