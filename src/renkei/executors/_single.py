"""Runs one Python procedure on a node of a batch system: `python -m renkei.executors._single DIRECTORY`.

Reads `request.json` there and leaves `result.json`. Its exit code says only whether the result could be written.
"""

import json
import sys
from pathlib import Path

import msgspec

from renkei.executors._command import write_whole
from renkei.executors._frames import Done, Task
from renkei.executors._worker import run_procedure
from renkei.model.space import Value


class Request(msgspec.Struct, omit_defaults=True):
    """`request.json`: what a job's script and `_single` are asked to do, and what the site must find again.

    Args:
        run: The run's identity.
        procedure: The procedure's name.
        parameters: In the procedure's units.
        target: Of a Python procedure, where its code is.
        memory_bytes: The most that it may take; 0 is no limit.
        asked_at: When the site made it ready, in seconds since 1970.
        name: The submission that it is part of.
        index: Its index there; None of a submission that is no array.
    """

    run: str
    procedure: str
    parameters: dict[str, Value]
    target: str = ""
    memory_bytes: int = 0
    asked_at: float = 0.0
    name: str = ""
    index: int | None = None


class Result(msgspec.Struct, omit_defaults=True):
    """`result.json` of a Python procedure: the same as `Done`, by name."""

    outcome: str
    seconds: float = 0.0
    outputs: dict[str, float] = {}
    files: dict[str, str] = {}
    fault: str = ""
    message: str = ""
    tail: str = ""


def main() -> None:
    """Run the procedure of the directory that is the first argument."""
    directory = Path(sys.argv[1])
    request = msgspec.json.decode((directory / "request.json").read_bytes(), type=Request)
    task = Task(0, request.run, request.target, request.parameters, str(directory), request.memory_bytes)
    done = run_procedure(task, request.target, {})
    write_whole(directory / "result.json", json.dumps(_result(done)))


def _result(done: Done) -> dict[str, object]:
    result = Result(done.outcome, done.seconds, done.outputs, done.files, done.fault, done.message, done.tail)
    return msgspec.to_builtins(result)


if __name__ == "__main__":
    main()
