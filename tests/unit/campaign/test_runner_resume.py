"""Kill everything at any instant and start again: the same trials, no run twice, no charge twice."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from fakes import (
    FakeExecutor,
    RunningClock,
    balance,
    campaign_file,
    federation,
    kinds,
    offered,
    open_campaign,
    records,
    runner_over,
    settled,
    site,
    succeed,
    until,
)
from hand_clock import HandClock
from renkei.accounts import Books
from renkei.campaign import Campaign, Runner, Status, TrialRuns, Trials, observations_of
from renkei.errors import UsageError
from renkei.executors import Job, JobEnd
from renkei.ledger import verify
from renkei.model.space import Observation, Point
from renkei.site import Runs

pytestmark = pytest.mark.anyio

FAST = "/dev/shm" if Path("/dev/shm").is_dir() else None  # the disk is not what is tested here
LEDGERS = ("campaign/ledger.db", "us-site/ledger.db", "jp-site/ledger.db")


async def run(runner: Runner) -> tuple[str, str]:
    with anyio.fail_after(10):
        return await runner.run()


class CameraClock(RunningClock):
    """A clock that takes a picture of the disk before every commit: what a kill at that instant would leave."""

    def __init__(self, folder: Path, album: Path, executed: Callable[[], list[str]]) -> None:
        super().__init__()
        self.folder, self.album, self.executed = folder, album, executed
        self.pictures: list[tuple[Path, float, list[str]]] = []

    async def blocking(self, call: Callable[[], Any], *, is_brief: bool = False) -> Any:
        picture = self.album / str(len(self.pictures))
        for name in LEDGERS:
            for path in ((self.folder / name), (self.folder / f"{name}-wal")):
                if path.exists():
                    copy = picture / path.relative_to(self.folder)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, copy)
        self.pictures.append((picture, self.time, self.executed()))
        return call()


def moody(job: Job) -> JobEnd:
    """The U.S. site fails here and there; some points cannot work; all others succeed."""
    x = float(job.parameters["x"])
    if x > 0.85:
        return JobEnd(job.run, "infeasible", 1.0, message="too hot")
    if 0.4 < x < 0.7 and "us-site" in job.directory:
        return JobEnd(job.run, "failed", 1.0, fault="facility", retryable=True, message="a fault")
    return succeed(job)


N_TRIALS = 7


def executors() -> tuple[FakeExecutor, FakeExecutor]:
    return FakeExecutor(capacity=1, answer=moody), FakeExecutor(capacity=1, answer=moody)


async def drive(folder: Path, clock: RunningClock, us: FakeExecutor, jp: FakeExecutor) -> dict[str, Any]:
    """Drive the campaign in a folder to its end, from wherever it stands; return what became of it."""
    async with federation(folder, clock, us, jp) as sites:
        campaign = open_campaign(campaign_file(f"trials = {N_TRIALS}", parallel=3), folder, clock)
        state, why = await run(await runner_over(campaign, *sites))
        paid = [r.body.run for here in sites for r in records(here, "run.ended") if r.body.charge]
        found = {
            "end": (state, why),
            "points": [trial.parameters for trial in campaign.trials.rows.values()],
            "fates": [(trial.state, trial.outputs) for trial in campaign.trials.rows.values()],
            "paid": sorted(campaign.runs.rows[run].trial for run in paid),
            "trials": sorted(campaign.trials.rows),
            "spent": sum(balance(here)[2] for here in sites),
        }
        for here in sites:
            ends = Counter(r.body.run for r in records(here, "run.ended"))
            assert ends.keys() == {r.body.run for r in records(here, "run.accepted")}
            assert set(ends.values()) <= {1}
            assert balance(here)[1] == 0
            assert ends.keys() <= campaign.runs.rows.keys()
        await campaign.ledger.close()
    assert verify(folder / LEDGERS[0], None, [Trials(), TrialRuns(), Status()]).problem == ""
    for name in LEDGERS[1:]:
        assert verify(folder / name, None, [Runs(), Books()]).problem == ""
    return found


async def test_a_kill_before_any_commit_changes_nothing_about_the_end() -> None:
    with tempfile.TemporaryDirectory(dir=FAST) as place:
        folder = Path(place)
        us, jp = executors()
        clock = CameraClock(folder / "home", folder / "album", lambda: [*us.taken, *jp.taken])
        whole = await drive(folder / "home", clock, us, jp)
        assert whole["end"] == ("exhausted", f"all {N_TRIALS} trials were made")
        assert whole["paid"] == whole["trials"]
        assert Counter(fate for fate, _ in whole["fates"]).keys() == {"observed", "infeasible"}
        assert len(clock.pictures) > 20
        n_lost = 0
        for picture, time, executed in clock.pictures:
            us, jp = executors()
            later = RunningClock(time + 5)
            found = await drive(picture, later, us, jp)
            for key in ("end", "points", "fates", "spent"):
                assert found[key] == whole[key], f"{key} after {picture.name}"
            assert found["paid"] == found["trials"], f"after {picture.name}"
            handed = Counter([*executed, *us.taken, *jp.taken])
            assert max(handed.values()) == 1, f"a run was handed over twice after {picture.name}"
            n_lost += sum(handed.values()) - N_TRIALS
            shutil.rmtree(picture)
        assert n_lost > 5, "no kill hit a run at work: this proves nothing"


@pytest.mark.parametrize("goal", ["", "reach = 0.01"])
async def test_a_campaign_that_is_over_stays_as_it_is(goal: str, tmp_path: Path, clock: HandClock) -> None:
    file = campaign_file("trials = 25", objective=goal)
    for n in range(3):
        executor = FakeExecutor(answer=succeed)
        async with site(tmp_path, clock, executor).opened() as here:
            campaign = open_campaign(file, tmp_path, clock)
            before = (len(campaign.trials.rows), len(campaign.runs.rows))
            state, why = await run(await runner_over(campaign, here))
            if n == 0:
                first = (state, why)
                assert state == ("reached" if goal else "exhausted")
            else:
                assert (state, why) == first
                assert executor.taken == []
                assert (len(campaign.trials.rows), len(campaign.runs.rows)) == before
            await campaign.ledger.close()


async def test_a_stopped_campaign_goes_on_with_the_trials_that_it_had(tmp_path: Path, clock: HandClock) -> None:
    file = campaign_file("trials = 9")
    executor = FakeExecutor(capacity=2)
    async with site(tmp_path, clock, executor).opened() as here:
        campaign = open_campaign(file, tmp_path, clock)
        runner = await runner_over(campaign, here)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, runner)
            await until(lambda: len(executor.jobs) == 2)
            await executor.succeed(*executor.jobs)
            await until(lambda: len(executor.jobs) == 2)
            runner.stop("for the night")
        assert campaign.status.row.state == "stopped"
        pending = list(campaign.trials.pending)
        assert pending
        await campaign.ledger.close()
    async with site(tmp_path, clock, FakeExecutor(answer=succeed)).opened() as here:
        campaign = open_campaign(file, tmp_path, clock)
        assert list(campaign.trials.pending) == pending
        assert await run(await runner_over(campaign, here)) == ("exhausted", "all 9 trials were made")
        assert {trial.state for trial in campaign.trials.rows.values()} == {"observed"}
        assert len(campaign.trials.rows) == 9
        assert campaign.status.row.n_sessions == 2
        await campaign.ledger.close()


async def test_only_the_time_in_which_somebody_drives_it_counts(tmp_path: Path, clock: HandClock) -> None:
    file = campaign_file('wall = "60 s"')
    for n, seconds in enumerate((25.0, 25.0, 12.0)):
        executor = FakeExecutor()
        async with site(tmp_path, clock, executor).opened() as here:
            campaign = open_campaign(file, tmp_path, clock)
            runner = await runner_over(campaign, here)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run, runner)
                await until(lambda executor=executor: executor.jobs)
                clock.time += seconds
                await anyio.sleep(0.02)
                if n < 2:
                    runner.stop("later")
                else:
                    await executor.succeed(*executor.jobs)
            assert campaign.status.row.state == ("stopped" if n < 2 else "exhausted")
            await campaign.ledger.close()
        clock.time += 100_000


async def test_a_budget_counts_what_earlier_sessions_spent(tmp_path: Path, clock: HandClock) -> None:
    file = campaign_file('cost = "5 run"', parallel=2)
    executor = FakeExecutor(capacity=2)
    async with site(tmp_path, clock, executor).opened() as here:
        campaign = open_campaign(file, tmp_path, clock)
        runner = await runner_over(campaign, here)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, runner)
            await until(lambda: len(executor.jobs) == 2)
            await executor.succeed(next(iter(executor.jobs)))
            await until(lambda: len(executor.taken) == 3)
            runner.stop("later")  # cancelling charges both that are at work
        await campaign.ledger.close()
    async with site(tmp_path, clock, FakeExecutor(answer=succeed)).opened() as here:
        campaign = open_campaign(file, tmp_path, clock)
        assert await run(await runner_over(campaign, here)) == ("exhausted", "its cost of 5 run is used up")
        assert balance(here)[2] == 5
        await campaign.ledger.close()


async def killed_at_work(folder: Path, clock: HandClock, **options: Any) -> tuple[list[str], list[str]]:
    """Leave a campaign with two runs at work, as a kill would; return their ids and what was handed over."""
    executor = FakeExecutor(capacity=2)
    async with site(folder, clock, executor, **options).opened() as here:
        campaign = open_campaign(campaign_file("trials = 4", parallel=2), folder, clock)
        runner = await runner_over(campaign, here)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, runner)
            await until(lambda: len(executor.jobs) == 2)
            await until(lambda: all(row.state == "accepted" for row in campaign.runs.open.values()))
            await campaign.sync()
            tasks.cancel_scope.cancel()
        return list(campaign.runs.open), executor.taken


async def test_runs_that_outlived_the_kill_are_waited_for_and_not_sent_again(tmp_path: Path, clock: HandClock) -> None:
    runs, taken = await killed_at_work(tmp_path, clock)
    executor = FakeExecutor(capacity=2)
    executor.survivors = set(taken)
    async with site(tmp_path, clock, executor).opened() as here:
        campaign = open_campaign(campaign_file("trials = 4", parallel=2), tmp_path, clock)
        runner = await runner_over(campaign, here)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, runner)
            await settled(60)
            assert executor.taken == []
            executor.answer = succeed
            await executor.succeed(*runs)
        assert {trial.state for trial in campaign.trials.rows.values()} == {"observed"}
        assert len(campaign.runs.rows) == 4
        await campaign.ledger.close()


async def test_runs_at_a_site_that_offers_another_version_now_fail_and_are_tried_again(
    tmp_path: Path, clock: HandClock
) -> None:
    clock = RunningClock(clock.time)
    await killed_at_work(tmp_path, clock)
    async with site(tmp_path, clock, FakeExecutor(answer=succeed), offers=[offered(version="2.0")]).opened() as here:
        campaign = open_campaign(campaign_file("trials = 4", parallel=2), tmp_path, clock)
        await run(await runner_over(campaign, here))
        assert {trial.state for trial in campaign.trials.rows.values()} == {"observed"}
        assert {r.body.version for r in records(campaign, "run.requested")} == {"1.0", "2.0"}
        await campaign.ledger.close()


async def test_runs_at_a_site_that_no_longer_offers_it_go_to_another_site(tmp_path: Path, clock: HandClock) -> None:
    clock = RunningClock(clock.time)
    runs, _ = await killed_at_work(tmp_path, clock)
    options = {"us_offers": [offered("lab.other")], "jp_offers": [offered()]}
    async with federation(tmp_path, clock, FakeExecutor(), FakeExecutor(answer=succeed), **options) as sites:
        campaign = open_campaign(campaign_file("trials = 4", parallel=2), tmp_path, clock)
        await run(await runner_over(campaign, *sites))
        assert {trial.state for trial in campaign.trials.rows.values()} == {"observed"}
        assert {campaign.runs.rows[run].state for run in runs} == {"failed"}
        assert balance(sites[1])[2] == 4
        await campaign.ledger.close()


async def test_runs_at_a_site_that_cannot_be_asked_are_named_at_once(tmp_path: Path, clock: HandClock) -> None:
    await killed_at_work(tmp_path, clock)
    async with site(tmp_path, clock, FakeExecutor(), name="jp-site").opened() as there:
        campaign = open_campaign(campaign_file("trials = 4", parallel=2), tmp_path, clock)
        with pytest.raises(UsageError, match="cannot be asked about them"):
            await runner_over(campaign, there)
        await campaign.ledger.close()


async def test_another_definition_under_the_same_name_is_refused(tmp_path: Path, clock: HandClock) -> None:
    await open_campaign(campaign_file("trials = 4"), tmp_path, clock).ledger.close()
    with pytest.raises(UsageError, match="exists already and was defined otherwise"):
        open_campaign(campaign_file("trials = 5"), tmp_path, clock)


# ---- what the planner is told ----------------------------------------------------------------------------------


class Diary:
    """A planner that writes down what it is told and proposes points that depend on all of it."""

    def __init__(self, warm: tuple[Observation, ...] = ()) -> None:
        self.told: list[Observation] = list(warm)

    def tell(self, observations: list[Observation]) -> None:
        self.told += observations

    def ask(self, n: int, pending: list[Point]) -> list[Point]:
        seen = repr([(o.point, o.outcome, dict(o.outputs)) for o in self.told]) + repr(pending)
        draw = Random(seen)
        return [{"x": draw.random(), "y": draw.random()} for _ in range(n)]


def diary_of(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> Diary:
    diary = Diary()
    monkeypatch.setattr(campaign, "_planner", diary)
    return diary


async def test_the_planner_is_told_the_same_in_the_same_order_after_a_resume(
    tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the clock stands still: what counts is the order of the records."""
    executor = FakeExecutor(capacity=8)
    file = campaign_file("trials = 16", parallel=8)
    async with site(tmp_path, clock, executor, name="jp-site").opened() as here:
        campaign = open_campaign(file, tmp_path, clock)
        live = diary_of(campaign, monkeypatch)
        runner = await runner_over(campaign, here)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, runner)
            await until(lambda: len(executor.jobs) == 8)
            for job in reversed(list(executor.jobs.values())[2:]):
                await executor.end(moody(job))
            await until(lambda: len(executor.jobs) == 8)
            await campaign.sync()
            campaign.question(1)()
            tasks.cancel_scope.cancel()
        pending = [row.parameters for row in campaign.trials.pending.values()]
        expected = live.ask(3, pending)
    again = open_campaign(file, tmp_path, clock)
    resumed = diary_of(again, monkeypatch)
    points = again.question(3)()
    assert [o.point for o in resumed.told] == [o.point for o in live.told]
    assert len(resumed.told) == 6
    assert [o.outcome for o in resumed.told] == [o.outcome for o in live.told]
    assert points == expected
    assert resumed.told == live.told
    await again.ledger.close()


