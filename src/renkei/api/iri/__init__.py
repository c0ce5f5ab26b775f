"""The DOE IRI Facility API in front of a site: v2 at /api/v2, and the read operations and compute of v1 at /api/v1.

`iri_app(context)` is one ASGI application for both. It looks at the whole path of a request, so it may stand alone or
behind an `IriRoute`; it answers every path that it is given, with a Problem document where there is nothing.

Each module brings the operations of one part of the interface document; `_http` has what all of them are made of
(`Operation`, `Call`, `Reply`, `Problem`), `_router` serves them, and `_store` has what must not be forgotten
(`data/api.db`).
"""

from renkei.api.iri._app import IriApp, IriRoute, iri_app

__all__ = ["IriApp", "IriRoute", "iri_app"]
