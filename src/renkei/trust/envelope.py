"""Signed envelopes: a payload, what kind of thing it is, who signed it."""

import msgspec

from renkei.errors import Denied
from renkei.trust.keys import Key, PublicKey

_HEAD = b"renkei/envelope/v1"


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A payload with a hybrid signature over kind, signer and payload.

    In JSON (`msgspec.json`) payload and signature are base64.

    Args:
        kind: What the payload is, for example "run-batch".
        signer: The name of the key that signed; says whose public key to verify with.
        payload: The bytes that were signed, as they were.
        signature: See `renkei.trust.keys.Key.sign`.
    """

    kind: str
    signer: str
    payload: bytes
    signature: bytes


def seal(key: Key, kind: str, payload: bytes) -> Envelope:
    """Return `payload` in an envelope that `key` signed."""
    return Envelope(kind, key.name, payload, key.sign(_covered(kind, key.name, payload)))


def unseal(envelope: Envelope, public_key: PublicKey, kind: str) -> bytes:
    """Return the payload once kind and signature are found right.

    Args:
        envelope: What was received.
        public_key: The key that the agreement holds for `envelope.signer`.
        kind: What the receiver expects.

    Raises:
        Denied: The envelope is of another kind, or kind, signer or payload are not what the key signed;
            `context["reason"]` is "kind" or "signature".
    """
    if envelope.kind != kind:
        raise Denied(f"The envelope holds '{envelope.kind}', not '{kind}'.", reason="kind", signer=envelope.signer)
    if not public_key.verify(_covered(kind, envelope.signer, envelope.payload), envelope.signature):
        raise Denied(
            f"The signature of '{envelope.signer}' does not verify with key {public_key.id}.",
            "Check that the agreement holds the signer's present public key.",
            reason="signature",
            signer=envelope.signer,
        )
    return envelope.payload


def _covered(kind: str, signer: str, payload: bytes) -> bytes:
    """Return an unambiguous encoding of the three: each with its length before it, as in DSSE."""
    parts = (kind.encode("utf-8", "surrogatepass"), signer.encode("utf-8", "surrogatepass"), payload)
    return _HEAD + b"".join(b" %d %b" % (len(part), part) for part in parts)
