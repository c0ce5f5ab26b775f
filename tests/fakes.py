"""A federation in miniature: an executor that does as it is told, and sites, requests and campaigns around it."""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import anyio
import msgspec

from hand_clock import HandClock
from renkei.campaign import Campaign, Runner
from renkei.clock import Clock
from renkei.executors import Executor, Job, JobEnd, Report
from renkei.federation import (
    CANCEL_BATCH,
    RUN_BATCH,
    CancelBatch,
    Reports,
    RunBatch,
    RunRequest,
    SiteHandle,
)
from renkei.ids import IdMint
from renkei.model.agreement import Agreement, AgreementSite, Institution, Party, Team, parse_agreement
from renkei.model.agreement_text import OPEN_RESEARCH, new_agreement_text
from renkei.model.campaign import Campaign as CampaignFile
from renkei.model.campaign_file import parse_campaign
from renkei.model.procedure import Output, ProcedureSpec
from renkei.model.quantity import MICRO, Quantity
from renkei.model.records import Record, read_record
from renkei.model.rule import Rule
from renkei.model.space import Observation, Real
from renkei.policy import DEFAULT_POLICY, Policy, SitePolicies
from renkei.site import AgreementSource, Offered, Site
from renkei.trust.envelope import Envelope, seal
from renkei.trust.keys import Key


