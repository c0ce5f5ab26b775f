"""PBS, PJM and Flux, each by its stand-in: jobs run once, whatever the batch system does, and end as they ended."""

import anyio
import pytest
from batch_bench import CANCEL, POLL, SUBMIT, Bench, until

pytestmark = [pytest.mark.anyio, pytest.mark.long]


async def test_a_job_runs_and_its_evidence_says_how_it_ended(bench: Bench) -> None:
    (end,) = await bench.run(bench.job(shell="sleep 0.3"))
    assert (end.outcome, end.outputs) == ("succeeded", {"y": 2.0})
    assert end.evidence is not None
    assert end.evidence.exit_code == 0
    assert end.evidence.job
    assert 0.2 < end.seconds < 5


async def test_a_job_that_fails_is_told_with_its_exit_code_and_last_words(bench: Bench) -> None:
    (end,) = await bench.run(bench.job(shell="echo no such luck >&2; exit 7"))
    assert (end.outcome, end.message) == ("failed", "exit code 7")
    assert end.evidence is not None
    assert (end.evidence.exit_code, end.evidence.tail) == (7, "no such luck")


async def test_many_jobs_end_and_one_poll_asks_for_all_of_them(bench: Bench) -> None:
    jobs = [bench.job(str(i), "sleep 0.2") for i in range(12)]
    ends = await bench.run(*jobs)
    assert [end.outcome for end in ends] == ["succeeded"] * 12
    assert bench.n_ran() == 12
    n_submits = len(bench.system.calls(SUBMIT[bench.kind]))
    assert n_submits == (12 if bench.kind == "flux" else 1)
    moments = [call[0] for call in bench.system.calls(POLL[bench.kind])]
    assert len(moments) < 2 * (moments[-1] - moments[0]) / 0.1 + 3  # as often as polls, and not as jobs


async def test_where_a_job_stands_is_told_in_the_words_of_the_system(bench: Bench) -> None:
    bench.system.set(slots=1)
    executor = bench.executor()
    seen = bench.folder / "seen"
    async with bench.serving(executor) as ends:
        await executor.submit(
            [bench.job("1", f"until [ -e {seen} ]; do sleep 0.05; done"), bench.job("2", "sleep 0.1")]
        )
        words = {"pbs": ("R", "Q"), "pjm": ("RUN", "QUE"), "flux": ("RUN", "SCHED")}[bench.kind]

        def states() -> list[tuple[str, str]]:
            looks = [executor.look(bench.job(run).run) for run in ("1", "2")]
            return sorted((look.state, look.raw) for look in looks if look is not None)

        await until(lambda: states() == [("active", words[0]), ("queued", words[1])])
        seen.touch()
        assert [end.outcome for end in await ends.all(2)] == ["succeeded"] * 2
    assert executor.look(bench.job("1").run) is None


async def test_the_systems_own_time_limit_is_told_as_such(bench: Bench) -> None:
    job = bench.job(limit_s=1.0)
    (end,) = await bench.run(job, before=("trap '' TERM XCPU ALRM", "sleep 30"))
    assert (end.outcome, end.fault) == ("failed", "requester")
    assert end.message == "ended at its time limit of 1 s"
    assert end.evidence is not None
    assert end.evidence.raw_state == {"pbs": "F -29", "pjm": "EXT 11", "flux": "INACTIVE TIMEOUT"}[bench.kind]
    assert bench.n_ran() == 0


async def test_a_running_job_and_a_waiting_one_are_cancelled(bench: Bench) -> None:
    bench.system.set(slots=1)
    executor = bench.executor()
    jobs = [bench.job("1", "sleep 30"), bench.job("2", "sleep 30")]
    async with bench.serving(executor) as ends:
        await executor.submit(jobs)
        await until(lambda: bench.n_ran() == 1 and len(bench.system.jobs()) == 2)
        for job in jobs:
            await executor.cancel(job.run)
        assert [end.outcome for end in await ends.all(2)] == ["cancelled"] * 2
    assert bench.n_ran() == 1


@pytest.mark.parametrize("is_zero", [False, True])
async def test_a_refusal_is_told_in_the_systems_own_words(bench: Bench, is_zero: bool) -> None:
    bench.system.set(queues=["small"], is_zero_on_error=is_zero)  # the exit code of pjsub's errors
    (end,) = await bench.run(bench.job(queue="none"))
    text = {
        "pbs": "qsub: Unknown queue",
        "pjm": "[ERR.] PJM 0007 pjsub Resource group does not exist",
        "flux": "flux-batch: ERROR: Invalid queue 'none' specified",
    }[bench.kind]
    assert end.outcome == "failed"
    assert text in end.message
    assert bench.n_ran() == 0


async def test_a_job_whose_submission_was_taken_but_not_answered_runs_once(bench: Bench) -> None:
    bench.system.fail(SUBMIT[bench.kind], "lost-answer")
    (end,) = await bench.run(bench.job(shell="sleep 0.5"))
    assert end.outcome == "succeeded"
    assert bench.n_ran() == 1
    assert len(bench.system.calls(SUBMIT[bench.kind])) == 1


