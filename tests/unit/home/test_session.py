"""One process at work in a home: sites open, campaigns with their baselines run, other commands are answered."""

import json
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest

from fakes import FakeExecutor, RunningClock, kinds, succeed, until
from renkei.clock import Clock, SystemClock
from renkei.errors import AgreementError, ConfigError, LedgerError, Unreachable, UsageError
from renkei.executors import Job, JobEnd
from renkei.federation import Route
from renkei.home import Home, Session
from renkei.home._home import baseline_folder, baseline_of, site_of_baseline
from renkei.home._idle import opened_idle
from renkei.home._mailbox import Mailbox
from renkei.home._session import _single_sites, first_error
from renkei.ledger import LedgerReader, verify
from renkei.model.campaign import Campaign
from renkei.model.campaign_file import parse_campaign
from renkei.report import measure_acceleration, read_history, view_campaign
from renkei.site import Site, open_site

pytestmark = pytest.mark.anyio

LAB = '''
from typing import Annotated
from annotated_types import Interval
from renkei import procedure

@procedure("lab.measure", version="1.0")
def measure(x: Annotated[float, Interval(ge=0, le=1)]) -> float:
    """Measure."""
    return (x - 0.3) ** 2
'''

CAMPAIGN = """
[campaign]
name = "search"
team = "fusion"
seed = 5
stop = { trials = 6 }
[space]
x = { type = "real", low = 0.0, high = 1.0 }
[[objective]]
output = "value"
goal = "minimize"
[[source]]
procedure = "lab.measure"
[planner]
name = "random"
parallel = 2
[sites.east]
procedures = "lab.py"
workers = 1
[sites.west]
procedures = "lab.py"
workers = 1
"""
BASELINE = '[baseline]\nplanner = "sobol"\nwhen = "beside"\ntrials = 4\nreplicates = 2\n'
SINGLE = '[baseline]\nplanner = "same"\nsites = "single"\nreplicates = 2\n'


