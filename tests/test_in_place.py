"""State that the native library updates in place: the same numbers as with two buffers, and nothing half written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import dlc
import numpy as np
import pytest
from dlc.runtime import native, updates
from dlc.runtime.programs import DOMAIN
from native_cases import mangled, runs_or_says
from onnx import ModelProto, TensorProto, helper

pytestmark = pytest.mark.skipif(not native.works(), reason="the native library was not built")

F, D, I64 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64
State = dict[str, bytes]


def net(optimizer: str, more: str = "", rest: str = "") -> str:
    return f"""model m {{
    input  x: float[batch, 300]
    target y: int[batch]
    h = x |> dense(256) |> tanh {more}
    logits = h |> dense(10)
    y ~ categorical(logits = logits)
    output probability = softmax(logits)
}}
train {{
    minimize loss using {optimizer}
    batch: 32
    {rest}
}}
"""


# `scale` is read by the loss alone; where it is 0 the loss is finite and the gradient of W is not.
SPOILT = """model m {
    input x: float[batch, 300]
    input scale: float[batch]
    param W: float[300, 256] init normal(0.0, 0.1)
    param small: float[40] init ones
    z = x @ W
    loss = mean(sqrt(abs(scale) * (z * z |> sum(axis = -1)))) + sum(small * small)
    output p = z
}
train {
    minimize loss using OPTIMIZER
    batch: 8
}
"""


def batches(count: int, rows: int = 32) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [
        {"x": rng.normal(size=(rows, 300)).astype(np.float32), "y": rng.integers(0, 10, rows)} for _ in range(count)
    ]


def scaled(scale: float = 1.0, rows: int = 8) -> dict[str, np.ndarray]:
    x = np.random.default_rng(2).normal(size=(rows, 300)).astype(np.float32)
    return {"x": x, "scale": np.full(rows, scale, np.float32)}


def state(trainer: dlc.Trainer) -> State:
    return {name: array.tobytes() for name, array in trainer.state.items()}


def without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "joined", lambda model, wanted: None)


@pytest.mark.parametrize(
    "optimizer",
    [
        "sgd(0.1)",
        "adam(1e-2)",
        "adamw(1e-2)",
        "momentum(1e-2)",
        "lookahead(adam(1e-2), k = 3)",
        "adam(cosine(1e-2, over = steps))",
    ],
)
def test_every_number_is_that_of_two_buffers(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = dlc.compile(net(optimizer, "|> dropout(0.1)", "clip: global_norm(1.0)"))
    told: list[list[dict[str, float]]] = []
    states: list[State] = []
    for ways, threads in ((True, 1), (True, 2), (False, 2)):
        if not ways:
            without(monkeypatch)
        trainer = dlc.Trainer(program, device="cpu", threads=threads, steps=100)
        told.append([trainer.step(batch) for batch in batches(9)])
        states.append(state(trainer))
        assert (updates.IN_PLACE in trainer.rewrites) == ways
    assert told[0] == told[1] == told[2] and states[0] == states[1] == states[2]


def test_state_in_place_is_in_memory_once(monkeypatch: pytest.MonkeyPatch) -> None:
    program = dlc.compile(net("adam(1e-2)"))
    trainer = dlc.Trainer(program, device="cpu")
    held = trainer.stepper.state
    for name in ("dense.W", "adam/m/dense.W", "adam/v/dense.W"):
        assert held.now(name) is held.other(name)
    for name in ("dense.b", "step"):
        assert held.now(name) is not held.other(name)
    without(monkeypatch)
    held = dlc.Trainer(program, device="cpu").stepper.state
    assert held.now("dense.W") is not held.other("dense.W")


MEASURED = """
import sys, dlc, numpy as np
from dlc.runtime import updates
trainer = dlc.Trainer(dlc.compile(sys.stdin.read()), device="cpu", threads=1)
if sys.argv[1] == "twice":
    updates.joined = lambda model, wanted: None
x = np.ones((2, 2000), np.float32)
for _ in range(3):
    trainer.step({"x": x})
