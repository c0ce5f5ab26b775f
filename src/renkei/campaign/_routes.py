"""The ways to run a campaign's trials, from what sites offer."""

from collections.abc import Awaitable, Callable, Collection, Mapping

import anyio

from renkei.campaign._state import RunRow
from renkei.clock import Clock
from renkei.errors import AgreementError, ConfigError, RenkeiError, Unreachable, UsageError
from renkei.federation import Broker, Description, Offer, Route, SiteHandle
from renkei.model.binding import Binding, check_against
from renkei.model.campaign import Campaign, Source
from renkei.model.procedure import ProcedureSpec
from renkei.model.quantity import MICRO, Quantity

ASK_S = 5.0
"""How often sites that were silent are asked again what they offer."""


async def descriptions_of(
    sites: Mapping[str, SiteHandle], ask: Callable[[SiteHandle], Awaitable[Description]]
) -> tuple[dict[str, Description], list[Unreachable]]:
    """Ask sites what they offer, all at the same time: one that hangs holds up nobody longer than another.

    Args:
        sites: Handles by name.
        ask: How one is asked.

    Returns:
        What sites offer, by name, and what kept the others from answering.

    Raises:
        RenkeiError: What `ask` raised of the first site, in the order of `sites`, that answered with an error.
    """
    answers: dict[str, Description | RenkeiError] = {}

    async def put(name: str, site: SiteHandle) -> None:
        try:
            answers[name] = await ask(site)
        except RenkeiError as error:
            answers[name] = error

    async with anyio.create_task_group() as tasks:
        for name, site in sites.items():
            tasks.start_soon(put, name, site)
    found: dict[str, Description] = {}
    silent: list[Unreachable] = []
    for name in sites:
        match answers[name]:
            case Description() as description:
                found[name] = description
            case Unreachable() as error:
                silent.append(error)
            case RenkeiError() as error:
                raise error
    return found, silent


async def descriptions_to_resume(
    file: Campaign,
    wanted: Collection[str],
    sites: Mapping[str, SiteHandle],
    clock: Clock,
    on_silence: Callable[[Unreachable], None] = lambda _: None,
) -> tuple[dict[str, Description], list[Unreachable]]:
    """Ask every site what it offers, until enough of them answer for a campaign to be taken up.

    That is, until some site that answered offers each procedure that is wanted, or none is silent any more. A site that
    refuses the team, because its institution was revoked for example, still says what it offers to anybody: the
    campaign has to ask it about open runs, and to learn there that it may not.

    Args:
        file: The campaign.
        wanted: Names of procedures: of the campaign's sources, and of its runs that have not ended.
        sites: Handles by name.
        clock: Waiting.
        on_silence: Told of each site that does not answer, each time that all wait for it.

    Returns:
        What sites offer, by name, and what kept those from answering that were not waited for.
    """
    while True:
        found, silent = await descriptions_of(sites, lambda site: _described(site, file.team))
        offered = {offer.spec["name"] for description in found.values() for offer in description.offers}
        if not silent or offered.issuperset(wanted):
            return found, silent
        for error in silent:
            on_silence(error)
        await clock.sleep(ASK_S)


async def _described(site: SiteHandle, team: str) -> Description:
    try:
        return await site.describe(team)
    except AgreementError:
        return await site.describe("")


def routes_over(file: Campaign, descriptions: Mapping[str, Description], known: Collection[str] = ()) -> list[Route]:
    """Return every way to run trials of a campaign, fresh: routes remember what was measured of them.

    Args:
        file: The campaign.
        descriptions: What sites offer, by name.
        known: Sites that are there but did not say what they offer.

    Raises:
        ConfigError: The campaign does not fit what is on offer; lists every mistake.
    """
    sites = sorted({*descriptions, *known})
    offers = [
        (name, description, offer, ProcedureSpec.from_json(offer.spec))
        for name, description in descriptions.items()
        for offer in description.offers
    ]
    mistakes: list[str] = []
    specs: dict[str, ProcedureSpec] = {}
    fitting: list[tuple[Source, str, Description, Offer, ProcedureSpec]] = []
    for i, source in enumerate(file.sources, 1):
        mistakes += [
            f"source#{i}.sites: found '{name}', expected some of {', '.join(sites)}"
            for name in source.sites
            if name not in sites
        ]
        for name, description, offer, spec in offers:
            if source.sites and name not in source.sites:
                continue
            if spec.name != source.procedure or source.version not in (None, spec.version):
                specs.setdefault(spec.name, spec)
                continue
            specs[spec.name] = spec
            fitting.append((source, name, description, offer, spec))
    mistakes += check_against(file, specs)
    if mistakes or not fitting:
        raise ConfigError(f"campaign '{file.name}'", mistakes or ["source: no site offers any of its procedures"])
    routes: list[Route] = []
    for source, name, description, offer, spec in fitting:
        price = Quantity.of(offer.per_run + offer.per_hour * offer.time_limit_s / 3600, offer.charge_unit)
        available = round(description.available.get(offer.charge_unit, 0.0) * MICRO)
        binding, sold = Binding(file, source, spec), (offer.slots, price.micro, price.unit, available)
        routes.append(Route(name, spec, binding, *sold, source.label, source.counts))
    return routes


