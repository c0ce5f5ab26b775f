"""What the runs of a campaign cost, against what it may spend."""

from collections import Counter
from collections.abc import Mapping

from renkei.campaign._state import RunRow
from renkei.federation import Route


class Spending:
    """What ended runs were charged and open ones hold; by unit, in millionths.

    Args:
        limits: What may be spent at most; units that are missing have no limit.
    """

    def __init__(self, limits: Mapping[str, int]) -> None:
        self._limits = dict(limits)
        self._committed: Counter[str] = Counter()
        self._held: dict[str, tuple[Route, int]] = {}  # by open run: its route, and what it holds

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit on anything."""
        return bool(self._limits)

    @property
    def committed(self) -> dict[str, int]:
        """What is spent and held, where that is more than nothing."""
        return dict(+self._committed)

    def charge(self, row: RunRow) -> None:
        """Count a run that ended in an earlier session."""
        self._committed[row.unit] += row.micro

    def hold(self, run: str, route: Route, micro: int) -> None:
        """Count what an open run holds, or changes to hold: the price of its route where `micro` is 0."""
        _, held = self._held.get(run, (route, 0))
        micro = micro or route.price
        self._committed[route.unit] += micro - held
        self._held[run] = route, micro

    def held(self, run: str) -> tuple[Route, int]:
        """Return the route of an open run, and what it holds."""
        return self._held[run]

    def release(self, row: RunRow) -> Route:
        """Count what an ended run was charged in place of what it held; return its route."""
        route, held = self._held.pop(row.run)
        charged = 0 if row.state == "refused" else row.micro
        self._committed[route.unit] += charged - held
        return route

    def reroute(self, old: Route, new: Route) -> None:
        """Count the open runs of a route as those of another one."""
        for run, (route, held) in self._held.items():
            if route is old:
                self._held[run] = new, held
                self._committed[old.unit] -= held
                self._committed[new.unit] += held
        new.in_flight, old.in_flight = new.in_flight + old.in_flight, 0

    def leaves_room(self, route: Route, kept: int) -> bool:
        """Return whether a run may be paid by a route, with something kept for another one in the same unit."""
        limit = self._limits.get(route.unit)
        return limit is None or self._committed[route.unit] + route.price + kept <= limit