async def test_what_ends_while_the_planner_thinks_is_neither_lost_nor_told_twice(
    tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = open_campaign(campaign_file("trials = 16"), tmp_path, clock)
    diary = diary_of(campaign, monkeypatch)
    first, second, third = campaign.propose(campaign.question(3)())
    campaign.observe(first.trial, {"value": 1.0})
    asked: list[list[Point]] = []
    monkeypatch.setattr(diary, "ask", lambda n, pending: asked.append(list(pending)) or [])
    think = campaign.question(1)
    campaign.observe(second.trial, {"value": 2.0})  # while the planner thinks in its thread
    think()
    assert [o.outputs["value"] for o in diary.told] == [1.0]
    assert asked == [[second.parameters, third.parameters]], "known to it one way or the other"
    campaign.question(1)()
    assert [o.outputs["value"] for o in diary.told] == [1.0, 2.0]
    assert asked[1] == [third.parameters]
    await campaign.ledger.close()


async def test_an_earlier_campaign_is_learned_from_in_its_order(tmp_path: Path, clock: HandClock) -> None:
    earlier = open_campaign(campaign_file("trials = 4"), tmp_path, clock)
    one, two, three, _ = earlier.propose(earlier.question(4)())
    earlier.observe(three.trial, {"value": 3.0})
    earlier.rule_out(one.trial, "too hot")
    earlier.abandon(two.trial, "nobody takes it")
    await earlier.ledger.close()
    found = observations_of(tmp_path / "campaign" / "ledger.db")
    assert [(o.point, o.outcome, dict(o.outputs)) for o in found] == [
        (three.parameters, "observed", {"value": 3.0}),
        (one.parameters, "infeasible", {}),
        (two.parameters, "abandoned", {}),
    ]
    given: dict[str, Any] = {}

    def create(*arguments: Any, **options: Any) -> Any:
        given.update(options)
        return SimpleNamespace()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("renkei.campaign._campaign.create", create)
        later = open_campaign(campaign_file(), tmp_path / "later", clock, warm=found)
    assert given["warm"] == found
    assert kinds(later) == []
    await later.ledger.close()
