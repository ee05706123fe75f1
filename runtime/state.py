"""The hot path: state in two alternating sets of bound buffers, and the step that goes from one to the other.

A buffer bound as input and output of one run gives wrong numbers (any reader scheduled after the update sees
the new value), and copying outputs to inputs costs a pass over all state. So an updated tensor has two
buffers; a step reads one and writes the other. But where the native library updates it last of all (updates.py), it
has one, in which nothing changes unless all of the step is well. With several training_infos an iteration is their
steps in order, each of which may turn any tensor over; after two iterations every tensor is back where it was, so the
bindings of two iterations are made once and used for ever. Where some run only in every n-th iteration, there are as
many as there are places where the tensors may lie.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from onnx import ModelProto

from . import graphs, packing, updates
from .buffers import ALIGN, INFINITE, NAN, Block, Buffer, in_words, is_finite, nbytes
from .data.batch import Feeds, Picked
from .data.check import guard
from .data.fields import fields
from .devices import memory
from .failures import at_run_time
from .file import CompiledFile, Part, Stage
from .guard import GUARDED, Guard
from .memory import give_back
from .session import Options, Prepared, Session, direct, giving_back, onnxruntime, rows_of


class State:
    """All state of a file by slot name, on a device."""

    def __init__(self, file: CompiledFile, device: str) -> None:
        self.device = device
        self.slots = {slot.name: slot for slot in file.slots}
        self._names = {(slot.part, slot.tensor): slot.name for slot in file.slots}
        self._buffers: dict[str, tuple[Buffer, Buffer]] = {}
        for slot, first in zip(file.slots, self._beside(self.slots), strict=True):
            self._buffers[slot.name] = first, first
        self._at = dict.fromkeys(self.slots, 0)
        for name, array in file.each_value():
            self.write(name, array)

    def _beside(self, names: Iterable[str]) -> list[Buffer]:
        """New buffers for these, in one piece of memory."""
        slots = [self.slots[name] for name in names]
        block = Block(sum(nbytes(slot.shape, slot.dtype) + ALIGN for slot in slots))
        return [Buffer(slot.shape, slot.dtype, self.device, block) for slot in slots]

    def lay(self, twice: Iterable[str], once: Collection[str]) -> None:
        """From now on the first of these have two buffers each, and the others one. What was bound is bound no more."""
        for name in once:
            self._buffers[name] = (self.now(name),) * 2
        single = [name for name in twice if name not in once and len(set(self._buffers[name])) == 1]
        for name, other in zip(single, self._beside(single), strict=True):
            now = self.now(name)
            self._buffers[name] = (now, other) if self._at[name] == 0 else (other, now)

    def name(self, part: int | None, tensor: str) -> str | None:
        """The slot that `tensor` means to a part, or None."""
        return self._names.get((part, tensor)) or self._names.get((None, tensor))

    def read(self, name: str) -> np.ndarray:
        return self._buffers[name][self._at[name]].read()

    def write(self, name: str, array: np.ndarray) -> None:
        self._buffers[name][self._at[name]].write(array)

    def now(self, name: str) -> Buffer:
        """The buffer that holds the present value."""
        return self._buffers[name][self._at[name]]

    def phase(self, at: dict[str, int] | None = None) -> dict[str, int]:
        """Which buffer of each pair is the present one; given, from now on."""
        if at is not None:
            self._at = at
        return self._at

    def other(self, name: str) -> Buffer:
        """The buffer that the next step writes."""
        return self._buffers[name][self._at[name] ^ 1]

    def pack(self, part: int | None, row: packing.Row) -> tuple[Buffer, Buffer]:
        """Lays tensors of state, each of which turns over in every step, beside each other on the CPU. Gives back the
        buffers of all of them at once, the present one first. What was bound before is bound no more."""
        names = [name for tensor in row.tensors if (name := self.name(part, tensor)) is not None]
        slots = [self.slots[name] for name in names]
        starts = packing.offsets([slot.shape for slot in slots])
        one, two = (Buffer((starts[-1],), slots[0].dtype, "cpu") for _ in range(2))
        for name, slot, start in zip(names, slots, starts, strict=False):
            value = self.read(name)
            size = math.prod(slot.shape)
            parts = [both.array[start : start + size].reshape(slot.shape) for both in (one, two)]
            first, second = (Buffer(slot.shape, slot.dtype, "cpu", array=part_) for part_ in parts)
            self._buffers[name] = (first, second) if self._at[name] == 0 else (second, first)
            self.write(name, value)
        return one, two

    def snapshot(self, into: dict[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        """A copy of all state on the host, or that copy with the present values written over it."""
        if into is None:
            return {name: self.read(name) for name in self.slots}
        for name, array in self.view().items():
            into[name][...] = array
        return into

    def view(self) -> dict[str, np.ndarray]:
        """All state on the host as it is until the next step: on the CPU without a copy."""
        return {
            name: self.now(name).array if self.now(name).device == "cpu" else self.read(name) for name in self.slots
        }

    def restore(self, values: Mapping[str, np.ndarray]) -> None:
        for name, array in values.items():
            self.write(name, array)

    def feeds(self, part: int | None, inputs: Sequence[str]) -> dict[str, Any]:
        """The present values for those of `inputs` that are state."""
        found = ((tensor, self.name(part, tensor)) for tensor in inputs)
        return {tensor: self.now(name).value for tensor, name in found if name is not None}


def promoted(file: CompiledFile, part: int | None) -> set[str]:
    """Names of the initializers that a session of `part` takes as inputs."""
    return {slot.tensor for slot in file.slots if slot.part is None or slot.part == part}


def figure_names(part: Part, prefix: str = "") -> list[str]:
    """What a step reports: the scalar outputs that are bound to no state, `loss` first in files of ours. With a
    prefix those under it, which a step does not report."""
    bound = set(part.updates.values())
    return [
        value.name
        for value in part.algorithm.output
        if value.name not in bound
        and (value.name.startswith(prefix) if prefix else not value.name.startswith("evaluate/"))
        and graphs.shape_of(value) in ((), (1,))
        and graphs.dtype_of(value.type.tensor_type.elem_type).kind in "fiub"
    ]


def separate(model: ModelProto, updates: Mapping[str, str]) -> dict[str, str]:
    """`updates` with an output of its own for every key: one output may be bound to several."""
    declared = {value.name: value for value in model.graph.output}
    seen: set[str] = set()
    targets = {}
    for tensor, output in updates.items():
        targets[tensor] = output
        if output in seen:
            targets[tensor] = f"{output}/for/{tensor}"
            model.graph.node.add(op_type="Identity", input=[output], output=[targets[tensor]])
            value = model.graph.output.add(name=targets[tensor])
            value.type.CopyFrom(declared[output].type)
        seen.add(output)
    return targets


@dataclass(slots=True)
class Iteration:
    """The bindings of the training_infos that run in one iteration, from where each tensor lies before it."""

    runs: list[tuple[Any, Any, Session]]  # what runs, its bindings as that takes them, whose they are
    bindings: list[Any]
    before: dict[str, int]
    after: dict[str, int]
    parities: tuple[int, int]  # before and after: a bit for each training_info, whether it ran an odd number of times
    skipped: frozenset[int]  # the figures that it does not give


class Stepper:
    """Runs one iteration: the step of every training_info that is due, in order.

    `inputs` are the names of the data it takes, `figures` the names of the numbers it reports. What the file adds up
    over an epoch beside these comes after them in `read`.
    """

    def __init__(self, file: CompiledFile, state: State, how: Options, stage: Stage | None = None) -> None:
        stage = stage or file.stages[0]
        often = [turn.every > 1 or turn.first > 1 for turn in stage.turns]
        self.state, self.device, self.parts = state, memory(how.device), stage.parts
        self.several = len(self.parts) > 1
        self._sessions: list[Session] = []
        self.figures: list[str] = []
        self._figures_of: list[list[tuple[str, Buffer]]] = []
        self._targets_of: list[dict[str, str]] = []
        self._rows: list[tuple[packing.Row, tuple[Buffer, Buffer]]] = []
        train = file.evaluation.train if file.evaluation else None
        self._survey_state()
        self._due = stage.turns if any(often) else None  # None: every part runs in every iteration
        self._look, self._verdict = (Buffer((), np.dtype(np.int64), "cpu") for _ in range(2))
        self._in_place: dict[str, None] = {}  # in the order in which the verdict counts them
        self._held_back: tuple[str, str] | None = None  # what the last step did not write, and why
        counts = []
        how = replace(how, rows=rows_of(stage.settings))
        for part in self.parts:
            names = figure_names(part)
            counts.append(len(names))
            # Two parts may report under one name: the later is numbered.
            self.figures += [n if n not in self.figures else f"{n}@{part.index}" for n in names]
            names += [one.part for one in train.parts] if train and part is self.parts[0] else []
            shapes = {v.name: graphs.shape_of(v) for v in part.algorithm.output}
            model = file.step(part, dict.fromkeys([*names, *part.updates.values()]), promoted(file, part.index))
            targets = separate(model, part.updates)
            if how.device == "cpu" and len(self.parts) == 1:  # elsewhere not every tensor turns over in every step
                self._rows = [(row, state.pack(part.index, row)) for row in packing.packed(model, targets)]
            checks = None if self._due is not None else self._guard(file, part, model)
            ready = Prepared(model, how, checks, self._wanted(part, targets, names, how))
            del model  # a session takes memory enough
            session = Session(ready, how)
            if session.in_place is not None:
                held = [state.name(part.index, tensor) for tensor in session.in_place.tensors]
                self._in_place = {name: None for name in held if name is not None}
            results = [Buffer((), np.dtype(session.output_types[n]), "cpu") for n in names]
            for i, name in enumerate(names):
                if shapes[name] == (1,):
                    results[i] = Buffer((1,), results[i].array.dtype, "cpu")
            self._sessions.append(session)
            self._figures_of.append(list(zip(names, results, strict=True)))
            self._targets_of.append(targets)
        given = [pairs[:count] for pairs, count in zip(self._figures_of, counts, strict=True)]
        given += [pairs[count:] for pairs, count in zip(self._figures_of, counts, strict=True)]
        self._values = [result.array.reshape(()) for pairs in given for _, result in pairs]
        self._places = [range(sum(counts[:k]), sum(counts[: k + 1])) for k in range(len(counts))]  # of each part's
        self._data: dict[tuple[tuple[int, ...], ...], list[Buffer]] = {}
        self._into: list[Buffer] = []
        state.lay(self._updated, self._in_place)
        self._survey()
        none: tuple[tuple[int, ...] | None, np.ndarray | None] = (None, None)
        self._feeds = [(name, *none) for name in self.inputs]
        self._copied: list[tuple[Buffer, str]] = []
        self._made: dict[tuple[int, int], Iteration] = {}
        self._parity = 0
        everything = (1 << len(self.parts)) - 1
        if self._due is None:
            for parity in (0, everything):
                state.phase(self._iteration(everything, parity).after)
        self._both = list(self._made.values())
        self._turn = 0
        self._last: Iteration | None = None
        # The first step takes its memory piece by piece, later ones one block for all, of a size that the first has
        # told: without this both are held.
        self._plain = onnxruntime().RunOptions() if how.device == "cpu" else None  # one for all runs
        self._options = giving_back() if self.device == "cpu" and not how.small else self._plain

    def _guard(self, file: CompiledFile, part: Part, model: ModelProto) -> Guard | None:
        """What of its data the only step of an iteration is asked to check."""
        if len(self.parts) > 1 or not self.figures or not file.ours:
            return None
        rows = {row.input for row, _ in self._rows}
        given = [value.name for value in model.graph.input if value.name not in rows]
        return guard(
            fields(file, [name for name in given if self.state.name(part.index, name) is None]), self.figures[0]
        )

    @property
    def guarded(self) -> bool:
        """Whether the step looks itself whether the numbers of a batch are finite and its labels in range: its loss is
        NaN where they are not."""
        return all(GUARDED in session.rewrites for session in self._sessions)

    def _survey(self) -> None:
        """What the parts take and what they update."""
        state = self.state
        self._kinds: dict[str, np.dtype[np.generic]] = {}
        rows = {name for row, _ in self._rows for name in (row.input, row.output)}
        for part, session in zip(self.parts, self._sessions, strict=True):
            for tensor in session.inputs:
                if tensor not in rows and state.name(part.index, tensor) is None:
                    self._kinds.setdefault(tensor, session.types[tensor])
        self.inputs = list(self._kinds)
        self.reads = {tensor for session in self._sessions for tensor in session.inputs}  # state included

    def _survey_state(self) -> None:
        """What the parts update, and what of it is to stay finite."""
        names = [self.state.name(part.index, tensor) for part in self.parts for tensor in part.updates]
        self._updated = [name for name in dict.fromkeys(names) if name is not None]
        self._twice = sorted(name for name, count in Counter(names).items() if name is not None and count > 1)
        self._kept: dict[str, np.ndarray] = {}
        # What is not finite to begin with (a running maximum from -inf) may stay so.
        self._numbers = [name for name in self._updated if self.state.slots[name].dtype.kind not in "iub"]
        self.watched = [name for name in self._numbers if self._is_finite(name)]

    def _wanted(
        self, part: Part, targets: Mapping[str, str], figures: Sequence[str], how: Options
    ) -> updates.Wanted | None:
        """What a session may update in place: only where one part makes a whole step, so that nothing is to be taken
        back after it, and where all state can be looked at."""
        state = self.state
        parts = self.device != "cpu" or self.several or self._due is not None
        if parts or self._numbers != self.watched or how.profile is not None:  # a profile measures node by node
            return None
        rows = {}
        for row, _ in self._rows:
            shapes = [state.slots[name].shape for t in row.tensors if (name := state.name(part.index, t)) is not None]
            sizes = [math.prod(shape) for shape in shapes]
            starts = packing.offsets(shapes)
            rows[row.output] = [at for start, size in zip(starts, sizes, strict=False) for at in (start, start + size)]
        return updates.Wanted(targets, self.figures[0] if self.figures else None, figures, rows)

    def _iteration(self, running: int, parity: int) -> Iteration:
        """The bindings of the parts whose bits are in `running`, from the present place of each tensor on, which
        `parity` tells: a tensor turns over whenever a part that updates it runs."""
        state, before = self.state, self.state.phase()
        rows = {name for row, _ in self._rows for name in (row.input, row.output)}
        runs: list[tuple[Any, Any, Session]] = []
        bindings: list[Any] = []
        skipped: set[int] = set()
        for k, (part, session) in enumerate(zip(self.parts, self._sessions, strict=True)):
            if not running >> k & 1:
                skipped.update(self._places[k])
                continue
            binding = session.raw.io_binding()
            for row, buffers in self._rows:
                if row.input:
                    binding.bind_ortvalue_input(row.input, buffers[parity & 1].value)
                if row.output:
                    binding.bind_ortvalue_output(row.output, buffers[parity & 1 ^ 1].value)
            for tensor in session.inputs:
                name = state.name(part.index, tensor)
                if tensor not in rows and name is not None:
                    binding.bind_ortvalue_input(tensor, state.now(name).value)
            for output, result in self._figures_of[k]:
                binding.bind_ortvalue_output(output, result.value)
            flips, single = [], set(session.outputs)  # other outputs are in rows
            for tensor, output in self._targets_of[k].items():
                name = state.name(part.index, tensor)
                assert name is not None  # the validator has seen that keys are initializers
                if output in single:
                    binding.bind_ortvalue_output(output, state.other(name).value)
                flips.append(name)
            if session.in_place is not None:
                binding.bind_ortvalue_input(session.in_place.look, self._look.value)
                binding.bind_ortvalue_output(session.in_place.verdict, self._verdict.value)
            at = state.phase()
            state.phase(at | {name: at[name] ^ 1 for name in flips})
            runs.append((*direct(session.raw, binding), session))
            bindings.append(binding)
        made = Iteration(runs, bindings, before, state.phase(), (parity, parity ^ running), frozenset(skipped))
        state.phase(before)
        self._made[running, parity] = made
        if self._into:
            self._feed(made, self._into)
        return made

    def _scheduled(self, number: int | None) -> Iteration:
        """Iteration `number`, from 1: what of it is due; all of it without a number."""
        assert self._due is not None
        running = sum(1 << k for k, turn in enumerate(self._due) if number is None or turn.runs(number))
        return self._made.get((running, self._parity)) or self._iteration(running, self._parity)

    def _feed(self, iteration: Iteration, buffers: list[Buffer]) -> None:
        for binding, (_, _, session) in zip(iteration.bindings, iteration.runs, strict=True):
            for name, buffer in zip(self.inputs, buffers, strict=True):
                if name in session.types:
                    binding.bind_ortvalue_input(name, buffer.value)

    def _rebind(self, arrays: list[np.ndarray]) -> None:
        """Other shapes than last time: the last, short batch of an epoch, or sequences of another length."""
        shapes = tuple([array.shape for array in arrays])
        buffers = self._data.get(shapes)
        if buffers is None:
            if len(self._data) >= 8:  # lengths that hardly ever return should not pile up
                self._data.clear()
            pairs = zip(self.inputs, arrays, strict=True)
            buffers = [Buffer(array.shape, self._kinds[name], self.device) for name, array in pairs]
            self._data[shapes] = buffers
        for iteration in self._made.values():
            self._feed(iteration, buffers)
        self._into = buffers
        host = self.device == "cpu"
        self._feeds = [
            (name, shape, buffer.array if host else None)
            for name, shape, buffer in zip(self.inputs, shapes, buffers, strict=True)
        ]
        self._copied = [] if host else list(zip(buffers, self.inputs, strict=True))

    def _is_finite(self, name: str) -> bool:
        buffer = self.state.now(name)
        return is_finite(buffer.array if self.device == "cpu" else buffer.read())

    def spoilt(self, looked: bool = False) -> str | None:
        """The first tensor of state that holds NaN or an infinity and did not to begin with, or that would after the
        last step if that had written it. A pass over all state; where that step has `looked`, over what it has not."""
        held = self._held_back[0] if self._held_back is not None else None
        for name in self.watched:
            if name == held or not ((looked and name in self._in_place) or self._is_finite(name)):
                return name
        return None

    def word(self, name: str) -> str:
        """What a tensor that is not finite is: NaN or infinite."""
        if self._held_back is not None and self._held_back[0] == name:
            return self._held_back[1]
        return in_words(self.state.read(name))

    def step(self, batch: Mapping[str, np.ndarray], number: int | None = None, look: bool = False) -> None:
        """One iteration on arrays of the graph's dtypes; `number`, from 1, says which parts are due. `look`: whether
        `spoilt` is asked afterwards; what is updated in place is written only if all new state is finite. Raises
        `Error` E0804; the state is then as before."""
        feeds: Feeds = self._feeds
        if type(batch) is Picked:  # `isinstance` asks all its bases
            if not batch.into(feeds):
                self._rebind([batch[name] for name in self.inputs])
                return self.step(batch, number, look)
            feeds = ()
        for name, shape, to in feeds:
            array = batch[name]
            if array.shape != shape:
                self._rebind([batch[name] for name in self.inputs])
                return self.step(batch, number, look)
            if to is not None:
                to[...] = array
        for buffer, name in self._copied:
            buffer.write(batch[name])
        turn = self._both[self._turn] if self._due is None else self._scheduled(number)
        if self._twice:
            self._kept = {name: self.state.read(name) for name in self._twice}
        if self._in_place:
            return self._step_in_place(turn, look)
        self._run(turn)
        self._turned(turn)

    def _run(self, turn: Iteration) -> None:
        try:
            for run, binding, _ in turn.runs:
                run(binding, self._options)
            if self._options is not self._plain:  # the first step
                self._options = self._plain
                give_back()
        except Exception as problem:  # ONNX Runtime's exceptions have no common base
            known: dict[str, str] = {}
            for _, _, session in turn.runs:
                known |= session.sources | session.places
            raise at_run_time(problem, known) from None

    def _turned(self, turn: Iteration) -> None:
        self.state.phase(turn.after)
        self._last = turn
        self._turn ^= 1
        if self._due is not None:
            self._parity = turn.parities[1]

    def _step_in_place(self, turn: Iteration, look: bool) -> None:
        self._look.array[...], self._verdict.array[...], self._held_back = look, 0, None
        try:
            self._run(turn)
        finally:  # an interrupt that comes between a run and what notes it must not part state from state
            verdict = int(self._verdict.array)
            if verdict:
                self._turned(turn)
        if verdict >= updates.NOT_FINITE:
            at, nan = divmod(verdict - updates.NOT_FINITE, 2)
            self._held_back = list(self._in_place)[at], NAN if nan else INFINITE

    def undo(self) -> None:
        """Takes the last step back, once, if its loss was not finite or it has looked: what it read lies in the other
        buffers, or was not written over. What several parts update is written over within a step; a copy from before
        it is put back."""
        if self._last is None:
            return
        self._held_back = None
        self._turn ^= 1
        if self._due is not None:
            self._parity = self._last.parities[0]
        self.state.phase(self._last.before)
        self.state.restore(self._kept)

    def rewrites(self) -> dict[str, int]:
        """What became of the graph of a step for its provider (rewrite.py), and how often."""
        total: Counter[str] = Counter()
        for session in self._sessions:
            total.update(session.rewrites)
        if self._rows:
            total[packing.PACKED] = sum(len(row.tensors) for row, _ in self._rows)
        return dict(total)

    @property
    def skipped(self) -> frozenset[int]:
        """The places in `figures` of those that the last step did not give: they are of an earlier one."""
        return self._last.skipped if self._last is not None else frozenset()

    def unsound(self, figures: Sequence[float]) -> int | None:
        """The place in `figures` of a loss that is no finite number: the first of what each part reports."""
        firsts = (places[0] for places in self._places if places)
        return next((at for at in firsts if at not in self.skipped and not math.isfinite(figures[at])), None)

    def told(self, figures: Sequence[float]) -> dict[str, float]:
        """The figures of the last step by name."""
        return {name: figures[at] for at, name in enumerate(self.figures) if at not in self.skipped}

    def read(self) -> list[float]:
        """The figures of the last step, and the further parts of an epoch's."""
        return [float(value) + 0.0 for value in self._values]  # -0.0, as of `-mean(log(1))`, is written 0.0
