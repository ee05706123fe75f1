"""A derivative as a textbook derives it: what each value is, the chain rule step by step, and the folded formula."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape

from .. import ops
from ..autodiff.expand import expand
from ..diagnostics import did_you_mean, error
from ..ir.graph import Node
from ..ir.module import Module
from ..ir.rebuild import rebuild
from ..optimize import simplify
from .algebra import size_of, sum_of
from .chain import Chain, Names, Recurrence, Step
from .formula import of_value
from .mathml import equation
from .notation import Expression, Formula, Symbol, latex, symbols, text
from .recurrence import Block

WIDE = 64  # characters of an equation beside which its reason stands


@dataclass(frozen=True)
class Derivation:
    """`given`: what each value is. `steps`: the adjoint of each. `formula`: the derivative in one line."""

    of: str
    wrt: str
    given: tuple[tuple[Symbol, Formula], ...]
    steps: tuple[Step, ...]
    formula: Formula

    @property
    def left(self) -> Expression:
        return Symbol(self.wrt, adjoint=True)

    def __str__(self) -> str:
        return self.text

    def _repr_latex_(self) -> str:
        """In a notebook."""
        return f"$$\n{self.latex}\n$$"

    @property
    def text(self) -> str:
        lines = [f"With dv for ∂{self.of}/∂v:"] if self.steps else []
        rows = [(*pair, "") for pair in _equations(self.given)]
        lines += ["    " + row for row in _table(rows)]
        lines += [""] if self.steps else []
        block: list[tuple[str, str, str]] = []
        for step in self.steps:
            if step.title:
                lines += [*_table(block), step.title]
                block = []
            first, *more = _equations([(step.left, step.right)])
            pad = "    " * step.inner
            block += [(pad + first[0], first[1], step.reason), *((pad + a, b, "") for a, b in more)]
        lines += _table(block)
        if self.steps:
            lines.append("")
        return "\n".join([*lines, f"{text(self.left)} = {self.formula.text}"])

    @property
    def latex(self) -> str:
        rows = [rf"{latex(a)} &= {latex(b)}" for a, b in _pairs(self.given)]
        for step in self.steps:
            if step.title:
                rows.append(rf"& \text{{{_escaped(step.title)}}}")
            first, *more = _pairs([(step.left, step.right)])
            reason = rf" && \text{{{_escaped(step.reason)}}}" if step.reason else ""
            rows.append(rf"{latex(first[0])} &= {latex(first[1])}{reason}")
            rows += [rf"{latex(a)} &= {latex(b)}" for a, b in more]
        rows += [rf"{latex(a)} &= {latex(b)}" for a, b in _pairs([(self.left, self.formula)])]
        return "\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}"

    @property
    def html(self) -> str:
        """A page of its own, which loads nothing."""
        title = f"∂{self.of}/∂{self.wrt}"
        given = "".join(f"<li>{equation(a, b)}</li>" for a, b in _pairs(self.given))
        steps = ""
        for step in self.steps:
            if step.title:
                steps += f'<tr><td colspan="2">{escape(step.title)}</td></tr>'
            first, *more = _pairs([(step.left, step.right)])
            steps += f"<tr{' class=inner' * step.inner}><td>{equation(*first)}</td><td>{escape(step.reason)}</td></tr>"
            steps += "".join(f"<tr><td>{equation(a, b)}</td><td></td></tr>" for a, b in more)
        last = "".join(f"<p>{equation(a, b)}</p>" for a, b in _pairs([(self.left, self.formula)]))
        return _PAGE.format(title=escape(title), given=given, steps=steps, last=last)


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.6 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }}
math {{ font-size: 1.15em }}
ul {{ list-style: none; padding: 0 }}
td {{ padding: .3em 2em .3em 0; vertical-align: baseline }}
tr.inner td:first-child {{ padding-left: 2em }}
.last {{ border-top: 1px solid; padding-top: .5em }}
</style>
</head>
<body>
<h1>{title}</h1>
<ul>{given}</ul>
<table>{steps}</table>
<div class="last">{last}</div>
</body>
</html>
"""


