"""The handle to a site: what a campaign asks of a site, wherever the site is."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from renkei.federation.messages import Description, Reports
from renkei.trust.envelope import Envelope


class SiteHandle(Protocol):
    """A site, in this process or elsewhere.

    Every method but `follow` raises `Unreachable` when no answer came: what happened is then unknown, not failed,
    and the caller asks with `find` before it does anything else.
    """

    name: str

    async def describe(self, team: str) -> Description:
        """Return what the site offers to `team`."""
        ...

    async def submit(self, envelope: Envelope) -> Reports:
        """Ask for runs. Returns the site's record about each, in order: accepted, parked or refused, and durable.

        The same requests again, in a batch of their own, give the same records.

        Raises:
            Replayed: A copy of this batch came first: what became of that one, `find` tells.
            AgreementError: The batch as a whole is refused: forged, stale, or for somebody else.
            RemoteError: The site says that it cannot read it.
        """
        ...

    async def find(self, runs: Sequence[str]) -> list[bytes | None]:
        """Return the site's latest record about each run, or None of a run that it never heard of."""
        ...

    async def cancel(self, envelope: Envelope) -> None:
        """Ask that runs be cancelled; they end like all others, in the stream of reports."""
        ...

    def follow(self, team: str, campaign: str) -> AbstractAsyncContextManager[AsyncIterator[Reports]]:
        """Stream the site's records about the runs of a team's campaign that `submit` did not return, from now on.

        Who enters it first and then asks `find` about every run that has not ended misses nothing. A stream that
        breaks is opened again where it ended; it raises `AgreementError` when the site refuses to tell.
        """
        ...

    async def checkpoint(self) -> str:
        """Return a signed checkpoint over everything that the site acknowledged so far."""
        ...

    async def inclusion(self, seq: int, size: int) -> list[bytes]:
        """Return the proof that record `seq` is in the tree of the first `size` records."""
        ...

    async def leaves(self, size: int) -> bytes:
        """Return the leaf hashes of the first `size` records, 32 bytes each.

        They prove to whoever holds them and a signed checkpoint what each of those records is, offline.
        """
        ...
