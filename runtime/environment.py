"""What a run was trained with: noted in its settings, and shown by its report."""

from __future__ import annotations

import importlib.metadata
import os
import platform

PACKAGES = ("dlc-compiler", "onnxruntime", "onnxruntime-gpu", "onnx", "numpy")


def environment() -> dict[str, str]:
    """Versions, the system and how many cores there are, by what they are called."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {**found, "system": platform.platform(), "cores": str(os.cpu_count() or 1)}
