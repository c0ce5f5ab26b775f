"""The next version of an agreement, with a party more, from what the command line says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from renkei.cli._agreement_draft import key_beside, pairs
from renkei.errors import UsageError
from renkei.model.agreement import Agreement, AgreementSite, Institution, Party, Team, parse_agreement
from renkei.model.agreement_text import amended_text
from renkei.model.fields import KEY_PREFIX
from renkei.trust.keys import Key, PublicKey


@dataclass(frozen=True, slots=True)
class Accession:
    """An amendment that is not written yet.

    Args:
        agreement: The amended agreement.
        keys: Those that were made for who is new and brought none.
    """

    agreement: Agreement
    keys: tuple[Key, ...]


def accession(
    old: Agreement,
    file: Path,
    parties: Sequence[str],
    institutions: Sequence[str],
    teams: Sequence[str],
    sites: Sequence[str],
) -> Accession:
    """Return the next version of an agreement, to which others accede; nothing is written yet.

    Args:
        old: The version before.
        file: Its file; a key that lies in `keys/` beside it is used for who brings none.
        parties: "ID=NAME" or "ID=NAME:KEY" each, KEY a public key.
        institutions: "ID=PARTY" or "ID=PARTY:KEY" each.
        teams: "ID=INSTITUTION,INSTITUTION" each: new ones, or who joins one that is there.
        sites: "ID=INSTITUTION" or "ID=INSTITUTION:URL" each.

    Raises:
        UsageError: An option is not spelt so, or somebody is there already.
        ConfigError: The terms would have mistakes; lists all of them.
    """
    named, belonging, placed = pairs("--party", parties), pairs("--institution", institutions), pairs("--site", sites)
    taken = {*old.parties, *old.institutions}
    for name in (*named, *belonging):
        if name in taken:
            raise UsageError(f"'{name}' is in the agreement already.", "Accession adds; edit the file to change more.")
        taken.add(name)
    if known := [name for name in placed if name in old.sites]:
        raise UsageError(f"The agreement has site '{known[0]}' already.", "Give the new one another name.")
    made: list[Key] = []

    def who(name: str, text: str) -> tuple[str, str]:
        """Return what an option says of somebody, and the public key."""
        said, sign, rest = text.partition(f":{KEY_PREFIX}")
        if sign:
            return said, PublicKey.parse(KEY_PREFIX + rest.strip()).text
        key = key_beside(file, name)
        made.append(key)
        return said, key.public.text

    new_parties = {name: who(name, text) for name, text in named.items()}
    new_institutions = {name: who(name, text) for name, text in belonging.items()}
    text = amended_text(  # which tells every mistake at once, so that nothing here checks what it is given
        old,
        parties={name: Party.model_construct(name=said, key=key) for name, (said, key) in new_parties.items()},
        institutions={
            name: Institution.model_construct(name=name, party=said, key=key)
            for name, (said, key) in new_institutions.items()
        },
        sites={name: _site(text) for name, text in placed.items()},
        teams=_teams(old, pairs("--team", teams)),
    )
    return Accession(parse_agreement(text), tuple(made))


def amendment_path(old: Agreement, file: Path) -> Path:
    """Return where the next version of an agreement is written where nothing else is said: beside the one before."""
    stem = file.stem.removesuffix(f"-{old.version}")
    return file.with_name(f"{stem}-{old.version + 1}{file.suffix}")


def _site(text: str) -> AgreementSite:
    institution, _, url = text.partition(":")
    return AgreementSite.model_construct(institution=institution, url=url or None)


def _teams(old: Agreement, given: Mapping[str, str]) -> dict[str, Team]:
    """Return the teams that are new or gain somebody, each with all its institutions."""
    teams: dict[str, Team] = {}
    for name, text in given.items():
        members = [member.strip() for member in text.split(",")]
        known = old.teams.get(name)
        title, before = (name, ()) if known is None else (known.name, known.institutions)
        teams[name] = Team.model_construct(name=title, institutions=tuple(dict.fromkeys((*before, *members))))
    return teams
