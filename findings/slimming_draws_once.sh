#!/usr/bin/env bash
# onnxslim 0.1.98: two RandomNormalLike nodes without a seed, which draw apart, are merged as one; and a Dropout whose training_mode is true is taken out.
source "$(dirname "$0")/onnxruntime.inc"
checked_with=(onnxslim==0.1.98)
checked <<'PY'
import onnxslim

x = np.ones(1000, np.float32)


def both(nodes, held=()):
    model = model_of(nodes, {"x": x}, FLOAT, held)
    for stage in model, onnxslim.slim(model):
        session = onnxruntime.InferenceSession(stage.SerializeToString(), providers=["CPUExecutionProvider"])
        yield session.run(None, {"x": x})[0], [node.op_type for node in stage.graph.node]


draws = [helper.make_node("RandomNormalLike", ["x"], ["a"]), helper.make_node("RandomNormalLike", ["x"], ["b"]), helper.make_node("Sub", ["a", "b"], ["y"])]
(apart, _), (once, nodes) = both(draws)
print(f"difference of two draws: spread {apart.std():.2f}, after slimming {once.std():.2f} {nodes}")
assert apart.std() > 1 and (once == 0).all()

held = [numpy_helper.from_array(np.array(0.5, np.float32), "ratio"), numpy_helper.from_array(np.array(True), "training")]
(dropped, _), (whole, nodes) = both([helper.make_node("Dropout", ["x", "ratio", "training"], ["a"]), helper.make_node("Neg", ["a"], ["y"])], held)
print(f"zeros of a training dropout: {(dropped == 0).mean():.2f}, after slimming {(whole == 0).mean():.2f} {nodes}")
assert 0.4 < (dropped == 0).mean() < 0.6 and (whole != 0).all()
PY
