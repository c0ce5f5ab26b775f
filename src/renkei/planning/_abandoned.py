"""Points of abandoned trials: they rest for a while, then they may come again, unless they failed too often."""

from renkei.planning._codec import Key

_REST = 2
"""A point may come again once so many more trials ended, twice as many each time: a fault at a site may last."""

_MAX_TRIES = 5
"""A point of which so many trials were abandoned does not come again: it may be what breaks them."""


class Abandoned:
    """Keeps the points of abandoned trials, as nothing was learned of them and one may be the best there is."""

    def __init__(self) -> None:
        self._rows: dict[Key, list[float]] = {}
        self._n_tries: dict[Key, int] = {}
        self._rests_until: dict[Key, int] = {}

    def add(self, key: Key, row: list[float], n_ended: int) -> bool:
        """Take in an abandoned trial; return whether its point may ever come again.

        Args:
            key: The point's identity.
            row: The point, n_columns.
            n_ended: Trials that ended so far, this one included.
        """
        n_tries = self._n_tries.get(key, 0) + 1
        self._rows[key], self._n_tries[key] = row, n_tries
        self._rests_until[key] = n_ended + _REST * 2 ** (n_tries - 1)
        return n_tries < _MAX_TRIES

    def resting(self, n_ended: int) -> dict[Key, list[float]]:
        """Return the points that were abandoned lately, after `n_ended` trials."""
        return {key: self._rows[key] for key, until in self._rests_until.items() if n_ended < until}

    def given_up(self, most: int) -> list[list[float]]:
        """Return the points that do not come again, the last `most`: n x n_columns."""
        return [row for key, row in self._rows.items() if self._n_tries[key] >= _MAX_TRIES][-most:]
