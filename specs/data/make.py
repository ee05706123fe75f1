"""Writes the data beside it, the same bytes at every run: `python specs/data/make.py` (needs scikit-learn).

Digits, wines and patients come from scikit-learn, the Titanic from published counts; everything else is drawn here from
a fixed seed. (Penguins, sunspots, houses and languages are not made here.) Sources: LICENSES.md.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent


def digits() -> None:
    """1,797 handwritten digits of 8 x 8 pixels: x [1797, 64] in [0, 1], y [1797]."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    np.savez_compressed(FOLDER / "digits.npz", x=(x / 16).astype(np.float32), y=y.astype(np.int64))


def xor() -> None:
    rows = [[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]
    _csv("xor.csv", "x0,x1,y", rows, ["%d"] * 3)


def logistic() -> None:
    """400 rows of 4 standard normal features; y = 1 with probability sigmoid(x w + b)."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((400, 4))
    z = x @ [1.5, -2.0, 0.0, 0.7] - 0.3
    y = rng.uniform(size=400) < 1 / (1 + np.exp(-z))
    _csv("logistic.csv", "x0,x1,x2,x3,y", np.column_stack([x, y]), ["%.6f"] * 4 + ["%d"])


def linear() -> None:
    """200 rows of 8 features, two of them nearly the same; y = x w + b + noise of standard deviation 0.5."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((200, 8))
    x[:, 7] = x[:, 6] + 0.1 * x[:, 7]
    y = x @ [1.0, -1.0, 0.5, 0.0, 2.0, 0.0, 1.0, 1.0] + 0.7 + 0.5 * rng.standard_normal(200)
    np.savez_compressed(FOLDER / "linear.npz", x=x.astype(np.float32), y=y.astype(np.float32))


def poisson() -> None:
    """300 counts whose logarithm of the rate is linear in 3 features."""
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, (300, 3))
    y = rng.poisson(np.exp(x @ [0.8, -0.5, 0.3] + 1.0))
    _csv("poisson.csv", "x0,x1,x2,y", np.column_stack([x, y]), ["%.6f"] * 3 + ["%d"])


def force() -> None:
    """600 points of the Müller-Brown surface (Müller and Brown 1979, figure 1) where it is below 100, with its
    energy and force in units of 100."""
    rng = np.random.default_rng(4)
    height, a, b, c = [-200, -100, -170, 15], [-1, -1, -6.5, 0.7], [0, 0, 11, 0.6], [-10, -10, -6.5, 0.7]
    center_x, center_y = [1, 0, -0.5, -1], [0, 0.5, 1.5, 1]
    x = rng.uniform([-1.5, -0.5], [1.2, 2.0], (2000, 2))
    energy, force = np.zeros(len(x)), np.zeros(x.shape)
    for k in range(4):
        u, v = x[:, 0] - center_x[k], x[:, 1] - center_y[k]
        hill = height[k] * np.exp(a[k] * u**2 + b[k] * u * v + c[k] * v**2)
        energy += hill
        force -= hill[:, None] * np.stack([2 * a[k] * u + b[k] * v, b[k] * u + 2 * c[k] * v], axis=1)
    low = np.flatnonzero(energy < 100)[:600]
    np.savez_compressed(
        FOLDER / "force.npz",
        x=x[low].astype(np.float32),
        e=(energy[low] / 100).astype(np.float32),
        f=(force[low] / 100).astype(np.float32),
    )


