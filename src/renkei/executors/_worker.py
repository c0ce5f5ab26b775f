"""A worker process: runs procedures one after another and stays alive between them.

Started as `python -m renkei.executors._worker FD` with one end of a socket pair; its output goes to a log file.
A worker never outlives its parent.
"""

import os
import resource
import signal
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path

from renkei.errors import Infeasible, UsageError
from renkei.executors._command import die_with_parent, run_command
from renkei.executors._frames import Begun, Deframer, Done, Spawned, Task, frame
from renkei.executors._loading import load_procedure
from renkei.executors._port import Command
from renkei.model.procedure import Procedure, RunContext, enter_run, outputs_of

LOG_LIMIT_BYTES = 4_000_000


def main() -> None:
    """Serve tasks from the socket whose descriptor is the first argument, until it closes."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = socket.socket(fileno=int(sys.argv[1]))
    deframer = Deframer(Task)
    procedures: dict[str, Procedure] = {}
    while data := channel.recv(1 << 18):
        for task in deframer.feed(data):
            log_size = os.fstat(2).st_size
            if log_size > LOG_LIMIT_BYTES:
                os.ftruncate(2, 0)
                log_size = 0
            channel.sendall(frame(Begun(task.index, log_size)))
            channel.sendall(frame(_run(task, procedures, channel)))


def _run(task: Task, procedures: dict[str, Procedure], channel: socket.socket) -> Done:
    if isinstance(task.target, Command):

        def spawned(process: "subprocess.Popen[bytes]") -> None:
            channel.sendall(frame(Spawned(process.pid)))

        return run_command(task, task.target, spawned)
    return run_procedure(task, task.target, procedures)


def run_procedure(task: Task, target: str, procedures: dict[str, Procedure]) -> Done:
    """Run the Python procedure of a task in this process and return how it ended.

    Args:
        task: What to run.
        target: Where its code is.
        procedures: Procedures by target that were loaded before; it is added to them.
    """
    began = time.perf_counter()
    procedure = procedures.get(target)
    if procedure is None:
        try:
            procedure = procedures[target] = load_procedure(target)
        except UsageError as error:
            return Done(task.index, "failed", time.perf_counter() - began, fault="facility", message=error.message)
        began = time.perf_counter()
    try:
        if task.memory_bytes:
            _limit_memory(task.memory_bytes)
        enter_run(RunContext(task.run, Path(task.directory)))
        numbers, files = outputs_of(procedure.function(**task.parameters), procedure.spec)
        seconds = time.perf_counter() - began
        if not files:
            return Done(task.index, "succeeded", seconds, numbers)
        base = Path(task.directory)
        paths = {name: str(base / path) for name, path in files.items()}
        missing = [name for name, path in paths.items() if not Path(path).is_file()]
        if missing:
            message = f"output file '{missing[0]}' was named but not written"
            return Done(task.index, "failed", seconds, fault="facility", message=message)
        return Done(task.index, "succeeded", seconds, numbers, paths)
    except (Infeasible, *procedure.infeasible_on) as reason:
        return Done(task.index, "infeasible", time.perf_counter() - began, message=str(reason) or type(reason).__name__)
    except UsageError as error:
        seconds = time.perf_counter() - began
        return Done(task.index, "failed", seconds, fault="requester", message=str(error))
    except MemoryError:
        return Done(task.index, "failed", time.perf_counter() - began, fault="memory")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the code of others raises
        seconds = time.perf_counter() - began
        tail = "".join(traceback.format_exception(error)[-8:])[-4000:]
        message = f"{type(error).__name__}: {error}"
        return Done(task.index, "failed", seconds, fault="facility", message=message, tail=tail)
    finally:
        if task.memory_bytes:
            _limit_memory(0)


def _limit_memory(memory_bytes: int) -> None:
    """Let this process take at most `memory_bytes` more than it has now; 0 lifts the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = hard
    if memory_bytes:
        with open("/proc/self/statm") as statm:
            data_pages = int(statm.read().split()[5])
        soft = data_pages * resource.getpagesize() + memory_bytes
        if hard != resource.RLIM_INFINITY:
            soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


if __name__ == "__main__":
    main()
