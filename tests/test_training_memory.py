"""What a process that trains a deep model holds: each thing once, and nothing that the step does not need."""

from __future__ import annotations

import gc
import subprocess
import sys
import tracemalloc
from pathlib import Path

import dlc
import numpy as np
import pytest
from dlc.lower import start
from dlc.lower.model import start_values
from dlc.pipeline import optimize
from dlc.runtime import CompiledFile, frame, graphs, native
from dlc.runtime.rewrite import rewritten
from dlc.runtime.state import promoted
from onnx import ModelProto

ROOT = Path(__file__).parent.parent
DEEP = str(ROOT / "benchmarks" / "deep_residual.dl")
MEASURED = """
import sys, dlc, numpy as np
depth, kept = int(sys.argv[1]), sys.argv[3:]
program = dlc.load(kept[0]) if kept else dlc.compile(sys.argv[2], depth=depth)
trainer = dlc.Trainer(program, device="cpu")
del program
x = np.ones((32, 64), np.float32)
for _ in range(3):
    trainer.step({"x": x, "y": x})
with open("/proc/self/status") as status:  # getrusage would count the process that began this one
    print(next(line for line in status if line.startswith("VmHWM")).split()[1])
"""


def peak(*words: object) -> float:
    """The largest resident set of a process that compiles or reads a model and trains it, in MB."""
    told = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, words)], cwd=ROOT, text=True, capture_output=True, check=True
    )
    return int(told.stdout) / 1024


@pytest.mark.skipif(sys.platform != "linux" or not native.wanted(None), reason="reads /proc; regions hold less")
def test_a_thousand_layers_take_little_more_than_their_state(tmp_path: Path) -> None:
    """2,000 parameters of 16.6 MB, which a step reads and writes: twice that, and 10 that it keeps of the forward pass,
    are 44. It was 150, and 165 read from a file; what remains is ONNX Runtime's, Python's and the compiler's."""
    least = peak(2, DEEP)
    assert peak(1000, DEEP) - least < 115
    dlc.compile(DEEP).save(tmp_path / "deep.onnx")
    assert peak(1000, DEEP, tmp_path / "deep.onnx") - least < 115


def test_the_message_is_away_while_a_trainer_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame, "MANY", 1)
    trainer = dlc.Trainer(dlc.compile(ROOT / "specs" / "xor.dl"), device="cpu")
    whole = trainer.file.frame.SerializeToString(deterministic=True)
    trainer.step({"x": [[0.0, 1.0], [1.0, 1.0]], "y": [1, 0]})
    assert trainer.file._frame._message is None
    assert trainer.file.frame.SerializeToString(deterministic=True) == whole
    assert trainer.file.parts[0].algorithm == trainer.file.frame.training_info[0].algorithm


def test_a_small_message_stays() -> None:
    trainer = dlc.Trainer(dlc.compile(ROOT / "specs" / "xor.dl"), device="cpu")
    was = trainer.file.frame
    trainer.step({"x": [[0.0, 1.0], [1.0, 1.0]], "y": [1, 0]})
    assert trainer.file.frame is was


def test_a_file_that_is_read_holds_large_state_as_bytes(tmp_path: Path) -> None:
    program = dlc.compile(DEEP, depth=300)
    path = program.save(tmp_path / "deep.onnx")
    file = CompiledFile.load(path)
    assert sum(len(held.raw_data) for held in file.main.initializer) < 100_000
    read = ModelProto()
    read.ParseFromString(path.read_bytes())
    assert file.model == read
    values = CompiledFile.of(program).values()
    assert all(np.array_equal(array, values[name]) for name, array in file.values().items())
    file.save(tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()


def test_start_values_of_many_layers_are_made_one_by_one() -> None:
    """Those of all layers come from one draw of 17 MB as bits: nothing holds all of it, nor the module's graph."""
    module = dlc.compile(DEEP, depth=500).module
    optimize(module, "float32")
    float32 = np.dtype(np.float32)
    gc.collect()
    tracemalloc.start()
    values = start_values(module, 0)
    for path in values:
        values.raw(path, float32)
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(values.late) == 500
    assert most < 8e6 and held < 4e6
    graph = values.roots["block[7].W"].graph
    assert graph is not module.graph and len(graph) < len(module.graph) / 3
    assert all(node.place is graph.place for node in graph.nodes)


def test_values_that_are_drawn_are_the_same_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for large in (start.LARGE, 1 << 30):
        monkeypatch.setattr(start, "LARGE", large)
        made.append(dlc.compile(ROOT / "specs" / "digits.dl").model_proto().SerializeToString(deterministic=True))
    assert made[0] == made[1]


@pytest.mark.parametrize("keep", [True, False])
def test_a_model_is_rewritten_where_it_stands(keep: bool) -> None:
    file = CompiledFile.of(dlc.compile(ROOT / "specs" / "digits.dl"))
    [part] = file.parts
    model = file.step(part, part.updates.values(), promoted(file, part.index))
    before, expected = ModelProto(), ModelProto()
    before.CopyFrom(model)
    made, counts = rewritten(model, "cpu", 0, native.works(), native.works(), keep=keep)
    expected.CopyFrom(made)
    assert counts and (model == before) == keep and (made is model) != keep
    assert expected == rewritten(before, "cpu", 0, native.works(), native.works())[0]


def test_shapes_hold_no_nodes_without_a_body() -> None:
    file = CompiledFile.of(dlc.compile(ROOT / "specs" / "tagger.dl"))
    [part] = file.parts
    model = file.step(part, part.updates.values(), promoted(file, part.index))
    told = graphs.shapes(model)
    assert graphs.known(model, told) == graphs.known(model, graphs.inferred(model))
    assert [node.op_type for node in told.graph.node] == [
        node.op_type for node in model.graph.node if any(graphs.subgraphs(node))
    ]
    assert told.graph.node
