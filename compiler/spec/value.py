"""Expressions of a spec as values of Python: its operators state the operators of the language."""

from __future__ import annotations

import math
import numbers
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from ..diagnostics import error
from ..source import Span
from ..syntax import tree as s
from ..syntax.builder import RESERVED, reserved
from ..syntax.unparse import expression
from .places import here

_WORD = re.compile(r"[^\W\d]\w*")


class Value:
    """An expression: `m.x @ m.W + m.b`, `dl.relu(h)`, `h[:, t]`, `f.W`. Nothing is computed: it is what the spec says.

    Operators are those of the language, and bind as Python has it:

    * `+ - * / // % @` and `== != < <= > >=` as they stand, `**` for `^`;
    * `abs(x)` and `-x` as they stand;
    * `x >> f` for `x |> f`: x goes through the layer or function f;
    * `&`, `|` and `~` for `and`, `or` and `not` (a comparison beside them needs brackets, as in NumPy);
    * `x[:, t, None, 1:]`, `x.part` and `f(a, b=2)` as they stand. Names that begin with `_` are Python's.

    Numbers, strings, booleans, `None`, `...`, lists, tuples and `range(n)` are taken as operands and arguments.
    E0148 for what the language has no form for, E0149 where Python asks a value whether it is true.

        >>> from dlc.spec import dl
        >>> dl.x >> dl.dense(10) >> dl.softmax
        x |> dense(10) |> softmax
    """

    __slots__ = ("_home", "_tree")
    __array_ufunc__ = None  # arrays of NumPy leave operators to this class, which refuses arrays

    def __init__(self, tree: s.Expr, home: Callable[[Value, object], None] | None = None) -> None:
        self._tree = tree
        self._home = home  # how `name[i] = value` is stated in the block of the name

    def __repr__(self) -> str:
        return expression(self._tree)

    # --- what holds of an expression in a spec is not known while it is stated

    __hash__ = object.__hash__

    def __bool__(self) -> NoReturn:
        raise error(
            "E0149",
            f"whether `{self!r}` is true is not known while the spec is stated",
            here(),
            "Python asks here",
            notes=["`if`, `and`, `or`, `not`, `in` and chained comparisons ask"],
            help="state it: `a & b`, `a | b`, `~a`, `choose(a, yes, no)`, `with m.if_(a):`",
        )

    def __iter__(self) -> NoReturn:
        raise error(
            "E0149",
            f"how many parts `{self!r}` has is not known while the spec is stated",
            here(),
            "Python asks here",
            help='`m.let(("a", "b"), value)` states several names, `with m.for_("i", value) as i:` a loop',
        )

    # --- operators

    def __add__(self, other: object) -> Value:
        return _binary("+", self, other)

    def __radd__(self, other: object) -> Value:
        return _binary("+", other, self)

    def __sub__(self, other: object) -> Value:
        return _binary("-", self, other)

    def __rsub__(self, other: object) -> Value:
        return _binary("-", other, self)

    def __mul__(self, other: object) -> Value:
        return _binary("*", self, other)

    def __rmul__(self, other: object) -> Value:
        return _binary("*", other, self)

    def __truediv__(self, other: object) -> Value:
        return _binary("/", self, other)

    def __rtruediv__(self, other: object) -> Value:
        return _binary("/", other, self)

    def __floordiv__(self, other: object) -> Value:
        return _binary("//", self, other)

    def __rfloordiv__(self, other: object) -> Value:
        return _binary("//", other, self)

    def __mod__(self, other: object) -> Value:
        return _binary("%", self, other)

    def __rmod__(self, other: object) -> Value:
        return _binary("%", other, self)

    def __matmul__(self, other: object) -> Value:
        return _binary("@", self, other)

    def __rmatmul__(self, other: object) -> Value:
        return _binary("@", other, self)

    def __pow__(self, other: object) -> Value:
        return _binary("^", self, other)

    def __rpow__(self, other: object) -> Value:
        return _binary("^", other, self)

    def __and__(self, other: object) -> Value:
        return _binary("and", self, other)

    def __rand__(self, other: object) -> Value:
        return _binary("and", other, self)

    def __or__(self, other: object) -> Value:
        return _binary("or", self, other)

    def __ror__(self, other: object) -> Value:
        return _binary("or", other, self)

    def __eq__(self, other: object) -> Value:  # type: ignore[override]
        return _binary("==", self, other)

    def __ne__(self, other: object) -> Value:  # type: ignore[override]
        return _binary("!=", self, other)

    def __lt__(self, other: object) -> Value:
        return _binary("<", self, other)

    def __le__(self, other: object) -> Value:
        return _binary("<=", self, other)

    def __gt__(self, other: object) -> Value:
        return _binary(">", self, other)

    def __ge__(self, other: object) -> Value:
        return _binary(">=", self, other)

    def __neg__(self) -> Value:
        return _unary("-", self)

    def __pos__(self) -> Value:
        return _unary("+", self)

    def __abs__(self) -> Value:
        return Value(s.Name(here(), "abs"))(self)

    def __invert__(self) -> Value:
        return _unary("not", self)

    def __rshift__(self, other: object) -> Value:
        return Value(s.Pipe(here(), told(self), told(other)))

    def __rrshift__(self, other: object) -> Value:
        return Value(s.Pipe(here(), told(other), told(self)))

    def __ilshift__(self, value: object) -> Any:
        """`m.h <<= value` states `h <- value`."""
        return Updated(self, value)

    def __call__(self, *arguments: object, **named: object) -> Value:
        place = here()
        given = [s.Argument(place, None, told(value)) for value in arguments]
        given += [s.Argument(place, name_of(name), told(value)) for name, value in named.items()]
        return Value(s.Call(place, self._tree, tuple(given)))

    def __getitem__(self, places: object) -> Value:
        several = places if isinstance(places, tuple) else (places,)
        return Value(s.Index(here(), self._tree, tuple(map(_part, several))), self._home)

    def __setitem__(self, places: object, value: object) -> None:
        if self._home is None:
            raise error(
                "E0148", f"`{self!r}` is in no block of a spec", here(), "given a value here", help="m.name[i] = value"
            )
        self._home(self[places], value)

    def __getattr__(self, name: str) -> Value:
        if name.startswith("_"):
            raise AttributeError(name)
        place = here()
        return Value(s.Attribute(place, self._tree, name_of(name, part=True), place))


