"""The pictures of docs/pictures.md: `python tests/shots.py FOLDER` draws docs/page-*.png, and docs/beside-*.png where
FOLDER has the programs `netron` and `model-explorer` (pip install netron ai-edge-model-explorer model-explorer-onnx,
apart from dlc: they need other versions of protobuf). Needs chromium, playwright and Pillow, and for the last tile
torch and torchviz.
"""

from __future__ import annotations

import io
import json
import shutil
import socket
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
SPECS = {"digits": ROOT / "specs" / "digits.dl", "gpt": ROOT / "benchmarks" / "gpt.dl"}
TILE, GAP, BEHIND = (560, 450), 12, (140, 140, 140)  # pixels of a tile of docs/beside-*.png, and between
WINDOW = (960, 771)  # of what a tile shows


def dlc(*argv: object) -> None:
    from dlc.cli import main

    if main([str(word) for word in argv]):
        raise SystemExit(1)


class Shots:
    """A browser, and what its windows show."""

    def __init__(self, browser: Any, folder: Path) -> None:
        self.browser, self.folder = browser, folder

    def shot(
        self, url: str, size: tuple[int, int], ready: str, *scripts: str, wait: float = 0.3, click: str = ""
    ) -> Any:
        """What a window of `size` shows of a page: of `click` clicked, once `ready` is there, and the scripts run."""
        from PIL import Image

        tab = self.browser.new_page(viewport={"width": size[0], "height": size[1]})
        tab.goto(url)
        if click:
            tab.click(click)
        tab.wait_for_selector(ready, timeout=60_000)
        for script in scripts:
            tab.wait_for_timeout(1000 * wait)
            tab.evaluate(script)
        tab.wait_for_timeout(1000 * wait)
        taken = tab.context.new_cdp_session(tab).send("Page.captureScreenshot")  # without waiting for a still picture
        image = Image.open(io.BytesIO(b64decode(taken["data"]))).convert("RGB")
        tab.close()
        return image

    def page(
        self, name: str, size: tuple[int, int], *scripts: str, at: str = "", options: tuple[object, ...] = ()
    ) -> Any:
        target = self.folder / f"{name}.html"
        dlc("graph", options[0] if options else SPECS[name], *options[1:], "-o", target)
        return self.shot(target.as_uri() + at, size, "#scene .node", *scripts)


def keep(image: Any, name: str) -> None:
    """In 256 colours, chosen to be near to all: a third of the bytes."""
    image.quantize(256, method=1, dither=0).save(DOCS / name, optimize=True)


# Model Explorer's button that expands all layers.
EXPAND = "[...document.querySelectorAll('mat-icon')].find(e => e.textContent.trim() === 'unfold_more_double').click()"
CHOOSE = "(i => { now.open.add(i); draw(); fit(); pick(i) })(now.items.findIndex(item => item.id === '%s'))"


def pages(shots: Shots) -> None:
    """docs/page-*.png"""
    keep(shots.page("gpt", (1280, 860), CHOOSE % "block[0]"), "page-gpt.png")
    step = "document.querySelector('[data-view=step]').click()"
    keep(shots.page("digits", (1280, 620), step, CHOOSE % "backward:dense[1]"), "page-digits.png")
    runs = shots.folder / "runs"
    dlc("train", SPECS["digits"], "--quiet", "--epochs", "2", "--runs", runs)
    coloured = """(by => {
        by.value = [...by.options].find(o => o.text === 'length').value;
        by.dispatchEvent(new Event('change'));
    })(byId('scale'))"""
    back = "document.querySelector('[data-view=backward]').click()"
    pick = "pick(now.items.findIndex(item => item.id === 'backward:dense[1]'))"
    trained = (next(runs.iterdir()), "--values")
    keep(shots.page("digits", (1200, 760), back, coloured, pick, options=trained), "page-values.png")


# --- beside other tools


@contextmanager
def served(*command: object) -> Iterator[str]:
    """The address of a program that serves a page; it ends with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([*map(str, command), "--port", str(port)], stdout=subprocess.DEVNULL)
    address = f"http://localhost:{port}/"
    try:
        for _ in range(300):
            try:
                urlopen(address).close()
                break
            except URLError:
                time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait()


def viz(name: str) -> Any:
    """What torchviz draws of the same model in PyTorch, laid out by Graphviz."""
    import pygraphviz
    import torch
    from PIL import Image
    from torchviz import make_dot

    sys.path.insert(0, str(ROOT))
    from benchmarks.start import start
    from benchmarks.torch_models import OBJECTIVES
    from benchmarks.workloads import WORKLOADS, batches, data

    workload = WORKLOADS[{"digits": "digits-spec"}.get(name, name)]
    theta = {name: torch.from_numpy(array).requires_grad_() for name, array in start(workload).items()}
    x, y = next(batches(*data(workload), workload.batch))
    loss = OBJECTIVES[workload.family](workload, theta)(torch.from_numpy(x), torch.from_numpy(y))
    drawn = pygraphviz.AGraph(string=make_dot(loss, params=theta).source).draw(format="png", prog="dot")
    return Image.open(io.BytesIO(drawn)).convert("RGB")


def fitted(image: Any, high: float = 1.0) -> Any:
    """An image as a tile: all of it, or of a long one the upper part, `high` of it."""
    from PIL import Image

    image = image.crop((0, 0, image.width, round(high * image.height)))
    scale = min(TILE[0] / image.width, TILE[1] / image.height, 1)
    small = image.resize((round(scale * image.width), round(scale * image.height)), Image.Resampling.LANCZOS)
    tile = Image.new("RGB", TILE, (255, 255, 255))
    tile.paste(small, ((TILE[0] - small.width) // 2, (TILE[1] - small.height) // 2))
    return tile


def beside(shots: Shots, tools: Path) -> None:
    """docs/beside-*.png: the page and Netron above, Model Explorer and torchviz below."""
    from PIL import Image

    for name, view in {"digits": "backward", "gpt": "forward"}.items():
        model = shots.folder / f"{name}.onnx"
        dlc("compile", SPECS[name], "-o", model)
        tiles = [shots.page(name, WINDOW, f"document.querySelector('[data-view={view}]').click()")]
        with served(tools / "netron", model) as address:
            tiles.append(shots.shot(address, WINDOW, "svg .node", click="text=Accept", wait=1))
        with served(
            tools / "model-explorer", "--no_open_in_browser", "--skip_health_check", "--extensions=model_explorer_onnx"
        ) as address:
            told = quote(json.dumps({"models": [{"url": str(model)}]}))
            tiles.append(shots.shot(f"{address}?data={told}", WINDOW, "canvas", EXPAND, wait=4))
        tiles = [fitted(tile) for tile in tiles] + [fitted(viz(name), 1.0 if name == "digits" else 0.2)]
        whole = Image.new("RGB", (2 * TILE[0] + GAP, 2 * TILE[1] + GAP), BEHIND)
        for n, tile in enumerate(tiles):
            whole.paste(tile, (n % 2 * (TILE[0] + GAP), n // 2 * (TILE[1] + GAP)))
        keep(whole, f"beside-{name}.png")


def main(tools: str = "") -> None:
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]  # WebGL
    with sync_playwright() as play, TemporaryDirectory() as folder:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        shots = Shots(browser, Path(folder))
        pages(shots)
        if tools:
            beside(shots, Path(tools))
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
