"""`einsum`: products and sums over named axes. Its pattern is read in `patterns.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ... import ops
from ...diagnostics import error
from ...ir.types import Size
from ...source import Span
from ..context import Context
from ..scope import Frame
from ..values import BUILTINS, Argument, Label, Partial, Tensor, Value, clash
from .arguments import builtin_of, tensor
from .patterns import DOTS, Axis, Pattern, Token, lacks, letters, many, meant, parted


@builtin_of("einsum")
def einsum(c: Context, frame: Frame, span: Span, given: list[Argument]) -> Value:
    texts, values, named = parted("einsum", given)
    example = 'einsum("b i, i j -> b j", x, y)'
    if named:
        argument = next(iter(named.values()))
        raise error(
            "E0215",
            f"`einsum` has no argument `{argument.name}`",
            argument.span,
            "not known",
            notes=["it takes a pattern and the values"],
        )
    if len(texts) != 1:
        if texts:
            raise error(
                "E0214",
                "`einsum` takes one pattern",
                texts[1].span,
                "the second one",
                more=[(texts[0].span, "the first")],
            )
        raise lacks("einsum", "its pattern", span, example)
    if not values:
        return Partial(BUILTINS["einsum"], tuple(given), "x", span)
    pattern = Pattern(texts[0], "einsum")
    operands = [tensor(c, value) for value in values]
    parts, output, worded = pattern.terms()
    if len(parts) != len(operands):
        at = parts[-1][-1] if parts[-1] else (len(pattern.text) - 1, len(pattern.text))
        raise pattern.error(
            "E0382",
            f"the pattern names {many(len(parts), 'value')}, and {len(operands)} "
            f"{'is' if len(operands) == 1 else 'are'} given",
            at,
            f"{many(len(parts), 'value')} before `->`",
            more=[(values[-1].span, "the last value")],
        )
    parts, output = _read(parts, output, worded, operands)
    sums = _Sum(pattern, values, operands)
    for number, part in enumerate(parts):
        sums.operand(number, part)
    result = sums.output(output)
    with c.at(frame, span):
        node = c.make(
            lambda *nodes: ops.contract(nodes, sums.axes, result, sums.sizes),
            [value.node for value in operands],
            [value.span for value in values],
            span,
        )
    return Tensor(node, tuple(sums.labels.get(axis) for axis in result))


def _read(
    parts: list[list[Token]], output: list[Token] | None, worded: bool, operands: list[Tensor]
) -> tuple[list[list[Token]], list[Token] | None]:
    """Words or letters? Where spaces divide the axes of an operand, names are whole words (as einops has it), else
    every letter is an axis (as NumPy has it); but what fits the numbers of dimensions comes first."""

    def fits(parts: list[list[Token]]) -> bool:
        return all(
            len(part) == value.node.rank or (DOTS in [t.text for t in part] and len(part) - 1 <= value.node.rank)
            for part, value in zip(parts, operands, strict=True)
        )

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
            raise self.pattern.error("E0323", "`...` appears at most once per value", gaps[1], "the second one")
        fixed = len(tokens) - len(gaps)
        if rank < fixed or (not gaps and rank != fixed):
            at = (tokens[0].start, tokens[-1].end) if tokens else (0, len(self.pattern.text))
            raise self.pattern.error(
                "E0382",
                f"the pattern names {'at least ' * bool(gaps)}{many(fixed, 'dimension')} of a value that has {rank}",
                at,
                f"{many(fixed, 'axis') if fixed == 1 else f'{fixed} axes'}",
                more=[(given.span, f"this is `{value.node.type}`")],
            )
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
                "E0382",
                f"the axis `{text}` has two sizes: {known} and {size}",
                token,
                f"{size} here",
                more=[
                    (self.pattern.span(first.start, first.end), f"{known} here"),
                    (self.values[other].span, f"this is `{self.operands[other].node.type}`"),
                    *([(self.values[number].span, f"this is `{value.node.type}`")] if other != number else []),
                ],
            )
        if known is None or known == 1:
            self.sizes[axis], self.seen[axis] = size, (token, number)
            if label is not None:
                self.labels[axis] = label
        elif label is not None and size != 1:
            own = self.labels.setdefault(axis, label)
            if clash(own, label):
                raise error(
                    "E0313",
                    f"dimension `{own[1]}` meets dimension `{label[1]}`",
                    self.pattern.span(token.start, token.end),
                    f"`{text}` would be both",
                    more=[(self.values[number].span, f"here it is `{label[1]}`")],
                    notes=["both have the same size here, but two different names never meet"],
                )

    def output(self, tokens: list[Token] | None) -> list[Axis]:
        """The axes of the result; without `->` those that stand once, sorted, after those of `...`."""
        dots: list[Axis] = [(DOTS, i) for i in reversed(range(self.dots))]
        if tokens is None:
            return dots + sorted(axis for axis, count in self.counts.items() if count == 1)
        result: list[Axis] = []
        seen: dict[str, Token] = {}
        for token in tokens:
            if token.text in seen:
                raise self.pattern.error(
                    "E0381",
                    f"the axis `{token.text}` appears twice in the result",
                    token,
                    "again here",
                    more=[(self.pattern.span(seen[token.text].start, seen[token.text].end), "first here")],
                )
            seen[token.text] = token
            if token.text == DOTS:
                if self.dotted is None:
                    raise self.pattern.error(
                        "E0381", "`...` is in the result but in no value", token, "what would it be?"
                    )
                result += dots
            elif token.text not in self.counts:
                raise self.pattern.error(
                    "E0381",
                    f"the axis `{token.text}` of the result is in no value",
                    token,
                    "not found before `->`",
                    help=meant(token, list(self.counts)),
                )
            else:
                result.append(token.text)
        if self.dots and DOTS not in seen:
            assert self.dotted is not None
            raise self.pattern.error(
                "E0381",
                f"`...` stands for {many(self.dots, 'dimension')} that the result does not name",
                self.dotted,
                "missing after `->`",
                help="only named axes are summed: put `...` into the result",
            )
        return result
