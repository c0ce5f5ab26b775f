"""What a trial costs at each of several sources."""

import math
import statistics
from collections.abc import Sequence

from renkei.model.space import Observation
from renkei.planning._port import Source

_MEMORY = 20
"""Prices and seconds of so many trials of a source are averaged."""


class Costs:
    """Prices and seconds: those of the sources until trials tell others.

    Args:
        sources: In the order of their places.
        time: What waiting is worth, against price.
    """

    def __init__(self, sources: Sequence[Source], time: float) -> None:
        self._time = time
        self._prices = [[source.price] for source in sources]
        self._seconds: list[list[float]] = [[source.seconds] if source.seconds > 0 else [] for source in sources]

    def learn(self, place: int, observation: Observation) -> None:
        """Take in what a trial cost at the source of a place, as far as it says."""
        if math.isfinite(observation.cost) and observation.cost > 0:
            self._prices[place].append(observation.cost)
        if math.isfinite(observation.seconds) and observation.seconds >= 0:
            self._seconds[place].append(observation.seconds)

    def each(self) -> list[float]:
        """Return the cost of a trial at each source: shares of all prices and, weighted, of all seconds."""
        prices = [statistics.fmean(known[-_MEMORY:]) for known in self._prices]
        seconds = [statistics.fmean(known[-_MEMORY:]) if known else math.nan for known in self._seconds]
        costs = [price / sum(prices) for price in prices]
        if any(math.isnan(s) for s in seconds) or sum(seconds) == 0.0:
            return costs
        return [cost + self._time * s / sum(seconds) for cost, s in zip(costs, seconds, strict=True)]
