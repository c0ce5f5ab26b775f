"""Sites of a scenario, which may go down for a while, and the lines to them, which lose nothing."""

import contextlib
import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio

from renkei.errors import Unreachable
from renkei.federation import Description, Reports
from renkei.model.records import read_record
from renkei.sim._engine import Engine
from renkei.site import Site
from renkei.trust.envelope import Envelope

T = TypeVar("T")

TIMEOUT_S = 30.0
"""After how long a request to a site that is down is given up."""


class Host:
    """A site in the simulation: it opens, may go down, and may come back.

    Args:
        name: The site's name.
        make: Makes it.
        engine: What runs its jobs.
        losses: Pairs of when it goes down and when it is back, in order.
    """

    def __init__(
        self, name: str, make: Callable[[], Site], engine: Engine, losses: Sequence[tuple[float, float]]
    ) -> None:
        self.name, self.engine = name, engine
        self._make, self._losses = make, losses
        self.site: Site | None = None
        """The site while it is up."""
        self.last: Site | None = None
        """The site as it was when it was last up."""
        self.is_up = anyio.Event()
        self._users: dict[anyio.CancelScope, None] = {}

    async def run(self) -> None:
        """Be up, and down when that is due."""
        for down_s, back_s in (*self._losses, (math.inf, math.inf)):
            with anyio.move_on_at(down_s):
                async with self._make().opened() as site:
                    self.site = self.last = site
                    self.is_up.set()
                    await anyio.sleep_forever()
            self.site, self.is_up = None, anyio.Event()
            for user in self._users:
                user.cancel()
            self.engine.kill_all()
            await anyio.sleep_until(back_s)

    async def ask(self, call: Callable[[Site], Awaitable[T]]) -> T:
        """Return what the site answers.

        Raises:
            Unreachable: It is down, or goes down meanwhile.
        """
        with anyio.CancelScope() as scope:
            if (site := self.site) is not None:
                self._users[scope] = None
                try:
                    return await call(site)
                finally:
                    del self._users[scope]
        await anyio.sleep(TIMEOUT_S)
        raise Unreachable(f"Site '{self.name}' gives no answer.")


class Wire:
    """A site at the other end of a line on which everything takes the same time; satisfies `SiteHandle`.

    Args:
        host: The site.
        delay_s: How long a message takes, one way.
    """

    def __init__(self, host: Host, delay_s: float) -> None:
        self.name = host.name
        self._host, self._delay_s = host, delay_s

    async def describe(self, team: str) -> Description:
        """See `SiteHandle.describe`."""
        return await self._ask(lambda site: site.describe(team))

    async def submit(self, envelope: Envelope) -> Reports:
        """See `SiteHandle.submit`."""
        return await self._ask(lambda site: site.submit(envelope))

    async def find(self, runs: Sequence[str]) -> list[bytes | None]:
        """See `SiteHandle.find`."""
        return await self._ask(lambda site: site.find(runs))

    async def cancel(self, envelope: Envelope) -> None:
        """See `SiteHandle.cancel`."""
        await self._ask(lambda site: site.cancel(envelope))

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
        site = self._host.last
        stream = self._reports(team, campaign, 0 if site is None else site.ledger.durable_size)
        try:
            yield stream
        finally:
            await stream.aclose()

    async def _reports(self, team: str, campaign: str, cursor: int) -> AsyncGenerator[Reports]:
        while True:
            await self._host.is_up.wait()
            site = self._host.site
            if site is None:
                continue
            async with site.follow(team, campaign) as feed:
                new: Reports = site.history(team, campaign, cursor)
                while self._host.site is site:
                    if new:
                        await anyio.sleep(self._delay_s)
                        cursor = read_record(new[-1]).seq + 1
                        yield new
                    with contextlib.suppress(Unreachable):
                        new = await self._host.ask(lambda _, feed=feed: anext(feed))

    async def _ask(self, call: Callable[[Site], Awaitable[T]]) -> T:
        await anyio.sleep(self._delay_s)
        answer = await self._host.ask(call)
        await anyio.sleep(self._delay_s)
        return answer
