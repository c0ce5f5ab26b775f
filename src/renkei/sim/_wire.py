"""Simulated HTTP: the real client and the real application of a site, with a simulated line in place of sockets."""

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import anyio
import httpx
from starlette.applications import Starlette
from starlette.routing import Mount

from renkei.api import Context
from renkei.api._protocol import Protocol
from renkei.clock import Clock
from renkei.errors import RenkeiError
from renkei.federation.http import HttpSite
from renkei.model.site_file import SiteFile
from renkei.sim._clock import SimClock
from renkei.sim._network import Line, Reply
from renkei.site import Site
from renkei.trust.keys import Key
from renkei.trust.tokens import Tokens

if TYPE_CHECKING:
    from renkei.sim._processes import SiteProcess

Message = MutableMapping[str, Any]
Asgi = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


def app_of(site: Site, clock: SimClock) -> Asgi:
    """Return the application that serves the renkei protocol of a site, as `renkei site serve` does."""
    file = cast("SiteFile", SimpleNamespace(serve=None))
    context = Context(site, file, cast("Tokens", None), clock)
    return Starlette(routes=[Mount("/renkei/v1", routes=Protocol(context).routes())])


def http_site(host: "SiteProcess", line: Line, key: Key, site_key: str, clock: Clock) -> HttpSite:
    """Return the handle to a site over simulated HTTP."""
    client = httpx.AsyncClient(transport=SimTransport(host, line, clock), timeout=30.0, trust_env=False)
    return HttpSite(host.name, f"http://{host.name}.example", key, site_key, clock, client)


class SimTransport(httpx.AsyncBaseTransport):
    """Carries requests over a line to whatever life of a site's process is there when they arrive.

    Args:
        host: The process of the site, whether it is up or not.
        line: The way to it.
        clock: Of the process that asks.
    """

    def __init__(self, host: "SiteProcess", line: Line, clock: Clock) -> None:
        self._host, self._line, self._clock = host, line, clock

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return an answer whose body is still on its way.

        Raises:
            httpx.TransportError: There is none.
        """
        body = await request.aread()
        answer = _Answer(request)
        until = anyio.current_time() + request.extensions["timeout"]["read"]
        n_copies = 2 if self._line.chance.random() < self._line.repeats else 1
        arrivals = [delay for _ in range(n_copies) if (delay := self._line.delay()) is not None]
        for n, delay in enumerate(arrivals):
            each = answer if n == 0 else _Answer(request)  # what a copy is answered goes nowhere

            async def serve(site: Site, each: _Answer = each) -> None:
                del site
                await each.serve(self._host.asgi(), body)

            self._host.deliver(delay, serve, each.done)
        with anyio.move_on_at(until):
            await answer.begun.wait()
            if (back := self._line.delay()) is not None:
                await self._clock.sleep(back)
                if answer.is_broken:
                    raise httpx.ReadError("the connection was closed", request=request)
                return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer, self))
        await self._clock.sleep(max(0.0, until - anyio.current_time()))
        raise httpx.ReadTimeout("no answer", request=request)

    async def carry(self, answer: "_Answer") -> AsyncIterator[bytes]:
        """Yield the body of an answer as it comes."""
        read_s = answer.request.extensions["timeout"]["read"]
        while True:
            chunks, answer.chunks = answer.chunks, []
            if chunks:
                if (delay := self._line.delay()) is None:
                    raise httpx.ReadError("the line broke", request=answer.request)
                await self._clock.sleep(delay if answer.is_stream else 0.0)
                yield b"".join(chunks)
            elif answer.is_over:
                return
            elif answer.is_broken or self._line.is_cut:
                raise httpx.ReadError("the connection was closed", request=answer.request)
            else:
                answer.more = anyio.Event()
                with anyio.move_on_after(read_s) as patience:
                    await answer.more.wait()
                if patience.cancelled_caught:
                    raise httpx.ReadTimeout("the site is silent", request=answer.request)


class _Answer:
    """What an application sends; `done` is over when it, or the process that it runs in, is."""

    def __init__(self, request: httpx.Request) -> None:
        self.request = request
        self.done = _Done(self)
        self.begun, self.more, self.gone = anyio.Event(), anyio.Event(), anyio.Event()
        self.status, self.headers = 0, list[tuple[bytes, bytes]]()
        self.chunks: list[bytes] = []
        self.is_over = self.is_broken = False

    @property
    def is_stream(self) -> bool:
        return self.request.url.path.endswith("/events")

    async def serve(self, app: Asgi, body: bytes) -> None:
        """Have an application answer."""
        url, is_asked = self.request.url, False
        scope: Message = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": self.request.method,
            "scheme": "http", "path": url.path, "raw_path": url.raw_path, "query_string": url.query, "root_path": "",
            "headers": [(name.lower(), value) for name, value in self.request.headers.raw],
            "server": (url.host, 80), "client": ("127.0.0.1", 1),
        }  # fmt: skip

        async def receive() -> Message:
            nonlocal is_asked
            if not is_asked:
                is_asked = True
                return {"type": "http.request", "body": body, "more_body": False}
            await self.gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.status, self.headers = message["status"], list(message["headers"])
            else:
                self.chunks += [message["body"]] if message.get("body") else []
                self.is_over = not message.get("more_body")
                self.begun.set()
            self.more.set()

        await app(scope, receive, send)

    def break_off(self) -> None:
        """The process is gone: nothing more comes."""
        self.is_broken = not self.is_over
        self.begun.set()
        self.more.set()
        self.gone.set()


class _Done(Reply[None]):
    def __init__(self, answer: _Answer) -> None:
        super().__init__()
        self._what = answer

    def fail(self, error: RenkeiError) -> None:
        self._what.break_off()
        super().fail(error)


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: _Answer, way: SimTransport) -> None:
        self._answer, self._way = answer, way

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._way.carry(self._answer):
            yield chunk

    async def aclose(self) -> None:
        self._answer.gone.set()
