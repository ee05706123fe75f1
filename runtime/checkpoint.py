"""Checkpoints and run folders. A file appears whole or not at all; nothing is ever unpickled.

    runs/NAME-YYYYMMDD-HHMMSS[-n]/
        spec/...               the spec and every source it used
        settings.json          the resolved settings, seed, data, device
        metrics.jsonl          one line an epoch
        norms.jsonl            lengths of weights and gradients, after some epochs
        results.json           what each fold or member came to, where there are any
        checkpoints/           last.safetensors, which holds the best epoch's state too
        NAME.onnx              the file as compiled; at the end, as trained

The folder takes its name when all but the metrics is in it. At the end the finished checkpoint is written first, then
the .onnx: a file that lags behind its checkpoint is one that a resumed run has still to write.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open

from . import checksum, graphs, legs, lock, metadata, origin, repeats, sources
from .atomic import cannot_write, replacing, sync_folder
from .callbacks import Record
from .failures import Error
from .file import CompiledFile, Slot
from .memory import refuse_endless
from .nearest import did_you_mean

VERSION = 2  # 1: without the origin of the file; readers of that time know fewer fields of a plan
LAST = "last.safetensors"
BEST, BEGIN, EACH, KEPT = (
    "best:",
    "begin:",
    "each:",
    "kept:",
)  # before the names of other states than the present one; no path has a colon

T = TypeVar("T")


@dataclass
class Progress:
    """Where training stands, all that is not in the tensors of state. `epoch` counts those finished, `cursor` the
    rows of the running one that are done; `sums` are the running epoch's figures times rows."""

    epoch: metadata.Total = 0
    cursor: metadata.Total = 0
    step: metadata.Total = 0
    sums: list[float] = field(default_factory=list)
    history: list[Annotated[Record, metadata.Kept(metadata.Record)]] = field(default_factory=list)
    best: metadata.Count | None = None  # epoch, from 1
    score: metadata.Finite | None = None
    seconds: metadata.Seconds = 0.0
    finished: bool = True  # nothing is left of the last plan
    stopped: bool = False
    block: metadata.Whole = 0  # the train block that runs
    begun: metadata.Total = 0  # the updates that were done before it
    leg: metadata.Whole = 0  # the fold and member that trains (legs.py)
    past: list[Annotated[Record, metadata.Kept(metadata.Record)]] = field(default_factory=list)  # of legs that ended
    kept: list[metadata.Total] = field(default_factory=list)  # epochs behind the state in which each block ended
    results: list[Annotated[dict[str, Any], metadata.Kept(repeats.Result)]] = field(default_factory=list)
    test: dict[str, float] | None = None  # the figures of the test rows, once they are there
    lanes: list[repeats.Lane] = field(default_factory=list)  # of members that train at once, from `leg` on

    def copy(self) -> Progress:
        """One that training does not change."""
        return replace(self, sums=list(self.sums), history=list(self.history), kept=list(self.kept))


@dataclass
class Plan:
    """What a fit was asked for, resolved; a resumed run goes on with it. Ends are counted from the beginning."""

    batch: metadata.Batch = metadata.BATCH
    epochs: metadata.Total | None = None
    steps: metadata.Total | None = None
    stop: Annotated[dict[str, Any], metadata.Kept(metadata.Stop)] | None = None
    validate: metadata.Share | metadata.DataFile | None = None
    data: metadata.DataFile | None = None
    seed: metadata.Seed = 0
    rows: metadata.Total = 0
    since: metadata.Total = 0  # the epoch in which this fit began: patience is counted from there
    digest: str = ""  # of the training and validation arrays
    block: metadata.Whole = 0  # that it is a plan of
    only: bool = False  # no other block runs after it
    threads: metadata.Threads | None = None  # of the CPU: sums of a convolution or LSTM depend on how many there are
    native: bool | None = None  # whether chains ran in kernels of our own, whose functions differ in the last bit
    test: metadata.Share | metadata.DataFile | None = None
    restore: Literal["best", "last"] | None = None  # of the state at the end; None: best where `stop` watches a figure
    leg: metadata.Whole = 0  # that it is a plan of
    more_epochs: metadata.Count | None = None  # what the fit was given for each block and leg, in place of its settings
    more_steps: metadata.Count | None = None
    assigned: list[str] = field(default_factory=list)  # what a member of an ensemble does not start anew
    together: bool | None = None  # whether the members of an ensemble train at once; None: where they fit


