"""The application: all parts of both versions behind one router."""

from collections.abc import Sequence

from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from renkei.api._context import Context
from renkei.api.iri import _account, _document, _facility, _filesystem, _status, _storage, _tasks
from renkei.api.iri._compute import Jobs
from renkei.api.iri._http import Operation
from renkei.api.iri._place import Place
from renkei.api.iri._router import Router
from renkei.api.iri._store import Store


class IriApp:
    """The IRI API of one site; an ASGI application. While `serve` runs beside it, tasks are worked on.

    Args:
        context: The site.

    Raises:
        LedgerError: The store cannot be opened.
    """

    def __init__(self, context: Context) -> None:
        self.store = Store(context.file.site.data / "api.db", context.clock)
        place = Place(context)
        watch = _status.Watch(place)
        jobs = Jobs(place, watch, self.store)
        self._tasks = _tasks.Tasks(self.store, _filesystem.roots_of(place), context.clock)
        self.operations: Sequence[Operation] = [
            operation
            for root in ("/api/v2", "/api/v1")
            for operation in (
                *_facility.operations(place, root),
                *_status.operations(place, watch, root, is_v1=root.endswith("/v1")),
                *_account.operations(place, root),
                *jobs.operations(root),
            )
        ]
        root = "/api/v2"
        self.operations = (
            *self.operations,
            _document.operation(root),
            *_storage.operations(place, root),
            *_filesystem.operations(place, watch, self._tasks, root),
            *_tasks.operations(self.store, root),
        )
        self._router = Router(context, self.operations)

    async def serve(self) -> None:
        """Do the work of the parts "filesystem" and "task" until cancelled."""
        await self._tasks.serve()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._router(scope, receive, send)

    def close(self) -> None:
        """Close the store; afterwards nothing is answered any more."""
        self.store.close()


class IriRoute(BaseRoute):
    """The place of the IRI API in a Starlette application: /api and all below it.

    Starlette's own Mount does not know a path with an encoded line break in it, and would answer it by itself.

    Args:
        app: The application.
    """

    def __init__(self, app: IriApp) -> None:
        self._app = app

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether a request is for the IRI API."""
        is_ours = scope["type"] == "http" and (scope["path"] == "/api" or scope["path"].startswith("/api/"))
        return (Match.FULL if is_ours else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._app(scope, receive, send)


def iri_app(context: Context) -> IriApp:
    """Return the IRI API of a site that is open.

    Raises:
        LedgerError: The store cannot be opened.
    """
    return IriApp(context)
