"""The Python face of the compiler: `compile` and what it gives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .defaults import MAX_NODES, PRECISIONS
from .diagnostics import Diagnostic, error

if TYPE_CHECKING:
    import networkx as nx
    import onnx
    from dlc.runtime.left import Left
    from dlc.runtime.train import Trainer

    from .ir.graph import Node
    from .ir.module import Module
    from .source import Source
    from .spec import Spec
    from .view.derivation import Derivation

SHOWN = 40  # parameters in the table of a notebook
DRAWN = 10_000  # nodes of a model whose page is shown there


class Program:
    """A compiled spec: its graphs, and the ONNX model. Thread-safe; make one Trainer a thread from it.

    >>> program = dlc.compile("specs/xor.dl", hidden=4)
    >>> program
    <dlc.Program xor, float32>
    """

    def __init__(
        self,
        module: Module,
        precision: str,
        seed: int | None,
        warnings: list[Diagnostic],
        folder: Path | None,
        again: Callable[[], Module] | None = None,
    ) -> None:
        self.module, self.precision, self.warnings, self.folder = module, precision, warnings, folder
        self._again = again  # the module as its text says it, before any pass
        self._seed = seed
        self._proto: onnx.ModelProto | None = None
        self._late: tuple[onnx.ModelProto, Left] | None = None
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The model's name.

        >>> program.name
        'xor'
        """
        return self.module.name

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """Every hyperparameter and train setting, resolved: {"model": {...}, "train": {...}}.

        >>> program.settings["model"]
        {'hidden': 4}
        """
        return self.module.settings

    def model_proto(self) -> onnx.ModelProto:
        """The file's content. The first call differentiates, optimizes and lowers; later ones return the same.

        >>> [value.name for value in program.model_proto().graph.output]
        ['probability']
        """
        from dlc.runtime.left import whole

        model, left = self.without_start_values()
        with self._lock:
            if self._proto is None:
                self._proto = whole(model, left)
            return self._proto

    def without_start_values(self) -> tuple[onnx.ModelProto, Left]:
        """The same without start values that are large, and what makes each of these, as bytes: by the number of its
        training_info (None: the main graph) and its name."""
        with self._lock:
            if self._late is None:
                from .pipeline import compile_module

                self._late = compile_module(self.module, self.precision, self._seed)
            return self._late

    @property
    def graphs(self) -> dict[str, nx.DiGraph[Node]]:
        """networkx graphs of the compiled spec: "predict", and if it trains "step" and "initialize".

        >>> sorted(program.graphs)
        ['initialize', 'predict', 'step']
        """
        self.model_proto()
        of = {"predict": ("output/",), "step": ("loss", "metric/", "next/", "turn/"), "initialize": ("initial/",)}
        return {
            name: self.module.graph.view(roots.values())
            for name, prefixes in of.items()
            if (roots := self.module.roots(*prefixes))
        }

    @property
    def graph(self) -> nx.DiGraph[Node]:
        """The training step's graph; the predicting one of a spec that does not train.

        >>> program.graph.number_of_nodes() > 10
        True
        """
        graphs = self.graphs
        return graphs.get("step", graphs["predict"])

    def save(self, path: str | Path) -> Path:
        """Writes the .onnx file (and `NAME.onnx.data` beside it when the state is larger than 1.5 GB).

        >>> program.save("xor.onnx").name
        'xor.onnx'
        """
        from dlc.runtime.file import CompiledFile

        target = Path(path)
        CompiledFile(self.model_proto(), check=False).save(target)  # whoever loads it checks it
        return target

    def derivative(self, wrt: str, of: str = "loss") -> Derivation:
        """How a scalar of the spec is derived, as `dlc grad` shows it.

        `of`: `loss`, a loss, metric or scalar by its name; `wrt`: the path of a parameter, an input or a named value.
        The result has `text`, `latex` and `html`, and the one line `formula`. E0401, E0402, E0405.

            >>> print(program.derivative("z").text.splitlines()[-1])
            dz = (σ(z) − y) / batch
        """
        from .recursion import deep_recursion
        from .view.derivation import derivation

        with deep_recursion():
            return derivation(self._written(), of, wrt)

    def draw(
        self,
        path: str | Path,
        view: str = "forward",
        depth: int | None = 0,
        only: str | None = None,
        style: Literal["colour", "print"] = "colour",
    ) -> Path:
        """Draws the model as `dlc graph` does: `program.draw("net.svg", view="step", depth=1)`.

        `path` ends in .html (a page, of the whole model), .svg, .pdf, .png, .tex, .dot or .mmd. `view`: forward,
        backward, update, step or predict; `depth`: how many levels of layers are opened, None for all; `only`: layers
        of such paths. E0739 where it cannot be written.

            >>> program.draw("xor.html", view="step").name
            'xor.html'
        """
        from dlc.runtime.written import write

        from .pipeline import differentiate, optimize
        from .view.layout import content, kind_of
        from .view.picture import WRITTEN_VIEWS, draw, expect

        target = Path(path)
        kind_of(target)
        expect(self.module, view)
        if target.suffix.lower() == ".html":
            opens = "forward" if view in WRITTEN_VIEWS else view
            write(target, self._whole(opens, 99 if depth is None else depth))
            return target
        module = self._written()
        if view not in WRITTEN_VIEWS:
            differentiate(module)
        if view == "predict":
            optimize(module, self.precision)
        write(target, content(draw(module, view, depth, only), target, style))
        return target

    def _written(self) -> Module:
        """The module as its text says it."""
        assert self._again is not None
        return self._again()

    def _whole(self, view: str = "forward", depth: int = 0) -> str:
        from .pipeline import differentiate
        from .view.page import page

        written = self._written()

        def derive() -> Module:
            differentiate(written)
            return written

        return page(written, derive, view, depth)

    def _repr_html_(self) -> str:
        """In a notebook: the name, each parameter with its shape, and the page that `dlc graph` writes."""
        held = [v for v in self.module.variables.values() if v.kind == "parameter"]
        rows = "".join(f"<tr><td>{escape(v.path)}</td><td>{escape(str(v.node.type))}</td></tr>" for v in held[:SHOWN])
        more = f"<tr><td>and {len(held) - SHOWN:,} more</td><td></td></tr>" if len(held) > SHOWN else ""
        return f"<b>{escape(self.name)}</b>, {self.precision}<table>{rows}{more}</table>{self._page()}"

    def _page(self) -> str:
        """The page in a frame that may run its script and do nothing else; none for a model that takes long to draw."""
        if self._again is None or len(self.module.graph) > DRAWN:
            return ""
        text = escape(self._whole())
        frame = 'sandbox="allow-scripts" width="100%" height="640" frameborder="0"'
        return f'<iframe {frame} title="{escape(self.name)}" srcdoc="{text}"></iframe>'

    def __repr__(self) -> str:
        return f"<dlc.Program {self.name}, {self.precision}>"


