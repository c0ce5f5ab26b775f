"""Keys of a provider: fetched once, kept while it is down, dropped when it withdraws them."""

import logging
from typing import Any

import anyio
import httpx
import pytest
from token_issuer import ISSUER, Issuer, Signer, issuer_table, tokens_of

from fakes import settled
from hand_clock import HandClock
from renkei.errors import Denied
from renkei.trust import _provider
from renkei.trust._provider import ANSWER_BYTES, KEEP_S, REFRESH_S, RETRY_S
from renkei.trust.tokens import Tokens

pytestmark = pytest.mark.anyio

LOCAL = "http://127.0.0.1:8441"


@pytest.fixture
def issuer(clock: HandClock) -> Issuer:
    return Issuer(clock)


async def refusal(tokens: Tokens, token: str) -> str:
    with pytest.raises(Denied) as caught:
        await tokens.identify(token)
    return caught.value.message


async def test_keys_come_from_where_the_metadata_says(issuer: Issuer) -> None:
    issuer.metadata["jwks_uri"] = "https://keys.example.org/v1/keys"
    await tokens_of(issuer).identify(issuer.token())
    assert issuer.asked == [f"{ISSUER}/.well-known/openid-configuration", "https://keys.example.org/v1/keys"]


async def test_keys_come_from_where_the_table_says(issuer: Issuer) -> None:
    table = issuer_table(jwks_url="https://keys.example.org/keys")
    await tokens_of(issuer, tables=(table,)).identify(issuer.token())
    assert issuer.asked == ["https://keys.example.org/keys"]


@pytest.mark.parametrize(
    ("metadata", "part"),
    [
        ({"issuer": f"{ISSUER}/", "jwks_uri": f"{ISSUER}/keys"}, "another issuer"),
        ({"jwks_uri": f"{ISSUER}/keys"}, "another issuer"),
        ({"issuer": ISSUER}, "no https address"),
        ({"issuer": ISSUER, "jwks_uri": "http://login.example.org/keys"}, "no https address"),
        ({"issuer": ISSUER, "jwks_uri": "http://127.0.0.1/keys"}, "no https address"),
        ({"issuer": ISSUER, "jwks_uri": "file:///etc/keys"}, "no https address"),
        ({"issuer": ISSUER, "jwks_uri": ["https://login.example.org/keys"]}, "no https address"),
        ([], "not a JSON object"),
    ],
)
async def test_metadata_that_cannot_be_trusted_is_not(metadata: Any, part: str, issuer: Issuer) -> None:
    issuer.metadata = metadata
    assert part in await refusal(tokens_of(issuer), issuer.token())
    assert issuer.n_fetched == 0


async def test_a_provider_of_this_machine_needs_no_https(clock: HandClock) -> None:
    issuer = Issuer(clock, LOCAL)
    with pytest.raises(Denied, match="nobody whom this site knows"):
        await tokens_of(issuer, tables=(issuer_table(issuer=LOCAL),)).identify(issuer.token())
    assert issuer.n_fetched == 1


@pytest.mark.parametrize(
    ("keys", "part"),
    [
        ({}, "not a set of keys"),
        ({"keys": {}}, "not a set of keys"),
        ({"keys": []}, "no key"),
        ({"keys": ["RSA", None, {"kty": "oct", "kid": "key-ES256", "k": "c2VjcmV0"}]}, "no key"),
        ({"keys": [{"kty": "EC", "kid": "key-ES256", "crv": "P-256", "x": "AA", "y": "AA"}]}, "no key"),
        ({"keys": [{"kty": "EC", "kid": "key-ES256", "crv": "P-256", "x": 1, "y": 1}]}, "no key"),
        ({"keys": [{"kty": "RSA", "kid": "key-ES256", "n": "", "e": ""}]}, "no key"),
        ({"keys": [{"kty": "RSA", "kid": "key-ES256"}]}, "no key"),
        ({"keys": [{"kty": ["RSA"], "kid": "key-ES256"}]}, "no key"),
        ({"keys": [{"kty": "OKP", "kid": "key-ES256", "crv": "Ed25519", "x": "AA"}]}, "no key"),
    ],
)
async def test_keys_that_cannot_sign_are_none(keys: Any, part: str, issuer: Issuer) -> None:
    issuer.keys = keys
    assert part in await refusal(tokens_of(issuer), issuer.token())


@pytest.mark.parametrize(
    ("changes", "is_taken"),
    [
        ({"use": "enc"}, False),
        ({"use": None}, True),
        ({"key_ops": ["encrypt"]}, False),
        ({"key_ops": ["verify"]}, True),
        ({"alg": "ES384"}, False),
        ({"alg": "ES256"}, True),
    ],
)
async def test_a_key_is_used_for_what_it_is_for(changes: dict[str, Any], is_taken: bool, issuer: Issuer) -> None:
    jwk = {name: value for name, value in (issuer.signers["ES256"].jwk | changes).items() if value is not None}
    issuer.keys = {"keys": [jwk, issuer.signers["EdDSA"].jwk]}
    tokens = tokens_of(issuer)
    if is_taken:
        assert await tokens.identify(issuer.token())
    else:
        assert "signature" in await refusal(tokens, issuer.token())


