"""Whose signature must be on a ledger, and where that is known from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from renkei.accounts import Books
from renkei.campaign import Status, TrialRuns, Trials
from renkei.errors import AgreementError, IntegrityBroken, UsageError
from renkei.ledger import Projection
from renkei.model.agreement import Agreement, load_agreement
from renkei.site import Amendments, Backend, Revocations, Runs
from renkei.trust.keys import PublicKey


class Signed(Protocol):
    """A ledger or a proof: says whose it is and names a key."""

    @property
    def owner(self) -> str:
        """Whose: "site/NAME" or "campaign/NAME"."""
        ...

    @property
    def key(self) -> str:
        """The public key that it names itself."""
        ...


@dataclass(frozen=True, slots=True)
class Trust:
    """A public key, and where it is known from."""

    key: PublicKey
    source: str


def trust_in(signed: Signed, key: str | None, agreement: Path | None) -> Trust:
    """Return the key that must have signed: the one given, the one that an agreement has, or the one it names itself.

    Args:
        signed: A ledger or a proof.
        key: The text of a public key, or the path of a file that holds it.
        agreement: Where an agreement lies that has the institution.

    Raises:
        UsageError: Both were given, it is no key, or the agreement does not have the owner.
        IntegrityBroken: It names no key itself, and none was given.
    """
    if key is not None and agreement is not None:
        raise UsageError("Both --key and --agreement were given.", "Give one of them.")
    if key is not None:
        text = key if key.startswith("renkei1:") else _read(Path(key))
        return Trust(PublicKey.parse(text.strip()), "the key that was given")
    if agreement is not None:
        institution, text = _keeper(signed, load_agreement(agreement))
        return Trust(PublicKey.parse(text), f"which {agreement} has for {institution}")
    try:
        return Trust(PublicKey.parse(signed.key), "which it names itself: give --key or --agreement to be sure whose")
    except UsageError as error:
        raise IntegrityBroken(f"The ledger of {signed.owner} names no key of its own.", "Give --key.") from error


def projections_for(owner: str) -> list[Projection]:
    """Return empty projections of the tables that a ledger of this owner keeps."""
    if owner.startswith("site/"):
        return [Runs(), Books(), Backend(), Amendments(), Revocations()]
    return [Trials(), TrialRuns(), Status()] if owner.startswith("campaign/") else []


def _keeper(signed: Signed, terms: Agreement) -> tuple[str, str]:
    """Return who must have signed by an agreement, and with which key: who runs the site, or whose key it names."""
    kind, _, name = signed.owner.partition("/")
    if kind == "site":
        institution = terms.institution_of_site(name)
        return institution, terms.institutions[institution].key
    for institution, each in terms.institutions.items():
        if each.key == signed.key:
            return institution, each.key
    raise AgreementError(
        f"No institution of agreement '{terms.name}' has the key that {signed.owner} names.",
        "It was not made under this agreement, or under another version of it.",
    )


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no public key, and no file that holds one.", "It begins with renkei1:") from error
