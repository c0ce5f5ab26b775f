"""The application that serves a site: every face under its own path."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Mount, Route

from renkei.api._context import Context
from renkei.api._protocol import Protocol
from renkei.api.iri import IriRoute, iri_app


@asynccontextmanager
async def opened_app(context: Context) -> AsyncGenerator[Starlette]:
    """Keep the ASGI application of an open site until the end of the block.

    The renkei protocol is at /renkei/v1, the IRI API at /api/v2 and /api/v1, and a page for people at /docs.

    Raises:
        LedgerError: The store of tasks cannot be opened.
    """

    async def docs(request: Request) -> RedirectResponse:
        del request
        return RedirectResponse("/renkei/v1/docs")

    iri = iri_app(context)
    routes = [
        Mount("/renkei/v1", routes=Protocol(context).routes()),
        IriRoute(iri),
        Route("/docs", docs),
    ]
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(iri.serve)
            yield Starlette(routes=routes)
            tasks.cancel_scope.cancel()
    finally:
        iri.close()
