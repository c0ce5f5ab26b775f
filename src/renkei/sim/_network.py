"""Simulated lines between processes: what is said takes time, is lost, comes twice, or meets nobody."""

import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import anyio

from renkei.clock import Clock
from renkei.errors import AgreementError, Denied, RenkeiError, Unreachable
from renkei.federation import Description, Reports
from renkei.model.records import read_record
from renkei.trust.envelope import Envelope

if TYPE_CHECKING:
    from renkei.sim._processes import SiteProcess
    from renkei.site import Site

T = TypeVar("T")

TIMEOUT_S = 30.0
"""How long an answer is waited for, as over HTTP."""
HEARTBEAT_S = 60.0
"""How long a stream may be silent until somebody finds that the line is cut."""
SILENCE_S = 300.0
"""How long until a site finds that it may tell nothing any more; the same on a line that is never cut."""
STALL_S = 60.0
"""How much longer a message takes at most that is held up."""
RETRY_S = 1.0
"""How long until a stream that broke is opened again; doubles each time that nothing came, as over HTTP."""
RETRY_MAX_S = 60.0


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
        stalls: Share of messages that take up to `STALL_S` more: others overtake them, or their answers come too late.
        n_stalled: How many did so far.
    """

    chance: random.Random
    delay_s: float = 0.075
    spread: float = 0.3
    loses: float = 0.0
    repeats: float = 0.0
    cuts: tuple[tuple[float, float], ...] = ()
    stalls: float = 0.0
    n_stalled: int = 0

    def delay(self) -> float | None:
        """Return how long a message takes that leaves now; None when it is lost."""
        if self.is_cut or self.chance.random() < self.loses:
            return None
        delay = self.delay_s * self.chance.lognormvariate(0.0, self.spread) if self.delay_s else 0.0
        if self.stalls and self.chance.random() < self.stalls:
            delay += self.chance.uniform(0.0, STALL_S)
            self.n_stalled += 1
        return delay

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
        """Make the call; the first of several counts. What is no refusal is as good as no answer, as over HTTP."""
        try:
            answer, error = await call(), None
        except RenkeiError as caught:
            answer, error = None, caught if isinstance(caught, AgreementError) else Unreachable(caught.message)
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
        institution: In whose name it asks.
    """

    def __init__(self, host: "SiteProcess", line: Line, clock: Clock, institution: str) -> None:
        self.name = host.name
        self._host, self._line, self._clock, self._institution = host, line, clock, institution

    async def describe(self, team: str) -> Description:
        """See `SiteHandle.describe`."""
        if not team:
            return await self._ask(lambda site: site.describe(team))
        return await self._ask(lambda site: self._let_in(site).describe(team))

    async def submit(self, envelope: Envelope) -> Reports:
        """See `SiteHandle.submit`."""
        return await self._once(lambda site: site.submit(envelope))

    async def find(self, runs: Sequence[str]) -> list[bytes | None]:
        """See `SiteHandle.find`."""
        return await self._ask(lambda site: self._let_in(site).find(runs))

    async def cancel(self, envelope: Envelope) -> None:
        """See `SiteHandle.cancel`."""
        await self._once(lambda site: site.cancel(envelope))

    async def checkpoint(self) -> str:
        """See `SiteHandle.checkpoint`."""
        return await self._ask(lambda site: self._let_in(site).checkpoint())

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

    def _let_in(self, site: "Site") -> "Site":
        """Refuse an institution that is none to the site, or one no more, as a pass over HTTP is refused."""
        if self._institution not in site.agreement.institutions:
            raise Denied(f"'{self._institution}' is not an institution of the agreement.")
        site.revocations.require_standing(self._institution, site.agreement)
        return site

    async def _reports(self, team: str, campaign: str, cursor: int) -> AsyncGenerator[Reports]:
        wait_s = RETRY_S
        while True:
            site = self._host.site
            if site is not None and (delay := self._line.delay()) is not None:
                await self._clock.sleep(delay)
                self._let_in(site)
                async with site.follow(team, campaign) as feed:
                    new: Reports = site.history(team, campaign, cursor) if self._host.site is site else ()
                    while self._host.site is site and not self._line.is_cut:
                        self._let_in(site)
                        fresh = [raw for raw in new if read_record(raw).seq >= cursor]
                        if fresh:
                            if (delay := self._line.delay()) is None:
                                break
                            await self._clock.sleep(delay)
                            cursor, wait_s = read_record(fresh[-1]).seq + 1, RETRY_S
                            yield fresh
                        new = ()
                        with anyio.move_on_after(HEARTBEAT_S if self._line.cuts else SILENCE_S):
                            new = await self._host.next_of(feed)
            await self._clock.sleep(wait_s)
            wait_s = min(2 * wait_s, RETRY_MAX_S)

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
