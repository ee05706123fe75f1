"""Constructs of random specs: layers whose input has channels, and layers around another."""

from __future__ import annotations

from random_draft import Draft, construct


def channels(d: Draft, least: int = 2):
    """A batch of channels, with positions after them or without."""
    return d.value(lambda v: v.rank >= least and v.shape[0] == "batch" and isinstance(v.shape[1], int) and v.named)


@construct
def slopes(d: Draft) -> None:
    a = channels(d)
    d.let(f"{a} |> prelu({d.random.choice(['', 'shared = true', 'start = 0.1'])})", a.shape, a.bound, (a,))


@construct
def instances(d: Draft) -> None:
    a = channels(d, least=3)
    d.let(f"0.5 * ({a} |> instance_norm(eps = 0.2))", a.shape, 1.5, (a,))


@construct
def attending(d: Draft) -> None:
    a = d.value(lambda v: v.rank == 3 and v.shape[0] == "batch" and isinstance(v.shape[2], int) and v.named)
    how = d.random.choice(["1", "1, causal = true", "1, bias = false"])
    mask = d.random.choice(["", f", mask = {a}[:, none, :, 0] < 0.5"])
    text = d.random.choice(
        [
            f"attention({how})({a}{mask})",
            f"attention({how})({a}{mask})",
            f"encoder_block(1, hidden = 3, activation = tanh)({a}{mask})",
            f"decoder_block(1, hidden = 2, norm_first = false)({a}, {a}{mask})",
            f"{a} |> feed_forward(3, activation = silu)",
        ]
    )
    d.let(f"{text} |> tanh", a.shape, 1.0, (a,))


@construct
def turned(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 1 and v.shape[-2] != "batch" and v.shape[-1] in (2, 4))
    d.let(f"rotary({a})", a.shape, 1.5 * a.bound, (a,))


@construct
def placed(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 1 and v.shape[-2] != "batch" and isinstance(v.shape[-1], int))
    d.let(f"0.5 * sinusoidal_positions({a})", a.shape, a.bound / 2 + 0.5, (a,))


@construct
def placed_by_learning(d: Draft) -> None:
    a = d.value(lambda v: v.rank == 3 and v.shape[0] == "batch" and isinstance(v.shape[2], int) and v.named)
    d.let(f"{a} |> learned_positions(8)", a.shape, a.bound + 0.2, (a,))


@construct
def dropped_rows(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 0 and v.shape[0] == "batch" and v.named)
    d.let(f"{a} |> stochastic_depth(0.2)", a.shape, 1.3 * a.bound, (a,))


@construct
def blocks(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 0 and isinstance(v.shape[-1], int))
    n = a.shape[-1]
    text, width = d.random.choice(
        [
            (f"{a} |> highway()", n),
            (f"{a} |> highway(activation = tanh, gate = 0)", n),
            (f"{a} |> dense_connection(dense(2), axis = -1)", n + 2),
            (f"bilinear(2)({a}, {a})", 2),
            (f"{a} |> dropconnect(dense(3), rate = 0.2)", 3),
        ]
    )
    d.let(f"tanh({text})", (*a.shape[:-1], width), 1.0, (a,))


@construct
def gated_channels(d: Draft) -> None:
    a = channels(d, least=3)
    if a.rank == 4 and d.random.random() < 0.5:
        d.let(f"{a} |> inception(1, 1, 1, 1, 1, 1) |> tanh", (a.shape[0], 4, *a.shape[2:]), 1.0, (a,))
    else:
        d.let(f"{a} |> squeeze_excitation(ratio = 2)", a.shape, a.bound, (a,))


@construct
def pairs_of_rows(d: Draft) -> None:
    a = d.value(lambda v: v.rank == 2 and isinstance(v.shape[1], int) and v.named)
    loss = d.random.choice([f"info_nce({a}, 0.3 * {a}, temperature = 2)", f"activity({a}, 0.1)"])
    d.let(f"{a} * tanh({loss})", a.shape, a.bound, (a,), rows=False)


