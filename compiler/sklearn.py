"""scikit-learn estimators of specs: they stand in pipelines, grid searches and cross-validation as any other.

    from dlc.sklearn import DLClassifier
    model = DLClassifier("flowers.dl", hyperparameters={"hidden": 32}).fit(X, y)
    model.save("flowers.onnx")          # takes the same rows, in any ONNX tool

The spec has one input and, but for DLTransformer, one target. The sizes that data give are hyperparameters of these
names, where the model has them: `features`, `classes` or `outputs`. Parameters named `center` and `scale` get the mean
and the standard deviation of each column of the training rows, `middle` and `spread` those of the targets; a spec
freezes them. Needs the extra [sklearn].
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from dlc.runtime import CompiledFile, Error, Trainer, metadata
from dlc.runtime.metadata import Batch, Count, Finite, Label, Record, Share, Text, Total, Unfit, Within
from onnx import ModelProto, ValueInfoProto, helper
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, check_random_state, validate_data

from .program import Program, compile

TABLES = files("dlc.specs") / "tables"
KEY = "dlc.sklearn"  # metadata: what an estimator knows beside its file
WEIGHT = "sample_weight"
CLASSES = re.compile(r"\|(b1|O|[iu]1)|[<>]((i|u|f)[248]|U(?P<length>[0-9]{1,8}))")  # types, as NumPy writes them
CHARACTERS = 2**24  # of all classes that are words, each as long as the longest may be: 64 MiB
Plain = bool | Label | Finite | Text | None
Features = Annotated[int, Within(1, 2**24)]  # a row of as many must be no trouble to hold


@dataclass(frozen=True)
class Params:
    """What the constructor of an estimator takes, as JSON has it."""

    spec: Text | None
    hyperparameters: dict[str, Plain | tuple[Plain | tuple[Plain, ...], ...]] | None
    epochs: Count | None
    batch: Batch | None
    validation: Share | Literal[False] | Text | None
    precision: Literal["float32", "float64", "float16", "bfloat16", "mixed"]
    random_state: Annotated[int, Within(0, 2**32 - 1)] | None


@dataclass(frozen=True)
class Kept:
    """What the file of an estimator says of it: the arguments of its constructor, and what a fit found."""

    params: Annotated[dict[str, Any], metadata.Kept(Params)]
    features: Features
    names: tuple[Text, ...] | None
    updates: Total
    history: Annotated[list[Any], metadata.Kept(list[Record])]
    classes: list[Any] | None = None
    dtype: str | None = None  # of the classes, as NumPy writes it
    flat: bool | None = None  # of a regressor: whether its targets were float[rows]


class NotOfEstimator(Error, ValueError):
    """E0703: a file that is not of this estimator. A ValueError too, as scikit-learn's own refusals are."""


