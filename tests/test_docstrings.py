"""Every public name says what it is, and is shown in an example that runs as it stands, from a folder that holds the
specs: in its own docstring or in another of its class. The examples of a method go on from those of its class."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dlc
import dlc.runtime
import dlc.spec
import pytest

SPECS = Path(__file__).parent.parent / "specs"
# What programs are given, by module: each name, and the library that it needs.
PUBLIC = {
    "dlc": [name for name in dlc.__all__ if name != "__version__"],
    "dlc.runtime": dlc.runtime.__all__,
    "dlc.runtime.callbacks": ["Log", "Start"],
    "dlc.runtime.describe": ["describe"],
    "dlc.runtime.loggers": ["CSV", "Logger", "MLflow", "TensorBoard", "Updates", "WandB"],
    "dlc.runtime.trial": ["dry_run", "find_rate", "overfit"],
    "dlc.sklearn": ["DLClassifier", "DLRegressor", "DLTransformer"],
    "dlc.spec": [name for name in dlc.spec.__all__ if name != "dl"],
    "dlc.spec.value": ["Language"],  # what `dl` is
}
NEEDS = {
    "History.plot": "matplotlib",
    "History.to_pandas": "pandas",
    "MLflow": "mlflow",
    "TensorBoard": "tensorboardX",
    "WandB": "wandb",
    "dlc.sklearn": "sklearn",
}
# What modules of the runtime ask of each other, and names that are called for whoever states a subclass.
INNER = {
    "Trainer": "chooser columns epoch_figures evaluator inputs own_seed predictor slots stage stepper "
    "together_evaluator",
    "Program": "without_start_values",
    "CompiledFile": "columns ensemble evaluation holding leaves main parts sources stages supplied turns",
    "Stream": "each groups",
    "Callback": "before_again of_members on_member on_members",
    "Logger": "close on_end on_epoch on_start open",
}


def held(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def members(what: Any) -> Iterator[str]:
    """The methods and properties that a class states itself, or takes from a base of ours that is not public; those
    that it does otherwise than a public base are told there."""
    above = {name for base in what.__mro__[1:] if not base.__name__.startswith("_") for name in vars(base)}
    for base in what.__mro__:
        if base is what or (base.__module__.startswith("dlc.") and base.__name__.startswith("_")):
            for name, one in vars(base).items():
                if not getattr(one, "__module__", what.__module__).startswith("dlc."):
                    continue  # another library put it there
                called = inspect.isroutine(one) or isinstance(one, classmethod | staticmethod)
                if (
                    not name.startswith("_")
                    and name not in above
                    and (called or isinstance(one, property) or hasattr(one, "func"))
                ):
                    yield name


EVERY = [(module, name) for module, names in PUBLIC.items() for name in names]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("examples")
    shutil.copytree(SPECS, made / "specs", ignore=shutil.ignore_patterns("std", "images", "__pycache__"))
    return made


@pytest.mark.parametrize(("module", "name"), [pytest.param(*one, id=".".join(one)) for one in EVERY])
def test_examples_run_and_show_every_name(
    module: str, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wanted in (NEEDS.get(name), NEEDS.get(module)):
        if wanted is not None and find_spec(wanted) is None:
            pytest.skip(f"needs {wanted}")
    monkeypatch.chdir(folder)
    what, known = held(module, name), {"dlc": dlc}
    own = _example(what, name, known)
    said, told = _failures(own, known), list[str]()
    assert (inspect.getdoc(what) or "").strip() and own.examples, name
    examples = [own]
    for member in members(what) if inspect.isclass(what) else ():
        wanted = NEEDS.get(f"{name}.{member}")
        if member in INNER.get(name, "").split() or (wanted is not None and find_spec(wanted) is None):
            continue
        assert (inspect.getdoc(getattr(what, member)) or "").strip(), f"{name}.{member} says nothing"
        examples.append(_example(inspect.getattr_static(what, member), f"{name}.{member}", dict(known)))
        said += _failures(examples[-1], dict(known))
        told.append(member)
    assert not said, "".join(said)
    shown = set(re.findall(r"\w+", "".join(one.source for example in examples for one in example.examples)))
    assert set(told) - shown == set(), "these are in no example"


def _example(what: Any, name: str, known: dict[str, Any]) -> doctest.DocTest:
    what = getattr(what, "__func__", None) or getattr(what, "func", None) or getattr(what, "fget", None) or what
    return doctest.DocTestParser().get_doctest(inspect.getdoc(what) or "", known, name, None, None)


def _failures(example: doctest.DocTest, known: dict[str, Any]) -> list[str]:
    said: list[str] = []
    example.globs = known
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    doctest.DocTestRunner(optionflags=flags).run(example, out=said.append, clear_globs=False)
    return said


def test_the_names_are_all_that_docs_tell() -> None:
    """No name of a list is left over, and a name that goes into `__all__` is asked for an example."""
    assert {name for _, name in EVERY} >= {*dlc.__all__, *dlc.runtime.__all__} - {"__version__"}
    for name, inner in INNER.items():
        classes = [held(module, known) for module, known in EVERY if known == name]
        assert set(inner.split()) <= {*dir(classes[0])}, name
