"""Signatures of the parties on an agreement, kept beside it: one JSON line for each.

An agreement is in force when all its parties signed it. Its next version, an amendment, needs the signatures of all
parties of the version before as well, each with the key that it has there: `require_succession`.
"""

import os
from collections.abc import Iterator
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


def endorse(key: Key, agreement: Agreement, path: Path, *, previous: Agreement | None = None) -> None:
    """Add a party's signature to the file beside the agreement.

    Older ones of the same party are dropped, but for one under this very agreement with another of its keys: a party
    whose key an amendment changes signs it with both.

    Args:
        key: The party's key; `key.name` is the party.
        agreement: What is signed: its digest.
        path: The agreement's file.
        previous: The version that the agreement amends: its parties may sign too, with the keys that they have there.

    Raises:
        AgreementError: The party is not in the agreement, or is there with another key.
    """
    versions = [agreement] if previous is None else [agreement, previous]
    known = [version.parties[key.name].key for version in versions if key.name in version.parties]
    if not known:
        parties = ", ".join(dict.fromkeys(name for version in versions for name in version.parties))
        raise AgreementError(
            f"'{key.name}' is not a party of the agreement, so it cannot sign it.", f"Its parties are: {parties}."
        )
    if key.public.text not in known:
        raise AgreementError(
            f"The agreement has another key for party '{key.name}' than this one.",
            f"Use the other one, or put {key.public.text[:24]}… into [parties.{key.name}].",
        )
    kept = [
        envelope
        for envelope in _read(signatures_path(path))
        if envelope.signer != key.name
        or (envelope.payload == agreement.digest.encode() and not _is_by(envelope, key.public))
    ]
    lines = [msgspec.json.encode(envelope) for envelope in [*kept, seal(key, KIND, agreement.digest.encode())]]
    part = path.with_name(path.name + ".sig.part")
    part.write_bytes(b"\n".join(lines) + b"\n")
    os.replace(part, signatures_path(path))


def unsigned_parties(agreement: Agreement, path: Path, *, signed: Agreement | None = None) -> dict[str, str]:
    """Return the parties whose signature does not stand under this very agreement, and why not.

    Args:
        agreement: Whose parties, with the keys that they have in it.
        path: The file that the signatures lie beside.
        signed: What they must have signed; the agreement itself when left out.
    """
    digest = (signed or agreement).digest.encode()
    found = _read(signatures_path(path))
    missing: dict[str, str] = {}
    for name, party in agreement.parties.items():
        envelopes = [envelope for envelope in found if envelope.signer == name]
        if party.key is None:
            missing[name] = "has no key in the agreement"
        elif not envelopes:
            missing[name] = "has not signed"
        elif problems := list(_problems(envelopes, digest, party.key)):
            missing[name] = problems[-1]
    return missing


def _problems(envelopes: list[Envelope], digest: bytes, key: str) -> Iterator[str]:
    """Yield what is wrong with each signature of a party; nothing when one of them is right."""
    problems: list[str] = []
    for envelope in envelopes:
        if envelope.payload != digest:
            problems.insert(0, "signed another version of the file")
            continue
        try:
            unseal(envelope, PublicKey.parse(key), KIND)
        except RenkeiError as error:
            problems.append(error.message)
        else:
            return
    yield from problems


def _is_by(envelope: Envelope, key: PublicKey) -> bool:
    try:
        unseal(envelope, key, KIND)
    except RenkeiError:
        return False
    return True


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


def succession_problems(old: Agreement, new: Agreement, path: Path) -> list[str]:
    """Return, a sentence each, why an agreement is not the next version of another one; nothing when it is.

    Args:
        old: The version before, which is in force.
        new: What is to follow it.
        path: The file of `new`, beside which its signatures lie.

    Raises:
        AgreementError: The signatures are not readable.
    """
    problems: list[str] = []
    if new.name != old.name:
        problems.append(f"it is called '{new.name}', not '{old.name}'")
    if new.version != old.version + 1:
        problems.append(f"it is version {new.version}, and version {old.version + 1} comes next")
    if new.previous != old.digest:
        what = f"version {new.previous[:12]}…" if new.previous else "no version"
        problems.append(f"it says that it follows {what}, not {old.digest[:12]}… which is in force")
    for name, why in unsigned_parties(old, path, signed=new).items():
        problems.append(f"{name}, a party of version {old.version}, {why}")
    for name, why in unsigned_parties(new, path).items():
        if name not in old.parties or old.parties[name].key != new.parties[name].key:
            problems.append(f"{name}, with its key of version {new.version}, {why}")
    return problems


def require_succession(old: Agreement, new: Agreement, path: Path) -> None:
    """Refuse an amendment that is not the next version, signed by all parties of both versions with the keys of each.

    Args:
        old: The version before, which is in force.
        new: The amendment.
        path: The file of `new`, beside which its signatures lie.

    Raises:
        AgreementError: Says everything that speaks against it.
    """
    if problems := succession_problems(old, new, path):
        raise AgreementError(
            f"{path} does not follow version {old.version} of '{old.name}': {'; '.join(problems)}.",
            f"See every difference with: renkei agreement check {path} --against OLD",
        )


def _read(path: Path) -> list[Envelope]:
    if not path.is_file():
        return []
    try:
        return [msgspec.json.decode(line, type=Envelope) for line in path.read_bytes().splitlines() if line.strip()]
    except msgspec.DecodeError as error:
        raise AgreementError(f"The signatures in {path} are not readable: {error}.") from error
