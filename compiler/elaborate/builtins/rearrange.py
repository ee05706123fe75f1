"""`rearrange`, `reduce` and `repeat`: dimensions moved, split and merged by name; `patterns.py` reads their texts."""

from __future__ import annotations

from ... import ops
from ...diagnostics import did_you_mean, error
from ...ir.types import Dim, Size, divide, product
from ...source import Span
from .. import calls, expressions
from ..context import Context
from ..scope import Frame
from ..values import BUILTINS, Argument, Indexed, Label, Partial, Tensor, Value, kind, plain
from .arguments import builtin_of, one_axis, tensor
from .patterns import DOTS, Axis, Group, Pattern, Token, lacks, many, meant, parted
from .shaping import stacked


@builtin_of("rearrange")
def rearrange(c: Context, frame: Frame, span: Span, given: list[Argument]) -> Value:
    example = 'rearrange(x, "b t (h d) -> b h t d", h = 8)'
    texts, values, sizes = parted("rearrange", given)
    if not texts:
        raise lacks("rearrange", "its pattern", span, example)
    if len(texts) > 1 or len(values) > 1:
        raise error(
            "E0214",
            "`rearrange` takes a value, a pattern and sizes by name",
            (texts[1:] + values[1:])[0].span,
            "one too many",
            help=f"write `{example}`",
        )
    if not values:
        return Partial(BUILTINS["rearrange"], tuple(given), "x", span)
    move = _Move(c, "rearrange", values[0], texts[0], sizes)
    for token, side in [(t, "before") for t in move.only_left] + [(t, "after") for t in move.only_right]:
        other = "`reduce` removes dimensions" if side == "before" else "`repeat` makes new ones"
        raise move.pattern.error(
            "E0381",
            f"the axis `{token.text}` appears only {side} `->`",
            token,
            "missing on the other side",
            help=meant(token, move.names(side == "before")) or other,
        )
    with c.at(frame, span):
        return move.arrange(move.split())


@builtin_of("reduce")
def reduce_(c: Context, frame: Frame, span: Span, given: list[Argument]) -> Value:
    """einops' `reduce(x, "b (h 2) (w 2) -> b h w", max)`: dimensions that the right side leaves out are reduced by any
    function that takes an `axis`."""
    example = 'reduce(x, "b h w c -> b c", mean)'
    positional = [a for a in given if a.name is None]
    sizes = parted("reduce", given)[2]
    if positional and isinstance(positional[0].value, str) and len(positional) == 2:
        return Partial(BUILTINS["reduce"], tuple(given), "x", span)
    if len(positional) != 3 or not isinstance(positional[1].value, str):
        raise lacks("reduce", "a value, a pattern or a function", span, example)
    x, text, by = positional
    function = by.value
    if isinstance(function, str):
        function = expressions.lookup(c, frame, function, by.span)
    if not calls.callable_(function):
        raise error(
            "E0213",
            f"`reduce` takes a function that reduces, not {kind(by.value)}",
            by.span,
            "`sum`, `mean`, `max`, `min`, `prod`, `any`, `all`, `logsumexp` or one of yours with an `axis`",
        )
    move = _Move(c, "reduce", x, text, sizes)
    for token in move.only_right:
        raise move.pattern.error(
            "E0381",
            f"the axis `{token.text}` appears only after `->`",
            token,
            "missing on the other side",
            help=meant(token, move.names(False)),
        )
    with c.at(frame, span):
        value = move.split()
        gone = [i for i, axis in enumerate(move.axes) if axis not in move.kept]
        if gone:
            reduced = calls.call(
                c, frame, function, [Argument(None, value, x.span), Argument("axis", gone, by.span)], span, by.span
            )
            if not isinstance(reduced, Tensor) or reduced.node.rank != value.node.rank - len(gone):
                raise error(
                    "E0382",
                    "the function of `reduce` must remove the dimensions of its `axis`",
                    by.span,
                    f"it gives {kind(reduced)}",
                    more=[(x.span, f"of `{value.node.type}`")],
                )
            value = reduced
            move.axes = [axis for axis in move.axes if axis in move.kept]
        return move.arrange(value)


