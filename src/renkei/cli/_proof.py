"""Proofs of single records: the record, its path to the root of the tree, and a signed checkpoint over that root."""

import base64
import binascii
from pathlib import Path
from typing import Literal

import msgspec

from renkei.errors import IntegrityBroken, UsageError
from renkei.ledger import LedgerReader
from renkei.ledger.merkle import inclusion_proof, leaf_hash, verify_inclusion
from renkei.trust.keys import PublicKey
from renkei.trust.note import read_checkpoint


class Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that it takes to check offline that a record is in a ledger.

    Args:
        format: What this is.
        owner: Whose ledger: "site/NAME" or "campaign/NAME".
        key: The public key that the ledger names.
        seq: The record's number.
        size: How many records the checkpoint covers.
        record: The record's bytes, base64 in JSON.
        path: Hashes from the record to the root (RFC 6962), base64 each.
        checkpoint: The signed note.
    """

    format: Literal["renkei-proof-1"]
    owner: str
    key: str
    seq: int
    size: int
    record: bytes
    path: list[str]
    checkpoint: str

    @staticmethod
    def read(file: Path) -> "Proof":
        """Return the proof that a file holds.

        Raises:
            UsageError: It holds none.
        """
        try:
            return msgspec.json.decode(file.read_bytes(), type=Proof)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{file} is no proof: {error}.", "Make one with: renkei ledger prove") from error


def prove(ledger: LedgerReader, seq: int) -> Proof:
    """Return the proof that a record is in a ledger, under its newest checkpoint.

    Raises:
        UsageError: There is no such record, or no checkpoint covers it yet.
    """
    notes = ledger.notes()
    size = max(notes, default=0)
    if seq >= size:
        has = f"its newest checkpoint covers {size:,} of its {ledger.size:,} records"
        raise UsageError(f"Record {seq} of {ledger.owner} cannot be proved: {has}.", "Records are counted from 0.")
    path = inclusion_proof(ledger.leaf_hashes(size), seq, size)
    record = next(ledger.records(seq))
    return Proof(
        format="renkei-proof-1",
        owner=ledger.owner,
        key=ledger.key,
        seq=seq,
        size=size,
        record=record.raw,
        path=[base64.b64encode(step).decode() for step in path],
        checkpoint=notes[size],
    )


def check(proof: Proof, key: PublicKey) -> bytes:
    """Return the record's bytes once the proof is found right.

    Raises:
        IntegrityBroken: A signature does not verify, or the record is not under the checkpoint's root.
    """
    head = read_checkpoint(proof.checkpoint, key)
    try:
        path = [base64.b64decode(step, validate=True) for step in proof.path]
    except (binascii.Error, ValueError):
        path = [b""]
    is_under_root = verify_inclusion(leaf_hash(proof.record), proof.seq, head.size, path, head.root)
    if head.origin != proof.owner or head.size != proof.size or not is_under_root:
        raise IntegrityBroken(
            f"The proof does not hold: this is not record {proof.seq} of {proof.owner} under that checkpoint.",
            "Ask for the proof again, and compare with the ledger itself.",
        )
    return proof.record
