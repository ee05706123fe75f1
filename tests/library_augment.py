"""Augmentation, for library_cases.py: outside training rows come out as they are; its draws are in test_augment.py."""

from __future__ import annotations

from typing import Any

import numpy as np
from library_sweep import Case, ranks
from scipy import ndimage

ALONE = "the same as its input outside training; its draws in test_augment.py"
WHOLE: dict[str, Any] = {"torch": lambda torch, x: x, "points": ALONE}
IMAGES: dict[str, Any] = {"shapes": lambda number, count: [("a", "c", "d", "e")] * count, "most": 36}


def grey(x: Any) -> Any:
    return np.tensordot([0.299, 0.587, 0.114], x, (0, 1))[:, None]


def grey_of_torch(torch: Any, x: Any) -> Any:
    return torch.einsum("c,bcij->bij", x.new_tensor([0.299, 0.587, 0.114]), x)[:, None]


def between(x: Any) -> Any:
    """Of each channel at three places: in the middle of four numbers, at one of them, and half outside."""
    at = np.array([[0.5, 1.0, 1.5], [0.25, 1.0, 0.5]])
    found = [ndimage.map_coordinates(one, at, order=1, mode="grid-constant", cval=0.3) for one in x.reshape(-1, 2, 2)]
    return np.reshape(found, (*x.shape[:2], 1, 3))


def between_of_torch(torch: Any, x: Any) -> Any:
    at = x.new_tensor([[0.25, 0.5], [1.0, 1.0], [0.5, 1.5]]).expand(len(x), 1, 3, 2)
    return torch.nn.functional.grid_sample(x - 0.3, 2 * at - 1, align_corners=True, padding_mode="zeros") + 0.3


# fmt: off
AUGMENT_CASES = {
    "random_flip": Case("out = x |> random_flip(0.3)", lambda x: x, shapes=ranks(1), **WHOLE),
    "random_crop": Case("out = x |> random_crop(pad = 1, size = [1, 2])", lambda x: x[:, :, 1:2, 1:3],
                        shapes=lambda number, count: [("a", "c", "3", "4")], most=36,
                        result=lambda x: (*x[:2], "1", "2"), torch=lambda torch, x: x[:, :, 1:2, 1:3], points=ALONE),
    "random_rotation": Case("out = x |> random_rotation(30)", lambda x: x, **IMAGES, **WHOLE),
    "jitter": Case("out = x |> jitter(0.3, 0.2, 0.1)", lambda x: x, **IMAGES, **WHOLE),
    "cutout": Case("out = x |> cutout(2)", lambda x: x, **IMAGES, **WHOLE),
    "random_erasing": Case("out = x |> random_erasing()", lambda x: x, **IMAGES, **WHOLE),
    "cutmix": Case("u, v = cutmix()(x, y)\n    out = u * sin(v)", lambda x, y: x * np.sin(y), "x y", **IMAGES,
                   torch=lambda torch, x, y: x * torch.sin(y), points=ALONE),
    "random_mask": Case("out = x |> random_mask(2, count = 2)", lambda x: x, shapes=ranks(2), **WHOLE),
    "random_window": Case("u, v = random_window(2)(x, y)\n    out = u * v", lambda x, y: x * y, "x y",
                          shapes=ranks(2), torch=lambda torch, x, y: x * y, points=ALONE),
    "framed": Case("out = framed(x, 1, value = 0.5)",
                   lambda x: np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=0.5),
                   shapes=lambda number, count: [("a", "c", "2", "e")], most=24,
                   result=lambda x: (*x[:2], "4", "e + 2"), torch=lambda torch, x: torch.nn.functional.pad(
                       x, (1, 1, 1, 1), value=0.5), points="no arithmetic"),
    "at_places": Case("out = at_places(x, k)", lambda x, k: np.take_along_axis(
                          x.reshape(*x.shape[:2], 6), k.reshape(len(k), 1, 4), 2).reshape(*x.shape[:2], 2, 2),
                      "x k", shapes=lambda number, count: [("a", "c", "2", "3"), ("a", "2", "2")], high=6, most=36,
                      result=lambda x, k: (*x[:2], "2", "2"), torch=lambda torch, x, k: x.flatten(2).gather(
                          2, k.flatten(1)[:, None].expand(-1, x.shape[1], -1)).unflatten(2, (2, 2)),
                      points="no arithmetic"),
    "between_places": Case("o = zeros_like(x[:, 0, 0, 0])[:, none, none]\n    "
                           "out = between_places(x, o + stack([0.5, 1.0, 1.5]), o + stack([0.25, 1.0, 0.5]), 0.3)",
                           between, shapes=lambda number, count: [("a", "c", "2", "2")], most=24,
                           result=lambda x: (*x[:2], "1", "3"), torch=between_of_torch,
                           points="a mean of numbers that have no arithmetic"),
    "steps_at": Case("out = steps_at(x, k)", lambda x, k: np.take_along_axis(x, k[..., None], 1), "x k",
                     shapes=lambda number, count: [("a", "3", "e"), ("a", "2")], high=3, result=lambda x, k: (
                         x[0], "2", x[2]), torch=lambda torch, x, k: x.gather(
                             1, k[..., None].expand(-1, -1, x.shape[2])), points="no arithmetic"),
    "grey": Case("out = grey(x)", grey, shapes=lambda number, count: [("a", "3", "d", "e")], most=36,
                 result=lambda x: (x[0], "1", *x[2:]), torch=grey_of_torch, points="a sum of three"),
    "lerp": Case("out = lerp(x, y, s)", lambda x, y, s: x + s * (y - x), "x y s", points="a product",
                 torch=lambda torch, x, y, s: torch.lerp(x, y, s)),
    "to_rank": Case("out = to_rank(x[:, 0, 0], x)", lambda x: x[:, :1, :1], shapes=ranks(3, 3), least={"d": 1, "e": 1},
                    result=lambda x: (x[0], "1", "1"), torch=lambda torch, x: x[:, :1, :1], points="no arithmetic"),
    "each_row": Case("out = each_row(x)", lambda x: x[:, 0, 0], shapes=ranks(3, 3), least={"d": 1, "e": 1},
                     result=lambda x: x[:1], torch=lambda torch, x: x[:, 0, 0], points="no arithmetic"),
}
