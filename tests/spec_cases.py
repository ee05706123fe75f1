"""Small specs, evaluated by the NumPy interpreter: what the tests of the language share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dlc.diagnostics import CompileError, Problems
from dlc.elaborate import elaborate
from dlc.ir import interpret
from dlc.pipeline import differentiate
from dlc.syntax.parser import make_source, read_source

SGD = "train { minimize loss using sgd(1) }"
X = np.array([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0], [2.0, 0.0, 1.0], [-1.0, 1.5, 4.0]])


class Spec:
    """A checked spec, whose roots are evaluated by name."""

    def __init__(
        self, text: str, *, folder: Path | None = None, model: str | None = None, max_nodes: int = 20_000, **set: Any
    ) -> None:
        problems = Problems()
        source = read_source(folder / text) if folder and text.endswith(".dl") else make_source(text)
        self.module = elaborate(
            source, folder=folder, model=model, overrides=set, max_nodes=max_nodes, problems=problems
        )
        differentiate(self.module)
        self.warnings = [warning.code for warning in problems.warnings]

    @property
    def paths(self) -> list[str]:
        """Parameters and states of layers, in the order of making."""
        return [path for path, v in self.module.variables.items() if v.kind in ("parameter", "state")]

    def start(self, seed: int = 0) -> dict[str, Any]:
        roots = self.module.roots("initial/")
        values = interpret.evaluate(list(roots.values()), {"seed": np.uint64(seed)})
        state: dict[str, Any] = {name.removeprefix("initial/"): v for name, v in zip(roots, values, strict=True)}
        for name, value in (("step", 0), ("steps", 100), ("observations", 1)):
            if name in self.module.variables:
                state[name] = value
        return state

    def get(self, name: str, feeds: Mapping[str, Any], **more: Any) -> Any:
        """One root: `loss`, or an output by its bare name."""
        outputs = self.module.graph.outputs
        node = outputs[name if name in outputs else f"output/{name}"]
        return interpret.evaluate([node], {**feeds, **more})[0]

    def step(self, state: Mapping[str, Any], **data: Any) -> tuple[float, dict[str, Any]]:
        """One update: the loss, and the state after it."""
        roots = {"loss": self.module.graph.outputs["loss"], **self.module.roots("next/")}
        values = dict(zip(roots, interpret.evaluate(list(roots.values()), {**state, **data}), strict=True))
        return float(values.pop("loss")), {**state, **{n.removeprefix("next/"): v for n, v in values.items()}}


def codes(text: str, **options: Any) -> list[str]:
    """The codes of what is wrong with a spec."""
    with pytest.raises(CompileError) as caught:
        Spec(text, **options)
    return [diagnostic.code for diagnostic in caught.value.diagnostics]


def body(text: str, inputs: str = "input x: float[batch, 3]", **set: Any) -> Spec:
    """A model without training, from its body."""
    return Spec(f"model m {{\n{inputs}\n{text}\n}}", **set)


def value(text: str, **data: Any) -> Any:
    """The output `z` of a body, with x as input where it is not given."""
    spec = body(text)
    return spec.get("z", {"x": X, **spec.start(), **data})
