"""docs/other-tools.md: its tables name what the script runs, and its scaler goes before a model."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import dlc
import numpy as np
import onnxruntime
import pytest
from dlc.cli.app import main
from other_tools import JAVASCRIPT, RUNTIMES, TOOLS

PAGE = (Path(__file__).parent.parent / "docs" / "other-tools.md").read_text("utf-8")


def test_the_tables_name_every_tool() -> None:
    for name, _, _ in (*TOOLS, *RUNTIMES, *JAVASCRIPT):
        assert PAGE.count(f"| {name} | ") == 1


def test_a_scaler_before_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("skl2onnx", reason="skl2onnx is not installed: pip install skl2onnx==1.20.0")
    from sklearn.preprocessing import StandardScaler

    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(3, 2, (20, 4)).astype(np.float32)
    np.savez("data.npz", x=x)
    dlc.compile("model m { input x: float[batch, 4]; output p = x |> dense(3) |> softmax }").save("model.onnx")
    assert main(["export", "model.onnx", "--inference", "--no-metadata", "-o", "small.onnx"]) == 0
    [block] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    Path("scaler.py").write_text(block, "utf-8")
    subprocess.run([sys.executable, "scaler.py"], check=True)

    def predicted(path: str, rows: np.ndarray) -> np.ndarray:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return np.asarray(session.run(None, {session.get_inputs()[0].name: rows})[0])

    scaled = StandardScaler().fit(x).transform(x).astype(np.float32)
    np.testing.assert_allclose(predicted("both.onnx", x), predicted("small.onnx", scaled), atol=1e-6)