@dataclass
class Checkpoint:
    """All that is needed to go on: state by path, and where training stood. `best` is the state of the best epoch,
    where one is to be restored at the end; `begin` what each fold or member begins with; `each` the state of all
    members that train at once, and `kept` what they end with, [members, ...]."""

    state: dict[str, np.ndarray]
    progress: Progress
    plan: Plan
    model: str
    best: dict[str, np.ndarray] | None = None
    settings: str = "{}"  # `dlc.settings` of the file
    origin: str = ""  # `origin.of` the file
    begin: dict[str, np.ndarray] | None = None
    each: dict[str, np.ndarray] | None = None
    kept: dict[str, np.ndarray] | None = None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Raises `Error` E0748."""
        path = Path(path)
        told = {
            "dlc.checkpoint": str(VERSION),
            "model": self.model,
            "progress": json.dumps(asdict(self.progress)),
            "plan": json.dumps(asdict(self.plan)),
            "settings": self.settings,
            "origin": self.origin,
        }
        named = dict(self.state)
        for prefix, others in ((BEST, self.best), (BEGIN, self.begin), (EACH, self.each), (KEPT, self.kept)):
            named.update({prefix + name: array for name, array in (others or {}).items()})
        told["checksum"] = checksum.arrays(named, told)
        try:
            with replacing(path) as out:
                _write(out, named, told)
        except OSError as problem:
            raise cannot_write(path, problem) from None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Checkpoint:
        """Raises `Error` E0740 for what cannot be read, E0741 for a newer one, E0755 for a damaged one."""
        path = Path(path)
        try:
            refuse_endless(path)
            with safe_open(str(path), framework="numpy") as found:
                told = dict(found.metadata() or {})
                state = {name: found.get_tensor(name) for name in found.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as problem:
            raise _unreadable(path, str(problem)) from None
        except AttributeError:  # of NumPy, in safetensors
            raise _unreadable(path, "one of its tensors has a type that NumPy does not have") from None
        wanted = told.pop("checksum", None)
        if wanted is not None and wanted != checksum.arrays(state, told):
            raise Error(
                "E0755",
                "the checkpoint is not as it was written: it is damaged",
                where=str(path),
                notes=["its content differs from its checksum"],
                help="use an intact copy, or train again; the .onnx of a finished run needs no checkpoint",
            )
        version = told.get("dlc.checkpoint", "")
        if re.fullmatch(r"[0-9]{1,18}", version) and int(version) > VERSION:
            raise Error(
                "E0741",
                f"the checkpoint has version {version}, this dlc reads up to {VERSION}",
                where=str(path),
                help="install a newer dlc-compiler",
            )
        progress, plan = _told(told, "progress", Progress, path), _told(told, "plan", Plan, path)
        if progress.best is not None and all(record["epoch"] != progress.best for record in progress.history):
            raise _unreadable(path, f"its history has no epoch {progress.best}, which it calls the best")
        prefixes = (BEST, BEGIN, EACH, KEPT)
        best, begin, each, kept = (
            {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)} or None
            for prefix in prefixes
        )
        state = {name: array for name, array in state.items() if not name.startswith(prefixes)}
        words = told.get("settings", "{}"), told.get("origin", "")
        return cls(state, progress, plan, told.get("model", ""), best, *words, begin, each, kept)

    def check(self, slots: Mapping[str, Slot], rows: Sequence[str], path: Path) -> None:
        """Whether the state is that of a file with these slots, in whose batches rows have these dimensions. Raises
        `Error` E0740 (dimensions), E0742 (names) and E0743 (shapes and dtypes)."""
        batch = self.plan.batch
        if isinstance(batch, Mapping) and (not rows or set(batch) != set(rows)):
            found = "its batch has rows of " + (", ".join(batch) or "no dimension")
            raise _unreadable(path, found, ["those of the model are " + ", ".join(rows)] if rows else [])
        for state in (self.state, self.best, self.begin):
            if state is not None:
                _check_state(state, slots, path)
        _check_members(self, slots, path)


def _write(out: BinaryIO, tensors: Mapping[str, np.ndarray], told: Mapping[str, str]) -> None:
    """A safetensors file, each tensor from where it lies: the package builds the whole of it in memory first."""
    names = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))  # each at a multiple of its element
    header: dict[str, Any] = {"__metadata__": dict(told)}
    end = 0
    for name in names:
        array = tensors[name]
        start, end = end, end + array.nbytes
        header[name] = {"dtype": _element(array.dtype), "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    out.write(len(text).to_bytes(8, "little") + text)
    for name in names:
        out.write(graphs.numbers(tensors[name]))


def _element(dtype: np.dtype[np.generic]) -> str:
    """An element type as safetensors names it."""
    special = {"bool": "BOOL", "bfloat16": "BF16"}
    return special.get(dtype.name) or f"{dtype.kind.upper()}{8 * dtype.itemsize}"


def _told(told: Mapping[str, str], key: str, form: type[T], path: Path) -> T:
    """What a checkpoint says of itself. Raises `Error` E0740 where it is not of its form."""
    try:
        made: T = metadata.build(metadata.parse(told[key]), form)
        return made
    except (KeyError, ValueError):
        raise _unreadable(path, "it holds tensors, but does not say how far training had come") from None
    except metadata.Unfit as problem:
        raise _unreadable(path, f"`{key}` has the wrong type", problem.notes()) from None


def _check_state(state: Mapping[str, np.ndarray], slots: Mapping[str, Slot], path: Path) -> None:
    missing = [name for name in slots if name not in state]
    extra = sorted(name for name in state if name not in slots)
    if missing or extra:
        notes = [f"the checkpoint has no {_some(missing)}"] if missing else []
        notes += [f"the model has no {_some(extra)}"] if extra else []
        raise Error(
            "E0742",
            "the checkpoint belongs to another model",
            where=str(path),
            notes=notes,
            help=did_you_mean(missing[0], extra) if missing and extra else "resume with the file that it was made with",
        )
    for name, slot in slots.items():
        found = state[name]
        if found.shape != slot.shape or found.dtype != slot.dtype:
            raise Error(
                "E0743",
                f"`{name}` differs between checkpoint and model",
                where=str(path),
                notes=[f"checkpoint: {found.dtype} {list(found.shape)}", f"model: {slot.dtype} {list(slot.shape)}"],
                help="resume with the file that it was made with",
            )


def _check_members(found: Checkpoint, slots: Mapping[str, Slot], path: Path) -> None:
    """Whether the state of members that train at once is that of as many as the checkpoint tells of."""
    count = len(found.progress.lanes)
    if bool(count) != (found.each is not None):
        raise _unreadable(path, "it does not hold the members that it tells of")
    noted = any(lane.noted for lane in found.progress.lanes)
    for state in (found.each, found.kept if noted else None):
        for name, array in (state or {}).items():
            slot = slots.get(name)
            if slot is None or array.dtype != slot.dtype or array.shape not in (slot.shape, (count, *slot.shape)):
                raise _unreadable(path, f"`{name}` of its members does not fit the model")


def _some(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _unreadable(path: Path, why: str, notes: list[str] | None = None) -> Error:
    return Error(
        "E0740",
        f"cannot read the checkpoint `{path}`",
        notes=[why, *(notes or [])],
        help="give a run folder or a .safetensors file",
    )


class Run:
    """A run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoints = folder / "checkpoints"
        self.metrics = folder / "metrics.jsonl"
        self.norms = folder / "norms.jsonl"
        self.known = self._stamp()  # of the checkpoint that was last read or written through this object

    @classmethod
    def create(
        cls, parent: Path, file: CompiledFile, settings: Mapping[str, Any], first: Checkpoint | None = None
    ) -> Run:
        """A new folder under `parent`, with the spec, the settings, the file as compiled and the first checkpoint, with
        which a run begins anew that was killed before it wrote another. What killed processes left half made there
        goes. Raises `Error` E0748."""
        title = re.sub(r"[^\w.-]+", "_", file.title).strip(".") or "model"
        base = f"{title}-{time.strftime('%Y%m%d-%H%M%S')}"
        try:
            parent.mkdir(parents=True, exist_ok=True)
            _tidy(parent)
            made = cls(Path(tempfile.mkdtemp(prefix=f".{base}.", suffix=".tmp", dir=parent)))
        except OSError as problem:
            raise cannot_write(parent, problem) from None
        try:
            with lock.alone(made.folder):
                made._fill(title, file, settings, first)
                return cls(_named(made.folder, parent, base))
        except OSError as problem:
            raise cannot_write(parent, problem) from None
        finally:
            if made.folder.exists():
                shutil.rmtree(made.folder, ignore_errors=True)

    def _fill(self, title: str, file: CompiledFile, settings: Mapping[str, Any], first: Checkpoint | None) -> None:
        mask = os.umask(0)
        os.umask(mask)
        self.folder.chmod(0o777 & ~mask)  # mkdtemp makes folders that only the owner enters
        self.checkpoints.mkdir()
        texts, at = file.sources.files, sources.anyhow(file.sources.files)
        sources.write(self.folder / "spec", {at[name]: text for name, text in texts.items()})
        with replacing(self.folder / "settings.json") as out:
            out.write((json.dumps(settings, indent=2) + "\n").encode())
        file.save(self.folder / f"{title}.onnx")
        if first is not None:
            self.write(first)

    def tidy(self) -> None:
        """Removes temporary files that a killed process left; nobody else is writing here."""
        for folder in (self.folder, self.checkpoints):
            for path in folder.glob(".*.tmp"):
                with suppress(OSError):  # of a folder that may only be read
                    path.unlink()

    def _stamp(self) -> tuple[int, ...] | None:
        try:
            found = (self.checkpoints / LAST).stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def current(self) -> bool:
        """Whether the checkpoint is the one that was last read or written through this object."""
        return self._stamp() == self.known

    def trained(self) -> tuple[CompiledFile, str | None]:
        """The file with the state that the folder means, and what to say of it where that is not simply the end of
        its training: the best epoch so far of a run that was stopped, or where it keeps none its last checkpoint.
        Raises `Error` E0745 where nothing has been trained yet, and those of a file and a checkpoint.
        """
        last, model = self.checkpoints / LAST, self.model
        if not last.is_file():
            file = CompiledFile.load(model)
            if not file.trained:
                raise self._nothing("has no checkpoint yet")
            return file, f"`{self.folder}` has no checkpoint: `{model.name}` is used as it is"
        found = Checkpoint.load(last)
        progress = found.progress
        if progress.step == 0:
            raise self._nothing("has not trained yet")
        file = CompiledFile.load(model, state=False)
        self.refuse_another(file, found)
        members = legs.Legs.of(file).members
        if members > 1 and not progress.finished:
            done = len(progress.results) % members
            raise self._nothing(f"is not finished: it has trained {done} of {members} members")
        found.check({slot.name: slot for slot in file.slots}, file.signature.rows, last)
        if progress.finished and file.updates == progress.step:
            return CompiledFile.load(model), None
        go_on = f"; to continue: dlc train --resume {self.folder}"
        if progress.finished:
            said = f"`{model.name}` was not written when the run ended: its last checkpoint is used{go_on}"
        elif found.best is not None:
            said = f"the run is not finished: its best epoch so far, {progress.best}, is used{go_on}"
        else:
            said = f"the run is not finished: its checkpoint after update {progress.step:,} is used{go_on}"
        best = found.best if not progress.finished else None
        return file.holding(best or found.state, progress.step), said

    def refuse_another(self, file: CompiledFile, found: Checkpoint) -> None:
        """Raises `Error` E0742 where the file in the folder is not of the spec that the checkpoint is of."""
        notes = origin.changes(file, found.origin, found.settings, self.folder / "spec")
        if notes:
            raise Error(
                "E0742",
                f"`{file.name}` is not the file that this run trained",
                where=str(self.checkpoints / LAST),
                notes=notes,
                help="put that file back; to continue with this one all the same, in Python: Trainer.resume(RUN, FILE)",
            )

    def _nothing(self, what: str) -> Error:
        return Error("E0745", f"the run `{self.folder}` {what}", help=f"dlc train --resume {self.folder}")

    @property
    def model(self) -> Path:
        """The .onnx file. Raises `Error` E0744 where the folder is no run."""
        found = sorted(self.folder.glob("*.onnx"))
        if len(found) != 1:
            raise Error(
                "E0744",
                f"`{self.folder}` is not a run folder",
                notes=[f"found {len(found)} .onnx files, expected 1"],
                help="give the folder that `dlc train` printed",
            )
        return found[0]

    def report(self, results: Sequence[Mapping[str, Any]]) -> None:
        """Writes what folds or members came to, `results.json`, where there are any. Raises `Error` E0748."""
        if not results:
            return
        path = self.folder / "results.json"
        try:
            with replacing(path) as out:
                out.write((json.dumps(legs.report(results), indent=2) + "\n").encode())
        except OSError as problem:
            raise cannot_write(path, problem) from None

    def write(self, last: Checkpoint) -> None:
        """Replaces the last checkpoint. Raises `Error` E0748."""
        last.save(self.checkpoints / LAST)
        self.known = self._stamp()


