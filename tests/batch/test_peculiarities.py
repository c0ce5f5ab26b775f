"""What only one of PBS, PJM and Flux does."""

import subprocess
from pathlib import Path

import pytest
from batch_bench import Bench, until

from renkei.clock import SystemClock
from renkei.executors import JobState
from renkei.executors._batch import BatchExecutor
from renkei.model.site_file import parse_site
from renkei.site._open import executor_of

pytestmark = pytest.mark.anyio

KILL_SCRIPT = 'kill -9 "$(cut -d" " -f4 /proc/$PPID/stat)"; sleep 9'
"""Ends the job's script, the parent of the `timeout` that the payload runs under, before that can leave evidence."""


async def test_names_of_old_versions_of_pbs_are_long_enough(pbs: Bench) -> None:
    pbs.system.set(name_length=15)
    (end,) = await pbs.run(pbs.job())
    assert end.outcome == "succeeded"


async def test_arrays_of_pbs_are_told_apart_from_plain_jobs_of_which_each_runs_once(pbs: Bench) -> None:
    ends = await pbs.run(*(pbs.job(str(i), nodes=1 + i // 3) for i in range(4)), *())
    assert [end.outcome for end in ends] == ["succeeded"] * 3 + ["failed"]
    assert "cannot be spread over 2 nodes" in ends[3].message
    (call,) = pbs.system.calls("qsub")
    assert call[call.index("-J") + 1] == "0-2"


async def test_a_pbs_without_history_and_without_evidence_loses_the_job(pbs: Bench) -> None:
    pbs.system.set(history_s=0.0)
    executor = pbs.executor()
    async with pbs.serving(executor) as ends:
        await executor.submit([pbs.job(shell=KILL_SCRIPT)])
        (end,) = await ends.all(1)
    assert end.outcome == "lost"
    assert pbs.n_ran() == 1


async def test_pbs_jobs_are_not_run_again_by_pbs(pbs: Bench) -> None:
    await pbs.run(pbs.job())
    (call,) = pbs.system.calls("qsub")
    assert call[call.index("-r") + 1] == "n"


async def test_a_pjm_that_keeps_bulk_jobs_from_us_gets_them_one_by_one(pjm: Bench) -> None:
    text = "[ERR.] PJM 0070 pjsub No execute permission: pjsub-bulk."
    pjm.system.fail("pjsub", "refuse", text)
    executor = pjm.executor()
    async with pjm.serving(executor) as ends:
        await executor.submit([pjm.job("1"), pjm.job("2")])
        refused = await ends.all(2)
        assert [(end.outcome, end.retryable) for end in refused] == [("failed", True)] * 2
        assert all(text in end.message for end in refused)
        await executor.submit([pjm.job("3"), pjm.job("4")])
        assert [end.outcome for end in (await ends.all(4))[2:]] == ["succeeded"] * 2
    assert not any("--bulk" in call for call in pjm.system.calls("pjsub")[1:])


async def test_pjm_wants_a_group(pjm: Bench) -> None:
    (problem,) = await pjm.executor(account=None).check()
    assert "no job without a group" in problem
    (end,) = await pjm.run(pjm.job(), account=None)
    assert "[ERR.] PJM 0071 pjsub Group not authorized to submit a job" in end.message


async def test_a_script_that_pjm_saw_killed_is_no_success_and_told_by_its_signal(pjm: Bench) -> None:
    (end,) = await pjm.run(pjm.job(shell=KILL_SCRIPT))
    assert (end.outcome, end.fault, end.retryable) == ("failed", "facility", True)
    assert "exit code 137, which a shell gives for SIGKILL" in end.message
    assert end.evidence is not None
    assert end.evidence.raw_state == "EXT"


@pytest.mark.parametrize("command", [["qhold"], ["pjhold"], ["flux", "job", "urgency"]], ids=["pbs", "pjm", "flux"])
async def test_a_job_that_somebody_holds_is_shown_as_held(
    command: list[str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    kind = {"qhold": "pbs", "pjhold": "pjm", "flux": "flux"}[command[0]]
    bench: Bench = request.getfixturevalue(kind)
    bench.system.set(slots=0)
    executor = bench.executor()
    async with bench.serving(executor) as ends:
        job = bench.job()
        await executor.submit([job])
        await until(lambda: _state(executor, job.run).number)
        number = _state(executor, job.run).number
        more = ["hold"] if kind == "flux" else []
        subprocess.run([*command, number, *more], check=True, capture_output=True, timeout=10)
        await until(lambda: _state(executor, job.run).state == "held")
        await executor.cancel(job.run)
        assert [end.outcome for end in await ends.all(1)] == ["cancelled"]


def _state(executor: BatchExecutor, run: str) -> JobState:
    return executor.look(run) or JobState("")


@pytest.mark.parametrize("kind", ["pbs", "pjm", "flux"])
async def test_a_sites_file_names_its_batch_system(kind: str, request: pytest.FixtureRequest) -> None:
    bench: Bench = request.getfixturevalue(kind)
    text = f"""
[site]
name = "s"
institution = "i"
key = "k"
data = "{bench.folder}"
[executor]
kind = "{kind}"
account = "g"
poll = "0.1 s"
before = ["echo before >>{bench.folder}/lines"]
after = ["echo after >>{bench.folder}/lines"]
"""
    executor = executor_of(parse_site(text), SystemClock())
    assert isinstance(executor, BatchExecutor)
    async with bench.serving(executor) as ends:
        await executor.submit([bench.job()])
        (end,) = await ends.all(1)
    assert (executor.name, end.outcome) == (kind, "succeeded")
    assert (bench.folder / "lines").read_text().split() == ["before", "after"]
