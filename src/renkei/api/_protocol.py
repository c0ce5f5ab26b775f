"""The renkei protocol, version 1: what campaigns elsewhere ask of a site.

A batch of requests is a signed envelope, in JSON. What is only read needs a pass: an envelope too, in the header
`Authorization: Renkei BASE64`. Records leave as the bytes that lie in the ledger.
"""

import base64
import binascii
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import anyio
import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

import renkei
from renkei.api._context import Context
from renkei.api._document import document, page
from renkei.api._problems import HttpError, problem
from renkei.errors import Denied, RenkeiError, UsageError
from renkei.federation import Pass
from renkei.ledger.merkle import consistency_proof
from renkei.model.records import read_record
from renkei.site import RunRow
from renkei.site._gate import FRESH_S
from renkei.trust.envelope import Envelope

BODY_S = 30.0
"""How long a body may take to arrive."""
HEARTBEAT_S = 15.0
"""How often a stream without news says that it is alive."""
STREAMS_MAX = 256
"""How many streams a site keeps open for one institution."""
PASSES_MAX = 4096
"""How many passes that were found right are remembered."""
FIND_MAX = 10_000
"""About how many runs one request may ask."""

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]

_read_envelope = msgspec.json.Decoder(Envelope).decode


class Found(msgspec.Struct, frozen=True):
    """The body of a question about runs."""

    runs: tuple[str, ...]


