"""JAX: the whole step (forward, backward, update) under one jit with its buffers donated."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .workloads import Workload, batches, data, weights

Tree = Any   # a nest of arrays


class Jax:
    """``scanned`` writes the deep model as a ``lax.scan`` over stacked weights: one layer is compiled, not 1,000."""

    def __init__(self, workload: Workload, scanned: bool = False) -> None:
        self.workload = workload
        self.feed = batches(*data(workload), workload.batch)
        layers: Tree = weights(workload)
        if scanned:
            layers = (np.stack([w for w, _ in layers]), np.stack([b for _, b in layers]))
        theta = jax.device_put(layers)
        zeros = partial(jax.tree.map, jnp.zeros_like)
        moments = (zeros(theta), zeros(theta)) if workload.optimizer == "adam" else ()
        loss = (scan if scanned else deep) if workload.depth else partial(perceptron, workload=workload)
        self.state = (theta, moments, jnp.zeros((), jnp.int32))
        self.step = jax.jit(partial(step, loss=loss, workload=workload), donate_argnums=0)

    def run(self, steps: int) -> float:
        loss = jnp.zeros(())
        for _ in range(steps):
            x, y = next(self.feed)
            loss, self.state = self.step(self.state, x, y)
        jax.block_until_ready(self.state)
        return float(loss)


def perceptron(theta: Tree, x: jax.Array, y: jax.Array, done: jax.Array, *, workload: Workload) -> jax.Array:
    for i, (w, b) in enumerate(theta[:-1]):
        x = jax.nn.relu(x @ w + b)
        if workload.dropout:
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(7), done), i)
            x = jnp.where(jax.random.bernoulli(key, 1 - workload.dropout, x.shape), x / (1 - workload.dropout), 0)
    w, b = theta[-1]
    log_p = jax.nn.log_softmax(x @ w + b)
    loss = -jnp.mean(jnp.take_along_axis(log_p, y[:, None], axis=1))
    return loss + workload.l2 * sum(jnp.sum(w * w) for w, _ in theta) if workload.l2 else loss


def deep(theta: Tree, x: jax.Array, y: jax.Array, done: jax.Array) -> jax.Array:
    for w, b in theta:
        x = x + jax.nn.relu(x @ w + b)
    return jnp.mean((x - y) ** 2)


def scan(theta: Tree, x: jax.Array, y: jax.Array, done: jax.Array) -> jax.Array:
    x, _ = jax.lax.scan(lambda x, p: (x + jax.nn.relu(x @ p[0] + p[1]), None), x, theta)
    return jnp.mean((x - y) ** 2)


def step(state: Tree, x: jax.Array, y: jax.Array, *, loss: Any, workload: Workload) -> tuple[jax.Array, Tree]:
    """One update: the clip of the whole gradient, then Adam (Kingma and Ba 2015, algorithm 1) or SGD."""
    theta, moments, done = state
    value, g = jax.value_and_grad(loss)(theta, x, y, done)
    t = done + 1
    if workload.clip:
        norm = jnp.sqrt(sum(jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(g)))
        scale = jnp.minimum(1.0, workload.clip / norm)
        g = jax.tree.map(lambda leaf: leaf * scale, g)
    lr = workload.lr * (cosine(t, workload) if workload.cosine else 1.0)
    if not moments:
        return value, (jax.tree.map(lambda p, d: p - lr * d, theta, g), (), t)
    m = jax.tree.map(lambda m, d: 0.9 * m + 0.1 * d, moments[0], g)
    v = jax.tree.map(lambda v, d: 0.999 * v + 0.001 * d * d, moments[1], g)
    c1, c2 = 1 - 0.9 ** t, 1 - 0.999 ** t
    theta = jax.tree.map(lambda p, m, v: p - lr * (m / c1) / (jnp.sqrt(v / c2) + 1e-8), theta, m, v)
    return value, (theta, (m, v), t)


def cosine(t: jax.Array, workload: Workload) -> jax.Array:
    over = workload.planned - workload.warmup
    decay = 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip((t - workload.warmup) / over, 0, 1)))
    return jnp.minimum(t / workload.warmup, 1) * decay
