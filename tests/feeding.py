"""What feeding costs beside the steps of `specs/digits.dl`: `python tests/feeding.py [ROUNDS]`.

Epochs of 20,032 digits (those of the repository, over and over) in 313 batches: the steps alone, on batches that lie
ready; fed from memory, in a new order each epoch; from a Parquet file that is read once, as `data:` reads it; from
one that each epoch reads anew, by a `Stream`. Rounds take turns, and what is printed is the median of the
differences, in processor time of the thread that makes the steps, which others on the machine do not change; what a
reader needs beside it is time of another core, and the steps wait for it where there is none, or where it needs more
than they do.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import dlc
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from dlc.runtime import Stream, Trainer
from dlc.runtime.data.batch import Ready
from dlc.runtime.data.stream import StreamSource
from dlc.runtime.request import Request

SPECS = Path(__file__).parents[1] / "specs"
ROWS, BATCH = 313 * 64, 64


def parquet(path: Path) -> dict[str, np.ndarray]:
    """Writes the digits as columns of a table, and gives them as arrays."""
    with np.load(SPECS / "data" / "digits.npz") as found:
        places = np.arange(ROWS) % len(found["x"])
        x, y = found["x"][places], found["y"][places]
    names = {f"x{k}": x[:, k] for k in range(x.shape[1])}
    pq.write_table(pa.table({**names, "y": y}), path, row_group_size=5_000)
    return {"x": x, "y": y}


def measured(rounds: int = 9) -> tuple[dict[str, float], float]:
    """Seconds of the thread that makes the steps by how it is fed, `alone` those of a step alone; and seconds of the
    reader of the stream, for each step."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.parquet"
        arrays = parquet(path)
        trainer = Trainer(dlc.compile(SPECS / "digits.dl"), device="cpu", threads=1)
        given = {"memory": arrays, "parquet": str(path), "stream": Stream(path)}
        sources = {
            name: Request(trainer, data, validation=arrays, steps=1, batch=BATCH).source for name, data in given.items()
        }
        ready = [Ready(dict(batch.arrays), batch.rows) for batch in sources["memory"].batches(0)]
        count = -(-ROWS // BATCH)

        def run(batches: object) -> float:
            begin = time.thread_time()
            for number, batch in enumerate(batches):  # type: ignore[arg-type, var-annotated]
                trainer.stepper.step(batch.arrays, number + 1)
            return (time.thread_time() - begin) / count

        found: dict[str, list[float]] = {name: [] for name in ("alone", *sources)}
        for turn in range(rounds + 1):
            times = {"alone": run(ready)}
            times |= {name: run(source.batches(turn)) for name, source in sources.items()}
            for name, seconds in times.items() if turn else ():  # the first round warms up
                found[name].append(seconds - times["alone"] if name != "alone" else seconds)
        stream, reading = sources["stream"], []
        assert isinstance(stream, StreamSource)
        for turn in range(rounds):
            begin = time.thread_time()
            for _ in stream._blocks(turn, 0):
                pass
            reading.append((time.thread_time() - begin) / count)
    return {name: statistics.median(seconds) for name, seconds in found.items()}, statistics.median(reading)


def main() -> None:
    found, reading = measured(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
    alone = found.pop("alone")
    print(f"a step alone     {alone * 1e6:6.1f} µs")
    for name, seconds in found.items():
        print(f"fed from {name:8}{seconds * 1e6:+6.1f} µs, {100 * seconds / alone:+5.1f} % of a step")
    print(f"the reader of the stream needs {100 * reading / alone:.1f} % of the time of the steps, beside them")


if __name__ == "__main__":
    main()
