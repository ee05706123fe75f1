#!/usr/bin/env bash
# optax 0.2.8: softmax_cross_entropy_with_integer_labels takes the label -1, which often stands for "no label", as the last class, while a label past the end is NaN.
set -euo pipefail
place="$(mktemp -d)"; trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q optax==0.2.8 jax==0.10.2 numpy==2.4.6
JAX_PLATFORMS=cpu "$place/venv/bin/python" - <<'PY'
import jax.numpy as jnp
import optax

loss = optax.softmax_cross_entropy_with_integer_labels
logits = jnp.array([0.0, 1.0, 3.0])
seen = {label: float(loss(logits, jnp.array(label))) for label in (-1, 2, 3)}
print(seen)
assert seen[-1] == seen[2] and seen[3] != seen[3]
PY
