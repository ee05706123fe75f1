"""Statements: what stands in a model, a layer, a function, an update rule, a distribution or a train block."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self, TypeVar, overload

from ..diagnostics import error
from ..source import Source, Span
from ..syntax import tree as s
from ..syntax.parser import parse_pattern
from .places import here
from .value import Updated, Value, all_told, name_of, new_name, no_form, setting_of, text_of, told, type_of, types_of

ABSENT: Any = object()
Arguments = Sequence["str | Argument"]
I = TypeVar("I", bound="Inner")


class Argument(NamedTuple):
    """One entry of an argument list; `arg` makes it.

    >>> from dlc.spec import arg, dl
    >>> one = arg("bias", True)
    >>> one.name, one.default
    ('bias', True)
    """

    place: Span
    name: str
    type: object
    default: object
    within: object


def arg(name: str, default: object = ABSENT, *, type: object = None, within: object = None) -> Argument:
    """An argument of a layer, function, rule or model: `arg("bias", True)`, `arg("x", type=dl.float[..., "n"])`.

    `within`: what numbers it may be, as after `in` in the language.

        >>> from dlc.spec import Spec, arg, dl
        >>> spec = Spec()
        >>> with spec.fn("leaky", ["x", arg("slope", 0.01, within=dl.interval(0, 1))]) as f:
        ...     f.return_(dl.where(f.x > 0, f.x, f.slope * f.x))
        >>> print(spec)
        fn leaky(x, slope in interval(0, 1) = 0.01) = where(x > 0, x, slope * x)
    """
    return Argument(here(), name_of(name), type, default, within)


def listed(given: Arguments, defaults: Mapping[str, object] | None = None) -> tuple[s.Parameter, ...]:
    """An argument list as syntax; `defaults` are more, by their names."""
    every = [arg(one) if isinstance(one, str) else one for one in given]
    every += [arg(name, value) for name, value in (defaults or {}).items()]
    return tuple(
        s.Parameter(
            one.place,
            one.name,
            None if one.type is None else type_of(one.type),
            None if one.default is ABSENT else told(one.default),
            _maybe(one.within),
        )
        for one in every
    )


def columns(*names: str, encode: Sequence[object] = (), missing: object = None) -> s.Columns:
    """The columns of a table that an input or target is made of: `columns("age", missing=dl.median,
    encode=[dl.standardised])`.

    `encode`: in their order, encodings as `dl.vocabulary` or `dl.bins(10)`, or one with a value as `("missing", 0)`;
    `missing` is the first.

        >>> from dlc.spec import Spec, columns, dl
        >>> spec = Spec()
        >>> with spec.model("m") as m:
        ...     made = columns("age", missing=dl.median, encode=[dl.standardised])
        ...     age = m.input("age", dl.float["batch"], columns=made)
        >>> print(spec)
        model m {
            input age: float[batch] from "age" missing = median standardised
        }
    """
    place = here()
    every = [*([] if missing is None else [("missing", missing)]), *encode]
    return s.Columns(place, tuple(text_of(name, place) for name in names), tuple(map(_encoding, every)))


def _encoding(given: object) -> s.Encoding:
    if isinstance(given, tuple) and len(given) == 2:
        return s.Encoding(here(), name_of(given[0]), (), told(given[1]))
    tree = told(given)
    if isinstance(tree, s.Name):
        return s.Encoding(tree.span, tree.name, (), None)
    if isinstance(tree, s.Call) and isinstance(tree.function, s.Name):
        return s.Encoding(tree.span, tree.function.name, tree.arguments, None)
    raise no_form(given, here())


def _maybe(value: object) -> s.Expr | None:
    return None if value is None else told(value)


@overload
def _pattern(paths: str) -> s.Pattern: ...
@overload
def _pattern(paths: None) -> None: ...
def _pattern(paths: str | None) -> s.Pattern | None:
    """Paths, in the words of the language: `*.W`, `encoder.* and not *.b`. E01xx where they do not parse."""
    if paths is None:
        return None
    return parse_pattern(Source("<spec>", paths, origins={(0, len(paths)): here()}))


class Block:
    """Statements in their order. `block.NAME` is a name as an expression, `block.NAME = value` states `NAME = value`,
    `block.NAME <<= value` states `NAME <- value`, and `block.NAME[i] = value` states `NAME[i] = value`.

    The methods are called as the words that begin a statement, which no name of a spec can be; `let`, `name` and
    `follows` are besides: a value called so is `block.name("let")`.

        >>> from dlc.spec import Spec, dl
        >>> spec = Spec()
        >>> with spec.model("line", hidden=8) as m:
        ...     x = m.input("x", dl.float["batch", 4])
        ...     y = m.target("y", dl.float["batch", 1])
        ...     scale = m.param("scale", dl.float[4], init=dl.ones)
        ...     seen = m.state("seen", dl.float, 0)
        ...     with m.layer("part", ["size"], ["v"]) as f:
        ...         f.return_(f.v >> dl.dense(f.size) >> dl.tanh)
        ...     with m.fn("twice", ["v"]) as f:
        ...         f.return_(2 * f.v)
        ...     m.h = m.twice(scale * x)
        ...     with m.for_("i", range(3)):
        ...         m.h = m.h >> m.part(m.hidden)
        ...     with m.if_(m.training):
        ...         m.p = m.h >> dl.dropout(0.1) >> dl.dense(1)
        ...     with m.elif_(m.hidden > 4):
        ...         m.p = m.h >> dl.dense(1)
        ...     with m.else_():
        ...         p = m.let("p", m.h[:, :1])
        ...     m.update(seen, seen + 1)  # or m.seen <<= seen + 1
        ...     m.follows(y, dl.normal(m.p, 1))
        ...     m.metric("error", dl.mean(abs(y - m.p)))
        ...     m.output("p", m.name("p"))
        >>> print(spec)
        model line(hidden = 8) {
            input x: float[batch, 4]
            target y: float[batch, 1]
            param scale: float[4] init ones
            state seen: float = 0
            layer part(size)(v) = v |> dense(size) |> tanh
            fn twice(v) = 2 * v
            h = twice(scale * x)
            for i in 0..3 {
                h = h |> part(hidden)
            }
            if training {
                p = h |> dropout(0.1) |> dense(1)
            } else if hidden > 4 {
                p = h |> dense(1)
            } else {
                p = h[:, :1]
            }
            seen <- seen + 1
            y ~ normal(p, 1)
            metric error = mean(abs(y - p))
            output p = p
        }
        >>> spec = Spec()
        >>> with spec.model("leaky") as m:
        ...     x = m.input("x", dl.float["batch", "time"])
        ...     h = m.state("h", dl.float["batch"], 0)
        ...     with m.scan("t", m.time) as t:
        ...         m.update(h, 0.5 * h + x[:, t])
        ...     with m.checkpoint():
        ...         m.squares = h ** 2
        ...     m.loss(dl.mean(m.squares))
        >>> print(spec)
        model leaky {
            input x: float[batch, time]
            state h: float[batch] = 0
            scan t over time {
                h <- 0.5 * h + x[:, t]
            }
            checkpoint {
                squares = h^2
            }
            loss = mean(squares)
        }
    """

    def __init__(self, finish: Callable[[tuple[s.Statement, ...]], Any]) -> None:
        self._finish = finish  # from its statements to what it is
        self._bodies: list[list[Any]] = [[]]  # those that are open, the innermost last

    def _tree(self) -> Any:
        return self._finish(_built(self._bodies[0]))

    def _add(self, statement: s.Statement) -> None:
        self._bodies[-1].append(statement)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        pass

    def __getattr__(self, name: str) -> Value:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.name(name)

    def __setattr__(self, name: str, value: object) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
        elif isinstance(value, Updated):
            target = value.target._tree
            assert isinstance(target, s.Name)
            self._add(s.Update(here(), target, told(value.value)))
        else:
            self._named(name, value)

    def _named(self, name: str, value: object) -> None:
        self.let(name, value)

    # --- names and values

    def name(self, name: str) -> Value:
        """A name as an expression, which need not be one of Python: `m.name(f"h{i}")`."""
        return Value(s.Name(here(), name_of(name)), self.let)

    def let(self, targets: object, value: object, type: object = None) -> Any:
        """`targets = value`, of a name, `m.name("h")[i]`, or a tuple of them. Returns the names as expressions.

        `type`: states `name: type = value`, which is checked. A tuple of values gives each target its own.
        """
        place = here()
        several = targets if isinstance(targets, tuple) else (targets,)
        trees = tuple(s.Name(place, new_name(one)) if isinstance(one, str) else told(one) for one in several)
        if type is not None:
            [name] = trees
            assert isinstance(name, s.Name)
            self._add(s.Typed(place, name.name, place, type_of(type), told(value)))
        else:
            values = value if len(trees) > 1 else (value,)
            self._add(s.Assign(place, trees, all_told(values)))
        found = tuple(Value(tree, self.let) for tree in trees)
        return found if isinstance(targets, tuple) else found[0]

    def update(self, state: Value, value: object) -> None:
        """`state <- value`, as `block.NAME <<= value` states it."""
        target = told(state)
        if not isinstance(target, s.Name):
            help = "build the new value of the whole state, with `concat`, `stack` or `where`"
            raise error("E0116", "`<-` updates a whole state, by its name", here(), "not a name", help=help)
        self._add(s.Update(here(), target, told(value)))

    def follows(self, value: object, distribution: object) -> None:
        """`value ~ distribution`: a likelihood, or a prior."""
        self._add(s.Tilde(here(), told(value), told(distribution)))

    # --- what a model has

    def input(
        self, name: str, type: object, *, drawn: object = None, within: object = None, columns: s.Columns | None = None
    ) -> Value:
        """`input name: type`. `drawn`: from which distribution, where no data have it; `within`: what numbers it may
        be; `columns`: what of a table it is made of."""
        place = here()
        self._add(s.Input(place, new_name(name), place, type_of(type), _maybe(drawn), _maybe(within), columns))
        return self.name(name)

    def target(self, name: str, type: object, *, within: object = None, columns: s.Columns | None = None) -> Value:
        """`target name: type`; `within` and `columns` as of an input."""
        place = here()
        self._add(s.Target(place, new_name(name), place, type_of(type), _maybe(within), columns))
        return self.name(name)

    def param(self, name: str, type: object, *, prior: object = None, init: object = None) -> Value:
        """`param name: type ~ prior init init`."""
        place = here()
        self._add(s.Param(place, new_name(name), place, type_of(type), _maybe(prior), _maybe(init)))
        return self.name(name)

    def state(self, name: str, type: object = None, value: object = ABSENT, *, init: object = ABSENT) -> Value:
        """`state name: type = value`, or `state name: type init init`."""
        place = here()
        if (value is ABSENT) == (init is ABSENT):
            raise error("E0148", f"the state `{name}` starts with a value or by an initialiser", place, "stated here")
        of = None if type is None else type_of(type)
        start = told(init if value is ABSENT else value)
        self._add(s.State(place, new_name(name), place, of, start, value is ABSENT))
        return self.name(name)

    def loss(self, value: object, *, name: str | None = None) -> None:
        """`loss = value`, or `loss name = value`: a term of the loss."""
        self._term("loss", name, value)

    def metric(self, name: str, value: object) -> None:
        """`metric name = value`."""
        self._term("metric", name, value)

    def output(self, name: str, value: object) -> None:
        """`output name = value`: what the compiled file predicts."""
        self._term("output", name, value)

    def _term(self, kind: str, name: str | None, value: object) -> None:
        place = here()
        self._add(s.Term(place, kind, None if name is None else name_of(name), place, told(value)))

    def return_(self, *values: object) -> None:
        """`return value, ...`: ends a layer or a function."""
        self._add(s.Return(here(), tuple(map(told, values))))

    # --- blocks within

    def if_(self, condition: object) -> Inner:
        """`with m.if_(m.training):`, after which `with m.else_():` or `with m.elif_(condition):` may follow."""
        place, test = here(), told(condition)
        return self._open(Branch(self, lambda yes, no: s.If(place, test, yes, no)))

    def elif_(self, condition: object) -> Inner:
        """`else if condition`."""
        branch = self._last_if()
        place, test = here(), told(condition)
        inner = Branch(self, lambda yes, no: s.If(place, test, yes, no))
        branch.no = [inner]
        return inner

    def else_(self) -> Inner:
        """`else`, of the `if_` that was stated last."""
        branch = self._last_if()
        inner = Inner(self, lambda yes, no: None)
        branch.no = inner.body
        return inner

    def _last_if(self) -> Branch:
        last = self._bodies[-1][-1] if self._bodies[-1] else None
        while isinstance(last, Branch) and len(last.no) == 1 and isinstance(last.no[0], Branch):
            last = last.no[0]
        if not isinstance(last, Branch) or last.no:
            raise error("E0148", "no `if_` stands before this", here(), "stated here", help="with m.if_(condition):")
        return last

    def for_(self, name: str, over: object) -> Loop:
        """`with m.for_("i", range(4)) as i:` states a loop of the language. (A loop of Python states its body
        anew each time.)"""
        place, word, of = here(), new_name(name), told(over)
        return self._open(Loop(self, lambda body, _: s.For(place, word, place, of, body), self.name(name)))

    def scan(self, name: str, over: object, until: object = None) -> Loop:
        """`with m.scan("t", m.time) as t:`, a recurrence."""
        place, word, of, end = here(), new_name(name), told(over), _maybe(until)
        return self._open(Loop(self, lambda body, _: s.Scan(place, word, place, of, end, body), self.name(name)))

    def checkpoint(self) -> Inner:
        """`with m.checkpoint():`, what is computed again for its derivative."""
        place = here()
        return self._open(Inner(self, lambda body, _: s.Checkpoint(place, body)))

    def _open(self, inner: I) -> I:
        self._bodies[-1].append(inner)
        return inner

    # --- declarations within

    def fn(self, name: str, arguments: Arguments = (), *, returns: object = None) -> Block:
        """A function that the lines below know, and that knows the names above."""
        return self._local(function(name, arguments, returns))

    def layer(self, name: str, arguments: Arguments = (), flow: Arguments = (), *, returns: object = None) -> Block:
        """A layer that the lines below know, and that knows the names above."""
        return self._local(layer(name, arguments, flow, returns, ""))

    def _local(self, block: Block) -> Block:
        place, finish = here(), block._finish
        block._finish = lambda body: s.Local(place, finish(body))
        self._bodies[-1].append(block)
        return block


class Inner:
    """A block within a block, whose statements are those of the lines under its `with`."""

    def __init__(self, of: Block, finish: Callable[[Any, Any], Any]) -> None:
        self.of, self.finish = of, finish
        self.body: list[Any] = []
        self.no: list[Any] = []  # those of its `else`

    def __enter__(self) -> object:
        self.of._bodies.append(self.body)
        return None

    def __exit__(self, *problem: object) -> None:
        self.of._bodies.pop()

    def _tree(self) -> s.Statement:
        made: s.Statement = self.finish(_built(self.body), _built(self.no))
        return made


class Branch(Inner):
    """An `if`, which `else` may follow."""


class Loop(Inner):
    """A `for` or a `scan`, whose variable `as` names."""

    def __init__(self, of: Block, finish: Callable[[Any, Any], Any], name: Value) -> None:
        super().__init__(of, finish)
        self.name = name

    def __enter__(self) -> Value:
        super().__enter__()
        return self.name


def _built(body: Sequence[Any]) -> tuple[s.Statement, ...]:
    return tuple(one._tree() if isinstance(one, Block | Inner) else one for one in body)


class Train(Block):
    """The lines of a train block: `block.NAME = value` states the setting `NAME: value`, `let` a local name.

    >>> from dlc.spec import Spec, dl
    >>> spec = Spec()
    >>> with spec.train(lr=1e-3) as t:
    ...     t.minimize(dl.loss, using=dl.adam(t.lr), over="head.*")
    ...     t.freeze("encoder.*")
    ...     t.setting("penalty", dl.l2(1e-4), on="*.W")
    ...     t.batch = 32  # a setting, too
    >>> print(spec)
    train(lr = 0.001) {
        minimize loss over head.* using adam(lr)
        freeze encoder.*
        penalty: l2(0.0001) on *.W
        batch: 32
    }
    >>> spec = Spec()
    >>> with spec.train() as t:
    ...     t.sample(using=dl.sgld(1e-3))
    >>> print(spec)
    train {
        sample posterior using sgld(0.001)
    }
    """

    def _named(self, name: str, value: object) -> None:
        self.setting(name, value)

    def setting(self, name: str, value: object, on: str | None = None) -> None:
        """`name: value on paths`; several of one name are several lines."""
        place = here()
        self._add(s.Setting(place, name_of(name), place, setting_of(value), _pattern(on)))

    def minimize(
        self, objective: object, using: object, *, over: str | None = None, every: object = None, start: object = None
    ) -> None:
        """`minimize objective over paths using rule every n from start`."""
        self._add(s.Minimize(here(), told(objective), _pattern(over), told(using), _maybe(every), _maybe(start)))

    def sample(self, using: object, *, over: str | None = None) -> None:
        """`sample posterior over paths using rule`."""
        self._add(s.Sample(here(), _pattern(over), told(using)))

    def freeze(self, paths: str) -> None:
        """`freeze paths`."""
        self._add(s.Freeze(here(), _pattern(paths)))


# --- declarations


def function(name: str, arguments: Arguments, returns: object, doc: str = "") -> Block:
    place, word, types = here(), name_of(name), types_of(returns)
    given = listed(arguments)
    return Block(lambda body: s.Fn(place, word, place, commented(doc), given, body, types))


def layer(name: str, arguments: Arguments, flow: Arguments, returns: object, doc: str) -> Block:
    place, word, types = here(), name_of(name), types_of(returns)
    first, second = listed(arguments), listed(flow)
    return Block(lambda body: s.Layer(place, word, place, commented(doc), first, body, second, types))


def commented(doc: str) -> str:
    """A comment as the parser reads it from the lines above a declaration."""
    return "\n".join(line.strip().lstrip("#").strip() for line in doc.strip().splitlines())
