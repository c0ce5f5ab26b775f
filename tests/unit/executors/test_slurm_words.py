"""Slurm's side: what is asked of its commands, and what is read out of their words, as recorded from 22.05."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from hand_clock import HandClock
from renkei.errors import ExecutorError, ReplyUnreadable, SubmitRejected
from renkei.executors import Resources, slurm
from renkei.executors._scheduler import Seen, Submission
from renkei.executors._tools import Said
from renkei.executors.slurm import Slurm

pytestmark = pytest.mark.anyio

RUN = "renkei-01a203d6-13ff-7000-9a2d-ace8154d8be4"


class Recorded:
    """Answers commands with what was recorded, and notes them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: Said) -> None:
        self.answers, self.asked = list(answers), list[list[str]]()

        async def run_tool(
            clock: object, argv: Sequence[str], *, environment: Mapping[str, str] | None = None, stdin: str = ""
        ) -> Said:
            self.asked.append(list(argv))
            return self.answers.pop(0)

        monkeypatch.setattr(slurm, "run_tool", run_tool)


def submission(**more: object) -> Submission:
    asked: dict[str, object] = {
        "name": RUN, "script": Path("/d/job.sh"), "log": "/d/job.log", "resources": Resources(), "time_limit_s": 61.0,
    }  # fmt: skip
    return Submission(**(asked | more))  # type: ignore[arg-type]


def fields(*cells: str) -> str:
    return "".join(f"{cell}\x1f" for cell in cells)


async def test_a_job_is_asked_for_with_all_of_its_resources(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = Recorded(monkeypatch, Said(0, "4711;cluster\n", ""))
    asks = Resources(2, 8, 4, 1, 10**9, True, "gpu", "team", "booked", {"constraint": "a100", "nice": ""})
    log = "/d%/{index}/job.log"
    number = await Slurm(HandClock(), ["--qos=high"]).submit(submission(resources=asks, size=3, log=log))
    assert number == "4711"
    (argv,) = recorded.asked
    assert argv[:4] == ["sbatch", "--qos=high", "--constraint=a100", "--nice"]
    assert {
        "--parsable", f"--job-name={RUN}", "--no-requeue", "--time=2", "--nodes=2", "--ntasks=8", "--cpus-per-task=4",
        "--gpus-per-task=1", "--mem=954M", "--exclusive", "--partition=gpu", "--account=team", "--reservation=booked",
        "--array=0-2", "--output=/d%%/%a/job.log",
    } <= set(argv)  # fmt: skip
    assert argv[-1] == "/d/job.sh"


@pytest.mark.parametrize("option", ["uid", "ui", "wrap", "no-req", "outpu", "x y", "Mem", ""])
async def test_an_option_that_would_change_whose_job_it_is_is_refused(
    option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = Recorded(monkeypatch)
    with pytest.raises(SubmitRejected):
        await Slurm(HandClock()).submit(submission(resources=Resources(extra={option: "0"})))
    assert recorded.asked == []


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("sbatch: error: invalid partition specified: nope\n"
         "sbatch: error: Batch job submission failed: Invalid partition name specified", SubmitRejected),
        ("sbatch: error: Batch job submission failed: Requested node configuration is not available", SubmitRejected),
        ("sbatch: unrecognized option '--nonsense=1'\nTry \"sbatch --help\" for more information", SubmitRejected),
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
         ExecutorError),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", ExecutorError),
        ("sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received", ExecutorError),
        ("", ExecutorError),
    ],
)  # fmt: skip
async def test_a_refusal_is_told_from_silence(
    said: str, error: type[ExecutorError], monkeypatch: pytest.MonkeyPatch
) -> None:
    Recorded(monkeypatch, Said(1, "", said))
    with pytest.raises(ExecutorError) as raised:
        await Slurm(HandClock()).submit(submission())
    assert type(raised.value) is error


async def test_an_answer_without_a_number_is_not_taken_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    Recorded(monkeypatch, Said(0, "welcome to the cluster\n", ""))
    with pytest.raises(ReplyUnreadable):
        await Slurm(HandClock()).submit(submission())