@construct
def towards_a_value(d: Draft) -> None:
    a = d.value()
    text = d.random.choice([f"anchored({a}, 0.5, 0.01)", f"anchored({a}, 0.3 * {a}, 0.01)"])
    d.let(f"tanh({text}) * {a}", a.shape, a.bound, (a,), rows=False)


@construct
def densities(d: Draft) -> None:
    a = d.value()
    density, of = d.random.choice(
        [
            (f"student_t(3, {a}, 2)", f"0.5 * {a} + 1"),
            (f"cauchy({a}, 2)", f"0.5 * {a} + 1"),
            (f"exponential(exp(tanh({a})))", f"{a}^2"),
            (f"gamma(2, exp(tanh({a})))", f"0.3 + {a}^2"),
            (f"beta(2 + tanh({a}), 2)", f"0.5 + 0.3 * tanh({a})"),
            (f"log_normal(tanh({a}), 1)", f"0.5 + {a}^2"),
            (f"truncated_normal({a}, 1)", f"{a} + tanh({a})"),
            (f"von_mises({a}, 2)", f"0.5 * {a} + 1"),
            (f"binomial(5, {a})", "2"),
            (f"negative_binomial(exp(tanh({a})), 2)", "3"),
        ]
    )
    d.let(f"tanh(0.2 * log_density({density}, {of}))", a.shape, 1.0, (a,))


@construct
def densities_of_rows(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 0 and isinstance(v.shape[-1], int) and v.named)
    density, of = d.random.choice(
        [
            (f"multivariate_normal({a}, std = 2)", f"0.5 * {a} + 1"),
            (f"dirichlet(exp(tanh({a})))", f"softmax({a})"),
            (f"multinomial({a.shape[-1]}, {a})", f"ones_like({a})"),
            (f"mixture({a}, normal({a}, 2))", f"{a}[..., 0]"),
        ]
    )
    d.let(f"tanh(0.2 * log_density({density}, {of}))", a.shape[:-1], 1.0, (a,))


@construct
def scores(d: Draft) -> None:
    a = d.value(lambda v: v.rank == 2 and isinstance(v.shape[1], int) and v.named)
    score = d.random.choice(
        [
            "precision({a} > 0, {a} > 0.3)",
            "recall({a} > 0, {a} > 0.3)",
            "f1({a} > 0, {a} > 0.3)",
            "matthews({a} > 0, {a} > 0.3)",
            "auc(sigmoid({a}[:, 0]), {a}[:, 0] > 0.3, bins = 20)",
            "average_precision(sigmoid({a}[:, 0]), {a}[:, 0] > 0.3, bins = 20)",
            "top_k({a}, argmin({a}, axis = -1), k = 1)",
            "macro_precision({a}, argmin({a}, axis = -1))",
            "macro_recall({a}, argmin({a}, axis = -1))",
            "macro_f1({a}, argmin({a}, axis = -1))",
            "calibration_error({a}, argmin({a}, axis = -1), bins = 3)",
            "perplexity({a}, argmin({a}, axis = -1))",
            "rmse({a}, 0.3)",
            "mape({a}, 2)",
            "weighted_mean({a}, exp(tanh({a})))",
            "r2({a}, {a} + 0.1, near = 1)",
        ]
    )
    name = d.fresh("score")
    d.lines.append(f"{name} = {score.format(a=a)}")
    d.let(f"{a} * tanh(where(is_finite({name}), stop_gradient({name}), 0))", a.shape, a.bound, (a,), rows=False)


@construct
def misleading(d: Draft) -> None:
    a = d.value(lambda v: v.rank == 2 and v.shape[0] == "batch" and isinstance(v.shape[1], int) and v.named)
    d.above["risen"] = "fn risen(x, s) = mean(sin(s * x))"
    text = d.random.choice(
        [
            f"fgsm(risen(s = 0.7), {a}, size = 0.2) + {a}",
            f"pgd(risen(s = 1.3), {a}, limit = 0.2, size = 0.1, iterations = 2) + {a}",
            f"contraction(tanh({a}), {a}) + {a}",
            f"gradient_penalty(sin({a}), {a}, length = 0.4) + {a}",
        ]
    )
    d.let(f"tanh({text})", a.shape, 1.0, (a,), rows=False)


