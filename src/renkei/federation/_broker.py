"""The broker: picks a site for every run, and says why."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from renkei.clock import Clock
from renkei.model.binding import Binding
from renkei.model.procedure import ProcedureSpec
from renkei.model.quantity import MICRO

BACKOFF_S = 1.0
"""How long a site is left alone after one failure; doubles with each further one."""
BACKOFF_MAX_S = 300.0
REFUSALS = 3
"""After so many refusals without one acceptance a route is closed."""
UNKNOWN_S = 3600.0
"""How long a round of runs is taken to last at a site that has not ended any yet."""
_MEMORY = 0.3  # weight of the newest measurement in a running mean


class Route:
    """One way to run a trial: a source's procedure at one site, with what was measured of it so far.

    Args:
        site: The site's name.
        spec: The procedure that the site offers.
        binding: Converts between the campaign's and the procedure's parameters and outputs.
        slots: How many runs the site works on at the same time.
        price: What a run reserves, in millionths of `unit`.
        unit: The allocation unit that it is charged in.
        available: What the team may still reserve there, in millionths.
        source: What the source is called.
        counts: Whether the source counts.
    """

    def __init__(
        self,
        site: str,
        spec: ProcedureSpec,
        binding: Binding,
        slots: int,
        price: int,
        unit: str,
        available: int,
        source: str = "",
        counts: bool = True,
    ) -> None:
        self.site, self.spec, self.binding, self.slots = site, spec, binding, max(1, slots)
        self.source, self.counts = source, counts
        self.price, self.unit, self.available = price, unit, available
        self.in_flight = 0
        self.run_s: float | None = None
        self.queue_s = 0.0
        self.n_failures = self.n_refusals = 0
        self.is_proven = False
        self.blocked_until = 0.0
        self.waits_for_end = False
        self.closed = ""

    def serves(self, source: str) -> bool:
        """Return whether it may run trials of a source; those of no source in particular run at any that counts."""
        return self.source == source if source else self.counts

    def expected_s(self) -> float:
        """Return when a run sent now should be done: rounds of runs before it, its own, and other waiting."""
        if self.run_s is None:  # worth a try, but not one run after another before any came back
            return self.in_flight / self.slots * 1e-3 + self.in_flight // self.slots * UNKNOWN_S
        return self.run_s * (1 + self.in_flight // self.slots) + self.queue_s

    def pressure(self, n_to_come: int) -> float:
        """Return the share of what is left of the allocation that all runs to come would take here."""
        return n_to_come * self.price / self.available if self.available > 0 else float(MICRO)

    @property
    def is_used_up(self) -> bool:
        """Whether the allocation does not cover another run, as far as is known, before one of those at work ends."""
        return self.in_flight > 0 and self.available < self.price

    # ---- what happened ---------------------------------------------------------------------------------------

    def sent(self) -> None:
        """A run was requested; it will reserve its price."""
        self.in_flight += 1
        self.available -= self.price

    def accepted(self, micro: int) -> None:
        """A run was accepted and reserved `micro`."""
        self.available += self.price - micro
        self.n_refusals, self.is_proven = 0, True

    def refused(self, code: str, why: str) -> None:
        """A run was refused."""
        self.available += self.price
        if code == "allocation":
            if self.in_flight > 0:
                self.waits_for_end = True  # what those reserve and do not use comes back
            else:
                self.closed = why
            return
        self.waits_for_end = False
        self.n_refusals += 1
        if self.n_refusals >= REFUSALS and not self.is_proven:
            self.closed = why

    def ended(self, outcome: str, fault: str, queue_s: float, run_s: float, unused: int, now: float) -> None:
        """A run ended; `unused` is what its reservation gives back."""
        self.available += unused
        self.waits_for_end, self.n_refusals, self.is_proven = False, 0, True
        if outcome == "lost" or (outcome == "failed" and fault == "facility"):
            if now < self.blocked_until:
                return  # one of those that were under way when the site failed
            self.n_failures += 1
            self.blocked_until = now + min(BACKOFF_MAX_S, BACKOFF_S * 2.0 ** (self.n_failures - 1))
            return
        if outcome == "cancelled":
            return  # says nothing about the site
        self.n_failures, self.blocked_until = 0, 0.0  # it works: what failed was the point, not the site
        if self.run_s is None:
            self.run_s, self.queue_s = run_s, 0.0
        else:
            self.run_s += _MEMORY * (run_s - self.run_s)
            own = self.run_s * (self.in_flight // self.slots)
            self.queue_s += _MEMORY * (max(0.0, queue_s - own) - self.queue_s)


class Choice:
    """The route for one run, and why."""

    __slots__ = ("route", "why")

    def __init__(self, route: Route, why: dict[str, Any]) -> None:
        self.route, self.why = route, why


class Broker:
    """Picks among routes by expected completion, weighted by how hard a run presses on what is left to pay it with.

    The score of a route is `expected_s * (1 + pressure)`, lowest first. A route whose site fails is left alone for a
    while that doubles with every failure, then tried with one run. A trial is not sent again where it failed as long
    as there is somewhere else.
    """

    def __init__(self, routes: Sequence[Route], clock: Clock) -> None:
        self.routes = list(routes)
        self._clock = clock

    def choose(
        self, tried: Collection[str], n_to_come: int, may_use: Callable[[Route], bool] = lambda _: True
    ) -> Choice | None:
        """Return the best route for a trial that was tried at `tried`, or None when none can take it now."""
        now = self._clock.monotonic()
        best: Route | None = None
        best_rank = (True, 0.0)
        why: dict[str, list[float]] = {}
        for route in self.routes:
            if route.closed or route.waits_for_end or route.is_used_up or now < route.blocked_until:
                continue
            if not may_use(route):
                continue
            if route.n_failures and route.in_flight:
                continue  # one run at a time, until one comes back well
            expected_s, pressure = route.expected_s(), route.pressure(n_to_come)
            rank = route.site in tried, expected_s * (1 + pressure)
            why[route.site] = [rank[1], expected_s, pressure]
            if best is None or rank < best_rank:
                best, best_rank = route, rank
        return None if best is None else Choice(best, {"score, expected_s, pressure": why})

    @property
    def is_closed(self) -> bool:
        """Whether no route of a source that counts will take a run any more."""
        return all(r.closed for r in self.routes if r.counts)
