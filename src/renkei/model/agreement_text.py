"""Writing an agreement.toml for people to go on from: a new one, or the next version of one."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, date, datetime
from typing import cast

from renkei.errors import ConfigError
from renkei.model.agreement import Agreement, AgreementSite, Contribution, Institution, Party, Team, parse_agreement
from renkei.model.rule import Rule

OPEN_RESEARCH = Rule(
    "open-research", "allow", purposes=("open-research",), reason="Open research is what this agreement is for."
)
"""The rule that a new agreement begins with."""


def new_agreement_text(
    name: str,
    *,
    starts: date,
    ends: date,
    parties: Mapping[str, Party],
    institutions: Mapping[str, Institution],
    teams: Mapping[str, Team],
    sites: Mapping[str, AgreementSite] | None = None,
    contributions: Sequence[Contribution] = (),
    rules: Sequence[Rule] = (OPEN_RESEARCH,),
    title: str = "",
    version: int = 1,
    previous: str = "",
    illustrative: bool = False,
) -> str:
    """Return the text of a commented agreement.toml; `parse_agreement` reads it back into the same terms.

    Args:
        name: The agreement's name.
        starts: The first day on which it holds.
        ends: The last day on which it holds.
        parties: By id.
        institutions: By id.
        teams: By name.
        sites: By name; left out, every institution has one site, which is called as it is.
        contributions: What sites give to teams.
        rules: Who may run what.
        title: Its title for people.
        version: Counted from 1.
        previous: The digest of the version that this one amends; empty when it amends none.
        illustrative: Whether its rosters are made-up examples.

    Raises:
        ConfigError: These terms are no agreement; lists every mistake.
    """
    if sites is None:
        sites = {institution: AgreementSite(institution=institution) for institution in institutions}
    blocks = [
        _block(
            "# The terms of a partnership. Every institution keeps the same file, byte for byte: its digest is its\n"
            "# identity, so a change is a new version.\n[agreement]",
            name=name,
            title=title,
            version=version,
            previous=previous or None,
            starts=starts,
            ends=ends,
            illustrative=illustrative,
        ),
        "# Parties: the nations or agencies that entered the agreement.",
        *(_party(key, party) for key, party in parties.items()),
        "# Institutions: who takes part, and the public key that checks what each of them signs.",
        *(_institution(key, institution) for key, institution in institutions.items()),
        '# Sites: where procedures run. Add url = "https://…" to reach a site over the network.',
        *(_site(key, site) for key, site in sites.items()),
        "# Teams: an institution of a team may ask for runs in its name.",
        *(_team(key, team) for key, team in teams.items()),
        "# Contributions: what a team may use at a site.",
        *(_block("[[contributions]]", site=c.site, team=c.team, quantity=str(c.quantity)) for c in contributions),
        "# Rules: deny beats ask, ask beats allow, and what no rule allows is denied. teams, procedures, sites,\n"
        '# purposes, institutions and parties take patterns such as ["fusion.*"]; a key that is left out fits all.',
        *(_block("[[rules]]", **_rule(rule)) for rule in rules),
    ]
    text = "\n\n".join(blocks) + "\n"
    parse_agreement(text, "the new agreement")
    return text


def amended_text(
    agreement: Agreement,
    *,
    parties: Mapping[str, Party],
    institutions: Mapping[str, Institution],
    sites: Mapping[str, AgreementSite],
    teams: Mapping[str, Team],
) -> str:
    """Return the text of the next version of an agreement, with more in it and nothing else changed.

    What people wrote into the file, comments too, is kept where that can be done without a doubt; else the file is
    written anew.

    Args:
        agreement: The version before.
        parties: Those to add, by id.
        institutions: Those to add, by id.
        sites: Those to add, by name.
        teams: Those to add, and those that gain institutions, each with all its institutions.

    Raises:
        ConfigError: The terms would be no agreement; lists every mistake.
    """
    starts, ends = (datetime.fromtimestamp(at, UTC).date() for at in (agreement.starts, agreement.ends - 1))
    anew = new_agreement_text(
        agreement.name,
        title=agreement.title,
        version=agreement.version + 1,
        previous=agreement.digest,
        starts=starts,
        ends=ends,
        illustrative=agreement.illustrative,
        parties={**agreement.parties, **parties},
        institutions={**agreement.institutions, **institutions},
        sites={**agreement.sites, **sites},
        teams={**agreement.teams, **teams},
        contributions=agreement.contributions,
        rules=agreement.rules,
    )
    edited = _edited(agreement, parties, institutions, sites, teams)
    try:
        is_same = _terms_of(parse_agreement(edited)) == _terms_of(parse_agreement(anew))
    except ConfigError:  # its author writes in a way that is not foreseen here
        is_same = False
    return edited if is_same else anew


def _terms_of(agreement: Agreement) -> list[object]:
    """Return all that an agreement says, apart from how it is written."""
    left_out = ("digest", "source")
    return [getattr(agreement, field.name) for field in fields(agreement) if field.name not in left_out]


def _edited(
    agreement: Agreement,
    parties: Mapping[str, Party],
    institutions: Mapping[str, Institution],
    sites: Mapping[str, AgreementSite],
    teams: Mapping[str, Team],
) -> str:
    """Return a file's text with a new version and more tables; whether that is what was meant is for others to see."""
    version = agreement.version + 1
    text = agreement.source.decode()
    text = _in_table(text, "agreement", r"previous[ \t]*=[^\n]*\n", "")
    text = _in_table(
        text,
        "agreement",
        r"version[ \t]*=[ \t]*\d+",
        f"version = {version}\nprevious = {_text(agreement.digest)}",
    )
    for name, team in teams.items():
        if name in agreement.teams:
            line = f"institutions = {_value(team.institutions)}"
            text = _in_table(text, f"teams.{_key(name)}", r"institutions[ \t]*=[ \t]*\[[^\]]*\]", line)
    blocks = [
        f"# Added in version {version}.",
        *(_party(key, party) for key, party in parties.items()),
        *(_institution(key, institution) for key, institution in institutions.items()),
        *(_site(key, site) for key, site in sites.items()),
        *(_team(key, team) for key, team in teams.items() if key not in agreement.teams),
    ]
    return text.rstrip("\n") + "\n\n" + "\n\n".join(blocks) + "\n"


