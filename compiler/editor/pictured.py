"""A picture of each layer of the library, for its reference: applied to an input that it takes, and opened."""

from __future__ import annotations

from ..elaborate import elaborate
from ..source import Source
from ..view.layout import svg
from ..view.picture import draw

PICTURES = "x: float[batch, 3, 12, 12]"
ROWS, IMAGES, SEQUENCES = "x: float[batch, 8]", "x: float[batch, 16, 12, 12]", "x: float[batch, time, 8]"
# Of each layer what goes in, and how it is called.
EXAMPLES = {
    "alpha_dropout": (ROWS, "x |> alpha_dropout() |> dense(4)"),
    "attention": (SEQUENCES, "x |> attention(2)"),
    "batch_norm": (ROWS, "x |> batch_norm()"),
    "bidirectional": (SEQUENCES, "x |> bidirectional(gru, 4)"),
    "bilinear": ("x: float[batch, 8]; input y: float[batch, 6]", "bilinear(4)(x, y)"),
    "conv": (IMAGES, "x |> conv(32, pad = 1)"),
    "conv_transpose": (IMAGES, "x |> conv_transpose(8, stride = 2)"),
    "cutmix": (f"{PICTURES}; input y: float[batch, 10]", "cutmix()(x, y)[0] |> conv(4)"),
    "cutout": (PICTURES, "x |> cutout() |> conv(4)"),
    "decoder_block": ("x: float[batch, time, 8]; input m: float[batch, seen, 8]", "decoder_block(2)(x, m)"),
    "dense": (ROWS, "x |> dense(4)"),
    "dense_connection": (IMAGES, "x |> dense_connection(conv(8, pad = 1))"),
    "dropconnect": (ROWS, "x |> dropconnect(dense(4))"),
    "dropout": (ROWS, "x |> dropout(0.5) |> dense(4)"),
    "echo_state": (SEQUENCES, "x |> echo_state(16)"),
    "embedding": ("x: int[batch, time]", "x |> embedding(100, 8)"),
    "encoder_block": (SEQUENCES, "x |> encoder_block(2)"),
    "feed_forward": (SEQUENCES, "x |> feed_forward()"),
    "gaussian_noise": (ROWS, "x |> gaussian_noise() |> dense(4)"),
    "group_norm": (IMAGES, "x |> group_norm(4)"),
    "gru": (SEQUENCES, "x |> gru(4)"),
    "highway": (ROWS, "x |> highway()"),
    "inception": (IMAGES, "x |> inception(8, 4, 8, 2, 4, 4)"),
    "instance_norm": (IMAGES, "x |> instance_norm()"),
    "jitter": (PICTURES, "x |> jitter(0.2, 0.2, 0.2) |> conv(4)"),
    "layer_norm": (ROWS, "x |> layer_norm()"),
    "leaky_rnn": (SEQUENCES, "x |> leaky_rnn(4)"),
    "learned_positions": ("x: float[batch, 12, 8]", "x |> learned_positions(20)"),
    "lstm": (SEQUENCES, "x |> lstm(4)"),
    "memory": ("x: float[batch, 8]; input stored: float[batch, seen, 6]", "memory(2)(x, stored)"),
    "mixup": ("x: float[batch, 8]; input y: float[batch, 3]", "mixup()(x, y)[0] |> dense(4)"),
    "mlp": (ROWS, "x |> mlp(16, 2, 4)"),
    "prelu": (ROWS, "x |> prelu()"),
    "random_crop": (PICTURES, "x |> random_crop(pad = 2) |> conv(4)"),
    "random_erasing": (PICTURES, "x |> random_erasing() |> conv(4)"),
    "random_flip": (PICTURES, "x |> random_flip() |> conv(4)"),
    "random_mask": (SEQUENCES, "x |> random_mask(10) |> gru(4)"),
    "random_rotation": (PICTURES, "x |> random_rotation() |> conv(4)"),
    "random_window": (SEQUENCES, "x |> random_window(20) |> gru(4)"),
    "rms_norm": (ROWS, "x |> rms_norm()"),
    "rnn": (SEQUENCES, "x |> rnn(4)"),
    "skip_rnn": (SEQUENCES, "x |> skip_rnn(4)"),
    "spectral_norm": (ROWS, "x |> spectral_norm(dense(4))"),
    "squeeze_excitation": (IMAGES, "x |> squeeze_excitation(4)"),
    "stacked": (SEQUENCES, "x |> stacked(gru, 4)"),
    "stochastic_depth": (ROWS, "x |> stochastic_depth(0.2) |> dense(4)"),
    "tiled_conv": (IMAGES, "x |> tiled_conv(8, pad = 1)"),
    "weight_noise": (ROWS, "x |> weight_noise(dense(4))"),
    "weight_norm": (ROWS, "x |> weight_norm(dense(4))"),
}

# What only training does is shown as it trains.
TRAINING = (
    *("alpha_dropout", "cutmix", "cutout", "dropconnect", "dropout", "gaussian_noise", "jitter", "mixup"),
    *("random_crop", "random_erasing", "random_flip", "random_mask", "random_rotation", "random_window"),
    *("stochastic_depth", "weight_noise"),
)
MOST = 22  # boxes of a picture; a layer of more stays closed


def picture(name: str) -> str:
    """The layer's picture as SVG; the same in every process. E0791 without Graphviz."""
    given, call = EXAMPLES[name]
    text = f"model example {{ input {given}; z = {call}; output z = z }}"
    if name in TRAINING:
        text = f"model example {{ input {given}; loss = mean({call}) }}\ntrain {{ minimize loss using sgd(0.1) }}"
    module = elaborate(Source(f"{name}.dl", text))
    drawn = draw(module, "forward", 1)
    if drawn.number_of_nodes() > MOST:
        drawn = draw(module, "forward", 0)
    drawn.graph["title"] = name
    return svg(drawn)