class _Estimator(BaseEstimator):
    """What the three have in common. `spec`: a path or text, None for the one of `specs/tables`; `hyperparameters`: of
    its model and train block; `epochs`, `batch`, `validation`: as of `Trainer.fit`; `precision`: of the file, by
    default that of scikit-learn's own estimators; `random_state`: the seed of start values, draws and the order of
    rows, None for the spec's."""

    _name = ""  # of the spec that is taken where none is given
    _kind = ""  # in words
    _told_of: frozenset[str] = frozenset()  # what `_told` says

    def __init__(
        self,
        spec: str | os.PathLike[str] | None = None,
        hyperparameters: dict[str, Any] | None = None,
        epochs: int | None = None,
        batch: int | str | None = None,
        validation: float | None = None,
        precision: str = "float64",
        random_state: Any = None,
    ) -> None:
        self.spec, self.hyperparameters = spec, hyperparameters
        self.epochs, self.batch, self.validation = epochs, batch, validation
        self.precision, self.random_state = precision, random_state

    # --- parameters

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Those of the constructor and, where `deep`, each hyperparameter as `hyperparameters__NAME`.

        >>> model.get_params()["epochs"]
        5
        """
        found: dict[str, Any] = super().get_params(deep)
        if deep and isinstance(self.hyperparameters, dict):
            found |= {f"hyperparameters__{name}": value for name, value in (self.hyperparameters or {}).items()}
        return found

    def set_params(self, **params: Any) -> Self:
        """Sets them; `hyperparameters__NAME` is one hyperparameter, which a search may vary.

        >>> model = model.set_params(hyperparameters__lr=1e-3)
        """
        prefix = "hyperparameters__"
        super().set_params(**{name: value for name, value in params.items() if not name.startswith(prefix)})
        own = {name.removeprefix(prefix): value for name, value in params.items() if name.startswith(prefix)}
        if own:
            self.hyperparameters = {**(self.hyperparameters or {}), **own}
        return self

    # --- fitting

    def _train(
        self, x: np.ndarray, y: np.ndarray | None, sizes: dict[str, int], others: Mapping[str, object] | None = None
    ) -> None:
        """Compiles the spec for these sizes and trains it; `y` as the target has it, `others` by name."""
        spec = str(TABLES / f"{self._name}.dl") if self.spec is None else os.fspath(self.spec)
        known = _hyperparameters(spec)
        more = {name: np.asarray(rows) for name, rows in (others or {}).items() if rows is not None}
        check_consistent_length(x, *more.values())
        given = {**{name: size for name, size in sizes.items() if name in known}, **(self.hyperparameters or {})}
        if WEIGHT in more and "weighed" in known:
            given["weighed"] = True
        seed = None
        if self.random_state is not None:
            seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        program = _compiled(spec, tuple(sorted(given.items())), self.precision)
        trainer = Trainer(program, device="cpu", seed=seed)
        given_by = _columns(trainer.file.main.output)
        if given_by not in (None, sizes.get("classes", given_by)):
            raise ValueError(
                f"the first output of the spec has {given_by} columns, and the data have {sizes['classes']} classes: "
                "give it `classes` columns, a hyperparameter of the model"
            )
        taken = [*trainer.file.signature.inputs, *trainer.file.signature.targets]
        data = {trainer.file.signature.inputs[0].name: x}
        if y is not None:
            data[trainer.file.signature.targets[0].name] = y
        for name in more:
            if name in data or name not in [one.name for one in taken]:
                wanted = ", ".join(one.name for one in taken if one.name not in data) or "nothing"
                raise TypeError(f"fit got `{name}`; beside X and y the spec takes {wanted}")
        data |= more
        weights = more.get(WEIGHT)
        for (center, scale), values in ((("center", "scale"), x), (("middle", "spread"), y)):
            if values is not None and center in trainer.parameters and scale in trainer.parameters:
                mean = np.average(values, axis=0, weights=weights)
                spread = np.sqrt(np.average((values - mean) ** 2, axis=0, weights=weights))
                trainer.parameters[center] = np.reshape(mean, trainer.parameters[center].shape)
                trainer.parameters[scale] = np.reshape(np.where(spread > 0, spread, 1), trainer.parameters[scale].shape)
        history = trainer.fit(data, validation=self.validation, epochs=self.epochs, batch=self.batch)
        self.history_ = [dict(line) for line in history.epochs]
        self.n_iter_ = trainer.progress.step
        self._file = trainer.file.holding(dict(trainer.state), trainer.progress.step)
        self._trainer = trainer
        self._fitted()

    def _fitted(self) -> None:
        """What else is known after a fit."""

    def _predicted(self, x: Any) -> np.ndarray:
        """The spec's first output for rows."""
        check_is_fitted(self)
        return self._run(validate_data(self, x, reset=False, dtype=self._dtype))

    def _run(self, x: np.ndarray) -> np.ndarray:
        if self.__dict__.get("_trainer") is None:  # of a copy that was sent to this process
            self._trainer = Trainer(self._file, device="cpu", start="file")
        found = self._trainer.predict({self._file.signature.inputs[0].name: x})
        return next(iter(found.values()))

    @property
    def _dtype(self) -> type:
        return np.float64 if self.precision == "float64" else np.float32

    def __sklearn_is_fitted__(self) -> bool:
        return "_file" in self.__dict__

    # --- files

    def __getstate__(self) -> dict[str, Any]:
        """A copy holds the compiled file as bytes: sessions belong to a process."""
        state = dict(super().__getstate__())
        state.pop("_trainer", None)
        if "_file" in state:
            state["_file"] = self._file.model.SerializeToString()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if isinstance(self.__dict__.get("_file"), bytes):
            self._file = CompiledFile.from_bytes(self.__dict__["_file"])

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the trained `.onnx` file, which takes the rows that `predict` takes; `load` makes the estimator of it.

        >>> model.save("model.onnx").name
        'model.onnx'
        """
        check_is_fitted(self)
        names = getattr(self, "feature_names_in_", None)
        told = Kept(
            {name: _said(value) for name, value in self.get_params(deep=False).items()},
            self.n_features_in_,
            None if names is None else tuple(map(str, names)),
            self.n_iter_,
            self.history_,
            **self._told(),
        )
        held = ModelProto()
        held.CopyFrom(self._file.model)
        helper.set_model_props(held, {**self._file.metadata, KEY: json.dumps(asdict(told))})
        CompiledFile(held, check=False).save(path)
        return Path(path)

    def _told(self) -> dict[str, Any]:
        """What a file says of it beside what all say."""
        return {}

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The fitted estimator that `save` wrote. Raises `Error` E07xx for what is no such file; E0703, of the file of
        another estimator or one that contradicts itself, is a ValueError too.

        >>> type(model).load("model.onnx").n_features_in_ == model.n_features_in_
        True
        """
        file = CompiledFile.load(path)
        if KEY not in file.metadata:
            raise NotOfEstimator(
                "E0703",
                f"`{path}` was not written by `save` of an estimator",
                where=str(path),
                notes=[f"found no metadata `{KEY}`", f"expected what `{cls.__name__}.save` writes"],
                help=f"dlc.Trainer({str(path)!r}) predicts",
            )
        try:
            told = metadata.build(_parsed(file.metadata[KEY]), Kept)
            params = metadata.build(told.params, Params)
            own = {one.name for one in fields(Params)}  # those of a class derived from these are its own concern
            others = {name: told.params[name] for name in cls._get_param_names() if name in told.params.keys() - own}
            made = cls(**{name: getattr(params, name) for name in own if name in cls._get_param_names()}, **others)
            made._know(told, file)
        except Unfit as problem:
            raise NotOfEstimator(
                "E0703",
                f"`{path}` is not of a {cls._kind}",
                where=str(path),
                notes=[f"the metadata `{KEY}` says what it is", *problem.notes()],
                help="load it with the class whose `save` wrote it, or fit and save the estimator again",
            ) from None
        made._file = CompiledFile(_without(file.model), check=False)
        made._fitted()
        return made

    def _know(self, told: Kept, file: CompiledFile) -> None:
        """Takes back what `save` said, held to the file itself. Raises `Unfit`."""
        width = _columns(file.main.input)
        _same("features", told.features, told.features if width is None else width, "columns of the input")
        if told.names is not None:
            _same("names", list(told.names), told.features, "names, one for each feature")
            self.feature_names_in_ = np.array(told.names, object)
        _same("updates", told.updates, file.updates, "updates, as the file has done")
        for name in {"classes", "dtype", "flat"} - self._told_of:
            if getattr(told, name) is not None:
                raise Unfit(name, getattr(told, name), f"null: a {self._kind} has none")
        self.n_features_in_, self.n_iter_, self.history_ = told.features, told.updates, told.history


