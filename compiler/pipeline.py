"""The whole compiler on one page: every stage in order."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .analysis import evaluation, float32, paired
from .autodiff import members
from .autodiff.expand import expand
from .autodiff.halves import halve
from .autodiff.scaling import scale
from .defaults import MAX_NODES, element_and_half
from .diagnostics import Diagnostic, Problems
from .elaborate import elaborate
from .ir.module import Module
from .optimize import simplify
from .optimize.draws import merge_draws
from .optimize.fuse import fuse
from .optimize.gates import gates
from .optimize.labels import labels_in_range
from .optimize.scans import each_body
from .recursion import deep_recursion
from .source import Source
from .syntax.parser import make_source, read_source

if TYPE_CHECKING:
    import onnx
    from dlc.runtime.left import Left

    from .spec import Spec

# The rooms of the compiler: each imports from those before it alone.
ROOMS = (
    "defaults",
    "source",
    "excerpt",
    "ways_out",
    "diagnostics",
    "recursion",
    "syntax",
    "spec",
    "ir",
    "ops",
    "analysis",
    "elaborate",
    "autodiff",
    "optimize",
    "lower",
    "view",
    "reports",
    "pipeline",
    "program",
    "sklearn",
    "editor",
    "cli",
    "notebook",
)


def source_of(path_or_text: str | Path | Spec) -> tuple[Source, Path | None]:
    """A spec and the folder its imports and data are relative to. A string with a newline or `{` is text."""
    if not isinstance(path_or_text, str | os.PathLike):
        from .spec import Spec

        if isinstance(path_or_text, Spec):
            return path_or_text.source, path_or_text.folder
    if isinstance(path_or_text, str) and ("\n" in path_or_text or "{" in path_or_text):
        return make_source(path_or_text), None
    path = Path(path_or_text)
    return read_source(path), path.resolve().parent


def check(
    source: Source,
    folder: Path | None = None,
    *,
    model: str | None = None,
    set: Mapping[str, Any] | None = None,
    max_nodes: int = MAX_NODES,
    precision: str = "float32",
) -> tuple[Module, list[Diagnostic]]:
    """text -> graph with derivatives: every name, shape and derivative checked. Returns the module and the warnings,
    those for files of that precision."""
    problems = Problems()
    with deep_recursion():
        module = elaborate(source, folder=folder, model=model, overrides=set, max_nodes=max_nodes, problems=problems)
        paired.warn(module, problems)
        if precision != "float64":
            float32.warn(module, source, problems)
        if element_and_half(precision)[1] == "float16":
            scale(module)
        differentiate(module, max_nodes)
        module.reserved()
    return module, problems.warnings


def stabilize(module: Module) -> None:
    """graph -> a smaller and more stable graph, which derivatives are taken of."""
    evaluation.split(module, derived=False)
    simplify(module.graph)


def differentiate(module: Module, max_nodes: int = MAX_NODES) -> None:
    """graph -> graph with its derivatives: simplified before each round, so that stable forms are differentiated."""
    stabilize(module)
    while expand(module.graph, max_nodes, module.gradients().values()):
        simplify(module.graph)
    evaluation.split(module, derived=True)
    members.gather(module, max_nodes)


def optimize(module: Module, precision: str) -> None:
    """graph -> the graph that runs: fewer and larger nodes."""
    precision, half = element_and_half(precision)
    if half is not None:
        simplify(module.graph)
        halve(module, half)
    simplify(module.graph, final=True)
    labels_in_range(module.graph, module.targets)
    merge_draws(module.graph)
    gates(module.graph)
    each_body(module.graph, lambda graph: fuse(graph, precision))
    fuse(module.graph, precision)


def compile_module(module: Module, precision: str = "float32", seed: int | None = None) -> tuple[onnx.ModelProto, Left]:
    """checked graph -> ONNX, and what makes the start values that are left out of it. `seed` is theirs: before the
    spec's own, before 0."""
    from .lower import lowered  # ONNX takes as long to import as a check takes

    if seed is None:
        seed = module.settings.get("train", {}).get("seed") or 0
    with deep_recursion():
        optimize(module, precision)
        return lowered(module, element_and_half(precision)[0], seed, precision)
