"""Which columns of a table an input or target is made of, and how they become numbers: `from "age" standardised`.

What a column's encoding needs to know (a mean, the words) is found in the training rows by the runtime; the graph that
predicts applies it (lower/columns.py), so that it takes rows as the table has them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

from dlc.runtime.column import Column

from ..diagnostics import did_you_mean, error
from ..ir.module import Module
from ..ir.types import Size, TensorType
from ..source import Span
from ..syntax import tree as syntax
from . import expressions
from .context import Context
from .scope import Frame
from .types import known_size
from .values import POISON, Reported, kind

Name = Literal["date", "log1p", "standardised", "bins", "vocabulary", "one_hot", "words", "characters", "image"]
PARTS = ("year", "month", "day", "weekday", "yearday", "days")
NUMBERS: tuple[Name, ...] = (
    "date",
    "log1p",
    "standardised",
    "bins",
)  # encodings of numbers, in the order of their application
WORDS: tuple[Name, ...] = ("vocabulary", "one_hot", "words", "characters")
TEXTS: tuple[Name, ...] = ("words", "characters")
IMAGES: tuple[Name, ...] = ("image",)
KNOWN: tuple[Name, ...] = (*NUMBERS, *WORDS, *IMAGES)
CHANNELS = (1, 3, 4)  # of grey, of colours, of colours with an opacity
FILLS = ("median", "mean", "indicator")
PLAIN = 'write `from "age"` for a column of numbers, `from "age" standardised`, `from "city" vocabulary`'


def widen(frame: Frame, statement: syntax.Input | syntax.Target) -> None:
    """A new name as the last dimension of `float[batch, n]` is as large as the columns are many."""
    columns, dims = statement.columns, statement.type.dims
    if columns is None or dims is None or len(dims) != 2 or not isinstance(dims[1], syntax.Name):
        return
    name = dims[1].name
    words = {encoding.name for encoding in columns.encodings}
    if known_size(frame, name) is None and name not in expressions.CONSTANTS and not {"one_hot", *TEXTS} & words:
        dates = [len(encoding.arguments) for encoding in columns.encodings if encoding.name == "date"]
        frame.dims[name] = sum(dates) or len(columns.names) * (2 if _indicated(columns) else 1)


def _indicated(columns: syntax.Columns) -> bool:
    values = [encoding.value for encoding in columns.encodings if encoding.name == "missing"]
    return any(isinstance(value, syntax.Name) and value.name == "indicator" for value in values)


def declare(c: Context, frame: Frame, statement: syntax.Input | syntax.Target, type: TensorType) -> None:
    """Notes the columns of an input or target. Raises CompileError E0250 to E0253."""
    columns = statement.columns
    if columns is None:
        return
    target = isinstance(statement, syntax.Target)
    drawn = statement.drawn_from if isinstance(statement, syntax.Input) else None
    if drawn is not None:
        raise error(
            "E0253",
            f"`{statement.name}` is drawn and comes from a column",
            columns.span,
            "never read",
            more=[(drawn.span, "drawn from this")],
            help="leave one of them out",
        )
    names = [name.value for name in columns.names]
    for number, name in enumerate(columns.names):
        if not name.value or name.value in names[:number]:
            what = f"the column `{name.value}` is named twice" if name.value else "a column needs a name"
            raise error("E0253", what, name.span, "here")
    made: dict[str, Any] = {}
    for encoding in columns.encodings:
        if encoding.name in made:
            raise error("E0250", f"`{encoding.name}` is said twice", encoding.span, "again here")
        made[encoding.name] = _value(c, frame, encoding)
    column = Column(
        tuple(names),
        missing=made.get("missing"),
        encode=tuple(name for name in KNOWN if name in made),
        bins=made.get("bins"),
        parts=made.get("date", ()),
        most=next((made[name] for name in TEXTS if made.get(name, True) is not True), None),
        target=target,
    )
    _fits(statement, columns, column, type)
    c.module.columns[statement.name] = column
    c.module.placed[statement.name] = columns.span


def _value(c: Context, frame: Frame, encoding: syntax.Encoding) -> Any:
    """What an encoding says beside its name."""
    name, known = encoding.name, (*KNOWN, "missing")
    if name not in known:
        raise error(
            "E0250",
            f"there is no encoding `{name}` of a column",
            encoding.span,
            "not known",
            notes=["encodings are " + ", ".join(known)],
            help=did_you_mean(name, known) or PLAIN,
        )
    if name == "missing":
        if encoding.value is None:
            raise error(
                "E0250",
                "`missing` says what an empty cell counts as",
                encoding.span,
                "expected `=` after it",
                help='write `missing = median`, `missing = 0`, `missing = "unknown"` or `missing = indicator`',
            )
        return _fill(c, frame, encoding.value)
    if encoding.value is not None or (encoding.arguments and name not in ("bins", "date", *TEXTS)):
        raise error("E0250", f"`{name}` takes no value", encoding.span, "has one", help=f"write `{name}`")
    if name == "date":
        return _parts(c, frame, encoding)
    return _count(c, frame, encoding) if name == "bins" or encoding.arguments else True


def _fill(c: Context, frame: Frame, value: syntax.Expr) -> str | float | tuple[str]:
    """What stands for an empty cell: a word as a tuple of one, to tell it from `median` and its like."""
    if isinstance(value, syntax.Name) and value.name in FILLS:
        return value.name
    found = expressions.evaluate(c, frame, value)
    if found is POISON:
        raise Reported
    if isinstance(found, str):
        return (found,)
    if isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found):
        return float(found)
    raise error(
        "E0250",
        f"an empty cell cannot count as {kind(found)}",
        value.span,
        f"this is {kind(found)}",
        notes=["expected median, mean, indicator, a number or a word"],
    )


def _parts(c: Context, frame: Frame, encoding: syntax.Encoding) -> tuple[str, ...]:
    found = [expressions.evaluate(c, frame, argument.value) for argument in encoding.arguments]
    wrong = [value for value in found if value not in PARTS]
    if not found or wrong or len(set(found)) < len(found):
        raise error(
            "E0250",
            "`date` says which parts of a date are numbers",
            encoding.span,
            f"{kind(wrong[0])} is none" if wrong else "each once",
            notes=["parts are " + ", ".join(PARTS)],
            help='write `date("month", "weekday")`',
        )
    return tuple(found)


def _count(c: Context, frame: Frame, encoding: syntax.Encoding) -> int:
    found = [expressions.evaluate(c, frame, argument.value) for argument in encoding.arguments]
    if len(found) == 1 and found[0] is POISON:
        raise Reported
    count = found[0] if len(found) == 1 else None
    if not isinstance(count, int) or isinstance(count, bool) or not 2 <= count <= 10_000:
        raise error(
            "E0250",
            "`bins` says how many ranges of equally many rows there are"
            if encoding.name == "bins"
            else f"`{encoding.name}` says how many {encoding.name} are kept",
            encoding.span,
            "a number from 2 to 10,000 is expected",
            help=f"write `{encoding.name}({10 if encoding.name == 'bins' else 1000})`",
        )
    return count


def _fits(statement: syntax.Input | syntax.Target, columns: syntax.Columns, column: Column, type: TensorType) -> None:
    """Raises E0251 where encodings exclude each other, E0252 where the type is not what they make."""
    said = {encoding.name: encoding.span for encoding in columns.encodings}
    words = [name for name in column.encode if name in WORDS]
    numbers = [name for name in column.encode if name in NUMBERS]
    if words and (numbers or len(words) > 1):
        first, second = (words + numbers)[:2]
        raise _contrary(f"`{first}` and `{second}`", said[second], said[first])
    if "date" in numbers and (column.bins or "log1p" in numbers or column.missing is not None):
        other = "bins" if column.bins else "log1p" if "log1p" in numbers else "missing"
        raise _contrary(f"`date` and `{other}`", said[other], said["date"])
    if column.image and len(said) > 1:
        other = next(name for name in said if name != "image")
        raise _contrary(f"`image` and `{other}`", said[other], said["image"])
    text = next((name for name in words if name in TEXTS), None)
    if text is not None and column.missing is not None:
        raise _contrary(f"`{text}` and `missing`", said["missing"], said[text])
    if column.bins and "standardised" in numbers:
        raise _contrary("`bins` and `standardised`", said["standardised"], said["bins"])
    if column.missing is not None:
        if column.target:
            raise error(
                "E0251",
                "a target has no value where its cell is empty",
                said["missing"],
                "of a target",
                help="leave these rows out",
            )
        if isinstance(column.missing, tuple) != bool(words):
            what = "words" if words else "numbers"
            raise error(
                "E0251",
                f"`{statement.name}` is made of {what}: `missing` says otherwise",
                said["missing"],
                f"expected one of the {what}",
                help='write `missing = "unknown"`' if words else "write `missing = median` or `missing = 0`",
            )
        if column.missing == "indicator" and column.bins:
            raise _contrary("`bins` and `missing = indicator`", said["missing"], said["bins"])
    count = len(column.names)
    single = next((name for name in ("one_hot", *TEXTS, "date", "image") if name in column.encode), None)
    if column.target and single in (*TEXTS, "date", "image"):
        raise error("E0251", f"a target is no `{single}`", said[single], "of a target", help="make it an input")
    if single is not None and count > 1:
        raise error(
            "E0251",
            f"`{single}` takes one column",
            columns.span,
            f"these are {count}",
            help="write an input for each, and `concat([a, b], axis = 1)`",
        )
    if column.image:
        sizes = type.shape[1:]
        known = all(isinstance(size, int) and size > 0 for size in sizes)
        if type.dtype != "float" or len(sizes) != 3 or not known or sizes[0] not in CHANNELS:
            what = "channels (1, 3 or 4), height and width of each image"
            raise _unfit(statement, "float[batch, 3, 32, 32]", what, said["image"])
        return
    if text is not None and type.rank != 2:
        raise _unfit(statement, "int[batch, 40]", f"the first so many {text}", said[text])
    if "one_hot" in words and (type.rank != 2 or not isinstance(type.shape[1], int)):
        raise _unfit(statement, "float[batch, 3]", "one number for each word, so many", said["one_hot"])
    dtype = "int" if column.index else "float"
    if type.dtype != dtype and (column.encode or column.missing is not None):
        shown = f"{dtype}[{', '.join(map(str, type.shape))}]"
        raise _unfit(statement, shown, f"{dtype}s", columns.span)
    if text is None and "one_hot" not in words:
        width = len(column.parts) or count * (2 if column.missing == "indicator" else 1)
        wanted: list[tuple[Size, ...]] = [type.shape[:1], (*type.shape[:1], 1)] if width == 1 else []
        if type.shape not in (wanted or [(*type.shape[:1], width)]) or not type.shape:
            shown = f"{type.dtype}[batch]" if width == 1 else f"{type.dtype}[batch, {width}]"
            what = f"{count} column{'s' if count > 1 else ''}" if not column.parts else "the parts of a date"
            both = f"{what}, and for each whether it was empty" if width > count else what
            raise _unfit(statement, shown, both, columns.span)


def _contrary(what: str, second: Span, first: Span) -> Exception:
    return error(
        "E0251",
        f"{what} exclude each other",
        second,
        "the second",
        more=[(first, "the first")],
        help="write an input for each",
    )


def _unfit(statement: syntax.Input | syntax.Target, shown: str, what: str, span: Span) -> Exception:
    return error(
        "E0252",
        f"the type of `{statement.name}` is not what its columns make",
        statement.type.span,
        f"expected `{shown}`",
        more=[(span, what)],
    )


def decoded(module: Module) -> None:
    """An output that is called as the column of a target comes out as that column is: a word for each index, a number
    in the units of the column. Raises CompileError E0254."""
    for name, column in module.columns.items():
        if not column.target or len(column.names) != 1 or column.names[0] not in module.outputs or not column.encode:
            continue
        output = column.names[0]
        node = module.graph.outputs[f"output/{output}"]
        wanted = "int" if column.index else "float"
        if node.dtype != wanted or column.encode[-1] in ("bins", "one_hot"):
            raise error(
                "E0254",
                f"the output `{output}` is called as the column of `{name}`, and cannot be one",
                node.span,
                f"this is `{node.type}`",
                more=[(module.placed[name], f"made {'of words' if column.words else 'of numbers'} here")],
                help=f"give it another name; words come of `output {output} = argmax(logits, axis = -1)`"
                if column.words
                else "give it another name",
            )
        module.columns[name] = replace(column, output=output)
