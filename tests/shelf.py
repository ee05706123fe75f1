"""Specs that use everything in the standard library: for tests that look at every compiled file there is."""

from __future__ import annotations

import re
from pathlib import Path

from dlc.elaborate.library import standard_index
from library_cases import CASES

ROOT = Path(__file__).parent.parent
FILES = sorted([*(ROOT / "specs").glob("*.dl"), *(ROOT / "benchmarks").glob("*.dl")])

RULES = (
    *("sgd", "adam", "adamw", "rmsprop", "adagrad", "heavy_ball", "rprop", "adadelta", "adamax", "nadam", "amsgrad"),
    *("radam", "adabelief", "yogi", "adafactor", "lars", "lamb", "lion", "sign_sgd"),
)
# What stands in a train block, by the name of the declaration it uses.
TRAIN = {
    **{name: f"minimize loss using {name}(1e-2)" for name in RULES},
    "muon": "minimize loss over *.W using muon(1e-2); minimize loss over not *.W using sgd(1e-2)",
    "shampoo": "minimize loss using matrices(shampoo(1e-2), sgd(1e-2))",
    "newton": "minimize loss over *.b using newton(damping = 0.1); minimize loss over not *.b using sgd(1e-2)",
    "strong_wolfe": "minimize loss using strong_wolfe(sgd(1.0), trials = 3)",
    "clip_each": "minimize loss using clip_each(sgd(1e-2))",
    "noise": "minimize loss using noise(sgd(1e-2))",
    "sam": "minimize loss using sam(adam(1e-2))",
    "backtracking": "minimize loss using backtracking(sgd(1.0), trials = 3)",
    "plateau": "minimize loss using plateau(sgd(1e-2), patience = 3)",
    "ema": "minimize loss using ema(sgd(1e-2))",
    "newton_cg": "minimize loss using newton_cg(iterations = 3)",
    "gauss_newton": "minimize loss using gauss_newton(z, iterations = 3)",
    "levenberg_marquardt": "minimize loss using levenberg_marquardt(z, iterations = 3)",
    "lbfgs": "minimize loss using lbfgs(memory = 2, trials = 3)",
    "momentum": "minimize loss using momentum(1e-2, nesterov = true)",
    "accumulate": "minimize loss using accumulate(adam(1e-2), turns = 2)",
    "lookahead": "minimize loss using lookahead(sgd(1e-2), k = 2)",
    "constant_rate": "minimize loss using sgd(constant_rate(1e-2))",
    "step_decay": "minimize loss using sgd(step_decay(1e-2, every = 10))",
    "exponential_decay": "minimize loss using sgd(exponential_decay(1e-2, over = 10))",
    "cosine": "minimize loss using adam(cosine(1e-2, over = steps, warmup = 3))",
    "cyclic": "minimize loss using sgd(cyclic(1e-3, 1e-2, half = 5))",
    "polynomial": "minimize loss using sgd(polynomial(1e-2, over = steps, power = 2))",
    "inverse_time": "minimize loss using sgd(inverse_time(1e-2, over = 10))",
    "restarts": "minimize loss using sgd(restarts(1e-2, over = 10))",
    "piecewise": "minimize loss using sgd(piecewise([1e-2, 1e-3], ends = [10]))",
    "one_cycle": "minimize loss using sgd(one_cycle(1e-2, over = steps))",
    "anchored": "minimize loss using sgd(1e-2); penalty: anchored(0.5, 1e-3) on *.W",
    "elastic_net": "minimize loss using sgd(1e-2); penalty: elastic_net(1e-3) on *.W",
    "l1": "minimize loss using sgd(1e-2); penalty: l1(1e-3) on *.W",
    "l2": "minimize loss using sgd(1e-2); penalty: l2(1e-3) on *.W",
    "global_norm": "minimize loss using sgd(1e-2); clip: global_norm(1.0)",
    "each_norm": "minimize loss using sgd(1e-2); clip: each_norm(1.0)",
    "each_value": "minimize loss using sgd(1e-2); clip: each_value(1.0)",
}
# What the model of a train block has in it.
BODY = {
    **{
        name: f"z = x |> dense(3, weights = {name})"
        for name in (
            "zeros",
            "ones",
            "glorot_uniform",
            "glorot_normal",
            "he_uniform",
            "he_normal",
            "lecun_normal",
            "lecun_uniform",
            "orthogonal",
            "identity",
            "sparse(count = 2)",
            "constant(0.5)",
            "normal(0, 0.1)",
            "laplace(0, 0.1)",
            "half_normal(0.1)",
            "half_cauchy(0.1)",
            "uniform(-0.1, 0.1)",
            "truncated_normal(0, 0.1)",
            "student_t(5, 0, 0.1)",
            "gamma(2, 10)",
            "beta(2, 3)",
            "von_mises(0, 9)",
            "exponential(9)",
            "log_normal(-2, 1)",
            "cauchy(0, 0.01)",
        )
    },
    **{
        name: f"h = reshape(x, [batch, 2, 2]) |> {name}(3); z = h[:, -1] |> dense(3)" for name in ("rnn", "lstm", "gru")
    },
    **{
        f"{name} layers": f"h = reshape(x, [batch, 2, 2]) |> {text}; z = h[:, -1] |> dense(3)"
        for name, text in (
            ("leaky", "leaky_rnn(3, learned = true)"),
            ("skipping", "skip_rnn(3, skip = 2)"),
            ("echoing", "echo_state(5)"),
            ("stacked", "stacked(gru, 3, layers = 2, both = true, rate = 0.1)"),
        )
    },
    "states": "h, last = gru(3, last = true)(reshape(x, [batch, 2, 2]), start = x[:, :3]); z = last |> dense(3)",
    "memory": "z = memory(hops = 2)(x, reshape(x, [batch, 2, 2])) |> dense(3)",
    "ctc": "z = x |> dense(3)\n    loss spoken = ctc(broadcast_to(z[:, none], [batch, 4, 3]), y[:, none], blank = 0)",
    "beam_search": "g = dense(3)\n    z = x |> weight_noise(g)\n"
    "    text, score = beam_search(talking(g), x, width = 2, longest = 3)\n    metric likely = mean(score[:, 0])",
    "misled": "f = dense(3); u, v = mixup(0.2)(x, one_hot(y, 3)); z = f(u)\n    loss mixed = mean((z - v)^2)\n"
    "    loss misled = cross_entropy(f(fgsm(attacked(f = f, y = y), x)), y)\n"
    "    loss worse = cross_entropy(f(pgd(attacked(f = f, y = y), x, iterations = 2)), y)\n"
    "    loss smooth = contraction(tanh(f(x)), x) + gradient_penalty(tanh(f(x)), x)",
    "augmented": "h, t = reshape(x, [batch, 1, 2, 2]) |> random_flip() |> random_crop(pad = 1) |> random_rotation()\n"
    "        |> jitter(0.1, 0.1, 0.1) |> cutout(1) |> random_erasing() |> cutmix()(one_hot(y, 3))\n"
    "    s, r = random_window(1)(reshape(x, [batch, 2, 2]) |> random_mask(1), reshape(x, [batch, 2, 2]))\n"
    "    z = concat([reshape(h, [batch, 4]), sum(s + r, axis = 1)], axis = 1) |> dense(3)\n"
    "    loss mixed = mean((z - t)^2)",
    "matched": "U = eye(4)\n    s = broadcast_to((x |> dense(4))[:, none], [batch, 2, 4])\n"
    "    z = tanh(s)[:, 1] |> dense(3)\n"
    "    loss matched = gradient_match(grad(sum(sin(s)), s), tanh(s), U)",
    "attention": "h = reshape(x, [batch, 2, 2]) |> learned_positions(2) |> encoder_block(2, hidden = 3, rate = 0.1)\n"
    "    z = reshape(h |> attention(1, causal = true, turn = rotary), [batch, 4]) |> dense(3)",
    "decoder_block": "h = reshape(x, [batch, 2, 2]) |> sinusoidal_positions\n"
    "    z = decoder_block(2, hidden = 3, norm_first = false)(h, h, mask = x[:, none, 2:] > 0)[:, 1] |> dense(3)",
    "spectral_radius": "z = x |> dense(4, weights = spectral_radius) |> dense(3)",
    "estimators": "z = x |> dense(3) |> round_through |> sign_through |> reverse_gradient |> clip_gradient",
    "scores": "z, s = x |> dense(3), sum(x, axis = -1); t = 1 * (y > 0)\n    "
    "metric a = precision(s > 0, t) + recall(s > 0, t) + f1(s > 0, t) + matthews(s > 0, t)\n    "
    "metric b = auc(sigmoid(s), t) + average_precision(sigmoid(s), t) + top_k(z, y, k = 2)\n    "
    "metric c = macro_precision(z, y) + macro_recall(z, y) + macro_f1(z, y) + calibration_error(z, y)\n    "
    "metric d = perplexity(z, y) + r2(s, 1.0 * t) + rmse(s, t) + mape(s, 1 + t) + weighted_mean(s, t)\n    "
    "metric e = exact_auc(s, t) + exact_average_precision(s, t); metric f = confusion(z, y)",
    "accuracy": "z = x |> dense(3); metric right = accuracy(z, y)",
    "weight_norm": "z = x |> weight_norm(dense(8)) |> rms_norm() |> prelu() |> dense(3)",
    "noise": "z = x |> gaussian_noise(0.1) |> dropconnect(dense(8)) |> alpha_dropout(0.1) |> dense(3)",
    "highway": "z = x |> highway() |> dense_connection(dense(2)) |> dense(3)",
    "bilinear": "z = bilinear(3)(x, x)",
    "dropout": "z = x |> dense(8) |> dropout(0.2) |> dense(3)",
    "spectral_norm": "z = x |> dense(8) |> relu |> spectral_norm(dense(3))",
    "is_inf and xor": "z = x |> dense(3); metric strange = mean(xor(is_inf(z), is_nan(z)))",
    "batch_norm": "z = x |> dense(8) |> batch_norm() |> dense(3)",
}
# Layers over pictures, and what pools them.
PICTURES = {
    "conv": "conv(4, kernel = 3, stride = 2, pad = 1)",
    "conv grouped": "conv(4, kernel = 3, groups = 2, dilation = 2)",
    "conv_transpose": "conv_transpose(4, kernel = 3, stride = 2, pad = 1, output_pad = 1)",
    "group_norm": "group_norm(2)",
    "instance_norm": "instance_norm()",
    "squeeze_excitation": "squeeze_excitation(ratio = 2)",
    "inception": "inception(1, 2, 2, 2, 2, 1)",
    "weight_norm": "weight_norm(conv(2, kernel = 1)) |> prelu(shared = true)",
    "tiled_conv": "tiled_conv(4, kernel = 3, tile = 2, pad = 1)",
    "max_pool": "max_pool(3, stride = 2, pad = 1)",
    "avg_pool": "avg_pool(2)",
    "global_max_pool": "global_max_pool",
    "adaptive_avg_pool": "adaptive_avg_pool(3)",
    "maxout": "maxout(pieces = 2, axis = 1)",
}


