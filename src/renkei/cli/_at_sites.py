"""What each site did and does for a campaign that is being driven."""

from collections import Counter
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, RenderResult

from renkei.campaign import Runner
from renkei.campaign._state import OPEN
from renkei.cli._output import amount, columns, duration

ROOMY = 90
"""From this many columns on, sites are shown with all that is known of them."""


@dataclass(slots=True)
class AtSite:
    """Runs of a campaign at one site: how many are in which state, what they reserve and what they were charged."""

    states: Counter[str] = field(default_factory=Counter[str])
    reserved: Counter[str] = field(default_factory=Counter[str])
    charged: Counter[str] = field(default_factory=Counter[str])

    @property
    def n_at_work(self) -> int:
        """How many were sent and have not ended."""
        return self.states["requested"] + self.states["accepted"]

    @property
    def n_done(self) -> int:
        """How many gave a result."""
        return self.states["succeeded"] + self.states["infeasible"]

    @property
    def n_faults(self) -> int:
        """How many gave none."""
        return self.states["failed"] + self.states["lost"]


def at_sites(runner: Runner) -> dict[str, AtSite]:
    """Return what each site did and does for a campaign, by the campaign's own run table."""
    sites = {name: AtSite() for name in (*(route.site for route in runner.routes.broker.routes), *runner.routes.absent)}
    for run in runner.campaign.runs.rows.values():
        site = sites.setdefault(run.site, AtSite())
        site.states[run.state] += 1
        if run.state in OPEN:
            site.reserved[run.unit] += run.micro
        elif run.state != "refused":
            site.charged[run.unit] += run.micro
    return sites


def amounts(by_unit: Counter[str]) -> str:
    """Return quantities by unit in words."""
    return ", ".join(amount(micro, unit) for unit, micro in by_unit.items() if unit and micro)


@dataclass(frozen=True, slots=True)
class SiteTable:
    """What sites do for a campaign; leaves out what a narrow screen has no room for."""

    runner: Runner
    sites: dict[str, AtSite]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        is_roomy = options.max_width >= ROOMY
        more = (">a run takes", ">reserved") if is_roomy else ()
        table = columns("site", ">at work", ">done", ">failed", *more, ">charged")
        for name, site in self.sites.items():
            routes = [route for route in self.runner.routes.broker.routes if route.site == name]
            times = [route.run_s for route in routes if route.run_s is not None]
            details = (duration(min(times)) if times else "", amounts(site.reserved)) if is_roomy else ()
            numbers = (f"{n:,}" for n in (site.n_at_work, site.n_done, site.n_faults))
            table.add_row(name, *numbers, *details, amounts(site.charged))
        yield table
