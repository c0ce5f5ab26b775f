"""Notices that an institution or a key is revoked, kept beside an agreement: one JSON line for each.

Any party of the agreement may give notice, alone. A notice holds for the key that the institution has in the
agreement, and for the institution until a later version names it with another key.
"""

import hashlib
import os
from pathlib import Path

import msgspec

from renkei.errors import AgreementError, RenkeiError, did_you_mean
from renkei.model.agreement import Agreement
from renkei.trust.envelope import Envelope, seal, unseal
from renkei.trust.keys import Key, PublicKey

KIND = "renkei/revocation/1"
"""The kind of an envelope whose payload is a notice."""


class Notice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a party gives notice of.

    Args:
        agreement: The agreement's name.
        version: The version of the agreement that was in force.
        institution: Who is revoked; "" where it is a key alone, whoever has it.
        key: The id of the key that is revoked, 32 hex digits.
        since: When notice was given, in seconds since 1970 UTC.
        reason: Why, in a sentence for people.
    """

    agreement: str
    version: int
    institution: str
    key: str
    since: float
    reason: str


class Given(msgspec.Struct, frozen=True):
    """A notice that was found to be signed by a party.

    Args:
        notice: What it says.
        by: The party that gave it.
        digest: SHA-256 of the notice in hex: which one it is.
    """

    notice: Notice
    by: str
    digest: str


def revocations_path(agreement: Path) -> Path:
    """Return where the notices about an agreement file lie."""
    return agreement.with_name(agreement.name + ".revoked")


def revoke(
    key: Key, agreement: Agreement, path: Path, now: float, reason: str, *, institution: str = "", key_id: str = ""
) -> Notice:
    """Give notice that an institution, or a key, is revoked; return the notice.

    Args:
        key: The key of a party, which gives notice; `key.name` is the party.
        agreement: The agreement in force.
        path: Its file, beside which notices lie.
        now: Seconds since 1970 UTC.
        reason: Why, in a sentence for people.
        institution: Who is revoked; this or `key_id`.
        key_id: The key of an institution that is revoked.

    Raises:
        AgreementError: The signer is no party with this key, or the agreement does not have the institution or key.
    """
    party = agreement.parties.get(key.name)
    if party is None or party.key != key.public.text:
        raise AgreementError(
            f"{key.name} with key {key.public.id} is not a party of the agreement, so it cannot revoke anybody.",
            f"Its parties are: {', '.join(agreement.parties)}.",
        )
    ids = {name: PublicKey.parse(each.key).id for name, each in agreement.institutions.items()}
    if institution and institution not in ids:
        raise AgreementError(
            f"The agreement has no institution '{institution}'.{did_you_mean(institution, ids)}",
            f"Its institutions are: {', '.join(ids)}.",
        )
    if key_id and key_id not in ids.values():
        raise AgreementError(
            f"No institution of the agreement has the key '{key_id[:40]}'.",
            f"List institutions and their keys with: renkei agreement show {path}",
        )
    notice = Notice(agreement.name, agreement.version, institution, key_id or ids[institution], now, reason)
    line = msgspec.json.encode(seal(key, KIND, msgspec.json.encode(notice))) + b"\n"
    handle = os.open(revocations_path(path), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"  # somebody was stopped while writing
        os.write(handle, b"\n" * torn + line)
        os.fsync(handle)
    finally:
        os.close(handle)
    return notice


def read_notices(agreement: Agreement, path: Path) -> tuple[list[Given], list[str]]:
    """Return the notices that lie beside an agreement and a party of it signed, and what is wrong with others.

    Raises:
        AgreementError: The file cannot be read.
    """
    file = revocations_path(path)
    try:
        lines = file.read_bytes().splitlines() if file.exists() else []
    except OSError as error:
        raise AgreementError(f"The notices in {file} cannot be read: {error.strerror}.") from error
    given: list[Given] = []
    problems: list[str] = []
    for n, line in enumerate(lines, 1):
        if line.strip():
            try:
                given.append(_given(line, agreement))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                problems.append(f"{file}, line {n}: it is not readable: {error}")
            except RenkeiError as error:
                problems.append(f"{file}, line {n}: {error.message}")
    return given, problems


def _given(line: bytes, agreement: Agreement) -> Given:
    envelope = msgspec.json.decode(line, type=Envelope)
    party = agreement.parties.get(envelope.signer)
    if party is None or party.key is None:
        raise AgreementError(f"'{envelope.signer[:60]}', who signed it, is not a party with a key.")
    payload = unseal(envelope, PublicKey.parse(party.key), KIND)
    notice = msgspec.json.decode(payload, type=Notice)
    if notice.agreement != agreement.name:
        raise AgreementError(f"It is about the agreement '{notice.agreement[:60]}', not '{agreement.name}'.")
    return Given(notice, envelope.signer, hashlib.sha256(payload).hexdigest())
