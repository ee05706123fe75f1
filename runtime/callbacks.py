"""What may listen to a training run. The library never prints: to get lines, pass a callback."""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .atomic import cannot_write, replacing
from .failures import Error

if TYPE_CHECKING:  # a type that annotations alone use
    import numpy as np

Figures = Mapping[str, float]
Record = dict[str, Any]  # of the form `metadata.Record`


def figure(value: float, digits: int = 6) -> str:
    """A figure as text, with so many significant digits; a zero has no sign."""
    return f"{value + 0.0:.{digits}g}"


@dataclass(frozen=True)
class Start:
    """What a run is about to do. `step` and `epoch` are what was done before, `steps` and `epochs` where it ends
    (`epochs` is None when the end was given in steps).

        >>> from dlc.runtime import Callback
        >>> class Told(Callback):
        ...     def on_start(self, start):
        ...         print(start.title, start.rows, "rows,", start.steps, "updates on", start.device)
        >>> trainer = dlc.fit("specs/xor.dl", epochs=2, callbacks=[Told()], device="cpu")
        xor 4 rows, 2 updates on cpu
    """

    title: str
    device: str
    seed: int
    rows: int
    validation_rows: int
    batch: int
    step: int
    steps: int
    epoch: int
    epochs: int | None
    run: Path | None


@dataclass
class History:
    """What a run did: one record per epoch, the last one short where `steps` ended within an epoch.

    >>> history = dlc.fit("specs/xor.dl", epochs=3).history
    >>> history.steps, history.stopped, len(history.epochs)
    (3, False, 3)
    """

    epochs: list[Record] = field(default_factory=list)
    best: int | None = None  # the epoch, from 1, whose state was restored
    steps: int = 0  # updates done in all
    seconds: float = 0.0  # wall time of training
    stopped: bool = False  # patience ran out
    run: Path | None = None
    test: Mapping[str, float] | None = None  # the figures of the test rows, with the state that was kept
    results: list[dict[str, Any]] = field(default_factory=list)  # of folds and members (`legs.report`)
    waited: float = 0.0  # the share of the time of training for which steps waited for data, where reading takes time

    def _repr_html_(self) -> str:
        """In a notebook: curves, and a row for each epoch, the last forty; that of the state that was kept is bold."""
        from .curves import curves

        shown = self.epochs[-40:]
        last = shown[-1] if shown else {}
        names = [f"{side} {name}" for side in ("train", "validation") for name in (last.get(side) or {})]
        head = "".join(f"<th>{escape(name)}</th>" for name in ("epoch", *names))
        rows = ""
        for record in shown:
            found = {
                f"{side} {name}": value
                for side in ("train", "validation")
                for name, value in (record[side] or {}).items()
            }
            cells = "".join(f"<td>{figure(found[name])}</td>" if name in found else "<td></td>" for name in names)
            best = ' style="font-weight: bold"' if record["epoch"] == self.best else ""
            rows += f"<tr{best}><td>{record['epoch']}</td>{cells}</tr>"
        more = f"<p>the last {len(shown)} of {len(self.epochs):,} epochs</p>" if len(shown) < len(self.epochs) else ""
        end = f"{self.steps:,} updates in {max(self.seconds, 0.001):.3g} s" + ", stopped early" * self.stopped
        return f"{curves(self.epochs)}{more}<table><tr>{head}</tr>{rows}</table>{end}"

    def table(self) -> list[dict[str, float | int]]:
        """A row for each epoch: `epoch`, `step`, `seconds`, and figures as `train.loss`, `validation.loss`.

        >>> sorted(history.table()[0])
        ['epoch', 'seconds', 'step', 'train.accuracy', 'train.loss']
        """
        return [
            {
                **{name: record[name] for name in ("epoch", "step", "seconds")},
                **{
                    f"{side}.{name}": value
                    for side in ("train", "validation")
                    for name, value in (record[side] or {}).items()
                },
            }
            for record in self.epochs
        ]

    def to_pandas(self) -> Any:
        """The same as a data frame of pandas, by epoch. Raises `Error` E0695 where pandas is not installed.

        >>> list(history.to_pandas().columns)
        ['step', 'seconds', 'train.loss', 'train.accuracy']
        """
        return _installed("pandas").DataFrame(self.table()).set_index("epoch")

    def plot(self, *names: str) -> Any:
        """Curves of these figures (of all) over the epochs, those of validation dashed, in a figure of Matplotlib: one
        axis for each. Raises `Error` E0695 where Matplotlib is not installed.

            >>> history.plot("loss").savefig("curves.png")
        """
        pyplot = _installed("matplotlib.pyplot")
        table = self.table()
        known = list(dict.fromkeys(name.split(".", 1)[1] for row in table for name in row if "." in name))
        shown = list(names) or known
        figure, axes = pyplot.subplots(1, max(1, len(shown)), figsize=(5 * max(1, len(shown)), 4), squeeze=False)
        for axis, name in zip(axes[0], shown, strict=False):
            for side, line in (("train", "-"), ("validation", "--")):
                points = [(row["epoch"], row[f"{side}.{name}"]) for row in table if f"{side}.{name}" in row]
                if points:
                    axis.plot(*zip(*points, strict=True), line, label=side)
            axis.set_xlabel("epoch")
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.set_title(name)
            axis.legend()
        return figure

    @property
    def final(self) -> Record | None:
        """The record of the state that the trainer now has: the best epoch's where it was restored.

        >>> history.final["epoch"]
        3
        """
        if self.best is not None:
            found = next((record for record in self.epochs if record["epoch"] == self.best), None)
        else:
            found = self.epochs[-1] if self.epochs else None
        return {**found, "test": self.test} if found is not None and self.test is not None else found


