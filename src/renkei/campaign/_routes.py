"""The ways to run a campaign's trials, from what sites offer."""

from collections.abc import Collection, Mapping

from renkei.errors import ConfigError
from renkei.federation import Description, Offer, Route
from renkei.model.binding import Binding, check_against
from renkei.model.campaign import Campaign, Source
from renkei.model.procedure import ProcedureSpec
from renkei.model.quantity import MICRO, Quantity


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
