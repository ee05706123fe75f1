"""`dlc serve`, asked by a real client of HTTP."""

from __future__ import annotations

import asyncio
import csv
import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest
from dlc.cli.app import main as run

pytest.importorskip("fastapi", reason="the extra [serve] is not installed")
pytest.importorskip("uvicorn", reason="the extra [serve] is not installed")
httpx: Any = pytest.importorskip("httpx", reason="httpx is not installed")

SPECS = Path(__file__).parent.parent / "specs"
START = "import sys; from dlc.cli import main; sys.exit(main())"
DIGITS = np.load(SPECS / "data" / "digits.npz")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("served") / "digits.onnx"
    trainer = dlc.fit(SPECS / "digits.dl", SPECS / "data" / "digits.npz", device="cpu", epochs=1)
    trainer.save(path)
    return path


@contextmanager
def served(path: Path, *options: str) -> Iterator[Any]:
    """A client of a server in a process of its own, which ends with status 0 at Ctrl-C."""
    words = [sys.executable, "-c", START, "serve", str(path), "--port", "0", "--device", "cpu", *options]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"(http://127\.0\.0\.1:\d+)/predict", process.stdout.readline())
        assert found is not None
        try:
            with httpx.Client(base_url=found[1], timeout=60) as client:
                yield client
        finally:
            os.kill(process.pid, signal.SIGINT)
            status = process.wait(timeout=60)
    assert status == 0


@pytest.fixture(scope="module")
def client(digits: Path) -> Iterator[Any]:
    with served(digits, "--max-rows", "500", "--max-body", "300k") as found:
        yield found


def test_predictions_are_those_of_the_file(client: Any, digits: Path) -> None:
    x = DIGITS["x"][:7]
    answer = client.post("/predict", json={"x": x.tolist()})
    assert answer.status_code == 200
    wanted = dlc.Trainer(digits, "cpu").predict({"x": x})["probability"]
    np.testing.assert_allclose(answer.json()["probability"], wanted, rtol=1e-6)


def test_those_who_ask_at_once_are_answered_together_and_each_its_own(client: Any, digits: Path) -> None:
    parts = [DIGITS["x"][k : k + 1 + k % 3] for k in range(120)]
    wanted = dlc.Trainer(digits, "cpu").predict({"x": np.concatenate(parts)})["probability"]
    before = client.get("/health").json()
    with ThreadPoolExecutor(12) as pool:
        made = list(pool.map(lambda x: client.post("/predict", json={"x": x.tolist()}).json()["probability"], parts))
    after = client.get("/health").json()
    np.testing.assert_allclose(np.concatenate(made), wanted, rtol=1e-5)
    assert after["requests"] - before["requests"] == len(parts)
    assert after["runs"] - before["runs"] < len(parts)


def test_the_description_has_names_shapes_and_types(client: Any) -> None:
    said = client.get("/openapi.json").json()["paths"]["/predict"]["post"]
    x = said["requestBody"]["content"]["application/json"]["schema"]["properties"]["x"]
    assert x["type"] == "array" and x["title"] == "batch" and x["description"] == "float[batch, 64]"
    row = x["items"]
    assert (row["minItems"], row["maxItems"], row["items"]) == (64, 64, {"type": "number"})
    answer = said["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
    assert answer["probability"]["items"]["maxItems"] == 10


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        (b'{"x": [[1, 2]]}', JSON, 422, "E0611"),
        (b'{"z": 1}', JSON, 422, "E0609"),
        (b'{"x": [["a"]]}', JSON, 422, "E0614"),
        (b'{"x": [[1], [1, 2]]}', JSON, 422, "E06"),
        (b"{", JSON, 422, "E0660"),
        (b"[1]", JSON, 422, "E0660"),
        (b"[" * 100_000, JSON, 422, "E0660"),
        (b"\xff", JSON, 422, "E0660"),
        (b'{"x": [[' + b"9" * 5000 + b"]]}", JSON, 422, "E06"),
        (json.dumps({"x": [[float("nan")] * 64]}).encode(), JSON, 422, "E0616"),
        (json.dumps({"x": [[0] * 64] * 501}).encode(), JSON, 413, "501 rows"),
        (b" " * 300_001, JSON, 413, "300,001 bytes"),
        (iter([b" " * 200_000] * 2), JSON, 413, "more than 300,000 bytes"),
        (b'{"x": []}', JSON, 422, "E06"),
        (b"{}", {}, 415, "application/json"),
        (b"{}", {**JSON, "host": "elsewhere.example"}, 400, "Invalid host"),
    ],
)
def test_what_is_refused(client: Any, body: Any, headers: dict[str, str], status: int, said: str) -> None:
    answer = client.post("/predict", content=body, headers=headers)
    assert answer.status_code == status and said in answer.text
    assert client.get("/health").json()["status"] == "ok"


