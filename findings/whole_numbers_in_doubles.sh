#!/usr/bin/env bash
# onnxruntime 1.32.0: on the CPU ReduceSum, ReduceProd and Pow of int64 lose what doubles cannot hold; ReduceMax and CumSum do not.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
big = np.array([2**53, 1], np.int64)
total = run([helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)], {"x": big}, INT)
running = run([helper.make_node("CumSum", ["x", "axis"], ["y"])], {"x": big}, INT,
              [numpy_helper.from_array(np.array(0, np.int64), "axis")])
factors = np.array([3**20, 3**17], np.int64)
product = run([helper.make_node("ReduceProd", ["x"], ["y"], keepdims=0)], {"x": factors}, INT)
power = run([helper.make_node("Pow", ["x", "e"], ["y"])], {"x": np.array([3], np.int64)}, INT,
            [numpy_helper.from_array(np.array(39, np.int64), "e")])
greatest = run([helper.make_node("ReduceMax", ["x"], ["y"], keepdims=0)], {"x": big + 1}, INT)
print("ReduceSum", int(total), "CumSum", int(running[-1]), "exact", 2**53 + 1)
print("ReduceProd", int(product), "exact", 3**37)
print("Pow", int(power[0]), "exact", 3**39)
print("ReduceMax", int(greatest), "exact", 2**53 + 1)
assert int(total) == 2**53 and int(running[-1]) == 2**53 + 1 and int(greatest) == 2**53 + 1
assert int(product) != 3**37 and int(power[0]) != 3**39
PY