def derivation(module: Module, of: str, wrt: str) -> Derivation:
    """How a scalar of the spec is derived by a parameter, an input or a named value.

    `of` is `loss`, `objective`, the NAME of a loss or metric, or a name of the model's text; `wrt` is the path of a
    parameter, an input, or a name. E0405 for a name that is not there, E0401 and E0402 where there is no derivative.
    The module is as its text says it, before any pass, and is used up: its graph is rewritten.
    """
    graph = module.graph
    scalars = {n: node for n, node in module.names.items() if not node.rank and node.dtype == "float"}
    scalars.update({n.removeprefix("metric/"): node for n, node in module.roots("loss", "metric/").items()})
    values = {n: node for n, node in module.names.items() if node.dtype == "float"}
    values.update({path: v.node for path, v in module.variables.items() if v.kind == "parameter"})
    target, by = _find(of, scalars, "--of"), _find(wrt, values, "--wrt")
    if by not in graph.order([target]):
        raise error("E0401", f"`{of}` does not depend on `{wrt}`", target.span, "this value")
    names = dict(module.names)
    graph.outputs.clear()
    for node in graph.nodes:  # nothing is run, so nothing is computed again
        node.block = 0
    if any(node.op.name in ops.PLACEHOLDERS for node in graph.order([target])):
        target, by, names = _expanded(target, by, names)
    by, target, names = _leaf(target, by, names)
    called: dict[Node, str] = {}
    for name, node in names.items():
        called.setdefault(node, name)
    whole = _whole(target, by, names)  # first: it says where there is no derivative
    if target is by:
        return Derivation(of, wrt, (), (), whole)
    taken = {*names, *module.variables, of, wrt, *_inner(graph.order([target]))}
    chains = [Chain({target: of}, [by], called, Names(set(taken)), Block, closed=c) for c in (True, False)]
    folded = [_folded(chain, by) for chain in chains]
    best = min(range(len(chains)), key=lambda i: _length(folded[i] or whole))
    return _derived(chains[best], of, wrt, by, folded[best], whole, _said(chains[0]))


def derivative(module: Module, of: str, wrt: str) -> Formula:
    """The derivative in one line; arguments and errors as of `derivation`."""
    return derivation(module, of, wrt).formula


def _find(name: str, known: dict[str, Node], option: str) -> Node:
    if name not in known:
        raise error(
            "E0405",
            f"there is no `{name}` for {option}",
            None,
            notes=["there are " + ", ".join(sorted(known))],
            help=did_you_mean(name, known),
        )
    return known[name]


def _expanded(target: Node, by: Node, names: dict[str, Node]) -> tuple[Node, Node, dict[str, Node]]:
    """The same where the target holds derivatives itself, which become the graphs they stand for."""
    graph = target.graph
    graph.outputs.update({"target": target, "by": by, **{f"name/{n}": node for n, node in names.items()}})
    simplify(graph)
    while expand(graph):
        simplify(graph)
    found = {n.removeprefix("name/"): node for n, node in graph.outputs.items() if n.startswith("name/")}
    target, by = graph.outputs["target"], graph.outputs["by"]
    graph.outputs.clear()
    return target, by, found


def _leaf(target: Node, by: Node, names: dict[str, Node]) -> tuple[Node, Node, dict[str, Node]]:
    """The same with what is derived by as a leaf, whatever it is computed from."""
    if by.op.name in ("input", "variable") or target is by:
        return by, target, names
    name = next(n for n, node in names.items() if node is by)
    leaf = by.graph.add(ops.input_, (), {"name": name, "type": by.type})
    target, *values = rebuild(by.graph, [target, *names.values()], {by: leaf})
    return leaf, target, dict(zip(names, values, strict=True))


def _whole(target: Node, by: Node, names: dict[str, Node]) -> Formula:
    """The derivative as the simplifier leaves it, the graph taken as a whole."""
    graph = target.graph
    kept = {f"name/{n}": node for n, node in names.items()}
    copy = type(graph)()
    made = rebuild(copy, [target, by, *kept.values()], {})
    copy.outputs.update({"derivative": ops.gradient(made[0], made[1]), **dict(zip(kept, made[2:], strict=True))})
    simplify(copy)
    while expand(copy):
        simplify(copy)
    simplify(copy, final=True)
    named = {node: n.removeprefix("name/") for n, node in reversed(list(copy.outputs.items())) if n != "derivative"}
    return of_value(copy.outputs["derivative"], named)


def _folded(chain: Chain, by: Node) -> Formula | None:
    """The steps of a chain put into one another, as far as they go without a recurrence."""
    chain.found = [step for step in chain.steps() if not _trivial(step)]
    terms: list[tuple[int, Expression]] = [(1, block.sent[by]) for block in chain.blocks.values() if by in block.sent]
    where: tuple[tuple[Symbol, Expression], ...] = ()
    key = f"whole/{chain.values[by].key}"
    if key in chain.scratch.outputs:
        own = chain.written(key)
        terms.append((1, own.expression))
        where = own.where
    return Formula(sum_of(terms), where) if terms else None


def _said(chain: Chain) -> dict[str, Formula]:
    """What the values are that the spec names, in terms of each other."""
    letters = {value.name for value in chain.values.values() if not value.given}
    found = {v.name: chain.definition(v) for v in chain.values.values() if v.given and v.link}
    return {name: f for name, f in found.items() if not any(s.name in letters for s in _symbols([f]))}


