"""Kills training, and lets its writes fail, at every point; then resumes, and holds the .onnx to the unbroken run's.

    python tests/crashes.py kills [trials]      SIGKILL at random moments, up to three times in one run
    python tests/crashes.py digits [trials]     SIGKILL at a random moment of a run of specs/digits.dl, half of them
                                                within the writing of a checkpoint or of the file
    python tests/crashes.py faults [of points]  at each write: a full disk, a kill before it, half-way and after it
    python tests/crashes.py disk [of pages]     on a file system of 2 MB that is full but for so many pages

Works where processes can be forked, `disk` where `unshare` lets one mount a file system. Each trial ends with one run
folder, whose .onnx has the bytes of a run that nothing disturbed, and with no temporary file.
"""

from __future__ import annotations

import errno
import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from itertools import count, product
from pathlib import Path
from typing import Any

import numpy as np
from dlc.runtime import CompiledFile, Error, Trainer, loop
from dlc.runtime.checkpoint import Checkpoint
from hand_built import blobs, compiled

STOP = {"patience": 6, "on": "validation.loss", "mode": "min"}
MODES = ("full", "before", "half", "after")


def forked(job: Callable[[], None]) -> int:
    """Runs a job in a process of its own; how it ended: 0, 2 for an `Error`, or minus the signal."""
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        job()
        status = 0
    except Error:
        status = 2
    except BaseException as problem:
        print(f"{type(problem).__name__}: {problem}", file=sys.stderr)
    finally:
        os._exit(status)


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def stopped(child: int) -> bool:
    """Stops a process where it is; whether it had not ended."""
    os.kill(child, signal.SIGSTOP)
    found = os.waitid(os.P_PID, child, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    return found is not None and found.si_code == os.CLD_STOPPED


class Bench:
    """A folder with a compiled file and its data, what an unbroken run of them gives, and runs that are disturbed."""

    def __init__(self, folder: Path, epochs: int) -> None:
        self.folder, self.runs = folder, folder / "runs"
        self.prepare(epochs)
        assert ended(forked(self.go)) == 0
        self.wanted = self.result()
        shutil.rmtree(self.runs)

    def prepare(self, epochs: int) -> None:
        """Writes the compiled file and its data."""
        np.savez(self.folder / "d.npz", **blobs(90))
        file = CompiledFile(compiled(validate=0.2, stop={**STOP, "patience": epochs}, epochs=epochs))
        file.save(self.folder / "m.onnx")

    def go(self) -> None:
        """Trains, or goes on where there is a run."""
        loop.SHARE = 0  # checkpoints as often as can be
        found = self.run()
        if found is None:
            Trainer(self.folder / "m.onnx", device="cpu").fit(self.folder / "d.npz", run=self.runs, every=0)
        else:
            Trainer.resume(found, device="cpu").fit(every=0)

    def run(self) -> Path | None:
        found = sorted(self.runs.glob("[!.]*")) if self.runs.exists() else []
        assert len(found) <= 1, found
        return found[0] if found else None

    def result(self) -> bytes:
        found = self.run()
        assert found is not None
        [file] = found.glob("*.onnx")
        return file.read_bytes()

    def check(self) -> str:
        """What is wrong at the end of a trial, or nothing."""
        status = ended(forked(self.go))
        if status:
            return f"the resumed run ended with {status}"
        left = [str(path) for path in self.runs.rglob("*.tmp")]
        if left:
            return f"left lying: {left}"
        return "" if self.result() == self.wanted else "other bytes"


class Faults:
    """Counts the calls that write, and disturbs one of them."""

    def __init__(self, at: int, mode: str) -> None:
        self.at, self.mode, self.seen = at, mode, 0

    def install(self) -> None:
        for module, name in (
            (os, "fsync"),
            (os, "replace"),
            (os, "rename"),
            (os, "mkdir"),
            (os, "chmod"),
            (tempfile, "mkstemp"),
        ):
            setattr(module, name, self.around(getattr(module, name)))
        fdopen = os.fdopen

        def opened(*args: Any, **kwargs: Any) -> Any:
            out = fdopen(*args, **kwargs)
            return Out(out, self)

        os.fdopen = opened
        usual = Path.open

        def appended(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            out = usual(path, mode, *args, **kwargs)
            return Out(out, self) if mode == "ab" else out

        Path.open = appended  # type: ignore[method-assign, assignment]

    def around(self, call: Callable[..., Any], half: Callable[..., Any] | None = None) -> Callable[..., Any]:
        def disturbed(*args: Any, **kwargs: Any) -> Any:
            self.seen += 1
            if self.seen != self.at:
                return call(*args, **kwargs)
            if self.mode == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.mode == "after":
                call(*args, **kwargs)
                os.kill(os.getpid(), signal.SIGKILL)
            if half is not None:
                half(*args, **kwargs)
            if self.mode == "half":
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(errno.ENOSPC, "No space left on device")

        return disturbed


class Out:
    """A file whose writes are counted; a disturbed one writes half."""

    def __init__(self, out: Any, faults: Faults) -> None:
        self.out = out

        def half(data: bytes) -> None:
            out.write(bytes(data)[: len(data) // 2])
            out.flush()

        self.write = faults.around(out.write, half)

    def __enter__(self) -> Out:
        self.out.__enter__()
        return self

    def __exit__(self, *given: Any) -> Any:
        return self.out.__exit__(*given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.out, name)


def faults(folder: Path, every: int = 1, epochs: int = 2) -> Counter[str]:
    """Disturbs every write of a run in each way, one a trial, or of one in `every` writes."""
    bench, seen = Bench(folder, epochs), Counter[str]()
    counted = folder / "count"

    def counting() -> None:
        found = Faults(-1, "")
        found.install()
        bench.go()
        counted.write_text(str(found.seen))

    assert ended(forked(counting)) == 0
    shutil.rmtree(bench.runs)
    seen["points"] = int(counted.read_text())
    for at, mode in product(range(1, seen["points"] + 1, every), MODES):

        def disturbed(at: int = at, mode: str = mode) -> None:
            Faults(at, mode).install()
            bench.go()

        status = ended(forked(disturbed))
        seen["trials"] += 1
        seen[f"ended with {status}"] += 1
        _note(seen, bench.check(), f"write {at}, {mode}")
        shutil.rmtree(bench.runs, ignore_errors=True)
    return seen


SPACE = ["unshare", "--user", "--map-root-user", "--mount"]  # a file system of one's own


def disk(folder: Path, every: int = 1, epochs: int = 2) -> Counter[str]:
    """A file system of 2 MB with no room left, with a page of it, with two (or with `every` more), until a run ends
    well: it fills up in each of its writes. The error says where and how much room there is."""
    bench, seen, told = Bench(folder, epochs), Counter[str](), folder / "told"
    bench.runs.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(bench.runs)], check=True)
    full, page = bench.runs / ".full", mmap.PAGESIZE

    def telling() -> None:
        try:
            bench.go()
        except Error as problem:
            told.write_text(str(problem))
            raise

    for pages in count(0, every):
        with full.open("wb") as out:
            out.write(bytes(shutil.disk_usage(bench.runs).free - pages * page))
        status = ended(forked(telling))
        full.unlink()
        seen["trials"] += 1
        seen[f"ended with {status}"] += 1
        wrong = bench.check()
        if status == 2 and not (str(bench.runs) in told.read_text() and "bytes are free" in told.read_text()):
            wrong = wrong or f"said: {told.read_text()}"
        _note(seen, wrong, f"{pages} pages of room")
        for path in bench.runs.iterdir():
            shutil.rmtree(path)
        if status == 0:
            return seen
    raise AssertionError("no run ended well")


def kills(folder: Path, trials: int, epochs: int = 40, seed: int = 0) -> Counter[str]:
    """SIGKILL at random moments of a run and of what resumes it."""
    bench, seen, choose = Bench(folder, epochs), Counter[str](), random.Random(seed)
    before = time.monotonic()
    assert ended(forked(bench.go)) == 0
    whole = time.monotonic() - before
    shutil.rmtree(bench.runs)
    for trial in range(trials):
        for _ in range(choose.randint(1, 3)):
            child = forked(bench.go)
            time.sleep(choose.random() * whole)
            os.kill(child, signal.SIGKILL)
            struck = ended(child) == -signal.SIGKILL
            where = "in a run folder" if bench.run() is not None else "before there was a run folder"
            seen[f"killed {where}" if struck else "ended before the signal"] += 1
        seen["trials"] += 1
        _note(seen, bench.check(), f"trial {trial}")
        shutil.rmtree(bench.runs, ignore_errors=True)
    return seen


class Digits(Bench):
    """A run of specs/digits.dl with a checkpoint after every update; `saving` says to the parent whether one is being
    written."""

    saving: mmap.mmap

    def prepare(self, epochs: int) -> None:
        import dlc

        self.saving = mmap.mmap(-1, 1)
        specs = Path(__file__).parents[1] / "specs"
        shutil.copy(specs / "data" / "digits.npz", self.folder / "d.npz")
        dlc.compile(specs / "digits.dl", epochs=epochs).save(self.folder / "m.onnx")

    def go(self) -> None:
        for owner in (Checkpoint, CompiledFile):
            owner.save = self.marked(owner.save)  # type: ignore[method-assign, assignment]
        super().go()

    def marked(self, save: Callable[..., Any]) -> Callable[..., Any]:
        def saved(*args: Any, **kwargs: Any) -> Any:
            self.saving[0] = 1
            try:
                return save(*args, **kwargs)
            finally:
                self.saving[0] = 0

        return saved


def digits(folder: Path, trials: int, epochs: int = 2, seed: int = 0) -> Counter[str]:
    """SIGKILL at a random moment of a run; in every second trial as soon after it as something is being written."""
    bench, seen, choose = Digits(folder, epochs), Counter[str](), random.Random(seed)
    before = time.monotonic()
    assert ended(forked(bench.go)) == 0
    whole = time.monotonic() - before
    shutil.rmtree(bench.runs)
    for trial in range(trials):
        bench.saving[0] = 0
        child = forked(bench.go)
        time.sleep(choose.random() * whole)
        while trial % 2 and stopped(child) and not bench.saving[0]:  # however slow the machine is
            os.kill(child, signal.SIGCONT)
            time.sleep(choose.random() * 0.002)
        os.kill(child, signal.SIGKILL)
        struck = ended(child) == -signal.SIGKILL
        where = "within a save" if bench.saving[0] else "between saves"
        seen[f"killed {where}" if struck else "ended before the signal"] += 1
        seen["trials"] += 1
        _note(seen, bench.check(), f"trial {trial}")
        shutil.rmtree(bench.runs, ignore_errors=True)
    return seen


def _note(seen: Counter[str], wrong: str, where: str) -> None:
    seen["wrong" if wrong else "same bytes"] += 1
    if wrong:
        print(f"{where}: {wrong}", file=sys.stderr, flush=True)


def main(words: list[str]) -> int:
    if words[:1] == ["disk"] and "inside" not in words:
        return subprocess.run([*SPACE, sys.executable, __file__, *words, "inside"], check=False).returncode
    folder = Path(tempfile.mkdtemp())
    number = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    try:
        if words[:1] == ["digits"]:
            seen = digits(folder, number or 500)
        elif words[:1] == ["disk"]:
            seen = disk(folder, number or 1)
        else:
            seen = kills(folder, number or 200) if words[:1] == ["kills"] else faults(folder, number or 1)
    finally:
        shutil.rmtree(folder, ignore_errors=words[:1] == ["disk"])  # what is mounted goes with the process
    print(", ".join(f"{name}: {count}" for name, count in seen.items()))
    return 1 if seen["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
