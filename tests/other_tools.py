"""What becomes of our files in other tools, and which other runtimes predict and train from them.

    python tests/other_tools.py PYTHON

PYTHON is an interpreter in whose environment the tools are installed (dlc need not be); npm brings those of JavaScript.
Writes the tables of docs/other-tools.md between their markers. Each tool runs in a process of its own. The runtimes are
compared over 3 updates: losses and parameters, the largest difference.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import onnx
import onnxruntime
from dlc.cli.app import main as run
from dlc.runtime import Trainer, graphs
from javascript import PROVIDERS, VERSIONS, Made, Missing, in_chromium, in_node, installed, job, without_doubles
from onnx import ModelProto, numpy_helper

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "other-tools.md"
SECONDS = 900  # of which tinygrad takes most, for a step of GPT
UPDATES = 3
MODELS = ("digits", "plain", "gpt", "lstm")
WAYS = [(model, what) for model in MODELS for what in ("predict", "train")]
GPT = {"vocabulary": 32, "time": 8, "width": 16, "layers": 2, "heads": 2}

# (name, the distribution whose version is shown, what it does with `source` and writes as `to`)
TOOLS = [
    ("checker", "onnx", "m = onnx.load(source); onnx.checker.check_model(m, full_check=True); onnx.save(m, to)"),
    ("shape inference", "onnx", "onnx.save(onnx.shape_inference.infer_shapes(onnx.load(source)), to)"),
    ("version converter to 22", "onnx", "from onnx import version_converter as v\n"
     "onnx.save(v.convert_version(onnx.load(source), 22), to)"),
    ("compose.add_prefix", "onnx", "from onnx import compose\n"
     "onnx.save(compose.add_prefix(onnx.load(source), 'a/'), to)"),
    ("extract_model", "onnx", "onnx.utils.extract_model(source, to, ['x'], ['probability'])"),
    ("external data", "onnx", "onnx.save(onnx.load(source), to, save_as_external_data=True, location='held.data', "
     "size_threshold=0)"),
    ("text form", "onnx", "from onnx import parser, printer\n"
     "onnx.save(parser.parse_model(printer.to_text(onnx.load(source))), to)"),
    ("onnx-ir, load and save", "onnx-ir", "import onnx_ir as ir\nir.save(ir.load(source), to)"),
    ("onnxscript optimizer", "onnxscript", "import onnxscript.optimizer as o\n"
     "onnx.save(o.optimize(onnx.load(source)), to)"),
    ("onnxsim", "onnxsim", "import onnxsim\nonnx.save(onnxsim.simplify(onnx.load(source))[0], to)"),
    ("onnxslim", "onnxslim", "import onnxslim\nonnx.save(onnxslim.slim(source), to)"),
    ("onnxoptimizer", "onnxoptimizer", "import onnxoptimizer as o\nonnx.save(o.optimize(onnx.load(source)), to)"),
    ("quantize_dynamic", "onnxruntime", "from onnxruntime.quantization import quantize_dynamic as q\nq(source, to)"),
    ("quantize_static, QDQ", "onnxruntime", """
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
class Rows(CalibrationDataReader):
    rows = iter([{'x': x}])
    def get_next(self): return next(self.rows, None)
quantize_static(source, to, Rows(), quant_format=QuantFormat.QDQ)"""),
    ("float16 of onnxconverter-common", "onnxconverter-common", "from onnxconverter_common import float16 as f\n"
     "onnx.save(f.convert_float_to_float16(onnx.load(source), keep_io_types=True), to)"),
    ("float16 of onnxruntime.transformers", "onnxruntime", "from onnxruntime.transformers import float16 as f\n"
     "onnx.save(f.convert_float_to_float16(onnx.load(source), keep_io_types=True), to)"),
    ("quant_pre_process", "onnxruntime", "from onnxruntime.quantization.shape_inference import quant_pre_process as q\n"
     "q(source, to)"),
    ("optimized_model_filepath", "onnxruntime", "import onnxruntime as o\ns = o.SessionOptions()\n"
     "s.optimized_model_filepath = to\no.InferenceSession(source, s)"),
    (".ort format", "onnxruntime", "import onnxruntime as o\ns = o.SessionOptions()\ns.optimized_model_filepath = to\n"
     "s.add_session_config_entry('session.save_model_format', 'ORT')\no.InferenceSession(source, s)"),
    ("graphsurgeon", "onnx-graphsurgeon", "import onnx_graphsurgeon as g\n"
     "onnx.save(g.export_onnx(g.import_onnx(onnx.load(source))), to)"),
    ("spox.inline", "spox", """
