"""Random specs: whole, well-typed texts, from the constructs of the other files random_*.py."""

from __future__ import annotations

import random
import re
from functools import partial

import random_along  # noqa: F401  (fills the table of constructs)
import random_control  # noqa: F401
import random_layers  # noqa: F401
import random_shelf  # noqa: F401
from random_constructs import BY_ROW, ELEMENTWISE, PAIRWISE, by_row, elementwise, pairwise
from random_draft import CONSTRUCTS, Draft, Unfit, Value
from shelf import TRAIN

# Every construct, and every line of those that have many: each has its turn.
TURNS = [
    *CONSTRUCTS,
    *(partial(elementwise, text=text) for text in ELEMENTWISE),
    *(partial(pairwise, text=text) for text in PAIRWISE),
    *(partial(by_row, text=text) for text in BY_ROW),
]


HALVED = "optimizer halved(inner)(theta, g, t) { theta <- inner(theta, clipped(g / 2), t) }"
NATURAL = "minimize loss over last.W using {}(source, by_head); minimize loss over last.b using sgd(1e-2)"
CLIPPED = "minimize loss using halved(sgd(1e-2)); clip: global_norm(1.0)"
GROUPS = "minimize loss over last.W using momentum(1e-2); minimize loss over last.b using adam(1e-2)"


def random_spec(seed: int) -> str:
    """The spec of a seed: a model with inputs, values, derivatives of first and second order, losses and training."""
    d = Draft(random.Random(seed))
    width, classes = d.random.randint(1, 4), d.random.randint(2, 4)
    inputs = [f"input x: float[batch, {width}]", f"input k: int[batch]   # below {classes}"]
    d.values += [Value("x", ("batch", width), 2.0), Value("k", ("batch",), classes, dtype="int")]
    for name, shape in (
        ("s", ("batch", "time", 2)),
        ("t", ("batch", 2, 3, 2)),
        ("r", ("batch", 2, 4)),
        ("q", (3,)),
        ("c", ()),
        ("w", (2, 3)),
    ):
        if d.random.random() < 0.55:
            inputs.append(f"input {name}: float[{', '.join(map(str, shape))}]")
            d.values.append(Value(name, shape, 2.0))
    inputs.append("target y: float[batch]")
    due = [TURNS[seed % len(TURNS)]]  # as soon as there is something that it fits
    wanted = d.random.randint(3, 9)
    made = tries = 0
    while made < wanted and tries < 60:
        tries += 1
        for make in (*due, d.random.choice(CONSTRUCTS)):
            try:
                make(d)
                made += 1
                due = [left for left in due if left is not make]
            except Unfit:
                pass
    floats = [v for v in d.values if v.dtype == "float"]
    terms = ["0.05 * sum(x^2)", *(f"mean({v} * {v})" for v in floats[-3:]), f"mean({floats[-1]})"]
    d.lines.append("total = " + " + ".join(terms))
    d.lines += [f"output {v} = {v}" for v in d.random.sample(d.values, min(2, len(d.values))) if v.name[0] == "v"]
    d.lines += ["output total = total", "dx = grad(total, x)", "output dx = dx"]
    if d.random.random() < 0.4:
        d.lines.append("output ddx = grad(sum(dx * sin(dx)), x)")
    _losses(d)
    train = d.random.choice(
        [*TRAIN.values(), GROUPS, CLIPPED, NATURAL.format("kfac"), NATURAL.format("diagonal_fisher")]
    )
    if "by_head" in train:
        d.lines.append("by_head = grad(mean(head^2), head)")
    used = {"*.W": "last.W", "not *.W": "last.b", "*.b": "last.b", "not *.b": "last.W"}  # what every loss depends on
    train = re.sub(r"(?<= over )(not )?\*\.[Wb]", lambda found: used[found[0]], train).replace("(z,", "(head,")
    if "newton" in train and any("laplace" in line for line in d.lines):  # whose second derivative is none
        train = TRAIN["sgd"]
    if train is CLIPPED:
        d.above["halved"] = HALVED
    body = "\n    ".join([*inputs, *d.lines])
    return "\n".join([*d.above.values(), f"model m {{\n    {body}\n}}", f"train {{ {train} }}", ""])


def _losses(d: Draft) -> None:
    """A likelihood of what is made row by row, and perhaps a term beside it."""
    rows = [
        v
        for v in d.values
        if v.dtype == "float" and v.rows and v.rank == 2 and v.shape[0] == "batch" and isinstance(v.shape[1], int)
    ]
    source = d.random.choice(rows)
    d.lines += ["last = dense(1)", f"source = 1 * {source}", "head = source |> last"]
    kind = d.random.choice(
        [
            "joint(normal(head[:, 0], 0.8))",
            "joint(laplace(head[:, 0], 0.8))",
            "weighted(joint(normal(head[:, 0], 0.8)), 1 / (1 + k^2))",
        ]
    )
    d.lines.append(f"y ~ {kind}")
    more = [v for v in d.values if v.dtype == "float" and v.rows and v.rank > 0 and v.shape[0] == "batch"]
    if d.random.random() < 0.5:
        d.lines.append(f"loss more = 0.3 * mean({d.random.choice(more)}^2)")
    d.lines.append(f"metric size = mean(abs({d.random.choice(rows)}))")
