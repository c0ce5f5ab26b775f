"""Runs jobs under Slurm, 22.05 or later, through its commands."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from renkei.clock import Clock
from renkei.errors import ExecutorError, ReplyUnreadable, SubmitRejected
from renkei.executors._batch import BatchExecutor
from renkei.executors._scheduler import Meaning, Seen, Submission
from renkei.executors._tools import run_tool
from renkei.model.site_file import ExecutorTable

LEAST_POLL_S = 1.0
"""The controller is asked no more often than this, whatever the site's file says."""

_BLAME = "facility"

STATES: Mapping[str, Meaning] = {
    "PENDING": Meaning("queued", text="It waits; held where the reason says so."),
    "CONFIGURING": Meaning("queued", text="Its nodes are being made ready."),
    "POWER_UP_NODE": Meaning("queued", text="Its nodes are being switched on."),
    "REQUEUED": Meaning("queued", text="It waits again; it does not begin again if it began."),
    "REQUEUE_FED": Meaning("queued", text="It waits again in a federation."),
    "REQUEUE_HOLD": Meaning("held", text="It waits again, held."),
    "RESV_DEL_HOLD": Meaning("held", text="Held, since its reservation is gone."),
    "SPECIAL_EXIT": Meaning("held", text="It waits again, held, after an exit that was to be special."),
    "RUNNING": Meaning("active", text="It runs."),
    "COMPLETING": Meaning("active", text="Its processes are ending."),
    "STAGE_OUT": Meaning("active", text="Its files are being brought back."),
    "SIGNALING": Meaning("active", text="It is being sent a signal."),
    "RESIZING": Meaning("active", text="Its size is changing."),
    "SUSPENDED": Meaning("active", text="It stands still and keeps its nodes."),
    "STOPPED": Meaning("active", text="It stands still and keeps its nodes and cores."),
    "UPDATE_DB": Meaning("active", text="Its accounts are being written."),
    "EXPEDITING": Meaning("queued", text="It waits, before others."),
    "COMPLETED": Meaning("ended", text="Its script ended with 0: the evidence says how its run ended."),
    "FAILED": Meaning("ended", text="Its script ended with another code than 0: the evidence says how its run ended."),
    "TIMEOUT": Meaning("ended", "time", text="It was ended at its time limit."),
    "OUT_OF_MEMORY": Meaning("ended", "memory", text="It was ended at its memory limit."),
    "CANCELLED": Meaning("ended", "cancelled", text="Somebody cancelled it, or Slurm what it could not start."),
    "NODE_FAIL": Meaning("ended", "failed", _BLAME, True, "A node of it failed."),
    "BOOT_FAIL": Meaning("ended", "failed", _BLAME, True, "Its nodes did not start."),
    "LAUNCH_FAILED": Meaning("ended", "failed", _BLAME, True, "It could not be started on its nodes."),
    "RECONFIG_FAIL": Meaning("ended", "failed", _BLAME, True, "Its nodes could not be made ready."),
    "PREEMPTED": Meaning("ended", "failed", _BLAME, True, "It had to make way for another job."),
    "REVOKED": Meaning("ended", "failed", _BLAME, True, "It was taken over by another cluster of a federation."),
    "DEADLINE": Meaning("ended", "failed", "requester", False, "It was ended at the deadline that it named."),
}
"""What Slurm's states mean: the words of `squeue` and `sacct`, without what follows them ("by 1000")."""

_HELD = re.compile(r"JobHeld\w*|launch failed requeued held|job requeued in held state", re.IGNORECASE)
_UNSURE = re.compile(
    r"Unable to contact slurm controller|Socket timed out|Zero Bytes were transmitted|Connection (refused|reset)|"
    r"Transport endpoint|Unexpected message received|Communication|Slurm backup controller|Slurmctld|Protocol auth",
    re.IGNORECASE,
)
"""Refusals of `sbatch` that are about the way to the controller, and not about the job."""

_OPTION = re.compile(r"[a-z][a-z0-9-]*")
_OURS = (
    "array", "chdir", "clusters", "comment", "error", "export", "export-file", "get-user-env", "gid", "help", "input",
    "job-name", "kill-on-invalid-dep", "no-requeue", "open-mode", "output", "parsable", "quiet", "requeue", "signal",
    "test-only", "time", "time-min", "uid", "usage", "verbose", "version", "wait", "wrap", "wckey",
)  # fmt: skip
"""Options of `sbatch` that a job may not bring: they are ours, or would have it run otherwise.

Nor may it bring the beginning of one, which `sbatch` takes for the whole."""

_MARK = "\x1f"
_FIELDS = (
    "Name", "ArrayJobID", "ArrayTaskID", "JobID", "State", "exit_code", "SubmitTime", "StartTime", "EndTime", "Reason",
    "NodeList",
)  # fmt: skip
_PAST_FIELDS = ("JobName", "JobID", "State", "ExitCode", "Submit", "Start", "End", "NodeList")
_NAME = re.compile(r"renkei-[0-9a-zA-Z-]{1,64}")


