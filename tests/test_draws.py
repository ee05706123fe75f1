"""How good the random numbers are: counts, runs, correlations and distributions, over counters, keys, steps and places.

The suite takes 2^20 words of each stream; `pytest -m long tests/test_draws.py` takes 10^7 and more of each test.
Every stream is fixed, so that a test passes always or never. Its limit is a probability of 1 in 10,000 or less for
true randomness, divided among the figures that it looks at.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import permutations

import dlc
import numpy as np
import pytest
from dlc.ops.random import _below, _fold, _normal, _uniform, lanes
from dlc.runtime.random import FACTOR, STRIDE, words
from generator import K0
from scipy import stats

FEW, MANY = 1 << 20, 10_000_000
sizes = pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.long)])
LIMIT = 1e-4


def key_of(number: int) -> np.uint64:
    return np.uint64(_fold(_fold(np.uint64(K0), np.uint64(11)), np.uint64(number)))


def counters(count: int, number: int = 1) -> np.ndarray:
    """The words of one key: what one large draw is made of."""
    return words(np.arange(count, dtype=np.uint64), key_of(number))


def steps(count: int) -> np.ndarray:
    """16 words of each of many steps: what small draws are made of."""
    keys = _fold(key_of(2), np.arange(1, count // 16 + 1, dtype=np.uint64))
    return words(np.arange(16, dtype=np.uint64), keys[:, None]).reshape(-1)


def places(count: int) -> np.ndarray:
    """16 words of each place of one step."""
    with np.errstate(over="ignore"):
        starts = np.arange(count // 16, dtype=np.uint64) * np.uint64(STRIDE)
        return words(starts[:, None] + np.arange(16, dtype=np.uint64), key_of(3)).reshape(-1)


def rows(count: int) -> np.ndarray:
    """16 words of each row of a large draw, whose rows are 2^20 long: words that a power of two separates."""
    starts = np.arange(count // 16, dtype=np.uint64) << np.uint64(20)
    return words(starts[:, None] + np.arange(16, dtype=np.uint64), key_of(8)).reshape(-1)


def keys(count: int) -> np.ndarray:
    """Keys of steps, one after another."""
    return _fold(key_of(4), np.arange(1, count + 1, dtype=np.uint64))


def seeds(count: int) -> np.ndarray:
    """The first word of step 1 of each seed."""
    return words(np.uint64(0), _fold(_fold(np.uint64(K0), np.arange(count, dtype=np.uint64)), np.uint64(1)))


STREAMS = {"counters": counters, "steps": steps, "places": places, "rows": rows, "keys": keys, "seeds": seeds}
streams = pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)


def pieces(drawn: np.ndarray, bits: int) -> Iterator[np.ndarray]:
    """The words cut into numbers of so many bits, the lowest first."""
    for shift in range(0, 64, bits):
        yield (drawn >> np.uint64(shift)).astype(np.uint64) & np.uint64((1 << bits) - 1)


def even(values: np.ndarray, cells: int) -> float:
    """The probability of counts at least so uneven (or, doubled, at least so even) as those of integers below
    `cells`: chi-square, both tails."""
    found = stats.chisquare(np.bincount(values.astype(np.int64), minlength=cells)).pvalue
    return 2 * min(found, 1 - found)


# --- bits, bytes, pairs


@streams
@sizes
def test_every_byte_and_every_16_bits_are_even(stream, count):
    drawn = stream(count)
    found = [even(piece, 1 << bits) for bits in (8, 16) for piece in pieces(drawn, bits)]
    assert min(found) > LIMIT / len(found)


@streams
@sizes
def test_every_bit_is_even_and_no_two_bits_know_of_each_other(stream, count):
    """64 bits of a word and 64 of the next one: their counts, and their 128 * 127 / 2 correlations."""
    drawn = stream(count // 4)
    bits = np.concatenate([np.stack(list(pieces(part, 1))) for part in (drawn[:-1], drawn[1:])]).astype(np.float32)
    bits = bits * 2 - 1
    n = bits.shape[1]
    scores = np.abs(bits.sum(1, dtype=np.float64)) / math.sqrt(n)
    assert 2 * stats.norm.sf(scores.max()) > LIMIT / 128
    together = sum(block @ block.T for block in np.array_split(bits, 1 + n // 100_000, axis=1)).astype(np.float64)
    pairs = np.abs(together[np.triu_indices(128, 1)]) / math.sqrt(n)
    assert 2 * stats.norm.sf(pairs.max()) > LIMIT / len(pairs)


@streams
@sizes
def test_neighbours_fill_a_square_and_a_cube_evenly(stream, count):
    """Upper bytes of two neighbours, upper 5 bits of three, of words 1, 2, 3, 16 and 17 apart; and all four lanes."""
    drawn = stream(count)
    found = []
    for lag in (1, 2, 3, 16, 17):
        for shift in (56, 24):  # of the upper and of the lower half
            a = drawn >> np.uint64(shift) & np.uint64(255)
            found.append(even(a[:-lag] * np.uint64(256) + a[lag:], 1 << 16))
            b = a >> np.uint64(3)
            found.append(even((b[: -2 * lag] * np.uint64(32) + b[lag:-lag]) * np.uint64(32) + b[2 * lag :], 1 << 15))
    nibbles = [piece >> np.uint64(12) for piece in pieces(drawn, 16)]
    found.append(even(sum(nibble << np.uint64(4 * i) for i, nibble in enumerate(nibbles)), 1 << 16))
    assert min(found) > LIMIT / len(found)


# --- one after another


@streams
@sizes
def test_no_word_tells_a_later_one(stream, count):
    """Serial correlation of the uniform numbers at many lags, and of their squares, by the normal approximation."""
    for name, values in (("uniform", _uniform(stream(count))), ("lower", (stream(count) % np.uint64(2**32)) / 2**32)):
        for power in (1, 2):
            x = values**power
            x = (x - x.mean()) / x.std()
            lags = [*range(1, 33), 64, 100, 128, 256, 512, 1000, 1024, 4096, 65536]
            scores = [abs(x[:-lag] @ x[lag:]) / math.sqrt(len(x) - lag) for lag in lags]
            assert 2 * stats.norm.sf(max(scores)) > LIMIT / len(lags) / 4, name


@streams
@sizes
def test_runs_up_are_as_long_as_they_should_be(stream, count):
    """Lengths of runs of growing words, the word after a run left out: of length k with probability k / (k + 1)!."""
    falls = np.flatnonzero(np.diff(_uniform(stream(count))) <= 0) + 1
    lengths = [int(falls[0])]
    # After the word that ends a run, the next one begins: a piece between falls gives its length less one, or nothing.
    skip = True
    for piece in np.diff(falls).tolist():
        left = piece - skip
        if left:
            lengths.append(left)
            skip = True
        else:
            skip = False
    counts = np.bincount(np.minimum(lengths, 7), minlength=8)[1:]
    share = [k / math.factorial(k + 1) for k in range(1, 7)]
    found = stats.chisquare(counts, counts.sum() * np.array([*share, 1 - sum(share)])).pvalue
    assert found > LIMIT


@pytest.mark.parametrize("shift", [0, 8, 16, 24])
@pytest.mark.parametrize("power", [20, pytest.param(24, marks=pytest.mark.long)])
@streams
def test_birthdays_fall_together_as_often_as_they_should(stream, power, shift):
    """Spacings of sorted words (Marsaglia 1985): of m birthdays in d days, about m^3 / 4d spacings come twice.

    To the next orders: with a = m^2 / d, so many birthdays lie j days after the one before them as a e^(-jm/d) says,
    in a Poisson distribution; all of a kind but one are counted.
    """
    days, m = 2 ** (2 * power - 8), 2 ** (power - 6)
    a = m * m / days
    expected = 16 * days / m * sum((-a) ** k / (k * math.factorial(k)) for k in range(2, 12))
    total = 0
    for part in ((stream(m * 16) >> np.uint64(shift)) % np.uint64(days)).reshape(16, m):
        spacings = np.sort(np.diff(np.sort(part)))
        total += int((np.diff(spacings) == 0).sum())
    assert stats.poisson.cdf(total, expected) > LIMIT and stats.poisson.sf(total - 1, expected) > LIMIT


@streams
def test_matrices_of_bits_have_full_rank_as_often_as_they_should(stream):
    """4,000 matrices of 64 words: rank 64, 63, 62 and less, by elimination modulo 2."""
    shares = [0.2887880951, 0.5775761902, 0.1283502644]
    ranks = rank_of_bits(stream(64 * 4000).reshape(4000, 64).copy())
    counts = [(ranks == 64).sum(), (ranks == 63).sum(), (ranks == 62).sum(), (ranks < 62).sum()]
    assert stats.chisquare(counts, 4000 * np.array([*shares, 1 - sum(shares)])).pvalue > LIMIT


def rank_of_bits(rows: np.ndarray) -> np.ndarray:
    """Of many square matrices at once, each a row of 64 words."""
    ranks = np.zeros(len(rows), np.int64)
    every = np.arange(len(rows))
    for bit in range(64):
        held = (rows >> np.uint64(bit) & np.uint64(1)).astype(bool)
        held &= np.arange(64)[None, :] >= ranks[:, None]
        pivot, some = held.argmax(1), held.any(1)
        place = np.minimum(ranks, 63)
        a, b = rows[every, pivot].copy(), rows[every, place].copy()
        rows[every[some], pivot[some]], rows[every[some], place[some]] = b[some], a[some]
        below = (rows >> np.uint64(bit) & np.uint64(1)).astype(bool) & some[:, None]
        below &= np.arange(64)[None, :] > place[:, None]
        rows ^= np.where(below, a[:, None], np.uint64(0))
        ranks += some
    return ranks


# --- distributions


@streams
@sizes
def test_uniform_and_normal_numbers_are_distributed_as_they_should_be(stream, count):
    """Kolmogorov and Smirnov; and for the normal ones chi-square of the tails, where they see little."""
    drawn = stream(count)
    assert stats.kstest(_uniform(drawn), "uniform").pvalue > LIMIT
    normal = _normal(drawn)
    assert stats.kstest(normal, "norm").pvalue > LIMIT
    edges = [-np.inf, -4, -3.5, -3, -2.5, -2, -1, 0, 1, 2, 2.5, 3, 3.5, 4, np.inf]
    counts = np.histogram(normal, edges)[0]
    assert stats.chisquare(counts, count * np.diff(stats.norm.cdf(edges))).pvalue > LIMIT
    x = normal / normal.std()
    scores = [abs((x[:-lag] * x[lag:]).sum()) / math.sqrt(len(x) - lag) for lag in (1, 2, 3, 5, 8, 16, 64, 1024)]
    assert 2 * stats.norm.sf(max(scores)) > LIMIT / len(scores)


# --- decisions that share a word


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1, 0.2, 0.5, 0.75, 0.9, 0.99, 0.001, 0.9999])
@sizes
def test_decisions_are_as_many_as_they_should_be_and_independent(share, count):
    """In each lane; between the lanes of one word; between neighbours; runs; and steps that follow on each other."""
    each = lanes(share)
    n = count // each
    found = []
    for number, drawn in enumerate((counters(n, 5), counters(n, 6), steps(n), places(n))):
        made = _below(drawn, share, (len(drawn) * each,)).reshape(each, -1)
        rows = made.shape[1]
        for row in made:
            found.append(stats.binomtest(int(row.sum()), rows, share).pvalue)
        found.append(stats.binomtest(int(made.sum()), made.size, share).pvalue)
        x = (made - share) / math.sqrt(share * (1 - share))
        for i in range(each):
            for j in range(i):
                for shifted in (x[j], np.roll(x[j], 1)):  # its own word, and the one before
                    found.append(2 * stats.norm.sf(abs(x[i] @ shifted) / math.sqrt(rows)))
        flat = made.reshape(-1)
        for lag in (1, 2, 3, 4, 8, 16, 128):
            both = int((flat[:-lag] & flat[lag:]).sum())
            found.append(2 * stats.norm.sf(abs(both - (flat.size - lag) * share**2) / _spread(flat.size - lag, share)))
        if number == 0:
            changes = int((flat[1:] != flat[:-1]).sum())
            p = 2 * share * (1 - share)
            spread = math.sqrt((flat.size - 1) * p * (1 - p) + 2 * (flat.size - 2) * (p / 2 - p * p))
            found.append(2 * stats.norm.sf(abs(changes - (flat.size - 1) * p) / spread))
    assert min(found) > LIMIT / len(found)


def _spread(n: int, p: float) -> float:
    """The standard deviation of how often two neighbours are both true, n pairs with probability p each."""
    return math.sqrt(n * p**2 * (1 - p**2) + 2 * n * (p**3 - p**4))


def test_a_share_is_kept_to_the_resolution_that_is_promised():
    """Over all 2^16 values of a lane, and by the limits for 32 bits: the exact share of each row."""
    for share in (1 / 128, 0.1, 0.2, 1 / 3, 0.5, 0.9, 127 / 128):
        assert lanes(share) == 4
        values = np.arange(2**16, dtype=np.uint64)
        drawn = values << np.uint64(32) | values  # the lower lanes count through; the upper ones are zero: true
        made = _below(drawn, share, (4 * 2**16,)).reshape(4, -1)
        assert made[:2].all()
        assert np.abs(made[2:].mean(1) - share).max() <= 2.0**-17
    for share in (1e-6, 0.003, 0.9999, 1 - 1e-9):
        assert lanes(share) == 2
        limit = round(share * 2**32)
        edge = np.array([limit - 1, min(limit, 2**32 - 1)], np.uint64)
        made = _below(edge << np.uint64(32) | edge, share, (4,))
        assert made.tolist() == [True, False, True, False] and abs(limit / 2**32 - share) <= 2.0**-33


# --- as specs draw


SPEC = """
model m {
    input x: float[batch, 2]
    state a: float[64] = 0
    state b: float[64] = 0
    state c: float[5, 64] = 0
    state p: int[50] = 0
    if training {
        a <- uniform_like(a)
        b <- uniform_like(b)
        p <- permutation(50)
        scan t over 0..5 { d[t] = uniform_like(a) }
        c <- d
    }
    y = dense(1)(x)
    loss = mean(y^2)
    output y = y
}
train m { minimize loss using sgd(0.1) }
"""


def drawn_by(seed: int, steps: int) -> list[dict[str, np.ndarray]]:
    trainer = dlc.Trainer(dlc.compile(SPEC, seed=seed), device="cpu")
    found = []
    for _ in range(steps):
        trainer.step({"x": np.ones((4, 2))})
        found.append({name: np.array(trainer.state[name]) for name in "abcp"})
    return found


def test_draws_differ_in_every_seed_step_place_and_iteration():
    streams = [row for seed in (0, 1) for step in drawn_by(seed, 3) for row in (step["a"], step["b"], *step["c"])]
    assert len(streams) == 2 * 3 * 7
    values = np.concatenate(streams)
    assert len(np.unique(values)) > len(values) - 4  # of 24 bits: about 0.2 pairs are equal by chance
    assert np.abs(np.corrcoef(np.stack(streams))[np.triu_indices(len(streams), 1)]).max() < 0.6
    assert stats.kstest(values, "uniform").pvalue > LIMIT
    assert drawn_by(0, 1)[0]["a"].tolist() == streams[0].tolist()


def test_permutations_are_permutations_and_differ():
    found = [step["p"] for step in drawn_by(3, 6)]
    assert all(sorted(order.tolist()) == list(range(50)) for order in found)
    assert len({tuple(order.tolist()) for order in found}) == 6


def test_every_permutation_is_equally_likely():
    drawn = words(np.arange(4, dtype=np.uint64), _fold(key_of(7), np.arange(1, 100_001, dtype=np.uint64))[:, None])
    orders = np.argsort(drawn >> np.uint64(1), axis=1) @ np.array([64, 16, 4, 1])
    number = {sum(4 ** (3 - i) * v for i, v in enumerate(p)): n for n, p in enumerate(permutations(range(4)))}
    assert even(np.array([number[int(order)] for order in orders]), 24) > LIMIT


def test_shuffle_keeps_rows_whole():
    text = "model m {\n input x: float[batch, 3]\n output y = shuffle(x)\n output z = shuffle(x, axis = 1)\n}"
    x = np.arange(600.0).reshape(200, 3)
    found = dlc.Trainer(dlc.compile(text, seed=1), device="cpu").predict({"x": x})
    assert sorted(found["y"][:, 0].tolist()) == x[:, 0].tolist() and found["y"][:, 0].tolist() != x[:, 0].tolist()
    assert np.array_equal(found["y"][:, 1:] - found["y"][:, :1], [[1, 2]] * 200)
    assert np.array_equal(np.sort(found["z"], axis=1), x)


# --- these tests can fail


def test_a_round_less_is_noticed():
    """One square instead of two, sums where there are squares, or words 2^40 apart (as no two draws are)."""
    at = np.arange(FEW, dtype=np.uint64)
    with np.errstate(over="ignore"):
        x = at * np.uint64(STRIDE) + key_of(1)
        apart = words(at << np.uint64(40), key_of(3))
        linear = (x + (x >> np.uint64(32))) * np.uint64(FACTOR)
        square = x * x
    for weak in (linear, square, apart):
        with pytest.raises(AssertionError):
            test_neighbours_fill_a_square_and_a_cube_evenly(lambda count, weak=weak: weak, FEW)