async def test_a_submission_that_hangs_after_it_was_taken_leads_to_one_execution(bench: Bench) -> None:
    bench.system.fail(SUBMIT[bench.kind], "hang-after")
    (end,) = await bench.run(bench.job(shell="sleep 0.5"))
    assert end.outcome == "succeeded"
    assert bench.n_ran() == 1


async def test_a_submission_that_never_came_through_is_made_again(bench: Bench) -> None:
    bench.system.fail(SUBMIT[bench.kind], "down")
    (end,) = await bench.run(bench.job())
    assert end.outcome == "succeeded"
    assert bench.n_ran() == 1
    assert len(bench.system.calls(SUBMIT[bench.kind])) == 2


async def test_a_job_submitted_twice_because_nobody_knew_runs_once(bench: Bench) -> None:
    bench.system.fail(SUBMIT[bench.kind], "lost-answer")
    bench.system.set(slots=0)
    executor = bench.executor()
    async with bench.serving(executor) as ends:
        await executor.submit([bench.job(shell="sleep 0.3")])
        await until(lambda: len(bench.system.jobs()) == 1)
        (first,) = [call[2:] for call in bench.system.calls(SUBMIT[bench.kind])]
        again = await anyio.run_process([*(["flux"] if bench.kind == "flux" else []), SUBMIT[bench.kind], *first])
        assert again.returncode == 0
        bench.system.set(slots=8)
        (end,) = await ends.all(1)
    assert end.outcome == "succeeded"
    await until(lambda: sorted(job["state"] for job in bench.system.jobs()) == ["ended", "ended"])
    assert bench.n_ran() == 1


@pytest.mark.parametrize("fault", ["garbage", "down", "hang"])
async def test_a_poll_without_a_proper_answer_changes_nothing(bench: Bench, fault: str) -> None:
    times = 1 if fault == "hang" else 12
    for command in (POLL[bench.kind], *(["qselect"] if bench.kind == "pbs" else [])):
        bench.system.fail(command, fault, times=times)  # type: ignore[arg-type]
    (end,) = await bench.run(bench.job(shell="sleep 0.6"))
    assert end.outcome == "succeeded"
    assert bench.n_ran() == 1


async def test_a_job_that_the_system_forgot_ends_as_lost(bench: Bench) -> None:
    bench.system.set(slots=0)
    bench.system.fail(SUBMIT[bench.kind], "lose")
    (end,) = await bench.run(bench.job())
    assert (end.outcome, end.retryable) == ("lost", True)
    assert bench.n_ran() == 0


async def test_a_job_that_vanished_but_left_its_evidence_succeeded(bench: Bench) -> None:
    bench.system.set(history_s=0.0)
    (end,) = await bench.run(bench.job(shell="sleep 0.5"))
    assert (end.outcome, end.outputs) == ("succeeded", {"y": 2.0})


async def test_jobs_are_found_again_by_another_executor_at_once(bench: Bench) -> None:
    jobs = [bench.job(str(i), "sleep 0.5") for i in range(4)]
    first = bench.executor()
    async with bench.serving(first):
        await first.submit(jobs)
        await until(lambda: len(bench.system.jobs()) == 4)
    second = bench.executor()
    settled = list(await second.settle(jobs))
    async with bench.serving(second) as ends:
        got = settled + await ends.all(4 - len(settled))
    assert sorted((end.run, end.outcome) for end in got) == [(job.run, "succeeded") for job in jobs]
    assert bench.n_ran() == 4
    await anyio.sleep(0.3)
    assert len(ends.got) + len(settled) == 4


async def test_an_executor_that_dies_while_it_submits_leads_to_one_execution_at_most(bench: Bench) -> None:
    bench.system.fail(SUBMIT[bench.kind], "late", "0.5")
    job = bench.job(shell="sleep 0.2")
    first = bench.executor()
    async with bench.serving(first):
        await first.submit([job])
        await until(lambda: (bench.folder / "runs" / job.run / "request.json").exists())
    second = bench.executor()
    settled = list(await second.settle([job]))
    async with bench.serving(second) as ends:
        (end,) = settled or await ends.all(1)
    assert end.outcome in ("succeeded", "lost")
    assert bench.n_ran() == (end.outcome == "succeeded")


async def test_a_job_that_nobody_ever_submitted_ends_as_lost_after_a_restart(bench: Bench) -> None:
    (end,) = await bench.executor().settle([bench.job()])
    assert (end.outcome, end.retryable) == ("lost", True)


async def test_check_finds_nothing_wrong_where_all_is_well(bench: Bench) -> None:
    assert list(await bench.executor().check()) == []


async def test_check_tells_that_the_server_is_away(bench: Bench) -> None:
    for command in (POLL[bench.kind], "qselect"):
        bench.system.fail(command, "down", times=9)
    (problem,) = await bench.executor().check()
    assert "does not answer" in problem


async def test_a_cancellation_that_gets_no_answer_is_asked_for_again(bench: Bench) -> None:
    executor = bench.executor()
    job = bench.job(shell="sleep 30")
    bench.system.fail(CANCEL[bench.kind], "down")
    async with bench.serving(executor) as ends:
        await executor.submit([job])
        await until(lambda: bench.n_ran() == 1)
        await executor.cancel(job.run)
        (end,) = await ends.all(1)
    assert end.outcome == "cancelled"
    assert len(bench.system.calls(CANCEL[bench.kind])) >= 2
