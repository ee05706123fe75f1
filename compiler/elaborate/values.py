"""What an expression of the language can be while a spec is elaborated.

static value = bool | int | float | str | none | Dim | tuple | list | Range
value        = static value | Tensor | Parts | Indexed
             | Function | Partial | Maker | Instance | Distributed | Updater | Objective
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..ir.graph import Node
from ..ir.types import Dim, Size
from ..source import Span
from ..syntax import tree as syntax

if TYPE_CHECKING:
    from ..ir.place import Place
    from .library import Unit
    from .scope import Frame
    from .subjects import Subject

Value = Any  # one of the kinds above

# Dimensions carry the name they were declared with, beside their size: (number of the frame, name). Names check
# (`c` never meets `h`, though both be 64), and `axis = c` or `v[c]` find a dimension by it. Those that a `...` stands
# for are `...0`, `...1` and so on from the last, so that each has its own name outside.
Label = tuple[int, str]
DOTS = "..."


def clash(one: Label | None, other: Label | None) -> bool:
    """Whether two dimensions may not meet: they have different names of one scope, and not from a `...`."""
    if one is None or other is None or one == other or one[0] != other[0]:
        return False
    return not (one[1].startswith(DOTS) and other[1].startswith(DOTS))


class NamedInt(int):
    """The size of a named dimension that is a number; remembers which dimension."""

    label: Label


class NamedDim(Dim):
    """The size of a named dimension that is free; remembers which dimension."""

    __slots__ = ("label",)
    label: Label


def named_size(size: Size, label: Label) -> Size:
    result: NamedInt | NamedDim = NamedInt(size) if isinstance(size, int) else NamedDim(size.terms)
    result.label = label
    return result


def plain(size: Size) -> Size:
    """A size without its name."""
    if isinstance(size, NamedInt):
        return int(size)
    return Dim(size.terms) if isinstance(size, NamedDim) else size


def label_of(size: object) -> Label | None:
    """The dimension that a size was read from by its name, or None."""
    return size.label if isinstance(size, NamedInt | NamedDim) else None


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A node with the names of its dimensions. `along` is set by `v[c]`: the vector lies along that dimension
    of whatever it meets."""

    node: Node
    labels: tuple[Label | None, ...] = ()
    along: Label | None = None

    @property
    def names(self) -> tuple[Label | None, ...]:
        """One entry for each dimension."""
        return self.labels if len(self.labels) == self.node.rank else (None,) * self.node.rank


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Several tensors seen as one long vector (`g: vector[n]` of a clip): elementwise operations act on each
    part, a sum over everything on all of them."""

    items: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Range:
    start: Any
    stop: Any


@dataclass(frozen=True, slots=True, eq=False)
class Reversed:
    """`reverse(time)`: the iterations of a scan from the last to the first."""

    value: Any


@dataclass(slots=True, eq=False)
class Indexed:
    """`name[i] = value` in a `for`: one value for each iteration, in the order of the iterations."""

    entries: dict[tuple[Any, ...], Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Builtin:
    """A function of the compiler: `call(elaborator, arguments)`."""

    name: str
    parameters: tuple[tuple[str, bool], ...]  # name, whether it must be given
    run: Callable[..., Value]
    open: bool = False  # takes any arguments, as a list: `run` looks at them itself


BUILTINS: dict[str, Builtin] = {}  # by name; `builtins/` fills it


@dataclass(frozen=True, slots=True, eq=False)
class Declared:
    """A declaration as a value: an fn, or the maker of layers, distributions and optimizers. `home`: where it stands
    in a block, the frame as it was there."""

    declaration: syntax.Declaration
    unit: Unit
    home: Frame | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Partial:
    """A call of an fn that left its first parameter open: it waits for a value to be piped in."""

    function: Declared | Builtin
    arguments: tuple[Argument, ...]
    missing: str
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Argument:
    """An evaluated argument of a call."""

    name: str | None
    value: Value
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Configuration:
    """A first argument list: its values, the dimensions its types bound, and the number of its frame."""

    names: dict[str, Value]
    dims: dict[str, Size]
    number: int


@dataclass(slots=True, eq=False)
class Instance:
    """A layer with its first list given. `path` is settled when it is bound to a name or first applied."""

    declaration: syntax.Layer
    unit: Unit
    configuration: Configuration
    maker: Frame  # the frame whose text made it: its owner
    span: Span
    given: tuple[Argument, ...]
    place: Place  # where it was made
    home: Frame | None = None  # of its declaration
    after: Value = None  # what is applied to its result: `dense(64, relu)`
    path: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Inner:
    """`f.inner`, `f.inner[0]`: a layer that the layer f makes, or several of one name, by their path."""

    path: str


@dataclass(frozen=True, slots=True, eq=False)
class Distributed:
    """A distribution with its parameters. `joint` counts a whole row as one observation; `weights` count some
    or in part."""

    declaration: syntax.Distribution
    unit: Unit
    configuration: Configuration
    joint: bool = False
    weights: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Updater:
    """An optimizer with its configuration: the update rule of one parameter."""

    declaration: syntax.Optimizer
    unit: Unit
    configuration: Configuration
    given: tuple[Argument, ...] = ()


def holds_tensor(value: Value) -> bool:
    """Whether a value is a tensor, or a list with one."""
    if isinstance(value, list | tuple):
        return any(map(holds_tensor, value[:8]))
    return isinstance(value, Tensor | Parts | Indexed)


@dataclass(frozen=True, slots=True, eq=False)
class Objective:
    """A value of the model as a function of theta: `loss` of an optimizer. In a first list, `curvature = loss`, it is
    not known yet what theta is; a node of None is the objective of the statement."""

    node: Node | None = None
    subject: Subject | None = None


class Poison:
    """The value of a name whose definition was in error: whatever uses it stays silent."""

    def __repr__(self) -> str:
        return "POISON"


POISON = Poison()


class Reported(Exception):
    """A statement cannot go on for a value whose error is reported already."""


def kind(value: Value) -> str:
    """What a value is, in the words of a message."""
    if isinstance(value, bool):
        return f"the boolean `{str(value).lower()}`"
    if isinstance(value, int | float):
        return f"the number {value:g}" if isinstance(value, float) else f"the number {int(value)}"
    if isinstance(value, Tensor):
        return f"a value of type `{value.node.type}`"
    if isinstance(value, Declared):
        what = type(value.declaration).__name__.lower()
        return f"the {what} `{value.declaration.name}`"
    if isinstance(value, Instance):
        return f"an instance of the layer `{value.declaration.name}`"
    if isinstance(value, Inner):
        return f"the layer `{value.path}` inside another"
    if isinstance(value, Distributed):
        return f"the distribution `{value.declaration.name}`"
    if isinstance(value, Updater):
        return f"the optimizer `{value.declaration.name}`"
    if isinstance(value, Partial):
        name = value.function.name if isinstance(value.function, Builtin) else value.function.declaration.name
        return f"`{name}` still without its argument `{value.missing}`"
    if isinstance(value, Builtin):
        return f"the function `{value.name}`"
    if isinstance(value, Dim):
        return f"the size `{value}`"
    if value is None:
        return "`none`"
    if value is Ellipsis:
        return "`...`"
    names = {
        str: "a string",
        dict: "a mapping",
        list: "a list",
        tuple: "a tuple",
        Range: "a range",
        Reversed: "an order of iterations",
        Indexed: "an indexed name",
        Parts: "a gradient of several parts",
        Objective: "a function of theta",
    }
    return names.get(type(value), "a value of another kind")
