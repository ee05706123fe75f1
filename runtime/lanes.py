"""State of several members at once on a device, each value with the members in front, and the step of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto

from . import graphs
from .abreast import abreast, hindrance
from .buffers import Buffer, is_finite
from .failures import at_run_time
from .file import CompiledFile, Stage
from .observed import classes
from .session import Options, Session
from .state import State, figure_names, promoted, separate

SHARED = ("step", "steps", "observations")  # the same for all that train in step


class Lanes:
    """The step of `count` members: `write` gives it the state of each, `snapshot` gives that of one, `step` takes a
    batch of each, [count, rows, ...], and `read` gives their figures, [figure, count].

    `of` is None where the graph of the step has no wide form.
    """

    def __init__(
        self,
        file: CompiledFile,
        state: State,
        session: Session,
        shapes: Mapping[str, tuple[int, ...]],
        targets: Mapping[str, str],
        count: int,
    ) -> None:
        """`shapes`: those of the figures, by name; `targets`: the outputs that are new state, by what they renew."""
        self.state, self.count, self.session, self.names = state, count, session, list(shapes)
        part = file.parts[0].index
        self.device = "cuda" if "CUDA" in session.raw.get_providers()[0] else "cpu"
        shared = {*SHARED, *classes(file)}
        self.slots = {name: state.name(part, name) for name in session.inputs}
        self.data = [name for name, slot in self.slots.items() if slot is None]
        self.alone = {slot for name, slot in self.slots.items() if slot is not None and name in shared}
        self._pairs: dict[str, tuple[Buffer, Buffer]] = {}
        self._targets = {state.name(part, tensor): output for tensor, output in targets.items()}
        for slot in (slot for slot in (*self.slots.values(), *self._targets) if slot is not None):
            if slot in self._pairs:
                continue
            told = state.slots[slot]
            shape = told.shape if slot in self.alone else (count, *told.shape)
            first = Buffer(shape, told.dtype, self.device)
            self._pairs[slot] = first, Buffer(shape, told.dtype, self.device) if slot in self._targets else first
        self._at = 0
        kinds = session.output_types
        self._figures = [Buffer(shape, np.dtype(kinds[name]), "cpu") for name, shape in shapes.items()]
        self._views = [buffer.array.reshape(-1) for buffer in self._figures]
        # What the step does not read, though members may differ in it.
        self._beside: dict[str, np.ndarray] = {}
        self._bound: dict[tuple[tuple[int, ...], ...], tuple[list[Buffer], list[Any]]] = {}

    @classmethod
    def of(cls, file: CompiledFile, state: State, how: Options, stage: Stage, whole: Sequence[str]) -> Lanes | None:
        """`whole`: the data that all members share."""
        model, wide, targets, own = members(file, stage, whole)
        made = abreast(model, wide, count := _count(file), own, set(targets.values()) - own)
        if made is None:
            return None
        declared = {value.name: graphs.shape_of(value) or () for value in made.graph.output}
        names = _figures(file, stage)
        shapes = {name: tuple(size for size in declared[name] if isinstance(size, int)) for name in names}
        return cls(file, state, Session(made, how), shapes, targets, count)

    # --- state

    def write(self, states: Sequence[Mapping[str, np.ndarray]]) -> None:
        """The state of each member, from now on."""
        held = {
            slot: states[0][slot] if slot in self.alone else np.stack([s[slot] for s in states]) for slot in states[0]
        }
        self.restore(held)

    def restore(self, held: Mapping[str, np.ndarray]) -> None:
        """What `all` gave."""
        self._beside = {slot: array for slot, array in held.items() if slot not in self._pairs}
        for slot in self._pairs:
            self._now(slot).write(held[slot])

    def all(self) -> dict[str, np.ndarray]:
        """A copy of the state of all members, each value with the members in front but for what they share."""
        return {**self._beside, **{slot: self._now(slot).read() for slot in self._pairs}}

    def _now(self, slot: str) -> Buffer:
        return self._pairs[slot][self._at if slot in self._targets else 0]

    def _array(self, slot: str) -> np.ndarray:
        buffer = self._now(slot)
        return buffer.array if self.device == "cpu" else buffer.read()

    def view(self, member: int) -> dict[str, np.ndarray]:
        """The state of one member as it is until the next step."""
        held = {**self._beside, **{slot: self._array(slot) for slot in self._pairs}}
        return {slot: array if slot in self.alone else array[member] for slot, array in held.items()}

    def sound(self, members: Sequence[int], watched: Sequence[str]) -> bool:
        """Whether all numbers of these members are finite in the state that is `watched`."""
        for slot in watched:
            array = self._array(slot)
            if not is_finite(array) and not all(is_finite(array if slot in self.alone else array[k]) for k in members):
                return False
        return True

    # --- steps

    def step(self, batch: Mapping[str, np.ndarray]) -> None:
        """One update of every member. Raises `Error` E0804."""
        arrays = [batch[name] for name in self.data]
        shapes = tuple([array.shape for array in arrays])
        bound = self._bound.get(shapes)
        if bound is None:
            if len(self._bound) >= 8:
                self._bound.clear()
            bound = self._bound[shapes] = self._bind(shapes)
        buffers, bindings = bound
        for buffer, array in zip(buffers, arrays, strict=True):
            buffer.write(array)
        try:
            self.session.raw.run_with_iobinding(bindings[self._at])
        except Exception as problem:  # ONNX Runtime's exceptions have no common base
            raise at_run_time(problem, self.session.sources) from None
        self._at ^= 1

    def _bind(self, shapes: Sequence[tuple[int, ...]]) -> tuple[list[Buffer], list[Any]]:
        """The buffers of data of these shapes, and the bindings from either place of the state to the other."""
        pairs = zip(self.data, shapes, strict=True)
        buffers = [Buffer(shape, np.dtype(self.session.types[name]), self.device) for name, shape in pairs]
        bindings = []
        for at in (0, 1):
            binding = self.session.raw.io_binding()
            for name, buffer in zip(self.data, buffers, strict=True):
                binding.bind_ortvalue_input(name, buffer.value)
            for name, slot in self.slots.items():
                if slot is not None:
                    binding.bind_ortvalue_input(name, self._pairs[slot][at].value)
            for name, buffer in zip(self.names, self._figures, strict=True):
                binding.bind_ortvalue_output(name, buffer.value)
            for slot, output in self._targets.items():
                assert slot is not None
                binding.bind_ortvalue_output(output, self._pairs[slot][at ^ 1].value)
            bindings.append(binding)
        return buffers, bindings

    def read(self) -> np.ndarray:
        """The figures of the last step, [figure, member], float64."""
        made = np.empty((len(self._views), self.count))
        for row, values in zip(made, self._views, strict=True):
            row[:] = values
        return made


def members(
    file: CompiledFile, stage: Stage, whole: Sequence[str]
) -> tuple[ModelProto, set[str], dict[str, str], set[str]]:
    """The step of one member, which of its inputs members have each for themselves, the outputs that are new state by
    what they renew, and which of these each has for itself."""
    [part] = stage.parts
    outputs = dict.fromkeys([*_figures(file, stage), *part.updates.values()])
    model = file.step(part, outputs, promoted(file, part.index))
    targets = separate(model, part.updates)
    shared = {*SHARED, *classes(file), *whole}
    wide = {value.name for value in model.graph.input} - shared
    return model, wide, targets, {output for tensor, output in targets.items() if tensor not in shared}


def _figures(file: CompiledFile, stage: Stage) -> list[str]:
    train = file.evaluation.train if file.evaluation else None
    return figure_names(stage.parts[0]) + ([one.part for one in train.parts] if train else [])


def _count(file: CompiledFile) -> int:
    assert file.ensemble is not None
    return file.ensemble.members


def unfit(file: CompiledFile, stage: Stage) -> str | None:
    """Why a step has no form for all members at once, in words; None where it has one."""
    model, wide, targets, own = members(file, stage, ())
    return hindrance(model, wide, _count(file), own, set(targets.values()) - own)
