"""What PBS, PJM and Flux say, taken from live systems and from their sources, and what we make of it."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from batch_bench import SCHEDULERS

from hand_clock import HandClock
from renkei.errors import ExecutorError, ReplyUnreadable, SubmitRejected
from renkei.executors import Resources, flux, pbs, pjm
from renkei.executors._scheduler import Meaning, Scheduler, Submission
from renkei.executors._tools import Said
from renkei.model.site_file import ExecutorTable

pytestmark = pytest.mark.anyio

RUN = "01890000-0000-7000-8000-000000000001"
NAME = f"renkei-{RUN}"
MODULES: dict[str, ModuleType] = {"pbs": pbs, "pjm": pjm, "flux": flux}


class Tool:
    """Answers in the place of commands."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kind: str, *answers: Said, **table: object) -> None:
        self.argv: list[list[str]] = []
        self._answers = list(answers)
        monkeypatch.setattr(MODULES[kind], "run_tool", self._run)
        clock = HandClock(datetime(2026, 11, 22, 12).timestamp())
        self.scheduler: Scheduler = SCHEDULERS[kind](ExecutorTable.model_validate({"kind": kind} | table), clock)

    async def _run(self, clock: object, argv: Sequence[str]) -> Said:
        self.argv.append(list(argv))
        return self._answers.pop(0)


def submission(size: int = 0, **asked: Any) -> Submission:
    resources = Resources(**asked)
    return Submission(NAME, Path("/d/job.sh"), "/d/{index}/log", resources, 90.5, size, "")


# ---- PJM ---------------------------------------------------------------------------------------------------------

TABLE = f"""\
H,JOB_ID,JOB_NAME,ST,EC,PC,SN,ACCEPT,START_DATE,ELAPSE_TIM,END_DATE
,34716160,other,RUN,0,0,0,10/11 10:21:35,10/11 10:22:00,0000:10:00,-
,34716161,{NAME},EXT,0,11,24,11/21 10:21:35,11/21 10:22:00,0001:00:02,11/21 11:22:02
,34716168,{NAME},QUE,-,0,-,11/22 10:23:03,-,-,-
,34716168[3],{NAME},QUE,0,0,0,11/22 10:23:03,(11/22 19:01),0000:00:00,-
"""


