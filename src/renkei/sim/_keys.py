"""Keys whose signatures follow from what is signed."""

import hashlib
import hmac
from typing import Any

from cryptography.exceptions import InvalidSignature

from renkei.trust.keys import ED25519_SIGNATURE_BYTES, SEED_BYTES, SIGNATURE_BYTES, Key, PublicKey

_ML_DSA_BYTES = SIGNATURE_BYTES - ED25519_SIGNATURE_BYTES


def sim_key(name: str) -> Key:
    """Return the key of an institution: the same name gives the same key, and the same message the same signature.

    Its Ed25519 half is real. ML-DSA signatures are randomised and take a millisecond, so in their place stands a keyed
    hash of the same length that whoever runs the simulation could forge; nobody in it does.
    """
    seed = hashlib.shake_256(b"renkei/sim/" + name.encode()).digest(SEED_BYTES)
    key = Key(name, seed)
    half: Any = _KeyedHash(seed)
    # The public key is one object a text, and whoever parses the agreement gets that one.
    key.ml_dsa = key.public.ml_dsa = PublicKey.parse(key.public.text).ml_dsa = half
    return key


class _KeyedHash:
    """Stands in for both halves of an ML-DSA-65 key."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, message: bytes, context: bytes) -> bytes:
        digest = hmac.digest(self._secret, b"%d %b" % (len(context), context) + message, "sha256")
        return digest + bytes(_ML_DSA_BYTES - len(digest))

    def verify(self, signature: bytes, message: bytes, context: bytes) -> None:
        if not hmac.compare_digest(signature, self.sign(message, context)):
            raise InvalidSignature
