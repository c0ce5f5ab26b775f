"""Runs jobs in Fujitsu's job operation software (TCS, PJM), as on Fugaku.

Its commands say errors as text, on some systems with exit code 0: the text is what counts. Finished jobs leave the
list at once and are then found in the history.
"""

import csv
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from renkei.clock import Clock
from renkei.errors import ExecutorError, ReplyUnreadable, SubmitRejected
from renkei.executors._batch import BatchExecutor
from renkei.executors._options import extra_options, hms, mebibytes, no_reservations, plain, processes_of_nodes
from renkei.executors._scheduler import Meaning, Seen, Submission
from renkei.executors._tools import Said, run_tool
from renkei.model.site_file import ExecutorTable

_FACILITY = ("ended", "failed", "facility", True)
_REQUESTER = ("ended", "failed", "requester", False)

STATES: Mapping[str, Meaning] = {
    "ACC": Meaning("queued", text="Accepted."),
    "QUE": Meaning("queued", text="Waits for its turn."),
    "RNA": Meaning("queued", text="Gets its resources."),
    "RNP": Meaning("active", text="The prologue runs."),
    "RUN": Meaning("active", text="Runs."),
    "RNE": Meaning("active", text="The epilogue runs."),
    "RNO": Meaning("active", text="Waits for the end of its processes."),
    "SPP": Meaning("active", text="Is being suspended."),
    "SPD": Meaning("active", text="Suspended."),
    "RSM": Meaning("active", text="Is being resumed."),
    "HLD": Meaning("held", text="Held by a user."),
    "ERR": Meaning("held", text="Stopped by an error; an operator has to look."),
    "EXT": Meaning("ended", text="Over, with PJM code 0. It succeeded only with EC 0 and SN 0, and by the evidence."),
    "EXT 1": Meaning("ended", "cancelled", text="Ended by pjdel."),
    "EXT 3": Meaning(*_FACILITY, "Refused by an exit function of the job manager."),
    "EXT 6": Meaning("ended", "cancelled", text="Ended by a dependency."),
    "EXT 7": Meaning(*_FACILITY, "Ended for a deadline schedule."),
    "EXT 8": Meaning(*_FACILITY, "Ended by an exit function of the job manager."),
    "EXT 9": Meaning(*_FACILITY, "Not run again when the system came back."),
    "EXT 11": Meaning("ended", "time", text="Ended at its elapse limit; EC is 0 nevertheless."),
    "EXT 12": Meaning("ended", "memory", text="Used more memory than it asked for."),
    "EXT 13": Meaning(*_REQUESTER, "Used more of a disk than it may."),
    "EXT 16": Meaning(*_FACILITY, "Its directory or its files could not be reached."),
    "EXT 18": Meaning(*_FACILITY, "Ended for another job or a deadline schedule, after the time that it was sure of."),
    "EXT 20": Meaning(*_FACILITY, "A node went down."),
    "EXT 21": Meaning(*_FACILITY, "The shell could not be started."),
    "EXT 22": Meaning(*_FACILITY, "An error of the interconnect."),
    "EXT 23": Meaning("ended", "memory", text="Ended by the kernel, out of memory."),
    "EXT >0": Meaning(*_FACILITY, "Another PJM code."),
    "CCL": Meaning("ended", "cancelled", text="Cancelled."),
    "RJT": Meaning(*_REQUESTER, "Not accepted."),
}
"""What the states of PJM mean; of a job that is over, with its PJM code (PC)."""

_CHOSEN = {
    "jid": "JOB_ID",
    "jnam": "JOB_NAME",
    "st": "ST",
    "ec": "EC",
    "pc": "PC",
    "sn": "SN",
    "adt": "ACCEPT",
    "sdt": "START_DATE",
    "elp": "ELAPSE_TIM",
    "edt": "END_DATE",
}
_LIST = ["pjstat", "-s", "-E", "--data", "--choose=" + ",".join(_CHOSEN)]
_TAKEN = re.compile(r"\[INFO\] PJM 0000 pjsub Job (\d+) submitted\.")
_ERROR = re.compile(r"\[ERR\.\] PJM \d{4}.*")
_NO_ANSWER = re.compile(r"communicat|connect|time.?out|respon|busy|try again|unavailable|internal error", re.I)
_GONE = re.compile(r"not exist|not found|already|finished|completed|invalid job", re.I)
_ID = re.compile(r"(\d+)(?:\[(\d+)\])?")
_DATE = re.compile(r"(?:(\d{4})/)?(\d\d)/(\d\d) (\d\d):(\d\d):(\d\d)")
_PREFIX = "renkei-"
_MAX_DAYS = 365
_RESOURCES = ("node", "elapse", "rscgrp", "node-mem", "gpu")
_FREE = ("-p", "-P", "--mpi", "--llio", "-x")
"""Options of pjsub that a job may bring: priority, node policy, ranks, storage, a variable."""


