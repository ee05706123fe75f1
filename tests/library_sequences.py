"""Recurrences, memories and losses of sequences in plain NumPy and as PyTorch has them, for library_cases.py."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
from library_sweep import Case, Dims, mean
from library_windows import sequences
from scipy import special

GATES = {"rnn": 1, "lstm": 4, "gru": 3}
ORDER = {"gru": [1, 0, 2]}  # of PyTorch's gates, among ours


def started(kind: str, x: Any, h: Any, c: Any, W: Any, U: Any, b: Any) -> Any:
    """All states and then the last ones, from states that are given."""
    ys = []
    for t in range(x.shape[1]):
        if kind == "rnn":
            h = np.tanh(x[:, t] @ W + h @ U + b)
        elif kind == "lstm":
            i, f, g, o = np.split(x[:, t] @ W + h @ U + b, 4, -1)
            c = special.expit(f) * c + special.expit(i) * np.tanh(g)
            h = special.expit(o) * np.tanh(c)
        else:
            (z, r, n), (hz, hr, hn) = np.split(x[:, t] @ W + b, 3, -1), np.split(h @ U, 3, -1)
            z = special.expit(z + hz)
            h = (1 - z) * np.tanh(n + special.expit(r + hr) * hn) + z * h
        ys.append(h)
    return np.stack([*ys, h, *([c] if kind == "lstm" else [])], 1)


def weights_of_torch(torch: Any, kind: str, f: dict[str, Any], at: str, suffix: str) -> dict[str, Any]:
    def theirs(w: Any) -> Any:
        parts = w.chunk(GATES[kind], -1)
        w = torch.cat([parts[i] for i in ORDER.get(kind, range(GATES[kind]))], -1)
        return w.mT if w.ndim > 1 else w

    return {
        f"weight_ih_{suffix}": theirs(f[f"{at}W"]),
        f"weight_hh_{suffix}": theirs(f[f"{at}U"]),
        f"bias_ih_{suffix}": theirs(f[f"{at}b"]),
        f"bias_hh_{suffix}": torch.zeros_like(f[f"{at}b"]),
    }


def started_of_torch(torch: Any, kind: str, x: Any, h: Any, c: Any, **f: Any) -> Any:
    made = getattr(torch.nn, kind.upper())(x.shape[-1], h.shape[-1], batch_first=True).double()
    start = (h[None], c[None]) if kind == "lstm" else h[None]
    weights = weights_of_torch(torch, kind, f, "", "l0")
    y, last = torch.func.functional_call(made, weights, (x, start))
    return torch.cat([y, *(state[0][:, None] for state in (last if kind == "lstm" else [last]))], 1)


def both_ways(kind: str, x: Any, f: dict[str, Any], at: str = "") -> Any:
    return np.concatenate(
        [
            sequences(kind, x, *(f[f"{at}{way}.{name}"] for name in "WUb"), turn=turn)
            for way, turn in (("ahead", 1), ("back", -1))
        ],
        -1,
    )


def layers_of_torch(torch: Any, kind: str, layers: int, x: Any, f: dict[str, Any], prefix: str) -> Any:
    made = getattr(torch.nn, kind.upper())(x.shape[-1], 2, layers, batch_first=True, bidirectional=True).double()
    weights: dict[str, Any] = {}
    for layer in range(layers):
        for way, suffix in (("ahead", f"l{layer}"), ("back", f"l{layer}_reverse")):
            weights |= weights_of_torch(torch, kind, f, f"{prefix.format(layer)}{way}.", suffix)
    return torch.func.functional_call(made, weights, (x,))[0]


def leaky(x: Any, W: Any, U: Any, b: Any, a: Any = None) -> Any:
    rate, h, ys = 0.4 if a is None else special.expit(a), np.zeros((len(x), len(b))), []
    for t in range(x.shape[1]):
        h = (1 - rate) * h + rate * np.tanh(x[:, t] @ W + h @ U + b)
        ys.append(h)
    return np.stack(ys, 1)


def skipping(x: Any, W: Any, U: Any, V: Any, b: Any) -> Any:
    ys = [np.zeros((len(x), len(b)))] * 2
    for t in range(x.shape[1]):
        ys.append(np.tanh(x[:, t] @ W + ys[-1] @ U + ys[-2] @ V + b))
    return np.stack(ys[2:], 1)


def read(x: Any, y: Any, **f: Any) -> Any:
    parts = [y @ f[f"part[{i}].W"] for i in range(3)]
    for keys, values in pairwise(parts):
        p = special.softmax(np.einsum("ben,bn->be", keys, x), -1)
        x = x + np.einsum("be,ben->bn", p, values)
    return x


def said(path: tuple[int, ...], blank: int) -> list[int]:
    """The labels of a path: neighbours that are equal are one, and blanks are none."""
    return [a for a, before in zip(path, (-1, *path[:-1]), strict=True) if a not in (before, blank)]


def spoken(x: Any, k: Any, blank: int = 2, lengths: Any = None, counts: Any = None) -> Any:
    """The sum over all paths, each by itself."""
    p, costs = special.softmax(x, -1), []
    for row in range(len(x)):
        length = x.shape[1] if lengths is None else lengths[row]
        label = list(k[row][: k.shape[1] if counts is None else counts[row]])
        paths = [q for q in product(range(x.shape[2]), repeat=length) if said(q, blank) == label]
        total = sum(np.prod([p[row, t, c] for t, c in enumerate(q)]) for q in paths)
        costs.append(-np.log(total) if paths else np.inf)
    return mean(np.array(costs))


def spoken_of_torch(torch: Any, x: Any, k: Any) -> Any:
    lengths = [torch.full((len(x),), size) for size in (x.shape[1], k.shape[1])]
    log_p = torch.log_softmax(x, -1).transpose(0, 1)
    return torch.nn.functional.ctc_loss(log_p, k, *lengths, blank=2, reduction="none").mean()


def kept(x: Dims, *others: Dims) -> Dims:
    return (*x[:-1], "2")


def from_states(kind: str) -> dict[str, Any]:
    """Of x: [a, d, 2] and the states [a, 2] before it."""
    names = "x y s" if kind == "lstm" else "x y"
    more = 2 if kind == "lstm" else 1
    return {
        "inputs": names,
        "shapes": lambda number, count: [("a", "d", "2"), *[("a", "2")] * more],
        "result": lambda x, *others: ("a", f"d + {more}", "2"),
        "layer": f"{kind}(2, last = true)",
    }


IN_TIME: dict[str, Any] = {
    "shapes": lambda number, count: [("a", "d", "2")],
    "result": kept,
    "least": {"a": 1, "d": 1},
    "around": 0.0,
    "most": 24,
}
STATES = "made of functions that have their own"
NONE = "PyTorch has none"
LAST = {
    "rnn": "o, h = f(x, start = y)\n    out = concat([o, h[:, none]], axis = 1)",
    "gru": "o, h = f(x, start = y)\n    out = concat([o, h[:, none]], axis = 1)",
    "lstm": "o, h, c = f(x, start = y, cell = s)\n    out = concat([o, h[:, none], c[:, none]], axis = 1)",
}

# fmt: off
SEQUENCE_CASES = {
    **{f"{kind} from a state": Case(
        body, lambda x, y, s=None, kind=kind, **f: started(kind, x, y, s, **f), parameters=("W", "U", "b"),
        points=STATES, torch=lambda torch, x, y, s=None, kind=kind, **f: started_of_torch(torch, kind, x, y, s, **f),
        **IN_TIME | from_states(kind)) for kind, body in LAST.items()},
    "bidirectional": Case("out = f(x)", lambda x, **f: both_ways("gru", x, f), layer="bidirectional(gru, 2)",
                          points=STATES, torch=lambda torch, x, **f: layers_of_torch(torch, "gru", 1, x, f, ""),
                          **IN_TIME | {"result": lambda x: (*x[:-1], "4")}),
    "stacked": Case("out = f(x)", lambda x, **f: both_ways("rnn", both_ways("rnn", x, f, "level[0]."), f, "level[1]."),
                    layer="stacked(rnn, 2, layers = 2, both = true, rate = 0.3)", points=STATES,
                    torch=lambda torch, x, **f: layers_of_torch(torch, "rnn", 2, x, f, "level[{}]."),
                    **IN_TIME | {"result": lambda x: (*x[:-1], "4")}),
    "leaky_rnn": Case("out = f(x)", leaky, layer="leaky_rnn(2, leak = 0.4)", parameters=("W", "U", "b"), points=STATES,
                      torch=NONE, **IN_TIME),
    "leaky_rnn that learns its leak": Case("out = f(x)", leaky, layer="leaky_rnn(2, learned = true)", torch=NONE,
                                           parameters=("W", "U", "b", "a"), points=STATES, **IN_TIME),
    "skip_rnn": Case("out = f(x)", skipping, layer="skip_rnn(2, skip = 2)", parameters=("W", "U", "V", "b"),
                     points=STATES, torch=NONE, **IN_TIME),
    "echo_state": Case("out = f(x)", leaky, layer="echo_state(2, leak = 0.4)", points=STATES, torch=NONE, **IN_TIME),
    "memory": Case("out = f(x, y)", read, "x y", shapes=lambda n, count: [("a", "3"), ("a", "e", "2")],
                   result=lambda x, y: x, layer="memory(hops = 2)", points=STATES, torch=NONE,
                   **{name: value for name, value in IN_TIME.items() if name in ("around", "most")}, least={"e": 1}),
    "ctc": Case("out = ctc(x, k, blank = 2)", spoken, "x k", shapes=lambda n, count: [("a", "4", "3"), ("a", "2")],
                result=lambda *shapes: (), high=2, most=24, least={"a": 1}, torch=spoken_of_torch,
                points="a recurrence of logsumexp, which has its own"),
}
