"""The small scenario: three sites, two campaigns, and whatever can go wrong, drawn from a seed."""

import hashlib
import random
import shutil
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import cast

import anyio
from anyio.abc import TaskGroup

from renkei.clock import Clock
from renkei.federation import SiteHandle
from renkei.ledger import LedgerReader
from renkei.ledger.merkle import root_of
from renkei.model.agreement import Agreement
from renkei.model.campaign import Campaign as CampaignFile
from renkei.model.campaign_file import parse_campaign
from renkei.model.procedure import Output, ProcedureSpec
from renkei.model.quantity import Quantity
from renkei.model.space import Real, Value
from renkei.policy import DEFAULT_POLICY, Policy, SitePolicies
from renkei.sim._clock import EPOCH, SimClock
from renkei.sim._disk import Disk
from renkei.sim._engine import TOO_LONG, Engine, Machine, SimExecutor
from renkei.sim._keys import sim_key
from renkei.sim._network import Line, Reply, SimSite
from renkei.sim._processes import CampaignProcess, Fate, SiteProcess
from renkei.sim._referee import (
    PromiseError,
    Referee,
    SiteTerms,
    judge_campaign,
    judge_executions,
    judge_requests,
    judge_site,
)
from renkei.sim._versions import ACCEDING, INSTITUTIONS, TEAMS, Signed, agreement_at, amended, original
from renkei.sim._virtual import run_virtually
from renkei.sim._wire import http_site
from renkei.site import AgreementSource, Offered, Site
from renkei.site._terms import AgreementWatch
from renkei.trust.keys import PublicKey
from renkei.trust.revocation import Given, Notice

SPEC = ProcedureSpec("lab.measure", "1.0", "Measure.", (Real("x", 0.0, 1.0),), (Output("value"),))
POLICY = (
    DEFAULT_POLICY
    + """
@id("sim.hot")
@reason("Nothing above 0.9 runs here.")
forbid (principal, action == Action::"lab.measure", resource)
when { context.parameters.x.greaterThan(decimal("0.9")) };
"""
)
ASKING_POLICY = """
@id("sim.agreement-allows")
permit (principal, action == Action::"lab.measure", resource)
when { context.parameters.x.greaterThanOrEqual(decimal("0.2")) };

@id("sim.cold")
@ask("Below 0.2 a person looks at it.")
permit (principal, action == Action::"lab.measure", resource)
when { context.parameters.x.lessThan(decimal("0.2")) };
"""
CALM_S = 3_000.0
"""From then on nothing is lost or cut, so that what can end does."""
PATIENCE_S = 400_000.0
"""When everything must be over."""

_CAMPAIGN = """
[campaign]
name = "{name}"
team = "{team}"
seed = {seed}
stop = {{ trials = {trials} }}
retries = {retries}
[space]
x = {{ type = "real", low = 0.0, high = 1.0 }}
[[objective]]
output = "value"
goal = "minimize"
{goal}
[[source]]
procedure = "lab.measure"
[planner]
name = "random"
parallel = {parallel}
"""


@dataclass
class Outcome:
    """What came of one seed.

    Args:
        seed: The seed.
        digests: SHA-256 over all records, by ledger.
        counts: What happened, in numbers.
        problem: The promise that was broken, or nothing.
        trace: Where an error came from that nobody expected.
    """

    seed: int
    digests: dict[str, str] = field(default_factory=dict[str, str])
    counts: Counter[str] = field(default_factory=Counter[str])
    problem: str = ""
    trace: str = ""


def run_seed(seed: int, folder: Path | None = None) -> Outcome:
    """Run the small scenario with everything that a seed rules; ledgers are kept if `folder` is given."""
    place = folder or Path(tempfile.mkdtemp(prefix="renkei-sim-", dir=_quick_place()))
    outcome = Outcome(seed)
    try:
        run_virtually(lambda: _Small(seed, place, outcome).run(), seed)
    except* PromiseError as broken:
        outcome.problem = str(_first(broken))
    except* Exception as fault:  # noqa: BLE001 - whatever the code raises is a finding
        outcome.problem = f"{type(_first(fault)).__name__}: {_first(fault)}"
        outcome.trace = "".join(traceback.format_exception(_first(fault)))
    finally:
        if folder is None:
            shutil.rmtree(place, ignore_errors=True)
    return outcome


def _quick_place() -> str | None:
    memory = Path("/dev/shm")  # noqa: S108 - a new folder in it
    return str(memory) if memory.is_dir() else None


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


