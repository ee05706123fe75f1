"""Where names come from: the spec, what it imports, and the standard library, of which only the files
that a spec uses are read and parsed."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path

from ..diagnostics import CompileError, Problems, did_you_mean, error
from ..source import Source, Span
from ..syntax import tree as syntax
from ..syntax.parser import parse, read_source
from .values import BUILTINS


def standard_folder() -> Path:
    """The folder of the standard library, whether installed or used from a checkout."""
    import dlc.specs

    return Path(next(iter(dlc.specs.__path__))) / "std"


@cache
def standard_index() -> dict[str, Path]:
    """Which file of the library defines a name: found by the beginnings of lines, without parsing."""
    index: dict[str, Path] = {}
    for path in sorted(standard_folder().rglob("*.dl")):
        for match in re.finditer(r"^(?:fn|layer|optimizer|distribution)[ \t]+(\w+)", path.read_text("utf-8"), re.M):
            index[match.group(1)] = path
    return index


@lru_cache(maxsize=256)
def _standard_file(name: str, text: str) -> tuple[Source, syntax.File]:
    """A file of the library is parsed once in a process, for every spec that uses it: trees do not change."""
    source = Source(name, text)
    return source, parse(source)


@dataclass(eq=False)
class Unit:
    """One parsed file with the declarations that its text can see."""

    source: Source
    standard: bool
    declarations: dict[str, syntax.Declaration] = field(default_factory=dict)
    derivatives: dict[str, syntax.Derivative] = field(default_factory=dict)  # of fns, by their names
    imports: list[tuple[str | None, Unit]] = field(default_factory=list)
    trains: list[syntax.Train] = field(default_factory=list)

    def find(self, name: str) -> tuple[syntax.Declaration, Unit] | None:
        """A declaration of this file or of what it imports; files may import each other."""
        stack, seen = [self], {id(self)}
        while stack:
            unit = stack.pop()
            if name in unit.declarations:
                return unit.declarations[name], unit
            fresh = [other for alias, other in unit.imports if alias is None and id(other) not in seen]
            seen.update(id(other) for other in fresh)
            stack += reversed(fresh)
        return None

    def visible(self) -> list[str]:
        """The names it can see, its own first."""
        names = list(self.declarations)
        for _, unit in self.imports:
            names += list(unit.declarations)
        return names


class Library:
    """The files of one compilation."""

    def __init__(self, problems: Problems, root: Path | None) -> None:
        self.problems = problems
        self.root = root  # imports stay under this folder; None when the spec is a text without a place
        self.units: dict[str, Unit] = {}
        self._standard: dict[Path, Unit] = {}
        self._files: dict[Path, Unit] = {}

    @property
    def sources(self) -> dict[str, str]:
        """Every text that was read, by the name it is known under."""
        return {unit.source.stored: unit.source.text for unit in self.units.values()}

    def load(
        self, source: Source, standard: bool = False, folder: Path | None = None, tree: syntax.File | None = None
    ) -> Unit:
        """Parses a source, where its tree is not given, and what it imports."""
        unit = Unit(source, standard)
        self.units[source.name] = unit
        if folder is not None:
            self._files.setdefault((folder / Path(source.name).name).resolve(), unit)
        for declaration in (tree or parse(source)).declarations:
            if isinstance(declaration, syntax.Train):
                unit.trains.append(declaration)
            elif isinstance(declaration, syntax.Import):
                self._import(unit, declaration, folder)
            elif isinstance(declaration, syntax.Derivative):
                first = unit.derivatives.setdefault(declaration.name, declaration)
                if first is not declaration:
                    self.problems.add(
                        error(
                            "E0203",
                            f"the derivative of `{declaration.name}` is defined twice",
                            declaration.name_span,
                            "here again",
                            more=[(first.name_span, "first here")],
                            help="keep one of them",
                        )
                    )
            else:
                before = unit.declarations.get(declaration.name)
                if before is not None:
                    self.problems.add(
                        error(
                            "E0203",
                            f"`{declaration.name}` is defined twice",
                            declaration.name_span,
                            "here again",
                            more=[(before.name_span, "first here")],
                            help="give one of them another name",
                        )
                    )
                elif (
                    not standard
                    and not isinstance(declaration, syntax.Model)
                    and (declaration.name in standard_index() or declaration.name in BUILTINS)
                ):
                    self.problems.warn(
                        error(
                            "W0202",
                            f"`{declaration.name}` hides the definition of the standard library",
                            declaration.name_span,
                            "this one is used in this file",
                            help="choose another name, or ignore this",
                        )
                    )
                unit.declarations.setdefault(declaration.name, declaration)
        for rule in unit.derivatives.values():
            self._check_rule(unit, rule)
        return unit

    def _check_rule(self, unit: Unit, rule: syntax.Derivative) -> None:
        """E0255 if the file has no fn of that name, E0256 if the rule does not take g, y and the fn's arguments."""
        fn = unit.declarations.get(rule.name)
        if not isinstance(fn, syntax.Fn):
            fns = [name for name, other in unit.declarations.items() if isinstance(other, syntax.Fn)]
            self.problems.add(
                error(
                    "E0255",
                    f"this file has no `fn {rule.name}`",
                    rule.name_span,
                    "its derivative is given here",
                    help=did_you_mean(rule.name, fns) or "a derivative belongs in the file of its fn",
                )
            )
            return
        own, wanted = [p.name for p in rule.configuration], [p.name for p in fn.configuration]
        bare = not any(p.default or p.type or p.within for p in rule.configuration)
        if own[2:] != wanted or len(set(own)) < len(own) or not bare:
            self.problems.add(
                error(
                    "E0256",
                    f"the derivative of `{rule.name}` takes what flows back, the result, and the fn's arguments",
                    rule.name_span,
                    f"it takes ({', '.join(own)})",
                    more=[(fn.name_span, f"takes ({', '.join(wanted)})")],
                    help=f"write `derivative {rule.name}({', '.join(['g', 'y', *wanted])})`: types and defaults "
                    "come from the fn",
                )
            )

    def _import(self, unit: Unit, statement: syntax.Import, folder: Path | None) -> None:
        try:
            imported = self._imported(statement, folder)
        except CompileError as problem:
            self.problems.add(problem)
            return
        if imported is not None:
            unit.imports.append((statement.alias, imported))

    def _imported(self, statement: syntax.Import, folder: Path | None) -> Unit | None:
        if statement.module is not None:
            if statement.module[0] != "std" or len(statement.module) < 2:
                raise error(
                    "E0205",
                    f"there is no module `{'.'.join(statement.module)}`",
                    statement.span,
                    "a module without quotes is one of the library's",
                    help='write `import std.NAME` or `import "file.dl"`',
                )
            path = standard_folder().joinpath(*statement.module[1:]).with_suffix(".dl")
            if not path.is_file():
                known = sorted(
                    ".".join(p.relative_to(standard_folder()).with_suffix("").parts)
                    for p in standard_folder().rglob("*.dl")
                )
                raise error(
                    "E0205",
                    f"the standard library has no file `{'.'.join(statement.module[1:])}`",
                    statement.span,
                    "not found",
                    notes=["it has " + ", ".join(known)],
                    help=did_you_mean(".".join(statement.module[1:]), known),
                )
            return self.standard(path)
        assert statement.path is not None
        target = self.below(statement.path, folder, statement.span)
        assert self.root is not None
        name = target.relative_to(self.root.resolve()).as_posix()
        if target in self._files:
            return self._files[target]  # also breaks circles: both files see each other
        if not target.is_file():
            raise error(
                "E0204",
                f'the imported file "{statement.path}" does not exist',
                statement.span,
                "not found",
                notes=[f"looked for {name} beside the main spec"],
            )
        text = read_source(target)
        name = f"./{name}" if name.startswith("std/") else name  # not to be taken for a file of the library
        return self.load(Source(name, text.text), folder=target.parent)

    def below(self, path: str, folder: Path | None, span: Span, *, weights: bool = False) -> Path:
        """The file that an import or a `load:` names, relative to `folder`: below the main spec, whatever links lead to
        it. E0204, E0206, E0207, E0770."""
        what, place = ("weights file", "loaded here") if weights else ("import", "imported here")
        if folder is None or self.root is None:
            raise error(
                "E0206",
                f"a spec given as text cannot {'load weights' if weights else 'import files'}",
                span,
                "no folder to look in",
                help="save the spec as a file and compile that",
            )
        try:
            target = (folder / path).resolve()
            target.is_file()
        except (RuntimeError, OSError, ValueError) as problem:
            if isinstance(problem, RuntimeError) or getattr(problem, "errno", None) == errno.ELOOP:  # Path.resolve
                raise error(
                    "E0770",
                    f'the {what} "{path}" is a link that leads back to itself',
                    span,
                    place,
                    help=f"{'load' if weights else 'import'} the file itself",
                ) from None
            raise error("E0204", "no file can have this name", span, place) from None  # too long, or a bad character
        if not target.is_relative_to(self.root.resolve()):
            raise error(
                "E0207",
                f'the {what} "{path}" leaves the folder of the spec',
                span,
                f"{what}s stay inside the folder of the main spec and below",
                help="move the file below the spec, or the spec above the file",
            )
        if weights and not target.is_file():
            raise error(
                "E0204",
                f'the weights file "{path}" does not exist',
                span,
                "not found",
                notes=[f"looked for {target.relative_to(self.root.resolve()).as_posix()} beside the spec"],
                help="the path counts from the folder of the spec",
            )
        return target

    def standard(self, path: Path) -> Unit:
        """A parsed file of the standard library."""
        unit = self._standard.get(path)
        if unit is None:
            name = "std/" + path.relative_to(standard_folder()).as_posix()
            source, tree = _standard_file(name, read_source(path).text)
            unit = self._standard[path] = self.load(source, standard=True, tree=tree)
        return unit

    def find(self, name: str, unit: Unit) -> tuple[syntax.Declaration, Unit] | None:
        """A declaration by name: of the file, of its imports, of the standard library."""
        found = unit.find(name)
        if found is None and name in standard_index():
            found = self.standard(standard_index()[name]).find(name)
        return found

    def qualified(self, alias: str, unit: Unit) -> Unit | None:
        """The unit imported `as alias`."""
        return next((imported for name, imported in unit.imports if name == alias), None)

    def known(self, unit: Unit) -> list[str]:
        return unit.visible() + list(standard_index())