def slurm_executor(table: ExecutorTable, data: Path, clock: Clock) -> BatchExecutor:
    """Return the executor in front of Slurm that [executor] of a site's file describes.

    Args:
        table: [executor] of site.toml.
        data: The site's folder, which the nodes see under the same path.
        clock: Time, blocking calls.
    """
    table = table.model_copy(update={"poll_s": max(LEAST_POLL_S, table.poll_s)})
    return BatchExecutor(Slurm(clock, table.options, table.queue or "", table.account or ""), table, data, clock)


class Slurm:
    """Slurm's side of `BatchExecutor`; satisfies `Scheduler`.

    Args:
        clock: For outside commands.
        options: Further options of `sbatch`, as they are.
        queue: The partition of jobs that name none; "" leaves it to Slurm.
        account: Their account.
    """

    name = "slurm"
    title = "Slurm"
    states: Mapping[str, Meaning] = STATES
    number_variable = "SLURM_JOB_ID"
    index_variable = "SLURM_ARRAY_TASK_ID"
    array_limit = 1000

    def __init__(self, clock: Clock, options: Sequence[str] = (), queue: str = "", account: str = "") -> None:
        self._clock, self._options, self._queue, self._account = clock, options, queue, account
        self._accounts: tuple[str, ...] = ()  # options of sacct; found out by asking

    async def submit(self, submission: Submission) -> str:
        """See `Scheduler.submit`."""
        said = await run_tool(self._clock, self._sbatch(submission))
        words = said.err.strip()
        if said.code == 0:
            number = said.out.strip().partition(";")[0]
            if not number.isdecimal():
                raise ReplyUnreadable(f"sbatch said {said.out.strip()[:200]!r} and no job number.")
            return number
        if "error: Batch job submission failed" in words and not _UNSURE.search(words):
            raise SubmitRejected("; ".join(re.findall(r"error: (.*)", words)))
        if _is_usage(words):
            raise SubmitRejected(words.splitlines()[0].removeprefix("sbatch: "))
        raise ExecutorError(f"sbatch: {said.last_words}.")

    def _sbatch(self, submission: Submission) -> list[str]:
        asks = submission.resources
        argv = ["sbatch", *self._options]
        for key, value in asks.extra.items():
            option = key.lstrip("-")
            if not _OPTION.fullmatch(option) or any(each.startswith(option) for each in _OURS):
                raise SubmitRejected(f"a job cannot ask for the option --{option}")
            argv.append(f"--{option}={value}" if value else f"--{option}")
        argv += [
            "--parsable",
            f"--job-name={submission.name}",
            f"--comment={submission.comment}",
            f"--output={submission.log.replace('%', '%%').replace('{index}', '%a')}",
            "--open-mode=append",
            f"--chdir={submission.script.parent}",
            "--no-requeue",
            f"--time={max(1, math.ceil(submission.time_limit_s / 60))}",
            f"--nodes={asks.nodes}",
            f"--ntasks={max(asks.processes, asks.nodes)}",  # with fewer, it would take fewer nodes
            f"--cpus-per-task={asks.cores}",
        ]
        if asks.gpus:
            argv.append(f"--gpus-per-task={asks.gpus}")
        if asks.memory_bytes:
            argv.append(f"--mem={math.ceil(asks.memory_bytes / 2**20)}M")
        if asks.is_exclusive:
            argv.append("--exclusive")
        for option, value in (
            ("partition", asks.queue or self._queue),
            ("account", asks.account or self._account),
            ("reservation", asks.reservation),
        ):
            if value:
                argv.append(f"--{option}={value}")
        if submission.size:
            argv.append(f"--array=0-{submission.size - 1}")
        return [*argv, str(submission.script)]

    async def poll(self) -> Sequence[Seen]:
        """See `Scheduler.poll`: one `squeue`, which also shows what ended in the last minutes (`MinJobAge`)."""
        fields = ",".join(f"{field}:{_MARK}" for field in _FIELDS)
        argv = ["squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}", f"--Format={fields}"]
        said = await run_tool(self._clock, argv, environment={"SLURM_TIME_FORMAT": "%s"})
        if said.code:
            raise ExecutorError(f"squeue: {said.last_words}.")
        return [seen for line in said.out.splitlines() if (seen := _from_queue(line)) is not None]

    async def past(self, since: float) -> Sequence[Seen]:
        """See `Scheduler.past`: one `sacct`, from slurmdbd or, where there is none, from what slurmctld writes."""
        last = ExecutorError("sacct does not answer.")
        for options in (self._accounts,) if self._accounts else (("--allocations", "--duplicates"), ("--completion",)):
            argv = [
                "sacct", *options, "--noheader", "--parsable2", f"--user={os.getuid()}",
                f"--starttime=now-{max(60, math.ceil(self._clock.now() - since))}seconds",
                f"--format={','.join(_PAST_FIELDS)}", f"--delimiter={_MARK}",
            ]  # fmt: skip
            said = await run_tool(self._clock, argv, environment={"SLURM_TIME_FORMAT": "%s"})
            if said.code == 0 and "disabled" not in said.err:
                self._accounts = options
                return [seen for line in said.out.splitlines() if (seen := _from_accounts(line)) is not None]
            if "disabled" not in said.err:
                last = ExecutorError(f"sacct: {said.last_words}.")
                break
        else:
            return []  # neither is kept here: evidence has to do
        raise last

    async def cancel(self, jobs: Sequence[Seen]) -> None:
        """See `Scheduler.cancel`. Slurm compares the number, which it may have given away, with the name.

        It does not do so for one member of an array: with a name, it would end all that are queued.
        """
        members = [job.number for job in jobs if job.index is not None]
        asked = [members] if members else []
        asked += [[f"--name={job.name}", job.number] for job in jobs if job.index is None]
        for words in asked:
            said = await run_tool(self._clock, ["scancel", *words])
            if said.code and _UNSURE.search(said.err):
                raise ExecutorError(f"scancel: {said.last_words}.")

    async def check(self) -> Sequence[str]:
        """See `Scheduler.check`."""
        wrong: list[str] = []
        for argv in (
            ["sbatch", "--version"],
            ["scancel", "--version"],
            ["sacct", "--version"],
            ["squeue", "--version"],
        ):
            try:
                said = await run_tool(self._clock, argv)
            except ExecutorError as error:
                wrong.append(str(error))
                continue
            if said.code:
                wrong.append(f"{argv[0]}: {said.last_words}.")
        if wrong:
            return wrong
        try:
            said = await run_tool(self._clock, ["sinfo", "--noheader", "--format=%R"])
        except ExecutorError as error:
            return [str(error)]
        if said.code:
            return [f"Slurm's controller does not answer: {said.last_words}."]
        partitions = said.out.split()
        if self._queue and self._queue not in partitions:
            wrong.append(f"Slurm has no partition '{self._queue}', but {', '.join(partitions) or 'none at all'}.")
        if not wrong and self._account:
            wrong += await self._try(self._queue)
        return wrong

    async def _try(self, queue: str) -> list[str]:
        """Return what Slurm says against a job with the site's queue and account; no job comes of it."""
        argv = ["sbatch", "--test-only", f"--account={self._account}", *([f"--partition={queue}"] if queue else [])]
        try:
            said = await run_tool(self._clock, [*argv, "--time=1"], stdin="#!/bin/sh\n")
        except ExecutorError as error:
            return [str(error)]
        return [f"Slurm would refuse a job of account '{self._account}': {said.last_words}."] if said.code else []


