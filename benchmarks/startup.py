"""From a command to its first finished step, and the memory of a whole run: ``python -m benchmarks.startup``.

``dlc train specs/digits.dl`` beside the same training in PyTorch and in Keras, each in processes of its own that take
turns (A B C A B C ...), on two cores. The first step: the whole of a process that makes one update, from its start to
its end (of dlc with the run folder that it writes). Memory: the largest resident set of a process that trains to the
end. Compiled modules are cached before, as an installation has them. ``--size`` says instead how large installations
are.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
SHARE = 0.35  # of the peers' time and memory that is allowed
FIRST = 1.0  # seconds to the first step that are allowed
PEERS = ("torch", "keras")

# The model, loss, schedule, penalty, clip, split and patience of specs/digits.dl.
TORCH = """
import sys
import numpy as np, torch
from torch import nn
torch.set_num_threads(2)
torch.manual_seed(7)
data = np.load("specs/data/digits.npz")
x, y = torch.from_numpy(data["x"].astype(np.float32)), torch.from_numpy(data["y"].astype(np.int64))
order = torch.randperm(len(x))
held, kept = order[: len(x) // 5], order[len(x) // 5 :]
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=1e-4)
total = 30 * -(-len(kept) // 64)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
loss_of, best, wait, steps = nn.CrossEntropyLoss(), float("inf"), 0, 0
for epoch in range(30):
    model.train()
    for rows in kept[torch.randperm(len(kept))].split(64):
        optimizer.zero_grad()
        loss_of(model(x[rows]), y[rows]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        steps += 1
        if sys.argv[1] == "first":
            sys.exit()
    model.eval()
    with torch.no_grad():
        value = loss_of(model(x[held]), y[held]).item()
    best, wait = (value, 0) if value < best else (best, wait + 1)
    if wait == 5:
        break
torch.save(model.state_dict(), sys.argv[2])
"""

KERAS = """
import sys
import numpy as np, keras
keras.utils.set_random_seed(7)
data = np.load("specs/data/digits.npz")
x, y = data["x"].astype(np.float32), data["y"].astype(np.int64)
order = np.random.permutation(len(x))
held, kept = order[: len(x) // 5], order[len(x) // 5 :]
decay = keras.regularizers.L2(1e-4)
model = keras.Sequential([
    keras.Input((64,)),
    keras.layers.Dense(128, activation="relu", kernel_regularizer=decay),
    keras.layers.Dropout(0.2),
    keras.layers.Dense(10, kernel_regularizer=decay),
])
total = 30 * -(-len(kept) // 64)
rate = keras.optimizers.schedules.CosineDecay(1e-2, total)
model.compile(
    optimizer=keras.optimizers.Adam(rate, global_clipnorm=1.0),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
if sys.argv[1] == "first":
    model.train_on_batch(x[kept[:64]], y[kept[:64]])
    sys.exit()
stop = keras.callbacks.EarlyStopping(patience=5, restore_best_weights=True)
model.fit(x[kept], y[kept], batch_size=64, epochs=30, validation_data=(x[held], y[held]), callbacks=[stop], verbose=0)
model.save(sys.argv[2])
"""
DLC = "import sys; from dlc.cli import main; sys.exit(main())"


def command(system: str, what: str, folder: str) -> list[str]:
    if system != "dlc":
        return [sys.executable, "-c", {"torch": TORCH, "keras": KERAS}[system], what, f"{folder}/model.{system}"]
    words = ["train", "specs/digits.dl", "--quiet", "--device", "cpu", "--runs", folder]
    return [sys.executable, "-c", DLC, *words, *(["--steps", "1"] if what == "first" else [])]


def measured(words: list[str], cache: str) -> tuple[float, float, float]:
    """Seconds of a process on the clock and of processors, and its largest resident set in MB."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env |= {"PYTHONPYCACHEPREFIX": cache, "KERAS_BACKEND": env.get("KERAS_BACKEND", "torch"), "OMP_NUM_THREADS": "2"}
    begin = time.perf_counter()
    child = subprocess.Popen(words, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert child.stderr is not None
    said = child.stderr.read()
    _, status, used = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - begin
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{words[:2]} failed:\n{said.decode()[-2000:]}")
    scale = 1024 if sys.platform != "darwin" else 1024**2
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / scale


def startup(rounds: int, systems: list[str]) -> list[dict[str, object]]:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    found: dict[str, dict[str, list[float]]] = {
        one: {"first": [], "cpu": [], "memory": [], "run": []} for one in systems
    }
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as cache:
        for system in systems:  # what is compiled is cached
            measured(command(system, "first", folder), cache)
        for _ in range(rounds):
            for system in systems:
                seconds, cpu, _ = measured(command(system, "first", folder), cache)
                found[system]["first"].append(seconds)
                found[system]["cpu"].append(cpu)
        for _ in range(min(rounds, 3)):
            for system in systems:
                seconds, _, memory = measured(command(system, "all", folder), cache)
                found[system]["memory"].append(memory)
                found[system]["run"].append(seconds)
    return [
        {"system": one, **{name: round(statistics.median(values), 3) for name, values in figures.items()}}
        for one, figures in found.items()
    ]


# --- how large installations are


def closure(name: str, extras: tuple[str, ...] = ()) -> dict[str, int]:
    """The bytes of a distribution's files and of those that it needs, by their names."""
    from packaging.requirements import Requirement

    found: dict[str, int] = {}
    waiting = [(name, extras)]
    while waiting:
        at, wanted = waiting.pop()
        held = importlib.metadata.distribution(at)
        key = held.metadata["Name"].lower().replace("_", "-")
        if key not in found:
            files = [Path(str(held.locate_file(file))) for file in held.files or ()]
            found[key] = sum(file.stat().st_size for file in files if file.is_file() and file.suffix != ".pyc")
        elif not wanted:
            continue
        for text in held.requires or ():
            need = Requirement(text)
            if need.marker is None or any(need.marker.evaluate({"extra": one}) for one in (*wanted, "")):
                waiting.append((need.name, tuple(need.extras)))
    return found


def own() -> int:
    """The bytes that the wheel of dlc installs: the folders of the package, without what it is made from."""
    folders = ("compiler", "runtime", "grammar", "specs", "docs/errors")
    files = (path for folder in folders for path in (ROOT / folder).rglob("*"))
    return sum(path.stat().st_size for path in files if path.is_file() and path.suffix != ".pyc")


def sizes() -> list[dict[str, object]]:
    ours = closure("dlc-compiler", ("cpu",))
    ours["dlc-compiler"] = own()
    theirs = closure("torch")
    return [
        {
            "system": name,
            "MB": round(sum(parts.values()) / 1e6, 1),
            "largest": {part: round(size / 1e6, 1) for part, size in Counter(parts).most_common(6)},
        }
        for name, parts in (("dlc[cpu]", ours), ("torch", theirs))
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--size", action="store_true", help="how large installations are")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.size:
        rows = sizes()
        for row in rows:
            print(json.dumps(row))
        ours, theirs = (float(str(row["MB"])) for row in rows)
        print(f"dlc[cpu] / torch: {ours / theirs:.3f}, allowed {1 / 3:.3f}")
        return int(ours > theirs / 3)
    there = [name for name in PEERS if importlib.util.find_spec(name) is not None]
    rows = startup(asked.rounds, ["dlc", *there])
    if asked.json:
        for row in rows:
            print(json.dumps(row))
        return 0
    print(f"{'':8}{'first step':>12}{'of cores':>10}{'whole run':>11}{'memory':>9}")
    for row in rows:
        print(f"{row['system']:8}{row['first']:>10} s{row['cpu']:>8} s{row['run']:>9} s{row['memory']:>6.0f} MB")
    ours, good = rows[0], float(str(rows[0]["first"])) <= FIRST
    for row in rows[1:]:
        shares = {name: float(str(ours[name])) / float(str(row[name])) for name in ("first", "memory")}
        good = good and all(share <= SHARE for share in shares.values())
        print(f"dlc / {row['system']}: " + ", ".join(f"{name} {share:.2f}" for name, share in shares.items()))
    print(f"allowed: first step {FIRST} s, shares {SHARE}: {'held' if good else 'NOT held'}")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
