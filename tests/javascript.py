"""Our files in JavaScript: ONNX Runtime in Node, and in Chromium by WebAssembly and by WebGPU (drawn by software).

A job is a model with what is fed to it, as files in a folder; what Node or a page makes of it comes back by name.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

VERSIONS = {"onnxruntime-web": "1.30.0", "onnxruntime-node": "1.30.0"}
SECONDS = 400
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
]
# By its own choice of layout ort.webgpu 1.30.0 computes some convolutions wrongly: docs/file-format.md says which.
PROVIDERS: dict[str, tuple[str, Any]] = {
    "wasm": ("ort.wasm.bundle.min.mjs", "wasm"),
    "webgpu": ("ort.webgpu.bundle.min.mjs", {"name": "webgpu", "preferredLayout": "NCHW"}),
}

# From docs/file-format.md: run the step again and again, and feed each `next/NAME` back as NAME.
RUN = """
const kinds = {float32: Float32Array, int64: BigInt64Array, uint64: BigUint64Array, bool: Uint8Array}
const run = async (ort, job, bytes) => {
  const load = async ({path, kind, shape}) => new ort.Tensor(kind, new kinds[kind](await bytes(path)), shape)
  const session = await ort.InferenceSession.create(new Uint8Array(await bytes(job.model)),
                                                    {executionProviders: [job.provider]})
  const state = {}, losses = []
  let made = {}
  for (const [name, held] of Object.entries(job.state)) state[name] = await load(held)
  for (const batch of job.batches) {
    const feeds = {}
    for (const name of session.inputNames) feeds[name] = name in batch ? await load(batch[name]) : state[name]
    made = await session.run(feeds)
    if ("loss" in made) losses.push(made.loss.data[0])
    for (const [name, next] of Object.entries(job.bindings)) state[name] = made[next]
  }
  const values = {}
  for (const name of job.wanted) values[name] = Array.from((name in state ? state : made)[name].data)
  return {name: job.name, losses, values}
}
const failed = (job, problem) => ({name: job.name, error: String(problem && problem.stack || problem)})
"""
PAGE = f"""<!doctype html><meta charset="utf-8"><title>training</title><script type="module">{RUN}
const post = (path, value) => fetch(path, {{method: "POST", body: JSON.stringify(value)}})
const bytes = async path => (await fetch(path)).arrayBuffer()
for (const job of await (await fetch("jobs.json")).json()) {{
  try {{
    const ort = await import("/dist/" + job.bundle)
    ort.env.wasm.wasmPaths = location.origin + "/dist/"
    ort.env.wasm.numThreads = 1
    await post("result", await run(ort, job, bytes))
  }} catch (problem) {{
    await post("result", failed(job, problem))
  }}
}}
await post("result", {{done: true}})
</script>"""
NODE = f"""{RUN}
const fs = require("node:fs"), ort = require(process.argv[2])
const bytes = async path => new Uint8Array(await fs.promises.readFile(path)).buffer
;(async () => {{
  for (const job of JSON.parse(fs.readFileSync("jobs.json"))) {{
    console.log(JSON.stringify(await run(ort, job, bytes).catch(problem => failed(job, problem))))
  }}
}})()
"""


FORMAT = Path(__file__).parent.parent / "docs" / "file-format.md"


def without_doubles(step: bytes) -> bytes:
    """A step for WebGPU, by the script of docs/file-format.md."""
    [script] = re.findall(r"```python\n(.*?)```", FORMAT.read_text("utf-8"), re.DOTALL)
    with tempfile.TemporaryDirectory() as held:
        folder = Path(held)
        (folder / "step.onnx").write_bytes(step)
        (folder / "script.py").write_text(script, "utf-8")
        subprocess.run([sys.executable, "script.py"], cwd=folder, check=True)
        return (folder / "webgpu.onnx").read_bytes()


class Missing(Exception):
    """What JavaScript runs in is not there."""


@dataclass
class Made:
    """What became of a job: the loss of each batch and the values that were wanted, each flat; or the error."""

    losses: list[float]
    values: dict[str, np.ndarray]
    error: str = ""


def installed(name: str, folder: Path) -> Path:
    """The folder of a package from npm, installed below `folder`; ONNXRUNTIME_WEB and ONNXRUNTIME_NODE name one that
    is there. Raises `Missing`."""
    named = os.environ.get(name.upper().replace("-", "_"))
    if named:
        return Path(named)
    npm = shutil.which("npm")
    if npm is None:
        raise Missing("npm is not installed")
    done = subprocess.run(
        [npm, "install", "--ignore-scripts", f"{name}@{VERSIONS[name]}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        raise Missing(f"npm cannot install {name} {VERSIONS[name]}: {done.stderr.strip()[-200:]}")
    return folder / "node_modules" / name


def job(
    folder: Path,
    name: str,
    model: bytes,
    batches: Sequence[Mapping[str, np.ndarray]],
    wanted: Sequence[str],
    state: Mapping[str, np.ndarray] | None = None,
    bindings: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Files of a model, of its batches and its state, and the job that names them. `bindings`: which output is the
    next value of which state; `wanted`: state, or outputs of the last batch."""
    (folder / f"{name}.onnx").write_bytes(model)
    count = 0

    def put(array: np.ndarray) -> dict[str, Any]:
        nonlocal count
        count += 1
        path = f"{name}-{count}.bin"
        (folder / path).write_bytes(array.tobytes())
        return {"path": path, "kind": array.dtype.name, "shape": list(array.shape)}

    return {
        "name": name,
        "model": f"{name}.onnx",
        "bindings": dict(bindings or {}),
        "wanted": list(wanted),
        "state": {name: put(value) for name, value in (state or {}).items()},
        "batches": [{name: put(value) for name, value in batch.items()} for batch in batches],
    }


