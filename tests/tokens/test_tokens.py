"""Who stands behind a token: every way in which one is refused, and whom it stands for."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from token_issuer import ADA, ALL, AUDIENCE, ISSUER, Issuer, Signer, b64, issuer_table, part, tokens_of

from hand_clock import HandClock
from renkei.errors import Denied
from renkei.model.serving import AccountTable, TokenTable
from renkei.trust import tokens as tokens_module
from renkei.trust.tokens import Identity, Tokens

pytestmark = pytest.mark.anyio


@pytest.fixture
def issuer(clock: HandClock) -> Issuer:
    return Issuer(clock)


async def refusal(tokens: Tokens, token: str) -> str:
    """Return why a token is refused, once it was found that the message gives nothing of it away."""
    with pytest.raises(Denied) as caught:
        await tokens.identify(token)
    said = str(caught.value) + json.dumps(caught.value.to_json())
    assert all(part not in said for part in token.split(".") if len(part) > 8)
    return caught.value.message


def static(token: str, **more: Any) -> TokenTable:
    return TokenTable(sha256=hashlib.sha256(token.encode()).hexdigest(), user="ada", team="fusion", **more)


# ---- static tokens ---------------------------------------------------------------------------------------------


async def test_a_static_token_stands_for_its_user(clock: HandClock) -> None:
    tokens = Tokens((static("s3cret"), static("other", institution="jp-lab")), (), (), "own-lab", clock)
    assert await tokens.identify("s3cret") == Identity("ada", "fusion", "own-lab")
    assert (await tokens.identify("other")).institution == "jp-lab"


@pytest.mark.parametrize("token", ["", "s3crets", "S3CRET", "a.b.c", "\ud800", "é" * 100, "." * 20_000])
async def test_any_other_is_refused(token: str, clock: HandClock) -> None:
    tokens = Tokens((static("s3cret"),), (), (), "own-lab", clock)
    assert "not known here" in await refusal(tokens, token)


# ---- tokens that are taken -------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALL)
async def test_a_token_of_any_algorithm_of_the_table_is_taken(algorithm: str, issuer: Issuer) -> None:
    issuer.signers[algorithm] = Signer(algorithm, f"key-{algorithm}")
    identity = await tokens_of(issuer).identify(issuer.token(algorithm))
    assert identity == Identity("lovelace", "fusion", "us-lab", ISSUER, "ada")


async def test_eddsa_may_be_called_ed25519(issuer: Issuer) -> None:
    assert await tokens_of(issuer).identify(issuer.token("EdDSA", {"alg": "Ed25519"}))


@pytest.mark.parametrize("kind", [None, "at+jwt", "application/at+jwt", "jwt"])
async def test_a_token_may_be_of_each_of_these_types(kind: str | None, issuer: Issuer) -> None:
    assert await tokens_of(issuer).identify(issuer.token(header={"typ": kind}))


@pytest.mark.parametrize(
    "changes",
    [{"aud": ["https://elsewhere.example.org", AUDIENCE]}, {"nbf": None, "iat": None}, {"nbf": 1_800_000_029}],
)
async def test_audience_may_be_one_of_a_list_and_clocks_may_differ_a_little(
    changes: dict[str, Any], issuer: Issuer
) -> None:
    assert await tokens_of(issuer).identify(issuer.token(**changes))


# ---- tokens that are refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"iss": None}, "issuer"),
        ({"iss": ISSUER + "/"}, "issuer"),
        ({"iss": ISSUER.upper()}, "issuer"),
        ({"iss": [ISSUER]}, "issuer"),
        ({"aud": None}, "audience"),
        ({"aud": AUDIENCE + "/"}, "audience"),
        ({"aud": ["https://elsewhere.example.org"]}, "audience"),
        ({"aud": {AUDIENCE: 1}}, "audience"),
        ({"exp": None}, "exp"),
        ({"exp": 1_800_000_000}, "expired"),
        ({"exp": 1_799_999_999}, "expired"),
        ({"exp": "1900000000"}, "exp"),
        ({"exp": True}, "exp"),
        ({"exp": 1e300}, "exp"),
        ({"exp": -1}, "exp"),
        ({"nbf": 1_800_000_031}, "not valid yet"),
        ({"nbf": "soon"}, "nbf"),
        ({"iat": 1_800_000_031}, "not valid yet"),
        ({"iat": []}, "iat"),
        ({"exp": 1_800_000_010, "nbf": 1_800_000_020}, "before it begins"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": 7}, "sub"),
        ({"sub": "a\nb"}, "sub"),
        ({"sub": "a" * 256}, "sub"),
        ({"sub": "somebody-else"}, "nobody whom this site knows"),
    ],
)
async def test_wrong_claims_are_refused(changes: dict[str, Any], part: str, issuer: Issuer) -> None:
    assert part in await refusal(tokens_of(issuer), issuer.token(**changes))


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ({"alg": None}, "algorithm"),
        ({"alg": "none"}, "algorithm"),
        ({"alg": "HS256"}, "algorithm"),
        ({"alg": "ES512"}, "algorithm"),
        ({"alg": ["ES256"]}, "algorithm"),
        ({"kid": None}, "signature"),
        ({"kid": 1}, "kid"),
        ({"kid": "no-such-key"}, "signature"),
        ({"kid": "key-RS256"}, "signature"),
        ({"alg": "RS256"}, "signature"),
        ({"alg": "ES384"}, "signature"),
        ({"crit": ["exp"]}, "crit"),
        ({"b64": False}, "crit"),
        ({"jwk": {"kty": "EC"}}, "key of its own"),
        ({"jku": "https://evil.example.org"}, "key of its own"),
        ({"x5u": "https://evil.example.org"}, "key of its own"),
        ({"x5c": ["MII"]}, "key of its own"),
        ({"typ": "dpop+jwt"}, "type"),
        ({"typ": 1}, "type"),
    ],
)
async def test_wrong_headers_are_refused(header: dict[str, Any], part: str, issuer: Issuer) -> None:
    assert part in await refusal(tokens_of(issuer), issuer.token(header=header))


async def test_a_token_without_kid_is_taken_of_an_issuer_with_one_key_alone(issuer: Issuer) -> None:
    token = issuer.token(header={"kid": None})
    assert "signature" in await refusal(tokens_of(issuer), token)
    issuer.signers = {"ES256": issuer.signers["ES256"]}
    assert await tokens_of(issuer).identify(token)
    key = issuer.signers["ES256"].jwk
    del key["kid"]
    issuer.keys = {"keys": [key]}
    assert await tokens_of(issuer).identify(token)
    assert "signature" in await refusal(tokens_of(issuer), issuer.signed(Signer("ES256", "forger"), {"kid": None}))
    assert "signature" in await refusal(tokens_of(issuer), issuer.token())  # names a key that the issuer does not


async def test_only_algorithms_of_the_table_are_taken(issuer: Issuer) -> None:
    tokens = tokens_of(issuer, tables=(issuer_table(algorithms=("RS256",)),))
    assert "algorithm" in await refusal(tokens, issuer.token("ES256"))
    assert await tokens.identify(issuer.token("RS256"))


async def test_an_unsigned_token_is_refused(issuer: Issuer) -> None:
    head, claims = part({"alg": "none", "kid": "key-ES256"}), part(issuer.claims())
    assert "algorithm" in await refusal(tokens_of(issuer), f"{head}.{claims}.")
    signed_for = part({"alg": "ES256", "kid": "key-ES256"})
    assert "signature" in await refusal(tokens_of(issuer), f"{signed_for}.{claims}.")


async def test_a_public_key_used_as_a_shared_secret_is_refused(issuer: Issuer) -> None:
    secret = json.dumps(issuer.signers["RS256"].jwk).encode()
    covered = f"{part({'alg': 'HS256', 'kid': 'key-RS256'})}.{part(issuer.claims())}"
    token = f"{covered}.{b64(hmac.new(secret, covered.encode(), 'sha256').digest())}"
    assert "algorithm" in await refusal(tokens_of(issuer), token)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_token_signed_by_somebody_else_is_refused(algorithm: str, issuer: Issuer) -> None:
    forger = Signer(algorithm, "forger")
    forged = issuer.signed(forger, {"kid": f"key-{algorithm}"})
    assert "signature" in await refusal(tokens_of(issuer), forged)


async def test_a_token_with_any_part_changed_is_refused(issuer: Issuer) -> None:
    head, claims, signature = issuer.token().split(".")
    other = part(issuer.claims(sub="root"))
    end = "A" if signature[-1] != "A" else "B"
    padded, no_text = base64.urlsafe_b64encode(b"x").decode(), b64(bytes([0xFF, 0xFE]))
    for token in (
        f"{head}.{other}.{signature}",
        f"{head}.{claims}.{end + signature[1:]}",
        f"{head}.{claims}.{signature[:-4]}",
        f"{head}.{claims}.{signature}.{signature}",
        f"{head}.{claims}.{padded}",
        f"{head}.{claims}.{signature[:-1]}+",
        f" {head}.{claims}.{signature}",
        f"{head}.{claims}.{signature}\n",
        f"{b64(b'[1]')}.{claims}.{signature}",
        f"{b64(b'{' * 9)}.{claims}.{signature}",
        f"{b64(b'[' * 9000)}.{claims}.{signature}",
        f"{head}.{no_text}.{signature}",
        f"{head}.{claims}",
        "..",
    ):
        await refusal(tokens_of(issuer), token)


async def test_a_signature_has_only_one_spelling(issuer: Issuer) -> None:
    token = issuer.token("EdDSA")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]  # differs in bits that stand for nothing
    assert "no JWT" in await refusal(tokens_of(issuer), other)


# ---- whom it stands for ----------------------------------------------------------------------------------------


async def test_the_entry_that_fits_most_closely_counts(issuer: Issuer) -> None:
    anybody = AccountTable(issuer=ISSUER, team="guests")
    project = AccountTable(issuer=ISSUER, project="amsc-1", user="shared", team="quantum")
    both = AccountTable(issuer=ISSUER, subject="ada", project="amsc-1", team="materials")
    other = AccountTable(issuer="https://elsewhere.example.org", subject="eve", user="root", team="fusion")
    tokens = tokens_of(issuer, anybody, project, ADA, both, other)

    async def found(**claims: Any) -> tuple[str, str]:
        identity = await tokens.identify(issuer.token(**claims))
        return identity.user, identity.team

    assert await found() == ("lovelace", "fusion")
    assert await found(amsc_project_context="amsc-1") == ("ada", "materials")
    assert await found(amsc_project_context="amsc-2") == ("lovelace", "fusion")
    assert await found(sub="bob", amsc_project_context="amsc-1") == ("shared", "quantum")
    assert await found(sub="bob", amsc_project_context=["amsc-1"]) == ("bob", "guests")
    assert await found(sub="eve") == ("eve", "guests")
    assert (await tokens.identify(issuer.token(sub="bob"))).institution == "own-lab"


# ---- remembering -----------------------------------------------------------------------------------------------


async def test_a_token_is_looked_at_once_until_it_expires(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    n_checked = _counted(monkeypatch)
    tokens, token = tokens_of(issuer), issuer.token(exp=1_800_000_100)
    for _ in range(5):
        assert await tokens.identify(token)
    assert n_checked() == 1
    issuer.clock.time += 100
    assert "expired" in await refusal(tokens, token)


async def test_a_token_is_looked_at_again_after_a_while(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    n_checked = _counted(monkeypatch)
    tokens, token = tokens_of(issuer), issuer.token()
    await tokens.identify(token)
    issuer.clock.time += tokens_module.REMEMBERED_S
    del issuer.signers["ES256"]  # withdrawn
    assert "signature" in await refusal(tokens, token)
    assert n_checked() == 1


async def test_no_more_tokens_are_remembered_than_that(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    n_checked = _counted(monkeypatch)
    monkeypatch.setattr(tokens_module, "REMEMBERED", 2)
    tokens = tokens_of(issuer)
    first, second, third = (issuer.token("EdDSA", jti=str(n)) for n in range(3))
    for token in (first, second, first, third):
        await tokens.identify(token)
    assert n_checked() == 3
    await tokens.identify(first)
    assert n_checked() == 3
    await tokens.identify(second)  # the one that was not asked about for longest was forgotten
    assert n_checked() == 4


def _counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Count signatures that are verified."""
    checked: list[str] = []
    plain = tokens_module._verifies  # pyright: ignore[reportPrivateUsage]

    def verifies(covered: bytes, signature: bytes, algorithm: str, key: Any) -> bool:
        checked.append(algorithm)
        return plain(covered, signature, algorithm, key)

    monkeypatch.setattr(tokens_module, "_verifies", verifies)
    return lambda: len(checked)
