"""A new agreement from what the command line says, and the keys that go with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from renkei.cli._output import write_new
from renkei.errors import UsageError
from renkei.model.agreement import Institution, Party, Team
from renkei.model.agreement_text import new_agreement_text
from renkei.trust.keys import Key

EXAMPLE_PARTIES = ("us=United States", "jp=Japan")
"""The parties where none are given; the roster is then marked illustrative."""
YEARS = 5
"""How long a new agreement holds where nothing else is written into it."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An agreement that is not written yet.

    Args:
        name: Its name.
        text: The file's content.
        parties: Ids of the parties.
        keys: Of every party and institution, those that lie beside the file already included.
    """

    name: str
    text: str
    parties: tuple[str, ...]
    keys: tuple[Key, ...]


def draft(
    file: Path, name: str, parties: Sequence[str], institutions: Sequence[str], teams: Sequence[str], now: float
) -> Draft:
    """Return a new agreement; nothing is written yet.

    Args:
        file: Where it will lie; a key of a party or institution that lies in `keys/` beside it is used again.
        name: Its name; empty for that of the file.
        parties: "ID=NAME" each.
        institutions: "ID=PARTY" each; left out, each party has one.
        teams: "ID=INSTITUTION,INSTITUTION" each; left out, all institutions are one team.
        now: Seconds since 1970 UTC; the term begins today.

    Raises:
        UsageError: An option is not spelt so, or two bear the same id.
        ConfigError: The terms have mistakes; lists all of them.
    """
    if file.exists():
        raise UsageError(f"{file} exists already.", "Choose another name, or edit what is there.")
    named = pairs("--party", parties or EXAMPLE_PARTIES)
    belonging = pairs("--institution", institutions) or {f"{party}-lab": party for party in named}
    if both := set(named) & set(belonging):
        raise UsageError(f"'{min(both)}' is both a party and an institution.", "Give one of them another id.")
    members = {team: tuple(text.split(",")) for team, text in pairs("--team", teams).items()}
    members = members or {"joint-team": tuple(belonging)}
    keys = {key: key_beside(file, key) for key in (*named, *belonging)}
    today = datetime.fromtimestamp(now, UTC).date()
    called = name or file.stem.lower()
    text = new_agreement_text(
        called,
        starts=today,
        ends=_years_later(today, YEARS),
        parties={key: Party(name=title, key=keys[key].public.text) for key, title in named.items()},
        institutions={
            key: Institution(name=key, party=party, key=keys[key].public.text) for key, party in belonging.items()
        },
        teams={key: Team(name=key, institutions=each) for key, each in members.items()},
        illustrative=not parties,
    )
    return Draft(called, text, tuple(named), tuple(keys.values()))


def write_draft(drafted: Draft, file: Path) -> Path:
    """Write the keys, then the agreement; return the folder of the keys.

    Raises:
        UsageError: The folder cannot be written.
    """
    folder = save_keys(drafted.keys, file)
    write_new(file, drafted.text.encode())
    return folder


def save_keys(keys: Sequence[Key], file: Path) -> Path:
    """Write those keys that are not there yet into `keys/` beside a file; return that folder.

    Raises:
        UsageError: The folder cannot be written.
    """
    folder = file.parent / "keys"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for key in keys:
        if not (folder / f"{key.name}.key").exists():
            key.save(folder / f"{key.name}.key")
    return folder


def pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    """Return what an option says as "ID=WHAT", by id.

    Raises:
        UsageError: It is not spelt so, or has an id twice.
    """
    pairs: dict[str, str] = {}
    for text in given:
        key, sign, what = (part.strip() for part in text.partition("="))
        if not key or not sign or not what:
            raise UsageError(f"'{text}' is not what {option} takes.", f"Write an id, '=' and what it is: {option} a=b")
        if key in pairs:
            raise UsageError(f"{option} has '{key}' twice.", "Give each its own id.")
        pairs[key] = what
    return pairs


def key_beside(file: Path, name: str) -> Key:
    """Return the key of this name that lies in `keys/` beside a file, or a new one that is not saved yet."""
    path = file.parent / "keys" / f"{name}.key"
    return Key.load(path) if path.exists() else Key.generate(name)


def _years_later(day: date, years: int) -> date:
    try:
        return day.replace(year=day.year + years)
    except ValueError:  # 29 February
        return day.replace(year=day.year + years, day=28)
