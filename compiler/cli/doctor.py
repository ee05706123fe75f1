"""dlc doctor"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from . import report
from .options import OUTPUT, Output
from .report import BAD_INPUT

RUNTIMES = ("onnxruntime", "onnxruntime-gpu")
NEEDED = ("lark", "networkx", "numpy", "onnx", "ml_dtypes", "safetensors", "rich", "cyclopts")
OPTIONAL = {"pygraphviz": "graph"}


def doctor(*, output: Output = OUTPUT) -> int:
    """Look at the installation. Status 2 when something must be mended."""
    facts, problems = examine()
    if output.json:
        report.say(json.dumps({"ok": not problems, **facts, "problems": problems}, ensure_ascii=False))
        return BAD_INPUT if problems else 0
    rows = []
    for name, value in facts.items():
        if isinstance(value, dict):
            value = "\n".join(f"{key} {text or '(not installed)'}" for key, text in value.items())
        elif isinstance(value, list):
            value = ", ".join(value) or "none"
        rows.append((name.replace("_", " "), str(value)))
    report.show([("", False), ("", False)], rows, header=False)
    report.say("")
    for problem in problems:
        report.say(f"! {problem['problem']}\n  = help: {problem['help']}")
    if not problems:
        report.say("nothing needs to be fixed")
    return BAD_INPUT if problems else 0


def examine() -> tuple[dict[str, Any], list[dict[str, str]]]:
    """What is installed, and what is in the way."""
    from .. import __version__

    problems: list[dict[str, str]] = []
    installed = {name: version_of(name) for name in (*NEEDED, *RUNTIMES, *OPTIONAL)}
    for name in NEEDED:
        if installed[name] is None:
            problems.append({"problem": f"{name} is not installed", "help": "pip install dlc-compiler"})
    facts: dict[str, Any] = {
        "dlc": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        "packages": installed,
    }
    facts |= _runtime(installed, problems)
    facts["native kernels"] = _native(bool(facts["providers"]))
    telling = os.environ.get("ORT_DISABLE_TELEMETRY", "1") in ("0", "false", "")
    facts["telemetry"] = "on: ORT_DISABLE_TELEMETRY is set to allow it" if telling else "off"
    facts["program"] = _program(problems)
    return facts, problems


def version_of(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _runtime(installed: dict[str, str | None], problems: list[dict[str, str]]) -> dict[str, Any]:
    """ONNX Runtime: which wheel, its providers, whether CUDA starts."""
    present = [name for name in RUNTIMES if installed[name]]
    if not present:
        problems.append(
            {
                "problem": "ONNX Runtime is not installed: specs compile, nothing trains or predicts",
                "help": 'pip install "dlc-compiler[cpu]", or [gpu] where there is a CUDA device',
            }
        )
        return {"providers": []}
    if len(present) > 1:
        problems.append(
            {
                "problem": "onnxruntime and onnxruntime-gpu are both installed: they overwrite each other's files",
                "help": "pip uninstall -y onnxruntime onnxruntime-gpu, then install one of them again",
            }
        )
    from dlc.runtime.failures import Error
    from dlc.runtime.session import choose, onnxruntime

    facts: dict[str, Any] = {"providers": []}
    try:
        facts["providers"] = list(onnxruntime().get_available_providers())
        if "CUDAExecutionProvider" in facts["providers"]:
            facts["cuda"] = "works" if choose("auto") == "cuda" else "does not start"
    except Error as problem:
        again = f"pip install --force-reinstall {present[0]}"
        problems.append({"problem": problem.message, "help": problem.help or again})
    except Exception as problem:  # a broken wheel may raise anything when it loads
        problems.append(
            {
                "problem": f"ONNX Runtime does not load: {problem}".split("\n")[0],
                "help": f"pip install --force-reinstall {present[0]}",
            }
        )
    if "onnxruntime-gpu" in present:
        facts["cuda libraries"] = cuda_libraries()
        if facts.get("cuda") != "works":
            problems.append(
                {
                    "problem": "onnxruntime-gpu is installed but CUDA does not start",
                    "help": 'pip install "dlc-compiler[gpu]", and look for the driver with nvidia-smi',
                }
            )
    return facts


def _native(runs: bool) -> str:
    """The library of our own kernels: nothing needs it, so that it is missing is no problem."""
    from dlc.runtime import native

    costs = "everything works without, but steps with many elementwise operations (Adam, GELU) take longer"
    if native.library() is None:
        return f"not built: {costs}. With a C compiler: pip install --force-reinstall --no-deps dlc-compiler"
    if native.lanes() is None:
        return f"{native.library()} does not load: {costs}"
    why = native.refusal() if runs else None
    if why is not None:
        return f"not taken ({why}): {costs}"
    return f"for {native.lanes()}" + ("" if native.allowed() else f", switched off by {native.VARIABLE}")


def cuda_libraries() -> dict[str, str]:
    """NVIDIA's wheels: CUDA, cuBLAS, cuDNN..."""
    names = {str(d.metadata["Name"]).lower(): d.version for d in metadata.distributions() if d.metadata["Name"]}
    return {name: names[name] for name in sorted(names) if name.startswith("nvidia-")}


def _program(problems: list[dict[str, str]]) -> str:
    """The script that `dlc` starts, and whether another program of that name comes first on the PATH."""
    found = shutil.which("dlc")
    own = Path(sys.executable).parent / ("dlc.exe" if os.name == "nt" else "dlc")
    if found is None:
        return "not on the PATH" + (f" ({own})" if own.exists() else "")
    if own.exists() and not os.path.samefile(found, own):
        problems.append(
            {
                "problem": f"another program named dlc comes first on the PATH: {found}",
                "help": f"call {own}, or put its folder first",
            }
        )
    return found
