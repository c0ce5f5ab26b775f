"""No answer means unknown, not failed: the campaign asks for the run by id before it does anything else."""

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from fakes import (
    FakeExecutor,
    HeldClock,
    RunningClock,
    Wire,
    balance,
    campaign_file,
    federation,
    kinds,
    open_campaign,
    records,
    runner_over,
    settled,
    site,
    succeed,
    until,
)
from hand_clock import HandClock
from renkei.campaign._runner import REFUSED_MAX
from renkei.errors import Denied, RemoteError, RenkeiError, Unreachable
from renkei.executors import JobEnd
from renkei.federation import Reports
from renkei.ledger import LedgerReader
from renkei.model.quantity import MICRO
from renkei.model.rule import Rule
from renkei.trust.envelope import Envelope

pytestmark = pytest.mark.anyio


class Cut:
    """Cuts a line at the first `n` calls of a method."""

    def __init__(self, method: str, n: int = 1, error: type[RenkeiError] = Unreachable) -> None:
        self.method, self.n_left, self.error = method, n, error

    def __call__(self, method: str) -> None:
        if method == self.method and self.n_left:
            self.n_left -= 1
            raise self.error("The line is down.")


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize(("n_submit", "n_find"), [(1, 0), (3, 0), (1, 2)])
async def test_a_request_without_an_answer_is_asked_about_and_sent_again_only_if_unheard_of(
    side: str, n_submit: int, n_find: int, tmp_path: Path, clock: HandClock
) -> None:
    executor = FakeExecutor()
    async with site(tmp_path, clock, executor).opened() as here:
        wire = Wire(here)
        cuts = [Cut("submit", n_submit), Cut("find", n_find)]
        setattr(wire, side, lambda called: [cut(called) for cut in cuts])
        campaign = open_campaign(campaign_file("trials = 5"), tmp_path, clock)
        runner = await runner_over(campaign, wire)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runner.run)
            with anyio.fail_after(10):
                while campaign.status.row.state == "running":
                    found = wire.calls.count("find") > n_find and here.runs.live
                    await (executor.succeed(*executor.jobs) if found and executor.jobs else anyio.sleep(0.001))
        assert {t.state for t in campaign.trials.rows.values()} == {"observed"}
        assert len(executor.taken) == len(set(executor.taken)) == 5
        assert all(len(t.runs) == 1 for t in campaign.trials.rows.values())
        assert balance(here) == (95, 0, 5)
        first = wire.calls[: wire.calls.index("find")]
        assert first == ["submit"]
        payloads = "".join(r.body.payload for r in records(here, "batch.received"))
        sent = {run: payloads.count(run) for run in campaign.runs.rows}
        assert set(sent.values()) == {1}, "what the site had heard of was sent again"
        await campaign.ledger.close()


async def test_no_request_leaves_before_it_is_written_down(tmp_path: Path, clock: HandClock) -> None:
    mine = HeldClock()
    async with site(tmp_path, clock, FakeExecutor(answer=succeed)).opened() as here:
        wire = Wire(here)
        campaign = open_campaign(campaign_file("trials = 2"), tmp_path, mine)
        runner = await runner_over(campaign, wire)
        async with anyio.create_task_group() as tasks:
            mine.hold()
            tasks.start_soon(runner.run)
            await until(lambda: len(campaign.runs.open) == 2)
            await settled()
            assert wire.calls == []
            mine.release()
        assert wire.calls == ["submit", "checkpoint"]
        await campaign.ledger.close()


async def test_what_was_observed_is_on_disk_while_others_still_run(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor()
    async with site(tmp_path, clock, executor).opened() as here:
        campaign = open_campaign(campaign_file("trials = 2"), tmp_path, clock)
        runner = await runner_over(campaign, here)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runner.run)
            await until(lambda: len(executor.jobs) == 2)
            await settled()
            await executor.succeed(next(iter(executor.jobs)))
            await settled()
            with LedgerReader(tmp_path / "campaign" / "ledger.db") as reader:
                assert [record.kind for record in reader.records()][-2:] == ["run.reported", "trial.observed"]
            await executor.succeed(*executor.jobs)
        await campaign.ledger.close()


