"""What operations of the DOE IRI Facility API are made of: queries, calls, replies and problems.

Each `Operation` names its path, its parameters (a msgspec struct for the query, any msgspec type for the body) and its
handler; `renkei.api.iri._router` does everything that is the same for all of them.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

import msgspec

from renkei.api._context import Context
from renkei.trust.tokens import Identity

T = TypeVar("T")

Headers = Sequence[tuple[bytes, bytes]]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""A date and time of RFC 3339, with its zone."""
Filter = Annotated[str, msgspec.Meta(min_length=1)]
"""Text that a list is searched for."""


class InvalidParam(msgspec.Struct, frozen=True):
    """One parameter that is wrong, and why."""

    name: str
    reason: str


class Problem(Exception):  # noqa: N818 - the interface's own word
    """What a handler raises to answer with an error.

    Args:
        status: The HTTP status.
        detail: One sentence for people.
        invalid_params: The parameters that are to blame.
        headers: Headers besides.
    """

    def __init__(
        self, status: int, detail: str, invalid_params: Sequence[InvalidParam] = (), headers: Headers = ()
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.invalid_params, self.headers = status, detail, tuple(invalid_params), headers


class NoQuery(msgspec.Struct, frozen=True):
    """The query of an operation that takes none."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a list that is wanted; the base of queries of operations that answer with a list."""

    offset: Annotated[int, msgspec.Meta(ge=0)] = 0
    limit: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 100

    def of(self, found: Sequence[T]) -> Sequence[T]:
        """Return that part of what was found."""
        return found[self.offset : self.offset + self.limit]


class Since(msgspec.Struct, frozen=True):
    """The query of an operation that shows one object, if it changed since."""

    modified_since: Moment | None = None


def is_unchanged(modified: float, since: datetime | None) -> bool:
    """Return whether what last changed at `modified`, in seconds since 1970 UTC, is older than somebody asks for."""
    return since is not None and modified < since.timestamp()


@dataclass(frozen=True)
class Reply:
    """What a handler answers.

    Args:
        body: JSON, or nothing where the status has no body.
        status: The HTTP status.
        modified: When what it shows last changed, in seconds since 1970 UTC; makes `Last-Modified`.
        headers: Headers besides.
    """

    body: bytes = b""
    status: int = 200
    modified: float | None = None
    headers: Headers = ()


def reply(content: object, status: int = 200, modified: float | None = None) -> Reply:
    """Return an answer with anything that msgspec can write as JSON."""
    return Reply(msgspec.json.encode(content), status, modified)


def links(href: str) -> dict[str, dict[str, str]]:
    """Return the `_links` of HAL of an object that lives at `href`."""
    return {"self": {"href": href}}


def unauthorized(detail: str) -> Problem:
    """Return the problem of somebody whom the site does not know."""
    return Problem(401, detail, headers=[(b"www-authenticate", b"Bearer")])


def not_found(what: str, name: str) -> Problem:
    """Return the problem of something that is not there, for example `not_found("resource", "fugaku")`."""
    return Problem(404, f"There is no {what} '{name[:80]}' here.")


@dataclass(frozen=True, slots=True)
class Call:
    """One request, checked.

    Args:
        context: The site.
        operation: What is asked for.
        base: What absolute links begin with: scheme and host.
        path: The values of the path's parameters, by name.
        query: A value of the operation's `query`.
        body: A value of the operation's `body`.
        raw: The body's bytes.
        headers: The request's headers, by lower-case name; of one that comes twice, the last.
        known: Who asks; nobody where the operation is open.
    """

    context: Context
    operation: "Operation"
    base: str
    path: Mapping[str, str]
    query: Any
    body: Any
    raw: bytes
    headers: Mapping[bytes, bytes]
    known: Identity | None

    @property
    def identity(self) -> Identity:
        """Who asks.

        Raises:
            Problem: The operation is open to everybody, so that nobody was asked for a token.
        """
        if self.known is None:
            raise unauthorized("This needs a token.")
        return self.known

    @property
    def is_v1(self) -> bool:
        """Whether version 1 of the interface is asked for."""
        return self.operation.root.endswith("/v1")

    def url(self, *parts: str) -> str:
        """Return the absolute address of something below the API's version, for example `url("facility")`."""
        return "/".join((self.base + self.operation.root, *(quote(part, safe="") for part in parts)))


Handler = Callable[[Call], Awaitable[Reply]]


@dataclass(frozen=True)
class Operation:
    """One operation of the interface document.

    Args:
        method: Upper case.
        path: From the host's root, for example "/api/v2/task/{task_id}".
        name: The document's operationId.
        handler: What answers.
        query: A msgspec struct of the query's parameters; a field that is a tuple may come more than once.
        body: A msgspec type of the JSON body; `bytes` where the handler reads `Call.raw` by itself, whatever its media
            type; None where a body is not looked at.
        is_open: Whether no token is needed.
        may_lack_body: Whether no body at all stands for JSON's null.
    """

    method: str
    path: str
    name: str
    handler: Handler
    query: type[msgspec.Struct] = NoQuery
    body: Any = None
    is_open: bool = False
    may_lack_body: bool = False
    root: str = field(init=False)
    lists: frozenset[str] = field(init=False)
    names: frozenset[str] = field(init=False)
    numbers: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        fields = msgspec.structs.fields(self.query)
        object.__setattr__(self, "root", "/".join(self.path.split("/")[:3]))
        object.__setattr__(self, "names", frozenset(item.encode_name for item in fields))
        object.__setattr__(self, "lists", frozenset(item.encode_name for item in fields if "tuple[" in str(item.type)))
        object.__setattr__(self, "numbers", frozenset(item.encode_name for item in fields if _is_number(item.type)))


def _is_number(kind: Any) -> bool:
    try:
        msgspec.convert(1, kind)
    except msgspec.ValidationError:
        return False
    return True
