"""Finding out whether a campaign fits the sites that its file embeds, before anything is written."""

from pathlib import Path

from renkei.errors import ConfigError, did_you_mean
from renkei.home._toml import site_text
from renkei.model.binding import check_against
from renkei.model.campaign import Campaign, LocalSite
from renkei.model.procedure import ProcedureSpec
from renkei.model.site_file import SiteFile, load_site, parse_site
from renkei.site import offers_of


def check_embedded(file: Campaign, home: Path) -> None:
    """Check a campaign against what its own file says that sites offer.

    Args:
        file: A campaign that is resolved and embeds at least one site.
        home: The folder that its sites will live in.

    Raises:
        ConfigError: It does not fit, or a site's description has mistakes; lists every mistake.
        UsageError: A procedure's code cannot be imported.
    """
    specs: dict[str, ProcedureSpec] = {}
    for name, site in file.sites.items():
        specs |= {offer.spec.name: offer.spec for offer in offers_of(_described(name, site, file.team, home))}
    mistakes = [
        f"source#{n}.sites: found '{name}', expected some of {', '.join(file.sites)}.{did_you_mean(name, file.sites)}"
        for n, source in enumerate(file.sources, 1)
        for name in source.sites
        if name not in file.sites
    ]
    if mistakes := mistakes + check_against(file, specs):
        raise ConfigError(f"campaign '{file.name}'", mistakes)


def _described(name: str, site: LocalSite, team: str, home: Path) -> SiteFile:
    if site.site is not None:
        return load_site(site.site)
    return parse_site(site_text(name, site, team, home), f"[sites.{name}]", folder=home)
