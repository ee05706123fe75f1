"""What kind of work an operator does: ours (ONNX's names), torch's and XLA's, so that their profiles can stand beside
each other. None: no work on elements of tensors but what lies around it (dispatch, views, Python). A name that nobody
has sorted in yet raises `KeyError`, rather than being counted as something that it is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

PRODUCTS, CONVOLUTION, RECURRENCE, ELEMENTWISE = "products", "convolution", "recurrence", "elementwise"
REDUCTIONS, OPTIMIZER, MOVEMENT = "reductions", "optimizer", "data movement"
KINDS = (PRODUCTS, CONVOLUTION, RECURRENCE, ELEMENTWISE, REDUCTIONS, OPTIMIZER, MOVEMENT)


def sorted_in(table: dict[str, str]) -> dict[str, str]:
    """Of each name its kind, from names by kind."""
    return {name: kind for kind, names in table.items() for name in names.split()}


ONNX = sorted_in(
    {
        PRODUCTS: "Gemm MatMul Product FusedMatMul Einsum Each",
        CONVOLUTION: "Conv ConvTranspose ConvWeights ConvSquares",
        RECURRENCE: "Scan",
        ELEMENTWISE: "Chain Add Sub Mul Div Neg Abs Sqrt Reciprocal Exp Log Tanh Erf Sigmoid Relu Pow Sign Max Min"
        " Where Equal Less LessOrEqual Greater GreaterOrEqual And Or Not Xor Mod BitShift BitwiseXor Cos Sin Floor Ceil"
        " Cast Softplus Clip",
        REDUCTIONS: "ReduceSum ReduceSumSquare ReduceMax ReduceMin ReduceMean ArgMax Softmax LogSoftmax MaxPool"
        " AveragePool LayerNormalization CumSum",
        MOVEMENT: "Reshape Transpose Concat Slice Split Pad Expand Squeeze Unsqueeze Shape Gather GatherElements"
        " ScatterND ScatterElements ReorderInput ReorderOutput Trilu Identity Range Size Tile ConstantOfShape OneHot"
        " Guard",
    }
)


def of_onnx(op: str, side: str) -> str:
    """`side`: "forward", "backward" or "update"; what an update does beside products is the optimizer's."""
    kind = ONNX[op]
    return OPTIMIZER if side == "update" and kind in (ELEMENTWISE, REDUCTIONS, MOVEMENT) else kind


# Attention is one operator, of torch as of the native library (Each): its products, with the softmax between them.
ATEN = sorted_in(
    {
        PRODUCTS: "mm addmm bmm baddbmm dot mv _scaled_dot_product_flash_attention_for_cpu"
        " _scaled_dot_product_flash_attention_for_cpu_backward",
        CONVOLUTION: "mkldnn_convolution convolution_backward",
        RECURRENCE: "mkldnn_rnn_layer mkldnn_rnn_layer_backward",
        ELEMENTWISE: "add add_ sub sub_ rsub mul mul_ div div_ neg pow sqrt exp log sigmoid sigmoid_backward tanh"
        " tanh_backward clamp clamp_ clamp_min threshold_backward gelu gelu_backward log_sigmoid_forward"
        " log_sigmoid_backward bernoulli_ native_dropout native_dropout_backward eq lt gt where reciprocal"
        " binary_cross_entropy_with_logits",
        REDUCTIONS: "sum mean _log_softmax _log_softmax_backward_data nll_loss_forward nll_loss_backward"
        " native_batch_norm native_batch_norm_backward native_layer_norm native_layer_norm_backward"
        " max_pool2d_with_indices max_pool2d_with_indices_backward linalg_vector_norm mse_loss mse_loss_backward",
        OPTIMIZER: "_fused_adam_ _fused_adamw_ _fused_sgd_ _foreach_add_ _foreach_norm _foreach_mul_",
        MOVEMENT: "copy_ fill_ cat index_select embedding_dense_backward",
    }
)
AROUND = sorted_in(
    {
        "around": "as_strided as_strided_ batch_norm _batch_norm_impl_index clone contiguous conv2d convolution"
        " _convolution cross_entropy_loss cudnn_is_acceptable detach dropout embedding embedding_backward empty"
        " empty_like empty_strided expand flatten item layer_norm lift_fresh _local_scalar_dense log_sigmoid"
        " log_softmax lstm matmul max_pool2d mse_loss narrow new_empty_strided nll_loss nll_loss_nd numpy_T ones_like"
        " permute relu reshape resize_ resolve_conj result_type scaled_dot_product_attention select select_backward"
        " slice square squeeze stack t to _to_copy transpose unbind unsqueeze view _unsafe_view zero_ zeros zeros_like"
    }
)


def of_torch(name: str, updating: bool) -> str | None:
    """`updating`: whether the optimizer called it."""
    op = name.removeprefix("aten::")
    if op == name or op in AROUND:
        return None
    return OPTIMIZER if updating else ATEN[op]


# --- XLA


MOVES = frozenset(
    sorted_in(
        {
            MOVEMENT: "bitcast broadcast concatenate constant copy copy-start copy-done dynamic-slice"
            " dynamic-update-slice gather get-tuple-element iota pad parameter reshape reverse scatter slice transpose"
            " tuple"
        }
    )
)
SUMS = {"reduce", "reduce-window", "select-and-scatter", "sort"}
INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (?:\(.*?\)|\S+) ([\w\-]+)\(")
RECURRENT = re.compile(r"jvp\(\)\)?/while/")  # a scan of the model; what draws random numbers loops further inside
COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{$")


@dataclass
class Instruction:
    opcode: str
    origin: str  # what was written for it: the path of names under which JAX traced it
    calls: list[str] = field(default_factory=list)  # computations


class Hlo:
    """The instructions of a compiled module, by its text."""

    def __init__(self, text: str) -> None:
        self.known: dict[str, Instruction] = {}
        self.inside: dict[str, list[Instruction]] = {}
        self.roots: dict[str, Instruction] = {}
        at = ""
        for line in text.splitlines():
            if begun := COMPUTATION.match(line):
                at = begun[1]
            elif found := INSTRUCTION.match(line):
                origin = re.search(r'op_name="([^"]*)"', line)
                one = Instruction(found[3], origin[1] if origin else "", re.findall(r"calls=%?([\w.\-]+)", line))
                self.known[found[2]] = one
                self.inside.setdefault(at, []).append(one)
                if found[1]:
                    self.roots[at] = one

    def opcodes(self, one: Instruction) -> Iterator[str]:
        """Of an instruction, or of all that are fused in it."""
        if not one.calls:
            yield one.opcode
        for name in one.calls:
            for inner in self.inside[name]:
                yield from self.opcodes(inner)

    def origin(self, one: Instruction) -> str:
        return one.origin or next((self.origin(self.roots[name]) for name in one.calls), "")

    def kind(self, name: str) -> str | None:
        """Of the instruction with that name. What was traced outside of the loss and its derivative is the update."""
        one = self.known[name]
        codes, origin = set(self.opcodes(one)), self.origin(one)
        if codes & {"while", "conditional", "call"}:
            return None
        kind = CONVOLUTION if "convolution" in codes else PRODUCTS if "dot" in codes or "custom-call" in codes else ""
        if RECURRENT.search(origin):
            return RECURRENCE
        if not kind and origin and "jvp(" not in origin:
            return OPTIMIZER
        return kind or (REDUCTIONS if codes & SUMS else MOVEMENT if codes <= MOVES else ELEMENTWISE)