class Protocol:
    """Serves the renkei protocol of one site.

    Args:
        context: The site.
    """

    def __init__(self, context: Context) -> None:
        self._site, self._clock = context.site, context.clock
        self._body_bytes = context.file.serve.body_bytes if context.file.serve else 8_000_000
        self._url = (context.file.serve.url or "").rstrip("/") if context.file.serve else ""
        self._passes: dict[bytes, Pass] = {}  # those that were found right, by digest
        self._n_streams: dict[str, int] = {}

    def routes(self) -> list[Route]:
        """Return every route, for a mount at `/renkei/v1`."""

        def route(method: str, path: str, handler: Handler) -> Route:
            async def answer(request: Request) -> Response:
                try:
                    return await handler(request)
                except RenkeiError as error:
                    return problem(request, error)

            return Route(path, answer, methods=[method])

        return [
            route("GET", "/site", self.describe),
            route("POST", "/runs", self.submit),
            route("POST", "/runs/find", self.find),
            route("GET", "/runs/{run}", self.run),
            route("GET", "/runs/{run}/files", self.files),
            route("GET", "/runs/{run}/files/{name}", self.file),
            route("POST", "/cancellations", self.cancel),
            route("GET", "/events", self.events),
            route("GET", "/ledger", self.ledger),
            route("GET", "/ledger/checkpoint", self.checkpoint),
            route("GET", "/ledger/inclusion", self.inclusion),
            route("GET", "/ledger/consistency", self.consistency),
            route("GET", "/ledger/leaves", self.leaves),
            route("GET", "/openapi.json", self.openapi),
            route("GET", "/docs", self.docs),
        ]

    # ---- runs ------------------------------------------------------------------------------------------------

    async def submit(self, request: Request) -> Response:
        """Take a signed batch of run requests; the answer is an array of the site's record about each, in order."""
        return _records(await self._site.submit(await self._envelope(request)))

    async def cancel(self, request: Request) -> Response:
        """Take a signed batch of cancellations."""
        await self._site.cancel(await self._envelope(request))
        return Response(status_code=204)

    async def find(self, request: Request) -> Response:
        """Tell the last record about each of some runs; null of one that the site never heard of."""
        institution = await self._institution(request)
        asked = _decoded(await self._body(request), Found)
        if len(asked.runs) > FIND_MAX:
            raise UsageError(f"{len(asked.runs)} runs are too many for one question.", f"Ask about {FIND_MAX} at most.")
        theirs = [
            run for run in asked.runs if (row := self._site.runs.rows.get(run)) is None or self._may(institution, row)
        ]
        said = dict(zip(theirs, await self._site.find(theirs), strict=True))
        return _records([said.get(run) for run in asked.runs])

    async def run(self, request: Request) -> Response:
        """Tell the last record about one run."""
        row = await self._row(request)
        return Response((await self._site.find([row.run]))[0], media_type="application/json")

    async def events(self, request: Request) -> Response:
        """Stream records about the runs of a campaign as server-sent events, from a cursor on."""
        institution = await self._institution(request)
        team, campaign = _text(request, "team"), _text(request, "campaign")
        if not self._may_follow(institution, team):
            raise Denied(f"'{institution}' is not an institution of team '{team}'.")
        last = request.headers.get("last-event-id")
        if last is not None:
            since = _number(last, "Last-Event-ID") + 1
        elif "cursor" in request.query_params:
            since = _query_number(request, "cursor")
        else:
            since = self._site.ledger.durable_size  # from now on
        n = self._n_streams.get(institution, 0)
        if n >= STREAMS_MAX:
            raise HttpError(
                503, "busy", f"'{institution}' has {n} streams open here.", "Close some, or share one a campaign."
            )
        self._n_streams[institution] = n + 1

        async def stream() -> AsyncGenerator[bytes]:
            try:
                async with self._site.follow(team, campaign) as reports:
                    said = since
                    old = await self._clock.blocking(lambda: self._site.history(team, campaign, since))
                    yield b"retry: 1000\n\n"
                    if old:
                        said = read_record(old[-1]).seq + 1
                        yield _events(old)
                    waiting = reports.__aiter__()
                    while True:
                        new: Sequence[bytes] | None = None
                        with anyio.move_on_after(HEARTBEAT_S):
                            new = await waiting.__anext__()
                        fresh = [raw for raw in new or () if read_record(raw).seq >= said]
                        if not self._may_follow(institution, team):
                            return
                        yield _events(fresh) if fresh else b": alive\n\n"
            finally:
                self._n_streams[institution] -= 1

        return StreamingResponse(stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    def _may_follow(self, institution: str, team: str) -> bool:
        agreement = self._site.agreement
        is_revoked = bool(self._site.revocations.against(institution, agreement))
        return not is_revoked and agreement.may_sign_for(institution, team)

    async def files(self, request: Request) -> Response:
        """List the files of a run: its datasets, with digest and size."""
        row = await self._row(request)
        return _json(self._site.datasets_of(row.run))

    async def file(self, request: Request) -> Response:
        """Send one file of a run."""
        row, name = await self._row(request), request.path_params["name"]
        dataset = next((each for each in self._site.datasets_of(row.run) if each.name == name), None)
        if dataset is None:
            raise HttpError(
                404, "not-found", f"Run {row.run} has no file '{name[:100]}'.", f"See /renkei/v1/runs/{row.run}/files."
            )
        path: Path = self._site.datasets.path(dataset.digest)
        headers = {"ETag": f'"{dataset.digest}"', "Repr-Digest": f"sha-256=:{_base64(bytes.fromhex(dataset.digest))}:"}
        return FileResponse(path, media_type="application/octet-stream", headers=headers)

    # ---- the site --------------------------------------------------------------------------------------------

    async def describe(self, request: Request) -> Response:
        """Tell what the site offers, and, to who shows a pass, what is left of a team's allocation."""
        team = request.query_params.get("team", "")
        if team and not self._site.agreement.may_sign_for(await self._institution(request), team):
            raise Denied(f"The pass is not of an institution of team '{team[:100]}'.")
        return _json(await self._site.describe(team))

    async def ledger(self, request: Request) -> Response:
        """Tell how many records are durable: the cursor that means "from now on"."""
        del request
        return _json({"owner": self._site.ledger.owner, "size": self._site.ledger.durable_size})

    async def checkpoint(self, request: Request) -> Response:
        """Send a signed checkpoint over everything that the site acknowledged so far."""
        await self._institution(request)
        return Response(await self._site.checkpoint(), media_type="text/plain; charset=utf-8")

    async def inclusion(self, request: Request) -> Response:
        """Prove that a record is in the tree of some size."""
        await self._institution(request)
        seq, size = _query_number(request, "seq"), self._size(request, "size")
        if not 0 <= seq < size:
            raise UsageError(f"There is no record {seq} among the first {size}.")
        return _json([_base64(node) for node in await self._site.inclusion(seq, size)])

    async def consistency(self, request: Request) -> Response:
        """Prove that one tree is a prefix of a later one."""
        await self._institution(request)
        old, new = self._size(request, "old"), self._size(request, "new")
        if old > new:
            raise UsageError(f"The tree of {old} records is not older than the one of {new}.")
        leaves = await self._clock.blocking(lambda: self._site.ledger.leaf_hashes(new))
        return _json([_base64(node) for node in consistency_proof(leaves, old, new)])

    async def leaves(self, request: Request) -> Response:
        """Send the leaf hashes of the first records, 32 bytes each."""
        await self._institution(request)
        leaves = await self._site.leaves(self._size(request, "size"))
        return Response(leaves, media_type="application/octet-stream")

    async def openapi(self, request: Request) -> Response:
        """Send the OpenAPI document of this protocol."""
        return _json(self._document(request))

    async def docs(self, request: Request) -> Response:
        """Send that document as a page for people."""
        return HTMLResponse(page(self._document(request)))

    def _document(self, request: Request) -> dict[str, Any]:
        return document(
            self._site.name, self._url or f"{request.url.scheme}://{request.url.netloc}", renkei.__version__
        )

    # ---- who asks, and what ----------------------------------------------------------------------------------

    async def _institution(self, request: Request) -> str:
        """Return the institution whose pass the request shows."""
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "renkei" or not text:
            raise HttpError(
                401, "no-pass", "This needs a pass.", "Send it as Authorization: Renkei BASE64; see /renkei/v1/docs."
            )
        agreement = self._site.agreement
        digest = hashlib.sha256(
            f"{agreement.digest} {text}".encode()
        ).digest()  # under another one it is looked at anew
        known = self._passes.get(digest)
        if known is not None and abs(self._clock.now() - known.issued_at) <= FRESH_S:
            self._site.revocations.require_standing(known.institution, agreement)
            return known.institution
        try:
            envelope = _decoded(base64.b64decode(text, validate=True), Envelope)
        except (binascii.Error, ValueError) as error:
            raise HttpError(
                401, "no-pass", "The pass is not readable.", "It is the base64 of an envelope in JSON."
            ) from error
        shown = await self._site.admit(envelope)
        if len(self._passes) >= PASSES_MAX:
            self._passes.clear()
        self._passes[digest] = shown
        return shown.institution

    def _may(self, institution: str, row: RunRow) -> bool:
        return self._site.agreement.may_sign_for(institution, row.team)

    async def _row(self, request: Request) -> RunRow:
        institution, run = await self._institution(request), request.path_params["run"]
        row = self._site.runs.rows.get(run)
        if row is None or not self._may(institution, row):
            raise HttpError(404, "not-found", f"There is no run {run[:60]} here.")
        return row

    async def _envelope(self, request: Request) -> Envelope:
        return _decoded(await self._body(request), Envelope)

    async def _body(self, request: Request) -> bytes:
        """Return the body, unless it is too large or too slow."""
        limit, chunks, n = self._body_bytes, list[bytes](), 0
        too_large = HttpError(
            413, "too-large", f"The body is larger than {limit} bytes.", "Send the requests in several batches."
        )
        if int(request.headers.get("content-length", "0")) > limit:
            raise too_large
        try:
            with anyio.fail_after(BODY_S):
                async for chunk in request.stream():
                    n += len(chunk)
                    if n > limit:
                        raise too_large
                    chunks.append(chunk)
        except TimeoutError as error:
            raise HttpError(408, "too-slow", f"The body did not arrive within {BODY_S:g} s.") from error
        except ClientDisconnect as error:
            raise UsageError("The body ended early.") from error
        return b"".join(chunks)

    def _size(self, request: Request, name: str) -> int:
        size, durable = _query_number(request, name), self._site.ledger.durable_size
        if size > durable:
            raise UsageError(f"{name} is {size}, but the ledger has {durable} records.")
        return size


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"The body is not readable: {error}.", "See /renkei/v1/docs.") from error


def _text(request: Request, name: str) -> str:
    value = request.query_params.get(name, "")
    if not value:
        raise UsageError(f"The query lacks '{name}'.")
    return value


def _query_number(request: Request, name: str) -> int:
    return _number(_text(request, name), name)


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise UsageError(f"{name} is '{text[:40]}', not a whole number from 0 on.")
    return int(text)


def _records(raws: Sequence[bytes | None]) -> Response:
    """Return records in an array, byte for byte as they lie in the ledger."""
    return Response(b"[" + b",".join(raw or b"null" for raw in raws) + b"]", media_type="application/json")


def _events(raws: Sequence[bytes]) -> bytes:
    return b"".join(b"id: %d\ndata: %b\n\n" % (read_record(raw).seq, raw) for raw in raws)


def _json(content: object) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