def compile(
    path_or_text: str | Path | Spec,
    model: str | None = None,
    precision: str = "float32",
    set: Mapping[str, Any] | None = None,
    *,
    seed: int | None = None,
    max_nodes: int = MAX_NODES,
    **hyperparameters: Any,
) -> Program:
    """Compiles a spec: a path, the text itself (a string with a newline or `{`), or a `dlc.spec.Spec`.

    `set` and keyword arguments give hyperparameters and train settings by name (`model.x`, `train.x` when both
    have one). `seed` comes before the spec's own, which comes before 0. Raises dlc.Error with every problem found.

        >>> dlc.compile("specs/digits.dl", hidden=32).settings["model"]["hidden"]
        32
    """
    from .pipeline import source_of

    _check_precision(precision)
    source, folder = source_of(path_or_text)
    overrides = {**(set or {}), **hyperparameters}
    return compile_source(source, folder, model, precision, overrides, seed=seed, max_nodes=max_nodes)


def _check_precision(precision: str) -> str:
    """The precision under the name that a file has it."""
    if precision not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise error("E0807", f"there is no precision `{precision}`", None, notes=[f"precisions are {known}"])
    return "float16" if precision == "mixed" else precision


def compile_source(
    source: Source,
    folder: Path | None,
    model: str | None = None,
    precision: str = "float32",
    set: Mapping[str, Any] | None = None,
    *,
    seed: int | None = None,
    max_nodes: int = MAX_NODES,
) -> Program:
    """The same of a text in hand, whose imports and data are looked for in `folder`."""
    from .elaborate import elaborate
    from .pipeline import check

    precision = _check_precision(precision)
    overrides = dict(set or {})
    module, warnings = check(source, folder, model=model, set=overrides, max_nodes=max_nodes, precision=precision)
    if seed is not None and module.trains:  # the file says what its start values were made from
        module.settings["train"]["seed"] = seed
    again = partial(
        elaborate, source, folder=folder, model=model, overrides=overrides, max_nodes=max_nodes, weights=False
    )
    return Program(module, precision, seed, warnings, folder, again)


def fit(
    spec: str | Path | Spec | Program,
    data: object = None,
    *,
    device: str = "auto",
    validation: object = None,
    epochs: int | None = None,
    steps: int | None = None,
    batch: int | str | None = None,
    callbacks: Sequence[object] = (),
    run: str | Path | None = None,
    max_time: float | None = None,
    **hyperparameters: Any,
) -> Trainer:
    """Compiles a spec and trains it on data: `trainer = dlc.fit("flowers.dl", table, hidden=64)`.

    `spec`: a path, the text itself, a `dlc.spec.Spec` or a compiled Program. `data`, by default that of the spec, and
    the options are those of `Trainer.fit`; what else is given are hyperparameters and settings of the spec, as for
    `dlc.compile`. Returns the trainer, which predicts, evaluates and saves; its `history` has what the fit did.
    Raises dlc.Error.

        >>> trainer = dlc.fit("specs/xor.dl", epochs=5)
        >>> trainer.history.epochs[-1]["train"]["loss"] > 0
        True
    """
    from dlc.runtime.train import Trainer

    program = spec if isinstance(spec, Program) else compile(spec, **hyperparameters)
    trainer = Trainer(program, device=device)
    trainer.fit(data, validation, epochs, steps, batch=batch, callbacks=callbacks, run=run, max_time=max_time)
    return trainer


def load(path: str | Path, *, accept: bool = False) -> Any:
    """A compiled .onnx file, ready for `Trainer` (dlc.runtime.file.CompiledFile). `accept` takes what another tool has
    changed as it stands, where Error E0755 or E0758 would refuse it.

        >>> path = dlc.compile("specs/xor.dl").save("untrained.onnx")
        >>> dlc.load(path).title
        'xor'
    """
    from dlc.runtime.file import CompiledFile

    return CompiledFile.load(Path(path), accept=accept)