def curve() -> None:
    """600 points around a parabola: x0 is standard normal, x1 = (x0^2 - 1) / 2 + noise of standard deviation 0.2."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((600, 2))
    x[:, 1] = (x[:, 0] ** 2 - 1) / 2 + 0.2 * x[:, 1]
    np.savez_compressed(FOLDER / "curve.npz", x=x.astype(np.float32))


def names() -> None:
    """800 sentences of 6 to 16 words out of 40, and a tag for each: 0 outside, 1 and 2 the first and the other words of
    a person, 3 and 4 those of a firm. Words 1 to 9 are names, of a person or a firm as words around them say: a firm
    ends in one of the words 10 to 12, which also stand elsewhere. One tag in thirty is any."""
    rng = np.random.default_rng(6)
    words, tags = np.zeros((800, 16), np.uint8), np.zeros((800, 16), np.uint8)
    lengths = rng.integers(6, 17, 800)
    for row, length in enumerate(lengths):
        at = 0
        while at < length:
            run = min(int(rng.integers(1, 4)), length - at)
            if rng.uniform() < 0.4:  # a name, with another word behind it
                firm = rng.uniform() < 0.5 and at + run < length
                words[row, at : at + run] = rng.integers(1, 10, run)
                tags[row, at : at + run] = 4 if firm else 2
                tags[row, at] = 3 if firm else 1
                at += run
                if firm:
                    words[row, at], tags[row, at] = rng.integers(10, 13), 4
                    at += 1
                elif at < length:
                    words[row, at] = rng.integers(13, 40)
                    at += 1
            else:
                words[row, at : at + run] = rng.integers(10, 40, run)
                at += run
    tags = np.where(rng.uniform(size=tags.shape) < 1 / 30, rng.integers(0, 5, tags.shape), tags).astype(np.uint8)
    np.savez_compressed(FOLDER / "names.npz", words=words, lengths=lengths.astype(np.uint8), tags=tags)


def ratings() -> None:
    """6,000 ratings of 100 films by 300 people: a mean, what each person and each film adds to it, how 3 tastes meet 3
    traits, and noise of standard deviation 0.3."""
    rng = np.random.default_rng(7)
    people, films = rng.standard_normal((300, 4)), rng.standard_normal((100, 4))
    pair = rng.permutation(300 * 100)[:6000]
    user, film = pair // 100, pair % 100
    mean = 3 + 0.4 * people[user, 0] + 0.5 * films[film, 0] + 0.4 * (people[user, 1:] * films[film, 1:]).sum(axis=1)
    rating = mean + 0.3 * rng.standard_normal(6000)
    _csv("ratings.csv", "user,film,rating", np.column_stack([user, film, rating]), ["%d", "%d", "%.2f"])


def characters() -> None:
    """The text of the licence, in pieces of 48 characters in a random order: text [236, 48], the numbers of its
    characters in the order of their code points, and next, those one place on."""
    said = np.frombuffer((FOLDER.parents[1] / "LICENSE").read_bytes(), np.uint8)
    _, numbers = np.unique(said, return_inverse=True)
    count = (len(numbers) - 1) // 48
    order = np.random.default_rng(10).permutation(count)
    pieces = [numbers[shift : shift + 48 * count].reshape(count, 48)[order].astype(np.uint8) for shift in (0, 1)]
    np.savez_compressed(FOLDER / "characters.npz", text=pieces[0], next=pieces[1])


def rare() -> None:
    """1,500 points of the plane, one in twenty of them of class 1: a ring around those of class 0, which it touches."""
    rng = np.random.default_rng(8)
    y = rng.uniform(size=1500) < 0.05
    angle, radius = rng.uniform(0, 2 * np.pi, 1500), np.where(y, 1.9, 0.8) + 0.35 * rng.standard_normal(1500)
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    np.savez_compressed(FOLDER / "rare.npz", x=x.astype(np.float32), y=y.astype(np.uint8))


def inverse() -> None:
    """1,000 points x = t + 0.3 sin(2 pi t) + noise, given to predict t: up to three values for one x (Bishop 1994)."""
    rng = np.random.default_rng(9)
    t = rng.uniform(0, 1, 1000)
    x = t + 0.3 * np.sin(2 * np.pi * t) + rng.uniform(-0.1, 0.1, 1000)
    np.savez_compressed(FOLDER / "inverse.npz", x=x[:, None].astype(np.float32), y=t.astype(np.float32))


def body() -> None:
    """The first layer of specs/pretrain.dl, trained on the digits: body.W [64, 48], body.b [48]. Needs dlc."""
    import dlc
    from safetensors.numpy import save_file

    trainer = dlc.Trainer(dlc.compile(FOLDER.parent / "pretrain.dl"), device="cpu")
    trainer.fit()
    save_file({name: trainer.parameters[name] for name in ("body.W", "body.b")}, FOLDER / "body.safetensors")


def wine() -> None:
    """178 wines of three growers with 13 measurements; a word for the grower."""
    from sklearn.datasets import load_wine

    found = load_wine()
    names = [name.replace("/", "_") for name in found.feature_names]
    lines = [",".join([*names, "grower"])]
    for row, grower in zip(found.data, found.target, strict=True):
        lines.append(",".join([*(f"{value:g}" for value in row), ("first", "second", "third")[grower]]))
    (FOLDER / "wine.csv").write_text("\n".join(lines) + "\n")


def diabetes() -> None:
    """442 patients: age, sex, eight measurements, and how far the illness had gone a year later."""
    from sklearn.datasets import load_diabetes

    found = load_diabetes(scaled=False)
    lines = [",".join(["age", "sex", "bmi", "bp", *(f"s{k}" for k in range(1, 7)), "progression"])]
    for row, y in zip(found.data, found.target, strict=True):
        sex = ("one", "other")[int(row[1]) - 1]
        lines.append(",".join([f"{row[0]:g}", sex, *(f"{value:g}" for value in row[2:]), f"{y:g}"]))
    (FOLDER / "diabetes.csv").write_text("\n".join(lines) + "\n")


def titanic() -> None:
    """The 2,201 people on the Titanic, one row each, from the counts of Dawson (1995), table 1."""
    counts = {  # class, sex, age: how many were lost and how many survived
        ("first", "male", "child"): (0, 5),
        ("first", "female", "child"): (0, 1),
        ("first", "male", "adult"): (118, 57),
        ("first", "female", "adult"): (4, 140),
        ("second", "male", "child"): (0, 11),
        ("second", "female", "child"): (0, 13),
        ("second", "male", "adult"): (154, 14),
        ("second", "female", "adult"): (13, 80),
        ("third", "male", "child"): (35, 13),
        ("third", "female", "child"): (17, 14),
        ("third", "male", "adult"): (387, 75),
        ("third", "female", "adult"): (89, 76),
        ("crew", "male", "adult"): (670, 192),
        ("crew", "female", "adult"): (3, 20),
    }
    lines = ["class,sex,age,survived"]
    for who, (lost, saved) in counts.items():
        lines += [",".join([*who, "no"])] * lost + [",".join([*who, "yes"])] * saved
    (FOLDER / "titanic.csv").write_text("\n".join(lines) + "\n")


def _csv(name: str, header: str, rows: object, formats: list[str]) -> None:
    np.savetxt(FOLDER / name, np.asarray(rows), fmt=formats, delimiter=",", header=header, comments="")


if __name__ == "__main__":
    for write in (
        digits,
        xor,
        logistic,
        linear,
        poisson,
        force,
        curve,
        names,
        ratings,
        characters,
        rare,
        inverse,
        body,
        wine,
        diabetes,
        titanic,
    ):
        write()
