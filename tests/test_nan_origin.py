"""NaN put into ten specs at five places each: each ends the run in its own step, with the line that made it and the row
of the batch that it came from."""

from __future__ import annotations

import re

import dlc
import numpy as np
import pytest
from dlc.runtime import random

# `@` marks a place: there something is added that is 0 unless the row's `p` is 0. An `@` after `:` says how the value
# has its rows: `@k` of [batch, k], `@t` of [batch], `@i` of [batch, c, h, w].
FORMS = {
    "k": ("0.0 * log(p)[:, none]", "(1.0 / p - 1.0)[:, none] * 0.0", "sqrt(p - 1.0)[:, none]"),
    "t": ("0.0 * log(p)", "(1.0 / p - 1.0) * 0.0", "sqrt(p - 1.0)"),
    "i": ("0.0 * log(p)[:, none, none, none]", "(1.0 / p - 1.0)[:, none, none, none] * 0.0"),
}
CLASSES = """    y ~ categorical(logits = z)
    output o = z
"""
SPECS = {
    "perceptron": """    input x: float[batch, 6]
    a = x @k
    b = (a |> dense(8)) @k
    c = tanh(b) @k
    z = (c |> dense(3)) @k
    extra = 0.5 * x[:, 0] @t
    loss e = mean(extra)
""" + CLASSES,
    "regression": """    input x: float[batch, 6]
    a = 2 * x @k
    m = (a |> dense(1))[:, 0] @t
    s = exp(0.1 * m) @t
    q = softplus(s) @t
    u = m * q @t
    loss = mean((u - x[:, 0])^2)
    output o = m
""",
    "convolution": """    input x: float[batch, 1, 8, 8]
    a = x @i
    b = (a |> conv(4, kernel = 3, pad = 1)) @i
    c = relu(b) @i
    d = (c |> max_pool(2)) @i
    f = rearrange(d, "b c i j -> b (c i j)")
    z = (f |> dense(3)) @k
""" + CLASSES,
    "normalised": """    input x: float[batch, 6]
    a = (x |> dense(8)) @k
    b = (a |> batch_norm()) @k
    c = gelu(b) @k
    d = (c |> layer_norm()) @k
    z = (d |> dense(3)) @k
""" + CLASSES,
    "residual": """    input x: float[batch, 6]
    h = x @k
    for i in 0..2 {
        g = (h |> dense(6)) @k
        h = h + relu(g) @k
    }
    r = h * 0.5 @k
    z = (r |> dense(3)) @k
""" + CLASSES,
    "recurrent": """    input x: float[batch, 6]
    param W: float[6, 5] init glorot_uniform
    param U: float[5, 5] init glorot_uniform
    a = x @k
    scan t over 0..3 {
        state h: float[batch, 5] = 0
        v = (a @ W) @k
        u = (h @ U) @k
        h <- tanh(u + v) @k
    }
    z = (h |> dense(3)) @k
""" + CLASSES,
    "drawn": """    input x: float[batch, 6]
    m = (x |> dense(4)) @k
    s = (x |> dense(4)) @k
    e = normal_like(m) @k
    h = m + exp(0.1 * s) * e @k
    z = (h |> dense(3)) @k
""" + CLASSES,
    "gated": """    input x: float[batch, 6]
    a = (x |> dense(8)) @k
    g = sigmoid(a[:, :4]) @k
    h = g * tanh(a[:, 4:]) @k
    w = softmax(h) @k
    z = (w |> dense(3)) @k
""" + CLASSES,
    "embedded": """    input x: float[batch, 6]
    i = argmax(x, axis = 1)
    v = (i |> embedding(6, 5)) @k
    a = v * v @k
    b = concat([v, a], axis = 1) @k
    c = where(b > 0, b, 0.1 * b) @k
    z = (c |> dense(3)) @k
""" + CLASSES,
    "distances": """    input x: float[batch, 6]
    param c: float[3, 6] init glorot_uniform
    a = x @k
    d = (sum(a^2, axis = 1)) @t
    s = a @ transpose(c) @k
    n = logsumexp(s, axis = 1) @t
    z = s - (d + n)[:, none] @k
""" + CLASSES,
}  # fmt: skip
MARK = re.compile(r" @([kti])$", re.M)
PLACES = [(name, place) for name in SPECS for place in range(5)]


