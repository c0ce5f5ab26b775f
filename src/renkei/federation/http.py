"""A handle to a site elsewhere, over HTTPS: the campaign's side of the renkei protocol."""

import base64
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
import msgspec

from renkei.clock import Clock
from renkei.errors import AgreementError, Denied, Expired, ProtocolMismatch, RemoteError, Replayed, Unreachable
from renkei.federation.messages import PASS, Description, Pass, Reports
from renkei.trust.envelope import Envelope, seal
from renkei.trust.keys import Key

TIMEOUT_S = 30.0
"""How long an answer is waited for; then what happened is unknown."""
TRIES = 3
"""How often a question that changes nothing is put before its site counts as unreachable."""
RETRY_S = 0.2
"""How long to wait before the second try; doubles with every further one, with jitter."""
BREAK_AFTER = 5
"""After so many failures in a row a site is left alone for a while."""
BREAK_S = 2.0
"""How long at first; doubles with every further failure."""
BREAK_MAX_S = 60.0
SILENCE_S = 60.0
"""A stream that does not even say that it is alive for so long is opened again."""
PASS_S = 100.0
"""How long a pass is used until a new one is signed."""

T = TypeVar("T")

_errors: dict[str, type[AgreementError]] = {kind.code: kind for kind in (Denied, Expired, Replayed)}


