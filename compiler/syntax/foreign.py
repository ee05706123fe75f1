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
        f"{op}=": f"write `x = x {op} 2` for a name, `count <- count {op} 2` for a state"
        for op in ("+", "-", "*", "/", "//", "%", "^")
    },
    "@=": "write `x = x @ theta`",
    "**=": "write `x = x^2`",
    "++": "write `x = x + 1`",
    "--": "write `x = x - 1`",
}

# Words that begin a statement in other languages.
WORDS = {
    "def": "a function is declared with `fn f(x) = 2 * x`",
    "function": "a function is declared with `fn f(x) = 2 * x`",
    "func": "a function is declared with `fn f(x) = 2 * x`",
    "lambda": "a function has a name: `fn f(x) = 2 * x` at the top of the file",
    "class": "something with parameters is declared with `layer scaled()(x) { param w: float; return w * x }`",
    "struct": "something with parameters is declared with `layer scaled()(x) { param w: float; return w * x }`",
    "elif": "write `else if`",
    "elseif": "write `else if`",
    "elsif": "write `else if`",
    "while": "loops are `for i in 0..4 { x = 2 * x }`, unrolled, and `scan i over 0..4 { made[i] = i * x }`, run",
    "switch": "write `if n == 1 { x = 2 * x } else if n == 2 { x = 3 * x }`",
    "match": "write `if n == 1 { x = 2 * x } else if n == 2 { x = 3 * x }`",
    "let": "a name is given a value with `z = 2 * x`",
    "var": "a name is given a value with `z = 2 * x`",
    "const": "a name is given a value with `z = 2 * x`",
    "auto": "a name is given a value with `z = 2 * x`",
    "from": 'write `import std.layers` or `import "blocks.dl"`',
    "include": 'write `import std.layers` or `import "blocks.dl"`',
    "print": "what a model computes is shown with `output shown = x` or `metric shown = mean(x)`",
    "pass": "an empty block is `{ }`",
    "break": "a loop runs all its iterations; `where` chooses values",
    "continue": "a loop runs all its iterations; `where` chooses values",
    "try": "nothing is caught at run time; `where` keeps values in range",
}

NAMES = names.table()

# Arguments of other libraries, and what they are called here: the first of these that the function has.
ARGUMENTS = {
    "learning_rate": "lr", "padding": "pad", "units": "out", "out_features": "out", "filters": "channels",
    "out_channels": "channels", "kernel_size": "kernel", "strides": "stride", "dim": "axis", "keepdim": "keepdims",
    "hidden_size": "hidden", "p": "rate order", "epsilon": "eps", "weight_decay": "decay", "use_bias": "bias",
    "negative_slope": "slope", "label_smoothing": "smoothing", "num_groups": "groups",
    "num_heads": "heads", "nhead": "heads", "n_heads": "heads", "n_head": "heads", "is_causal": "causal",
    "dim_feedforward": "hidden", "attn_mask": "mask", "attention_mask": "mask", "key_padding_mask": "mask",
    "memory": "context",
    "output_padding": "output_pad", "num_embeddings": "vocabulary", "embedding_dim": "width",
    "features": "out channels hidden", "n_units": "out", "dilation_rate": "dilation", "kernel_initializer": "weights",
    "weight_init": "weights", "w_init": "weights", "kernel_init": "weights", "vocab_size": "vocabulary",
    "input_dim": "vocabulary", "output_dim": "width", "hidden_dim": "hidden", "hidden_units": "hidden",
    "momentum": "beta momentum", "T_max": "over", "decay_steps": "over every", "total_steps": "over",
    "warmup_steps": "warmup", "num_warmup_steps": "warmup", "max_norm": "limit", "clip_norm": "limit",
    "clip_value": "limit", "loc": "mean low", "mu": "mean", "sigma": "std scale", "scale": "std scale",
    "stddev": "std", "gamma": "factor", "step_size": "every half lr", "correction": "ddof", "go_backwards": "backward",
    "num_layers": "layers", "n_layers": "layers", "count_include_pad": "count_pad",
    "drop_rate": "rate", "dropout": "rate", "sequence_length": "lengths", "seq_lengths": "lengths",
    "b1": "beta1", "b2": "beta2", "minval": "low", "maxval": "high", "initial_lr": "peak",
    "input": "x logits prediction score anchor", "peak_value": "peak", "init_value": "peak", "base_lr": "low",
    "max_lr": "high peak", "init": "weights start", "every_k_schedule": "turns", "accumulation_steps": "turns",
    "sync_period": "k", "slow_step_size": "alpha", "alpha": "slope rho strength", "l1_ratio": "share",
    "ord": "order", "num_classes": "depth", "num_segments": "size", "dim_size": "size", "pool_size": "kernel",
    "shifts": "shift", "repeats": "times", "reps": "counts", "multiples": "counts",
    "perm": "axes", "permutation": "axes", "dims": "axes axis", "pad_width": "width", "paddings": "width pad",
    "constant_values": "value", "fill_value": "value", "diagonal": "k", "min": "lo low", "max": "hi high",
    "a_min": "lo", "a_max": "hi", "min_value": "lo", "max_value": "hi", "clip_value_min": "lo", "clip_value_max": "hi",
    "labels": "y", "target": "y", "targets": "y", "y_true": "y", "y_pred": "prediction logits score",
    "predictions": "prediction logits score", "positive": "same", "negative": "other", "quantile": "level",
    "chunks": "parts", "sections": "parts", "indices_or_sections": "parts", "num_or_size_splits": "parts",
    "indices": "index", "ids": "index", "decay_rate": "factor rate rho", "end_learning_rate": "last",
    "eta_min": "low last", "T_0": "over", "transition_steps": "over", "total_iters": "over", "end_value": "last",
    "first_decay_steps": "over",
    "step_size_up": "half", "beta": "delta",
}  # fmt: skip