class HeldClock(HandClock):
    """A clock whose blocking calls (commits, above all) wait as long as a test holds them."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        super().__init__(now)
        self._free = anyio.Event()
        self._free.set()

    def hold(self) -> None:
        if self._free.is_set():
            self._free = anyio.Event()

    def release(self) -> None:
        self._free.set()

    async def blocking(self, call: Callable[[], Any], *, is_brief: bool = False) -> Any:
        await self._free.wait()
        return call()


class RunningClock(HandClock):
    """A clock on which time runs while anybody sleeps, up to whoever wakes first.

    It runs `PACE_S` every half millisecond, and does not jump: a commit in a thread needs some time.
    """

    PACE_S = 2.0

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        super().__init__(now)
        self._targets: list[float] = []

    async def sleep(self, seconds: float) -> None:
        target = self.time + seconds
        self._targets.append(target)
        try:
            await anyio.sleep(0.0005)
            while self.time < target:
                if target == min(self._targets):
                    self.time = min(target, self.time + self.PACE_S)
                await anyio.sleep(0.0005)
        finally:
            self._targets.remove(target)


Answer = Callable[[Job], "JobEnd | None"]


class FakeExecutor:
    """An `Executor` in which nothing ends before a test says so, or at once, as `answer` says.

    Args:
        capacity: How many jobs it takes at the same time.
        answer: How a job ends as soon as it was taken; None where it goes on.
    """

    name = "fake"

    def __init__(self, capacity: int = 1000, answer: Answer = lambda job: None) -> None:
        self.capacity, self.answer = capacity, answer
        self.most = 0
        """How many jobs it ever had at the same time."""
        self.taken: list[str] = []
        """Every run that was ever handed over, in order."""
        self.jobs: dict[str, Job] = {}
        """Those at work."""
        self.cancels: list[str] = []
        self.ignores_cancels = False
        self.evidence: dict[str, JobEnd] = {}
        self.survivors: set[str] = set()
        """Runs that `settle` takes up again instead of settling them."""
        self.problem: Exception | None = None
        """Raised by the next `submit`."""
        self.is_serving = False
        self.gate: anyio.Event | None = None
        """What `submit` waits for before it takes anything."""
        self._ends: list[JobEnd] = []
        self._wake = anyio.Event()
        self._n_reported = 0
        self._n_ended = 0

    @property
    def slots(self) -> int:
        return self.capacity

    def room(self, procedure: str) -> int:
        return self.capacity - len(self.jobs)

    async def submit(self, jobs: Sequence[Job]) -> None:
        if self.problem is not None:
            problem, self.problem = self.problem, None
            raise problem
        if self.gate is not None:
            await self.gate.wait()
        for job in jobs:
            self.taken.append(job.run)
            self.jobs[job.run] = job
        self.most = max(self.most, len(self.jobs))
        await anyio.lowlevel.checkpoint()
        for job in jobs:
            if (end := self.answer(job)) is not None:
                self._end(end)

    async def cancel(self, run: str) -> None:
        self.cancels.append(run)
        if run in self.jobs and not self.ignores_cancels:
            self._end(JobEnd(run, "cancelled", 1.0, message="cancelled"))
        await settled(5)

    async def settle(self, jobs: Sequence[Job]) -> Sequence[JobEnd]:
        self.jobs |= {job.run: job for job in jobs if job.run in self.survivors}
        gone = [job.run for job in jobs if job.run not in self.survivors]
        return [self.evidence.get(run) or JobEnd(run, "lost", retryable=True, message="no trace of it") for run in gone]

    def look(self, run: str) -> None:
        del run

    async def check(self) -> tuple[str, ...]:
        return ()

    async def serve(self, report: Report) -> None:
        self.is_serving = True
        try:
            while True:
                await self._wake.wait()
                self._wake = anyio.Event()
                ends, self._ends = self._ends, []
                if ends:
                    await report(ends)
                    self._n_reported += len(ends)
        finally:
            self.is_serving = False

    async def end(self, *ends: JobEnd) -> None:
        """Have jobs end, and return when the site has dealt with it."""
        for end in ends:
            self._end(end)
        target = self._n_ended
        with anyio.fail_after(5):
            while self._n_reported < target:
                await anyio.sleep(0)

    async def succeed(self, *runs: str, seconds: float = 1.0, value: float = 0.5, **more: Any) -> None:
        await self.end(*(JobEnd(run, "succeeded", seconds, {"value": value}, **more) for run in runs))

    def _end(self, end: JobEnd) -> None:
        self.jobs.pop(end.run, None)
        self._ends.append(end)
        self._n_ended += 1
        self._wake.set()


def succeed(job: Job) -> JobEnd:
    """An answer: every run succeeds, and its value is a bowl over x with its bottom at 0.3."""
    x = float(job.parameters["x"])
    return JobEnd(job.run, "succeeded", 1.0, {"value": (x - 0.3) ** 2})


# ---- an agreement and its sites --------------------------------------------------------------------------------


@lru_cache(maxsize=32)
def key_of(name: str) -> Key:
    return Key.generate(name)


INSTITUTIONS = {"us-lab": "us", "jp-lab": "jp", "outsider": "us"}
TEAMS = {"fusion": ("us-lab", "jp-lab"), "quantum": ("jp-lab",)}
SITES = {"us-site": "us-lab", "jp-site": "jp-lab"}


@lru_cache(maxsize=32)
def agreement(*rules: Rule, ends: date = date(2030, 12, 31), **teams: tuple[str, ...]) -> Agreement:
    """Return an agreement of two parties; `rules` stand beside the one that allows open research."""
    text = new_agreement_text(
        "us-japan",
        starts=date(2026, 1, 1),
        ends=ends,
        parties={name: Party(name=name, key=key_of(name).public.text) for name in ("us", "jp")},
        institutions={
            name: Institution(name=name, party=party, key=key_of(name).public.text)
            for name, party in INSTITUTIONS.items()
        },
        teams={name: Team(name=name, institutions=members) for name, members in (TEAMS | teams).items()},
        sites={name: AgreementSite(institution=institution) for name, institution in SITES.items()},
        rules=(OPEN_RESEARCH, *rules),
    )
    return parse_agreement(text)


def spec(name: str = "lab.measure", version: str = "1.0") -> ProcedureSpec:
    return ProcedureSpec(
        name, version, "Measure.", (Real("x", 0.0, 1.0), Real("y", 0.0, 10.0, "mm")), (Output("value"),), {"y": 5.0}
    )


def offered(name: str = "lab.measure", version: str = "1.0", **options: Any) -> Offered:
    return Offered(spec(name, version), "lab:measure", **options)


def site(
    folder: Path,
    clock: Clock,
    executor: Executor,
    *,
    name: str = "us-site",
    offers: Iterable[Offered] = (),
    allocations: Iterable[tuple[str, str]] = (("fusion", "100 run"), ("quantum", "100 run")),
    rules: Sequence[Rule] = (),
    policy: str = "",
    terms: Agreement | None = None,
    source: AgreementSource | None = None,
) -> Site:
    """Return a site that offers `lab.measure`, or what it is told to."""
    terms = terms or agreement(*rules)
    offers = tuple(offers) or (offered(),)
    policies = SitePolicies(DEFAULT_POLICY + policy, [offer.spec for offer in offers])
    amounts = [(team, Quantity.parse(text)) for team, text in allocations]
    key = key_of(terms.sites[name].institution)
    rules_and_policies = Policy(terms.rules, policies)
    return Site(
        name, key, terms, rules_and_policies, offers, amounts, executor, folder / name, clock, source=source
    )  # fmt: skip


_mint = IdMint(HandClock())


def request(**changes: Any) -> RunRequest:
    """Return a new request of team fusion for a run of `lab.measure`."""
    plain = RunRequest(_mint.new(), "fusion", "search", "trial", "lab.measure", "1.0", {"x": 0.5, "y": 1.0})
    return msgspec.structs.replace(plain, **changes)


def batch(to: Site, *requests: RunRequest, signer: str = "us-lab", **changes: Any) -> Envelope:
    """Return requests as `signer` seals them for a site just now."""
    plain = RunBatch(to.name, signer, to.ledger.clock.now(), requests)
    return seal(key_of(signer), RUN_BATCH, msgspec.json.encode(msgspec.structs.replace(plain, **changes)))


def cancellation(to: Site, *runs: str, signer: str = "us-lab", by: str = "") -> Envelope:
    cancel = CancelBatch(to.name, signer, to.ledger.clock.now(), runs, by)
    return seal(key_of(signer), CANCEL_BATCH, msgspec.json.encode(cancel))


async def said(to: Site, *requests: RunRequest, signer: str = "us-lab") -> list[Record]:
    """Submit requests and return the records that answer them."""
    return [read_record(raw) for raw in await to.submit(batch(to, *requests, signer=signer))]


def records(of: Site | Campaign, *kinds: str) -> list[Record]:
    """Return the durable records of a ledger, of some kinds only."""
    found = [read_record(raw) for raw in of.ledger.read_from(0)]
    return [record for record in found if not kinds or record.kind in kinds]


def kinds(of: Site | Campaign) -> list[str]:
    return [record.kind for record in records(of)]


def balance(of: Site, team: str = "fusion", unit: str = "run") -> tuple[float, float, float]:
    """Return what a team has available, reserved and spent, in units; checks that the books add up."""
    row = of.books.rows[f"{team} {unit}"]
    assert row.granted + row.available + row.reserved + row.spent == 0
    return row.available / MICRO, row.reserved / MICRO, row.spent / MICRO


@asynccontextmanager
async def listening(to: Site, campaign: str = "search") -> AsyncGenerator[list[Record]]:
    """Follow a campaign's reports; the list fills with the records that it is told."""
    heard: list[Record] = []

    async def listen(stream: Any) -> None:
        async for reports in stream:
            heard.extend(read_record(raw) for raw in reports)

    async with to.follow("fusion", campaign) as stream, anyio.create_task_group() as tasks:
        tasks.start_soon(listen, stream)
        await anyio.sleep(0)
        yield heard
        tasks.cancel_scope.cancel()


