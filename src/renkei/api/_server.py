"""Serving an application over HTTP: one process, until it is told to stop."""

import asyncio
import signal
import socket
import ssl
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import anyio
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from renkei.errors import UsageError
from renkei.model.serving import ServeTable

HEAD_S = 20.0
"""How long the head of a request may take to arrive."""
CONNECTIONS_MAX = 2000
"""How many connections are served at the same time; who comes then is told to come again."""
STOP_S = 5
"""How long requests under way may take after the site was told to stop."""


async def serve_app(app: Any, table: ServeTable, listener: socket.socket, ready: Callable[[str], None]) -> None:
    """Serve an application until SIGTERM or SIGINT comes.

    Args:
        app: The ASGI application.
        table: TLS and names.
        listener: Where it listens; see `listening`.
        ready: Told the URL once requests are accepted.
    """
    server = Server(configured(app, table))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_tell, server, table, listener, ready)
        await server.serve(sockets=[listener])
        tasks.cancel_scope.cancel()


async def _tell(
    server: uvicorn.Server, table: ServeTable, listener: socket.socket, ready: Callable[[str], None]
) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        while not server.started:
            await anyio.sleep(0.01)
        host, port = listener.getsockname()[:2]
        name = f"[{host}]" if ":" in host else host
        ready(f"{'http' if table.certificate is None else 'https'}://{name}:{port}")
        async for _ in signals:
            server.should_exit = True


def configured(app: Any, table: ServeTable) -> uvicorn.Config:
    """Return how uvicorn serves an application."""
    return uvicorn.Config(
        app,
        http=_Http,
        ws="none",
        loop="asyncio",
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=STOP_S,
        limit_concurrency=CONNECTIONS_MAX,
        ssl_certfile=table.certificate,
        ssl_keyfile=table.certificate_key,
        ssl_version=ssl.PROTOCOL_TLS_SERVER,
    )


class Server(uvicorn.Server):
    """Leaves signals to who runs it."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


class _Http(HttpToolsProtocol):
    """Ends a connection whose request's head does not arrive in time."""

    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch = self.loop.call_later(HEAD_S, self._too_slow)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._stop_watch()
        self._watch = self.loop.call_later(HEAD_S, self._too_slow)

    def on_headers_complete(self) -> None:
        self._stop_watch()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watch()
        super().connection_lost(exc)

    def _stop_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _too_slow(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


@contextmanager
def listening(table: ServeTable) -> Generator[socket.socket]:
    """Hold the address that a site listens at.

    Raises:
        UsageError: It cannot be had.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(table.host, table.port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address, family=family, backlog=2048)
    except OSError as error:
        raise UsageError(
            f"{table.host} port {table.port} cannot be listened at: {error.strerror or error}.",
            "Stop what listens there, or give [serve] another port.",
        ) from error
    with listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else every kept connection waits 40 ms
        yield listener
