"""Agreements in files: written, amended, signed by whom a test says."""

from collections.abc import Callable, Mapping
from pathlib import Path

from fakes import agreement, key_of
from renkei.model.agreement import Agreement, AgreementSite, Institution, Party, Team, parse_agreement
from renkei.model.agreement_text import amended_text
from renkei.trust.endorsement import endorse, signatures_path
from renkei.trust.keys import Key


def write(folder: Path, terms: Agreement, *signers: str | Key, previous: Agreement | None = None) -> Path:
    """Write an agreement, signed by these parties with the keys that bear their names, or with these keys."""
    path = folder / "agreement.toml"
    signatures_path(path).unlink(missing_ok=True)
    for signer in signers:
        endorse(key_of(signer) if isinstance(signer, str) else signer, terms, path, previous=previous)
    path.write_bytes(terms.source)
    return path


def in_force(folder: Path) -> tuple[Agreement, Path]:
    """Write version 1, of the parties us and jp, signed by both."""
    terms = agreement()
    return terms, write(folder, terms, "us", "jp")


def with_india(old: Agreement, teams: Mapping[str, tuple[str, ...]] | None = None) -> Agreement:
    """Return the next version, in which India accedes with a laboratory that joins team fusion."""
    members = teams or {"fusion": (*old.teams["fusion"].institutions, "in-lab")}
    text = amended_text(
        old,
        parties={"in": Party(name="India", key=key_of("in").public.text)},
        institutions={"in-lab": Institution(name="Lab", party="in", key=key_of("in-lab").public.text)},
        sites={"in-site": AgreementSite(institution="in-lab", url="https://in.example.org")},
        teams={name: Team(name=name, institutions=each) for name, each in members.items()},
    )
    return parse_agreement(text)


def changed(old: Agreement, change: Callable[[str], str] = lambda text: text) -> Agreement:
    """Return the next version of an agreement, whose text a test changes as it likes."""
    return parse_agreement(change(amended_text(old, parties={}, institutions={}, sites={}, teams={})))


def without(*tables: str) -> Callable[[str], str]:
    """Return what takes tables out of the text of an agreement."""

    def change(text: str) -> str:
        blocks = text.split("\n\n")
        return "\n\n".join(block for block in blocks if not any(block.startswith(f"[{table}]") for table in tables))

    return change


def another_key(name: str) -> Key:
    """Return a key that bears a name, but is not the one that `key_of` gives."""
    return _others.setdefault(name, Key.generate(name))


_others: dict[str, Key] = {}
