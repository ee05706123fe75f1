#!/usr/bin/env bash
# onnxruntime 1.32.0: Cast of words to whole numbers reads as far as it can and drops the rest without an error: "1e3" and "1_000" are 1, "3.7" is 3. To float "1e3" is 1000.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
words = ["12", "1e3", "1_000", "3.7"]
held = [helper.make_tensor("x", TensorProto.STRING, [len(words)], [word.encode() for word in words])]
whole = run([helper.make_node("Cast", ["x"], ["y"], to=INT)], {}, INT, held)
real = run([helper.make_node("Cast", ["x"], ["y"], to=FLOAT)], {}, FLOAT, held)
for row in zip(words, whole, real):
    print("%-6s as int64 %4d   as float32 %6g" % row)
assert list(whole) == [12, 1, 1, 3] and real[1] == 1000
PY