async def test_a_job_of_pjm_at_its_elapse_limit_is_not_a_success(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = Tool(monkeypatch, "pjm", Said(0, TABLE, ""))
    over, waiting = await tool.scheduler.poll()
    assert (over.raw, over.exit_code, over.number) == ("EXT 11", None, "34716161")
    assert tool.scheduler.states[over.raw] == Meaning(
        "ended", "time", text="Ended at its elapse limit; EC is 0 nevertheless."
    )
    assert over.started_at == datetime(2026, 11, 21, 10, 22).timestamp()
    assert over.ended_at == datetime(2026, 11, 21, 11, 22, 3).timestamp()
    assert (waiting.number, waiting.index, waiting.raw, waiting.started_at) == ("34716168[3]", 3, "QUE", None)


async def test_columns_of_pjm_are_found_by_their_place_where_their_titles_are_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = TABLE.replace("ELAPSE_TIM", "ELAPSED").replace("EC,PC", "END_CODE,PJM_CODE")
    over, _ = await Tool(monkeypatch, "pjm", Said(0, text, "")).scheduler.poll()
    assert over.raw == "EXT 11"


@pytest.mark.parametrize(
    "said",
    [
        Said(0, "<html>proxy error</html>", ""),
        Said(0, "H,JOB_ID,ST\n,1,RUN\n", ""),
        Said(0, TABLE + f",34716199,{NAME},QUE\n", ""),
        Said(0, "[ERR.] PJM 0090 pjstat Communication failed.\n", ""),
        Said(1, "", ""),
        Said(-9, TABLE, ""),
    ],
)
async def test_an_answer_of_pjstat_that_is_none_says_nothing_of_jobs(
    monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    with pytest.raises(ExecutorError):
        await Tool(monkeypatch, "pjm", said).scheduler.poll()


async def test_pjstat_that_says_nothing_at_all_has_no_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(await Tool(monkeypatch, "pjm", Said(0, "", "")).scheduler.poll()) == []


async def test_a_date_of_last_year_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    text = TABLE.replace("11/21", "12/31")
    over, _ = await Tool(monkeypatch, "pjm", Said(0, text, "")).scheduler.past(0.0)
    assert over.started_at == datetime(2025, 12, 31, 10, 22).timestamp()


@pytest.mark.parametrize("code", [0, 1])
async def test_an_error_of_pjsub_is_one_whatever_its_exit_code(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    text = "[ERR.] PJM 0057 pjsub node=32 is greater than the upper limit (24)."
    with pytest.raises(SubmitRejected, match="upper limit"):
        await Tool(monkeypatch, "pjm", Said(code, text, "")).scheduler.submit(submission())


async def test_what_pjsub_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = Tool(
        monkeypatch, "pjm", Said(0, "[INFO] PJM 0000 pjsub Job 9714 submitted.", ""), options=["--no-check-directory"]
    )
    number = await tool.scheduler.submit(
        submission(
            4, nodes=12, processes=48, queue="small", account="hp1", memory_bytes=1 << 30, extra={"freq": "2200"}
        )
    )
    assert number == "9714"
    assert tool.argv == [
        [
            *("pjsub", "-N", NAME, "-j", "-o", "/d/%b/log", "-L", "elapse=0:01:31", "-L", "node=12"),
            *("-L", "node-mem=1024Mi", "-L", "rscgrp=small", "--mpi", "proc=48", "-g", "hp1"),
            *("--bulk", "--sparam", "0-3", "-L", "freq=2200", "--no-check-directory", "/d/job.sh"),
        ]
    ]


# ---- PBS ---------------------------------------------------------------------------------------------------------

CAPTURED = {
    "timestamp": 1664911414,
    "pbs_version": "19.0.0",
    "pbs_server": "meta-pbs",
    "Jobs": {
        "12860476.meta-pbs": {
            "Job_Name": "renkei",
            "job_state": "F",
            "queue": "charon_2h",
            "ctime": "Tue Oct  4 21:23:20 2022",
            "mtime": "Tue Oct  4 21:24:33 2022",
            "stime": "Tue Oct  4 21:23:33 2022",
            "Exit_status": 271,
            "Variable_List": {"PBS_O_HOME": "/home/me", "SHLVL": 2, "RENKEI_NAME": NAME},
            "comment": "Job run at Tue Oct 04 at 21:23 and failed",
        },
        "12860477[].meta-pbs": {"job_state": "B", "array": "True", "Variable_List": {"RENKEI_NAME": NAME}},
        "12860477[4].meta-pbs": {"job_state": "X", "Variable_List": {"RENKEI_NAME": NAME}},
        "12860478.meta-pbs": {"job_state": "Q", "Job_Name": "renkei", "Variable_List": {"A": 1}},
    },
}


async def test_jobs_of_pbs_are_told_apart_by_their_variable_and_their_id(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = Said(0, "12860476.meta-pbs\n12860477[].meta-pbs\n", "")
    tool = Tool(monkeypatch, "pbs", ids, Said(0, json.dumps(CAPTURED), ""))
    ended, member = await tool.scheduler.poll()
    assert (ended.raw, ended.exit_code, ended.number) == ("F 271", 143, "12860476.meta-pbs")
    assert tool.scheduler.states["F 271"].end == "cancelled"
    assert ended.started_at == datetime(2022, 10, 4, 21, 23, 33).timestamp()
    assert (member.raw, member.index, member.name) == ("X", 4, NAME)
    assert len(tool.argv) == 2


async def test_a_server_of_pbs_that_is_away_has_not_lost_its_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    header = json.dumps({"timestamp": 1750053827, "pbs_version": "22.05.11", "pbs_server": "s"})
    away = Said(255, header, "Connection refused\nqstat: cannot connect to server s (errno=15010)")
    with pytest.raises(ExecutorError, match="cannot connect"):
        await Tool(monkeypatch, "pbs", Said(0, "1.s", ""), away).scheduler.poll()


async def test_a_job_that_left_between_two_commands_of_pbs_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    header = json.dumps({"timestamp": 1750053827, "pbs_version": "22.05.11", "pbs_server": "s"})
    gone = Said(35, header, "qstat: 1.s Job has finished, use -x or -H to obtain historical job information\n")
    assert list(await Tool(monkeypatch, "pbs", Said(0, "1.s", ""), gone).scheduler.poll()) == []


@pytest.mark.parametrize(
    ("status", "raw", "end"), [(-29, "F -29", "time"), (-27, "F -27", "memory"), (-16, "F <0", "failed"), (0, "F", "")]
)
async def test_exit_statuses_of_pbs_have_their_meaning(
    monkeypatch: pytest.MonkeyPatch, status: int, raw: str, end: str
) -> None:
    text = json.dumps(CAPTURED).replace("271", str(status))
    tool = Tool(monkeypatch, "pbs", Said(0, "12860476.meta-pbs", ""), Said(0, text, ""))
    seen = (await tool.scheduler.poll())[0]
    assert (seen.raw, tool.scheduler.states[seen.raw].end) == (raw, end)


async def test_a_pbs_without_history_has_no_past(monkeypatch: pytest.MonkeyPatch) -> None:
    said = Said(36, "", "qselect: PBS is not configured to maintain job history")
    assert list(await Tool(monkeypatch, "pbs", said).scheduler.past(1e9)) == []


async def test_what_qsub_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = Tool(monkeypatch, "pbs", Said(0, "1234[].server\n", ""), Said(0, "1235.server\n", ""), queue="workq")
    assert await tool.scheduler.submit(submission(8, nodes=3, processes=7, cores=2, gpus=1)) == "1234[].server"
    asked: dict[str, Any] = {
        "memory_bytes": 1 << 30,
        "is_exclusive": True,
        "reservation": "R12",
        "account": "a",
        "extra": {"P": "x"},
    }
    assert await tool.scheduler.submit(submission(**asked)) == "1235.server"
    common = ["-N", "renkei", "-S", "/bin/bash", "-v", f"RENKEI_NAME={NAME}", "-j", "oe"]
    assert tool.argv == [
        [
            *("qsub", *common, "-o", "/d/^array_index^/log", "-l", "walltime=0:01:31", "-l"),
            "select=1:ncpus=6:mpiprocs=3:ompthreads=2:ngpus=3+2:ncpus=4:mpiprocs=2:ompthreads=2:ngpus=2",
            *("-l", "place=scatter", "-J", "0-7", "-q", "workq", "/d/job.sh"),
        ],
        [
            *("qsub", *common, "-o", "/d/^array_index^/log", "-l", "walltime=0:01:31", "-l"),
            "select=1:ncpus=1:mpiprocs=1:ompthreads=1:mem=1024mb",
            *("-l", "place=excl", "-r", "n", "-q", "R12", "-A", "a", "-P", "x", "/d/job.sh"),
        ],
    ]


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (Said(188, "", "qsub: Job violates queue and/or server resource limits\n"), SubmitRejected),
        (Said(2, "", "qsub: illegal -N value\nusage: qsub\n"), SubmitRejected),
        (Said(255, "", "Connection refused\nqsub: cannot connect to server s (errno=15010)\n"), ExecutorError),
        (Said(1, "", "qsub: Communication failure\n"), ExecutorError),
        (Said(2, "", "qsub: cannot connect to server s (errno=111)\n"), ExecutorError),
        (Said(-15, "", "qsub: wait\n"), ExecutorError),
        (Said(0, "hello", ""), ReplyUnreadable),
    ],
)
async def test_only_a_clear_no_of_qsub_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch, said: Said, error: type[ExecutorError]
) -> None:
    with pytest.raises(error) as caught:
        await Tool(monkeypatch, "pbs", said).scheduler.submit(submission())
    assert type(caught.value) is error


# ---- Flux --------------------------------------------------------------------------------------------------------

RECORD = {
    "id": 13671518437376,
    "userid": 0,
    "urgency": 16,
    "t_submit": 1706336418.268734,
    "t_run": 1706336418.2916782,
    "t_cleanup": 1706336418.301414,
    "t_inactive": 1706336418.3035474,
    "state": "INACTIVE",
    "name": NAME,
    "success": True,
    "result": "COMPLETED",
    "annotations": {"sched": {"resource_summary": "rank0/core0"}},
    "waitstatus": 0,
    "returncode": 0,
    "runtime": 0.009735822677612305,
    "exception": {"occurred": False, "severity": "", "type": "", "note": ""},
}


def _listed(*changes: Mapping[str, object]) -> Said:
    return Said(0, json.dumps({"jobs": [RECORD | dict(change) for change in changes]}), "")


async def test_a_job_of_flux_is_read_as_it_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    held: dict[str, object] = {"state": "SCHED", "urgency": 0}
    timed_out: dict[str, object] = {
        "result": "TIMEOUT",
        "returncode": 142,
        "exception": {"type": "timeout", "note": "resource allocation expired"},
    }
    tool = Tool(monkeypatch, "flux", _listed({}, held, timed_out, {"name": "another"}))
    done, waiting, late = await tool.scheduler.poll()
    assert (done.number, done.raw, done.exit_code) == ("13671518437376", "INACTIVE COMPLETED", 0)
    assert (done.started_at, done.ended_at) == (1706336418.2916782, 1706336418.3035474)
    assert (waiting.raw, waiting.is_held) == ("SCHED", True)
    assert (late.raw, late.exit_code, late.reason) == ("INACTIVE TIMEOUT", 142, "resource allocation expired")


@pytest.mark.parametrize("text", ["ƒiFkbMhFM\n", "fiFkbMhFM\n", "91088924704768\n"])
async def test_ids_of_flux_are_read_in_all_their_forms(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    tool = Tool(monkeypatch, "flux", Said(0, text, ""))
    asked: dict[str, Any] = {
        "nodes": 2,
        "processes": 4,
        "cores": 3,
        "gpus": 1,
        "is_exclusive": True,
        "queue": "debug",
        "account": "b",
    }
    assert await tool.scheduler.submit(submission(**asked)) == "91088924704768"
    assert tool.argv == [
        [
            *("flux", "batch", f"--job-name={NAME}", "--output=/d/{index}/log", "-N", "2", "-n", "4", "-c", "3"),
            *("-g", "1", "-t", "91s", "-q", "debug", "-B", "b", "--exclusive", "/d/job.sh"),
        ]
    ]


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (Said(1, "", "flux-batch: ERROR: queue not found\n"), SubmitRejected),
        (Said(1, "", "flux-batch: ERROR: Unable to connect to Flux: [Errno 2] No such file\n"), ExecutorError),
        (Said(1, "", "Traceback (most recent call last):\n"), ExecutorError),
        (Said(0, "", ""), ReplyUnreadable),
    ],
)
async def test_only_a_clear_no_of_flux_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch, said: Said, error: type[ExecutorError]
) -> None:
    with pytest.raises(error) as caught:
        await Tool(monkeypatch, "flux", said).scheduler.submit(submission())
    assert type(caught.value) is error


