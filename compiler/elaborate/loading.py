"""`load:` starts parameters and states from another file's: names and shapes are compared while the spec is checked,
values are read where the start values of the compiled file are made.

    load: "body.safetensors" on body.*
    load: weights("encoder.npz", of = "encoder.*.weight", as = "body.*.W", transpose = true) on body.*.W
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from dlc.runtime.failures import Error

from ..diagnostics import did_you_mean, error
from ..ir.graph import Array
from ..ir.types import TensorType
from ..source import Span
from ..syntax import tree as syntax
from . import expressions, parameters, paths
from .context import Context
from .scope import Frame
from .values import kind

if TYPE_CHECKING:
    from dlc.runtime.weights import Held

    from .train import Plan

ARGUMENTS = ("path", "of", "as", "transpose")
SHOWN = 6  # names of one kind that a message lists
KINDS = {"f": "float", "i": "int", "u": "int", "b": "bool", "V": "float"}  # of NumPy; V is bfloat16


@dataclass
class Request:
    """What a `load:` line asks for, its arguments known."""

    setting: syntax.Setting
    path: str
    of: str = "*"
    as_: str = "*"
    transpose: bool = False

    def renamed(self, name: str) -> str | None:
        """What the model calls a tensor of the file; None for one that is not asked for."""
        match = re.fullmatch(re.escape(self.of).replace(r"\*", "(.*)"), name)
        if match is None:
            return None
        rest = iter(match.groups())
        return re.sub(r"\*", lambda _: next(rest), self.as_)


def request(c: Context, frame: Frame, setting: syntax.Setting) -> Request:
    """A `load:` line, read. E0215, E0507, E0526."""
    expr = setting.value
    if not (
        isinstance(expr, syntax.Call) and isinstance(expr.function, syntax.Name) and expr.function.name == "weights"
    ):
        value = expressions.evaluate(c, frame, expr)
        if not isinstance(value, str):
            raise _no_file(expr.span, value)
        return Request(setting, value)
    given: dict[str, object] = {}
    spans: dict[str, Span] = {}
    for number, argument in enumerate(expr.arguments):
        name = argument.name or ARGUMENTS[min(number, 3)]
        if name not in ARGUMENTS or name in given:
            raise error(
                "E0215",
                f"`weights` has no argument `{name}`" if name not in ARGUMENTS else f"`{name}` is given twice",
                argument.span,
                "not known" if name not in ARGUMENTS else "again here",
                notes=[f"it takes ({', '.join(ARGUMENTS)})"],
                help=did_you_mean(name, ARGUMENTS) if name not in ARGUMENTS else None,
            )
        value = expressions.evaluate(c, frame, argument.value)
        if not isinstance(value, bool if name == "transpose" else str):
            if name == "path":
                raise _no_file(argument.value.span, value)
            raise error(
                "E0507",
                f"`{name}` of `weights` takes "
                + ("`true` or `false`" if name == "transpose" else "a pattern of names"),
                argument.value.span,
                f"this is {kind(value)}",
                help='write `weights("FILE", of = "encoder.*", as = "body.*")`',
            )
        given[name], spans[name] = value, argument.span
    if "path" not in given:
        raise _no_file(expr.span, None)
    of = str(given.get("of", "*"))
    as_ = str(given.get("as", of))
    if of.count("*") != as_.count("*"):
        raise error(
            "E0526",
            "`of` and `as` do not have the same number of `*`",
            spans.get("as") or spans.get("of") or expr.span,
            f"`{of}` has {of.count('*')}, `{as_}` has {as_.count('*')}",
            help='what a `*` matches in `of` takes its place in `as`: `of = "encoder.*", as = "body.*"`',
        )
    return Request(setting, str(given["path"]), of, as_, bool(given.get("transpose", False)))


def _no_file(span: Span, value: object) -> Exception:
    return error(
        "E0507",
        '`load:` takes a file, as in "body.safetensors", or `weights(...)`',
        span,
        f"this is {kind(value)}" if value is not None else "no file is named",
        help='write `load: weights("FILE", of = "encoder.*", as = "body.*") on body.*`',
    )


def load(c: Context, plan: Plan) -> None:
    """Compares every `load:` line with its file; what it names starts from there. E0511, E0516, E0518 and those of
    finding and reading a file."""
    owner: dict[str, syntax.Setting] = {}
    for line in plan.loads:
        with c.at(plan.frame, line.setting.span):
            for path, held in _fitting(c, plan.frame, line).items():
                if path in owner:
                    raise error(
                        "E0516",
                        f"`{path}` is loaded by two lines",
                        line.setting.span,
                        "here",
                        more=[(owner[path].span, "and here")],
                        help="make the patterns disjoint: `on body.*` and `on head.*`",
                    )
                owner[path] = line.setting
                c.module.loaded[path] = held
    if owner:
        _starts(c)


def _fitting(c: Context, frame: Frame, line: Request) -> Mapping[str, Callable[[], Array]]:
    """How to read what a line asks for, by its path in the model."""
    setting = line.setting
    known = {path: v.type for path, v in c.module.variables.items() if v.kind in ("parameter", "state")}
    wanted = paths.named(c, frame, setting.on, list(known), "`on`", "parameter or state")
    asked = paths.matcher(setting.on, paths.index_of(c, frame)) if setting.on is not None else lambda name: True
    place = c.library.below(line.path, c.library.root, setting.value.span, weights=True)
    file = _file(place, setting.value.span)
    found: dict[str, tuple[str, Held]] = {}
    for name, held in file.items():
        path = line.renamed(name)
        if path is not None:
            found[path] = name, held
    faults = _faults(line, {path: known[path] for path in wanted}, found, asked)
    if faults:
        reversed_ = not line.transpose and any(
            path in found and len(known[path].shape) == 2 and found[path][1].shape == tuple(known[path].shape[::-1])
            and found[path][1].shape != tuple(known[path].shape)
            for path in wanted
        )  # fmt: skip
        raise error(
            "E0511",
            f"the weights in `{Path(line.path).name}` are not those that the model asks for",
            setting.value.span,
            "loaded here",
            notes=faults,
            help=f'matrices stored the other way: `weights("{line.path}", transpose = true)`'
            if reversed_
            else "`on PATTERN` says what is loaded, "
            f'`weights("{line.path}", of = "encoder.*", as = "body.*")` from which names',
        )
    turned = {path for path in wanted if line.transpose and len(known[path].shape) == 2}
    return {path: _reader(found[path][1], path in turned) for path in wanted}


def _file(place: Path, span: Span) -> Mapping[str, Held]:
    """What a file holds; what is wrong with it is said at the line that asks for it."""
    from dlc.runtime.weights import tensors  # ONNX takes as long to import as a check takes

    try:
        return tensors(place)
    except Error as problem:
        notes = [*problem.notes, f"in {problem.where}"] if problem.where else problem.notes
        raise error(problem.code, problem.message, span, "loaded here", notes=notes, help=problem.help) from None


def _reader(held: Held, turned: bool) -> Callable[[], Array]:
    def read() -> Array:
        array = held.read()
        return np.ascontiguousarray(array.T) if turned else array

    return read


def _faults(
    line: Request, wanted: Mapping[str, TensorType], found: Mapping[str, tuple[str, Held]], asked: Callable[[str], bool]
) -> list[str]:
    """All that does not fit, in words."""
    unexpected = [path for path in found if path not in wanted and asked(path)]
    missing, wrong = [], []
    for path, type in wanted.items():
        if path not in found:
            near = did_you_mean(path, [*unexpected, *found])
            missing.append(f"missing: `{path}`, {type}" + (f"; {near}" if near else ""))
            continue
        name, held = found[path]
        called = f" as `{name}`" if name != path else ""
        have = held.shape[::-1] if line.transpose and len(type.shape) == 2 and len(held.shape) == 2 else held.shape
        element = None if held.dtype is None else KINDS.get(held.dtype.kind)
        if element is None or (element != type.dtype and type.dtype != "float") or (element == "bool") != (
            type.dtype == "bool"
        ):  # fmt: skip
            wrong.append(f"type: `{path}` is {type}, in the file{called} {held.dtype or 'of a type that is not read'}")
        elif tuple(have) != tuple(type.shape):
            turned = " transposed" if have != held.shape else ""
            wrong.append(f"shape: `{path}` is {type}, in the file{called}{turned} {list(have)}")
    extra = [f"not in the model: `{path}`, {list(found[path][1].shape)}" for path in unexpected]
    return [*_some(missing), *_some(wrong), *_some(extra)]


def _some(lines: Sequence[str]) -> list[str]:
    rest = len(lines) - SHOWN
    return [*lines[:SHOWN], *([f"and {rest:,} more"] if rest > 0 else [])]


def _starts(c: Context) -> None:
    """Loaded values take the place of start values; those made of others (`state slow: float[n] = W`) follow."""
    for path in c.module.loaded:
        del c.graph.outputs[f"initial/{path}"]
    for path, (node, span) in c.made_of.items():
        if path not in c.module.loaded:
            parameters.begin(c, path, node, span)
