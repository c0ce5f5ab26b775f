"""A scenario comes to life: its sites, its campaigns and what happens meanwhile, on virtual time."""

import contextlib
import hashlib
import math
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from datetime import date
from functools import cache, cached_property
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from renkei.campaign import Campaign, Runner, planner_sources, routes_over
from renkei.errors import Unreachable
from renkei.federation import Description
from renkei.ledger import Ledger, LedgerReader
from renkei.model.agreement import Agreement, AgreementSite, Institution, Party, Team, parse_agreement
from renkei.model.agreement_text import OPEN_RESEARCH, new_agreement_text
from renkei.model.campaign import Campaign as CampaignFile
from renkei.model.campaign_file import parse_campaign
from renkei.model.procedure import Output, ProcedureSpec
from renkei.model.quantity import MICRO, Quantity
from renkei.model.space import Integer, Real, Value
from renkei.policy import DEFAULT_POLICY, Policy, SitePolicies
from renkei.sim._clock import SimClock
from renkei.sim._engine import Engine, Machine, SimExecutor
from renkei.sim._hosts import Host, Wire
from renkei.sim._keys import sim_key
from renkei.sim._result import AllocationUse, CampaignResult, Result, SiteTally
from renkei.sim._scenario import Scenario, ScenarioSite, Series
from renkei.sim._virtual import run_virtually
from renkei.site import Offered, Site

OnProgress = Callable[[float, int], None]
"""Told how many seconds of virtual time went by, and how many trials have ended."""

_CAMPAIGN = """
[campaign]
name = "{name}"
team = "{team}"
seed = {seed}
stop = {{ trials = {trials}, reached = {stops} }}
[space]
{space}
[[objective]]
output = "distance"
goal = "minimize"
reach = {reach}
{sources}
[planner]
name = "{planner}"
parallel = {parallel}
"""
_SOURCE = """
[[source]]
procedure = "{procedure}"
counts = {counts}
price = {price}
parallel = {parallel}
sites = {sites}
fixed = {{ target = {target} }}
"""


def run_scenario(
    scenario: Scenario,
    *,
    seed: int | None = None,
    joint: bool = True,
    alone_at: Mapping[str, str] | None = None,
    folder: Path | None = None,
    on_progress: OnProgress | None = None,
) -> Result:
    """Run a scenario from its beginning until its time is over or all of its campaigns are.

    Args:
        scenario: What to run.
        seed: In place of the scenario's own.
        joint: Whether campaigns may use every site that contributes to their team. Otherwise each is confined to the
            best single one (`Scenario.best_site`), which is given what all of them together contribute: enough for as
            many runs.
        alone_at: Sites for campaigns that are confined, by the name of their series, instead of the best ones.
        folder: Where ledgers are kept; left out, they are thrown away.
        on_progress: Told now and then how far it is.

    Raises:
        UsageError: A confined campaign has no site at the beginning.
    """
    place = folder or Path(tempfile.mkdtemp(prefix="renkei-sim-"))
    seed = scenario.scenario.seed if seed is None else seed
    try:
        world = _World(scenario, seed, None if joint else dict(alone_at or {}), place, on_progress or _ignore)
        run_virtually(world.run, seed)
        return world.result
    finally:
        if folder is None:
            shutil.rmtree(place, ignore_errors=True)


