"""What a site tells: reports to whoever follows a campaign, as runs end, and those of before."""

from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio

from renkei.federation import Reports
from renkei.ledger import Appended, Ledger
from renkei.model.records import Body, RunAccepted, RunEnded, RunParked, RunRefused, read_record
from renkei.site._runs import Runs


class Feeds:
    """The reports of a site's ledger on their way to its followers; `len` counts the campaigns that are followed.

    Args:
        ledger: Where the records are; what is durable in it is published from now on.
        runs: Whose campaign each run is.
        decided: Parked runs that a person decided, of which the campaign has yet to be told what became of them: the
            site adds to them, and what was told leaves.
    """

    def __init__(self, ledger: Ledger, runs: Runs, decided: set[str]) -> None:
        self._ledger, self._runs, self._decided = ledger, runs, decided
        self._feeds: dict[tuple[str, str], list[_Feed]] = defaultdict(list)  # by team and campaign
        ledger.follow(self._publish)

    def __len__(self) -> int:
        return len(self._feeds)

    @asynccontextmanager
    async def follow(self, team: str, campaign: str) -> AsyncGenerator[AsyncIterator[Reports]]:
        """See `SiteHandle.follow`."""
        feed, key = _Feed(), (team, campaign)
        self._feeds[key].append(feed)
        try:
            yield feed
        finally:
            self._feeds[key].remove(feed)
            if not self._feeds[key]:
                del self._feeds[key]

    def history(self, team: str, campaign: str, since: int) -> list[bytes]:
        """See `Site.history`."""
        found: list[bytes] = []
        for raw in self._ledger.read_from(since):
            body = read_record(raw).body
            if isinstance(body, RunAccepted | RunRefused | RunParked | RunEnded) and not _is_conflict(body):
                row = self._runs.rows[body.run]
                if (row.team, row.campaign) == (team, campaign):
                    found.append(raw)
        return found

    def _publish(self, records: Sequence[Appended]) -> None:
        by_campaign: dict[tuple[str, str], list[bytes]] = {}
        for record in records:
            body = record.body
            if type(body) is RunEnded or (
                isinstance(body, RunAccepted | RunRefused) and body.run in self._decided and not _is_conflict(body)
            ):
                self._decided.discard(body.run)
                row = self._runs.rows[body.run]
                by_campaign.setdefault((row.team, row.campaign), []).append(record.raw)
        for key, raws in by_campaign.items():
            for feed in self._feeds.get(key, ()):
                feed.put(raws)


def _is_conflict(body: Body) -> bool:
    """Return whether a record refuses a request for its id alone: nothing to the campaign whose run has that id."""
    return isinstance(body, RunRefused) and body.code == "conflict"


class _Feed:
    """Reports on their way to one follower. Waiting for the next ones may be given up and begun again."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self._wake = anyio.Event()

    def put(self, raws: Sequence[bytes]) -> None:
        self._waiting += raws
        self._wake.set()

    def __aiter__(self) -> "_Feed":
        return self

    async def __anext__(self) -> Reports:
        while not self._waiting:
            await self._wake.wait()
            self._wake = anyio.Event()
        waiting, self._waiting = self._waiting, []
        return waiting
