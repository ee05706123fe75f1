"""Softmax regression with momentum, written by hand with `onnx.helper` alone: what the runtime is tested on
without the compiler. `compiled()` is as docs/file-format.md says; `foreign()` has no metadata of ours."""

from __future__ import annotations

import json

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

FEATURES, CLASSES = 4, 3
FLOAT, INT, KEY = TensorProto.FLOAT, TensorProto.INT64, TensorProto.UINT64


def constant(name: str, value: object, dtype: object) -> TensorProto:
    return numpy_helper.from_array(np.array(value, dtype), name)


def node(op: str, inputs: str, output: str, **attributes: object):
    name = attributes.pop("name", None) or f"{output}/{op}"
    made = helper.make_node(op, inputs.split(), [output], name=name, **attributes)
    entry = made.metadata_props.add()
    entry.key, entry.value = "dlc.source", f"softmax.dl:{len(op)}:5"
    return made


def value(name: str, dtype: int, shape: list) -> object:
    return helper.make_tensor_value_info(name, dtype, shape)


def start(classes: int) -> np.ndarray:
    """What `initialization` computes for W from seed 0."""
    return 0.1 * np.sin(np.arange(FEATURES * classes)).reshape(FEATURES, classes)


def main_graph(real: type, dtype: int, classes: int):
    return helper.make_graph(
        [node("MatMul", "x W", "xW"), node("Add", "xW b", "logits"), node("Softmax", "logits", "probability", axis=-1)],
        "predict",
        [value("x", dtype, ["batch", FEATURES])],
        [value("probability", dtype, ["batch", classes])],
        [constant("W", start(classes), real), constant("b", np.zeros(classes), real)],
    )


def algorithm(real: type, dtype: int, classes: int, rate: float):
    nodes = [
        # loss and metric of the batch
        node("LogSoftmax", "logits", "logp", axis=-1),
        node("Unsqueeze", "y constant/axis1", "y_column"),
        node("Equal", "y_column constant/classes", "is_class"),
        node("Cast", "is_class", "onehot", to=dtype),
        node("Mul", "onehot logp", "picked"),
        node("ReduceSum", "picked constant/axis1", "row_log", keepdims=0),
        node("Neg", "row_log", "row_loss"),
        node("ReduceMean", "row_loss", "loss", keepdims=0),
        node("ArgMax", "logits", "guess", axis=-1, keepdims=0),
        node("Equal", "guess y", "right"),
        node("Cast", "right", "right_float", to=dtype),
        node("ReduceMean", "right_float", "accuracy", keepdims=0),
        # a draw that depends on key and step, as small noise on the gradient
        node("Add", "step constant/one", "next/step"),
        node("Cast", "next/step", "step_u", to=KEY),
        node("Mul", "key step_u", "draw"),
        node("Div", "draw constant/thousand", "draw_div"),
        node("Mul", "draw_div constant/thousand", "draw_floor"),
        node("Sub", "draw draw_floor", "draw_mod"),
        node("Cast", "draw_mod", "draw_float", to=dtype),
        node("Mul", "draw_float constant/tiny", "noise"),
        # the rate falls linearly to half over the planned steps
        node("Cast", "step", "step_f", to=dtype),
        node("Cast", "steps", "steps_f", to=dtype),
        node("Div", "step_f steps_f", "done"),
        node("Mul", "done constant/half_rate", "fall"),
        node("Sub", "constant/rate fall", "lr"),
        # gradient, with a Gaussian prior on W divided by the observations
        node("Sub", "probability onehot", "error"),
        node("Shape", "y", "rows"),
        node("Cast", "rows", "rows_f", to=dtype),
        node("Div", "error rows_f", "error_mean"),
        node("Add", "error_mean noise", "error_noisy"),
        node("Gemm", "x error_noisy", "gW_data", transA=1),
        node("Cast", "observations", "observations_f", to=dtype),
        node("Div", "W observations_f", "gW_prior"),
        node("Add", "gW_data gW_prior", "gW"),
        node("ReduceSum", "error_noisy constant/axis0", "gb", keepdims=0),
        # momentum
        node("Mul", "momentum/v/W constant/mu", "kept/W"),
        node("Add", "kept/W gW", "next/momentum/v/W"),
        node("Mul", "lr next/momentum/v/W", "move/W"),
        node("Sub", "W move/W", "next/W"),
        node("Mul", "momentum/v/b constant/mu", "kept/b"),
        node("Add", "kept/b gb", "next/momentum/v/b"),
        node("Mul", "lr next/momentum/v/b", "move/b"),
        node("Sub", "b move/b", "next/b"),
        # evaluation: parts of a batch, then what closes them
        node("ReduceSum", "row_loss", "evaluate/part/0", keepdims=0),
        node("ReduceSum", "right_float", "evaluate/part/1", keepdims=0),
        node("Squeeze", "rows_f", "evaluate/part/2"),
        node("Div", "evaluate/total/0 evaluate/total/2", "evaluate/value/loss"),
        node("Div", "evaluate/total/1 evaluate/total/2", "evaluate/value/accuracy"),
    ]
    initializers = [
        constant("momentum/v/W", np.zeros((FEATURES, classes)), real),
        constant("momentum/v/b", np.zeros(classes), real),
        constant("step", 0, np.int64),
        constant("steps", 1, np.int64),
        constant("observations", 1, np.int64),
        constant("key", 7919, np.uint64),
        constant("constant/classes", np.arange(classes), np.int64),
        constant("constant/axis0", [0], np.int64),
        constant("constant/axis1", [1], np.int64),
        constant("constant/one", 1, np.int64),
        constant("constant/thousand", 1000, np.uint64),
        constant("constant/tiny", 1e-6, real),
        constant("constant/rate", rate, real),
        constant("constant/half_rate", rate / 2, real),
        constant("constant/mu", 0.9, real),
        *(constant(f"evaluate/total/{k}", 0, real) for k in range(3)),
    ]
    outputs = [
        value("loss", dtype, []),
        value("accuracy", dtype, []),
        value("next/W", dtype, [FEATURES, classes]),
        value("next/b", dtype, [classes]),
        value("next/momentum/v/W", dtype, [FEATURES, classes]),
        value("next/momentum/v/b", dtype, [classes]),
        value("next/step", INT, []),
        *(value(f"evaluate/part/{k}", dtype, []) for k in range(3)),
        value("evaluate/value/loss", dtype, []),
        value("evaluate/value/accuracy", dtype, []),
    ]
    return helper.make_graph(nodes, "train", [value("y", INT, ["batch"])], outputs, initializers)


