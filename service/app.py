"""The HTTP edge: thin routes over `Gateway` (inference) and `Control` (jobs, devices).

Inference is the Open Inference Protocol v2 under /v2, everything else is under /v1. Handlers
parse, call one method, and write the answer; statuses come from `service.errors`.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import orjson
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from service import oip
from service.control import Control
from service.errors import BadRequest, TooLarge, headers_of, status_of
from service.gateway import Gateway
from service.settings import Settings
from service.tensors import Answer, TensorSpec

MAX_DIGITS = 15  # of a number of bytes
HEADER_LENGTH = "Inference-Header-Content-Length"
CLIENT_CLOSED = 499
EXTENSIONS = ["binary_tensor_data", "model_repository"]


def _json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers, "application/json")


def create_app(settings: Settings, gateway: Gateway, control: Control | None = None) -> FastAPI:
    """The application over its collaborators; it closes the gateway when it stops."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        gateway.close()

    app = FastAPI(title="haltere", version="0.1.0", lifespan=lifespan)
    app.state.gateway = gateway

    @app.middleware("http")
    async def answer_errors(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        try:
            return await call_next(request)
        except ClientDisconnect:
            return Response(status_code=CLIENT_CLOSED)  # nobody reads it
        except Exception as error:
            if not hasattr(error, "disposition"):
                raise
            status = status_of(error)
            body = {"error": str(error), "code": getattr(error, "code", "error")}
            return _json(body, status, headers_of(status))

    @app.exception_handler(HTTPException)
    async def answer_no_route(request: Request, error: HTTPException) -> Response:
        """Clients of the protocol read `error` whatever the status is."""
        text = f"{error.detail}: {request.method} {request.url.path}; what there is: GET /"
        codes = {404: "not_found", 405: "method_not_allowed"}
        body = {"error": text, "code": codes.get(error.status_code, "bad_request")}
        return _json(body, error.status_code, dict(error.headers or {}))

    _add_inference(app, settings, gateway)
    _add_sessions(app, settings, gateway)
    if control is not None:
        _add_control(app, settings, control)
        _add_services(app, gateway)
    return app


def _add_inference(app: FastAPI, settings: Settings, gateway: Gateway) -> None:
    @app.get("/", include_in_schema=False)
    async def guide() -> Response:
        return _json({"inference": "/v2/models/NAME", "jobs": "/v1/jobs", "api": "/docs"})

    @app.get("/v2")
    @app.get("/v2/", include_in_schema=False)
    async def server_metadata() -> Response:
        return _json({"name": "haltere", "version": app.version, "extensions": EXTENSIONS})

    @app.get("/v2/health/live")
    async def live() -> Response:
        return _json({"live": True})

    @app.get("/v2/health/ready")
    async def ready() -> Response:
        return _json({"ready": True})

    @app.post("/v2/repository/index")
    async def repository() -> Response:
        return _json(
            [{"name": n, "version": gateway.version, "state": "READY"} for n in gateway.names()]
        )

    @app.get("/v2/models/{name}/versions/{version}/ready")
    @app.get("/v2/models/{name}/ready")
    async def model_ready(name: str, version: str = "") -> Response:
        gateway.model(name, version)
        return _json({"name": name, "ready": True})

    @app.get("/v2/models/{name}/versions/{version}")
    @app.get("/v2/models/{name}")
    async def model_metadata(name: str, version: str = "") -> Response:
        model = gateway.model(name, version)
        return _json(
            {
                "name": name,
                "versions": [gateway.version],
                "platform": model.platform,
                "inputs": [_described(spec) for spec in model.inputs],
                "outputs": [_described(spec) for spec in model.outputs],
            }
        )

    @app.post("/v2/models/{name}/versions/{version}/infer")
    @app.post("/v2/models/{name}/infer")
    async def infer(name: str, request: Request, version: str = "") -> Response:
        gateway.model(name, version)  # an unknown model is 404 whatever the body holds
        parsed = await _inference(request, settings)
        answer = await gateway.infer(name, version, parsed.inputs, parsed.timeout_us)
        return _answered(name, gateway.version, parsed, answer)


def _add_sessions(app: FastAPI, settings: Settings, gateway: Gateway) -> None:
    @app.post("/v2/models/{name}/versions/{version}/sessions")
    @app.post("/v2/models/{name}/sessions")
    async def open_session(name: str, request: Request, version: str = "") -> Response:
        gateway.model(name, version)
        state = await _body(request, settings.max_body_bytes)
        key, calls = gateway.open_session(name, version, state)
        where = f"/v2/models/{quote(name)}/sessions/{key}"
        return _json({"session": key, "calls": calls}, 201, {"Location": where})

    @app.post("/v2/models/{name}/sessions/{key}/infer")
    async def infer_session(name: str, key: str, request: Request) -> Response:
        gateway.model(name)
        parsed = await _inference(request, settings)
        answer = await gateway.infer_session(name, "", key, parsed.inputs, parsed.timeout_us)
        return _answered(name, gateway.version, parsed, answer)

    @app.get("/v2/models/{name}/sessions/{key}/state")
    async def session_state(name: str, key: str) -> Response:
        state = gateway.session_state(name, "", key)
        return Response(state, media_type="application/octet-stream")

    @app.delete("/v2/models/{name}/sessions/{key}")
    async def close_session(name: str, key: str) -> Response:
        gateway.close_session(name, "", key)
        return Response(status_code=204)


def _add_control(app: FastAPI, settings: Settings, control: Control) -> None:
    @app.get("/v1/devices")
    async def devices() -> Response:
        return _json(control.devices())

    @app.post("/v1/devices/{uri}/drain")
    async def drain(uri: str, request: Request) -> Response:
        body = await _body(request, settings.max_body_bytes)
        return _json(control.drain(uri, body), 202)

    @app.post("/v1/devices/{uri}/drain/cancel")
    async def cancel_drain(uri: str) -> Response:
        return _json(control.cancel_drain(uri), 202)

    @app.get("/v1/window")
    async def window() -> Response:
        return _json(control.window())

    @app.post("/v1/window")
    async def open_window(request: Request) -> Response:
        body = await _body(request, settings.max_body_bytes)
        return _json(control.open_window(body), 202)

    @app.get("/v1/quotas")
    async def quotas() -> Response:
        return _json(control.quotas())

    @app.get("/v1/jobs")
    async def jobs() -> Response:
        return _json(control.jobs())

    @app.post("/v1/jobs")
    async def submit(request: Request) -> Response:
        body = await _body(request, settings.max_body_bytes)
        job = control.submit(body)
        return _json(job, 202, {"Location": f"/v1/jobs/{job['id']}"})

    @app.get("/v1/jobs/{job_id}")
    async def job(job_id: str) -> Response:
        return _json(control.job(job_id))

    @app.post("/v1/jobs/{job_id}/cancel")
    async def cancel(job_id: str) -> Response:
        return _json(control.cancel(job_id), 202)


def _add_services(app: FastAPI, gateway: Gateway) -> None:
    @app.get("/v1/services")
    async def services() -> Response:
        return _json(gateway.services())


async def _inference(request: Request, settings: Settings) -> oip.InferRequest:
    body = await _body(request, settings.max_body_bytes)
    return oip.parse_request(body, _header_length(request))


def _answered(name: str, version: str, parsed: oip.InferRequest, answer: Answer) -> Response:
    content, json_length = oip.build_response(
        name, version, parsed, answer.outputs, answer.parameters
    )
    if json_length is None:
        return Response(content, media_type="application/json")
    return Response(content, 200, {HEADER_LENGTH: str(json_length)}, "application/octet-stream")


def _described(spec: TensorSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "datatype": oip.datatype_of(spec.dtype),
        "shape": list(spec.shape),
    }


def _header_length(request: Request) -> int | None:
    text = request.headers.get(HEADER_LENGTH)
    if text is None:
        return None
    if not text.isdecimal() or len(text) > MAX_DIGITS:
        raise BadRequest(f"{HEADER_LENGTH} is {text[:MAX_DIGITS]!r}: a number of bytes")
    return int(text)


async def _body(request: Request, limit: int) -> bytes:
    """The whole body, decompressed, never holding more than `limit` bytes of it."""
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > limit:
            raise TooLarge(f"the body is larger than {limit} bytes")
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding == "identity":
        return bytes(received)
    windows = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
    if encoding not in windows:
        raise BadRequest(f"Content-Encoding {encoding!r}; known are gzip, deflate, identity")
    try:
        inflater = zlib.decompressobj(windows[encoding])
        plain = inflater.decompress(bytes(received), limit)
    except zlib.error as error:
        raise BadRequest(f"the body is not {encoding}: {error}") from error
    if inflater.unconsumed_tail:
        raise TooLarge(f"the body unpacks to more than {limit} bytes")
    if not inflater.eof or inflater.unused_data:
        raise BadRequest(f"the {encoding} body is cut off, or something follows it")
    return plain
