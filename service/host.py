"""An HTTP server on a thread, around an application: for the demo, `haltere serve` and tests."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from service.errors import AddressInUse, BadRequest

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 60.0
LOOK_S = 0.01
MAX_PORT = 65535


def listen(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """A bound socket (0: any free port), so that a taken port is known before any work."""
    if not 0 <= port <= MAX_PORT:
        raise BadRequest(f"port {port}: 0 to {MAX_PORT} there are, and 0 takes any that is free")
    try:
        listener = socket.create_server((host, port))
    except OSError as error:
        raise AddressInUse(f"cannot listen on {host}:{port}: {error.strerror}; --port N") from error
    # Connections inherit it. asyncio would set it, but not on a socket made without a protocol
    # number; head and body of an answer are two writes, which cost 40 ms a request without it.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


@contextmanager
def hosting(app: FastAPI, listener: socket.socket | None = None) -> Iterator[int]:
    """Serve until the block ends; gives the port."""
    listener = listener or listen()
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listener]}, name="http", daemon=True
    )
    thread.start()
    try:
        give_up = time.monotonic() + START_TIMEOUT_S
        while not server.started:
            if time.monotonic() > give_up or not thread.is_alive():
                raise TimeoutError(f"the HTTP server did not start in {START_TIMEOUT_S} s")
            time.sleep(LOOK_S)  # uvicorn has no event for it
        port: int = listener.getsockname()[1]
        yield port
    finally:
        server.should_exit = True
        thread.join(STOP_TIMEOUT_S)
        listener.close()
