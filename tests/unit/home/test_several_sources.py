"""A campaign over a quick simulation at one site and a slow instrument at another, which alone counts."""

import math
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from fakes import FakeExecutor
from renkei import AskTell, planning
from renkei.campaign import Campaign, Runner, observations_of
from renkei.clock import Clock, SystemClock
from renkei.errors import ConfigError, UsageError
from renkei.executors import Job, JobEnd
from renkei.home import Home, Session
from renkei.model.campaign import Campaign as CampaignFile
from renkei.model.campaign_file import parse_campaign
from renkei.model.space import SOURCE, Observation, Point
from renkei.planning import Source
from renkei.site import Site, open_site

pytestmark = pytest.mark.anyio

LAB = '''
from typing import Annotated
from annotated_types import Interval
from renkei import procedure

@procedure("{name}", version="1.0")
def run(x: Annotated[float, Interval(ge=0, le=1)], y: Annotated[float, Interval(ge=0, le=1)]) -> float:
    """Run."""
    return 0.0
'''

CAMPAIGN = """
[campaign]
name = "search"
team = "fusion"
seed = 5
stop = { trials = 24 }
[space]
x = { type = "real", low = 0.0, high = 1.0 }
y = { type = "real", low = 0.0, high = 1.0 }
[[objective]]
output = "value"
goal = "minimize"
[[source]]
procedure = "sim.model"
name = "simulation"
counts = false
[[source]]
procedure = "lab.measure"
name = "instrument"
[planner]
name = "bayesian"
parallel = 2
[sites.us]
procedures = "sim.py"
charge = { unit = "USD", per_run = 1.0 }
[sites.jp]
procedures = "instrument.py"
charge = { unit = "USD", per_run = 20.0 }
"""


def truth(x: float, y: float) -> float:
    return math.sin(5 * x + 1) * math.cos(4 * y) + (x - 0.6) ** 2 + (y - 0.2) ** 2


def answer(job: Job) -> JobEnd:
    """The simulation is biased, and shifted a little; it is quick, and the instrument is slow."""
    x, y = float(job.parameters["x"]), float(job.parameters["y"])
    if job.procedure == "lab.measure":
        return JobEnd(job.run, "succeeded", 3600.0, {"value": truth(x, y)})
    return JobEnd(job.run, "succeeded", 5.0, {"value": 2.0 + 0.5 * truth(x - 0.05, y) + 0.2 * x})


class Script:
    """A planner that tries points along a line at sources in turn, and keeps what it is told."""

    def __init__(self, turns: Sequence[str]) -> None:
        self.turns, self.told = turns, list[Observation]()
        self.n = 0

    def ask(self, n: int, pending: Sequence[Point] = ()) -> list[Point]:
        found: list[Point] = []
        for _ in range(n):
            found.append({"x": 0.001 * self.n, "y": 0.5, SOURCE: self.turns[self.n % len(self.turns)]})
            self.n += 1
        return found

    def tell(self, observations: Sequence[Observation]) -> None:
        self.told += observations

    def confirm(self, pending: Sequence[Point] = ()) -> Point | None:
        assert not pending
        return {"x": 0.9, "y": 0.9, SOURCE: "instrument"}