# Arguments of other libraries that nothing has here: the words, which functions they are given to (a kind of
# declaration, and arguments of which it has one), and what is written. {f} is the function.
_NOWHERE = """
activation act nonlinearity | layer | it is the last argument without a name: `x |> dense(8, relu)`
in_features in_channels input_size input_shape num_features normalized_shape d_in | layer | leave it out: the size is that of what the layer is applied to
return_sequences return_state | layer backward | all states come out, `[batch, time, hidden]`: the last is `(w |> {f}(8))[:, -1]`
batch_first time_major | layer backward | leave it out: a sequence is `[batch, time, n]`
bidirectional | layer backward | write `w |> bidirectional({f}, 8)`
num_layers n_layers | layer backward | write `w |> stacked({f}, 8, layers = 2)`
dropout recurrent_dropout | layer backward | a layer of its own does it: `w |> {f}(8) |> dropout(0.2)`
keep_prob | layer rate | the rate is the share that is set to 0: `x |> dropout(0.2)` keeps 0.8
padding_idx mask_zero | layer vocabulary | a mask does it: `where((y > 0)[:, none], y |> {f}(10, 4), 0)`
padding_mode | layer kernel | pad first: `pad(h, 1, axis = [2, 3], mode = "reflect") |> {f}(8, kernel = 3)`
data_format memory_format channels_last | any kernel groups momentum | leave it out: channels come after the batch, `[batch, c, ...]`
ceil_mode | any kernel | windows lie within the value: `max_pool(h, 3, stride = 2, pad = 1)` makes room for more
affine elementwise_affine center | layer eps | leave it out: the scale is learned, and the shift where there is one
track_running_stats | layer momentum | leave it out: the running mean and variance are used outside training
kernel_regularizer regularizer bias_regularizer activity_regularizer | layer | write `penalty: l2(1e-4) on *.W` in the train block
bias_initializer bias_init | layer bias | leave it out: a bias starts from 0
trainable requires_grad | layer | the train block says what is trained: `minimize loss over head.* using sgd(0.1)`, or `freeze theta`
training train deterministic is_training use_running_average | layer | leave it out: a layer knows whether it trains (`if training`)
name scope | layer | a layer is called as it is bound: `head = dense(8)`
name scope | any | leave it out: a value is called as it is bound, `z = relu(x)`
dtype | any | it is chosen when compiling: `dlc train SPEC --precision float64`
device | any | it is chosen when training: `dlc train SPEC --device cuda`
rng key generator prng_key | any | leave it out: all draws come from `seed: 7` of the train block
inplace out_ copy | any | leave it out: nothing is changed in place
reduction size_average reduce | fn logits prediction score anchor | leave it out: losses are means over every prediction
from_logits | any logits | leave it out: losses and distributions take logits
ignore_index | fn logits | write `y ~ weighted(categorical(logits), y != 2)`, which leaves the class 2 out
weight class_weight class_weights pos_weight | fn logits | write `y ~ weighted(categorical(logits), stack([1.0, 2.0, 1.0])[y])`, a weight for each class
weight sample_weight | fn prediction score | write `t ~ weighted(normal(prediction, 1), hit)`, a weight for each row
betas | optimizer beta1 | write `minimize loss using {f}(1e-3, beta1 = 0.9, beta2 = 0.999)`
weight_decay decay | optimizer lr | write `minimize loss using adamw(1e-3, decay = 1e-2)`; for other optimizers `penalty: l2(5e-3) on *.W`, half of the weight decay
clip_norm global_clipnorm max_grad_norm | optimizer | write `clip: global_norm(1.0)` in the train block
clipnorm | optimizer | write `clip: each_norm(1.0)` in the train block
clipvalue | optimizer | write `clip: each_value(1.0)` in the train block
momentum | optimizer lr | write `minimize loss using momentum(1e-2, beta = 0.9)`
nesterov | optimizer lr | write `minimize loss using momentum(1e-2, beta = 0.9, nesterov = true)`
num_parameters | layer shared | leave it out: one for each channel; `h |> {f}(shared = true)` has one for all
amsgrad | optimizer beta2 | write `minimize loss using amsgrad(1e-3)`
foreach fused capturable maximize differentiable use_locking | optimizer | leave it out: it is not in the library
unbiased | fn ddof | write `{f}(x, ddof = 1)`, divided by the count less one
staircase | fn factor | stairs are `step_decay(1e-3, every = 100, factor = 0.9)`
validate_args allow_nan_stats | distribution | leave it out: what a number may be is always checked
"""  # noqa: E501  one line for each meaning


