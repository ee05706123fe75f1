"""What augmentation draws in training, against closed forms and distributions; it does nothing elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlc
import numpy as np
import onnxruntime
import pytest
from library_sweep import Compiled
from scipy import ndimage, stats

ROWS = 3000
LAYERS = {  # of images of 3 channels
    "flip": "random_flip()",
    "upside down": "random_flip(rate = 0.3, axis = 2)",
    "crop": "random_crop(pad = 2)",
    "reflected": 'random_crop(pad = 2, mode = "reflect")',
    "rotation": "random_rotation(30)",
    "jitter": "jitter(0.4, 0.3, 0.5)",
    "cutout": "cutout(3)",
    "erasing": "random_erasing()",
    "mask": "random_mask(3, count = 2, axis = 2)",
}


def augmented(layer: str, x: Any, y: Any = None, extra: str = "") -> dict[str, Any]:
    """What a training pass makes, and a prediction (`plain`)."""
    arguments = "x" if y is None else "x, y"
    names = ["u"] if y is None else ["u", "v"]
    dims = {
        name: ", ".join(["batch", *map(str, array.shape[1:])])
        for name, array in (("x", x), ("y", y))
        if array is not None
    }
    kinds = {
        name: "int" if array.dtype.kind == "i" else "float" for name, array in (("x", x), ("y", y)) if array is not None
    }
    text = "model m {\n" + "\n".join(f"input {name}: {kinds[name]}[{dims[name]}]" for name in dims)
    text += f"\nf = {layer}\n{', '.join(names)} = f({arguments}, training = true)\n"
    text += f"{', '.join('plain_' + name for name in names)} = f({arguments})\n{extra}"
    text += "\n".join(f"output {prefix}{name} = {prefix}{name}" for name in names for prefix in ("", "plain_")) + "\n}"
    spec = Compiled(text)
    values = {"x": x} | ({} if y is None else {"y": y})
    found = spec({**spec.variables, **values})
    session = onnxruntime.InferenceSession(spec.model.SerializeToString(), providers=["CPUExecutionProvider"])
    for output, made in zip(session.get_outputs(), session.run(None, values), strict=True):
        np.testing.assert_allclose(made, found[output.name], atol=1e-12, rtol=1e-12, err_msg=output.name)
    return found


def images(rows: int = ROWS, c: int = 3, h: int = 6, w: int = 5) -> Any:
    return np.random.default_rng(0).uniform(0, 1, (rows, c, h, w)).astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_nothing_happens_outside_training(layer: str) -> None:
    found = augmented(layer, images(40))
    np.testing.assert_array_equal(found["plain_u"], images(40).astype(found["plain_u"].dtype))
    assert not np.array_equal(found["u"], found["plain_u"]) and found["u"].shape == found["plain_u"].shape


@pytest.mark.parametrize(("axis", "rate"), [(3, 0.5), (2, 0.3), (1, 0.9)])
def test_flips(axis: int, rate: float) -> None:
    x = images()
    u = augmented(f"random_flip(rate = {rate}, axis = {axis})", x)["u"]
    turned = (u == np.flip(x, axis)).all((1, 2, 3))
    assert ((u == x).all((1, 2, 3)) ^ turned).all()
    assert stats.binomtest(int(turned.sum()), ROWS, rate).pvalue > 0.01
    both = turned[1:] & turned[:-1]  # rows draw apart
    assert stats.binomtest(int(both[::2].sum()), len(both[::2]), rate**2).pvalue > 0.01


def test_flips_of_rows_and_sequences() -> None:
    x = images()[:, 0, :, 0]
    u = augmented("random_flip()", x)["u"]
    turned = (u == x[:, ::-1]).all(1)
    assert ((u == x).all(1) ^ turned).all() and stats.binomtest(int(turned.sum()), ROWS, 0.5).pvalue > 0.01


@pytest.mark.parametrize(
    ("mode", "said"), [("constant", ", value = 0.25"), ("reflect", ', mode = "reflect"'), ("edge", ', mode = "edge"')]
)
@pytest.mark.parametrize("size", [(6, 5), (4, 5), (3, 3)])
def test_every_place_of_a_crop_is_as_likely(mode: str, said: str, size: tuple[int, int]) -> None:
    x, (h, w) = images(), size
    found = augmented(f"random_crop(pad = 2, size = [{h}, {w}]{said})", x)
    wide = np.pad(
        x, ((0, 0), (0, 0), (2, 2), (2, 2)), mode=mode, **({"constant_values": 0.25} if mode == "constant" else {})
    )
    parts = np.lib.stride_tricks.sliding_window_view(wide, (h, w), (2, 3)).transpose(2, 3, 0, 1, 4, 5)
    same = (parts == found["u"]).all((3, 4, 5))  # [down, across, rows]
    assert (same.sum((0, 1)) == 1).all()
    counts = same.sum(2).ravel()
    assert stats.chisquare(counts).pvalue > 0.01
    top, left = (6 - h) // 2, (5 - w) // 2
    np.testing.assert_array_equal(found["plain_u"], x[:, :, top : top + h, left : left + w])


def test_a_crop_larger_than_the_image_is_refused() -> None:
    with pytest.raises(dlc.Error) as caught:
        augmented("random_crop(size = 9)", images(4))
    assert caught.value.records()[0]["code"].startswith("E03")


def test_numbers_between_places() -> None:
    rng = np.random.default_rng(0)
    x, i, j = images(20), rng.uniform(-2, 8, (20, 4, 3)), rng.uniform(-2, 8, (20, 4, 3))
    text = """model m { input x: float[batch, 3, 6, 5]; input i: float[batch, 4, 3]; input j: float[batch, 4, 3]
        output u = between_places(x, i, j, value = 0.5) }"""
    found = Compiled(text)({"x": x, "i": i, "j": j})["u"]
    for row in range(20):
        for c in range(3):
            at = np.stack([i[row], j[row]])
            right = ndimage.map_coordinates(x[row, c], at, order=1, mode="grid-constant", cval=0.5)
            np.testing.assert_allclose(found[row, c], right, atol=1e-12)


def test_rotations_are_uniform_and_turn_around_the_middle() -> None:
    """Of the two slopes of an image: linear interpolation keeps them exactly inside, and the middle says the angle."""
    h, w = 9, 7
    i, j = np.mgrid[:h, :w] - np.array([(h - 1) / 2, (w - 1) / 2])[:, None, None]
    u = augmented("random_rotation(40)", np.broadcast_to(np.stack([i, j]), (ROWS, 2, h, w)).copy())["u"]
    right = u[:, :, h // 2, w // 2 + 1]  # where one to the right of the middle comes from: (-sin, cos)
    angle = np.arctan2(-right[:, 0], right[:, 1])
    np.testing.assert_allclose(np.hypot(*right.T), 1, rtol=1e-5)
    assert stats.kstest(angle, stats.uniform(-np.radians(40), 2 * np.radians(40)).cdf).pvalue > 0.01
    for k in range(20):
        turn = np.array([[np.cos(angle[k]), -np.sin(angle[k])], [np.sin(angle[k]), np.cos(angle[k])]])
        x = np.stack([i, j])
        at = np.einsum("ab,bij->aij", turn, x) + np.array([(h - 1) / 2, (w - 1) / 2])[:, None, None]
        for c in range(2):
            right = ndimage.map_coordinates(x[c], at, order=1, mode="grid-constant")
            np.testing.assert_allclose(u[k, c], right, atol=1e-6)


def test_a_quarter_turn() -> None:
    x = images(5, h=6, w=6)
    text = """model m { input x: float[batch, 3, 6, 6]
        i, j = arange(6)[:, none] + zeros_like(x[:, 0]), arange(6) + zeros_like(x[:, 0])
        output u = between_places(x, 5.0 - j, 1.0 * i) }"""
    np.testing.assert_allclose(Compiled(text)({"x": x})["u"], np.rot90(x, -1, (2, 3)), atol=1e-12)


def grey(x: Any) -> Any:
    return np.tensordot([0.299, 0.587, 0.114], x, (0, 1))[:, None] if x.shape[1] == 3 else x.mean(1, keepdims=True)


@pytest.mark.parametrize(
    ("what", "channels"),
    [("brightness", 1), ("contrast", 1), ("brightness", 3), ("contrast", 3), ("saturation", 3), ("saturation", 4)],
)
def test_jitter(what: str, channels: int) -> None:
    """The factor of each image, of what it moves away from; with no bounds near, it is the same at all positions."""
    x = images(c=channels)
    u = augmented(f"jitter({what} = 0.3, low = -9, high = 9)", x)["u"]
    base = {
        "brightness": 0 * x,
        "contrast": grey(x).mean((1, 2, 3), keepdims=True) + 0 * x,
        "saturation": grey(x) + 0 * x,
    }[what]
    factor = ((u - base) * (x - base)).sum((1, 2, 3)) / ((x - base) ** 2).sum((1, 2, 3))
    np.testing.assert_allclose(u, base + factor[:, None, None, None] * (x - base), atol=1e-9)
    assert stats.kstest(factor, stats.uniform(0.7, 0.6).cdf).pvalue > 0.01
    inside = augmented(f"jitter({what} = 0.3)", x)["u"]
    assert inside.min() >= 0 and inside.max() <= 1
    np.testing.assert_allclose(inside, np.clip(u, 0, 1), atol=1e-12)  # the same place in a text draws the same


def boxes(changed: Any) -> Any:
    """First and last row and column of what changed in each image, which is all of that rectangle: [rows, 4]."""
    found = np.full((len(changed), 4), -1)
    for k, one in enumerate(changed):
        if one.any():
            i, j = np.nonzero(one.any(1))[0], np.nonzero(one.any(0))[0]
            assert one[i[0] : i[-1] + 1, j[0] : j[-1] + 1].all() and one.sum() == (np.ptp(i) + 1) * (np.ptp(j) + 1)
            found[k] = i[0], i[-1], j[0], j[-1]
    return found


@pytest.mark.parametrize("side", [3, 4])
def test_cutout(side: int) -> None:
    """A square around any position, cut at the edges."""
    x = images() + 1
    u = augmented(f"cutout({side})", x)["u"]
    gone = (u == 0).all(1)
    np.testing.assert_array_equal(np.where(gone[:, None], 0, x), u)
    got = {tuple(box) for box in boxes(gone)}
    half = side // 2
    ends = [[(max(k - half, 0), min(k - half + side, n) - 1) for k in range(n)] for n in (6, 5)]
    counts = {(*a, *b): 0 for a in ends[0] for b in ends[1]}
    assert got <= counts.keys()
    for box in boxes(gone):
        counts[tuple(box)] += 1
    likely = {key: sum((*a, *b) == key for a in ends[0] for b in ends[1]) * ROWS / 30 for key in counts}
    assert stats.chisquare([*counts.values()], [*likely.values()]).pvalue > 0.01


def test_erasing() -> None:
    h, w = 40, 60
    x = np.ones((ROWS, 1, h, w))
    u = augmented("random_erasing(rate = 0.7, least = 0.05, most = 0.2, ratio = 0.5, value = -1)", x)["u"]
    at = boxes(u[:, 0] == -1)
    erased = at[:, 0] >= 0
    assert stats.binomtest(int(erased.sum()), ROWS, 0.7).pvalue > 0.01
    at = at[erased]
    high, wide = at[:, 1] - at[:, 0] + 1, at[:, 3] - at[:, 2] + 1
    share = high * wide / (h * w)
    assert stats.kstest(share, stats.uniform(0.05, 0.15).cdf).statistic < 0.03  # sides are whole numbers
    assert stats.kstest(np.log(high / wide), stats.uniform(np.log(0.5), 2 * np.log(2)).cdf).statistic < 0.05
    for first, n in ((at[:, 0], h - high + 1), (at[:, 2], w - wide + 1)):  # any place in the image
        assert (first >= 0).all() and (first < n).all()
        spread = (first + np.random.default_rng(0).uniform(size=len(first))) / n
        assert stats.kstest(spread, stats.uniform.cdf).pvalue > 0.01


def test_cutmix_mixes_targets_by_the_area() -> None:
    h, w, rows = 16, 12, 400
    x = np.broadcast_to(np.arange(rows)[:, None, None, None], (rows, 2, h, w)).astype(np.float64)
    y = np.eye(rows)
    found = augmented("cutmix(alpha = 0.7)", x, y)
    u, v = found["u"], found["v"]
    assert (u[:, 0] == u[:, 1]).all()
    others, sides = [], []
    for k in range(rows):
        strange = u[k, 0] != k
        [at] = boxes(strange[None])
        here = np.unique(u[k, 0][strange]).astype(int)
        assert len(here) <= 1
        area = strange.mean()
        right = np.eye(rows)[k] * (1 - area) + (area * np.eye(rows)[here[0]] if len(here) else 0)
        np.testing.assert_allclose(v[k], right, atol=1e-12)
        others += here.tolist()
        if len(here) and at[0] > 0 and at[1] < h - 1:
            sides.append((at[1] - at[0] + 1) / h)
    assert len(set(others)) == len(others) > rows / 2  # a permutation of the batch
    np.testing.assert_allclose(v.sum(1), 1, atol=1e-12)
    np.testing.assert_array_equal(found["plain_v"], y)
    np.testing.assert_array_equal(found["plain_u"], x)


def test_sides_of_cutmix_have_the_drawn_share() -> None:
    """Heights of what is put in, of images so wide that only heights are cut at edges, where they lie in the middle."""
    h = 400
    x = np.broadcast_to(np.arange(300)[:, None, None, None], (300, 1, h, 3)).astype(np.float64)
    u = augmented("cutmix(alpha = 1)", x, np.zeros((300, 1)))["u"][:, 0]
    strange = (u != np.arange(300)[:, None, None]).any(2)
    inside = strange[:, 0] | strange[:, -1]
    sides = strange.sum(1)[~inside] / h
    # A side s lies inside for centres of a share of 1 - s, and s = sqrt(share) has the density 2 s.
    seen = stats.kstest(sides[sides > 0.34], lambda s: (3 * s**2 - 2 * s**3 - c(0.34)) / (1 - c(0.34)))
    assert seen.pvalue > 0.01


def c(s: float) -> float:
    return 3 * s**2 - 2 * s**3


@pytest.mark.parametrize(("axis", "shape"), [(1, (9,)), (1, (9, 2)), (2, (3, 9)), (2, (2, 9, 2))])
def test_masks_of_neighbours(axis: int, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=(ROWS, *shape)) + 20
    u = augmented(f"random_mask(4, axis = {axis}, value = -1)", x)["u"]
    masked = np.moveaxis(u == -1, axis, 1).reshape(ROWS, 9, -1)
    assert (masked == masked[:, :, :1]).all()
    np.testing.assert_array_equal(np.where(u == -1, x, u), x)
    masked = masked[:, :, 0]
    counts = np.zeros((5, 9))
    for row in masked:
        n, first = int(row.sum()), int(np.argmax(row))
        assert row[first : first + n].all()
        counts[n, first] += 1
    assert stats.chisquare(counts.sum(1)).pvalue > 0.01
    for n in range(1, 5):
        assert stats.chisquare(counts[n, : 10 - n]).pvalue > 0.005 and not counts[n, 10 - n :].any()


def test_masks_of_words() -> None:
    x = np.arange(1, 8) + np.zeros((50, 1), np.int64)
    u = augmented("random_mask(3)", x)["u"]
    assert u.dtype.kind == "i" and ((u == 0) | (u == x)).all() and (u == 0).any()


@pytest.mark.parametrize("shape", [(7,), (7, 2), (7, 2, 3)])
def test_windows_of_steps(shape: tuple[int, ...]) -> None:
    x, y = np.random.default_rng(0).normal(size=(2, ROWS, *shape))
    found = augmented("random_window(4)", x, y[..., 0] if y.ndim > 2 else y)
    u, v = found["u"], found["v"]
    places = [first for row in range(ROWS) for first in range(4) if np.array_equal(u[row], x[row, first : first + 4])]
    assert len(places) == ROWS and stats.chisquare(np.bincount(places, minlength=4)).pvalue > 0.01
    own = y[..., 0] if y.ndim > 2 else y
    np.testing.assert_array_equal(v, np.stack([own[k, p : p + 4] for k, p in enumerate(places)]))
    np.testing.assert_array_equal(found["plain_u"], x)


def test_a_window_longer_than_the_sequences_is_refused() -> None:
    text = """model m { input x: float[batch, time, 2]; param w: float init ones
        loss = mean(w * random_window(4)(x)^2) }
    train { minimize loss using sgd(0.1) }"""
    trainer = dlc.Trainer(dlc.compile(text), device="cpu")
    trainer.step({"x": np.ones((3, 4, 2), np.float32)})
    with pytest.raises(dlc.Error) as caught:
        trainer.step({"x": np.ones((3, 3, 2), np.float32)})
    assert caught.value.code == "E0804"


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_gradients_pass(layer: str) -> None:
    """The derivative of a training pass by what was changed, along a direction, against a difference."""
    text = f"""model m {{ input x: float[batch, 3, 6, 5]; input d: float[batch, 3, 6, 5]; input e: float
        s = x + e * d
        f = {layer}
        u = f(s, training = true)
        total = sum(u * cos(7 * x))
        output value = total
        output slope = sum(grad(total, s) * d) }}"""
    spec = Compiled(text)
    rng = np.random.default_rng(1)
    values = {"x": 0.4 + 0.2 * images(30), "d": rng.normal(size=(30, 3, 6, 5))}
    at = {e: spec({**spec.variables, **values, "e": np.float64(e)}) for e in (-1e-6, 0, 1e-6)}
    assert abs((at[1e-6]["value"] - at[-1e-6]["value"]) / 2e-6 - at[0]["slope"]) < 1e-5 * max(1, abs(at[0]["slope"]))
    assert at[0]["slope"] != 0


SPEC = """model m {
    input x: float[batch, 1, 8, 8]
    target y: int[batch]
    h, t = x |> random_flip() |> random_crop(pad = 1) |> random_rotation(10) |> jitter(0.1, 0.1) |> cutout(2)
        |> random_erasing() |> cutmix()(one_hot(y, 10))
    logits = reshape(h |> conv(4, relu, pad = 1), [batch, 256]) |> dense(10)
    loss = mean(logsumexp(logits, axis = -1) - sum(t * logits, axis = -1))
    metric accuracy = accuracy(logits, y)
    output p = softmax(logits)
}
train { minimize loss using adam(1e-3); batch: 32; epochs: 3; seed: 4 }
"""


def test_a_resumed_run_draws_what_the_unbroken_one_does(tmp_path: Path) -> None:
    with np.load("specs/data/digits.npz") as held:
        data = {"x": held["x"][:200].reshape(-1, 1, 8, 8), "y": held["y"][:200]}
    whole = dlc.Trainer(dlc.compile(SPEC), device="cpu")
    whole.fit(data, steps=15)
    parts = dlc.Trainer(dlc.compile(SPEC), device="cpu")
    parts.fit(data, steps=4, run=tmp_path)
    resumed = dlc.Trainer.resume(next(tmp_path.iterdir()), device="cpu")
    resumed.fit(data, steps=11)
    for name in whole.state:
        np.testing.assert_array_equal(whole.state[name], resumed.state[name], err_msg=name)


def test_few_digits_are_read_as_well_or_better_with_augmentation() -> None:
    """specs/augmented.dl with and without it: by the same rows, the same start and as many updates."""
    text = Path("specs/augmented.dl").read_text("utf-8").replace('"data/digits.npz"', '"specs/data/digits.npz"')
    plain = text.replace(" |> random_rotation(10) |> random_crop(pad = 1)", "")
    assert plain != text
    reached = []
    for spec in (text, plain):
        trainer = dlc.Trainer(dlc.compile(spec), device="cpu")
        reached.append(trainer.fit().epochs[-1]["validation"]["accuracy"])
    print(f"with augmentation {reached[0]:.4f}, without {reached[1]:.4f}")
    assert reached[0] >= reached[1] and reached[0] > 0.97