async def test_the_queue_is_read_with_one_command_and_jobs_of_others_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = "\n".join(
        [
            fields(RUN, "1", "0", "2", "COMPLETED", "0", "1795360106", "1795360106", "1795360108", "None", "n1"),
            fields(
                RUN, "1", "1", "1", "PENDING", "0", "1795360106", "N/A", "N/A", "Nodes required for job are DOWN", ""
            ),
            fields(
                f"{RUN}0",
                "5",
                "N/A",
                "5",
                "FAILED",
                "768",
                "1795360138",
                "1",
                "1795360139",
                "NonZeroExitCode",
                "n[1-2]",
            ),
            fields(f"{RUN}1", "6", "N/A", "6", "PENDING", "0", "1795360138", "N/A", "N/A", "JobHeldUser", ""),
            fields("wrap", "7", "N/A", "7", "RUNNING", "0", "1795360138", "1795360138", "N/A", "None", "n1"),
        ]
    )
    recorded = Recorded(monkeypatch, Said(0, out, ""))
    first, second, third, fourth = await Slurm(HandClock()).poll()
    assert first == Seen(RUN, "1_0", "COMPLETED", 0, "", False, 0, 1795360106.0, 1795360106.0, 1795360108.0, True)
    assert (second.number, second.index, second.reason) == ("1_1", 1, "Nodes required for job are DOWN")
    assert (second.started_at, second.ended_at, second.exit_code) == (None, None, None)
    assert (third.number, third.index, third.exit_code) == ("5", None, 3)
    assert (fourth.is_held, second.is_held) == (True, False)
    assert (fourth.has_nodes, third.has_nodes, second.has_nodes) == (False, True, False)
    assert len(recorded.asked) == 1


@pytest.mark.parametrize(
    "said", [Said(1, "", "slurm_load_jobs error: Unable to contact slurm controller"), Said(0, f"{RUN}\x1f1\x1f", "")]
)
async def test_a_queue_that_cannot_be_read_is_no_empty_queue(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    Recorded(monkeypatch, said)
    with pytest.raises(ExecutorError):
        await Slurm(HandClock()).poll()


@pytest.mark.parametrize(("nodes", "has_nodes"), [("n1", True), ("None assigned", False), ("", False)])
async def test_accounts_are_read_from_slurmdbd_or_from_what_the_controller_writes(
    nodes: str, has_nodes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = "\x1f".join([RUN, "1_4", "CANCELLED by 0", "0:15", "1795360106", "1795360107", "1795360108", nodes])
    recorded = Recorded(
        monkeypatch,
        Said(1, "", "Slurm accounting storage is disabled"),
        Said(0, f"{row}\nnonsense\n", "sacct: error: Unknown type ArrayJobId: 1"),
        Said(0, "", ""),
    )
    scheduler = Slurm(HandClock())
    (seen,) = await scheduler.past(0.0)
    assert (seen.number, seen.index, seen.raw, seen.reason, seen.exit_code) == (
        "1_4", 4, "CANCELLED", "CANCELLED by 0", 143,
    )  # fmt: skip
    assert seen.has_nodes == has_nodes
    assert list(await scheduler.past(0.0)) == []
    assert ["--completion" in argv for argv in recorded.asked] == [False, True, True]


async def test_a_job_is_cancelled_by_name_and_number_and_a_member_of_an_array_by_its_number_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = Said(1, "", "scancel: error: Unable to contact slurm controller")
    recorded = Recorded(monkeypatch, Said(0, "", ""), Said(1, "", "scancel: error: Invalid job id"), gone)
    scheduler = Slurm(HandClock())
    await scheduler.cancel([Seen(RUN, "1_0", "RUNNING", 0), Seen(RUN, "1_1", "PENDING", 1), Seen(RUN, "7", "RUNNING")])
    assert recorded.asked == [["scancel", "1_0", "1_1"], ["scancel", f"--name={RUN}", "7"]]
    with pytest.raises(ExecutorError):
        await scheduler.cancel([Seen(RUN, "1_0", "RUNNING", 0)])
