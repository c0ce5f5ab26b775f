"""The executor in front of an IRI facility: a small one that is made for this, and renkei's own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from batch_bench import Bench, until
from fake_iri import TOKEN, FakeFacility

from renkei.clock import SystemClock
from renkei.errors import UsageError
from renkei.executors import _batch
from renkei.executors._batch import BatchExecutor
from renkei.executors.iri import IriScheduler, iri_executor
from renkei.executors.local import LocalExecutor
from renkei.model.site_file import ExecutorTable
from renkei.testing.executors import ExecutorContract, ExecutorLab
from renkei.testing.standins import StandIn

pytestmark = pytest.mark.anyio


class IriBench(Bench):
    """A bench in front of a facility; `app` is the facility's application."""

    def __init__(self, folder: Path, app: Any, token: str = TOKEN, account: str = "proj", options: Any = ()) -> None:
        super().__init__("iri", folder, StandIn("flux", folder.parent / "unused"))
        self.app, self.account, self.options = app, account, options
        self.token = folder / "token"
        self.token.write_text(token + "\n")
        self.token.chmod(0o600)

    def table(self, **more: Any) -> ExecutorTable:
        known = {"url": "http://127.0.0.1:9", "resource": "cluster", "token": str(self.token)}
        return super().table(**known | {"account": self.account, "options": self.options} | more)

    def executor(self, *, grace_s: float = 1.0, settle_s: float = 0.4, **more: Any) -> BatchExecutor:
        table, clock = self.table(**more), SystemClock()
        transport = httpx.ASGITransport(app=self.app)
        scheduler = IriScheduler(table, self.folder, clock, transport=transport)
        return BatchExecutor(scheduler, table, self.folder, clock, grace_s=grace_s, settle_s=settle_s)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_batch, "PAST_S", 0.2)
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def facility(tmp_path: Path) -> Iterator[FakeFacility]:
    (tmp_path / "there").mkdir()
    facility = FakeFacility(tmp_path / "there")
    yield facility
    facility.stop()


@pytest.fixture
def near(data: Path, facility: FakeFacility) -> IriBench:
    """Jobs see the site's folder."""
    return IriBench(data, facility.app)


@pytest.fixture
def far(data: Path, facility: FakeFacility) -> IriBench:
    """Jobs do not see the site's folder; their files are fetched."""
    return IriBench(data, facility.app, options=[f"directory={facility.root}/work", "storage=home", "path=/work"])


class TestNear(ExecutorContract):
    @pytest.fixture
    def lab(self, near: IriBench) -> ExecutorLab:
        return ExecutorLab(near.folder, lambda: near.executor(grace_s=5.0, settle_s=2.0))


async def test_files_of_a_job_that_ran_elsewhere_are_fetched(far: IriBench, facility: FakeFacility) -> None:
    job = far.job(shell="echo said; mkdir deep; echo in >deep/file; sleep 0.5")
    (end,) = await far.run(job)
    assert (end.outcome, end.outputs) == ("succeeded", {"y": 2.0})
    here = Path(job.directory)
    assert (here / "stdout").read_text() == "said\n"
    assert (here / "deep" / "file").read_text() == "in\n"
    assert 0.4 < end.seconds < 3
    assert (facility.root / "work" / f"renkei-{job.run}" / "request.json").exists()
    assert not (far.folder / "iri" / f"renkei-{job.run}").exists()
    assert not list(far.folder.parent.rglob("escaped"))


async def test_a_job_that_failed_elsewhere_is_told_with_its_last_words(far: IriBench) -> None:
    (end,) = await far.run(far.job(shell="echo alas >&2; exit 3"))
    assert (end.outcome, end.message) == ("failed", "exit code 3")
    assert end.evidence is not None
    assert (end.evidence.tail, end.evidence.raw_state) == ("alas", "failed")


async def test_files_that_are_not_given_at_once_are_asked_for_again(far: IriBench, facility: FakeFacility) -> None:
    facility.fail("file", "down", times=3)
    (end,) = await far.run(far.job())
    assert (end.outcome, end.outputs) == ("succeeded", {"y": 2.0})


async def test_without_a_storage_the_exit_code_of_the_facility_is_the_evidence(
    data: Path, facility: FakeFacility
) -> None:
    bench = IriBench(data, facility.app, options=[f"directory={facility.root}/work"])
    (failed,) = await bench.run(bench.job("1", "exit 4"))
    assert (failed.outcome, failed.evidence and failed.evidence.exit_code) == ("failed", 4)
    (unknown,) = await bench.run(bench.job("2"))
    assert unknown.outcome == "failed"
    assert "outputs.json" in unknown.message


