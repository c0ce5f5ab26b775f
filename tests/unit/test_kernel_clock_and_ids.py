"""Time, randomness and identities."""

import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import TypeVar

import anyio
import pytest

from renkei.clock import Clock, SystemClock, iso
from renkei.ids import IdMint, is_id

T = TypeVar("T")


class FixedClock:
    """A clock that a test sets; its random bytes count up."""

    def __init__(self, now: float) -> None:
        self.time = now
        self.drawn = 0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds

    async def blocking(self, call: Callable[[], T], *, is_brief: bool = False) -> T:
        return call()

    def random_bytes(self, n: int) -> bytes:
        self.drawn += n
        return bytes((self.drawn + i) % 256 for i in range(n))


def mint(now: float = 1_760_000_000.123) -> tuple[IdMint, FixedClock]:
    clock = FixedClock(now)
    return IdMint(clock), clock


def stamp_ms(identity: str) -> int:
    return int(identity.replace("-", "")[:12], 16)


def test_an_id_is_a_uuid_of_version_7_with_the_time_in_milliseconds() -> None:
    identity = mint()[0].new()
    assert is_id(identity)
    assert stamp_ms(identity) == 1_760_000_000_123
    assert (identity[14], identity[19] in "89ab") == ("7", True)


def test_ids_grow_within_a_millisecond_and_beyond_what_its_counter_holds() -> None:
    ids = mint()[0]
    made = [ids.new() for _ in range(10_000)]
    assert all(a < b for a, b in pairwise(made))
    assert all(is_id(identity) for identity in made)
    assert stamp_ms(made[-1]) == 1_760_000_000_125  # 4,096 a millisecond


def test_ids_grow_though_the_clock_goes_back() -> None:
    ids, clock = mint()
    first = ids.new()
    clock.time -= 100
    assert ids.new() > first


def test_ids_of_two_mints_at_the_same_time_differ() -> None:
    clock = SystemClock()
    assert len({IdMint(clock).new() for _ in range(100)}) == 100


def test_the_same_clock_mints_the_same_ids() -> None:
    first, second = mint()[0], mint()[0]
    assert [first.new() for _ in range(2000)] == [second.new() for _ in range(2000)]


def test_randomness_is_drawn_in_blocks() -> None:
    ids, clock = mint()
    for _ in range(512):
        ids.new()
    assert clock.drawn == 4096
    ids.new()
    assert clock.drawn == 8192


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0198c7a0-1b2c-7000-8f3e-5d2a9c4b1e7",
        "0198C7A0-1B2C-7000-8F3E-5D2A9C4B1E77",
        "0198c7a0-1b2c-4000-8f3e-5d2a9c4b1e77",
        "0198c7a0-1b2c-7000-7f3e-5d2a9c4b1e77",
        "0198c7a01b2c70008f3e5d2a9c4b1e77",
        "0198c7a0-1b2c-7000-8f3e-5d2a9c4b1e77\n",
    ],
)
def test_an_id_has_only_one_spelling(text: str) -> None:
    assert is_id("0198c7a0-1b2c-7000-8f3e-5d2a9c4b1e77")
    assert not is_id(text)


def test_the_system_clock_tells_the_time() -> None:
    clock: Clock = SystemClock()
    assert abs(clock.now() - time.time()) < 5
    first = clock.monotonic()
    assert clock.monotonic() >= first


def test_the_system_clock_draws_random_bytes() -> None:
    clock = SystemClock()
    assert len(clock.random_bytes(32)) == 32
    assert clock.random_bytes(32) != clock.random_bytes(32)


def test_a_blocking_call_is_made_in_another_thread_and_others_go_on() -> None:
    clock = SystemClock()
    released = threading.Event()

    async def main() -> tuple[int, bool]:
        found: list[int] = []

        async def call() -> None:
            found.append(await clock.blocking(lambda: threading.get_ident() if released.wait(10) else 0))

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await clock.sleep(0)
            released.set()
        return found[0], found[0] != threading.get_ident()

    ident, is_other = anyio.run(main)
    assert ident != 0
    assert is_other


def test_a_blocking_call_s_error_comes_back() -> None:
    async def main() -> None:
        await SystemClock().blocking(lambda: 1 // 0)

    with pytest.raises(ZeroDivisionError):
        anyio.run(main)


def test_time_is_written_in_iso_8601() -> None:
    assert iso(1_795_344_600.0) == "2026-11-22T10:50:00.000000Z"
    assert iso(0.5) == "1970-01-01T00:00:00.500000Z"
