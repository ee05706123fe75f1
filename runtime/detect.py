"""Watches a run for what becomes NaN or infinite later: looks at every value of a step before it is made.

Each look runs the step once more with all its values as outputs, node by node, on the CPU. What is seen is said once,
with the operator and the line of the spec that made it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from onnx import NodeProto, TensorProto

from . import graphs
from .arguments import positive
from .atomic import cannot_write
from .callbacks import Callback
from .failures import Error
from .file import Part
from .finite import Body, Opened, everything
from .norms import GRADIENT
from .state import figure_names

if TYPE_CHECKING:
    from .train import Trainer

NEAR = 2.0**-20  # of the greatest number of its type
NEAR_HALF = 2.0**-3  # of 65,504
POWER = 80.0  # exp(88.7) is infinite in float32
# A gradient so many times the first, which grew so many times in so many looks, in each of them.
GROWN, RISEN, LOOKS = 1e3, 10.0, 5
VANISHED = 1e-30
AGAIN = 3  # looks in a row after which a relu that gives 0 alone, a softmax of 0 and 1, or too large an update is said
FILE = "detected.jsonl"

Found = tuple[str, str, str]  # the kind, the words, the line of the spec


@dataclass(frozen=True)
class Sight:
    """What was seen first at a place: the update before which it was, its kind, in words, and the line of the spec."""

    step: int
    kind: str
    said: str
    where: str


class Detector(Callback):
    """A listener that looks before every n-th update, the first included: `trainer.fit(callbacks=[Detector(trainer)])`.
    `sights` has what was seen, each thing once for a line of the spec; `tell` is given it at once. With a run folder it
    stands in `detected.jsonl`, too. Members of an ensemble then train one after another."""

    def __init__(self, trainer: Trainer, every: int = 1, tell: Callable[[Sight], None] | None = None) -> None:
        self.trainer, self.every, self.tell = trainer, positive("every", every), tell
        self.sights: list[Sight] = []
        self._opened: dict[int, Opened] = {}
        self._known: set[tuple[str, str]] = set()
        # By the rule, the part, and the value: a line of the spec may make several, and parts share names.
        self._often: Counter[tuple[str, int, str]] = Counter()
        self._now: dict[tuple[str, int, str], tuple[bool, Found]] = {}  # of this look: in all iterations of a scan
        self._bodies: dict[tuple[int, str], Body] = {}
        self._lengths: dict[tuple[str, int, str], list[float]] = {}

    def before_batch(self, step: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Looks at the values that update number `step` will have; writes `detected.jsonl` where there is a run."""
        if (step - 1) % self.every:
            return
        for part in self.trainer.stage.parts:
            if part.index not in self._opened:
                targets = [*figure_names(part), *part.updates.values()]
                self._opened[part.index] = Opened(self.trainer.file, part, targets)
            nodes, values = everything(self._opened[part.index], self.trainer.stepper, arrays)
            forwards = {node.name for node in graphs.needed(nodes, figure_names(part))}
            self._now.clear()
            seen = [one for node in nodes for one in self._node(part, node, values, node.name in forwards)]
            seen += [found for key, (so, found) in self._now.items() if self._stays(*key, so)]
            seen += self._gradients(part, nodes, values)
            seen += self._updates(part, values)
            for kind, said, where in seen:
                if (kind, where) not in self._known:
                    self._known.add((kind, where))
                    self._say(Sight(step, kind, said, where))

    def _say(self, sight: Sight) -> None:
        self.sights.append(sight)
        if self.tell is not None:
            self.tell(sight)
        run = self.trainer.run
        if run is not None:
            try:
                with (run.folder / FILE).open("a", encoding="utf-8") as out:
                    out.write(json.dumps({"event": "detected", **asdict(sight)}, ensure_ascii=False) + "\n")
            except OSError as problem:
                raise cannot_write(run.folder / FILE, problem) from None

    def _node(self, part: Part, node: NodeProto, values: Mapping[str, np.ndarray], forwards: bool) -> Iterator[Found]:
        """`forwards`: the loss needs it; what is derived of a scaled loss is close to the end of float16 at times."""
        if node.op_type == "Scan":
            yield from self._iterations(part, node, values, forwards)
        where = graphs.source(node)
        if not where or not node.output:
            return
        made, given = values.get(node.output[0]), values.get(node.input[0]) if node.input else None
        if forwards and node.op_type == "Cast" and given is not None and given.dtype == np.float32:
            to = next(one.i for one in node.attribute if one.name == "to")
            if to == TensorProto.FLOAT16 and _greatest(given) > NEAR_HALF * 65504:
                yield (
                    "near overflow",
                    f"a value of {_greatest(given):.3g} goes into float16, which ends at 65,504",
                    where,
                )
        if made is None or made.dtype not in (np.float32, np.float64) or not made.size:
            return
        if (most := _greatest(made)) > NEAR * float(np.finfo(made.dtype).max):
            yield "near overflow", f"{node.op_type} makes {most:.3g}, near the greatest {made.dtype}", where
        if given is None or given.dtype != np.float32 or not given.size:
            return
        if node.op_type == "Exp" and float(given.max()) > POWER:
            yield "near overflow", f"exp of {float(given.max()):.3g}; above 88.7 it is infinite", where
        if node.op_type == "Sqrt" and float(given.min()) < 0:
            yield "negative root", f"sqrt of {float(given.min()):.3g}: below 0 by rounding, its root is NaN", where
        if node.op_type == "Relu" and made.ndim > 1:
            self._all("dead relu", part, node, not made.any(), "relu gives nothing but 0", where)
        if node.op_type == "Softmax" and forwards:
            axis = next((one.i for one in node.attribute if one.name == "axis"), -1)
            sure = made.shape[axis] > 1 and bool((made.max(axis=axis) == 1).all())  # float32 rounds 1 - 3e-8 to 1
            said = "softmax gives 1 to one and next to 0 to the others in every row, and passes no gradient"
            self._all("saturated softmax", part, node, sure, said, where)

    def _iterations(
        self, part: Part, scan: NodeProto, values: Mapping[str, np.ndarray], forwards: bool
    ) -> Iterator[Found]:
        """What is seen in the iterations of a scan, one after another."""
        key = (part.index, scan.output[0])
        for made in self._turns(key, scan, values):
            for node in self._bodies[key].nodes:
                yield from self._node(part, node, made, forwards)

    def _turns(
        self, key: tuple[int, str], scan: NodeProto, values: Mapping[str, np.ndarray]
    ) -> Iterator[Mapping[str, np.ndarray]]:
        """All values of each iteration; none of a body that does not run by itself, whose outputs are seen anyway."""
        with suppress(Exception):  # of ONNX Runtime, which have no common base: a look ends no training
            if key not in self._bodies:
                self._bodies[key] = Body(scan, values)
            yield from self._bodies[key].turns(values)

    def _all(self, kind: str, part: Part, node: NodeProto, so: bool, said: str, where: str) -> None:
        """Notes of a value whether something is so in all of this look."""
        key = (kind, part.index, node.output[0])
        before, _ = self._now.get(key, (True, None))
        self._now[key] = before and so, (kind, f"{said}, in {AGAIN} looks", where)

    def _gradients(self, part: Part, nodes: list[NodeProto], values: Mapping[str, np.ndarray]) -> Iterator[Found]:
        for node in nodes:
            for name in node.output:
                if not name.startswith(GRADIENT) or name not in values:
                    continue
                length, path = float(np.linalg.norm(values[name].astype(np.float64))), name.removeprefix(GRADIENT)
                where = graphs.source(node) or path
                yield from self._grows("gradient", part, path, length, where)
                if self._stays("vanished", part.index, path, length < VANISHED):
                    yield "vanished gradient", f"the gradient of `{path}` is {length:.3g}, in {AGAIN} looks", where

    def _grows(self, what: str, part: Part, path: str, length: float, where: str) -> Iterator[Found]:
        history = self._lengths.setdefault((what, part.index, path), [])
        history.append(length)
        last = history[-LOOKS - 1 :]
        steady = len(last) > LOOKS and all(before < after for before, after in pairwise(last))
        if steady and length > RISEN * last[0] and length > GROWN * history[0] > 0:
            said = f"the {what} of `{path}` grows from look to look, from {history[0]:.3g} to {length:.3g}"
            yield "growing gradient", said, where
        del history[1 : -LOOKS - 1]

    def _updates(self, part: Part, values: Mapping[str, np.ndarray]) -> Iterator[Found]:
        for path in self.trainer.file.parameters:
            before, after = values.get(path), values.get(part.updates.get(path, ""))
            if before is None or after is None or before.ndim < 2:
                continue
            length = float(np.linalg.norm(before.astype(np.float64)))
            moved = float(np.linalg.norm(after.astype(np.float64) - before))
            yield from self._grows("update", part, path, moved, path)
            if self._stays("update", part.index, path, moved > length > 0):
                said = f"updates of `{path}` are larger than it is: {moved:.3g} of {length:.3g}, in {AGAIN} looks"
                yield "large update", said, path

    def _stays(self, what: str, part: int, name: str, so: bool) -> bool:
        """Whether it was so of a value in the last few looks."""
        key = (what, part, name)
        self._often[key] = self._often[key] + 1 if so else 0
        return self._often[key] >= AGAIN

    def error(self) -> Error | None:
        """`Error` E0656 of what was seen first; None where nothing was."""
        if not self.sights:
            return None
        first, *others = self.sights
        return Error(
            "E0656",
            f"before update {first.step}: {first.said}",
            where=first.where,
            notes=[f"before update {one.step}, {one.where}: {one.said}" for one in others[:5]],
            help="a smaller learning rate, clipping (`clip: global_norm(1.0)`), a normalization, or a stable form",
        )


def _greatest(array: np.ndarray) -> float:
    """The greatest finite magnitude."""
    with np.errstate(all="ignore"):
        sizes = np.abs(array)
        most = float(sizes.max())
        return most if np.isfinite(most) else float(np.where(np.isfinite(sizes), sizes, 0).max())
