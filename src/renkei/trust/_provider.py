"""The public keys of an OpenID provider, fetched when they are needed and kept for a while."""

import logging
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

import anyio
import httpx
import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from renkei.clock import Clock
from renkei.errors import Denied
from renkei.model.serving import IssuerTable, is_loopback

RETRY_S = 30.0
"""A provider is asked at most this often, whatever tokens say and however it answers."""
REFRESH_S = 600.0
"""Keys that are older are asked for again before a token is checked with them."""
KEEP_S = 86_400.0
"""For so long keys are used of a provider that no longer answers."""
ANSWER_BYTES = 262_144
"""The longest answer of a provider that is read."""
ANSWER_S = 5.0
"""How long a provider may take for its metadata and its keys together."""

_log = logging.getLogger("renkei.trust")

_MEMBERS: dict[str, tuple[str, ...]] = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_READERS: dict[str, Callable[[Any], Key]] = {
    "RSA": RSAKey.import_key,
    "EC": ECKey.import_key,
    "OKP": OKPKey.import_key,
}
_RSA_BITS = range(2048, 8193)
_RSA_CHARACTERS = range(2048 // 6 + 1, 8192 // 6 + 2)


class ProviderKey(msgspec.Struct, frozen=True):
    """A key that a provider signs tokens with.

    Args:
        key: The key itself, public half only.
        algorithm: The only algorithm that it may be used with; "" when the provider does not say.
    """

    key: Key
    algorithm: str = ""


class Provider:
    """An OpenID provider. All requests that need its keys at the same time share one fetch.

    Args:
        table: Its entry in `site.toml`.
        clock: Time.
        transport: What carries requests; the network when left out.
    """

    def __init__(self, table: IssuerTable, clock: Clock, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.table = table
        self._clock, self._transport = clock, transport
        self._keys: dict[str, list[ProviderKey]] = {}
        self._lock = anyio.Lock()
        self._asked_at = self._had_at = -float("inf")
        self._problem = ""

    async def keys(self, kid: str) -> list[ProviderKey]:
        """Return the keys that the provider calls `kid`; for "" its only key, if it has no more than one.

        Raises:
            Denied: The keys are not to be had, and those that were had are too old.
        """
        if self._may_ask(kid) and not (self._lock.locked() and self._named(kid) and not self._is_too_old()):
            async with self._lock:
                if self._may_ask(kid):  # nobody did so while this waited
                    with anyio.CancelScope(shield=True):  # who asks may go away, but others wait for the answer
                        await self._fetch()
        if self._is_too_old():
            raise Denied(
                f"The keys of {self.table.issuer} are not to be had: {self._problem}.", "Try again in half a minute."
            )
        return self._named(kid)

    def _named(self, kid: str) -> list[ProviderKey]:
        if kid:
            return self._keys.get(kid, [])
        every = [key for keys in self._keys.values() for key in keys]
        return every if len(every) == 1 else []

    def _may_ask(self, kid: str) -> bool:
        now = self._clock.monotonic()
        return now - self._asked_at >= RETRY_S and (not self._named(kid) or now - self._had_at >= REFRESH_S)

    def _is_too_old(self) -> bool:
        return self._clock.monotonic() - self._had_at > KEEP_S

    async def _fetch(self) -> None:
        self._asked_at = self._clock.monotonic()
        try:
            with anyio.fail_after(ANSWER_S):
                self._keys = await self._fetched()
        except TimeoutError:
            self._tell(f"it did not answer within {ANSWER_S:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            self._tell(f"it did not answer ({type(error).__name__})")
        except _AnswerError as error:
            self._tell(str(error))
        else:
            self._had_at, self._problem = self._asked_at, ""

    def _tell(self, problem: str) -> None:
        if problem != self._problem:
            _log.warning("the keys of %s cannot be fetched: %s", self.table.issuer, problem)
        self._problem = problem

    async def _fetched(self) -> dict[str, list[ProviderKey]]:
        is_local = _is_on_loopback(self.table.issuer)  # no proxy can reach what is on this machine
        async with httpx.AsyncClient(
            transport=self._transport, timeout=ANSWER_S, follow_redirects=False, trust_env=not is_local
        ) as client:
            url = self.table.jwks_url
            if url is None:
                metadata = await _read(client, f"{self.table.issuer.rstrip('/')}/.well-known/openid-configuration")
                if metadata.get("issuer") != self.table.issuer:
                    raise _AnswerError("its metadata is that of another issuer")
                url = metadata.get("jwks_uri")
                if not isinstance(url, str) or not (
                    url.startswith("https://") or (is_local and url.startswith("http://") and _is_on_loopback(url))
                ):
                    raise _AnswerError("its metadata has no https address of its keys")
            return _keys_in(await _read(client, url))


class _AnswerError(Exception):
    """A provider answered with something that is of no use; says what."""


def _is_on_loopback(url: str) -> bool:
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False


async def _read(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    """Return the JSON object that lies at `url`."""
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}  # what is packed may be of any size
    async with client.stream("GET", url, headers=headers) as answer:
        if answer.status_code != 200:
            raise _AnswerError(f"it answered with status {answer.status_code}")
        content = b""
        async for part in answer.aiter_raw(65_536):
            content += part
            if len(content) > ANSWER_BYTES:
                raise _AnswerError(f"its answer is longer than {ANSWER_BYTES:,} bytes")
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _AnswerError("its answer is not a JSON object") from error


def _keys_in(answer: dict[str, Any]) -> dict[str, list[ProviderKey]]:
    """Return the keys of a JWK set by their names; entries that cannot sign tokens are passed over (RFC 7517, 5)."""
    entries = answer.get("keys")
    if not isinstance(entries, list):
        raise _AnswerError("its answer is not a set of keys")
    keys: dict[str, list[ProviderKey]] = {}
    for entry in cast("list[object]", entries):
        if isinstance(entry, dict) and (named := _key_in(cast("dict[str, Any]", entry))) is not None:
            keys.setdefault(named[0], []).append(named[1])
    if not keys:
        raise _AnswerError("its answer has no key that can sign tokens")
    return keys


def _key_in(entry: dict[str, Any]) -> tuple[str, ProviderKey] | None:
    kid, kind, algorithm, operations = entry.get("kid", ""), *map(entry.get, ("kty", "alg", "key_ops"))
    if not isinstance(kid, str) or not isinstance(kind, str) or kind not in _READERS:
        return None
    if entry.get("use", "sig") != "sig" or (isinstance(operations, list) and "verify" not in operations):
        return None
    try:
        if kind == "RSA" and len(entry["n"]) not in _RSA_CHARACTERS:
            return None
        key = _READERS[kind]({"kty": kind} | {name: entry[name] for name in _MEMBERS[kind]})
        if isinstance(key, RSAKey) and key.raw_value.key_size not in _RSA_BITS:
            return None
    except (JoseError, ValueError, TypeError, LookupError, AttributeError):  # joserfc takes members as they come
        return None
    return kid, ProviderKey(key, algorithm if isinstance(algorithm, str) else "")
