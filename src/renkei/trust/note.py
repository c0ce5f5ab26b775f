"""Checkpoints of a ledger as signed notes: C2SP tlog-checkpoint (c2sp.org/tlog-checkpoint, c2sp.org/signed-note).

::

    us-fusion-lab
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    — us-fusion-lab Az3grlgtzPIC...   (Ed25519: any verifier of signed notes can check it, see `vkey`)
    — us-fusion-lab n1U0ngAAw4Qo...   (ML-DSA-65)

Both lines bear the origin as the name of the key. C2SP has no number for ML-DSA-65, so its line is of the signature
type 0xff followed by "renkei/ml-dsa-65/v1", as the specification recommends; the note's text is signed in the
context "renkei/note/v1".
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from functools import partial

from renkei.errors import IntegrityBroken, UsageError
from renkei.trust.keys import Key, PublicKey

_ED25519 = b"\x01"
_ML_DSA_65 = b"\xffrenkei/ml-dsa-65/v1"
_CONTEXT = b"renkei/note/v1"
_ORIGIN = re.compile(r"[^\s+\x00-\x1f\x7f\ud800-\udfff]{1,200}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_NOT_IN_NOTES = re.compile(r"[\x00-\x09\x0b-\x1f\ud800-\udfff]")
_DASH = "\u2014 "
_MOST_SIGNATURES = 64


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a ledger's Merkle tree.

    Args:
        origin: Which ledger; without blanks and plus signs.
        size: How many records.
        root: RFC 6962 root over them, 32 bytes.
    """

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed: three lines, the last one ended too."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def sign_checkpoint(key: Key, checkpoint: Checkpoint) -> str:
    """Return the checkpoint as a note with one Ed25519 and one ML-DSA-65 line.

    Raises:
        UsageError: Origin, size or root cannot stand in a note.
    """
    text = checkpoint.text
    if not (_ORIGIN.fullmatch(checkpoint.origin) and _SIZE.fullmatch(str(checkpoint.size))):
        raise UsageError(f"'{checkpoint.origin}' at size {checkpoint.size} cannot be a checkpoint.")
    if len(checkpoint.root) != 32:
        raise UsageError(f"The root of a checkpoint has 32 bytes, not {len(checkpoint.root)}.")
    covered = text.encode()
    lines = (
        (_ED25519, key.public.raw[:32], key.ed25519.sign(covered)),
        (_ML_DSA_65, key.public.raw[32:], key.ml_dsa.sign(covered, _CONTEXT)),
    )
    signed = (
        f"{_DASH}{checkpoint.origin} {base64.b64encode(_key_id(checkpoint.origin, kind, raw) + signature).decode()}\n"
        for kind, raw, signature in lines
    )
    return f"{text}\n{''.join(signed)}"


def read_checkpoint(text: str, public_key: PublicKey) -> Checkpoint:
    """Return the checkpoint once both signatures of `public_key` are there and verify.

    Signatures of other keys (witnesses) are left alone. One key may sign several ledgers: compare the origin.

    Raises:
        IntegrityBroken: It is not a checkpoint, a signature is missing, or one does not verify.
    """
    body, signatures = _split(text)
    checkpoint = _parse(body)
    covered = body.encode()
    halves = (
        ("Ed25519", _ED25519, public_key.raw[:32], public_key.verify_ed25519),
        ("ML-DSA-65", _ML_DSA_65, public_key.raw[32:], partial(public_key.verify_ml_dsa, context=_CONTEXT)),
    )
    for algorithm, kind, raw, verify in halves:
        key_id = _key_id(checkpoint.origin, kind, raw)
        ours = [s[4:] for name, s in signatures if name == checkpoint.origin and s[:4] == key_id]
        if not ours:
            raise _broken(f"it lacks the {algorithm} signature of key {public_key.id}", checkpoint.origin)
        if not all(verify(covered, signature) for signature in ours):
            raise _broken(f"the {algorithm} signature of key {public_key.id} does not verify", checkpoint.origin)
    return checkpoint


def parse_checkpoint(text: str) -> Checkpoint:
    """Return what a signed note says, without verifying any signature.

    Raises:
        IntegrityBroken: It is not a checkpoint.
    """
    return _parse(_split(text)[0])


def vkey(public_key: PublicKey, origin: str) -> str:
    """Return the C2SP verifier key of the Ed25519 half, for other verifiers of signed notes."""
    raw = public_key.raw[:32]
    return f"{origin}+{_key_id(origin, _ED25519, raw).hex()}+{base64.b64encode(_ED25519 + raw).decode()}"


def _key_id(name: str, kind: bytes, raw: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + kind + raw).digest()[:4]


def _split(text: str) -> tuple[str, list[tuple[str, bytes]]]:
    """Return (signed text, (key name, key id and signature) of each line)."""
    body, blank, tail = text.rpartition("\n\n")
    lines = tail.split("\n")
    if not blank or lines.pop() != "" or not 1 <= len(lines) <= _MOST_SIGNATURES or _NOT_IN_NOTES.search(text):
        raise _broken("it is not a signed note")
    signatures: list[tuple[str, bytes]] = []
    for line in lines:
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        signature = _unbase64(encoded)
        if not line.startswith(_DASH) or not _ORIGIN.fullmatch(name) or len(signature) < 5:
            raise _broken("a signature line cannot be read")
        signatures.append((name, signature))
    return body + "\n", signatures


def _parse(body: str) -> Checkpoint:
    origin, *rest = body.split("\n")[:-1]
    if not _ORIGIN.fullmatch(origin) or len(rest) < 2 or not all(rest) or not _SIZE.fullmatch(rest[0]):
        raise _broken("its text is not origin, size and root")
    root = _unbase64(rest[1])
    if len(root) != 32:
        raise _broken("its root is not 32 bytes in base64", origin)
    return Checkpoint(origin, int(rest[0]), root)


def _unbase64(text: str) -> bytes:
    """Return the bytes, or none if it is not base64 in its one canonical spelling."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return data if base64.b64encode(data).decode() == text else b""


def _broken(what: str, origin: str = "") -> IntegrityBroken:
    return IntegrityBroken(
        f"The checkpoint{f' of {origin}' if origin else ''} is not to be trusted: {what}.",
        "Ask the ledger's keeper for it again, and compare with what others hold.",
        origin=origin,
    )
