"""Who stands behind an access token: static tokens, and OIDC tokens of issuers that a site trusts.

A token of an issuer is a JWT (RFC 7519) that is checked as RFC 8725 wants it: the issuer must be one of the table, the
audience exactly the table's, the algorithm one of the table (all of them asymmetric), the key the one that the issuer
publishes under the token's `kid`, or its only key where a token names none. Nothing that the token itself says about
keys is taken.
"""

import base64
import binascii
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import msgspec

from renkei.clock import Clock
from renkei.errors import Denied
from renkei.model.serving import AccountTable, IssuerTable, TokenTable

if TYPE_CHECKING:
    import httpx

    from renkei.trust._provider import Provider, ProviderKey

PROJECT_CLAIM = "amsc_project_context"
"""The claim in which the AmSC Keycard names the project."""
LEEWAY_S = 30.0
"""How far ahead of the site's clock that of an issuer may be: for nbf and iat, not for exp."""
TOKEN_BYTES = 16_384
"""The longest token that is looked at."""
REMEMBERED = 10_000
"""How many verified tokens are remembered."""
REMEMBERED_S = 600.0
"""For how long at most a verified token is believed without looking at it again: as long as keys are."""

_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_OWN_KEYS = ("jwk", "jku", "x5u", "x5c")
_MODELS = {"EdDSA": "Ed25519"}  # RFC 9864 names what RFC 8037 called EdDSA
_USER_CHARACTERS = 255


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
        clock: Time.
        transport: What carries requests to providers; the network when left out.
    """

    def __init__(
        self,
        tokens: Sequence[TokenTable],
        issuers: Sequence[IssuerTable],
        accounts: Sequence[AccountTable],
        institution: str,
        clock: Clock,
        *,
        transport: "httpx.AsyncBaseTransport | None" = None,
    ) -> None:
        self._static = [(bytes.fromhex(table.sha256), table) for table in tokens]
        self._providers = _providers(issuers, clock, transport)
        self._accounts, self._institution, self._clock = accounts, institution, clock
        self._known: OrderedDict[bytes, tuple[Identity, float]] = OrderedDict()

    async def identify(self, token: str) -> Identity:
        """Return who stands behind a bearer token.

        A verified token is remembered, so that asking again takes microseconds: until it expires, and for
        `REMEMBERED_S` at most, after which a key that its issuer withdrew no longer counts.

        Raises:
            Denied: Nobody, or nobody whom the site knows; the message says why without repeating the token.
        """
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(digest)
        if known is not None:
            if self._clock.now() < known[1]:
                self._known.move_to_end(digest)
                return known[0]
            self._known.pop(digest, None)
        found = None
        for static, table in self._static:  # all of them, so that the time taken says nothing about any
            if hmac.compare_digest(static, digest):
                found = table
        if found is not None:
            return Identity(found.user, found.team, found.institution or self._institution)
        identity, expires = await self._verified(token)
        self._known[digest] = identity, min(expires, self._clock.now() + REMEMBERED_S)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return identity

    async def _verified(self, token: str) -> tuple[Identity, float]:
        """Return whom a JWT stands for and when it expires, in seconds since 1970 UTC."""
        parts = token.split(".") if len(token) <= TOKEN_BYTES and token.isascii() else []
        if not self._providers or len(parts) != 3:
            raise Denied("The token is not known here.")
        header, claims = (_object(part) for part in parts[:2])
        issuer = claims.get("iss")
        provider = self._providers.get(issuer) if isinstance(issuer, str) else None
        if provider is None:
            raise Denied("The token is of an issuer that this site does not trust.")
        algorithm, kid = _checked_header(header, provider.table)
        signature = _decoded(parts[2])
        expires = _checked_claims(claims, provider.table, self._clock.now())
        keys = [each for each in await provider.keys(kid) if each.algorithm in ("", algorithm, header["alg"])]
        if not any(_verifies(token.rpartition(".")[0].encode(), signature, algorithm, key) for key in keys):
            raise Denied("The token's signature is not that of any key that its issuer publishes.")
        return self._account(provider.table.issuer, claims), expires

    def _account(self, issuer: str, claims: Mapping[str, Any]) -> Identity:
        """Return whom the claims of a verified token stand for: what the entry says that fits most closely."""
        subject, project = claims.get("sub"), claims.get(PROJECT_CLAIM)
        if not isinstance(subject, str) or not 0 < len(subject) <= _USER_CHARACTERS or not subject.isprintable():
            raise Denied("The token does not say whom it is about, in a sub of at most 255 printable characters.")
        fitting = [
            account
            for account in self._accounts
            if account.issuer == issuer
            and account.subject in (None, subject)
            and (account.project is None or account.project == project)
        ]
        if not fitting:
            raise Denied(
                "The token stands for nobody whom this site knows.",
                "The site's operator can add an entry to [[accounts]] for its subject or its project.",
            )
        best = max(fitting, key=lambda account: (account.subject is not None, account.project is not None))
        return Identity(best.user or subject, best.team, best.institution or self._institution, issuer, subject)


def _checked_header(header: Mapping[str, Any], table: IssuerTable) -> tuple[str, str]:
    """Return (algorithm, key id or "") of a header with nothing in it that must not be there."""
    algorithm, kid, kind = header.get("alg"), header.get("kid", ""), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or algorithm not in (*table.algorithms, *map(_model, table.algorithms)):
        raise Denied("The token is signed with an algorithm that this site does not take from its issuer.")
    if "crit" in header or "b64" in header:
        raise Denied("The token wants something understood that this site does not (crit).")
    if any(name in header for name in _OWN_KEYS):
        raise Denied("The token brings a key of its own; only keys that its issuer publishes count.")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise Denied("The token is of another type than an access token.")
    if not isinstance(kid, str):
        raise Denied("The token does not say in a text with which key it is signed (kid).")
    return _model(algorithm), kid


def _checked_claims(claims: Mapping[str, Any], table: IssuerTable, now: float) -> float:
    """Return when a token expires whose audience is right and whose time has come."""
    audience: object = claims.get("aud")
    audiences = cast("list[object]", audience) if isinstance(audience, list) else [audience]
    if table.audience not in audiences:
        raise Denied("The token is for another audience than this site.")
    expires, begins, issued = (_time(claims, name) for name in ("exp", "nbf", "iat"))
    if expires is None:
        raise Denied("The token does not say when it expires (exp).")
    if expires <= now:
        raise Denied("The token has expired.", "Get a new one from its issuer.")
    if max(begins or 0.0, issued or 0.0) > now + LEEWAY_S:
        raise Denied("The token is not valid yet.", "Check the clocks.")
    if max(begins or 0.0, issued or 0.0) > expires:
        raise Denied("The token expires before it begins.")
    return expires


def _providers(
    issuers: Sequence[IssuerTable], clock: Clock, transport: "httpx.AsyncBaseTransport | None"
) -> "dict[str, Provider]":
    if not issuers:  # what they need is not loaded: a site is back sooner
        return {}
    from renkei.trust._provider import Provider

    return {table.issuer: Provider(table, clock, transport) for table in issuers}


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if name in claims and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53):
        raise Denied(f"The token's {name} is no time.")
    return None if value is None else float(value)


def _verifies(covered: bytes, signature: bytes, algorithm: str, key: "ProviderKey") -> bool:
    from joserfc.errors import JoseError
    from joserfc.jws import JWSRegistry

    model = JWSRegistry.algorithms[algorithm]
    try:
        model.check_key(key.key)
        return model.verify(covered, signature, key.key)
    except (JoseError, ValueError):  # a key of another type or curve than the algorithm's
        return False


def _model(algorithm: str) -> str:
    return _MODELS.get(algorithm, algorithm)


def _object(part: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(_decoded(part), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Denied("The token is not known here, and it is no JWT.") from error


def _decoded(part: str) -> bytes:
    """Return what base64url without padding spells, in its one canonical spelling (RFC 7515, 2)."""
    try:
        decoded = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if base64.urlsafe_b64encode(decoded).rstrip(b"=").decode() != part:
        raise Denied("The token is not known here, and it is no JWT.")
    return decoded
