"""Writes the data beside it, the same bytes at every run: `python specs/data/make.py` (needs scikit-learn).

Digits, wines and patients come from scikit-learn, the Titanic from published counts; everything else is drawn here from
a fixed seed. (`penguins.csv` and `sunspots.csv` are not made here.) Sources: LICENSES.md.
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


def backwards() -> None:
    """1,000 words of 2 to 6 letters, 2 to 7: source [1000, 6], filled up with 0, and y [1000, 7], the letters from the
    last to the first and then 1."""
    rng = np.random.default_rng(6)
    source, y = np.zeros((1000, 6), np.int64), np.zeros((1000, 7), np.int64)
    for i, length in enumerate(rng.integers(2, 7, 1000)):
        source[i, :length] = rng.integers(2, 8, length)
        y[i, :length], y[i, length] = source[i, :length][::-1], 1
    np.savez_compressed(FOLDER / "backwards.npz", source=source, y=y)


def gap() -> None:
    """300 points of sin(4 x) + noise of standard deviation 0.1, none of them between -0.3 and 0.4."""
    rng = np.random.default_rng(6)
    x = np.concatenate([rng.uniform(-1, -0.3, 150), rng.uniform(0.4, 1, 150)])
    y = np.sin(4 * x) + 0.1 * rng.standard_normal(300)
    np.savez_compressed(FOLDER / "gap.npz", x=x[:, None].astype(np.float32), y=y.astype(np.float32))


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
    for write in (digits, xor, logistic, linear, poisson, force, curve, backwards, gap, body, wine, diabetes, titanic):
        write()
