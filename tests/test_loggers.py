"""What is logged for other tools is what `metrics.jsonl` says, and a resumed run goes on in it."""

from __future__ import annotations

import csv
import json
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest
from dlc.cli.app import main as run
from dlc.runtime.callbacks import Callback
from dlc.runtime.loggers import CSV, LOGGERS, MLflow, TensorBoard, Updates, WandB

SPEC = """
model line {
    input  x: float[batch]
    target y: float[batch]
    param w: float init zeros
    loss = mean((w * x - y)^2)
    output p = w * x
}
train { minimize loss using sgd(0.1); epochs: 4; batch: 4; validate: 0.25 }
"""
X = np.linspace(-1, 1, 16).astype(np.float32)
ROWS = {"x": X, "y": 3 * X}


class Killed(Callback):
    """Ends a run in the middle, as Ctrl-C does."""

    def on_epoch(self, record: Any) -> None:
        if record["epoch"] == 3:
            raise KeyboardInterrupt


def known(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]


def trained(tmp_path: Path, logger: Any) -> Path:
    """A run that was interrupted in its third epoch, and resumed."""
    first = dlc.Trainer(dlc.compile(SPEC), "cpu")
    with pytest.raises(KeyboardInterrupt):
        first.fit(ROWS, callbacks=[logger(), Killed()], run=tmp_path)
    [folder] = tmp_path.iterdir()
    dlc.Trainer.resume(folder, device="cpu").fit(ROWS, callbacks=[logger()])
    assert len(known(folder)) == 4
    return folder


def test_csv(tmp_path: Path) -> None:
    folder = trained(tmp_path, CSV)
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [record["step"] for record in known(folder)]
    for row, record in zip(rows, known(folder), strict=True):
        assert float(row["train/loss"]) == record["train"]["loss"]
        assert float(row["validation/loss"]) == record["validation"]["loss"]


def test_csv_of_updates_and_test_rows(tmp_path: Path) -> None:
    trainer, logger = dlc.Trainer(dlc.compile(SPEC), "cpu"), CSV(tmp_path)
    trainer.fit(ROWS, callbacks=[logger, Updates(logger, 2)], epochs=2, test=0.25)
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "4"] and set(rows[0]) == {"step", "update/loss"}


def events(folder: Path) -> dict[str, dict[int, float]]:
    """What event files hold (the format of TFRecord: length, its checksum, the data, their checksum)."""
    proto = pytest.importorskip("tensorboardX.proto.event_pb2")
    found: dict[str, dict[int, float]] = {}
    for path in sorted(folder.iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):
            [size] = struct.unpack_from("<Q", data, at)
            event = proto.Event.FromString(data[at + 12 : at + 12 + size])
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
            at += 16 + size
    return found


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="the extra [tensorboard] is not installed")
    folder = trained(tmp_path, TensorBoard)
    found = events(folder / "tensorboard")
    for side in ("train", "validation"):
        wanted = {record["step"]: record[side]["loss"] for record in known(folder)}
        assert found[f"{side}/loss"] == pytest.approx(wanted, rel=1e-6)


def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="the extra [mlflow] is not installed")
    pytest.importorskip("sqlalchemy", reason="the extra [mlflow] is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = trained(tmp_path, MLflow)
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlruns.db'}")
    experiment = client.get_experiment_by_name("line")
    [made] = client.search_runs([experiment.experiment_id])
    found = {one.step: one.value for one in client.get_metric_history(made.info.run_id, "validation/loss")}
    assert found == {record["step"]: record["validation"]["loss"] for record in known(folder)}
    assert made.info.status == "FINISHED" and made.data.params["rows"] == "12"


def test_tensorboard_by_its_own_reader(tmp_path: Path) -> None:
    """A run that was interrupted and resumed: what came after the checkpoint is not there twice."""
    pytest.importorskip("tensorboardX", reason="the extra [tensorboard] is not installed")
    read = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = trained(tmp_path, TensorBoard)
    found = read.EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    assert found.Tags()["scalars"] == ["epoch", "train/loss", "validation/loss"]
    for side in ("train", "validation"):
        seen = [(one.step, one.value) for one in found.Scalars(f"{side}/loss")]
        assert seen == [(one["step"], pytest.approx(one[side]["loss"], rel=1e-6)) for one in known(folder)]


def records(path: Path) -> Iterator[Any]:
    """What a `.wandb` file holds: the log format of LevelDB, blocks of 32 kB of pieces with their checksum, size and
    place in a record."""
    proto = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    data, at, piece = path.read_bytes(), 7, b""
    while at < len(data):
        left = 32768 - at % 32768
        _, size, place = struct.unpack_from("<IHB", data, at) if left >= 7 else (0, 0, 0)
        if place == 0:  # what is left of a block
            at += left
            continue
        piece += data[at + 7 : at + 7 + size]
        at += 7 + size
        if place in (1, 4):  # whole, or the last piece
            yield proto.Record.FromString(piece)
            piece = b""


def test_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="the extra [wandb] is not installed")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    logger = WandB()
    trainer = dlc.Trainer(dlc.compile(SPEC), "cpu")
    trainer.fit(ROWS, callbacks=[logger, Updates(logger, 2)], run=tmp_path)
    [folder] = tmp_path.iterdir()
    [held] = folder.glob("wandb/offline-run-*/run-*.wandb")
    until = time.monotonic() + 60
    while not any(one.HasField("exit") for one in records(held)) and time.monotonic() < until:
        time.sleep(0.2)  # another process writes it
    figures: dict[str, dict[int, float]] = {}
    told: dict[str, str] = {}
    for one in records(held):
        for item in one.history.item if one.HasField("history") else ():
            figures.setdefault("/".join(item.nested_key) or item.key, {})[one.history.step.num] = json.loads(
                item.value_json
            )
        told |= {item.key: item.value_json for item in one.run.config.update} if one.HasField("run") else {}
    for side in ("train", "validation"):
        assert figures[f"{side}/loss"] == {one["step"]: one[side]["loss"] for one in known(folder)}
    assert sorted(figures["update/loss"]) == [2, 4, 6, 8, 10, 12] and (told["rows"], told["device"]) == ("12", '"cpu"')


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "line.dl").write_text(SPEC, "utf-8")
    np.savez(tmp_path / "rows.npz", **ROWS)
    words = ["train", str(tmp_path / "line.dl"), "--data", str(tmp_path / "rows.npz"), "--runs", str(tmp_path / "runs")]
    assert run([*words, "--log", "csv", "--log", "csv", "--quiet"]) == 0
    [folder] = (tmp_path / "runs").iterdir()
    assert len((folder / "metrics.csv").read_text("utf-8").splitlines()) == 5
    for name in ("tensorboardX", "mlflow", "wandb"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    for name in set(LOGGERS) - {"csv"}:
        assert run([*words, "--log", name]) == 2
        said = capsys.readouterr().err
        assert "E0663" in said and f"dlc-compiler[{name}]" in said
    assert run([*words, "--log", "comet"]) == 2
    assert "it takes csv, tensorboard, mlflow, wandb" in capsys.readouterr().err
    assert len(list((tmp_path / "runs").iterdir())) == 1
