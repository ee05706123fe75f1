"""`einsum`, `rearrange`, `reduce` and `repeat`: what patterns of axes mean. Their texts are read in `patterns.py`."""
from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from ... import ops
from ...diagnostics import did_you_mean, error
from ...ir.types import Dim, Size, divide, product
from ...source import Span
from .. import calls, expressions
from ..context import Context
from ..scope import Frame
from ..values import BUILTINS, Argument, Indexed, Label, Partial, Tensor, Value, clash, kind, plain
from .arguments import builtin_of, one_axis, tensor
from .patterns import DOTS, Group, Pattern, Token, letters
from .shaping import stacked

Axis = Hashable


def _parted(name: str, given: Sequence[Argument]) -> tuple[list[Argument], list[Argument], dict[str, Argument]]:
    """The texts, the other positional arguments, and the named ones of a call."""
    texts = [a for a in given if a.name is None and isinstance(a.value, str)]
    others = [a for a in given if a.name is None and not isinstance(a.value, str)]
    named: dict[str, Argument] = {}
    for argument in given:
        if argument.name is not None:
            if argument.name in named:
                raise error("E0216", f"`{argument.name}` is given twice", argument.span, "again here",
                            more=[(named[argument.name].span, "first here")])
            named[argument.name] = argument
    return texts, others, named


def _lacks(name: str, what: str, span: Span, example: str) -> Exception:
    return error("E0217", f"`{name}` lacks {what}", span, "not given", help=f"write `{example}`")


# --- einsum


@builtin_of("einsum")
def einsum(c: Context, frame: Frame, span: Span, given: list[Argument]) -> Value:
    texts, values, named = _parted("einsum", given)
    example = 'einsum("b i, i j -> b j", x, y)'
    if named:
        argument = next(iter(named.values()))
        raise error("E0215", f"`einsum` has no argument `{argument.name}`", argument.span, "not known",
                    notes=["it takes a pattern and the values"])
    if len(texts) != 1:
        if texts:
            raise error("E0214", "`einsum` takes one pattern", texts[1].span, "the second one",
                        more=[(texts[0].span, "the first")])
        raise _lacks("einsum", "its pattern", span, example)
    if not values:
        return Partial(BUILTINS["einsum"], tuple(given), "x", span)
    pattern = Pattern(texts[0], "einsum")
    operands = [tensor(c, value) for value in values]
    parts, output, worded = pattern.terms()
    if len(parts) != len(operands):
        at = parts[-1][-1] if parts[-1] else (len(pattern.text) - 1, len(pattern.text))
        raise pattern.error("E0382", f"the pattern names {_many(len(parts), 'value')}, and {len(operands)} "
                            f"{'is' if len(operands) == 1 else 'are'} given", at,
                            f"{_many(len(parts), 'value')} before `->`", more=[(values[-1].span, "the last value")])
    parts, output = _read(parts, output, worded, operands)
    sums = _Sum(pattern, values, operands)
    for number, part in enumerate(parts):
        sums.operand(number, part)
    result = sums.output(output)
    with c.at(frame, span):
        node = c.make(lambda *nodes: ops.contract(nodes, sums.axes, result, sums.sizes),
                      [value.node for value in operands], [value.span for value in values], span)
    return Tensor(node, tuple(sums.labels.get(axis) for axis in result))


def _meant(token: Token, names: list[str]) -> str | None:
    """The axis that was meant, where a name is long enough to tell."""
    return did_you_mean(token.text, names) if len(token.text) > 2 else None


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _read(
    parts: list[list[Token]], output: list[Token] | None, worded: bool, operands: list[Tensor]
) -> tuple[list[list[Token]], list[Token] | None]:
    """Words or letters? Where spaces divide the axes of an operand, names are whole words (as einops has it), else
    every letter is an axis (as NumPy has it); but what fits the numbers of dimensions comes first."""

    def fits(parts: list[list[Token]]) -> bool:
        return all(
            len(part) == value.node.rank or (DOTS in [t.text for t in part] and len(part) - 1 <= value.node.rank)
            for part, value in zip(parts, operands, strict=True))

    tokens = [token.text for part in [*parts, output or []] for token in part if token.text != DOTS]
    spelled = [letters(part) for part in parts]
    if not all(text.isalpha() for text in tokens) or (fits(parts) and (worded or not fits(spelled))):
        return parts, output
    if fits(spelled) or not worded:
        return spelled, None if output is None else letters(output)
    return parts, output


