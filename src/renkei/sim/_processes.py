"""Simulated processes: a site and a campaign's runner, each killed and started again."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import anyio
from anyio.abc import TaskGroup

from renkei.campaign import Campaign, Runner, routes_over
from renkei.clock import Clock
from renkei.errors import Unreachable
from renkei.federation import Broker, Reports, SiteHandle
from renkei.model.campaign import Campaign as CampaignFile
from renkei.sim._clock import Crashed, SimClock
from renkei.sim._engine import Engine, SimExecutor
from renkei.sim._network import Reply
from renkei.site import Site
from renkei.trust.keys import Key

T = TypeVar("T")


class Fate:
    """When a process dies, and how long it stays down.

    Args:
        chance: Where luck comes from.
        lives: How many steps (sleeps, commits, submissions) each of its lives has; the one after them has no end.
        down_s: How long it stays down on average.
        skew_s: How far its wall clock is ahead.
    """

    def __init__(
        self, chance: random.Random, lives: Sequence[int] = (), down_s: float = 20.0, skew_s: float = 0.0
    ) -> None:
        self.chance, self.down_s, self.skew_s = chance, down_s, skew_s
        self._lives = list(lives)

    def clock(self) -> SimClock:
        """Return the clock of a new life."""
        clock = SimClock(self.chance, self.skew_s)
        if self._lives:
            clock.n_left = self._lives.pop(0)
        return clock

    async def stay_down(self) -> None:
        """Wait until the process is started again."""
        await anyio.sleep(self.chance.expovariate(1.0 / self.down_s))


class SiteProcess:
    """A site that dies and comes back.

    Args:
        name: The site's name.
        make: Makes the site for a clock and an executor.
        engine: What runs its jobs.
        fate: When it dies.
        world: Where messages are on their way.
        on_open: Told of each site that opened.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[SimClock, SimExecutor], Site],
        engine: Engine,
        fate: Fate,
        world: TaskGroup,
        on_open: Callable[[Site], None],
    ) -> None:
        self.name, self.engine, self.fate = name, engine, fate
        self._make, self._world, self._on_open = make, world, on_open
        self.site: Site | None = None
        """The site while it is up."""
        self.n_crashes = 0
        self._handlers: TaskGroup | None = None
        self._replies: set[Reply[Any]] = set()
        self._streams: set[anyio.CancelScope] = set()

    async def run(self) -> None:
        """Live, die and come back, for ever."""
        while True:
            clock = self.fate.clock()
            with anyio.CancelScope() as scope:
                clock.on_death = scope.cancel
                try:
                    async with (
                        self._make(clock, SimExecutor(self.engine, clock)).opened() as site,
                        anyio.create_task_group() as handlers,
                    ):
                        self.site, self._handlers = site, handlers
                        self._on_open(site)
                        await anyio.sleep_forever()
                except* Crashed:
                    pass
                finally:
                    clock.is_dead = True
                    self._go()
            self.n_crashes += 1
            if not self.engine.machine.survives:
                self.engine.kill_all()
            await self.fate.stay_down()

    def _go(self) -> None:
        self.site = self._handlers = None
        for reply in self._replies:
            reply.fail(Unreachable(f"Site '{self.name}' closed the connection."))
        self._replies.clear()
        for stream in self._streams:
            stream.cancel()

    async def next_of(self, feed: AsyncIterator[Reports]) -> Reports:
        """Return the next reports of a stream; none when the site dies before there are any."""
        with anyio.CancelScope() as scope:
            self._streams.add(scope)
            try:
                return await anext(feed)
            finally:
                self._streams.discard(scope)
        return ()

    def deliver(self, delay: float, call: Callable[[Site], Awaitable[T]], reply: Reply[T]) -> None:
        """Have the site work on a request that arrives after `delay`, for as long as it lives."""
        self._world.start_soon(self._arrive, delay, call, reply)

    async def _arrive(self, delay: float, call: Callable[[Site], Awaitable[T]], reply: Reply[T]) -> None:
        await anyio.sleep(delay)
        site = self.site
        if site is None or self._handlers is None:
            reply.fail(Unreachable(f"Site '{self.name}' is down."))
            return
        self._replies.add(reply)

        async def work() -> None:
            await reply.work(lambda: call(site))
            self._replies.discard(reply)

        self._handlers.start_soon(work)


class CampaignProcess:
    """A campaign's runner that dies and comes back, until the campaign is over.

    Args:
        file: The campaign's definition.
        directory: Where its ledger lives.
        key: Of the institution that it is at home at.
        agreement: Digest of the agreement.
        fate: When it dies.
        reach: Makes the handles to its sites for a clock.
    """

    def __init__(
        self,
        file: CampaignFile,
        directory: Path,
        key: Key,
        agreement: str,
        fate: Fate,
        reach: Callable[[Clock], Mapping[str, SiteHandle]],
    ) -> None:
        self.file, self.directory, self.fate = file, directory, fate
        self._key, self._agreement, self._reach = key, agreement, reach
        self.n_crashes = 0

    async def run(self) -> None:
        """Live, die and come back, until the campaign is over."""
        while True:
            clock = self.fate.clock()
            with anyio.CancelScope() as scope:
                clock.on_death = scope.cancel
                try:
                    await self._live(clock)
                    return
                except* (Crashed, Unreachable):  # whoever watches over it starts it again
                    pass
            self.n_crashes += 1
            await self.fate.stay_down()

    async def _live(self, clock: SimClock) -> None:
        campaign = Campaign(self.file, self.directory, self._key, self._agreement, clock)
        try:
            if campaign.status.row.state not in ("running", "stopped"):
                return
            sites = self._reach(clock)
            descriptions = {name: await site.describe(self.file.team) for name, site in sites.items()}
            await Runner(campaign, sites, Broker(routes_over(self.file, descriptions), clock)).run()
        finally:
            with anyio.CancelScope(shield=True):
                await campaign.ledger.close()
