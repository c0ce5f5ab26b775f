"""The ways to run a campaign's trials, from what sites offer."""

from collections.abc import Awaitable, Callable, Collection, Mapping

import anyio

from renkei.clock import Clock
from renkei.errors import AgreementError, ConfigError, RenkeiError, Unreachable
from renkei.federation import Description, Offer, Route, SiteHandle
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


async def answer_of(site: SiteHandle, team: str, clock: Clock) -> Description:
    """Ask a site what it offers until it answers."""
    while True:
        try:
            return await _described(site, team)
        except RenkeiError:  # of whatever kind: it takes no part before it says what it offers
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