async def test_what_is_sent_again_is_the_same_request_word_for_word(tmp_path: Path, clock: HandClock) -> None:
    async with site(tmp_path, clock, FakeExecutor(answer=succeed)).opened() as here:
        wire = Wire(here)
        said: list[bytes] = []
        wire.before = Cut("submit", 2)
        original = here.submit

        async def listen(envelope):  # type: ignore[no-untyped-def]
            said.append(envelope.payload)
            return await original(envelope)

        here.submit = listen  # type: ignore[method-assign]
        campaign = open_campaign(campaign_file("trials = 1"), tmp_path, clock)
        with anyio.fail_after(10):
            await (await runner_over(campaign, wire)).run()
        (requested,) = records(campaign, "run.requested")
        assert len(said) == 1
        assert requested.body.run.encode() in said[0]
        assert [r.body.run for r in records(here, "run.accepted")] == [requested.body.run]
        await campaign.ledger.close()


async def test_a_site_that_stays_away_for_long_is_asked_with_patience(tmp_path: Path, clock: HandClock) -> None:
    """Neither recursion nor anything else grows with the number of tries."""
    executor = FakeExecutor(answer=succeed)

    class Impatient(HandClock):
        async def sleep(self, seconds: float) -> None:
            await anyio.sleep(0)

    async with site(tmp_path, clock, executor).opened() as here:
        wire = Wire(here)
        wire.before = Cut("submit", 700)
        campaign = open_campaign(campaign_file("trials = 1"), tmp_path, Impatient())
        with anyio.fail_after(20):
            await (await runner_over(campaign, wire)).run()
        assert len(executor.taken) == 1
        assert len(campaign.runs.rows) == 1
        await campaign.ledger.close()


async def test_an_end_that_comes_before_its_receipt_is_taken_once(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor()
    async with site(tmp_path, clock, executor).opened() as here:
        wire = Wire(here)
        wire.after = Cut("submit")
        campaign = open_campaign(campaign_file("trials = 1"), tmp_path, clock)
        runner = await runner_over(campaign, wire)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runner.run)
            await until(lambda: executor.jobs)
            await executor.succeed(*executor.jobs)
        assert Counter(kinds(campaign))["trial.observed"] == 1
        assert [route.in_flight for route in runner.routes.broker.routes] == [0]
        assert not runner.spending._held
        await campaign.ledger.close()


async def test_a_parked_run_that_is_found_again_is_written_down_once(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor()
    async with site(tmp_path, clock, executor, rules=[Rule("ask", "ask")]).opened() as here:
        wire = Wire(here)
        wire.after = Cut("submit")
        campaign = open_campaign(campaign_file("trials = 1"), tmp_path, clock)
        runner = await runner_over(campaign, wire)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runner.run)
            await until(lambda: any(row.state == "parked" for row in campaign.runs.open.values()))
            (parked,) = records(here, "run.parked")
            for _ in range(3):
                runner._hear("us-site", [parked.raw])
            await settled()
            (run,) = campaign.runs.open
            await here.decide(run, "ada", True)
            await until(lambda: campaign.runs.rows[run].state == "accepted")
            runner._hear("us-site", [parked.raw])  # an answer that was long on its way
            await settled()
            assert campaign.runs.rows[run].state == "accepted"
            await executor.end(JobEnd(run, "succeeded", 1.0, {"value": 1.0}))
        assert kinds(campaign).count("run.reported") == 3
        await campaign.ledger.close()


@pytest.mark.parametrize("error", [RemoteError, Denied])
async def test_a_site_that_refuses_the_batch_as_a_whole_gets_no_more_and_the_other_does_the_work(
    error: type[RenkeiError], tmp_path: Path, clock: HandClock
) -> None:
    us, jp = FakeExecutor(answer=succeed), FakeExecutor(answer=succeed)
    async with federation(tmp_path, clock, us, jp) as (first, second):
        wires = Wire(first), Wire(second)
        wires[0].before = Cut("submit", 99, error)
        campaign = open_campaign(campaign_file("trials = 6"), tmp_path, clock)
        runner = await runner_over(campaign, *wires)
        with anyio.fail_after(10):
            assert (await runner.run())[0] == "exhausted"
        assert {t.state for t in campaign.trials.rows.values()} == {"observed"}
        assert (us.taken, len(jp.taken)) == ([], 6)
        assert wires[0].calls.count("submit") == 1
        withdrawn = records(campaign, "run.withdrawn")
        assert {r.body.why for r in withdrawn} == {"The line is down."}
        assert len(withdrawn) >= 1
        await campaign.ledger.close()


