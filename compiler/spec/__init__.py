"""Specs stated from Python: models, layers and train blocks as the syntax trees that the parser makes of a text.

    import dlc
    from dlc.spec import Spec, dl

    net = Spec()
    with net.model("digits", hidden=128) as m:
        x = m.input("x", dl.float["batch", 64])
        y = m.target("y", dl.int["batch"])
        m.logits = x >> dl.dense(m.hidden) >> dl.relu >> dl.dense(10)
        m.follows(y, dl.categorical(logits=m.logits))
    with net.train("digits", lr=1e-2) as t:
        t.minimize(dl.loss, using=dl.adam(t.lr))
        t.epochs = 30

    program = dlc.compile(net)
    text = str(net)                                   # as `dlc fmt` lays it out

Nothing is evaluated while a spec is stated: loops and functions of Python make statements. A spec is its text: what is
compiled, kept in the file and checked is `str(spec)`, and a mistake is shown at the line of Python that states it.
"""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path

from dlc.runtime.written import write

from ..diagnostics import error
from ..recursion import deep_recursion
from ..source import Source
from ..syntax import tree as s
from ..syntax.parser import parse
from ..syntax.unparse import unparse
from .blocks import Argument, Arguments, Block, Train, arg, columns, commented, function, layer, listed
from .places import NOWHERE, here
from .value import Language, Value, choose, name_of, text_of, upto

__all__ = ["Argument", "Block", "Spec", "Train", "Value", "arg", "choose", "columns", "dl", "upto"]

dl = Language()
dl.__doc__ = Language.__doc__