def trained(train: str = TRAIN["adam"], body: str = "z = x |> dense(3)") -> str:
    above = ABOVE if "talking" in body or "attacked" in body else ""
    return f"""{above}model m {{
    input x: float[batch, 4]; target y: int[batch]
    {body}
    y ~ categorical(logits = z)
    output p = softmax(z)
}}
train {{ {train} }}
"""


NATURAL = "z = x |> dense(3); by_z = grad(cross_entropy(z, y), z)"
ABOVE = """layer talking(g)(word: int[batch, k], h: float[batch, k, n]) -> float[batch, k, 3], float[batch, k, n] {
    return g(h) + word[:, :, none], tanh(h + 0.3)
}
fn attacked(x, f, y) = -log_density(categorical(logits = f(x)), y)
"""


def seen(layer: str) -> str:
    text = trained(body=f"z = x |> conv(4, kernel = 3, pad = 1) |> {layer} |> pooled |> dense(3)")
    return "fn pooled(x) = x if rank(x) == 2 else global_avg_pool(x)\n" + text.replace("batch, 4]", "batch, 3, 8, 8]")


def _rule(body: str) -> str:
    """The slope by the bias of attention's keys is 0, and Adam makes whole steps of its rounding."""
    return "sgd" if "_block(" in body else "adam"


SHELF: dict[str, str] = {
    **{f"function {name}": case.example for name, case in CASES.items()},
    **{f"train {name}": trained(train) for name, train in TRAIN.items()},
    **{
        f"train {rule}": trained(
            f"minimize loss over *.W using {rule}(x, by_z); minimize loss over *.b using sgd(1e-2)", NATURAL
        )
        for rule in ("kfac", "diagonal_fisher")
    },
    **{f"body {name}": trained(TRAIN[_rule(body)], body) for name, body in BODY.items()},
    **{f"picture {name}": seen(layer) for name, layer in PICTURES.items()},
}


def words(texts: list[str]) -> set[str]:
    """Names of the standard library that texts use, by themselves or through what they use."""
    found: set[str] = set()
    pending = [word for text in texts for word in re.findall(r"\w+", text)]
    index = standard_index()
    while pending:
        name = pending.pop()
        if name in index and name not in found:
            found.add(name)
            declared = re.search(rf"^\w+[ \t]+{name}\b.*?(?=^\w|^#|\Z)", index[name].read_text("utf-8"), re.M | re.S)
            pending += re.findall(r"\w+", declared.group(0)) if declared else []
    return found