@dataclass(eq=False)
class _Sum:
    """What a pattern of `einsum` says about its operands: the axes of each, and the size and name of each axis."""

    pattern: Pattern
    values: Sequence[Argument]
    operands: Sequence[Tensor]
    axes: list[tuple[Axis, ...]] = field(default_factory=list)
    sizes: dict[Axis, Size] = field(default_factory=dict)
    labels: dict[Axis, Label] = field(default_factory=dict)
    seen: dict[Axis, tuple[Token, int]] = field(default_factory=dict)  # where an axis got its size: token, operand
    counts: dict[str, int] = field(default_factory=dict)
    dots: int = 0  # dimensions that `...` stands for, the most of any operand
    dotted: Token | None = None

    def operand(self, number: int, tokens: list[Token]) -> None:
        value, given = self.operands[number], self.values[number]
        rank = value.node.rank
        gaps = [token for token in tokens if token.text == DOTS]
        if len(gaps) > 1:
            raise self.pattern.error("E0323", "`...` stands at most once for a value", gaps[1], "the second one")
        fixed = len(tokens) - len(gaps)
        if rank < fixed or (not gaps and rank != fixed):
            at = (tokens[0].start, tokens[-1].end) if tokens else (0, len(self.pattern.text))
            raise self.pattern.error(
                "E0382", f"the pattern names {'at least ' * bool(gaps)}{_many(fixed, 'dimension')} of a value that has "
                f"{rank}", at, f"{_many(fixed, 'axis') if fixed == 1 else f'{fixed} axes'}",
                more=[(given.span, f"this is `{value.node.type}`")])
        axes: list[Axis] = []
        for token in tokens:
            if token.text != DOTS:
                axes.append(token.text)
                self.counts[token.text] = self.counts.get(token.text, 0) + 1
                self._meet(token.text, token, number, len(axes) - 1)
                continue
            self.dotted = token
            wide = rank - fixed
            self.dots = max(self.dots, wide)
            for i in range(wide):  # they broadcast from the last one
                axes.append((DOTS, wide - 1 - i))
                self._meet(axes[-1], token, number, len(axes) - 1)
        self.axes.append(tuple(axes))

    def _meet(self, axis: Axis, token: Token, number: int, place: int) -> None:
        value = self.operands[number]
        size, label = value.node.shape[place], value.names[place]
        known = self.sizes.get(axis)
        text = token.text
        if known is not None and known != size and (1 not in (known, size) or self.seen[axis][1] == number):
            first, other = self.seen[axis]
            raise self.pattern.error(
                "E0382", f"the axis `{text}` has two sizes: {known} and {size}", token, f"{size} here",
                more=[(self.pattern.span(first.start, first.end), f"{known} here"),
                      (self.values[other].span, f"this is `{self.operands[other].node.type}`"),
                      *([(self.values[number].span, f"this is `{value.node.type}`")] if other != number else [])])
        if known is None or known == 1:
            self.sizes[axis], self.seen[axis] = size, (token, number)
            if label is not None:
                self.labels[axis] = label
        elif label is not None and size != 1:
            own = self.labels.setdefault(axis, label)
            if clash(own, label):
                raise error("E0313", f"dimension `{own[1]}` meets dimension `{label[1]}`",
                            self.pattern.span(token.start, token.end), f"`{text}` would be both",
                            more=[(self.values[number].span, f"here it is `{label[1]}`")],
                            notes=["both have the same size here, but two different names never meet"])

    def output(self, tokens: list[Token] | None) -> list[Axis]:
        """The axes of the result; without `->` those that stand once, sorted, after those of `...`."""
        dots: list[Axis] = [(DOTS, i) for i in reversed(range(self.dots))]
        if tokens is None:
            return dots + sorted(axis for axis, count in self.counts.items() if count == 1)
        result: list[Axis] = []
        seen: dict[str, Token] = {}
        for token in tokens:
            if token.text in seen:
                raise self.pattern.error("E0381", f"the axis `{token.text}` stands twice in the result", token,
                                         "again here", more=[(self.pattern.span(seen[token.text].start,
                                                                                seen[token.text].end), "first here")])
            seen[token.text] = token
            if token.text == DOTS:
                if self.dotted is None:
                    raise self.pattern.error("E0381", "`...` stands in the result and in no value", token,
                                             "what would it be?")
                result += dots
            elif token.text not in self.counts:
                raise self.pattern.error("E0381", f"the axis `{token.text}` of the result is in no value", token,
                                         "not found before `->`", help=_meant(token, list(self.counts)))
            else:
                result.append(token.text)
        if self.dots and DOTS not in seen:
            assert self.dotted is not None
            raise self.pattern.error("E0381", f"`...` stands for {_many(self.dots, 'dimension')} that the result does "
                                     "not name", self.dotted, "missing after `->`",
                                     help="only named axes are summed: put `...` into the result")
        return result


