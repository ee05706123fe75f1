#!/usr/bin/env bash
# onnxruntime 1.32.0: TreeEnsembleClassifier whose leaves weigh both of two classes, 10 and 20, finds the right scores and then answers with the label 1, which the model does not have; a third class without any weight makes it right.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
x = np.array([[1], [2]], np.float32)
tree = dict(
    nodes_treeids=[0] * 3, nodes_nodeids=[0, 1, 2], nodes_featureids=[0] * 3, nodes_values=[1.0, 0.0, 0.0],
    nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"], nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0],
    class_treeids=[0] * 4, class_nodeids=[1, 1, 2, 2], class_ids=[0, 1, 0, 1], class_weights=[0.3, 0.7, 0.8, 0.2])
for labels, answer in ([10, 20, 30], [20, 10]), ([10, 20], [1, 1]):
    seen = each("TreeEnsembleClassifier", {"x": x}, outputs=("label", "scores"), domain="ai.onnx.ml", classlabels_int64s=labels, **tree)
    assert seen["reference"][0].tolist() == [20, 10] and seen["onnxruntime"][0].tolist() == answer
    assert np.allclose(seen["onnxruntime"][1][:, :2], [[0.3, 0.7], [0.8, 0.2]])
PY
