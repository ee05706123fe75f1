"""The seven short specs beside the Keras texts of docs/short.md: both run, and come to the same figure.

`python tests/test_short_oracle.py 3` trains each so often, and prints the rows of the page's table.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import dlc
import numpy as np
import pytest
from short import SPECS, texts

# Of each spec the figure that is compared, what Keras calls it, and how far two runs may be apart.
FIGURES = {
    "cnn": ("accuracy", "accuracy", 0.03),
    "tagger": ("accuracy", "accuracy", 0.03),
    "characters": ("loss", "loss", 0.2),
    "recommender": ("rmse", "root_mean_squared_error", 0.04),
    "rare": ("accuracy", "accuracy", 0.06),
    "inverse": ("loss", "loss", 0.25),
    "vae": ("loss", "loss", 1.2),
}
TELLS = """
import json
held = model.history.history
best = min(range(len(held["val_loss"])), key=lambda epoch: held["val_loss"][epoch])
print(json.dumps({name: values[best] for name, values in held.items()}))
"""


def of_keras(name: str, seed: int) -> float:
    """The figure on the rows that Keras holds out, in the epoch in which their loss is least."""
    body = texts()[name].replace("callbacks=[stop])", "callbacks=[stop], verbose=0)")
    text = f"import keras\nkeras.utils.set_random_seed({seed})\n{body}{TELLS}"
    backend = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", text],
        cwd=SPECS,
        env={**os.environ, **backend},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(json.loads(done.stdout.splitlines()[-1])[f"val_{FIGURES[name][1]}"])


def of_dlc(name: str, seed: int) -> float:
    """The figure on the rows that the spec holds out, in its best epoch."""
    history = dlc.Trainer(dlc.compile(SPECS / f"{name}.dl"), device="cpu", seed=seed).fit()
    best = next(record for record in history.epochs if record["epoch"] == history.best)
    assert best["validation"] is not None
    return float(best["validation"][FIGURES[name][0]])


@pytest.mark.oracle
@pytest.mark.long
@pytest.mark.skipif(not (find_spec("keras") and find_spec("jax")), reason="keras or jax is not installed")
@pytest.mark.parametrize("name", FIGURES)
def test_both_come_to_the_same_figure(name: str) -> None:
    assert of_dlc(name, 1) == pytest.approx(of_keras(name, 1), abs=FIGURES[name][2])


def main() -> None:
    for name, (figure, _, _) in FIGURES.items():
        both = [[run(name, seed) for seed in range(int(sys.argv[1]))] for run in (of_dlc, of_keras)]
        shown = [f"{np.mean(runs):.3f} ± {np.std(runs):.3f}" for runs in both]
        print(f"{name} | {figure} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
