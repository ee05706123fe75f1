"""Calls: binding arguments, and applying functions and layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from .. import ops
from ..analysis.direction import COMPARISONS
from ..diagnostics import CompileError, Label, did_you_mean, error
from ..ir.types import Dim, TypeProblem
from ..source import Span
from ..syntax import foreign, tree as syntax
from . import (
    activation,
    assignments,
    custom,
    expressions,
    inside,
    lookahead,
    statements,
    subjects,
    support,
    tensor_arguments,
    types,
    updaters,
)
from .context import Context, located, poisoned, said, to_node
from .scope import Frame
from .values import (
    BUILTINS,
    POISON,
    Argument,
    Builtin,
    Configuration,
    Declared,
    Distributed,
    Indexed,
    Instance,
    Objective,
    Partial,
    Parts,
    Tensor,
    Updater,
    Value,
    kind,
)


def arguments(c: Context, frame: Frame, given: Sequence[syntax.Argument]) -> list[Argument]:
    return [Argument(a.name, expressions.evaluate(c, frame, a.value), a.span) for a in given]


def is_maker(value: Value) -> bool:
    """Whether the first list is still open: a layer, distribution or optimizer by its bare name."""
    return isinstance(value, Declared) and not isinstance(value.declaration, syntax.Fn)


def callable_(value: Value) -> bool:
    """Whether a value is a function or maker that an argument may name."""
    return isinstance(value, Declared | Builtin | Partial)


def call(
    c: Context, frame: Frame, callee: Value, given: list[Argument], span: Span, callee_span: Span | None = None
) -> Value:
    """callee(given), whatever the callee is."""
    if poisoned(callee, *(argument.value for argument in given)):
        return POISON
    if isinstance(callee, Partial):
        head, tail = given[:1], given[1:]
        return call(c, frame, callee.function, [*head, *callee.arguments, *tail], span, callee_span)
    if isinstance(callee, Builtin):
        return _builtin(c, frame, callee, given, span)
    if isinstance(callee, Instance):
        return apply_layer(c, frame, callee, given, span)
    if isinstance(callee, Updater):
        return updaters.apply_nested(c, frame, callee, given, span)
    if isinstance(callee, Objective):
        return subjects.ask(c, callee, given, span)
    if isinstance(callee, Declared):
        declaration = callee.declaration
        if isinstance(declaration, syntax.Fn):
            return apply_fn(c, frame, callee, given, span)
        if isinstance(declaration, syntax.Model):
            raise error(
                "E0212",
                f"`{declaration.name}` is a model: it is compiled, not called",
                callee_span or span,
                "called here",
                help="make its body a `layer` to use it inside another",
            )
        return _make(c, frame, declaration, callee, given, span)
    where = callee_span or span
    help = None
    if where.text in BUILTINS or c.library.find(where.text, frame.unit) is not None:
        help = f"a value named `{where.text}` hides the function: give the value another name"
    elif frame.kind == "fn":
        help = "give it a function: the name of an `fn` or layer, or one whose first argument is left out, `f(y = y)`"
    raise error("E0213", f"{kind(callee)} cannot be called", where, f"this is {kind(callee)}", help=help)


# --- binding

# Functions of logits whose value probabilities give as well: only the order counts.
BY_ORDER = ("accuracy", "top_k", "confusion", "class_counts", "macro_precision", "macro_recall", "macro_f1")


def bind(
    c: Context,
    inner: Frame,
    parameters: Sequence[syntax.Parameter],
    given: Sequence[Argument],
    what: str,
    span: Span,
    extra: Sequence[str] = (),
    of: str = "fn",
) -> tuple[dict[str, Argument], str | None]:
    """Matches arguments to parameters by position and name. Returns them and the first required one left open. `of` is
    the kind of declaration: "fn", "layer", "distribution", "optimizer"."""
    names = [parameter.name for parameter in parameters]
    bound: dict[str, Argument] = {}
    position = 0
    for argument in given:
        if argument.name is None:
            if position >= len(names):
                many = f"{len(names)} argument{'s' * (len(names) != 1)}"
                raise error(
                    "E0214",
                    f"{what} takes {many}, and more are given",
                    argument.span,
                    "one too many",
                    notes=[f"it takes ({', '.join(names)})"],
                )
            name = names[position]
            position += 1
        else:
            name = argument.name
            if name not in names and name not in extra:
                raise error(
                    "E0215",
                    f"{what} has no argument `{name}`",
                    argument.span,
                    "not known",
                    notes=[f"it takes ({', '.join(names)})"],
                    help=foreign.argument(name, [*names, *extra], of, what.strip("`")),
                )
        if name in bound:
            raise error(
                "E0216",
                f"`{name}` is given twice",
                argument.span,
                "again here",
                more=[(bound[name].span, "first here")],
            )
        bound[name] = argument
    for parameter in parameters:
        if parameter.name not in bound and parameter.default is None:
            return bound, parameter.name
    return bound, None


def settle(
    c: Context, inner: Frame, parameters: Sequence[syntax.Parameter], bound: dict[str, Argument], what: str
) -> None:
    """Puts bound arguments and defaults into the frame, in the order of the list, checking types."""
    for parameter in parameters:
        if parameter.name in bound:
            argument = bound[parameter.name]
            value, place = argument.value, argument.span
        else:
            assert parameter.default is not None
            value, place = expressions.evaluate(c, inner, parameter.default), parameter.default.span
            if parameter.type is not None and parameter.type.dims and isinstance(value, int | float | Dim):
                shape, _ = types.declared_shape(c, inner, parameter.type)  # a number stands for all of a tensor
                node = to_node(c, value)
                assert node is not None
                value = Tensor(ops.broadcast_to(node, shape=shape))
        whole = parameter.type is not None and parameter.type.dtype == "vector"
        if whole and isinstance(value, Parts | Tensor):
            pass  # a clip sees the whole gradient
        elif parameter.type is not None and inner.unit.standard and tensor_arguments.refused(parameter.type, value):
            raise types.no_tensor(value, parameter.type, f"`{parameter.name}` of {what}", place)
        elif parameter.type is not None:
            value = types.check_value(c, inner, value, parameter.type, f"`{parameter.name}` of {what}", place)
        if parameter.name == "logits" and isinstance(value, Tensor):
            _no_probabilities(c, inner, value, what, place)
        if parameter.within is not None:
            support.hold(c, inner, parameter, value, what, place)
        inner.names[parameter.name] = value


def _no_probabilities(c: Context, inner: Frame, value: Tensor, what: str, place: Span) -> None:
    """W0206: logits that have been through `sigmoid` or `softmax` already, where more than their order counts."""
    node, caller = value.node, inner.caller
    around = [place.name for place in node.place.chain()]
    through = {"sigmoid": "sigmoid", "exp": "softmax"}.get(node.op.name)  # softmax ends with its exponential
    if through not in around or what.strip("`") in BY_ORDER:
        return
    if inner.unit.standard and caller is not None and not caller.unit.standard:
        c.problems.warn(
            error(
                "W0206",
                f"{what} takes logits, and these are probabilities",
                place,
                f"this has been through `{through}`",
                help=f"{what} does that itself: give it what goes into `{through}`",
            )
        )


def require(missing: str | None, what: str, parameters: Sequence[syntax.Parameter], span: Span) -> None:
    if missing is not None:
        names = ", ".join(parameter.name for parameter in parameters)
        raise error(
            "E0217",
            f"{what} is missing its argument `{missing}`",
            span,
            f"`{missing}` is not given",
            notes=[f"it takes ({names})"],
        )


def from_library(problem: CompileError, inner: Frame, span: Span, what: str) -> CompileError:
    """An error inside a library definition is shown where the user called it, and where in the library."""
    caller = inner.caller
    if not inner.unit.standard or caller is None or caller.unit.standard:
        return problem
    shown = []
    for d in problem.diagnostics:
        own = d.labels and d.labels[0].span.source is caller.unit.source
        labels = d.labels if own else (Label(span, f"in this use of {what}"), *d.labels)
        shown.append(replace(d, labels=labels))
    return CompileError(shown)


# --- functions


def apply_fn(c: Context, frame: Frame, callee: Declared, given: list[Argument], span: Span) -> Value:
    declaration = callee.declaration
    assert isinstance(declaration, syntax.Fn)
    what = f"`{declaration.name}`"
    inner = frame.inner("fn", callee.unit, span, home=callee.home)
    bound, missing = bind(c, inner, declaration.configuration, given, what, span)
    if missing is not None:
        if missing == declaration.configuration[0].name or len(declaration.configuration) > 1:
            return Partial(callee, tuple(given), missing, span)
        require(missing, what, declaration.configuration, span)
    try:
        tensor_arguments.hold_single(callee, bound)
        with c.within("call", declaration.name, span, given):
            value = run_body(
                c, inner, declaration.configuration, bound, what, declaration.returns, declaration.body, span
            )
    except CompileError as problem:
        if callee.unit.standard and not frame.unit.standard:
            raise tensor_arguments.explained(problem, callee, given, bound, span) from None
        raise
    if callee.unit.standard and declaration.name in COMPARISONS and isinstance(value, Tensor):
        pair = [to_node(c, argument.value) for argument in list(bound.values())[:2]]
        if len(pair) == 2 and pair[0] is not None and pair[1] is not None:
            c.compared[value.node] = pair[0], pair[1], COMPARISONS[declaration.name]
    tensor_arguments.note(c, callee, given, value, span)
    rule = callee.unit.derivatives.get(declaration.name) if callee.home is None else None
    return value if rule is None else custom.attach(c, frame, callee, rule, bound, value, span)


def run_body(
    c: Context,
    inner: Frame,
    parameters: Sequence[syntax.Parameter],
    bound: dict[str, Argument],
    what: str,
    returns: Sequence[syntax.Type] | None,
    body: Sequence[syntax.Statement],
    span: Span,
) -> Value:
    """Runs a body that returns values, in its own frame; the result has the caller's dimension names."""
    try:
        with c.deeper(what, span):
            with c.at(inner, span):
                settle(c, inner, parameters, bound, what)
            statements.run(c, inner, body)
            return _result(c, inner, what, returns, span)
    except CompileError as problem:
        raise from_library(problem, inner, span, what) from None