def _rows() -> dict[str, list[tuple[str, frozenset[str], str]]]:
    """Word -> the kind of declaration that it is given to, arguments of which that has one, what is written."""
    found: dict[str, list[tuple[str, frozenset[str], str]]] = {}
    for line in filter(None, _NOWHERE.splitlines()):
        words, where, said = line.split(" | ", 2)
        kind, *arguments = where.split()
        for word in words.split():
            found.setdefault(word, []).append((kind, frozenset(arguments), said))
    return found


NOWHERE = _rows()

# Settings of other libraries, and what the train block says.
SETTINGS = {
    **dict.fromkeys(("batch_size", "minibatch", "bs"), "write `batch: 32`"),
    **dict.fromkeys(("shuffle",), "rows are reshuffled each epoch, from the seed; `batch: all` keeps their order"),
    **dict.fromkeys(("early_stopping", "patience", "early_stop"), "write `stop: patience(5, on = validation.loss)`"),
    **dict.fromkeys(("optimizer", "optim"), "write `minimize loss using adam(1e-3)`"),
    **dict.fromkeys(
        ("loss", "criterion", "objective"),
        "the model says `loss = squared(prediction, t)`; here: `minimize loss using adam(1e-3)`",
    ),
    **dict.fromkeys(("lr", "learning_rate"), "the optimizer takes it: `minimize loss using adam(1e-3)`"),
    "weight_decay": "write `minimize loss using adamw(1e-3, decay = 1e-2)`; for other optimizers "
    "`penalty: l2(5e-3) on *.W`, half of the weight decay",
    **dict.fromkeys(("regularization", "l2"), "write `penalty: l2(1e-4) on *.W`"),
    "l1": "write `penalty: l1(1e-4) on *.W`",
    **dict.fromkeys(("label_smoothing",), "it belongs to the loss: `loss = cross_entropy(logits, y, smoothing = 0.1)`"),
    **dict.fromkeys(
        ("clip_norm", "global_clipnorm", "grad_clip", "gradient_clip", "max_grad_norm"),
        "write `clip: global_norm(1.0)`",
    ),
    "clipnorm": "write `clip: each_norm(1.0)`",
    "clipvalue": "write `clip: each_value(1.0)`",
    **dict.fromkeys(
        ("validation_split", "validation", "val_split", "valid", "validation_data"),
        'write `validate: 0.2`, or `validate: "valid.npz"`',
    ),
    **dict.fromkeys(
        ("scheduler", "lr_scheduler", "warmup"),
        "the rate is a schedule: `minimize loss using adam(cosine(1e-3, over = steps, warmup = 100))`",
    ),
    **dict.fromkeys(("class_weight", "pos_weight"), "write `class_weights: balanced`, or a weight for each class"),
    **dict.fromkeys(("sample_weight", "sample_weights", "weight"), "write `weights: abs(t)`, a weight for each row"),
    **dict.fromkeys(("metrics",), "the model says `metric error = absolute(prediction, t)`"),
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
        "`input words: int[batch, length] in 0..1000`, for `words |> embedding(1000, 16)`",
    ),
    **dict.fromkeys(
        ("category", "categorical", "label", "enum", "factor"),
        "classes are integers: `target label: int[batch] in 0..10`",
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
        "write `int`: integers of 64 bits",
    ),
    **dict.fromkeys(("boolean", "logical"), "write `bool`"),
    **dict.fromkeys(("tensor", "Tensor", "array", "matrix", "scalar"), "say what it holds: `float[batch, 3]`"),
    **dict.fromkeys(("complex", "complex64", "complex128"), "real and imaginary parts are two values here"),
}

# Characters that look like one of the language, by editors and word processors.
LOOKALIKES = {
    "'": 'strings use double quotes: `"text"`',
    "`": 'strings use double quotes: `"text"`',
    **dict.fromkeys("“”„«»‘’", 'strings use straight double quotes: `"text"`'),
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


def argument(word: str, known: Iterable[str], kind: str, name: str) -> str | None:
    """The same for an argument that a function does not have, of those that it has. `kind` is its declaration's ("fn",
    "layer", "distribution", "optimizer")."""
    known = list(known)
    for ours in called(word):
        if ours in known:
            return f"here it is called `{ours}`"
    for near in (word, *(other for other in NOWHERE if _bare(fold(other)) == _bare(fold(word)))):
        for of, arguments, said in NOWHERE.get(near, ()):
            if of in ("any", kind) and (not arguments or not arguments.isdisjoint(known)):
                return said.replace("{f}", name)
    return lookup(word, [], known)


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
