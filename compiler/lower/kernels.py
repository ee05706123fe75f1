"""What ONNX Runtime cannot run: element types for which it has no kernel of an operator at opset 21.

Read from the kernel registry of onnxruntime-gpu 1.31.1. float16 and bfloat16 are listed where neither the
CPU nor the CUDA provider has them (files of these precisions are for CUDA), the other types where the CPU
provider lacks them: every file must run without a GPU.
"""
from __future__ import annotations

VERSION = "1.31.1"

_LACKING = {
    "bfloat16":
    "Equal Pad",
    "bool":
    "Abs Add Div MatMul Max Min Mod Mul Sign Sub",
    "uint64":
    "Trilu",
    "bfloat16 bool":
    "Clip Greater GreaterOrEqual Less LessOrEqual",
    "bfloat16 uint64":
    "ReduceMax ReduceMin",
    "uint64 bool":
    "Neg Pow ReduceMean ReduceSum Where",
    "bfloat16 uint64 bool": (
        "ArgMax ArgMin CumSum Einsum ReduceL1 ReduceL2 ReduceLogSumExp ReduceProd ReduceSumSquare "
        "TopK"
    ),
    "float16 bfloat16 bool":
    "EyeLike",
    "int64 uint64 bool":
    "Dropout Exp Gemm IsInf IsNaN LayerNormalization Relu Sigmoid Softmax Sqrt Sum Tanh",
    "bfloat16 float64 uint64 bool":
    "OneHot",
    "bfloat16 int64 uint64 bool":
    "Ceil Cos Floor GRU LSTM Log LogSoftmax MaxPool Reciprocal Round Sin",
    "float16 bfloat16 uint64 bool":
    "Range",
    "float64 int64 uint64 bool":
    "Erf Gelu",
    "bfloat16 float64 int64 uint64 bool":
    "AveragePool Conv ConvTranspose Elu LeakyRelu RNN Selu Softplus",
    "float16 bfloat16 float32 float64 int64 uint64":
    "And Not Or Xor",
    "float16 bfloat16 float64 int64 uint64 bool":
    "Tan",
}

MISSING = {(op, dtype) for dtypes, ops in _LACKING.items() for op in ops.split() for dtype in dtypes.split()}

# Which operand's type chooses the kernel, where it is not the first's.
OPERAND = {"Where": 1, "OneHot": 2}
