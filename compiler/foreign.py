"""What other languages and editors write, and what this language says instead."""

from __future__ import annotations

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
    "\\": "a line goes on by itself after an operator and inside brackets",
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
    "class": "what has parameters is declared with `layer name(...)(x) { ... }`",
    "struct": "what has parameters is declared with `layer name(...)(x) { ... }`",
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
    "break": "a loop takes all its turns; `where` chooses values",
    "continue": "a loop takes all its turns; `where` chooses values",
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
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "Conv1d", "Conv2d", "Conv3d"),
                    "write `conv(channels, kernel = 3)`, for any number of dimensions"),
    "flatten": 'write `reshape(x, [batch, n])`, or `rearrange(x, "b c h w -> b (c h w)")`',
    "view": "write `reshape(x, [...])`",
    "squeeze": "an index takes a dimension away: `x[:, 0]`",
    "unsqueeze": "`none` in an index adds a dimension of 1: `x[:, none]`",
    "expand_dims": "`none` in an index adds a dimension of 1: `x[:, none]`",
    "permute": "write `transpose(x, [0, 2, 1])`, or `rearrange`",
    "cat": "write `concat([a, b], axis = 1)`",
    "concatenate": "write `concat([a, b], axis = 1)`",
    "matmul": "write `a @ b`",
    "pow": "write `x^y`",
    "ln": "write `log(x)`",
    "topk": "write `top_values(x, k)`, or `top(x, k)` for where they stand",
    "detach": "write `stop_gradient(x)`",
    "randn": "write `normal_like(x)`",
    "rand": "write `uniform_like(x)`",
    "xavier": "write `glorot_uniform`",
    "kaiming": "write `he_normal`",
    **dict.fromkeys(("np", "numpy", "torch", "tf", "jnp", "jax", "math", "nn", "F"),
                    "functions stand by themselves: `exp(x)`"),
    **dict.fromkeys(("True", "False"), "write `true` and `false`"),
    **dict.fromkeys(("None", "null"), "write `none`"),
}
# Arguments of other libraries, and what they are called here.
ARGUMENTS = {
    "learning_rate": "lr", "padding": "pad", "units": "out", "out_features": "out", "filters": "channels",
    "out_channels": "channels", "kernel_size": "kernel", "strides": "stride", "dim": "axis", "keepdim": "keepdims",
    "hidden_size": "hidden", "p": "rate", "epsilon": "eps", "weight_decay": "decay", "use_bias": "bias",
    "negative_slope": "slope", "output_padding": "output_pad", "num_embeddings": "vocabulary", "embedding_dim": "width",
}  # fmt: skip

# Characters that look like one of the language, by editors and word processors.
LOOKALIKES = {
    "'": 'texts stand in double quotes: `"..."`',
    "`": 'texts stand in double quotes: `"..."`',
    **dict.fromkeys("“”„«»‘’", 'texts stand in straight double quotes: `"..."`'),
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