# ---- all ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pbs", "pjm", "flux"])
@pytest.mark.parametrize(
    "asked",
    [
        {"queue": "small,elapse=99:00:00"},
        {"account": "a\nb"},
        {"extra": {"-o": "/etc/x"}},
        {"extra": {"walltime": "9", "elapse": "9", "time-limit": "9"}},
        {"extra": {"--priority": "1\n"}},
    ],
)
async def test_a_job_cannot_bring_what_is_not_its_own(
    monkeypatch: pytest.MonkeyPatch, kind: str, asked: dict[str, Any]
) -> None:
    tool = Tool(monkeypatch, kind)
    with pytest.raises(SubmitRejected):
        await tool.scheduler.submit(submission(**asked))
    assert tool.argv == []


@pytest.mark.parametrize("kind", ["pbs", "pjm", "flux"])
def test_every_state_has_a_line_for_people(kind: str) -> None:
    states: Mapping[str, Meaning] = MODULES[kind].STATES
    assert all(meaning.text.endswith(".") for meaning in states.values())
    assert {"queued", "held", "active", "ended"} - {"held" * (kind == "flux")} <= {m.state for m in states.values()}


@pytest.mark.parametrize(("ec", "sn", "code"), [("0", "0", 0), ("3", "0", 3), ("0", "9", 137)])
async def test_a_signal_of_pjm_is_no_success(monkeypatch: pytest.MonkeyPatch, ec: str, sn: str, code: int) -> None:
    text = TABLE.replace("EXT,0,11,24", f"EXT,{ec},0,{sn}")
    over, _ = await Tool(monkeypatch, "pjm", Said(0, text, "")).scheduler.poll()
    assert (over.raw, over.exit_code) == ("EXT", code)
