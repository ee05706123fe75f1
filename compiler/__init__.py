"""dlc: state a model in a small language, get one .onnx file that predicts and trains anywhere."""
from __future__ import annotations

if __name__ == "compiler":
    raise ImportError("the package is `dlc`; this folder is its source (run from elsewhere, or `pip install -e .`)")
