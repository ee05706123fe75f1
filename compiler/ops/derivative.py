"""The derivative as a node: a placeholder that `differentiate.expand` turns into the graph it stands for."""
from __future__ import annotations

from typing import Any

from ..graph import Node
from ..tensor_type import TensorType, TypeProblem
from .registry import NONE, define, free, no_gradient


def _infer(target: TensorType, wrt: TensorType) -> TensorType:
    if target.dtype != "float" or target.rank:
        raise TypeProblem("E0403", "`grad` takes the derivative of a single float number", {0: f"this is `{target}`"})
    if wrt.dtype != "float":
        raise TypeProblem("E0404", "a derivative is taken by a float value", {1: f"this is `{wrt}`"})
    return wrt


def _unexpanded(*arguments: Any, **attrs: Any) -> Any:
    raise KeyError("a derivative was not expanded")


def _lower(out: Any, node: Node, *names: str) -> str:
    return str(_unexpanded())


gradient = define("gradient", infer=_infer, grad=no_gradient(2), jvp=NONE, lower=_lower, reference=_unexpanded,
                  samples=None, cost=free)