# --- rearrange, reduce, repeat


@builtin_of("rearrange")
def rearrange(c: Context, frame: Frame, span: Span, given: list[Argument]) -> Value:
    example = 'rearrange(x, "b t (h d) -> b h t d", h = 8)'
    texts, values, sizes = _parted("rearrange", given)
    if not texts:
        raise _lacks("rearrange", "its pattern", span, example)
    if len(texts) > 1 or len(values) > 1:
        raise error("E0214", "`rearrange` takes a value, a pattern and sizes by name", (texts[1:] + values[1:])[0].span,
                    "one too many", help=f"write `{example}`")
    if not values:
        return Partial(BUILTINS["rearrange"], tuple(given), "x", span)
    move = _Move(c, "rearrange", values[0], texts[0], sizes)
    for token, side in [(t, "before") for t in move.only_left] + [(t, "after") for t in move.only_right]:
        other = "`reduce` takes dimensions away" if side == "before" else "`repeat` makes new ones"
        raise move.pattern.error("E0381", f"the axis `{token.text}` stands only {side} `->`", token,
                                 "missing on the other side",
                                 help=_meant(token, move.names(side == "before")) or other)
    with c.at(frame, span):
        return move.arrange(move.split())


@builtin_of("reduce")
def reduce_(c: Context, frame: Frame, span: Span, given: list[Argument]) -> Value:
    """einops' `reduce(x, "b (h 2) (w 2) -> b h w", max)`: dimensions that the right side leaves out are reduced by any
    function that takes an `axis`."""
    example = 'reduce(x, "b h w c -> b c", mean)'
    positional = [a for a in given if a.name is None]
    sizes = _parted("reduce", given)[2]
    if positional and isinstance(positional[0].value, str) and len(positional) == 2:
        return Partial(BUILTINS["reduce"], tuple(given), "x", span)
    if len(positional) != 3 or not isinstance(positional[1].value, str):
        raise _lacks("reduce", "a value, a pattern or a function", span, example)
    x, text, by = positional
    function = by.value
    if isinstance(function, str):
        function = expressions.lookup(c, frame, function, by.span)
    if not calls.callable_(function):
        raise error("E0213", f"`reduce` takes a function that reduces, not {kind(by.value)}", by.span,
                    "`sum`, `mean`, `max`, `min`, `prod`, `any`, `all`, `logsumexp` or one of yours with an `axis`")
    move = _Move(c, "reduce", x, text, sizes)
    for token in move.only_right:
        raise move.pattern.error("E0381", f"the axis `{token.text}` stands only after `->`", token,
                                 "missing on the other side", help=_meant(token, move.names(False)))
    with c.at(frame, span):
        value = move.split()
        gone = [i for i, axis in enumerate(move.axes) if axis not in move.kept]
        if gone:
            reduced = calls.call(c, frame, function, [Argument(None, value, x.span),
                                                      Argument("axis", gone, by.span)], span, by.span)
            if not isinstance(reduced, Tensor) or reduced.node.rank != value.node.rank - len(gone):
                raise error("E0382", "the function of `reduce` must take the dimensions of its `axis` away", by.span,
                            f"it gives {kind(reduced)}", more=[(x.span, f"of `{value.node.type}`")])
            value = reduced
            move.axes = [axis for axis in move.axes if axis in move.kept]
        return move.arrange(value)


@builtin_of("repeat")
def repeat(c: Context, frame: Frame, span: Span, given: list[Argument]) -> Value:
    """einops' `repeat(x, "h w -> h (w 2)")`: axes that stand only on the right are new, of a size given by name or in
    the pattern."""
    example = 'repeat(x, "b d -> b t d", t = 8)'
    texts, values, sizes = _parted("repeat", given)
    if not texts and len(values) + len(sizes) == 2 + ("axis" in sizes):
        return _repeat_elements(c, frame, span, given)
    if len(texts) != 1 or len(values) > 1:
        raise _lacks("repeat", "a value or its pattern", span, example)
    if not values:
        return Partial(BUILTINS["repeat"], tuple(given), "x", span)
    move = _Move(c, "repeat", values[0], texts[0], sizes)
    for token in move.only_left:
        raise move.pattern.error("E0381", f"the axis `{token.text}` stands only before `->`", token,
                                 "missing on the other side",
                                 help=_meant(token, move.names(True)) or "`reduce` takes dimensions away")
    with c.at(frame, span):
        return move.arrange(move.split())


