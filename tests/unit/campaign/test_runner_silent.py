"""Sites that do not say what they offer: what they would take is unknown, and they take part once they answer."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from fakes import (
    FakeExecutor,
    Wire,
    campaign_file,
    federation,
    offered,
    open_campaign,
    records,
    runner_over,
    settled,
    succeed,
    until,
)
from hand_clock import HandClock
from renkei.campaign import Campaign, Runner
from renkei.errors import Denied, RemoteError, RenkeiError, Unreachable
from renkei.federation import SiteHandle
from renkei.model.procedure import Output, ProcedureSpec
from renkei.model.space import Real
from renkei.site import Offered

pytestmark = pytest.mark.anyio

SILENT = Unreachable("jp-site gives no answer.")


class Silent(Wire):
    """A site that is silent until `answers` is set, each time with the next of `errors`."""

    def __init__(self, to: Any, *errors: RenkeiError) -> None:
        super().__init__(to)
        self.answers = False
        self.errors: Iterator[RenkeiError] = iter(errors)

    async def describe(self, team: str) -> Any:
        if not self.answers:
            raise next(self.errors, SILENT)
        return await super().describe(team)


async def over(campaign: Campaign, known: Sequence[SiteHandle], silent: SiteHandle) -> Runner:
    """Return a runner over sites one of which did not say what it offers."""
    descriptions = {site.name: await site.describe(campaign.file.team) for site in known}
    return Runner(campaign, {site.name: site for site in (*known, silent)}, descriptions)


def by_site(campaign: Campaign) -> Counter[str]:
    return Counter(row.site for row in campaign.runs.rows.values() if row.state == "succeeded")


@pytest.mark.parametrize("errors", [(), (RemoteError("Error 500."), Denied("not yet"), Denied("not yet"))])
async def test_a_silent_site_takes_part_once_it_answers(
    errors: tuple[RenkeiError, ...], tmp_path: Path, clock: HandClock
) -> None:
    us, jp = FakeExecutor(capacity=1), FakeExecutor(capacity=1, answer=succeed)
    async with federation(tmp_path, clock, us, jp) as (first, second):
        campaign = open_campaign(campaign_file("trials = 6", parallel=2), tmp_path, clock)
        silent = Silent(second, *errors)
        runner = await over(campaign, [first], silent)
        assert runner.routes.absent == {"jp-site": ""}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runner.run)
            await until(lambda: us.jobs)
            await settled()
            assert by_site(campaign) == {}
            silent.answers = True
            await until(lambda: not runner.routes.absent)
            us.answer = succeed
            await us.succeed(*us.jobs)
        assert by_site(campaign).keys() == {"us-site", "jp-site"}
        assert len(campaign.trials.rows) == 6
        await campaign.ledger.close()


@pytest.mark.parametrize("closed_by", ["its allocation", "its allocation, below a limit", "its policy"])
async def test_a_campaign_is_not_over_while_a_silent_site_may_still_take_its_runs(
    closed_by: str, tmp_path: Path, clock: HandClock
) -> None:
    us, jp = FakeExecutor(capacity=4, answer=succeed), FakeExecutor(capacity=4, answer=succeed)
    options: dict[str, Any] = {
        "its allocation": {"us_allocations": [("fusion", "3 run")]},
        "its allocation, below a limit": {"us_allocations": [("fusion", "3 run")]},
        "its policy": {"us_policy": '@id("nobody") forbid (principal, action, resource);'},
    }[closed_by]
    async with federation(tmp_path, clock, us, jp, **options) as (first, second):
        stop = 'trials = 8, cost = "50 run"' if "limit" in closed_by else "trials = 8"
        campaign = open_campaign(campaign_file(stop, parallel=2), tmp_path, clock)
        silent = Silent(second)
        runner = await over(campaign, [first], silent)
        ended: list[tuple[str, str]] = []

        async def drive() -> None:
            ended.append(await runner.run())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(drive)
            await until(lambda: "refused" in [row.state for row in campaign.runs.rows.values()])
            await settled(200)
            assert (ended, [t.state for t in campaign.trials.rows.values() if t.state == "abandoned"]) == ([], [])
            silent.answers = True
        assert ended == [("exhausted", "all 8 trials were made")]
        assert by_site(campaign).total() == 8
        assert not records(campaign, "trial.abandoned")
        await campaign.ledger.close()


OTHER = ProcedureSpec("lab.measure", "2.0", "Measure.", (Real("z", 0.0, 1.0),), (Output("value"),), {})


@pytest.mark.parametrize(
    ("offer", "why_not"),
    [
        (offered("lab.other"), ""),
        (Offered(OTHER, "lab:measure"), "jp-site: space.x: found 'x', expected a parameter of lab.measure. It has z."),
    ],
)
async def test_what_a_silent_site_turns_out_to_offer_may_not_fit(
    offer: Offered, why_not: str, tmp_path: Path, clock: HandClock
) -> None:
    us, jp = FakeExecutor(answer=succeed), FakeExecutor()
    options: dict[str, Any] = {"us_allocations": [("fusion", "3 run")], "jp_offers": [offer]}
    file = campaign_file("trials = 8", parallel=1)
    async with federation(tmp_path, clock, us, jp, **options) as (first, second):
        campaign = open_campaign(file, tmp_path, clock)
        silent = Silent(second)
        runner = await over(campaign, [first], silent)
        silent.answers = True
        with anyio.fail_after(10):
            state, why = await runner.run()
        assert (state, len(campaign.trials.rows)) == ("exhausted", 4)
        assert "us-site: " in why
        assert why_not in why
        await campaign.ledger.close()


async def test_runs_that_were_at_work_at_a_silent_site_are_its_own_again_once_it_answers(
    tmp_path: Path, clock: HandClock
) -> None:
    us, jp = FakeExecutor(capacity=2), FakeExecutor(capacity=2)
    allocations = {"us_allocations": [("fusion", "1 run")], "jp_allocations": [("fusion", "2 run")]}
    file = campaign_file("trials = 3", parallel=3)
    async with federation(tmp_path, clock, us, jp, **allocations) as (first, second):
        campaign = open_campaign(file, tmp_path, clock)
        with anyio.CancelScope() as killed:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon((await runner_over(campaign, first, second)).run)
                await until(lambda: len(us.jobs) == 1 and len(jp.jobs) == 2)
                await campaign.sync()
                killed.cancel()
        await campaign.ledger.close()
        campaign = open_campaign(file, tmp_path, clock)
        silent = Silent(second)
        runner = await over(campaign, [first], silent)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runner.run)
            await settled()
            silent.answers = True
            await until(lambda: not runner.routes.absent)
            assert {route.site: route.in_flight for route in runner.routes.broker.routes} == {
                "us-site": 1,
                "jp-site": 2,
            }
            await us.succeed(*us.jobs, value=0.5)
            await jp.succeed(*jp.jobs, value=0.5)
        assert [route.in_flight for route in runner.routes.broker.routes] == [0, 0]
        assert runner.spending.committed == {"run": 3_000_000}
        assert by_site(campaign) == {"us-site": 1, "jp-site": 2}
        await campaign.ledger.close()
