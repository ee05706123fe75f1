"""dlc serve"""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from dlc.runtime.failures import Error

from ..defaults import MAX_NODES
from . import kinds, report
from .options import OUTPUT, Device, Output, Whole, positive

if TYPE_CHECKING:
    from dlc.runtime.file import CompiledFile

UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}


def serve(
    file: Annotated[Path, Parameter(help="A .onnx file, or a run folder.")],
    /,
    *,
    host: Annotated[str, Parameter(help="The address to listen at; 0.0.0.0 for other machines too.")] = "127.0.0.1",
    port: Annotated[Whole, Parameter(help="The port; 0 takes one that is free.")] = 8000,
    max_rows: Annotated[Whole, Parameter(help="Rows of a request at most.")] = 10_000,
    max_body: Annotated[str, Parameter(help="Bytes of a request at most: 500k, 16M.")] = "16M",
    max_time: Annotated[str, Parameter(help="How long a request may take: 10s, 2m.")] = "30s",
    device: Device = "auto",
    output: Output = OUTPUT,
) -> None:
    """Answer predictions over HTTP until Ctrl-C."""
    if find_spec("fastapi") is None or find_spec("uvicorn") is None:
        raise Error("E0780", "`dlc serve` needs FastAPI and uvicorn", help='pip install "dlc-compiler[serve]"')
    from dlc.runtime.batcher import Limits
    from dlc.runtime.server import LOOPBACK, application
    from dlc.runtime.train import Trainer

    from .trained import compiled_file
    from .trials import seconds

    positive("max-rows", max_rows)
    if not 0 <= port < 65536:
        raise Error("E0790", "`--port` takes a number from 0 to 65535", notes=[f"found {port}"])
    limits = Limits(_bytes(max_body), max_rows, seconds(max_time))
    kinds.expect(file, "serve", kinds.COMPILED, kinds.RUN)
    compiled = compiled_file(file, predicts=True)
    trainer = Trainer(compiled, device=device)
    local = host in LOOPBACK
    app = application(trainer, limits, apart(compiled), LOOPBACK if local else ())
    listening = _listen(host, port)
    place = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
    if not local:
        report.note(f"note: whoever reaches {host} may ask: there is no authentication")
    _run(app, listening, f"{compiled.title} at {place}/predict, described at {place}/openapi.json; Ctrl-C ends")


def _run(app: Any, listening: socket.socket, said: str) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            report.say(said)

    config = uvicorn.Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=5)
    with suppress(KeyboardInterrupt), listening:  # which is how it ends
        Server(config).run(sockets=[listening])


def apart(file: CompiledFile) -> bool:
    """Whether no row of an output depends on another row, as far as the spec shows: then requests may run together. A
    quantizer that takes a range from the batch ties its rows together."""
    from ..analysis import batch_mixing
    from .embedded import module_of

    if file.stale is not None or any(node.op_type == "DynamicQuantizeLinear" for node in file.main.node):
        return False
    try:
        module = module_of(file, MAX_NODES)
    except Error:
        return False
    outputs = list(module.roots("output/").values())
    return batch_mixing.apart(module.graph.order(outputs), outputs, module.rows)


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises E0796."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as problem:
        raise Error(
            "E0796",
            (problem.strerror or str(problem)).lower(),
            where=f"{host}:{port}",
            help="--port 0 takes a port that is free",
        ) from None


def _bytes(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,12})([kmg]?)b?", text.strip().lower())
    if found is None or not int(found[1]):
        raise Error("E0790", f"`--max-body` takes a size above 0, not `{text}`", help="--max-body 500k, --max-body 16M")
    return int(found[1]) * UNITS[found[2]]
