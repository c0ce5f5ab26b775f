"""Tables of site.toml about tokens: what they may not say."""

import pytest

from renkei.errors import ConfigError
from renkei.model.serving import AccountTable
from renkei.model.site_file import parse_site

SITE = '[site]\nname = "a"\ninstitution = "a"\nkey = "a.key"\n'
DIGEST = "0123456789abcdef" * 4
TOKEN = f'[[tokens]]\nsha256 = "{DIGEST}"\nuser = "ada"\nteam = "fusion"\n'
ISSUER = '[[issuers]]\nissuer = "https://login.example.org"\naudience = "https://site.example.jp"\n'
ACCOUNT = '[[accounts]]\nissuer = "https://login.example.org"\nteam = "fusion"\n'


def test_tokens_issuers_and_accounts_are_read() -> None:
    two = ACCOUNT + 'subject = "ada"\nuser = "lovelace"\n' + ACCOUNT + 'project = "amsc-1"\ninstitution = "a"\n'
    file = parse_site(SITE + TOKEN + ISSUER + 'algorithms = ["ES384"]\n' + two)
    assert (file.tokens[0].sha256, file.tokens[0].user, file.tokens[0].institution) == (DIGEST, "ada", None)
    assert (file.issuers[0].algorithms, file.issuers[0].jwks_url) == (("ES384",), None)
    assert [(a.subject, a.project, a.user) for a in file.accounts] == [
        ("ada", None, "lovelace"),
        (None, "amsc-1", None),
    ]


@pytest.mark.parametrize("url", ["http://127.0.0.1:8441", "http://[::1]:8441", "http://localhost:8441"])
def test_an_issuer_of_this_machine_needs_no_https(url: str) -> None:
    file = parse_site(SITE + ISSUER.replace("https://login.example.org", url) + f'jwks_url = "{url}/keys"')
    assert file.issuers[0].jwks_url == f"{url}/keys"


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (TOKEN + TOKEN, "tokens#2.sha256: found '0123"),
        (TOKEN.replace(DIGEST, DIGEST.upper()), "tokens#1.sha256: found '0123"),
        (TOKEN.replace(DIGEST, "s3cret"), "the token itself is kept nowhere"),
        (
            ISSUER.replace("https://l", "http://l"),
            "issuers#1.issuer: found 'http://login.example.org', expected an add",
        ),
        (ISSUER + 'jwks_url = "http://login.example.org/keys"', "issuers#1.jwks_url: found"),
        (ISSUER.replace("https://login.example.org", "http://[/"), "issuers#1.issuer: found"),
        (ISSUER + ISSUER, "there already is this issuer"),
        (ISSUER + 'algorithms = ["HS256"]', "expected one of RS256, PS256, ES256, ES384, EdDSA"),
        (ISSUER + "algorithms = []", "at least 1"),
        (ACCOUNT, "expected an issuer that [[issuers]] has"),
        (ISSUER + ACCOUNT.replace(".org", ".orgs"), "Did you mean 'https://login.example.org'?"),
        (ISSUER + ACCOUNT + ACCOUNT, "there already is an account for these"),
        (ISSUER + 2 * (ACCOUNT + 'subject = "ada"\n'), "there already is an account for these"),
    ],
)
def test_mistakes_are_told(text: str, mistake: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_site(SITE + text)
    assert mistake in caught.value.message


def test_an_account_may_be_made_in_code() -> None:
    assert AccountTable(issuer="https://login.example.org", team="fusion").project is None
