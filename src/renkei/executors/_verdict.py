"""How a job of a batch system ended: by the evidence in its directory, then by the system's word."""

import msgspec

from renkei.executors._evidence import Traces, judge, over_limit, without_evidence
from renkei.executors._port import Job, JobEnd
from renkei.executors._roster import Tracked
from renkei.executors._scheduler import Meaning
from renkei.model.records import Evidence


def verdict(
    tracked: Tracked, traces: Traces, meaning: Meaning, title: str, now: float, *, is_late: bool = True
) -> JobEnd | None:
    """Return how a job ended; None while that cannot be said yet.

    Args:
        tracked: The job.
        traces: What is in its directory.
        meaning: What the batch system's word for its state means.
        title: The batch system's name for people.
        now: Seconds since 1970.
        is_late: Whether evidence that is not there will not come any more.
    """
    job, seen = tracked.job, tracked.seen
    began = traces.began_at or (seen.started_at if seen else None)
    over = traces.ended_at or (seen.ended_at if seen else None) or now
    seconds = 0.0 if began is None else max(0.0, over - began)
    queued_s = max(0.0, (over if began is None else began) - tracked.asked_at)
    end = judge(job, traces, seconds)
    if end is None or end.outcome not in ("succeeded", "infeasible"):
        evidence = (end.evidence if end else None) or Evidence(directory=job.directory)
        if tracked.is_unwanted and (meaning.end or (end is None and is_late)):
            end = JobEnd(job.run, "cancelled", seconds, message="cancelled", evidence=evidence)
        elif meaning.end in ("time", "memory") and not traces.number:
            message = f"{title} says {meaning.text.lower().rstrip('.')}, but it never began"
            end = JobEnd(job.run, "failed", 0.0, {}, {}, "facility", True, message, evidence)
        elif meaning.end in ("time", "memory"):
            end = over_limit(job, meaning.end, seconds, evidence)
        elif meaning.end:
            message = f"{title}: {meaning.text}"
            fault = meaning.fault
            end = JobEnd(job.run, meaning.end, seconds, {}, {}, fault, meaning.is_retryable, message, evidence)
        elif end is None and is_late:
            end = without_evidence(job, seen.exit_code if seen else None, seconds)
    if end is None:
        return None
    evidence = end.evidence or Evidence(directory=job.directory)
    raw, number = (seen.raw, seen.number) if seen else ("", tracked.state.number or traces.number)
    evidence = msgspec.structs.replace(evidence, raw_state=raw, job=number)
    return msgspec.structs.replace(end, evidence=evidence, queued_s=queued_s)


def lost(job: Job, message: str) -> JobEnd:
    """Return the end of a job of which nobody can say what became of it."""
    return JobEnd(job.run, "lost", retryable=True, message=message, evidence=Evidence(directory=job.directory))
