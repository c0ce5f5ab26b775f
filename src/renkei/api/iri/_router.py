"""Serving operations: finding the one that is asked for, who asks, what with, and the answer as HTTP has it.

404 and 405 with `Allow`, the bearer token, parameters (query: 422, body: 400), Problem documents (RFC 9457), `ETag` and
`Last-Modified`: everything that is the same for all operations of the interface document.
"""

import hashlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import parse_qsl, quote, unquote

import anyio
import msgspec
from starlette.types import Receive, Scope, Send

from renkei.api._context import Context
from renkei.api.iri._http import Call, Headers, InvalidParam, Operation, Problem, Reply, unauthorized
from renkei.errors import AgreementError, Conflict, Denied, ExecutorError, RenkeiError, SiteError, UsageError
from renkei.trust.tokens import Identity

BODY_BYTES = 8_000_000
"""The largest body that is read where the site's file has no [serve]."""
BODY_S = 30.0
"""How long a client may take to send a body."""

_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_WHOLE = re.compile(r"-?[0-9]{1,100}")
_log = logging.getLogger("renkei.api")


class _Node:
    """A place in the tree of paths."""

    def __init__(self) -> None:
        self.fixed: dict[str, _Node] = {}
        self.any: _Node | None = None
        self.operations: dict[str, Operation] = {}
        self.names: list[str] = []

    def put(self, operation: Operation) -> None:
        node, names = self, list[str]()
        for segment in operation.path.split("/")[1:]:
            if segment.startswith("{"):
                names.append(segment[1:-1])
                node.any = node.any or _Node()
                node = node.any
            else:
                node = node.fixed.setdefault(segment, _Node())
        node.operations[operation.method], node.names = operation, names

    def find(self, path: str) -> "tuple[_Node, dict[str, str]] | None":
        """Return the place of a path as it was sent, percent signs and all, and the values in it."""
        node: _Node | None = self
        values: list[str] = []
        for segment in path.split("/")[1:]:
            known = node.fixed.get(segment)
            if known is None:
                known = node.any
                if known is None or not segment:
                    return None
                values.append(unquote(segment) if "%" in segment else segment)
            node = known
        return (node, dict(zip(node.names, values, strict=True))) if node.operations else None


class Router:
    """Serves operations; an ASGI application that looks at the whole path, wherever it is mounted.

    Args:
        context: The site.
        operations: What is served.
    """

    def __init__(self, context: Context, operations: Sequence[Operation]) -> None:
        self._context = context
        self._tree = _Node()
        for operation in operations:
            self._tree.put(operation)
        serve = context.file.serve
        self._url = serve.url.rstrip("/") if serve is not None and serve.url else ""
        self._body_bytes = serve.body_bytes if serve is not None else BODY_BYTES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        base = self._url or _own_address(scope, headers)
        try:
            answer = await self._answer(scope, receive, headers, base)
        except Problem as problem:
            answer = _shown(problem, scope, headers, base)
        except RenkeiError as error:
            answer = _shown(_problem_of(error), scope, headers, base)
        except _Gone:
            return
        except Exception:  # noqa: BLE001 - a fault of ours: the client learns that, the log learns which
            _log.exception("%s %s failed", scope["method"], scope["path"])
            answer = _shown(Problem(500, "Something went wrong here; it is in the site's log."), scope, headers, base)
        if scope["method"] == "GET" and answer.status == 200:
            answer = _conditional(answer, headers)
        out = [*answer.headers, (b"content-length", str(len(answer.body)).encode())]
        if answer.status in (204, 304):
            out.pop()
        elif not any(name == b"content-type" for name, _ in out):
            out.append((b"content-type", b"application/json"))
        await send({"type": "http.response.start", "status": answer.status, "headers": out})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, receive: Receive, headers: Mapping[bytes, bytes], base: str) -> Reply:
        found = self._tree.find((scope.get("raw_path") or quote(scope["path"]).encode()).decode("latin-1"))
        if found is None:
            raise Problem(404, "There is nothing at this address.")
        node, path = found
        operation = node.operations.get(scope["method"])
        if operation is None:
            allow = ", ".join(sorted(node.operations))
            raise Problem(405, f"Only {allow} is possible here.", headers=[(b"allow", allow.encode())])
        known = None if operation.is_open else await self._identify(headers)
        query = _query(operation, scope["query_string"])
        raw, body = b"", None
        if operation.body is not None:
            raw = await self._read(receive, headers)
            body = raw if operation.body is bytes else _body(operation, raw, headers)
        return await operation.handler(Call(self._context, operation, base, path, query, body, raw, headers, known))

    async def _identify(self, headers: Mapping[bytes, bytes]) -> Identity:
        scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise unauthorized("This needs a bearer token.")
        try:
            return await self._context.tokens.identify(token.strip())
        except Denied as error:
            raise unauthorized(error.message) from error

    async def _read(self, receive: Receive, headers: Mapping[bytes, bytes]) -> bytes:
        """Return the body of a request, if it is not too large and comes in time."""
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._body_bytes:
            raise Problem(413, f"A body may have at most {self._body_bytes} bytes.", headers=_CLOSE)
        body = await _part(receive)
        if not body[1]:
            return body[0]
        parts, size = [body[0]], len(body[0])
        with anyio.move_on_after(BODY_S):
            while True:
                part, is_more = await _part(receive)
                parts.append(part)
                size += len(part)
                if size > self._body_bytes:
                    raise Problem(413, f"A body may have at most {self._body_bytes} bytes.", headers=_CLOSE)
                if not is_more:
                    return b"".join(parts)
        raise Problem(408, f"The body did not come within {BODY_S:g} s.", headers=_CLOSE)


