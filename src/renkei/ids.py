"""Identities of runs, trials and batches: UUIDv7 (RFC 9562), ordered by the time they were minted."""

import re

from renkei.clock import Clock

_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class IdMint:
    """Mints UUIDv7 identities that only ever grow, also within one millisecond.

    Layout: 48 bits of milliseconds, 4 of version, 12 of counter, 2 of variant, 62 of randomness. Randomness is drawn
    from the clock in blocks.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stamp = 0
        self._pool = b""
        self._at = 0

    def new(self) -> str:
        """Return a new identity, for example `0198c7a0-1b2c-7000-8f3e-5d2a9c4b1e77`."""
        stamp = int(self._clock.now() * 1000) << 12
        self._stamp = stamp = max(stamp, self._stamp + 1)
        if self._at >= len(self._pool):
            self._pool, self._at = self._clock.random_bytes(4096), 0
        tail = int.from_bytes(self._pool[self._at : self._at + 8], "big") & 0x3FFF_FFFF_FFFF_FFFF
        self._at += 8
        text = f"{((stamp >> 12) << 16) | 0x7000 | (stamp & 0xFFF):016x}{tail | 0x8000_0000_0000_0000:016x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_id(text: str) -> bool:
    """Return whether `text` is a UUIDv7 in its one canonical spelling."""
    return _UUID7.fullmatch(text) is not None