def train_blocks(unit: Unit, model: syntax.Model) -> list[syntax.Train]:
    """The train blocks of a model, in their order: those with its name, or without one in a file with one model."""
    models = [d.name for d in unit.declarations.values() if isinstance(d, syntax.Model)]
    for block in unit.trains:
        if block.name is None and len(models) > 1:
            raise error(
                "E0208",
                f"the file holds {len(models)} models: which one is trained here?",
                block.span,
                "a block without a name",
                notes=["models are " + ", ".join(models)],
                help=f"write `train {models[0]} {{ ... }}`",
            )
        if block.name is not None and block.name not in models:
            raise error(
                "E0209",
                f"there is no model `{block.name}`",
                block.name_span,
                "trained here",
                notes=["models are " + ", ".join(models)],
                help=did_you_mean(block.name, models),
            )
    blocks = [block for block in unit.trains if block.name in (model.name, None)]
    titled: dict[str, syntax.Train] = {}
    for block in blocks:
        if block.title is None:
            continue
        if not block.title.strip() or block.title.strip().isdigit():
            raise error(
                "E0501",
                "a train block is called by words: numbers are the places of blocks",
                block.title_span,
                "this is " + ("a number" if block.title.strip() else "empty"),
                help=f'`train {model.name} "head only" {{ ... }}`; without a title it is known by its place',
            )
        if block.title in titled:
            raise error(
                "E0501",
                f'two train blocks of `{model.name}` are called "{block.title}"',
                block.title_span,
                "again here",
                more=[(titled[block.title].title_span, "first here")],
                help="`--only` could not tell them apart: rename one, or leave its title out",
            )
        titled[block.title] = block
    return blocks