async def test_a_short_rsa_key_signs_nothing(issuer: Issuer) -> None:
    issuer.signers["RS256"] = Signer("RS256", "short")
    assert "signature" in await refusal(tokens_of(issuer), issuer.token("RS256"))


async def test_two_keys_of_one_name_are_told_apart_by_their_type(issuer: Issuer) -> None:
    for name in ("RS256", "ES256"):
        issuer.signers[name] = Signer(name, "same")
    tokens = tokens_of(issuer)
    assert await tokens.identify(issuer.token("RS256"))
    assert await tokens.identify(issuer.token("ES256"))


# ---- when it is asked ------------------------------------------------------------------------------------------


async def test_a_thousand_requests_at_the_same_time_share_one_fetch(issuer: Issuer) -> None:
    tokens, token = tokens_of(issuer), issuer.token("EdDSA")
    issuer.slow = anyio.Event()
    found: list[str] = []

    async def ask() -> None:
        found.append((await tokens.identify(token)).user)

    async with anyio.create_task_group() as tasks:
        for _ in range(1000):
            tasks.start_soon(ask)
        await settled()
        issuer.slow.set()
    assert found == ["lovelace"] * 1000
    assert issuer.n_fetched == 1


async def test_one_who_goes_away_takes_nothing_from_the_others(issuer: Issuer) -> None:
    tokens, token = tokens_of(issuer), issuer.token()
    issuer.slow = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tokens.identify, token)
        await settled()
        tasks.cancel_scope.cancel()
        issuer.slow.set()
    assert await tokens.identify(token)
    assert issuer.n_fetched == 1


async def test_a_new_key_is_found_at_once_and_asked_for_once_in_half_a_minute(issuer: Issuer) -> None:
    tokens = tokens_of(issuer)
    await tokens.identify(issuer.token())
    issuer.clock.time += RETRY_S
    issuer.signers["ES256"] = Signer("ES256", "key-new")
    assert await tokens.identify(issuer.token())
    assert issuer.n_fetched == 2
    for n in range(100):
        await refusal(tokens, issuer.token(header={"kid": f"made-up-{n}"}))
    assert issuer.n_fetched == 2
    issuer.clock.time += RETRY_S
    for n in range(100):
        await refusal(tokens, issuer.token(header={"kid": f"made-up-{n}"}))
    assert issuer.n_fetched == 3


async def test_known_keys_do_not_wait_for_a_fetch(issuer: Issuer) -> None:
    tokens = tokens_of(issuer)
    await tokens.identify(issuer.token())
    issuer.clock.time += REFRESH_S
    issuer.slow = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tokens.identify, issuer.token(jti="1"))
        await settled()
        with anyio.fail_after(1):
            assert await tokens.identify(issuer.token(jti="2"))
        issuer.slow.set()
    assert issuer.n_fetched == 2


async def test_a_provider_that_is_down_is_asked_twice_a_minute(
    issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    issuer.answer = refused
    tokens = tokens_of(issuer)
    with caplog.at_level(logging.WARNING):
        for _ in range(10):
            assert "did not answer (ConnectError)" in await refusal(tokens, issuer.token())
        assert len(issuer.asked) == 1
        issuer.clock.time += RETRY_S
        await refusal(tokens, issuer.token())
    assert len(issuer.asked) == 2
    assert len(caplog.records) == 1
    issuer.answer = None
    assert "did not answer" in await refusal(tokens, issuer.token())
    issuer.clock.time += RETRY_S
    assert await tokens.identify(issuer.token())


async def test_its_keys_are_used_for_a_day_while_it_is_down(issuer: Issuer) -> None:
    tokens = tokens_of(issuer)
    await tokens.identify(issuer.token())
    issuer.answer = lambda request: httpx.Response(503)
    issuer.clock.time += KEEP_S
    assert await tokens.identify(issuer.token())
    issuer.clock.time += 1
    assert "status 503" in await refusal(tokens, issuer.token(jti="2"))


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (httpx.Response(302, headers={"Location": "https://evil.example.org"}), "status 302"),
        (httpx.Response(200, content=b"x" * (ANSWER_BYTES + 1)), "longer than"),
        (httpx.Response(200, content=b"[" * 100_000), "not a JSON object"),
        (httpx.Response(200, content=b"\xff"), "not a JSON object"),
        (httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(b"x")), "not a JSON"),
    ],
)
async def test_answers_of_no_use_are_told(answer: httpx.Response, part: str, issuer: Issuer) -> None:
    issuer.answer = lambda request: answer
    assert part in await refusal(tokens_of(issuer), issuer.token())


async def test_a_provider_that_does_not_answer_is_given_up(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_provider, "ANSWER_S", 0.01)
    issuer.slow = anyio.Event()
    assert "within 0.01 s" in await refusal(tokens_of(issuer), issuer.token())
