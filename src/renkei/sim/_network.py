"""Simulated lines between processes: what is said takes time, is lost, comes twice, or meets nobody."""

import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import anyio

from renkei.clock import Clock
from renkei.errors import RenkeiError, Unreachable
from renkei.federation import Description, Reports
from renkei.model.records import read_record
from renkei.trust.envelope import Envelope

if TYPE_CHECKING:
    from renkei.sim._processes import SiteProcess
    from renkei.site import Site

T = TypeVar("T")

TIMEOUT_S = 30.0
"""How long an answer is waited for, as over HTTP."""
RETRY_S = 1.0
"""How long until a stream that broke is opened again."""


@dataclass
class Line:
    """The way between a campaign and a site.

    Args:
        chance: Where luck comes from.
        delay_s: Median time of one way.
        spread: Spread of its logarithm.
        loses: Share of messages, each way, that do not come through.
        repeats: Share of requests that come twice.
        cuts: Pairs of begin and end in seconds, in which nothing comes through.
    """

    chance: random.Random
    delay_s: float = 0.075
    spread: float = 0.3
    loses: float = 0.0
    repeats: float = 0.0
    cuts: tuple[tuple[float, float], ...] = ()

    def delay(self) -> float | None:
        """Return how long a message takes that leaves now; None when it is lost."""
        if self.is_cut or self.chance.random() < self.loses:
            return None
        return self.delay_s * self.chance.lognormvariate(0.0, self.spread) if self.delay_s else 0.0

    @property
    def is_cut(self) -> bool:
        """Whether nothing comes through just now."""
        now = anyio.current_time()
        return any(begin <= now < end for begin, end in self.cuts)


class Reply(Generic[T]):
    """What became of a request: an answer, an error, or the end of the process that worked on it."""

    def __init__(self) -> None:
        self.there = anyio.Event()
        self._answer: T | None = None
        self._error: RenkeiError | None = None

    async def work(self, call: Callable[[], Awaitable[T]]) -> None:
        """Make the call; the first of several counts."""
        try:
            answer, error = await call(), None
        except RenkeiError as caught:
            answer, error = None, caught
        if not self.there.is_set():
            self._answer, self._error = answer, error
            self.there.set()

    def fail(self, error: RenkeiError) -> None:
        """Say that no answer will come."""
        if not self.there.is_set():
            self._error = error
            self.there.set()

    def result(self) -> T:
        """Return the answer.

        Raises:
            RenkeiError: What the call raised.
        """
        if self._error is not None:
            raise self._error
        return self._answer  # type: ignore[return-value]


class SimSite:
    """A site at the other end of a line; satisfies `renkei.federation.SiteHandle`.

    It behaves as `renkei.federation.http.HttpSite` does: questions that change nothing are put again, a request that
    may have come through is not, and a stream is opened again where it ended.

    Args:
        host: The process of the site, whether it is up or not.
        line: The way to it.
        clock: Of the process that asks.
    """

    def __init__(self, host: "SiteProcess", line: Line, clock: Clock) -> None:
        self.name = host.name
        self._host, self._line, self._clock = host, line, clock

    async def describe(self, team: str) -> Description:
        """See `SiteHandle.describe`."""
        return await self._ask(lambda site: site.describe(team))

    async def submit(self, envelope: Envelope) -> Reports:
        """See `SiteHandle.submit`."""
        return await self._once(lambda site: site.submit(envelope))

    async def find(self, runs: Sequence[str]) -> list[bytes | None]:
        """See `SiteHandle.find`."""
        return await self._ask(lambda site: site.find(runs))

    async def cancel(self, envelope: Envelope) -> None:
        """See `SiteHandle.cancel`."""
        await self._once(lambda site: site.cancel(envelope))

    async def checkpoint(self) -> str:
        """See `SiteHandle.checkpoint`."""
        return await self._ask(lambda site: site.checkpoint())

    async def inclusion(self, seq: int, size: int) -> list[bytes]:
        """See `SiteHandle.inclusion`."""
        return await self._ask(lambda site: site.inclusion(seq, size))

    async def leaves(self, size: int) -> bytes:
        """See `SiteHandle.leaves`."""
        return await self._ask(lambda site: site.leaves(size))

    @asynccontextmanager
    async def follow(self, team: str, campaign: str) -> AsyncGenerator[AsyncIterator[Reports]]:
        """See `SiteHandle.follow`."""
        site = self._host.site
        stream = self._reports(team, campaign, 0 if site is None else site.ledger.durable_size)
        try:
            yield stream
        finally:
            await stream.aclose()

    async def _reports(self, team: str, campaign: str, cursor: int) -> AsyncGenerator[Reports]:
        while True:
            site = self._host.site
            if site is not None and (delay := self._line.delay()) is not None:
                await self._clock.sleep(delay)
                async with site.follow(team, campaign) as feed:
                    new: Reports = site.history(team, campaign, cursor) if self._host.site is site else ()
                    while self._host.site is site and not self._line.is_cut:
                        fresh = [raw for raw in new if read_record(raw).seq >= cursor]
                        if fresh:
                            if (delay := self._line.delay()) is None:
                                break
                            await self._clock.sleep(delay)
                            cursor = read_record(fresh[-1]).seq + 1
                            yield fresh
                        new = ()
                        with anyio.move_on_after(TIMEOUT_S):
                            new = await self._host.next_of(feed)
            await self._clock.sleep(RETRY_S)

    async def _ask(self, call: "Callable[[Site], Awaitable[T]]") -> T:
        for _ in range(2):
            try:
                return await self._once(call)
            except Unreachable:
                await self._clock.sleep(RETRY_S)
        return await self._once(call)

    async def _once(self, call: "Callable[[Site], Awaitable[T]]") -> T:
        line, until = self._line, anyio.current_time() + TIMEOUT_S
        n_copies = 2 if line.chance.random() < line.repeats else 1
        reply: Reply[T] = Reply()
        arrivals = [delay for _ in range(n_copies) if (delay := line.delay()) is not None]
        for delay in arrivals:
            self._host.deliver(delay, call, reply)
        with anyio.move_on_at(until):
            await reply.there.wait()
            if (back := line.delay()) is not None:
                await self._clock.sleep(back)
                if anyio.current_time() < until:
                    return reply.result()
        await self._clock.sleep(max(0.0, until - anyio.current_time()))
        raise Unreachable(f"Site '{self.name}' gives no answer.")
