"""The models in JAX: the loss of a batch as a function of parameters by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .start import resnet_blocks
from .workloads import Workload

Theta = dict[str, jax.Array]
Tree = Any  # a nest of arrays


def cross_entropy(logits: jax.Array, y: jax.Array) -> jax.Array:
    log_p = jax.nn.log_softmax(logits)
    return -jnp.mean(jnp.take_along_axis(log_p, y[..., None], axis=-1))


def dense(t: Theta, name: str, x: jax.Array) -> jax.Array:
    return x @ t[f"{name}.W"] + t[f"{name}.b"]


def perceptron(t: Theta, x: jax.Array, y: jax.Array, done: jax.Array, *, workload: Workload) -> jax.Array:
    last = len(workload.widths) - 2
    for i in range(last):
        x = jax.nn.relu(dense(t, str(i), x))
        if workload.dropout:
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(7), done), i)
            x = jnp.where(jax.random.bernoulli(key, 1 - workload.dropout, x.shape), x / (1 - workload.dropout), 0)
    loss = cross_entropy(dense(t, str(last), x), y)
    weights = [t[f"{i}.W"] for i in range(last + 1)]
    return loss + workload.l2 * sum(jnp.sum(w * w) for w in weights) if workload.l2 else loss


def residual(t: Theta, x: jax.Array, y: jax.Array, done: jax.Array, *, workload: Workload) -> jax.Array:
    for i in range(workload.depth):
        x = x + jax.nn.relu(dense(t, str(i), x))
    return jnp.mean((x - y) ** 2)


def scan(theta: Tree, x: jax.Array, y: jax.Array, done: jax.Array) -> jax.Array:
    x, _ = jax.lax.scan(lambda x, p: (x + jax.nn.relu(x @ p[0] + p[1]), None), x, theta)
    return jnp.mean((x - y) ** 2)


def conv(x: jax.Array, w: jax.Array, stride: int = 1, pad: int = 0) -> jax.Array:
    return jax.lax.conv_general_dilated(x, w, (stride, stride), ((pad, pad), (pad, pad)))


def pool(x: jax.Array) -> jax.Array:
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")


def lenet(t: Theta, x: jax.Array, y: jax.Array, done: jax.Array, *, workload: Workload) -> jax.Array:
    x = pool(jax.nn.relu(conv(x, t["conv1.W"], pad=2) + t["conv1.b"][:, None, None]))
    x = pool(jax.nn.relu(conv(x, t["conv2.W"]) + t["conv2.b"][:, None, None])).reshape(x.shape[0], -1)
    x = jax.nn.relu(dense(t, "dense2", jax.nn.relu(dense(t, "dense1", x))))
    return cross_entropy(dense(t, "dense3", x), y)


def resnet(t: Theta, x: jax.Array, y: jax.Array, done: jax.Array, *, workload: Workload) -> jax.Array:
    def unit(name: str, x: jax.Array, stride: int = 1, pad: int = 1) -> jax.Array:
        x = conv(x, t[f"{name}.W"], stride, pad)
        m, v = jnp.mean(x, (0, 2, 3), keepdims=True), jnp.var(x, (0, 2, 3), keepdims=True)
        scale, shift = t[f"{name}.scale"][:, None, None], t[f"{name}.shift"][:, None, None]
        return (x - m) * (scale * jax.lax.rsqrt(v + 1e-5)) + shift

    x = jax.nn.relu(unit("stem", x))
    for name, into, out in resnet_blocks():
        stride = 1 if into == out else 2
        h = unit(f"{name}.conv2", jax.nn.relu(unit(f"{name}.conv1", x, stride)))
        x = jax.nn.relu(h + (x if into == out else unit(f"{name}.short", x, stride, 0)))
    return cross_entropy(dense(t, "head", x.mean((2, 3))), y)


def lstm(t: Theta, x: jax.Array, y: jax.Array, done: jax.Array, *, workload: Workload) -> jax.Array:
    """The products with x are made at once, before the scan over time."""

    def cell(state: tuple[jax.Array, jax.Array], gates: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
        h, c = state
        i, f, g, o = jnp.split(gates + h @ t["U"], 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    zero = jnp.zeros((x.shape[0], t["U"].shape[0]), x.dtype)
    (h, _), _ = jax.lax.scan(cell, (zero, zero), jnp.swapaxes(x @ t["W"] + t["b"], 0, 1))
    return cross_entropy(dense(t, "head", h), y)


def gpt(t: Theta, tokens: jax.Array, following: jax.Array, done: jax.Array, *, workload: Workload) -> jax.Array:
    batch, time = tokens.shape
    heads = 4

    def norm(name: str, x: jax.Array) -> jax.Array:
        m, v = jnp.mean(x, -1, keepdims=True), jnp.var(x, -1, keepdims=True)
        return (x - m) * jax.lax.rsqrt(v + 1e-5) * t[f"{name}.scale"] + t[f"{name}.shift"]

    x = t["token"][tokens] + t["position"]
    for i in range(4):
        qkv = dense(t, f"{i}.project", norm(f"{i}.norm1", x)).reshape(batch, time, 3, heads, -1)
        h = jax.nn.dot_product_attention(*(qkv[:, :, j] for j in range(3)), is_causal=True)
        x = x + dense(t, f"{i}.join", h.reshape(batch, time, -1))
        h = jax.nn.gelu(dense(t, f"{i}.up", norm(f"{i}.norm2", x)), approximate=False)
        x = x + dense(t, f"{i}.down", h)
    return cross_entropy(norm("last", x) @ t["token"].T, following)


def contractive(t: Theta, x: jax.Array, y: jax.Array, done: jax.Array, *, workload: Workload) -> jax.Array:
    """The Jacobian of the code as its closed form says it, which is less work than differentiating for it."""
    h = jax.nn.sigmoid(dense(t, "encode", x))
    jacobian = (h * (1 - h))[:, :, None] * t["encode.W"].T
    logits = dense(t, "decode", h)
    rebuilding = x.shape[1] * jnp.mean(jax.nn.softplus(logits) - x * logits)
    return rebuilding + 0.1 * jnp.mean(jnp.sum(jacobian**2, axis=(1, 2)))


LOSSES: dict[str, Callable[..., jax.Array]] = {
    "perceptron": perceptron,
    "residual": residual,
    "lenet": lenet,
    "resnet": resnet,
    "lstm": lstm,
    "gpt": gpt,
    "contractive": contractive,
}
