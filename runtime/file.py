"""The compiled file: graphs, bindings, metadata and start values. docs/file-format.md is the contract."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, TrainingInfoProto, ValueInfoProto, numpy_helper

from . import altered, checksum, external, graphs, metadata, observed, repeats, structure
from .column import Columns
from .failures import Error
from .frame import Frame, parsed
from .left import TOGETHER, Left, initializers, lightened, whole
from .memory import refuse_endless
from .write import write
from .written import unwritable

if TYPE_CHECKING:
    from .columns import Table

FORMAT, LANGUAGE = 3, 1  # the newest that this runtime reads
LARGE = 1_500_000_000  # bytes of tensors in one file; beyond it they go beside the file
TRAINED = "dlc.trained"  # metadata: a trainer wrote these values, so training goes on from them


Form = TypeVar("Form")


@dataclass(frozen=True)
class Slot:
    """One tensor of state: `name` is its path, unique in the file; `tensor` its name in the graph.

    `part` is the index of the training_info that holds it, None for the main graph.
    """

    name: str
    tensor: str
    part: int | None
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """One `TrainingInfoProto`: the graphs and what is bound to what."""

    index: int
    updates: Mapping[str, str]  # state -> output of algorithm
    initials: Mapping[str, str]  # state -> output of initialization
    frame: Frame = field(repr=False, compare=False)

    @property
    def algorithm(self) -> GraphProto:
        found: GraphProto = self.frame().training_info[self.index].algorithm
        return found

    @property
    def initialization(self) -> GraphProto | None:
        info = self.frame().training_info[self.index]
        return info.initialization if info.HasField("initialization") else None


@dataclass(frozen=True)
class Stage:
    """A train block: the training_infos of its passes, when each is due, and its settings. Most files have one."""

    title: str | None
    parts: tuple[Part, ...]
    turns: tuple[metadata.Turn, ...]
    settings: Mapping[str, Any]
    starts: Mapping[str, str] = field(default_factory=dict)  # state of the optimizer -> the parameter it begins as


class CompiledFile:
    """A `.onnx` file, ours or foreign. Never changed after it is made, so threads may share it.

    >>> from dlc.runtime import CompiledFile
    >>> file = CompiledFile.load(dlc.compile("specs/xor.dl").save("xor.onnx"))
    >>> file.title, file.trained, file.sealed, file.updates
    ('xor', False, True, 0)
    >>> file.hyperparameters, file.settings["epochs"]
    ({'hidden': 8}, 300)
    """

    table: Table | None = None  # of a file whose encodings of columns were taken off (columns.py): the whole

    def __init__(
        self,
        model: ModelProto,
        name: str = "<memory>",
        *,
        check: bool = True,
        stale: Error | None = None,
        left: Left | None = None,
    ) -> None:
        """Takes `model` as it is; `check` runs the strict validator. `stale`: why it cannot be trained, where another
        tool has changed it; `left`: what makes the values of state that it leaves out. Raises `Error` E07xx."""
        self._frame, self.name, self.stale, self._left = Frame(model), name, stale, left or {}
        self.metadata = {entry.key: entry.value for entry in model.metadata_props}
        self.ours = "dlc.format" in self.metadata
        if self.ours:
            self._refuse_newer("dlc.format", FORMAT, "E0712")
            self._refuse_newer("dlc.language", LANGUAGE, "E0713")
        if check:
            from .validate import validate

            validate(self)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        check: bool = True,
        accept: bool = False,
        state: bool = True,
        predicts: bool = False,
    ) -> CompiledFile:
        """Reads a file and the data beside it, and holds them to their checksum.

        `accept`: takes what another tool has altered. `state=False`: the state is not held to it, as it is to be
        replaced (by that of a checkpoint). `predicts`: a training part that no longer fits the main graph or has lost
        its data, as other tools leave it, is not refused but left out, and `stale` says why. Raises `Error` E0710,
        E0711, E0716, E0717, E0755, E0756, E0758 and the validator's.

            >>> file = CompiledFile.load("xor.onnx")
        """
        path = Path(path)
        try:
            refuse_endless(path)
            model = parsed(path.read_bytes(), str(path))
        except OSError as problem:
            raise Error(
                "E0710",
                f"cannot read `{path}`",
                notes=[problem.strerror or str(problem)],
                help="give the path of a .onnx file",
            ) from None
        of = checksum.noted(model) if state and not accept else None
        try:
            external.inline(model, path.parent, str(path), of=of)
        except Error as lost:  # onnx saves a model into another folder without the tensors of its training part
            if not predicts or lost.code != "E0717" or not model.training_info:
                raise
            del model.training_info[:]
            external.inline(model, path.parent, str(path), of=of)
            return cls._whole(model, str(path), check, lost, predicts)
        stale = None if accept else altered.staleness(model, str(path), state=state)
        return cls._whole(model, str(path), check, stale, predicts)

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "<bytes>", *, check: bool = True) -> CompiledFile:
        """The same from bytes, which can have no data beside them.

        >>> CompiledFile.from_bytes(open("xor.onnx", "rb").read()).title
        'xor'
        """
        model = parsed(data, name)
        external.inline(model, None, name)
        return cls._whole(model, name, check, altered.staleness(model, name), False)

    @classmethod
    def _whole(cls, model: ModelProto, name: str, check: bool, stale: Error | None, predicts: bool) -> CompiledFile:
        """The file, or where it is stale or its training part faulty what of it predicts."""
        if stale is not None and not predicts:
            raise stale
        if stale is None:
            try:
                return cls(model, name, check=True)._lightened() if check else cls(model, name, check=False)
            except Error as problem:
                if not model.training_info:
                    raise
                stale = problem
        del model.training_info[:]
        found: CompiledFile | None = None
        with suppress(Error):  # the fault is not one of training
            found = cls(model, name, check=check, stale=stale)
        if found is None or not predicts:
            raise stale if found is None else altered.explained(stale, model)
        return found

    def _lightened(self) -> CompiledFile:
        """The file, whose message is its own, with the large values of its state beside it."""
        if sum(graphs.raw_size(held) or 0 for _, held in initializers(self.frame)) >= TOGETHER:
            model, self._left = lightened(self.frame, {(slot.part, slot.tensor) for slot in self.slots})
            self._frame.replace(model)
        return self

    @classmethod
    def of(cls, program: object) -> CompiledFile:
        """A compiled file from a path, bytes, a `ModelProto` or a program of the compiler.

        >>> CompiledFile.of(dlc.compile("specs/xor.dl")).title
        'xor'
        """
        if isinstance(program, cls):
            return program
        if isinstance(program, ModelProto):
            return cls(program)
        if isinstance(program, bytes):
            return cls.from_bytes(program)
        if isinstance(program, str | os.PathLike):
            return cls.load(program)
        made = getattr(program, "without_start_values", None)
        if callable(made):  # the compiler has checked what it made
            model, left = made()
            found = cls(model, check=False, left=left)
            found.name = found.sources.main or found.name  # what messages call it
            return found
        proto = getattr(program, "model_proto", None)
        if callable(proto):
            return cls(proto(), check=False)
        raise TypeError(f"neither a program nor a .onnx file: {type(program).__name__}")

    def save(
        self,
        path: str | os.PathLike[str],
        values: Mapping[str, np.ndarray] | None = None,
        *,
        trained: int | None = None,
        threshold: int = LARGE,
        sealed: bool = True,
    ) -> None:
        """Writes the file, whole or not at all, with its checksum and the digest of its graphs where it is `sealed`.

        `values` (slot name -> array) replaces state; `trained` notes the updates done. Tensors of more than
        `threshold` bytes in all go to `NAME.onnx.data` beside it. Raises `Error` E0739.

            >>> file.save("copy.onnx")
        """
        if self.table is not None:
            return self.table.whole.save(path, values, trained=trained, threshold=threshold, sealed=sealed)
        path = Path(path)
        values = values or {}
        held = {(slot.part, slot.tensor): values[slot.name] for slot in self.slots if slot.name in values}
        own = (checksum.KEY, structure.KEY) if sealed else (checksum.KEY,)  # last, also in a file that was loaded
        described = {key: value for key, value in self.metadata.items() if key not in own}
        if trained is not None:
            described = {key: value for key, value in described.items() if key != TRAINED} | {TRAINED: str(trained)}
        mark, model = b"", whole(self.frame, self._left, held.keys())
        if sealed:
            described = {**described, structure.KEY: structure.text(model)}
            described = {**described, checksum.KEY: checksum.text(model, held, described)}
            mark = external.MARK + described[checksum.KEY].encode() + b"\n"
        try:
            write(model, path, threshold, held, described, mark)
        except OSError as problem:
            raise unwritable(path, problem) from None

    def holding(self, values: Mapping[str, np.ndarray], trained: int) -> CompiledFile:
        """The file with other state (slot name -> array), after `trained` updates."""
        if self.table is not None:
            return self.table.whole.holding(values, trained)
        wanted = {(slot.part, slot.tensor): values[slot.name] for slot in self.slots if slot.name in values}
        model = ModelProto()
        model.CopyFrom(whole(self.frame, self._left, wanted.keys()))
        for part, held in initializers(model):
            array = wanted.get((part, held.name))
            if array is not None:
                held.CopyFrom(graphs.tensor(held.name, array))
        others = [entry for entry in model.metadata_props if entry.key != TRAINED]
        del model.metadata_props[:]
        model.metadata_props.extend(others)
        model.metadata_props.add(key=TRAINED, value=str(trained))
        return CompiledFile(model, self.name, check=False)

    # --- what is inside

    @property
    def model(self) -> ModelProto:
        """All of it as one message: made anew where large start values are left out of `frame`, which is the same
        without them.

        >>> file.model is file.frame
        True
        """
        return whole(self.frame, self._left)

    @property
    def frame(self) -> ModelProto:
        """The same without large start values."""
        return self._frame()

    @property
    def main(self) -> GraphProto:
        return self.frame.graph

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        return tuple(_part(i, info, self._frame) for i, info in enumerate(self.frame.training_info))

    @cached_property
    def fed(self) -> dict[str, ValueInfoProto]:
        """What the graphs take from outside, by name."""
        found: dict[str, ValueInfoProto] = {}
        for graph in (self.main, *(part.algorithm for part in self.parts)):
            for value in graphs.inputs(graph):
                found[value.name] = ValueInfoProto()
                found[value.name].CopyFrom(value)
        return found

    def step(self, part: Part | None, outputs: Iterable[str], promote: Collection[str]) -> ModelProto:
        """The main graph and the algorithm of a part as one model (`graphs.concatenate`) for a session. A large message
        is put away then: a session takes memory enough.

            >>> [value.name for value in file.step(file.parts[0], ["loss"], ()).graph.output]
            ['loss']
        """
        made = graphs.concatenate(self.frame, part.algorithm if part is not None else None, outputs, promote)
        if self.fed:  # what of the message is asked for next
            self._frame.fold()
        return made

    @cached_property
    def settings(self) -> dict[str, Any]:
        """`dlc.settings["train"]` as the file has it, each setting that a runtime acts on of its kind
        (`metadata.Train`); empty for a foreign file."""
        return self._settings.get("train") or {}

    @cached_property
    def hyperparameters(self) -> dict[str, Any]:
        """`dlc.settings["model"]`; empty for a foreign file."""
        return self._settings.get("model") or {}

    @cached_property
    def _settings(self) -> dict[str, dict[str, Any]]:
        self._read("dlc.settings", metadata.Settings)
        found: Any = metadata.parse(self.metadata.get("dlc.settings", "{}"))
        return dict(found)

    @cached_property
    def signature(self) -> metadata.Signature:
        """`dlc.signature`; empty for a foreign file.

        >>> [entry.name for entry in file.signature.inputs], [entry.name for entry in file.signature.outputs]
        (['x'], ['probability'])
        """
        return self._read("dlc.signature", metadata.Signature) or metadata.Signature()

    @cached_property
    def supplied(self) -> tuple[metadata.Supplied, ...]:
        """`dlc.supplied`: what the spec does not say and the compiler did."""
        form: Any = tuple[metadata.Supplied, ...]
        return self._read("dlc.supplied", form) or ()

    def leaves(self, block: int, *settings: str) -> list[str]:
        """Those of the settings of a train block that the spec leaves to the compiler."""
        of = f" of block {block + 1}" if block else ""
        left = [one.name for one in self.supplied if one.kind == "setting"]
        return [name for name in settings if name + of in left]

    @cached_property
    def sources(self) -> metadata.Sources:
        """`dlc.sources`; empty for a foreign file."""
        return self._read("dlc.sources", metadata.Sources) or metadata.Sources()

    @cached_property
    def columns(self) -> Columns | None:
        """`dlc.columns`; None where no input or target is made of columns that the spec names."""
        return self._read("dlc.columns", Columns)

    @cached_property
    def evaluation(self) -> metadata.Evaluation | None:
        """`dlc.evaluate`; None where the file has none."""
        return self._read("dlc.evaluate", metadata.Evaluation)

    @cached_property
    def turns(self) -> tuple[metadata.Turn, ...]:
        """`dlc.turns`, one for each training_info; without it each runs in every iteration, and none is named."""
        form: Any = tuple[metadata.Turn, ...]
        return self._read("dlc.turns", form) or tuple(metadata.Turn("") for _ in self.parts)

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The train blocks, which run one after another."""
        form: Any = tuple[metadata.Block, ...]
        found, first = [], 0
        for block in self._read("dlc.blocks", form) or ():
            span = slice(first, first + block.passes)
            found.append(Stage(block.title, self.parts[span], self.turns[span], block.train, block.starts))
            first += block.passes
        return tuple(found) or (Stage(None, self.parts, self.turns, self.settings),)

    @cached_property
    def ensemble(self) -> repeats.Ensemble | None:
        """`dlc.ensemble`; None for a single model."""
        return self._read("dlc.ensemble", repeats.Ensemble)

    @cached_property
    def updates(self) -> int:
        """`dlc.trained`: how many updates a trainer had done when it wrote the values that the file holds."""
        return metadata.number(self.metadata.get(TRAINED, "0"), TRAINED, "number of updates", self.name)

    @property
    def sealed(self) -> bool:
        """Whether the file has a checksum, so that damage to it is seen."""
        return checksum.KEY in self.metadata

    @property
    def trained(self) -> bool:
        """Whether a trainer wrote the values that the file holds."""
        return TRAINED in self.metadata

    @property
    def title(self) -> str:
        """The model's name, for run folders."""
        return self.metadata.get("dlc.model") or Path(self.name).stem.strip("<>") or "model"

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """All state, the main graph's first, each in the order of the file.

        >>> file.slots[0].name, file.slots[0].shape
        ('dense.W', (2, 8))
        """
        keys = {name for part in self.parts for bound in (part.updates, part.initials) for name in bound}
        keys.update(entry.name for entry in (*self.signature.parameters, *self.signature.states))
        found = [_slot(held, None) for held in self.main.initializer if held.name in keys]
        for part in self.parts:
            own = set(part.updates) | set(part.initials) | (keys if part.index == 0 else set())
            if self.ours:
                own.update(metadata.RESERVED)
            own.update(held.name for held in part.algorithm.initializer if self.ours and observed.is_count(held.name))
            found += [_slot(held, part.index) for held in part.algorithm.initializer if held.name in own]
        return tuple(found)

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """Names of what is learned: the signature's, or what a foreign file's main graph has updated.

        >>> file.parameters
        ('dense.W', 'dense.b', 'dense[1].W', 'dense[1].b')
        """
        held = {slot.name for slot in self.slots}
        if self.ours:
            return tuple(entry.name for entry in self.signature.parameters if entry.name in held)
        updated = {name for part in self.parts for name in part.updates}
        return tuple(slot.name for slot in self.slots if slot.part is None and slot.name in updated)

    def values(self) -> dict[str, np.ndarray]:
        """The state that the file holds, by slot name.

        >>> file.values()["dense.W"].shape
        (2, 8)
        """
        return dict(self.each_value())

    def each_value(self) -> Iterator[tuple[str, np.ndarray]]:
        """The same one by one: each is a copy.

        >>> sum(array.nbytes for _, array in file.each_value()) > 0
        True
        """
        wanted = {(slot.part, slot.tensor): slot.name for slot in self.slots}
        for part, held in initializers(self.frame):
            make = self._left.get((part, held.name))
            if (part, held.name) in wanted and make is None:
                yield wanted[part, held.name], numpy_helper.to_array(held)
            elif (part, held.name) in wanted and make is not None:
                yield wanted[part, held.name], np.frombuffer(make(), graphs.dtype_of(held.data_type)).reshape(held.dims)

    # --- metadata

    def _read(self, key: str, form: type[Form]) -> Form | None:
        text = self.metadata.get(key)
        return None if text is None else metadata.read(text, form, key, self.name)

    def _refuse_newer(self, key: str, known: int, code: str) -> None:
        text = self.metadata.get(key, "1")
        if metadata.number(text, key, "version number", self.name) > known:
            raise Error(
                code,
                f"the file has {key} {text}, this dlc reads up to {known}",
                where=self.name,
                help="install a newer dlc-compiler",
            )


def _part(index: int, info: TrainingInfoProto, frame: Frame) -> Part:
    return Part(
        index,
        {entry.key: entry.value for entry in info.update_binding},
        {entry.key: entry.value for entry in info.initialization_binding},
        frame,
    )


def _slot(held: TensorProto, part: int | None) -> Slot:
    # Each training_info sees only itself and the main graph, so two may use one name: the later is numbered.
    name = held.name if not part else f"{held.name}@{part}"
    return Slot(name, held.name, part, graphs.dtype_of(held.data_type), tuple(held.dims))