def _result(c: Context, inner: Frame, what: str, returns: Sequence[syntax.Type] | None, span: Span) -> Value:
    values = inner.result
    if values is None:
        raise error(
            "E0218", f"{what} returns nothing", span, "its value is used here", help="end its body with `return VALUE`"
        )
    if returns is not None:
        if len(returns) != len(values):
            raise error(
                "E0325",
                f"{what} declares {len(returns)} results and returns {len(values)}",
                returns[0].span,
                "declared here",
            )
        values = [
            types.check_value(c, inner, value, type, f"the result of {what}", type.span)
            for value, type in zip(values, returns, strict=True)
        ]
    if poisoned(*values):
        return POISON
    values = [outward(inner, value) for value in values]
    return values[0] if len(values) == 1 else tuple(values)


def outward(inner: Frame, value: Value, known: dict[int, Value] | None = None) -> Value:
    """A value as it leaves a frame. Lists within lists may share their parts many times over."""
    if isinstance(value, Tensor) and (value.labels or value.along):
        return Tensor(value.node, inner.outward(value.labels), inner.outward((value.along,))[0])
    if isinstance(value, list | tuple):
        known = {} if known is None else known
        if id(value) not in known:
            known[id(value)] = type(value)([outward(inner, item, known) for item in value])
        return known[id(value)]
    return value


