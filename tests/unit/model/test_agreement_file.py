"""agreement.toml: what it says, what it may not say, and how a new one is written."""

import hashlib
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from file_keys import changed, keys_of, mistakes_of

from renkei.errors import ConfigError, UsageError
from renkei.model.agreement import (
    Agreement,
    AgreementFile,
    AgreementSite,
    Contribution,
    Institution,
    Party,
    Team,
    load_agreement,
    parse_agreement,
)
from renkei.model.agreement_text import new_agreement_text
from renkei.model.quantity import Quantity
from renkei.model.rule import Rule

TEXT = """
[agreement]
name = "us-jp-genesis"
title = "Genesis"
version = 2
previous = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
starts = 2026-06-04
ends = 2031-06-03
illustrative = true

[parties.us]
name = "United States"
key = "renkei1:us"
[parties.jp]
name = "Japan"

[institutions.us-fusion-lab]
name = "US Fusion Laboratory"
party = "us"
key = "renkei1:us-fusion-lab"
[institutions.jp-fusion-institute]
name = "National Institute"
party = "jp"
key = "renkei1:jp-fusion-institute"

[sites.us-site]
institution = "us-fusion-lab"
url = "https://us.example.org"
[sites.jp-site]
institution = "jp-fusion-institute"

[teams.fusion-energy]
name = "Fusion energy"
institutions = ["us-fusion-lab", "jp-fusion-institute"]
[teams.diagnostics]
name = "Diagnostics"
institutions = ["jp-fusion-institute"]

[[contributions]]
site = "us-site"
team = "fusion-energy"
quantity = "40 node-hour"

[[rules]]
id = "open-research"
effect = "allow"
teams = ["fusion-energy"]
procedures = ["fusion.*"]
sites = ["us-*"]
purposes = ["open-research"]
institutions = ["jp-*"]
parties = ["jp"]
reason = "Because."
"""

CHANGES = {
    "agreement.name": ('name = "us-jp-genesis"', 'name = "other"'),
    "agreement.title": ('"Genesis"', '"Exodus"'),
    "agreement.version": ("version = 2", "version = 3"),
    "agreement.previous": ("a" * 64, "b" * 64),
    "agreement.starts": ("2026-06-04", "2026-06-05"),
    "agreement.ends": ("2031-06-03", "2031-06-02"),
    "agreement.illustrative": ("illustrative = true", "illustrative = false"),
    "parties.name": ('"United States"', '"USA"'),
    "parties.key": ('"renkei1:us"', '"renkei1:u"'),
    "institutions.name": ('"US Fusion Laboratory"', '"Lab"'),
    "institutions.party": ('party = "us"', 'party = "jp"'),
    "institutions.key": ('"renkei1:us-fusion-lab"', '"renkei1:x"'),
    "sites.institution": (
        '[sites.us-site]\ninstitution = "us-fusion-lab"',
        '[sites.us-site]\ninstitution = "jp-fusion-institute"',
    ),
    "sites.url": ("https://us.example.org", "http://other.example.org"),
    "teams.name": ('"Fusion energy"', '"Energy"'),
    "teams.institutions": ('["us-fusion-lab", "jp-fusion-institute"]', '["us-fusion-lab"]'),
    "contributions.site": ('site = "us-site"', 'site = "jp-site"'),
    "contributions.team": ('team = "fusion-energy"', 'team = "diagnostics"'),
    "contributions.quantity": ("40 node-hour", "41 node-hour"),
    "rules.id": ('id = "open-research"', 'id = "closed"'),
    "rules.effect": ('"allow"', '"deny"'),
    "rules.teams": ('teams = ["fusion-energy"]', 'teams = ["*"]'),
    "rules.procedures": ("fusion.*", "quantum.*"),
    "rules.sites": ('["us-*"]', '["us-site"]'),
    "rules.purposes": ('["open-research"]', '["industry"]'),
    "rules.institutions": ('["jp-*"]', '["us-*"]'),
    "rules.parties": ('["jp"]', '["us"]'),
    "rules.reason": ("Because.", "Why not."),
}


def terms(text: str) -> Agreement:
    return replace(parse_agreement(text), digest="", source=b"")


def test_an_agreement_says_what_its_file_says() -> None:
    agreement = parse_agreement(TEXT)
    assert (agreement.name, agreement.title, agreement.version, agreement.illustrative) == (
        "us-jp-genesis", "Genesis", 2, True,
    )  # fmt: skip
    assert agreement.parties == {"us": Party(name="United States", key="renkei1:us"), "jp": Party(name="Japan")}
    assert agreement.institutions["us-fusion-lab"].party == "us"
    assert agreement.sites["jp-site"] == AgreementSite(institution="jp-fusion-institute")
    assert agreement.teams["fusion-energy"].institutions == ("us-fusion-lab", "jp-fusion-institute")
    assert agreement.contributions == (
        Contribution(site="us-site", team="fusion-energy", quantity=Quantity.parse("40 node-hour")),
    )
    assert agreement.rules == (
        Rule(
            id="open-research",
            effect="allow",
            teams=("fusion-energy",),
            procedures=("fusion.*",),
            sites=("us-*",),
            purposes=("open-research",),
            institutions=("jp-*",),
            parties=("jp",),
            reason="Because.",
        ),
    )


