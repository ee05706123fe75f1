"""What a model makes of its inputs on the way: the plane of two inputs, a layer of two numbers, else the two directions
in which what its last layer reads spreads most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dlc.runtime import graphs
from dlc.runtime.failures import Error
from dlc.runtime.session import Options, Session
from dlc.runtime.state import promoted
from onnx import NodeProto, helper

from .predictions import Classes, Judged, Numbers
from .ran import Ran

Array = np.ndarray
GRID = 64  # points of a side of the plane
POINTS = 1_500  # rows that are shown
PRODUCTS = ("MatMul", "Gemm", "Conv")


@dataclass
class Surface:
    """What is predicted over the plane of two inputs. `low` and `high`: its corners; `values`: [row from the top,
    column] the class, or the number; `sure`: how sure a class is, from 0 to 1."""

    low: Array
    high: Array
    values: Array
    sure: Array | None
    points: Array  # [n, 2]
    of: Array  # [n], the class or the number of each


@dataclass
class Spread:
    """Rows as points of a plane. `share`: what part of the variance each direction holds; None for a layer of two."""

    what: str
    points: Array  # [n, 2]
    share: tuple[float, float] | None


def surface(run: Ran, judged: Judged, found: Classes | Numbers) -> Surface | None:
    """Of a model that takes one array of two numbers a row, and answers with one class or number."""
    [(name, x), *others] = judged.inputs.items() or [("", np.zeros(0))]
    if others or x.ndim != 2 or x.shape[1] != 2 or x.dtype.kind != "f" or found.each != 1 or run.trainer is None:
        return None
    low, high = x.min(0).astype(np.float64), x.max(0).astype(np.float64)
    margin = np.where(high > low, (high - low) * 0.15, 1.0)
    low, high = low - margin, high + margin
    across, down = (np.linspace(low[i], high[i], GRID) for i in (0, 1))
    grid = np.stack(np.meshgrid(across, down[::-1]), -1).reshape(-1, 2).astype(x.dtype)
    made = run.trainer.predict({name: grid}, seed=0)[found.output]
    shown = slice(None, POINTS)
    if isinstance(found, Numbers):
        values, sure = made.reshape(GRID, GRID), None
    else:
        scores = made.reshape(GRID * GRID, -1)
        scores = np.concatenate([1 - scores, scores], 1) if scores.shape[1] == 1 else scores
        values, sure = scores.argmax(1).reshape(GRID, GRID), None
        if found.confidence is not None:
            sure = scores.max(1).reshape(GRID, GRID)
    return Surface(low, high, values, sure, x[shown], found.true[shown])


def spread(run: Ran, judged: Judged) -> Spread | None:
    """What a layer of two numbers gives, if there is one; else what the last layer reads, or what goes in, along its
    two principal components (Pearson 1901)."""
    trainer = run.trainer
    if trainer is None or judged.rows < 3:
        return None
    read = _read_by_layers(run)
    if read:
        known = graphs.known(run.file.frame)
        two = [name for name in read if known.get(name, (0, ()))[1][1:] == (2,)]
        name = two[-1] if two else read[-1]
        values = _values(run, judged, name)
        if values is not None and two:
            return Spread("the layer of two numbers", values, None)
        if values is not None and values.shape[1] > 2:
            return principal("what the last layer reads", values)
    flat = [x[:POINTS].reshape(min(judged.rows, POINTS), -1) for x in judged.inputs.values() if x.dtype.kind == "f"]
    values = np.concatenate(flat, 1) if flat else None
    return principal("what goes in", values) if values is not None and values.shape[1] > 2 else None


def principal(what: str, values: Array) -> Spread | None:
    """[n, k] along the two directions of greatest variance."""
    centred = values.astype(np.float64) - values.mean(0, dtype=np.float64)
    total = float((centred**2).sum())
    if not np.isfinite(total) or total == 0:
        return None
    _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(directions[:2][np.arange(2), np.abs(directions[:2]).argmax(1)])  # else either is right
    points = centred @ (directions[:2] * signs[:, None]).T
    first, second = (float(length**2) / total for length in lengths[:2])
    return Spread(what, points, (first, second))


def _read_by_layers(run: Ran) -> list[str]:
    """The values inside that a product with a parameter reads, in order."""
    own = set(run.file.parameters)
    given = {value.name for value in run.file.main.input}
    kept: list[NodeProto] = graphs.needed(list(run.file.main.node), [v.name for v in run.file.main.output])
    made = {name for node in kept for name in node.output}
    return [
        node.input[0]
        for node in kept
        if node.op_type in PRODUCTS and node.input[1] in own and node.input[0] in made and node.input[0] not in given
    ]


def _values(run: Ran, judged: Judged, name: str) -> Array | None:
    """[n, k]: a value of the predicting graph for the first rows; None where it does not count rows."""
    file, trainer = run.file, run.trainer
    assert trainer is not None
    state = trainer._values
    rows = min(judged.rows, POINTS)
    try:
        model = graphs.concatenate(file.frame, None, [name], promoted(file, None))
        kind = graphs.known(model).get(name, (1, ()))[0] or 1
        del model.graph.output[:]
        model.graph.output.append(helper.make_tensor_value_info(name, kind, None))
        session = Session(model, Options())
        feeds = {**state.feeds(None, session.inputs), **{n: x[:rows] for n, x in judged.inputs.items()}}
        if any(n not in feeds for n in session.inputs):
            return None
        [values] = session.run([name], feeds)
    except Error:
        return None
    if values.ndim < 2 or values.dtype.kind != "f" or len(values) != rows or not np.isfinite(values).all():
        return None
    return np.asarray(values.reshape(rows, -1))
