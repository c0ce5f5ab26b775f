"""Identities of runs, trials and batches: UUIDv7 (RFC 9562), ordered by the time they were minted."""

import re

from renkei.clock import Clock

_VARIANT = {digit: "89ab"[i % 4] for i, digit in enumerate("0123456789abcdef")}
_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class IdMint:
    """Mints UUIDv7 identities that only ever grow, also within one millisecond.

    Layout: 48 bits of milliseconds, 4 of version, 12 of counter, 2 of variant, 62 of randomness. Randomness is drawn
    from the clock in blocks.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._millis = self._count = -1
        self._head = ""
        self._pool = ""
        self._at = 0

    def new(self) -> str:
        """Return a new identity, for example `0198c7a0-1b2c-7000-8f3e-5d2a9c4b1e77`."""
        millis = int(self._clock.now() * 1000)
        if millis > self._millis or self._count == 0xFFF:
            self._millis, self._count = max(millis, self._millis + 1), -1
            text = f"{self._millis:012x}"
            self._head = f"{text[:8]}-{text[8:]}-7"
        self._count += 1
        if self._at >= len(self._pool):
            self._pool, self._at = self._clock.random_bytes(4096).hex(), 0
        tail = self._pool[self._at : self._at + 16]
        self._at += 16
        return f"{self._head}{self._count:03x}-{_VARIANT[tail[0]]}{tail[1:4]}-{tail[4:]}"


def is_id(text: str) -> bool:
    """Return whether `text` is a UUIDv7 in its one canonical spelling."""
    return _UUID7.fullmatch(text) is not None
