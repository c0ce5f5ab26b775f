"""Signatures of the parties on an agreement, kept beside it: one JSON line for each."""

import os
from pathlib import Path

import msgspec

from renkei.errors import AgreementError, RenkeiError
from renkei.model.agreement import Agreement
from renkei.trust.envelope import Envelope, seal, unseal
from renkei.trust.keys import Key, PublicKey

KIND = "renkei/agreement/1"
"""The kind of an envelope whose payload is an agreement file, or its digest."""


def signatures_path(agreement: Path) -> Path:
    """Return where the signatures of an agreement file lie."""
    return agreement.with_name(agreement.name + ".sig")


def endorse(key: Key, agreement: Agreement, path: Path) -> None:
    """Add a party's signature to the file beside the agreement; an older one of the same party is replaced.

    Args:
        key: The party's key; `key.name` is the party.
        agreement: What is signed: its digest.
        path: The agreement's file.

    Raises:
        AgreementError: The party is not in the agreement, or is there with another key.
    """
    party = agreement.parties.get(key.name)
    if party is None or party.key != key.public.text:
        if party is None:
            parties = ", ".join(agreement.parties)
            raise AgreementError(
                f"'{key.name}' is not a party of the agreement, so it cannot sign it.", f"Its parties are: {parties}."
            )
        raise AgreementError(
            f"The agreement has another key for party '{key.name}' than this one.",
            f"Use the other one, or put {key.public.text[:24]}… into [parties.{key.name}].",
        )
    kept = [e for e in _read(signatures_path(path)) if e.signer != key.name]
    lines = [msgspec.json.encode(e) for e in [*kept, seal(key, KIND, agreement.digest.encode())]]
    part = path.with_name(path.name + ".sig.part")
    part.write_bytes(b"\n".join(lines) + b"\n")
    os.replace(part, signatures_path(path))


def unsigned_parties(agreement: Agreement, path: Path) -> dict[str, str]:
    """Return the parties whose signature does not stand under this very agreement, and why not."""
    signed = {envelope.signer: envelope for envelope in _read(signatures_path(path))}
    missing: dict[str, str] = {}
    for name, party in agreement.parties.items():
        envelope = signed.get(name)
        if party.key is None:
            missing[name] = "has no key in the agreement"
        elif envelope is None:
            missing[name] = "has not signed"
        elif envelope.payload != agreement.digest.encode():
            missing[name] = "signed another version of the file"
        else:
            try:
                unseal(envelope, PublicKey.parse(party.key), KIND)
            except RenkeiError as error:
                missing[name] = error.message
    return missing


def require_signed(agreement: Agreement, path: Path) -> None:
    """Refuse an agreement that not every party signed.

    Raises:
        AgreementError: Says who has not, and why.
    """
    if missing := unsigned_parties(agreement, path):
        who = "; ".join(f"{name} {why}" for name, why in missing.items())
        raise AgreementError(
            f"The agreement {path} is not in force: {who}.", f"Sign it with: renkei agreement sign {path} --key KEY"
        )


def _read(path: Path) -> list[Envelope]:
    if not path.is_file():
        return []
    try:
        return [msgspec.json.decode(line, type=Envelope) for line in path.read_bytes().splitlines() if line.strip()]
    except msgspec.DecodeError as error:
        raise AgreementError(f"The signatures in {path} are not readable: {error}.") from error
