#!/usr/bin/env bash
# openvino 2026.4.1, CPU: ONNX's Resize with antialias, exclude_outside or keep_aspect_ratio_policy runs as if they were not there, other values and another shape, though it refuses coordinate modes that it does not know.
source "$(dirname "$0")/openvino.inc"
checked <<'PY'
x = np.arange(1, 7, dtype=np.float32).reshape(1, 1, 1, 6)
seen = {}
for name, size, asked in (
    ("antialias", [1, 1, 1, 3], dict(mode="linear", antialias=1)),
    ("exclude_outside", [1, 1, 1, 9], dict(mode="cubic", exclude_outside=1)),
    ("keep_aspect_ratio_policy", [1, 7], dict(mode="nearest", axes=[2, 3], keep_aspect_ratio_policy="not_larger")),
):
    plain = {key: value for key, value in asked.items() if key != name}
    with_it, without = (each("Resize", {"x": x}, {"sizes": size}, names=["x", "", "", "sizes"], **more) for more in (asked, plain))
    assert np.allclose(with_it["onnxruntime"], with_it["reference"], atol=1e-5)
    assert with_it["openvino"].shape == without["openvino"].shape and np.allclose(with_it["openvino"], without["openvino"])
    assert with_it["openvino"].shape != with_it["reference"].shape or abs(with_it["openvino"] - with_it["reference"]).max() > 0.03
PY
