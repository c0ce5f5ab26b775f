"""Runs jobs in PBS Professional or OpenPBS.

All of our jobs have the same name, so that the server picks them itself; the name of the submission is in a variable
of the job. Members of arrays cannot be told apart by the variable, but by their ids. A PBS that keeps no history of
jobs (`job_history_enable`) says nothing of those that ended: then the evidence alone settles them.
"""

import json
import os
import pwd
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from renkei.clock import Clock
from renkei.errors import ExecutorError, ReplyUnreadable, SubmitRejected
from renkei.executors._batch import BatchExecutor
from renkei.executors._options import extra_options, hms, mebibytes, plain, processes_of_nodes
from renkei.executors._port import Resources
from renkei.executors._scheduler import Meaning, Seen, Submission
from renkei.executors._tools import reading, run_tool
from renkei.model.site_file import ExecutorTable

JOB_NAME = "renkei"
"""What all of our jobs are called: letters, and few enough for old versions."""
VARIABLE = "RENKEI_NAME"
"""The job's variable that holds `Submission.name`."""

STATES: Mapping[str, Meaning] = {
    "T": Meaning("queued", text="In transit between queues or servers."),
    "Q": Meaning("queued", text="Queued."),
    "W": Meaning("queued", text="Waits for the time that was asked for."),
    "H": Meaning("held", text="Held by its user, an operator, the system or a dependency."),
    "R": Meaning("active", text="Runs."),
    "B": Meaning("active", text="An array of which some member began."),
    "S": Meaning("active", text="Suspended by the scheduler; it goes on later."),
    "U": Meaning("active", text="Suspended because somebody works at the machine."),
    "E": Meaning("active", text="Ends: its outputs are brought back."),
    "X": Meaning("ended", text="A member of an array, over."),
    "F": Meaning("ended", text="Over, with an exit status from 0 to 255 or one of a signal."),
    "F -1": Meaning("ended", "failed", "facility", True, "Could not begin, before its files were set up."),
    "F -2": Meaning("ended", "failed", "facility", True, "Could not begin, after its files were set up."),
    "F -3": Meaning("ended", "failed", "facility", True, "Could not begin; PBS may try again."),
    "F -24": Meaning("ended", "failed", "requester", False, "Used more CPU for a while than it asked for."),
    "F -25": Meaning("ended", "failed", "requester", False, "Used more CPU than it asked for."),
    "F -26": Meaning("ended", "memory", text="Used more virtual memory than it asked for."),
    "F -27": Meaning("ended", "memory", text="Used more memory than it asked for."),
    "F -28": Meaning("ended", "time", text="Used more CPU time than it asked for."),
    "F -29": Meaning("ended", "time", text="Ended at its walltime."),
    "F <0": Meaning("ended", "failed", "facility", True, "Another exit status below 0: PBS itself failed."),
    "F 271": Meaning("ended", "cancelled", text="Ended by SIGTERM: qdel, or the walltime in old versions."),
    "F none": Meaning("ended", "cancelled", text="Over without an exit status: deleted before it ran."),
    "M": Meaning("unknown", text="Moved to another server, where nobody looks for it."),
}
"""What the states of PBS mean; of a job that is over, with those exit statuses that say more."""

_ID = re.compile(r"\d+(\[(\d*)\])?(\.[A-Za-z0-9._-]+)?")
_GONE = re.compile(r"Unknown Job Id|has finished")
_NO_HISTORY = "not configured to maintain job history"
_NO_ANSWER = re.compile(
    r"connect|communicat|timed? ?out|end of file|protocol|batch daemon|no route|try again|busy", re.I
)
_MARGIN_S = 120
_TAKEN = ("select", "place", "walltime", "nodes", "ncpus", "mem", "nodect")
_FREE = ("-p", "-P", "-a")
"""Options of qsub that a job may bring: its priority, project and earliest time."""


