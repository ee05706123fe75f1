"""Attention and the blocks made of it in plain NumPy and as PyTorch's modules, for library_cases.py."""

from __future__ import annotations

from typing import Any

import numpy as np
from library_sweep import Case, Dims, normed, ranks
from scipy import special

# --- in NumPy: position by position, head by head


def rotated(x: Any) -> Any:
    """x: [..., time, d] as complex numbers times exp(i angle)."""
    d, z = x.shape[-1], x[..., 0::2] + 1j * x[..., 1::2]
    z = z * np.exp(1j * np.arange(x.shape[-2])[:, None] / 10000.0 ** (2 * np.arange(d // 2) / d))
    y = np.empty(x.shape)
    y[..., 0::2], y[..., 1::2] = z.real, z.imag
    return y


def sinusoids(time: int, n: int) -> Any:
    angles = [[t / 10000.0 ** (2 * (i // 2) / n) for i in range(n)] for t in range(time)]
    return np.array([[np.cos(a) if i % 2 else np.sin(a) for i, a in enumerate(row)] for row in angles]).reshape(time, n)


def attended(x: Any, y: Any, f: dict[str, Any], path: str = "", causal: bool = False, mask: Any = None) -> Any:
    """Two heads. mask: [batch, seen], 1 where a key counts, as the first always does."""

    def linear(z: Any, name: str) -> Any:
        return z @ f[f"{path}{name}.W"] + f[f"{path}{name}.b"]

    q, k, v = linear(x, "query"), linear(y, "key"), linear(y, "value")
    result, half = np.zeros(x.shape), x.shape[-1] // 2
    for row in range(len(x)):
        for part in (slice(0, half), slice(half, None)):
            for t in range(x.shape[1]):
                counts = [
                    s for s in range(y.shape[1]) if not (causal and s > t) and (mask is None or mask[row, s] or not s)
                ]
                weights = special.softmax(k[row, counts, part] @ q[row, t, part] / np.sqrt(half))
                result[row, t, part] = weights @ v[row, counts, part]
    return linear(result, "out")


def affine(x: Any, f: dict[str, Any], path: str) -> Any:
    return f[f"{path}.scale"] * normed(x, -1, 1e-5) + f[f"{path}.shift"]


def fed_forward(x: Any, f: dict[str, Any], path: str = "") -> Any:
    return np.tanh(x @ f[f"{path}up.W"] + f[f"{path}up.b"]) @ f[f"{path}down.W"] + f[f"{path}down.b"]


def encoded(x: Any, k: Any, **f: Any) -> Any:
    x = affine(x + attended(x, x, f, "attend.", mask=k), f, "norm1")
    return affine(x + fed_forward(x, f, "mix."), f, "norm2")


def decoded(x: Any, y: Any, **f: Any) -> Any:
    z = affine(x, f, "norm1")
    x = x + attended(z, z, f, "attend.", causal=True)
    x = x + attended(affine(x, f, "norm2"), y, f, "cross.")
    return x + fed_forward(affine(x, f, "norm3"), f, "mix.")


# --- PyTorch's


def attention_of_torch(
    torch: Any, x: Any, y: Any, f: dict[str, Any], path: str = "", heads: int = 2, **how: Any
) -> Any:
    made = torch.nn.MultiheadAttention(
        x.shape[-1], heads, kdim=y.shape[-1], vdim=y.shape[-1], batch_first=True
    ).double()
    if made._qkv_same_embed_dim:
        theirs = {"in_proj_weight": torch.cat([f[f"{path}{part}.W"].mT for part in ("query", "key", "value")])}
    else:
        theirs = {f"{part[0]}_proj_weight": f[f"{path}{part}.W"].mT for part in ("query", "key", "value")}
    theirs["in_proj_bias"] = torch.cat([f[f"{path}{part}.b"] for part in ("query", "key", "value")])
    theirs |= {"out_proj.weight": f[f"{path}out.W"].mT, "out_proj.bias": f[f"{path}out.b"]}
    return torch.func.functional_call(made, theirs, (x, y, y), {"need_weights": False, **how})[0]


def later(torch: Any, time: int, seen: int) -> Any:
    """PyTorch's mask is true where nothing is looked at."""
    return torch.arange(seen) > torch.arange(time)[:, None]


def padding(torch: Any, k: Any) -> Any:
    """Where PyTorch looks at no key: not at the first, since of no keys at all it makes NaN."""
    return (k == 0) & (torch.arange(k.shape[1]) > 0)


def block_of_torch(torch: Any, kind: str, f: dict[str, Any], x: Any, *others: Any, first: bool, **how: Any) -> Any:
    made = getattr(torch.nn, f"Transformer{kind}Layer")(
        x.shape[-1], 2, 3, 0.0, torch.tanh, batch_first=True, norm_first=first
    ).double()
    theirs = {}
    for ours, name in (("attend", "self_attn"), ("cross", "multihead_attn")):
        if f"{ours}.query.W" in f:
            inner = [f[f"{ours}.{part}.W"].mT for part in ("query", "key", "value")]
            theirs[f"{name}.in_proj_weight"] = torch.cat(inner)
            theirs[f"{name}.in_proj_bias"] = torch.cat([f[f"{ours}.{part}.b"] for part in ("query", "key", "value")])
            theirs[f"{name}.out_proj.weight"] = f[f"{ours}.out.W"].mT
            theirs[f"{name}.out_proj.bias"] = f[f"{ours}.out.b"]
    for number, ours in enumerate(("up", "down"), 1):
        theirs[f"linear{number}.weight"], theirs[f"linear{number}.bias"] = f[f"mix.{ours}.W"].mT, f[f"mix.{ours}.b"]
    for number in (1, 2, 3):
        if f"norm{number}.scale" in f:
            theirs[f"norm{number}.weight"] = f[f"norm{number}.scale"]
            theirs[f"norm{number}.bias"] = f[f"norm{number}.shift"]
    return torch.func.functional_call(made, theirs, (x, *others), how)


def sequences(*widths: str) -> Any:
    """Of x: [a, d, .], and of others: [a, e, .]."""
    return lambda number, count: [("a", "d" if at == 0 else "e", *width) for at, width in enumerate(widths)]


def first(x: Dims, *others: Dims) -> Dims:
    return x


AROUND: dict[str, Any] = {"least": {"a": 1, "d": 1, "e": 1}, "around": 0.0, "most": 24, "result": first}
PAIRS = "products and a softmax, which have their own"

# fmt: off
ATTENTION_CASES = {
    "attention": Case("out = f(x)", lambda x, **f: attended(x, x, f), layer="attention(2)", points=PAIRS,
                      shapes=sequences("4"), torch=lambda torch, x, **f: attention_of_torch(torch, x, x, f), **AROUND),
    "attention that is causal": Case(
        "out = f(x)", lambda x, **f: attended(x, x, f, causal=True), layer="attention(2, causal = true)",
        shapes=sequences("4"), torch=lambda torch, x, **f: attention_of_torch(
            torch, x, x, f, is_causal=True, attn_mask=later(torch, x.shape[1], x.shape[1])), **AROUND),
    "attention to a context": Case(
        "out = f(x, y)", lambda x, y, **f: attended(x, y, f), "x y", layer="attention(2)", shapes=sequences("4", "2"),
        torch=lambda torch, x, y, **f: attention_of_torch(torch, x, y, f), **AROUND),
    "attention to what counts": Case(
        "out = f(x, context = y, mask = (k > 0 or arange(size(k, 1)) == 0)[:, none])",
        lambda x, y, k, **f: attended(x, y, f, mask=k), "x y k", layer="attention(2)", shapes=sequences("4", "4", ()),
        high=2, torch=lambda torch, x, y, k, **f: attention_of_torch(
            torch, x, y, f, key_padding_mask=padding(torch, k)), **AROUND),
    "rotary": Case("out = rotary(x)", rotated, shapes=ranks(2, 5, ("4",)), most=24,
                   torch="PyTorch has none; as products of complex numbers in test_library.py",
                   points="sines and cosines of constants"),
    "sinusoidal_positions": Case("out = sinusoidal_positions(x)", lambda x: x + sinusoids(*x.shape[-2:]),
                                 shapes=ranks(2, 5), torch="PyTorch has none; number by number in test_library.py",
                                 points="sines and cosines of constants"),
    "learned_positions": Case("out = f(x)", lambda x, table: x + table[: x.shape[1]], layer="learned_positions(9)",
                              parameters=("table",), straight="table", shapes=lambda n, count: [("a", "d", "2")],
                              torch=lambda torch, x, table: x + table[: x.shape[1]], points="a row of a table"),
    "feed_forward": Case("out = f(x)", lambda x, **f: fed_forward(x, f), layer="feed_forward(3, activation = tanh)",
                         shapes=ranks(1, 5, ("#",)), points="made of dense layers",
                         torch=lambda torch, x, **f: torch.tanh(x @ f["up.W"] + f["up.b"]) @ f["down.W"] + f["down.b"]),
    "encoder_block": Case(
        "out = f(x, mask = (k > 0 or arange(size(k, 1)) == 0)[:, none])", encoded, "x k", high=2,
        layer="encoder_block(2, hidden = 3, activation = tanh, norm_first = false)", points=PAIRS,
        shapes=lambda n, count: [("a", "d", "4"), ("a", "d")],
        torch=lambda torch, x, k, **f: block_of_torch(
            torch, "Encoder", f, x, first=False, src_key_padding_mask=padding(torch, k)), **AROUND),
    "decoder_block": Case(
        "out = f(x, y)", decoded, "x y", layer="decoder_block(2, hidden = 3, activation = tanh)", points=PAIRS,
        shapes=sequences("4", "4"), torch=lambda torch, x, y, **f: block_of_torch(
            torch, "Decoder", f, x, y, first=True, tgt_mask=later(torch, x.shape[1], x.shape[1]), tgt_is_causal=True),
        **AROUND),
}
