"""The clock of one simulated process: virtual time, its own error, its own randomness, and its death."""

import random
from collections.abc import Callable
from typing import TypeVar

import anyio
import trio

T = TypeVar("T")

EPOCH = 1_790_000_000.0
"""When every simulation begins, in seconds since 1970."""


class Crashed(BaseException):
    """The process in which this is raised was killed. Nothing in it may catch this and go on."""


class SimClock:
    """Time and chance as a process sees them; satisfies `renkei.clock.Clock`.

    A blocking call is made in line, after part of the time that it takes and before the rest. So a process can die
    before a commit, or after it and before anybody learned of it.

    Args:
        chance: Where its random bytes and the length of its blocking calls come from.
        skew_s: How far its wall clock is ahead of the true time.
        drift: How many seconds it gains each second.
    """

    def __init__(self, chance: random.Random, skew_s: float = 0.0, drift: float = 0.0) -> None:
        self._chance, self._skew_s, self._drift = chance, skew_s, drift
        self.is_dead = False
        self.n_left: int | None = None
        """After so many further calls that take time the process dies; None when it is not to."""
        self.on_death: Callable[[], None] = lambda: None

    def now(self) -> float:
        """See `Clock.now`."""
        elapsed = trio.current_time()
        return EPOCH + elapsed + self._skew_s + elapsed * self._drift

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return trio.current_time()

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        self._step()
        await anyio.sleep(seconds)
        self._step()

    async def blocking(self, call: Callable[[], T], *, is_brief: bool = False) -> T:
        """See `Clock.blocking`."""
        self._step()
        if is_brief:
            return call()
        seconds = self._chance.expovariate(1000.0)
        await anyio.sleep(seconds * 0.5)
        self._step()
        done = call()
        await anyio.sleep(seconds * 0.5)
        self._step()
        return done

    def random_bytes(self, n: int) -> bytes:
        """See `Clock.random_bytes`."""
        return self._chance.randbytes(n)

    def die(self) -> None:
        """Kill the process: nothing that it was about to do happens."""
        if not self.is_dead:
            self.is_dead = True
            self.on_death()

    def _step(self) -> None:
        if self.n_left is not None:
            self.n_left -= 1
            if self.n_left <= 0:
                self.die()
        if self.is_dead:
            raise Crashed