UNFINISHED = re.compile(r"\.([\w.-]+-\d{8}-\d{6})\.\w+\.tmp")


def _tidy(parent: Path) -> None:
    """Removes run folders that were never made whole, if no process is making them."""
    for path in parent.glob(".*.tmp"):
        if UNFINISHED.fullmatch(path.name) and path.is_dir() and lock.free(path):
            shutil.rmtree(path, ignore_errors=True)


def _named(made: Path, parent: Path, base: str) -> Path:
    """Gives a folder its name, numbered where another run has it."""
    turn = 1
    while True:
        folder = parent / (base if turn == 1 else f"{base}-{turn}")
        if not folder.exists():
            try:
                made.rename(folder)
                sync_folder(parent)
                return folder
            except OSError as problem:
                if problem.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
        turn += 1


def _settled(folder: Path) -> Path:
    """The folder of a run; one that a kill kept from its name, though all was in it, gets it. Raises `Error` E0744 for
    one that was never made whole, which goes."""
    found = UNFINISHED.fullmatch(folder.name)
    if found is None:
        return folder
    if (folder / "checkpoints" / LAST).is_file():
        return _named(folder, folder.parent, found[1])
    if lock.free(folder):
        shutil.rmtree(folder, ignore_errors=True)
    raise Error(
        "E0744",
        f"`{folder}` is not a run folder",
        notes=["a process was stopped while creating it"],
        help="train again: nothing had begun",
    )


def find(path: Path) -> tuple[Path, Run | None]:
    """The checkpoint that a path means, and the run it belongs to. Raises `Error` E0740, E0744, E0745."""
    if path.is_dir():
        run = Run(_settled(path.parent if path.name == "checkpoints" else path))
        last = run.checkpoints / LAST
        if not last.is_file():
            run.model  # noqa: B018  (says so where the folder is no run at all)
            raise Error(
                "E0745",
                f"the run `{run.folder}` has no checkpoint yet",
                help="it ended before the first one was written; train again",
            )
        return last, run
    if not path.is_file():
        raise _unreadable(path, "there is no such file or folder")
    inside = path.parent.name == "checkpoints" and any(path.parent.parent.glob("*.onnx"))
    return path, Run(path.parent.parent) if inside else None
