"""Predictions against targets: which output answers which target, and what is right and wrong of it.

target int[...], output float[..., k] that sums to 1      classes, by their probabilities
target int[...], output float[..., k]                     classes, by their scores
target 0 or 1,   output float[...] from 0 to 1            two classes, by the probability of 1
target float or int, output float of the same shape       numbers
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .ran import Ran

Array = np.ndarray
ROWS = 20_000  # that are judged
DRAWN = 1_500  # that are drawn where a prediction reads no data
BINS = 10  # of a calibration
CLASSES = 200  # of a matrix


@dataclass
class Classes:
    """Each element of a target with what was predicted for it. `probability`: of every class, where the output gives
    that; `scores`: what the output gives otherwise."""

    target: str
    output: str
    true: Array  # [n]
    predicted: Array  # [n]
    confidence: Array | None  # [n], the probability of what was predicted
    scores: Array  # [n, k]
    each: int  # elements of a row

    @property
    def accuracy(self) -> float:
        return float(np.mean(self.true == self.predicted))

    @property
    def count(self) -> int:
        return int(max(self.scores.shape[1], self.true.max(initial=0) + 1))

    def matrix(self) -> Array:
        """How often what was predicted as what: [true, predicted]."""
        found = np.zeros((self.count, self.count), np.int64)
        np.add.at(found, (self.true, self.predicted), 1)
        return found

    def calibration(self) -> list[tuple[float, float, int]]:
        """Of each bin of confidences that is not empty: their mean, the share that is right, how many."""
        if self.confidence is None:
            return []
        right = self.true == self.predicted
        at = np.minimum((self.confidence * BINS).astype(int), BINS - 1)
        bins = [at == i for i in range(BINS)]
        return [
            (float(self.confidence[which].mean()), float(right[which].mean()), int(which.sum()))
            for which in bins
            if which.any()
        ]

    def calibration_error(self) -> float:
        """The expected calibration error (Naeini, Cooper and Hauskrecht 2015): |confidence - accuracy|, weighted."""
        bins = self.calibration()
        return sum(abs(mean - share) * n for mean, share, n in bins) / max(1, sum(n for *_, n in bins))


@dataclass
class Numbers:
    """Each element of a target with what was predicted for it."""

    target: str
    output: str
    true: Array  # [n]
    predicted: Array  # [n]
    each: int

    @property
    def residuals(self) -> Array:
        return np.asarray(self.true - self.predicted)

    def figures(self) -> dict[str, float]:
        """The root mean square error, the mean absolute error, and the share of the variance that is explained."""
        r, spread = self.residuals, float(np.var(self.true))
        found = {"rmse": float(np.sqrt(np.mean(r**2))), "mae": float(np.mean(np.abs(r)))}
        return found | ({"R²": 1 - float(np.mean(r**2)) / spread} if spread > 0 else {})


@dataclass
class Judged:
    """The rows that a run is judged by, and what it says of them."""

    rows: int
    of: int
    inputs: dict[str, Array]
    targets: dict[str, Array]
    outputs: dict[str, Array]
    found: list[Classes | Numbers]


def judged(run: Ran) -> Judged | None:
    """What a run predicts for the data that it is judged by; None where there are none."""
    trainer, columns = run.trainer, run.columns
    if trainer is None or columns is None:
        return None
    rows = min(columns.rows, ROWS)
    whole = {f.name: columns.arrays[f.name] for f in columns.fields if f.rows is None}
    arrays = {f.name: _first(columns.arrays[f.name], f.rows, rows) for f in columns.fields if f.rows is not None}
    targets = {entry.name for entry in run.file.signature.targets}
    given = {**whole, **arrays}
    wanted = [field.name for field in trainer.predictor.fields if field.name in given]
    if not {field.name for field in trainer.predictor.needed()} <= set(wanted):
        return None
    outputs = trainer.predict({name: given[name] for name in wanted}, rows=None if wanted else min(rows, DRAWN), seed=0)
    made = Judged(
        rows,
        columns.rows,
        {name: array for name, array in arrays.items() if name not in targets},
        {name: array for name, array in arrays.items() if name in targets},
        outputs,
        [],
    )
    made.found = answers(made.targets, outputs)
    return made


def _first(array: Array, axis: int, rows: int) -> Array:
    return np.asarray(np.moveaxis(array, axis, 0)[:rows])


def answers(targets: Mapping[str, Array], outputs: Mapping[str, Array]) -> list[Classes | Numbers]:
    """The targets that an output answers, each output once; one of the same name first, then those that say most."""
    found: list[Classes | Numbers] = []
    used: set[str] = set()
    for name, true in targets.items():
        forms: list[tuple[int, Classes | Numbers]] = []
        for output in sorted((o for o in outputs if o not in used), key=lambda o: o != name):
            made = _answer(name, output, true, outputs[output])
            if made is not None:
                forms.append(made)
        if forms:
            best = max(forms, key=lambda form: form[0])[1]  # of equals the first
            used.add(best.output)
            found.append(best)
    return found


def _answer(name: str, output: str, true: Array, made: Array) -> tuple[int, Classes | Numbers] | None:
    """One output as the answer to one target, and how much that says of the target."""
    if made.dtype.kind != "f" or not made.size or not np.isfinite(made).all():
        return None
    each = int(np.prod(true.shape[1:], dtype=np.int64))
    flat = true.reshape(-1)
    whole = true.dtype.kind in "iub"
    if whole and made.shape[:-1] == true.shape and made.shape[-1] > 1 and flat.min(initial=0) >= 0:
        k = made.shape[-1]
        if flat.max(initial=0) >= k:
            return None
        scores = made.reshape(-1, k)
        sums = bool((scores >= 0).all() and np.allclose(scores.sum(1), 1, atol=1e-3))
        predicted = scores.argmax(1)
        confidence = scores.max(1).astype(np.float64) if sums else None
        return 4 if sums else 3, Classes(name, output, flat.astype(int), predicted, confidence, scores, each)
    if made.shape != true.shape:
        return None
    p = made.reshape(-1)
    if np.isin(flat, (0, 1)).all() and p.min() >= 0 and p.max() <= 1:
        predicted = (p > 0.5).astype(int)
        scores = np.stack([1 - p, p], 1)
        confidence = np.maximum(p, 1 - p).astype(np.float64)
        return 4, Classes(name, output, flat.astype(int), predicted, confidence, scores, each)
    return 2, Numbers(name, output, flat.astype(np.float64), p.astype(np.float64), each)


def surprise(found: Classes | Numbers, rows: int) -> Array:
    """How far off the prediction of each row is: minus the score of what was true, or the greatest residual."""
    if isinstance(found, Numbers):
        each = np.abs(found.residuals)
    else:
        each = -found.scores[np.arange(len(found.true)), np.minimum(found.true, found.scores.shape[1] - 1)]
    return np.asarray(each.reshape(rows, -1).max(1))


def chosen(order: Sequence[int], most: int) -> list[int]:
    """So many of a sequence, evenly spread over it, its first included."""
    step = max(1, -(-len(order) // most))
    return [int(i) for i in order[::step]][:most]