def _held(value: Value) -> Iterable[Value]:
    """The values of a list or of an indexed name, which a builtin looks at one by one."""
    return value.entries.values() if isinstance(value, Indexed) else value if isinstance(value, list | tuple) else ()


def _builtin(c: Context, frame: Frame, callee: Builtin, given: list[Argument], span: Span) -> Value:
    if callee.open:
        if any(poisoned(*_held(argument.value)) for argument in given):
            return POISON
        try:
            with c.at(frame, span), c.within("operation", callee.name, span):
                return callee.run(c, frame, span, given)
        except TypeProblem as problem:
            raise located(problem, [argument.span for argument in given], span) from None
    names = [name for name, _ in callee.parameters]
    parameters = [
        syntax.Parameter(span, name, None, None if required else syntax.Constant(span, None))
        for name, required in callee.parameters
    ]
    bound, missing = bind(c, frame, parameters, given, f"`{callee.name}`", span)
    if missing is not None:
        if len(names) > 1 or not given:
            return Partial(callee, tuple(given), missing, span)
        require(missing, f"`{callee.name}`", parameters, span)
    if any(poisoned(*_held(argument.value)) for argument in bound.values()):
        return POISON
    try:
        with c.at(frame, span), c.within("operation", callee.name, span):
            return callee.run(c, frame, span, **bound)
    except TypeProblem as problem:
        raise located(problem, [argument.span for argument in bound.values()], span) from None


# --- layers and other makers


