"""A clock that tests move by hand."""

from collections.abc import Callable
from typing import TypeVar

import anyio

T = TypeVar("T")


class HandClock:
    """A clock that stands still until a test moves it; blocking calls are made at once."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.time = now
        self._n = 0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(min(seconds, 0.005))

    async def blocking(self, call: Callable[[], T], *, is_brief: bool = False) -> T:
        return call()

    def random_bytes(self, n: int) -> bytes:
        self._n += 1
        return self._n.to_bytes(8, "big") * (n // 8 + 1)
