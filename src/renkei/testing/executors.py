"""What every executor must do: a suite that runs against any of them.

::

    class TestMine(ExecutorContract):
        @pytest.fixture
        def lab(self, tmp_path: Path) -> ExecutorLab:
            return ExecutorLab(tmp_path, lambda: MyExecutor(...))

The tests are coroutines: mark the class or the module with `pytest.mark.anyio`.
"""

import json
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import msgspec

from renkei.clock import SystemClock
from renkei.executors import Command, Executor, Job, JobEnd, JobState, Resources
from renkei.ids import IdMint

PROCEDURES = '''
import os, signal, time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from annotated_types import Interval
from renkei import Infeasible, current_run, procedure
from renkei.errors import UsageError

X = Annotated[float, Interval(ge=0, le=1e6)]

def mark():
    """Leave a mark outside that no crash takes back."""
    with open(Path(__file__).with_name("marks"), "a") as file:
        file.write(current_run().id + "\\n")

@procedure("t.double", version="1")
def double(x: X) -> float:
    mark()
    return 2 * x

@procedure("t.sleep", version="1")
def sleep(x: X) -> float:
    mark()
    time.sleep(x)
    return x

@procedure("t.melt", version="1")
def melt(x: X) -> float:
    raise Infeasible("it melts")

@procedure("t.boom", version="1")
def boom(x: X) -> float:
    return [][1]

@procedure("t.ask", version="1")
def ask(x: X) -> float:
    raise UsageError("no such sample")

@procedure("t.leave", version="1")
def leave(x: X) -> float:
    print("about to leave", flush=True)
    os._exit(7)

@procedure("t.fall", version="1")
def fall(x: X) -> float:
    os.kill(os.getpid(), signal.SIGKILL)

@procedure("t.eat", version="1")
def eat(x: X) -> float:
    food = []
    while True:
        food.append(bytearray(10_000_000))

@dataclass
class Made:
    size: float
    picture: Path

@procedure("t.file", version="1")
def file(x: X) -> Made:
    if x:
        (current_run().directory / "p.txt").write_text("x" * int(x))
    return Made(x, Path("p.txt"))
'''


@dataclass
class ExecutorLab:
    """An executor to be tested, and what it can do.

    Args:
        folder: Where runs live; jobs see it under the same path.
        make: Makes an executor as a site that is started does: what another one left behind is there.
        resources: What jobs ask for besides.
        patience_s: How long a job may take to be reported, in seconds, with the queue of the engine.
        outlives: Whether jobs go on when the executor is gone, as they do in a batch system.
        capacity: How many jobs with one core run at the same time; more are queued. 0 where none is ever queued.
        limits_memory: Whether it ends a Python procedure that takes more memory than it may.
    """

    folder: Path
    make: Callable[[], Executor]
    resources: Resources = field(default_factory=Resources)
    patience_s: float = 60.0
    outlives: bool = True
    capacity: int = 0
    limits_memory: bool = True

    def __post_init__(self) -> None:
        self._mint = IdMint(SystemClock())
        (self.folder / "procs.py").write_text(PROCEDURES)

    def job(self, name: str, x: float = 1.0, limit_s: float = 60.0, **more: object) -> Job:
        """Return a job of one of the procedures above."""
        return self._job(f"{self.folder / 'procs.py'}:{name}", {"x": x}, limit_s, **more)

    def command(self, script: str, limit_s: float = 60.0, **more: object) -> Job:
        """Return a job of a shell command that gives `o.json`; `more` are fields of `Command`."""
        asked: dict[str, object] = {"argv": ("sh", "-c", script), "outputs_file": "o.json"} | more
        return self._job(msgspec.convert(asked, Command), {"x": 2.5}, limit_s)

    def _job(self, target: str | Command, parameters: dict[str, object], limit_s: float, **more: object) -> Job:
        run = self._mint.new()
        known: dict[str, object] = {"resources": self.resources} | more
        return Job(run, "t.any", target, parameters, str(self.folder / "runs" / run), limit_s, **known)  # type: ignore[arg-type]

    def marks(self) -> list[str]:
        """Return the runs that were executed, once for each time."""
        path = self.folder / "marks"
        return path.read_text().split() if path.exists() else []

    @asynccontextmanager
    async def at_work(self) -> AsyncGenerator["AtWork"]:
        """Have a new executor run jobs until the end of the block; then it is thrown away."""
        work = AtWork(self, self.make())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work.executor.serve, work.report)
            yield work
            tasks.cancel_scope.cancel()

    async def end_of(self, job: Job) -> JobEnd:
        """Run one job and return how it ended."""
        async with self.at_work() as work:
            await work.submit(job)
            return await work.end_of(job)