class _World:
    def __init__(
        self, scenario: Scenario, seed: int, alone_at: dict[str, str] | None, folder: Path, on_progress: OnProgress
    ) -> None:
        self._scenario, self._seed, self._folder, self._on_progress = scenario, seed, folder, on_progress
        self._alone_at = alone_at
        self._specs = {
            name: _spec(name, land.parameters)
            for of, land in scenario.procedures.items()
            for name in (of, *(n for n, each in scenario.approximations.items() if each.of == of))
        }
        self._targets = self._number_targets()
        self._hosts: dict[str, Host] = {}
        self._n_ended = self._n_told = 0
        self._n_total = sum(scenario.trials(series) * series.times for series in scenario.campaign)
        self._version = 0
        self._agreement, self._policy = self._amended("")
        self.result = Result(scenario.scenario.name, seed, alone_at is None, scenario.scenario.time_s)
        self.result.sites = {name: SiteTally(name) for name in scenario.sites}

    def _luck(self, what: str) -> random.Random:
        return random.Random(f"{self._seed}/{what}")  # noqa: S311 - a simulation

    def _number_targets(self) -> dict[int, tuple[Series, tuple[float, ...]]]:
        """Return the hidden point of every campaign by its number, which is a parameter of its runs."""
        found: dict[int, tuple[Series, tuple[float, ...]]] = {}
        for series in self._scenario.campaign:
            land = self._scenario.procedures[series.procedure]
            low, high = land.radius, 1 - land.radius
            for n in range(series.times):
                draw = self._luck(f"target/{series.name}/{n}").uniform
                first = draw(low, max(low, high - land.infeasible))  # where it works
                found[len(found)] = series, (first, *(draw(low, high) for _ in range(land.parameters - 1)))
        return found

    # ---- it goes by --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        scenario, time_s = self._scenario, self._scenario.scenario.time_s
        with anyio.move_on_at(time_s) as watch:
            async with anyio.create_task_group() as world:
                for name, site in scenario.sites.items():
                    self._hosts[name] = self._host(name, site)
                    if not site.poll_s:
                        world.start_soon(self._hosts[name].engine.serve)
                    if scenario.joins_s(site.institution) == 0.0:
                        world.start_soon(self._hosts[name].run)
                for party, at_s in self._accessions():
                    if at_s < time_s:
                        world.start_soon(self._accede, party, at_s, world)
                async with anyio.create_task_group() as teams:
                    for series in scenario.campaign:
                        teams.start_soon(self._work, series, teams)
                await self._settled()
                self.result.ended_s = anyio.current_time()
                world.cancel_scope.cancel()
        if watch.cancelled_caught:
            self.result.ended_s = time_s
        self._take_stock()

    async def _settled(self) -> None:
        """Return when no site has a run that goes on."""
        while any(host.site is not None and host.site.runs.live for host in self._hosts.values()):
            await anyio.sleep(600.0)

    def _accessions(self) -> list[tuple[str, float]]:
        return [(name, party.accedes_s) for name, party in self._scenario.parties.items() if party.accedes_s]

    async def _accede(self, party: str, at_s: float, world: TaskGroup) -> None:
        """A party joins: every site takes the next version of the agreement, and the party's own sites open."""
        await anyio.sleep_until(at_s)
        self._agreement, self._policy = self._amended(self._agreement.digest)
        for host in self._hosts.values():
            if host.site is not None:
                await host.site.amend(self._agreement, self._policy)
        for name, site in self._scenario.sites.items():
            if self._scenario.institutions[site.institution].party == party:
                world.start_soon(self._hosts[name].run)

    async def _work(self, series: Series, teams: TaskGroup) -> None:
        """Make the campaigns of a series, one after another or each at its own time."""
        numbers = [number for number, (each, _) in self._targets.items() if each is series]
        begins_s, every_s = series.begins_s or 0.0, series.every_s
        for n, (name, number) in enumerate(zip(series.names, numbers, strict=True)):
            await anyio.sleep_until(begins_s + n * (every_s or 0.0))
            if every_s is None:
                await self._search(series, name, number)
            else:
                teams.start_soon(self._search, series, name, number)

    async def _search(self, series: Series, name: str, number: int) -> None:
        clock = SimClock(self._luck(f"campaign/{name}"))
        file = self._file(series, name, number)
        home = self._scenario.teams[series.team].institutions[0]
        wires = {site: self._wire(site, home) for source in file.sources for site in source.sites}
        descriptions: dict[str, Description] = {}
        # Nobody can begin a campaign while all sites of a source are down.
        while not all(descriptions.keys() & {*source.sites} for source in file.sources):
            for site, wire in wires.items():
                with contextlib.suppress(Unreachable):
                    descriptions[site] = await wire.describe(file.team)
        began_s = anyio.current_time()
        routes = routes_over(file, descriptions, wires)
        campaign = Campaign(
            file, self._folder / "campaigns" / name, sim_key(home), self._agreement.digest, clock,
            sources=planner_sources(file, routes),
        )  # fmt: skip
        campaign.ledger.relax()
        state, n_known = "running", 0

        def count() -> None:
            nonlocal n_known
            n_ended = len(campaign.trials.rows) - len(campaign.trials.pending)
            self._count(n_ended - n_known)
            n_known = n_ended

        try:
            state, _ = await Runner(campaign, wires, descriptions, count).run()
        finally:
            result = CampaignResult.of(campaign, series.name, state, began_s, anyio.current_time())
            self.result.campaigns.append(result)
            for row in campaign.runs.rows.values():
                self.result.sites[row.site].count(row)
            with anyio.CancelScope(shield=True):
                await campaign.ledger.close()
            self._digest(campaign.ledger)

    def _count(self, n: int) -> None:
        self._n_ended += n
        if self._n_ended >= self._n_told + self._n_total / 500:
            self._n_told = self._n_ended
            self._on_progress(anyio.current_time(), self._n_ended)

    # ---- what there is -----------------------------------------------------------------------------------------

    def _wire(self, site: str, home: str) -> Wire:
        scenario = self._scenario
        there = scenario.institutions[scenario.sites[site].institution].party
        is_near = there == scenario.institutions[home].party
        return Wire(self._hosts[site], scenario.scenario.within_s if is_near else scenario.scenario.between_s)

    def _sites_of(self, series: Series, work: str) -> list[str]:
        """Return where a campaign may run its procedure, or an approximation of it."""
        scenario = self._scenario
        if self._alone_at is not None:
            own = self._alone_at.get(series.name) or scenario.best_site(series)
            return [own] if work in scenario.sites[own].works else []
        now = anyio.current_time()
        return [s for s in scenario.sites_for(series, work) if scenario.joins_s(scenario.sites[s].institution) <= now]

    def _sources(self, series: Series, number: int) -> str:
        """Return the tables [[source]] of a campaign."""
        approximations = self._scenario.approximations
        return "".join(
            _SOURCE.format(
                procedure=work,
                counts=str(work == series.procedure).lower(),
                price=1.0 if work == series.procedure else approximations[work].price,
                parallel=series.parallel if work == series.procedure else series.informing,
                sites=sites,
                target=number,
            )
            for work in series.works
            if (sites := self._sites_of(series, work))
        )

    def _file(self, series: Series, name: str, number: int) -> CampaignFile:
        land = self._scenario.procedures[series.procedure]
        names = _names(land.parameters)
        return parse_campaign(
            _CAMPAIGN.format(
                name=name,
                team=series.team,
                seed=self._luck(f"seed/{name}").randrange(2**31),
                trials=self._scenario.trials(series),
                stops=str(not series.goes_on).lower(),
                space="\n".join(f'{x} = {{ type = "real", low = 0.0, high = 1.0 }}' for x in names),
                reach=land.radius**land.power,
                sources=self._sources(series, number),
                planner=series.planner,
                parallel=series.parallel
                + series.informing * any(self._sites_of(series, a) for a in series.approximations),
            )
        )

    def _host(self, name: str, site: ScenarioSite) -> Host:
        scenario = self._scenario
        works = {work: scenario.work(work) for work in site.works}
        machine = Machine(
            slots=site.slots,
            queue_s=site.queue_s or 0.0,
            queue_spread=site.queue_spread,
            fails=site.fails,
            maintenance=tuple((each.at_s, each.at_s + each.lasts_s) for each in site.maintenance),
            lengths={name: (work.run_s / site.speed, work.spread) for name, work in works.items()},
            limit=sys.maxsize,  # they wait in the machine's own queue
            poll_s=site.poll_s or 0.0,
        )
        engine = Engine(machine, self._measure, self._luck(f"engine/{name}"))
        clock = SimClock(self._luck(f"site/{name}"))
        charge = site.charge
        offers = [
            Offered(
                self._specs[name], "sim:run", charge.unit, charge.per_run or 0.0, charge.per_hour or 0.0,
                work.time_limit_s,
            )
            for name, work in works.items()
        ]  # fmt: skip
        allocations = [*self._allocations(name).items()]

        def make() -> Site:
            executor = SimExecutor(engine, clock)
            made = Site(
                name, sim_key(site.institution), self._agreement, self._policy, offers, allocations, executor,
                self._folder / "sites" / name, clock,
            )  # fmt: skip
            made.ledger.relax()
            return made

        losses = sorted(
            (loss.at_s, math.inf if loss.lasts_s is None else loss.at_s + loss.lasts_s)
            for loss in scenario.loss
            if loss.site == name
        )
        return Host(name, make, engine, losses)

    def _allocations(self, site: str) -> dict[str, Quantity]:
        """Return what each team may use at a site. Where teams work alone, all that they have is there."""
        scenario = self._scenario
        if self._alone_at is None:
            return dict(scenario.sites[site].gives)
        found: dict[str, float] = {}
        moved: set[tuple[str, str]] = set()  # by team and site: each goes to one campaign alone
        for series in scenario.campaign:
            to = self._sites_of(series, series.procedure)[0]
            for each in scenario.sites_for(series, *series.works):
                if (series.team, each) not in moved:
                    moved.add((series.team, each))
                    n_runs = scenario.sites[each].gives[series.team].value / self._price(series, each)
                    if to == site:
                        found[series.team] = found.get(series.team, 0.0) + n_runs * self._price(series, site)
        return {team: Quantity.of(value, scenario.sites[site].charge.unit) for team, value in found.items()}

    def _price(self, series: Series, site: str) -> float:
        """Return what as much as a run of a campaign's procedure is worth costs at a site, at its mean length.

        Where a site offers approximations of it alone, that is as many of their runs as planners take to cost as much.
        """
        there = self._scenario.sites[site]
        name = next(each for each in series.works if each in there.works)
        work = self._scenario.work(name)
        hours = work.run_s / there.speed * math.exp(work.spread**2 / 2) / 3600
        charged = (there.charge.per_run or 0.0) + (there.charge.per_hour or 0.0) * hours
        return charged if name == series.procedure else charged / self._scenario.approximations[name].price

    def _measure(self, procedure: str, point: Mapping[str, Value], chance: random.Random) -> dict[str, float] | None:
        del chance  # measurements have no noise
        number = int(point["target"])
        series, hidden = self._targets[number]
        land = self._scenario.procedures[series.procedure]
        here = [float(point[name]) for name in self._names[land.parameters]]
        if procedure != series.procedure:
            return {"distance": math.dist(here, self._mistaken(procedure, number)) ** land.power}
        return None if here[0] > 1 - land.infeasible else {"distance": math.dist(here, hidden) ** land.power}

    @cache  # noqa: B019 - a world is soon over
    def _mistaken(self, approximation: str, number: int) -> list[float]:
        """Return the point that an approximation takes for the hidden one of a campaign."""
        _, hidden = self._targets[number]
        gauss = self._luck(f"off/{approximation}/{number}").gauss
        way = [gauss(0.0, 1.0) for _ in hidden]
        off = self._scenario.approximations[approximation].off / math.hypot(*way)
        return [x + off * step for x, step in zip(hidden, way, strict=True)]

    @cached_property
    def _names(self) -> dict[int, list[str]]:
        return {n: _names(n) for n in {land.parameters for land in self._scenario.procedures.values()}}

    def _amended(self, previous: str) -> tuple[Agreement, Policy]:
        """Return the agreement among those that are there now, and what sites decide by under it."""
        scenario, now = self._scenario, anyio.current_time() if self._version else 0.0
        self._version += 1
        here = {name: each for name, each in scenario.institutions.items() if scenario.joins_s(name) <= now}
        text = new_agreement_text(
            scenario.scenario.name,
            starts=date(2026, 1, 1),
            ends=date(2035, 12, 31),
            parties={
                name: Party(name=party.name, key=sim_key(name).public.text)
                for name, party in scenario.parties.items()
                if (party.accedes_s or 0.0) <= now
            },
            institutions={
                name: Institution(name=each.name, party=each.party, key=sim_key(name).public.text)
                for name, each in here.items()
            },
            teams={
                name: Team(name=team.name, institutions=tuple(each for each in team.institutions if each in here))
                for name, team in scenario.teams.items()
            },
            sites={
                name: AgreementSite(institution=site.institution)
                for name, site in scenario.sites.items()
                if site.institution in here
            },
            rules=(OPEN_RESEARCH,),
            version=self._version,
            previous=previous,
            illustrative=scenario.scenario.illustrative,
        )
        agreement = parse_agreement(text)
        return agreement, Policy(agreement.rules, SitePolicies(DEFAULT_POLICY, [*self._specs.values()]))

    # ---- what came of it ---------------------------------------------------------------------------------------

    def _take_stock(self) -> None:
        for name, host in self._hosts.items():
            if host.last is None:
                continue
            self._digest(host.last.ledger)
            for row in host.last.books.rows.values():
                granted, spent, reserved = (micro / MICRO for micro in (-row.granted, row.spent, row.reserved))
                self.result.allocations.append(AllocationUse(name, row.team, row.unit, granted, spent, reserved))
        self.result.campaigns.sort(key=lambda each: each.name)

    def _digest(self, ledger: Ledger) -> None:
        with LedgerReader(ledger.path) as reader:
            self.result.n_records += reader.size
            _, note = max(reader.notes().items())
        self.result.digests[ledger.owner] = hashlib.sha256(note.encode()).hexdigest()


def _ignore(time_s: float, n_ended: int) -> None:
    del time_s, n_ended


def _names(n: int) -> list[str]:
    return [f"x{i}" for i in range(1, n + 1)]


def _spec(name: str, n: int) -> ProcedureSpec:
    """Return what a procedure takes and gives: a point, and which campaign's hidden point it is compared with."""
    parameters = (*(Real(x, 0.0, 1.0) for x in _names(n)), Integer("target", 0, 1_000_000))
    return ProcedureSpec(name, "1.0", "Compare a point with a hidden one.", parameters, (Output("distance"),))
