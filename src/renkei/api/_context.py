"""What every HTTP face of a site works with."""

from dataclasses import dataclass

from renkei.clock import Clock
from renkei.model.site_file import SiteFile
from renkei.site import Site
from renkei.trust.tokens import Tokens


@dataclass(frozen=True)
class Context:
    """A site that is being served.

    Args:
        site: The site, opened.
        file: What its file says.
        tokens: Who stands behind a bearer token.
        clock: Time, blocking calls.
    """

    site: Site
    file: SiteFile
    tokens: Tokens
    clock: Clock
