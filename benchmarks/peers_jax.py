"""JAX: the whole step (forward, backward, update) under one jit with its buffers donated."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .jax_models import LOSSES, scan
from .start import start
from .workloads import Workload, batches, data

Tree = Any  # a nest of arrays


class Jax:
    """``scanned`` writes the deep model as a ``lax.scan`` over stacked weights: one layer is compiled, not 1,000."""

    def __init__(self, workload: Workload, scanned: bool = False) -> None:
        self.workload = workload
        self.feed = batches(*data(workload), workload.batch)
        theta: Tree = start(workload)
        if scanned:
            theta = tuple(
                np.stack([array for name, array in theta.items() if name.endswith(end)]) for end in (".W", ".b")
            )
        theta = jax.device_put(theta)
        zeros = partial(jax.tree.map, jnp.zeros_like)
        moments = {"sgd": (), "momentum": (zeros(theta),)}.get(workload.optimizer, (zeros(theta), zeros(theta)))
        loss = scan if scanned else partial(LOSSES[workload.family], workload=workload)
        self.state = (theta, moments, jnp.zeros((), jnp.int32))
        self.step = jax.jit(partial(step, loss=loss, workload=workload), donate_argnums=0)

    def run(self, steps: int) -> float:
        loss = jnp.zeros(())
        for _ in range(steps):
            x, y = next(self.feed)
            loss, self.state = self.step(self.state, x, y)
        jax.block_until_ready(self.state)
        return float(loss)


def step(state: Tree, x: jax.Array, y: jax.Array, *, loss: Any, workload: Workload) -> tuple[jax.Array, Tree]:
    """One update: the clip of the whole gradient, then Adam (Kingma and Ba 2015, algorithm 1), AdamW, momentum or
    SGD. Running statistics, which no loss reads, are left out: a favour to the peer."""
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
    if workload.optimizer == "momentum":
        v = jax.tree.map(lambda v, d: 0.9 * v + d, moments[0], g)
        return value, (jax.tree.map(lambda p, v: p - lr * v, theta, v), (v,), t)
    m = jax.tree.map(lambda m, d: 0.9 * m + 0.1 * d, moments[0], g)
    v = jax.tree.map(lambda v, d: 0.999 * v + 0.001 * d * d, moments[1], g)
    c1, c2, kept = 1 - 0.9**t, 1 - 0.999**t, 1 - lr * workload.decay
    theta = jax.tree.map(lambda p, m, v: p * kept - lr * (m / c1) / (jnp.sqrt(v / c2) + 1e-8), theta, m, v)
    return value, (theta, (m, v), t)


def cosine(t: jax.Array, workload: Workload) -> jax.Array:
    warmup = workload.warmup or 0
    decay = 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip((t - 1 - warmup) / (workload.planned - warmup), 0, 1)))
    return jnp.minimum(t / max(warmup, 1), 1) * decay