MIXED = """
model mixed {
    input x: float[batch, 2]
    output y = x - mean(x, axis = 0)
}
"""


def test_rows_that_know_of_each_other_run_by_request(tmp_path: Path) -> None:
    from dlc.cli.serve import apart
    from dlc.runtime import CompiledFile

    alone = MIXED.replace("x - mean(x, axis = 0)", "x - mean(x, axis = 1, keepdims = true)")
    for text, found in ((MIXED, False), (alone, True)):
        assert apart(CompiledFile.of(dlc.compile(text))) is found
    dlc.compile(MIXED).save(tmp_path / "mixed.onnx")
    with served(tmp_path / "mixed.onnx") as client:
        with ThreadPoolExecutor(8) as pool:
            sent = [[[float(k), 1.0], [float(k + 2), 3.0]] for k in range(60)]
            made = list(pool.map(lambda x: client.post("/predict", json={"x": x}).json()["y"], sent))
        assert made == [[[-1.0, -1.0], [1.0, 1.0]]] * 60


def _cell(text: str) -> float | str | None:
    """A cell as JSON has it."""
    if not text:
        return None
    return float(text) if text[0].isdigit() else text


def test_words_of_a_table(tmp_path: Path) -> None:
    trainer = dlc.fit(SPECS / "tables" / "penguins.dl", SPECS / "data" / "penguins.csv", device="cpu", epochs=3)
    trainer.save(tmp_path / "penguins.onnx")
    with (SPECS / "data" / "penguins.csv").open(newline="") as file:
        first = list(itertools.islice(csv.DictReader(file), 5))
    with served(tmp_path / "penguins.onnx") as client:
        said = client.get("/openapi.json").json()["paths"]["/predict"]["post"]
        fields = said["requestBody"]["content"]["application/json"]["schema"]["properties"]
        texts = [one for one in fields.values() if "string" in json.dumps(one)]
        assert texts and any(word in json.dumps(texts) for word in ("Biscoe", "MALE", "male"))
        rows = {name: [_cell(row[name]) for row in first] for name in first[0]}
        made = client.post("/predict", json=rows)
        assert made.status_code == 200, made.text
        wanted = trainer.predict(SPECS / "data" / "penguins.csv")
        for name, values in made.json().items():
            if wanted[name].dtype.kind in "US":
                assert values == wanted[name][:5].tolist()
            else:
                np.testing.assert_allclose(values, wanted[name][:5], rtol=1e-5)


def test_a_request_that_takes_too_long_is_given_up(digits: Path) -> None:
    from dlc.runtime.batcher import Batcher, Limits

    async def late() -> tuple[int, list[str]]:
        batcher = Batcher(dlc.Trainer(digits, "cpu"), Limits(waiting=2), True)
        body = json.dumps({"x": DIGITS["x"][:1].tolist()}).encode()
        ended = []
        for _ in range(2):  # nobody works: both wait until their time is over
            try:
                async with asyncio.timeout(0.2):
                    await batcher.ask(body, 0.0)
            except TimeoutError:
                ended.append("late")
        work = asyncio.create_task(batcher.work())
        await asyncio.sleep(0.2)
        work.cancel()
        return batcher.runs, ended

    assert asyncio.run(late()) == (0, ["late", "late"])


def test_what_the_command_refuses(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for words, code in (
            ([str(digits), "--port", port], "E0796"),
            ([str(digits), "--port", "65536"], "E0790"),
            ([str(digits), "--max-body", "much"], "E0790"),
            ([str(digits), "--max-time", "0"], "E0790"),
            ([str(digits), "--max-rows", "0"], "E0790"),
            ([str(SPECS / "digits.dl")], "E0790"),
        ):
            assert run(["serve", *words, "--device", "cpu"]) == 2
            assert code in capsys.readouterr().err


def test_without_the_extra(digits: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("dlc.cli.serve.find_spec", lambda name: None)
    assert run(["serve", str(digits)]) == 2
    assert "E0780" in capsys.readouterr().err


def test_what_is_no_number_is_null(tmp_path: Path) -> None:
    dlc.compile("model roots { input x: float[batch]\n output y = sqrt(x)\n output n = x > 0 }").save(
        tmp_path / "r.onnx"
    )
    with served(tmp_path / "r.onnx") as client:
        made = client.post("/predict", json={"x": [4.0, -1.0]}).json()
    assert made == {"y": [2.0, None], "n": [True, False]}
