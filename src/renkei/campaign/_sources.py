"""What a planner is told of the sources that it chooses among."""

from collections.abc import Iterable

from renkei.errors import ConfigError
from renkei.federation import Route
from renkei.model.campaign import Campaign
from renkei.model.quantity import MICRO
from renkei.planning import Source


def planner_sources(file: Campaign, routes: Iterable[Route] = ()) -> tuple[Source, ...]:
    """Return the sources that the planner of a campaign is to choose among; none where every source counts.

    The price of a source is what its file says or, left out, the least that a site reserves for a run of it.

    Args:
        file: The campaign.
        routes: The ways to run its trials; none where people run them.

    Raises:
        ConfigError: A source cannot be run, or sources have no prices that compare; lists every mistake.
    """
    if not file.chooses:
        return ()
    routes = list(routes)
    wrong: list[str] = []
    found: list[Source] = []
    units: dict[str, None] = {}
    for n, source in enumerate(file.sources, 1):
        own = [route for route in routes if route.source == source.label]
        if routes and not own:
            wrong.append(f"source#{n}: no site offers '{source.procedure}'")
            continue
        price = source.price
        if price is None and own:
            cheapest = min(own, key=lambda route: route.price)
            units.update(dict.fromkeys(route.unit for route in own))
            price = cheapest.price / MICRO
        if not price:
            wrong.append(f"source#{n}.price: found none, expected what a trial costs, in one unit for all sources")
            continue
        found.append(Source(source.label, price, counts=source.counts, parallel=source.parallel))
    if len(units) > 1:
        wrong.append(
            f"source: found runs that are charged in {', '.join(units)}, expected a price in every [[source]], in one"
            " unit for all, for the planner to weigh them"
        )
    if wrong:
        raise ConfigError(f"campaign '{file.name}'", wrong)
    return tuple(found)