class AtWork:
    """An executor that runs, and the ends that it reported."""

    def __init__(self, lab: ExecutorLab, executor: Executor) -> None:
        self.lab, self.executor = lab, executor
        self.ends: list[JobEnd] = []

    async def report(self, ends: Sequence[JobEnd]) -> None:
        """Take ends."""
        self.ends += ends

    async def submit(self, *jobs: Job) -> None:
        """Hand jobs over, each when there is room."""
        with anyio.fail_after(self.lab.patience_s):
            for job in jobs:
                while not self.executor.room(job.procedure):
                    await anyio.sleep(0.01)
                await self.executor.submit([job])

    async def end_of(self, job: Job) -> JobEnd:
        """Wait until a job was reported."""
        return (await self.ends_of(job))[0]

    async def ends_of(self, *jobs: Job) -> list[JobEnd]:
        """Wait until jobs were reported; return how they ended, in order."""
        runs = {job.run for job in jobs}
        with anyio.fail_after(self.lab.patience_s):
            while not runs <= {end.run for end in self.ends}:
                await anyio.sleep(0.01)
        ends = {end.run: end for end in self.ends}
        return [ends[job.run] for job in jobs]

    async def until(self, job: Job, state: str) -> JobState:
        """Wait until a job is in a state, and return what is known of it."""
        with anyio.fail_after(self.lab.patience_s):
            while (found := self.executor.look(job.run)) is None or found.state != state:
                await anyio.sleep(0.01)
        return found

    def states(self, *jobs: Job) -> list[str]:
        """Return the states of jobs, in order; "" of those that are over."""
        return [found.state if (found := self.executor.look(job.run)) else "" for job in jobs]


