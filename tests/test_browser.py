"""A browser trains our files: onnxruntime-web in Chromium, by WebAssembly and by WebGPU (drawn by software).

    pytest -m browser

installs onnxruntime-web from npm into a temporary folder; ONNXRUNTIME_WEB names a folder that has its files.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import onnxruntime
import pytest
from dlc.runtime import graphs
from onnx import numpy_helper

ROOT = Path(__file__).parent.parent
VERSION = "1.30.0"
UPDATES, ROWS, SECONDS = 20, 16, 400
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
SPECS = {"digits": "specs/digits.dl", "lstm": "benchmarks/lstm.dl", "lenet5": "benchmarks/lenet5.dl"}
# By its own choice of layout ort.webgpu 1.30.0 computes some convolutions wrongly: docs/file-format.md says which.
PROVIDERS: dict[str, tuple[str, Any]] = {
    "wasm": ("ort.wasm.bundle.min.mjs", "wasm"),
    "webgpu": ("ort.webgpu.bundle.min.mjs", {"name": "webgpu", "preferredLayout": "NCHW"}),
}

# What a page does, from docs/file-format.md: run the step again and again, and feed each `next/NAME` back as NAME.
PAGE = """<!doctype html><meta charset="utf-8"><title>training</title><script type="module">
const kinds = {float32: Float32Array, int64: BigInt64Array, uint64: BigUint64Array, bool: Uint8Array}
const post = (path, value) => fetch(path, {method: "POST", body: JSON.stringify(value)})
const bytes = async path => (await fetch(path)).arrayBuffer()
const load = async (ort, {path, kind, shape}) => new ort.Tensor(kind, new kinds[kind](await bytes(path)), shape)
for (const job of await (await fetch("jobs.json")).json()) {
  try {
    const ort = await import("/dist/" + job.bundle)
    ort.env.wasm.wasmPaths = location.origin + "/dist/"
    ort.env.wasm.numThreads = 1
    const session = await ort.InferenceSession.create(new Uint8Array(await bytes(job.model)),
                                                      {executionProviders: [job.provider]})
    const state = {}, losses = []
    for (const [name, held] of Object.entries(job.state)) state[name] = await load(ort, held)
    for (const batch of job.batches) {
      const feeds = {}
      for (const name of session.inputNames) feeds[name] = name in batch ? await load(ort, batch[name]) : state[name]
      const made = await session.run(feeds)
      losses.push(made.loss.data[0])
      for (const [name, next] of Object.entries(job.bindings)) state[name] = made[next]
    }
    const parameters = {}
    for (const name of job.parameters) parameters[name] = Array.from(state[name].data)
    await post("result", {name: job.name, losses, parameters})
  } catch (problem) {
    await post("result", {name: job.name, error: String(problem && problem.stack || problem)})
  }
}
await post("result", {done: true})
</script>"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of onnxruntime-web's files."""
    named = os.environ.get("ONNXRUNTIME_WEB")
    if named:
        return Path(named)
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("web")
    done = subprocess.run(
        [npm, "install", "--ignore-scripts", f"onnxruntime-web@{VERSION}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        pytest.skip(f"npm cannot install onnxruntime-web {VERSION}: {done.stderr.strip()[-200:]}")
    return folder / "node_modules" / "onnxruntime-web" / "dist"


class Trial:
    """One spec: its step, its state and its batches; and what ONNX Runtime in Python makes of them."""

    def __init__(self, name: str) -> None:
        self.name = name
        program = dlc.compile(ROOT / SPECS[name])
        model = program.model_proto()
        [info] = model.training_info
        self.bindings = {entry.key: entry.value for entry in info.update_binding}
        held = {t.name: t for t in (*model.graph.initializer, *info.algorithm.initializer)}
        state = [name for name in held if name in self.bindings or name in ("key", "steps", "observations")]
        self.step = graphs.concatenate(model, info.algorithm, ["loss", *self.bindings.values()], state)
        self.state = {name: numpy_helper.to_array(held[name]) for name in state}
        self.parameters = [name for name, variable in program.module.variables.items() if variable.kind == "parameter"]
        rng = np.random.default_rng(0)
        if name == "digits":
            data = np.load(ROOT / "specs" / "data" / "digits.npz")
            rows = [rng.integers(0, len(data["y"]), ROWS) for _ in range(UPDATES)]
            self.batches = [{"x": data["x"][at].astype(np.float32), "y": data["y"][at].astype(np.int64)} for at in rows]
        else:
            shape = [ROWS, 28, 28] if name == "lstm" else [ROWS, 1, 28, 28]
            self.batches = [
                {"x": rng.uniform(0, 1, shape).astype(np.float32), "y": rng.integers(0, 10, ROWS)}
                for _ in range(UPDATES)
            ]

    def here(self) -> tuple[list[float], dict[str, np.ndarray]]:
        session = onnxruntime.InferenceSession(self.step.SerializeToString(), providers=["CPUExecutionProvider"])
        names = {value.name for value in session.get_inputs()}
        outputs = [value.name for value in session.get_outputs()]
        state, losses = dict(self.state), []
        for batch in self.batches:
            fed = {name: value for name, value in {**state, **batch}.items() if name in names}
            made = dict(zip(outputs, session.run(None, fed), strict=True))
            losses.append(float(made["loss"]))
            state.update((name, made[after]) for name, after in self.bindings.items())
        return losses, {name: state[name] for name in self.parameters}

    def write(self, folder: Path) -> dict[str, Any]:
        """Files for a page, and the job that names them."""
        (folder / f"{self.name}.onnx").write_bytes(self.step.SerializeToString())
        count = 0

        def put(array: np.ndarray) -> dict[str, Any]:
            nonlocal count
            count += 1
            path = f"{self.name}-{count}.bin"
            (folder / path).write_bytes(array.tobytes())
            return {"path": path, "kind": array.dtype.name, "shape": list(array.shape)}

        return {
            "model": f"{self.name}.onnx",
            "bindings": self.bindings,
            "parameters": self.parameters,
            "state": {name: put(value) for name, value in self.state.items()},
            "batches": [{name: put(value) for name, value in batch.items()} for batch in self.batches],
        }


def browse(folder: Path, package: Path, jobs: list[dict[str, Any]]) -> dict[str, Any]:
    """What the page posts for each job, by its name."""
    results: dict[str, Any] = {}
    done = threading.Event()

    class Handler(SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            name = path.partition("?")[0].rpartition("/")[2]
            return str((package if path.startswith("/dist/") else folder) / name)

        def do_POST(self) -> None:
            posted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if "name" in posted:
                results[posted["name"]] = posted
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
    (folder / "jobs.json").write_text(json.dumps(jobs))
    (folder / "page.html").write_text(PAGE)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    profile = folder / "profile"
    browser = subprocess.Popen(
        [
            str(shutil.which("chromium")),
            *FLAGS,
            f"--user-data-dir={profile}",
            f"http://127.0.0.1:{server.server_port}/page.html",
        ],
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
    return results


@pytest.mark.browser
def test_a_browser_trains_as_python_does(package: Path, tmp_path: Path) -> None:
    """20 updates from the same state on the same batches: each loss, and the parameters after them, to 1e-4."""
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed")
    trials = {name: Trial(name) for name in SPECS}
    written = {name: trial.write(tmp_path) for name, trial in trials.items()}
    jobs = [
        {"name": f"{name} by {how}", "bundle": bundle, "provider": provider, **written[name]}
        for how, (bundle, provider) in PROVIDERS.items()
        for name in trials
    ]
    found = browse(tmp_path, package, jobs)
    for name, trial in trials.items():
        losses, parameters = trial.here()
        for how in PROVIDERS:
            made = found.get(f"{name} by {how}", {"error": "no answer"})
            assert "error" not in made, f"{name} by {how}: {made['error']}"
            np.testing.assert_allclose(made["losses"], losses, rtol=1e-4, err_msg=f"losses of {name} by {how}")
            for path, expected in parameters.items():
                got = np.reshape(made["parameters"][path], expected.shape)
                np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4, err_msg=f"{path} of {name} by {how}")