@pytest.mark.parametrize("fault", ["lost", "garbage"])
async def test_a_submission_whose_answer_was_lost_leads_to_one_execution(
    near: IriBench, facility: FakeFacility, fault: str
) -> None:
    facility.fail("launch", fault)
    (end,) = await near.run(near.job(shell="sleep 0.3"))
    assert end.outcome == "succeeded"
    assert near.n_ran() == 1
    assert len(facility.jobs) == 1
    assert list(facility.keys) == [near.job().run]
    (job,) = facility.jobs.values()
    assert job.spec.name == f"renkei-{near.job().run}"


async def test_a_submission_that_did_not_come_through_is_made_again(near: IriBench, facility: FakeFacility) -> None:
    facility.fail("launch", "down")
    (end,) = await near.run(near.job())
    assert end.outcome == "succeeded"
    assert near.n_ran() == 1


@pytest.mark.parametrize("fault", ["down", "garbage"])
async def test_a_poll_without_a_proper_answer_changes_nothing(
    near: IriBench, facility: FakeFacility, fault: str
) -> None:
    facility.fail("find", fault, times=10)
    (end,) = await near.run(near.job(shell="sleep 0.3"))
    assert end.outcome == "succeeded"


async def test_a_refusal_is_told_in_the_facilitys_words(near: IriBench) -> None:
    (end,) = await near.run(near.job(queue="none"))
    assert end.outcome == "failed"
    assert "403 you may not use the queue 'none'" in end.message


async def test_a_job_that_the_facility_forgot_ends_as_lost(near: IriBench, facility: FakeFacility) -> None:
    executor = near.executor()
    async with near.serving(executor) as ends:
        await executor.submit([near.job(shell="sleep 30")])
        await until(lambda: near.n_ran() == 1)
        facility.stop()
        facility.jobs.clear()
        (end,) = await ends.all(1)
    assert (end.outcome, end.retryable) == ("lost", True)


async def test_jobs_elsewhere_are_found_again_by_another_executor(far: IriBench, facility: FakeFacility) -> None:
    jobs = [far.job(str(i), "sleep 1") for i in range(3)]
    first = far.executor()
    async with far.serving(first):
        await first.submit(jobs)
        await until(lambda: len(facility.jobs) == 3)
    (far.folder / "iri" / "renkei-half.part").write_text('{"dir')
    second = far.executor()
    settled = list(await second.settle(jobs))
    assert settled == []
    async with far.serving(second) as ends:
        assert [end.outcome for end in await ends.all(3)] == ["succeeded"] * 3
    assert far.n_ran() == 3


async def test_check_says_what_the_facility_says(near: IriBench, facility: FakeFacility) -> None:
    assert list(await near.executor().check()) == []
    near.token.write_text("another")
    (problem,) = await near.executor().check()
    assert "401" in problem


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"url": None}, "needs url"),
        ({"resource": None, "token": None}, "needs resource and token"),
        ({"url": "http://facility.example.org"}, "in the clear"),
        ({"options": ["folder=/x"]}, "no option"),
        ({"options": ["directory=relative"]}, "absolute"),
        ({"options": ["storage=home"]}, "no directory"),
    ],
)
def test_a_table_that_does_not_do_is_refused(near: IriBench, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        iri_executor(near.table(**changes), near.folder, SystemClock())


@pytest.mark.parametrize(("mode", "text", "words"), [(0o640, "t", "Others can read"), (0o600, "a b", "one token")])
def test_a_token_that_is_not_kept_well_is_refused(near: IriBench, mode: int, text: str, words: str) -> None:
    near.token.write_text(text)
    near.token.chmod(mode)
    with pytest.raises(UsageError, match=words):
        iri_executor(near.table(), near.folder, SystemClock())


async def test_a_site_of_renkei_is_such_a_facility(data: Path, tmp_path: Path) -> None:
    from iri.serving import served

    clock = SystemClock()
    there = tmp_path / "site"
    (there / "logs").mkdir(parents=True)
    async with served(there, clock, LocalExecutor(2, there / "logs", clock)) as (app, _):
        options = [f"directory={there}/files/work", "storage=files", "path=/work"]
        bench = IriBench(data, app, "alice-secret", "fusion", options)
        (problem,) = await bench.executor().check()
        assert "does not list the folder /work" in problem
        (there / "files" / "work").mkdir()
        assert list(await bench.executor().check()) == []
        jobs = [bench.job("1", "echo said"), bench.job("2", "exit 9"), bench.job("3", limit_s=1.0, shell="sleep 30")]
        well, bad, late = await bench.run(*jobs, within_s=40.0)
    assert (well.outcome, well.outputs) == ("succeeded", {"y": 2.0})
    assert (Path(jobs[0].directory) / "stdout").read_text() == "said\n"
    assert (bad.outcome, bad.message) == ("failed", "exit code 9")
    assert late.message == "ended at its time limit of 1 s"
