"""Devices beside `cpu` and `cuda`: the execution providers that the installed ONNX Runtime has, or a plug-in package of
the name `onnxruntime-ep-NAME`, which has functions `get_library_path` and `get_ep_name`.

Data and state stay in the memory of the host, and ONNX Runtime copies what a step needs. What a provider has no kernel
for runs on the CPU.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from .failures import Error, plain
from .nearest import nearest

END = "ExecutionProvider"
OTHER = ("CPU", "CUDA", "Azure")  # those with a name of their own here, and one that asks a service
CALLED = {"directml": "dml"}
PACKAGES = ("openvino", "webgpu", "mlx", "qnn", "nv_tensorrt_rtx", "migraphx")  # plug-ins that are looked for by name


def memory(device: str) -> str:
    """Where the buffers of a device are, as ONNX Runtime calls it."""
    return "cuda" if device == "cuda" else "cpu"


def offered(module: Any) -> dict[str, str]:
    """The devices beside `cpu` and `cuda` that this ONNX Runtime has itself, and its names for them."""
    names = [name for name in module.get_available_providers() if name.removesuffix(END) not in OTHER]
    return {name.removesuffix(END).lower(): name for name in names}


def plugins() -> list[str]:
    """The plug-in packages that are installed, by the names of their devices."""
    return [name for name in PACKAGES if find_spec(f"onnxruntime_ep_{name}") is not None]


def find(module: Any, device: str) -> str:
    """The device of this name. Raises `Error` E0803 where nothing that is installed offers it, E0802 where a plug-in
    finds no hardware for it."""
    wanted = CALLED.get(device, device)
    known = offered(module)
    if wanted in known:
        return wanted
    if device.isidentifier() and find_spec(f"onnxruntime_ep_{device}") is not None:
        _registered(module, device)
        return device
    there = list(dict.fromkeys(["auto", "cpu", "cuda", *known, *plugins()]))
    near = {"gpu": "cuda", "nvidia": "cuda"}.get(device) or next(iter(nearest(device, there, 1)), None)
    raise Error(
        "E0803",
        f"there is no device `{device}` here",
        notes=[f"there are {', '.join(there)}"],
        help=f"did you mean `{near}`?"
        if near
        else "a plug-in of ONNX Runtime may offer it, a package of the name `onnxruntime-ep-DEVICE`",
    )


@functools.cache
def _registered(module: Any, device: str) -> list[Any]:
    """What a plug-in offers, once its library is loaded. Raises `Error` E0802."""
    try:
        package = importlib.import_module(f"onnxruntime_ep_{device}")
        module.register_execution_provider_library(f"dlc.{device}", package.get_library_path())
        found = [one for one in module.get_ep_devices() if one.ep_name == package.get_ep_name()]
    except Exception as problem:  # whatever another package raises
        why = plain(" ".join(str(problem).split()))[:300]
        raise Error(
            "E0802",
            f"the plug-in for `{device}` does not load",
            notes=[why],
            help="--device cpu; `dlc doctor` shows the versions",
        ) from None
    if not found:
        raise Error(
            "E0802",
            f"there is no hardware for `{device}` here",
            notes=[f"its plug-in {package.get_ep_name()} was loaded and offers nothing"],
            help="install the driver of the device, or --device cpu",
        )
    return found


def use(module: Any, options: Any, device: str) -> list[str] | None:
    """Makes options of a session for a device; the providers to name beside them, None where the options say it."""
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if device in (known := offered(module)):
        return [known[device], "CPUExecutionProvider"]
    options.add_provider_for_devices(_registered(module, device), {})
    return None


SAID = 300  # characters of what a provider says


def refused(device: str, problem: Exception, sources: Mapping[str, str]) -> Error:
    """What a device says of a model that it cannot load, which may be thousands of characters of its own code: where it
    names a node of ours, from there on, with the line of the spec. `sources`: as of `at_run_time`."""
    why = plain(" ".join(str(problem).split()))
    words = re.finditer(r"[^\s,;()'\"]+", why)
    node, at = next(((word[0], word.start()) for word in words if word[0] in sources), ("", max(0, len(why) - SAID)))
    if not node and len(why) > SAID:
        at = why.find(" ", at) + 1
    cut = why[at : at + SAID]
    return Error(
        "E0802",
        f"`{device}` cannot load this model",
        where=sources.get(node) or None,
        notes=[f"node: {node}"] * bool(node) + [("… " if at else "") + cut + " …" * (at + SAID < len(why))],
        help="--device cpu",
    )


def taken(session: Any) -> tuple[int, int]:
    """How many nodes of a session its device takes, of how many; all where ONNX Runtime does not say."""
    try:
        parts = session.get_provider_graph_assignment_info()
    except Exception:  # older ones have no such function
        return 1, 1
    counts = {True: 0, False: 0}
    for part in parts:
        counts[part.ep_name == "CPUExecutionProvider"] += len(part.get_nodes())
    return counts[False], counts[True] + counts[False]