def initialization(real: type, dtype: int, classes: int):
    return helper.make_graph(
        [
            node("Cast", "seed", "seed_f", to=dtype),
            node("Add", "grid seed_f", "shifted"),
            node("Sin", "shifted", "wave"),
            node("Mul", "wave small", "initial/W"),
            node("Mul", "seed prime", "seed_p"),
            node("Add", "seed_p prime", "initial/key"),
        ],
        "initialize",
        [],
        [value("initial/W", dtype, [FEATURES, classes]), value("initial/key", KEY, [])],
        [
            constant("seed", 0, np.uint64),
            constant("prime", 7919, np.uint64),
            constant("small", 0.1, real),
            constant("grid", np.arange(FEATURES * classes).reshape(FEATURES, classes), real),
        ],
    )


UPDATES = {name: f"next/{name}" for name in ("W", "b", "momentum/v/W", "momentum/v/b", "step")}
INITIALS = {"W": "initial/W", "key": "initial/key"}


def metadata(classes: int, precision: str, train: dict) -> dict[str, str]:
    settings = {"batch": 16, "epochs": 5, "data": None, "validate": None, "stop": None, "seed": None, "columns": None}
    return {
        "dlc.format": "1",
        "dlc.language": "1",
        "dlc.compiler": "0",
        "dlc.model": "softmax",
        "dlc.precision": precision,
        "dlc.settings": json.dumps({"model": {}, "train": {**settings, **train}}),
        "dlc.sources": json.dumps({"main": "softmax.dl", "files": {"softmax.dl": "model softmax() {}\n"}}),
        "dlc.signature": json.dumps(
            {
                "inputs": [{"name": "x", "dtype": "float", "shape": ["batch", FEATURES]}],
                "targets": [{"name": "y", "dtype": "int", "shape": ["batch"], "range": [0, classes]}],
                "outputs": [{"name": "probability", "dtype": "float", "shape": ["batch", classes]}],
                "parameters": [{"name": "W", "shape": [FEATURES, classes]}, {"name": "b", "shape": [classes]}],
                "states": [
                    {"name": "momentum/v/W", "shape": [FEATURES, classes], "dtype": "float"},
                    {"name": "momentum/v/b", "shape": [classes], "dtype": "float"},
                    {"name": "step", "shape": [], "dtype": "int"},
                ],
                "batch": "batch",
            }
        ),
        "dlc.evaluate": json.dumps(
            {
                "parts": [
                    {"part": f"evaluate/part/{k}", "total": f"evaluate/total/{k}", "reduce": "sum"} for k in range(3)
                ],
                "values": {"loss": "evaluate/value/loss", "accuracy": "evaluate/value/accuracy"},
            }
        ),
    }