@pytest.mark.parametrize(("old", "new"), CHANGES.values(), ids=CHANGES)
def test_every_key_changes_the_agreement(old: str, new: str) -> None:
    assert terms(changed(TEXT, old, new)) != terms(TEXT)


def test_every_key_is_among_those_that_are_changed() -> None:
    assert set(CHANGES) == keys_of(AgreementFile)


def test_what_may_be_left_out_has_a_default() -> None:
    agreement = parse_agreement(
        """
        agreement = { name = "a", version = 1, starts = 2026-01-01, ends = 2026-01-01 }
        parties.p.name = "P"
        institutions.i = { name = "I", party = "p", key = "renkei1:i" }
        teams.t = { name = "T", institutions = ["i"] }
        rules = [{ id = "r", effect = "ask" }]
        """
    )
    assert (agreement.title, agreement.illustrative, agreement.sites, agreement.contributions) == ("", False, {}, ())
    assert agreement.rules == (Rule("r", "ask"),)


def test_an_agreement_holds_from_its_first_to_the_end_of_its_last_day_in_utc() -> None:
    agreement = parse_agreement(TEXT)
    first = datetime(2026, 6, 4, tzinfo=UTC).timestamp()
    end = datetime(2031, 6, 4, tzinfo=UTC).timestamp()
    assert (agreement.starts, agreement.ends) == (first, end)
    assert [agreement.is_in_term(now) for now in (first - 1, first, end - 1, end)] == [False, True, True, False]


def test_an_agreement_may_last_to_the_end_of_the_calendar() -> None:
    assert parse_agreement(changed(TEXT, "2031-06-03", "9999-12-31")).is_in_term(2e11)


def test_an_institution_signs_for_the_teams_that_it_is_part_of() -> None:
    agreement = parse_agreement(TEXT)
    assert agreement.may_sign_for("us-fusion-lab", "fusion-energy")
    assert not agreement.may_sign_for("us-fusion-lab", "diagnostics")
    assert not agreement.may_sign_for("us-fusion-lab", "nobody")
    assert agreement.teams_of("jp-fusion-institute") == ("fusion-energy", "diagnostics")
    assert agreement.teams_of("nobody") == ()


def test_a_site_belongs_to_an_institution() -> None:
    agreement = parse_agreement(TEXT)
    assert agreement.institution_of_site("jp-site") == "jp-fusion-institute"
    with pytest.raises(UsageError, match=r"has no site 'jp-sit'\. Did you mean 'jp-site'\?"):
        agreement.institution_of_site("jp-sit")


def test_the_digest_is_that_of_the_bytes_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "agreement.toml"
    path.write_bytes(TEXT.encode())
    agreement = load_agreement(path)
    assert agreement.source == TEXT.encode()
    assert agreement.digest == hashlib.sha256(TEXT.encode()).hexdigest() == parse_agreement(TEXT).digest
    assert parse_agreement(TEXT + "\n").digest != agreement.digest


def test_all_mistakes_are_reported_at_once() -> None:
    text = """
[agreement]
name = "US"
titel = "x"
version = "1"
starts = 2026-06-04
ends = 2026-06-03
[parties.us]
name = ""
[institutions.x]
name = "x"
party = "uss"
[institutions."Bad Id"]
name = "x"
party = "us"
key = "abc"
[sites.s]
institution = "y"
url = "ftp://x"
[teams.t]
name = "t"
institutions = ["x", "x"]
[teams.none]
name = "n"
institutions = []
[[contributions]]
site = "q"
team = "tt"
quantity = "40 nodehour"
[[rules]]
id = "a"
effect = "alow"
teams = ["tt", "*"]
procedures = []
[[rules]]
id = "a"
effect = "deny"
sites = ["Site"]
[extra]
"""
    name = "expected a name: at most 100 lower-case letters, digits, '-' and '.', beginning with a letter"
    assert mistakes_of(parse_agreement, text) == [
        f"agreement.name: found 'US', {name}",
        "agreement.version: found '1', expected a whole number",
        "agreement.ends: found 2026-06-03, expected 2026-06-04 or a later day: the agreement cannot end before it"
        " starts",
        "agreement.titel: found an unknown key, expected one of name, title, version, previous, starts, ends,"
        " illustrative. Did you mean 'title'?",
        "parties.us.name: found '', expected a text that is not empty",
        "institutions.x.party: found 'uss', expected the name of a party in this file. Did you mean 'us'?",
        "institutions.x.key: found nothing, expected its public key; what it signs is checked with it",
        f"institutions.\"Bad Id\": found 'Bad Id', {name}",
        "institutions.\"Bad Id\".key: found 'abc', expected a public key, which begins with 'renkei1:'",
        "sites.s.institution: found 'y', expected the name of an institution in this file",
        "sites.s.url: found 'ftp://x', expected an address such as 'https://site.example.org'",
        "teams.t.institutions: found ['x', 'x'], expected every entry once, but 'x' is there twice",
        "teams.none.institutions: found [], expected at least 1 of them",
        "contributions#1.site: found 'q', expected the name of a site in this file",
        "contributions#1.team: found 'tt', expected the name of a team in this file. Did you mean 't'?",
        "contributions#1.quantity: found '40 nodehour', expected a quantity such as '40 node-hour'. 'nodehour' is not"
        " an allocation unit. Did you mean 'node-hour'? Known units: node-hour, core-hour, gpu-hour, instrument-hour,"
        " sample, token, USD, run.",
        "rules#1.effect: found 'alow', expected one of allow, deny, ask. Did you mean 'allow'?",
        "rules#1.teams#1: found 'tt', expected the name of a team in this file. Did you mean 't'?",
        "rules#1.procedures: found [], expected at least 1 of them",
        "rules#2.id: found 'a', expected another one: there already is this rule id",
        "rules#2.sites#1: found 'Site', expected a name or a pattern such as 'fusion.*'",
        "extra: found an unknown key, expected one of agreement, parties, institutions, sites, teams, contributions,"
        " rules",
    ]


