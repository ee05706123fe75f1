#!/usr/bin/env bash
# onnxruntime 1.32.0: StringSplit without a delimiter, which splits at whitespace, does so at blanks alone: words on two lines or after a tab stay one, with the line's end inside.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
x = np.array(["one  two", "one\ntwo", " one\t two\n"], object)
seen = each("StringSplit", {"x": x}, outputs=("y", "count"), opset=20)
assert seen["reference"][0].tolist() == [["one", "two"]] * 3 and seen["reference"][1].tolist() == [2, 2, 2]
assert seen["onnxruntime"][0].tolist() == [["one", "two"], ["one\ntwo", ""], ["one\t", "two\n"]] and seen["onnxruntime"][1].tolist() == [2, 1, 2]
PY
