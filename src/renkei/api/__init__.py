"""The HTTP faces of a site: the renkei protocol, and the DOE IRI Facility API v2 and v1."""

from renkei.api._app import opened_app
from renkei.api._context import Context
from renkei.api._server import listening, serve_app

__all__ = ["Context", "listening", "opened_app", "serve_app"]
