"""What a real Slurm does to jobs, and what it costs to watch it."""

import re
import tempfile
import time
from collections import Counter
from pathlib import Path

import anyio
import pytest
from cluster import Cluster, missing

from renkei.clock import SystemClock
from renkei.executors import Job, Resources
from renkei.executors.slurm import slurm_executor
from renkei.model.site_file import ExecutorTable
from renkei.testing.executors import ExecutorLab

pytestmark = [pytest.mark.anyio, pytest.mark.slurm]


def table_of(**more: object) -> ExecutorTable:
    return ExecutorTable.model_validate({"kind": "slurm", "workers": 1000, "queue": "short"} | more)


@pytest.fixture
def lab(cluster: Cluster, tmp_path: Path) -> ExecutorLab:
    return ExecutorLab(tmp_path, lambda: slurm_executor(table_of(), tmp_path, SystemClock()))


def n_queries(cluster: Cluster) -> int:
    """Return how often the controller was asked about jobs since it was last told to forget that."""
    said = cluster.run("sdiag").stdout
    return sum(int(n) for n in re.findall(r"REQUEST_JOB_(?:INFO|USER_INFO|INFO_SINGLE)\s*\(\s*\d+\) count:(\d+)", said))


def drained_alone(cluster: Cluster) -> float:
    began = time.monotonic()
    cluster.run("sbatch", "--output=/dev/null", "--job-name=alone", "--time=1", "--array=0-199", "--wrap=true")
    while cluster.run("squeue", "-h", "-n", "alone").stdout:
        time.sleep(0.1)
    return time.monotonic() - began


async def test_200_runs_are_settled_while_the_controller_is_asked_once_a_second(
    cluster: Cluster, lab: ExecutorLab
) -> None:
    alone_s = await anyio.to_thread.run_sync(drained_alone, cluster)
    jobs = [lab.command("", argv=["true"], outputs_file="") for _ in range(200)]
    cluster.run("sdiag", "--reset")
    began = time.monotonic()
    async with lab.at_work() as work:
        await work.executor.submit(jobs)
        ends = await work.ends_of(*jobs)
        took_s = time.monotonic() - began
    asked = n_queries(cluster)
    print(f"200 runs of true: {took_s:.1f} s; Slurm alone {alone_s:.1f} s; {asked} queries in {took_s:.1f} s")
    assert Counter(end.outcome for end in ends) == {"succeeded": 200}
    assert 0 < asked <= took_s + 1
    assert {end.evidence.raw_state for end in ends if end.evidence} == {"COMPLETED"}
    assert max(end.seconds for end in ends) < 5
    assert max(end.queued_s for end in ends) > 2
    assert list((lab.folder / "batches").iterdir()) == []


async def test_a_job_that_somebody_cancels_in_slurm_is_cancelled(cluster: Cluster, lab: ExecutorLab) -> None:
    async with lab.at_work() as work:
        job = lab.job("sleep", 50.0)
        await work.submit(job)
        state = await work.until(job, "active")
        while not (Path(job.directory) / "started").exists():
            await anyio.sleep(0.05)
        cluster.run("scancel", state.number)
        end = await work.end_of(job)
    assert end.outcome == "cancelled"
    assert end.evidence is not None
    assert (end.evidence.raw_state, end.evidence.job) == ("CANCELLED", state.number)


async def test_a_job_on_a_node_that_fails_may_be_tried_again(cluster: Cluster, lab: ExecutorLab) -> None:
    async with lab.at_work() as work:
        job = lab.job("sleep", 50.0)
        await work.submit(job)
        await work.until(job, "active")
        node = cluster.run("squeue", "-h", "-o", "%N", "-t", "R").stdout.strip()
        try:
            cluster.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
            end = await work.end_of(job)
        finally:
            cluster.run("scontrol", "update", f"NodeName={node}", "State=RESUME")
    assert (end.outcome, end.fault, end.retryable) == ("failed", "facility", True)
    assert end.message == "Slurm: A node of it failed."
    assert end.evidence is not None
    assert end.evidence.raw_state == "NODE_FAIL"


async def test_a_command_over_its_memory_is_ended_by_slurm(cluster: Cluster, lab: ExecutorLab) -> None:
    eat = "import time; food = bytearray(600_000_000); food[::4096] = b'x' * len(food[::4096]); time.sleep(50)"
    job = lab.command("", argv=["python3", "-c", eat], is_literal=True)
    job = Job(job.run, job.procedure, job.target, {}, job.directory, 60.0, 200_000_000)
    end = await lab.end_of(job)
    assert (end.outcome, end.fault, end.message) == (
        "failed", "requester", "ended at its memory limit of 200 MB",
    )  # fmt: skip
    assert end.evidence is not None
    assert end.evidence.raw_state == "FAILED"  # OUT_OF_MEMORY where memory is limited by cgroups
    assert "exceeded memory limit" in end.evidence.tail


async def test_a_job_that_slurm_ends_at_its_time_limit_is_over_its_time(cluster: Cluster, lab: ExecutorLab) -> None:
    job = lab.command("true", limit_s=30.0, outputs_file="", before=["sleep 300"])
    lab.patience_s = 150.0
    end = await lab.end_of(job)
    assert end.message == "ended at its time limit of 30 s"
    assert end.evidence is not None
    assert end.evidence.raw_state == "TIMEOUT"