def _repeat_elements(c: Context, frame: Frame, span: Span, given: list[Argument]) -> Value:
    """NumPy's `repeat(x, times, axis)`: every element several times, one after the other."""
    named = {a.name or ("x", "times", "axis")[i]: a for i, a in enumerate(given)}
    for name in named:
        if name not in ("x", "times", "axis"):
            raise error("E0215", f"`repeat` has no argument `{name}`", named[name].span, "not known",
                        notes=["it takes (x, times, axis), or a value and a pattern"])
    x, times = named["x"], named["times"]
    value = tensor(c, x)
    if isinstance(times.value, bool) or not isinstance(times.value, int | Dim):
        raise error("E0308", "how often elements are repeated is a whole number that is known before the file runs",
                    times.span, f"this is {kind(times.value)}")
    at = one_axis(value, named.get("axis"), -1, span)
    with c.at(frame, span):
        node = ops.repeat(value.node, plain(times.value), axis=at)
    return Tensor(node, tuple(None if i == at else name for i, name in enumerate(value.names)))


class _Move:
    """A pattern with `->` on one value: its dimensions split into axes, and these merged into the result's."""

    def __init__(self, c: Context, what: str, x: Argument, text: Argument, sizes: dict[str, Argument]) -> None:
        if isinstance(x.value, list | Indexed):  # several values are stacked along a first dimension
            x = Argument(x.name, stacked(c, x, 0), x.span)
        self.c, self.x, self.value = c, x, tensor(c, x)
        self.pattern = Pattern(text, what)
        self.left, self.right = self.pattern.sides()
        self.given = {name: self._size(argument) for name, argument in sizes.items()}
        self.dots = self._dots()
        self.axes: list[Axis] = []  # of the split value
        self.sizes: dict[Axis, Size] = {}
        self.labels: dict[Axis, Label | None] = {}
        before, after = self._tokens(self.left), self._tokens(self.right)
        self.only_left = [t for name, t in before.items() if name not in after]
        self.only_right = [t for name, t in after.items() if name not in before]
        for group in self.left:
            for token in group.axes:
                if token.text.isdigit() and token.text != "1" and what != "reduce":
                    raise self._numbered(token)
        for group in self.right:
            for token in group.axes:
                if token.text.isdigit() and (int(token.text) != 1) and what != "repeat":
                    raise self._numbered(token)
        for name, argument in sizes.items():
            if name not in before and not (what == "repeat" and name in after):
                raise error("E0215", f"the pattern has no axis `{name}`", argument.span, "not in the pattern",
                            more=[(self.pattern.span(0, len(self.pattern.text)), "this pattern")],
                            help=did_you_mean(name, [n for n in before if n != DOTS]))
        self.kept: dict[Axis, None] = {}
        for group in self.right:
            for token in group.axes:
                self.kept.update(dict.fromkeys(self._axes(token, "after")))

    def _numbered(self, token: Token) -> Exception:
        return self.pattern.error("E0381", f"a dimension of {token.text} needs a name here", token,
                                  "a number has no other side", help=f"write `n` for it and `n = {token.text}`")

    def _size(self, argument: Argument) -> Size:
        value = argument.value
        if isinstance(value, bool) or not isinstance(value, int | Dim):
            raise error("E0308", f"the size of `{argument.name}` must be a whole number that is known before the file "
                        "runs", argument.span, f"this is {kind(value)}")
        if isinstance(value, int) and value < 0:
            raise error("E0320", f"a dimension cannot be negative: {int(value)}", argument.span, "here")
        return plain(value)

    def names(self, after: bool) -> list[str]:
        """The names on one side of `->`."""
        return [name for name in self._tokens(self.right if after else self.left) if name != DOTS]

    @staticmethod
    def _tokens(side: list[Group]) -> dict[str, Token]:
        return {token.text: token for group in side for token in group.axes if not token.text.isdigit()}

    def _axes(self, token: Token, side: str) -> list[Axis]:
        """The axes a token stands for. A number other than 1 is an axis of its own on its side."""
        if token.text == DOTS:
            return [(DOTS, i) for i in range(self.dots)]
        if token.text.isdigit():
            return [] if int(token.text) == 1 else [(side, token.start)]
        return [token.text]

    def _dots(self) -> int:
        node, fixed = self.value.node, len([g for g in self.left if g.grouped or g.axes[0].text != DOTS])
        open_ = fixed < len(self.left)
        if node.rank < fixed or (not open_ and node.rank != fixed):
            at = (self.left[0].start, self.left[-1].end) if self.left else (0, len(self.pattern.text))
            raise self.pattern.error(
                "E0382", f"the pattern names {'at least ' * open_}{_many(fixed, 'dimension')} of a value that has "
                f"{node.rank}", at, f"{_many(fixed, 'dimension')}",
                more=[(self.x.span, f"this is `{node.type}`")])
        return node.rank - fixed

    def split(self) -> Tensor:
        """The value with each axis of the left side a dimension."""
        node, place = self.value.node, 0
        for group in self.left:
            if not group.grouped and group.axes[0].text == DOTS:
                for i in range(self.dots):
                    self._have((DOTS, i), node.shape[place], self.value.names[place])
                    place += 1
                continue
            self._divide(group, node.shape[place], self.value.names[place])
            place += 1
        shape = tuple(self.sizes[axis] for axis in self.axes)
        names = tuple(self.labels[axis] for axis in self.axes)
        return Tensor(ops.reshape(node, shape=shape), names)

    def _have(self, axis: Axis, size: Size, label: Label | None = None) -> None:
        self.axes.append(axis)
        self.sizes[axis], self.labels[axis] = size, label

    def _divide(self, group: Group, total: Size, label: Label | None) -> None:
        """The sizes of the axes in one dimension; one of them may be left to find."""
        found: list[tuple[Axis, Size | None, Token]] = []
        for token in group.axes:
            if token.text.isdigit():
                found += [(axis, int(token.text), token) for axis in self._axes(token, "before")]
                if int(token.text) == 0:
                    found.append(((token.start,), 0, token))
            else:
                found.append((token.text, self.given.get(token.text), token))
        unknown = [i for i, (_, size, _) in enumerate(found) if size is None]
        rest = product(size for _, size, _ in found if size is not None)
        if len(unknown) > 1:
            a, b = (found[i][2] for i in unknown[:2])
            raise self.pattern.error("E0383", f"the sizes of `{a.text}` and `{b.text}` are not known", group,
                                     f"only their product is: {total}",
                                     help=f"give one by name: `{a.text} = ...`")
        if unknown:
            axis, _, token = found[unknown[0]]
            size = divide(total, rest) if rest != 0 else None
            if size is None:
                raise self.pattern.error(
                    "E0383", f"a dimension of {total} does not divide by {rest}", group,
                    f"`{token.text}` would be {total} / {rest}",
                    more=[(self.x.span, f"this is `{self.value.node.type}`")],
                    notes=["a free dimension divides only where every size of it does"]
                    if isinstance(total, Dim) else [])
            found[unknown[0]] = (axis, size, token)
        elif rest != total:
            named = " * ".join(str(size) for _, size, _ in found) if found else "1"
            raise self.pattern.error("E0382", f"a dimension of {total} is not {named}", group, f"{named} here",
                                     more=[(self.x.span, f"this is `{self.value.node.type}`")])
        for axis, known, _ in found:
            assert known is not None
            self._have(axis, known, label if len(found) == 1 else None)

    def arrange(self, value: Tensor) -> Tensor:
        """The axes in the order of the right side, new ones repeated, and merged into its dimensions."""
        node, kept = value.node, [axis for axis in self.kept if axis in self.axes]
        labels = dict(zip(self.axes, value.names, strict=True))
        node = ops.transpose(node, perm=[self.axes.index(axis) for axis in kept])
        for token in self.only_right:
            if token.text not in self.given:
                raise self.pattern.error("E0383", f"the size of the new axis `{token.text}` is not known", token,
                                         "new here", help=f"give it by name: `{token.text} = ...`")
            self.sizes[token.text] = self.given[token.text]
        shape: list[Size] = []
        names: list[Label | None] = []
        for group in self.right:
            own: list[tuple[Size, Label | None]] = []
            for token in group.axes:
                for axis in self._axes(token, "after"):
                    size = self.sizes[axis] if axis in self.sizes else int(token.text)
                    self.sizes[axis] = size
                    own.append((size, labels.get(axis)))
            if not group.grouped:
                own = own or [(1, None)] * (group.axes[0].text != DOTS)
                shape += [size for size, _ in own]
                names += [label for _, label in own]
            else:
                shape.append(product(size for size, _ in own))
                names.append(own[0][1] if len(own) == 1 else None)
        if len(kept) < len(self.kept):
            node = ops.reshape(node, shape=tuple(self.sizes[a] if a in kept else 1 for a in self.kept))
            node = ops.broadcast_to(node, shape=tuple(self.sizes[axis] for axis in self.kept))
        return Tensor(ops.reshape(node, shape=tuple(shape)), tuple(names))
