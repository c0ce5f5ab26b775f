"""A site opened only to have something decided there: it runs nothing."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import anyio

from renkei.clock import Clock
from renkei.executors import Job, JobEnd, JobState, Report
from renkei.home._home import Home
from renkei.site import Site, open_site


class IdleExecutor:
    """An `Executor` that takes no jobs and settles none: what was at work is settled when the site really opens."""

    name = "idle"
    slots = 0

    def room(self, procedure: str) -> int:
        """See `Executor.room`."""
        del procedure
        return 0

    async def submit(self, jobs: Sequence[Job]) -> None:
        """See `Executor.submit`; never called, since there is no room."""

    async def cancel(self, run: str) -> None:
        """See `Executor.cancel`."""

    async def settle(self, jobs: Sequence[Job]) -> Sequence[JobEnd]:
        """See `Executor.settle`."""
        del jobs
        return ()

    async def serve(self, report: Report) -> None:
        """See `Executor.serve`."""
        del report
        await anyio.sleep_forever()

    def look(self, run: str) -> JobState | None:
        """See `Executor.look`."""
        del run
        return None

    async def check(self) -> Sequence[str]:
        """See `Executor.check`."""
        return ()


@asynccontextmanager
async def opened_idle(home: Home, name: str, clock: Clock) -> AsyncGenerator[Site]:
    """Open one site of a home, whose lock must be held, without running anything there.

    Raises:
        RenkeiError: The site cannot be opened; says which file is wrong and how.
    """
    site = open_site(home.site(name), home.agreement(), clock, IdleExecutor())
    async with site.opened():
        yield site