@builtin_of("repeat")
def repeat(c: Context, frame: Frame, span: Span, given: list[Argument]) -> Value:
    """einops' `repeat(x, "h w -> h (w 2)")`: axes that stand only on the right are new, of a size given by name or in
    the pattern."""
    example = 'repeat(x, "b d -> b t d", t = 8)'
    texts, values, sizes = parted("repeat", given)
    if not texts and len(values) + len(sizes) == 2 + ("axis" in sizes):
        return _repeat_elements(c, frame, span, given)
    if len(texts) != 1 or len(values) > 1:
        raise lacks("repeat", "a value or its pattern", span, example)
    if not values:
        return Partial(BUILTINS["repeat"], tuple(given), "x", span)
    move = _Move(c, "repeat", values[0], texts[0], sizes)
    for token in move.only_left:
        raise move.pattern.error(
            "E0381",
            f"the axis `{token.text}` appears only before `->`",
            token,
            "missing on the other side",
            help=meant(token, move.names(True)) or "`reduce` removes dimensions",
        )
    with c.at(frame, span):
        return move.arrange(move.split())


def _repeat_elements(c: Context, frame: Frame, span: Span, given: list[Argument]) -> Value:
    """NumPy's `repeat(x, times, axis)`: every element several times, one after the other."""
    named = {a.name or ("x", "times", "axis")[i]: a for i, a in enumerate(given)}
    for name in named:
        if name not in ("x", "times", "axis"):
            raise error(
                "E0215",
                f"`repeat` has no argument `{name}`",
                named[name].span,
                "not known",
                notes=["it takes (x, times, axis), or a value and a pattern"],
            )
    x, times = named["x"], named["times"]
    value = tensor(c, x)
    if isinstance(times.value, bool) or not isinstance(times.value, int | Dim):
        raise error(
            "E0308",
            "how often elements are repeated is an integer that is known before the file runs",
            times.span,
            f"this is {kind(times.value)}",
        )
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
                raise error(
                    "E0215",
                    f"the pattern has no axis `{name}`",
                    argument.span,
                    "not in the pattern",
                    more=[(self.pattern.span(0, len(self.pattern.text)), "this pattern")],
                    help=did_you_mean(name, [n for n in before if n != DOTS]),
                )
        self.kept: dict[Axis, None] = {}
        for group in self.right:
            for token in group.axes:
                self.kept.update(dict.fromkeys(self._axes(token, "after")))

    def _numbered(self, token: Token) -> Exception:
        return self.pattern.error(
            "E0381",
            f"a dimension of {token.text} needs a name here",
            token,
            "a number has no other side",
            help=f"write `n` for it and `n = {token.text}`",
        )

    def _size(self, argument: Argument) -> Size:
        value = argument.value
        if isinstance(value, bool) or not isinstance(value, int | Dim):
            raise error(
                "E0308",
                f"the size of `{argument.name}` must be an integer that is known before the file runs",
                argument.span,
                f"this is {kind(value)}",
            )
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
                "E0382",
                f"the pattern names {'at least ' * open_}{many(fixed, 'dimension')} of a value that has {node.rank}",
                at,
                f"{many(fixed, 'dimension')}",
                more=[(self.x.span, f"this is `{node.type}`")],
            )
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
            raise self.pattern.error(
                "E0383",
                f"the sizes of `{a.text}` and `{b.text}` are not known",
                group,
                f"only their product is: {total}",
                help=f"give one by name: `{a.text} = ...`",
            )
        if unknown:
            axis, _, token = found[unknown[0]]
            size = divide(total, rest) if rest != 0 else None
            if size is None:
                raise self.pattern.error(
                    "E0383",
                    f"a dimension of {total} does not divide by {rest}",
                    group,
                    f"`{token.text}` would be {total} / {rest}",
                    more=[(self.x.span, f"this is `{self.value.node.type}`")],
                    notes=["a free dimension is divisible only if every size of it is"]
                    if isinstance(total, Dim)
                    else [],
                )
            found[unknown[0]] = (axis, size, token)
        elif rest != total:
            named = " * ".join(str(size) for _, size, _ in found) if found else "1"
            raise self.pattern.error(
                "E0382",
                f"a dimension of {total} is not {named}",
                group,
                f"{named} here",
                more=[(self.x.span, f"this is `{self.value.node.type}`")],
            )
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
                raise self.pattern.error(
                    "E0383",
                    f"the size of the new axis `{token.text}` is not known",
                    token,
                    "new here",
                    help=f"give it by name: `{token.text} = ...`",
                )
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