@pytest.mark.parametrize("key", ["renkei1:", "renkei2:abc", "renkei1:a b", "abc"])
def test_a_public_key_begins_with_its_kind(key: str) -> None:
    assert mistakes_of(parse_agreement, changed(TEXT, "renkei1:us-fusion-lab", key)) == [
        f"institutions.us-fusion-lab.key: found '{key}', expected a public key, which begins with 'renkei1:'"
    ]


def test_a_rule_about_a_team_that_is_not_there_is_a_mistake_even_without_any_team() -> None:
    text = changed(TEXT, 'parties = ["jp"]', 'parties = ["jpn"]').replace("[teams.", "[teems.")
    assert [line.split(":")[0] for line in mistakes_of(parse_agreement, text)] == [
        "contributions#1.team", "rules#1.teams#1", "rules#1.parties#1", "teems",
    ]  # fmt: skip


def test_a_day_is_written_without_a_time() -> None:
    found = mistakes_of(parse_agreement, changed(TEXT, "2026-06-04", "2026-06-04T00:00:00"))
    assert found == ["agreement.starts: found 2026-06-04T00:00:00, expected a date such as 2026-06-04"]


def new_text(**options: object) -> str:
    arguments: dict[str, object] = {
        "starts": date(2026, 6, 4),
        "ends": date(2027, 6, 3),
        "parties": {"us": Party(name='The "States"\n\x7f連', key="renkei1:us")},
        "institutions": {"a.lab": Institution(name="A", party="us", key="renkei1:a")},
        "teams": {"t": Team(name="T", institutions=("a.lab",))},
    }
    return new_agreement_text("local", **(arguments | options))  # type: ignore[arg-type]


def test_a_new_agreement_reads_back_as_it_was_asked_for() -> None:
    rules = (Rule("a", "deny", sites=("s",), reason="No."), Rule("b", "ask", purposes=("x", "y-*")))
    contribution = Contribution(site="s", team="t", quantity=Quantity.parse("1.5 sample"))
    site = AgreementSite(institution="a.lab", url="https://a.example.org")
    text = new_text(
        sites={"s": site}, contributions=(contribution,), rules=rules, title="T", version=3, illustrative=True
    )
    agreement = parse_agreement(text)
    assert (agreement.name, agreement.title, agreement.version, agreement.illustrative) == ("local", "T", 3, True)
    assert agreement.starts == datetime(2026, 6, 4, tzinfo=UTC).timestamp()
    assert agreement.ends == datetime(2027, 6, 4, tzinfo=UTC).timestamp()
    assert agreement.parties == {"us": Party(name='The "States"\n\x7f連', key="renkei1:us")}
    assert agreement.institutions == {"a.lab": Institution(name="A", party="us", key="renkei1:a")}
    assert agreement.sites == {"s": site}
    assert agreement.teams == {"t": Team(name="T", institutions=("a.lab",))}
    assert agreement.contributions == (contribution,)
    assert agreement.rules == rules


def test_a_new_agreement_gives_every_institution_a_site_and_allows_open_research() -> None:
    agreement = parse_agreement(new_text())
    assert agreement.sites == {"a.lab": AgreementSite(institution="a.lab")}
    assert [(rule.id, rule.effect, rule.purposes) for rule in agreement.rules] == [
        ("open-research", "allow", ("open-research",))
    ]
    assert agreement.title == ""


def test_a_new_agreement_of_terms_that_are_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="found 'jp', expected the name of a party in this file"):
        new_text(institutions={"a.lab": Institution(name="A", party="jp", key="renkei1:a")})