class DLClassifier(ClassifierMixin, _Estimator):
    """A classifier. The target of the spec is `int[batch]`, its first output the probabilities of the classes.

    >>> from dlc.sklearn import DLClassifier
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = DLClassifier(epochs=5, random_state=0).fit(X, y)
    >>> model.predict(X[:3]), model.predict_proba(X[:3]).shape
    (array([0, 0, 0]), (3, 3))
    """

    _name = "classifier"
    _kind = "classifier"
    _told_of = frozenset({"classes", "dtype"})

    def fit(self, X: Any, y: Any, **others: Any) -> Self:
        """Trains on rows X, float[rows, features], and their classes y, [rows]: numbers or words. `others` are further
        inputs and targets of the spec, by name, one of each for a row: `sample_weight=` where it has one, as that of
        `specs/tables` has, float[rows]. Raises `dlc.Error` for a spec or settings that are wrong, ValueError for data
        as scikit-learn's own estimators do, TypeError for what the spec does not take."""
        X, y = validate_data(self, X, y, dtype=self._dtype)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"a classifier needs at least two classes, and the data have one class: {self.classes_[0]!r}"
            )
        self._train(X, labels, {"features": X.shape[1], "classes": len(self.classes_)}, others)
        return self

    def _told(self) -> dict[str, Any]:
        return {"classes": self.classes_.tolist(), "dtype": self.classes_.dtype.str}

    def _know(self, told: Kept, file: CompiledFile) -> None:
        super()._know(told, file)
        columns = _columns(file.main.output)
        if told.classes is None or len(told.classes) < 2:
            raise Unfit("classes", told.classes, "a list of two classes or more")
        _same("classes", told.classes, len(told.classes) if columns is None else columns, "classes, as the output has")
        self.classes_ = _classes(told.classes, told.dtype)

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, in the order of `classes_`: float[rows, classes]."""
        return self._predicted(X)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row."""
        best = self._predicted(X).argmax(axis=1)
        return np.asarray(self.classes_[best])