class HttpSite:
    """A site that is reached over HTTP; satisfies `renkei.federation.SiteHandle`.

    Args:
        name: The site's name in the agreement.
        url: Where it is, as the agreement says.
        key: Of the institution in whose name is asked.
        site_key: The public key of the site's institution, as the agreement has it.
        clock: Time.
        client: What makes the requests; made when left out. Connections are kept and used again.
    """

    def __init__(
        self, name: str, url: str, key: Key, site_key: str, clock: Clock, client: httpx.AsyncClient | None = None
    ) -> None:
        self.name, self.url = name, url.rstrip("/")
        self._key, self._site_key, self._clock = key, site_key, clock
        limits = httpx.Limits(max_connections=32, max_keepalive_connections=32, keepalive_expiry=60.0)
        self._client = client or httpx.AsyncClient(limits=limits, timeout=TIMEOUT_S, follow_redirects=False)
        self._base = f"{self.url}/renkei/v1"
        self._pass: tuple[float, str] = (-PASS_S, "")
        self._n_failures = 0
        self._closed_until = 0.0
        self._random = random.Random(int.from_bytes(clock.random_bytes(8), "big"))  # noqa: S311 - for jitter

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator["HttpSite"]:
        """Keep connections until the end of the block."""
        async with self._client:
            yield self

    async def describe(self, team: str) -> Description:
        """See `SiteHandle.describe`.

        Raises:
            Denied: The site is not the one of the agreement: it has another key or name.
        """
        answer = await self._ask("GET", "/site", params={"team": team})
        described = _decoded(answer, Description)
        if described.site != self.name or described.key != self._site_key:
            raise Denied(
                f"{self.url} is not site '{self.name}' of the agreement: it answers as '{described.site[:60]}'"
                f" with {'another' if described.key != self._site_key else 'its'} key.",
                "Check its URL and its institution's key in the agreement.",
            )
        return described

    async def submit(self, envelope: Envelope) -> Reports:
        """See `SiteHandle.submit`."""
        answer = await self._once("POST", "/runs", content=msgspec.json.encode(envelope))
        return [bytes(raw) for raw in self._array(answer)]

    async def find(self, runs: Sequence[str]) -> list[bytes | None]:
        """See `SiteHandle.find`."""
        found: list[bytes | None] = []
        for start in range(0, len(runs), 5000):
            asked = runs[start : start + 5000]
            answer = await self._ask("POST", "/runs/find", content=msgspec.json.encode({"runs": asked}))
            said = [None if bytes(raw) == b"null" else bytes(raw) for raw in self._array(answer)]
            if len(said) != len(asked):
                raise Unreachable(f"Site '{self.name}' answered about {len(said)} of {len(asked)} runs.")
            found += said
        return found

    async def cancel(self, envelope: Envelope) -> None:
        """See `SiteHandle.cancel`."""
        await self._once("POST", "/cancellations", content=msgspec.json.encode(envelope))

    @asynccontextmanager
    async def follow(self, team: str, campaign: str) -> AsyncGenerator[AsyncIterator[Reports]]:
        """See `SiteHandle.follow`. The stream is opened again, where it ended, for as long as the block lasts."""
        try:
            cursor = int(_decoded(await self._once("GET", "/ledger"), dict[str, Any])["size"])
        except (Unreachable, AgreementError, ProtocolMismatch, RemoteError, KeyError, ValueError, TypeError):
            cursor = 0  # hearing something twice does no harm
        stream = self._reports(team, campaign, cursor)
        try:
            yield stream
        finally:
            await stream.aclose()

    async def checkpoint(self) -> str:
        """See `SiteHandle.checkpoint`."""
        return (await self._ask("GET", "/ledger/checkpoint")).decode()

    async def inclusion(self, seq: int, size: int) -> list[bytes]:
        """See `SiteHandle.inclusion`."""
        answer = await self._ask("GET", "/ledger/inclusion", params={"seq": seq, "size": size})
        return [base64.b64decode(node) for node in _decoded(answer, list[str])]

    async def leaves(self, size: int) -> bytes:
        """See `SiteHandle.leaves`."""
        return await self._ask("GET", "/ledger/leaves", params={"size": size})

    # ---- the wire --------------------------------------------------------------------------------------------

    async def _reports(self, team: str, campaign: str, cursor: int) -> AsyncGenerator[Reports]:
        wait_s = RETRY_S
        while True:
            query = {"team": team, "campaign": campaign, "cursor": str(cursor)}
            timeout = httpx.Timeout(TIMEOUT_S, read=SILENCE_S)
            try:
                headers = {"Authorization": self._authorization(), "Accept": "text/event-stream"}
                async with self._client.stream(
                    "GET", f"{self._base}/events", params=query, headers=headers, timeout=timeout
                ) as answer:
                    if answer.status_code in (401, 403):
                        refusal = _refusal(self.name, answer.status_code, await answer.aread())
                        if isinstance(refusal, AgreementError):
                            raise refusal
                    if answer.status_code == 200:
                        rest = b""
                        async for chunk in answer.aiter_raw():
                            *events, rest = (rest + chunk).split(b"\n\n")
                            if said := [event for event in map(_event, events) if event is not None]:
                                wait_s, cursor = RETRY_S, said[-1][0] + 1
                                yield [raw for _, raw in said]
            except (httpx.HTTPError, httpx.StreamError):
                pass  # it is opened again, and goes on where it ended
            await self._clock.sleep(self._jitter(wait_s))
            wait_s = min(2 * wait_s, BREAK_MAX_S)

    def _authorization(self) -> str:
        """Return a pass for this site, signed not long ago."""
        signed_at, text = self._pass
        now = self._clock.now()
        if not signed_at <= now < signed_at + PASS_S:
            content = msgspec.json.encode(Pass(self.name, self._key.name, now))
            text = base64.b64encode(msgspec.json.encode(seal(self._key, PASS, content))).decode()
            self._pass = now, text
        return f"Renkei {text}"

    async def _ask(self, method: str, path: str, **arguments: Any) -> bytes:
        """Put a question that changes nothing, several times if need be."""
        return await self._retried(lambda: self._once(method, path, **arguments))

    async def _retried(self, call: Callable[[], Awaitable[T]]) -> T:
        for i in range(TRIES - 1):
            try:
                return await call()
            except Unreachable:
                await self._clock.sleep(self._jitter(RETRY_S * 2**i))
        return await call()

    async def _once(self, method: str, path: str, **arguments: Any) -> bytes:
        """Make a request once and return the body of a good answer.

        Raises:
            Unreachable: No answer came, or none that says what happened.
            AgreementError: The site refuses it.
            RemoteError: The site says that the request is wrong.
        """
        now = self._clock.monotonic()
        if now < self._closed_until:
            raise Unreachable(f"Site '{self.name}' did not answer lately and is left alone for a while.")
        headers = {"Authorization": self._authorization()} if method == "GET" or path == "/runs/find" else {}
        if "content" in arguments:
            headers["Content-Type"] = "application/json"
        try:
            answer = await self._client.request(method, self._base + path, headers=headers, **arguments)
        except (httpx.HTTPError, httpx.StreamError) as error:
            self._failed(now)
            what = str(error) or type(error).__name__
            raise Unreachable(f"Site '{self.name}' at {self.url} gives no answer: {what}.") from error
        status = answer.status_code
        if status >= 500 or status == 429:
            self._failed(now)
            raise Unreachable(f"Site '{self.name}' answers with status {status}.", "What became of it is unknown.")
        self._n_failures = 0
        if status >= 300:
            raise _refusal(self.name, status, answer.content)
        return answer.content

    def _failed(self, now: float) -> None:
        self._n_failures += 1
        if self._n_failures >= BREAK_AFTER:
            wait_s = min(BREAK_MAX_S, BREAK_S * 2.0 ** (self._n_failures - BREAK_AFTER))
            self._closed_until = now + self._jitter(wait_s)

    def _array(self, body: bytes) -> list[msgspec.Raw]:
        """Return the records of an answer; one that cannot be read is as good as none."""
        try:
            return msgspec.json.decode(body, type=list[msgspec.Raw])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unreachable(f"Site '{self.name}' gives an answer that is not readable: {error}.") from error

    def _jitter(self, seconds: float) -> float:
        return seconds * self._random.uniform(0.5, 1.5)


def _refusal(site: str, status: int, body: bytes) -> Exception:
    """Return the error that a problem document tells."""
    try:
        told = msgspec.json.decode(body, type=dict[str, Any])
        code, message, hint = str(told.get("code", "")), str(told["detail"]), str(told.get("hint", ""))
    except (msgspec.DecodeError, KeyError):
        return RemoteError(f"Site '{site}' answers with status {status} and nothing that says why.")
    if status in (401, 403):
        return _errors.get(code, AgreementError)(message, hint)
    return RemoteError(f"Site '{site}' says: {message}", hint)


def _event(lines: bytes) -> tuple[int, bytes] | None:
    """Return number and record of a server-sent event; None of one without a record."""
    fields = dict(line.split(b": ", 1) for line in lines.split(b"\n") if b": " in line)
    if b"data" not in fields or not fields.get(b"id", b"").isdigit():
        return None
    return int(fields[b"id"]), fields[b"data"]


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProtocolMismatch(
            f"The site answers with something that this version does not understand: {error}.",
            "Check the versions on both sides.",
        ) from error
