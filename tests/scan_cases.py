"""Recurrences in the language, and the same in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SIZES = {"batch": 3, "time": 5, "n": 2, "k": 4, "rows": 3, "columns": 4}


@dataclass(frozen=True)
class Case:
    """`body` makes `outs` of the inputs, which are all float; `loop` is the same in NumPy, without a word of ours."""

    inputs: dict[str, str]
    body: str
    outs: tuple[str, ...]
    loop: Callable[..., tuple[Any, ...]]
    whole: dict[str, str] = field(default_factory=dict)  # inputs of integers
    fns: str = ""

    @property
    def text(self) -> str:
        lines = [self.fns, "model m {"]
        lines += [f"input {name}: float[{shape}]" for name, shape in self.inputs.items()]
        lines += [f"input {name}: int[{shape}]" for name, shape in self.whole.items()]
        lines += [
            self.body,
            "total = "
            + " + ".join(f"sum(sin({out} * 1.3) * {out})" for out in self.outs)
            + "".join(f" + 0.1 * sum({x}^3)" for x in self.inputs),
        ]
        lines += [f"output {out} = {out}" for out in self.outs] + ["output total = total"]
        lines += [f"d_{x} = grad(total, {x})\noutput first_{x} = d_{x}" for x in self.inputs]
        lines += ["bent = " + " + ".join(f"sum(d_{x}^2)" for x in self.inputs), "output bent = bent"]
        lines += [f"output second_{x} = grad(bent, {x})" for x in self.inputs]
        return "\n".join([*lines, "}"])

    def feeds(self, seed: int = 0, **sizes: int) -> dict[str, Any]:
        rng, known = np.random.default_rng(seed), SIZES | sizes
        shapes = {
            name: tuple(eval_size(part, known) for part in shape.split(",") if part.strip())
            for name, shape in {**self.inputs, **self.whole}.items()
        }
        fed = {name: rng.normal(0, 0.6, shapes[name]) for name in self.inputs}
        return fed | {name: rng.integers(0, known["time"] + 1, shapes[name]) for name in self.whole}


def eval_size(text: str, known: Mapping[str, int]) -> int:
    text = text.strip()
    return known[text] if text in known else int(text)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def elman(x, W, U, b, order=None):
    h, ys = np.zeros((x.shape[0], U.shape[0])), {}
    for t in order or range(x.shape[1]):
        h = ys[t] = np.tanh(x[:, t] @ W + h @ U + b)
    return np.stack([ys[t] for t in sorted(ys)], 1), h


def masked(x, lengths):
    h, ys = np.zeros(x.shape[0]), []
    for t in range(x.shape[1]):
        inside = t < lengths
        h = np.where(inside, np.sin(h) + x[:, t], h)
        ys.append(np.where(inside, h, 0))
    return np.stack(ys, 1), h


def image(x, a):
    above, rows = np.zeros(x.shape[2]), []
    for i in range(x.shape[1]):
        left, row = np.zeros(x.shape[0]), []
        for j in range(x.shape[2]):
            left = np.tanh(x[:, i, j] + a * left + above[j])
            row.append(left)
        above = np.mean(np.stack(row), 1)
        rows.append(np.stack(row, 1))
    return np.stack(rows, 1), above


def within(x):
    h, ys = np.full(x.shape[0], 0.1), []
    for t in range(x.shape[1]):
        g, k = h, h / 2
        for _ in range(3):
            g = np.sin(0.4 * g + x[:, t])
            h = h + 0.1 * g
            k = 0.5 * k + g
        h = 0.3 * h + 0.2 * g + 0.3 * k
        ys.append(h)
    return np.stack(ys, 1), h


def two_states(x, w):
    p, q, ys = np.ones(x.shape[0]), np.zeros(x.shape[0]), []
    for t in range(x.shape[1]):
        p = p * np.cos(x[:, t])
        q = q + p * w[t]
        ys.append(p + q)
    return np.stack(ys), p, q


def newton(a):
    y = np.ones_like(a)
    for _ in range(6):
        y = y - (y * y - np.exp(a)) / (2 * y)
    return (y,)


CASES = {
    "elman": Case(
        {"x": "batch, time, n", "W": "n, k", "U": "k, k", "b": "k"},
        """scan t over time {
            state h: float[batch, k] = 0
            h <- tanh(x[:, t] @ W + h @ U + b)
            y[:, t] = h
        }""",
        ("y", "h"),
        elman,
    ),
    "backwards": Case(
        {"x": "batch, time, n", "W": "n, k", "U": "k, k", "b": "k"},
        """scan t over reverse(time) {
            state h: float[batch, k] = 0
            h <- tanh(x[:, t] @ W + h @ U + b)
            y[:, t] = h
        }""",
        ("y", "h"),
        lambda x, W, U, b: elman(x, W, U, b, range(x.shape[1] - 1, -1, -1)),
    ),
    "a start value with a derivative": Case(
        {"x": "batch, time", "s": "batch"},
        """scan t over time {
            state h: float[batch] = s * 2
            h <- h * x[:, t] + s
        }""",
        ("h",),
        lambda x, s: (_last(x, s),),
    ),
    "a mask": Case(
        {"x": "batch, time"},
        """scan t over time {
            state h: float[batch] = 0
            inside = t < lengths
            h <- where(inside, sin(h) + x[:, t], h)
            y[:, t] = where(inside, h, 0)
        }""",
        ("y", "h"),
        masked,
        {"lengths": "batch"},
    ),
    "several inputs, states and orders": Case(
        {"x": "batch, time", "w": "time"},
        """scan t over time {
            state p: float[batch] = 1
            state q: float[batch] = 0
            p <- p * cos(x[:, t])
            q <- q + p * w[t]
            y[t] = p + q
        }""",
        ("y", "p", "q"),
        two_states,
    ),
    "a scan in a scan": Case(
        {"x": "batch, rows, columns", "a": ""},
        """scan i over rows {
            state above: float[columns] = 0
            scan j over columns {
                state left: float[batch] = 0
                left <- tanh(x[:, i, j] + a * left + above[j])
                row[:, j] = left
            }
            above <- mean(row, axis = 0)
            z[:, i] = row
        }""",
        ("z", "above"),
        image,
    ),
    "a scan that starts from a state of the scan around it": Case(
        {"x": "batch, time"},
        """scan t over time {
            state h: float[batch] = 0.1
            scan i over 0..3 {
                state g: float[batch] = h
                g <- sin(0.4 * g + x[:, t])
                h <- h + 0.1 * g
                state k: float[batch] = h / 2
                k <- 0.5 * k + g
            }
            h <- 0.3 * h + 0.2 * g + 0.3 * k
            y[:, t] = h
        }""",
        ("y", "h"),
        within,
    ),
    "a number of turns": Case(
        {"a": "n"},
        """scan i over 0..6 {
            state y: float[n] = 1
            y <- y - (y^2 - exp(a)) / (2 * y)
        }""",
        ("y",),
        newton,
    ),
    "neighbours and the turn itself": Case(
        {"x": "batch, 7"},
        """scan t over 0..5 {
            state h: float[batch] = 0
            h <- h / 2 + x[:, t] * x[:, t + 2] * t
            y[:, t] = h * x[:, t + 1]
        }""",
        ("y",),
        lambda x: (_neighbours(x),),
    ),
    "a derivative in each turn": Case(
        {"x": "batch, time", "a": ""},
        """scan t over time {
            state h: float[batch] = 0.5
            h <- h - 0.3 * grad(sum((h * a - x[:, t])^2 + exp(a * h)), h)
        }""",
        ("h",),
        lambda x, a: (_descent(x, a),),
    ),
    "in a function": Case(
        {"x": "batch, time"},
        "y = smooth(x, 0.7)",
        ("y",),
        lambda x: (_smooth(x, 0.7),),
        fns="""fn smooth(x: float[b, t], keep) {
            scan i over t {
                state s: float[b] = x[:, 0]
                s <- keep * s + (1 - keep) * x[:, i]
                out[:, i] = s
            }
            return out
        }""",
    ),
    "two after each other": Case(
        {"x": "batch, time, n", "U": "n, n"},
        """scan t over time {
            state h: float[batch, n] = 0
            h <- tanh(x[:, t] + h @ U)
            y[:, t] = h
        }
        scan t over reverse(time) {
            state g: float[batch, n] = h
            g <- sigmoid(y[:, t] + g @ U) * x[:, t]
            z[:, t] = g
        }""",
        ("z", "g"),
        lambda x, U: _twice(x, U),
    ),
    "a state that a loop outside moves": Case(
        {"x": "batch, time"},
        """scan i over 0..3 {
            state s: float[batch] = 0
            scan t over time { s <- sin(s) + x[:, t] * i }
        }""",
        ("s",),
        lambda x: (_outer(x),),
    ),
}


def _last(x, s):
    h = 2 * s
    for t in range(x.shape[1]):
        h = h * x[:, t] + s
    return h


def _neighbours(x):
    h, ys = np.zeros(x.shape[0]), []
    for t in range(5):
        h = h / 2 + x[:, t] * x[:, t + 2] * t
        ys.append(h * x[:, t + 1])
    return np.stack(ys, 1)


def _descent(x, a):
    h = np.full(x.shape[0], 0.5)
    for t in range(x.shape[1]):
        h = h - 0.3 * (2 * a * (h * a - x[:, t]) + a * np.exp(a * h))
    return h


def _smooth(x, keep):
    s, ys = x[:, 0], []
    for t in range(x.shape[1]):
        s = keep * s + (1 - keep) * x[:, t]
        ys.append(s)
    return np.stack(ys, 1)


def _twice(x, U):
    h, ys = np.zeros((x.shape[0], x.shape[2])), []
    for t in range(x.shape[1]):
        h = np.tanh(x[:, t] + h @ U)
        ys.append(h)
    g, zs = h, []
    for t in reversed(range(x.shape[1])):
        g = sigmoid(ys[t] + g @ U) * x[:, t]
        zs.append(g)
    return np.stack(zs[::-1], 1), g


def _outer(x):
    s = np.zeros(x.shape[0])
    for i in range(3):
        for t in range(x.shape[1]):
            s = np.sin(s) + x[:, t] * i
    return s
