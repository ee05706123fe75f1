"""`dlc train` with --dry-run, --overfit, --find-lr and --max-time: tries before a run, and its time."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dlc.runtime.failures import Error

from . import report
from .options import Compilation, Output, is_spec

if TYPE_CHECKING:
    from dlc.runtime.train import Trainer

    from .progress import Every, Lines

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
NAMES = ("lr", "rate", "learning_rate")  # of what a train block calls its learning rate
WIDTH = 40  # of the longest bar


def seconds(text: str) -> float:
    """A time as it is written on the command line: 90, 90s, 30m, 2h, 1d."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)", text.strip())
    if found is None or not float(found[1]):
        raise Error(
            "E0790",
            f"`--max-time` takes a time above 0, not `{text}`",
            help="--max-time 90s, --max-time 30m, --max-time 2h",
        )
    return float(found[1]) * UNITS[found[2]]


def refuse(asked: Mapping[str, bool], resume: Path | None) -> None:
    """One try at a time, and none of a run that goes on."""
    names = [name for name, wanted in asked.items() if wanted]
    if len(names) > 1:
        raise Error("E0790", f"`{names[0]}` and `{names[1]}` contradict each other", help="give one of them")
    if names and resume is not None:
        raise Error("E0790", f"`{names[0]}` is for a new run, `--resume` goes on with one", help="give one of them")


def dry_run(
    trainer: Trainer, data: Path | None, validation: Path | None, test: Path | None, batch: int | None, output: Output
) -> None:
    from dlc.runtime.callbacks import figure
    from dlc.runtime.trial import dry_run

    found = dry_run(trainer, data, validation, test, batch)
    if output.json:
        report.say(json.dumps({**vars(found), "figures": dict(found.figures)}))
        return
    held = f", {found.held:,} to validate" if found.held else ""
    report.say(f"data     {found.rows:,} rows{held}, batches of {found.batch:,}")
    shown = "  ".join(f"{name} {figure(value)}" for name, value in found.figures.items())
    report.say(f"update   {shown}")
    whole = found.updates * found.seconds
    report.say(f"time     {1000 * found.seconds:.3g} ms an update, {found.updates:,} updates: about {whole:.3g} s")
    report.say("nothing was written")


def overfit(
    trainer: Trainer, batches: int, data: Path | None, steps: int | None, heard: Lines | Every, output: Output
) -> None:
    from dlc.runtime.callbacks import figure
    from dlc.runtime.trial import overfit

    try:
        history = overfit(trainer, batches, data, steps=steps, callbacks=[heard])
    finally:
        heard.close()
    first, last = history.epochs[0]["train"], history.epochs[-1]["train"]
    if output.json:
        report.say(json.dumps({"steps": history.steps, "first": first, "last": last}))
        return
    for name, value in last.items():
        report.say(f"{name}  {figure(first[name])} -> {figure(value)}")
    report.say("nothing was written")


def find_lr(spec: Path, data: Path | None, compilation: Compilation, device: str, output: Output) -> None:
    from dataclasses import replace

    from dlc.runtime.train import Trainer
    from dlc.runtime.trial import find_rate

    if not is_spec(spec):
        raise Error("E0790", "`--find-lr` compiles the spec with each rate: it takes a .dl spec", help="give the spec")
    known = compilation.program(spec, output).settings["train"]
    name = next((name for name in NAMES if isinstance(known.get(name), int | float)), None)
    if name is None:
        raise Error(
            "E0790",
            "`--find-lr` found no learning rate to set",
            where=str(spec),
            notes=["the train block has no argument `lr` that is a number"],
            help="write `train (lr = 1e-3) { minimize loss using adam(lr) }`",
        )

    def made(rate: float) -> Trainer:
        own = replace(compilation, set=(*compilation.set, f"{name}={rate!r}"))
        return Trainer(own.program(spec, replace(output, json=True)), device=device, seed=compilation.seed)

    found, best = find_rate(made, data)
    if output.json:
        report.say(json.dumps({"rates": [vars(one) for one in found], "suggested": best}))
        return
    finite = [one.loss for one in found if one.loss < float("inf")]
    low, high = min(finite), max(finite)
    report.say(f"{name:>9}  {'loss':>10}")
    for one in found:
        share = (one.loss - low) / (high - low) if high > low and one.loss < float("inf") else 0.0
        bar = "-" * round(WIDTH * share) if one.loss < float("inf") else "blew up"
        bar += " <- suggested" if one.rate == best else ""
        report.say(f"{one.rate:9.2e}  {one.loss:10.5g}  {bar.strip()}".rstrip())
    report.say(f"suggested: --set {name}={best:.3g}")
