"""A home: a folder with embedded sites and campaigns, and the one process that may work in it."""

from renkei.home._home import Home, ServedSite, home_at
from renkei.home._session import Session

__all__ = ["Home", "ServedSite", "Session", "home_at"]
