"""A small spec whose target is held to a support, and how its data are refused."""

from __future__ import annotations

from typing import Any

import dlc
import numpy as np
import pytest

X = np.random.default_rng(0).normal(size=(4, 2)).astype("float32")


def spec(line: str, of_y: str = "float[batch]", of_x: str = "float[batch, 2]") -> str:
    return f"""model m {{
    input x: {of_x}
    target y: {of_y}
    w = x @ stack([stack([1.0, 0.5]), stack([0.0, 1.0])])
    param a: float init ones
    z = a * w[:, 0]
    loss start = 0 * a^2
    {line}
    output p = z
}}
train {{
    minimize loss using sgd(0.0)
    batch: all
    epochs: 1
}}
"""


def compiled(line: str, of_y: str = "float[batch]") -> dlc.Trainer:
    return dlc.Trainer(dlc.compile(spec(line, of_y)))


def refused(trainer: dlc.Trainer, data: Any, run: str = "fit") -> dlc.Error:
    with pytest.raises(dlc.Error) as caught:
        getattr(trainer, run)(data)
    assert caught.value.code == "E0620"
    return caught.value
