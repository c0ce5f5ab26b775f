"""Hybrid keys: Ed25519 (RFC 8032) and ML-DSA-65 (FIPS 204) side by side; a signature counts only if both verify.

What `Key.sign` signs is never what `renkei.trust.note` signs: it begins with a zero byte, which a note may not
contain, and with the digest of the whole public key, so that neither half can be moved to another pair of keys;
ML-DSA is given a context string of its own besides.
"""

import base64
import binascii
import hashlib
import re
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey

from renkei.clock import SystemClock
from renkei.errors import UsageError
from renkei.trust._keyfile import KeyFile, read_key_file, write_key_file

ED25519_SIGNATURE_BYTES = 64
SIGNATURE_BYTES = ED25519_SIGNATURE_BYTES + 3309
"""Length of a hybrid signature: 64 bytes of Ed25519, then 3,309 of ML-DSA-65."""
SEED_BYTES = 64
"""Length of a seed: 32 bytes for Ed25519, then 32 for ML-DSA-65."""

_PREFIX = "renkei1:"
_ED25519_BYTES, _ML_DSA_BYTES = 32, 1952
_DOMAIN = b"\x00renkei/signature/v1\x00"
_CONTEXT = b"renkei/signature/v1"
_NAME = re.compile(r"[^\s+\x00-\x1f\x7f\ud800-\udfff]{1,200}")


class PublicKey:
    """The public half of a `Key`. Two are equal when all their bytes are.

    Args:
        raw: 32 bytes of Ed25519, then 1,952 bytes of ML-DSA-65.

    Raises:
        UsageError: `raw` has another length.
    """

    __slots__ = ("_covered", "ed25519", "id", "ml_dsa", "raw")

    def __init__(self, raw: bytes) -> None:
        if len(raw) != _ED25519_BYTES + _ML_DSA_BYTES:
            raise UsageError(f"A public key has {_ED25519_BYTES + _ML_DSA_BYTES} bytes, not {len(raw)}.")
        self.raw = raw
        self.ed25519 = Ed25519PublicKey.from_public_bytes(raw[:_ED25519_BYTES])
        self.ml_dsa = MLDSA65PublicKey.from_public_bytes(raw[_ED25519_BYTES:])
        digest = hashlib.sha256(raw).digest()
        self._covered = _DOMAIN + digest
        self.id = digest[:16].hex()
        """Fingerprint: the first 128 bits of the SHA-256 of `raw`, as 32 hex digits."""

    @property
    def text(self) -> str:
        """The key on one line, as agreements hold it: `renkei1:` and base64."""
        return _PREFIX + base64.b64encode(self.raw).decode()

    @staticmethod
    @lru_cache(maxsize=1024)
    def parse(text: str) -> "PublicKey":
        """Return the key that `text` wrote; parsing the same text again gives the same object.

        Raises:
            UsageError: It is not a public key in its one canonical spelling.
        """
        try:
            raw = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        if len(raw) != _ED25519_BYTES + _ML_DSA_BYTES or _PREFIX + base64.b64encode(raw).decode() != text:
            shown = text if len(text) <= 24 else text[:20] + "..."
            raise UsageError(
                f"'{shown}' is not a public key of renkei.",
                f"Copy the whole line that begins with '{_PREFIX}', and nothing else.",
            )
        return PublicKey(raw)

    def covered(self, message: bytes) -> bytes:
        """Return the bytes that a signature of this key over `message` covers."""
        return self._covered + message

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Return whether `signature` is this key's over `message`: both halves must be. Never raises."""
        if len(signature) != SIGNATURE_BYTES:
            return False
        covered = self.covered(message)
        first, second = signature[:ED25519_SIGNATURE_BYTES], signature[ED25519_SIGNATURE_BYTES:]
        return self.verify_ed25519(covered, first) and self.verify_ml_dsa(covered, second, _CONTEXT)

    def verify_ed25519(self, covered: bytes, signature: bytes) -> bool:
        """Return whether the Ed25519 half alone verifies over exactly `covered`."""
        try:
            self.ed25519.verify(signature, covered)
        except (InvalidSignature, ValueError):
            return False
        return True

    def verify_ml_dsa(self, covered: bytes, signature: bytes, context: bytes) -> bool:
        """Return whether the ML-DSA-65 half alone verifies over exactly `covered`, in `context`."""
        try:
            self.ml_dsa.verify(signature, covered, context)
        except (InvalidSignature, ValueError):
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and other.raw == self.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"PublicKey({self.id})"


class Key:
    """A private key and the name of whom it speaks for (an institution, a site, a person).

    ML-DSA signatures are randomised, so that two signatures over the same message differ.

    Args:
        name: Without blanks, plus signs and control characters; at most 200 characters.
        seed: 64 secret random bytes. The same seed gives the same key.

    Raises:
        UsageError: The name or the length of the seed is not right.
    """

    __slots__ = ("_seed", "ed25519", "ml_dsa", "name", "public")

    def __init__(self, name: str, seed: bytes) -> None:
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} is no name for a key.", "Leave out blanks, '+' and control characters.")
        if len(seed) != SEED_BYTES:
            raise UsageError(f"The seed of a key has {SEED_BYTES} bytes, not {len(seed)}.")
        self.name = name
        self._seed = seed
        self.ed25519 = Ed25519PrivateKey.from_private_bytes(seed[:32])
        self.ml_dsa = MLDSA65PrivateKey.from_seed_bytes(seed[32:])
        self.public = PublicKey(
            self.ed25519.public_key().public_bytes_raw() + self.ml_dsa.public_key().public_bytes_raw()
        )

    @staticmethod
    def generate(name: str) -> "Key":
        """Return a new key from the machine's randomness.

        Raises:
            UsageError: See `Key`.
        """
        return Key(name, SystemClock().random_bytes(SEED_BYTES))

    @staticmethod
    def load(path: Path | str) -> "Key":
        """Return the key that `save` wrote.

        Raises:
            UsageError: There is no such file, group or others have any right to it, or it is not a key.
        """
        file = read_key_file(Path(path))
        return Key(file.name, file.ed25519 + file.ml_dsa_65)

    def save(self, path: Path | str) -> None:
        """Write the key to a new file of mode 600; the file is there whole or not at all.

        Raises:
            UsageError: Something is there already, or the folder cannot be written.
        """
        seeds = {"ed25519": self._seed[:32], "ml_dsa_65": self._seed[32:]}
        write_key_file(Path(path), KeyFile(format="renkei-key-1", name=self.name, **seeds))

    def sign(self, message: bytes) -> bytes:
        """Return the hybrid signature over `message`: 64 bytes of Ed25519, then 3,309 of ML-DSA-65."""
        covered = self.public.covered(message)
        return self.ed25519.sign(covered) + self.ml_dsa.sign(covered, _CONTEXT)

    def __repr__(self) -> str:
        return f"Key({self.name!r}, {self.public.id})"