class Routes:
    """The routes of one campaign: over sites that said what they offer, and over silent ones once they do.

    Args:
        file: The campaign.
        sites: Handles by name.
        descriptions: What sites offer, by name. Those that are missing are silent.
        clock: Waiting.

    Attributes:
        broker: Picks among them.
        absent: Sites that take no part, by name: why what they offer does not fit, "" while they are silent.

    Raises:
        ConfigError: The campaign does not fit what is on offer.
    """

    def __init__(
        self, file: Campaign, sites: Mapping[str, SiteHandle], descriptions: Mapping[str, Description], clock: Clock
    ) -> None:
        self._file, self._sites, self._descriptions, self._clock = file, sites, dict(descriptions), clock
        self.broker = Broker(routes_over(file, descriptions, sites), clock)
        self.absent = dict.fromkeys(sorted(sites.keys() - descriptions.keys()), "")
        self._gone: dict[tuple[str, str, str], Route] = {}

    def of_source(self, source: str) -> list[Route]:
        """Return the routes of trials of a source, closed ones too."""
        return [route for route in self.broker.routes if route.serves(source)]

    def of_run(self, run: RunRow, source: str) -> Route:
        """Return the route of a run of an earlier session; one that is never chosen, where its site has it no more.

        Raises:
            UsageError: Nobody can ask about the run.
        """
        known = [route for route in self.of_source(source) if route.spec.name == run.procedure]
        if (route := next((route for route in known if route.site == run.site), None)) is not None:
            return route
        key = run.site, run.procedure, source
        if key not in self._gone:
            like = next(iter(known), None)
            if like is None or run.site not in self._sites:
                raise UsageError(
                    f"Campaign '{self._file.name}' has runs of '{run.procedure}' at site '{run.site}' that have not"
                    " ended, and it cannot be asked about them.",
                    "Open that site too, or have some site offer that procedure again.",
                )
            self._gone[key] = Route(run.site, like.spec, like.binding, 1, like.price, run.unit or like.unit, 0)
        return self._gone[key]

    async def admit(self, name: str, team: str) -> list[tuple[Route, Route]]:
        """Wait until a silent site says what it offers; from then on it takes part, unless that does not fit.

        Returns:
            Routes that stood for its own in `of_run`, each with the one that takes its place.
        """
        while name not in self._descriptions:
            try:
                self._descriptions[name] = await _described(self._sites[name], team)
            except RenkeiError:  # of whatever kind: it takes no part before it says what it offers
                await self._clock.sleep(ASK_S)
        try:
            routes = routes_over(self._file, self._descriptions, self._sites)
        except ConfigError as error:
            del self._descriptions[name]
            self.absent[name] = "; ".join(error.mistakes)
            return []
        del self.absent[name]
        own = [route for route in routes if route.site == name]
        self.broker.routes += own
        replaced: list[tuple[Route, Route]] = []
        for site, procedure, source in list(self._gone):
            fitting = (route for route in own if route.spec.name == procedure and route.serves(source))
            if site == name and (route := next(fitting, None)) is not None:
                replaced.append((self._gone.pop((site, procedure, source)), route))
        return replaced

    @property
    def is_awaiting(self) -> bool:
        """Whether a site is silent: what it would take is not known."""
        return not all(self.absent.values())

    @property
    def are_closed(self) -> bool:
        """Whether none of a source that counts will take a run any more."""
        return self.broker.is_closed and not self.is_awaiting

    @property
    def why_closed(self) -> str:
        """Why each site takes none."""
        closed = {f"{route.site}: {route.closed}" for route in self.broker.routes}
        return "; ".join(sorted(closed | {f"{name}: {why}" for name, why in self.absent.items() if why}))