class Updated:
    """`state <<= value`, which its block takes up."""

    def __init__(self, target: Value, value: object) -> None:
        self.target, self.value = target, value


class Language:
    """The names of the language and its library, as attributes: `dl.relu`, `dl.adam(1e-3)`, `dl.steps`, `dl.pi`.

    `dl.float["batch", 64]` is a type, with the names of dimensions as strings. `dl["name"]` is the name that a string
    holds.

        >>> from dlc.spec import dl
        >>> dl.float["batch", 3], dl.pi * 2, dl.adam(lr=1e-3)
        (float["batch", 3], pi * 2, adam(lr = 0.001))
    """

    def __getattr__(self, name: str) -> Value:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Value:
        return Value(s.Name(here(), name_of(name)))


def name_of(name: object, part: bool = False) -> str:
    """A name that a spec may have, as the parser reads it (NFKC). `part`: after a dot any word is one. E0148, E0111."""
    if not isinstance(name, str) or not _WORD.fullmatch(name):
        help = "letters, digits and `_`, of which a digit is not the first"
        raise error("E0148", f"{name!r} is no name", here(), "stated here", help=help)
    if name in RESERVED and not part:
        raise reserved(name, here())
    return unicodedata.normalize("NFKC", name)


def new_name(name: object) -> str:
    """The same of something that a spec is to call so: `loss` may be read alone."""
    found = name_of(name)
    if found == "loss":
        raise error(
            "E0111",
            "`loss` is a word of the language, not a name",
            here(),
            "cannot be a name",
            help="`m.loss(value)` states a term of it",
        )
    return found


def _binary(op: str, left: object, right: object) -> Value:
    place = here()
    return Value(s.Binary(place, op, told(left), told(right), place))


def _unary(op: str, operand: Value) -> Value:
    return Value(s.Unary(here(), op, operand._tree))