async def test_a_job_that_is_held_is_shown_as_held_and_runs_when_it_is_released(
    cluster: Cluster, lab: ExecutorLab
) -> None:
    async with lab.at_work() as work:
        job = lab.job("double", resources=Resources(extra={"hold": ""}))
        await work.submit(job)
        state = await work.until(job, "held")
        cluster.run("scontrol", "release", state.number)
        end = await work.end_of(job)
    assert end.outcome == "succeeded"


async def test_what_slurm_refuses_fails_with_its_reason(cluster: Cluster, lab: ExecutorLab) -> None:
    async with lab.at_work() as work:
        jobs = [
            lab.job("double", resources=Resources(queue="nowhere")),
            lab.job("double", resources=Resources(memory_bytes=10**13)),
            lab.job("double", resources=Resources(extra={"nonsense": "1"})),
            lab.job("double", resources=Resources(extra={"wrap": "rm -rf"})),
            lab.job("double", resources=Resources(extra={"wra": "rm -rf"})),
        ]
        await work.submit(*jobs)
        ends = await work.ends_of(*jobs)
    assert {(end.outcome, end.fault, end.retryable) for end in ends} == {("failed", "facility", True)}
    said = ["invalid partition", "node configuration is not available", "nonsense", "option --wrap", "option --wra"]
    for end, words in zip(ends, said, strict=True):
        assert words in end.message
    assert lab.marks() == []


async def test_resources_reach_the_job(cluster: Cluster, lab: ExecutorLab, tmp_path: Path) -> None:
    asked = Resources(2, 4, 2, memory_bytes=300_000_000, queue="long", extra={"nice": "5"})
    script = 'echo "$SLURM_JOB_NUM_NODES $SLURM_NTASKS $SLURM_CPUS_PER_TASK $SLURM_MEM_PER_NODE $SLURM_JOB_PARTITION"'
    job = lab.command("", argv=["sh", "-c", script], is_literal=True, outputs_file="")
    job = Job(job.run, job.procedure, job.target, {}, job.directory, 90.0, resources=asked)
    async with lab.at_work() as work:
        await work.submit(job)
        end = await work.end_of(job)
        number = end.evidence.job if end.evidence else ""
    shown = cluster.run("scontrol", "show", "job", number).stdout
    assert (Path(job.directory) / "stdout").read_text() == "2 4 2 287 long\n"
    assert "TimeLimit=00:02:00" in shown
    assert f"JobName=renkei-{job.run}" in shown
    assert f"Comment=renkei-{job.run} t.any" in shown
    assert "Requeue=0" in shown


async def test_the_sites_own_lines_surround_every_job(cluster: Cluster, tmp_path: Path) -> None:
    table = table_of(before=["export FROM_SITE=yes"], after=["echo after $FROM_SITE"], options=["--nice=7"])
    lab = ExecutorLab(tmp_path, lambda: slurm_executor(table, tmp_path, SystemClock()))
    job = lab.command("", argv=("sh", "-c", "echo $FROM_SITE"), is_literal=True, outputs_file="")
    end = await lab.end_of(job)
    assert end.outcome == "succeeded"
    assert (Path(job.directory) / "stdout").read_text() == "yes\n"
    assert (Path(job.directory) / "job.log").read_text() == "after yes\n"


async def test_check_says_what_is_wrong(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SystemClock()
    (wrong,) = await slurm_executor(table_of(queue="nowhere"), tmp_path, clock).check()
    assert wrong == "Slurm has no partition 'nowhere', but short, long."
    monkeypatch.setenv("PATH", str(tmp_path))
    wrongs = await slurm_executor(table_of(), tmp_path, clock).check()
    assert wrongs[0].startswith("sbatch cannot be started")


async def test_jobs_that_the_controller_forgot_are_found_in_its_accounts(tmp_path: Path) -> None:
    """A second Slurm, which forgets jobs after two seconds."""
    if problem := missing():
        pytest.skip(problem)
    with tempfile.TemporaryDirectory(prefix="rk-slurm-") as folder, pytest.MonkeyPatch.context() as patch:
        with Cluster(Path(folder), n_nodes=1, min_job_age_s=2) as forgetful:
            patch.setenv("SLURM_CONF", str(forgetful.conf))
            lab = ExecutorLab(tmp_path, lambda: slurm_executor(table_of(), tmp_path, SystemClock()))
            jobs = [lab.job("sleep", 50.0) for _ in range(2)]
            async with lab.at_work() as work:
                await work.executor.submit(jobs)
                for job in jobs:
                    await work.until(job, "active")
            forgetful.run("scancel", "--user=root")
            with anyio.fail_after(60):
                while forgetful.run("squeue", "-h", "-t", "all").stdout.strip():
                    await anyio.sleep(0.5)
            async with lab.at_work() as work:
                assert list(await work.executor.settle(jobs)) == []
                ends = await work.ends_of(*jobs)
    assert [end.outcome for end in ends] == ["cancelled"] * 2
