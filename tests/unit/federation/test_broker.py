"""The broker: the soonest site, then the one that is pressed least; patience with failures, none with refusals."""

from typing import cast

from fakes import spec
from renkei.federation import Broker, Route
from renkei.model.binding import Binding

NO_BINDING = cast("Binding", None)
PLENTY = 1_000_000 * 1_000_000


def route(site: str, *, slots: int = 2, price: int = 1_000_000, available: int = PLENTY, unit: str = "run") -> Route:
    return Route(site, spec(), NO_BINDING, slots, price, unit, available)


def measured(site: str, run_s: float, **options: int) -> Route:
    """Return a route whose runs are known to take so long."""
    found = route(site, **options)  # type: ignore[arg-type]
    found.sent()
    found.accepted(found.price)
    found.gone()
    found.ended("succeeded", "", 0.0, run_s, found.price, 0.0)
    return found


def chosen(broker: Broker, *tried: str, n_to_come: int = 10) -> str | None:
    choice = broker.choose(tried, n_to_come)
    return None if choice is None else choice.route.site


def send(broker: Broker, n: int) -> list[str]:
    """Send runs one after another, none of which ends; return where they went."""
    sites: list[str] = []
    for _ in range(n):
        choice = broker.choose((), 10)
        assert choice is not None
        choice.route.sent()
        sites.append(choice.route.site)
    return sites
