#!/usr/bin/env bash
# onnx 1.23.2: the reference evaluator's LSTM, GRU and RNN do not look at sequence_lens; onnxruntime ends each row where its length says.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
numbers = np.random.default_rng(0)
for kind, gates in ("LSTM", 4), ("GRU", 3), ("RNN", 1):
    fed = {"x": numbers.normal(size=(3, 2, 4)).astype(np.float32), "w": numbers.normal(size=(1, gates * 3, 4)).astype(np.float32),
           "r": numbers.normal(size=(1, gates * 3, 3)).astype(np.float32)}
    held = [numpy_helper.from_array(np.array([1, 3], np.int32), "lengths")]
    node = helper.make_node(kind, ["x", "w", "r", "", "lengths"], ["y"], hidden_size=3)
    y, theirs = run([node], fed, FLOAT, held), reference([node], fed, FLOAT, held)
    print(f"{kind:5} row of length 1, times 2 and 3: onnxruntime {np.abs(y[1:, 0, 0]).max():.3f}   reference {np.abs(theirs[1:, 0, 0]).max():.3f}")
    assert (y[1:, 0, 0] == 0).all() and (theirs[1:, 0, 0] != 0).all()
    assert np.allclose(y[:, 0, 1], theirs[:, 0, 1], atol=1e-5)
PY
