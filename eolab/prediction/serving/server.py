"""uvicorn on a socket of its own, with a limit on connections that are slow to ask."""

import asyncio
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from eolab.core.errors import ParameterError

HEADER_SECONDS = 10.0  # until a request's first lines must be there
KEPT_SECONDS = 5  # that a connection is kept after an answer
CONNECTIONS = 256  # at once; more are answered 503


class Protocol(H11Protocol):
    """HTTP whose connections are closed when they do not ask for anything in time.

    uvicorn itself waits for ever for the end of a request's headers.
    """

    _slow: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Go on with a request, or wait for the rest of its headers."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._unwatch()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._unwatch()
        elif self._slow is None:
            self._slow = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _unwatch(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
        self._slow = None


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Args:
        host: Address of this machine, or its name.
        port: Port; 0 for any that is free.

    Raises:
        ParameterError: If that is not possible.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=CONNECTIONS)
    except (OSError, OverflowError) as error:
        raise ParameterError(
            f"Nothing can listen on {host} port {port} ({error}): give another --port, or --host."
        ) from None


def run(app: Any, listening: socket.socket) -> None:
    """Answer requests until the process is told to stop (SIGINT or SIGTERM)."""
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_keep_alive=KEPT_SECONDS,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=10,
    )
    uvicorn.Server(config).run(sockets=[listening])
