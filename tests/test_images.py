"""Images as data: folders of them, tables with their paths or bytes, arrays of pixels."""

from __future__ import annotations

import builtins
import io
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dlc.runtime import Trainer
from dlc.runtime.data.shares import places
from hypothesis import given, settings, strategies as st
from test_table_columns import SPECS, fitted, refused, stock

Image = pytest.importorskip("PIL.Image")

GREY = '    input a: float[batch, 1, 4, 5] from "image" image'
COLOURS = GREY.replace("1, 4", "3, 4")


def drawn(height: int, width: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    made = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    return made[:, :, 0] if channels == 1 else made


def png(array: np.ndarray) -> bytes:
    into = io.BytesIO()
    Image.fromarray(array).save(into, "png")
    return into.getvalue()


def resized(array: np.ndarray, height: int = 4, width: int = 5) -> np.ndarray:
    """What Pillow makes of the pixels, in its own float arithmetic: `[channels, height, width]` from 0 to 1."""
    planes = array[:, :, None] if array.ndim == 2 else array
    each = [Image.fromarray(plane.astype(np.float32)) for plane in np.moveaxis(planes, 2, 0)]
    return np.stack([np.asarray(one.resize((width, height), Image.Resampling.BILINEAR)) for one in each]) / 255


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]), st.integers(0, 9))
def test_images_are_resized_as_pillow_does(height: int, width: int, channels: int, seed: int) -> None:
    array = drawn(height, width, channels, seed)
    trainer = fitted(GREY if channels == 1 else COLOURS, {"image": array[None]})
    np.testing.assert_allclose(trainer.predict({"image": array[None]})["o"][0], resized(array), atol=1e-6)


def test_pixels_in_any_tool(tmp_path: Path) -> None:
    array = np.stack([drawn(9, 7, 3, seed) for seed in range(3)])
    trainer = fitted(COLOURS, {"image": array}, precision="float32")
    trainer.save(tmp_path / "m.onnx")
    [made] = onnxruntime.InferenceSession(tmp_path / "m.onnx").run(["o"], {"a": array})
    np.testing.assert_array_equal(made, trainer.predict({"image": array})["o"])
    np.testing.assert_allclose(made, [resized(one) for one in array], atol=2e-6)
    # of the size that the spec says nothing is resized, and the reference of ONNX says the same
    array = np.stack([drawn(4, 5, 3, seed) for seed in range(3)])
    made = stock(fitted(COLOURS, {"image": array}), tmp_path / "n.onnx", {"a": array})["o"]
    np.testing.assert_allclose(made, np.moveaxis(array, 3, 1) / 255, rtol=1e-6)


def test_every_kind_of_image_says_the_same(tmp_path: Path) -> None:
    """Files in folders, paths and bytes in tables, cells of Hugging Face, arrays, images of Pillow, of many sizes."""
    arrays = [drawn(3 + k, 9 - k % 4, 1, k) for k in range(8)]
    packed = [png(array) for array in arrays]
    for number, data in enumerate(packed):
        folder = tmp_path / "images" / ("even", "odd")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.PNG").write_bytes(data)
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    names = [("even", "odd")[k % 2] for k in order]
    paths = [f"images/{name}/{k}.PNG" for name, k in zip(names, order, strict=True)]
    (tmp_path / "t.csv").write_text("image,class\n" + "".join(f"{p},{n}\n" for p, n in zip(paths, names, strict=True)))
    rows = [packed[k] for k in order]
    table = pa.table({"image": pa.array(rows, pa.binary()), "class": names})
    pq.write_table(table, tmp_path / "t.parquet")
    boxes = [{"bytes": row, "path": None} for row in rows]
    given: list[Any] = [
        tmp_path / "images",
        tmp_path / "t.csv",
        tmp_path / "t.parquet",
        pa.table({"image": boxes, "class": names}),
        {"image": rows, "class": names},
        {"image": [arrays[k] for k in order], "class": names},
        {"image": [Image.fromarray(arrays[k]) for k in order], "class": names},
    ]
    spec = (SPECS / "tables" / "pictures.dl").read_text().replace("8, 8", "4, 6").replace("64 * width", "24 * width")
    program = dlc.compile(spec.replace("classes = 10", "classes = 2"))
    made = []
    for data in given:
        trainer = Trainer(program, device="cpu")
        trainer.fit(data, validation=False, epochs=2)
        made.append(trainer.predict(data))
    for other in made[1:]:
        np.testing.assert_array_equal(other["probability"], made[0]["probability"])
    assert set(made[0]["class"].tolist()) <= {"even", "odd"}
    # without folders of classes: for predictions
    flat = tmp_path / "flat"
    flat.mkdir()
    for k, data in enumerate(rows):
        (flat / f"{k}.png").write_bytes(data)
    np.testing.assert_array_equal(trainer.predict(flat)["probability"], made[0]["probability"])


