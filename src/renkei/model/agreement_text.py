"""Writing a new agreement.toml for people to go on from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import date
from typing import cast

from renkei.model.agreement import AgreementSite, Contribution, Institution, Party, Team, parse_agreement
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
            starts=starts,
            ends=ends,
            illustrative=illustrative,
        ),
        "# Parties: the nations or agencies that entered the agreement.",
        *(_block(f"[parties.{_key(key)}]", name=p.name, key=p.key) for key, p in parties.items()),
        "# Institutions: who takes part, and the public key that checks what each of them signs.",
        *(
            _block(f"[institutions.{_key(key)}]", name=i.name, party=i.party, key=i.key)
            for key, i in institutions.items()
        ),
        '# Sites: where procedures run. Add url = "https://…" to reach a site over the network.',
        *(_block(f"[sites.{_key(key)}]", institution=s.institution, url=s.url) for key, s in sites.items()),
        "# Teams: an institution of a team may ask for runs in its name.",
        *(_block(f"[teams.{_key(key)}]", name=t.name, institutions=t.institutions) for key, t in teams.items()),
        "# Contributions: what a team may use at a site.",
        *(_block("[[contributions]]", site=c.site, team=c.team, quantity=str(c.quantity)) for c in contributions),
        "# Rules: deny beats ask, ask beats allow, and what no rule allows is denied. teams, procedures, sites,\n"
        '# purposes, institutions and parties take patterns such as ["fusion.*"]; a key that is left out fits all.',
        *(_block("[[rules]]", **_rule(rule)) for rule in rules),
    ]
    text = "\n\n".join(blocks) + "\n"
    parse_agreement(text, "the new agreement")
    return text


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
