"""The paths of the service, its limits and its errors, on FastAPI."""

import asyncio
import html
import json
import time
from collections.abc import Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from eolab import __version__
from eolab.core.errors import EolabError
from eolab.data.layouts.geotiff import TooLargeError
from eolab.prediction.engines import Inputs
from eolab.prediction.serving import answering, reading
from eolab.prediction.serving.answering import Model
from eolab.prediction.serving.joining import Joined, LateError

TIFF, JSON, ANY = "image/tiff", "application/json", "*/*"
OTHERS = ("image/geotiff", "image/*")
VALUE_BYTES = 4  # of an array as float32
LONGEST_PATH = 60  # letters of a path in the log
BUSY = "This server has as many requests as it takes: send yours again in a second."


@dataclass(frozen=True)
class Limits:
    """What the service takes.

    Attributes:
        megabytes: Size of a request, and of its image once it is unpacked, as float32.
        seconds: Time to send a request, and then to answer it.
        requests: Requests at once, of which one batch is computed and the others wait.
        batch: Samples that are computed at once.
    """

    megabytes: int = 64
    seconds: float = 30.0
    requests: int = 16
    batch: int = 16


class RefusedError(Exception):
    """A request that is answered with a status and one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass
class Service:
    """Answers requests with one model.

    Attributes:
        model: The model.
        predict: Its predictions, of requests that come together.
        limits: What is taken.
        inside: Requests that are being sent, wait or are computed.
        answered: Requests that were answered.
    """

    model: Model
    predict: Joined
    limits: Limits
    inside: int = 0
    answered: int = 0
    _threads: ThreadPoolExecutor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._threads = ThreadPoolExecutor(self.limits.requests, thread_name_prefix="requests")

    @property
    def most_bytes(self) -> int:
        """Largest request, and largest image once it is unpacked."""
        return self.limits.megabytes * 1_000_000

    async def answer(self, request: Request, stated: tuple[str, ...], kind: str) -> Response:
        """Answer one request.

        Args:
            request: The request.
            stated: Names of the bands that are sent; empty for those in the file.
            kind: Media type of the answer.

        Raises:
            RefusedError: If it is too large, takes too long, cannot be used, or the service is full.
        """
        if self.inside >= self.limits.requests:
            raise RefusedError(503, BUSY)
        self.inside += 1
        work = None
        try:
            content = await self._body(request)
            deadline = time.monotonic() + self.limits.seconds
            loop = asyncio.get_running_loop()
            work = loop.run_in_executor(self._threads, self._work, content, stated, kind, deadline)
            work.add_done_callback(self._left)  # the thread may go on for a while after it was given up
            return await asyncio.wait_for(asyncio.shield(work), self.limits.seconds)
        except (LateError, TimeoutError):
            raise RefusedError(
                504,
                f"No answer within {self.limits.seconds:g} s: send a smaller image, or again later.",
            ) from None
        finally:
            if work is None:
                self.inside -= 1

    def _left(self, work: asyncio.Future[Response]) -> None:
        self.inside -= 1
        if not work.cancelled():
            work.exception()  # is raised where it is waited for, and needs no word where it was given up

    async def _body(self, request: Request) -> bytes:
        """Return what is sent, in time and up to the limit."""
        large = RefusedError(
            413, f"The request has more than {self.limits.megabytes} MB: send a smaller image, or start the "
            "server with a larger --max-mb."
        )  # fmt: skip
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self.most_bytes:
            raise large
        content = bytearray()
        try:
            async with asyncio.timeout(self.limits.seconds):
                async for chunk in request.stream():
                    content += chunk
                    if len(content) > self.most_bytes:
                        raise large
        except TimeoutError:
            raise RefusedError(
                408, f"The request was not sent within {self.limits.seconds:g} s: send it in one go."
            ) from None
        return bytes(content)

    def _work(self, content: bytes, stated: tuple[str, ...], kind: str, deadline: float) -> Response:
        """Return the answer to a whole request; in a thread."""
        upload = reading.read(content, self.most_bytes // VALUE_BYTES)

        def predict(inputs: Inputs) -> Any:
            return self.predict(inputs, deadline)

        answer = self.model.answer(upload, stated, predict)
        self.answered += 1
        if kind == TIFF:
            return Response(answering.to_geotiff(self.model, answer), media_type=TIFF)
        return Response(json.dumps(answering.to_json(self.model, answer)), media_type=JSON)


def wanted_kind(given: str, accept: str) -> str:
    """Return the media type of an answer.

    Args:
        given: ``"json"``, ``"geotiff"``, or empty to look at `accept`.
        accept: The header of that name.

    Raises:
        RefusedError: If another kind is asked for.
    """
    if given:
        return {"json": JSON, "geotiff": TIFF}[given]
    kinds = [one.partition(";")[0].strip().lower() for one in accept.split(",") if one.strip()]
    for kind in kinds or [ANY]:
        if kind in (JSON, ANY, "application/*"):
            return JSON
        if kind in (TIFF, *OTHERS):
            return TIFF
    raise RefusedError(406, f"Answers are {JSON} or {TIFF}, not {accept[:100]}: ask for one of these.")


def app(service: Service, say: Callable[[str], None] | None = None) -> FastAPI:
    """Return the application.

    Args:
        service: What answers.
        say: Is given a line a request; None for no lines.
    """
    model, limits = service.model, service.limits
    made = FastAPI(
        title=f"eolab: {model.name}", version=__version__, docs_url=None, redoc_url=None,
        description="Send an image, get what the network of a run predicts.",
    )  # fmt: skip
    facts = {**model.facts, "bands": list(model.form.bands), "shape": list(model.shape)}
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in
               (TIFF, "application/x-hdf5", "application/octet-stream")}  # fmt: skip
    error = {"description": "One sentence under `error`."}
    refusals: dict[int | str, dict[str, Any]] = dict.fromkeys((406, 408, 413, 415, 422, 503, 504), error)

    @made.post(
        "/predict",
        summary="Predict an image or series: a GeoTIFF, HDF5 or npy file as the body",
        response_class=Response,
        responses={200: {"content": {JSON: {}, TIFF: {}}}, **refusals},
        openapi_extra={"requestBody": {"required": True, "content": content}},
    )
    async def predict(
        request: Request, bands: str = "", format: Literal["", "json", "geotiff"] = ""
    ) -> Response:
        kind = wanted_kind(format, request.headers.get("accept", ""))
        return await service.answer(request, tuple(filter(None, bands.split(","))), kind)

    @made.get("/health", summary="Whether the service answers, and how busy it is")
    async def health() -> dict[str, Any]:
        done = {"batches": service.predict.batches, "samples": service.predict.samples}
        return {
            "status": "ok",
            "run": model.name,
            "inside": service.inside,
            "answered": service.answered,
        } | done

    @made.get("/model", summary="The run, its bands and its classes, and the limits")
    async def model_facts() -> dict[str, Any]:
        return {"run": model.name, "task": model.task, **facts, "limits": vars(limits)}

    @made.get("/docs", include_in_schema=False, response_class=HTMLResponse)
    async def docs(request: Request) -> str:
        return page(made.openapi(), facts, str(request.base_url))

    async def refused(_: Request, error: Exception) -> JSONResponse:
        status, sentence = said_of(error)
        return JSONResponse({"error": sentence}, status, {"Retry-After": "1"} if status == 503 else None)

    for kind in (
        RefusedError,
        EolabError,
        HTTPException,
        RequestValidationError,
        ClientDisconnect,
        Exception,
    ):
        made.add_exception_handler(kind, refused)
    if say is not None:
        made.add_middleware(Log, say=say)
    return made


def said_of(error: Exception) -> tuple[int, str]:
    """Return status and sentence of an error."""
    match error:
        case RefusedError():
            return error.status, str(error)
        case TooLargeError():
            return 413, str(error)
        case reading.UnknownKindError():
            return 415, str(error)
        case EolabError():
            return 422, str(error)
        case HTTPException():
            return error.status_code, f"{error.detail}: the paths are in /docs."
        case RequestValidationError():
            return 422, "format is json or geotiff, bands are names with commas: see /docs."
        case ClientDisconnect():
            return 499, "The connection was closed."  # nobody reads it: for the log
        case _:
            return 500, f"The server failed ({type(error).__name__}): its log says more."


class Log:
    """Says one line a request: time, method, path, status, milliseconds."""

    def __init__(self, app: Any, say: Callable[[str], None]) -> None:
        self.app, self.say = app, say

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Answer a request and say a line of it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def watched(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            path = ascii(scope["path"])[1:-1]  # a path may hold any letter, ends of lines too
            taken = 1e3 * (time.perf_counter() - started)
            shown = path if len(path) <= LONGEST_PATH else f"{path[:LONGEST_PATH]}…"
            self.say(f"{time.strftime('%H:%M:%S')} {scope['method']} {shown} {status} {taken:.0f} ms")


def page(schema: dict[str, Any], facts: dict[str, Any], address: str) -> str:
    """Return a page that says how to use the service; it loads nothing from elsewhere.

    Args:
        schema: Its OpenAPI schema.
        facts: What is known of the model.
        address: Where the service is.
    """
    rows = "".join(
        f"<tr><td>{method.upper()} {path}</td><td>{html.escape(one.get('summary', ''))}</td></tr>"
        for path, methods in schema["paths"].items()
        for method, one in methods.items()
    )
    known = "".join(
        f"<tr><td>{html.escape(key)}</td><td>{html.escape(json.dumps(value, ensure_ascii=False))}</td></tr>"
        for key, value in facts.items()
    )
    example = html.escape(
        f"curl --data-binary @image.tif {address}predict\n"
        f"curl --data-binary @image.tif -H 'Accept: {TIFF}' -o mask.tif {address}predict"
    )
    title = html.escape(schema["info"]["title"])
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        "<style>body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
        "td{padding:.2em 1em .2em 0;vertical-align:top}pre{overflow:auto}</style>"
        f"<h1>{title}</h1><pre>{example}</pre><table>{rows}</table><h2>Model</h2><table>{known}</table>"
        '<p>The same for programs: <a href="openapi.json">openapi.json</a></p></html>'
    )