def choose(condition: object, yes: object, no: object) -> Value:
    """`yes if condition else no`.

    >>> from dlc.spec import choose, dl
    >>> choose(dl.training, dl.noisy, dl.x)
    noisy if training else x
    """
    return Value(s.Choice(here(), told(yes), told(condition), told(no)))


def upto(first: object, end: object) -> Value:
    """`first..end`, the end left out; `range(first, end)` says the same of integers.

    >>> from dlc.spec import dl, upto
    >>> upto(0, dl.depth)
    0..depth
    """
    return Value(s.Range(here(), told(first), told(end)))


# --- what Python says, as syntax


def told(value: object) -> s.Expr:
    """The syntax of a value of Python. E0148 for what has none."""
    if isinstance(value, Value):
        return value._tree
    place = here()
    match value:
        case None | bool():
            return s.Constant(place, value)
        case numbers.Integral():
            return _number(int(value), place)
        case numbers.Real():
            return _number(float(value), place)
        case str():
            return text_of(value, place)
        case range() if value.step == 1:
            return s.Range(place, told(value.start), told(value.stop))
        case list():
            return s.List(place, tuple(map(told, value)))
        case tuple():
            return s.Tuple(place, tuple(map(told, value)))
    if value is ...:
        return s.Ellipsis(place)
    raise no_form(value, place)


def no_form(value: object, place: Span) -> Exception:
    return error(
        "E0148",
        f"a spec has no form for a value of the type `{type(value).__name__}`",
        place,
        "stated here",
        help="numbers, strings, booleans, `None`, lists, tuples and `range(n)` have one; data come in by an input",
    )


def _number(value: int | float, place: Span) -> s.Expr:
    if isinstance(value, float) and math.isnan(value):
        return s.Name(place, "nan")
    if value < 0 or (isinstance(value, float) and math.copysign(1, value) < 0):
        return s.Unary(place, "-", _number(-value, place))
    if isinstance(value, float) and math.isinf(value):
        return s.Name(place, "inf")
    if isinstance(value, int) and value >= 2**63:
        raise error("E0109", "a number is too large", place, "an int is at most 9223372036854775807")
    return s.Number(place, value)


def text_of(value: str, place: Span) -> s.Text:
    if "\r" in value or any("\ud800" <= c <= "\udfff" for c in value):
        raise error("E0148", f"a spec has no form for {value!r}: it is UTF-8, with \\n for a line end", place)
    return s.Text(place, value)


def _part(place: object) -> s.Expr:
    """What stands between the brackets of an index."""
    if isinstance(place, slice):
        bounds = (None if bound is None else told(bound) for bound in (place.start, place.stop, place.step))
        return s.Slice(here(), *bounds)
    return told(place)


def setting_of(value: object) -> s.Expr:
    """The value of a setting, which may be a mapping."""
    if isinstance(value, Mapping):
        place = here()
        return s.Mapping(place, tuple(s.Argument(place, name_of(k), told(v)) for k, v in value.items()))
    return told(value)


def type_of(value: object) -> s.Type:
    """`dl.float["batch", 64]` as a type; a string is a dimension's name there, `"...name"` the sizes of a list."""
    tree = value._tree if isinstance(value, Value) else None
    place = here() if tree is None else tree.span
    if isinstance(tree, s.Name):
        return s.Type(place, tree.name, None)
    if isinstance(tree, s.Index) and isinstance(tree.value, s.Name):
        return s.Type(place, tree.value.name, tuple(map(_dimension, tree.places)))
    raise error("E0148", f"{value!r} is no type", place, "stated here", help='dl.float["batch", 64], dl.int["batch"]')


def types_of(value: object) -> tuple[s.Type, ...] | None:
    if value is None:
        return None
    return tuple(map(type_of, value if isinstance(value, list | tuple) else [value]))


def _dimension(place: s.Expr) -> s.Expr:
    if not isinstance(place, s.Text):
        return place
    if place.value.startswith("..."):
        return s.Ellipsis(place.span, name_of(place.value[3:]))
    return s.Name(place.span, name_of(place.value))


def all_told(values: object) -> tuple[s.Expr, ...]:
    """Several values of a tuple, or a single one."""
    given: Iterable[object] = values if isinstance(values, tuple) else (values,)
    return tuple(map(told, given))
