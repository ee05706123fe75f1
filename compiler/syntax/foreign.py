"""What other languages and editors write, and what this language says instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache

from ..defaults import PRECISIONS
from ..diagnostics import did_you_mean
from . import names

# Signs of other languages, and what this one says.
OPERATORS = {
    "**": "`^` is the power: `x^2`",
    "&&": "write `and`",
    "&": "write `and`",
    "||": "write `or`",
    "|": "write `or`, or `|>` to pass a value on",
    "!": "write `not`",
    "!==": "write `!=`",
    "===": "write `==`",
    "<>": "write `!=`",
    "=<": "write `<=`",
    "=>": "write `=` for the value of a function, `->` for its type, `>=` to compare",
    ":=": "a name is given a value with `=`, a state with `<-`",
    "~=": "write `!=` to compare, `~` for how a value is distributed",
    "?": "write `a if c else b`",
    "::": "write `.`",
    "%>%": "write `|>`",
    "\\": "a line continues by itself after an operator and inside brackets",
    **{
        f"{op}=": f"write `x = x {op} ...` for a name, `x <- x {op} ...` for a state"
        for op in ("+", "-", "*", "/", "//", "%", "@", "^")
    },
    "**=": "write `x = x^...`",
    "++": "write `x = x + 1`",
    "--": "write `x = x - 1`",
}

# Words that begin a statement in other languages.
WORDS = {
    "def": "a function is declared with `fn f(x) = ...`",
    "function": "a function is declared with `fn f(x) = ...`",
    "func": "a function is declared with `fn f(x) = ...`",
    "lambda": "a function has a name: `fn f(x) = ...` at the top of the file",
    "class": "something with parameters is declared with `layer name(...)(x) { ... }`",
    "struct": "something with parameters is declared with `layer name(...)(x) { ... }`",
    "elif": "write `else if`",
    "elseif": "write `else if`",
    "elsif": "write `else if`",
    "while": "loops are `for i in 0..n { ... }`, unrolled, and `scan t over 0..n { ... }`, run",
    "switch": "write `if ... { } else if ... { }`",
    "match": "write `if ... { } else if ... { }`",
    "let": "a name is given a value with `name = value`",
    "var": "a name is given a value with `name = value`",
    "const": "a name is given a value with `name = value`",
    "auto": "a name is given a value with `name = value`",
    "from": 'write `import std.vision` or `import "blocks.dl"`',
    "include": 'write `import std.vision` or `import "blocks.dl"`',
    "print": "what a model computes is shown with `output name = ...` or `metric name = ...`",
    "pass": "an empty block is `{ }`",
    "break": "a loop runs all its iterations; `where` chooses values",
    "continue": "a loop runs all its iterations; `where` chooses values",
    "try": "nothing is caught at run time; `where` keeps values in range",
}

# Names of other libraries that are far from ours.
NAMES = {
    "range": "`for i in 0..n` and `scan t over 0..n` run over numbers, `arange(n)` is a tensor of them",
    "len": "`size(x, 0)` is a size",
    "mse": "write `squared(prediction, y)`, or say what is distributed: `y ~ normal(prediction, 1)`",
    "mse_loss": "write `squared(prediction, y)`, or say what is distributed: `y ~ normal(prediction, 1)`",
    "mae": "write `absolute(prediction, y)`, or say what is distributed: `y ~ laplace(prediction, 1)`",
    "bce": "write `binary_cross_entropy(logits, y)`, or say what is distributed: `y ~ bernoulli(logits)`",
    "nll": "say what is distributed: `y ~ categorical(logits)`",
    "linear": "write `dense(out)`",
    "Linear": "write `dense(out)`",
    **dict.fromkeys(
        ("conv1d", "conv2d", "conv3d", "Conv1d", "Conv2d", "Conv3d"),
        "write `conv(channels, kernel = 3)`, for any number of dimensions",
    ),
    "flatten": 'write `reshape(x, [batch, n])`, or `rearrange(x, "b c h w -> b (c h w)")`',
    "view": "write `reshape(x, [...])`",
    "squeeze": "an index removes a dimension: `x[:, 0]`",
    "unsqueeze": "`none` in an index adds a dimension of 1: `x[:, none]`",
    "expand_dims": "`none` in an index adds a dimension of 1: `x[:, none]`",
    "permute": "write `transpose(x, [0, 2, 1])`, or `rearrange`",
    "cat": "write `concat([a, b], axis = 1)`",
    "concatenate": "write `concat([a, b], axis = 1)`",
    "matmul": "write `a @ b`",
    "pow": "write `x^y`",
    "ln": "write `log(x)`",
    "topk": "write `top_values(x, k)`, or `top(x, k)` for their positions",
    "detach": "write `stop_gradient(x)`",
    "randn": "write `normal_like(x)`",
    "rand": "write `uniform_like(x)`",
    **dict.fromkeys(("swish", "SiLU", "Swish"), "write `silu(x)`"),
    **{
        name: f"write `{name.lower()}(x)`" for name in ("ReLU", "GELU", "ELU", "Softplus", "Sigmoid", "Tanh", "Softmax")
    },
    **dict.fromkeys(("LeakyReLU", "leakyrelu"), "write `leaky_relu(x, slope = 0.01)`"),
    "relu6": "write `clamp(x, 0, 6)`",
    **dict.fromkeys(("expit", "logistic"), "write `sigmoid(x)`"),
    "logsigmoid": "write `log_sigmoid(x)`",
    "logit": "write `log(p) - log(1 - p)`",
    **dict.fromkeys(("GroupNorm", "groupnorm"), "write `x |> group_norm(groups = 2)`"),
    **dict.fromkeys(("LayerNorm", "LayerNormalization", "layernorm"), "write `x |> layer_norm()`"),
    **dict.fromkeys(
        ("BatchNorm", "BatchNormalization", "batchnorm", "BatchNorm1d", "BatchNorm2d"), "write `x |> batch_norm()`"
    ),
    **dict.fromkeys(
        ("standardize", "Normalization", "StandardScaler"),
        "write `m, v = moments(x, axis = batch)` and `(x - m) / sqrt(v)`, or scale the data first",
    ),
    **dict.fromkeys(
        (
            "nll_loss",
            "NLLLoss",
            "CrossEntropyLoss",
            "softmax_cross_entropy",
            "categorical_crossentropy",
            "sparse_categorical_crossentropy",
            "softmax_cross_entropy_with_integer_labels",
        ),
        "write `cross_entropy(logits, y)`, of logits and classes as whole numbers",
    ),
    **dict.fromkeys(
        (
            "binary_crossentropy",
            "BCELoss",
            "BCEWithLogitsLoss",
            "bce_loss",
            "sigmoid_binary_cross_entropy",
            "binary_cross_entropy_with_logits",
        ),
        "write `binary_cross_entropy(logits, y)`",
    ),
    **dict.fromkeys(("label_smoothing", "smooth_labels"), "write `cross_entropy(logits, y, smoothing = 0.1)`"),
    **dict.fromkeys(("MSELoss", "mean_squared_error", "squared_error", "l2_loss"), "write `squared(prediction, y)`"),
    **dict.fromkeys(("L1Loss", "mean_absolute_error", "l1_loss"), "write `absolute(prediction, y)`"),
    **dict.fromkeys(("smooth_l1_loss", "SmoothL1Loss", "huber_loss", "HuberLoss"), "write `huber(prediction, y)`"),
    **dict.fromkeys(
        ("kl_div", "kl_divergence", "KLDivLoss"),
        "write `kl_normal(p, q)` of normal distributions, or `sum(p * (log(p) - log(q)))`",
    ),
    **dict.fromkeys(("cosine_similarity", "CosineSimilarity"), "write `sum(normalize(a) * normalize(b), axis = -1)`"),
    **dict.fromkeys(
        ("f1_score", "f1", "F1Score", "precision_score", "recall_score"),
        "metrics are ratios of means, as in `tp = mean(hit * y)`: `metric f1 = 2 * tp / (mean(hit) + mean(y))`",
    ),
    **dict.fromkeys(
        ("auc", "roc_auc", "roc_auc_score", "AUC"),
        "it needs all pairs of rows: compute it from `predict`'s output; a metric is made of means over rows",
    ),
    **dict.fromkeys(("Dense", "Lin", "fc", "fully_connected"), "write `dense(out)`"),
    **dict.fromkeys(("Dropout",), "write `dropout(rate)`"),
    **dict.fromkeys(("Embedding", "Embed"), "write `embedding(vocabulary, width)`"),
    **dict.fromkeys(("LSTM", "GRU", "RNN", "SimpleRNN"), "write `lstm(hidden)`, `gru(hidden)` or `rnn(hidden)`"),
    **dict.fromkeys(("MaxPool2d", "MaxPooling2D", "max_pool2d", "max_pool1d"), "write `max_pool(x, 2)`"),
    **dict.fromkeys(("AvgPool2d", "AveragePooling2D", "avg_pool2d", "avg_pool1d"), "write `avg_pool(x, 2)`"),
    **dict.fromkeys(("GlobalAveragePooling2D", "GlobalAveragePooling1D"), "write `global_avg_pool(x)`"),
    **dict.fromkeys(
        ("Conv2D", "Conv1D", "ConvTranspose2d", "Conv2DTranspose"),
        "write `conv(channels, kernel = 3)` or `conv_transpose(channels, kernel = 3)`",
    ),
    **dict.fromkeys(("Flatten",), "write `reshape(x, [batch, n])`"),
    **dict.fromkeys(
        ("Adam", "AdamW", "SGD", "RMSprop"), "optimizers are written in lower case: `adam(1e-3)`, `sgd(0.1)`"
    ),
    **dict.fromkeys(
        ("CosineAnnealingLR", "cosine_decay", "cosine_decay_schedule", "CosineDecay"),
        "write `cosine(lr, over = steps)`",
    ),
    **dict.fromkeys(("exponential_decay_schedule", "ExponentialLR"), "write `exponential_decay(lr, over = steps)`"),
    **dict.fromkeys(("StepLR", "MultiStepLR", "piecewise_constant"), "write `step_decay(lr, every = 1000)`"),
    **dict.fromkeys(("clip_by_global_norm", "clip_grad_norm_"), "write `clip: global_norm(1.0)` in the train block"),
    **dict.fromkeys(("clip", "clip_by_value"), "write `clamp(x, lo, hi)`"),
    **dict.fromkeys(("reduce_mean", "reduce_sum", "reduce_max"), "write `mean(x)`, `sum(x)` or `max(x)`"),
    **dict.fromkeys(("tensordot", "bmm", "mm"), "write `a @ b`, or `einsum`"),
    **dict.fromkeys(("amax", "amin"), "write `max(x, axis = -1)` or `min(x, axis = -1)`"),
    **dict.fromkeys(("stack_arrays", "vstack", "hstack"), "write `stack([a, b])` or `concat([a, b], axis = 0)`"),
    **dict.fromkeys(("full", "empty", "full_like"), "write `broadcast_to(value, [n])`"),
    **dict.fromkeys(("take", "index_select"), "write `x[index]`; `pick(x, index)` takes one from each row"),
    **dict.fromkeys(("randperm",), "write `permutation(n)`; rows of the data are shuffled in training anyway"),
    "xavier": "write `glorot_uniform`",
    "kaiming": "write `he_normal`",
    **dict.fromkeys(
        ("np", "numpy", "torch", "tf", "jnp", "jax", "math", "nn", "F"), "functions need no prefix: `exp(x)`"
    ),
    **dict.fromkeys(("True", "False"), "write `true` and `false`"),
    **dict.fromkeys(("None", "null"), "write `none`"),
    **names.table(),
}
# Arguments of other libraries, and what they are called here: the first of these that the function has.
ARGUMENTS = {
    "learning_rate": "lr", "padding": "pad", "units": "out", "out_features": "out", "filters": "channels",
    "out_channels": "channels", "kernel_size": "kernel", "strides": "stride", "dim": "axis", "keepdim": "keepdims",
    "hidden_size": "hidden", "p": "rate", "epsilon": "eps", "weight_decay": "decay", "use_bias": "bias",
    "negative_slope": "slope", "label_smoothing": "smoothing", "num_groups": "groups",
    "num_heads": "heads", "nhead": "heads", "n_heads": "heads", "n_head": "heads", "is_causal": "causal",
    "dim_feedforward": "hidden", "attn_mask": "mask", "attention_mask": "mask", "key_padding_mask": "mask",
    "memory": "context",
    "output_padding": "output_pad", "num_embeddings": "vocabulary", "embedding_dim": "width",
    "features": "out channels", "n_units": "out", "dilation_rate": "dilation", "kernel_initializer": "weights",
    "weight_init": "weights", "w_init": "weights", "kernel_init": "weights", "vocab_size": "vocabulary",
    "input_dim": "vocabulary", "output_dim": "width", "hidden_dim": "hidden", "hidden_units": "hidden",
    "momentum": "beta momentum", "weight": "weights", "T_max": "over", "decay_steps": "over", "total_steps": "over",
    "warmup_steps": "warmup", "num_warmup_steps": "warmup", "max_norm": "limit", "clip_norm": "limit",
    "clip_value": "limit", "loc": "mean low", "mu": "mean", "sigma": "std scale", "scale": "std scale",
    "stddev": "std", "gamma": "factor", "step_size": "every half lr", "correction": "ddof", "go_backwards": "backward",
    "num_layers": "layers", "n_layers": "layers", "count_include_pad": "count_pad",
    "drop_rate": "rate", "dropout": "rate", "sequence_length": "lengths", "seq_lengths": "lengths",
    "b1": "beta1", "b2": "beta2", "minval": "low", "maxval": "high", "input": "x", "initial_lr": "peak",
    "peak_value": "peak", "init_value": "peak", "base_lr": "low", "max_lr": "high peak", "init": "weights",
    "every_k_schedule": "turns", "accumulation_steps": "turns", "sync_period": "k", "slow_step_size": "alpha",
}  # fmt: skip

# Arguments of other libraries that nothing has here, and what is written.
NOWHERE = {
    **dict.fromkeys(("activation", "act", "nonlinearity"), "it is applied behind the layer: `x |> dense(8) |> relu`"),
    **dict.fromkeys(
        ("in_features", "in_channels", "input_size", "input_shape", "num_features", "normalized_shape", "d_in"),
        "leave it out: the size is that of what the layer is applied to",
    ),
    **dict.fromkeys(("inplace", "out_", "copy"), "leave it out: nothing is changed in place"),
    **dict.fromkeys(
        ("return_sequences", "return_state"), "all states come out, `[batch, time, hidden]`: the last is `y[:, -1]`"
    ),
    "keep_prob": "write `dropout(0.2)`: the share that is set to 0",
    "batch_first": "leave it out: a sequence is `[batch, time, n]`",
    "bidirectional": "write `concat([w |> lstm(8), w |> lstm(8, backward = true)], axis = -1)`",
    **dict.fromkeys(
        ("dtype", "device"), "it is chosen when compiling or training: `dlc train SPEC --precision float64`"
    ),
    **dict.fromkeys(("name", "scope"), "a layer is called as it is bound: `head = dense(8)`"),
    **dict.fromkeys(("reduction", "size_average"), "losses are means over every prediction"),
    "from_logits": "leave it out: losses and distributions take logits",
    "betas": "write `adam(1e-3, beta1 = 0.9, beta2 = 0.999)`",
    **dict.fromkeys(
        ("affine", "elementwise_affine", "center", "trainable"), "leave it out: the scale and shift are learned"
    ),
    **dict.fromkeys(("data_format", "memory_format"), "leave it out: channels come after the batch, `[batch, c, ...]`"),
    **dict.fromkeys(("kernel_regularizer", "regularizer"), "write `penalty: l2(1e-4) on *.W` in the train block"),
}

# Settings of other libraries, and what the train block says.
SETTINGS = {
    **dict.fromkeys(("batch_size", "minibatch", "bs"), "write `batch: 32`"),
    **dict.fromkeys(
        ("shuffle", "drop_last"), "rows are reshuffled each epoch, from the seed; `batch: all` keeps their order"
    ),
    **dict.fromkeys(("early_stopping", "patience", "early_stop"), "write `stop: patience(5, on = validation.loss)`"),
    **dict.fromkeys(("optimizer", "optim"), "write `minimize loss using adam(1e-3)`"),
    **dict.fromkeys(
        ("loss", "criterion", "objective"), "the model says `loss = ...`; here: `minimize loss using adam(1e-3)`"
    ),
    **dict.fromkeys(("lr", "learning_rate"), "the optimizer takes it: `minimize loss using adam(1e-3)`"),
    **dict.fromkeys(("weight_decay", "regularization", "l2", "l1"), "write `penalty: l2(1e-4) on *.W`"),
    **dict.fromkeys(("label_smoothing",), "it belongs to the loss: `loss = cross_entropy(logits, y, smoothing = 0.1)`"),
    **dict.fromkeys(
        ("clip_norm", "clipnorm", "grad_clip", "gradient_clip", "max_grad_norm"), "write `clip: global_norm(1.0)`"
    ),
    **dict.fromkeys(
        ("validation_split", "validation", "val_split", "valid", "validation_data"),
        'write `validate: 0.2`, or `validate: "valid.npz"`',
    ),
    **dict.fromkeys(
        ("scheduler", "lr_scheduler", "warmup"),
        "the rate is a schedule: `using adam(cosine(1e-3, over = steps, warmup = 100))`",
    ),
    **dict.fromkeys(("metrics",), "the model says `metric NAME = ...`"),
    **dict.fromkeys(("num_epochs", "max_epochs", "n_epochs"), "write `epochs: 10`"),
    **dict.fromkeys(("max_steps", "num_steps", "iterations", "n_iter"), "write `steps: 1000`"),
    **dict.fromkeys(("dataset", "train_data", "file", "path"), 'write `data: "data.npz"`'),
    **dict.fromkeys(("random_state", "random_seed"), "write `seed: 0`"),
    **dict.fromkeys(
        ("device", "gpu", "precision", "num_workers", "verbose", "log_every"),
        "it is not part of a spec: the command line takes it, `dlc train --help`",
    ),
}

# Types of other languages, and what a tensor holds here.
TYPES = {
    **dict.fromkeys(
        ("string", "str", "text", "String", "char", "bytes"),
        "tensors hold numbers: number the words or characters outside, "
        "`input s: int[batch, length] in 0..vocabulary`, for `embedding(vocabulary, width)`",
    ),
    **dict.fromkeys(
        ("category", "categorical", "label", "enum", "factor"),
        "classes are whole numbers: `target y: int[batch] in 0..classes`",
    ),
    **dict.fromkeys(
        ("date", "datetime", "time", "timestamp"), "write numbers: days or seconds since a date of your choice"
    ),
    **dict.fromkeys(
        (*PRECISIONS, "double", "half", "real", "f32", "f64", "number"),
        "write `float`; its width is chosen when compiling: `--precision float64`",
    ),
    **dict.fromkeys(
        ("int8", "int16", "int32", "int64", "uint8", "long", "integer", "i32", "i64", "nat"),
        "write `int`: whole numbers of 64 bits",
    ),
    **dict.fromkeys(("boolean", "logical"), "write `bool`"),
    **dict.fromkeys(("tensor", "Tensor", "array", "matrix", "scalar"), "say what it holds: `float[batch, 3]`"),
    **dict.fromkeys(("complex", "complex64", "complex128"), "real and imaginary parts are two values here"),
}

# Characters that look like one of the language, by editors and word processors.
LOOKALIKES = {
    "'": 'strings use double quotes: `"..."`',
    "`": 'strings use double quotes: `"..."`',
    **dict.fromkeys("“”„«»‘’", 'strings use straight double quotes: `"..."`'),
    **dict.fromkeys("−–—", "write `-`"),
    **dict.fromkeys("×·∙⋅∗", "write `*`"),
    **dict.fromkeys("÷∕", "write `/`"),
    "≤": "write `<=`",
    "≥": "write `>=`",
    "≠": "write `!=`",
    "←": "write `<-`",
    "→": "write `->`",
    "…": "write `...`",
    "√": "write `sqrt(x)`",
    "∑": "write `sum(x)`",
    "²": "write `^2`",
    "³": "write `^3`",
    "∞": "write `inf`",
    "$": "names are letters, digits and `_`",
}


def lookup(
    word: str, tables: Iterable[Mapping[str, str]], known: Iterable[str] = (), near: Iterable[str] = ()
) -> str | None:
    """A help line for a word that is not known: what one of the tables says of it, a known name written another way
    (`Layer_Norm1d`), what a table says of it written another way, or the known names nearest to it. `near` are names of
    the text: one that the word nearly is comes before what a table says."""
    known, tables = list(known), list(tables)
    for table in tables:
        if word in table:
            meant = did_you_mean(word, near)
            return f"{meant} The `{word}` of other libraries: {table[word]}" if meant else table[word]
    folded = fold(word)
    alike = [name for name in known if fold(name) == folded]
    if alike and folded != word:
        return f"here it is called `{alike[0]}`"
    for table in tables:
        said = _folded(tuple(table.items())).get(_bare(folded))
        if said is not None:
            return said
    return did_you_mean(word, known) or did_you_mean(word.lower(), known)


def argument(word: str, known: Iterable[str]) -> str | None:
    """The same for an argument that a function does not have, of those that it has."""
    known = list(known)
    for ours in called(word):
        if ours in known:
            return f"here it is called `{ours}`"
    return lookup(word, [NOWHERE], known)


def called(word: str) -> list[str]:
    """What an argument of other libraries may be called here."""
    said = ARGUMENTS.get(word) or _folded(tuple(ARGUMENTS.items())).get(_bare(fold(word)), "")
    return said.split()


def fold(word: str) -> str:
    """A word in lower case without `_`, a number of dimensions and the ending `layer`."""
    bare = re.sub(r"[123]d\Z", "", word.lower().replace("_", ""))
    return bare.removesuffix("layer") or bare


def _bare(folded: str) -> str:
    return folded.removesuffix("loss") or folded


@cache
def _folded(rows: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return {_bare(fold(word)): said for word, said in reversed(rows)}
