"""`dlc serve`: a compiled file behind HTTP, by FastAPI (the extra `serve`).

POST /predict takes a JSON object of inputs by name and gives one of outputs; GET /openapi.json describes both, GET
/health says that it works. Nothing that a request holds is kept, written or sent anywhere.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.middleware.trustedhost import TrustedHostMiddleware

from . import openapi
from .batcher import Batcher, Limits, Refused
from .failures import Error

if TYPE_CHECKING:
    from .train import Trainer

LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


def application(trainer: Trainer, limits: Limits, joins: bool, hosts: tuple[str, ...] = ()) -> FastAPI:
    """The server of a trainer's predictions as an ASGI application. `joins`: whether rows of different requests may run
    together, because no row of an output depends on another. `hosts`: the names by which it may be called, any where
    none is given; a page in a browser cannot then reach it under a name of its own."""
    batcher = Batcher(trainer, limits, joins)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(batcher.work())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def predict(request: Request) -> Response:
        try:
            async with asyncio.timeout(limits.seconds):
                until = time.monotonic() + limits.seconds
                made = await batcher.ask(await _body(request, limits.body), until)
            text = await asyncio.to_thread(_text, made)
        except TimeoutError:
            return _refusal(503, f"no answer within {limits.seconds:g} s")
        except Refused as refused:
            return _refusal(refused.status, refused.why)
        except Error as problem:
            return JSONResponse({"errors": problem.records()}, 422)
        return Response(text, media_type="application/json")

    async def health() -> dict[str, Any]:
        return {"status": "ok", "model": trainer.file.title, "requests": batcher.asked, "runs": batcher.runs}

    app = FastAPI(
        title=trainer.file.title,
        version=str(trainer.file.updates),
        description=f"Predictions of `{trainer.file.title}`, after {trainer.file.updates:,} updates.",
        docs_url=None,  # pages that would fetch scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    if hosts:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    app.add_api_route(
        "/predict",
        predict,
        methods=["POST"],
        summary="The outputs for rows of inputs.",
        response_class=JSONResponse,
        openapi_extra={"requestBody": {"required": True, "content": _json(openapi.request(trainer))}},
        responses={
            200: {"description": "The outputs by name.", "content": _json(openapi.answer(trainer))},
            413: {"description": f"More than {limits.body:,} bytes or {limits.rows:,} rows."},
            415: {"description": "Not application/json."},
            422: {"description": "The inputs do not fit the model: `errors` say how."},
            503: {"description": f"No answer within {limits.seconds:g} s, or too many requests."},
        },
    )
    app.add_api_route("/health", health, methods=["GET"], summary="Whether it works, and what it was asked for.")
    return app


async def _body(request: Request, most: int) -> bytes:
    """The bytes of a request, no more than are allowed. Raises `Refused`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # what a form of another page sends without being asked is not
        raise Refused(415, "the content type of a request is application/json")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > most:
        raise Refused(413, f"{int(length):,} bytes, where a request may have {most:,}")
    found = bytearray()
    async for part in request.stream():
        found += part
        if len(found) > most:
            raise Refused(413, f"more than {most:,} bytes")
    return bytes(found)


def _text(made: dict[str, np.ndarray]) -> bytes:
    """Outputs as JSON, which has no NaN and no infinity: they are null."""
    values = {name: array.tolist() for name, array in made.items()}
    try:
        return json.dumps(values, allow_nan=False).encode()
    except ValueError:
        blank = {name: _blanked(array).tolist() for name, array in made.items()}
        return json.dumps(blank).encode()


def _blanked(array: np.ndarray) -> np.ndarray:
    held = array.astype(object)
    if array.dtype.kind == "f":
        held[~np.isfinite(array)] = None
    return held


def _refusal(status: int, why: str) -> Response:
    return JSONResponse({"errors": [{"code": None, "severity": "error", "message": why}]}, status)


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