class PjmScheduler:
    """The `Scheduler` of PJM.

    Args:
        table: [executor] of site.toml.
        clock: Time, blocking calls.
    """

    name, title = "pjm", "Fujitsu TCS (PJM)"
    states: Mapping[str, Meaning] = STATES
    number_variable, index_variable = "PJM_SUBJOBID", "PJM_BULKNUM"

    def __init__(self, table: ExecutorTable, clock: Clock) -> None:
        self._options, self._clock = list(table.options), clock
        self.array_limit = 1000
        self._queue, self._account = table.queue or "", table.account or ""

    async def submit(self, submission: Submission) -> str:
        """See `Scheduler.submit`. Nodes are nobody else's, so cores are not asked for."""
        asked = submission.resources
        no_reservations(asked, "PJM")
        fullest = processes_of_nodes(asked)[0][1]
        argv = ["pjsub", "-N", submission.name, "-j", "-o", submission.log.replace("{index}", "%b")]
        argv += ["-L", f"elapse={hms(submission.time_limit_s)}"]
        argv += ["-L", f"gpu={fullest * asked.gpus}"] if asked.gpus else []
        argv += ["-L", f"node={asked.nodes}"] if asked.nodes > 1 or not asked.gpus else []
        argv += ["-L", f"node-mem={mebibytes(asked.memory_bytes)}Mi"] if asked.memory_bytes else []
        queue, account = asked.queue or self._queue, asked.account or self._account
        argv += ["-L", f"rscgrp={plain(queue, 'queue')}"] if queue else []
        argv += ["--mpi", f"proc={asked.processes}"] if asked.processes > 1 else []
        argv += ["-g", plain(account, "account")] if account else []
        argv += ["--bulk", "--sparam", f"0-{submission.size - 1}"] if submission.size else []
        argv += extra_options(asked.extra, "-L", _RESOURCES, _FREE)
        said = await run_tool(self._clock, [*argv, *self._options, str(submission.script)])
        text = f"{said.out}\n{said.err}"
        if taken := _TAKEN.search(text):
            return taken[1]
        error = _ERROR.search(text)
        if error and "pjsub-bulk" in error[0]:
            self.array_limit = 0  # bulk jobs are not for us here: others go one by one
        if error and said.code >= 0 and not _NO_ANSWER.search(text):
            raise SubmitRejected(error[0])
        if error or said.code:
            raise ExecutorError(f"pjsub failed: {error[0] if error else said.last_words}")
        raise ReplyUnreadable(f"pjsub says '{said.last_words[:200]}' and no job's number.")

    async def poll(self) -> Sequence[Seen]:
        """See `Scheduler.poll`."""
        return self._seen(await run_tool(self._clock, _LIST))

    async def past(self, since: float) -> Sequence[Seen]:
        """See `Scheduler.past`."""
        days = min(_MAX_DAYS, math.ceil(max(0.0, self._clock.now() - since) / 86400) + 1)
        return self._seen(await run_tool(self._clock, [*_LIST, "-H", f"day={days}"]))

    async def cancel(self, jobs: Sequence[Seen]) -> None:
        """See `Scheduler.cancel`. Its answer means that the wish was accepted, no more."""
        said = await run_tool(self._clock, ["pjdel", *(job.number for job in jobs)])
        errors = [error for error in _ERROR.findall(f"{said.out}\n{said.err}") if not _GONE.search(error)]
        if errors or said.code < 0 or (said.code and "PJM" not in said.out + said.err):
            raise ExecutorError(f"pjdel failed: {errors[0] if errors else said.last_words}")

    async def check(self) -> Sequence[str]:
        """See `Scheduler.check`."""
        problems: list[str] = []
        if not self._account and not any(word.startswith("-g") for word in self._options):
            problems.append('PJM takes no job without a group: say account = "…" in [executor].')
        try:
            await self.poll()
            await run_tool(self._clock, ["pjsub", "--help"])
        except ExecutorError as error:
            problems.append(f"PJM does not answer: {error.message}")
        return problems

    def _seen(self, said: Said) -> list[Seen]:
        """Return our jobs of what pjstat says.

        Raises:
            ExecutorError: It is an error, or cannot be read.
        """
        if error := _ERROR.search(f"{said.out}\n{said.err}"):
            raise ExecutorError(f"pjstat failed: {error[0]}")
        if said.code:
            raise ExecutorError(f"pjstat failed: {said.last_words}")
        rows = list(csv.reader(said.out.splitlines()))
        if not rows:
            return []
        head = rows.pop(0)
        if head[:1] != ["H"]:
            raise ReplyUnreadable(f"pjstat says '{','.join(head)[:200]}' and no table.")
        if set(_CHOSEN.values()) <= set(head):
            columns = {key: head.index(title) for key, title in _CHOSEN.items()}
        elif len(head) == len(_CHOSEN) + 1:
            columns = {key: i + 1 for i, key in enumerate(_CHOSEN)}
        else:
            raise ReplyUnreadable(f"pjstat gives the columns '{','.join(head)[:200]}', not those asked for.")
        jobs: list[Seen] = []
        for row in rows:
            if not any(field.startswith(_PREFIX) for field in row):
                continue
            if len(row) != len(head):
                raise ReplyUnreadable(f"pjstat gives a row that does not fit its table: '{','.join(row)[:200]}'.")
            if (seen := self._one({key: row[i] for key, i in columns.items()})) is not None:
                jobs.append(seen)
        return jobs

    def _one(self, row: dict[str, str]) -> Seen | None:
        match = _ID.fullmatch(row["jid"])
        if match is None:
            raise ReplyUnreadable(f"pjstat gives the job id '{row['jid'][:50]}'.")
        if row["ec"] == "-":
            return None  # a bulk job itself; its members follow
        raw = row["st"]
        if raw == "EXT" and row["pc"] != "0":
            raw = f"EXT {row['pc']}" if f"EXT {row['pc']}" in STATES else "EXT >0"
        is_over = raw in STATES and STATES[raw].state == "ended"
        started, ended = self._time(row["sdt"]), self._time(row["edt"])
        if ended is None and started is not None:
            ended = started + _seconds(row["elp"])
        return Seen(
            row["jnam"],
            row["jid"],
            raw,
            int(match[2]) if match[2] else None,
            reason=f"EC {row['ec']}, PC {row['pc']}, SN {row['sn']}" if is_over else "",
            exit_code=_exit_code(row["ec"], row["sn"]) if raw == "EXT" else None,
            submitted_at=self._time(row["adt"]),
            started_at=started,
            ended_at=ended + 1.0 if is_over and ended is not None else None,  # it tells whole seconds
        )

    def _time(self, text: str) -> float | None:
        """Return a date as pjstat writes it, mostly without the year; one in parentheses is only planned."""
        match = _DATE.fullmatch(text.strip().rstrip("<# "))
        if match is None:
            return None
        now = datetime.fromtimestamp(self._clock.now(), UTC).astimezone()
        year = int(match[1] or now.year)
        month, day, hour, minute, second = (int(part) for part in match.groups()[1:])
        try:
            time = datetime(
                year, month, day, hour, minute, second
            ).timestamp()  # in the system's time, which is taken for ours
            if not match[1] and time > now.timestamp() + 86400:
                time = datetime(year - 1, month, day, hour, minute, second).timestamp()
        except ValueError:
            return None
        return time


def pjm_executor(table: ExecutorTable, data: Path, clock: Clock) -> BatchExecutor:
    """Return the executor of a site in front of PJM."""
    return BatchExecutor(PjmScheduler(table, clock), table, data, clock)


def _exit_code(code: str, signal: str) -> int | None:
    """Return an exit code as a shell gives it."""
    if signal.isdigit() and int(signal):
        return 128 + int(signal)
    return int(code) if code.isdigit() else None


def _seconds(text: str) -> float:
    total = 0
    for part in text.split(":"):
        total = total * 60 + (int(part) if part.isdigit() else 0)
    return float(total)
