"""dlc sweep"""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from dlc.runtime.failures import Error
from dlc.runtime.written import write

from . import kinds, report
from .options import COMPILATION, OUTPUT, Compilation, Data, Device, Output, Whole, positive

if TYPE_CHECKING:
    from dlc.runtime.callbacks import Callback, History
    from dlc.runtime.train import Trainer

    from ..elaborate.sweeping import Range
    from ..reports.search import Search, Trial

SHOWN = 10  # trials of the table
FAR = 2**31 - 1


def sweep(
    file: Annotated[Path, Parameter(help="A .dl spec.")],
    /,
    *,
    trials: Annotated[Whole, Parameter(help="How many trainings, in all.")] = 50,
    over: Annotated[
        tuple[str, ...],
        Parameter(
            help="name=RANGE: where to look, beside the spec's `sweep:`; range(8, 64), log(1e-5, 0.1), [16, 32]."
            " Repeatable.",
            show_default=False,
        ),
    ] = (),
    on: Annotated[
        str | None, Parameter(help="The figure to improve. Default: that of `stop:`, else validation.loss.")
    ] = None,
    data: Data = None,
    validation: Annotated[
        Path | None, Parameter(help="Data to validate on; takes precedence over the spec's `validate`.")
    ] = None,
    epochs: Annotated[Whole | None, Parameter(help="Passes over the data; takes precedence over the spec's.")] = None,
    steps: Annotated[Whole | None, Parameter(help="Updates, instead of epochs.")] = None,
    resume: Annotated[Path | None, Parameter(help="Continue a search: its folder.")] = None,
    runs: Annotated[Path, Parameter(help="Where the folder of the search is made.")] = Path("runs"),
    pruner: Annotated[
        Literal["median", "none"], Parameter(help="Whether a trial ends early that is worse than most.")
    ] = "median",
    device: Device = "auto",
    compilation: Compilation = COMPILATION,
    output: Output = OUTPUT,
) -> None:
    """Search for the best hyperparameters of a spec; writes a table, a page and the best model."""
    if find_spec("optuna") is None:
        raise Error("E0780", "`dlc sweep` needs Optuna", help='pip install "dlc-compiler[sweep]"')
    from dlc.runtime import origin
    from dlc.runtime.lock import alone
    from dlc.runtime.train import Trainer

    from ..reports.search import Search, ordered, sweep as searched
    from ..reports.swept import swept

    for name, count in (("trials", trials), ("epochs", epochs), ("steps", steps)):
        positive(name, count)
    kinds.expect(file, "sweep", kinds.SPEC)
    ranges, watched = _asked(file, over, on, validation, compilation, output)

    def made(values: dict[str, Any], how: Compilation = compilation) -> Trainer:
        own = replace(how, set=(*how.set, *(f"{name}={_word(value)}" for name, value in values.items())))
        stop = {} if watched is None else {"stop": watched}
        return Trainer(own.program(file, replace(output, json=True), stop), device=device, seed=how.seed)

    first = {name: next(iter(one.values()))[0] for name, one in ranges.items()}
    base = made(first)  # what cannot be compiled at all is said before anything is written
    figure, mode = (watched["on"], watched["mode"]) if watched else ("train.loss", "min")
    seed = compilation.seed or 0
    search = Search(ranges, figure, mode, origin.of(base.file), seed, pruner == "median")
    folder = resume or _folder(runs, f"{base.file.title}-sweep-{time.strftime('%Y%m%d-%H%M%S')}")
    if resume is not None and not (folder / "sweep.db").is_file():
        raise Error("E0661", f"`{folder}` is no folder of a search", help="leave `--resume` out to begin one")

    def fitted(trainer: Trainer, listener: Callback) -> History:
        return trainer.fit(data, validation, epochs, steps, callbacks=[listener])

    def best(trainer: Trainer, _: Trial) -> None:
        trainer.save(folder / "best.onnx")

    def heard(trial: Trial) -> None:
        report.say(json.dumps(_record(trial)) if output.json else _line(trial, figure))

    with alone(folder):
        try:
            found = ordered(searched(search, folder / "sweep.db", trials, made, fitted, heard, best), mode)
        except KeyboardInterrupt:
            report.note(f"stopped; to continue: dlc sweep {file} --resume {folder}")
            raise
        command = f"dlc train {file}" + "".join(f" --set {name}={_word(v)}" for name, v in found[0].values.items())
        write(folder / "report.html", swept(folder.name, search, found, command))
    if output.json:
        report.say(json.dumps({"folder": str(folder), "best": _record(found[0])}))
        return
    _table(found, search)
    report.say(f"best    {command}\nmodel   {folder / 'best.onnx'}\nreport  {folder / 'report.html'}")