def _is_usage(words: str) -> bool:
    return bool(re.search(r"unrecognized option|invalid option|Try \"sbatch --help\"|Unable to open file", words))


def _from_queue(line: str) -> Seen | None:
    """Return the job of a line of `squeue`; None of one that is not ours.

    Raises:
        ReplyUnreadable: It is ours and does not have the fields that were asked for.
    """
    cells = [cell.strip() for cell in line.split(_MARK)]
    if not _NAME.fullmatch(cells[0]):
        return None
    if len(cells) < len(_FIELDS):
        raise ReplyUnreadable(f"squeue said {line[:200]!r}, which is cut off.")
    name, array, task, number, raw, status, submitted, started, ended, reason, nodes = cells[: len(_FIELDS)]
    index = int(task) if task.isdecimal() else None
    is_over = ended.isdecimal() and raw in STATES and STATES[raw].state == "ended"
    return Seen(
        name,
        number if index is None else f"{array}_{index}",
        raw,
        index,
        "" if reason == "None" else reason,
        _HELD.fullmatch(reason) is not None,
        _exit_code(int(status)) if is_over and status.isdecimal() else None,
        _time(submitted),
        _time(started),
        _time(ended) if is_over else None,
        nodes != "",
    )


def _from_accounts(line: str) -> Seen | None:
    """Return the job of a line of `sacct`; None of one that is not ours, or that says too little."""
    cells = line.split(_MARK)
    if len(cells) != len(_PAST_FIELDS) or not _NAME.fullmatch(cells[0]) or not cells[2].strip():
        return None
    name, number, state, exit_code, submitted, started, ended, nodes = cells
    _, _, task = number.partition("_")
    code, _, signal = exit_code.partition(":")
    status = int(code) + (128 + int(signal) if signal.isdecimal() and int(signal) else 0) if code.isdecimal() else None
    return Seen(
        name,
        number,
        state.split()[0],
        int(task) if task.isdecimal() else None,
        state if " " in state else "",
        exit_code=status,
        submitted_at=_time(submitted),
        started_at=_time(started),
        ended_at=_time(ended),
        has_nodes=nodes not in ("", "None assigned"),
    )


def _exit_code(status: int) -> int:
    """Return the exit code as a shell gives it, of a wait status."""
    return 128 + (status & 127) if status & 127 else status >> 8 & 255


def _time(text: str) -> float | None:
    return float(text) if text.isdecimal() and text != "0" else None