def test_images_of_other_kinds(tmp_path: Path) -> None:
    """Grey of colours, colours of grey, a palette, an opacity: as Pillow converts them."""
    colours = Image.fromarray(drawn(4, 5, 3))
    for image in (colours, colours.convert("P"), colours.convert("L"), colours.convert("RGBA"), colours.convert("1")):
        image.save(tmp_path / "one.png")
        for lines, mode in ((GREY, "L"), (COLOURS, "RGB"), (GREY.replace("1, 4", "4, 4"), "RGBA")):
            made = fitted(lines, {"image": [str(tmp_path / "one.png")]}).predict({"image": [str(tmp_path / "one.png")]})
            np.testing.assert_allclose(made["o"][0], resized(np.asarray(image.convert(mode))), atol=1e-6)


def test_images_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "images" / "x"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(png(drawn(4, 5)))
    (folder / "b.png").write_bytes(png(drawn(40, 50))[:200])
    found = refused(GREY, tmp_path / "images", "E0651")
    assert found.where == str(folder / "b.png")
    (folder / "b.png").write_bytes(b"no image")
    assert refused(GREY, tmp_path / "images", "E0651").where == str(folder / "b.png")
    (tmp_path / "t.csv").write_text("image\nimages/x/a.png\nimages/x/none.png\n")
    found = refused(GREY, tmp_path / "t.csv", "E0651")
    assert found.where == f"{tmp_path}/t.csv:3: images/x/none.png"
    for wrong in (
        [drawn(4, 5).astype(np.float32)],
        [drawn(4, 5, 3)],
        [drawn(4, 0)],
        [b""],
        [3],
        [None],
        "images",
        drawn(4, 5),
    ):
        assert refused(GREY, {"image": wrong}, "E0651")
    monkeypatch.setattr("dlc.runtime.memory.free", lambda: 10)
    assert refused(GREY, {"image": [drawn(4, 5)]}, "E0624")


def test_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "PIL":
            raise ImportError("No module named 'PIL'")
        return real(name, *rest, **more)

    array, data = drawn(4, 5), png(drawn(4, 5))
    monkeypatch.setattr(builtins, "__import__", without)
    fitted(GREY, {"image": [array]})  # pixels need nothing
    assert 'pip install "dlc-compiler[images]"' in str(refused(GREY, {"image": [data]}, "E0639").help)


def digits(folder: Path) -> tuple[np.ndarray, np.ndarray, list[Path]]:
    """The digits of scikit-learn as files, in the order in which they are read: numbers, classes, files."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.argsort(y, kind="stable")
    files = []
    for number, row in enumerate(order):
        array = np.rint(x[row].reshape(8, 8) * 255 / 16).astype(np.uint8)
        times = 1 + number % 3  # of several sizes
        path = folder / str(y[row]) / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(array.repeat(times, 0).repeat(times, 1)))
        files.append(path)
    return x[order], y[order], files


def test_pictures_reach_what_scikit_learn_reaches(tmp_path: Path) -> None:
    """Against scikit-learn's own example of these digits, a support vector machine, on the same pictures."""
    pytest.importorskip("sklearn")
    from sklearn.svm import SVC

    spec = SPECS / "tables" / "pictures.dl"
    assert len(spec.read_text().splitlines()) <= 25
    x, y, files = digits(tmp_path / "digits")
    train, held = (np.sort(side) for side in places(len(y), 0, 0.25, 0.0, "")[:2])
    score = SVC(gamma=0.001).fit(x[train], y[train]).score(x[held], y[held])
    trainer = Trainer(dlc.compile(spec), device="cpu")
    trainer.fit(tmp_path / "digits")
    trainer.save(tmp_path / "m.onnx")
    # ONNX Runtime alone, pixels as Pillow reads them
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    pixels = [np.asarray(Image.open(files[row]))[None, :, :, None] for row in held]
    made = [session.run(["class"], {"x": one})[0][0] for one in pixels]
    reached = np.mean(np.array(made) == y[held].astype(str))
    print(f"pictures: {reached:.3f}, scikit-learn {score:.3f}")
    assert reached >= score - 0.01, (reached, score)
    assert reached >= 0.95
