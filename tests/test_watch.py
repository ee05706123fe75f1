"""`dlc train --watch`: who has the address sees the run's figures, and no one else anything."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dlc
import pytest
from dlc.cli import main
from dlc.reports.watch import Watch
from opened import Opened

ROOT = Path(__file__).parent.parent
RECORD = '{"epoch": %d, "step": %d, "seconds": %r, "train": {"loss": %r}, "validation": null}\n'


def asked(address: str, path: str | None = None, host: str | None = None) -> tuple[int, str, dict[str, str]]:
    url = urlsplit(address)
    connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=20)
    connection.request("GET", url.path if path is None else path, headers={"Host": host or url.netloc})
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), dict(answer.getheaders())


@pytest.fixture
def served(tmp_path: Path) -> Any:
    program = dlc.compile(ROOT / "specs" / "xor.dl")
    trainer = dlc.Trainer(program)
    folder = tmp_path / "<b>xor"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text(RECORD % (1, 10, 3.5, 0.75))
    watch = Watch(folder, trainer.file)
    yield watch, folder
    watch.close()


def test_the_page_has_the_figures_so_far(served: Any) -> None:
    watch, folder = served
    status, text, headers = asked(watch.address)
    assert status == 200 and headers["Refresh"] == "2" and headers["Cache-Control"] == "no-store"
    assert "0.75" in text and "Training: this page is drawn anew" in text and "<b>xor" not in text
    assert "default-src 'none'" in text
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(RECORD % (2, 20, 7.5, 0.625) + '{"epoch": 3, "st')  # a line that is being written
    text = asked(watch.address)[1]
    assert "7.5" in text and "11.0" not in text  # seconds count from the beginning of the run, as updates do
    charts = json.loads(text.partition('id="data">')[2].partition("</script>")[0])["charts"]
    assert charts[0]["points"] == [1, 2] and charts[0]["series"][0]["values"] == [0.75, 0.625]
    watch.over.set()
    status, text, headers = asked(watch.address)
    assert "Refresh" not in headers and "Training is over." in text


def test_no_one_else_sees_anything(served: Any) -> None:
    watch, _ = served
    token = urlsplit(watch.address).path.strip("/")
    assert watch.server.server_address[0] == "127.0.0.1" and len(token) >= 24
    for path in ("/", "/report", f"/{token[:-1]}", f"/{token}x", f"/{token}/../x", "/%00", "/%C3%A9"):
        assert asked(watch.address, path)[0] == 404, path
    assert asked(watch.address, host="evil.example")[0] == 404  # a name that was made to lead here
    assert asked(watch.address, host=f"localhost:{watch.port}")[0] == 200


def test_a_run_is_watched_and_trains_the_same(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from dlc.cli import main; import sys; sys.exit(main())",
        "train",
        str(ROOT / "specs" / "xor.dl"),
        "--quiet",
    ]
    assert main([*command[3:], "--runs", str(tmp_path / "a")]) == 0
    with subprocess.Popen(
        [*command, "--watch", "--runs", str(tmp_path / "b")], stderr=subprocess.PIPE, text=True
    ) as done:
        assert done.stderr is not None
        line = done.stderr.readline()
        found = re.match(r"watch  (http://127\.0\.0\.1:\d+/[\w-]+/)$", line)
        assert found is not None, line
        assert asked(found[1])[0] == 200
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                text = asked(found[1])[1]
            except OSError:
                break
            if "Training is over." in text:
                break
            time.sleep(0.2)
        assert done.wait(60) == 0
    [plain], [watched] = ([*(tmp_path / name).glob("*/metrics.jsonl")] for name in "ab")

    def figures(path: Path) -> list[Any]:
        return [{**json.loads(line), "seconds": 0} for line in path.read_text().splitlines()]

    assert figures(plain) == figures(watched)


@pytest.mark.parametrize("option", ["--dry-run", "--find-lr", "--overfit=1"])
def test_what_makes_no_run_is_not_watched(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(ROOT / "specs" / "xor.dl"), "--watch", option]) == 2
    assert "`--watch` is for runs" in capsys.readouterr().err


@pytest.mark.browser
@pytest.mark.parametrize("size", [(1400, 1000), (900, 700), (420, 800)])
def test_a_browser_draws_it(chromium: Any, served: Any, size: tuple[int, int]) -> None:
    watch, folder = served
    (folder / "metrics.jsonl").write_text("".join(RECORD % (i, 10 * i, 0.5 * i, 1 / i) for i in range(1, 40)))

    class Address:
        def as_uri(self) -> str:
            return str(watch.address)

    opened = Opened(chromium, Address(), size=size, ready=".uplot canvas")  # type: ignore[arg-type]
    assert opened.tab.evaluate("document.documentElement.scrollWidth") <= size[0]
    opened.tab.wait_for_timeout(2600)  # it was drawn anew
    assert opened.said == [] and len(opened.asked) >= 2 and set(opened.asked) == {watch.address}
    opened.tab.close()
