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
        ]
    )
    d.let(f"{a} * tanh({loss.format(a=a)})", a.shape, a.bound, (a,), rows=False)
