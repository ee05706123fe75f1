"""Supports in the signature of a file, and masked arrays: what becomes of an element that is none."""

from __future__ import annotations

import json
from fractions import Fraction

import dlc
import numpy as np
import pytest
from dlc.runtime.file import CompiledFile
from dlc.runtime.metadata import Possible, build
from dlc.runtime.support import Support
from hypothesis import given, settings, strategies as st
from support_cases import X, compiled, refused, spec


def test_files_without_supports_have_ranges() -> None:
    program = dlc.compile(spec("y ~ categorical(logits = w)", "int[batch]"))
    model = program.model_proto()
    [entry] = [entry for entry in model.metadata_props if entry.key == "dlc.signature"]
    signature = json.loads(entry.value)
    assert signature["targets"][0]["range"] == [0, 2]
    del signature["targets"][0]["support"]
    entry.value = json.dumps(signature)
    trainer = dlc.Trainer(CompiledFile(model))
    assert refused(trainer, {"x": X, "y": np.full(4, 2)}).notes[1] == "expected 0 or 1"


numbers = st.integers(-9, 9) | st.sampled_from([0.5, -0.25, 1e6])
supports = st.builds(
    Support,
    st.none() | numbers,
    st.none() | numbers,
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.none() | st.lists(numbers, min_size=1, max_size=4).map(tuple),
    st.none() | st.just((None, (0, None, 2))),
    st.sampled_from(["", "d"]),
)


@given(supports, st.lists(st.integers(-20, 20).map(lambda n: n / 4), min_size=4, max_size=4))
@settings(deadline=None, max_examples=300)
def test_an_entry_says_all_of_a_support(support: Support, values: list[float]) -> None:
    assert Support(**vars(build(json.loads(json.dumps(support.entry())), Possible))) == support
    for array in (
        np.array(values).reshape(2, 2),
        np.array(values, "float32").reshape(2, 2),
        np.round(values).astype(int).reshape(2, 2),
    ):
        wrong = support.wrong(array)
        assert support.good(array) == (not wrong.any())
        for at, value in np.ndenumerate(array):
            exact, low, high = Fraction(float(value)), support.low, support.high
            inside = (
                exact in support.values
                if support.values is not None
                else (
                    (low is None or (exact > low if support.low_open else exact >= low))
                    and (high is None or (exact < high if support.high_open else exact <= high))
                    and (not support.whole or exact.denominator == 1)
                )
            )
            if support.part is not None and at[1] % 2:
                inside = True
            assert wrong[at] == (not inside)


def test_numbers_of_other_formats() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for dtype in (np.float16, ml_dtypes.bfloat16):
        array = np.array([0.5, 1, 2], dtype)
        for support, good in (
            (Support(0.5, 2), True),
            (Support(0.75, 2), False),
            (Support(0, 2, whole=True), False),
            (Support(values=(0.5, 1, 2)), True),
            (Support(0.5, 2, high_open=True), False),
        ):
            assert support.good(array) == good == (not support.wrong(array).any())


# --- masked arrays


def test_masks_are_not_lost() -> None:
    trainer = compiled("y ~ normal(z, 1)")
    masked = np.ma.masked_equal(np.array([0.0, -1, 2, -1]), -1)
    for data in ({"x": X, "y": masked}, {"x": [*X[:3], np.ma.masked_less(X[3], 9)], "y": np.zeros(4)}):
        for run in ("fit", "evaluate", "step"):
            with pytest.raises(dlc.Error) as caught:
                getattr(trainer, run)(data)
            assert caught.value.code == "E0644" and caught.value.notes == ("found 2 of them",)
    trainer.fit({"x": X, "y": np.ma.masked_equal(np.zeros(4), -1)})
    with pytest.raises(dlc.Error) as caught:
        trainer.parameters["a"] = np.ma.masked_equal(np.float32(1), 1)
    assert caught.value.code == "E0644"