def _make(
    c: Context, frame: Frame, declaration: syntax.Declaration, callee: Declared, given: list[Argument], span: Span
) -> Value:
    what = f"`{declaration.name}`"
    inner = frame.inner("configuration", callee.unit, span, home=callee.home)
    after = None
    if isinstance(declaration, syntax.Layer):
        given, after = activation.split(c, frame, callee, given)
    of = type(declaration).__name__.lower()
    bound, missing = bind(c, inner, declaration.configuration, given, what, span, of=of)
    require(missing, what, declaration.configuration, span)
    try:
        with c.at(inner, span):
            settle(c, inner, declaration.configuration, bound, what)
    except CompileError as problem:
        raise from_library(problem, inner, span, what) from None
    configuration = Configuration(inner.names, inner.dims, inner.number)
    if isinstance(declaration, syntax.Distribution):
        return Distributed(declaration, callee.unit, configuration)
    if isinstance(declaration, syntax.Optimizer):
        for name, value in inner.names.items():  # `lookahead(adam)` is `lookahead(adam())`
            if isinstance(value, Declared) and isinstance(value.declaration, syntax.Optimizer):
                inner.names[name] = call(c, frame, value, [], span)
        return Updater(declaration, callee.unit, configuration, tuple(given))
    assert isinstance(declaration, syntax.Layer)
    owner = frame
    while owner.kind in ("configuration",) and owner.caller:
        owner = owner.caller
    if owner.kind not in ("model", "layer"):
        raise error(
            "E0221",
            f"a layer cannot be made in {article(owner.kind)}",
            span,
            f"{what} would be made here",
            help="make it in a layer or model and pass it in" if owner.kind == "fn" else None,
        )
    if owner.conditional:
        raise error(
            "E0222",
            "nothing may be made inside this `if`: the training and the predicting graph would not share it",
            span,
            f"{what} is made here",
            more=[(owner.conditional, "under this condition")],
            help="make it before the `if`: `f = " + f"{declaration.name}(...)`"
            if owner.kind == "model"
            else f"apply `{owner.path}` above the `if` once, as in `y = {owner.path}(...)`: inside it then "
            "shares what it made",
        )
    place = c.graph.place
    instance = Instance(declaration, callee.unit, configuration, owner, span, tuple(given), place, callee.home, after)
    owner.unnamed.append(instance)
    return instance


def article(kind_: str) -> str:
    return {
        "fn": "an `fn`: it has no parameters",
        "train": "the train block",
        "optimizer": "an optimizer",
        "distribution": "a distribution",
    }.get(kind_, f"a {kind_}")


def settle_path(instance: Instance, name: str | None = None) -> str:
    """The path of an instance: the name it is bound to, else its layer's name, numbered by its owner."""
    if instance.path is None:
        instance.path = instance.maker.take_name(name or instance.declaration.name)
    return instance.path


def apply_layer(c: Context, frame: Frame, instance: Instance, given: list[Argument], span: Span) -> Value:
    declaration = instance.declaration
    what = f"`{declaration.name}`"
    path = settle_path(instance)
    inner = frame.inner("layer", instance.unit, span, path, instance.home)
    inner.adopt(instance.configuration)
    if inner.conditional is None:
        c.applied.add(path)
    elif path in c.applied:  # what it makes is made already, in every graph
        inner.conditional = None
    own = assignments.made_names(declaration.body)
    bound, missing = bind(c, inner, declaration.flow, given, what, span, extra=("training", *own), of="layer")
    require(missing, what, declaration.flow, span)
    flows = {parameter.name for parameter in declaration.flow}
    for name in [name for name in bound if name not in flows]:
        argument = bound.pop(name)
        if name == "training":
            if not isinstance(argument.value, bool):
                raise error(
                    "E0302",
                    f"`training` of {what} takes a value of type `bool`",
                    argument.span,
                    f"this is {kind(argument.value)}",
                )
            inner.training, inner.fixed = argument.value, True
        else:
            inner.replaced[name] = argument
    place = instance.place.inside("layer", path, None)
    if not place.said:
        place.said, place.span = said(declaration.name, instance.given), instance.span
    with c.inside(place):
        value = run_body(c, inner, declaration.flow, bound, what, declaration.returns, declaration.body, span)
    return activation.apply(c, frame, instance, value, span)


def part(c: Context, frame: Frame, instance: Instance, name: str, span: Span) -> Value:
    """`f.W`: a parameter, a state or a configured value of an instance."""
    path = settle_path(instance)
    made = inside.at_path(c, f"{path}.{name}")
    if made is not None:
        return made
    given = instance.configuration.names
    if name in given:
        return given[name]
    own = assignments.made_names(instance.declaration.body)
    if name in own or (name in assignments.assigned(instance.declaration.body) and not inside.holds(c, path)):
        lookahead.make(c, frame, instance)
        made = inside.at_path(c, f"{path}.{name}")
        if made is not None:
            return made
    if name in own:
        raise error(
            "E0223",
            f"`{path}` has no `{name}` yet: its shape is known once the layer has been applied",
            span,
            "read before the first application",
            help="apply the layer above this line; an application below it is found if its arguments are known here",
        )
    raise error(
        "E0211",
        f"the layer `{instance.declaration.name}` has no part `{name}`",
        span,
        "not found",
        notes=["it has " + ", ".join([*own, *given])] if own or given else [],
        help=did_you_mean(name, [*own, *given]),
    )
