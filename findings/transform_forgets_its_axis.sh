#!/usr/bin/env bash
# openvino 2026.4.1, CPU: DFT of opset 20, whose axis is an input and no longer an attribute, transforms along axis 1 whatever the input says; the attribute of opset 17 is heard.
source "$(dirname "$0")/openvino.inc"
checked <<'PY'
x = np.arange(6, dtype=np.float32).reshape(1, 2, 3, 1)
right = np.fft.fft(x[..., 0], axis=2)
seen = each("DFT", {"x": x}, opset=17, axis=2)
assert all(np.allclose(found[..., 0] + 1j * found[..., 1], right, atol=1e-4) for found in seen.values())
seen = each("DFT", {"x": x}, {"axis": np.array(2)}, names=["x", "", "axis"], opset=20)
for name, axis in ("onnxruntime", 2), ("reference", 2), ("openvino", 1):
    assert np.allclose(seen[name][..., 0] + 1j * seen[name][..., 1], np.fft.fft(x[..., 0], axis=axis), atol=1e-4), name
PY
