"""Time, randomness and blocking calls: the only place where the rest of renkei gets them from.

A `Clock` is handed to everything that needs to know the time, to wait, to draw random bytes or to make a call that
blocks. Production uses `SystemClock`; a simulation hands in one of its own and thereby rules time and chance.
"""

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Protocol, TypeVar

import anyio

T = TypeVar("T")

_threads = ThreadPoolExecutor(40, "renkei")  # asyncio's own way into a thread takes half the time of anyio's


class Clock(Protocol):
    """Where time, randomness and blocking calls come from.

    Every method may be called from the event loop's thread only, except `now`, `monotonic` and `random_bytes`,
    which any thread may call.
    """

    def now(self) -> float:
        """Return the wall time in seconds since 1970-01-01 UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds since an arbitrary point; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; other tasks go on."""
        ...

    async def blocking(self, call: Callable[[], T], *, is_brief: bool = False) -> T:
        """Make a call that blocks (a commit, a fit, a subprocess) without holding up other tasks.

        One that is brief, well under a millisecond, may be made at once: a thread would cost more than it.
        """
        ...

    def random_bytes(self, n: int) -> bytes:
        """Return `n` random bytes."""
        ...


class SystemClock:
    """The machine's own time and randomness; blocking calls go to threads."""

    def now(self) -> float:
        """See `Clock.now`."""
        return time.time()

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        await anyio.sleep(seconds)

    async def blocking(self, call: Callable[[], T], *, is_brief: bool = False) -> T:
        """See `Clock.blocking`."""
        if is_brief:
            return call()
        done = asyncio.get_running_loop().run_in_executor(_threads, call)
        with anyio.CancelScope(shield=True):  # a call under way cannot be taken back
            await done
        return done.result()

    def random_bytes(self, n: int) -> bytes:
        """See `Clock.random_bytes`."""
        return os.urandom(n)


def iso(seconds: float) -> str:
    """Return wall time as ISO 8601 with microseconds and Z, for example `2026-11-22T10:50:00.000000Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