def _made(posted: Mapping[str, Any]) -> Made:
    values = {name: np.array(value) for name, value in posted.get("values", {}).items()}
    return Made(posted.get("losses", []), values, posted.get("error", ""))


def in_node(folder: Path, package: Path, jobs: Sequence[Mapping[str, Any]]) -> dict[str, Made]:
    """What Node makes of each job, by its name, with the package onnxruntime-node. Raises `Missing`."""
    node = shutil.which("node")
    if node is None:
        raise Missing("node is not installed")
    (folder / "jobs.json").write_text(json.dumps([{"provider": "cpu", **one} for one in jobs]))
    (folder / "run.cjs").write_text(NODE)
    done = subprocess.run(
        [node, "run.cjs", str(package.resolve())],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    lost = Made([], {}, f"no answer: {done.stderr.strip()[-500:]}")
    return {one["name"]: lost for one in jobs} | {one["name"]: _made(one) for one in found}


def in_chromium(folder: Path, package: Path, jobs: Sequence[Mapping[str, Any]]) -> dict[str, Made]:
    """What a page makes of each job, by its name, with the package onnxruntime-web. Raises `Missing`.

    A job has two more fields, `bundle` and `provider`: those of `PROVIDERS`.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        raise Missing("chromium is not installed")
    results: dict[str, Made] = {}
    done = threading.Event()
    dist = package if any(package.glob("ort.*.mjs")) else package / "dist"

    class Handler(SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            name = path.partition("?")[0].rpartition("/")[2]
            return str((dist if path.startswith("/dist/") else folder) / name)

        def do_POST(self) -> None:
            posted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if "name" in posted:
                results[posted["name"]] = _made(posted)
            else:
                done.set()
            self.send_response(204)
            self.end_headers()

        def log_message(self, *values: Any) -> None:
            pass

    Handler.extensions_map = {
        **SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }
    (folder / "jobs.json").write_text(json.dumps(list(jobs)))
    (folder / "page.html").write_text(PAGE)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser = subprocess.Popen(
        [chromium, *FLAGS, f"--user-data-dir={folder / 'profile'}", f"http://127.0.0.1:{server.server_port}/page.html"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        done.wait(SECONDS)
    finally:
        browser.terminate()
        browser.wait(20)
        server.shutdown()
    return {one["name"]: Made([], {}, "no answer") for one in jobs} | results