async def settled(rounds: int = 20) -> None:
    """Let every other task go on until it waits for something."""
    for _ in range(rounds):
        await anyio.sleep(0)


async def until(is_so: Callable[[], object], seconds: float = 10.0) -> None:
    with anyio.fail_after(seconds):
        while not is_so():
            await anyio.sleep(0.001)


# ---- campaigns -------------------------------------------------------------------------------------------------

CAMPAIGN = """
[campaign]
name = "search"
team = "fusion"
seed = 7
stop = {{ {stop} }}
retries = {retries}
[space]
{space}
[[objective]]
output = "value"
goal = "minimize"
{objective}
[[source]]
procedure = "lab.measure"
[planner]
name = "{planner}"
parallel = {parallel}
"""
PLANE = 'x = { type = "real", low = 0.0, high = 1.0 }\ny = { type = "real", low = 0.0, high = 1.0, unit = "cm" }'


def campaign_file(
    stop: str = "trials = 8",
    *,
    retries: int = 3,
    space: str = PLANE,
    objective: str = "",
    planner: str = "random",
    parallel: int = 3,
    folder: Path = Path(),
    more: str = "",
) -> CampaignFile:
    text = CAMPAIGN.format(
        stop=stop, retries=retries, space=space, objective=objective, planner=planner, parallel=parallel
    )
    return parse_campaign(text + more, folder=folder)


