"""Runs jobs in Flux, by `flux batch`: each job's script is the first program of an instance of its own.

Flux has no arrays of jobs with instances of their own, so every job goes by itself. Its command line has no memory to
ask for, so none is.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from renkei.clock import Clock
from renkei.errors import ExecutorError, ReplyUnreadable, SubmitRejected
from renkei.executors._batch import BatchExecutor
from renkei.executors._options import extra_options, no_reservations, plain
from renkei.executors._scheduler import Meaning, Seen, Submission
from renkei.executors._tools import Said, reading, run_tool
from renkei.model.site_file import ExecutorTable

STATES: Mapping[str, Meaning] = {
    "NEW": Meaning("queued", text="Just taken."),
    "DEPEND": Meaning("queued", text="Waits for what it depends on."),
    "PRIORITY": Meaning("queued", text="Gets its priority."),
    "SCHED": Meaning("queued", text="Waits for resources; held where its urgency is 0."),
    "RUN": Meaning("active", text="Runs."),
    "CLEANUP": Meaning("active", text="Ends: its processes and resources are let go."),
    "INACTIVE COMPLETED": Meaning("ended", text="Over, with exit code 0."),
    "INACTIVE FAILED": Meaning("ended", text="Over, with another exit code, or ended by an error."),
    "INACTIVE CANCELED": Meaning("ended", "cancelled", text="Cancelled."),
    "INACTIVE TIMEOUT": Meaning("ended", "time", text="Ended at its time limit."),
}
"""What the states of Flux mean; of a job that is over, with its result."""

_F58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_ID = re.compile(rf"(?:ƒ|f)([{_F58}]+)|(\d+)")
_NO_ANSWER = re.compile(r"connect|communicat|time.?out|flux_open|hostname|lost|broker|rpc", re.I)
_GONE = re.compile(r"inactive|unknown|no such|not found|invalid job", re.I)
_PREFIX = "renkei-"
_FREE = ("--requires", "--dependency", "--begin-time", "--urgency")
"""Options of flux batch that a job may bring."""


class FluxScheduler:
    """The `Scheduler` of Flux.

    Args:
        table: [executor] of site.toml.
        clock: Blocking calls.
    """

    name, title = "flux", "Flux"
    states: Mapping[str, Meaning] = STATES
    number_variable, index_variable, array_limit = "FLUX_JOB_ID", "", 0

    def __init__(self, table: ExecutorTable, clock: Clock) -> None:
        self._options, self._clock = list(table.options), clock
        self._queue, self._account = table.queue or "", table.account or ""

    async def submit(self, submission: Submission) -> str:
        """See `Scheduler.submit`."""
        asked = submission.resources
        no_reservations(asked, "Flux")
        argv = ["flux", "batch", f"--job-name={submission.name}", f"--output={submission.log}"]
        argv += ["-N", str(asked.nodes), "-n", str(asked.processes), "-c", str(asked.cores)]
        argv += ["-g", str(asked.gpus)] if asked.gpus else []
        argv += ["-t", f"{math.ceil(submission.time_limit_s)}s"]
        queue, account = asked.queue or self._queue, asked.account or self._account
        argv += ["-q", plain(queue, "queue")] if queue else []
        argv += ["-B", plain(account, "account")] if account else []
        argv += ["--exclusive"] if asked.is_exclusive else []
        argv += extra_options(asked.extra, "", (), _FREE)
        said = await run_tool(self._clock, [*argv, *self._options, str(submission.script)])
        if said.code == 0:
            for line in said.out.splitlines():
                if match := _ID.fullmatch(line.strip()):
                    return str(_number(match))
            raise ReplyUnreadable(f"flux batch says '{said.last_words[:200]}' and no job's id.")
        text = next((line for line in said.err.splitlines() if line.startswith("flux-batch:")), "")
        if text and said.code > 0 and not _NO_ANSWER.search(said.err):
            raise SubmitRejected(text)
        raise ExecutorError(f"flux batch failed: {said.last_words}")

    async def poll(self) -> Sequence[Seen]:
        """See `Scheduler.poll`."""
        return _seen(await run_tool(self._clock, ["flux", "jobs", "--json", "-c", "0"]))

    async def past(self, since: float) -> Sequence[Seen]:
        """See `Scheduler.past`."""
        return _seen(await run_tool(self._clock, ["flux", "jobs", "-a", "--json", "-c", "0", f"--since={since:.0f}"]))

    async def cancel(self, jobs: Sequence[Seen]) -> None:
        """See `Scheduler.cancel`. Flux never gives an id twice."""
        said = await run_tool(self._clock, ["flux", "cancel", *(job.number for job in jobs)])
        if said.code and not said.complains_only_of(_GONE):
            raise ExecutorError(f"flux cancel failed: {said.last_words}")

    async def check(self) -> Sequence[str]:
        """See `Scheduler.check`."""
        try:
            await self.poll()
        except ExecutorError as error:
            return [f"Flux does not answer: {error.message}"]
        return []


def flux_executor(table: ExecutorTable, data: Path, clock: Clock) -> BatchExecutor:
    """Return the executor of a site in front of Flux."""
    return BatchExecutor(FluxScheduler(table, clock), table, data, clock)


def _number(match: re.Match[str]) -> int:
    if match[2]:
        return int(match[2])
    number = 0
    for digit in match[1]:
        number = number * 58 + _F58.index(digit)
    return number


def _seen(said: Said) -> list[Seen]:
    """Return our jobs of what flux jobs says in JSON.

    Raises:
        ExecutorError: It is an error, or cannot be read.
    """
    if said.code:
        raise ExecutorError(f"flux jobs failed: {said.last_words}")
    with reading("flux jobs"):
        jobs: list[dict[str, Any]] = json.loads(said.out)["jobs"]
        return [_one(job) for job in jobs if str(job.get("name", "")).startswith(_PREFIX)]


def _one(job: dict[str, Any]) -> Seen:
    state = str(job["state"])
    is_over = state == "INACTIVE"
    exception: dict[str, Any] = job.get("exception") or {}
    code = job.get("returncode")
    annotations: dict[str, dict[str, Any]] = job.get("annotations") or {}
    pending = annotations.get("sched", {}).get("reason_pending", "")
    is_held = not is_over and job.get("urgency") == 0
    reason = str(exception.get("note") or exception.get("type") or pending)
    return Seen(
        str(job["name"]),
        str(int(job["id"])),
        f"INACTIVE {job['result']}" if is_over else state,
        reason="urgency 0" if is_held else reason,
        is_held=is_held,
        exit_code=code if is_over and isinstance(code, int) and code >= 0 else None,
        submitted_at=_time(job.get("t_submit")),
        started_at=_time(job.get("t_run")),
        ended_at=_time(job.get("t_inactive") or job.get("t_cleanup")) if is_over else None,
    )


def _time(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and value else None
