"""What a file says about itself, in one typed reader: JSON against dataclasses, or an error that says what was found
where and what was expected. Whoever wrote the file, nothing behind this reader meets a value of the wrong kind.

The form of a key is a dataclass below; docs/file-format.md has them in words.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Annotated, Any, Literal, TypeVar, Union

from .failures import Error

FAR = 2**31 - 1  # epochs, updates, rows: their products must stay within int64

T = TypeVar("T")


@dataclass(frozen=True)
class Within:
    """Bounds of a number, both included."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"from {self.low:,} to {self.high:,}"


@dataclass(frozen=True)
class Anything:
    """A text that may hold any character: the source of a spec. Other texts are names and paths, without NUL."""


@dataclass(frozen=True)
class FileName:
    """A text that names a file: also one that is no UTF-8, which Python holds as halves of surrogate pairs."""


@dataclass(frozen=True)
class Kept:
    """A value that has to be of a form, and is kept as the JSON has it."""

    form: Any


COUNTS, THREADS, SEEDS = Within(1, FAR), Within(1, 1024), Within(-(2**63), 2**64 - 1)

Count = Annotated[int, COUNTS]
Whole = Annotated[int, Within(0, FAR)]  # none of it too
Total = Annotated[int, Within(0, 2**62)]  # of what several fits did
Threads = Annotated[int, THREADS]
Share = Annotated[float, Within(0.0, 1.0)]
Seed = Annotated[int, SEEDS]
Label = Annotated[int, Within(-(2**63), 2**63)]
Text = Annotated[str, Anything()]
DataFile = Annotated[str, FileName()]
Finite = Annotated[float, Within(-1.8e308, 1.8e308)]
Seconds = Annotated[float, Within(0.0, 1e300)]
Number = Label | Finite
Place = Annotated[int, Within(-(2**62), 2**62)]
Step = Annotated[int, Within(1, 2**62)]
Part = tuple[tuple[Place, Place | None, Step] | None, ...]  # start, stop and step of each dimension; None for all of it


@dataclass(frozen=True)
class Possible:
    """What numbers may be: those of `values`, or those from `low` to `high` (None: without end), less the ends that are
    open. `part` says of which elements of an array, None of all; `of` who asks for it, "" for an index."""

    low: Number | None = None
    high: Number | None = None
    low_open: bool = False
    high_open: bool = False
    whole: bool = False
    values: tuple[Number, ...] | None = None
    part: Part | None = None
    of: str = ""


@dataclass(frozen=True)
class Tensor:
    """What flows in or out or is held: a size of its shape is a number, a name, or arithmetic on names."""

    name: str
    shape: tuple[int | str | None, ...] = ()
    dtype: str = "float"
    range: tuple[Label, Label] | None = None  # half-open: what files held before they held `support`
    support: tuple[Possible, ...] | None = None
    drawn: str | None = None  # the output of the algorithm that draws one where the data of a prediction have none


@dataclass(frozen=True)
class Signature:
    """`dlc.signature`."""

    inputs: tuple[Tensor, ...] = ()
    targets: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    parameters: tuple[Tensor, ...] = ()
    states: tuple[Tensor, ...] = ()
    batch: str | None = None
    rows: tuple[str, ...] = ()  # the dimensions that count rows, where there are several


@dataclass(frozen=True)
class Stop:
    """When training ends early: after `patience` epochs without a better figure `on`."""

    patience: Count = 5
    on: str = "validation.loss"
    mode: Literal["min", "max"] = "min"


@dataclass(frozen=True)
class Folds:
    """A cross-validation whose folds have the classes of a target in proportion."""

    count: Count
    by: str


@dataclass(frozen=True)
class Sampler:
    """Rows that are drawn with replacement: by the classes of a target, of each as many (`by`), or by a number of each
    row, which the file computes (`weighted`, as the spec says it)."""

    by: str | None = None
    weighted: str | None = None


@dataclass(frozen=True)
class Bucket:
    """Rows of about one length are in a batch, which is cut to the longest: `length`, which the file computes of each
    row, as the spec says it, and the dimension that is cut."""

    length: str
    along: str


BATCH, EPOCHS = 32, 10  # where a file does not say
Batch = (
    Count | Literal["all"] | dict[str, Count | Literal["all"]]
)  # of each dimension that counts rows, where several do
RESERVED = ("step", "steps", "key", "observations")  # state that every compiled file may have


@dataclass(frozen=True)
class Train:
    """The settings that a runtime acts on; others beside them (a spec's own names) may hold anything."""

    batch: Batch | None = BATCH
    epochs: Whole | None = None
    steps: Whole | None = None
    data: str | None = None
    validate: Share | str | None = None
    stop: Stop | None = None
    seed: Seed | None = None
    columns: dict[str, list[str]] | None = None
    test: Share | str | None = None
    restore: Literal["best", "last"] | None = None
    folds: Count | Folds | None = None
    ensemble: Count | None = None
    drop_last: bool | None = None
    sampler: Sampler | None = None
    bucket: Bucket | None = None
    stream: Count | None = None