class DLRegressor(RegressorMixin, _Estimator):
    """A regressor. The target of the spec is `float[batch, outputs]`, its first output the prediction.

    >>> import numpy as np
    >>> from dlc.sklearn import DLRegressor
    >>> X = np.linspace(0, 1, 50).reshape(-1, 1)
    >>> model = DLRegressor(epochs=5, random_state=0).fit(X, 2 * X[:, 0])
    >>> model.predict(X[:3]).shape
    (3,)
    """

    _name = "regressor"
    _kind = "regressor"
    _told_of = frozenset({"flat"})

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, **others: Any) -> Self:
        """Trains on rows X, float[rows, features], and numbers y, float[rows] or float[rows, outputs]; `others` and
        what is raised as of `DLClassifier.fit`."""
        X, y = validate_data(self, X, y, dtype=self._dtype, multi_output=True, y_numeric=True)
        self._flat = np.ndim(y) == 1
        wanted: np.ndarray = np.asarray(y, self._dtype).reshape(len(y), -1)
        self._train(X, wanted, {"features": X.shape[1], "outputs": wanted.shape[1]}, others)
        return self

    def _told(self) -> dict[str, Any]:
        return {"flat": self._flat}

    def _know(self, told: Kept, file: CompiledFile) -> None:
        super()._know(told, file)
        if told.flat is None:
            raise Unfit("flat", None, "true or false")
        self._flat = told.flat

    def predict(self, X: Any) -> np.ndarray:
        """float[rows], or float[rows, outputs] where the targets were."""
        found = self._predicted(X)
        return found[:, 0] if self._flat else found


class DLTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, _Estimator):
    """A transformer: the first output of a spec without a target, such as the code of an autoencoder.

    >>> import numpy as np
    >>> from dlc.sklearn import DLTransformer
    >>> X = np.random.default_rng(0).normal(size=(50, 4))
    >>> model = DLTransformer(hyperparameters={"code": 2}, epochs=5, random_state=0).fit(X)
    >>> model.transform(X).shape
    (50, 2)
    """

    _name = "autoencoder"
    _kind = "transformer"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # it is that of the file
        return tags

    def fit(self, X: Any, y: Any = None) -> Self:
        """`y` is not used."""
        X = validate_data(self, X, dtype=self._dtype)
        self._train(X, None, {"features": X.shape[1]})
        return self

    def _fitted(self) -> None:
        self._n_features_out = math.prod(self._run(np.zeros((1, self.n_features_in_), self._dtype)).shape[1:])

    def transform(self, X: Any) -> np.ndarray:
        """The first output for each row."""
        return self._predicted(X)


@lru_cache(maxsize=64)
def _compiled(spec: str, hyperparameters: tuple[tuple[str, Any], ...], precision: str) -> Program:
    """Compiled once for all fits of a search, which share sizes and settings."""
    return compile(spec, precision=precision, set=dict(hyperparameters))


@lru_cache(maxsize=64)
def _hyperparameters(spec: str) -> frozenset[str]:
    """The names of the model's hyperparameters."""
    return frozenset(compile(spec).settings["model"])


def _said(value: Any) -> Any:
    """A parameter of the constructor as JSON has it; a generator of numbers is left out."""
    if isinstance(value, dict):
        return {str(name): _said(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_said(one) for one in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value if isinstance(value, str | int | float | bool) else None


def _parsed(text: str) -> object:
    """JSON as Python's values. Raises `Unfit`."""
    try:
        return metadata.parse(text)
    except ValueError:
        raise Unfit("", text, "JSON") from None


def _columns(ports: Sequence[ValueInfoProto]) -> int | None:
    """How many numbers each row of the first input or output has, by the graph itself; None where that is open."""
    if not ports:
        raise Unfit("", None, "a file with an input and an output")
    sizes = ports[0].type.tensor_type.shape.dim[1:]
    return math.prod(size.dim_value for size in sizes) if all(size.HasField("dim_value") for size in sizes) else None


def _same(place: str, found: Any, wanted: int, what: str) -> None:
    """Raises `Unfit` where a number, or the length of a list, is not the one that the file has."""
    if (len(found) if isinstance(found, list) else found) != wanted:
        raise Unfit(place, found, f"{wanted} {what}")


def _classes(values: list[Any], dtype: str | None) -> np.ndarray:
    """The classes of a file in their type, which is one of a few, of bounded size. Raises `Unfit`."""
    kind = CLASSES.fullmatch(dtype or "")
    length = int(kind["length"] or 0) if kind else 0
    if dtype is None or kind is None or length * len(values) > CHARACTERS:
        raise Unfit("dtype", dtype, "a type that classes have in NumPy, such as `<i8` or `<U10`")
    made = np.dtype(dtype)
    form: Any = {
        "b": tuple[bool, ...],
        "U": tuple[Text, ...],
        "O": tuple[Text, ...] | tuple[bool | Label | Finite, ...],
    }.get(made.kind)
    if made.kind in "iu":
        form = tuple[Annotated[int, Within(int(np.iinfo(made).min), int(np.iinfo(made).max))], ...]
    elif made.kind == "f":
        form = tuple[Annotated[float, Within(float(np.finfo(made).min), float(np.finfo(made).max))], ...]
    held = metadata.build(values, form, "classes")
    if made.kind == "U" and max(map(len, held)) > length:
        raise Unfit("dtype", dtype, f"room for words of {max(map(len, held))} characters")
    found = np.array(held, made)
    if not (found[1:] > found[:-1]).all():
        raise Unfit("classes", values, "classes in ascending order, each once")
    return found


def _without(model: ModelProto) -> ModelProto:
    """The file without what `save` put into it."""
    kept = {entry.key: entry.value for entry in model.metadata_props if entry.key != KEY}
    helper.set_model_props(model, kept)
    return model
