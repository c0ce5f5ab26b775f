"""Who stands behind an access token: static tokens, and OIDC tokens of issuers that a site trusts."""

import msgspec

from renkei.clock import Clock
from renkei.errors import Denied
from renkei.model.serving import AccountTable, IssuerTable, TokenTable


class Identity(msgspec.Struct, frozen=True):
    """Who asks, as this site knows them.

    Args:
        user: The local user.
        team: The team whose allocation pays.
        institution: The institution of the agreement in whose name the user asks.
        issuer: Who vouches for it; "" for a static token.
        subject: What the issuer calls the user.
    """

    user: str
    team: str
    institution: str
    issuer: str = ""
    subject: str = ""


class Tokens:
    """Every token that a site takes.

    Args:
        tokens: Static tokens.
        issuers: OpenID providers.
        accounts: Who a token of a provider stands for.
        institution: The institution where an entry names none: the site's own.
        clock: Time, blocking calls.
    """

    def __init__(
        self,
        tokens: tuple[TokenTable, ...],
        issuers: tuple[IssuerTable, ...],
        accounts: tuple[AccountTable, ...],
        institution: str,
        clock: Clock,
    ) -> None:
        self._static = {table.sha256: table for table in tokens}
        self._issuers, self._accounts, self._institution, self._clock = issuers, accounts, institution, clock

    async def identify(self, token: str) -> Identity:
        """Return who stands behind a bearer token.

        Raises:
            Denied: Nobody, or nobody whom the site knows; the message says why without repeating the token.
        """
        import hashlib

        found = self._static.get(hashlib.sha256(token.encode()).hexdigest())
        if found is None:
            raise Denied("The token is not known here.")
        return Identity(found.user, found.team, found.institution or self._institution)
