"""An OpenID provider in miniature, whose keys and answers are a test's to change."""

import base64
import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import anyio
import httpx
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from hand_clock import HandClock
from renkei.model.serving import AccountTable, IssuerTable, TokenTable
from renkei.trust.tokens import Tokens

ISSUER = "https://login.example.org/realm"
AUDIENCE = "https://site.example.jp"
ALL = ("RS256", "PS256", "ES256", "ES384", "EdDSA")


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def part(value: Any) -> str:
    return b64(json.dumps(value).encode())


def number(n: int, size: int | None = None) -> str:
    return b64(n.to_bytes(size or (n.bit_length() + 7) // 8, "big"))


class Signer:
    """A key of a provider: what it publishes of it, and how it signs with it."""

    def __init__(self, algorithm: str, kid: str) -> None:
        self.algorithm, self.kid = algorithm, kid
        self.private: Any = _private(algorithm, kid)

    @property
    def jwk(self) -> dict[str, Any]:
        public = self.private.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            numbers = public.public_numbers()
            key = {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
        elif isinstance(public, ec.EllipticCurvePublicKey):
            point, size = public.public_numbers(), public.curve.key_size // 8
            key = {"kty": "EC", "crv": f"P-{size * 8}", "x": number(point.x, size), "y": number(point.y, size)}
        else:
            key = {"kty": "OKP", "crv": "Ed25519", "x": b64(public.public_bytes_raw())}
        return key | {"kid": self.kid, "use": "sig"}

    def sign(self, covered: bytes) -> bytes:
        if isinstance(self.private, rsa.RSAPrivateKey):
            salted = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
            return self.private.sign(
                covered, salted if self.algorithm == "PS256" else padding.PKCS1v15(), hashes.SHA256()
            )
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            size = self.private.curve.key_size // 8
            digest = hashes.SHA256() if size == 32 else hashes.SHA384()
            r, s = decode_dss_signature(self.private.sign(covered, ec.ECDSA(digest)))
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        return self.private.sign(covered)


@lru_cache(maxsize=32)
def _private(algorithm: str, kid: str) -> Any:
    if algorithm in ("RS256", "PS256"):
        return rsa.generate_private_key(65537, 1024 if kid == "short" else 2048)
    if algorithm.startswith("ES"):
        return ec.generate_private_key(ec.SECP256R1() if algorithm == "ES256" else ec.SECP384R1())
    return ed25519.Ed25519PrivateKey.generate()


class Issuer:
    """A provider that answers over `transport`, or not, and counts how often it was asked for its keys."""

    def __init__(self, clock: HandClock, url: str = ISSUER) -> None:
        self.clock, self.url = clock, url
        self.signers = {name: Signer(name, f"key-{name}") for name in ("RS256", "ES256", "EdDSA")}
        self.metadata: Any = {"issuer": url, "jwks_uri": f"{url}/keys"}
        self.keys: Any = None
        """What it answers in place of its keys, where that is not None."""
        self.asked: list[str] = []
        self.answer: Callable[[httpx.Request], httpx.Response] | None = None
        self.slow: anyio.Event | None = None
        """What it waits for before it answers."""

    @property
    def n_fetched(self) -> int:
        return sum(url.endswith("/keys") for url in self.asked)

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._answer)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        answer = await self._made(request)
        if not answer.is_closed:
            return answer
        return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(answer.content))

    async def _made(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        if self.slow is not None:
            await self.slow.wait()
        if self.answer is not None:
            return self.answer(request)
        if request.url.path.endswith("/.well-known/openid-configuration"):
            return httpx.Response(200, json=self.metadata)
        keys = {"keys": [signer.jwk for signer in self.signers.values()]} if self.keys is None else self.keys
        return httpx.Response(200, json=keys)

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return claims that hold for an hour; what is changed to None is left out."""
        now = int(self.clock.now())
        plain = {"iss": self.url, "aud": AUDIENCE, "sub": "ada", "iat": now, "nbf": now, "exp": now + 3600}
        return {name: value for name, value in (plain | changes).items() if value is not None}

    def token(self, algorithm: str = "ES256", header: dict[str, Any] | None = None, **changes: Any) -> str:
        """Return a token that a key of this provider signed."""
        return self.signed(self.signers[algorithm], header, **changes)

    def signed(self, signer: Signer, header: dict[str, Any] | None = None, **changes: Any) -> str:
        plain = {"alg": signer.algorithm, "kid": signer.kid, "typ": "JWT"} | (header or {})
        head = {name: value for name, value in plain.items() if value is not None}
        covered = f"{part(head)}.{part(self.claims(**changes))}"
        return f"{covered}.{b64(signer.sign(covered.encode()))}"


def issuer_table(**changes: Any) -> IssuerTable:
    plain = {"issuer": ISSUER, "audience": AUDIENCE, "algorithms": ALL}
    return IssuerTable.model_validate(plain | changes, by_name=True)


ADA = AccountTable(issuer=ISSUER, subject="ada", user="lovelace", team="fusion", institution="us-lab")


def tokens_of(
    issuer: Issuer,
    *accounts: AccountTable,
    static: tuple[TokenTable, ...] = (),
    tables: tuple[IssuerTable, ...] | None = None,
) -> Tokens:
    return Tokens(
        static, tables or (issuer_table(),), accounts or (ADA,), "own-lab", issuer.clock, transport=issuer.transport
    )
