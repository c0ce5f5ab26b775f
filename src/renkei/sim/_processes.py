"""Simulated processes: a site and a campaign's runner, each killed and started again."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import anyio
from anyio.abc import TaskGroup

from renkei.campaign import Campaign, Runner, descriptions_to_resume
from renkei.clock import Clock
from renkei.errors import LedgerError, Unreachable
from renkei.federation import Reports, SiteHandle
from renkei.model.campaign import Campaign as CampaignFile
from renkei.sim._clock import Crashed, SimClock
from renkei.sim._disk import Disk
from renkei.sim._engine import Engine, SimExecutor
from renkei.sim._network import Reply
from renkei.sim._wire import Asgi, app_of
from renkei.site import Site
from renkei.trust.keys import Key

T = TypeVar("T")

LOOK_S = 60.0
"""How long it takes on average until a process is started again that stopped because its disk was full."""


class Fate:
    """When a process dies, and how long it stays down.

    Args:
        chance: Where luck comes from.
        lives: How many steps (sleeps, commits, submissions) each of its lives has; the one after them has no end.
        down_s: How long it stays down on average.
        skew_s: How far its wall clock is ahead.
        drift: How many seconds that clock gains each second.
    """

    def __init__(
        self,
        chance: random.Random,
        lives: Sequence[int] = (),
        down_s: float = 20.0,
        skew_s: float = 0.0,
        drift: float = 0.0,
    ) -> None:
        self.chance, self.down_s, self.skew_s, self.drift = chance, down_s, skew_s, drift
        self._lives = list(lives)
        self._clock: SimClock | None = None
        self._down_until = 0.0

    def clock(self) -> SimClock:
        """Return the clock of a new life."""
        clock = self._clock = SimClock(self.chance, self.skew_s, self.drift)
        if self._lives:
            clock.n_left = self._lives.pop(0)
        return clock

    def kill(self, down_s: float) -> None:
        """Kill the process now and keep it down for so long."""
        self._down_until = anyio.current_time() + down_s
        if self._clock is not None:
            self._clock.die()

    async def stay_down(self, *, is_full: bool) -> None:
        """Wait until the process is started again; somebody looks first where the disk was full."""
        await anyio.sleep(self.chance.expovariate(1.0 / (max(self.down_s, LOOK_S) if is_full else self.down_s)))
        await anyio.sleep(max(0.0, self._down_until - anyio.current_time()))


class SiteProcess:
    """A site that dies and comes back.

    Args:
        name: The site's name.
        make: Makes the site for a clock and an executor.
        engine: What runs its jobs.
        fate: When it dies.
        world: Where messages are on their way.
        on_open: Told of each site that opened.
        disk: Where its ledger lies.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[SimClock, SimExecutor], Site],
        engine: Engine,
        fate: Fate,
        world: TaskGroup,
        on_open: Callable[[Site], None],
        disk: Disk,
    ) -> None:
        self.name, self.engine, self.fate, self.disk = name, engine, fate, disk
        self._make, self._world, self._on_open = make, world, on_open
        self.site: Site | None = None
        """The site while it is up."""
        self.clock: SimClock
        """The clock of the present life, or of the last one."""
        self._app: Asgi | None = None
        self.n_crashes = self.n_full = 0
        self._handlers: TaskGroup | None = None
        self._replies: set[Reply[Any]] = set()
        self._streams: set[anyio.CancelScope] = set()

    async def run(self) -> None:
        """Live, die and come back, for ever."""
        while True:
            clock, is_full = self.fate.clock(), False
            self.clock = clock
            with anyio.CancelScope() as scope:
                clock.on_death = scope.cancel
                try:
                    made = self._make(clock, SimExecutor(self.engine, clock))
                    self.disk.hold(made.ledger)
                    async with made.opened() as site, anyio.create_task_group() as handlers:
                        self.site, self._handlers = site, handlers
                        self._on_open(site)
                        await anyio.sleep_forever()
                except* Crashed:
                    pass
                except* LedgerError:
                    is_full = True
                finally:
                    clock.is_dead = True
                    self._go()
            self.n_crashes += 1
            self.n_full += is_full
            if not self.engine.machine.survives:
                self.engine.kill_all()
            await self.fate.stay_down(is_full=is_full)

    def _go(self) -> None:
        self.site = self._handlers = self._app = None
        self.disk.let_go()
        for reply in self._replies:
            reply.fail(Unreachable(f"Site '{self.name}' closed the connection."))
        self._replies.clear()
        for stream in self._streams:
            stream.cancel()

    def asgi(self) -> Asgi:
        """Return what serves the site over HTTP; only while it is up."""
        assert self.site is not None
        self._app = self._app or app_of(self.site, self.clock)
        return self._app

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
        disk: Where its ledger lies.
    """

    def __init__(
        self,
        file: CampaignFile,
        directory: Path,
        key: Key,
        agreement: str,
        fate: Fate,
        reach: Callable[[Clock], Mapping[str, SiteHandle]],
        disk: Disk,
    ) -> None:
        self.file, self.directory, self.fate, self.key, self.disk = file, directory, fate, key, disk
        self._agreement, self._reach = agreement, reach
        self._runner: Runner | None = None
        self.knows: Collection[str] = ()
        """The sites that it knew of when it was last taken up."""
        self.n_crashes = self.n_full = self.n_stopped = 0

    def stop(self) -> None:
        """Have it stopped by a person, who resumes it later; nothing happens where nobody drives it."""
        if self._runner is not None:
            self._runner.stop("stopped by anna")

    async def run(self) -> None:
        """Live, die and come back, until the campaign is over."""
        while True:
            clock, is_full, state = self.fate.clock(), False, ""
            with anyio.CancelScope() as scope:
                clock.on_death = scope.cancel
                try:
                    state = await self._live(clock)
                except* Crashed:  # whoever watches over it starts it again
                    pass
                except* LedgerError:
                    is_full = True
                finally:
                    self._runner = None
                    self.disk.let_go()
            if state not in ("", "stopped"):
                return
            self.n_stopped += state == "stopped"
            self.n_crashes += not state
            self.n_full += is_full
            await self.fate.stay_down(is_full=is_full)

    async def _live(self, clock: SimClock) -> str:
        """Drive the campaign to its end, and return the state that it then is in."""
        campaign = Campaign(self.file, self.directory, self.key, self._agreement, clock)
        self.disk.hold(campaign.ledger)
        try:
            if (state := campaign.status.row.state) not in ("running", "stopped"):
                return state
            sites = self._reach(clock)
            self.knows = sites.keys()
            wanted = {source.procedure for source in self.file.sources}
            descriptions, _ = await descriptions_to_resume(self.file, wanted, sites, clock)
            runner = Runner(campaign, sites, descriptions)
            self._runner = runner
            return (await runner.run())[0]
        finally:
            with anyio.CancelScope(shield=True):
                await campaign.ledger.close()
