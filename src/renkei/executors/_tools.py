"""Runs the command-line tools of a batch system: with a time limit, in plain C, and never through a shell."""

import os
import re
import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from renkei.clock import Clock
from renkei.errors import ExecutorError, ReplyUnreadable

TOOL_LIMIT_S = 20.0
"""How long a tool may take. Slurm's hang for 9 s when their controller is gone."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a tool said before it ended.

    Args:
        code: Its exit code; negative for a signal.
        out: Its standard output.
        err: Its standard error.
    """

    code: int
    out: str
    err: str

    @property
    def last_words(self) -> str:
        """The last line that it wrote, errors first."""
        lines = (self.err.strip() or self.out.strip()).splitlines()
        return lines[-1].strip() if lines else f"exit code {self.code}"

    def complains_only_of(self, what: re.Pattern[str]) -> bool:
        """Return whether it failed, and every line of its errors is about that."""
        lines = [line for line in self.err.splitlines() if line.strip()]
        return self.code > 0 and bool(lines) and all(what.search(line) for line in lines)


@contextmanager
def reading(command: str) -> Generator[None]:
    """Read what a command said in JSON.

    Raises:
        ReplyUnreadable: What is done in the block finds that it does not have the form that it should.
    """
    try:
        yield
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ReplyUnreadable(f"What {command} says cannot be read: {type(error).__name__}: {error}.") from error


async def run_tool(
    clock: Clock,
    argv: Sequence[str],
    *,
    limit_s: float = TOOL_LIMIT_S,
    environment: Mapping[str, str] | None = None,
    stdin: str = "",
) -> Said:
    """Run a tool to its end and return what it said, whatever its exit code.

    Raises:
        ExecutorError: It cannot be started, or it was ended at its time limit: what it did is then unknown.
    """

    def call() -> Said:
        done = subprocess.run(
            list(argv),
            input=stdin.encode(),
            capture_output=True,
            timeout=limit_s,
            env=os.environ | {"LC_ALL": "C", "LANG": "C"} | dict(environment or {}),
            start_new_session=True,
        )
        return Said(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    try:
        return await clock.blocking(call)
    except subprocess.TimeoutExpired as error:
        raise ExecutorError(f"{argv[0]} gave no answer within {limit_s:g} s.") from error
    except OSError as error:
        raise ExecutorError(f"{argv[0]} cannot be started: {error.strerror}.", "Is it on the PATH?") from error