class PbsScheduler:
    """The `Scheduler` of PBS.

    Args:
        table: [executor] of site.toml.
        clock: Blocking calls.
    """

    name, title = "pbs", "PBS Pro"
    states: Mapping[str, Meaning] = STATES
    number_variable, index_variable, array_limit = "PBS_JOBID", "PBS_ARRAY_INDEX", 1000

    def __init__(self, table: ExecutorTable, clock: Clock) -> None:
        self._options, self._clock = list(table.options), clock
        self._queue, self._account = table.queue or "", table.account or ""

    async def submit(self, submission: Submission) -> str:
        """See `Scheduler.submit`. Jobs are not run again by PBS; arrays cannot be kept from it, but their script is."""
        asked = submission.resources
        argv = ["qsub", "-N", JOB_NAME, "-S", "/bin/bash", "-v", f"{VARIABLE}={submission.name}", "-j", "oe"]
        argv += [
            "-o",
            submission.log.replace("{index}", "^array_index^"),
            "-l",
            f"walltime={hms(submission.time_limit_s)}",
        ]
        argv += _chunks(asked)
        argv += ["-J", f"0-{submission.size - 1}"] if submission.size > 1 else ["-r", "n"]
        queue, account = asked.reservation or asked.queue or self._queue, asked.account or self._account
        argv += ["-q", plain(queue, "queue")] if queue else []
        argv += ["-A", plain(account, "account")] if account else []
        argv += extra_options(asked.extra, "-l", _TAKEN, _FREE)
        argv += [*self._options, str(submission.script)]
        said = await run_tool(self._clock, argv)
        if said.code == 0:
            for line in reversed(said.out.splitlines()):
                if _ID.fullmatch(line.strip()):
                    return line.strip()
            raise ReplyUnreadable(f"qsub says '{said.last_words[:200]}' and no job's id.")
        text = next((line for line in said.err.splitlines() if line.startswith("qsub:")), "")
        if text and 0 < said.code < 254 and not _NO_ANSWER.search(said.err):
            raise SubmitRejected(text)
        raise ExecutorError(f"qsub failed: {said.last_words}")

    async def poll(self) -> Sequence[Seen]:
        """See `Scheduler.poll`. Two commands: which are ours, and what of them."""
        return await self._show([], [])

    async def past(self, since: float) -> Sequence[Seen]:
        """See `Scheduler.past`."""
        stamp = datetime.fromtimestamp(max(0.0, since - _MARGIN_S)).strftime("%Y%m%d%H%M.%S")
        return await self._show(["-x", "-t", f"c.ge.{stamp}"], ["-x"])

    async def cancel(self, jobs: Sequence[Seen]) -> None:
        """See `Scheduler.cancel`. PBS never gives a number twice."""
        said = await run_tool(self._clock, ["qdel", *(job.number for job in jobs)])
        if said.code and not said.complains_only_of(_GONE):
            raise ExecutorError(f"qdel failed: {said.last_words}")

    async def check(self) -> Sequence[str]:
        """See `Scheduler.check`."""
        try:
            said = await run_tool(self._clock, ["qselect", "-u", _user(), "-N", JOB_NAME])
            if said.code:
                return [f"PBS does not answer: {said.last_words}"]
            if self._queue:
                said = await run_tool(self._clock, ["qstat", "-Q", self._queue])
                if said.code:
                    return [f"PBS has no queue '{self._queue}': {said.last_words}"]
            said = await run_tool(self._clock, ["qsub", "--version"])
            return [f"qsub does not work: {said.last_words}"] if said.code else []
        except ExecutorError as error:
            return [error.message]

    async def _show(self, choose: Sequence[str], how: Sequence[str]) -> list[Seen]:
        said = await run_tool(self._clock, ["qselect", "-u", _user(), "-N", JOB_NAME, *choose])
        if said.code:
            if how and _NO_HISTORY in said.err:
                return []
            raise ExecutorError(f"PBS does not answer: {said.last_words}")
        ids = said.out.split()
        if wrong := [text for text in ids if not _ID.fullmatch(text)]:
            raise ReplyUnreadable(f"qselect says '{wrong[0][:200]}', which is no job's id.")
        if not ids:
            return []
        said = await run_tool(self._clock, ["qstat", *how, "-f", "-t", "-F", "json", *ids])
        if said.code and not said.complains_only_of(_GONE):
            raise ExecutorError(f"PBS does not answer: {said.last_words}")
        return _seen(said.out)


def pbs_executor(table: ExecutorTable, data: Path, clock: Clock) -> BatchExecutor:
    """Return the executor of a site in front of PBS."""
    return BatchExecutor(PbsScheduler(table, clock), table, data, clock)


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def _chunks(asked: Resources) -> list[str]:
    parts: list[str] = []
    for nodes, processes in processes_of_nodes(asked):
        part = f"{nodes}:ncpus={processes * asked.cores}:mpiprocs={processes}:ompthreads={asked.cores}"
        part += f":ngpus={processes * asked.gpus}" if asked.gpus else ""
        parts.append(part + (f":mem={mebibytes(asked.memory_bytes)}mb" if asked.memory_bytes else ""))
    place = [word for word, is_meant in (("scatter", asked.nodes > 1), ("excl", asked.is_exclusive)) if is_meant]
    return ["-l", "select=" + "+".join(parts), *(["-l", "place=" + ":".join(place)] if place else [])]


def _seen(text: str) -> list[Seen]:
    """Return our jobs of what qstat says in JSON.

    Raises:
        ReplyUnreadable: It is not that.
    """
    with reading("qstat"):
        jobs: dict[str, dict[str, Any]] = json.loads(text, strict=False).get("Jobs", {})
        return [seen for number, job in jobs.items() if (seen := _one(number, job)) is not None]


def _one(number: str, job: dict[str, Any]) -> Seen | None:
    match = _ID.fullmatch(number)
    variables: dict[str, Any] = job.get("Variable_List", {})
    name = variables.get(VARIABLE)
    if match is None or not isinstance(name, str) or "job_state" not in job or match[2] == "":
        return None  # nothing of ours, a job that left meanwhile, or an array itself, whose members follow
    raw, status = str(job["job_state"]), job.get("Exit_status")
    if raw == "F":
        if status is None:
            raw = "F" if "stime" in job else "F none"
        elif f"F {int(status)}" in STATES or int(status) < 0:
            raw = f"F {int(status)}" if f"F {int(status)}" in STATES else "F <0"
    ended = _time(job.get("obittime") or job.get("mtime"))
    code = None if status is None or int(status) < 0 else int(status)
    return Seen(
        name,
        number,
        raw,
        int(match[2]) if match[2] else None,
        reason=str(job.get("comment", "")),
        exit_code=code - 128 if code is not None and code > 255 else code,
        submitted_at=_time(job.get("ctime")),
        started_at=_time(job.get("stime")),
        ended_at=ended + 1.0 if ended is not None and raw[0] in "FX" else None,  # it tells whole seconds
    )


def _time(text: Any) -> float | None:
    """Return a date as PBS writes it, in the server's time, which is taken for ours."""
    try:
        return datetime.strptime(str(text), "%a %b %d %H:%M:%S %Y").timestamp()
    except ValueError:
        return None