def _asked(
    spec: Path, over: tuple[str, ...], on: str | None, validation: Path | None, compilation: Compilation, output: Output
) -> tuple[dict[str, Range], dict[str, Any] | None]:
    """The ranges, and the setting `stop` that watches the figure which is searched for; None where none is."""
    from ..elaborate import sweeping
    from ..syntax.parser import parse_value

    settings = compilation.program(spec, output).settings["train"]
    ranges: dict[str, Range] = dict(settings.get("sweep") or {})
    for text in over:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise Error("E0790", f"`--over {text}` takes name=RANGE", help="--over 'lr=log(1e-5, 1e-1)'")
        ranges[name.strip()] = sweeping.range_of(parse_value(value.strip()))
    if not ranges:
        raise Error(
            "E0790",
            "nothing says where to look",
            where=str(spec),
            help="write `sweep: { lr: log(1e-5, 1e-1) }` in the train block, or --over 'lr=log(1e-5, 1e-1)'",
        )
    stop: dict[str, Any] | None = settings["stop"]
    if on is None and stop is None and validation is None and not (settings["validate"] or settings.get("folds")):
        return ranges, None  # nothing is held out: the loss of training
    wanted = on or (stop["on"] if stop else "validation.loss")
    if stop is None or stop["on"] != wanted:  # which way is better, the compiler finds out
        known = {"patience": stop["patience"] if stop else FAR, "on": wanted}
        again = compilation.program(spec, replace(output, json=True), {"stop": known})
        return ranges, again.settings["train"]["stop"]
    return ranges, stop


def _word(value: object) -> str:
    """A value as `--set` takes it."""
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _record(trial: Trial) -> dict[str, Any]:
    return {**vars(trial), "curve": {str(epoch): value for epoch, value in trial.curve.items()}}


def _line(trial: Trial, figure: str) -> str:
    from dlc.runtime.callbacks import figure as shown_figure

    from ..reports.swept import shown

    values = " ".join(f"{name}={shown(value)}" for name, value in trial.values.items())
    came = trial.said if trial.value is None else f"{figure} {shown_figure(trial.value, 4)}"
    ended = "" if trial.state == "complete" else f"  {trial.state}"
    return f"trial {trial.number}  {values}  {came}{ended}"


def _folder(runs: Path, title: str) -> Path:
    """A new folder of that name; with a number behind it where another search began within the same second."""
    for name in itertools.chain([title], (f"{title}-{number}" for number in itertools.count(2))):
        with contextlib.suppress(FileExistsError):
            (runs / name).mkdir(parents=True)
            break
    return runs / name


def _table(found: list[Trial], search: Search) -> None:
    from dlc.runtime.callbacks import figure

    from ..reports.swept import shown

    names = list(search.ranges)
    report.say("")
    report.show(
        [("trial", True), *((name, True) for name in names), (search.on, True), ("epochs", True), ("", False)],
        [
            (
                str(one.number),
                *(shown(one.values.get(name)) for name in names),
                "" if one.value is None else figure(one.value),
                str(max(one.curve, default="")),
                one.state,
            )
            for one in found[:SHOWN]
        ],
    )
    if len(found) > SHOWN:
        report.say(f"and {len(found) - SHOWN:,} more")
