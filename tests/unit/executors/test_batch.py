"""What is common to all batch systems: a scheduler may forget, repeat, lie or be silent, and no run runs twice."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import pytest

from hand_clock import HandClock
from renkei.errors import ExecutorError, SubmitRejected
from renkei.executors import Command, Job, JobEnd
from renkei.executors._batch import BatchExecutor
from renkei.executors._scheduler import Meaning, Seen, Submission
from renkei.executors.slurm import STATES
from renkei.model.site_file import ExecutorTable

pytestmark = pytest.mark.anyio


class FakeScheduler:
    """A batch system that does as the test says."""

    name, title, number_variable, index_variable = "fake", "Fake", "FAKE_ID", "FAKE_INDEX"
    states = STATES

    def __init__(self, array_limit: int = 1) -> None:
        self.array_limit = array_limit
        self.submitted: list[Submission] = []
        self.answers: list[Exception] = []  # to the next submissions, in order
        self.rows: list[Seen] = []
        self.accounts: list[Seen] = []
        self.cancelled: list[str] = []
        self.is_dead = False
        self.n_polls = self.n_past = 0

    async def submit(self, submission: Submission) -> str:
        self.submitted.append(submission)
        if self.answers:
            raise self.answers.pop(0)
        return str(len(self.submitted))

    async def poll(self) -> Sequence[Seen]:
        self.n_polls += 1
        if self.is_dead:
            raise ExecutorError("no answer")
        return self.rows

    async def past(self, since: float) -> Sequence[Seen]:
        self.n_past += 1
        return self.accounts

    async def cancel(self, jobs: Sequence[Seen]) -> None:
        self.cancelled += [job.number for job in jobs]

    async def check(self) -> Sequence[str]:
        return []


class Bench:
    """An executor in front of a fake, on a clock that is moved by hand."""

    def __init__(self, folder: Path, array_limit: int = 1) -> None:
        self.folder, self.clock, self.scheduler = folder, HandClock(), FakeScheduler(array_limit)
        table = ExecutorTable(kind="slurm", workers=10)
        self.executor = BatchExecutor(self.scheduler, table, folder, self.clock, grace_s=60, settle_s=10)
        self.ends: list[JobEnd] = []

    async def report(self, ends: Sequence[JobEnd]) -> None:
        self.ends += ends

    def job(self, run: str, **more: object) -> Job:
        target = Command(("true",), "")
        return Job(run, "t.any", target, {}, str(self.folder / "runs" / run), 30.0, **more)  # type: ignore[arg-type]

    def leave(self, run: str, *, number: str = "1", code: int | None = None) -> None:
        """Leave what the script of a job leaves: that it began, and its exit code."""
        directory = self.folder / "runs" / run
        (directory / "started").write_text(f"{number} node")
        if code is not None:
            (directory / "exit_code").write_text(f"{code}\n")

    def row(self, run: str, raw: str, number: str = "1", **more: object) -> Seen:
        return Seen(f"renkei-{run}", number, raw, **more)  # type: ignore[arg-type]

    async def polls(self, n: int = 2) -> None:
        before = self.scheduler.n_polls
        with anyio.fail_after(5):
            while self.scheduler.n_polls < before + n and self.executor.room("") < self.executor.slots:
                await anyio.sleep(0.001)
        await anyio.sleep(0.002)

    async def passing(self, seconds: float, step: float = 2.0) -> None:
        """Let time pass, with polls in between."""
        for _ in range(int(seconds / step)):
            self.clock.time += step
            await self.polls()

    async def handed(self, *jobs: Job) -> None:
        n = len(self.scheduler.submitted)
        await self.executor.submit(jobs)
        with anyio.fail_after(5):
            while len(self.scheduler.submitted) == n:
                await anyio.sleep(0.001)
        self.clock.time += 1


@asynccontextmanager
async def bench(folder: Path, array_limit: int = 1) -> AsyncGenerator[Bench]:
    bench = Bench(folder, array_limit)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.executor.serve, bench.report)
        yield bench
        tasks.cancel_scope.cancel()


async def test_jobs_that_ask_for_the_same_go_as_one_array_with_their_runs_linked(tmp_path: Path) -> None:
    async with bench(tmp_path, array_limit=3) as b:
        await b.handed(*(b.job(f"r{n}") for n in range(5)))
        await b.polls()
        assert [(s.name, s.size) for s in b.scheduler.submitted] == [("renkei-r0", 3), ("renkei-r3", 2)]
        links = sorted((tmp_path / "batches" / "renkei-r0").iterdir())
        assert [(link.name, link.resolve().name) for link in links] == [("0", "r0"), ("1", "r1"), ("2", "r2")]
        b.leave("r1", code=0)
        b.scheduler.rows = [Seen("renkei-r0", f"1_{i}", "COMPLETED" if i == 1 else "RUNNING", i) for i in range(3)]
        await b.polls()
    assert [(end.run, end.outcome) for end in b.ends] == [("r1", "succeeded")]


async def test_room_is_what_is_left_of_the_queue(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        assert (b.executor.slots, b.executor.room("t.any")) == (10, 10)
        await b.handed(b.job("r1"))
        assert b.executor.room("t.any") == 9


async def test_a_refused_job_fails_at_once_with_the_reason(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.scheduler.answers = [SubmitRejected("no such queue")]
        await b.handed(b.job("r1"))
        await anyio.sleep(0.02)
    assert [(end.outcome, end.fault, end.message) for end in b.ends] == [
        ("failed", "facility", "Fake refused it: no such queue")
    ]


async def test_an_unknown_submission_is_looked_for_before_it_is_repeated(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.scheduler.answers = [ExecutorError("timed out")]
        b.scheduler.is_dead = True
        await b.handed(b.job("r1"))
        await b.passing(100)
        assert len(b.scheduler.submitted) == 1  # nobody knows yet
        b.scheduler.is_dead = False
        await b.passing(20)
        assert [s.name for s in b.scheduler.submitted] == ["renkei-r1"] * 2
        b.scheduler.rows = [b.row("r1", "COMPLETED", "7")]
        b.leave("r1", number="7", code=0)
        await b.polls()
    assert [(end.run, end.outcome) for end in b.ends] == [("r1", "succeeded")]


async def test_an_unknown_submission_that_arrived_is_not_repeated(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.scheduler.answers = [ExecutorError("timed out")]
        b.scheduler.rows = [b.row("r1", "PENDING", "7")]
        await b.handed(b.job("r1"))
        await b.passing(100)
        state = b.executor.look("r1")
    assert len(b.scheduler.submitted) == 1
    assert state is not None
    assert (state.state, state.raw, state.number) == ("queued", "PENDING", "7")


async def test_a_job_that_vanished_is_lost_after_a_while_and_cannot_begin_any_more(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.handed(b.job("r1"))
        await b.passing(50)
        assert b.ends == []
        await b.passing(20)
    (end,) = b.ends
    assert (end.outcome, end.retryable) == ("lost", True)
    assert "never began" in end.message
    assert (tmp_path / "runs" / "r1" / "started").read_text() == "given-up"
    assert b.scheduler.n_past < b.scheduler.n_polls / 2


async def test_a_job_that_vanished_is_settled_by_its_evidence_at_once(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.handed(b.job("r1"))
        b.leave("r1", code=4)
        await b.polls()
    assert [(end.outcome, end.message) for end in b.ends] == [("failed", "exit code 4")]


async def test_the_accounts_say_why_a_job_without_evidence_is_gone(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.handed(b.job("r1"))
        b.leave("r1", number="1")
        b.scheduler.accounts = [b.row("r1", "NODE_FAIL")]
        await b.passing(10)
    assert [(end.outcome, end.fault, end.retryable) for end in b.ends] == [("failed", "facility", True)]
    assert b.ends[0].evidence is not None
    assert (b.ends[0].evidence.raw_state, b.ends[0].evidence.job) == ("NODE_FAIL", "1")


async def test_success_needs_evidence_whatever_the_scheduler_says(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.scheduler.rows = [b.row("r1", "COMPLETED", exit_code=0)]
        await b.handed(b.job("r1"))
        b.leave("r1")
        await b.polls()
        assert b.ends == []  # the file system may be late
        await b.passing(12)
    assert [(end.outcome, end.message) for end in b.ends] == [("lost", "it left no evidence")]


@pytest.mark.parametrize(
    ("raw", "outcome", "fault"),
    [
        ("TIMEOUT", "failed", "requester"),
        ("OUT_OF_MEMORY", "failed", "requester"),
        ("PREEMPTED", "failed", "facility"),
        ("BOOT_FAIL", "failed", "facility"),
        ("DEADLINE", "failed", "requester"),
        ("CANCELLED", "cancelled", ""),
    ],
)
@pytest.mark.parametrize("code", [None, 143])
async def test_the_schedulers_word_explains_an_end_without_success(
    raw: str, outcome: str, fault: str, code: int | None, tmp_path: Path
) -> None:
    async with bench(tmp_path) as b:
        b.scheduler.rows = [b.row("r1", "RUNNING")]
        await b.handed(b.job("r1"))
        b.leave("r1", code=code)
        b.scheduler.rows = [b.row("r1", raw)]
        await b.polls()
    assert [(end.outcome, end.fault) for end in b.ends] == [(outcome, fault)]
    assert b.ends[0].evidence is not None
    assert b.ends[0].evidence.raw_state == raw


@pytest.mark.parametrize(
    ("had_nodes", "began", "outcome"),
    [(True, False, "lost"), (True, True, "cancelled"), (False, False, "cancelled"), (True, None, "cancelled")],
)
async def test_a_job_that_was_cancelled_on_its_nodes_and_never_began_is_lost(
    had_nodes: bool, began: bool | None, outcome: str, tmp_path: Path
) -> None:
    """Slurm does that to jobs that it cannot launch; `began` is None where the run was to be cancelled anyhow."""
    async with bench(tmp_path) as b:
        b.scheduler.rows = [b.row("r1", "RUNNING")]
        await b.handed(b.job("r1"))
        if began is None:
            await b.executor.cancel("r1")
        elif began:
            b.leave("r1", code=None)
        cancelled = b.row("r1", "CANCELLED")
        b.scheduler.rows = [msgspec.structs.replace(cancelled, has_nodes=had_nodes, started_at=1.0, ended_at=3.0)]
        await b.polls()
        assert bool(b.ends) == (began is True or not had_nodes), "what it left may come late"
        await b.passing(12)
    (end,) = b.ends
    assert end.outcome == outcome
    if had_nodes and not began:
        assert end.seconds == 0.0
        assert (tmp_path / "runs" / "r1" / "started").exists(), "it cannot begin any more"


async def test_evidence_of_success_stands_against_the_schedulers_word(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.scheduler.rows = [b.row("r1", "TIMEOUT")]
        await b.handed(b.job("r1"))
        b.leave("r1", code=0)
        await b.polls()
    assert [end.outcome for end in b.ends] == ["succeeded"]


async def test_a_limit_of_a_job_that_never_began_is_not_the_requesters_fault(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.scheduler.rows = [b.row("r1", "TIMEOUT")]
        await b.handed(b.job("r1"))
        await b.polls()
    assert [(end.outcome, end.fault) for end in b.ends] == [("failed", "facility")]


async def test_a_word_that_nobody_knows_changes_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.scheduler.rows = [b.row("r1", "RUNNING")]
        await b.handed(b.job("r1"))
        await b.polls()
        b.scheduler.rows = [b.row("r1", "DREAMING")]
        await b.passing(100)
        state = b.executor.look("r1")
    assert b.ends == []
    assert state is not None
    assert (state.state, state.raw) == ("active", "DREAMING")


async def test_a_ghost_that_is_queued_again_is_cancelled_and_the_run_is_lost(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.handed(b.job("r1"))
        b.leave("r1")
        b.scheduler.rows = [b.row("r1", "PENDING", "9")]
        await b.passing(80)
    assert [(end.outcome, end.retryable) for end in b.ends] == [("lost", True)]
    assert b.scheduler.cancelled == ["9"]


async def test_a_job_that_is_over_and_said_to_run_is_settled_by_its_evidence(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.scheduler.rows = [b.row("r1", "RUNNING")]
        await b.handed(b.job("r1"))
        b.leave("r1", code=0)
        await b.passing(30)
    assert [end.outcome for end in b.ends] == ["succeeded"]


async def test_of_two_jobs_of_one_name_the_one_that_is_alive_counts(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        ended, alive = b.row("r1", "FAILED", "8", exit_code=73), b.row("r1", "RUNNING", "7")
        b.scheduler.rows = [alive, ended]
        await b.handed(b.job("r1"))
        b.leave("r1", number="7")
        await b.passing(30)
        assert b.ends == []
        b.leave("r1", number="7", code=0)
        b.scheduler.rows = [b.row("r1", "COMPLETED", "7"), ended]
        await b.polls()
    assert [end.outcome for end in b.ends] == ["succeeded"]


async def test_a_cancelled_job_is_cancelled_again_only_after_a_while(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.scheduler.rows = [b.row("r1", "RUNNING")]
        await b.handed(b.job("r1"))
        await b.executor.cancel("r1")
        await b.passing(8)
        assert b.scheduler.cancelled == ["1"]
        b.scheduler.rows = [b.row("r1", "CANCELLED")]
        await b.polls()
    assert [end.outcome for end in b.ends] == ["cancelled"]


async def test_a_job_recorded_as_started_that_never_got_there_is_lost_after_a_search(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.scheduler.answers = [ExecutorError("killed in between")]
        await b.handed(b.job("r1"))
    again = Bench(tmp_path)
    async with anyio.create_task_group() as tasks:
        assert list(await again.executor.settle([again.job("r1")])) == []
        tasks.start_soon(again.executor.serve, again.report)
        await again.passing(50)
        assert again.ends == []
        await again.passing(20)
        tasks.cancel_scope.cancel()
    assert [(end.outcome, end.retryable) for end in again.ends] == [("lost", True)]
    assert again.scheduler.submitted == []
    assert again.scheduler.n_past > 0


def test_every_state_has_a_meaning_for_people() -> None:
    assert all(isinstance(meaning, Meaning) and meaning.text.endswith(".") for meaning in STATES.values())
    assert all(meaning.state == "ended" or not meaning.end for meaning in STATES.values())
    assert all(bool(meaning.fault) == (meaning.end == "failed") for meaning in STATES.values())