import numpy as np, spox
a = spox.argument(spox.Tensor(np.float32, ('batch', 64)))
onnx.save(spox.build({'x': a}, spox.inline(onnx.load(source))(x=a)), to)"""),
    ("mlflow.onnx", "mlflow", "import mlflow.onnx, pathlib\nmlflow.onnx.save_model(onnx.load(source), to + '.d')\n"
     "onnx.save(onnx.load(next(pathlib.Path(to + '.d').glob('*.onnx'))), to)"),
]  # fmt: skip

# (name, distribution, what defines `load(path)`: a function of feeds by name that gives outputs by name)
RUNTIMES = [
    ("ONNX Runtime, Python", "onnxruntime", """
import onnxruntime as o
def load(path):
    s = o.InferenceSession(path); n = [v.name for v in s.get_outputs()]
    return lambda f: dict(zip(n, s.run(None, f)))"""),
    ("ReferenceEvaluator", "onnx", """
from onnx.reference import ReferenceEvaluator
def load(path):
    s = ReferenceEvaluator(path)
    return lambda f: dict(zip(s.output_names, s.run(None, f)))"""),
    ("OpenVINO, CPU, float32", "openvino", """
import openvino as v
def load(path):
    c = v.Core(); m = c.read_model(path); names = [w.name for w in onnx.load(path).graph.output]
    s = c.compile_model(m, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    return lambda f: dict(zip(names, [np.array(w) for w in s(f).values()]))"""),
    ("OpenVINO, CPU, as it comes", "openvino", """
import openvino as v
def load(path):
    c = v.Core(); m = c.read_model(path); names = [w.name for w in onnx.load(path).graph.output]
    s = c.compile_model(m, 'CPU')
    return lambda f: dict(zip(names, [np.array(w) for w in s(f).values()]))"""),
    ("tinygrad, x86", "tinygrad", """
import os, shutil, sys
if not shutil.which('clang'):  # gcc in its place, which knows no --target and writes no object file to a pipe
    os.environ['CC'] = sys.argv[1] + '/cc'
    with open(os.environ['CC'], 'w') as f:
        f.write('#!/bin/bash\\nfor w; do case $w in --target=*|-o|-) ;; *) a+=("$w");; esac; done\\n'
                't=$(mktemp); gcc "${a[@]}" -o $t - && cat $t; s=$?; rm $t; exit $s\\n')
    os.chmod(os.environ['CC'], 0o755)
os.environ['DEV'] = 'CPU:X86'
from tinygrad import Tensor
from tinygrad.nn.onnx import OnnxRunner
def load(path):
    s = OnnxRunner(path)
    return lambda f: {n: t.numpy() for n, t in s({k: Tensor(v) for k, v in f.items()}).items()}"""),
    ("IREE, llvm-cpu", "iree-base-compiler", """
import subprocess, sys, iree.compiler as c, iree.runtime as r
def load(path):
    subprocess.run([sys.executable, '-m', 'iree.compiler.tools.import_onnx', path, '-o', path + '.mlir'], check=True)
    data = c.compile_file(path + '.mlir', target_backends=['llvm-cpu'], input_type='onnx')
    g = onnx.load(path).graph; held = {t.name for t in g.initializer}
    m = r.load_vm_flatbuffer(data, driver='local-task')
    e = getattr(m, g.name); given = [w.name for w in g.input if w.name not in held]; names = [w.name for w in g.output]
    def step(f):
        y = e(*[f[n] for n in given])
        return dict(zip(names, [np.asarray(w) for w in (y if isinstance(y, (tuple, list)) else [y])]))
    return step"""),
    ("TVM, Relax, llvm", "apache-tvm", """
import tvm
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx, onnx_frontend
convert = onnx_frontend.ONNXGraphImporter._convert_operator
def named(self, name, *rest):
    try: return convert(self, name, *rest)
    except Exception as problem: raise RuntimeError('ONNX: ' + name) from problem
onnx_frontend.ONNXGraphImporter._convert_operator = named
def load(path):
    proto = onnx.load(path); names = [w.name for w in proto.graph.output]
    m = from_onnx(proto, keep_params_in_input=False)
    vm = relax.VirtualMachine(tvm.compile(m, 'llvm'), tvm.cpu())
    def step(f):
        y = vm['main'](*[tvm.runtime.tensor(f[w.name]) for w in proto.graph.input])
        return dict(zip(names, [w.numpy() for w in (y if len(names) > 1 else [y])]))
    return step"""),
]  # fmt: skip

# (name, package, its name in `PROVIDERS`)
JAVASCRIPT = [
    ("ONNX Runtime, Node", "onnxruntime-node", ""),
    ("ONNX Runtime, browser, WebAssembly", "onnxruntime-web", "wasm"),
    ("ONNX Runtime, browser, WebGPU", "onnxruntime-web", "webgpu"),
]

VIEWERS = [
    ("Netron", "netron", "import netron\n"
     "netron.start(source, address=('127.0.0.1', 18081), browse=False)\nnetron.stop()"),
    ("Model Explorer", "ai-edge-model-explorer", "from model_explorer_onnx.main import ONNXAdapter\n"
     "graphs = ONNXAdapter().convert(source, {})"),
]  # fmt: skip

CONVERT = "import sys, onnx, numpy as np\nsource, to, x = sys.argv[1], sys.argv[2], np.load(sys.argv[3])\n"
TRAIN = """
import json, sys
import numpy as np, onnx
{load}
folder, name = sys.argv[1], sys.argv[2]
def said(problem):
    return (type(problem).__name__ + ': ' + ' '.join(str(problem).split()))[:3000]
with np.load(f'{{folder}}/{{name}}.npz') as z: held = dict(z)
job = json.load(open(f'{{folder}}/{{name}}.json'))
found = {{}}
if sys.argv[3] == 'predict':
    got = load(f'{{folder}}/{{name}}-small.onnx')({{n: held['0/' + n] for n in job['inputs']}})
    found = {{'probability': got['probability']}}
else:
    step = load(f'{{folder}}/{{name}}-step.onnx')
    state = {{n: held['state/' + n] for n in job['state']}}
    for i in range({updates}):
        feeds = {{**state, **{{n: held[f'{{i}}/{{n}}'] for n in job['data']}}}}
        got = step({{n: v for n, v in feeds.items() if n in job['reads']}})
        found[f'loss{{i}}'] = got['loss']
        state.update({{k: np.asarray(got[v]).reshape(state[k].shape) for k, v in job['bound'].items()}})
    found.update({{n: state[n] for n in job['bound'] if n in job['parameters']}})
np.savez(sys.argv[4], **found)
"""


def process(python: str, *words: str) -> str | None:
    """Runs a process; None where it went well, else its last line that says an error."""
    try:
        done = subprocess.run([python, *words], capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"no answer within {SECONDS} s"
    return None if done.returncode == 0 else shortened(done.stderr, f"ended with {done.returncode}")


# How tools name the operator that they stop at.
OPERATOR = [
    r'"onnx\.(\w+)"',
    r"ONNX: (\w+)",
    r"Conversion is failed for: (.+)",
    r"Node \S*?([A-Z]\w*)_\d+ cannot",
    r"'(\w+)' is not",
    r"Error: (\w+) is not implemented for",
]


def shortened(text: str, otherwise: str) -> str:
    """The operator that an error names, else its last line."""
    for pattern in OPERATOR:
        found = re.findall(pattern, text)
        if found:
            return f"stops at {re.sub(r'-[0-9]+', '', found[-1])}"
    lines = [line.strip() for line in text.splitlines() if re.search(r"rror|xception|nsupported|illegal", line)]
    said = re.sub(r"/\S*/|[|]", "", lines[-1] if lines else otherwise)
    return said[:80] + ("..." if len(said) > 80 else "")


def versions(python: str, names: set[str]) -> dict[str, str]:
    code = (
        "import importlib.metadata as m, json, sys\nfound = {}\nfor n in sys.argv[1:]:\n"
        "    try: found[n] = m.version(n)\n    except Exception: pass\nprint(json.dumps(found))"
    )
    done = subprocess.run([python, "-c", code, *sorted(names)], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def prepare(folder: Path) -> np.ndarray:
    """The files and numbers of two models in the folder; returns 64 rows of digits."""
    data = np.load(ROOT / "specs" / "data" / "digits.npz")
    rng = np.random.default_rng(0)
    for name, program in (
        ("digits", dlc.compile(ROOT / "specs" / "digits.dl")),
        ("plain", dlc.compile((ROOT / "specs" / "digits.dl").read_text().replace("|> dropout(0.2)", ""))),
        ("gpt", dlc.compile(ROOT / "benchmarks" / "gpt.dl", **GPT)),
        ("lstm", dlc.compile(ROOT / "benchmarks" / "lstm.dl", hidden=8)),
    ):
        trainer = Trainer(program, "cpu")
        if name == "digits":
            trainer.fit(ROOT / "specs" / "data" / "digits.npz", epochs=2)
        trainer.save(folder / f"{name}.onnx")
        run(["export", str(folder / f"{name}.onnx"), "--inference", "-o", str(folder / f"{name}-small.onnx")])
        model = onnx.load(folder / f"{name}.onnx")
        [info] = model.training_info
        bound = {entry.key: entry.value for entry in info.update_binding}
        tensors = {t.name: t for t in (*model.graph.initializer, *info.algorithm.initializer)}
        state = [n for n in tensors if n in bound or n in ("key", "steps", "observations")]
        step = graphs.concatenate(model, info.algorithm, ["loss", *bound.values()], state)
        onnx.save(step, folder / f"{name}-step.onnx")
        held = {f"state/{n}": numpy_helper.to_array(tensors[n]) for n in state}
        for i in range(UPDATES):
            rows = rng.integers(0, len(data["y"]), 64)
            one = {
                "gpt": {"tokens": rng.integers(0, 32, (4, 8)), "next": rng.integers(0, 32, (4, 8))},
                "lstm": {"x": rng.normal(size=(8, 28, 28)).astype(np.float32), "y": rng.integers(0, 10, 8)},
            }.get(name, {"x": data["x"][rows].astype(np.float32), "y": data["y"][rows].astype(np.int64)})
            held |= {f"{i}/{key}": value for key, value in one.items()}
        np.savez(folder / f"{name}.npz", **held)
        reads = [value.name for value in step.graph.input]
        inputs = [value.name for value in onnx.load(folder / f"{name}-small.onnx").graph.input]
        (folder / f"{name}.json").write_text(json.dumps({
            "bound": bound, "state": state, "reads": reads, "data": list(one), "inputs": inputs,
            "parameters": [n for n, v in program.module.variables.items() if v.kind == "parameter"],
        }))  # fmt: skip
    x = data["x"][:64].astype(np.float32)
    np.save(folder / "x.npy", x)
    return x


def predicted(path: Path, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run([session.get_outputs()[0].name], {session.get_inputs()[0].name: x})[0])


def figure(value: float) -> str:
    return "the same" if value == 0 else f"{value:.0e}"


def checked(path: Path) -> str:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(["check", str(path)])
    said = re.search(r"E0\d\d\d", err.getvalue())
    if code:
        return f"refused, {said.group() if said else code}"
    if "another tool has changed it" in out.getvalue():
        return "predicts only, with the reason"
    return "predicts only" if "predicts only" in out.getvalue() else "fine"


def became(model: ModelProto, before: ModelProto) -> tuple[str, str]:
    """What became of the training part and of metadata."""
    if not model.training_info:
        training = "dropped"
    else:
        same = [n.SerializeToString() for n in model.graph.node] == [n.SerializeToString() for n in before.graph.node]
        training = "kept" if same else "kept, beside a main graph that changed"
    keys = {e.key for e in before.metadata_props}
    kept = keys & {e.key for e in model.metadata_props}
    return training, "kept" if kept == keys else "dropped" if not kept else f"{len(kept)} of {len(keys)} kept"


def tool(python: str, folder: Path, name: str, code: str, x: np.ndarray) -> str:
    source, to = folder / "digits.onnx", folder / (re.sub(r"\W", "_", name) + (".ort" if ".ort" in name else ".onnx"))
    failed = process(python, "-c", CONVERT + code, str(source), str(to), str(folder / "x.npy"))
    if failed:
        return f"stops: {failed} | | | "
    try:
        difference = figure(float(np.abs(predicted(to, x) - predicted(source, x)).max()))
    except Exception as problem:  # of any class: it is the tool's file
        difference = f"ONNX Runtime refuses it: {str(problem)[:100]}"
    if to.suffix == ".ort":
        return f"{difference} | not ONNX | {checked(to)} | not ONNX"
    training, metadata = became(onnx.load(to, load_external_data=False), onnx.load(source))
    return f"{difference} | {training} | {checked(to)} | {metadata}"


def runtime(python: str, folder: Path, code: str) -> list[str]:
    """The cells of a runtime in Python."""
    cells = []
    for model, what in WAYS:
        out = folder / "out.npz"
        script = TRAIN.format(load=code, updates=UPDATES)
        failed = process(python, "-c", script, str(folder), model, what, str(out))
        if failed:
            cells.append(failed)
            continue
        with np.load(out) as got:
            cells.append(compared(folder, model, what, dict(got)))
    return cells


def javascript(folder: Path, package: str, provider: str) -> list[str]:
    """The cells of a runtime in JavaScript."""
    with tempfile.TemporaryDirectory() as held:
        place = Path(held)
        jobs = [script_job(folder, place, model, what, provider) for model, what in WAYS]
        try:
            at = installed(package, place)
            if provider:
                bundle, named = PROVIDERS[provider]
                found = in_chromium(place, at, [{**one, "bundle": bundle, "provider": named} for one in jobs])
            else:
                found = in_node(place, at, jobs)
        except Missing as reason:
            return [str(reason)] * len(WAYS)
    return [script_cell(folder, model, what, found[f"{model}-{what}"]) for model, what in WAYS]


def script_job(folder: Path, place: Path, model: str, what: str, provider: str) -> dict[str, Any]:
    told = json.loads((folder / f"{model}.json").read_text())
    with np.load(folder / f"{model}.npz") as read:
        held = dict(read)
    name = f"{model}-{what}"
    if what == "predict":
        feeds = {one: held[f"0/{one}"] for one in told["inputs"]}
        return job(place, name, (folder / f"{model}-small.onnx").read_bytes(), [feeds], ["probability"])
    batches = [{one: held[f"{i}/{one}"] for one in told["data"]} for i in range(UPDATES)]
    state = {one: held[f"state/{one}"] for one in told["state"]}
    step = (folder / f"{model}-step.onnx").read_bytes()
    if provider == "webgpu":
        step = without_doubles(step)
    return job(place, name, step, batches, told["parameters"], state, told["bound"])


def script_cell(folder: Path, model: str, what: str, made: Made) -> str:
    if made.error:
        return shortened(made.error, made.error)
    losses = {f"loss{i}": np.array(loss) for i, loss in enumerate(made.losses)}
    return compared(folder, model, what, {**losses, **made.values}, flat=True)


def compared(folder: Path, model: str, what: str, got: dict[str, np.ndarray], flat: bool = False) -> str:
    """How far values are from those of ONNX Runtime in Python, which comes first."""
    path = folder / f"{model}-{what}-want.npz"
    if not path.exists():
        np.savez(path, **got)
    with np.load(path) as read:
        wanted = dict(read)
    if flat:
        got = {
            key: value.reshape(wanted[key].shape) if value.size == wanted[key].size else value
            for key, value in got.items()
        }
    if any(got[key].shape != wanted[key].shape for key in wanted):
        return "a result of the wrong shape"
    return figure(max(float(np.abs(got[key] - wanted[key]).max()) for key in wanted))


def put(marker: str, lines: list[str]) -> None:
    text = PAGE.read_text("utf-8")
    begin, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    before, _, rest = text.partition(begin)
    PAGE.write_text(before + begin + "\n" + "\n".join(lines) + "\n" + end + rest.partition(end)[2], "utf-8")


def main(python: str) -> None:
    known: dict[str, Any] = versions(python, {d for _, d, _ in (*TOOLS, *RUNTIMES, *VIEWERS)})
    with tempfile.TemporaryDirectory() as held:
        folder = Path(held)
        x = prepare(folder)
        rows = ["| tool | version | predictions | training part | `dlc check` | metadata |", "|" + " --- |" * 6]
        for name, distribution, code in TOOLS:
            rows.append(
                f"| {name} | {known.get(distribution, 'not installed')} | {tool(python, folder, name, code, x)} |"
            )
            print(rows[-1], flush=True)
        put("tools", rows)
        for name, distribution, code in VIEWERS:
            failed = process(python, "-c", CONVERT + code, *map(str, (folder / "digits.onnx", "-", folder / "x.npy")))
            print(name, known.get(distribution), failed or "opens it", flush=True)
        heads = [f"{m}: {w}" for m in ("digits", "without dropout", "gpt", "lstm") for w in ("predicts", "trains")]
        rows = ["| runtime | version | " + " | ".join(heads) + " |", "|" + " --- |" * (2 + len(heads))]
        for name, distribution, code in RUNTIMES:
            add(rows, name, known.get(distribution, "not installed"), runtime(python, folder, code))
        for name, package, provider in JAVASCRIPT:
            add(rows, name, VERSIONS[package], javascript(folder, package, provider))


def add(rows: list[str], name: str, version: str, cells: list[str]) -> None:
    rows.append(f"| {name} | {version} | {' | '.join(cells)} |")
    print(rows[-1], flush=True)
    put("runtimes", rows)


if __name__ == "__main__":
    main(sys.argv[1])
