"""A syntax tree stated anew by the calls of `dlc.spec`, as a person would type them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from dlc.spec import Block, Spec, Train, Value, arg, choose, columns, dl, upto
from dlc.syntax import tree as s
from dlc.syntax.unparse import pattern

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv,
    "%": operator.mod, "@": operator.matmul, "^": operator.pow, "and": operator.and_, "or": operator.or_,
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def stated(tree: s.File) -> Spec:
    spec = Spec()
    for each in tree.declarations:
        declare(spec, each)
    return spec


def held(value: Any) -> Value:
    """What operators apply to: of two numbers of Python one must be an expression."""
    return value if isinstance(value, Value) else Value(operand_of(value))


def operand_of(value: Any) -> s.Expr:
    [argument] = dl.f(value)._tree.arguments  # type: ignore[attr-defined]
    found: s.Expr = argument.value
    return found


def python(e: s.Expr | None) -> Any:
    """An expression as Python has it."""
    match e:
        case None:
            return None
        case s.Number() | s.Text() | s.Constant():
            return e.value
        case s.Name():
            return dl[e.name]
        case s.Ellipsis(name=None):
            return ...
        case s.Tuple():
            return tuple(map(python, e.items))
        case s.List():
            return list(map(python, e.items))
        case s.Unary():
            sign = {"-": operator.neg, "+": operator.pos, "not": operator.invert}[e.op]
            return sign(held(python(e.operand)))
        case s.Binary():
            right, ops = python(e.right), []
            while isinstance(e, s.Binary):  # chains are long on the left
                ops.append((e.op, e.right))
                e = e.left
            found = python(e)
            for op, right in reversed(ops):
                found = OPERATORS[op](held(found), python(right))
            return found
        case s.Range(start=s.Number(value=int()), stop=s.Number(value=int())):
            return range(e.start.value, e.stop.value)  # type: ignore[attr-defined]
        case s.Range():
            return upto(python(e.start), python(e.stop))
        case s.Choice():
            return choose(python(e.condition), python(e.yes), python(e.no))
        case s.Pipe():
            return held(python(e.left)) >> python(e.right)
        case s.Call():
            given = [python(a.value) for a in e.arguments if a.name is None]
            return held(python(e.function))(*given, **{a.name: python(a.value) for a in e.arguments if a.name})
        case s.Index():
            return held(python(e.value))[place(e.places)]
        case s.Slice():
            return slice(python(e.start), python(e.stop), python(e.step))
        case s.Attribute():
            return getattr(held(python(e.value)), e.name)
        case s.Mapping():
            return {entry.name: python(entry.value) for entry in e.entries}
    raise TypeError(type(e))


def place(places: Sequence[s.Expr]) -> Any:
    made = tuple(map(python, places))
    return made[0] if len(made) == 1 and not isinstance(made[0], tuple) else made


def typed(of: s.Type | None) -> Any:
    if of is None:
        return None
    if of.dims is None:
        return dl[of.dtype]
    dims = [f"...{d.name}" if isinstance(d, s.Ellipsis) and d.name else python(d) for d in of.dims]
    plain = [d.name if isinstance(d, s.Name) else p for d, p in zip(of.dims, dims, strict=True)]
    return dl[of.dtype][tuple(plain)]


def listed(of: Sequence[s.Parameter]) -> list[Any]:
    made: list[Any] = []
    for p in of:
        given: dict[str, Any] = {} if p.default is None else {"default": python(p.default)}
        made.append(arg(p.name, type=typed(p.type), within=python(p.within), **given))
    return made


def columned(of: s.Columns | None) -> s.Columns | None:
    if of is None:
        return None
    encode: list[Any] = []
    for e in of.encodings:
        if e.value is not None:
            encode.append((e.name, python(e.value)))
        elif e.arguments:
            encode.append(python(s.Call(e.span, s.Name(e.span, e.name), e.arguments)))
        else:
            encode.append(dl[e.name])
    return columns(*(name.value for name in of.names), encode=encode)


def states(block: Block, body: Sequence[s.Statement]) -> None:
    for each in body:
        state(block, each)


def several(items: Sequence[Any]) -> Any:
    return items[0] if len(items) == 1 else tuple(items)


def target(block: Block, of: s.Expr) -> Any:
    if isinstance(of, s.Index):
        assert isinstance(of.value, s.Name)
        return block.name(of.value.name)[place(of.places)]
    assert isinstance(of, s.Name)
    return of.name


def state(block: Block, of: s.Statement) -> None:
    over = {"over": pattern(of.over) if of.over else None} if isinstance(of, s.Minimize | s.Sample) else {}
    match of:
        case s.Input():
            drawn, within = python(of.drawn_from), python(of.within)
            block.input(of.name, typed(of.type), drawn=drawn, within=within, columns=columned(of.columns))
        case s.Target():
            block.target(of.name, typed(of.type), within=python(of.within), columns=columned(of.columns))
        case s.Term(kind="loss"):
            block.loss(python(of.value), name=of.name)
        case s.Term():
            getattr(type(block), of.kind)(block, of.name, python(of.value))
        case s.Param():
            block.param(of.name, typed(of.type), prior=python(of.prior), init=python(of.init))
        case s.State(drawn=True):
            block.state(of.name, typed(of.type), init=python(of.value))
        case s.State():
            block.state(of.name, typed(of.type), python(of.value))
        case s.Return():
            block.return_(*map(python, of.values))
        case s.If():
            with block.if_(python(of.condition)):
                states(block, of.yes)
            while len(of.no) == 1 and isinstance(of.no[0], s.If):
                of = of.no[0]
                with block.elif_(python(of.condition)):
                    states(block, of.yes)
            if of.no:
                with block.else_():
                    states(block, of.no)
        case s.For():
            with block.for_(of.name, python(of.over)):
                states(block, of.body)
        case s.Scan():
            with block.scan(of.name, python(of.over), python(of.until)):
                states(block, of.body)
        case s.Checkpoint():
            with block.checkpoint():
                states(block, of.body)
        case s.Local(declaration=s.Fn() as fn):
            states(block.fn(fn.name, listed(fn.configuration), returns=returned(fn.returns)), fn.body)
        case s.Local(declaration=s.Layer() as layer):
            lists = listed(layer.configuration), listed(layer.flow)
            states(block.layer(layer.name, *lists, returns=returned(layer.returns)), layer.body)
        case s.Typed():
            block.let(of.name, python(of.value), typed(of.type))
        case s.Assign():
            names = tuple(target(block, one) for one in of.targets)
            if len(names) == 1 and isinstance(of.targets[0], s.Index):
                block.name(of.targets[0].value.name)[place(of.targets[0].places)] = python(of.values[0])  # type: ignore[attr-defined]
            elif len(names) == 1 and not isinstance(block, Train):
                setattr(block, names[0], python(of.values[0]))
            else:
                block.let(several(names), several(list(map(python, of.values))))
        case s.Update():
            name = of.target.name
            setattr(block, name, operator.ilshift(block.name(name), python(of.value)))
        case s.Tilde():
            block.follows(python(of.left), python(of.distribution))
        case s.Minimize():
            assert isinstance(block, Train)
            more = {"every": python(of.every), "start": python(of.start)}
            block.minimize(python(of.objective), python(of.using), **over, **more)
        case s.Sample():
            assert isinstance(block, Train)
            block.sample(python(of.using), **over)
        case s.Freeze():
            assert isinstance(block, Train)
            block.freeze(pattern(of.pattern))
        case s.Setting():
            assert isinstance(block, Train)
            block.setting(of.name, python(of.value), on=pattern(of.on) if of.on else None)
        case _:
            raise TypeError(type(of))


def returned(of: tuple[s.Type, ...] | None) -> Any:
    return None if of is None else [typed(each) for each in of]


def declare(spec: Spec, of: Any) -> None:
    if isinstance(of, s.Import):
        spec.import_(of.path if of.path is not None else ".".join(of.module or ()), of.alias)
        return
    first = listed(of.configuration)
    match of:
        case s.Train():
            block: Block = spec.train(of.name, *first, title=of.title)
        case s.Model():
            block = spec.model(of.name, *first, doc=of.doc)
        case s.Layer():
            block = spec.layer(of.name, first, listed(of.flow), returns=returned(of.returns), doc=of.doc)
        case s.Fn():
            block = spec.fn(of.name, first, returns=returned(of.returns), doc=of.doc)
        case s.Derivative():
            block = spec.derivative(of.name, first, doc=of.doc)
        case s.Optimizer() | s.Distribution():
            method = getattr(spec, type(of).__name__.lower())
            block = method(of.name, first, listed(of.flow), doc=of.doc)
        case _:
            raise TypeError(type(of))
    with block:
        states(block, of.body)
