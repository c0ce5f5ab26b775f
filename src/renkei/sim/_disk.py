"""Simulated disks: full for a while, so that SQLite itself refuses to commit."""

# pyright: reportPrivateUsage=false
# The limit belongs to a ledger's connection, which nobody but a simulation has any business with.

import anyio

from renkei.ledger import Ledger

_PAGES_MAX = 1_073_741_823


class Disk:
    """The disk under one ledger, opened again and again.

    While it is full the database may not grow: a commit that needs another page fails with SQLite's own "database or
    disk is full", one that fits into what is there goes through.

    Args:
        full: Pairs of begin and end in seconds, in which it is full.
    """

    def __init__(self, full: tuple[tuple[float, float], ...] = ()) -> None:
        self._full = full
        self._ledger: Ledger | None = None

    def hold(self, ledger: Ledger) -> None:
        """Keep a ledger that was just opened."""
        self._ledger = ledger
        self._set()

    def let_go(self) -> None:
        """The ledger is closed."""
        self._ledger = None

    async def serve(self) -> None:
        """Fill up and be emptied."""
        for at in sorted(at for pair in self._full for at in pair):
            await anyio.sleep(max(0.0, at - anyio.current_time()))
            self._set()

    def _set(self) -> None:
        if self._ledger is None or not self._full:
            return
        now = anyio.current_time()
        is_full = any(begin <= now < end for begin, end in self._full)
        pages = 1 if is_full else _PAGES_MAX  # fewer than there are means: no more than there are
        self._ledger._db.execute(f"PRAGMA max_page_count = {pages}")