class _Small:
    def __init__(self, seed: int, folder: Path, outcome: Outcome) -> None:
        self._seed, self._folder, self._outcome = seed, folder, outcome
        self._referee = Referee()
        self._chance = self._luck("scenario")
        self._is_rough = self._chance.random() < 0.9
        self.sites: dict[str, SiteProcess] = {}
        self.campaigns: list[CampaignProcess] = []
        self._lines: list[Line] = []
        self._n_over_http = 0
        self._agreement = original().agreement
        for agreement in (self._agreement, amended().agreement):
            self._referee.agreements[agreement.digest] = agreement
        self._texts: dict[str, str] = {}
        """The policies of each site."""
        self._accession: float | None = None
        """When the agreement is amended, if it is."""

    def _luck(self, what: str) -> random.Random:
        return random.Random(f"{self._seed}/{what}")  # noqa: S311 - a simulation

    async def run(self) -> None:
        chance = self._chance
        async with anyio.create_task_group() as world:
            for name in INSTITUTIONS:
                self._begin_site(name, world)
            for n, (team, members) in enumerate(TEAMS.items()):
                self.campaigns.append(self._campaign(n, team, members[0]))
            world.start_soon(self._calm_down)
            world.start_soon(self._decide)
            if self._is_rough and chance.random() < 0.2:
                world.start_soon(self._revoke, chance.choice([*INSTITUTIONS]), chance.uniform(100, 3000))
            if self._is_rough and chance.random() < 0.15:
                world.start_soon(self._black_out, chance.uniform(10, 3000))
            if self._is_rough and chance.random() < 0.3:
                world.start_soon(self._meddle)
            with anyio.move_on_after(PATIENCE_S) as patience:
                async with anyio.create_task_group() as all_of_them:
                    for campaign in self.campaigns:
                        all_of_them.start_soon(self._drive, campaign, world)
                    if chance.random() < 0.25:
                        all_of_them.start_soon(self._accede, world)
                await self._drained()
            if patience.cancelled_caught:
                raise PromiseError(f"Not everything was over after {PATIENCE_S:g} s.")
            world.cancel_scope.cancel()
        self._judge()

    async def _calm_down(self) -> None:
        await anyio.sleep(CALM_S)
        for site in self.sites.values():
            site.engine.machine = _calm(site.engine.machine)
        for line in self._lines:
            line.loses = line.repeats = line.stalls = 0.0

    async def _decide(self) -> None:
        """People approve or deny what is parked, when they come to it."""
        luck = self._luck("people")
        while True:
            await anyio.sleep(luck.expovariate(1 / 200.0))
            for host in self.sites.values():
                for run in [*(host.site.runs.parked if host.site is not None else ())]:
                    host.deliver(0.0, lambda site, run=run: site.decide(run, "anna", luck.random() < 0.7), Reply())

    async def _meddle(self) -> None:
        """People stop campaigns, to resume them later, and cancel runs at their sites."""
        luck = self._luck("meddling")
        stops, cancels = luck.random() < 0.4, luck.random() < 0.4
        while anyio.current_time() < CALM_S:
            await anyio.sleep(luck.expovariate(1 / 300.0))
            if stops:
                luck.choice(self.campaigns).stop()
            host = luck.choice([*self.sites.values()])
            if cancels and host.site is not None and host.site.runs.live:
                run = luck.choice([*host.site.runs.live])
                host.deliver(luck.uniform(0, 1), lambda site, run=run: site.cancel_run(run, "anna"), Reply())

    async def _drive(self, campaign: CampaignProcess, world: TaskGroup) -> None:
        world.start_soon(campaign.disk.serve)
        await campaign.run()

    async def _black_out(self, at: float) -> None:
        """Everything goes down at once, and campaigns may be back before any site is."""
        luck = self._luck("black out")
        await anyio.sleep(at)
        self._outcome.counts["black-outs"] += 1
        for host in self.sites.values():
            host.fate.kill(luck.uniform(0, 1200))
        for campaign in self.campaigns:
            if luck.random() < 0.8:
                campaign.fate.kill(luck.uniform(0, 60))

    async def _accede(self, world: TaskGroup) -> None:
        """A third nation accedes; the others take that up one after another, and it begins a campaign of its own."""
        luck = self._luck("accession")
        await anyio.sleep(luck.uniform(10, 2000))
        self._accession = anyio.current_time()
        self._begin_site(ACCEDING, world)
        for host in [*self.sites.values()]:
            if host.name != ACCEDING:
                world.start_soon(self._amend, host, luck.uniform(0, 900), amended())
        await anyio.sleep(luck.choice((0.0, 300.0)))
        campaign = self._campaign(len(self.campaigns), "fusion", ACCEDING)
        self.campaigns.append(campaign)
        await self._drive(campaign, world)

    async def _amend(self, host: SiteProcess, after: float, version: Signed) -> None:
        """Put the next version of the agreement where a site looks for it."""
        await anyio.sleep(after)
        path = version.put(self._folder / host.name)

        async def look(site: Site) -> None:
            await AgreementWatch(AgreementSource(path, self._policy_of(host.name)), site, host.clock).look()

        host.deliver(0.0, look, Reply())  # one that is down finds it when it opens

    def _policy_of(self, site: str) -> Callable[[Agreement], Policy]:
        return lambda agreement: Policy(agreement.rules, _policies(self._texts[site]))

    async def _revoke(self, institution: str, at: float) -> None:
        """A party gives notice; every site takes it in, when it is up."""
        await anyio.sleep(at)
        agreement = self._agreement
        key = PublicKey.parse(agreement.institutions[institution].key).id
        notice = Notice(agreement.name, agreement.version, institution, key, EPOCH + at, "simulated")
        given = Given(notice, "us", hashlib.sha256(institution.encode()).hexdigest())
        while True:
            for host in self.sites.values():
                host.deliver(0.0, lambda site: site.take_notice(given), Reply())
            await anyio.sleep(60.0)

    async def _drained(self) -> None:
        while any(run not in self._referee.ended for run in self._referee.accepted):
            await anyio.sleep(10.0)

    def _begin_site(self, name: str, world: TaskGroup) -> None:
        host = self.sites[name] = self._site(name, world)
        (amended() if name == ACCEDING else original()).put(self._folder / name)
        world.start_soon(host.engine.serve)
        world.start_soon(host.disk.serve)
        world.start_soon(host.run)

    def _site(self, name: str, world: TaskGroup) -> SiteProcess:
        luck = self._luck(f"site/{name}")
        rough = self._is_rough
        begin = luck.uniform(0, 3000)
        machine = Machine(
            slots=luck.choice((1, 2, 4)),
            run_s=luck.choice((2.0, 20.0, 120.0)),
            queue_s=luck.choice((0.0, 30.0, 300.0)),
            survives=luck.random() < 0.5,
            fails=luck.choice((0.0, 0.1)) if rough else 0.0,
            loses=luck.choice((0.0, 0.05)) if rough else 0.0,
            refuses=luck.choice((0.0, 0.1)) if rough else 0.0,
            maintenance=((begin, begin + 600.0),) if rough and luck.random() < 0.3 else (),
        )
        engine = Engine(machine, _bowl, luck)
        allocation = Quantity.of(luck.choice((5.0, 60.0, 1000.0)), "run" if luck.random() < 0.5 else "node-hour")
        per_hour = 0.0 if allocation.unit == "run" else luck.choice((1.0, 20.0))
        fate = self._fate(luck, 400.0)
        policies = self._texts[name] = luck.choice((DEFAULT_POLICY, DEFAULT_POLICY, POLICY, ASKING_POLICY))
        limit_s = luck.choice((600.0, 600.0, 30.0))
        offer = Offered(SPEC, "lab:measure", allocation.unit, 0.0 if per_hour else 1.0, per_hour, time_limit_s=limit_s)
        self._referee.terms[name] = SiteTerms(
            engine.seconds, per_hour, forbids_hot=policies is POLICY, asks_cold=policies is ASKING_POLICY
        )

        def make(clock: SimClock, executor: SimExecutor) -> Site:
            agreement = agreement_at(self._folder / name)
            allocations = [(team, allocation) for team in TEAMS]
            policy = self._policy_of(name)(agreement)
            return Site(
                name, sim_key(name), agreement, policy, [offer], allocations, executor, self._folder / name, clock
            )

        return SiteProcess(name, make, engine, fate, world, self._referee.watch, self._disk(luck))

    def _disk(self, luck: random.Random) -> Disk:
        if not self._is_rough or luck.random() >= 0.1:
            return Disk()
        begin = luck.uniform(0, 2000)
        return Disk(((begin, begin + luck.uniform(1, 600)),))

    def _campaign(self, n: int, team: str, institution: str) -> CampaignProcess:
        luck = self._luck(f"campaign/{team}/{institution}")
        file = _file(
            name=f"search-{n}", team=team, seed=self._seed, trials=luck.randint(4, 16), retries=luck.randint(0, 5),
            parallel=luck.choice((1, 4, 8)), goal="reach = 0.005" if luck.random() < 0.2 else "",
        )  # fmt: skip
        lines: dict[str, Line] = {}
        key, knows_after = sim_key(institution), luck.uniform(0, 900)
        over_http = {name for name in (*INSTITUTIONS, ACCEDING) if luck.random() < 0.06}
        for site in (*INSTITUTIONS, ACCEDING):
            cut = luck.uniform(0, 2000)
            lines[site] = Line(
                self._luck(f"line/{institution}/{site}"),
                loses=luck.choice((0.0, 0.02, 0.2)) if self._is_rough else 0.0,
                repeats=luck.choice((0.0, 0.1)) if self._is_rough else 0.0,
                cuts=((cut, cut + luck.uniform(10, 600)),) if self._is_rough and luck.random() < 0.3 else (),
                stalls=luck.choice((0.0, 0.0, 0.05)) if self._is_rough else 0.0,
            )
        self._lines += lines.values()
        self._n_over_http += len(over_http)

        def reach(clock: Clock) -> Mapping[str, SiteHandle]:
            """Return handles to the sites of that version of the agreement that the campaign's home has by now."""
            is_told = self._accession is not None and anyio.current_time() >= self._accession + knows_after
            known = [name for name in self.sites if name != ACCEDING or is_told or institution == ACCEDING]
            return {
                name: http_site(self.sites[name], lines[name], key, sim_key(name).public.text, clock)
                if name in over_http
                else SimSite(self.sites[name], lines[name], clock, institution)
                for name in known
            }

        return CampaignProcess(
            file, self._folder / f"campaign-{n}", key, self._agreement.digest, self._fate(luck, 300.0), reach,
            self._disk(luck),
        )  # fmt: skip

    def _fate(self, luck: random.Random, steps: float) -> Fate:
        n = luck.choice((0, 1, 2, 5)) if self._is_rough else 0
        lives = [1 + int(luck.expovariate(1.0 / luck.choice((steps, steps / 10, steps / 100)))) for _ in range(n)]
        drift = luck.gauss(0.0, 1e-5)
        return Fate(luck, lives, down_s=luck.choice((1.0, 60.0)), skew_s=luck.gauss(0.0, 1.0), drift=drift)

    def _judge(self) -> None:
        counts = self._outcome.counts
        sites = {name: self._folder / name / "ledger.db" for name in self.sites}
        said: dict[str, list[bytes]] = {}
        for name, host in self.sites.items():
            judge_executions(host.engine.executions, self._referee)
            said[name] = judge_site(sites[name], sim_key(name).public)
            counts["site crashes"] += host.n_crashes
            counts["disks full"] += host.n_full
        for campaign in self.campaigns:
            ledger = campaign.directory / "ledger.db"
            counts.update(judge_campaign(ledger, campaign.key, said, campaign.knows, self._referee))
            counts["campaign crashes"] += campaign.n_crashes
            counts["disks full"] += campaign.n_full
            counts["campaigns stopped"] += campaign.n_stopped
        judge_requests(self._referee)
        counts["runs cancelled"] += sum(ended.outcome == "cancelled" for ended in self._referee.ended.values())
        counts["late messages"] += sum(line.n_stalled for line in self._lines)
        counts["sites over HTTP"] += self._n_over_http
        counts["accessions"] += self._accession is not None
        counts["institutions revoked"] += self._referee.has_revoked
        counts["runs too long"] += sum(ended.message == TOO_LONG for ended in self._referee.ended.values())
        counts["runs"] = len(self._referee.accepted)
        for path in [*sites.values(), *(c.directory / "ledger.db" for c in self.campaigns)]:
            with LedgerReader(path) as reader:
                hashes = reader.leaf_hashes(reader.size)
                self._outcome.digests[path.parent.name] = hashlib.sha256(root_of(hashes)).hexdigest()
                counts["records"] += reader.size


def _bowl(procedure: str, point: Mapping[str, Value], chance: random.Random) -> dict[str, float] | None:
    del procedure  # there is one
    x = float(point["x"])
    return None if x > 0.95 else {"value": (x - 0.3) ** 2 + chance.gauss(0.0, 0.01)}


def _calm(machine: Machine) -> Machine:
    return Machine(machine.slots, machine.run_s, machine.run_spread, machine.queue_s, machine.queue_spread)


@lru_cache(maxsize=8)
def _policies(text: str) -> SitePolicies:
    return SitePolicies(text, [SPEC])


def _file(**values: object) -> CampaignFile:
    return parse_campaign(_CAMPAIGN.format(**values))
