#!/usr/bin/env bash
# onnxruntime 1.32.0: its fusion of (1 / s) * y into y / s is applied to whole numbers too, where the quotients differ.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
nodes = [helper.make_node("Div", ["one", "s"], ["q"]), helper.make_node("Mul", ["q", "x"], ["y"])]
fed = {"s": np.array(2, np.int64), "x": np.array(4, np.int64)}
held = [numpy_helper.from_array(np.array(1, np.int64), "one")]
levels = onnxruntime.GraphOptimizationLevel
plain, basic = (int(run(nodes, fed, INT, held, level)) for level in (levels.ORT_DISABLE_ALL, levels.ORT_ENABLE_BASIC))
print("(1 / 2) * 4 without optimization", plain, "- at the basic level", basic)
assert (plain, basic) == (0, 2)
PY