def _installed(name: str) -> Any:
    """A library that is not one of ours. Raises `Error` E0695."""
    try:
        return importlib.import_module(name)
    except ImportError:
        base = name.partition(".")[0]
        raise Error(
            "E0695", f"`{base}` is not installed: the history is shown with it", help=f"pip install {base}"
        ) from None


class Callback:
    """A listener that does nothing; override what is wanted. (Objects with Keras' names are told too: moments.py.)

    >>> from dlc.runtime import Callback
    >>> class Lowest(Callback):
    ...     def on_start(self, start):
    ...         self.loss = float("inf")
    ...     def on_epoch(self, record):
    ...         self.loss = min(self.loss, record["train"]["loss"])
    ...     def on_end(self, history):
    ...         print(self.loss < history.epochs[0]["train"]["loss"])
    >>> trainer = dlc.fit("specs/xor.dl", epochs=20, callbacks=[Lowest()])
    True
    """

    # Whether it may listen to updates of all members of an ensemble at once: figures are then the means over them, and
    # the trainer holds the state of a member at the ends of epochs alone. Where one may not, they train in turn.
    of_members = False

    def on_start(self, start: Start) -> None:
        """Before the first step.

        >>> class Heard(Callback):
        ...     def on_start(self, start):
        ...         print(start.rows, start.epochs)
        >>> trainer = dlc.fit("specs/xor.dl", epochs=2, callbacks=[Heard()])
        4 2
        """

    def before_epoch(self, epoch: int) -> None:
        """Before the first update of an epoch, from 1, or of what is left of it.

        >>> class Heard(Callback):
        ...     def before_epoch(self, epoch):
        ...         print(epoch)
        >>> trainer = dlc.fit("specs/xor.dl", epochs=2, callbacks=[Heard()])
        1
        2
        """

    def before_step(self, step: int) -> None:
        """Before update number `step`. Costs nothing where it is not overridden.

        >>> class Heard(Callback):
        ...     def before_step(self, step):
        ...         print(step)
        >>> trainer = dlc.fit("specs/xor.dl", epochs=2, callbacks=[Heard()])
        1
        2
        """

    def before_batch(self, step: int, arrays: Mapping[str, np.ndarray]) -> None:
        """The same, with the batch of that update: arrays by the names of inputs and targets, which are not to be
        changed. Costs nothing where it is not overridden.

        >>> class Heard(Callback):
        ...     def before_batch(self, step, arrays):
        ...         print(step, arrays["x"].shape)
        >>> trainer = dlc.fit("specs/xor.dl", epochs=1, callbacks=[Heard()])
        1 (4, 2)
        """

    def before_validation(self) -> None:
        """Before an epoch is validated.

        >>> class Heard(Callback):
        ...     def before_validation(self):
        ...         print("validates")
        >>> trainer = dlc.fit("specs/xor.dl", epochs=1, validation="specs/data/xor.csv", callbacks=[Heard()])
        validates
        """

    def on_step(self, step: int, figures: Figures) -> None:
        """After update number `step`. Costs nothing where it is not overridden.

        >>> class Heard(Callback):
        ...     def on_step(self, step, figures):
        ...         print(step, sorted(figures))
        >>> trainer = dlc.fit("specs/xor.dl", epochs=2, callbacks=[Heard()])
        1 ['accuracy', 'loss']
        2 ['accuracy', 'loss']
        """

    def on_epoch(self, record: Record) -> None:
        """After each epoch and its validation."""

    def on_member(self, record: Record) -> None:
        """`on_epoch` of one of several members that train at once, which the trainer holds the state of."""
        self.on_epoch(record)

    def on_members(self, records: list[Record]) -> None:
        """After an epoch of all members that train at once."""

    def before_again(self, known: list[Record]) -> None:
        """Where members that trained at once begin again, one after another: only the epochs that are `known` count."""

    def on_end(self, history: History) -> None:
        """After training, the best state restored. Not called when training failed or was interrupted."""


class MetricsFile(Callback):
    """One JSON object a line for each epoch. `known` are the records that a resumed run starts from."""

    def __init__(self, path: Path, known: list[Record]) -> None:
        """Raises `Error` E0748."""
        self.path = path
        self.before_again(known)

    def before_again(self, known: list[Record]) -> None:
        """Epochs after the checkpoint are done again, so their lines go."""
        try:
            with replacing(self.path) as out:
                out.write(b"".join(_line(record) for record in known))
        except OSError as problem:
            raise cannot_write(self.path, problem) from None

    def on_epoch(self, record: Record) -> None:
        self._add(record)

    def on_end(self, history: History) -> None:
        """What the test rows came to is a line of its own, the last."""
        final = history.final
        if final is not None and history.test is not None:
            self._add({name: final[name] for name in ("epoch", "step", "seconds", "test")})

    def _add(self, record: Mapping[str, Any]) -> None:
        try:
            with self.path.open("ab") as out:
                out.write(_line(record))
        except OSError as problem:
            raise cannot_write(self.path, problem) from None


def _line(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record) + "\n").encode()


class Log(Callback):
    """Each epoch as a line of the logger `dlc.train`.

    >>> from dlc.runtime.callbacks import Log
    >>> import logging
    >>> logging.getLogger("dlc.train").setLevel(logging.INFO)  # `logging.basicConfig()` shows it
    >>> trainer = dlc.fit("specs/xor.dl", epochs=1, callbacks=[Log()])
    """

    logger = logging.getLogger("dlc.train")

    def on_epoch(self, record: Record) -> None:
        parts = [f"epoch {record['epoch']}", f"step {record['step']}"]
        for name in ("train", "validation"):
            parts += [f"{name}.{key} {figure(value)}" for key, value in (record[name] or {}).items()]
        self.logger.info("%s", "  ".join(parts))
