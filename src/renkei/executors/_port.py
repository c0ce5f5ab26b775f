"""The executor port: what a site asks of every engine that runs jobs."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from renkei.model.records import Evidence
from renkei.model.space import Value


class Resources(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a job asks a batch system for; 0 and "" leave it to the system. The local executor does not look at them.

    Args:
        nodes: How many nodes.
        processes: How many processes, over all nodes.
        cores: Cores for each process.
        gpus: GPUs for each process.
        memory_bytes: Memory on each node.
        is_exclusive: Whether nobody else may use its nodes meanwhile.
        queue: Slurm's partition, PBS's queue, PJM's resource group, Flux's queue, IRI's queue_name.
        account: Whose share pays inside the batch system; PJM's group.
        reservation: A reservation that was made for it.
        extra: Anything else, by option in the batch system's own words.
    """

    nodes: int = 1
    processes: int = 1
    cores: int = 1
    gpus: int = 0
    memory_bytes: int = 0
    is_exclusive: bool = False
    queue: str = ""
    account: str = ""
    reservation: str = ""
    extra: dict[str, str] = {}


class Command(msgspec.Struct, frozen=True, omit_defaults=True):
    """A command template: any program that is not a Python function.

    Args:
        argv: The program and its arguments; `{name}` stands for a parameter, `{directory}` and `{run}` for the run's.
        outputs_file: A JSON object of outputs that the program writes, below the run's directory; "" means that it
            gives none.
        files: Outputs that are files, by name, as paths below the run's directory.
        infeasible_exit_codes: Exit codes that mean "this point cannot work".
        is_literal: Whether `argv` is meant as it stands, braces included.
        directory: Where it is started; "" is the run's directory, which keeps the evidence in any case.
        environment: Variables that it gets besides, or, where `is_clean`, instead of the site's.
        is_clean: Whether it starts without the variables of the site.
        stdin: A file that it reads; "" is nothing.
        stdout: A file for its output; "" is `stdout` in the run's directory.
        stderr: The same for its errors.
        before: Lines of shell that come first; when one fails, the command is not started and the run fails.
        after: Lines of shell that come last, whatever became of the command.
        launcher: A program with arguments that starts it, for example "srun" or "mpiexec -n 8"; "" is none.
    """

    argv: tuple[str, ...]
    outputs_file: str = ""
    files: dict[str, str] = {}
    infeasible_exit_codes: tuple[int, ...] = ()
    is_literal: bool = False
    directory: str = ""
    environment: dict[str, str] = {}
    is_clean: bool = False
    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    launcher: str = ""


class Job(msgspec.Struct, frozen=True, gc=False):
    """One run as an engine sees it.

    Args:
        run: The run's identity; engines write it where they can find it again.
        procedure: The procedure's name.
        target: "module:function" or "/path/file.py:function" of a Python procedure, or a command.
        parameters: In the procedure's units.
        directory: Where the run may write files; made only when it is needed.
        time_limit_s: After this many seconds the run is ended.
        memory_bytes: Above this the run is ended; 0 means no limit.
        exceeded: What a run over its limits means: "failed" or "infeasible".
        resources: What a batch system is asked for.
    """

    run: str
    procedure: str
    target: str | Command
    parameters: dict[str, Value]
    directory: str
    time_limit_s: float
    memory_bytes: int = 0
    exceeded: str = "failed"
    resources: Resources = Resources()


class JobState(msgspec.Struct, frozen=True):
    """Where a job stands that was handed over and has not ended.

    Args:
        state: "queued", "held" or "active".
        raw: What the engine calls it, in its own words.
        number: What the engine calls the job; "" where it has no number.
    """

    state: str
    raw: str = ""
    number: str = ""


class JobEnd(msgspec.Struct, frozen=True, gc=False):
    """How a job ended.

    Args:
        run: The run's identity.
        outcome: succeeded, infeasible, failed, lost or cancelled.
        seconds: How long it ran.
        outputs: Numbers, in the procedure's units.
        files: Files that it named, by output; absolute paths.
        fault: Of a failed job: "facility" or "requester".
        retryable: Whether another try, here or elsewhere, may end otherwise.
        message: One sentence for people.
        evidence: What speaks for it.
        queued_s: How long it waited in the engine's own queue before it ran.
    """

    run: str
    outcome: str
    seconds: float = 0.0
    outputs: dict[str, float] = {}
    files: dict[str, str] = {}
    fault: str = ""
    retryable: bool = False
    message: str = ""
    evidence: Evidence | None = None
    queued_s: float = 0.0


Report = Callable[[Sequence[JobEnd]], Awaitable[None]]


class Executor(Protocol):
    """Runs jobs.

    A site calls it from the event loop's thread only. Every job that `submit` took is reported exactly once to the
    `report` that `serve` was given, or is settled by `settle` after a restart. A job never runs twice.
    """

    name: str

    @property
    def slots(self) -> int:
        """How many jobs run at the same time."""
        ...

    def room(self, procedure: str) -> int:
        """Return how many more jobs of this procedure it takes now without making others wait long."""
        ...

    async def submit(self, jobs: Sequence[Job]) -> None:
        """Take jobs. Returns when they are handed over, not when they end."""
        ...

    async def cancel(self, run: str) -> None:
        """End a job early if it still runs; it is then reported as cancelled."""
        ...

    async def settle(self, jobs: Sequence[Job]) -> Sequence[JobEnd]:
        """Return how jobs ended that were handed over before a restart, by the evidence that is left.

        Jobs that are still alive are taken up again and reported later; they are not in the answer.
        """
        ...

    async def serve(self, report: Report) -> None:
        """Run jobs until cancelled; then end every process that it started. Jobs in a batch system go on."""
        ...

    def look(self, run: str) -> JobState | None:
        """Return where a job stands, as of the last look at the engine; None of one that it does not have."""
        ...

    async def check(self) -> Sequence[str]:
        """Return what is wrong, one clear sentence each, that would keep jobs from running; nothing when all is well.

        For `renkei site check`: it may take seconds, and leaves nothing behind.
        """
        ...