def compiled(precision: str = "float32", classes: int = CLASSES, rate: float = 0.1, **train: object) -> ModelProto:
    """A file as `dlc compile` writes it; `train` are settings of the train block."""
    real = np.dtype(precision).type
    dtype = helper.np_dtype_to_tensor_dtype(np.dtype(precision))
    model = helper.make_model(
        main_graph(real, dtype, classes), opset_imports=[helper.make_opsetid("", 21)], ir_version=10
    )
    model.training_info.append(
        helper.make_training_info(
            algorithm(real, dtype, classes, rate),
            list(UPDATES.items()),
            initialization(real, dtype, classes),
            list(INITIALS.items()),
        )
    )
    helper.set_model_props(model, metadata(classes, precision, train))
    return model


def foreign(parts: int = 1) -> ModelProto:
    """Least squares by gradient descent as another tool might write it: no metadata, its own names. With two
    parts the second is a weight decay of its own, in the same iteration."""
    main = helper.make_graph(
        [helper.make_node("MatMul", ["features", "weights"], ["prediction"], name="predict")],
        "linear",
        [value("features", FLOAT, ["N", 2])],
        [value("prediction", FLOAT, ["N", 1])],
        [constant("weights", [[0.5], [-0.5]], np.float32)],
    )
    fit = helper.make_graph(
        [
            helper.make_node("Sub", ["prediction", "wanted"], ["residual"]),
            helper.make_node("Mul", ["residual", "residual"], ["squares"]),
            helper.make_node("ReduceMean", ["squares"], ["mean_square"], keepdims=0),
            helper.make_node("ReduceMean", ["residual"], ["bias_seen"], keepdims=0),
            helper.make_node("Shape", ["wanted"], ["shape"], start=0, end=1),
            helper.make_node("Cast", ["shape"], ["rows"], to=FLOAT),
            helper.make_node("Div", ["residual", "rows"], ["share"]),
            helper.make_node("Gemm", ["features", "share", "weights"], ["moved"], transA=1, alpha=-0.2, beta=1.0),
            helper.make_node("Add", ["turns", "unit"], ["turns_after"]),
        ],
        "descent",
        [value("wanted", FLOAT, ["N", 1])],
        [
            value("moved", FLOAT, [2, 1]),
            value("mean_square", FLOAT, []),
            value("bias_seen", FLOAT, []),
            value("turns_after", INT, []),
        ],
        [constant("turns", 0, np.int64), constant("unit", 1, np.int64)],
    )
    decay = helper.make_graph(
        [
            helper.make_node("Mul", ["weights", "factor"], ["shrunk"]),
            helper.make_node("Add", ["turns", "two"], ["turns_after"]),
        ],
        "decay",
        [],
        [value("shrunk", FLOAT, [2, 1]), value("turns_after", INT, [])],
        [constant("factor", 0.99, np.float32), constant("turns", 0, np.int64), constant("two", 2, np.int64)],
    )
    infos = [
        helper.make_training_info(fit, [("weights", "moved"), ("turns", "turns_after")], None, None),
        helper.make_training_info(decay, [("weights", "shrunk"), ("turns", "turns_after")], None, None),
    ]
    model = helper.make_model(main, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.training_info.extend(infos[:parts])
    return model


def blobs(rows: int = 90, seed: int = 0, classes: int = CLASSES) -> dict[str, np.ndarray]:
    """Three clouds of points and the cloud each belongs to."""
    draw = np.random.default_rng(seed)
    y = np.arange(rows) % classes
    centres = 2 * np.eye(classes, FEATURES)
    return {"x": (centres[y] + draw.normal(size=(rows, FEATURES))).astype(np.float32), "y": y.astype(np.int64)}
