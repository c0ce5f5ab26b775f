"""Says how a job ended, by what it left in its directory and by the word that the engine has for it."""

import re
import signal
from pathlib import Path
from typing import TypeVar

import msgspec

from renkei.executors._command import conclude, shell_signal, signal_name, tail
from renkei.executors._frames import Done
from renkei.executors._port import Command, Job, JobEnd
from renkei.executors._script import BEGAN_BEFORE, TIMED_OUT
from renkei.executors._single import Request, Result
from renkei.model.records import Evidence

_OVER_MEMORY = re.compile(r"exceeded (job )?memory limit|\boom[-_ ]?kill", re.IGNORECASE)
"""What batch systems write into a job's log when they end it for its memory, whatever they then call its state."""
_COARSE_S = 0.05
"""How far times of files may be off."""

T = TypeVar("T")


class Traces(msgspec.Struct, frozen=True):
    """What is in a job's directory.

    Args:
        request: What it was asked to do; None when it was never made ready.
        number: The number of the job that took the directory, or who gave it up; "" when nobody did.
        began_at: When that was, in seconds since 1970, by the clock of the file system.
        ended_at: When its script wrote its exit code, by the same clock.
        exit_code: Of its payload; None while there is none.
        not_started: The exit code of a line before the payload that failed; None where none did.
        result: How its Python procedure says that it ended.
    """

    request: Request | None = None
    number: str = ""
    began_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    not_started: int | None = None
    result: Result | None = None

    @property
    def is_over(self) -> bool:
        """Whether the directory alone says that the job is over."""
        return self.exit_code is not None or self.not_started is not None


def read_traces(directory: Path) -> Traces:
    """Return what is in a job's directory; what is missing or cannot be read is left out."""
    began, ended = directory / "started", directory / "exit_code"
    number = (_text(began) or "?").split()
    return Traces(
        request=_decoded(directory / "request.json", Request),
        number=number[0] if number and began.exists() else "",
        began_at=_mtime(began),
        ended_at=_mtime(ended),
        exit_code=_number(ended),
        not_started=_number(directory / "not_started"),
        result=_decoded(directory / "result.json", Result),
    )


def judge(job: Job, traces: Traces, seconds: float) -> JobEnd | None:
    """Return how a job ended by its directory alone; None when that does not say.

    Args:
        job: The job.
        traces: What is in its directory.
        seconds: How long it ran.
    """
    directory = Path(job.directory)
    code = traces.exit_code
    evidence = Evidence(exit_code=code, directory=job.directory)
    if traces.not_started is not None:
        message = f"a line before its payload failed with exit code {traces.not_started}"
        evidence = Evidence(exit_code=traces.not_started, tail=_log(directory), directory=job.directory)
        return JobEnd(job.run, "failed", seconds, {}, {}, "facility", True, message, evidence)
    if code in TIMED_OUT and seconds > job.time_limit_s - _COARSE_S and traces.result is None:
        return over_limit(job, "time", seconds, msgspec.structs.replace(evidence, tail=tail(directory)))
    if isinstance(job.target, Command):
        return None if code is None else _ended(job, conclude(0, job.target, directory, code, seconds), seconds, code)
    if traces.result is not None:
        result = traces.result
        if result.fault == "memory":
            return over_limit(job, "memory", seconds, evidence)
        done = Done(
            0, result.outcome, result.seconds, result.outputs, result.files, result.fault, result.message, result.tail
        )
        return _ended(job, done, seconds, code)
    if code is None:
        return None
    name = signal_name(code)
    message = f"its process ended by {name}" if name else f"its process exited with code {code}"
    evidence = Evidence(exit_code=code, signal=name, tail=tail(directory), directory=job.directory)
    return JobEnd(job.run, "failed", seconds, {}, {}, "facility", True, message, evidence)


def over_limit(job: Job, limit: str, seconds: float, evidence: Evidence | None) -> JobEnd:
    """Return the end of a job that was ended at its limit, "time" or "memory"."""
    shown = f"{job.time_limit_s:g} s" if limit == "time" else f"{job.memory_bytes / 1e6:.0f} MB"
    if limit == "memory" and not job.memory_bytes:
        shown = "what the batch system gave it"
    fault = "requester" if job.exceeded == "failed" else ""
    return JobEnd(
        job.run, job.exceeded, seconds, {}, {}, fault, bool(fault), f"ended at its {limit} limit of {shown}", evidence
    )


def _ended(job: Job, done: Done, seconds: float, code: int | None) -> JobEnd:
    evidence = Evidence(exit_code=code, tail=done.tail, directory=job.directory)
    is_retryable = done.outcome == "failed" and done.fault == "facility"
    return JobEnd(
        job.run, done.outcome, seconds, done.outputs, done.files, done.fault, is_retryable, done.message, evidence
    )


def without_evidence(job: Job, code: int | None, seconds: float) -> JobEnd:
    """Return the end of a job that is certainly over and left no evidence.

    Args:
        job: The job.
        code: The exit code that the engine has of its script; None where it has none.
        seconds: How long it ran.
    """
    evidence = Evidence(exit_code=code, tail=_log(Path(job.directory)), directory=job.directory)
    if code == BEGAN_BEFORE:
        message = "it was started a second time and did not run again; what became of the first is not known"
        return JobEnd(job.run, "lost", seconds, retryable=True, message=message, evidence=evidence)
    if code == 128 + signal.SIGKILL and _OVER_MEMORY.search(evidence.tail):
        return over_limit(job, "memory", seconds, evidence)
    if code:
        message = f"its script ended with exit code {code}{shell_signal(code)}, and left no evidence"
        return JobEnd(job.run, "failed", seconds, {}, {}, "facility", True, message, evidence)
    return JobEnd(job.run, "lost", seconds, retryable=True, message="it left no evidence", evidence=evidence)


def _log(directory: Path) -> str:
    return tail(directory, names=("job.log", "stderr", "stdout"))


def _mtime(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _decoded(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError):
        return None
