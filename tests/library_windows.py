"""What the layers over windows and sequences compute, in plain NumPy: references of library_cases.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special


def convolved(x: Any, W: Any, stride: int = 1, pad: int = 0, dilation: int = 1, groups: int = 1) -> Any:
    """Each place of the kernel adds its products with the part of x that it meets."""
    space = range(W.ndim - 2)
    x = np.pad(x, [(0, 0), (0, 0), *[(pad, pad)] * len(space)])
    sizes = [(x.shape[2 + i] - dilation * (W.shape[2 + i] - 1) - 1) // stride + 1 for i in space]
    y = np.zeros((x.shape[0], W.shape[0], *sizes))
    for place in np.ndindex(W.shape[2:]):
        cut = tuple(
            slice(dilation * k, dilation * k + stride * (size - 1) + 1, stride)
            for k, size in zip(place, sizes, strict=True)
        )
        parts = (np.split(np.arange(n), groups) for n in (x.shape[1], W.shape[0]))
        for read, made in zip(*parts, strict=True):
            kernel = W[(made, slice(None), *place)]
            y[:, made] += np.einsum("bn...,on->bo...", x[:, read][(..., *cut)], kernel)
    return y


def spread(x: Any, W: Any, stride: int = 1, pad: int = 0, output_pad: int = 0) -> Any:
    """The adjoint: each element of x adds the kernel, times itself, where it stands."""
    sizes = [(n - 1) * stride + k for n, k in zip(x.shape[2:], W.shape[2:], strict=True)]
    y = np.zeros((x.shape[0], W.shape[1], *[size + output_pad for size in sizes]))
    for place in np.ndindex(W.shape[2:]):
        cut = tuple(slice(k, k + stride * (n - 1) + 1, stride) for k, n in zip(place, x.shape[2:], strict=True))
        y[(..., *cut)] += np.einsum("bn...,no->bo...", x, W[(..., *place)])
    return y[(..., *[slice(pad, size - pad) for size in y.shape[2:]])]


def tiled(x: Any, kernels: dict[tuple[int, ...], tuple[Any, Any]], tile: int, pad: int) -> Any:
    """Place by place: the convolution with the kernel of its part."""
    whole = {part: along_channels(convolved(x, W, pad=pad), b) for part, (W, b) in kernels.items()}
    y = np.empty_like(next(iter(whole.values())))
    for index in np.ndindex(y.shape[2:]):
        y[(..., *index)] = whole[tuple(i % tile for i in index)][(..., *index)]
    return y


def along_channels(y: Any, b: Any) -> Any:
    return y + b.reshape(-1, *[1] * (y.ndim - 2))


def averaged_in_bins(x: Any, out: int) -> Any:
    for axis in range(2, x.ndim):
        n = x.shape[axis]
        parts = [x.take(range(j * n // out, -(-(j + 1) * n // out)), axis).mean(axis) for j in range(out)]
        x = np.stack(parts, axis)
    return x


def recurrent(layer: str, x: Any, W: Any, U: Any, b: Any) -> Any:
    """One sequence x: float[time, n] through a layer."""
    hidden = U.shape[0]
    h, c, ys = np.zeros(hidden), np.zeros(hidden), []
    for row in x:
        if layer == "rnn":
            h = np.tanh(row @ W + h @ U + b)
        elif layer == "lstm":
            i, f, g, o = np.split(row @ W + h @ U + b, 4)
            c = special.expit(f) * c + special.expit(i) * np.tanh(g)
            h = special.expit(o) * np.tanh(c)
        else:
            (z, r, n), (hz, hr, hn) = np.split(row @ W + b, 3), np.split(h @ U, 3)
            z = special.expit(z + hz)
            h = (1 - z) * np.tanh(n + special.expit(r + hr) * hn) + z * h
        ys.append(h)
    return np.array(ys).reshape(len(ys), hidden)


def sequences(layer: str, x: Any, W: Any, U: Any, b: Any, lengths: Sequence[int] | None = None, turn: int = 1) -> Any:
    """Each row as if it stood alone and ended at its length, from its end where `turn` is −1."""
    y = np.zeros((*x.shape[:2], U.shape[0]))
    for row in range(len(x)):
        length = x.shape[1] if lengths is None else lengths[row]
        y[row, :length] = recurrent(layer, x[row, :length][::turn], W, U, b)[::turn]
    return y