def _derived(
    chain: Chain, of: str, wrt: str, by: Node, folded: Formula | None, whole: Formula, said: Mapping[str, Formula]
) -> Derivation:
    steps = chain.found
    formula = folded or whole
    if chain.blocks:
        formula = Formula(formula.expression, (*_recurrences(chain, steps), *formula.where))
    elif _length(whole) < _length(formula):
        formula = whole
    given = _given(chain, said, [*(step.right for step in steps), formula], of)
    spelt = {*chain.names.values(), *(v.name for v in chain.values.values() if v.given)}
    if not chain.blocks:
        more: list[tuple[Symbol, Expression]] = []
        asked = {symbol.name for symbol in _symbols([formula])}
        for symbol, said_of_it in given[::-1]:  # what the spec does not name, down to what it does
            if symbol.name in asked and symbol.name not in spelt:
                more = [(symbol, said_of_it.expression), *said_of_it.where, *more]
                asked.update(inner.name for inner in _symbols([said_of_it]))
        formula = Formula(formula.expression, (*more, *formula.where))
    return Derivation(of, wrt, tuple(given), tuple(steps), formula)


def _inner(order: Iterable[Node]) -> Iterator[str]:
    """What iterations call their values."""
    for node in order:
        if node.op.name == "scan":
            body = node.attrs["body"].graph
            yield from (name.removeprefix("state/") for name in body.marks)
            yield from _inner(body.nodes)


def _trivial(step: Step) -> bool:
    return step.left == step.right.expression


def _length(formula: Formula) -> int:
    return size_of(formula.expression) + sum(size_of(e) for _, e in formula.where)


def _recurrences(chain: Chain, steps: list[Step]) -> Iterator[tuple[Symbol, Expression]]:
    """What a formula with the adjoints of a scan needs: these, and in full what reaches its results."""
    for scan, block in chain.blocks.items():
        for node in chain.order:
            value = chain.values.get(node)
            if value is None or node.op.name != "result" or node.inputs[0] is not scan:
                continue
            if f"whole/{value.key}" in chain.scratch.outputs:
                written = chain.written(f"whole/{value.key}")
                yield from ((chain.symbol(value, adjoint=True), written.expression), *written.where)
        for step in block.steps:
            yield from ((step.left, step.right.expression), *step.right.where)


def _given(chain: Chain, said: Mapping[str, Formula], asked: list[Formula], of: str) -> list[tuple[Symbol, Formula]]:
    """What the values are that formulas speak of, those first that the others are made of, and the target last."""
    known: dict[str, tuple[Symbol, Formula]] = {}
    for node in chain.order:
        name = chain.names.get(node, "")
        value = chain.values.get(node)
        if value is not None and value.link and not value.inline:
            known.setdefault(value.name, (chain.symbol(value), said.get(value.name) or chain.definition(value)))
        elif value is None and name in said:
            known.setdefault(name, (Symbol(name), said[name]))
        if node.op.name == "scan" and node in chain.blocks:
            for block in [chain.blocks[node], *_blocks(chain.blocks[node].chain)]:
                for inner in block.chain.values.values():
                    if inner.link and not inner.inline:
                        pair = block.chain.symbol(inner), block.chain.definition(inner)
                        known.setdefault(inner.name, pair)
    wanted: dict[str, None] = {}
    stack = [of, *(s.name for s in _symbols(asked))]
    while stack:
        name = stack.pop()
        if name in known and name not in wanted:
            wanted[name] = None
            stack += [s.name for s in _symbols([known[name][1]])]
    return [pair for name, pair in known.items() if name in wanted and pair[0] != pair[1].expression]


def _blocks(chain: Chain) -> Iterator[Recurrence]:
    for block in chain.blocks.values():
        yield block
        yield from _blocks(block.chain)


def _symbols(formulas: Iterable[Formula]) -> Iterator[Symbol]:
    return symbols(e for f in formulas for e in (f.expression, *(right for _, right in f.where)))


# --- lines


def _pairs(of: Iterable[tuple[Expression, Formula]]) -> Iterator[tuple[Expression, Expression]]:
    for left, formula in of:
        yield left, formula.expression
        yield from formula.where


def _equations(of: Iterable[tuple[Expression, Formula]]) -> list[tuple[str, str]]:
    return [(text(left), text(right)) for left, right in _pairs(of)]


def _table(rows: list[tuple[str, str, str]]) -> list[str]:
    """Equations under each other, and beside those that are short their reasons."""
    width = max([len(f"{a} = {b}") for a, b, _ in rows if len(f"{a} = {b}") <= WIDE], default=0)
    found = []
    for a, b, reason in rows:
        line = f"{a} = {b}"
        if not reason:
            found.append(line)
        elif len(line) <= width:
            found.append(f"{line:{width}}    {reason}")
        else:
            found += [line, f"{'':{width}}    {reason}"]
    return found


def _escaped(text: str) -> str:
    """Words within a formula of LaTeX."""
    for c in "\\{}$&#^_%~":
        text = text.replace(c, {"\\": r"\textbackslash{}", "^": r"\^{}", "~": r"\~{}"}.get(c, "\\" + c))
    return text
