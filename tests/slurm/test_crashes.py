"""Whatever is killed, and whenever: every run ends once, and none is executed twice."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from cluster import Cluster
from crash_bench import executor_at, job_at, marks_at

from renkei.executors import Job, JobEnd
from renkei.executors._batch import BatchExecutor

pytestmark = [pytest.mark.anyio, pytest.mark.slurm]

PATIENCE_S = 150.0  # a restarted controller takes its time on a busy machine


class Ends:
    """The ends that were reported."""

    def __init__(self) -> None:
        self.all: list[JobEnd] = []

    async def report(self, ends: Sequence[JobEnd]) -> None:
        self.all += ends

    async def of(self, jobs: Sequence[Job]) -> Counter[str]:
        """Wait for jobs and return how many ended how; each must have ended once."""
        with anyio.fail_after(PATIENCE_S):
            while {job.run for job in jobs} != {end.run for end in self.all}:
                await anyio.sleep(0.05)
        assert len(self.all) == len(jobs)
        return Counter(end.outcome for end in self.all)


async def operate(cluster: Cluster) -> None:
    """Give nodes back, as an operator does, that a restarted controller takes out of service."""
    while True:
        await anyio.sleep(2)
        await anyio.to_thread.run_sync(cluster.resume)


@asynccontextmanager
async def serving(cluster: Cluster, executor: BatchExecutor, ends: Ends) -> AsyncGenerator[BatchExecutor]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(executor.serve, ends.report)
        tasks.start_soon(operate, cluster)
        yield executor
        tasks.cancel_scope.cancel()


def assert_sound(folder: Path, ends: Ends) -> None:
    """No run was executed twice; what succeeded was executed, and what never began was not."""
    n_marks = Counter(marks_at(folder))
    assert not n_marks or max(n_marks.values()) == 1
    for end in ends.all:
        if end.outcome == "succeeded":
            assert n_marks[end.run] == 1
        else:
            assert end.outcome == "lost" or (end.outcome, end.fault) == ("failed", "facility"), end
            assert end.retryable
            if "never began" in end.message:
                assert n_marks[end.run] == 0


async def restart(cluster: Cluster, after_s: float = 0.0) -> None:
    await anyio.sleep(after_s)
    cluster.start_controller()
    await anyio.to_thread.run_sync(cluster.wait_for_controller)


@pytest.mark.parametrize("delay_s", [0.05, 0.3, 0.8])
async def test_the_controller_is_killed_within_a_second_of_a_submission(
    delay_s: float, cluster: Cluster, tmp_path: Path
) -> None:
    ends = Ends()
    jobs = [job_at(tmp_path, i, 1.0) for i in range(12)]
    async with serving(cluster, executor_at(tmp_path), ends) as executor:
        await executor.submit(jobs)
        await anyio.sleep(delay_s)
        cluster.kill_controller()
        await restart(cluster, 1.0)
        outcomes = await ends.of(jobs)
    print(f"controller killed after {delay_s} s: {dict(outcomes)}")
    assert_sound(tmp_path, ends)


def killed_submitter(folder: Path, n: int, delay_s: float) -> None:
    """Have another process submit runs, and kill it a moment later."""
    submitter = [sys.executable, str(Path(__file__).with_name("submitter.py")), str(folder), str(n), "1"]
    with open(folder / "said", "ab") as said:
        process = subprocess.Popen(submitter, stdout=said, stderr=said)
    try:
        deadline = time.monotonic() + 30
        while b"submitting" not in (folder / "said").read_bytes():
            assert process.poll() is None, (folder / "said").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(delay_s)
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.parametrize("delay_s", [0.0, 0.02, 0.17, 0.6])
async def test_the_site_is_killed_within_a_second_of_a_submission(
    delay_s: float, cluster: Cluster, tmp_path: Path
) -> None:
    await anyio.to_thread.run_sync(killed_submitter, tmp_path, 12, delay_s)
    jobs, ends = [job_at(tmp_path, i, 1.0) for i in range(12)], Ends()
    executor = executor_at(tmp_path)
    await ends.report(await executor.settle(jobs))
    async with serving(cluster, executor, ends):
        outcomes = await ends.of(jobs)
    print(f"site killed after {delay_s} s: {dict(outcomes)}")
    assert_sound(tmp_path, ends)


@pytest.mark.parametrize("delay_s", [0.05, 0.3])
async def test_both_are_killed_within_a_second_of_a_submission(
    delay_s: float, cluster: Cluster, tmp_path: Path
) -> None:
    await anyio.to_thread.run_sync(killed_submitter, tmp_path, 12, delay_s)
    cluster.kill_controller()
    jobs, ends = [job_at(tmp_path, i, 1.0) for i in range(12)], Ends()
    executor = executor_at(tmp_path)
    await ends.report(await executor.settle(jobs))
    async with serving(cluster, executor, ends):
        await restart(cluster, 2.0)
        outcomes = await ends.of(jobs)
    print(f"both killed after {delay_s} s: {dict(outcomes)}")
    assert_sound(tmp_path, ends)


async def test_what_is_submitted_while_the_controller_is_gone_runs_once_when_it_is_back(
    cluster: Cluster, tmp_path: Path
) -> None:
    jobs, ends = [job_at(tmp_path, i) for i in range(3)], Ends()
    cluster.kill_controller()
    async with serving(cluster, executor_at(tmp_path), ends) as executor:
        await executor.submit(jobs)
        await restart(cluster, 3.0)
        outcomes = await ends.of(jobs)
    assert outcomes == {"succeeded": 3}
    assert_sound(tmp_path, ends)


async def test_a_number_that_was_given_to_another_job_is_not_taken_for_ours(cluster: Cluster, tmp_path: Path) -> None:
    await anyio.sleep(6)  # so that all of before is saved
    job, ends = job_at(tmp_path, 0, 1.0), Ends()
    async with serving(cluster, executor_at(tmp_path), ends) as executor:
        await executor.submit([job])
        with anyio.fail_after(20):
            while not (state := executor.look(job.run)) or not state.number:
                await anyio.sleep(0.002)
        cluster.kill_controller()
        await restart(cluster)
        stranger = cluster.run(
            "sbatch", "--parsable", "--output=/dev/null", "--time=1", "--wrap=sleep 4"
        ).stdout.strip()
        is_reused = stranger == state.number
        print(f"number {state.number}; the stranger got {stranger}")
        await executor.cancel(job.run)  # a bare number would end the stranger
        outcomes = await ends.of([job])
        assert set(outcomes) <= {"lost", "cancelled", "succeeded"}
        with anyio.fail_after(60):
            while cluster.run("squeue", "-h", "-j", stranger).stdout.strip():
                await anyio.sleep(0.2)
    shown = cluster.run("scontrol", "show", "job", stranger).stdout
    assert "JobState=COMPLETED" in shown
    assert ends.all[0].outcome != "succeeded" or not is_reused or marks_at(tmp_path) == [job.run]
