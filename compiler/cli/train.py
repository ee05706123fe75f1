"""dlc train"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from dlc.runtime.failures import Error

from . import kinds, report, supplied, trials
from .options import COMPILATION, OUTPUT, Accept, Compilation, Data, Device, Output, Whole, is_spec, positive

if TYPE_CHECKING:
    from dlc.runtime.callbacks import History
    from dlc.runtime.detect import Sight
    from dlc.runtime.train import Trainer

WAITED = 0.05  # the share of the time that a step waits for data, from which it is said


def train(
    file: Annotated[Path | None, Parameter(help="A .dl spec, or a .onnx file with a training step.")] = None,
    /,
    *,
    data: Data = None,
    validation: Annotated[
        Path | None, Parameter(help="Data to validate on; takes precedence over the spec's `validate`.")
    ] = None,
    test: Annotated[
        Path | None, Parameter(help="Data to score once, at the end; takes precedence over the spec's `test`.")
    ] = None,
    epochs: Annotated[Whole | None, Parameter(help="Passes over the data; takes precedence over the spec's.")] = None,
    steps: Annotated[Whole | None, Parameter(help="Updates, instead of epochs.")] = None,
    batch: Annotated[Whole | None, Parameter(help="Rows per update; takes precedence over the spec's.")] = None,
    resume: Annotated[Path | None, Parameter(help="Continue a run: its folder.")] = None,
    only: Annotated[
        str | None, Parameter(help="Of several train blocks this one alone: its title, or its place, from 1.")
    ] = None,
    runs: Annotated[Path, Parameter(help="Where run folders are made.")] = Path("runs"),
    accept: Accept = False,
    device: Device = "auto",
    no_native: Annotated[
        bool,
        Parameter(
            help="Without kernels of our own: ONNX Runtime's operators alone, as with DLC_NATIVE=0.", show_default=False
        ),
    ] = False,
    log_every: Annotated[
        Whole | None,
        Parameter(help="Print a line every N epochs; with --steps, every N updates. Default: every epoch."),
    ] = None,
    quiet: Annotated[
        bool,
        Parameter(
            name=("--quiet", "-q"),
            help="Print errors and warnings only; with --json the last line too.",
            show_default=False,
        ),
    ] = False,
    log: Annotated[
        tuple[Literal["csv", "tensorboard", "mlflow", "wandb"], ...],
        Parameter(help="Figures for another tool, in the run folder. Repeatable.", show_default=False),
    ] = (),
    detect: Annotated[
        Whole | None,
        Parameter(
            help="Before every N-th update look for what overflows, vanishes or dies; ends with status 2 if any."
        ),
    ] = None,
    max_time: Annotated[
        str | None, Parameter(help="Begin no update after so long: 90s, 30m, 2h. What was trained is kept.")
    ] = None,
    dry_run: Annotated[
        bool, Parameter(help="Check the data, make one update, write nothing.", show_default=False)
    ] = False,
    overfit: Annotated[
        Whole | None, Parameter(help="Learn the first N batches by heart, without validation; write nothing.")
    ] = None,
    find_lr: Annotated[
        bool, Parameter(help="Try learning rates for the argument `lr` of the train block.", show_default=False)
    ] = False,
    watch: Annotated[
        bool,
        Parameter(
            help="Serve the curves while it trains, to this machine alone; prints the address.", show_default=False
        ),
    ] = False,
    compilation: Compilation = COMPILATION,
    output: Output = OUTPUT,
) -> None:
    """Train a spec or a compiled file; writes a run folder and says where it is."""
    from dlc.runtime.detect import Detector
    from dlc.runtime.train import Trainer

    from .progress import listener
    from .trained import compiled_file
    from .watching import Watching

    if (file is None) == (resume is None):
        raise Error(
            "E0790", "`dlc train` takes a spec, a .onnx file, or --resume RUN", help="dlc train specs/digits.dl"
        )
    for name, value in (
        ("epochs", epochs),
        ("steps", steps),
        ("batch", batch),
        ("log-every", log_every),
        ("overfit", overfit),
        ("detect", detect),
    ):
        positive(name, value)
    if quiet and log_every is not None:
        raise Error("E0790", "`--quiet` and `--log-every` contradict each other", help="give one of them")
    if accept and (file is None or is_spec(file)):
        raise Error("E0790", "`--accept` is for .onnx files", help="leave it out")
    if resume is not None and only is not None:
        raise Error(
            "E0790",
            "`--resume` goes on with the blocks that are left: `--only` is for a new run",
            help="leave `--only` out",
        )
    if resume is not None:
        kinds.expect(resume, "train --resume", kinds.RUN, kinds.CHECKPOINT)
    elif file is not None:
        kinds.expect(file, "train", kinds.SPEC, kinds.COMPILED)
    refused = {"--dry-run": dry_run, "--overfit": overfit is not None, "--find-lr": find_lr}
    for name, wanted in refused.items():
        if watch and wanted:
            raise Error("E0790", f"`--watch` is for runs, and `{name}` makes none", help="give one of them")
    native = False if no_native else None
    limit = None if max_time is None else trials.seconds(max_time)
    trials.refuse(refused, resume)
    if find_lr:
        return trials.find_lr(Path(file or ""), data, compilation, device, output)
    if resume is not None:
        compilation.refuse(resume)
        trainer = Trainer.resume(resume, device=device, native=native)
        _kernels(trainer)
    elif is_spec(file := Path(file or "")):
        trainer = Trainer(compilation.program(file, output), device=device, seed=compilation.seed, native=native)
    else:
        compilation.refuse(file, "--seed")
        model = compiled_file(file, quiet, accept=accept)
        trainer = Trainer(model, device=device, seed=compilation.seed, native=native)
    if dry_run:
        return trials.dry_run(trainer, data, validation, test, batch, output)
    heard, loggers = listener(output.json, log_every, quiet), []
    if log:
        from dlc.runtime.loggers import LOGGERS

        loggers = [LOGGERS[name]() for name in dict.fromkeys(log)]
    if overfit is not None:
        return trials.overfit(trainer, overfit, data, steps, heard, output)
    given = supplied.records(trainer.file.supplied)
    if epochs is not None or steps is not None:  # then nothing else says how long
        given = [one for one in given if one["kind"] != "setting"]
    for line in () if output.json or quiet else supplied.lines(given):
        report.say(line)
    watching = [Watching(trainer.file)] if watch else []
    detector = None if detect is None else Detector(trainer, detect, _seen)
    try:
        history = trainer.fit(
            data,
            validation=validation,
            epochs=epochs,
            steps=steps,
            batch=batch,
            callbacks=[heard, *watching, *loggers, *([detector] if detector is not None else [])],
            run=None if resume is not None else runs,
            only=only,
            test=test,
            max_time=limit,
        )
    except KeyboardInterrupt:
        if heard.run is not None:
            report.note(f"stopped; to continue: dlc train --resume {heard.run}")
        raise
    finally:
        heard.close()
        for each in watching:
            each.close()
    if output.json or not quiet:
        _finished(history, output)
    problem = detector.error() if detector is not None else None
    if problem is not None:
        raise problem


def _seen(sight: Sight) -> None:
    report.note(f"before update {sight.step}, {sight.where}: {sight.said}")


def _kernels(trainer: Trainer) -> None:
    """Says where a run that began with kernels of our own goes on without them."""
    if trainer.plan is not None and trainer.plan.native and not trainer.native:
        report.note("this run began with kernels of our own; without them its numbers may differ in the last bits")


def _finished(history: History, output: Output) -> None:
    from dlc.runtime.checkpoint import Run
    from dlc.runtime.legs import report as summed

    run = history.run
    model = Run(run).model if run is not None else None
    final = history.final or {"train": {}, "validation": None}
    if output.json:
        record: dict[str, Any] = {
            "run": str(run) if run else None,
            "model": str(model) if model else None,
            "steps": history.steps,
            "seconds": round(history.seconds, 3),
            "train": final["train"],
            "validation": final["validation"],
        }
        if history.test is not None:
            record["test"] = history.test
        if history.results:
            record |= summed(history.results)
        report.say(json.dumps(record))
        return
    for line in closing(history):
        report.say(line)
    report.say(f"run    {run}\nmodel  {model}")
    sys.stdout.flush()


def closing(history: History) -> list[str]:
    """What a run came to, for people."""
    from .progress import figures, outcomes

    lines = outcomes(history.results) if history.results else []
    final = history.final
    if final is not None:
        epoch = f"best epoch {history.best}" if history.best is not None else f"epoch {final['epoch']}"
        lines.append(f"{epoch}: " + figures(final))
    if history.waited >= WAITED:
        lines.append(f"the step waited {100 * history.waited:.0f} % of the time for data")
    stopped = ", stopped early" if history.stopped else ""
    lines.append(f"{history.steps:,} updates in {history.seconds:.1f} s{stopped}")
    return lines
