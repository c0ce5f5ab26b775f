"""What each batch system brings to `BatchExecutor`: its commands, and what its words mean."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from renkei.executors._port import Resources


class Submission(msgspec.Struct, frozen=True):
    """What a batch system is asked to run: one job, or an array of equal ones.

    Args:
        name: "renkei-" and the id of its first run, 43 characters; no other submission ever has it, but the same one
            that is repeated because nobody knows what became of it. It must come back as `Seen.name`.
        script: A bash script. It finds its way by itself, wherever it is started, also in an array.
        log: Where the system writes what the script says, both outputs in one; "{index}" in it stands for the index
            in an array.
        resources: What to ask for; queue and account are filled in as far as the site knows them.
        time_limit_s: The longest that each job may take, in seconds; round up to what the system can say.
        size: How many jobs the array has, with indices from 0 to size - 1; 0 is a job and not an array.
        comment: The same as `name` with the procedure's name after a blank, for systems that keep a comment.
    """

    name: str
    script: Path
    log: str
    resources: Resources
    time_limit_s: float
    size: int = 0
    comment: str = ""


class Seen(msgspec.Struct, frozen=True):
    """One of our jobs as the batch system shows it; of an array, one member.

    Args:
        name: `Submission.name`.
        number: The system's number of it, for people and for `Scheduler.cancel`: "123", "123_4", "123[4]".
        raw: The state in the system's own word, a key of `Scheduler.states`; another word counts as `UNKNOWN`.
        index: Its index in the array; None of a job that is not in one.
        reason: Why it is in that state, in the system's own words; "" when it does not say.
        is_held: Whether `reason`, and not the state alone, says that somebody holds it back.
        exit_code: Of its script, if the system tells; None if not, or if it has not ended.
        submitted_at: When the system took it, in seconds since 1970; None if it does not tell. So are the next two.
        started_at: When it began.
        ended_at: When it ended.
        has_nodes: Whether the system had given it nodes; only systems tell that cancel by themselves what they cannot
            start on them.
    """

    name: str
    number: str
    raw: str
    index: int | None = None
    reason: str = ""
    is_held: bool = False
    exit_code: int | None = None
    submitted_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    has_nodes: bool = False


class Meaning(msgspec.Struct, frozen=True):
    """What a state of a batch system means to us; the reference page prints it.

    Args:
        state: "queued", "held" or "active" of a job that is still there, "ended" of one that is over, "unknown".
        end: Of a job that is over: "" when the evidence in its directory alone decides, else what the state says
            where there is no evidence of success: "time" or "memory" (its limit), "cancelled", or "failed".
        fault: Of "failed": "facility" or "requester".
        is_retryable: Of "failed": whether another try may end otherwise.
        text: What the state is, in one line for people.
    """

    state: Literal["queued", "held", "active", "ended", "unknown"]
    end: Literal["", "time", "memory", "cancelled", "failed"] = ""
    fault: Literal["", "facility", "requester"] = ""
    is_retryable: bool = False
    text: str = ""


UNKNOWN = Meaning("unknown", text="A word that is not in the table: the job is left alone until another one comes.")
"""What a word means that is not in the table."""


class Scheduler(Protocol):
    """What each batch system brings to `BatchExecutor`.

    All methods are called from the event loop's thread, `submit` several at a time. Every outside command runs
    through `renkei.executors._tools.run_tool`, which limits its time. No method tries again by itself, none remembers
    jobs: `BatchExecutor` does.
    """

    name: str
    """The engine's name, as site.toml has it: "slurm"."""
    title: str
    """Its name for people: "Slurm"."""
    number_variable: str
    """The environment variable that holds the job's number inside the job: "SLURM_JOB_ID"."""
    index_variable: str
    """The one that holds the index in an array; "" where there are no arrays."""
    array_limit: int
    """The longest array that it takes; below 2 every job goes by itself."""

    @property
    def states(self) -> Mapping[str, Meaning]:
        """What its states mean, by its own word: the module's constant `STATES`, which the reference page prints."""
        ...

    async def submit(self, submission: Submission) -> str:
        """Hand over a job or an array and return its number; of an array, the whole array's.

        Raises:
            SubmitRejected: The system said no: it certainly does not have it. The message is its reason.
            ExecutorError: Nobody knows whether it has it: no answer, a lost connection, a text that cannot be read.
                `retryable` is not looked at. The job is then looked for by its name.
        """
        ...

    async def poll(self) -> Sequence[Seen]:
        """Return all of our jobs (by the name) that the system shows in its queue, with one outside command.

        Jobs that ended may be among them. A job that is missing is over, or was never there: `past` is asked next.

        Raises:
            ExecutorError: The system does not answer, or not in full: nothing is known then, not even that a job is
                missing.
        """
        ...

    async def past(self, since: float) -> Sequence[Seen]:
        """Return our jobs that ended, from the system's accounts, with one outside command.

        Called only when a job is missing in `poll`. A system without accounts returns nothing.

        Args:
            since: Jobs that were submitted before this time, in seconds since 1970, need not be returned.

        Raises:
            ExecutorError: The accounts do not answer.
        """
        ...

    async def cancel(self, jobs: Sequence[Seen]) -> None:
        """End jobs, queued or running. Returns when the system was told so; `poll` shows when they are over.

        A number alone is not to be trusted where the system can check the name with it: a scheduler that crashed may
        have given the number to another job. Jobs that are over already are no error.

        Raises:
            ExecutorError: The system does not answer. It is called again at the next poll.
        """
        ...

    async def check(self) -> Sequence[str]:
        """Return what is wrong, one clear sentence each: commands, the server's answer, the queue of the site."""
        ...
