"""The executor port: what a site asks of every engine that runs jobs."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from renkei.model.records import Evidence
from renkei.model.space import Value


class Command(msgspec.Struct, frozen=True):
    """A command template: any program that is not a Python function.

    Args:
        argv: The program and its arguments; `{name}` stands for a parameter, `{directory}` and `{run}` for the run's.
        outputs_file: A JSON object of outputs that the program writes, below the run's directory.
        files: Outputs that are files, by name, as paths below the run's directory.
        infeasible_exit_codes: Exit codes that mean "this point cannot work".
    """

    argv: tuple[str, ...]
    outputs_file: str
    files: dict[str, str] = {}
    infeasible_exit_codes: tuple[int, ...] = ()


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
    """

    run: str
    procedure: str
    target: str | Command
    parameters: dict[str, Value]
    directory: str
    time_limit_s: float
    memory_bytes: int = 0
    exceeded: str = "failed"


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
        """Run jobs until cancelled; then end every process that it started."""
        ...