class ExecutorContract:
    """The tests. A subclass brings the fixture `lab`."""

    async def test_it_finds_nothing_wrong_with_itself(self, lab: ExecutorLab) -> None:
        assert list(await lab.make().check()) == []

    async def test_a_procedure_gives_its_outputs_and_its_time(self, lab: ExecutorLab) -> None:
        end = await lab.end_of(lab.job("double", 21.0))
        assert (end.outcome, end.outputs, end.fault) == ("succeeded", {"value": 42.0}, "")
        assert 0 < end.seconds < lab.patience_s
        assert 0 <= end.queued_s < lab.patience_s

    async def test_a_point_that_cannot_work_is_infeasible(self, lab: ExecutorLab) -> None:
        end = await lab.end_of(lab.job("melt"))
        assert (end.outcome, end.message, end.outputs) == ("infeasible", "it melts", {})

    async def test_an_exception_fails_the_run_and_leaves_its_traceback(self, lab: ExecutorLab) -> None:
        end = await lab.end_of(lab.job("boom"))
        assert (end.outcome, end.fault, end.retryable) == ("failed", "facility", True)
        assert "IndexError" in end.message
        assert end.evidence is not None
        assert "procs.py" in end.evidence.tail

    async def test_what_was_asked_wrongly_is_the_requesters_fault(self, lab: ExecutorLab) -> None:
        end = await lab.end_of(lab.job("ask"))
        assert (end.outcome, end.fault, end.retryable) == ("failed", "requester", False)
        assert "no such sample" in end.message

    async def test_a_procedure_that_is_not_there_fails(self, lab: ExecutorLab) -> None:
        end = await lab.end_of(lab.job("nowhere"))
        assert (end.outcome, end.fault) == ("failed", "facility")
        assert "has no procedure 'nowhere'" in end.message

    async def test_a_process_that_leaves_in_the_middle_fails_the_run_alone(self, lab: ExecutorLab) -> None:
        async with lab.at_work() as work:
            bad, good = lab.job("leave"), lab.job("double", 2.0)
            await work.submit(bad, good)
            left, well = await work.ends_of(bad, good)
        assert (left.outcome, left.fault, left.retryable) == ("failed", "facility", True)
        assert left.message == "its process exited with code 7"
        assert left.evidence is not None
        assert (left.evidence.exit_code, left.evidence.tail) == (7, "about to leave")
        assert well.outputs == {"value": 4.0}

    async def test_a_process_that_is_killed_fails_the_run(self, lab: ExecutorLab) -> None:
        end = await lab.end_of(lab.job("fall"))
        assert (end.outcome, end.retryable, end.message) == ("failed", True, "its process ended by SIGKILL")

    async def test_a_run_is_ended_at_its_time_limit(self, lab: ExecutorLab) -> None:
        async with lab.at_work() as work:
            hard, soft = lab.job("sleep", 50.0, 3.0), lab.job("sleep", 50.0, 3.0, exceeded="infeasible")
            await work.submit(hard, soft)
            failed, infeasible = await work.ends_of(hard, soft)
        assert (failed.outcome, failed.fault, failed.message) == (
            "failed", "requester", "ended at its time limit of 3 s",
        )  # fmt: skip
        assert failed.seconds >= 2.9
        assert (infeasible.outcome, infeasible.fault) == ("infeasible", "")

    async def test_a_run_is_ended_at_its_memory_limit(self, lab: ExecutorLab) -> None:
        if lab.limits_memory:
            end = await lab.end_of(lab.job("eat", memory_bytes=200_000_000))
            assert (end.outcome, end.fault, end.message) == (
                "failed", "requester", "ended at its memory limit of 200 MB",
            )  # fmt: skip

    async def test_a_file_that_is_named_is_reported_and_one_not_written_fails(self, lab: ExecutorLab) -> None:
        async with lab.at_work() as work:
            written, missing = lab.job("file", 5.0), lab.job("file", 0.0)
            await work.submit(written, missing)
            end, bad = await work.ends_of(written, missing)
        assert end.files == {"picture": f"{written.directory}/p.txt"}
        assert Path(end.files["picture"]).read_text() == "xxxxx"
        assert bad.outcome == "failed"
        assert "named but not written" in bad.message

    async def test_a_command_gives_its_outputs_and_leaves_its_evidence(self, lab: ExecutorLab) -> None:
        script = 'echo "{{\\"y\\": {x}}}" > o.json; echo said; echo cried >&2; echo {run} > f'
        job = lab.command(script, files={"f": "f"})
        end = await lab.end_of(job)
        assert (end.outcome, end.outputs, end.files) == ("succeeded", {"y": 2.5}, {"f": f"{job.directory}/f"})
        folder = Path(job.directory)
        assert (folder / "exit_code").read_text().strip() == "0"
        assert (folder / "stdout").read_text() == "said\n"
        assert (folder / "stderr").read_text() == "cried\n"
        assert json.loads((folder / "result.json").read_text())["outputs"] == {"y": 2.5}
        assert json.loads((folder / "request.json").read_text())["parameters"] == {"x": 2.5}
        assert end.evidence is not None
        assert (end.evidence.exit_code, end.evidence.directory) == (0, job.directory)

    async def test_a_command_is_judged_by_its_evidence(self, lab: ExecutorLab) -> None:
        expected = {
            "echo no >&2; exit 3": ("infeasible", "exit code 3"),
            "echo no >&2; exit 4": ("failed", "exit code 4"),
            "true": ("failed", "o.json is not a JSON object of numbers"),
            "echo [] > o.json": ("failed", "o.json is not a JSON object of numbers"),
            "kill -9 $$": ("failed", "SIGKILL" if lab.outlives else "ended by signal 9"),
        }
        jobs = [lab.command(script, infeasible_exit_codes=(3,)) for script in expected]
        async with lab.at_work() as work:
            await work.submit(*jobs)
            ends = await work.ends_of(*jobs)
        for end, (outcome, message) in zip(ends, expected.values(), strict=True):
            assert end.outcome == outcome
            assert message in end.message
        assert ends[1].evidence is not None
        assert ends[1].evidence.tail == "no"

    async def test_a_command_over_its_time_is_ended_with_its_children(self, lab: ExecutorLab) -> None:
        job = lab.command("sleep 50 & echo $! > child; wait", 3.0)
        end = await lab.end_of(job)
        assert end.message == "ended at its time limit of 3 s"
        child = Path(f"/proc/{(Path(job.directory) / 'child').read_text().strip()}/stat")
        with anyio.fail_after(10):
            while child.exists() and child.read_text().split()[2] != "Z":
                await anyio.sleep(0.05)

    async def test_a_command_gets_what_it_asks_for(self, lab: ExecutorLab) -> None:
        elsewhere = lab.folder / "else where"
        elsewhere.mkdir()
        (elsewhere / "in").write_text("read\n")
        job = lab.command(
            'cat; echo {{x}} "$A"; pwd; echo e >&2',
            outputs_file="",
            directory=str(elsewhere),
            environment={"A": "a 'b'"},
            stdin="in",
            stdout="out",
            stderr=str(elsewhere / "err"),
            before=["B=from-before", "export B", 'echo "first $B" > order'],
            after=["cd " + json.dumps(str(elsewhere)), "echo last >> order"],
            launcher="env C='d e'",
        )
        literal = lab.command("", argv=["sh", "-c", "echo '{x}'"], is_literal=True, outputs_file="")
        clean = lab.command(
            'echo "$HOME$PWDX" "$A"', outputs_file="", is_clean=True, environment={"A": "1", "PATH": os.environ["PATH"]}
        )
        async with lab.at_work() as work:
            await work.submit(job, literal, clean)
            ends = await work.ends_of(job, literal, clean)
        assert [(end.outcome, end.outputs) for end in ends] == [("succeeded", {})] * 3
        assert (elsewhere / "out").read_text() == f"read\n{{x}} a 'b'\n{elsewhere}\n"
        assert (elsewhere / "err").read_text() == "e\n"
        assert (Path(job.directory) / "order").read_text() == "first from-before\n"
        assert (elsewhere / "order").read_text() == "last\n"
        assert (Path(job.directory) / "exit_code").read_text().strip() == "0"
        assert (Path(literal.directory) / "stdout").read_text() == "{x}\n"
        assert (Path(clean.directory) / "stdout").read_text() == " 1\n"

    async def test_a_line_that_fails_before_a_command_keeps_it_from_starting(self, lab: ExecutorLab) -> None:
        job = lab.command("touch ran", before=["true", "false", "touch on"], infeasible_exit_codes=(1,))
        end = await lab.end_of(job)
        assert (end.outcome, end.fault) == ("failed", "facility")
        assert "failed with exit code 1" in end.message
        assert not (Path(job.directory) / "ran").exists()
        assert not (Path(job.directory) / "on").exists()

    async def test_lines_after_a_command_run_when_it_failed_and_change_nothing(self, lab: ExecutorLab) -> None:
        job = lab.command("exit 5", after=["touch after", "exit 0"])
        end = await lab.end_of(job)
        assert (end.outcome, end.evidence and end.evidence.exit_code) == ("failed", 5)
        assert (Path(job.directory) / "after").exists()

    async def test_a_running_job_can_be_looked_at_and_cancelled(self, lab: ExecutorLab) -> None:
        async with lab.at_work() as work:
            job = lab.job("sleep", 50.0)
            await work.submit(job)
            state = await work.until(job, "active")
            await work.executor.cancel(job.run)
            end = await work.end_of(job)
            assert work.executor.look(job.run) is None
        assert state.number
        assert (end.outcome, end.outputs) == ("cancelled", {})

    async def test_a_queued_job_that_is_cancelled_never_runs(self, lab: ExecutorLab) -> None:
        if not lab.capacity:
            return
        async with lab.at_work() as work:
            long = [lab.job("sleep", 6.0) for _ in range(lab.capacity)]
            await work.submit(*long)
            for job in long:
                await work.until(job, "active")
            late = lab.job("double")
            await work.submit(late)
            with anyio.fail_after(lab.patience_s):
                while not (state := work.executor.look(late.run)) or not state.raw:
                    await anyio.sleep(0.01)
            assert state.state == "queued"
            await work.executor.cancel(late.run)
            end = await work.end_of(late)
            assert [each.outcome for each in await work.ends_of(*long)] == ["succeeded"] * len(long)
        assert end.outcome == "cancelled"
        assert late.run not in lab.marks()

    async def test_one_queued_job_of_a_batch_is_cancelled_and_the_others_go_on(self, lab: ExecutorLab) -> None:
        """A system that shows nothing of a member that never began may take a while over it."""
        if not lab.capacity:
            return
        async with lab.at_work() as work:
            jobs = [lab.job("sleep", 4.0) for _ in range(lab.capacity + 3)]
            await work.executor.submit(jobs)
            with anyio.fail_after(lab.patience_s):
                while (states := work.states(*jobs)).count("active") < lab.capacity:
                    await anyio.sleep(0.01)
            queued = states.index("queued")  # a batch need not begin in its order
            await work.executor.cancel(jobs[queued].run)
            ends = await work.ends_of(*jobs)
        outcomes = ["succeeded"] * len(jobs)
        outcomes[queued] = "cancelled"
        assert [end.outcome for end in ends] == outcomes

    async def test_a_job_cancelled_at_once_ends_once(self, lab: ExecutorLab) -> None:
        async with lab.at_work() as work:
            jobs = [lab.job("sleep", 20.0) for _ in range(2)]
            await work.submit(*jobs)
            for job in jobs:
                await work.executor.cancel(job.run)
            ends = await work.ends_of(*jobs)
        assert [end.outcome for end in ends] == ["cancelled"] * 2
        assert len(work.ends) == 2

    async def test_equal_parameters_are_two_runs(self, lab: ExecutorLab) -> None:
        async with lab.at_work() as work:
            jobs = [lab.job("double", 3.0) for _ in range(2)]
            await work.submit(*jobs)
            ends = await work.ends_of(*jobs)
        assert [end.outputs for end in ends] == [{"value": 6.0}] * 2
        assert sorted(lab.marks()) == sorted(job.run for job in jobs)

    async def test_a_batch_is_reported_once_each(self, lab: ExecutorLab) -> None:
        async with lab.at_work() as work:
            jobs = [lab.job("double", float(n)) for n in range(10)]
            waiting = list(jobs)
            with anyio.fail_after(lab.patience_s):
                while waiting:
                    n = work.executor.room("t.any")
                    await work.executor.submit(waiting[:n])
                    waiting = waiting[n:]
                    await anyio.sleep(0.01)
            ends = await work.ends_of(*jobs)
            await anyio.sleep(0.2)
        assert [end.outputs for end in ends] == [{"value": 2.0 * n} for n in range(10)]
        assert len(work.ends) == 10
        assert sorted(lab.marks()) == sorted(job.run for job in jobs)

    async def test_after_a_restart_running_jobs_are_taken_up_and_run_once(self, lab: ExecutorLab) -> None:
        jobs = [lab.job("sleep", 4.0), lab.job("sleep", 4.0)]
        async with lab.at_work() as work:
            await work.submit(*jobs)
            await work.until(jobs[0], "active")
        async with lab.at_work() as work:
            settled = await work.executor.settle(jobs)
            if not lab.outlives:
                assert [end.outcome for end in settled] == ["lost"] * 2
                return
            assert list(settled) == []
            ends = await work.ends_of(*jobs)
        assert [end.outputs for end in ends] == [{"value": 4.0}] * 2
        assert sorted(lab.marks()) == sorted(job.run for job in jobs)

    async def test_after_a_restart_jobs_that_ended_meanwhile_are_settled(self, lab: ExecutorLab) -> None:
        if not lab.outlives:
            return
        jobs = [lab.job("sleep", 2.0), lab.command("sleep 2; exit 3", infeasible_exit_codes=(3,))]
        async with lab.at_work() as work:
            await work.submit(*jobs)
            for job in jobs:
                await work.until(job, "active")
        with anyio.fail_after(lab.patience_s):
            while not all((Path(job.directory) / "exit_code").exists() for job in jobs):
                await anyio.sleep(0.1)
        ends = {end.run: end for end in await lab.make().settle(jobs)}
        assert [ends[job.run].outcome for job in jobs] == ["succeeded", "infeasible"]
        assert ends[jobs[0].run].seconds >= 2
        assert lab.marks() == [jobs[0].run]

    async def test_after_a_restart_a_running_job_can_be_cancelled(self, lab: ExecutorLab) -> None:
        if not lab.outlives:
            return
        job = lab.job("sleep", 50.0)
        async with lab.at_work() as work:
            await work.submit(job)
            await work.until(job, "active")
        async with lab.at_work() as work:
            assert list(await work.executor.settle([job])) == []
            await work.executor.cancel(job.run)
            end = await work.end_of(job)
        assert end.outcome == "cancelled"

    async def test_a_job_that_never_reached_the_engine_is_lost_and_may_be_tried_again(self, lab: ExecutorLab) -> None:
        (end,) = await lab.make().settle([lab.job("double")])
        assert (end.outcome, end.retryable) == ("lost", True)
        assert lab.marks() == []
