"""The agreement: the signed terms of a partnership, as `agreement.toml` spells them."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo

from renkei.errors import UsageError, did_you_mean
from renkei.model.fields import Amount, Distinct, Many, Name, Pattern, PublicKeyText, Text, Url, declares, known, new
from renkei.model.files import Scope, Table, expected, read_bytes, read_tables, read_toml
from renkei.model.rule import Effect, Rule

_DAY_S = 86400.0
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Party(Table):
    """[parties.ID]: a nation or agency that entered the agreement."""

    name: Text = Field(description="Its name for people.")
    key: PublicKeyText | None = Field(default=None, description="Its public key, if it signs anything itself.")


class Institution(Table):
    """[institutions.ID]: a laboratory, university or company that takes part."""

    name: Text = Field(description="Its name for people.")
    party: Annotated[Name, known("party")] = Field(description="The party that it belongs to.")
    key: PublicKeyText = Field(description="Its public key; what it signs is checked with it.")


class AgreementSite(Table):
    """[sites.ID]: a site that an institution runs."""

    institution: Annotated[Name, known("institution")] = Field(description="The institution that runs it.")
    url: Url | None = Field(default=None, description="Where it is reached; left out, it is reached in process only.")


class Team(Table):
    """[teams.ID]: people of one or more institutions who work together under the agreement."""

    name: Text = Field(description="Its name for people.")
    institutions: Distinct[Annotated[Name, known("institution")]] = Field(
        min_length=1, description="The institutions that may ask for runs in its name."
    )


class Contribution(Table):
    """[[contributions]]: what a team may use at a site under the agreement."""

    site: Annotated[Name, known("site")] = Field(description="Who gives it.")
    team: Annotated[Name, known("team")] = Field(description="Who may use it.")
    quantity: Amount = Field(description="How much, for example '40 node-hour'.")


class RuleTable(Table):
    """[[rules]]: it applies where every key has a pattern that fits; deny beats ask, ask beats allow."""

    id: Annotated[Name, new("rule id")] = Field(description="Its name, which decisions give as their reason.")
    effect: Effect = Field(description="What it does: allow, deny, or ask a person.")
    teams: Many[Annotated[Pattern, known("team")]] = Field(
        default=("*",), min_length=1, description="Patterns of the teams that it is about."
    )
    procedures: Many[Pattern] = Field(
        default=("*",), min_length=1, description="Patterns of the procedures that it is about."
    )
    sites: Many[Annotated[Pattern, known("site")]] = Field(
        default=("*",), min_length=1, description="Patterns of the sites that are asked."
    )
    purposes: Many[Pattern] = Field(default=("*",), min_length=1, description="Patterns of the campaigns' purposes.")
    institutions: Many[Annotated[Pattern, known("institution")]] = Field(
        default=("*",), min_length=1, description="Patterns of the institutions that ask."
    )
    parties: Many[Annotated[Pattern, known("party")]] = Field(
        default=("*",), min_length=1, description="Patterns of the parties that those institutions belong to."
    )
    reason: str = Field(default="", description="Why, in a sentence for people.")


def _not_before_start(ends: date, info: ValidationInfo) -> date:
    starts = info.data.get("starts")
    if isinstance(starts, date) and ends < starts:
        raise expected(f"{starts} or a later day: the agreement cannot end before it starts")
    return ends


def _digest(value: str | None, info: ValidationInfo) -> str | None:
    if value is not None and not _SHA256.fullmatch(value):
        raise expected("the SHA-256 of the version before this one, 64 hex digits")
    if value is not None and info.data.get("version") == 1:
        raise expected("nothing: no version comes before the first")
    return value


class Terms(Table):
    """[agreement]: what the agreement is called and how long it holds."""

    name: Name = Field(description="Its name.")
    title: str = Field(default="", description="Its title for people.")
    version: int = Field(ge=1, description="A new version for every change, counted from 1.")
    previous: Annotated[str | None, AfterValidator(_digest)] = Field(
        default=None,
        description="Of an amendment: the SHA-256 of the file of the version before, which sites ask for.",
    )
    starts: date = Field(description="The first day on which it holds, in UTC.")
    ends: Annotated[date, AfterValidator(_not_before_start)] = Field(
        description="The last day on which it holds, in UTC."
    )
    illustrative: bool = Field(default=False, description="Whether its rosters are made-up examples.")


class AgreementFile(Table):
    """agreement.toml."""

    agreement: Terms = Field(description="The table [agreement].")
    parties: Annotated[dict[Name, Party], declares("party")] = Field(
        min_length=1, description="A table [parties.ID] for every party."
    )
    institutions: Annotated[dict[Name, Institution], declares("institution")] = Field(
        min_length=1, description="A table [institutions.ID] for every institution."
    )
    sites: Annotated[dict[Name, AgreementSite], declares("site")] = Field(
        default_factory=dict[str, AgreementSite],
        validate_default=True,
        description="A table [sites.ID] for every site.",
    )
    teams: Annotated[dict[Name, Team], declares("team")] = Field(
        default_factory=dict[str, Team], validate_default=True, description="A table [teams.ID] for every team."
    )
    contributions: Many[Contribution] = Field(default=(), description="Tables [[contributions]].")
    rules: Many[RuleTable] = Field(default=(), description="Tables [[rules]]; without any rule nothing is allowed.")


@dataclass(frozen=True, slots=True)
class Agreement:
    """The terms of a partnership.

    Args:
        name: Its name.
        title: Its title for people; may be empty.
        version: Counted from 1.
        starts: When it begins to hold: 00:00 UTC of its first day, in seconds since 1970 UTC.
        ends: When it holds no longer: the end of its last day.
        illustrative: Whether its rosters are made-up examples.
        parties: By id.
        institutions: By id.
        sites: By name.
        teams: By name.
        contributions: What sites give to teams.
        rules: In the file's order.
        digest: SHA-256 of `source` in hex: which agreement this is.
        source: The file, byte for byte.
        previous: The digest of the version that this one amends; "" when it amends none.
    """

    name: str
    title: str
    version: int
    starts: float
    ends: float
    illustrative: bool
    parties: Mapping[str, Party]
    institutions: Mapping[str, Institution]
    sites: Mapping[str, AgreementSite]
    teams: Mapping[str, Team]
    contributions: tuple[Contribution, ...]
    rules: tuple[Rule, ...]
    digest: str
    source: bytes
    previous: str = ""

    def institution_of_site(self, site: str) -> str:
        """Return the id of the institution that runs a site.

        Raises:
            UsageError: The agreement has no such site.
        """
        if site not in self.sites:
            raise UsageError(
                f"Agreement '{self.name}' has no site '{site}'.{did_you_mean(site, self.sites)}",
                f"Add [sites.{site}] to it.",
            )
        return self.sites[site].institution

    def teams_of(self, institution: str) -> tuple[str, ...]:
        """Return the names of the teams that an institution is part of, in the file's order."""
        return tuple(name for name, team in self.teams.items() if institution in team.institutions)

    def may_sign_for(self, institution: str, team: str) -> bool:
        """Return whether an institution may ask for runs in a team's name."""
        return team in self.teams and institution in self.teams[team].institutions

    def is_in_term(self, now: float) -> bool:
        """Return whether the agreement holds at `now`, in seconds since 1970 UTC."""
        return self.starts <= now < self.ends


def parse_agreement(text: bytes | str, source: str = "agreement.toml") -> Agreement:
    """Return the agreement that a file spells.

    Args:
        text: What is in the file.
        source: What to call it in errors.

    Raises:
        ConfigError: Lists every mistake in it.
    """
    raw = read_toml(text, source)
    file = read_tables(AgreementFile, raw, source, Scope(raw=raw))
    terms = file.agreement
    content = text if isinstance(text, bytes) else text.encode()
    return Agreement(
        name=terms.name,
        title=terms.title,
        version=terms.version,
        starts=_midnight(terms.starts),
        ends=_midnight(terms.ends) + _DAY_S,
        illustrative=terms.illustrative,
        parties=file.parties,
        institutions=file.institutions,
        sites=file.sites,
        teams=file.teams,
        contributions=file.contributions,
        rules=tuple(Rule(**rule.model_dump()) for rule in file.rules),
        digest=hashlib.sha256(content).hexdigest(),
        source=content,
        previous=terms.previous or "",
    )


def load_agreement(path: Path) -> Agreement:
    """Return the agreement that lies at `path`.

    Raises:
        ConfigError: It cannot be read, or lists every mistake in it.
    """
    return parse_agreement(read_bytes(path), str(path))


def _midnight(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