@construct
def mixed_rows(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 0 and v.shape[0] == "batch" and v.named)
    u, v = d.fresh("u"), d.fresh("u")
    d.lines.append(f"{u}, {v} = mixup(0.5)({a}, 0.3 * {a})")
    d.let(f"{u} * tanh({v})", a.shape, a.bound, (a,), rows=False)


@construct
def changed_images(d: Draft) -> None:
    a = d.value(lambda v: v.rank == 2 and v.shape[0] == "batch" and isinstance(v.shape[1], int) and v.named)
    image = f"broadcast_to({a}[:, none, none], [batch, {d.random.choice([1, 3])}, 3, {a.shape[1]}])"
    layer = d.random.choice(
        [
            "random_flip()",
            "random_flip(rate = 0.7, axis = 2)",
            "random_crop(pad = 1)",
            'random_crop(pad = 2, mode = "edge")',
            "random_rotation(30, value = 0.2)",
            "jitter(brightness = 0.2, low = -9, high = 9)",
            "jitter(contrast = 0.2, saturation = 0.3, low = -9, high = 9)",
            "cutout(2)",
            "random_erasing(rate = 0.8)",
            "random_mask(2, count = 2, axis = 3)",
        ]
    )
    u = d.fresh("u")
    d.lines.append(f"{u} = {image} |> {layer}")
    d.let(f"tanh(mean(lerp(grey({u}), {u}, 0.7), axis = [1, 2]))", a.shape, 1.0, (a,))


@construct
def changed_steps(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 1 and v.shape[0] == "batch" and v.named)
    u, v = d.fresh("u"), d.fresh("v")
    d.lines.append(f"{u}, {v} = random_window(1)({a} |> random_mask(1, value = 0.1), 0.3 * {a})")
    d.let(f"{a} * tanh(mean({u} * {v}, axis = 1, keepdims = true))", a.shape, a.bound, (a,))


@construct
def mixed_boxes(d: Draft) -> None:
    a = d.value(lambda v: v.rank == 2 and v.shape[0] == "batch" and isinstance(v.shape[1], int) and v.named)
    u, v = d.fresh("u"), d.fresh("v")
    d.lines.append(f"{u}, {v} = cutmix()(broadcast_to({a}[:, none, none], [batch, 1, 2, {a.shape[1]}]), 0.3 * {a})")
    d.let(f"{v} * tanh(mean({u}, axis = [1, 2]))", a.shape, a.bound, (a,), rows=False)


@construct
def noisy_weights(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 0 and isinstance(v.shape[-1], int))
    d.let(f"{a} |> weight_noise(dense(2), std = 0.1) |> tanh", (*a.shape[:-1], 2), 1.0, (a,))


@construct
def matched_lengths(d: Draft) -> None:
    a = d.value(lambda v: v.rank == 3 and v.shape[:2] == ("batch", "time") and isinstance(v.shape[2], int) and v.named)
    n = a.shape[2]
    d.let(
        f"{a} * tanh(gradient_match({a}, tanh({a}), 0.5 * eye({n}) + sum(x) / 50))", a.shape, a.bound, (a,), rows=False
    )


@construct
def directions(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 0 and isinstance(v.shape[-1], int))
    d.let(f"{a} |> weight_norm(dense(2)) |> tanh", (*a.shape[:-1], 2), 1.0, (a,))


@construct
def losses_of_numbers(d: Draft) -> None:
    a = d.value(lambda v: v.rank > 0 and isinstance(v.shape[-1], int))
    loss = d.random.choice(
        [
            "pinball({a}, 0.2, level = 0.8)",
            "logistic_loss({a}, -1.0)",
            "triplet({a}, 0.3 * {a}, 0.2 - {a})",
            "focal({a}, argmax({a}, axis = -1))",
            "cosine_embedding({a} + 0.2, 0.3 * {a} - 1, 1, margin = 0.1)",
            "contrastive({a}, 0.3 - {a}, 0, margin = 2)",
            "mean(kl_categorical(categorical({a}), categorical(0.5 - {a})))",
        ]
    )
    d.let(f"{a} * tanh({loss.format(a=a)})", a.shape, a.bound, (a,), rows=False)