class Spec:
    """A spec in the making. `str(spec)` is its text; `dlc.compile`, `dlc.check` and `dlc.fit` take it as they take a
    path.

    `folder`: where its imports and data are looked for, by default where Python runs.

    Each method begins a declaration and returns its block: `with spec.model("net") as m:`. Argument lists hold names
    and `arg(...)`; `doc` is the comment above. What has no form in a spec is said as it is stated (E0148, E0149,
    E0111), all else as it is compiled.

        >>> from dlc.spec import Spec, dl
        >>> spec = Spec()
        >>> with spec.fn("square", ["x"]) as f:
        ...     f.return_(f.x ** 2)
        >>> str(spec)
        'fn square(x) = x^2'
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._declarations: list[Block | s.Import] = []

    def _begin(self, block: Block) -> Block:
        self._declarations.append(block)
        return block

    def model(self, name: str, *arguments: str | Argument, doc: str = "", **defaults: object) -> Block:
        """`model name(arguments)`: `spec.model("net", hidden=128)`.

        >>> spec = Spec()
        >>> with spec.model("line", features=3) as m:
        ...     x = m.input("x", dl.float["batch", m.features])
        ...     m.output("p", x >> dl.dense(1))
        >>> print(spec)
        model line(features = 3) {
            input x: float[batch, features]
            output p = x |> dense(1)
        }
        """
        place, word, given = here(), name_of(name), listed(arguments, defaults)
        return self._begin(Block(lambda body: s.Model(place, word, place, commented(doc), given, body)))

    def layer(
        self, name: str, arguments: Arguments = (), flow: Arguments = (), *, returns: object = None, doc: str = ""
    ) -> Block:
        """`layer name(arguments)(flow) -> returns`: what configures it, then what flows through it.

        >>> spec = Spec()
        >>> with spec.layer("twice", ["size"], ["x"], doc="Two layers of one size.") as f:
        ...     f.return_(f.x >> dl.dense(f.size) >> dl.dense(f.size))
        >>> print(spec)
        # Two layers of one size.
        layer twice(size)(x) = x |> dense(size) |> dense(size)
        """
        return self._begin(layer(name, arguments, flow, returns, doc))

    def fn(self, name: str, arguments: Arguments = (), *, returns: object = None, doc: str = "") -> Block:
        """`fn name(arguments) -> returns`.

        >>> spec = Spec()
        >>> with spec.fn("cube", ["x"]) as f:
        ...     f.return_(f.x**3)
        >>> print(spec)
        fn cube(x) = x^3
        """
        return self._begin(function(name, arguments, returns, doc))

    def derivative(self, name: str, arguments: Arguments = (), *, doc: str = "") -> Block:
        """`derivative name(arguments)`: what flows back through the fn of that name.

        >>> spec = Spec()
        >>> with spec.fn("rounded", ["x"]) as f:
        ...     f.return_(dl.round(f.x))
        >>> with spec.derivative("rounded", ["g", "y", "x"]) as f:
        ...     f.return_(f.g)
        >>> print(str(spec).splitlines()[-1])
        derivative rounded(g, y, x) = g
        """
        place, word, given = here(), name_of(name), listed(arguments)
        return self._begin(Block(lambda body: s.Derivative(place, word, place, commented(doc), given, body)))

    def optimizer(self, name: str, arguments: Arguments = (), flow: Arguments = (), *, doc: str = "") -> Block:
        """`optimizer name(arguments)(flow)`, an update rule.

        >>> spec = Spec()
        >>> with spec.optimizer("descent", ["lr"], ["p", "g"]) as f:
        ...     f.p <<= f.p - f.lr * f.g
        >>> print(spec)
        optimizer descent(lr)(p, g) {
            p <- p - lr * g
        }
        """
        place, word, first, second = here(), name_of(name), listed(arguments), listed(flow)
        return self._begin(Block(lambda body: s.Optimizer(place, word, place, commented(doc), first, body, second)))

    def distribution(self, name: str, arguments: Arguments = (), flow: Arguments = (), *, doc: str = "") -> Block:
        """`distribution name(arguments)(flow)`.

        >>> spec = Spec()
        >>> with spec.distribution("unit_normal", [], ["x"]) as f:
        ...     f.return_(-0.5 * f.x**2 - 0.918938533)
        >>> print(spec)
        distribution unit_normal()(x) {
            return -0.5 * x^2 - 0.918938533
        }
        """
        place, word, first, second = here(), name_of(name), listed(arguments), listed(flow)
        return self._begin(Block(lambda body: s.Distribution(place, word, place, commented(doc), first, body, second)))

    def train(
        self, name: str | None = None, *arguments: str | Argument, title: str | None = None, **defaults: object
    ) -> Train:
        """`train name "title" (arguments)`: how the model of that name is trained.

        >>> spec = Spec()
        >>> with spec.train("line", lr=0.1) as t:
        ...     t.minimize(dl.loss, using=dl.adam(t.lr))
        ...     t.epochs = 30
        >>> print(spec)
        train line(lr = 0.1) {
            minimize loss using adam(lr)
            epochs: 30
        }
        """
        place, given = here(), listed(arguments, defaults)
        word = None if name is None else name_of(name)
        said = None if title is None else text_of(title, place).value
        block = Train(lambda body: s.Train(place, word, place, said, place, given, body))
        self._declarations.append(block)
        return block

    def import_(self, what: str, alias: str | None = None) -> None:
        """`import "blocks.dl" as alias` of a file, or `import std.layers`.

        >>> spec = Spec()
        >>> spec.import_("blocks.dl", alias="blocks")
        >>> print(spec)
        import "blocks.dl" as blocks
        """
        place = here()
        path = text_of(what, place).value if what.endswith(".dl") else None
        module = None if path is not None else tuple(name_of(part, part=True) for part in what.split("."))
        self._declarations.append(s.Import(place, path, module, None if alias is None else name_of(alias)))

    # --- what it says

    @property
    def tree(self) -> s.File:
        """The syntax tree, whose places are those of the Python that states it.

        >>> type(spec.tree).__name__, len(spec.tree.declarations)
        ('File', 1)
        """
        return s.File(NOWHERE, tuple(d._tree() if isinstance(d, Block) else d for d in self._declarations))

    def __str__(self) -> str:
        return unparse(self.tree).removesuffix("\n")

    def __repr__(self) -> str:
        return f"<dlc.Spec of {len(self._declarations)} declarations>"

    @property
    def source(self) -> Source:
        """The text, which knows where in Python each piece of it is stated.

        >>> print(spec.source.text)
        fn square(x) = x^2
        """
        with deep_recursion():
            tree = self.tree
            source = Source("<spec>", unparse(tree), "spec.dl")
            parsed = parse(source)
            for stated, read in zip_longest(s.walk([tree]), s.walk([parsed])):
                if type(stated) is not type(read):  # such as a name that is a word where it stands
                    place = NOWHERE if stated is None else stated.span
                    raise error("E0148", "the text of the spec is read otherwise than it is stated", place, "from here")
                if stated.span.source is not NOWHERE.source:
                    source.origins[read.span.start, read.span.end] = stated.span.shown
        return source

    def save(self, path: str | Path) -> Path:
        """Writes the text to a `.dl` file. E0739 where it cannot be written.

        >>> spec.save("square.dl").name
        'square.dl'
        """
        target = Path(path)
        write(target, unparse(self.tree))
        return target
