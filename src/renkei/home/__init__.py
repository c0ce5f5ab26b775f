"""A home: a folder with embedded sites and campaigns, and the one process that may work in it."""

from typing import TYPE_CHECKING, Any

from renkei.home._home import Home, ServedSite, home_at

if TYPE_CHECKING:
    from renkei.home._session import Session

__all__ = ["Home", "ServedSite", "Session", "home_at"]


def __getattr__(name: str) -> Any:
    """Import what drives campaigns when it is first asked for: a site that is served does without, and is up sooner."""
    if name != "Session":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from renkei.home._session import Session

    globals()[name] = Session
    return Session