class Place:
    """A home with a campaign file beside it, whose sites run on executors that do as they are told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.home = folder, Home(folder / "home")
        (folder / "lab.py").write_text(LAB)
        self.executors: dict[str, FakeExecutor] = {}
        self.answer: Any = succeed

        def opened(file: Any, agreement: Any, clock: Clock, **more: Any) -> Site:
            executor = self.executors[file.site.name] = FakeExecutor(capacity=2, answer=lambda job: self.answer(job))
            return open_site(file, agreement, clock, executor, **more)

        monkeypatch.setattr("renkei.home._session.open_site", opened)

    def file(self, text: str = CAMPAIGN, **changes: str) -> Campaign:
        for old, new in changes.items():
            text = text.replace(old, new)
        return parse_campaign(text, folder=self.folder)

    @asynccontextmanager
    async def session(self, file: Campaign, clock: Clock | None = None) -> AsyncGenerator[Session]:
        self.home.embed(file.sites, file.team)
        with self.home.locked():
            async with Session(self.home, clock or SystemClock()).opened(list(file.sites)) as session:
                yield session


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


async def test_a_campaign_runs_on_real_workers_from_file_to_verified_ledgers(tmp_path: Path) -> None:
    (tmp_path / "lab.py").write_text(LAB)
    home, file = Home(tmp_path / "home"), parse_campaign(CAMPAIGN, folder=tmp_path)
    home.embed(file.sites, file.team)
    with home.locked():
        async with Session(home).opened(["east", "west"]) as session:
            drive = await session.begin(file, tmp_path)
            with anyio.fail_after(60):
                await session.drive(drive)
    assert drive.is_done
    campaign = drive.runner.campaign
    assert {trial.state for trial in campaign.trials.rows.values()} == {"observed"}
    for trial in campaign.trials.rows.values():
        assert trial.outputs["value"] == (float(trial.parameters["x"]) - 0.3) ** 2
    for path in (home.campaign_ledger("search"), home.site_ledger("east"), home.site_ledger("west")):
        finding = verify(path)
        assert finding.is_sound, finding.problem
        assert finding.covered == finding.records


async def test_baselines_run_beside_it_each_with_its_own_ledger_and_seed(place: Place) -> None:
    file = place.file(CAMPAIGN + BASELINE)
    async with place.session(file) as session:
        drive = await session.begin(file, place.folder)
        await session.drive(drive)
    points: list[tuple[object, ...]] = []
    for n, runner in enumerate([drive.runner, *drive.baselines]):
        campaign = runner.campaign
        assert Counter(t.state for t in campaign.trials.rows.values()) == {"observed": 6 if n == 0 else 4}
        assert campaign.status.row.state == "exhausted"
        points.append(tuple(t.parameters["x"] for t in campaign.trials.rows.values()))
        path = place.home.campaign_directory("search") / (f"baseline-{n}" if n else "") / "ledger.db"
        assert verify(path).is_sound
    assert len(set(points)) == 3
    names = {r.body.campaign for r in _records(place.home.site_ledger("east"), "run.accepted")}
    assert names == {"search", "search.baseline-1", "search.baseline-2"}


def under_way(path: Path) -> tuple[float, float]:
    """Return when the first trial of a campaign was proposed and when its last run ended."""
    return _records(path, "trial.proposed")[0].at, _records(path, "trial.observed")[-1].at


async def test_baselines_come_after_it_one_at_a_time_and_their_time_begins_then(place: Place) -> None:
    file = place.file(CAMPAIGN + BASELINE.replace('when = "beside"\n', ""))
    async with place.session(file) as session:
        drive = await session.begin(file, place.folder)
        await session.drive(drive)
    directory = place.home.campaign_directory("search")
    paths = [directory / folder / "ledger.db" for folder in ("", "baseline-1", "baseline-2")]
    spans = [under_way(path) for path in paths]
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(spans))
    for path, (first, last), runner in zip(paths[1:], spans[1:], drive.baselines, strict=True):
        (resumed,) = _records(path, "campaign.resumed")
        assert resumed.body.active_s == 0.0
        assert resumed.at <= first
        history = read_history(path)
        assert max(history.driven_s.values()) == pytest.approx(last - resumed.at, abs=1e-6)
        assert runner.campaign.status.row.state == "exhausted"
        assert verify(path).is_sound


async def test_a_campaign_that_is_stopped_takes_its_waiting_baselines_with_it_and_all_can_be_resumed(
    place: Place,
) -> None:
    file = place.file(CAMPAIGN + BASELINE.replace('when = "beside"\n', ""))
    async with place.session(file) as session:
        drive = await session.begin(file, place.folder)
        for runner in (drive.runner, *drive.baselines):
            runner.stop("enough")
        await session.drive(drive)
    assert {r.campaign.status.row.state for r in (drive.runner, *drive.baselines)} == {"stopped"}
    async with place.session(file) as session:
        resumed = await session.resume("search")
        await session.drive(resumed)
    assert [len(r.campaign.trials.rows) for r in (resumed.runner, *resumed.baselines)] == [6, 4, 4]
    directory = place.home.campaign_directory("search")
    assert under_way(directory / "ledger.db")[1] <= under_way(directory / "baseline-1" / "ledger.db")[0]


async def test_a_baseline_of_single_sites_is_the_same_campaign_at_each_of_them_alone(place: Place) -> None:
    file = place.file(CAMPAIGN + SINGLE)
    async with place.session(file) as session:
        drive = await session.begin(file, place.folder)
        await session.drive(drive)
    folders = [runner.campaign.directory.name for runner in drive.baselines]
    assert folders == ["baseline-east-1", "baseline-west-1", "baseline-east-2", "baseline-west-2"]
    seeds: dict[str, int] = {}
    for runner in drive.baselines:
        campaign, site = runner.campaign, site_of_baseline(runner.campaign.directory.name)
        assert {row.site for row in campaign.runs.rows.values()} == {site}
        assert (campaign.file.planner, len(campaign.trials.rows)) == (file.planner, 6)
        assert [source.sites for source in campaign.file.sources] == [(site,)]
        seeds[campaign.directory.name] = campaign.file.seed
    assert seeds["baseline-east-1"] == seeds["baseline-west-1"] != seeds["baseline-east-2"]
    assert {row.site for row in drive.runner.campaign.runs.rows.values()} == {"east", "west"}
    directory = place.home.campaign_directory("search")
    for site in ("east", "west"):
        first, second = (under_way(directory / f"baseline-{site}-{n}" / "ledger.db") for n in (1, 2))
        assert first[1] <= second[0]
    found = measure_acceleration(view_campaign(place.home, "search"))
    assert (found.baseline, found.learns, found.n_campaigns, found.is_shared) == ("best single site", True, 4, False)
    assert set(found.single) == {"east", "west"}
    assert found.by["trials"] == found.single[found.best_site["trials"]]["trials"]


def test_a_baseline_that_learns_ends_where_its_campaign_would_and_one_that_does_not_goes_on(place: Place) -> None:
    goal = {'goal = "minimize"': 'goal = "minimize"\nreach = 0.1'}
    learns = baseline_of(place.file(CAMPAIGN + SINGLE, **goal), 1, "east", {""})
    blind = baseline_of(place.file(CAMPAIGN + BASELINE, **goal), 1)
    assert (learns.stop.reached, learns.stop.trials, learns.name) == (True, 6, "search.baseline-east-1")
    assert (blind.stop.reached, blind.stop.trials, blind.name) == (False, 4, "search.baseline-1")
    assert (learns.planner.name, blind.planner.name) == ("random", "sobol")


def test_only_sites_that_could_do_the_campaign_alone_are_tried_alone_with_the_sources_that_they_offer(
    place: Place,
) -> None:
    def route(site: str, source: str, counts: bool) -> Route:
        spec: Any = None
        return Route(site, spec, spec, 1, 1, "run", 9, source, counts)

    routes = [route("east", "furnace", True), route("east", "model", False), route("west", "model", False)]
    routes.append(route("north", "furnace", True))
    assert _single_sites(routes) == {"east": {"furnace", "model"}, "north": {"furnace"}}
    file = place.file(CAMPAIGN + SINGLE)
    here = file.sources[0].label
    assert [s.label for s in baseline_of(file, 1, "east", {here, "other"}).sources] == [here]
    assert baseline_of(file, 1, "east", {"other"}).sources == ()


def test_the_site_of_a_baseline_is_told_by_its_folder() -> None:
    for site in ("", "east", "us-lab-7", "a.b"):
        assert site_of_baseline(baseline_folder(12, site)) == site


def _records(path: Path, kind: str) -> list[Any]:
    with LedgerReader(path) as reader:
        return [record for record in reader.records() if record.kind == kind]


async def test_a_second_campaign_learns_from_the_first(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    first = place.file()
    async with place.session(first) as session:
        await session.drive(await session.begin(first, place.folder))
    given: list[Any] = []

    class Telltale:
        def __init__(self, space: Any, objectives: Any, *, warm: Any = (), **_: Any) -> None:
            given.append(warm)

    monkeypatch.setattr("renkei.campaign._campaign.create", lambda name, *a, options, **k: Telltale(*a, **k))
    second = place.file(**{'"search"': '"again"', "parallel = 2": 'parallel = 2\nwarm = ["search"]'})
    async with place.session(second) as session:
        drive = await session.begin(second, place.folder)
        await drive.runner.campaign.ledger.close()
    (warm,) = given
    assert [o.outcome for o in warm] == ["observed"] * 6
    missing = place.file(**{'"search"': '"third"', "parallel = 2": 'parallel = 2\nwarm = ["nothing"]'})
    with pytest.raises(BaseExceptionGroup) as group:
        async with place.session(missing) as session:
            await session.begin(missing, place.folder)
    assert isinstance(first_error(group.value), LedgerError)
    assert place.home.campaigns() == ["search", "again"]


async def test_a_campaign_that_is_over_is_not_driven_again(place: Place) -> None:
    file = place.file(CAMPAIGN + BASELINE)
    async with place.session(file) as session:
        await session.drive(await session.begin(file, place.folder))
    before = [_size(path) for path in sorted(place.home.path.rglob("ledger.db"))]
    async with place.session(file) as session:
        drive = await session.resume("search")
        await session.drive(drive)
    assert drive.runner.campaign.status.row.state == "exhausted"
    assert [_size(path) for path in sorted(place.home.path.rglob("campaigns/**/ledger.db"))] == before[:3]


async def test_a_campaign_with_open_runs_is_taken_up_when_the_first_site_answers_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = place.file()
    place.answer = lambda job: None
    async with place.session(file) as session, anyio.create_task_group() as tasks:
        drive = await session.begin(file, place.folder)
        tasks.start_soon(session.drive, drive)
        await until(lambda: sum(len(executor.jobs) for executor in place.executors.values()) == 2)
        await until(lambda: drive.runner.campaign.ledger.durable_size == drive.runner.campaign.ledger.size)
        tasks.cancel_scope.cancel()
    real, told, n_silent = Site.describe, list[str](), 5

    async def describe(self: Site, team: str) -> Any:
        nonlocal n_silent
        if n_silent:
            n_silent -= 1
            raise Unreachable(f"{self.name} is silent.")
        return await real(self, team)

    monkeypatch.setattr(Site, "describe", describe)
    place.answer = succeed
    async with place.session(file, RunningClock()) as session:
        assert session._open_procedures("search") == {"lab.measure"}
        resumed = await session.resume("search", lambda error: told.append(error.message))
        assert session.silent == ["east is silent."]
        with anyio.fail_after(20):
            await session.drive(resumed)
    assert told == ["east is silent.", "west is silent."] * 2
    rows = resumed.runner.campaign.trials.rows.values()
    assert [row.state for row in rows] == ["observed"] * 6


def _size(path: Path) -> int:
    with LedgerReader(path) as reader:
        return reader.size


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({'name = "random"': 'name = "oracle"'}, UsageError, "No planner is named 'oracle'"),
        ({'name = "random"': 'name = "random"\noptions = { speed = 9 }'}, UsageError, "speed"),
        ({"lab.measure": "lab.guess"}, ConfigError, "found 'lab.guess'"),
        ({'output = "value"': 'output = "hardness"'}, ConfigError, "found 'hardness'"),
        ({"high = 1.0": "high = 2.0"}, ConfigError, "found 2.0"),
        ({"[[source]]": '[[source]]\nsites = ["north"]'}, ConfigError, "found 'north', expected some of east, west"),
    ],
)
async def test_a_campaign_that_does_not_fit_leaves_its_name_free(
    changes: dict[str, str], error: type[Exception], message: str, place: Place
) -> None:
    wrong, right = place.file(**changes), place.file()
    async with place.session(right) as session:
        with pytest.raises(error, match=message):
            await session.begin(wrong, place.folder)
        assert place.home.campaigns() == []
        await session.drive(await session.begin(right, place.folder))
        with pytest.raises(UsageError, match="'search' exists already"):
            await session.begin(right, place.folder)
    assert session.drives["search"].is_done


async def test_a_team_whose_keys_are_elsewhere_cannot_begin(place: Place) -> None:
    file = place.file()
    async with place.session(file) as session:
        for name in ("east", "west"):
            (place.home.path / "keys" / f"{name}.key").rename(place.folder / f"{name}.key")
        with pytest.raises(AgreementError, match="holds no key of an institution of team 'fusion'"):
            await session.begin(file, place.folder)
        assert place.home.campaigns() == []


async def test_a_site_whose_key_is_not_the_agreements_does_not_open(place: Place) -> None:
    file = place.file()
    place.home.embed(file.sites, file.team)
    (place.home.path / "keys" / "east.key").unlink()
    place.home.key("east")
    with pytest.raises(AgreementError, match="is not the key that the agreement has for 'east'"):
        async with place.session(file):
            pass


async def test_stopping_and_resuming_loses_no_trial(place: Place) -> None:
    file = place.file(**{"trials = 6": "trials = 10"})
    place.answer = lambda job: None
    async with place.session(file, RunningClock()) as session:
        drive = await session.begin(file, place.folder)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.drive, drive)
            await until(lambda: any(executor.jobs for executor in place.executors.values()))
            said = await Mailbox(place.home, SystemClock()).ask("stop", {"campaign": "search", "by": "ada"})
    assert said == "Campaign 'search' is stopping."
    assert (drive.runner.campaign.status.row.state, drive.runner.campaign.status.row.why) == (
        "stopped",
        "stopped by ada",
    )
    place.answer = succeed
    async with place.session(file) as session:
        drive = await session.resume("search")
        await session.drive(drive)
    trials = drive.runner.campaign.trials.rows.values()
    assert Counter(t.state for t in trials) == {"observed": 10}
    assert kinds_on_disk(place.home.campaign_ledger("search")).count("campaign.resumed") == 1


def kinds_on_disk(path: Path) -> list[str]:
    with LedgerReader(path) as reader:
        return [record.kind for record in reader.records()]


@pytest.mark.parametrize("whose", ["east", "search", "search.baseline-2"])
async def test_a_ledger_that_breaks_ends_everything_and_all_files_are_closed(whose: str, place: Place) -> None:
    file = place.file(CAMPAIGN.replace("trials = 6", "trials = 5000") + BASELINE.replace("trials = 4\n", ""))
    ledgers: list[Any] = []
    with pytest.raises(BaseExceptionGroup) as group:
        async with place.session(file) as session:
            drive = await session.begin(file, place.folder)
            campaigns = [runner.campaign for runner in (drive.runner, *drive.baselines)]
            ledgers += [each.ledger for each in (*campaigns, *session.sites.values())]
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(session.drive, drive)
                await until(lambda: len(drive.runner.campaign.trials.rows) > 4)
                (broken,) = [ledger for ledger in ledgers if ledger.owner.split("/")[1] == whose]
                broken._db.execute("PRAGMA query_only = 1")
                with anyio.fail_after(10):
                    await anyio.sleep_forever()
    error = first_error(group.value)
    assert isinstance(error, LedgerError)
    assert str(broken.path) in error.message
    for ledger in ledgers:
        with pytest.raises(Exception, match="closed database"):
            ledger._db.execute("SELECT 1")
    for path in place.home.path.rglob("ledger.db"):
        assert verify(path).is_sound
    place.answer = lambda job: JobEnd(job.run, "succeeded", 0.0, {"value": 1.0})
    async with place.session(file) as session:
        resumed = await session.resume("search")
        resumed.runner.stop("it works again")
        for runner in resumed.baselines:
            runner.stop("it works again")
        with anyio.fail_after(20):
            await session.drive(resumed)


async def test_people_approve_deny_and_cancel_through_the_process_that_works_there(place: Place) -> None:
    policy = place.folder / "ask.cedar"
    policy.write_text('@id("all") @ask("Somebody has to know.") permit (principal, action, resource);')
    changes = {"[sites.west]": 'policy = "ask.cedar"\n[sites.west]', "parallel = 2": "parallel = 4"}
    file = place.file(**changes)
    place.answer = lambda job: succeed(job) if "east" in job.directory else None
    async with place.session(file) as session:
        drive = await session.begin(file, place.folder)
        mailbox = Mailbox(place.home, session.clock)
        east, west = session.sites["east"], session.sites["west"]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.drive, drive)
            await until(lambda: len(east.runs.parked) == 2 and len(west.runs.live) == 2)
            first, second = east.runs.parked
            asked = {"site": "east", "run": first, "by": "ada", "note": "fine"}
            said = await mailbox.ask("approve", asked)
            assert said.startswith(f"Run {first} is ")
            with pytest.raises(UsageError, match="not waiting for approval"):
                await mailbox.ask("deny", asked)
            said = await mailbox.ask("deny", {"site": "east", "run": second, "by": "ada"})
            assert said == f"Run {second} is refused."
            run = next(iter(west.runs.live))
            await mailbox.ask("cancel", {"site": "west", "run": run, "by": "ada"})
            await until(lambda: west.runs.rows[run].state == "cancelled")
            for verb, arguments, problem in [
                ("approve", {"site": "north", "run": first, "by": "ada"}, "Site 'north' is not open"),
                ("stop", {"campaign": "other", "by": "ada"}, "Campaign 'other' is not running"),
                ("dance", {}, "'dance' is nothing that can be asked"),
                ("cancel", {}, "not readable"),
            ]:
                with pytest.raises(UsageError, match=problem):
                    await mailbox.ask(verb, arguments)
            drive.runner.stop("enough")
    assert drive.is_done


@pytest.mark.parametrize("content", [b"", b"nonsense", b"[]", b'"stop"', b'{"verb": ["stop"]}', b"\xff\xfe", b"{}"])
async def test_a_request_that_is_not_readable_gets_an_answer_and_ends_nothing(content: bytes, place: Place) -> None:
    file = place.file()
    async with place.session(file) as session:
        request = place.home.path / "requests" / "1.request"
        await until(request.parent.is_dir)
        request.write_bytes(content)
        await until(request.with_suffix(".answer").exists)
        assert "not readable" in json.loads(request.with_suffix(".answer").read_text())["problem"]
        await session.drive(await session.begin(file, place.folder))


async def test_a_decision_without_anybody_at_work_starts_nothing(place: Place) -> None:
    policy = place.folder / "ask.cedar"
    policy.write_text('@id("all") @ask("Somebody has to know.") permit (principal, action, resource);')
    only = CAMPAIGN[: CAMPAIGN.index("[sites.west]")] + 'policy = "ask.cedar"\n'
    file = place.file(only)
    async with place.session(file) as session:
        drive = await session.begin(file, place.folder)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.drive, drive)
            await until(lambda: len(session.sites["east"].runs.parked) == 2)
            tasks.cancel_scope.cancel()
    with place.home.locked():
        async with opened_idle(place.home, "east", SystemClock()) as idle:
            first, second = list(idle.runs.parked)
            assert await idle.decide(first, "ada", True) == "accepted"
            assert await idle.decide(second, "ada", False) == "refused"
            assert "run.started" not in kinds(idle)

    def answer(job: Job) -> JobEnd:
        assert job.run == first
        return succeed(job)

    place.answer = answer
    async with place.session(file) as session:
        await until(lambda: session.sites["east"].runs.rows[first].state == "succeeded")


async def test_a_site_whose_file_names_another_agreement_is_not_opened(place: Place, tmp_path: Path) -> None:
    file = place.file()
    place.home.embed(file.sites, file.team)
    other = tmp_path / "other.toml"
    other.write_text(place.home.agreement_path.read_text().replace('title = "', 'title = "Another: '))
    described = place.home.path / "sites" / "east.toml"
    described.write_text(described.read_text().replace(str(place.home.agreement_path), str(other)))
    with place.home.locked(), pytest.raises(AgreementError, match="is not the one here"):
        async with Session(place.home, SystemClock()).opened(["east"]):
            pass