class Place:
    """A home with a campaign file beside it, whose sites run on executors that do as they are told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.home, self.answer = folder, Home(folder / "home"), answer
        for file, name in (("sim", "sim.model"), ("instrument", "lab.measure")):
            (folder / f"{file}.py").write_text(LAB.format(name=name))
        self.planners: list[Script] = []
        self._monkeypatch = monkeypatch

        def opened(file: Any, agreement: Any, clock: Clock, **more: Any) -> Site:
            executor = FakeExecutor(capacity=2, answer=lambda job: self.answer(job))
            return open_site(file, agreement, clock, executor, **more)

        monkeypatch.setattr("renkei.home._session.open_site", opened)

    def script(self, *turns: str) -> None:
        """Have campaigns planned by a `Script`."""
        self.given: Sequence[Source] = ()

        def create(*arguments: Any, sources: Sequence[Source] = (), **more: Any) -> planning.Planner:
            self.given = sources
            if not sources:
                return planning.create(*arguments, sources=sources, **more)
            self.planners.append(Script(turns))
            return self.planners[-1]

        self._monkeypatch.setattr("renkei.campaign._campaign.create", create)

    def file(self, **changes: str) -> CampaignFile:
        text = CAMPAIGN
        for old, new in changes.items():
            assert text.count(old), old
            text = text.replace(old, new)
        return parse_campaign(text, folder=self.folder)

    @asynccontextmanager
    async def session(self, file: CampaignFile) -> AsyncGenerator[Session]:
        self.home.embed(file.sites, file.team)
        with self.home.locked():
            async with Session(self.home, SystemClock()).opened(list(file.sites)) as session:
                yield session

    async def drive(self, file: CampaignFile) -> Runner:
        async with self.session(file) as session:
            drive = await session.begin(file, self.folder)
            with anyio.fail_after(60):
                await session.drive(drive)
            return drive.runner


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


def sources_of(campaign: Campaign) -> Counter[str]:
    return Counter(trial.source for trial in campaign.trials.rows.values())


async def test_a_simulation_saves_trials_at_the_instrument_and_the_best_is_confirmed_there(place: Place) -> None:
    campaign = (await place.drive(place.file())).campaign
    trials = list(campaign.trials.rows.values())
    n = sources_of(campaign)
    assert n["simulation"] + n["instrument"] == 24
    assert n["instrument"] <= 10
    assert all(trial.counts == (trial.source == "instrument") for trial in trials)
    assert all(SOURCE not in trial.parameters for trial in trials)
    at = {run.trial: run.site for run in campaign.runs.rows.values()}
    assert {(trial.source, at[trial.trial]) for trial in trials} == {("simulation", "us"), ("instrument", "jp")}
    assert [trial.confirms for trial in trials] == [False] * 23 + [True]
    assert trials[-1].counts
    best = campaign.best
    assert best is not None
    assert best.counts
    assert best.outputs["value"] < -0.9


async def test_every_source_says_what_a_trial_costs_there(place: Place) -> None:
    place.script("simulation")
    await place.drive(place.file())
    assert place.given == (Source("simulation", 1.0, counts=False), Source("instrument", 20.0))


async def test_every_source_says_how_many_trials_may_be_on_their_way_there(place: Place) -> None:
    place.script("simulation")
    await place.drive(place.file(**{'name = "instrument"': 'name = "instrument"\nparallel = 2'}))
    assert [source.parallel for source in place.given] == [None, 2]


async def test_prices_of_the_file_come_before_those_of_sites(place: Place) -> None:
    place.script("simulation")
    priced = {
        'name = "simulation"': 'name = "simulation"\nprice = 3.0',
        'name = "instrument"': 'name = "instrument"\nprice = 9.0',
    }
    await place.drive(place.file(**priced))
    assert [source.price for source in place.given] == [3.0, 9.0]
    [planner] = place.planners
    assert all(math.isnan(o.cost) for o in planner.told)  # what sites charge is not in the unit of such a price


async def test_sources_charged_in_different_units_need_prices(place: Place) -> None:
    file = place.file(**{'unit = "USD", per_run = 20.0': 'unit = "sample", per_run = 20.0'})
    async with place.session(file) as session:
        with pytest.raises(ConfigError, match="charged in USD, sample, expected a price in every"):
            await session.begin(file, place.folder)
        assert not place.home.has_campaign("search")


async def test_a_planner_that_cannot_choose_is_refused(place: Place) -> None:
    file = place.file(**{'name = "bayesian"': 'name = "sobol"'})
    async with place.session(file) as session:
        with pytest.raises(UsageError, match="'sobol' cannot choose among sources"):
            await session.begin(file, place.folder)


async def test_what_is_left_of_the_cost_pays_for_a_confirmation(place: Place) -> None:
    place.script("simulation", "simulation", "instrument")
    runner = await place.drive(place.file(**{"trials = 24": 'cost = "70 USD"'}))
    trials = list(runner.campaign.trials.rows.values())
    assert [trial.confirms for trial in trials].count(True) == 1
    assert trials[-1].confirms
    assert trials[-1].state == "observed"
    assert trials[-1].parameters == {"x": 0.9, "y": 0.9}
    paid = sum(run.micro for run in runner.campaign.runs.rows.values()) / 1e6
    assert 50 < paid <= 70
    assert runner.campaign.status.row.state == "exhausted"


async def test_planners_are_told_where_how_long_and_at_what_charge(place: Place) -> None:
    place.script("simulation", "instrument")
    campaign = (await place.drive(place.file(**{"trials = 24": "trials = 9"}))).campaign
    [planner] = place.planners
    told = {str(o.point[SOURCE]): o for o in planner.told}
    assert told["simulation"].seconds >= 5.0
    assert told["instrument"].seconds >= 3600.0
    assert (told["simulation"].cost, told["instrument"].cost) == (1.0, 20.0)
    assert told["instrument"].outputs["value"] == truth(float(told["instrument"].point["x"]), 0.5)
    assert campaign.status.row.why == "all 9 trials were made"


async def test_a_campaign_taken_up_again_tells_its_planner_the_same_history(place: Place) -> None:
    place.script("simulation", "instrument")
    first = await place.drive(place.file(**{"trials = 24": "trials = 9"}))
    async with place.session(first.campaign.file) as session:
        drive = await session.resume("search")
        drive.runner.campaign.question(1)()
        await drive.runner.campaign.ledger.close()
    before, after = place.planners
    assert after.told[: len(before.told)] == before.told
    assert len(after.told) == 9
    assert not drive.runner.campaign.owes_confirmation


async def test_only_trials_that_count_reach_the_goal(place: Place) -> None:
    place.script("simulation", "simulation", "simulation", "instrument")
    file = place.file(**{"trials = 24": "trials = 12", 'goal = "minimize"': 'goal = "minimize"\nreach = 5.0'})
    campaign = (await place.drive(file)).campaign
    assert campaign.status.row.state == "reached"
    first = next(trial for trial in campaign.trials.rows.values() if trial.counts)
    assert campaign.status.row.why == f"trial {first.n + 1} made the discovery"


async def test_a_baseline_uses_sources_that_count_alone(place: Place) -> None:
    place.script("simulation", "instrument")
    text = place.file(**{"trials = 24": "trials = 6"}).text + '[baseline]\nplanner = "sobol"\n'
    file = parse_campaign(text, folder=place.folder)
    async with place.session(file) as session:
        drive = await session.begin(file, place.folder)
        with anyio.fail_after(60):
            await session.drive(drive)
    [baseline] = drive.baselines
    assert {run.site for run in baseline.campaign.runs.rows.values()} == {"jp"}
    assert len(baseline.campaign.trials.rows) == 6


async def test_later_campaigns_learn_what_counted_or_what_they_can_choose(place: Place) -> None:
    place.script("simulation", "instrument")
    campaign = (await place.drive(place.file(**{"trials = 24": "trials = 9"}))).campaign
    path = place.home.campaign_ledger("search")
    n = sources_of(campaign)
    plain, both = observations_of(path), observations_of(path, ("simulation", "instrument"))
    assert len(plain) == n["instrument"]
    assert all(SOURCE not in o.point for o in plain)
    assert Counter(o.point[SOURCE] for o in both) == n


def test_trials_that_people_run_say_where(place: Place) -> None:
    place.script("simulation", "instrument")
    simulation, instrument = 'name = "simulation"', 'name = "instrument"'
    priced = {simulation: f"{simulation}\nprice = 3.0", instrument: f"{instrument}\nprice = 9.0"}
    path = place.folder / "bench.toml"
    path.write_text(place.file(**priced).text)
    with AskTell(path, home=place.home.path) as campaign:
        [first, second] = campaign.ask(2)
        campaign.tell(first, {"value": 0.1})
        campaign.tell(second, {"value": 0.2})
        assert [(trial.source, trial.counts) for trial in (first, second)] == [
            ("simulation", False),
            ("instrument", True),
        ]
        assert campaign.best is not None
        assert campaign.best.trial == second.trial


def test_trials_that_people_run_need_prices(place: Place) -> None:
    path = place.folder / "bench.toml"
    path.write_text(place.file().text)
    with (
        pytest.raises(ConfigError, match=r"source#1\.price: found none"),
        AskTell(path, home=place.home.path),
    ):
        pass