with open("/proc/self/status") as status:  # getrusage would count the process that began this one
    print(next(line for line in status if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_of_memory_is_lower_by_the_second_copy() -> None:
    spec = """model m {
    input x: float[batch, 2000]
    param W: float[2000, 2000] init normal(0.0, 0.01)
    p = x @ W
    loss = mean(p * p)
    output p = p
}
train { minimize loss using adam(1e-3); batch: 2 }
"""
    peaks = {
        how: int(
            subprocess.run(
                [sys.executable, "-c", MEASURED, how], input=spec, text=True, capture_output=True, check=True
            ).stdout
        )
        for how in ("once", "twice")
    }
    copy = 3 * 2000 * 2000 * 4 / 1024  # kB: the parameter and its moments
    assert peaks["twice"] - peaks["once"] > 0.6 * copy, peaks


def test_a_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole = dlc.Trainer(dlc.compile(net("adam(1e-2)")), device="cpu")
    [data] = batches(1, 200)
    whole.fit(data, steps=11)
    parted = dlc.Trainer(dlc.compile(net("adam(1e-2)")), device="cpu")
    parted.fit(data, steps=5, run=tmp_path)
    [folder] = tmp_path.iterdir()
    parted = dlc.Trainer.resume(folder, device="cpu")
    parted.fit(data, steps=6)
    assert state(whole) == state(parted)


def test_a_loss_that_is_not_finite_leaves_the_state_as_it_was() -> None:
    program = dlc.compile(SPOILT.replace("OPTIMIZER", "adam(1e-2)"))
    trainer, other = (dlc.Trainer(program, device="cpu") for _ in range(2))
    for _ in range(5):
        trainer.step(scaled())
        other.step(scaled())
    for _ in range(3):
        before = state(trainer)
        with pytest.raises(dlc.Error) as caught:
            trainer.step({**scaled(), "x": np.full((8, 300), 1e30, np.float32)})
        assert caught.value.code == "E0670" and "`loss` is" in caught.value.message
        assert state(trainer) == before
        assert trainer.step(scaled()) == other.step(scaled())
    assert state(trainer) == state(other)


@pytest.mark.parametrize("good", [0, 1, 3])
@pytest.mark.parametrize("optimizer", ["sgd(1e-2)", "adam(1e-2)"])
def test_a_gradient_that_is_not_finite_leaves_it_too(
    optimizer: str, good: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a step that looks at all state; what is said is what two buffers say."""
    program = dlc.compile(SPOILT.replace("OPTIMIZER", optimizer))
    said = []
    for ways in (True, False):
        if not ways:
            without(monkeypatch)
        trainer = dlc.Trainer(program, device="cpu")
        for _ in range(good):
            trainer.step(scaled())
        before = state(trainer)
        assert (updates.IN_PLACE in trainer.rewrites) == ways
        with pytest.raises(dlc.Error) as caught:
            trainer.step(scaled(0.0))
        assert state(trainer) == before and trainer.progress.step == good
        assert "after a finite loss" in caught.value.message
        said.append((caught.value.message, caught.value.where, caught.value.notes))
        trainer.step(scaled())
        said.append(state(trainer))
    assert said[:2] == said[2:]


def test_state_beside_it_that_is_not_finite_holds_it_back() -> None:
    """`small` lies in a row with others, in two buffers: where its next value is not finite, the large one must not
    have been written. What lies between the tensors of a row (0 / 0 here) is no state."""
    others = [f"other{k}" for k in range(8)]
    spec = SPOILT.replace("OPTIMIZER", "signs(0.1)")
    spec = spec.replace("small * small)", "sqrt(small))" + "".join(f" + sum(sqrt({name}))" for name in others))
    spec = spec.replace(
        "    z = x", "".join(f"    param {name}: float[3, 3] init ones\n" for name in others) + "    z = x"
    )
    spec += "optimizer signs(lr = 0.1)(theta, g) { theta <- theta - lr * g / abs(g) * sqrt(abs(g)) }\n"
    trainer = dlc.Trainer(dlc.compile(spec), device="cpu")
    trainer.step(scaled())
    assert trainer.rewrites["updates of small tensors as one"] == 9
    trainer.parameters["small"] = np.zeros(40, np.float32)
    before = state(trainer)
    with pytest.raises(dlc.Error) as caught:
        trainer.step(scaled())
    assert caught.value.message == "`small` is NaN at step 2, after a finite loss"
    assert trainer.stepper._verdict.array == 3 and state(trainer) == before


@pytest.mark.parametrize("row", [0, 3, 17, 31, 40, 55])
def test_a_fit_stops_at_the_step_and_goes_back_as_with_two_buffers(row: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch with this row spoils the state in a step that looks or in one that does not, whichever it comes to."""
    program = dlc.compile(SPOILT.replace("OPTIMIZER", "adam(1e-3)").replace("batch: 8", "batch: 8; epochs: 2"))
    data = scaled(1.0, 64)
    data["scale"][row] = 0
    ends = []
    for ways in (True, False):
        if not ways:
            without(monkeypatch)
        trainer = dlc.Trainer(program, device="cpu")
        with pytest.raises(dlc.Error) as caught:
            trainer.fit(data)
        assert (updates.IN_PLACE in trainer.rewrites) == ways and caught.value.code == "E0670"
        ends.append((caught.value.message, caught.value.notes, trainer.progress.step, state(trainer)))
    assert ends[0] == ends[1]


def broken(run: Callable[..., None], before: bool) -> Callable[..., None]:
    def breaks(*args: object) -> None:
        if not before:
            run(*args)
        raise KeyboardInterrupt

    return breaks


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_an_interrupted_step_is_whole_or_not_there(before: bool) -> None:
    program = dlc.compile(net("adam(1e-2)"))
    trainer, other = (dlc.Trainer(program, device="cpu") for _ in range(2))
    given = batches(6)
    for batch in given[:3]:
        trainer.step(batch)
        other.step(batch)
    turn = trainer.stepper._both[trainer.stepper._turn]
    runs = list(turn.runs)
    turn.runs[0] = (broken(runs[0][0], before), *runs[0][1:])
    with pytest.raises(KeyboardInterrupt):
        trainer.step(given[3])
    turn.runs[0] = runs[0]
    if not before:
        other.step(given[3])
    assert state(trainer) == state(other)
    for batch in given[4:]:
        trainer.stepper.step(batch)
        other.stepper.step(batch)
    assert state(trainer) == state(other)


def test_an_error_within_a_step_leaves_the_state_as_it_was() -> None:
    spec = """model m {
    input  x: int[batch, 4] in 0..499
    target y: int[batch, 4] in 0..499
    h = x |> embedding(500, 160) |> dense(160) |> tanh
    logits = h |> dense(500)
    y ~ categorical(logits = logits)
    output probability = softmax(logits)
}
train { minimize loss using adam(1e-2); batch: 8 }
"""
    trainer = dlc.Trainer(dlc.compile(spec), device="cpu")
    good = {"x": np.arange(32).reshape(8, 4), "y": np.arange(32).reshape(8, 4)}
    trainer.step(good)
    assert updates.IN_PLACE in trainer.rewrites
    before = state(trainer)
    for name in ("x", "y"):  # the check of the data is passed by
        with pytest.raises(dlc.Error) as caught:
            trainer.stepper.step({**good, name: np.full((8, 4), 70_000)})
        assert caught.value.code == "E0804" and state(trainer) == before
    trainer.step(good)


def test_what_is_not_finite_to_begin_with_has_two_buffers() -> None:
    trainer = dlc.Trainer(dlc.compile(net("sgd(0.1)")), device="cpu")
    trainer.parameters["dense[1].b"] = np.full(10, -np.inf, np.float32)
    assert updates.IN_PLACE not in trainer.rewrites


# --- the node by itself

CHAIN = [1, 2, 1, 1, 0, F, F, 3, F, 0, 1, 0, 2]  # a + b
GOOD = [1, 1, 1, 1, 1, 0, 4, len(CHAIN), *CHAIN, 3, 4, 3]  # over its input a; the first 4 elements of `checked`


def node(program: list[int], kinds: tuple[int, ...] = (I64, F, F, F, F), out: int = F) -> ModelProto:
    names = ["look", "guard", "checked", "a", "b"]
    graph = helper.make_graph(
        [helper.make_node("Updates", names, ["y", "verdict"], domain=DOMAIN, program=program)],
        "g",
        [helper.make_tensor_value_info(name, kind, None) for name, kind in zip(names, kinds, strict=True)],
        [helper.make_tensor_value_info("y", out, None), helper.make_tensor_value_info("verdict", I64, None)],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def run(model: ModelProto, **changed: np.ndarray) -> list[np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.enable_cpu_mem_arena = 4, False
    native.register(options)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    one = np.ones(6, np.float32)
    feeds = {"look": np.array(1), "guard": np.float32(1), "checked": one, "a": one, "b": 2 * one, **changed}
    given = {name: np.asarray(value) for name, value in feeds.items()}
    return [np.asarray(value) for value in session.run(None, given)]


def test_the_verdict() -> None:
    one, at = np.ones(6, np.float32), np.arange(6)
    wrong = {k: np.where(at == k, np.float32(np.inf), one) for k in (3, 5)}
    for changed, verdict, y in (
        ({}, 1, 3 * one),
        ({"guard": np.float32(np.nan)}, 2, one),
        ({"guard": np.float32(np.nan), "look": np.array(0)}, 2, one),
        ({"checked": wrong[3]}, 3, one),
        ({"checked": wrong[3], "look": np.array(0)}, 1, 3 * one),
        ({"checked": wrong[5]}, 1, 3 * one),  # beyond its span
        ({"b": wrong[5]}, 4, one),
        ({"b": np.float32(np.nan)}, 5, one),
        ({"b": wrong[5], "look": np.array(0)}, 1, one + wrong[5]),
    ):
        found = run(node(GOOD), **changed)  # type: ignore[arg-type]
        assert found[1] == verdict
        np.testing.assert_array_equal(found[0], y)


WRONG = {
    "nothing": [],
    "a beginning only": GOOD[:4],
    "cut off": GOOD[:-1],
    "too long": [*GOOD, 0],
    "another version": [2, *GOOD[1:]],
    "too many guards": [1, 4, *GOOD[2:]],
    "negative guards": [1, -1, *GOOD[2:]],
    "no programs": [*GOOD[:3], 0, *GOOD[4:]],
    "very many programs": [*GOOD[:3], 2**40, *GOOD[4:]],
    "spans in no order": [*GOOD[:5], 4, 0, *GOOD[7:]],
    "spans that are not there": [*GOOD[:4], 2**62, *GOOD[5:]],
    "a negative span": [*GOOD[:5], -1, *GOOD[6:]],
    "a program that is longer": [*GOOD[:7], 2**62, *GOOD[8:]],
    "a program that is shorter": [*GOOD[:7], 3, *GOOD[8:]],
    "an input far away": [*GOOD[:-1], 5],
    "a negative input": [*GOOD[:-3], -1, *GOOD[-2:]],
    "an unknown operation": [*GOOD[:15], 39, *GOOD[16:]],
}


@pytest.mark.parametrize("what", list(WRONG))
def test_a_wrong_program_is_refused_when_it_is_loaded(what: str) -> None:
    with pytest.raises(Exception, match=r"Updates|program"):
        run(node(WRONG[what]))


def test_more_programs_than_there_is_text_take_no_memory() -> None:
    for count in (len(GOOD) + 1, 1 << 16):
        with pytest.raises(Exception, match="too many or too few inputs or programs"):
            run(node([*GOOD[:3], count, *GOOD[4:]]))


def test_tensors_that_do_not_fit_are_refused() -> None:
    with pytest.raises(Exception, match="an output of another type"):
        run(node(GOOD, out=D))
    with pytest.raises(Exception, match="a span beyond the end"):
        run(node(GOOD), checked=np.ones(3, np.float32))
    with pytest.raises(Exception, match="another shape than the one before"):
        run(node(GOOD), a=np.ones((1, 1), np.float32))
    with pytest.raises(Exception, match="another type"):
        run(node(GOOD, (I64, F, F, D, F)), a=np.ones(6))
    with pytest.raises(Exception, match="no single number"):
        run(node(GOOD), look=np.ones(2, np.int64))


def test_random_programs_are_refused_or_run() -> None:
    """Any list of integers: an error, or a result, and no reading where nothing is."""
    rng = np.random.default_rng(5)
    loaded = 0
    for _ in range(400):
        words = mangled(rng, GOOD, [-(2**63), -1, 0, 1, 2, 3, 4, 9, 11, 13, 22, 2**31, 2**63 - 1], 4)
        loaded += runs_or_says(partial(run, node(words)), "Updates", "updates", "program", "type", "Type")
    assert 0 < loaded < 400