_CLOSE: Headers = ((b"connection", b"close"),)


class _Gone(Exception):  # noqa: N818 - nothing went wrong here
    """The client hung up."""


async def _part(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise _Gone
    return message.get("body", b""), message.get("more_body", False)


def _query(operation: Operation, text: bytes) -> object:
    if not text:
        return _converted(operation, {})
    values: dict[str, Any] = {}
    wrong: list[InvalidParam] = []
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=200)
    except ValueError as error:
        raise Problem(422, "The query is not readable.", [InvalidParam("query", "it is not form-encoded")]) from error
    for name, value in pairs:
        if name not in operation.names:
            wrong.append(InvalidParam(name, "there is no such parameter"))
        elif name in operation.lists:
            values.setdefault(name, []).append(value)
        elif name in values:
            wrong.append(InvalidParam(name, "it is given more than once"))
        else:
            values[name] = int(value) if name in operation.numbers and _WHOLE.fullmatch(value) else value
    if wrong:
        raise Problem(422, "; ".join(f"{param.name}: {param.reason}" for param in wrong) + ".", wrong)
    return _converted(operation, values)


def _converted(operation: Operation, values: Mapping[str, Any]) -> object:
    try:
        return msgspec.convert(values, operation.query)
    except msgspec.ValidationError as error:
        param = _param(error)
        raise Problem(422, f"{param.name}: {param.reason}.", [param]) from error


def _body(operation: Operation, raw: bytes, headers: Mapping[bytes, bytes]) -> object:
    if not raw and operation.may_lack_body:
        raw = b"null"
    media = headers.get(b"content-type", b"application/json").split(b";")[0].strip().lower()
    if media != b"application/json" and not media.endswith(b"+json"):
        raise Problem(400, "The body must be application/json.", [InvalidParam("Content-Type", "not application/json")])
    try:
        try:
            return msgspec.json.decode(raw, type=operation.body)
        except msgspec.ValidationError as error:
            if "`float`" not in str(error):
                raise
            return msgspec.convert(_whole(msgspec.json.decode(raw)), operation.body)  # 1.0 is an integer in JSON Schema
    except msgspec.ValidationError as error:
        param = _param(error)
        raise Problem(400, f"{param.name}: {param.reason}.", [param]) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"The body is not JSON: {error}.", [InvalidParam("body", "it is not JSON")]) from error


def _whole(value: Any) -> Any:
    """Return a JSON value with every number that is whole as an integer."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _whole(item) for name, item in cast("dict[str, Any]", value).items()}
    return [_whole(item) for item in cast("list[Any]", value)] if isinstance(value, list) else value


def _param(error: msgspec.ValidationError) -> InvalidParam:
    reason, _, place = str(error).partition(" - at `$")
    name = place.rstrip("`").lstrip(".")
    if not name and (missing := re.search(r"(?:required|unknown) field `([^`]*)`", reason)):
        name = missing[1]
    return InvalidParam(name or "body", reason[:1].lower() + reason[1:])


def _own_address(scope: Scope, headers: Mapping[bytes, bytes]) -> str:
    host = headers.get(b"host", b"").decode("latin-1")
    if not _HOST.fullmatch(host):
        server = scope.get("server") or ("localhost", None)
        host = f"{server[0]}:{server[1]}" if server[1] else str(server[0])
    return f"{scope.get('scheme', 'http')}://{host}"


def _problem_of(error: RenkeiError) -> Problem:
    match error:
        case AgreementError():
            status = 403
        case UsageError():
            status = 400
        case Conflict():
            status = 409
        case SiteError() | ExecutorError():
            status = 503
        case _:
            status = 500
    return Problem(status, str(error))


def _shown(problem: Problem, scope: Scope, headers: Mapping[bytes, bytes], base: str) -> Reply:
    """Return a problem as the document that the client takes."""
    content: dict[str, Any] = {
        "type": "about:blank",
        "status": problem.status,
        "title": HTTPStatus(problem.status).phrase,
        "detail": problem.detail,
        "instance": base + quote(scope["path"]),
    }
    if problem.invalid_params:
        content["invalid_params"] = [{"name": p.name, "reason": p.reason} for p in problem.invalid_params]
    accept = headers.get(b"accept", b"").lower()
    is_plain = b"application/json" in accept and b"application/problem+json" not in accept
    media = b"application/json" if is_plain else b"application/problem+json"
    body = json.dumps(content).encode()  # unlike msgspec, it writes lone surrogates of a hostile address too
    return Reply(body, problem.status, headers=[*problem.headers, (b"content-type", media)])


def _conditional(answer: Reply, headers: Mapping[bytes, bytes]) -> Reply:
    """Return the answer with its validators, or 304 where the client has it."""
    tag = b'"' + hashlib.blake2b(answer.body, digest_size=12).hexdigest().encode() + b'"'
    out = [*answer.headers, (b"etag", tag), (b"cache-control", b"no-cache"), (b"vary", b"Authorization")]
    if answer.modified is not None:
        out.append((b"last-modified", formatdate(answer.modified, usegmt=True).encode()))
    if (known := headers.get(b"if-none-match")) is not None:
        tags = [item.strip().removeprefix(b"W/") for item in known.split(b",")]
        is_known = tag in tags or b"*" in tags
    else:
        is_known = answer.modified is not None and _is_since(headers.get(b"if-modified-since"), answer.modified)
    return Reply(b"", 304, headers=out) if is_known else Reply(answer.body, 200, headers=out)


def _is_since(text: bytes | None, modified: float) -> bool:
    if text is None:
        return False
    try:
        moment = parsedate_to_datetime(text.decode("latin-1"))
    except ValueError:
        return False
    return moment.tzinfo is not None and moment.timestamp() >= int(modified)