def open_campaign(
    file: CampaignFile, folder: Path, clock: Clock, warm: Sequence[Observation] = (), digest: str = "a" * 64
) -> Campaign:
    return Campaign(file, folder / "campaign", key_of("us-lab"), digest, clock, warm)


async def runner_over(campaign: Campaign, *sites: SiteHandle) -> Runner:
    descriptions = {site.name: await site.describe(campaign.file.team) for site in sites}
    return Runner(campaign, {site.name: site for site in sites}, descriptions)


@asynccontextmanager
async def federation(
    folder: Path, clock: Clock, us: FakeExecutor, jp: FakeExecutor, **options: Any
) -> AsyncGenerator[tuple[Site, Site]]:
    """Open two sites; options whose name begins with `us_` or `jp_` are for one of them."""
    both = {key: value for key, value in options.items() if key[:3] not in ("us_", "jp_")}
    mine, theirs = ({k[3:]: v for k, v in options.items() if k[:3] == p} for p in ("us_", "jp_"))
    async with (
        site(folder, clock, us, name="us-site", **both, **mine).opened() as first,
        site(folder, clock, jp, name="jp-site", **both, **theirs).opened() as second,
    ):
        yield first, second


class Wire:
    """A handle to a site over a line that a test can cut, before or after what is said arrives.

    `before` and `after` are called with the name of each method; what they raise, the caller gets.
    """

    def __init__(self, to: Site) -> None:
        self.site, self.name = to, to.name
        self.before: Callable[[str], None] = lambda method: None
        self.after: Callable[[str], None] = lambda method: None
        self.calls: list[str] = []
        self.gates: dict[str, anyio.Event] = {}
        """What a method waits for before it leaves."""

    async def describe(self, team: str) -> Any:
        return await self.site.describe(team)

    async def submit(self, envelope: Envelope) -> Reports:
        return await self._over("submit", self.site.submit, envelope)

    async def find(self, runs: Sequence[str]) -> list[bytes | None]:
        return await self._over("find", self.site.find, runs)

    async def cancel(self, envelope: Envelope) -> None:
        await self._over("cancel", self.site.cancel, envelope)

    def follow(self, team: str, campaign: str) -> AbstractAsyncContextManager[Any]:
        return self.site.follow(team, campaign)

    async def checkpoint(self) -> str:
        return await self._over("checkpoint", self.site.checkpoint)

    async def leaves(self, size: int) -> bytes:
        return await self.site.leaves(size)

    async def inclusion(self, seq: int, size: int) -> list[bytes]:
        return await self.site.inclusion(seq, size)

    async def _over(self, method: str, call: Callable[..., Any], *arguments: Any) -> Any:
        if method in self.gates:
            await self.gates[method].wait()
        self.calls.append(method)
        self.before(method)
        answer = await call(*arguments)
        self.after(method)
        return answer
