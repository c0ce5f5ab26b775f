"""Keys, hybrid signatures, signed envelopes and signed checkpoints."""

from renkei.trust.envelope import Envelope, seal, unseal
from renkei.trust.keys import Key, PublicKey
from renkei.trust.note import Checkpoint, parse_checkpoint, read_checkpoint, sign_checkpoint

__all__ = [
    "Checkpoint",
    "Envelope",
    "Key",
    "PublicKey",
    "parse_checkpoint",
    "read_checkpoint",
    "seal",
    "sign_checkpoint",
    "unseal",
]
