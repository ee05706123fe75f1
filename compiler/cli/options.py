"""Options that several commands share, and what they mean."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, Token
from dlc.runtime.failures import Error

from ..defaults import MAX_NODES
from . import report

if TYPE_CHECKING:
    from dlc.runtime.file import CompiledFile

    from ..ir.module import Module
    from ..program import Program


def whole(_: object, tokens: Sequence[Token]) -> int:
    """An integer of the command line, written as one: 2.5 is not taken for 2."""
    text = tokens[0].value
    if not re.fullmatch(r"[+-]?[0-9]{1,20}", text):
        raise ValueError(f"`{text}` is not an integer")
    return int(text)


Whole = Annotated[int, Parameter(converter=whole, n_tokens=1, accepts_keys=False)]
Device = Annotated[
    Literal["auto", "cpu", "cuda"] | str,
    Parameter(
        help="Where it runs: auto, cpu, cuda, or another provider that ONNX Runtime or a plug-in of it offers here:"
        " openvino, webgpu, coreml."
    ),
]
Accept = Annotated[
    bool, Parameter(help="Take a .onnx file that another tool has changed as it stands.", show_default=False)
]
Data = Annotated[
    Path | None, Parameter(help="Data (.npz, .csv, .parquet, .jsonl, a folder); takes precedence over the spec's.")
]


def check_seed(seed: int) -> None:
    if not 0 <= seed < 2**63:
        raise Error(
            "E0790",
            "`--seed` takes an integer, not negative",
            notes=[f"found {seed}"],
            help="--seed 0, or any to 2^63 - 1",
        )


def positive(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise Error(
            "E0790",
            f"`--{name}` takes an integer above 0",
            notes=[f"found {value}"],
            help=f"leave `--{name}` out for its default: dlc COMMAND --help",
        )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Output:
    """What every command takes."""

    json: Annotated[bool, Parameter(help="Write JSON lines, for programs.", show_default=False)] = False
    debug: Annotated[bool, Parameter(help="Show the traceback of an internal error.", show_default=False)] = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Compilation:
    """How a spec is compiled."""

    set: Annotated[
        tuple[str, ...],
        Parameter(help="name=value: a hyperparameter or train setting. Repeatable.", show_default=False),
    ] = ()
    model: Annotated[str | None, Parameter(help="Which model of a file with several.")] = None
    precision: Annotated[
        Literal["float32", "float64", "float16", "bfloat16", "mixed"],
        Parameter(help="What `float` means; of float16 (also mixed) and bfloat16 in products alone."),
    ] = "float32"
    seed: Annotated[Whole | None, Parameter(help="Seed of start values, draws and the order of rows.")] = None
    max_nodes: Annotated[Whole, Parameter(help="How many operations a spec may unroll to.")] = MAX_NODES

    def overrides(self) -> dict[str, Any]:
        """`--set`, with `--seed` as the setting of that name."""
        return dict(setting(text) for text in self.set)

    def __post_init__(self) -> None:
        self.overrides()
        if self.seed is not None:
            check_seed(self.seed)
        positive("max-nodes", self.max_nodes)

    def given(self) -> list[str]:
        """The options that differ from their defaults, as they are written."""
        return [
            f"--{name.replace('_', '-')}"
            for name in ("set", "model", "precision", "seed", "max_nodes")
            if getattr(self, name) != getattr(COMPILATION, name)
        ]

    def program(self, spec: Path, output: Output, more: Mapping[str, Any] | None = None) -> Program:
        """The spec compiled as far as a graph, with `more` set than the command line says; its warnings are shown."""
        from ..program import compile

        program = compile(
            spec,
            model=self.model,
            precision=self.precision,
            set={**self.overrides(), **(more or {})},
            seed=self.seed,
            max_nodes=self.max_nodes,
        )
        report.warn(program.warnings, output.json)
        return program

    def module(self, spec: Path, output: Output, stage: str = "graph", *, quiet: bool = False) -> Module:
        """The spec, or that of a compiled file or a run, as a graph: as written ("graph"), as its derivatives are taken
        of it ("simplified"), with these ("gradient"), or as it runs ("optimized")."""
        from ..diagnostics import Problems
        from ..elaborate import elaborate
        from ..pipeline import differentiate, optimize, source_of, stabilize
        from .embedded import module_of

        problems = Problems()
        if spec.is_dir() or not is_spec(spec):
            module = module_of(self.file(spec, output, "--max-nodes"), self.max_nodes)
        else:
            source, folder = source_of(spec)
            module = elaborate(
                source,
                folder=folder,
                model=self.model,
                overrides=self.overrides(),
                max_nodes=self.max_nodes,
                problems=problems,
            )
        if not quiet:
            report.warn(problems.warnings, output.json)
        if stage == "simplified":
            stabilize(module)
        elif stage != "graph":
            differentiate(module, self.max_nodes)
        if stage == "optimized":
            optimize(module, self.precision)
        return module

    def file(self, path: Path, output: Output, *but: str) -> CompiledFile:
        """The compiled file of a spec, or that of a .onnx file or a run, which `--set` and its like (`but` these)
        cannot change: what of it predicts, where another tool has spoilt its training."""
        from dlc.runtime.checkpoint import Run
        from dlc.runtime.file import CompiledFile

        from .trained import predicting

        if path.is_dir():
            self.refuse(path, *but)
            return CompiledFile.load(Run(path).model)
        if is_spec(path):
            return CompiledFile.of(self.program(path, output))
        self.refuse(path, *but)
        return predicting(path)

    def refuse(self, path: Path, *but: str) -> None:
        """An option of compiling means nothing for a file that is compiled."""
        meaningless = [option for option in self.given() if option not in but]
        if meaningless:
            raise Error(
                "E0790",
                f"`{meaningless[0]}` is for specs: `{path}` is already compiled",
                help="compile the spec again with it; `dlc decompile` recovers the spec",
            )


OUTPUT, COMPILATION = Output(), Compilation()  # the defaults


def is_spec(path: Path) -> bool:
    """Whether a path is a spec and not a compiled file: anything but .onnx."""
    return path.suffix.lower() != ".onnx"


def setting(text: str) -> tuple[str, Any]:
    """`name=value`; the value is a literal of the language, or else a text."""
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        raise Error(
            "E0790",
            f"`--set {text}` lacks a {'value' if name.strip() else 'name'}",
            notes=["it takes name=value"],
            help="--set hidden=256 --set lr=3e-4",
        )
    return name.strip(), literal(value.strip())


def literal(text: str) -> Any:
    """A number, `true`, `false`, `none`, "text", [list] or { name: value } as the language writes them; anything else
    is a text."""
    from ..diagnostics import CompileError
    from ..syntax import tree as syntax
    from ..syntax.parser import parse_value

    def value(expr: syntax.Expr) -> Any:
        if isinstance(expr, syntax.Number | syntax.Constant | syntax.Text):
            return expr.value
        if isinstance(expr, syntax.Unary) and expr.op in "+-" and isinstance(expr.operand, syntax.Number):
            return expr.operand.value if expr.op == "+" else -expr.operand.value
        if isinstance(expr, syntax.List):
            return [value(item) for item in expr.items]
        if isinstance(expr, syntax.Mapping):
            return {entry.name: value(entry.value) for entry in expr.entries}
        raise ValueError

    try:
        return value(parse_value(text))
    except (CompileError, ValueError):
        return text