@dataclass(frozen=True)
class Settings:
    """`dlc.settings`."""

    model: dict[str, object] = field(default_factory=dict)
    train: Train = field(default_factory=Train)


@dataclass(frozen=True)
class Record:
    """One epoch: a line of metrics.jsonl, an entry of a checkpoint's history."""

    epoch: Count
    step: Total
    seconds: Seconds
    train: dict[str, float]
    validation: dict[str, float] | None


@dataclass(frozen=True)
class Norms:
    """A line of norms.jsonl: Euclidean norms by parameter at the end of an epoch."""

    epoch: Count
    step: Total
    weights: dict[str, float]
    gradients: dict[str, float]


@dataclass(frozen=True)
class Turn:
    """One of `dlc.turns`, a list: the loss of a training_info, and the iterations in which it runs: `first`,
    `first + every` and so on."""

    loss: str
    every: Count = 1
    first: Count = 1

    def runs(self, iteration: int) -> bool:
        return iteration >= self.first and not (iteration - self.first) % self.every

    def count(self, iterations: int) -> int:
        """How often it runs in so many iterations."""
        return max(0, (iterations - self.first) // self.every + 1)


@dataclass(frozen=True)
class Block:
    """One of `dlc.blocks`, a list: a train block, how many training_infos it has, its settings, and the optimizer state
    that begins as a parameter is when the block does."""

    title: str | None
    passes: Count
    train: Annotated[dict[str, Any], Kept(Train)]
    starts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Supplied:
    """One of `dlc.supplied`, a list: what the spec does not say and the compiler did. `by` is the likelihood that an
    output or metric comes from, the value of a setting."""

    kind: Literal["output", "metric", "setting"]
    name: str
    by: str


@dataclass(frozen=True)
class Sources:
    """`dlc.sources`: every text of the spec by its name; `main` is the name of the spec itself."""

    main: str | None = None
    files: dict[str, Text] = field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """One part of the evaluation: the output of a batch, where its total goes, and how totals are made."""

    part: str
    total: str
    reduce: str


@dataclass(frozen=True)
class Epoch:
    """How the figures of a training epoch come from those of its steps: `figures` combine by themselves, `values` is
    the output of the closing arithmetic of others, over `parts` that a step gives."""

    figures: dict[str, Literal["mean", "sum", "min", "max"]] = field(default_factory=dict)
    parts: tuple[Figure, ...] = ()
    values: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """`dlc.evaluate`: the output of each figure's closing arithmetic, each table's, each figure's of rows `kept`."""

    parts: tuple[Figure, ...]
    values: dict[str, str]
    train: Epoch | None = None
    tables: dict[str, str] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    of_kept: dict[str, str] = field(default_factory=dict)


class Unfit(Exception):
    """A value that is not of the form asked for. `place` is where in the JSON: `train.stop.patience`."""

    def __init__(self, place: str, found: object, expected: str) -> None:
        super().__init__(place)
        self.place, self.found, self.expected = place, found, expected

    def notes(self) -> list[str]:
        place = f" at `{self.place}`" if self.place else ""
        return [f"found {describe(self.found)}{place}", f"expected {self.expected}"]


def parse(text: str) -> object:
    """JSON as Python's values. Raises ValueError for what is none (a number of more digits than Python reads too)."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read(text: str, form: type[T], key: str, where: str | None) -> T:
    """The metadata `key` as `form`. Raises `Error` E0714 for what is no JSON, or not of that form."""
    try:
        made: T = build(parse(text), form)
        return made
    except ValueError:
        raise broken(key, "it is not JSON", where) from None
    except Unfit as problem:
        if not problem.place and is_dataclass(form):
            raise broken(key, "it is not a JSON object", where) from None
        raise broken(key, "a value has the wrong type", where, problem.notes()) from None


def broken(key: str, why: str, where: str | None, notes: list[str] | None = None) -> Error:
    return Error(
        "E0714",
        f"the metadata `{key}` cannot be read: {why}",
        where=where,
        notes=notes or [],
        help="compile the spec again",
    )


def number(text: str, key: str, what: str, where: str | None) -> int:
    """A count that stands as a text (`dlc.format`, `dlc.trained`). Raises `Error` E0714."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        shown = text if len(text) <= 40 else text[:40] + "…"
        raise broken(key, f"`{shown}` is not a {what}", where)
    return int(text)


def build(value: Any, form: Any, place: str = "") -> Any:
    """A value of JSON as `form`: a dataclass or TypedDict, a container of the typing module, or a plain type. Lists
    become tuples where the form says so. Raises `Unfit`."""
    if is_dataclass(form):
        return _record(value, form, place)
    if typing.is_typeddict(form):
        hints = typing.get_type_hints(form, include_extras=True)
        if not isinstance(value, dict) or not hints.keys() <= value.keys():
            raise Unfit(place, value, "an object with " + ", ".join(f"`{name}`" for name in hints))
        return {name: build(value[name], hint, _part(place, name)) for name, hint in hints.items()}
    origin, arguments = typing.get_origin(form), typing.get_args(form)
    if origin in (Union, types.UnionType):
        return _either(value, arguments, form, place)
    if origin is Literal:
        if value not in arguments or type(value) is not type(arguments[arguments.index(value)]):
            raise Unfit(place, value, expected(form))
        return value
    if origin is Annotated:
        return _bounded(value, arguments, form, place)
    if origin in (tuple, list):
        return _items(value, origin, arguments, form, place)
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            raise Unfit(place, value, expected(form))
        made = {}
        for name, item in value.items():
            build(name, str, place)
            made[name] = build(item, arguments[1], _part(place, name))
        return made
    return _plain(value, form, place)


def _record(value: Any, form: Any, place: str) -> Any:
    hints = typing.get_type_hints(form, include_extras=True)
    if not isinstance(value, dict):
        raise Unfit(place, value, "an object")
    made = {}
    for one in fields(form):
        if one.name in value:
            made[one.name] = build(value[one.name], hints[one.name], _part(place, one.name))
        elif one.default is MISSING and one.default_factory is MISSING:
            raise Unfit(place, value, f"an object with `{one.name}`")
    return form(**made)


def _either(value: Any, arguments: tuple[Any, ...], form: Any, place: str) -> Any:
    deeper: Unfit | None = None
    for choice in arguments:
        try:
            return build(value, choice, place)
        except Unfit as problem:  # what lies deeper, or is a text that cannot be, says more than that no choice fits
            if problem.place != place or problem.expected.startswith("a string "):
                deeper = problem
    raise deeper or Unfit(place, value, expected(form))


def _bounded(value: Any, arguments: tuple[Any, ...], form: Any, place: str) -> Any:
    kind, bounds = arguments
    if isinstance(bounds, Anything):
        return _text(value, place, nul=True)
    if isinstance(bounds, FileName):
        return _text(value, place, errors="surrogateescape")
    if isinstance(bounds, Kept):
        build(value, bounds.form, place)
        return value
    made = build(value, kind, place)
    if not bounds.low <= made <= bounds.high:  # also of NaN
        raise Unfit(place, value, expected(form))
    return made


def _items(value: Any, origin: Any, arguments: tuple[Any, ...], form: Any, place: str) -> Any:
    if not isinstance(value, list):
        raise Unfit(place, value, expected(form))
    forms = [arguments[0]] * len(value) if origin is list or arguments[-1] is Ellipsis else list(arguments)
    if len(forms) != len(value):
        raise Unfit(place, value, expected(form))
    return origin(build(item, one, f"{place}[{i}]") for i, (item, one) in enumerate(zip(value, forms, strict=True)))


def _plain(value: Any, form: Any, place: str) -> Any:
    if form is object or form is Any:
        _texts(value, place)
        return value
    if form is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**1023:
        return float(value)
    if type(value) is not form and not (form in (None, type(None)) and value is None):
        raise Unfit(place, value, expected(form))
    return _text(value, place) if form is str else value


def _text(value: Any, place: str, nul: bool = False, errors: str = "strict") -> str:
    if not isinstance(value, str):
        raise Unfit(place, value, "a string")
    if not nul and "\0" in value:
        raise Unfit(place, value, "a string without NUL")
    try:
        value.encode(errors=errors)
    except UnicodeEncodeError:
        raise Unfit(place, value, "a string of whole characters, without unpaired surrogates") from None
    return value


def _texts(value: Any, place: str) -> None:
    """Any value of JSON, but no text of half characters: not even that can be printed or written."""
    pending = [value]
    while pending:
        at = pending.pop()
        if isinstance(at, str):
            _text(at, place, nul=True)
        elif isinstance(at, list):
            pending += at
        elif isinstance(at, dict):
            pending += [*at.keys(), *at.values()]


def _part(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def expected(form: Any) -> str:
    """A form in words."""
    origin, arguments = typing.get_origin(form), typing.get_args(form)
    if origin in (Union, types.UnionType):
        words = list(dict.fromkeys(expected(choice) for choice in arguments))
        return ", ".join(words[:-1]) + " or " + words[-1]
    if origin is Literal:
        return " or ".join(f'"{choice}"' for choice in arguments)
    if origin is Annotated:
        if isinstance(arguments[1], Kept):
            return expected(arguments[1].form)
        return f"{expected(arguments[0])} {arguments[1]}" if isinstance(arguments[1], Within) else "a string"
    if origin in (tuple, list):
        if origin is list or arguments[-1] is Ellipsis:
            return "a list, each of it " + expected(arguments[0])
        return f"a list of {len(arguments)}, each item {expected(arguments[0])}"
    if origin in (dict, Mapping):
        return "an object, each value " + expected(arguments[1])
    names = {int: "an integer", float: "a number", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(form, "an object")


def describe(value: object) -> str:
    """A value of JSON in words: what it is, and what it says where that is short."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int):
        return f"the number {value}" if abs(value) < 10**40 else "a number of more than 40 digits"
    if isinstance(value, float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the string {json.dumps(value if len(value) <= 40 else value[:40] + '…', ensure_ascii=True)}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "an object"