def poisoned(name: str, place: int) -> tuple[str, int]:
    """The spec with one place poisoned, and the line of it."""
    text = f"model m {{\n    input p: float[batch]\n    target y: int[batch]\n{SPECS[name]}}}\n"
    text += "train { minimize loss using adam(1e-3); batch: 8; epochs: 2 }\n"
    marks = list(MARK.finditer(text))
    assert len(marks) == 5, (name, len(marks))
    form = FORMS[marks[place][1]]
    chosen = form[(place + len(name)) % len(form)]
    line = text[: marks[place].start()].count("\n") + 1
    for number, mark in reversed(list(enumerate(marks))):
        text = text[: mark.start()] + (f" + {chosen}" if number == place else "") + text[mark.end() :]
    return text, line


@pytest.mark.parametrize(("name", "place"), PLACES)
def test_the_line_and_the_row(name: str, place: int) -> None:
    text, line = poisoned(name, place)
    trainer = dlc.Trainer(dlc.compile(text), device="cpu", seed=1)
    draw = np.random.default_rng(place)
    shape = (8, 1, 8, 8) if name == "convolution" else (8, 6)
    for step in range(1, 4):
        p = np.ones(8, np.float32)
        row = int(draw.integers(8))
        p[row] = 0.0 if step == 3 else 1.0
        batch = {"x": draw.normal(size=shape).astype(np.float32), "p": p, "y": draw.integers(0, 3, 8)}
        batch = {name: array for name, array in batch.items() if name in {field.name for field in trainer.inputs}}
        if step < 3:
            trainer.step(batch)
            continue
        before = {name: array.tobytes() for name, array in trainer.state.items()}
        with pytest.raises(dlc.Error) as caught:
            trainer.step(batch)
        problem = caught.value
        assert problem.code == "E0670" and "at step 3" in problem.message, problem
        assert problem.where is not None and problem.where.split(":")[-2] == str(line), (problem, text)
        assert any(note == f"in row {row} of the batch, counted from 0" for note in problem.notes), problem
        assert before == {name: array.tobytes() for name, array in trainer.state.items()}


BEHIND = """fn bad(x, p) = x
derivative bad(g, y, x, p) = g / p[:, none]
model m {
    input  x: float[batch, 6]
    input  p: float[batch]
    target y: int[batch]
    h = tanh(x |> dense(4))
    z = bad(h, p) |> dense(3)
    y ~ categorical(logits = z)
    output o = z
}
train { minimize loss using sgd(1e-3); batch: 8; epochs: 3; seed: 3 }
"""


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_gradient_behind_a_finite_loss_is_traced_to_its_step(epoch: int) -> None:
    """The loss shows it a step later: the error says where it began, and the row that did it."""
    draw = np.random.default_rng(0)
    data = {
        "x": draw.normal(size=(160, 6)).astype(np.float32),
        "p": np.ones(160, np.float32),
        "y": draw.integers(0, 3, 160),
    }
    order = random.permutation(160, seed=3, purpose=random.ORDER, turn=epoch)
    other = random.permutation(160, seed=3, purpose=random.ORDER, turn=0)
    place = 8 * 12 + 5  # the sixth row of the thirteenth batch
    row = int(order[place])
    data["p"][row] = 0.0
    trainer = dlc.Trainer(dlc.compile(BEHIND), device="cpu")
    with pytest.raises(dlc.Error) as caught:
        trainer.fit(data)
    step, at = (13, 5) if epoch == 0 else divmod(int(np.flatnonzero(other == row)[0]), 8)
    step = step if epoch == 0 else step + 1
    problem = caught.value
    assert re.match(rf"`dense\.[Wb]` is (NaN|infinite) at step {step}, after a finite loss", problem.message), problem
    assert problem.where is not None and problem.where.split(":")[-2] == "2"
    assert f"in row {at} of the batch, counted from 0" in problem.notes
    assert all(np.isfinite(array).all() for array in trainer.state.values())