@pytest.mark.parametrize("error", [RemoteError, Denied])
async def test_a_site_that_does_not_want_to_be_asked_leaves_the_outcome_unknown(
    error: type[RenkeiError], tmp_path: Path
) -> None:
    clock, executor = RunningClock(), FakeExecutor(answer=succeed)
    async with site(tmp_path, clock, executor).opened() as here:
        wire = Wire(here)
        cuts = [Cut("submit", 1), Cut("find", 2, error)]
        setattr(wire, "before", lambda called: [cut(called) for cut in cuts])  # noqa: B010
        campaign = open_campaign(campaign_file("trials = 3"), tmp_path, clock)
        runner = await runner_over(campaign, wire)
        with anyio.fail_after(10):
            assert (await runner.run())[0] == "exhausted"
        assert {t.state for t in campaign.trials.rows.values()} == {"observed"}
        assert len(executor.taken) == len(set(executor.taken)) == 3
        assert wire.calls.count("find") >= 3
        await campaign.ledger.close()


class Doubled(Wire):
    """A line on which a copy of every batch overtakes it."""

    async def submit(self, envelope: Envelope) -> Reports:
        await self.site.submit(envelope)
        return await super().submit(envelope)


async def test_runs_whose_batch_came_before_are_asked_about_and_not_given_up(tmp_path: Path) -> None:
    clock, executor = RunningClock(), FakeExecutor(answer=succeed)
    async with site(tmp_path, clock, executor).opened() as here:
        campaign = open_campaign(campaign_file("trials = 5"), tmp_path, clock)
        runner = await runner_over(campaign, Doubled(here))
        with anyio.fail_after(10):
            assert (await runner.run())[0] == "exhausted"
        assert {t.state for t in campaign.trials.rows.values()} == {"observed"}
        assert {r.state for r in campaign.runs.rows.values()} == {"succeeded"}
        assert len(executor.taken) == len(set(executor.taken)) == 5
        await campaign.ledger.close()


class Refusing(Wire):
    """A line to a site that tells this institution nothing any more, as one that was revoked, while `is_refusing`."""

    is_refusing = False

    def follow(self, team: str, campaign: str) -> AbstractAsyncContextManager[Any]:
        return self._follow(team, campaign)

    @asynccontextmanager
    async def _follow(self, team: str, campaign: str) -> AsyncGenerator[AsyncIterator[Reports]]:
        async with self.site.follow(team, campaign) as feed:
            yield self._reports(feed)

    async def _reports(self, feed: AsyncIterator[Reports]) -> AsyncGenerator[Reports]:
        while True:
            reports: Reports = ()
            with anyio.move_on_after(0.01):
                reports = await anext(feed)
            self.refuse("follow")
            if reports:
                yield reports

    def refuse(self, method: str) -> None:
        if self.is_refusing and method != "describe":
            raise Denied("'us-lab' is revoked.")


async def test_runs_at_a_site_that_refuses_for_long_to_tell_of_them_are_given_up_and_the_campaign_ends(
    tmp_path: Path, clock: HandClock
) -> None:
    executor = FakeExecutor()
    async with site(tmp_path, clock, executor).opened() as here:
        wire = Refusing(here)
        wire.before = wire.refuse
        campaign = open_campaign(campaign_file("trials = 9", parallel=2), tmp_path, clock)
        runner = await runner_over(campaign, wire)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runner.run)
            await until(lambda: len(executor.jobs) == 2)
            wire.is_refusing = True
            await until(lambda: campaign.status.row.state == "exhausted")
        given_up = records(campaign, "run.given-up")
        assert {record.body.run for record in given_up} == set(executor.jobs)
        assert campaign.status.row.why == "no site takes its runs any more (us-site: 'us-lab' is revoked.)"
        trials = campaign.trials.rows.values()
        assert {t.state for t in trials} == {"abandoned"}
        whys = {t.why for t in trials if t.runs and t.runs[-1] in executor.jobs}
        assert whys == {"what became of it at us-site cannot be known: 'us-lab' is revoked."}
        assert wire.calls.count("find") == REFUSED_MAX
        runs = [campaign.runs.rows[run] for run in executor.jobs]
        assert [(row.state, row.code, row.micro) for row in runs] == [("lost", "unknown", MICRO)] * 2
        await campaign.ledger.close()


async def test_a_site_that_refuses_for_a_while_is_believed_again(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor()
    async with site(tmp_path, clock, executor).opened() as here:
        wire = Refusing(here)
        wire.before = wire.refuse
        campaign = open_campaign(campaign_file("trials = 2", parallel=2), tmp_path, clock)
        runner = await runner_over(campaign, wire)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runner.run)
            await until(lambda: len(executor.jobs) == 2)
            wire.is_refusing = True
            await until(lambda: wire.calls.count("find") >= 2)
            await executor.succeed(*executor.jobs)  # nobody is told
            wire.is_refusing = False
            await until(lambda: campaign.status.row.state == "exhausted")
        assert {t.state for t in campaign.trials.rows.values()} == {"observed"}
        assert "run.given-up" not in kinds(campaign)
        await campaign.ledger.close()