def _in_table(text: str, table: str, pattern: str, replacement: str) -> str:
    """Return `text` with the first line of a table that begins with `pattern` replaced so far."""
    head = re.search(rf"^\[{re.escape(table)}\][^\n]*\n", text, re.MULTILINE)
    if head is None:
        return text
    following = re.search(r"^\[", text[head.end() :], re.MULTILINE)
    end = head.end() + following.start() if following else len(text)
    body = re.sub(rf"^{pattern}", lambda _: replacement, text[head.end() : end], count=1, flags=re.MULTILINE)
    return text[: head.end()] + body + text[end:]


def _party(key: str, party: Party) -> str:
    return _block(f"[parties.{_key(key)}]", name=party.name, key=party.key)


def _institution(key: str, institution: Institution) -> str:
    return _block(f"[institutions.{_key(key)}]", name=institution.name, party=institution.party, key=institution.key)


def _site(key: str, site: AgreementSite) -> str:
    return _block(f"[sites.{_key(key)}]", institution=site.institution, url=site.url)


def _team(key: str, team: Team) -> str:
    return _block(f"[teams.{_key(key)}]", name=team.name, institutions=team.institutions)


def _rule(rule: Rule) -> dict[str, object]:
    values = {field.name: getattr(rule, field.name) for field in fields(rule)}
    return {key: value for key, value in values.items() if value not in (("*",), "")}


def _block(head: str, **values: object) -> str:
    return "\n".join([head, *(f"{key} = {_value(value)}" for key, value in values.items() if value is not None)])


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{', '.join(_value(entry) for entry in cast('tuple[object, ...]', value))}]"
    return _text(value) if isinstance(value, str) else str(value)


def _text(value: str) -> str:
    """Return a TOML string: as JSON spells it, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return _text(name) if "." in name else name
